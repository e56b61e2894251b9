/* SPDX-License-Identifier: Apache-2.0 */
/* ticket_file: a ticket that lies in a file, or comes on standard input, since arguments are seen by everybody. */
#ifndef CLIENT_CLI_TICKET_FILE_H
#define CLIENT_CLI_TICKET_FILE_H

#include "shmbuddy.h"

/* Reads the ticket in the file, or on standard input where `path` is -. An enum exit_status; what failed was reported for `verb`. */
int ticket_file_read(const char *verb, const char *path, shmb_ticket *out_ticket);

/* Reports that a ticket was given as an argument. Returns EXIT_USAGE. */
int ticket_file_refuse_word(const char *verb);

#endif
