/* SPDX-License-Identifier: Apache-2.0 */
/* Copying between descriptors and memory: short reads, ends, interruptions, errors; and what a terminal may see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/copy.h"

static struct progress silent(uint64_t total)
{
	return (struct progress){.verb = "test", .total = total};
}

static void test_read_short_pieces(void **state)
{
	struct progress progress = silent(6);
	char memory[8] = "";
	size_t done = 99;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "abc", 3), 3);
	assert_int_equal(copy_read(ends[0], memory, 3, &progress, &done), 0);
	assert_true(done == 3);
	assert_int_equal(write(ends[1], "def", 3), 3);
	close(ends[1]);
	assert_int_equal(copy_read(ends[0], memory + 3, 5, &progress, &done), 0); /* ends before it is full */
	assert_true(done == 3 && progress.done == 6);
	assert_string_equal(memory, "abcdef");
	assert_int_equal(copy_at_end(ends[0]), 1);
	close(ends[0]);
}

static void test_not_at_end(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(copy_at_end(ends[0]), 0);
	close(ends[0]);
	close(ends[1]);
}

/* More than one piece, there and back through a file. */
static void test_pieces(void **state)
{
	size_t size = 2 * COPY_PIECE + 12345, done = 0;
	struct progress progress = silent(size);
	unsigned char *from = malloc(size), *to = calloc(size, 1);
	int fd = memfd_create("test_copy", MFD_CLOEXEC);

	(void)state;
	assert_non_null(from);
	assert_non_null(to);
	assert_true(fd >= 0);
	for (size_t i = 0; i < size; i++)
		from[i] = (unsigned char)(i * 31 + i / 4096);
	assert_int_equal(copy_write(fd, from, size, &progress), 0);
	assert_true(progress.done == size);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(copy_read(fd, to, size, &progress, &done), 0);
	assert_true(done == size);
	assert_memory_equal(from, to, size);
	close(fd);
	free(from);
	free(to);
}

static void test_errors(void **state)
{
	struct progress progress = silent(1);
	size_t done = 99;
	char byte = 0;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(copy_write(full, &byte, 1, &progress), -ENOSPC);
	close(full);
	assert_int_equal(copy_read(-1, &byte, 1, &progress, &done), -EBADF);
	assert_true(done == 99); /* outputs are written on success only */
	assert_int_equal(copy_at_end(-1), -EBADF);
	assert_int_equal(copy_write(-1, &byte, 1, &progress), -EBADF);
}

static void on_signal(int signal)
{
	(void)signal;
}

/* What the other thread does while the copying one is blocked: signals it a few times, then lets it go on. */
struct other {
	pthread_t copying;
	int fd;
	bool writes; /* it writes a byte; otherwise it empties the pipe */
};

static void *disturb(void *data)
{
	struct other *other = data;
	struct timespec pause = {.tv_nsec = 20000000};
	char bytes[4096];

	for (int i = 0; i < 5; i++) {
		nanosleep(&pause, NULL);
		pthread_kill(other->copying, SIGUSR1);
	}
	nanosleep(&pause, NULL);
	if (other->writes)
		assert_int_equal(write(other->fd, "y", 1), 1);
	else
		while (read(other->fd, bytes, sizeof(bytes)) > 0)
			continue;
	return NULL;
}

static void test_interrupted(void **state)
{
	struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: blocked calls fail with EINTR */
	struct progress progress = silent(0);
	struct other other = {.copying = pthread_self()};
	size_t size = (size_t)1 << 20, done = 0;
	char *memory = calloc(size, 1);
	pthread_t thread;
	int ends[2];

	(void)state;
	assert_non_null(memory);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(pipe(ends), 0);

	other.fd = ends[1];
	other.writes = true;
	assert_int_equal(pthread_create(&thread, NULL, disturb, &other), 0);
	assert_int_equal(copy_read(ends[0], memory, 1, &progress, &done), 0);
	pthread_join(thread, NULL);
	assert_true(done == 1 && memory[0] == 'y');

	assert_int_equal(pthread_create(&thread, NULL, disturb, &other), 0);
	assert_int_equal(copy_at_end(ends[0]), 0);
	pthread_join(thread, NULL);

	other.fd = ends[0];
	other.writes = false;
	progress = silent(0);
	assert_int_equal(pthread_create(&thread, NULL, disturb, &other), 0);
	assert_int_equal(copy_write(ends[1], memory, size, &progress), 0); /* more than a pipe holds */
	close(ends[1]);
	pthread_join(thread, NULL);
	assert_true(progress.done == size);
	close(ends[0]);
	free(memory);
}

static void test_text(void **state)
{
	(void)state;
	assert_true(copy_is_text("", 0));
	assert_true(copy_is_text("a line\n\tand a\r\n", 15));
	assert_true(copy_is_text("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9));
	assert_true(copy_is_text("~", 1));
	assert_true(copy_is_text("\xc2\xa0", 2)); /* the first character after the C1 controls */
	assert_false(copy_is_text("a\0b", 3));
	assert_false(copy_is_text("\x1b[31m", 5));
	assert_false(copy_is_text("\x1f", 1));
	assert_false(copy_is_text("\x7f", 1));
	assert_false(copy_is_text("\xc2\x80", 2)); /* C1 controls */
	assert_false(copy_is_text("\xc2\x9b", 2));
	assert_false(copy_is_text("\xc2\x9f", 2));
	assert_false(copy_is_text("good\xff", 5));
	assert_false(copy_is_text("cut\xe2\x82", 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_short_pieces),
		cmocka_unit_test(test_not_at_end),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_interrupted),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
