/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Allocates, frees, and sees an allocation refused. On a pool of 1,024 bytes (shmbuddyd --size 1K --min-block 16) it prints
 *
 *     Block1 allocated
 *     Block2 allocated
 *     Block1 freed
 *     Out of memory
 *
 * because 256 bytes are still in use when it asks for all 1,024.
 */
#include <shmbuddy.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every call that fails says why in shmb_last_error(). Closing the session gives back whatever it still holds. */
static void fail(shmb_session *session, const char *what)
{
	fprintf(stderr, "malloc_demo: %s: %s\n", what, shmb_last_error());
	shmb_close(session);
	exit(EXIT_FAILURE);
}

int main(void)
{
	shmb_session *session = NULL;
	shmb_block block1, block2, block3;
	int result;

	/* NULL: the default socket ($SHMBUDDY_SOCKET, if it is set) and the daemon's first pool */
	if (shmb_connect(NULL, &session) < 0)
		fail(session, "connecting");

	/* A block is memory that every client of the pool can map. block1.data is where it is in this process. */
	if (shmb_alloc(session, 256, NULL, &block1) < 0)
		fail(session, "allocating block 1");
	memset(block1.data, 1, block1.size);
	puts("Block1 allocated");

	if (shmb_alloc(session, 256, NULL, &block2) < 0)
		fail(session, "allocating block 2");
	memset(block2.data, 2, block2.size);
	puts("Block2 allocated");

	/* Blocks are freed by handle, not by address: a handle is never used again, so freeing twice is an error, not a crash. */
	if (shmb_free(session, block1.handle) < 0)
		fail(session, "freeing block 1");
	puts("Block1 freed");

	result = shmb_alloc(session, 1024, NULL, &block3);
	if (result == -SHMB_E_OUT_OF_MEMORY)
		puts("Out of memory"); /* shmb_out_of_memory() has the details: how much is free, and who holds the rest */
	else if (result < 0)
		fail(session, "allocating block 3");
	else
		puts("Block3 allocated"); /* the pool is larger than 1,024 bytes */

	shmb_close(session); /* block 2 goes back with it */
	return EXIT_SUCCESS;
}
