/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a session's hold page (hold_layout.h): made, opened by a later daemon, read, removed. Whose it is, and when, is the
 * session's business. Functions return 0 or a negative errno.
 */
#ifndef SERVER_HOLD_PAGE_H
#define SERVER_HOLD_PAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "hold_layout.h"

/* In place of a page's descriptor: there is none; or there is one that cannot be opened, and what it holds nobody knows. */
#define HOLD_PAGE_NONE (-1)
#define HOLD_PAGE_LOST (-2)

/* Makes it anew, of zeros, committed; one of that name that is left over goes. -ENOSPC, -EMFILE, -ENOMEM. */
int hold_page_create(const char *pool, uint32_t session, int *out_fd, uint64_t *out_inode);

/* Opens the one with this inode. -ENOENT; -EPERM: what is there is another. */
int hold_page_open(const char *pool, uint32_t session, uint64_t inode, int *out_fd);

/*
 * The ids in its slots, as they are now, each read once. What the client has cut off reads as 0, and what it has added is not read: the work is
 * the same whatever it has made of the file. -errno: the kernel cannot read it now (it may have no memory to do so), or it is
 * HOLD_PAGE_LOST (-EBADF), and nothing is known of what it holds.
 */
int hold_page_read(int fd, uint64_t out_slots[HOLD_SLOTS]);

/* Its trail, as it is now. The same. */
int hold_page_read_trail(int fd, uint64_t out_trail[HOLD_TRAIL]);

/* Has the client hear the daemon before it takes hold of anything again. */
void hold_page_notify(int fd);

void hold_page_remove(const char *pool, uint32_t session);

/* All that there are of a pool that is removed. */
void hold_page_remove_all(const char *pool);

/* All but those of sessions of which `is_kept` says so. */
void hold_page_remove_others(const char *pool, bool (*is_kept)(const void *context, uint32_t session), const void *context);

#endif
