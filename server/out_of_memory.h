/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to an allocation that was refused: why, and who holds the memory. */
#ifndef SERVER_OUT_OF_MEMORY_H
#define SERVER_OUT_OF_MEMORY_H

#include "allocation.h"

struct connection;
struct pool;

/* Replies OUT_OF_MEMORY with the detail, and counts it. */
void out_of_memory_reply(struct connection *connection, const struct slot *slot, struct pool *pool,
                         const struct allocation_refusal *refusal);

#endif
