/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets where none should be: on the command line, which everybody on the machine sees, and in messages, which end in logs. A ticket
 * is a secret. No state: any thread.
 */
#ifndef CLI_TICKET_WORD_H
#define CLI_TICKET_WORD_H

#include <stdbool.h>

/* Is it a ticket, perhaps mistyped, and not the name of a file or a block? */
bool ticket_word_is(const char *text);

/* Puts an ellipsis in place of what is secret of every ticket in the text, whole or cut off or mistyped. */
void ticket_word_hide(char *text);

#endif
