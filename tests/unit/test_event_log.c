/* SPDX-License-Identifier: Apache-2.0 */
/* The log of events: order, names, cursors that are overtaken; then random appends and reads against a list that forgets nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/event_log.h"
#include "tests/support/pattern.h"

#define SIZE 4096u
#define MODEL_EVENTS 200000u

static struct event_log event_log;

static int setup(void **state)
{
	(void)state;
	return event_log_init(&event_log, SIZE);
}

static int teardown(void **state)
{
	(void)state;
	event_log_deinit(&event_log);
	return 0;
}

static void append(enum event_kind kind, uint64_t id, const char *name)
{
	event_log_append(
		&event_log, &(struct event){.kind = kind, .id = id, .name = name, .name_length = name ? (uint32_t)strlen(name) : 0});
}

static void events_come_in_order_with_their_names(void **state)
{
	struct event_cursor early, late;
	struct event event;

	(void)state;
	event_log_start(&event_log, &early);
	assert_false(event_log_next(&event_log, &early, EVENT_ALL, &event));
	append(EVENT_NAME_PUBLISHED, 1, "apple");
	event_log_start(&event_log, &late);
	append(EVENT_BLOCK_FREED, 2, NULL);
	append(EVENT_NAME_REMOVED, 3, "");
	assert_true(event_log_next(&event_log, &early, EVENT_ALL, &event));
	assert_int_equal(event.kind, EVENT_NAME_PUBLISHED);
	assert_int_equal(event.name_length, 5);
	assert_memory_equal(event.name, "apple", 5);
	assert_true(event_log_next(&event_log, &early, EVENT_ALL, &event));
	assert_int_equal(event.id, 2);
	assert_null(event.name);
	/* One that began later, and one kind. */
	assert_true(event_log_next(&event_log, &late, EVENT_BIT(EVENT_NAME_REMOVED), &event));
	assert_int_equal(event.id, 3);
	assert_int_equal(event.name_length, 0);
	assert_false(event_log_next(&event_log, &late, EVENT_ALL, &event));
	assert_true(event_log_next(&event_log, &early, EVENT_ALL, &event));
	assert_false(event_log_next(&event_log, &early, EVENT_ALL, &event));
	assert_int_equal(event_log_take_lost(&event_log, &early, EVENT_ALL), 0);
}

static void long_names_are_cut(void **state)
{
	char name[400];
	struct event_cursor cursor;
	struct event event;

	(void)state;
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	event_log_start(&event_log, &cursor);
	for (unsigned i = 0; i < 100; i++) {
		append(EVENT_NAME_PUBLISHED, i, name);
		assert_true(event_log_next(&event_log, &cursor, EVENT_ALL, &event));
		assert_int_equal(event.name_length, EVENT_LOG_NAME_MAX);
		assert_memory_equal(event.name, name, EVENT_LOG_NAME_MAX);
	}
}

static void who_is_overtaken_is_told_how_much_he_has_lost(void **state)
{
	struct event_cursor cursor, frees;
	struct event event;
	uint64_t lost, seen = 0;

	(void)state;
	event_log_start(&event_log, &cursor);
	event_log_start(&event_log, &frees);
	for (unsigned i = 0; i < 1000; i++)
		append(i % 4 ? EVENT_BLOCK_FREED : EVENT_SESSION_OPENED, i + 1, NULL);
	assert_int_equal(event_log_count(&event_log, &cursor, EVENT_ALL), 1000);
	lost = event_log_take_lost(&event_log, &cursor, EVENT_ALL);
	assert_true(lost > 0 && lost < 1000);
	assert_int_equal(event_log_take_lost(&event_log, &cursor, EVENT_ALL), 0);
	while (event_log_next(&event_log, &cursor, EVENT_ALL, &event))
		assert_int_equal(event.id, lost + ++seen);
	assert_int_equal(lost + seen, 1000);
	/* Of one kind, only those of this kind are lost. */
	lost = event_log_take_lost(&event_log, &frees, EVENT_BIT(EVENT_BLOCK_FREED));
	for (seen = 0; event_log_next(&event_log, &frees, EVENT_BIT(EVENT_BLOCK_FREED), &event); seen++)
		assert_int_equal(event.kind, EVENT_BLOCK_FREED);
	assert_int_equal(lost + seen, 750);
}

/* What no cursor wants is passed over without being read. */
static void a_cursor_that_wants_nothing_of_it_is_at_the_end_at_once(void **state)
{
	struct event_cursor cursor;
	struct event event;

	(void)state;
	event_log_start(&event_log, &cursor);
	for (unsigned i = 0; i < 10; i++)
		append(EVENT_BLOCK_FREED, i, NULL);
	assert_false(event_log_next(&event_log, &cursor, EVENT_BIT(EVENT_PRESSURE), &event));
	assert_int_equal(cursor.at, event_log.head);
	append(EVENT_PRESSURE, 0, NULL);
	assert_true(event_log_next(&event_log, &cursor, EVENT_BIT(EVENT_PRESSURE), &event));
}

static void without_memory_there_is_no_log(void **state)
{
	struct event_log none;

	(void)state;
	assert_int_equal(event_log_init(&none, UINT64_C(1) << 62), -ENOMEM);
}

/* One reader of the model: what it wants, how far it is, and what it has been told. */
struct reader {
	uint32_t kinds;
	struct event_cursor cursor;
	uint64_t next; /* event of the list from which on nothing was told */
};

/* The next event of the list that the reader wants must be this one. */
static void check_told(struct reader *reader, const enum event_kind *kinds, const struct event *event)
{
	while (!(reader->kinds & EVENT_BIT(kinds[reader->next])))
		reader->next++;
	assert_int_equal(event->id, reader->next + 1);
	assert_int_equal(event->kind, kinds[reader->next]);
	assert_true(event->name_length == event->id % 256 || (event->id % 3 && !event->name_length));
	for (uint32_t i = 0; i < event->name_length; i++)
		assert_int_equal(event->name[i], (char)(event->id + i));
	reader->next++;
}

static void skip_lost(struct reader *reader, const enum event_kind *kinds)
{
	uint64_t lost = event_log_take_lost(&event_log, &reader->cursor, reader->kinds);

	for (; lost; reader->next++)
		lost -= (reader->kinds & EVENT_BIT(kinds[reader->next])) != 0;
}

static void agrees_with_a_list_that_forgets_nothing(void **state)
{
	enum event_kind *kinds = malloc(MODEL_EVENTS * sizeof *kinds);
	uint64_t random = pattern_seed(4711);
	struct reader readers[4];
	struct event event;

	(void)state;
	assert_non_null(kinds);
	for (unsigned r = 0; r < 4; r++) {
		readers[r] = (struct reader){.kinds = r ? (uint32_t)pattern_below(&random, EVENT_ALL) + 1 : EVENT_ALL};
		event_log_start(&event_log, &readers[r].cursor);
	}
	for (uint64_t n = 0; n < MODEL_EVENTS; n++) {
		char name[256];
		kinds[n] = (enum event_kind)pattern_below(&random, EVENT_KINDS);
		event = (struct event){.kind = kinds[n], .id = n + 1, .name = name};
		if (event.id % 3 == 0)
			event.name_length = (uint32_t)(event.id % 256);
		for (uint32_t i = 0; i < event.name_length; i++)
			name[i] = (char)(event.id + i);
		event_log_append(&event_log, &event);
		struct reader *reader = &readers[pattern_below(&random, 4)];
		if (pattern_below(&random, 100) >= 20)
			continue;
		skip_lost(reader, kinds);
		for (uint64_t left = pattern_below(&random, 100); left; left--) {
			if (!event_log_next(&event_log, &reader->cursor, reader->kinds, &event))
				break;
			check_told(reader, kinds, &event);
		}
	}
	for (unsigned r = 0; r < 4; r++) {
		skip_lost(&readers[r], kinds);
		while (event_log_next(&event_log, &readers[r].cursor, readers[r].kinds, &event))
			check_told(&readers[r], kinds, &event);
		for (uint64_t n = readers[r].next; n < MODEL_EVENTS; n++)
			assert_false(readers[r].kinds & EVENT_BIT(kinds[n]));
	}
	free(kinds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(events_come_in_order_with_their_names, setup, teardown),
		cmocka_unit_test_setup_teardown(long_names_are_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(who_is_overtaken_is_told_how_much_he_has_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cursor_that_wants_nothing_of_it_is_at_the_end_at_once, setup, teardown),
		cmocka_unit_test(without_memory_there_is_no_log),
		cmocka_unit_test_setup_teardown(agrees_with_a_list_that_forgets_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
