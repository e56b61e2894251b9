/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One of a pool's POSIX shared-memory objects: made, locked, mapped, committed piece by piece, and removed by the daemon.
 * Owned by the pool. Functions return 0 or a negative errno.
 */
#ifndef SERVER_SHARED_OBJECT_H
#define SERVER_SHARED_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#define SHARED_OBJECT_NAME_MAX 128

struct shared_object {
	char name[SHARED_OBJECT_NAME_MAX]; /* as shm_open takes it */
	int fd;                            /* read-write, close-on-exec, never given away; -1: none */
	void *base;                        /* where it is mapped, NULL: nowhere */
	uint64_t size;                     /* bytes */
};

/* `kind` is "", ".view" or ".state". */
void shared_object_init(struct shared_object *object, const char *pool, const char *kind);

/* Closes and unmaps; the object stays in the system. */
void shared_object_deinit(struct shared_object *object);

/* Makes the object anew, mode 0600 and sparse. -EEXIST. */
int shared_object_create(struct shared_object *object, uint64_t size);

/*
 * Opens the object, or makes it empty, and takes the exclusive lock on it, which lasts until deinit. -EWOULDBLOCK: another
 * process has the lock. -EPERM: it is not a plain object of ours with mode 0600. `out_size` is what it holds: 0 for a new one.
 */
int shared_object_lock(struct shared_object *object, uint64_t *out_size);

/* Opens the object that is there, and finds out its size. -ENOENT; -EPERM: it is not a plain object of ours with mode 0600. */
int shared_object_open(struct shared_object *object);

/* Empties a locked object and gives it a new size. */
int shared_object_resize(struct shared_object *object, uint64_t size);

/* Makes it end at `size`, longer or shorter; what lies before stays. -EFBIG: over the limit of files, setrlimit(2). Not for one that is mapped. */
int shared_object_set_end(struct shared_object *object, uint64_t size);

/* Maps the whole object, read-write, shared. */
int shared_object_map(struct shared_object *object);

/* Has the kernel set memory aside for the pages of [offset, offset + length): a later store cannot fail. -ENOSPC, -ENOMEM. */
int shared_object_commit(const struct shared_object *object, uint64_t offset, uint64_t length);

/* Opens a description of its own for the object, `flags` O_RDONLY or O_RDWR, close-on-exec; the caller closes it. */
int shared_object_reopen(const struct shared_object *object, int flags, int *out_fd);

int shared_object_inode(const struct shared_object *object, uint64_t *out_inode);

/* Takes the object's name out of the system. -ENOENT where it has none. */
int shared_object_unlink(const struct shared_object *object);

/* The whole pages that `bytes` take. */
static inline uint64_t shared_object_round(uint64_t bytes)
{
	return (bytes + 4095) & ~UINT64_C(4095);
}

#endif
