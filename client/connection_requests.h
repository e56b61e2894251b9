/* SPDX-License-Identifier: Apache-2.0 */
/* What the rooms of a connection ask of the one that packs requests; connection.h has what others may. Under the owner's lock. */
#ifndef CLIENT_CONNECTION_REQUESTS_H
#define CLIENT_CONNECTION_REQUESTS_H

#include "connection.h"

/* On a new socket: queues what has no answer yet once more, and lets go of what nobody wants to know any more. -ENOMEM. */
int connection_queue_again(struct connection *connection);

/* Queues a request of the library's own in a slot that is busy and has no call. -ENOMEM, -EMSGSIZE: nothing was queued. */
int connection_queue_own(struct connection *connection, uint32_t index, Shmbuddy__V1__Request *request);

#endif
