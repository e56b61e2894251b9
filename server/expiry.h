/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of tickets and blocks that have come to their deadlines: the daemon's own act, in expiry.c. Loop thread only. */
#ifndef SERVER_EXPIRY_H
#define SERVER_EXPIRY_H

struct pool;

/* From now on, until deadlines_stop, what comes to its deadline expires; what has come to it while there was no daemon, soon. */
void expiry_start(struct pool *pool);

#endif
