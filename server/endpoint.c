/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The path on which the daemon listens: see endpoint.h.
 *
 * A daemon that is killed leaves its socket file behind; connecting to it is refused, and bind(2) refuses as well. Whoever wants to
 * remove it must know that nobody is about to listen there: hence the lock file, held as long as the daemon lives. Something that
 * listens without the lock is not our daemon: it is left alone.
 */
#include "endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cleanup.h"

#ifdef SHMB_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#define WHY_SIZE 512

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83 /* asm-generic/socket.h, since Linux 6.16 */
#endif

/*
 * Nobody has to send us descriptors. Where the kernel can, it refuses them at the sender; elsewhere they are dropped unseen
 * by our read(2), which closes them: a client could make that close linger.
 */
static void refuse_descriptors(int fd)
{
	int off = 0;

	setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off);
}

static int take_lock(struct endpoint *endpoint, char *out_why)
{
	for (;;) {
		CLEANUP_CLOSE int fd = open(endpoint->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
		struct stat ours, now;

		if (fd < 0) {
			int result = -errno;
			const char *remedy = errno == ENOENT ? "make its folder, or " : "";
			snprintf(out_why, WHY_SIZE, "cannot make the lock file %s: %s: %schoose another --socket", endpoint->lock_path,
			         strerror(-result), remedy);
			return result;
		}
		if (fstat(fd, &ours) < 0 || !S_ISREG(ours.st_mode) || ours.st_uid != geteuid()) {
			snprintf(out_why, WHY_SIZE, "the lock file %s is not ours: remove it, or choose another --socket",
			         endpoint->lock_path);
			return -EPERM;
		}
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			int result = -errno;
			if (result == -EWOULDBLOCK)
				snprintf(out_why, WHY_SIZE, "another daemon serves %s: stop that one, or choose another --socket",
				         endpoint->path);
			else
				snprintf(out_why, WHY_SIZE, "cannot lock %s: %s", endpoint->lock_path, strerror(-result));
			return result;
		}
		/* A daemon that just ended has removed the file that we locked: take the new one. */
		if (stat(endpoint->lock_path, &now) < 0 || now.st_ino != ours.st_ino || now.st_dev != ours.st_dev)
			continue;
		endpoint->lock_fd = take_fd(&fd);
		return 0;
	}
}

/* 0: nobody listens, and the path is free now. */
static int clear_path(const struct endpoint *endpoint, const struct sockaddr_un *address, char *out_why)
{
	struct stat status;

	if (lstat(endpoint->path, &status) < 0) {
		if (errno == ENOENT)
			return 0;
		int result = -errno;
		snprintf(out_why, WHY_SIZE, "cannot look at %s: %s", endpoint->path, strerror(errno));
		return result;
	}
	if (!S_ISSOCK(status.st_mode)) {
		snprintf(out_why, WHY_SIZE, "%s is there and is no socket: remove it, or choose another --socket", endpoint->path);
		return -EEXIST;
	}
	CLEANUP_CLOSE int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe < 0)
		return -errno;
	/* EAGAIN: somebody listens, and the queue is full. */
	if (connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 || errno != ECONNREFUSED) {
		snprintf(out_why, WHY_SIZE, "something that is not shmbuddyd listens on %s: stop it, or choose another --socket",
		         endpoint->path);
		return -EADDRINUSE;
	}
	if (unlink(endpoint->path) < 0) {
		int result = -errno;
		snprintf(out_why, WHY_SIZE, "cannot remove the stale socket %s: %s", endpoint->path, strerror(errno));
		return result;
	}
	return 0;
}

static int bind_socket(struct endpoint *endpoint, const struct sockaddr_un *address, char *out_why)
{
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat status = {0};
	int result = 0;

	if (fd < 0)
		return -errno;
	mode_t before = umask(0117); /* the file is made with mode 0660: there is no moment with another */
	if (bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 || lstat(endpoint->path, &status) < 0)
		result = -errno;
	umask(before);
	if (result < 0) {
		snprintf(out_why, WHY_SIZE, "cannot listen on %s: %s", endpoint->path, strerror(-result));
		return result;
	}
	refuse_descriptors(fd);
	endpoint->device = status.st_dev;
	endpoint->inode = status.st_ino;
	endpoint->fd = take_fd(&fd);
	return 0;
}

int endpoint_claim(struct endpoint *endpoint, const char *path, char *out_why)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*endpoint = (struct endpoint){.lock_fd = -1, .fd = -1};
	if (strlen(path) >= sizeof address.sun_path) {
		snprintf(out_why, WHY_SIZE,
		         "the socket's path has %zu bytes, and the system takes %zu at most: choose a shorter --socket",
		         strlen(path), sizeof address.sun_path - 1);
		return -ENAMETOOLONG;
	}
	strcpy(endpoint->path, path);
	strcpy(address.sun_path, path);
	snprintf(endpoint->lock_path, sizeof endpoint->lock_path, "%s.lock", path);
	int result = take_lock(endpoint, out_why);
	if (result == 0)
		result = clear_path(endpoint, &address, out_why);
	if (result == 0)
		result = bind_socket(endpoint, &address, out_why);
	if (result < 0)
		endpoint_release(endpoint);
	return result;
}

int endpoint_inherit(struct endpoint *endpoint, char *out_why)
{
	*endpoint = (struct endpoint){.lock_fd = -1, .fd = -1};
#ifdef SHMB_HAVE_SYSTEMD
	int count = sd_listen_fds(1);
	if (count <= 0)
		return 0;
	if (count != 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_STREAM, 1) <= 0) {
		snprintf(out_why, WHY_SIZE,
		         "systemd must pass exactly one listening Unix stream socket, and passed %d: mend the .socket unit", count);
		return -EINVAL;
	}
	endpoint->fd = SD_LISTEN_FDS_START;
	refuse_descriptors(endpoint->fd);
	return 1;
#else
	(void)out_why;
	return 0;
#endif
}

void endpoint_release(struct endpoint *endpoint)
{
	struct stat status;

	if (endpoint->fd >= 0)
		close(endpoint->fd);
	if (endpoint->inode && lstat(endpoint->path, &status) == 0 && status.st_ino == endpoint->inode &&
	    status.st_dev == endpoint->device)
		unlink(endpoint->path);
	if (endpoint->lock_fd >= 0) {
		unlink(endpoint->lock_path); /* while we hold it: whoever has it open looks at the path again */
		close(endpoint->lock_fd);
	}
	*endpoint = (struct endpoint){.lock_fd = -1, .fd = -1};
}
