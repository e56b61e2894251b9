/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold SIZE: allocates a block, fills it, says so in one line, and waits to be killed. For tests and the demo: what it
 * holds must come back however it dies. The socket is $SHMBUDDY_SOCKET.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shmbuddy.h"
#include "size.h"

int main(int argc, char **argv)
{
	shmb_session *session;
	shmb_block block;
	uint64_t size;

	if (argc != 2 || size_parse(argv[1], &size) != 0) {
		fprintf(stderr, "usage: hold SIZE\n");
		return 2;
	}
	if (shmb_connect(NULL, &session) != 0 || shmb_alloc(session, size, NULL, &block) != 0) {
		fprintf(stderr, "hold: %s\n", shmb_last_error());
		return 1;
	}
	memset(block.data, 0x5a, block.size);
	printf("process %ld holds block %" PRIu64 " of %" PRIu64 " bytes\n", (long)getpid(), block.handle.id, block.size);
	fflush(stdout);
	for (;;)
		pause();
}
