/* SPDX-License-Identifier: Apache-2.0 */
/* The first request on a connection, and what comes back: the session, and the descriptors of its pool. */
#ifndef CLIENT_HELLO_H
#define CLIENT_HELLO_H

#include <stdint.h>

#include "exchange.h"
#include "mapping.h"

#define HELLO_PROTOCOL_VERSION 1
#define HELLO_TOKEN_SIZE 16

struct hello {
	/* Asked for. Strings are borrowed. */
	const char *path;           /* of the socket, for sentences */
	const char *pool, *program; /* never NULL */
	enum shmb_access access;
	uint32_t timeout_ms;     /* for sentences */
	struct mapping *mapping; /* borrowed, new: gets the descriptors, and is open at the end */

	/* Granted. */
	uint32_t session, incarnation, max_batch;
	uint8_t token[HELLO_TOKEN_SIZE];
};

/*
 * Says hello on a connected socket that no other thread uses yet, and waits for the answer until `deadline`. On success the
 * connection has its slots and the mapping is open. A negative SHMB_E_* with its sentence; what the mapping got is then still
 * its own.
 */
int hello_exchange(struct hello *hello, struct exchange *exchange, int64_t deadline);

#endif
