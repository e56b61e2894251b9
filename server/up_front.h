/* SPDX-License-Identifier: Apache-2.0 */
/* Commits a whole pool before anybody is let in (--commit up-front). Loop thread, before the loop runs. */
#ifndef SERVER_UP_FRONT_H
#define SERVER_UP_FRONT_H

#include <stdbool.h>

struct pool;

/*
 * Has the kernel back every page of the segment that it does not back yet. `is_over` is asked now and then whether the daemon is to end.
 * 0; -ECANCELED: it is; -ENOSPC, -ENOMEM, or another -errno, logged with figures: what is committed by then stays so.
 */
int up_front_commit(struct pool *pool, bool (*is_over)(void));

#endif
