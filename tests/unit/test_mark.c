/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark, against a simple one of the whole graph: on graphs that stand still both find the same; on graphs that change between its steps
 * whatever can be reached in the end is marked, and nothing is that could not be reached at any time since it began.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "server/mark.h"
#include "tests/unit/draw.h"

#define BLOCKS 240
#define LINKS 720
#define MARKS 3000 /* some hundred steps each */

/* A graph as the pool keeps it, and a plain matrix of what was ever linked since the mark began. */
static struct graph {
	uint32_t links_from[BLOCKS];
	struct index_link of_from[LINKS];
	struct link_record records[LINKS];
	bool linked[LINKS];
	bool rooted[BLOCKS];
	bool ever[BLOCKS][BLOCKS];
} graph;

static const struct mark_graph seen = {graph.links_from, graph.of_from, graph.records};

static uint32_t pick(uint32_t below)
{
	return (uint32_t)draw(below);
}

static void add_link(uint32_t link, uint32_t from, uint32_t to)
{
	graph.records[link].from = from;
	graph.records[link].to = to;
	graph.linked[link] = true;
	graph.ever[from][to] = true;
	index_list_push(graph.of_from, &graph.links_from[from], link);
}

static void drop_link(struct mark *mark, uint32_t link)
{
	if (mark)
		mark_link_goes(mark, link);
	index_list_remove(graph.of_from, &graph.links_from[graph.records[link].from], link);
	graph.linked[link] = false;
}

static void make_graph(void)
{
	uint32_t links = pick(LINKS), roots = pick(8);

	memset(&graph, 0, sizeof graph);
	for (uint32_t i = 0; i < links; i++)
		add_link(i, pick(BLOCKS), pick(BLOCKS));
	for (uint32_t i = 0; i < roots; i++)
		graph.rooted[pick(BLOCKS)] = true;
}

/* ---- The whole at once ------------------------------------------------------------------------------------------- */

/* Grows the set until nothing is added, over what is linked now, or over all that ever was. */
static void close_over(bool set[BLOCKS], bool ever)
{
	bool grows = true;

	while (grows) {
		grows = false;
		for (uint32_t from = 0; from < BLOCKS && ever; from++)
			for (uint32_t to = 0; to < BLOCKS && set[from]; to++)
				if (graph.ever[from][to] && !set[to])
					set[to] = grows = true;
		for (uint32_t i = 0; i < LINKS && !ever; i++)
			if (graph.linked[i] && set[graph.records[i].from] && !set[graph.records[i].to])
				set[graph.records[i].to] = grows = true;
	}
}

/* ---- The mark ---------------------------------------------------------------------------------------------------- */

static void test_still(void **state)
{
	struct mark mark;
	bool set[BLOCKS];

	(void)state;
	for (unsigned turn = 0; turn < MARKS; turn++) {
		make_graph();
		assert_int_equal(mark_begin(&mark, &seen, BLOCKS), 0);
		for (uint32_t i = 0; i < BLOCKS; i++)
			if (graph.rooted[i])
				assert_true(mark_add(&mark, i));
		while (!mark_is_done(&mark)) {
			uint32_t link = mark_step(&mark);
			assert_true(!link || mark_is_marked(&mark, link - 1));
		}
		memcpy(set, graph.rooted, sizeof set);
		close_over(set, false);
		uint64_t count = 0;
		for (uint32_t i = 0; i < BLOCKS; i++) {
			assert_int_equal(mark_is_marked(&mark, i), set[i]);
			count += set[i];
		}
		assert_int_equal(mark.count, count);
		mark_end(&mark);
	}
}

static void touch(struct mark *mark, bool touched[BLOCKS], uint32_t block)
{
	mark_add(mark, block);
	touched[block] = true;
}

/* What clients may do between two steps: whoever links holds both blocks. */
static void change(struct mark *mark, bool touched[BLOCKS])
{
	uint32_t block = pick(BLOCKS), other = pick(BLOCKS), link = pick(LINKS);

	switch (pick(4)) {
	case 0: /* somebody takes hold of one, by its handle */
		graph.rooted[block] = true;
		touch(mark, touched, block);
		break;
	case 1: graph.rooted[block] = false; break;
	case 2:
		if (graph.linked[link] || !graph.rooted[block] || !graph.rooted[other])
			break;
		add_link(link, block, other);
		touch(mark, touched, other);
		break;
	default:
		if (graph.linked[link])
			drop_link(mark, link);
	}
}

/* What is held while something else lets go of it: a block is moved from what was not looked at to what was. */
static void move(struct mark *mark, bool touched[BLOCKS])
{
	uint32_t link = pick(LINKS), free_link = pick(LINKS), from = pick(BLOCKS);

	if (!graph.linked[link] || graph.linked[free_link])
		return;
	add_link(free_link, from, graph.records[link].to);
	touch(mark, touched, graph.records[link].to);
	drop_link(mark, link);
}

static void check(const struct mark *mark, const bool possible[BLOCKS])
{
	bool set[BLOCKS];

	memcpy(set, graph.rooted, sizeof set);
	close_over(set, false);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		assert_true(!set[i] || mark_is_marked(mark, i));
		assert_true(!mark_is_marked(mark, i) || possible[i]);
	}
}

static void test_changing(void **state)
{
	uint64_t steps = 0, kept = 0;
	struct mark mark;
	bool possible[BLOCKS], touched[BLOCKS];

	(void)state;
	for (unsigned turn = 0; turn < MARKS; turn++) {
		uint32_t busy = 1 + pick(8);
		make_graph();
		memcpy(possible, graph.rooted, sizeof possible);
		memset(touched, 0, sizeof touched);
		assert_int_equal(mark_begin(&mark, &seen, BLOCKS), 0);
		for (uint32_t cursor = 0; cursor < BLOCKS || !mark_is_done(&mark); steps++) {
			if (pick(busy) == 0)
				change(&mark, touched);
			if (pick(busy) == 0)
				move(&mark, touched);
			if (!mark_is_done(&mark))
				mark_step(&mark);
			else if (cursor < BLOCKS && graph.rooted[cursor++])
				mark_add(&mark, cursor - 1);
		}
		for (uint32_t i = 0; i < BLOCKS; i++)
			possible[i] |= touched[i];
		close_over(possible, true);
		check(&mark, possible);
		kept += mark.count;
		mark_end(&mark);
	}
	print_message("%llu steps, %llu blocks marked\n", (unsigned long long)steps, (unsigned long long)kept);
	assert_true(steps > 500000);
}

/* A block with very many links: one a step, though they go from under the walk. */
static void test_wide(void **state)
{
	struct mark mark;
	unsigned steps = 0;

	(void)state;
	memset(&graph, 0, sizeof graph);
	for (uint32_t i = 0; i + 1 < BLOCKS; i++)
		add_link(i, 0, i + 1);
	assert_int_equal(mark_begin(&mark, &seen, BLOCKS), 0);
	mark_add(&mark, 0);
	mark_step(&mark);
	while (mark.walk) {
		drop_link(&mark, mark.walk - 1);
		if (mark.walk)
			assert_true(mark_step(&mark) > 0);
		steps++;
	}
	assert_int_equal(steps, BLOCKS / 2);
	assert_int_equal(mark.count, BLOCKS / 2);
	while (!mark_is_done(&mark))
		mark_step(&mark);
	mark_end(&mark);
	mark_end(&mark);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_still),
		cmocka_unit_test(test_changing),
		cmocka_unit_test(test_wide),
	};

	draw_seed();
	return cmocka_run_group_tests_name("mark", tests, NULL, NULL);
}
