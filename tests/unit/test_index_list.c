/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of indexes: by hand, and two lists over one array of links against a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "server/index_list.h"
#include "tests/unit/draw.h"

#define INDEXES 40

static void test_by_hand(void **state)
{
	struct index_link links[4] = {{0}}, empty = {0};
	uint32_t head = 0;

	(void)state;
	index_list_push(links, &head, 2);
	assert_int_equal(head, 3);
	index_list_push(links, &head, 0);
	index_list_push(links, &head, 3);
	/* 3, 0, 2 */
	assert_int_equal(head, 4);
	assert_int_equal(links[3].next, 1);
	assert_int_equal(links[0].prev, 4);
	assert_int_equal(links[0].next, 3);
	assert_int_equal(links[2].prev, 1);
	assert_int_equal(links[2].next, 0);
	index_list_remove(links, &head, 0); /* from the middle */
	assert_int_equal(links[3].next, 3);
	assert_int_equal(links[2].prev, 4);
	assert_memory_equal(&links[0], &empty, sizeof empty);
	index_list_remove(links, &head, 2); /* the last */
	assert_int_equal(links[3].next, 0);
	assert_int_equal(head, 4);
	index_list_remove(links, &head, 3); /* the first, and only one */
	assert_int_equal(head, 0);
	assert_memory_equal(&links[3], &empty, sizeof empty);
}

/* What is in a list, the newest first. */
struct model {
	uint32_t indexes[INDEXES];
	size_t count;
};

static void assert_same(const struct index_link *links, uint32_t head, const struct model *model)
{
	uint32_t link = head, before = 0;

	for (size_t i = 0; i < model->count; i++) {
		assert_int_equal(link, model->indexes[i] + 1);
		assert_int_equal(links[link - 1].prev, before);
		before = link;
		link = links[link - 1].next;
	}
	assert_int_equal(link, 0);
}

static void test_against_model(void **state)
{
	struct index_link links[INDEXES] = {{0}};
	struct model models[2] = {{.count = 0}};
	uint32_t heads[2] = {0, 0};
	int where[INDEXES];

	(void)state;
	memset(where, -1, sizeof where);
	for (int step = 0; step < 20000; step++) {
		uint32_t index = (uint32_t)draw(INDEXES);
		struct model *model;
		if (where[index] < 0) {
			where[index] = (int)draw(2);
			model = &models[where[index]];
			memmove(model->indexes + 1, model->indexes, model->count++ * sizeof model->indexes[0]);
			model->indexes[0] = index;
			index_list_push(links, &heads[where[index]], index);
		} else {
			size_t at = 0;
			model = &models[where[index]];
			while (model->indexes[at] != index)
				at++;
			memmove(model->indexes + at, model->indexes + at + 1, (--model->count - at) * sizeof model->indexes[0]);
			index_list_remove(links, &heads[where[index]], index);
			where[index] = -1;
		}
		assert_same(links, heads[0], &models[0]);
		assert_same(links, heads[1], &models[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_hand),
		cmocka_unit_test(test_against_model),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
