/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process at the other end of a connection, as the kernel tells it: credentials, and a pidfd by which its end is seen.
 * Nothing that the process says of itself is believed.
 */
#ifndef SERVER_PEER_H
#define SERVER_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "process.h"

struct peer {
	uint32_t uid, gid;
	uint32_t pid;        /* in the daemon's pid namespace; 0: not visible there */
	int pidfd;           /* close-on-exec; -1: none; owned */
	uint64_t start_time; /* of the process, clock ticks since boot; 0: not known */
};

/* Credentials of the process that connected (unix(7)), without the pidfd. */
int peer_credentials(int socket, struct peer *out_peer);

/*
 * Adds the pidfd: from the socket (SO_PEERPIDFD, Linux 6.5), else by pid, and then only if the process that has that pid now
 * started when `claimed_start` says (0: does not say), so that a recycled pid is not mistaken for the peer. -ESRCH: it has gone.
 * -EOPNOTSUPP: the kernel has no pidfd for it (its pid is not visible here): only the lock tells of its end.
 */
int peer_open_pidfd(int socket, uint64_t claimed_start, struct peer *peer);

/*
 * Opens the pidfd of the process that has this pid, if it started at `start_time` (0: whenever). -ESRCH: there is no such process any
 * more. -EOPNOTSUPP: the kernel has no pidfds, or hides the process.
 */
int peer_find(struct peer *peer);

/* The short name of its program, as /proc shows it; empty where that is not to be had. Needs the pidfd. */
void peer_program(const struct peer *peer, char out_name[PROCESS_NAME_MAX]);

void peer_deinit(struct peer *peer);

/* Has the process ended? True once all of its threads have, before it is reaped. */
bool peer_has_ended(int pidfd);

#endif
