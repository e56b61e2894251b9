/* SPDX-License-Identifier: Apache-2.0 */
/* The liveness lock: see liveness.h. Open file description locks, fcntl(2). */
#include "liveness.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shared_object.h"
#include "view_layout.h"

static struct flock lock_of(uint64_t serial, short type)
{
	return (struct flock){
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = VIEW_LOCKS_AT + (off_t)serial,
		.l_len = 1,
	};
}

int liveness_open_lock(const struct shared_object *view, uint64_t serial, int *out_fd)
{
	struct flock lock = lock_of(serial, F_RDLCK);
	int fd, result = shared_object_reopen(view, O_RDONLY, &fd);

	if (result < 0)
		return result;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		result = -errno;
		close(fd);
		return result;
	}
	*out_fd = fd;
	return 0;
}

bool liveness_lock_is_free(const struct shared_object *view, uint64_t serial)
{
	/* Would a write lock be granted to the daemon's own description? */
	struct flock lock = lock_of(serial, F_WRLCK);

	return fcntl(view->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}
