/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of tickets: each holds one block for whoever knows its token. Owned by the pool, which keeps the list by block; loop thread only.
 *
 * Tokens are 128 random bits. The first half finds the record, by a private index that is keyed at random, so that the time that a guess takes
 * tells nothing about how much of it was right; then all of it is compared, in constant time.
 */
#ifndef SERVER_TICKETS_H
#define SERVER_TICKETS_H

#include <stdint.h>

#include "index_list.h"
#include "pair_index.h"
#include "state_layout.h"
#include "table.h"

#define TICKET_TOKEN_SIZE 16

struct tickets {
	struct table table;
	struct ticket_record *records;
	struct index_link *of_block; /* list of the tickets of one block; its head is in `blocks` */
	struct pair_index by_token;  /* the live ones by the first half of their tokens, which no two share */
	uint64_t count;              /* live ones */
};

/* What a new ticket says. */
struct ticket_content {
	uint64_t id, block_id, deadline;
	uint64_t session; /* SESSION_KEY of the one that makes it */
	uint32_t block, uid, for_uid;
	const uint8_t *token; /* from tickets_draw */
};

int tickets_init(struct tickets *tickets, const struct shared_object *state, uint64_t at, uint32_t capacity);
void tickets_deinit(struct tickets *tickets);

/* A token that no live ticket has. A negative errno where the kernel gives no random bytes. */
int tickets_draw(const struct tickets *tickets, uint8_t out_token[TICKET_TOKEN_SIZE]);

/* Writes a ticket, PENDING, at an index from table_take. */
void tickets_write(struct tickets *tickets, uint32_t index, const struct ticket_content *content);

/* It lives, and can be found from now on; the record says so, or will. For recovery too. */
void tickets_add(struct tickets *tickets, uint32_t index);

/* Moves a record to another state, LIVE or FREE; with FREE it is not found any more, and its index is given back. */
void tickets_set_state(struct tickets *tickets, uint32_t index, enum record_state state);

/* The live ticket with this token, as index plus one; 0: there is none. */
uint32_t tickets_find(const struct tickets *tickets, const uint8_t token[TICKET_TOKEN_SIZE]);

/* The live ticket whose token begins like this one's, as index plus one; 0: there is none. For recovery: there must be none yet. */
uint32_t tickets_find_alike(const struct tickets *tickets, const uint8_t token[TICKET_TOKEN_SIZE]);

/* Over what never changes in a ticket's life. */
uint32_t ticket_checksum(const struct ticket_record *record, uint64_t id);

static inline uint64_t tickets_word(const struct tickets *tickets, uint32_t index)
{
	return atomic_load_explicit(&tickets->records[index].word, memory_order_relaxed);
}

#endif
