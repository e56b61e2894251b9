/* SPDX-License-Identifier: Apache-2.0 */
/* What `put` reads: how long it is, where that can be known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/cli/input.h"

static void test_open(void **state)
{
	struct input input = {-7, NULL};

	(void)state;
	assert_int_equal(input_open("/nonexistent/file", &input), -ENOENT);
	assert_int_equal(input.fd, -7); /* outputs are written on success only */
	assert_int_equal(input_open("/dev/null", &input), 0);
	assert_true(input.fd > STDERR_FILENO);
	assert_string_equal(input.name, "/dev/null");
	input_close(&input);
	assert_int_equal(input.fd, -1);
	input_close(&input); /* once more does no harm */

	assert_int_equal(input_open("-", &input), 0);
	assert_int_equal(input.fd, STDIN_FILENO);
	assert_string_equal(input.name, "standard input");
	input_close(&input);
	assert_true(lseek(STDIN_FILENO, 0, SEEK_CUR) >= 0 || errno != EBADF); /* it is still open */
}

static void test_length(void **state)
{
	struct input file = {memfd_create("test_input", MFD_CLOEXEC), "a file"}, other;
	uint64_t bytes = 99;
	int ends[2];

	(void)state;
	assert_true(file.fd >= 0);
	assert_int_equal(input_length(&file, &bytes), 0); /* empty: as in /proc, only reading tells */
	assert_int_equal(ftruncate(file.fd, 1000), 0);
	assert_int_equal(input_length(&file, &bytes), 1);
	assert_true(bytes == 1000);
	assert_int_equal(lseek(file.fd, 300, SEEK_SET), 300);
	assert_int_equal(input_length(&file, &bytes), 1);
	assert_true(bytes == 700);
	assert_int_equal(lseek(file.fd, 1000, SEEK_SET), 1000);
	assert_int_equal(input_length(&file, &bytes), 0);
	assert_int_equal(lseek(file.fd, 2000, SEEK_SET), 2000);
	assert_int_equal(input_length(&file, &bytes), 0);
	input_close(&file);
	assert_int_equal(input_length(&file, &bytes), -EBADF);

	assert_int_equal(pipe(ends), 0);
	other = (struct input){ends[0], "a pipe"};
	assert_int_equal(input_length(&other, &bytes), 0);
	close(ends[1]);
	input_close(&other);

	assert_int_equal(input_open("/", &other), 0);
	assert_int_equal(input_length(&other, &bytes), -EISDIR);
	input_close(&other);
	assert_true(bytes == 700);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_length),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
