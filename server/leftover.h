/* SPDX-License-Identifier: Apache-2.0 */
/* What a former daemon left of a pool: whether it is to be taken over, and its objects. Under the lock on the state. */
#ifndef SERVER_LEFTOVER_H
#define SERVER_LEFTOVER_H

#include <stdint.h>

struct pool;
struct pool_options;

enum leftover {
	LEFTOVER_NONE,    /* nothing, or nothing that anybody was ever given: half made, or ephemeral */
	LEFTOVER_DISCARD, /* to be thrown away, as the operator wants */
	LEFTOVER_ADOPT,   /* to be taken over */
};

/*
 * Looks at a state of `size` bytes. 0; -EUCLEAN: it cannot be served as it is, and the log says why and what to do.
 */
int leftover_examine(struct pool *pool, const struct pool_options *options, uint64_t size, enum leftover *out_leftover);

/* What is in it, for people who are told that it is thrown away; as its counters say, which are not checked. */
#define LEFTOVER_TEXT_MAX 96
void leftover_describe(const struct pool *pool, char out_text[LEFTOVER_TEXT_MAX]);

/* Opens and maps the objects of a pool that is to be taken over. 0, -EUCLEAN, or another -errno, logged. */
int leftover_open(struct pool *pool);

#endif
