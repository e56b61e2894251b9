/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole against a simple model: sessions allocate, free, publish, replace, look up, remove, close and come back at random, and
 * every answer must be the one that the model gives. Every block is filled with a pattern of its own, which is compared before
 * the block goes: two blocks that overlap would spoil each other's. $SHMB_TEST_SEED and $SHMB_TEST_STEPS replay a failure.
 *
 * A model runs in a process of its own and ends it where the answer is another one: alone, where counters and listings are
 * predicted too, and beside other models on the same pool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shmbuddy.h"
#include "tests/support/client_process.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/pattern.h"
#include "tests/support/pool_session.h"

#define POOL (UINT64_C(3) << 20) /* no power of two, and so small that it is full now and then */
#define SESSIONS 6
#define BLOCKS 700
#define NAMES 120
#define BATCH 40
#define NOBODY (-1)

static struct daemon_fixture fixture;
static struct client_process processes[3];

struct model_block {
	shmb_block block; /* of the last that was here; `live` or not */
	bool live;
	int owner; /* session, or NOBODY */
	unsigned references[SESSIONS], names;
	bool sealed;
	uint64_t metadata_seed; /* of its bytes; 0: none */
};

static struct model {
	const char *prefix; /* of its names */
	uint64_t random_state;
	bool alone;
	shmb_session *sessions[SESSIONS];
	struct model_block blocks[BLOCKS];
	int names[NAMES];               /* block, or NOBODY */
	shmb_publish_options as[NAMES]; /* the range of it that the name stands for */
	uint64_t live, live_names;
	unsigned refusals, steps;
} model;

static uint64_t below(uint64_t limit)
{
	return pattern_below(&model.random_state, limit);
}

/* As CLIENT_CHECK, with what is needed to find the place again. */
#define MODEL_CHECK(condition)                                                                                              \
	do {                                                                                                                    \
		if (!(condition)) {                                                                                                 \
			dprintf(STDERR_FILENO, "model %s, step %u\n", model.prefix, model.steps);                                       \
			CLIENT_CHECK(condition);                                                                                        \
			_exit(1);                                                                                                       \
		}                                                                                                                   \
	} while (0)

static void name_of(int name, char out_text[64])
{
	snprintf(out_text, 64, "%s/%d", model.prefix, name);
}

static unsigned holds(const struct model_block *block, int session)
{
	return block->references[session] + (block->owner == session);
}

static bool is_held(const struct model_block *block)
{
	for (int session = 0; session < SESSIONS; session++)
		if (holds(block, session))
			return true;
	return false;
}

/* A block's bytes, seen from any session. */
static void check_pattern(const struct model_block *block)
{
	const void *bytes = shmb_pointer(model.sessions[below(SESSIONS)], block->block.offset);

	MODEL_CHECK(bytes && pattern_matches(bytes, block->block.size, block->block.handle.id));
}

/* The bytes that go with a seed; 0 bytes with 0. */
static size_t write_metadata(uint64_t seed, uint8_t out_bytes[SHMB_METADATA_MAX])
{
	size_t size = seed ? 1 + seed % SHMB_METADATA_MAX : 0;

	pattern_write(out_bytes, size, seed);
	return size;
}

static void check_metadata(int session, const struct model_block *block)
{
	uint8_t bytes[SHMB_METADATA_MAX], expected[SHMB_METADATA_MAX];
	size_t size;

	MODEL_CHECK(shmb_get_metadata(model.sessions[session], block->block.handle, bytes, sizeof bytes, &size) == 0);
	MODEL_CHECK(size == write_metadata(block->metadata_seed, expected) && memcmp(bytes, expected, size) == 0);
}

static struct model_block *vacancy(void)
{
	for (size_t tries = 0, at = below(BLOCKS); tries < BLOCKS; tries++, at = (at + 1) % BLOCKS)
		if (!model.blocks[at].live)
			return &model.blocks[at];
	return NULL;
}

/* Any block that was ever allocated, mostly one that lives. */
static struct model_block *any_block(void)
{
	struct model_block *block = &model.blocks[below(BLOCKS)];

	for (int tries = 0; tries < 20 && !block->live; tries++)
		block = &model.blocks[below(BLOCKS)];
	return block->block.handle.id ? block : NULL;
}

static void settle(struct model_block *block)
{
	if (!block->live || is_held(block) || block->names)
		return;
	block->live = false;
	model.live--;
}

static void set_in(struct model_block *place, int session, const shmb_block *block)
{
	*place = (struct model_block){.block = *block, .live = true, .owner = session};
	pattern_write(block->data, block->size, block->handle.id);
	model.live++;
}

/* The name stands for the block from now on, and no more for what it did. */
static void set_name(int name, struct model_block *block, const shmb_publish_options *as)
{
	struct model_block *before = model.names[name] == NOBODY ? NULL : &model.blocks[model.names[name]];

	model.names[name] = (int)(block - model.blocks);
	model.as[name] = *as;
	block->names++;
	if (!before) {
		model.live_names++;
		return;
	}
	before->names--;
	settle(before);
}

/* One in three is a range; now and then it does not lie in the block. */
static shmb_publish_options random_range(const struct model_block *block)
{
	shmb_publish_options options = {.replace = below(2)};

	if (below(3) == 0) {
		options.offset = below(block->block.size + block->block.size / 16);
		options.length = below(2) ? 0 : below(block->block.size + 2);
	}
	return options;
}

static bool is_range_of(const struct model_block *block, const shmb_publish_options *options)
{
	uint64_t size = block->block.size;

	return options->offset < size && options->length <= size - options->offset;
}

static uint64_t random_size(void)
{
	switch (below(20)) {
	case 0: return 1 + below(256 << 10);
	case 1:
	case 2: return UINT64_C(1) << below(16);
	default: return 1 + below(6000);
	}
}

/* ---- Steps ------------------------------------------------------------------------------------------------------ */

/* A refusal must be true: nothing that long is free. In a batch it may be the others of the batch that stand in the way. */
static void check_refusal(int result, uint64_t size, uint64_t alignment)
{
	shmb_oom oom;

	MODEL_CHECK(result == -SHMB_E_OUT_OF_MEMORY && shmb_out_of_memory(&oom));
	MODEL_CHECK(oom.limit == SHMB_OOM_SEGMENT && oom.granted >= oom.requested);
	if (size) {
		MODEL_CHECK(oom.requested == size);
		MODEL_CHECK(oom.granted > oom.longest_free || alignment > oom.longest_free);
	}
	model.refusals++;
}

static void step_alloc(int session)
{
	struct model_block *place = vacancy();
	int name = (int)below(NAMES);
	bool named = below(3) == 0, taken = named && model.names[name] != NOBODY;
	shmb_alloc_options options = {.alignment = below(4) ? 0 : UINT64_C(1) << below(16), .replace = below(2)};
	uint64_t size = random_size();
	shmb_block block;
	char text[64];
	int result;

	if (!place)
		return;
	name_of(name, text);
	options.name = named ? text : NULL;
	result = shmb_alloc(model.sessions[session], size, &options, &block);
	if (taken && !options.replace) {
		MODEL_CHECK(result == -SHMB_E_NAME_TAKEN);
		return;
	}
	if (result < 0) {
		check_refusal(result, size, options.alignment);
		return;
	}
	MODEL_CHECK(block.size == size && block.granted >= size && block.offset + block.granted <= POOL);
	MODEL_CHECK(options.alignment == 0 || block.offset % options.alignment == 0);
	set_in(place, session, &block);
	if (named)
		set_name(name, place, &(shmb_publish_options){0});
}

static void step_alloc_batch(int session)
{
	size_t count = 1 + below(BATCH);
	uint64_t sizes[BATCH];
	shmb_block blocks[BATCH];
	int result;

	if (model.live + count > BLOCKS)
		return;
	for (size_t i = 0; i < count; i++)
		sizes[i] = random_size();
	result = shmb_alloc_batch(model.sessions[session], sizes, count, NULL, blocks);
	if (result < 0) {
		check_refusal(result, 0, 0);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		MODEL_CHECK(blocks[i].size == sizes[i]);
		set_in(vacancy(), session, &blocks[i]);
	}
}

/* Patterns are compared before: what has been freed may be another's by now. */
static void give_back(struct model_block *block, int session)
{
	if (block->references[session])
		block->references[session]--;
	else
		block->owner = NOBODY;
	settle(block);
}

static void step_free(int session)
{
	struct model_block *block = any_block();
	int result;

	if (!block)
		return;
	if (block->live)
		check_pattern(block);
	result = shmb_free(model.sessions[session], block->block.handle);
	if (!block->live)
		MODEL_CHECK(result == -SHMB_E_STALE_HANDLE);
	else if (!holds(block, session))
		MODEL_CHECK(result == -SHMB_E_NOT_HELD);
	else {
		MODEL_CHECK(result == 0);
		give_back(block, session);
	}
}

/* Everything that a session holds of some blocks; now and then once too often, and then nothing goes. */
static void step_free_batch(int session)
{
	struct model_block *blocks[BATCH * 4];
	shmb_handle handles[BATCH * 4];
	size_t count = 0;
	bool too_often;

	for (size_t i = 0, at = below(BLOCKS); i < BLOCKS && count < BATCH; i++, at = (at + 1) % BLOCKS)
		for (unsigned n = model.blocks[at].live ? holds(&model.blocks[at], session) : 0; n && count < BATCH; n--) {
			check_pattern(&model.blocks[at]);
			blocks[count] = &model.blocks[at];
			handles[count++] = model.blocks[at].block.handle;
		}
	if (count == 0)
		return;
	too_often = below(4) == 0;
	if (too_often) {
		for (unsigned n = holds(blocks[0], session); n; n--)
			handles[count++] = handles[0];
		MODEL_CHECK(shmb_free_batch(model.sessions[session], handles, count) == -SHMB_E_NOT_HELD);
		return;
	}
	MODEL_CHECK(shmb_free_batch(model.sessions[session], handles, count) == 0);
	for (size_t i = 0; i < count; i++)
		give_back(blocks[i], session);
}

static void step_publish(int session)
{
	struct model_block *block = any_block();
	int name = (int)below(NAMES), result;
	char text[64];

	if (!block || (model.names[name] != NOBODY && (!block->live || !holds(block, session))))
		return; /* one mistake at a time */
	shmb_publish_options options = random_range(block);
	name_of(name, text);
	if (model.names[name] != NOBODY)
		check_pattern(&model.blocks[model.names[name]]);
	result = shmb_publish_with(model.sessions[session], block->block.handle, text, &options);
	if (!block->live)
		MODEL_CHECK(result == -SHMB_E_STALE_HANDLE);
	else if (!holds(block, session))
		MODEL_CHECK(result == -SHMB_E_NOT_HELD);
	else if (!is_range_of(block, &options))
		MODEL_CHECK(result == -SHMB_E_INVALID_ARGUMENT);
	else if (model.names[name] != NOBODY && !options.replace)
		MODEL_CHECK(result == -SHMB_E_NAME_TAKEN);
	else {
		MODEL_CHECK(result == 0);
		set_name(name, block, &options);
	}
}

static void step_unpublish(int session)
{
	int name = (int)below(NAMES), result;
	struct model_block *block = model.names[name] == NOBODY ? NULL : &model.blocks[model.names[name]];
	char text[64];

	name_of(name, text);
	if (block)
		check_pattern(block);
	result = shmb_unpublish(model.sessions[session], text);
	if (!block) {
		MODEL_CHECK(result == -SHMB_E_NO_SUCH_NAME);
		return;
	}
	MODEL_CHECK(result == 0);
	model.names[name] = NOBODY;
	model.live_names--;
	block->names--;
	settle(block);
}

static void step_lookup(int session)
{
	int name = (int)below(NAMES), result;
	struct model_block *block;
	shmb_block found;
	char text[64];

	name_of(name, text);
	result = shmb_lookup(model.sessions[session], text, &found);
	if (model.names[name] == NOBODY) {
		MODEL_CHECK(result == -SHMB_E_NO_SUCH_NAME);
		return;
	}
	block = &model.blocks[model.names[name]];
	const shmb_publish_options *as = &model.as[name];
	MODEL_CHECK(result == 0 && found.handle.id == block->block.handle.id);
	MODEL_CHECK(found.offset == block->block.offset + as->offset);
	MODEL_CHECK(found.size == (as->length ? as->length : block->block.size - as->offset));
	MODEL_CHECK(found.data == (found.sealed ? shmb_pointer_read_only(model.sessions[session], found.offset)
	                                        : shmb_pointer(model.sessions[session], found.offset)));
	MODEL_CHECK(found.sealed == block->sealed);
	check_metadata(session, block);
	check_pattern(block);
	block->references[session]++;
}

/* What a change of this block must be refused with; 0: nothing. */
static int change_refusal(const struct model_block *block, int session)
{
	if (!block->live)
		return -SHMB_E_STALE_HANDLE;
	if (!holds(block, session))
		return -SHMB_E_NOT_HELD;
	return block->sealed ? -SHMB_E_SEALED : 0;
}

static void step_seal(int session)
{
	struct model_block *block = any_block();

	if (!block || below(4))
		return; /* or in the end all would be sealed */
	int expected = change_refusal(block, session);
	int result = shmb_seal(model.sessions[session], block->block.handle);
	MODEL_CHECK(result == (expected == -SHMB_E_SEALED ? 0 : expected));
	block->sealed = block->sealed || result == 0;
}

static void step_set_metadata(int session)
{
	struct model_block *block = any_block();
	uint8_t bytes[SHMB_METADATA_MAX];

	if (!block)
		return;
	uint64_t seed = below(5) ? 1 + below(1000000) : 0;
	size_t size = write_metadata(seed, bytes);
	int result = shmb_set_metadata(model.sessions[session], block->block.handle, bytes, size);
	MODEL_CHECK(result == change_refusal(block, session));
	if (result == 0) {
		block->metadata_seed = seed;
		check_metadata(session, block);
	}
}

/* May it lose all from `size` bytes on? */
static bool may_shrink(const struct model_block *block, int session, uint64_t size)
{
	for (int name = 0; name < NAMES; name++) {
		const shmb_publish_options *as = &model.as[name];
		if (model.names[name] == (int)(block - model.blocks) && as->offset + (as->length ? as->length : 1) > size)
			return false;
	}
	for (int i = 0; i < SESSIONS; i++)
		if (i != session && holds(block, i))
			return false;
	return true;
}

static void step_resize(int session)
{
	struct model_block *block = any_block(), *place = vacancy();
	uint64_t size = random_size();
	shmb_block resized;
	bool moved;

	if (!block || !place)
		return;
	int expected = change_refusal(block, session);
	if (!expected && size < block->block.size && !may_shrink(block, session, size))
		expected = -SHMB_E_IN_USE;
	if (block->live)
		check_pattern(block);
	int result = shmb_resize(model.sessions[session], block->block.handle, size, &resized, &moved);
	if (expected || result != -SHMB_E_OUT_OF_MEMORY)
		MODEL_CHECK(result == expected);
	if (expected)
		return;
	if (result < 0) {
		MODEL_CHECK(size > block->block.granted);
		check_refusal(result, size, 0);
		return;
	}
	MODEL_CHECK(resized.size == size && resized.granted >= size && resized.offset + resized.granted <= POOL);
	if (moved) {
		MODEL_CHECK(size > block->block.granted && resized.handle.id > block->block.handle.id);
		set_in(place, session, &resized);
		place->metadata_seed = block->metadata_seed;
		check_metadata(session, place);
		return;
	}
	MODEL_CHECK(resized.offset == block->block.offset && resized.handle.id == block->block.handle.id);
	MODEL_CHECK(pattern_matches(resized.data, size < block->block.size ? size : block->block.size, resized.handle.id));
	pattern_write(resized.data, size, resized.handle.id);
	block->block = resized;
}

static void step_remove(int session)
{
	struct model_block *block = any_block();
	int result;

	if (!block)
		return;
	result = shmb_remove(model.sessions[session], block->block.handle.id);
	if (!block->live)
		MODEL_CHECK(result == -SHMB_E_NO_SUCH_BLOCK);
	else if (is_held(block))
		MODEL_CHECK(result == -SHMB_E_IN_USE);
	else {
		MODEL_CHECK(result == 0);
		for (int name = 0; name < NAMES; name++)
			if (model.names[name] == (int)(block - model.blocks)) {
				model.names[name] = NOBODY;
				model.live_names--;
			}
		block->names = 0;
		settle(block);
	}
}

static void open_session(int session)
{
	shmb_connect_options options = {.socket_path = fixture.socket_path, .program = model.prefix};

	MODEL_CHECK(shmb_connect(&options, &model.sessions[session]) == 0);
}

/* Closing gives back whatever it holds, at once. */
static void step_close(int session)
{
	shmb_close(model.sessions[session]);
	open_session(session);
	for (size_t i = 0; i < BLOCKS; i++) {
		struct model_block *block = &model.blocks[i];

		if (!block->live)
			continue;
		block->references[session] = 0;
		if (block->owner == session)
			block->owner = NOBODY;
		settle(block);
	}
}

static void check_everything(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		if (model.blocks[i].live)
			check_pattern(&model.blocks[i]);
	if (!model.alone)
		return;

	shmb_status status;
	shmb_block_info info;
	uint32_t cursor = 0;
	uint64_t count = 0, used = 0, sealed = 0, expected = 0;

	/* What was held by a hold page goes a moment after its last hold: nothing else is under way. */
	for (uint64_t end = pool_session_now_ns() + 5000000000;;) {
		MODEL_CHECK(shmb_get_status(model.sessions[0], &status) == 0);
		if (status.blocks == model.live || pool_session_now_ns() > end)
			break;
	}
	MODEL_CHECK(status.blocks == model.live && status.names == model.live_names);
	while (shmb_next_block(model.sessions[0], &cursor, &info) == 1) {
		count++;
		used += info.granted;
		sealed += info.sealed;
	}
	for (size_t i = 0; i < BLOCKS; i++)
		expected += model.blocks[i].live && model.blocks[i].sealed;
	MODEL_CHECK(count == model.live && used == status.used && sealed == expected);
}

static void step(void)
{
	int session = (int)below(SESSIONS);

	switch (below(46)) {
	case 0: step_alloc_batch(session); break;
	case 1:
	case 2: step_free_batch(session); break;
	case 3 ... 6: step_publish(session); break;
	case 7 ... 9: step_unpublish(session); break;
	case 10 ... 14: step_lookup(session); break;
	case 15: step_remove(session); break;
	case 16:
		if (below(20) == 0)
			step_close(session);
		break;
	case 17 ... 27: step_alloc(session); break;
	case 28: step_seal(session); break;
	case 29 ... 30: step_set_metadata(session); break;
	case 31 ... 34: step_resize(session); break;
	default: step_free(session); break;
	}
}

static void clear_up(void)
{
	char text[64];

	for (int name = 0; name < NAMES; name++) {
		name_of(name, text);
		if (model.names[name] != NOBODY)
			MODEL_CHECK(shmb_unpublish(model.sessions[0], text) == 0);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		for (int session = 0; session < SESSIONS; session++)
			for (unsigned n = model.blocks[i].live ? holds(&model.blocks[i], session) : 0; n; n--)
				MODEL_CHECK(shmb_free(model.sessions[session], model.blocks[i].block.handle) == 0);
}

struct script {
	const char *prefix;
	uint64_t seed;
	unsigned steps;
	bool alone;
};

static void run_model(int control, const void *argument)
{
	const struct script *script = argument;
	uint64_t most = 0;

	(void)control;
	model.prefix = script->prefix;
	model.random_state = script->seed;
	model.alone = script->alone;
	for (int name = 0; name < NAMES; name++)
		model.names[name] = NOBODY;
	for (int session = 0; session < SESSIONS; session++)
		open_session(session);
	for (model.steps = 0; model.steps < script->steps; model.steps++) {
		step();
		most = model.live > most ? model.live : most;
		if (model.steps % 500 == 0)
			check_everything();
	}
	check_everything();
	printf("model %s: %u steps, %" PRIu64 " blocks at once at most, %u refused for want of memory\n", model.prefix,
	       model.steps, most, model.refusals);
	clear_up();
	for (int session = 0; session < SESSIONS; session++)
		shmb_close(model.sessions[session]);
	fflush(stdout);
}

/* ---- Tests ------------------------------------------------------------------------------------------------------ */

static unsigned steps(void)
{
	const char *text = getenv("SHMB_TEST_STEPS");

	return text ? (unsigned)strtoul(text, NULL, 0) : 20000;
}

static void test_model_alone(void **state)
{
	struct script script = {"alone", pattern_seed(UINT64_C(0x0de1)), steps(), true};
	shmb_session *watcher;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "3M", NULL);
	client_process_start(&processes[0], run_model, &script);
	assert_int_equal(client_process_reap(&processes[0]), 0);
	watcher = pool_session_open(&fixture);
	pool_session_await_clients(watcher, 1);
	pool_session_assert_empty(watcher, UINT64_C(2) << 20); /* the longest buddy of three */
	shmb_close(watcher);
}

static void test_models_beside_each_other(void **state)
{
	static const char *const prefixes[] = {"left", "middle", "right"};
	uint64_t seed = pattern_seed(UINT64_C(0x3de1));
	shmb_session *watcher;

	(void)state;
	daemon_fixture_start(&fixture, "--size", "3M", NULL);
	for (int i = 0; i < 3; i++) {
		struct script script = {prefixes[i], pattern_random(&seed), steps() / 3, false};
		client_process_start(&processes[i], run_model, &script);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(client_process_reap(&processes[i]), 0);
	watcher = pool_session_open(&fixture);
	pool_session_await_clients(watcher, 1);
	pool_session_assert_empty(watcher, UINT64_C(2) << 20); /* the longest buddy of three */
	shmb_close(watcher);
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		client_process_end(&processes[i]);
	daemon_fixture_stop(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_model_alone, tear_down),
		cmocka_unit_test_teardown(test_models_beside_each_other, tear_down),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
