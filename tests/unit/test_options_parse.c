/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's command line: each option, each refusal with its words, and the defaults. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/options.h"
#include "server/scavenger.h"
#include "tests/unit/captured.h"

static struct options options;
static struct captured standard_output, standard_error;

/* Splits at blanks; "''" is the empty argument. */
static enum options_result parse(const char *line)
{
	static char copy[512];
	static char empty[1];
	char *argv[32] = {(char *)(uintptr_t) "shmbuddyd"}, *rest = copy;
	int argc = 1;

	strcpy(copy, line);
	for (char *word; (word = strsep(&rest, " "));) {
		if (*word)
			argv[argc++] = strcmp(word, "''") == 0 ? empty : word;
	}
	captured_begin(&standard_output, stdout);
	captured_begin(&standard_error, stderr);
	options_deinit(&options);
	enum options_result result = options_parse(argc, argv, &options);
	captured_end(&standard_error);
	captured_end(&standard_output);
	return result;
}

static int setup(void **state)
{
	(void)state;
	unsetenv("SHMBUDDY_SOCKET");
	unsetenv("XDG_RUNTIME_DIR");
	return 0;
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(parse(""), OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/run/shmbuddy/shmbuddy.sock");
	assert_string_equal(options.pool.name, "default");
	assert_int_equal(options.pool.size, 1 << 30);
	assert_int_equal(options.pool.max_size, UINT64_C(8) << 30);
	assert_false(options.pool.size_given || options.pool.max_size_given || options.pool.unit_given);
	assert_int_equal(options.pool.unit, 64);
	assert_int_equal(options.pool.max_blocks, 0);
	assert_int_equal(options.pool.max_names, 0);
	assert_int_equal(options.pool.max_sessions, 0);
	assert_false(options.pool.ephemeral);
	assert_false(options.pool.overcommit);
	assert_false(options.pool.up_front);
	assert_false(options.pool.zero_on_free);
	assert_int_equal(options.pool.return_after_ms, 1000);
	assert_int_equal(options.log_level, LOG_LEVEL_INFO);
	assert_string_equal(standard_output.text, "");
	assert_string_equal(standard_error.text, "");
}

static void test_socket_of_the_environment(void **state)
{
	char longest[300];

	(void)state;
	setenv("XDG_RUNTIME_DIR", "", 1);
	setenv("SHMBUDDY_SOCKET", "", 1);
	assert_int_equal(parse(""), OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/run/shmbuddy/shmbuddy.sock");
	setenv("XDG_RUNTIME_DIR", "/tmp", 1);
	assert_int_equal(parse(""), OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/tmp/shmbuddy.sock");
	setenv("XDG_RUNTIME_DIR", "/not/there", 1);
	assert_int_equal(parse(""), OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/run/shmbuddy/shmbuddy.sock");
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	setenv("XDG_RUNTIME_DIR", longest, 1); /* longer than a socket's path may be */
	assert_int_equal(parse(""), OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/run/shmbuddy/shmbuddy.sock");
	setenv("SHMBUDDY_SOCKET", "/tmp/mine", 1);
	assert_int_equal(parse(""), OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/tmp/mine");
	assert_int_equal(parse("--socket /tmp/other"), OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/tmp/other");
}

static void test_every_option(void **state)
{
	(void)state;
	assert_int_equal(parse("--socket=/a --pool b-1 --size 1.5G --min-block 4K --max-blocks 1K --max-names 2G "
	                       "--max-sessions 1M --ephemeral --overcommit --log-level debug"),
	                 OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/a");
	assert_string_equal(options.pool.name, "b-1");
	assert_int_equal(options.pool.size, UINT64_C(3) << 29);
	assert_int_equal(options.pool.unit, 4096);
	assert_int_equal(options.pool.max_blocks, 1024);
	assert_int_equal(options.pool.max_names, UINT32_C(1) << 31);
	assert_int_equal(options.pool.max_sessions, 1 << 20);
	assert_true(options.pool.ephemeral);
	assert_true(options.pool.overcommit);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(parse("--commit up-front --zero on-free --return-after 2m"), OPTIONS_RUN);
	assert_true(options.pool.up_front);
	assert_true(options.pool.zero_on_free);
	assert_int_equal(options.pool.return_after_ms, 120000);
	assert_int_equal(parse("--commit up-front --commit on-alloc --zero on-free --zero never --return-after never"),
	                 OPTIONS_RUN);
	assert_false(options.pool.up_front);
	assert_false(options.pool.zero_on_free);
	assert_true(options.pool.return_after_ms == SCAVENGER_NEVER);
	assert_int_equal(parse("--pressure 60,90"), OPTIONS_RUN);
	assert_int_equal(options.pool.pressure_low, 60);
	assert_int_equal(options.pool.pressure_high, 90);
	assert_int_equal(parse("-s /b -p c -S 64K -m 16 -e"), OPTIONS_RUN);
	assert_string_equal(options.socket_path, "/b");
	assert_string_equal(options.pool.name, "c");
	assert_int_equal(options.pool.size, 65536);
	assert_int_equal(options.pool.unit, 16);
	assert_true(options.pool.ephemeral);
	assert_false(options.pool.overcommit);
	/* Quotas add up. */
	assert_int_equal(parse("--quota user:*:names=9 --quota session:7:blocks=1 --guarantee user:7=1K"), OPTIONS_RUN);
	assert_ptr_equal(options.pool.quotas, &options.quotas);
	assert_int_equal(options.quotas.user.limit[QUOTA_NAMES], 9);
	assert_int_equal(quotas_find(&options.quotas, 7)->user.limit[QUOTA_NAMES], 9);
	assert_int_equal(quotas_find(&options.quotas, 7)->session.limit[QUOTA_BLOCKS], 1);
	assert_int_equal(quotas_find(&options.quotas, 7)->guarantee, 1024);
	assert_int_equal(parse("--size 1M"), OPTIONS_RUN);
	assert_null(quotas_find(&options.quotas, 7));
	/* The last one counts; a size may be a single piece, or of any number of pieces. */
	assert_int_equal(parse("--size 1M --size 192"), OPTIONS_RUN);
	assert_int_equal(options.pool.size, 192);
	assert_int_equal(parse("--size 64"), OPTIONS_RUN);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *line;
		uint64_t size, max_size;
	} sizes[] = {
		{"--size 64", 64, 512},
		{"--size 64 --max-size 64", 64, 64},
		{"--max-size 192 --size 64", 64, 192},
		{"--size 128G", UINT64_C(128) << 30, UINT64_C(1) << 40},
		{"--size 131073M", UINT64_C(131073) << 20, UINT64_C(1) << 40},
		{"--size 1T", UINT64_C(1) << 40, UINT64_C(1) << 40},
		{"--size 2T", UINT64_C(2) << 40, UINT64_C(2) << 40},
		{"--size 2T --max-size 64T", UINT64_C(2) << 40, UINT64_C(64) << 40},
		{"--size 2048P --min-block 1P", UINT64_C(1) << 61, UINT64_C(1) << 61},
		/* Without a size it is 1G, or the most that it may be. */
		{"--max-size 4G", UINT64_C(1) << 30, UINT64_C(4) << 30},
		{"--max-size 1M", UINT64_C(1) << 20, UINT64_C(1) << 20},
	};

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		enum options_result result = parse(sizes[i].line);
		if (result == OPTIONS_WRONG)
			fail_msg("%s: \"%s\"", sizes[i].line, standard_error.text);
		assert_int_equal(options.pool.size, sizes[i].size);
		assert_int_equal(options.pool.max_size, sizes[i].max_size);
		assert_int_equal(options.pool.size_given, strstr(sizes[i].line, "--size") != NULL);
		assert_int_equal(options.pool.max_size_given, strstr(sizes[i].line, "--max-size") != NULL);
	}
}

static void test_help_and_version(void **state)
{
	static const char *const every[] = {"--max-size SIZE",   "-s, --socket PATH",   "-p, --pool NAME",    "-S, --size SIZE",
	                                    "-m, --min-block",   "--max-blocks N",      "--max-names N",      "--max-sessions N",
	                                    "-e, --ephemeral",   "--overcommit",        "--log-level LEVEL",  "--commit WHEN",
	                                    "--zero WHEN",       "--return-after TIME", "-h, --help",         "--quota LIMITS",
	                                    "--guarantee BYTES", "-V, --version",       "Usage: shmbuddyd [", "16M)\n",
	                                    "shmbuddyd(8)"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(parse(i ? "-h" : "--pool !! --help --size x"), OPTIONS_DONE);
		for (size_t k = 0; k < sizeof every / sizeof every[0]; k++)
			assert_non_null(strstr(standard_output.text, every[k]));
		assert_non_null(strstr(standard_output.text, "--pressure LOW,HIGH"));
		assert_string_equal(standard_error.text, "");
	}
	/* Every line of the help fits an old terminal. */
	for (const char *line = standard_output.text, *end; (end = strchr(line, '\n')); line = end + 1)
		assert_true(end - line <= 100);
	assert_int_equal(parse("--version"), OPTIONS_DONE);
	assert_string_equal(standard_output.text, "shmbuddyd " SHMB_VERSION "\n");
	assert_int_equal(parse("-V"), OPTIONS_DONE);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *line, *words;
	} wrong[] = {
		{"--socket ''", "--socket: the path is empty"},
		{"--pool ''", "--pool "},
		{"--pool .hidden", "--pool .hidden: a name has"},
		{"--pool a/b", "--pool a/b: a name has"},
		{"--quota", "requires an argument"},
		{"--quota user:*:names", "--quota user:*:names: \"names\" is not of the form KIND=LIMIT"},
		{"--guarantee user:*=1M", "--guarantee user:*=1M: there is no user \"*\""},
		{"--quota user:*:bytes=1K --guarantee user:7=1M",
	     "--guarantee: user 7 is guaranteed 1M, more than the 1K that --quota lets it have"},
		{"--size", "requires an argument"},
		{"--size ten", "--size ten: not a size such as 64K"},
		{"--size -1", "--size -1: not a size"},
		{"--size 0", "--size 0: a pool has at least one block"},
		{"--size 40", "--size 40: must be a multiple"},
		{"--size 100", "--size 100: must be a multiple"},
		{"--size 1M --min-block 2M", "must be a multiple of --min-block, which is 2M"},
		{"--max-size", "requires an argument"},
		{"--max-size ten", "--max-size ten: not a size such as 64K"},
		{"--max-size 0", "--max-size 0: a pool has at least one block"},
		{"--max-size 100", "--max-size 100: must be a multiple of --min-block, which is 64"},
		{"--max-size 32T --min-block 16", "--max-size 32T: the largest with this --min-block is 16T"},
		{"--size 1M --max-size 512K", "--max-size 512K: must be at least --size, which is 1M"},
		{"--min-block many", "--min-block many: not a size such as 64 or 4K"},
		{"--min-block 0", "--min-block 0: must be a power of two, at least 16"},
		{"--min-block 8", "--min-block 8: must be a power of two"},
		{"--min-block 48", "--min-block 48: must be a power of two"},
		{"--size 32T --min-block 16", "the largest with this --min-block is 16T"},
		{"--size 8192P --min-block 4096P", "the largest with this --min-block is 4096P"},
		{"--size 8192P --min-block 1P", "the largest with this --min-block is 4096P"},
		{"--max-blocks 0", "--max-blocks 0: must be 1 to 2G"},
		{"--max-blocks x", "--max-blocks x: must be 1 to 2G"},
		{"--max-blocks 2147483649", "must be 1 to 2G"},
		{"--max-names 0", "--max-names 0: must be 1 to 2G"},
		{"--max-sessions 1048577", "--max-sessions 1048577: must be 1 to 1M"},
		{"--commit now", "--commit now: must be on-alloc or up-front"},
		{"--zero always", "--zero always: must be never or on-free"},
		{"--return-after 1", "--return-after 1: must be a time from 1ms to 8760h (365 days), such as 500ms"},
		{"--return-after 0", "from 1ms to 8760h (365 days), such as"},
		{"--return-after 0ms", "from 1ms to 8760h (365 days), such as"},
		{"--return-after 8761h", "--return-after 8761h: must be a time"},
		{"--return-after ''", "--return-after : must be a time"},
		{"--commit up-front --overcommit", "--commit up-front and --overcommit exclude each other"},
		{"--pressure 95,80", "--pressure 95,80: must be two numbers from 1 to 100"},
		{"--log-level loud", "--log-level loud: must be error, warning, info or debug"},
		{"--log-level ''", "--log-level : must be"},
		{"--frobnicate", "Try shmbuddyd --help"},
		{"-x", "Try shmbuddyd --help"},
		{"word", "\"word\": an argument that is no option"},
		{"--ephemeral -- --size", "\"--size\": an argument that is no option"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_int_equal(parse(wrong[i].line), OPTIONS_WRONG);
		if (!strstr(standard_error.text, wrong[i].words))
			fail_msg("%s: \"%s\"", wrong[i].line, standard_error.text);
		assert_string_equal(standard_output.text, "");
		assert_int_equal(standard_error.text[strlen(standard_error.text) - 1], '\n');
	}
}

#define TEST(function) cmocka_unit_test_setup(function, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults), TEST(test_socket_of_the_environment), TEST(test_every_option),
		TEST(test_sizes),    TEST(test_help_and_version),          TEST(test_refusals),
	};

	int result = cmocka_run_group_tests(tests, NULL, NULL);
	options_deinit(&options);
	return result;
}
