/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cache blocks, over a real pool under a name of this process, and sessions with hold pages: which are idle, in which order they go, and that none
 * goes that somebody holds; by hand, and then at random against a list that is searched from end to end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/cache.h"
#include "server/cascade.h"
#include "server/eviction.h"
#include "tests/unit/draw.h"
#include "tests/unit/pool_fixture.h"

#define SESSIONS 3
#define POOL_SIZE (UINT64_C(1) << 20)

static struct pool *const pool = &fixture.pool;

/* Session number i + 1 is of user i. */
static int setup(void **state)
{
	static const uint32_t uids[SESSIONS] = {0, 1, 2};

	(void)state;
	return pool_fixture_open("eviction", POOL_SIZE, uids, SESSIONS);
}

static int teardown(void **state)
{
	(void)state;
	return pool_fixture_close();
}

/* A block of this user's, owned by its session. */
static uint32_t allocate(uint64_t units, uint32_t uid)
{
	return pool_fixture_allocate(&fixture.sessions[uid], units, true);
}

static void make_cached(uint32_t block)
{
	struct block_body body = *blocks_body(&pool->blocks, block);

	body.flags |= BLOCK_SEALED | BLOCK_CACHED;
	blocks_fill_body(&pool->blocks, block, &body);
	lifetime_change_body(pool, block, RECORD_LIVE);
	lifetime_add_cached(pool, block);
}

/* A cache block that nobody holds. */
static uint32_t make_idle(uint64_t units, uint32_t uid)
{
	uint32_t block = allocate(units, uid);

	make_cached(block);
	lifetime_drop_owner(&fixture.sessions[uid], block);
	return block;
}

static uint32_t add_name(uint32_t block, const char *text)
{
	uint32_t name;

	assert_int_equal(table_take(&pool->names.table, &name), 0);
	names_write(&pool->names, name,
	            &(struct name_content){.id = pool_take_ids(pool, 1),
	                                   .block = block,
	                                   .block_id = pool_fixture_id(block),
	                                   .name = text,
	                                   .name_length = strlen(text)});
	lifetime_add_name(pool, name);
	return name;
}

static bool is_there(uint32_t block)
{
	return pool_fixture_state(block) == RECORD_LIVE;
}

static bool after(void *context)
{
	unsigned *left = context;

	return --*left == 0;
}

static enum eviction_result evict(uint64_t uid, unsigned count)
{
	struct eviction_search search = eviction_new_search(pool);
	enum eviction_result result = eviction_run(pool, uid, &search, after, &count);

	assert_true(cache_is_valid(&pool->cache));
	return result;
}

/* ---- By hand ---------------------------------------------------------------------------------------------------- */

static void test_least_recently_used(void **state)
{
	uint32_t a = make_idle(1, 0), b = make_idle(1, 0), c = make_idle(1, 0);

	(void)state;
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_ENOUGH);
	assert_true(!is_there(a) && is_there(b) && is_there(c));
	uint32_t reference = pool_fixture_refer(&fixture.sessions[1], b);
	assert_int_equal(pool->cache.blocks, 1);
	lifetime_set_reference(&fixture.sessions[1], reference, 0); /* used now */
	assert_int_equal(pool->cache.blocks, 2);
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_ENOUGH);
	assert_true(is_there(b) && !is_there(c));
	assert_int_equal(evict(CACHE_ANYBODY, 2), EVICTION_NONE);
	assert_int_equal(pool->block_count, 0);
	assert_int_equal(atomic_load(&pool->counters->evictions), 3);
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_NONE);
}

static void test_names_and_leases_go_along(void **state)
{
	uint32_t block = make_idle(1, 0), many = make_idle(1, 0), lease;
	char text[16];

	(void)state;
	add_name(block, "one");
	add_name(block, "two");
	assert_int_equal(table_take(&pool->leases.table, &lease), 0);
	leases_write(&pool->leases, lease, block, pool_fixture_id(block), 1000000000);
	lifetime_add_lease(pool, lease, 1000000000);
	for (unsigned i = 0; i <= CACHE_NAMES_MAX; i++) {
		snprintf(text, sizeof text, "n%u", i);
		add_name(many, text);
	}
	assert_int_equal(pool->cache.blocks, 2); /* none of that is a use */
	assert_int_equal(evict(CACHE_ANYBODY, 2), EVICTION_NONE);
	assert_false(is_there(block));
	assert_true(is_there(many));
	assert_int_equal(pool->name_count, CACHE_NAMES_MAX + 1);
	assert_int_equal(pool->leases.count, 0);
	lifetime_drop_cached(pool, many);
	assert_true(is_there(many)); /* its names hold it now */
	assert_int_equal(pool->cache.blocks, 0);
}

/* Whose name went to another is found by nobody, and goes first, until somebody uses it by its handle. */
static void test_unnamed(void **state)
{
	uint32_t a = make_idle(1, 0), b = make_idle(1, 0), c = make_idle(1, 0);
	uint32_t name = add_name(b, "name"), other = add_name(c, "other");

	(void)state;
	lifetime_drop_name(pool, name);
	lifetime_drop_name(pool, other);
	lifetime_set_reference(&fixture.sessions[1], pool_fixture_refer(&fixture.sessions[1], c), 0);
	assert_true(cache_is_valid(&pool->cache));
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_ENOUGH);
	assert_true(is_there(a) && !is_there(b) && is_there(c));
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_ENOUGH);
	assert_true(!is_there(a) && is_there(c));
}

static void test_what_is_held_stays(void **state)
{
	uint32_t owned = allocate(1, 0), referenced = make_idle(1, 0), alone = make_idle(1, 0), linked = make_idle(1, 0),
			 by_page = make_idle(1, 0), from = allocate(1, 0);

	(void)state;
	pool_fixture_open_page(1);
	make_cached(owned);
	pool_fixture_refer(&fixture.sessions[1], referenced);
	pool_fixture_link(from, linked);
	fixture.pages[1]->slots[100] = pool_fixture_id(by_page);
	assert_int_equal(evict(CACHE_ANYBODY, 9), EVICTION_NONE);
	assert_true(is_there(owned) && is_there(referenced) && is_there(linked) && is_there(by_page) && !is_there(alone));
	fixture.pages[1]->slots[100] = 0;
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_ENOUGH);
	assert_false(is_there(by_page));
	lifetime_drop_owner(&fixture.sessions[0], from);
	pool_fixture_rest();
	assert_true(cascade_step(pool, 10));
	lifetime_drop_owner(&fixture.sessions[0], owned);
	assert_int_equal(evict(CACHE_ANYBODY, 9), EVICTION_NONE);
	assert_true(!is_there(owned) && is_there(referenced));
}

/* Who has more gives more, in bytes; and if need be a user alone. */
static void test_fair(void **state)
{
	uint32_t small[4], large[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		small[i] = make_idle(1, 0);
	for (unsigned i = 0; i < 4; i++)
		large[i] = make_idle(2, 1);
	assert_int_equal(cache_bytes(&pool->cache, 1), 8 * POOL_FIXTURE_UNIT);
	assert_int_equal(evict(CACHE_ANYBODY, 2), EVICTION_ENOUGH);
	assert_true(!is_there(large[0]) && !is_there(large[1]) && is_there(small[0]));
	assert_int_equal(evict(1, 9), EVICTION_NONE);
	assert_true(!is_there(large[3]) && is_there(small[0]));
	assert_int_equal(cache_bytes(&pool->cache, 1), 0);
	assert_int_equal(evict(1, 1), EVICTION_NONE);
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_ENOUGH);
	assert_true(!is_there(small[0]) && is_there(small[3]));
}

/* What hold pages have of the user who has the most does not keep the others' blocks. */
static void test_held_of_the_richest(void **state)
{
	uint32_t small[4];

	(void)state;
	pool_fixture_open_page(1);
	for (unsigned i = 0; i < 4; i++)
		small[i] = make_idle(1, 0);
	for (unsigned i = 0; i < 100; i++)
		fixture.pages[1]->slots[i] = record_id(blocks_word(&pool->blocks, make_idle(2, 1)));
	assert_int_equal(evict(CACHE_ANYBODY, 4), EVICTION_ENOUGH);
	for (unsigned i = 0; i < 4; i++)
		assert_false(is_there(small[i]));
	assert_int_equal(pool->cache.blocks, 100);
}

/* A hold that is over counts as the use that it was, though nobody asked. */
static void test_trails(void **state)
{
	uint32_t a = make_idle(1, 0), b = make_idle(1, 0), c = make_idle(1, 0);

	(void)state;
	pool_fixture_open_page(1);
	pool_fixture_open_page(2);
	fixture.pages[1]->trail[7] = hold_trail_entry(a, pool->cache.clock);
	fixture.pages[2]->trail[0] = hold_trail_entry(b, 1); /* long ago: no news */
	fixture.pages[2]->trail[1] = hold_trail_entry(4000000, pool->cache.clock);
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_ENOUGH);
	assert_true(is_there(a) && !is_there(b) && is_there(c));
	/* The page goes with its session; the use stays. */
	cache_tick(&pool->cache);
	fixture.pages[2]->trail[2] = hold_trail_entry(c, pool->cache.clock);
	pool_fixture_drop_page(&fixture.sessions[2]);
	assert_int_equal(evict(CACHE_ANYBODY, 1), EVICTION_ENOUGH);
	assert_true(!is_there(a) && is_there(c));
}

/* The more pages there are, the more blocks are tried with one reading of them; never more than there is room for. */
static void test_many_pages(void **state)
{
	(void)state;
	pool_fixture_open_page(1);
	for (uint32_t pages = 1; pages < 4096; pages += 1 + pages / 3) {
		unsigned blocks = 0;
		for (; blocks < 200; blocks++)
			make_idle(1, 0);
		pool->page_holds.pages += pages - 1; /* so it is told; there is one to be read */
		for (unsigned tries = 0; pool->cache.blocks; tries++) {
			assert_in_range(tries, 0, blocks);
			allowance_init(&pool->page_holds.for_memory, uv_hrtime());
			evict(CACHE_ANYBODY, blocks);
		}
		pool->page_holds.pages -= pages - 1;
		assert_int_equal(pool->block_count, 0);
	}
}

static void test_clock(void **state)
{
	(void)state;
	assert_int_equal(hold_trail_used(hold_trail_entry(3, 0x1fffffff0), 0x200000010), 0x1fffffff0);
	assert_int_equal(hold_trail_used(hold_trail_entry(3, 0x200000010), 0x200000010), 0x200000010);
	assert_int_equal(hold_trail_block(hold_trail_entry(UINT32_MAX, UINT64_MAX)), UINT32_MAX);
	uint64_t before = cache_tick(&pool->cache);
	pool_take_ids(pool, 1000);
	assert_true(cache_tick(&pool->cache) >= pool->next_id);
	assert_true(pool->cache.clock > before);
	assert_int_equal(atomic_load(&pool->header->use_clock), pool->cache.clock);
}

/* ---- Who waits -------------------------------------------------------------------------------------------------- */

static unsigned served;

static bool take_unit(struct waiter *waiter)
{
	uint64_t offset, granted;

	return buddy_allocate(&pool->buddy, waiter->demand.units, 1, &offset, &granted) == 0;
}

static void count_served(struct waiter *waiter, int result)
{
	(void)waiter;
	assert_int_equal(result, 0);
	served++;
}

/* Much goes in slices, and no more than is needed; what becomes idle later goes at once for who waits still. */
static void test_waiters(void **state)
{
	struct waiter waiter = {.take = take_unit, .ended = count_served}, other = waiter;
	uint32_t blocks = POOL_SIZE / POOL_FIXTURE_UNIT;
	unsigned much = blocks;

	(void)state;
	for (uint32_t i = 0; i + 64 < blocks; i++)
		make_idle(1, 0);
	uint32_t busy = allocate(64, 0);
	make_cached(busy);
	served = 0;
	assert_int_equal(demand_add(&waiter.demand, blocks / 2, 1), 0);
	struct eviction_search search = eviction_new_search(pool);
	assert_int_equal(eviction_run(pool, CACHE_ANYBODY, &search, after, &much), EVICTION_MORE);
	assert_in_range(search.left, 1, blocks); /* what was tried counts */
	eviction_begin(pool);
	assert_int_equal(wait_queue_join(&pool->wait_queue, &waiter, 0), 0);
	for (unsigned turns = 0; !served; turns++) {
		assert_in_range(turns, 0, 10000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	assert_true(pool->cache.blocks > 0);
	assert_true(cache_is_valid(&pool->cache));
	assert_false(pool->wait_queue.evicting && wait_queue_has_waiters(&pool->wait_queue));
	while (evict(CACHE_ANYBODY, blocks) != EVICTION_NONE)
		;
	uint64_t rest, granted;
	while (buddy_largest_free(&pool->buddy))
		assert_int_equal(buddy_allocate(&pool->buddy, buddy_largest_free(&pool->buddy), 1, &rest, &granted), 0);
	assert_int_equal(demand_add(&other.demand, 64, 1), 0);
	assert_int_equal(wait_queue_join(&pool->wait_queue, &other, 1000000), 0);
	uv_run(&fixture.loop, UV_RUN_NOWAIT);
	assert_int_equal(served, 1);
	lifetime_drop_owner(&fixture.sessions[0], busy);
	for (unsigned turns = 0; served < 2; turns++) {
		assert_in_range(turns, 0, 10000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(pool->block_count, 0);
}

/* ---- At random -------------------------------------------------------------------------------------------------- */

#define BLOCKS 200
#define ROUNDS 20000

static struct {
	bool there, held_by_page;
	uint32_t block, uid, reference; /* plus one */
	uint64_t used, units;
} model[BLOCKS];

/* The model's own choice: whose is the most, and of those the one used first. */
static int expected_victim(void)
{
	uint64_t bytes[3] = {0}, most = 0;
	int victim = -1;

	for (unsigned i = 0; i < BLOCKS; i++)
		bytes[model[i].uid] += model[i].there && !model[i].reference ? model[i].units : 0;
	for (unsigned uid = 0; uid < 3; uid++)
		most = bytes[uid] > most ? bytes[uid] : most;
	for (int i = 0; i < BLOCKS; i++) {
		if (model[i].there && !model[i].reference && bytes[model[i].uid] == most &&
		    (victim < 0 || model[i].used < model[victim].used))
			victim = i;
	}
	return victim;
}

static void step(uint64_t *clock)
{
	unsigned i = (unsigned)draw(BLOCKS);

	if (!model[i].there) {
		model[i].uid = (uint32_t)draw(3);
		model[i].units = UINT64_C(1) << draw(5);
		model[i].block = make_idle(model[i].units, model[i].uid);
		model[i].there = true;
		model[i].used = ++*clock;
	} else if (model[i].reference) {
		lifetime_set_reference(&fixture.sessions[1], model[i].reference - 1, 0);
		model[i].reference = 0;
		model[i].used = ++*clock;
	} else if (draw(2)) {
		model[i].reference = pool_fixture_refer(&fixture.sessions[1], model[i].block) + 1;
	} else {
		/* A hold without a request, that is over. No two ticks are the same, for the model's sake. */
		fixture.pages[1]->trail[draw(HOLD_TRAIL)] = hold_trail_entry(model[i].block, cache_tick(&pool->cache));
		uint64_t trail[HOLD_TRAIL];
		assert_int_equal(hold_page_read_trail(fixture.sessions[1].hold_page, trail), 0);
		cache_follow(&pool->cache, trail, HOLD_TRAIL);
		model[i].used = ++*clock;
	}
}

static void test_against_model(void **state)
{
	uint64_t clock = 0;

	(void)state;
	pool_fixture_open_page(1);
	memset(model, 0, sizeof model);
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (draw(4)) {
			step(&clock);
			continue;
		}
		int victim = expected_victim();
		uint64_t used;
		uint32_t block;
		if (!cache_take(&pool->cache, CACHE_ANYBODY, pool->cache.clock, &block, &used)) {
			assert_int_equal(victim, -1);
			continue;
		}
		/* Of two users who have the same, either will do. */
		for (int i = 0; i < BLOCKS; i++) {
			if (model[i].there && model[i].block == block && model[i].uid != model[victim].uid)
				victim = i;
		}
		cache_give_back(&pool->cache, block, used);
		assert_int_equal(model[victim].block, block);
		if (draw(2)) {
			assert_int_equal(evict(pool->blocks.records[block].uid, 1), EVICTION_ENOUGH);
			assert_false(is_there(block));
			model[victim].there = false;
		}
	}
	assert_true(cache_is_valid(&pool->cache));
}

static void test_damage(void **state)
{
	uint32_t block = make_idle(1, 0);
	struct cache *cache = &pool->cache;

	(void)state;
	assert_true(cache_is_valid(cache));
	cache->bytes++;
	assert_false(cache_is_valid(cache));
	cache->bytes--;
	cache->users->bytes++;
	assert_false(cache_is_valid(cache));
	cache->users->bytes--;
	cache->users->uid++;
	assert_false(cache_is_valid(cache));
	cache->users->uid--;
	cache->users->blocks.entries[0].key = cache->clock + 1;
	assert_false(cache_is_valid(cache));
	cache->users->blocks.entries[0].key = cache->clock;
	cache->places[block]++;
	assert_false(cache_is_valid(cache));
	cache->places[block]--;
	assert_true(cache_is_valid(cache));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_least_recently_used, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names_and_leases_go_along, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unnamed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_held_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fair, setup, teardown),
		cmocka_unit_test_setup_teardown(test_held_of_the_richest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_trails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_against_model, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
