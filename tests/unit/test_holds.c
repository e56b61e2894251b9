/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of holds, over a view made by hand and a page in private memory: what each state of a block leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "client/session.h"
#include "tests/unit/view_object.h"

#define BLOCKS 8

static struct view_object object;
static struct hold_page page;
static struct mapping mapping;
static struct shmb_session session;
static int daemon_end; /* where Released arrives */

static const shmb_handle handle = {.id = 40, .index = 2, .incarnation = 5};

static int setup(void **state)
{
	int ends[2];

	(void)state;
	view_object_make(&object, BLOCKS, BLOCKS);
	view_object_use(&object, 4, 4);
	memset(&page, 0, sizeof page);
	memset(&mapping, 0, sizeof mapping);
	memset(&session, 0, sizeof session);
	assert_int_equal(view_open(object.base, object.size, &mapping.view), 0);
	mapping.base = (uint8_t *)UINT64_C(0x100000000);
	mapping.max_size = VIEW_OBJECT_POOL_SIZE;
	session.mapping = &mapping;
	session.incarnation = 5;
	assert_int_equal(exchange_init(&session.exchange), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	daemon_end = ends[1];
	connection_start(&session.exchange.connection, ends[0]);
	atomic_init(&session.holds.page, &page);
	session.holds.mapped = &page;
	view_object_set_block(&object, 2, 40, 4096, 128);
	view_object_set_name(&object, 1, 41, "name");
	object.names[1].body[0] = (struct name_body){.id = 41, .block_id = 40, .block = 2}; /* look-ups leave checksums alone */
	object.counters->name_records = 4;
	_Atomic uint32_t *buckets = (_Atomic uint32_t *)(object.base + VIEW_INDEX_AT);
	buckets[hash_of("name", 4) & (object.header->name_buckets - 1)] = 2;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(daemon_end);
	exchange_deinit(&session.exchange);
	view_object_remove(&object);
	return 0;
}

static void set_word(enum record_state state, bool shared)
{
	object.blocks[2].word = record_word(40, 0, state) | (shared ? RECORD_SHARED : 0);
}

static unsigned used(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < HOLD_SLOTS; i++)
		count += page.slots[i] != 0;
	return count;
}

static bool told(void)
{
	uint8_t bytes[256];

	return recv(daemon_end, bytes, sizeof bytes, 0) > 0;
}

/* A slot is never left behind, and the daemon is told where it waits, be it by who never got hold. */
static void test_states(void **state)
{
	static const struct {
		enum record_state state;
		bool held;
	} states[] = {
		{RECORD_FREE, false},   {RECORD_PENDING, false}, {RECORD_LIVE, true},
		{RECORD_FREEING, true}, {RECORD_DYING, false},   {RECORD_ORPHAN, true},
	};
	shmb_block block;

	(void)state;
	for (unsigned shared = 0; shared < 2; shared++) {
		for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
			set_word(states[i].state, shared);
			bool held = states[i].held && shared;
			assert_int_equal(holds_acquire(&session, handle, &block), held);
			assert_int_equal(used(), held);
			if (!held)
				continue;
			assert_int_equal(block.offset, 4096);
			assert_int_equal(block.size, 128);
			assert_ptr_equal(block.data, mapping.base + 4096);
			assert_true(holds_release(&session, handle));
			assert_int_equal(used(), 0);
			assert_int_equal(told(), states[i].state == RECORD_ORPHAN);
			assert_false(holds_release(&session, handle));
		}
	}
	/* Dying since it was held. */
	set_word(RECORD_LIVE, true);
	assert_true(holds_acquire(&session, handle, &block));
	set_word(RECORD_DYING, true);
	assert_true(holds_release(&session, handle));
	assert_true(told());
	/* Another life of the record, which cannot be while it is held: that is the daemon's to answer. */
	set_word(RECORD_LIVE, true);
	assert_true(holds_acquire(&session, handle, &block));
	object.blocks[2].word = record_word(50, 0, RECORD_ORPHAN) | RECORD_SHARED;
	assert_false(holds_release(&session, handle));
	assert_false(told());
}

static void test_wrong_handles(void **state)
{
	const shmb_handle wrong[] = {{41, 2, 5}, {40, 3, 5}, {40, 2, 6}, {40, 4, 5}, {40, BLOCKS, 5}, {40, UINT32_MAX, 5}};
	shmb_block block;

	(void)state;
	set_word(RECORD_LIVE, true);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_false(holds_acquire(&session, wrong[i], &block));
		assert_int_equal(used(), 0);
	}
	/* Nor is a hold given back by half a handle. */
	const shmb_handle *half = &wrong[1];
	uint16_t slot;
	assert_true(holds_acquire(&session, handle, &block));
	for (; half < wrong + sizeof wrong / sizeof wrong[0]; half++) {
		assert_false(holds_release(&session, *half));
		holds_claim(&session, half, 1, &slot);
		assert_int_equal(slot, HOLD_SLOTS);
		assert_int_equal(used(), 1);
	}
	assert_true(holds_release(&session, handle));
}

/* What a record cannot say, and what the daemon wants to say first. */
static void test_misses(void **state)
{
	shmb_block block;

	(void)state;
	set_word(RECORD_LIVE, true);
	object.blocks[2].body[0].size++;
	assert_false(holds_acquire(&session, handle, &block));
	object.blocks[2].body[0].checksum = block_body_checksum(&object.blocks[2].body[0], 40); /* larger than granted */
	assert_false(holds_acquire(&session, handle, &block));
	object.blocks[2].body[0].size--;
	object.blocks[2].body[0].checksum = block_body_checksum(&object.blocks[2].body[0], 40);
	assert_int_equal(used(), 0);
	page.notice = 1;
	assert_false(holds_acquire(&session, handle, &block));
	assert_false(holds_look_up(&session, "name", 4, &block));
	page.notice = 0;
	/* Closed for taking, not for giving back: one by one, and in a batch. */
	uint16_t slot;
	assert_true(holds_acquire(&session, handle, &block));
	assert_true(holds_acquire(&session, handle, &block));
	page.notice = 1;
	assert_true(holds_release(&session, handle));
	holds_claim(&session, &handle, 1, &slot);
	assert_true(slot < HOLD_SLOTS);
	holds_settle(&session, &handle, 1, &slot, false);
	assert_int_equal(used(), 0);
	page.notice = 0;
	atomic_store(&session.holds.page, NULL);
	assert_false(holds_acquire(&session, handle, &block));
	assert_false(holds_release(&session, handle));
}

static void test_names(void **state)
{
	shmb_block block;

	(void)state;
	set_word(RECORD_LIVE, true);
	assert_true(holds_look_up(&session, "name", 4, &block));
	assert_int_equal(block.handle.id, 40);
	assert_int_equal(block.handle.index, 2);
	assert_int_equal(block.handle.incarnation, 5);
	assert_int_equal(block.size, 128);
	assert_false(holds_look_up(&session, "nam", 3, &block));
	assert_false(holds_look_up(&session, "names", 5, &block));
	set_word(RECORD_LIVE, false);
	assert_false(holds_look_up(&session, "name", 4, &block));
	set_word(RECORD_LIVE, true);
	object.names[1].word = record_word(41, 0, RECORD_FREE);
	assert_false(holds_look_up(&session, "name", 4, &block));
	assert_int_equal(used(), 1);
}

/* Of a range: where it lies, and no more than it is; one that cannot be is a miss, and nothing is held. */
static void test_range(void **state)
{
	static const struct {
		uint64_t offset, length, size; /* size 0: a miss */
	} ranges[] = {
		{0, 0, 128}, {0, 128, 128}, {0, 5, 5},   {100, 0, 28},       {100, 28, 28},
		{127, 1, 1}, {100, 29, 0},  {128, 0, 0}, {UINT64_MAX, 1, 0},
	};
	shmb_block block;

	(void)state;
	set_word(RECORD_LIVE, true);
	object.names[1].word = record_word(42, 1, RECORD_LIVE);
	for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
		object.names[1].body[1] =
			(struct name_body){.id = 42, .block_id = 40, .block = 2, .offset = ranges[i].offset, .length = ranges[i].length};
		assert_int_equal(holds_look_up(&session, "name", 4, &block), ranges[i].size != 0);
		assert_int_equal(used(), ranges[i].size != 0);
		if (!ranges[i].size)
			continue;
		assert_int_equal(block.handle.id, 40);
		assert_int_equal(block.offset, 4096 + ranges[i].offset);
		assert_int_equal(block.size, ranges[i].size);
		assert_int_equal(block.granted, ranges[i].size);
		assert_ptr_equal(block.data, mapping.base + 4096 + ranges[i].offset);
		assert_true(holds_release(&session, block.handle));
	}
}

static void *hold_elsewhere(void *unused)
{
	shmb_block block;

	(void)unused;
	assert_true(holds_acquire(&session, handle, &block));
	return NULL;
}

static void *release_elsewhere(void *unused)
{
	(void)unused;
	assert_true(holds_release(&session, handle));
	return NULL;
}

static void in_thread(void *(*what)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, what, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

/* What other threads took, each in a line of its own, this one finds; and looks nowhere else. */
static void test_lines(void **state)
{
	shmb_handle all[HOLD_LINES + 1];
	uint16_t slots[HOLD_LINES + 1];

	(void)state;
	set_word(RECORD_LIVE, true);
	for (unsigned i = 0; i < HOLD_LINES; i++) {
		all[i] = handle;
		in_thread(hold_elsewhere);
		assert_int_equal(used(), i + 1);
		assert_int_equal(__builtin_popcountll(session.holds.lines), i + 1);
	}
	for (unsigned i = 0; i < HOLD_LINES / 2; i++)
		assert_true(holds_release(&session, handle));
	while (used() > 0)
		in_thread(release_elsewhere);
	assert_false(holds_release(&session, handle));
	/* The line before the thread's own. */
	hold_elsewhere(NULL);
	in_thread(release_elsewhere);
	for (unsigned i = 0; i < HOLD_LINES; i++)
		hold_elsewhere(NULL);
	all[HOLD_LINES] = handle;
	holds_claim(&session, all, HOLD_LINES + 1, slots);
	assert_int_equal(slots[HOLD_LINES], HOLD_SLOTS);
	holds_settle(&session, all, HOLD_LINES + 1, slots, false);
	assert_int_equal(used(), 0);

	/* A line that nothing was ever held in: not looked into, nor is any for a block that cannot be held. */
	session.holds.lines = 0;
	page.slots[100] = 40;
	assert_false(holds_release(&session, handle));
	session.holds.lines = UINT64_C(1) << 100 / HOLD_LINE;
	set_word(RECORD_LIVE, false);
	assert_false(holds_release(&session, handle));
	set_word(RECORD_LIVE, true);
	assert_true(holds_release(&session, handle));
}

/* The daemon reads nothing: what it is told is lost beyond a bound, and holds are given back as ever. */
static void test_told_in_vain(void **state)
{
	const struct byte_queue *out = &session.exchange.connection.out;
	shmb_block block;
	unsigned quiet = 0;

	(void)state;
	set_word(RECORD_ORPHAN, true);
	for (unsigned i = 0; quiet < 1000; i++) {
		size_t before = byte_queue_length(out);
		assert_in_range(i, 0, 10000000);
		assert_true(holds_acquire(&session, handle, &block));
		assert_true(holds_release(&session, handle));
		assert_int_equal(used(), 0);
		assert_in_range(byte_queue_length(out), 0, CONNECTION_TELL_MAX + 64);
		quiet += before > CONNECTION_TELL_MAX && byte_queue_length(out) == before;
	}
	/* Read again, it hears again. */
	while (told())
		connection_flush(&session.exchange.connection);
	assert_int_equal(byte_queue_length(out), 0);
	assert_true(holds_acquire(&session, handle, &block));
	assert_true(holds_release(&session, handle));
	assert_true(told());
}

static void test_batches(void **state)
{
	const shmb_handle handles[4] = {handle, handle, {99, 1, 5}, handle};
	uint16_t slots[4];
	shmb_block block;

	(void)state;
	set_word(RECORD_LIVE, true);
	for (unsigned i = 0; i < HOLD_SLOTS; i++)
		assert_true(holds_acquire(&session, handle, &block));
	assert_false(holds_acquire(&session, handle, &block)); /* full */
	for (unsigned i = 2; i < HOLD_SLOTS; i++)
		assert_true(holds_release(&session, handle));
	holds_claim(&session, handles, 4, slots);
	assert_true(slots[0] < HOLD_SLOTS && slots[1] < HOLD_SLOTS && slots[0] != slots[1]);
	assert_int_equal(slots[2], HOLD_SLOTS);
	assert_int_equal(slots[3], HOLD_SLOTS);
	assert_int_equal(page.slots[slots[0]], 40 | HOLD_CLAIMED);
	assert_false(holds_release(&session, handle)); /* another thread's */
	holds_settle(&session, handles, 4, slots, true);
	assert_int_equal(page.slots[slots[0]], 40);
	set_word(RECORD_ORPHAN, true);
	holds_claim(&session, handles, 1, slots);
	holds_settle(&session, handles, 1, slots, false);
	assert_true(told());
	assert_int_equal(used(), 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_states), TEST(test_wrong_handles), TEST(test_misses), TEST(test_names),
		TEST(test_range),  TEST(test_batches),       TEST(test_lines),  TEST(test_told_in_vain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
