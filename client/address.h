/* SPDX-License-Identifier: Apache-2.0 */
/* Where the daemon listens. No state: any thread. */
#ifndef CLIENT_ADDRESS_H
#define CLIENT_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The system-wide daemon's socket. */
#define ADDRESS_DEFAULT "/run/shmbuddy/shmbuddy.sock"

/*
 * The socket's address: `path`, or where that is NULL $SHMBUDDY_SOCKET, else $XDG_RUNTIME_DIR/shmbuddy.sock where it exists,
 * else ADDRESS_DEFAULT. A variable that is set to nothing is not set. A negative SHMB_E_*: the path is empty or too long.
 */
int address_resolve(const char *path, struct sockaddr_un *out_address);

/* A relative path from the current directory becomes an absolute one, where the system takes one that long. */
void address_make_absolute(struct sockaddr_un *address);

/*
 * Connects `fd`, a blocking stream socket, before `deadline` (deadline.h). A negative SHMB_E_* with its sentence, whose remedy
 * depends on whether the path was `given` or looked for: only a path that was looked for heeds SHMBUDDY_SOCKET.
 */
int address_connect(const struct sockaddr_un *address, bool given, int fd, int64_t deadline);

#endif
