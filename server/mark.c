/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark: see mark.h.
 *
 * A block is white (not reached), grey (reached, and its links are not all followed), or black. What is held by something else than links is
 * added, and is grey; a step takes a grey block and follows its links, one a step, however many it has. When none is grey, all that can be
 * reached is black.
 *
 * Links and holders change between two steps. The rule is Dijkstra's (E. W. Dijkstra, L. Lamport et al., "On-the-fly garbage collection: an
 * exercise in cooperation", CACM 21, 1978): to whatever gets a holder, of whatever kind, a link included, mark_add is called. So
 *
 * - no link goes from a black block to a white one: it was there when the block's links were followed, and then its end was marked; or it was
 *   made since, and then its end was marked as well. A link that is made goes to the head of its list, before the walk: which need not see it.
 * - whatever something else holds is marked: when it was looked at, or when it got that holder, if that was later.
 *
 * Hence when nothing is grey, and all were looked at, whatever can be reached is black. What loses a holder needs no word: at worst it is black,
 * and nobody holds it; the next mark finds that. A new block needs none either: it has no links, and gets its colour with the first one to it. The
 * bits of an index whose block has gone mean nothing: black ones make the block that comes into it live on once too often.
 *
 * Each block becomes grey once, so it ends, whatever others do meanwhile. Of the grey ones the lowest comes first: records and lists lie side by
 * side in memory. They are a set of bits with summaries (bitmap.h), which cannot overflow.
 */
#include "mark.h"

#include "region.h"

int mark_begin(struct mark *mark, const struct mark_graph *graph, uint32_t capacity)
{
	uint64_t words = bitmap_words(capacity, 0);

	*mark = (struct mark){.graph = *graph};
	bitmap_init(&mark->grey, capacity);
	for (unsigned level = 0; level < mark->grey.height; level++)
		words += bitmap_words(capacity, level);
	mark->memory_size = words * sizeof(uint64_t);
	int result = region_new(mark->memory_size, &mark->memory);
	if (result < 0)
		return result;
	uint64_t *next = mark->memory;
	mark->marked = next;
	next += bitmap_words(capacity, 0);
	for (unsigned level = 0; level < mark->grey.height; level++) {
		bitmap_attach(&mark->grey, level, next);
		next += bitmap_words(capacity, level);
	}
	return 0;
}

void mark_end(struct mark *mark)
{
	region_free(mark->memory, mark->memory_size);
	mark->memory = NULL;
	mark->walk = 0;
}

bool mark_add(struct mark *mark, uint32_t block)
{
	if (mark_is_marked(mark, block))
		return false;
	mark->marked[block / 64] |= UINT64_C(1) << (block % 64);
	mark->count++;
	bitmap_set(&mark->grey, block);
	return true;
}

uint32_t mark_step(struct mark *mark)
{
	if (!mark->walk) {
		mark->walk = mark->graph.links_from[bitmap_pop(&mark->grey)];
		return 0;
	}
	uint32_t link = mark->walk - 1, to = mark->graph.records[link].to;
	mark->walk = mark->graph.of_from[link].next;
	return mark_add(mark, to) ? to + 1 : 0;
}
