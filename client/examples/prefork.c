/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prefork [WORKERS]: a server that prepares a table in shared memory and forks workers, which use it by the server's own pointers, also when
 * the server has ended. Each worker gets a clone of the server's session: it holds what the server held, and is freed with its worker.
 */
#include <shmbuddy.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NUMBERS 100000

static int fail(const char *what)
{
	fprintf(stderr, "prefork: %s: %s\n", what, shmb_last_error());
	return EXIT_FAILURE;
}

/* In the worker, which has inherited all of the server's variables, but not its session. */
static int work(shmb_session *session, shmb_clone_token clone, int number, const uint64_t *table, int server_lives)
{
	uint64_t sum = 0;
	char byte;

	if (shmb_adopt(session, clone) < 0) /* the first call; without a clone, `table` would fault */
		return fail("adopting the session");
	while (read(server_lives, &byte, 1) > 0) /* until the server has ended, and with it the only other end of the pipe */
		;
	for (int i = 0; i < NUMBERS; i++)
		sum += table[i];
	printf("worker %d: the sum is %" PRIu64 ", and the server is gone\n", number, sum);
	fflush(stdout);
	shmb_close(session); /* the last one's frees the table */
	return EXIT_SUCCESS;
}

static int serve(int workers)
{
	int server_lives[2];
	shmb_session *session;
	shmb_block block;

	if (shmb_connect(NULL, &session) < 0)
		return fail("connecting");
	if (shmb_alloc(session, NUMBERS * sizeof(uint64_t), NULL, &block) < 0)
		return fail("allocating the table");
	uint64_t *table = block.data;
	for (uint64_t i = 0; i < NUMBERS; i++)
		table[i] = i;
	if (pipe(server_lives) < 0)
		return EXIT_FAILURE;
	for (int number = 1; number <= workers; number++) {
		shmb_clone_token clone; /* one for each: should the fork fail, it ends by itself */

		if (shmb_clone(session, &clone) < 0)
			return fail("cloning the session");
		if (fork() == 0) {
			close(server_lives[1]);
			return work(session, clone, number, table, server_lives[0]);
		}
	}
	return EXIT_SUCCESS; /* without a goodbye: what the server held goes, what its workers hold stays */
}

int main(int argc, char **argv)
{
	int workers = argc == 2 ? atoi(argv[1]) : 3, all_live[2];
	char byte;

	if (argc > 2 || workers < 1) {
		fputs("usage: prefork [WORKERS]\n", stderr);
		return EXIT_FAILURE;
	}
	/* The program waits for all of them, server and workers: when the last has ended, nobody has the pipe any more. */
	if (pipe(all_live) < 0)
		return EXIT_FAILURE;
	if (fork() == 0) {
		close(all_live[0]);
		return serve(workers);
	}
	close(all_live[1]);
	while (read(all_live[0], &byte, 1) > 0)
		;
	return EXIT_SUCCESS;
}
