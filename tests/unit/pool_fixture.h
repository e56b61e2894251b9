/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_fixture: a real pool under a name of this process, for the one program that includes it, and sessions as far as lifetimes know them, without
 * clients, and with hold pages where the test opens them. What makes records does as the requests do, without slots. Needs cmocka's headers
 * before it.
 */
#ifndef TESTS_POOL_FIXTURE_H
#define TESTS_POOL_FIXTURE_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/collector.h"
#include "server/dying.h"
#include "server/eviction.h"
#include "server/handle.h"
#include "server/hold_page.h"
#include "server/lifetime.h"
#include "server/log.h"
#include "server/page_holds.h"
#include "server/pool.h"
#include "server/reclaim.h"
#include "server/session.h"

#define POOL_FIXTURE_UNIT 64
#define POOL_FIXTURE_SESSIONS_MAX 4

static struct {
	uv_loop_t loop;
	struct pool pool;
	struct reclaim reclaim;
	uint32_t session_count;
	struct session sessions[POOL_FIXTURE_SESSIONS_MAX]; /* number 1 on */
	struct hold_page *pages[POOL_FIXTURE_SESSIONS_MAX]; /* as the client has it; NULL: none */
} fixture;

static inline void pool_fixture_open_session(uint32_t uid)
{
	struct pool *pool = &fixture.pool;
	struct session *session = &fixture.sessions[fixture.session_count];
	uint32_t number;

	assert_int_equal(table_take(&pool->sessions.table, &number), 0);
	assert_int_equal(number, ++fixture.session_count);
	*session = (struct session){.pool = pool,
	                            .number = number,
	                            .serial = number + 10,
	                            .record = &pool->sessions.records[number],
	                            .hold_page = HOLD_PAGE_NONE,
	                            .user = accounts_user(&pool->accounts, uid)};
	session->account.quota = session->user->session_quota;
	session->record->uid = uid;
	atomic_store(&session->record->word, session->serial << 8 | SESSION_LIVE);
	accounts_charge(session->user, QUOTA_SESSIONS);
	pool->sessions.by_number[number] = session;
}

/* A session for each of the uids. 0, or -1: for cmocka. */
static inline int pool_fixture_open(const char *test, uint64_t size, const uint32_t *uids, uint32_t count)
{
	char name[48];
	struct pool_options options = {.name = name, .size = size, .unit = POOL_FIXTURE_UNIT, .ephemeral = true};

	snprintf(name, sizeof name, "unit-%s-%d", test, (int)getpid());
	log_open(LOG_LEVEL_ERROR);
	memset(&fixture, 0, sizeof fixture);
	if (uv_loop_init(&fixture.loop) < 0 || pool_open(&fixture.loop, &options, &fixture.pool) < 0 ||
	    reclaim_init(&fixture.reclaim, &fixture.pool) < 0)
		return -1;
	for (uint32_t i = 0; i < count; i++)
		pool_fixture_open_session(uids[i]);
	return 0;
}

static inline void pool_fixture_drop_page(struct session *session)
{
	int page = dying_drop_page(session);

	if (page >= 0)
		close(page);
	hold_page_remove(session->pool->name, session->number);
}

static inline int pool_fixture_close(void)
{
	for (uint32_t i = 0; i < fixture.session_count; i++) {
		pool_fixture_drop_page(&fixture.sessions[i]);
		if (fixture.pages[i])
			munmap(fixture.pages[i], HOLD_PAGE_SIZE);
		fixture.pool.sessions.by_number[i + 1] = NULL;
	}
	dying_stop(&fixture.pool.dying);
	eviction_stop(&fixture.pool.eviction);
	collector_stop(&fixture.pool.collector);
	reclaim_deinit(&fixture.reclaim);
	pool_close(&fixture.pool);
	return uv_loop_close(&fixture.loop);
}

/* Of session number i + 1. */
static inline void pool_fixture_open_page(uint32_t i)
{
	uint64_t inode;
	int fd;

	assert_int_equal(hold_page_create(fixture.pool.name, i + 1, &fd, &inode), 0);
	fixture.pages[i] = mmap(NULL, HOLD_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(fixture.pages[i] != MAP_FAILED);
	page_holds_add_page(&fixture.sessions[i], fd);
}

/* False: there is no room for it. */
static inline bool pool_fixture_try_allocate(struct session *session, uint64_t size, bool shared, uint32_t *out_block)
{
	struct pool *pool = session->pool;
	uint64_t units = (size + POOL_FIXTURE_UNIT - 1) / POOL_FIXTURE_UNIT, offset, granted;
	uint32_t index;

	if (table_prepare(&pool->blocks.table, 1) < 0 || buddy_allocate(&pool->buddy, units, 1, &offset, &granted) < 0)
		return false;
	assert_int_equal(table_take(&pool->blocks.table, &index), 0);
	blocks_write(&pool->blocks, index,
	             &(struct block_content){.id = pool_take_ids(pool, 1),
	                                     .offset = offset * POOL_FIXTURE_UNIT,
	                                     .size = size,
	                                     .granted = granted * POOL_FIXTURE_UNIT,
	                                     .owner = session->number,
	                                     .uid = session->user->uid,
	                                     .tag = "",
	                                     .shared = shared});
	lifetime_add_owner(session, index);
	*out_block = index;
	return true;
}

static inline uint32_t pool_fixture_allocate(struct session *session, uint64_t units, bool shared)
{
	uint32_t block = 0;

	assert_true(pool_fixture_try_allocate(session, units * POOL_FIXTURE_UNIT, shared, &block));
	return block;
}

static inline uint64_t pool_fixture_id(uint32_t block)
{
	return record_id(blocks_word(&fixture.pool.blocks, block));
}

static inline struct handle pool_fixture_handle(uint32_t block)
{
	return (struct handle){pool_fixture_id(block), block, fixture.pool.incarnation};
}

static inline enum record_state pool_fixture_state(uint32_t block)
{
	return record_state(blocks_word(&fixture.pool.blocks, block));
}

/* The reference. */
static inline uint32_t pool_fixture_refer(struct session *session, uint32_t block)
{
	uint32_t reference;

	assert_int_equal(table_take(&fixture.pool.references.table, &reference), 0);
	references_write(&fixture.pool.references, reference, session->number, block, pool_fixture_id(block));
	lifetime_add_reference(session, reference);
	return reference;
}

static inline void pool_fixture_link(uint32_t from, uint32_t to)
{
	uint32_t link;

	assert_int_equal(table_take(&fixture.pool.links.table, &link), 0);
	links_write(
		&fixture.pool.links, link,
		&(struct link_record){.from = from, .to = to, .from_id = pool_fixture_id(from), .to_id = pool_fixture_id(to)});
	lifetime_add_link(&fixture.pool, link);
}

/* Until every look has ended, in no more turns of the loop than there could be. */
static inline void pool_fixture_rest(void)
{
	for (unsigned turn = 0; fixture.pool.dying.waiting || fixture.pool.dying.looking; turn++) {
		assert_in_range(turn, 0, 1000000);
		uv_run(&fixture.loop, UV_RUN_NOWAIT);
	}
}

#endif
