/* SPDX-License-Identifier: Apache-2.0 */
/* What the rooms of a connection ask of the one that reads replies. Under the owner's lock. */
#ifndef CLIENT_CONNECTION_REPLIES_H
#define CLIENT_CONNECTION_REPLIES_H

#include "connection.h"

/* Completes the calls whose replies are whole in the input queue. */
void connection_take_replies(struct connection *connection);

#endif
