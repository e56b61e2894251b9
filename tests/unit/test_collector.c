/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The collector, over a real pool under a name of this process, and sessions with hold pages. At random, a step or a few between any two things
 * that clients do: what anybody holds, and all that it reaches, is never freed, and is there as a whole or not at all; and once all has come to
 * rest, what can be reached is all that is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "errors.h"
#include "server/cascade.h"
#include "server/collector.h"
#include "server/hold_page.h"
#include "server/lifetime.h"
#include "server/log.h"
#include "server/reclaim.h"
#include "tests/unit/draw.h"

#define SESSIONS 3
#define UNIT 64
#define POOL_SIZE (UINT64_C(1) << 20)
#define BLOCKS 96
#define GROUP 6
#define SLOTS 3 /* of each page that are used */
#define ROUNDS 100
#define ACTIONS 4000 /* of a round */

struct fixture {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	struct session sessions[SESSIONS]; /* number 1 on */
	struct hold_page *pages[SESSIONS]; /* as the client has it */
};
static struct fixture fixture;

/* A block as its clients know it. */
struct known {
	bool exists; /* as far as they can know: nobody was told yet that it is gone */
	struct handle handle;
	bool owned[SESSIONS], referred[SESSIONS];
	bool linked[BLOCKS]; /* by which it holds others */
};
static struct known known[BLOCKS];

static int setup(void **state)
{
	char name[32];
	struct pool_options options = {.name = name, .size = POOL_SIZE, .unit = UNIT, .ephemeral = true};

	(void)state;
	snprintf(name, sizeof name, "unit-collector-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	memset(&fixture, 0, sizeof fixture);
	memset(known, 0, sizeof known);
	if (uv_loop_init(&fixture.loop) < 0 || pool_open(&fixture.loop, &options, &fixture.pool) < 0 ||
	    reclaim_init(&fixture.reclaim, &fixture.pool) < 0)
		return -1;
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct session *session = &fixture.sessions[i];
		uint32_t number;
		uint64_t inode;
		int fd;
		*session = (struct session){.pool = &fixture.pool,
		                            .number = i + 1,
		                            .hold_page = HOLD_PAGE_NONE,
		                            .user = accounts_user(&fixture.pool.accounts, 0)};
		assert_int_equal(table_take(&fixture.pool.sessions.table, &number), 0);
		accounts_charge(session->user, QUOTA_SESSIONS);
		assert_int_equal(number, i + 1);
		fixture.pool.sessions.by_number[number] = session;
		assert_int_equal(hold_page_create(fixture.pool.name, i + 1, &fd, &inode), 0);
		fixture.pages[i] = mmap(NULL, HOLD_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		assert_true(fixture.pages[i] != MAP_FAILED);
		dying_add_page(session, fd);
	}
	return 0;
}

static void drop_page(struct session *session)
{
	int page = dying_drop_page(session);

	if (page >= 0)
		close(page);
	hold_page_remove(session->pool->name, session->number);
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < SESSIONS; i++) {
		drop_page(&fixture.sessions[i]);
		munmap(fixture.pages[i], HOLD_PAGE_SIZE);
		fixture.pool.sessions.by_number[i + 1] = NULL;
	}
	dying_stop(&fixture.pool.dying);
	collector_stop(&fixture.pool.collector);
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	return uv_loop_close(&fixture.loop);
}

static bool is_there(uint32_t i)
{
	return blocks_is_there(&fixture.pool.blocks, known[i].handle.index, known[i].handle.id);
}

/* ---- What must hold ---------------------------------------------------------------------------------------------- */

static bool is_in_page(uint32_t i)
{
	for (uint32_t s = 0; s < SESSIONS; s++)
		for (uint32_t k = 0; k < SLOTS; k++)
			if (atomic_load(&fixture.pages[s]->slots[k]) == known[i].handle.id)
				return true;
	return false;
}

static bool is_held(uint32_t i)
{
	for (uint32_t s = 0; s < SESSIONS; s++)
		if (known[i].owned[s] || known[i].referred[s])
			return true;
	return is_in_page(i);
}

static void close_over(bool set[BLOCKS])
{
	for (bool grows = true; grows;) {
		grows = false;
		for (uint32_t i = 0; i < BLOCKS; i++)
			for (uint32_t k = 0; k < BLOCKS && set[i]; k++)
				if (known[i].linked[k] && !set[k])
					set[k] = grows = true;
	}
}

static void mark_all(bool set[BLOCKS])
{
	for (uint32_t i = 0; i < BLOCKS; i++)
		set[i] = known[i].exists && is_held(i);
	close_over(set);
}

static void check_reachable(void)
{
	bool set[BLOCKS];

	mark_all(set);
	for (uint32_t i = 0; i < BLOCKS; i++)
		assert_true(!set[i] || is_there(i));
}

/* ---- What clients do --------------------------------------------------------------------------------------------- */

static uint32_t pick(uint32_t below)
{
	return (uint32_t)draw(below);
}

static void allocate(uint32_t i, uint32_t s)
{
	struct pool *pool = &fixture.pool;
	uint64_t offset, granted, id = pool_take_ids(pool, 1);
	uint32_t index;

	assert_int_equal(buddy_allocate(&pool->buddy, 1 + pick(4), 1, &offset, &granted), 0);
	assert_int_equal(table_take(&pool->blocks.table, &index), 0);
	blocks_write(&pool->blocks, index,
	             &(struct block_content){.id = id,
	                                     .offset = offset * UNIT,
	                                     .size = granted * UNIT,
	                                     .granted = granted * UNIT,
	                                     .owner = s + 1,
	                                     .tag = ""});
	lifetime_add_owner(&fixture.sessions[s], index);
	memset(&known[i], 0, sizeof known[i]);
	for (uint32_t k = 0; k < BLOCKS; k++)
		known[k].linked[i] = false;
	known[i].exists = true;
	known[i].handle = (struct handle){id, index, pool->incarnation};
	known[i].owned[s] = true;
}

/* By a request. False: it is gone, and nobody can have had it. */
static bool acquire(uint32_t i, uint32_t s)
{
	struct pool *pool = &fixture.pool;
	struct session *session = &fixture.sessions[s];
	uint32_t reference;
	bool set[BLOCKS];

	mark_all(set);
	if (lifetime_find_to_acquire(session, &known[i].handle)) {
		assert_false(set[i]);
		known[i].exists = false;
		return false;
	}
	if (lifetime_find_reference(session, known[i].handle.index))
		return true;
	blocks_share(&pool->blocks, known[i].handle.index);
	assert_int_equal(table_take(&pool->references.table, &reference), 0);
	references_write(&pool->references, reference, session->number, known[i].handle.index, known[i].handle.id);
	lifetime_add_reference(session, reference);
	known[i].referred[s] = true;
	check_reachable(); /* all of it, or nothing */
	return true;
}

/* By the page, as in hold_layout.h, and else by a request. */
static void hold(uint32_t i, uint32_t s)
{
	_Atomic uint64_t *slot = &fixture.pages[s]->slots[pick(SLOTS)];

	if (atomic_load(slot))
		return;
	atomic_store(slot, known[i].handle.id | HOLD_CLAIMED);
	uint64_t word = blocks_word(&fixture.pool.blocks, known[i].handle.index);
	if (record_id(word) == known[i].handle.id && record_is_holdable(word)) {
		atomic_store(slot, known[i].handle.id);
		check_reachable();
		return;
	}
	atomic_store(slot, 0);
	acquire(i, s);
}

static void release(uint32_t s)
{
	_Atomic uint64_t *slot = &fixture.pages[s]->slots[pick(SLOTS)];
	uint64_t id = atomic_load(slot);

	atomic_store(slot, 0);
	for (uint32_t i = 0; i < BLOCKS && id; i++)
		if (known[i].exists && known[i].handle.id == id &&
		    record_awaits_release(blocks_word(&fixture.pool.blocks, known[i].handle.index)))
			dying_released(&fixture.sessions[s], known[i].handle.index);
}

static void give_back(uint32_t i, uint32_t s)
{
	struct session *session = &fixture.sessions[s];

	if (known[i].referred[s]) {
		known[i].referred[s] = false;
		lifetime_set_reference(session, lifetime_find_reference(session, known[i].handle.index) - 1, 0);
	} else if (known[i].owned[s]) {
		known[i].owned[s] = false;
		lifetime_drop_owner(session, known[i].handle.index);
	}
}

static bool holds(uint32_t i, uint32_t s)
{
	return lifetime_check_held(&fixture.sessions[s], &known[i].handle) == 0;
}

static void link_blocks(uint32_t i, uint32_t k, uint32_t s)
{
	struct pool *pool = &fixture.pool;
	uint32_t from = known[i].handle.index, to = known[k].handle.index, link;

	if (i == k || !holds(i, s) || !holds(k, s) || lifetime_find_link(pool, from, to))
		return;
	blocks_share(&pool->blocks, to);
	assert_int_equal(table_take(&pool->links.table, &link), 0);
	links_write(&pool->links, link,
	            &(struct link_record){.from = from, .to = to, .from_id = known[i].handle.id, .to_id = known[k].handle.id});
	lifetime_add_link(pool, link);
	known[i].linked[k] = true;
}

static void unlink_blocks(uint32_t i, uint32_t k, uint32_t s)
{
	struct pool *pool = &fixture.pool;

	if (!known[i].linked[k] || !holds(i, s))
		return;
	/* What a block reaches is there, and found. */
	assert_int_equal(lifetime_find_block(pool, &known[k].handle), 0);
	uint32_t link = lifetime_find_link(pool, known[i].handle.index, known[k].handle.index);
	assert_true(link);
	lifetime_drop_link(pool, link - 1);
	known[i].linked[k] = false;
}

/* Something else comes into the place of what is gone. */
static void renew(uint32_t i, uint32_t s)
{
	if (!known[i].exists || !is_there(i))
		allocate(i, s);
}

static void act(void)
{
	uint32_t i = pick(BLOCKS), s = pick(SESSIONS), what = pick(32);
	/* Mostly in groups, so that there are many graphs, and not one. */
	uint32_t k = pick(64) ? i / GROUP * GROUP + pick(GROUP) : pick(BLOCKS);

	if (what < 6)
		renew(i, s);
	if (!known[i].exists || !known[k].exists)
		return;
	switch (what) {
	case 6:
	case 7: acquire(i, s); break;
	case 8:
	case 9: hold(i, s); break;
	case 10:
	case 11:
	case 12: release(s); break;
	case 13: unlink_blocks(i, k, s); break;
	default:
		if (what < 20)
			link_blocks(i, k, s);
		else
			give_back(i, s);
	}
}

/* ---- Runs -------------------------------------------------------------------------------------------------------- */

static struct collector_waiter waiter;
static bool waiting;
static uint64_t runs, freed, held_by_page;

static void ended(struct collector_waiter *ended_waiter, const struct collection *collection, int result)
{
	assert_ptr_equal(ended_waiter, &waiter);
	assert_true(result == 0 || result == -EIO);
	waiting = false;
	runs++;
	freed += collection->freed;
	held_by_page += fixture.pool.collector.held_by_page;
}

static void want_run(void)
{
	if (waiting)
		return;
	waiter.ended = ended;
	waiting = true;
	assert_int_equal(collector_wait(&fixture.pool.collector, &waiter), 0);
}

static void turn(void)
{
	fixture.pool.collector.slice_ns = 0;
	fixture.pool.collector.slice_steps = 1 + pick(pick(4) ? 4 : 64);
	uv_run(&fixture.loop, UV_RUN_NOWAIT);
	cascade_step(&fixture.pool, pick(3));
}

/* Until nothing changes any more but by a client. */
static void rest(void)
{
	const struct pool *pool = &fixture.pool;

	for (unsigned run = 0; run < 2;) {
		want_run();
		for (unsigned turns = 0; waiting || pool->dying.waiting || pool->dying.looking || pool->links.loose; turns++) {
			assert_in_range(turns, 0, 10000000);
			turn();
		}
		run++;
	}
}

static void check_rest(void)
{
	uint64_t count = 0;
	bool set[BLOCKS];

	mark_all(set);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		assert_int_equal(set[i], known[i].exists && is_there(i));
		count += set[i];
		if (!set[i])
			known[i].exists = false;
	}
	assert_int_equal(fixture.pool.block_count, count);
	assert_true(condemned_is_empty(&fixture.pool.collector.condemned));
	assert_int_equal(atomic_load(&fixture.pool.state_header->collection), 0);
}

static void let_go_of_all(void)
{
	for (uint32_t s = 0; s < SESSIONS; s++) {
		for (uint32_t k = 0; k < HOLD_SLOTS; k++)
			atomic_store(&fixture.pages[s]->slots[k], 0);
		for (uint32_t i = 0; i < BLOCKS; i++) {
			give_back(i, s);
			give_back(i, s);
		}
	}
	dying_doubt(&fixture.pool);
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t busy = 1 + pick(6);
		for (unsigned i = 0; i < ACTIONS; i++) {
			if (fixture.pool.collector.phase == COLLECTOR_RESTS && pick(20) == 0)
				want_run();
			act();
			if (pick(busy) == 0)
				turn();
			if (i % 16 == 0)
				check_reachable();
		}
		rest();
		/* What a page held may have been an orphan, of whose end nobody spoke. */
		dying_doubt(&fixture.pool);
		rest();
		check_rest();
	}
	let_go_of_all();
	rest();
	check_rest();
	assert_int_equal(fixture.pool.block_count, 0);
	assert_int_equal(fixture.pool.link_count, 0);
	assert_int_equal(buddy_free_units(&fixture.pool.buddy), POOL_SIZE / UNIT);
	print_message("%llu runs freed %llu blocks, and %llu met what pages held\n", (unsigned long long)runs,
	              (unsigned long long)freed, (unsigned long long)held_by_page);
	assert_true(runs > 300 && freed > 300 && held_by_page > 10); /* how many there are depends on the machine */
}

/* ---- By hand ----------------------------------------------------------------------------------------------------- */

/* The first so many blocks, of the first session, each linked to the next. */
static void make_chain(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		allocate(i, 0);
	for (uint32_t i = 0; i + 1 < count; i++)
		link_blocks(i, i + 1, 0);
}

/* Goes on step by step until the run has come so far. */
static void step_until(enum collector_phase phase)
{
	fixture.pool.collector.slice_ns = 0;
	fixture.pool.collector.slice_steps = 1;
	while (fixture.pool.collector.phase != phase)
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
}

static void step_to_the_end(void)
{
	step_until(COLLECTOR_RESTS);
	assert_false(waiting);
}

/* The link goes that would be followed next, and the others are. */
static void test_walk(void **state)
{
	const struct mark *mark = &fixture.pool.collector.mark;

	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		allocate(i, 0);
	for (uint32_t i = 1; i < 10; i++)
		link_blocks(0, i, 0);
	for (uint32_t i = 1; i < 10; i++)
		give_back(i, 0);
	want_run();
	fixture.pool.collector.slice_ns = 0;
	fixture.pool.collector.slice_steps = 1;
	while (!mark->walk || mark_is_marked(mark, known[9].handle.index) == 0)
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	lifetime_drop_link(&fixture.pool, mark->walk - 1); /* to block 8: the last that was made comes first */
	step_to_the_end();
	dying_hurry(&fixture.pool);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(is_there(i), i != 8);
	give_back(0, 0);
	want_run();
	while (waiting || fixture.pool.links.loose || fixture.pool.dying.waiting || fixture.pool.dying.looking)
		turn();
	assert_int_equal(fixture.pool.block_count, 0);
}

/*
 * A block that dies during the run keeps what it holds, whatever its end comes to: it may turn out to be held, or so a page may say that is
 * written by somebody who means no good, when the rest has been decided.
 */
static void test_dying_meanwhile(void **state)
{
	(void)state;
	/* 0 holds 1, 1 holds 2, and 2 and 3 hold each other. */
	make_chain(4);
	link_blocks(3, 2, 0);
	allocate(4, 0);
	allocate(5, 0);
	link_blocks(4, 5, 0);
	link_blocks(5, 4, 0);
	for (uint32_t i = 1; i < 6; i++)
		give_back(i, 0);
	give_back(0, 0);
	assert_true(fixture.pool.links.loose);
	want_run();
	step_until(COLLECTOR_CONDEMNS);
	assert_true(cascade_step(&fixture.pool, 1));
	assert_int_equal(record_state(blocks_word(&fixture.pool.blocks, known[1].handle.index)), RECORD_DYING);
	uv_timer_stop(&fixture.pool.dying.timer); /* its look comes late */
	step_until(COLLECTOR_FREES);
	atomic_store(&fixture.pages[1]->slots[0], known[1].handle.id);
	step_to_the_end();
	assert_false(is_there(4) || is_there(5));
	assert_false(dying_hurry(&fixture.pool));
	for (uint32_t i = 1; i < 4; i++)
		assert_true(is_there(i));
	atomic_store(&fixture.pages[1]->slots[0], 0);
	dying_doubt(&fixture.pool);
	while (fixture.pool.dying.waiting || fixture.pool.dying.looking || fixture.pool.links.loose)
		turn();
	want_run();
	step_to_the_end();
	assert_int_equal(fixture.pool.block_count, 0);
}

static int result_heard;

static void ended_with(struct collector_waiter *ended_waiter, const struct collection *collection, int result)
{
	(void)ended_waiter;
	(void)collection;
	result_heard = result;
	waiting = false;
}

/* A page that cannot be read may hold anything. */
static void test_unreadable(void **state)
{
	struct session *session = &fixture.sessions[2];
	int page = session->hold_page;

	(void)state;
	make_chain(4);
	link_blocks(3, 0, 0);
	for (uint32_t i = 0; i < 4; i++)
		give_back(i, 0);
	session->hold_page = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_true(session->hold_page >= 0);
	waiter.ended = ended_with;
	waiting = true;
	assert_int_equal(collector_wait(&fixture.pool.collector, &waiter), 0);
	step_until(COLLECTOR_RESCUES);
	/* Somebody asks for one before its turn has come. */
	uint32_t rescued = fixture.pool.collector.condemned.whole - 1, last = 0;
	for (uint32_t i = 0; i < 4; i++)
		if (known[i].handle.index != rescued)
			last = i;
	assert_true(acquire(last, 1));
	assert_int_equal(record_state(blocks_word(&fixture.pool.blocks, known[last].handle.index)), RECORD_LIVE);
	step_to_the_end();
	assert_int_equal(result_heard, -EIO);
	assert_true(uv_is_active((uv_handle_t *)&fixture.pool.collector.timer)); /* it will be tried again */
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(record_state(blocks_word(&fixture.pool.blocks, known[i].handle.index)), RECORD_LIVE);
	close(session->hold_page);
	session->hold_page = page;
	give_back(last, 1);
	want_run();
	step_to_the_end();
	assert_int_equal(fixture.pool.block_count, 0);
}

/* As many wait as may; and those who come during a run wait for the next. */
static void test_waiters(void **state)
{
	static struct collector_waiter waiters[COLLECTOR_WAITERS_MAX + 1];
	struct collector *collector = &fixture.pool.collector;

	(void)state;
	for (uint32_t i = 0; i <= COLLECTOR_WAITERS_MAX; i++) {
		waiters[i].ended = ended_with;
		assert_int_equal(collector_wait(collector, &waiters[i]), i < COLLECTOR_WAITERS_MAX ? 0 : -EDQUOT);
	}
	assert_int_equal(collector->run, 1);
	collector_leave(collector, &waiters[7]);
	while (collector->run == 1)
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	assert_int_equal(collector->waiters, COLLECTOR_WAITERS_MAX - 2); /* all others came when the run had begun */
	step_to_the_end();
	assert_int_equal(collector->waiters, 0);
	assert_null(collector->first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_walk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dying_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
		cmocka_unit_test_setup_teardown(test_waiters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	draw_seed();
	return cmocka_run_group_tests_name("collector", tests, NULL, NULL);
}
