/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first request on a socket, and what comes back: a new session with the descriptors of its pool, or the session that was there
 * before, which has them.
 */
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
	uint32_t timeout_ms; /* for sentences */
	struct mapping *
		mapping; /* borrowed, new: gets the descriptors, and is open at the end; NULL: the session of `token` is taken up again */

	bool adopt;     /* the token is a clone's, of a pool of that incarnation */
	uint32_t kinds; /* of events, that the session is subscribed to; 0: none */
	const char *prefix;
	bool subscribed; /* granted */

	/* Granted; of a session that is taken up again what it was granted, and still must be. */
	uint32_t session, incarnation, max_batch;
	uint8_t token[HELLO_TOKEN_SIZE];

	uint32_t pool_incarnation; /* with SESSION_ENDED: of the pool that is there now; 0: the daemon did not say */
};

/*
 * Says hello on the exchange's joining connection, whose socket is connected, and waits for the answer until `deadline`. On success that
 * connection may be adopted, and a new mapping is open. A negative SHMB_E_* with its sentence; what the mapping got is then still
 * its own.
 */
int hello_exchange(struct hello *hello, struct exchange *exchange, int64_t deadline);

#endif
