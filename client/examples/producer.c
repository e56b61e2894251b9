/* SPDX-License-Identifier: Apache-2.0 */
/*
 * producer NAME FILE: reads a file straight into shared memory and publishes it under a name. It prints the length and a
 * checksum and ends at once: from then on the name keeps the block alive, until somebody takes it away
 * (consumer NAME --free, or shmbuddy free --name NAME). consumer.c is the other half.
 */
#include <shmbuddy.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* FNV-1a in 64 bits (Fowler, Noll, Vo: isthe.com/chongo/tech/comp/fnv): a few lines that tell whether two buffers are equal. The consumer has it too. */
static uint64_t fnv1a(const unsigned char *bytes, uint64_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (uint64_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "producer: %s: %s\n", what, why);
	return EXIT_FAILURE;
}

/* Reads the whole file to `memory`, which is the block itself: the kernel copies each byte once, and nobody copies it again. */
static int read_all(int fd, void *memory, uint64_t size)
{
	uint64_t done = 0;

	while (done < size) {
		ssize_t got = read(fd, (char *)memory + done, size - done);

		if (got <= 0)
			return -1;
		done += (uint64_t)got;
	}
	return 0;
}

static int produce(shmb_session *session, const char *name, const char *path)
{
	struct stat status;
	shmb_block block;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail(path, "cannot be opened");
	if (shmb_alloc(session, (uint64_t)status.st_size, NULL, &block) < 0)
		return fail("allocating", shmb_last_error());
	if (read_all(fd, block.data, block.size) < 0)
		return fail(path, "cannot be read to its end");
	close(fd);

	/* Only now, when it is complete, does anybody else see it. Had this process died before, the block would be gone. */
	if (shmb_publish(session, block.handle, name) < 0)
		return fail("publishing", shmb_last_error());
	printf("%s: %" PRIu64 " bytes, checksum %016" PRIx64 "\n", name, block.size, fnv1a(block.data, block.size));
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	shmb_session *session;
	int status;

	if (argc != 3)
		return fail("usage", "producer NAME FILE");
	if (shmb_connect(NULL, &session) < 0)
		return fail("connecting", shmb_last_error());
	status = produce(session, argv[1], argv[2]);
	shmb_close(session);
	return status;
}
