/* SPDX-License-Identifier: Apache-2.0 */
/*
 * known_block: a block, and what holds it. It lives while anything does. Its bytes are a pattern that its id gives.
 */
#ifndef TESTS_INTEGRATION_MODEL_KNOWN_BLOCK_H
#define TESTS_INTEGRATION_MODEL_KNOWN_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shmbuddy.h"
#include "tests/integration/model/actor.h"

#define KNOWN_BLOCKS 680 /* three models have fewer than the pool can have */

struct known_block {
	shmb_block block; /* of the last that was here, whether it lives or not; id 0: none was */
	bool live;
	char tag[SHMB_TAG_MAX + 1];
	bool sealed, cached;
	size_t metadata_size;
	uint8_t metadata[SHMB_METADATA_MAX];
	uid_t uid;                   /* who allocated it */
	int owner;                   /* actor, or NOBODY */
	unsigned references[ACTORS]; /* beside the owner's hold; by request or by hold page, that is all one */
	unsigned names, tickets;     /* that hold it */
	unsigned links_to;           /* that hold it, from others */
	uint64_t ttl_ms;             /* time to live that it was given last, so far away that it never comes; 0: none */
};

/* A place for one more, or NULL. */
struct known_block *known_block_vacancy(void);

/* One that was ever there, mostly one that lives; NULL where none was. One that the actor holds, if one is easily found. */
struct known_block *known_block_any(void);
struct known_block *known_block_of(const struct actor *actor);

/* The one with this id, whether it lives or not, or NULL. */
struct known_block *known_block_find(uint64_t id);

/* The actor has allocated it. */
void known_block_add(struct known_block *place, const struct actor *actor, const shmb_block *block, const char *tag);

/* It has another size, in its place. */
void known_block_resize(struct known_block *block, uint64_t size, uint64_t granted);

/* How often the actor holds it. */
unsigned known_block_holds(const struct known_block *block, const struct actor *actor);
bool known_block_is_held(const struct known_block *block); /* by any session */

/* Gives one of the actor's holds back, its ownership last. */
void known_block_let_go(struct known_block *block, const struct actor *actor);

/* It ends, with its links, if nothing holds it any more. */
void known_block_settle(struct known_block *block);

/* The daemon has taken it away, with whatever holds it: only circles did. What only it held ends too. */
void known_block_lose(struct known_block *block);

/* Is it a cache block that nobody holds, and may go when memory is needed? */
bool known_block_is_idle(const struct known_block *block);
unsigned known_block_count_cached(void);

/* So it has gone, with its names and its time to live. */
void known_block_evict(struct known_block *block);

/* Its time to live has passed: its names go, and nothing keeps it as a cache block. */
void known_block_expire(struct known_block *block);

/* Fails unless its metadata are what they should be. */
void known_block_check_metadata(const struct known_block *block);

/* Fails unless its bytes are there, or it has gone meanwhile, as what only circles hold may. */
void known_block_check_bytes(const struct known_block *block);

/* Live ones; bytes set aside for them, and asked for. */
uint64_t known_block_count(void);
uint64_t known_block_used(void);
uint64_t known_block_requested(void);

int known_block_number(const struct known_block *block);

#endif
