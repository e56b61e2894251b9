/* SPDX-License-Identifier: Apache-2.0 */
/* Takes over the tables that a former daemon left: the story is told in takeover.c. Loop thread, before anybody is let in. */
#ifndef SERVER_TAKEOVER_H
#define SERVER_TAKEOVER_H

struct pool;

/*
 * Fills the private side of a pool that was adopted (pool.h), and mends what a kill left half done; that frees blocks, so it comes after
 * reclaim_init. 0; -EUCLEAN: the tables contradict themselves, nothing was erased, what was mended before is as it should be; or -ENOMEM.
 * On failure only reclaim_deinit and pool_close may follow.
 */
int takeover_run(struct pool *pool);

#endif
