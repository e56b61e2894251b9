/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the users that own blocks, names and sessions. Remembers the last one asked for; one thread. */
#ifndef CLI_USER_H
#define CLI_USER_H

#include <stdint.h>

/* The login name, or the number in decimal where there is none. Valid until the next call. */
const char *user_name(uint32_t uid);

/* The uid of a login name, or of a number in decimal. -ENOENT: neither, or the uid that no user has. */
int user_find(const char *text, uint32_t *out_uid);

#endif
