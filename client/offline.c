/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a view by its name. Nobody has vouched for what lies there: the daemon may be making it this moment, may have ended
 * while it did, or it is no view at all. And a page of it that nobody has written must not be read by way of a mapping: the
 * kernel would back it, at the daemon's expense, or, where /dev/shm is full, kill the reader with SIGBUS. Hence:
 *
 * - The first word is read with pread, which takes a hole for zeros and leaves it one. The daemon stores it last, so from
 *   there on header and counters are backed.
 * - Tables are read no further than the counters say that they were ever used, as in any session; and that is believed only
 *   where the kernel backs as much as it would take.
 *
 * Everything else is checked by whoever reads it (view.h). A view that is removed or replaced while it is mapped stays as it is.
 */
#include "offline.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "last_error.h"
#include "name.h"

#define PREFIX "shmbuddy."
#define SUFFIX ".view"
#define FOLDER "/dev/shm" /* where shm_open looks, shm_overview(7) */

/* Room for the name of an object, with its slash. */
#define OBJECT_MAX (1 + sizeof PREFIX + SHMB_POOL_NAME_MAX + sizeof SUFFIX)

/* Room for the names of the pools that are there; where they do not all fit, an ellipsis says so. */
#define LIST_MAX 256

int offline_refuse(void)
{
	return last_error_set(ERROR_NO_DAEMON, "this session only reads the view of its pool and asks no daemon (SHMB_OFFLINE): "
	                                       "connect with SHMB_READ_ONLY or SHMB_READ_WRITE for that");
}

/* ---- Which pools there are -------------------------------------------------------------------------------------- */

static size_t pool_length(const char *object)
{
	size_t length = strlen(object);

	return length > strlen(PREFIX SUFFIX) ? length - strlen(PREFIX SUFFIX) : 0;
}

static int is_view(const struct dirent *entry)
{
	size_t length = pool_length(entry->d_name);

	return strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0 &&
	       pool_name_check(entry->d_name + strlen(PREFIX), length) == 0 &&
	       strcmp(entry->d_name + strlen(PREFIX) + length, SUFFIX) == 0;
}

/* Their names in alphabetical order; nothing where there are none or nobody may look. */
static void list_pools(char out_list[LIST_MAX])
{
	struct dirent **entries = NULL;
	int count = scandir(FOLDER, &entries, is_view, alphasort);
	bool full = false;
	size_t used = 0;

	out_list[0] = '\0';
	for (int i = 0; i < count; i++) {
		int length = (int)pool_length(entries[i]->d_name);

		if (!full && used + (size_t)length + sizeof ", , …" > LIST_MAX) {
			full = true;
			snprintf(out_list + used, LIST_MAX - used, ", …");
		}
		if (!full)
			used += (size_t)snprintf(out_list + used, LIST_MAX - used, "%s%.*s", used ? ", " : "", length,
			                         entries[i]->d_name + strlen(PREFIX));
		free(entries[i]);
	}
	free(entries);
}

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

static int no_such_pool(const char *pool, const char *object)
{
	char list[LIST_MAX];

	list_pools(list);
	if (!list[0])
		return last_error_set(ERROR_NO_SUCH_POOL, "there is no pool %s: " FOLDER "%s does not exist, nor that of any other",
		                      pool, object);
	return last_error_set(ERROR_NO_SUCH_POOL, "there is no pool %s: " FOLDER "%s does not exist; there are: %s", pool,
	                      object, list);
}

static int denied(const char *object)
{
	char path[sizeof FOLDER + OBJECT_MAX];
	struct stat status;

	snprintf(path, sizeof path, FOLDER "%s", object);
	if (lstat(path, &status) < 0)
		return last_error_set(ERROR_DENIED, "no permission to read " FOLDER "%s: run this as root", object);
	return last_error_set(ERROR_DENIED,
	                      "no permission to read " FOLDER "%s, which belongs to uid %u: run this as that user, or as root",
	                      object, (unsigned)status.st_uid);
}

static int open_object(const char *pool, const char *object, int *out_fd)
{
	int fd = shm_open(object, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);

	if (fd >= 0)
		*out_fd = fd;
	else if (errno == ENOENT)
		return no_such_pool(pool, object);
	else if (errno == EACCES || errno == EPERM)
		return denied(object);
	else
		return last_error_system(errno, "cannot open " FOLDER "%s", object);
	return 0;
}

static int half_made(const char *pool, const char *object)
{
	return last_error_set(ERROR_NO_SUCH_POOL,
	                      "the pool %s is not complete (" FOLDER
	                      "%s): its daemon is just starting, or ended while it made it; try "
	                      "again, or start it anew",
	                      pool, object);
}

static int damaged(const char *object, const char *what)
{
	return last_error_set(ERROR_CORRUPT, FOLDER "%s is damaged, or no view of a pool: %s", object, what);
}

static int check_whole(const char *pool, const char *object, int fd, uint64_t *out_size)
{
	struct stat status;
	uint64_t magic = 0;

	if (fstat(fd, &status) < 0)
		return last_error_system(errno, "cannot examine " FOLDER "%s", object);
	if (!S_ISREG(status.st_mode))
		return damaged(object, "it is no plain file");
	if (status.st_size == 0)
		return half_made(pool, object);
	if (status.st_size < VIEW_INDEX_AT)
		return damaged(object, "it is too short");
	if (pread(fd, &magic, sizeof magic, 0) != sizeof magic || magic == 0)
		return half_made(pool, object);
	*out_size = (uint64_t)status.st_size;
	return 0;
}

/* Bytes, whole pages, that hold the words of so many records. More is not read of one that does not live. */
static uint64_t words_end(uint64_t records, uint64_t size)
{
	uint64_t end = records ? (records - 1) * size + sizeof(uint64_t) : 0;

	return (end + 4095) / 4096 * 4096;
}

/* As many records as the counters speak of cannot lie in less memory. It only grows, hence the counters first. */
static bool is_backed(const struct view *view, int fd)
{
	uint64_t blocks = atomic_load_explicit(&view->counters->block_records, memory_order_acquire);
	uint64_t names = atomic_load_explicit(&view->counters->name_records, memory_order_acquire);
	uint64_t metadata = atomic_load_explicit(&view->counters->metadata_records, memory_order_acquire);
	struct stat status;

	if (blocks == 0 && names == 0 && metadata == 0)
		return true;
	if (blocks > view->header->max_blocks || names > view->header->max_names || metadata > view->header->max_names ||
	    fstat(fd, &status) < 0)
		return false;
	return view->header->names_at + words_end(names, sizeof(struct name_record)) +
	           words_end(blocks, sizeof(struct block_record)) + words_end(metadata, sizeof(struct metadata_record)) <=
	       (uint64_t)status.st_blocks * 512;
}

static int map(const char *object, int fd, uint64_t size, struct mapping *mapping)
{
	void *base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return last_error_system(errno, "cannot map " FOLDER "%s", object);
	mapping->view_base = base;
	mapping->view_length = size;
	if (madvise(base, size, MADV_DONTFORK) < 0)
		return last_error_system(errno, "cannot keep the view's mapping from children");
	return 0;
}

int offline_open(const char *pool, struct mapping *mapping)
{
	CLEANUP_CLOSE int fd = -1;
	char object[OBJECT_MAX];
	uint64_t size = 0;
	int r;

	if (!*pool)
		pool = OFFLINE_DEFAULT_POOL;
	snprintf(object, sizeof object, "/" PREFIX "%s" SUFFIX, pool);
	r = open_object(pool, object, &fd);
	if (r == 0)
		r = check_whole(pool, object, fd, &size);
	if (r == 0)
		r = map(object, fd, size, mapping);
	if (r < 0)
		return r;

	r = view_open(mapping->view_base, mapping->view_length, &mapping->view);
	if (r == -EPROTONOSUPPORT)
		return last_error_set(ERROR_VERSION,
		                      FOLDER
		                      "%s has a layout other than %u, which is what this library reads: install the version of its "
		                      "daemon",
		                      object, VIEW_LAYOUT_VERSION);
	if (r < 0)
		return damaged(object, "its header contradicts itself");
	if (strcmp(mapping->view.header->pool, pool) != 0)
		return damaged(object, "it has the name of another pool");
	if (!is_backed(&mapping->view, fd))
		return damaged(object, "its counters speak of more records than it has");
	return 0;
}
