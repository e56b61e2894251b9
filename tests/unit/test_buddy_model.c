/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buddy allocator: random operations against a model.
 *
 * The model is one number a unit: 0 if it is free, otherwise which call took it. Free blocks are a
 * function of the free units alone (buddy.c, invariant 2), so the model knows exactly which block each
 * request must get. SHMB_TEST_SEED replays a run, SHMB_TEST_STEPS sets how many operations it has.
 */
#include "server/buddy.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t random_state;
static uint64_t total_steps = 1200000;

static uint64_t draw(uint64_t below)
{
	random_state ^= random_state >> 12; /* xorshift64*, Vigna 2016 */
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * UINT64_C(2685821657736338717) >> 16) % below;
}

/* 1 to about `most`, each octave as likely as the next. */
static uint64_t draw_log(uint64_t most)
{
	uint64_t octaves = 1;

	while (most >> octaves != 0)
		octaves++;
	uint64_t low = UINT64_C(1) << draw(octaves);

	return low + draw(low);
}

struct model {
	uint64_t units, free_units;
	uint32_t *owner; /* 0: free */
	uint32_t last_owner;
	uint8_t *whole; /* for each order, whether each aligned block is free as a whole */
};

static void model_paint(struct model *model, uint64_t offset, uint64_t units, uint32_t owner)
{
	for (uint64_t i = offset; i < offset + units; i++)
		model->owner[i] = owner;
	if (owner == 0)
		model->free_units += units;
	else
		model->free_units -= units;
}

static bool model_is(const struct model *model, uint64_t offset, uint64_t units, bool is_free)
{
	for (uint64_t i = offset; i < offset + units; i++)
		if ((model->owner[i] == 0) != is_free)
			return false;
	return true;
}

static bool model_has_aligned(const struct model *model, uint64_t granted)
{
	for (uint64_t at = 0; granted <= model->units && at <= model->units - granted; at += granted)
		if (model_is(model, at, granted, true))
			return true;
	return false;
}

/* Walks the blocks that are free as a whole and in no larger one. Compares counts and largest with the
 * arena's; returns where the lowest block of the smallest order from `least` on starts. */
static uint64_t model_predict(const struct model *model, const struct buddy *buddy, uint64_t least)
{
	uint8_t *order_start[BUDDY_ORDERS + 1], *at = model->whole;
	uint64_t predicted = BUDDY_NONE, largest = 0;
	unsigned orders = 0;

	for (; model->units >> orders != 0; orders++) {
		order_start[orders] = at;
		for (uint64_t i = 0; i < model->units >> orders; i++)
			*at++ = orders == 0 ? model->owner[i] == 0 : order_start[orders - 1][2 * i] & order_start[orders - 1][2 * i + 1];
	}
	for (unsigned order = 0; order < orders; order++) {
		uint64_t count = 0, above = order + 1 < orders ? model->units >> (order + 1) : 0;

		for (uint64_t i = 0; i < model->units >> order; i++) {
			if (!order_start[order][i] || (i / 2 < above && order_start[order + 1][i / 2]))
				continue;
			count++;
			largest = UINT64_C(1) << order;
			if (largest >= least && predicted == BUDDY_NONE)
				predicted = i << order;
		}
		assert_int_equal(buddy_free_blocks(buddy, order), count);
	}
	assert_int_equal(buddy_largest_free(buddy), largest);
	return predicted;
}

static void step_allocate(struct model *model, struct buddy *buddy, bool predict)
{
	uint64_t units = draw_log(model->units), granted = 1, least, predicted = BUDDY_NONE;
	uint64_t alignment = draw(4) == 0 ? UINT64_C(1) << draw(12) : 1;
	uint64_t offset = 0, out_granted = 0;
	int result;

	if (draw(2) == 0)
		units = 1 + units % 16;
	while (granted < units)
		granted *= 2;
	least = granted > alignment ? granted : alignment;
	if (predict)
		predicted = model_predict(model, buddy, least);
	result = buddy_allocate(buddy, units, alignment, &offset, &out_granted);
	if (result < 0) {
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(predicted, BUDDY_NONE);
		assert_false(model_has_aligned(model, least));
		return;
	}
	if (predict)
		assert_int_equal(offset, predicted);
	assert_int_equal(out_granted, granted);
	assert_int_equal(offset % least, 0);
	assert_true(offset + granted <= model->units);
	assert_true(model_is(model, offset, granted, true));
	model_paint(model, offset, granted, ++model->last_owner);
}

/* Gives back what one call took, or a random part of a run of taken units, whoever took them. */
static void step_release(struct model *model, struct buddy *buddy)
{
	uint64_t at = draw(model->units), start = at, end = at + 1;
	bool exact = draw(2) == 0;

	if (model->owner[at] == 0)
		return;
	while (start > 0 && model->owner[start - 1] != 0 && (!exact || model->owner[start - 1] == model->owner[at]))
		start--;
	while (end < model->units && model->owner[end] != 0 && (!exact || model->owner[end] == model->owner[at]))
		end++;
	if (!exact) {
		start += draw(end - start);
		end = start + 1 + draw(end - start);
	}
	assert_true(buddy_is_taken(buddy, start, end - start));
	buddy_release(buddy, start, end - start);
	model_paint(model, start, end - start, 0);
}

static void step_reserve(struct model *model, struct buddy *buddy)
{
	uint64_t at = draw(model->units), units = draw_log(model->units - at);
	int result = buddy_reserve(buddy, at, units);

	if (units > model->units - at) {
		assert_int_equal(result, -EINVAL);
	} else if (!model_is(model, at, units, true)) {
		assert_int_equal(result, -EBUSY);
	} else {
		assert_int_equal(result, 0);
		model_paint(model, at, units, ++model->last_owner);
	}
}

/* What one call took, if it is still a whole block, grows, and perhaps shrinks again, as a block that is resized does. */
static void step_resize(struct model *model, struct buddy *buddy)
{
	uint64_t at = draw(model->units), start = at, end = at + 1, granted = 0;

	if (model->owner[at] == 0)
		return;
	while (start > 0 && model->owner[start - 1] == model->owner[at])
		start--;
	while (end < model->units && model->owner[end] == model->owner[at])
		end++;
	uint64_t had = end - start, units = had + 1 + draw_log(had), wanted = 1;
	if ((had & (had - 1)) != 0 || start % had != 0)
		return;
	while (wanted < units)
		wanted *= 2;
	bool fits = start % wanted == 0 && wanted <= model->units - start && model_is(model, end, wanted - had, true);
	int result = buddy_grow(buddy, start, had, units, &granted);
	assert_int_equal(result, fits ? 0 : -ENOMEM);
	if (!fits)
		return;
	assert_int_equal(granted, wanted);
	model_paint(model, end, wanted - had, model->owner[at]);
	units = 1 + draw(wanted);
	uint64_t kept = buddy_rounded(units);
	assert_true(kept >= units && kept < 2 * units && kept <= wanted);
	buddy_release(buddy, start + kept, wanted - kept);
	model_paint(model, start + kept, wanted - kept, 0);
}

static void step_ask(const struct model *model, const struct buddy *buddy)
{
	uint64_t at = draw(model->units), units = 1 + draw(model->units - at);

	if (draw(2) == 0)
		units = 1 + units % 8 % (model->units - at);
	assert_int_equal(buddy_is_free(buddy, at, units), model_is(model, at, units, true));
	assert_int_equal(buddy_is_taken(buddy, at, units), model_is(model, at, units, false));
}

static void against_model(uint64_t units, uint64_t steps)
{
	struct model model = {.units = units, .free_units = units};
	uint64_t rare = units < 64 ? 1 : units / 64; /* how often what reads the whole model is done */
	uint64_t allocate_share = 0;
	struct buddy buddy;
	void *memory = calloc(1, buddy_footprint(units));

	assert_non_null(memory);
	assert_int_equal(buddy_init(&buddy, memory, units), 0);
	model.owner = calloc(units, sizeof(*model.owner));
	model.whole = malloc(2 * units);
	assert_non_null(model.owner);
	assert_non_null(model.whole);
	for (uint64_t step = 0; step < steps; step++) {
		uint64_t choice = draw(100);

		if (step % 1024 == 0) /* now filling up, now draining */
			allocate_share = 20 + draw(50);
		if (choice < allocate_share)
			step_allocate(&model, &buddy, draw(rare) == 0);
		else if (choice < 92)
			step_release(&model, &buddy);
		else if (choice < 95)
			step_reserve(&model, &buddy);
		else if (choice < 98)
			step_resize(&model, &buddy);
		else
			step_ask(&model, &buddy);
		assert_int_equal(buddy_free_units(&buddy), model.free_units);
		if (draw(16 * rare) == 0)
			assert_true(buddy_is_valid(&buddy));
	}
	model_predict(&model, &buddy, 1);
	assert_true(buddy_is_valid(&buddy));
	for (uint64_t at = 0; at < units; at++) {
		if (model.owner[at] != 0)
			buddy_release(&buddy, at, 1);
	}
	assert_true(buddy_is_valid(&buddy));
	assert_int_equal(buddy_free_units(&buddy), units);
	for (unsigned order = 0; order < BUDDY_ORDERS; order++)
		assert_int_equal(buddy_free_blocks(&buddy, order), (units >> order) & 1);
	free(model.whole);
	free(model.owner);
	free(memory);
}

static void random_operations(void **state)
{
	static const uint64_t sizes[] = {1, 2, 3, 7, 63, 64, 65, 127, 1000, 1024, 4097, 65536};
	const size_t count = sizeof(sizes) / sizeof(sizes[0]);

	(void)state;
	for (size_t i = 0; i < count; i++)
		against_model(sizes[i], total_steps / count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(random_operations)};
	const char *seed = getenv("SHMB_TEST_SEED"), *steps = getenv("SHMB_TEST_STEPS");

	random_state = (uint64_t)time(NULL) * 65537 + (uint64_t)getpid();
	if (seed)
		random_state = strtoull(seed, NULL, 0);
	random_state += random_state == 0;
	if (steps)
		total_steps = strtoull(steps, NULL, 0);
	printf("# SHMB_TEST_SEED=%llu SHMB_TEST_STEPS=%llu\n", (unsigned long long)random_state,
	       (unsigned long long)total_steps);
	return cmocka_run_group_tests_name("buddy_model", tests, NULL, NULL);
}
