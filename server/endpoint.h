/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path on which the daemon listens: claimed under a lock file beside it, or handed over by systemd. Owned by the daemon.
 */
#ifndef SERVER_ENDPOINT_H
#define SERVER_ENDPOINT_H

#include <stdbool.h>
#include <sys/types.h>

struct endpoint {
	char path[108];      /* of the socket; empty: handed over */
	char lock_path[116]; /* path + ".lock" */
	int lock_fd;         /* -1: none */
	int fd;              /* bound socket, until somebody takes it; -1 */
	dev_t device;        /* of the socket file that we made */
	ino_t inode;
};

/*
 * Takes the lock, removes a stale socket, and binds, mode 0660. -errno, and `out_why` (512 bytes) has the sentence for people.
 */
int endpoint_claim(struct endpoint *endpoint, const char *path, char *out_why);

/* The socket that systemd passed (sd_listen_fds(3)). 1: taken; 0: there is none; -errno with a sentence. */
int endpoint_inherit(struct endpoint *endpoint, char *out_why);

/* Removes socket and lock file, if they are still ours, and closes. */
void endpoint_release(struct endpoint *endpoint);

#endif
