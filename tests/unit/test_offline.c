/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions without a daemon, on views made by hand: what they can do, what they refuse, and views that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "client/session.h"
#include "tests/support/descriptor_leaks.h"
#include "tests/unit/view_object.h"

#define MAX_BLOCKS (1u << 20) /* 96 MiB of records, nearly all of them holes */
#define MAX_NAMES 1024

static struct view_object object, other = {.fd = -1};
static size_t descriptors;

static int setup(void **state)
{
	(void)state;
	view_object_make(&object, MAX_BLOCKS, MAX_NAMES);
	descriptors = descriptor_leaks_count(0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	view_object_remove(&other);
	descriptor_leaks_assert(0, descriptors);
	view_object_remove(&object);
	return 0;
}

#define assert_says(text)                                                                                                   \
	do {                                                                                                                    \
		if (!strstr(shmb_last_error(), text))                                                                               \
			fail_msg("\"%s\" does not say \"%s\"", shmb_last_error(), text);                                                \
	} while (0)

static void expect_refusal(int error, const char *text)
{
	shmb_session *session = NULL;

	assert_int_equal(view_object_connect(&object, &session), -error);
	assert_says(text);
	assert_null(session);
	descriptor_leaks_assert(0, descriptors);
}

static shmb_session *connected(void)
{
	shmb_session *session = NULL;

	if (view_object_connect(&object, &session) != 0)
		fail_msg("%s", shmb_last_error());
	return session;
}

/* ---- What it can do --------------------------------------------------------------------------------------------- */

static void test_inspection(void **state)
{
	shmb_session *session;
	shmb_block_info block, *blocks;
	shmb_name_info name, *names;
	shmb_status status;
	uint32_t cursor = 0;
	size_t count;

	(void)state;
	view_object_use(&object, 2, 1);
	view_object_set_block(&object, 1, 7, 4096, 128);
	view_object_set_name(&object, 0, 8, "camera");
	object.counters->blocks = 1;
	object.counters->used = 128;
	object.header->daemon_pid = 4711;
	session = connected();
	descriptor_leaks_assert(0, descriptors); /* it needs none */
	assert_int_equal(shmb_get_status(session, &status), 0);
	assert_string_equal(status.pool, object.pool);
	assert_int_equal(status.daemon_pid, 4711);
	assert_int_equal(status.blocks, 1);
	assert_int_equal(status.free, VIEW_OBJECT_POOL_SIZE - 128);
	assert_int_equal(shmb_next_block(session, &cursor, &block), 1);
	assert_int_equal(block.handle.id, 7);
	assert_int_equal(block.handle.incarnation, 5);
	assert_int_equal(shmb_next_block(session, &cursor, &block), 0);
	cursor = 0;
	assert_int_equal(shmb_next_name(session, &cursor, &name), 1);
	assert_string_equal(name.name, "camera");
	assert_int_equal(shmb_find_block(session, 7, &block), 0);
	assert_int_equal(block.offset, 4096);
	assert_int_equal(shmb_find_block(session, 6, &block), -SHMB_E_NO_SUCH_BLOCK);
	assert_int_equal(shmb_list_blocks(session, &blocks, &count), 0);
	assert_int_equal(count, 1);
	free(blocks);
	assert_int_equal(shmb_list_names(session, &names, &count), 0);
	assert_int_equal(count, 1);
	free(names);
	shmb_close(session);
}

#define assert_needs_daemon(call)                                                                                           \
	do {                                                                                                                    \
		assert_int_equal(call, -SHMB_E_NO_DAEMON);                                                                          \
		assert_says("asks no daemon");                                                                                      \
	} while (0)

static void test_needs_a_daemon(void **state)
{
	shmb_session *session;
	shmb_block block;
	shmb_handle handle = {.id = 7, .index = 1, .incarnation = 5};
	shmb_client_info *clients;
	shmb_holder_info *holders;
	const shmb_alloc_options aligned = {.alignment = 4096};
	const uint64_t size = 10;
	uint64_t offset;
	uint32_t number;
	size_t count;

	(void)state;
	view_object_use(&object, 2, 0);
	view_object_set_block(&object, 1, 7, 4096, 128);
	session = connected();
	assert_needs_daemon(shmb_ping(session));
	assert_needs_daemon(shmb_alloc(session, 10, NULL, &block));
	assert_needs_daemon(shmb_alloc(session, 10, &aligned, &block));
	assert_needs_daemon(shmb_alloc_batch(session, &size, 1, NULL, &block));
	assert_needs_daemon(shmb_free(session, handle));
	assert_needs_daemon(shmb_free_batch(session, &handle, 1));
	assert_needs_daemon(shmb_remove(session, 7));
	assert_needs_daemon(shmb_remove(session, 99));
	assert_needs_daemon(shmb_publish(session, handle, "name"));
	assert_needs_daemon(shmb_unpublish(session, "name"));
	assert_needs_daemon(shmb_lookup(session, "name", &block));
	assert_needs_daemon(shmb_session_number(session, &number));
	assert_needs_daemon(shmb_end_session(session, 1, false));
	assert_needs_daemon(shmb_list_clients(session, &clients, &count));
	assert_needs_daemon(shmb_list_holders(session, 7, &holders, &count));
	assert_null(shmb_pointer(session, 0));
	assert_needs_daemon(shmb_offset(session, &object, &offset));
	assert_int_equal(shmb_ping(NULL), -SHMB_E_INVALID_ARGUMENT);
	shmb_close(session);
}

/* The socket is nobody's business, not even one that cannot be. */
static void test_no_socket(void **state)
{
	shmb_connect_options options = {.pool = object.pool, .access = SHMB_OFFLINE, .socket_path = ""};
	shmb_session *session;

	(void)state;
	assert_int_equal(shmb_connect(&options, &session), 0);
	shmb_close(session);
	options.pool = "no/pool";
	assert_int_equal(shmb_connect(&options, &session), -SHMB_E_INVALID_ARGUMENT);
	options.pool = NULL; /* the default one, which may be there or not */
	if (shmb_connect(&options, &session) == 0)
		shmb_close(session);
	else
		assert_says("/dev/shm/shmbuddy.default.view");
}

static void test_removed_meanwhile(void **state)
{
	shmb_session *session = connected();
	shmb_status status;
	char pool[sizeof object.pool];

	(void)state;
	strcpy(pool, object.pool);
	assert_int_equal(unlink(object.path), 0);
	assert_int_equal(shmb_get_status(session, &status), 0);
	assert_string_equal(status.pool, pool);
	shmb_close(session);
	expect_refusal(SHMB_E_NO_SUCH_POOL, pool);
}

/* A child's first call opens the view anew: by then it may be another one, or none. */
static void test_fork(void **state)
{
	shmb_session *session;
	shmb_block_info *blocks;
	size_t count;
	int status;

	(void)state;
	view_object_use(&object, 2, 0);
	view_object_set_block(&object, 1, 7, 4096, 128);
	session = connected();
	for (int round = 0; round < 3; round++) {
		pid_t child = fork();

		if (child == 0) {
			int wrong = 0;

			if (round == 1)
				object.header->incarnation = 6, object.header->checksum = view_header_checksum(object.header);
			if (round == 2) {
				unlink(object.path);
				wrong |= shmb_list_blocks(session, &blocks, &count) != -SHMB_E_NO_SUCH_POOL;
			} else {
				wrong |= shmb_list_blocks(session, &blocks, &count) != 0 || count != 1 ||
				         blocks[0].handle.incarnation != 5 + (uint32_t)round;
			}
			wrong |= shmb_ping(session) != -SHMB_E_NO_DAEMON;
			shmb_close(session);
			_exit(wrong);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_int_equal(status, 0);
		assert_int_equal(shmb_list_blocks(session, &blocks, &count), 0);
		assert_int_equal(count, 1);
		free(blocks);
	}
	shmb_close(session);
}

#define THREADS 4

static void *list_again_and_again(void *argument)
{
	shmb_session *session = argument;
	intptr_t wrong = 0;

	for (int i = 0; i < 500; i++) {
		shmb_block_info *blocks = NULL;
		size_t count = 0;

		wrong |= shmb_list_blocks(session, &blocks, &count) != 0 || count != 1 || blocks[0].handle.id != 7;
		wrong |= shmb_ping(session) != -SHMB_E_NO_DAEMON;
		free(blocks);
	}
	return (void *)wrong;
}

static int with_threads(shmb_session *session)
{
	pthread_t threads[THREADS];
	int wrong = 0;

	for (int i = 0; i < THREADS; i++)
		wrong |= pthread_create(&threads[i], NULL, list_again_and_again, session);
	for (int i = 0; i < THREADS; i++) {
		void *result;

		wrong |= pthread_join(threads[i], &result);
		wrong |= result != NULL;
	}
	return wrong;
}

/* Many threads on one session, and as many in a child, where one of them opens it anew for all. */
static void test_threads(void **state)
{
	shmb_session *session;
	int status;
	pid_t child;

	(void)state;
	view_object_use(&object, 2, 0);
	view_object_set_block(&object, 1, 7, 4096, 128);
	session = connected();
	child = fork();
	if (child == 0)
		_exit(with_threads(session));
	assert_int_equal(with_threads(session), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	shmb_close(session);
}

/* ---- Views that are none ---------------------------------------------------------------------------------------- */

static void test_none(void **state)
{
	(void)state;
	view_object_make(&other, 1, 1);
	descriptors++;
	unlink(object.path);
	expect_refusal(SHMB_E_NO_SUCH_POOL, object.path);
	assert_says("there are: ");
	if (!strstr(shmb_last_error(), "…")) /* so many that not all are named */
		assert_says(other.pool);
	descriptors--;
}

/* More than fit into a sentence: it says so, and ends where it should. */
static void test_many_pools(void **state)
{
	char path[128];

	(void)state;
	unlink(object.path);
	for (int i = 0; i < 20; i++) {
		snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s-many-%02d.view", object.pool, i);
		close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	}
	expect_refusal(SHMB_E_NO_SUCH_POOL, ", …");
	assert_string_equal(strstr(shmb_last_error(), "…"), "…");
	assert_null(strstr(shmb_last_error(), ", ,"));
	for (int i = 0; i < 20; i++) {
		snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s-many-%02d.view", object.pool, i);
		unlink(path);
	}
}

static void test_half_made(void **state)
{
	(void)state;
	object.header->magic = 0;
	expect_refusal(SHMB_E_NO_SUCH_POOL, "is not complete");
	/* The first page is a hole, and stays one. */
	assert_int_equal(fallocate(object.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192), 0);
	uint64_t backed = view_object_backed(&object);
	expect_refusal(SHMB_E_NO_SUCH_POOL, "is not complete");
	assert_int_equal(view_object_backed(&object), backed);
	assert_int_equal(ftruncate(object.fd, 0), 0);
	expect_refusal(SHMB_E_NO_SUCH_POOL, "is not complete");
}

static void test_other_layout(void **state)
{
	(void)state;
	object.header->layout_version++;
	expect_refusal(SHMB_E_VERSION, "layout");
}

static void test_damaged(void **state)
{
	(void)state;
	object.header->magic ^= 1;
	expect_refusal(SHMB_E_CORRUPT, object.path);
	object.header->magic ^= 1;
	object.header->unit ^= 1;
	expect_refusal(SHMB_E_CORRUPT, "header");
	object.header->unit ^= 1;
	object.header->pool[0] ^= 1;
	object.header->checksum = view_header_checksum(object.header);
	expect_refusal(SHMB_E_CORRUPT, "another pool");
	object.header->pool[0] ^= 1;
	object.header->checksum = view_header_checksum(object.header);
	shmb_close(connected());
	assert_int_equal(ftruncate(object.fd, (off_t)object.size - 4096), 0);
	expect_refusal(SHMB_E_CORRUPT, "header");
	assert_int_equal(ftruncate(object.fd, 4096), 0);
	expect_refusal(SHMB_E_CORRUPT, "too short");
}

/* Counters that are wild must not lead to pages that nobody has written. */
static void test_wild_counters(void **state)
{
	static const uint64_t wild[] = {MAX_BLOCKS, MAX_BLOCKS + 1, MAX_BLOCKS / 2, UINT64_MAX, 40000};
	uint64_t backed;

	(void)state;
	view_object_use(&object, 682, 199);
	backed = view_object_backed(&object);
	shmb_close(connected());
	for (size_t i = 0; i < sizeof wild / sizeof *wild; i++) {
		object.counters->block_records = wild[i];
		expect_refusal(SHMB_E_CORRUPT, "more records than it has");
	}
	object.counters->block_records = 682;
	object.counters->name_records = MAX_NAMES;
	expect_refusal(SHMB_E_CORRUPT, "more records than it has");
	object.counters->name_records = MAX_NAMES + 1;
	expect_refusal(SHMB_E_CORRUPT, "more records than it has");
	object.counters->name_records = 199;
	shmb_close(connected());
	object.counters->block_records = 683; /* begins in the last page; only if it lived would the next one be read */
	shmb_close(connected());
	assert_int_equal(view_object_backed(&object), backed);
}

static void test_other_things(void **state)
{
	(void)state;
	assert_int_equal(unlink(object.path), 0);
	assert_int_equal(symlink("/etc/passwd", object.path), 0);
	expect_refusal(SHMB_E_SYSTEM, object.path);
	assert_int_equal(unlink(object.path), 0);
	assert_int_equal(mkfifo(object.path, 0600), 0); /* nobody writes to it: waiting for that would be for ever */
	expect_refusal(SHMB_E_CORRUPT, "no plain file");
	assert_int_equal(unlink(object.path), 0);
	assert_int_equal(mkdir(object.path, 0700), 0);
	expect_refusal(SHMB_E_CORRUPT, "no plain file");
	assert_int_equal(rmdir(object.path), 0);
}

static void test_not_ours(void **state)
{
	char owner[40];
	int status;
	pid_t child;

	(void)state;
	snprintf(owner, sizeof owner, "belongs to uid %u", (unsigned)geteuid());
	if (geteuid() != 0)
		assert_int_equal(chmod(object.path, 0), 0);
	child = fork();
	if (child == 0) {
		shmb_session *session;

		if (geteuid() == 0 && setuid(65534) < 0)
			_exit(2);
		if (view_object_connect(&object, &session) != -SHMB_E_DENIED || !strstr(shmb_last_error(), owner))
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_inspection, setup, teardown),
		cmocka_unit_test_setup_teardown(test_needs_a_daemon, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fork, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_pools, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_made, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wild_counters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_things, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_ours, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
