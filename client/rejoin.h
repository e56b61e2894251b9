/* SPDX-License-Identifier: Apache-2.0 */
/* A session loses its daemon, and finds the next one, or is over: what its exchange and its connection call. The story: rejoin.c. */
#ifndef CLIENT_REJOIN_H
#define CLIENT_REJOIN_H

#include "exchange.h"

/* See struct exchange: finds the daemon again. */
int rejoin(struct exchange *exchange, int64_t deadline);

/* See struct connection: the daemon has said that the session is to end. Under the mutex. */
void rejoin_told_over(struct connection *connection, uint32_t incarnation);

#endif
