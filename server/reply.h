/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: packed straight into the connection's queue. A NULL connection swallows them: its client has gone. Loop thread only. */
#ifndef SERVER_REPLY_H
#define SERVER_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "names.h"
#include "shmbuddy.pb-c.h"

struct connection;
struct pool;
struct session;

/* In a batch's outcome, the index of a block that has been freed since. */
#define REPLY_NO_BLOCK UINT32_MAX

/* Queues a reply; it leaves with the others of this turn, or with connection_flush. */
void reply_send(struct connection *connection, const Shmbuddy__V1__Reply *reply);

/* A reply without a result. `status` is 0 or an ERROR_*; `format` is for people, NULL with status 0: then the error's own sentence. */
__attribute__((format(printf, 5, 6))) void reply_status(struct connection *connection, uint32_t slot, uint64_t sequence,
                                                        int status, const char *format, ...);

/* The result of an allocation or a look-up: the block at this index. */
void reply_block(struct connection *connection, uint32_t slot, uint64_t sequence, const struct pool *pool, uint32_t index);

/* The result of Clone. */
void reply_clone_token(struct connection *connection, uint32_t slot, uint64_t sequence, const struct session *copy);
/* The same for a range of a block; one of zeros is the whole. */
void reply_range(struct connection *connection, uint32_t slot, uint64_t sequence, const struct pool *pool, uint32_t index,
                 struct name_range range);

/* The result of a share: a ticket's token, 16 bytes. */
void reply_ticket(struct connection *connection, uint32_t slot, uint64_t sequence, const uint8_t *token);

/* The result of a resize: the same, and whether it is a new block. */
void reply_resized(struct connection *connection, uint32_t slot, uint64_t sequence, const struct pool *pool, uint32_t index,
                   bool moved);

/* The result of a batch: `count` blocks at these indexes, with ids from `first_id` on. */
void reply_block_batch(struct connection *connection, uint32_t slot, uint64_t sequence, const struct pool *pool,
                       uint64_t first_id, uint32_t *indexes, size_t count);

#endif
