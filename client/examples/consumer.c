/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consumer NAME [--free]: looks up what a producer published under a name and checks it where it is, without copying it.
 * It prints the same line as the producer, so that the two can be compared. With --free it takes the name away afterwards.
 */
#include <shmbuddy.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a in 64 bits (Fowler, Noll, Vo: isthe.com/chongo/tech/comp/fnv), as in producer.c. */
static uint64_t fnv1a(const unsigned char *bytes, uint64_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (uint64_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "consumer: %s: %s\n", what, why);
	return EXIT_FAILURE;
}

static int consume(shmb_session *session, const char *name, int free_after)
{
	shmb_block block;

	/* Looking it up takes a reference: the block stays until we give it back, even if the name goes meanwhile. */
	if (shmb_lookup(session, name, &block) < 0)
		return fail(name, shmb_last_error());

	/* block.data is the producer's memory itself. Addresses differ from process to process; offsets do not. */
	printf("%s: %" PRIu64 " bytes, checksum %016" PRIx64 "\n", name, block.size, fnv1a(block.data, block.size));

	if (free_after && shmb_unpublish(session, name) < 0)
		return fail(name, shmb_last_error());
	if (shmb_free(session, block.handle) < 0) /* with the name gone, this was the last hold: the block is freed */
		return fail("giving it back", shmb_last_error());
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	int free_after = argc == 3 && strcmp(argv[2], "--free") == 0;
	shmb_connect_options options = {0}; /* every zero is a default */
	shmb_session *session;
	int status;

	if (argc != 2 && !free_after)
		return fail("usage", "consumer NAME [--free]");

	/* Who only reads can say so: then the memory is mapped read-only. Taking a name away needs more. */
	options.access = free_after ? SHMB_READ_WRITE : SHMB_READ_ONLY;
	if (shmb_connect(&options, &session) < 0)
		return fail("connecting", shmb_last_error());
	status = consume(session, argv[1], free_after);
	shmb_close(session);
	return status;
}
