/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata on the command line: what is taken, and how it is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/cli/meta.h"
#include "client/cli/report.h"
#include "tests/unit/captured.h"

static int status;

/* Its standard error is of no interest here. */
static int read_meta(const char *argument, struct meta *out_meta)
{
	struct captured captured;

	captured_begin(&captured, stderr);
	status = meta_read("put", argument, out_meta);
	captured_end(&captured);
	return status;
}

static void test_text(void **state)
{
	char text[SHMB_METADATA_MAX + 2];
	struct meta meta = {.size = 77};

	(void)state;
	assert_int_equal(read_meta("float32", &meta), EXIT_DONE);
	assert_int_equal(meta.size, 7);
	assert_memory_equal(meta.bytes, "float32", 7);
	assert_int_equal(read_meta("", &meta), EXIT_DONE);
	assert_int_equal(meta.size, 0);
	memset(text, 'x', sizeof text);
	text[SHMB_METADATA_MAX + 1] = '\0';
	assert_int_equal(read_meta(text, &meta), EXIT_USAGE);
	assert_int_equal(meta.size, 0); /* outputs are written on success only */
	text[SHMB_METADATA_MAX] = '\0';
	assert_int_equal(read_meta(text, &meta), EXIT_DONE);
	assert_int_equal(meta.size, SHMB_METADATA_MAX);
}

static void test_file(void **state)
{
	int fd = memfd_create("test_meta", MFD_CLOEXEC);
	uint8_t bytes[SHMB_METADATA_MAX + 1] = {[3] = 7};
	struct meta meta = {.size = 77};
	char path[64];

	(void)state;
	snprintf(path, sizeof path, "@/proc/self/fd/%d", fd);
	assert_int_equal(read_meta(path, &meta), EXIT_DONE);
	assert_int_equal(meta.size, 0);
	assert_int_equal(pwrite(fd, bytes, SHMB_METADATA_MAX, 0), SHMB_METADATA_MAX);
	assert_int_equal(read_meta(path, &meta), EXIT_DONE);
	assert_int_equal(meta.size, SHMB_METADATA_MAX);
	assert_memory_equal(meta.bytes, bytes, SHMB_METADATA_MAX);
	assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
	assert_int_equal(read_meta(path, &meta), EXIT_USAGE);
	close(fd);
	assert_int_equal(read_meta("@/nonexistent/file", &meta), EXIT_REFUSED);
	assert_int_equal(read_meta("@/", &meta), EXIT_REFUSED); /* a directory cannot be read */
	assert_int_equal(read_meta("@", &meta), EXIT_REFUSED);
	assert_int_equal(meta.size, SHMB_METADATA_MAX);
}

static void test_printing(void **state)
{
	struct meta meta = {.bytes = "0123456789abcdef\x1b[2J\xff~", .size = 22};
	struct captured captured;
	char hex[META_HEX_MAX];

	(void)state;
	meta_hex(&meta, hex);
	assert_string_equal(hex, "303132333435363738396162636465661b5b324aff7e");
	captured_begin(&captured, stdout);
	meta_print(&meta, "metadata");
	captured_end(&captured);
	assert_string_equal(captured.text, "metadata    30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef\n"
	                                   "            1b 5b 32 4a ff 7e                                .[2J.~\n");
	meta.size = 0;
	meta_hex(&meta, hex);
	assert_string_equal(hex, "");
	captured_begin(&captured, stdout);
	meta_print(&meta, "metadata");
	captured_end(&captured);
	assert_string_equal(captured.text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_printing),
	};

	return cmocka_run_group_tests_name("meta", tests, NULL, NULL);
}
