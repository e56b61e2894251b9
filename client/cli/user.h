/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the users that own blocks, names and sessions. Remembers the last one asked for; one thread. */
#ifndef CLI_USER_H
#define CLI_USER_H

#include <stdint.h>

/* The login name, or the number in decimal where there is none. Valid until the next call. */
const char *user_name(uint32_t uid);

#endif
