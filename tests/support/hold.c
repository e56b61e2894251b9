/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold SIZE: allocates a block, fills it, says so in one line, and waits to be killed. For tests and the demo: what it
 * holds must come back however it dies. The socket is $SHMBUDDY_SOCKET.
 * hold SIZE call: makes one call of the library after the other instead, until one fails; then says why and ends with 1.
 * hold SIZE many: 50,000 blocks of that size more.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "size.h"

static bool take_many(shmb_session *session, uint64_t size)
{
	static uint64_t sizes[1000];
	static shmb_block blocks[1000];

	for (unsigned i = 0; i < 1000; i++)
		sizes[i] = size;
	for (unsigned i = 0; i < 50; i++) {
		if (shmb_alloc_batch(session, sizes, 1000, NULL, blocks) < 0)
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	shmb_session *session;
	shmb_block block;
	uint64_t size;
	bool calls = argc == 3 && strcmp(argv[2], "call") == 0, many = argc == 3 && strcmp(argv[2], "many") == 0;

	if (argc != (calls || many ? 3 : 2) || size_parse(argv[1], &size) != 0) {
		fprintf(stderr, "usage: hold SIZE [call | many]\n");
		return 2;
	}
	if (shmb_connect(NULL, &session) != 0 || shmb_alloc(session, size, NULL, &block) != 0) {
		fprintf(stderr, "hold: %s\n", shmb_last_error());
		return 1;
	}
	if (many && !take_many(session, size)) {
		fprintf(stderr, "hold: %s\n", shmb_last_error());
		return 1;
	}
	memset(block.data, 0x5a, block.size);
	printf("process %ld holds block %" PRIu64 " of %" PRIu64 " bytes\n", (long)getpid(), block.handle.id, block.size);
	fflush(stdout);
	if (!calls)
		for (;;)
			pause();
	while (shmb_ping(session) == 0)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	fprintf(stderr, "hold: %s\n", shmb_last_error());
	return 1;
}
