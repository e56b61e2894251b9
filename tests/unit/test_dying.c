/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of blocks, over a real pool under a name of this process, and sessions with hold pages: by hand, and then at random against what
 * must hold: a block that anybody holds is never freed, whatever messages are lost; and once nobody holds it, it goes.
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
#include "server/hold_page.h"
#include "server/lifetime.h"
#include "server/log.h"
#include "server/reclaim.h"
#include "tests/unit/draw.h"

#define SESSIONS 4
#define UNIT 64
#define POOL_SIZE (UINT64_C(1) << 20)

struct fixture {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	struct session sessions[SESSIONS]; /* number 1 on */
	struct hold_page *pages[SESSIONS]; /* as the client has it */
};
static struct fixture fixture;

static int setup(void **state)
{
	char name[32];
	struct pool_options options = {.name = name, .size = POOL_SIZE, .unit = UNIT, .ephemeral = true};

	(void)state;
	snprintf(name, sizeof name, "unit-dying-%d", (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	memset(&fixture, 0, sizeof fixture);
	if (uv_loop_init(&fixture.loop) < 0 || pool_open(&fixture.loop, &options, &fixture.pool) < 0 ||
	    reclaim_init(&fixture.reclaim, &fixture.pool) < 0)
		return -1;
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct session *session = &fixture.sessions[i];
		uint32_t number;
		*session = (struct session){.pool = &fixture.pool,
		                            .number = i + 1,
		                            .hold_page = HOLD_PAGE_NONE,
		                            .user = accounts_user(&fixture.pool.accounts, 0)};
		assert_int_equal(table_take(&fixture.pool.sessions.table, &number), 0);
		assert_int_equal(number, i + 1);
		accounts_charge(session->user, QUOTA_SESSIONS);
		fixture.pool.sessions.by_number[number] = session;
	}
	return 0;
}

static void open_page(uint32_t i)
{
	uint64_t inode;
	int fd;

	assert_int_equal(hold_page_create(fixture.pool.name, i + 1, &fd, &inode), 0);
	fixture.pages[i] = mmap(NULL, HOLD_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(fixture.pages[i] != MAP_FAILED);
	dying_add_page(&fixture.sessions[i], fd);
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
		if (fixture.pages[i])
			munmap(fixture.pages[i], HOLD_PAGE_SIZE);
		fixture.pool.sessions.by_number[i + 1] = NULL;
	}
	dying_stop(&fixture.pool.dying);
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	return uv_loop_close(&fixture.loop);
}

static uint32_t allocate(struct session *session, uint64_t units, bool shared)
{
	struct pool *pool = &fixture.pool;
	uint64_t offset, granted;
	uint32_t index;

	assert_int_equal(table_prepare(&pool->blocks.table, 1), 0);
	assert_int_equal(buddy_allocate(&pool->buddy, units, 1, &offset, &granted), 0);
	assert_int_equal(table_take(&pool->blocks.table, &index), 0);
	blocks_write(&pool->blocks, index,
	             &(struct block_content){.id = pool_take_ids(pool, 1),
	                                     .offset = offset * UNIT,
	                                     .size = granted * UNIT,
	                                     .granted = granted * UNIT,
	                                     .owner = session->number,
	                                     .tag = "",
	                                     .shared = shared});
	lifetime_add_owner(session, index);
	return index;
}

static uint64_t id_of(uint32_t block)
{
	return record_id(blocks_word(&fixture.pool.blocks, block));
}

static enum record_state state_of(uint32_t block)
{
	return record_state(blocks_word(&fixture.pool.blocks, block));
}

/* Until every look has ended, in no more turns of the loop than there could be. */
static void rest(void)
{
	for (unsigned turn = 0; fixture.pool.dying.waiting || fixture.pool.dying.looking; turn++) {
		assert_in_range(turn, 0, 1000000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
}

static void assert_empty(void)
{
	assert_int_equal(fixture.pool.block_count, 0);
	assert_int_equal(fixture.pool.unowned_blocks, 0);
	assert_int_equal(fixture.pool.unowned_bytes, 0);
	assert_int_equal(fixture.pool.dying.orphan_count, 0);
	assert_int_equal(buddy_free_units(&fixture.pool.buddy), POOL_SIZE / UNIT);
}

/* Without a page there is nothing to look at, and what was never shared is in none. */
static void test_at_once(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	lifetime_drop_owner(owner, allocate(owner, 1, true));
	assert_empty();
	open_page(1);
	lifetime_drop_owner(owner, allocate(owner, 1, false));
	assert_empty();
}

static void test_by_hand(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	open_page(1);
	uint32_t free_one = allocate(owner, 1, true), held = allocate(owner, 2, true);
	_Atomic uint64_t *slot = &fixture.pages[1]->slots[77];
	*slot = id_of(held) | HOLD_CLAIMED; /* about to be given back is held still */
	lifetime_drop_owner(owner, free_one);
	lifetime_drop_owner(owner, held);
	assert_int_equal(state_of(free_one), RECORD_DYING);
	assert_int_equal(state_of(held), RECORD_DYING);
	assert_int_equal(fixture.pool.block_count, 2);
	struct handle stale = {id_of(free_one), free_one, fixture.pool.incarnation};
	assert_int_equal(lifetime_find_block(&fixture.pool, &stale), ERROR_STALE_HANDLE);
	/* Who has it in its page, and gives it back once too often, is not told that it is gone. */
	struct handle living = {id_of(held), held, fixture.pool.incarnation};
	struct hold hold;
	assert_int_equal(lifetime_find_hold(&fixture.sessions[1], &living, &hold), ERROR_NOT_HELD);
	assert_int_equal(lifetime_find_hold(&fixture.sessions[2], &living, &hold), ERROR_STALE_HANDLE);
	assert_int_equal(lifetime_find_hold(&fixture.sessions[1], &stale, &hold), ERROR_STALE_HANDLE);
	rest();
	assert_int_equal(state_of(free_one), RECORD_FREE);
	assert_int_equal(state_of(held), RECORD_ORPHAN);
	assert_int_equal(dying_count_holds(&fixture.sessions[1], held), 1);

	/* Told by who holds it still, it stays as it is; by another, it is looked for; told afterwards, it goes. */
	dying_released(&fixture.sessions[1], held);
	assert_int_equal(state_of(held), RECORD_ORPHAN);
	dying_released(&fixture.sessions[2], held);
	assert_int_equal(state_of(held), RECORD_DYING);
	rest();
	assert_int_equal(state_of(held), RECORD_ORPHAN);
	*slot = 0;
	rest();
	assert_int_equal(state_of(held), RECORD_ORPHAN);
	dying_released(&fixture.sessions[1], held);
	rest();
	assert_empty();
}

/* Somebody acquires by request what is dying: what nobody holds is freed there and then, what a page has lives. */
static void test_settle(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	open_page(1);
	uint32_t gone = allocate(owner, 1, true), held = allocate(owner, 1, true), reference;
	struct handle handles[] = {{id_of(gone), gone, fixture.pool.incarnation}, {id_of(held), held, fixture.pool.incarnation}};
	fixture.pages[1]->slots[0] = id_of(held);
	lifetime_drop_owner(owner, gone);
	lifetime_drop_owner(owner, held);
	assert_int_equal(lifetime_find_to_acquire(owner, &handles[0]), ERROR_STALE_HANDLE);
	assert_int_equal(state_of(gone), RECORD_FREE);
	assert_int_equal(lifetime_find_to_acquire(owner, &handles[1]), 0);
	assert_int_equal(state_of(held), RECORD_ORPHAN);
	assert_int_equal(lifetime_check_held(&fixture.sessions[1], &handles[1]), 0);
	assert_int_equal(lifetime_check_held(&fixture.sessions[2], &handles[1]), ERROR_NOT_HELD);
	assert_int_equal(table_take(&fixture.pool.references.table, &reference), 0);
	references_write(&fixture.pool.references, reference, 3, held, id_of(held));
	lifetime_add_reference(&fixture.sessions[2], reference);
	assert_int_equal(state_of(held), RECORD_LIVE);
	assert_int_equal(fixture.pool.dying.orphan_count, 0);
	fixture.pages[1]->slots[0] = 0;
	lifetime_set_reference(&fixture.sessions[2], reference, 0);
	rest();
	assert_empty();
}

/* A session ends: its page says nothing any more. A page that was cut off says nothing either. */
static void test_pages_go(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	open_page(1);
	open_page(2);
	uint32_t first = allocate(owner, 1, true), second = allocate(owner, 1, true);
	fixture.pages[1]->slots[5] = id_of(first);
	fixture.pages[2]->slots[HOLD_SLOTS - 1] = id_of(second);
	lifetime_drop_owner(owner, first);
	lifetime_drop_owner(owner, second);
	rest();
	assert_int_equal(fixture.pool.dying.orphan_count, 2);
	drop_page(&fixture.sessions[1]);
	rest();
	assert_int_equal(state_of(first), RECORD_FREE);
	assert_int_equal(state_of(second), RECORD_ORPHAN);
	assert_int_equal(ftruncate(fixture.sessions[2].hold_page, 100), 0);
	dying_doubt(&fixture.pool);
	rest();
	assert_empty();
}

/* Memory is wanted: a look is done in as many steps as it takes. */
static void test_hurry(void **state)
{
	struct session *owner = &fixture.sessions[0];
	unsigned steps = 0;

	(void)state;
	open_page(1);
	assert_false(dying_hurry(&fixture.pool));
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t block = allocate(owner, 1, true);
		if (i == 500)
			fixture.pages[1]->slots[3] = id_of(block);
		lifetime_drop_owner(owner, block);
	}
	while (dying_hurry(&fixture.pool))
		steps++;
	assert_in_range(steps, 2, 10);
	assert_int_equal(fixture.pool.block_count, 1);
	fixture.pages[1]->slots[3] = 0;
	dying_doubt(&fixture.pool);
	dying_stop(&fixture.pool.dying);
	assert_false(dying_hurry(&fixture.pool)); /* nobody's page is read any more */
	assert_int_equal(fixture.pool.block_count, 1);
}

/* Much that is dying does not go in one turn of the loop, whoever wants its memory: what is freed is charged too. */
static void test_hurry_with_many(void **state)
{
	struct session *owner = &fixture.sessions[0];
	struct dying *dying = &fixture.pool.dying;
	unsigned count = 10000;

	(void)state;
	open_page(1);
	for (unsigned i = 0; i < count; i++)
		lifetime_drop_owner(owner, allocate(owner, 1, true));
	assert_true(dying_hurry(&fixture.pool));
	uint64_t freed = count - fixture.pool.block_count;
	assert_in_range(freed, 1, count / 2);
	assert_true(ALLOWANCE_MAX_NS - dying->for_memory.left >= (int64_t)freed * 100);
	allowance_spend(&dying->for_memory, ALLOWANCE_MAX_NS);
	assert_false(dying_hurry(&fixture.pool));
	assert_int_equal(fixture.pool.block_count, count - freed);
	assert_true(fixture.pool.wait_queue.owed);
	for (unsigned turn = 0; fixture.pool.wait_queue.owed; turn++) {
		assert_in_range(turn, 0, 1000000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	assert_empty();
}

/* A look that finds all held that it looks for does not keep from who wants memory what came during that look. */
static void test_hurry_during_a_look(void **state)
{
	static struct session idle[100]; /* so many that a look takes several turns of the loop */
	struct session *owner = &fixture.sessions[0];
	uint32_t number;

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		assert_int_equal(table_take(&fixture.pool.sessions.table, &number), 0);
		idle[i] = (struct session){
			.pool = &fixture.pool, .number = number, .hold_page = -1, .user = accounts_user(&fixture.pool.accounts, 0)};
		fixture.pool.sessions.by_number[number] = &idle[i];
	}
	open_page(1);
	uint32_t held = allocate(owner, 1, true), gone = allocate(owner, 1, true);
	fixture.pages[1]->slots[4] = id_of(held);
	lifetime_drop_owner(owner, held);
	for (unsigned turn = 0; !fixture.pool.dying.looking; turn++) {
		assert_in_range(turn, 0, 1000000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	lifetime_drop_owner(owner, gone);
	assert_true(dying_hurry(&fixture.pool));
	assert_int_equal(state_of(gone), RECORD_FREE);
	assert_int_equal(state_of(held), RECORD_ORPHAN);
	assert_false(dying_hurry(&fixture.pool));
	fixture.pages[1]->slots[4] = 0;
	dying_doubt(&fixture.pool);
	rest();
	assert_empty();
	for (size_t i = 0; i < 100; i++)
		fixture.pool.sessions.by_number[idle[i].number] = NULL;
}

/* A page that the kernel cannot read may hold anything: nothing is freed, and nobody waits for ever. Once it can be read, what it says counts. */
static void test_unreadable_page(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	open_page(1);
	open_page(2);
	int page = fixture.sessions[1].hold_page;
	uint32_t block = allocate(owner, 1, true), held = allocate(owner, 1, true);
	fixture.pages[1]->slots[9] = id_of(held);
	lifetime_drop_owner(owner, block);
	lifetime_drop_owner(owner, held);
	fixture.sessions[1].hold_page = open("/dev/null", O_WRONLY | O_CLOEXEC); /* EBADF */
	assert_true(fixture.sessions[1].hold_page >= 0);
	assert_false(dying_hurry(&fixture.pool));
	assert_int_equal(state_of(block), RECORD_ORPHAN);
	assert_int_equal(state_of(held), RECORD_ORPHAN);
	assert_int_equal(dying_count_holds(&fixture.sessions[1], block), 1);
	dying_released(&fixture.sessions[2], block);
	rest();
	assert_int_equal(state_of(block), RECORD_ORPHAN);
	close(fixture.sessions[1].hold_page);
	fixture.sessions[1].hold_page = page;
	assert_true(dying_hurry(&fixture.pool));
	assert_int_equal(state_of(block), RECORD_FREE);
	assert_int_equal(state_of(held), RECORD_ORPHAN);
	fixture.pages[1]->slots[9] = 0;
	dying_released(&fixture.sessions[1], held);
	rest();
	assert_empty();
}

/* A page whose file is gone for good: what may stand in it stays, until its session gets another one, or ends. */
static void test_lost_page(void **state)
{
	struct session *owner = &fixture.sessions[0], *losers[] = {&fixture.sessions[1], &fixture.sessions[2]};

	(void)state;
	dying_add_page(losers[0], HOLD_PAGE_LOST);
	dying_add_page(losers[1], HOLD_PAGE_LOST);
	assert_int_equal(fixture.pool.dying.pages, 2);
	uint32_t block = allocate(owner, 1, true);
	lifetime_drop_owner(owner, block);
	rest();
	assert_int_equal(state_of(block), RECORD_ORPHAN);
	open_page(1);
	assert_int_equal(fixture.pool.dying.pages, 2);
	dying_doubt(&fixture.pool);
	rest();
	assert_int_equal(state_of(block), RECORD_ORPHAN);
	drop_page(losers[1]);
	assert_int_equal(fixture.pool.dying.pages, 1);
	rest();
	assert_empty();
}

/* Released was lost. Before an allocation is refused the pages tell, and those that are held stay what they are. */
static void test_hurry_finds_orphans(void **state)
{
	struct session *owner = &fixture.sessions[0];
	uint32_t held[2], gone[2];

	(void)state;
	open_page(1);
	open_page(2);
	for (unsigned i = 0; i < 2; i++) {
		held[i] = allocate(owner, 1, true);
		gone[i] = allocate(owner, 1, true);
		fixture.pages[1]->slots[i] = id_of(held[i]);
		fixture.pages[2]->slots[i] = id_of(held[i]); /* found twice */
		fixture.pages[2]->slots[10 + i] = id_of(gone[i]);
		lifetime_drop_owner(owner, held[i]);
		lifetime_drop_owner(owner, gone[i]);
		rest();
		if (i == 0) { /* in the one list, and in the other */
			fixture.pool.dying.orphans = fixture.pool.dying.confirmed;
			fixture.pool.dying.confirmed = 0;
		}
	}
	uint64_t looked = fixture.pool.dying.started_ns;
	assert_false(dying_hurry(&fixture.pool));
	assert_int_equal(fixture.pool.dying.started_ns, looked); /* all are held: none was doubted */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(state_of(held[i]), RECORD_ORPHAN);
		assert_int_equal(state_of(gone[i]), RECORD_ORPHAN);
		fixture.pages[2]->slots[10 + i] = 0;
	}
	assert_true(dying_hurry(&fixture.pool));
	assert_false(dying_hurry(&fixture.pool));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(state_of(held[i]), RECORD_ORPHAN);
		assert_int_equal(state_of(gone[i]), RECORD_FREE);
		fixture.pages[1]->slots[i] = fixture.pages[2]->slots[i] = 0;
	}
	assert_true(dying_hurry(&fixture.pool));
	assert_empty();
}

/* Without an allowance nobody has all pages read at once; and what would be refused is owed. */
static void test_allowance(void **state)
{
	struct session *owner = &fixture.sessions[0], *holder = &fixture.sessions[1];
	struct dying *dying = &fixture.pool.dying;

	(void)state;
	open_page(1);
	open_page(2);
	uint32_t block = allocate(owner, 1, true), mine = allocate(owner, 1, true), never = allocate(owner, 1, false);
	struct handle handle = {id_of(block), block, fixture.pool.incarnation};
	fixture.pages[1]->slots[0] = id_of(mine);
	assert_int_equal(dying_is_held(&fixture.pool, mine, 0), 1);
	assert_int_equal(dying_is_held(&fixture.pool, block, 0), 0);
	assert_true(dying->for_questions.left < ALLOWANCE_MAX_NS);
	assert_int_equal(dying->for_memory.left, ALLOWANCE_MAX_NS);
	lifetime_drop_owner(owner, block);
	allowance_spend(&dying->for_questions, UINT64_C(1000000000));
	allowance_spend(&dying->for_memory, UINT64_C(1000000000));
	assert_int_equal(dying_is_held(&fixture.pool, mine, 0), -EAGAIN);
	assert_int_equal(dying_is_held(&fixture.pool, never, 0), 0); /* it is in no page */
	assert_false(dying_hurry(&fixture.pool));
	assert_true(fixture.pool.wait_queue.owed);
	int64_t left = dying->for_questions.left;
	/* Who asks for what is dying gets it, unseen. His own page costs nothing. */
	assert_int_equal(lifetime_find_to_acquire(owner, &handle), 0);
	assert_int_equal(state_of(block), RECORD_ORPHAN);
	lifetime_drop_owner(owner, mine);
	handle = (struct handle){id_of(mine), mine, fixture.pool.incarnation};
	assert_int_equal(lifetime_find_to_acquire(holder, &handle), 0);
	assert_int_equal(state_of(mine), RECORD_ORPHAN);
	assert_true(dying->for_questions.left >= left);

	/* Who comes when there is an allowance again gets nothing before those who are owed. */
	allowance_init(&dying->for_memory, uv_hrtime());
	assert_false(dying_hurry(&fixture.pool));
	assert_int_equal(dying->for_memory.left, ALLOWANCE_MAX_NS);

	/* Once there is one again, all that is owed is paid. */
	uv_timer_start(&dying->owed, dying->owed.timer_cb, 0, 0);
	for (unsigned turn = 0; fixture.pool.wait_queue.owed; turn++) {
		assert_in_range(turn, 0, 1000000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
	assert_int_equal(state_of(block), RECORD_FREE);
	assert_int_equal(state_of(mine), RECORD_ORPHAN);
	assert_int_equal(fixture.pool.wait_queue.paid, 1);
	fixture.pages[1]->slots[0] = 0;
	assert_true(dying_hurry(&fixture.pool));
	lifetime_drop_owner(owner, never);
	assert_empty();
}

/* What is told of again and again, by who does not hold it, has no look at once, however large it is. */
static void test_told_again(void **state)
{
	struct session *owner = &fixture.sessions[0];

	(void)state;
	open_page(1);
	open_page(2);
	uint32_t block = allocate(owner, 1, true);
	fixture.pages[1]->slots[0] = id_of(block);
	lifetime_drop_owner(owner, block);
	assert_int_equal(fixture.pool.dying.dead_count, 1);
	rest();
	for (unsigned i = 0; i < 5000; i++) {
		dying_released(&fixture.sessions[2], block);
		assert_int_equal(state_of(block), RECORD_DYING);
		assert_int_equal(fixture.pool.dying.dead_count, 0);
		assert_int_equal(fixture.pool.dying.dead_bytes, 0);
		if (i % 1000 == 0)
			rest();
		else
			dying_settle(&fixture.sessions[1], block);
	}
	assert_int_equal(fixture.pool.dying.for_questions.left, ALLOWANCE_MAX_NS); /* it was its own page that told */
	rest();
	fixture.pages[1]->slots[0] = 0;
	dying_released(&fixture.sessions[1], block);
	rest();
	assert_empty();
}

/* ---- At random ---- */

#define BLOCKS 40

struct model {
	uint32_t index;
	uint64_t id; /* 0: nothing is here */
	bool owned;
	unsigned slots;               /* of pages that hold it */
	uint32_t reference[SESSIONS]; /* plus one */
};

static bool is_held(const struct model *block)
{
	bool held = block->owned || block->slots;

	for (unsigned i = 0; i < SESSIONS; i++)
		held = held || block->reference[i];
	return held;
}

/* As the client does it: it takes a slot, and keeps it where the word allows that. */
static void hold(struct model *block)
{
	struct hold_page *page = fixture.pages[draw(SESSIONS)];
	_Atomic uint64_t *slot = &page->slots[draw(HOLD_SLOTS)];
	uint64_t word = blocks_word(&fixture.pool.blocks, block->index);

	if (*slot || record_id(word) != block->id || !record_is_holdable(word))
		return;
	*slot = block->id;
	block->slots++;
}

static void let_go(struct model *block)
{
	for (unsigned i = 0; i < SESSIONS; i++) {
		for (unsigned k = 0; k < HOLD_SLOTS; k++) {
			if (fixture.pages[i]->slots[k] != block->id)
				continue;
			fixture.pages[i]->slots[k] = 0;
			block->slots--;
			if (draw(3) && record_awaits_release(blocks_word(&fixture.pool.blocks, block->index)))
				dying_released(&fixture.sessions[i], block->index);
			return;
		}
	}
}

static void refer(struct model *block)
{
	struct session *session = &fixture.sessions[draw(SESSIONS)];
	struct handle handle = {block->id, block->index, fixture.pool.incarnation};
	uint32_t reference, *mine = &block->reference[session->number - 1];

	/* An orphan that was let go without a word can still be acquired. */
	int error = lifetime_find_to_acquire(session, &handle);
	assert_true(error == 0 || (error == ERROR_STALE_HANDLE && !is_held(block)));
	if (error || *mine)
		return;
	blocks_share(&fixture.pool.blocks, block->index);
	assert_int_equal(table_take(&fixture.pool.references.table, &reference), 0);
	references_write(&fixture.pool.references, reference, session->number, block->index, block->id);
	lifetime_add_reference(session, reference);
	*mine = reference + 1;
}

static void step(struct model *block)
{
	unsigned who = (unsigned)draw(SESSIONS);

	if (!block->id) {
		block->index = allocate(&fixture.sessions[0], 1 + draw(8), draw(2));
		block->id = id_of(block->index);
		block->owned = true;
		return;
	}
	switch (draw(6)) {
	case 0:
	case 1: hold(block); break;
	case 2: let_go(block); break;
	case 3: refer(block); break;
	case 4:
		if (block->owned)
			lifetime_drop_owner(&fixture.sessions[0], block->index);
		block->owned = false;
		break;
	default:
		if (block->reference[who])
			lifetime_set_reference(&fixture.sessions[who], block->reference[who] - 1, 0);
		block->reference[who] = 0;
	}
}

static void test_at_random(void **state)
{
	static struct model blocks[BLOCKS];

	(void)state;
	for (uint32_t i = 0; i < SESSIONS; i++)
		open_page(i);
	for (unsigned n = 0; n < 200000; n++) {
		struct model *block = &blocks[draw(BLOCKS)];
		step(block);
		if (draw(4) == 0)
			uv_run(&fixture.loop, UV_RUN_NOWAIT);
		bool there = blocks_is_there(&fixture.pool.blocks, block->index, block->id);
		assert_true(there || !is_held(block));
		if (!is_held(block) && draw(2)) {
			dying_doubt(&fixture.pool);
			rest();
			dying_doubt(&fixture.pool); /* those that were found before, this time */
			rest();
			assert_false(blocks_is_there(&fixture.pool.blocks, block->index, block->id));
			*block = (struct model){0};
		}
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct model *block = &blocks[i];
		while (block->slots)
			let_go(block);
		if (block->owned)
			lifetime_drop_owner(&fixture.sessions[0], block->index);
		for (unsigned who = 0; who < SESSIONS; who++)
			if (block->reference[who])
				lifetime_set_reference(&fixture.sessions[who], block->reference[who] - 1, 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		dying_doubt(&fixture.pool);
		rest();
	}
	assert_empty();
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_at_once),
		TEST(test_by_hand),
		TEST(test_settle),
		TEST(test_pages_go),
		TEST(test_hurry_during_a_look),
		TEST(test_hurry_with_many),
		TEST(test_unreadable_page),
		TEST(test_lost_page),
		TEST(test_hurry_finds_orphans),
		TEST(test_allowance),
		TEST(test_told_again),
		TEST(test_hurry),
		TEST(test_at_random),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
