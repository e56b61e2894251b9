/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drop_caches COUNT SIZE: keeps COUNT blocks of SIZE bytes as a cache, and gives the half of them back whenever the pool comes under
 * pressure, until none is left. Try it with others who need memory: shmbuddy put, or another drop_caches.
 */
#include <shmbuddy.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what)
{
	fprintf(stderr, "drop_caches: %s: %s\n", what, shmb_last_error());
	return EXIT_FAILURE;
}

/* Fills the cache, as far as there is memory. What is in it could be had again: here it is nothing of worth. */
static size_t fill(shmb_session *session, uint64_t size, size_t count, shmb_handle *cache)
{
	shmb_block block;
	size_t filled = 0;

	while (filled < count && shmb_alloc(session, size, &(shmb_alloc_options){.tag = "cache"}, &block) == 0) {
		memset(block.data, 0, block.size);
		cache[filled++] = block.handle;
	}
	return filled;
}

static int run(shmb_session *session, uint64_t size, size_t count, shmb_handle *cache)
{
	shmb_event event;
	int result;

	/* First, so that nothing is missed. Who subscribes while there is pressure already is told so at once. */
	if (shmb_subscribe(session, SHMB_EVENT_PRESSURE, NULL) < 0)
		return fail("subscribing");
	count = fill(session, size, count, cache);
	printf("%zu blocks are in the cache\n", count);
	while (count > 0) {
		fflush(stdout);
		/* Any call on the session takes in events as well, but only this one hands them out. */
		result = shmb_next_event(session, UINT32_MAX, &event);
		if (result < 0)
			return fail("waiting");
		/* SHMB_EVENT_LOST: there may have been pressure, and if there is some, the next event says so. */
		if (event.kind != SHMB_EVENT_PRESSURE || event.pressure == SHMB_PRESSURE_NONE)
			continue;
		for (size_t half = count / 2; count > half; count--) {
			if (shmb_free(session, cache[count - 1]) < 0)
				return fail("giving back");
		}
		printf("%" PRIu64 " bytes are used: %zu blocks are left in the cache\n", event.bytes, count);
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	size_t count = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	uint64_t size = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
	shmb_handle *cache = calloc(count ? count : 1, sizeof *cache);
	shmb_session *session;
	int status;

	if (!cache || count == 0 || size == 0) {
		fprintf(stderr, "usage: drop_caches COUNT SIZE\n");
		free(cache);
		return EXIT_FAILURE;
	}
	if (shmb_connect(NULL, &session) < 0) {
		free(cache);
		return fail("connecting");
	}
	status = run(session, size, count, cache);
	shmb_close(session);
	free(cache);
	return status;
}
