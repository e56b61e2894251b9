/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who pays for a block: to which user's account its bytes are charged. Owned by the pool; derived; loop thread only. The rule is told in
 * payer.c. lifetime.c and dying.c say what happens to a block; nothing here fails, or ever needs memory that was not set aside.
 */
#ifndef SERVER_PAYER_H
#define SERVER_PAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "index_list.h"
#include "pair_index.h"

struct pool;
struct user;

/* A user's holds on a block, but for its ownership and its time to live. */
struct stake {
	uint32_t user;  /* index of the account */
	uint32_t count; /* holds; while it is free: link to the next free one */
};

struct payers {
	struct stake *stakes;
	struct index_link *of_block;   /* list of the stakes in one block */
	struct pair_index by_holder;   /* by account and block */
	uint32_t capacity, used, free; /* stakes; `free` is a link */
	uint32_t *first;               /* by block: head of the list of its stakes */
	uint32_t *moved; /* by block: index of the account that pays, plus one; 0: that of the user that allocated it */
	uint32_t max_blocks;
};

/* `holds`: references, names, tickets and links that there may be, together. -ENOMEM. */
int payers_init(struct payers *payers, uint32_t max_blocks, uint64_t holds);
void payers_deinit(struct payers *payers);

/* A block comes to be, or was found at the start: it is charged to the user that allocated it, whose account must be there. */
void payer_begin(struct pool *pool, uint32_t block, struct user *user);

/* It is freed: nobody pays for it any more. Its record says still what it was. */
void payer_end(struct pool *pool, uint32_t block);

/* It has another size: what was set aside for it before. */
void payer_resized(struct pool *pool, uint32_t block, uint64_t former_granted);

/* A user holds the block once more, or once less, by a reference, a name, a ticket or a link. */
void payer_hold(struct pool *pool, uint32_t block, struct user *user);
void payer_let_go(struct pool *pool, uint32_t block, struct user *user);

/* Its owner, its time to live, or its being a cache block, has come or gone. */
void payer_settle(struct pool *pool, uint32_t block);

/* Nothing that is known holds the block; a session of this user has it in its hold page. */
void payer_found(struct pool *pool, uint32_t block, struct user *user);

/* Does another user than this one hold the block, by a reference, a name, a ticket or a link? However many they are: O(1). */
bool payer_others_hold(const struct pool *pool, uint32_t block, uint32_t uid);

/* The account that the block is charged to. */
struct user *payer_of(struct pool *pool, uint32_t block);

#endif
