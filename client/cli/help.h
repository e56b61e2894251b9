/* SPDX-License-Identifier: Apache-2.0 */
/* What --help and the verb help print. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

struct verb;

/* Prints on standard output the verb's help, or with NULL the program's. */
void help_print(const struct verb *verb);

#endif
