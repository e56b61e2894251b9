/* SPDX-License-Identifier: Apache-2.0 */
/* Files of hold pages: see hold_page.h. */
#include "hold_page.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "cleanup.h"
#include "shared_object.h"

/* Where shm_open(3) keeps its objects. */
#define FOLDER "/dev/shm"

static void init(struct shared_object *object, const char *pool, uint32_t session)
{
	char kind[24];

	snprintf(kind, sizeof kind, ".hold.%" PRIu32, session);
	shared_object_init(object, pool, kind);
}

int hold_page_create(const char *pool, uint32_t session, int *out_fd, uint64_t *out_inode)
{
	struct shared_object object;

	init(&object, pool, session);
	shared_object_unlink(&object);
	int result = shared_object_create(&object, HOLD_PAGE_SIZE);
	if (result == 0)
		result = shared_object_commit(&object, 0, HOLD_PAGE_SIZE);
	if (result == 0)
		result = shared_object_inode(&object, out_inode);
	if (result == 0) {
		*out_fd = take_fd(&object.fd);
		return 0;
	}
	if (object.fd >= 0)
		shared_object_unlink(&object);
	shared_object_deinit(&object);
	return result;
}

int hold_page_open(const char *pool, uint32_t session, uint64_t inode, int *out_fd)
{
	struct shared_object object;
	uint64_t found;

	init(&object, pool, session);
	int result = shared_object_open(&object);
	if (result == 0)
		result = shared_object_inode(&object, &found);
	if (result == 0 && found != inode)
		result = -EPERM;
	if (result == 0)
		*out_fd = take_fd(&object.fd);
	shared_object_deinit(&object);
	return result;
}

/* `count` words from `at` on; what is cut off reads as 0. */
static int read_words(int fd, off_t at, uint64_t *out_words, size_t count)
{
	ssize_t got;

	do
		got = pread(fd, out_words, count * sizeof *out_words, at);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	size_t whole = (size_t)got / sizeof *out_words;

	memset(out_words + whole, 0, (count - whole) * sizeof *out_words);
	return 0;
}

int hold_page_read(int fd, uint64_t out_slots[HOLD_SLOTS])
{
	int result = read_words(fd, offsetof(struct hold_page, slots), out_slots, HOLD_SLOTS);

	for (size_t i = 0; i < HOLD_SLOTS && result == 0; i++)
		out_slots[i] &= ~HOLD_CLAIMED;
	return result;
}

int hold_page_read_trail(int fd, uint64_t out_trail[HOLD_TRAIL])
{
	return read_words(fd, offsetof(struct hold_page, trail), out_trail, HOLD_TRAIL);
}

void hold_page_notify(int fd)
{
	uint64_t notice = 1;

	/* Where the client has cut its page off, this gives it one back: nothing that it could not have had. */
	if (pwrite(fd, &notice, sizeof notice, offsetof(struct hold_page, notice)) < 0)
		return; /* it hears by its next request */
}

void hold_page_remove(const char *pool, uint32_t session)
{
	struct shared_object object;

	init(&object, pool, session);
	shared_object_unlink(&object);
}

/* The session whose page has this name, behind its prefix; 0: it is none. */
static uint32_t session_of(const char *number)
{
	char *end;
	unsigned long value = strtoul(number, &end, 10);

	return isdigit((unsigned char)*number) && *number != '0' && !*end && value <= UINT32_MAX ? (uint32_t)value : 0;
}

void hold_page_remove_others(const char *pool, bool (*is_kept)(const void *context, uint32_t session), const void *context)
{
	char prefix[SHARED_OBJECT_NAME_MAX];
	size_t length = (size_t)snprintf(prefix, sizeof prefix, "shmbuddy.%s.hold.", pool);
	DIR *folder = opendir(FOLDER);
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		uint32_t session = strncmp(entry->d_name, prefix, length) == 0 ? session_of(entry->d_name + length) : 0;
		if (session && !is_kept(context, session))
			hold_page_remove(pool, session);
	}
	if (folder)
		closedir(folder);
}

static bool keep_none(const void *context, uint32_t session)
{
	(void)context;
	(void)session;
	return false;
}

void hold_page_remove_all(const char *pool)
{
	hold_page_remove_others(pool, keep_none, NULL);
}
