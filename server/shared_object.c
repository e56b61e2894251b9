/* SPDX-License-Identifier: Apache-2.0 */
/* POSIX shared-memory objects: see shared_object.h. */
#include "shared_object.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

void shared_object_init(struct shared_object *object, const char *pool, const char *kind)
{
	*object = (struct shared_object){.fd = -1};
	snprintf(object->name, sizeof object->name, "/shmbuddy.%s%s", pool, kind);
}

void shared_object_deinit(struct shared_object *object)
{
	if (object->base)
		munmap(object->base, object->size);
	if (object->fd >= 0)
		close(object->fd);
	object->base = NULL;
	object->fd = -1;
}

/* shm_open follows no symbolic links and sets close-on-exec, shm_open(3). */
static int open_object(const char *name, int flags, int *out_fd)
{
	int fd = shm_open(name, flags, 0600);

	if (fd < 0)
		return -errno;
	*out_fd = fd;
	return 0;
}

int shared_object_create(struct shared_object *object, uint64_t size)
{
	CLEANUP_CLOSE int fd = -1;
	int result = open_object(object->name, O_RDWR | O_CREAT | O_EXCL, &fd);

	if (result < 0)
		return result;
	/* fchmod: the mode must not depend on the umask. */
	if (fchmod(fd, 0600) < 0 || ftruncate(fd, (off_t)size) < 0) {
		result = -errno;
		shm_unlink(object->name);
		return result;
	}
	object->fd = take_fd(&fd);
	object->size = size;
	return 0;
}

/* Does the name still lead to the object behind `fd`? Another daemon may have removed it between our open and our lock. */
static int same_by_name(const char *name, const struct stat *ours)
{
	CLEANUP_CLOSE int fd = -1;
	struct stat now;
	int result = open_object(name, O_RDONLY, &fd);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	if (fstat(fd, &now) < 0)
		return -errno;
	return now.st_dev == ours->st_dev && now.st_ino == ours->st_ino;
}

int shared_object_lock(struct shared_object *object, uint64_t *out_size)
{
	for (;;) {
		CLEANUP_CLOSE int fd = -1;
		struct stat status;
		int result = open_object(object->name, O_RDWR | O_CREAT, &fd);

		if (result < 0)
			return result;
		if (fstat(fd, &status) < 0)
			return -errno;
		/* A second name (hard link) would outlive ours; a foreign owner or mode would let others in. */
		if (!S_ISREG(status.st_mode) || status.st_uid != geteuid())
			return -EPERM;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return -errno;
		/* An odd umask gives a new object too few rights. */
		bool too_few = (status.st_mode & 07777) != 0600 && (status.st_mode & 07777 & ~0600u) == 0;
		if (status.st_size == 0 && too_few && fchmod(fd, 0600) == 0 && fstat(fd, &status) < 0)
			return -errno;
		result = same_by_name(object->name, &status);
		if (result < 0)
			return result;
		if (result == 0)
			continue;
		if ((status.st_mode & 07777) != 0600 || status.st_nlink != 1)
			return -EPERM;
		object->fd = take_fd(&fd);
		object->size = (uint64_t)status.st_size;
		*out_size = object->size;
		return 0;
	}
}

int shared_object_open(struct shared_object *object)
{
	CLEANUP_CLOSE int fd = -1;
	struct stat status;
	int result = open_object(object->name, O_RDWR, &fd);

	if (result < 0)
		return result;
	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 07777) != 0600)
		return -EPERM;
	object->fd = take_fd(&fd);
	object->size = (uint64_t)status.st_size;
	return 0;
}

int shared_object_resize(struct shared_object *object, uint64_t size)
{
	if (ftruncate(object->fd, 0) < 0 || ftruncate(object->fd, (off_t)size) < 0)
		return -errno;
	object->size = size;
	return 0;
}

int shared_object_set_end(struct shared_object *object, uint64_t size)
{
	assert(!object->base); /* its length is the mapping's as well */
	if (ftruncate(object->fd, (off_t)size) < 0)
		return -errno;
	object->size = size;
	return 0;
}

int shared_object_map(struct shared_object *object)
{
	void *base = mmap(NULL, object->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, object->fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	object->base = base;
	return 0;
}

int shared_object_commit(const struct shared_object *object, uint64_t offset, uint64_t length)
{
	int result;

	do
		result = fallocate(object->fd, 0, (off_t)offset, (off_t)length);
	while (result < 0 && errno == EINTR);
	return result < 0 ? -errno : 0;
}

int shared_object_reopen(const struct shared_object *object, int flags, int *out_fd)
{
	char path[64];

	/* By descriptor, not by name: what we hand out is what we hold, whatever became of the name. */
	snprintf(path, sizeof path, "/proc/self/fd/%d", object->fd);
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*out_fd = fd;
	return 0;
}

int shared_object_inode(const struct shared_object *object, uint64_t *out_inode)
{
	struct stat status;

	if (fstat(object->fd, &status) < 0)
		return -errno;
	*out_inode = status.st_ino;
	return 0;
}

int shared_object_unlink(const struct shared_object *object)
{
	return shm_unlink(object->name) < 0 ? -errno : 0;
}
