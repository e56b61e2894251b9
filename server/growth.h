/* SPDX-License-Identifier: Apache-2.0 */
/* Growing a pool: the story is told in growth.c. Loop thread, at the end of a taking over, before anybody is let in. */
#ifndef SERVER_GROWTH_H
#define SERVER_GROWTH_H

struct pool;

/* Makes a pool that was adopted as large as pool->grown_size says. 0, or -errno, logged: then it is as large as it was. */
int growth_run(struct pool *pool);

#endif
