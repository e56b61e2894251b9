/* SPDX-License-Identifier: Apache-2.0 */
/* Making and closing a pool: see pool.h. */
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "commit.h"
#include "leftover.h"
#include "log.h"
#include "pool_objects.h"
#include "random.h"
#include "region.h"
#include "size.h"
#include "state_layout.h"
#include "view.h"

/* The file system that holds POSIX shared memory must be there, and large enough for a segment of the size that is asked for. */
static int check_room(const struct pool *pool, const struct pool_options *options)
{
	struct statvfs status;
	char wanted[SIZE_TEXT_MAX], there[SIZE_TEXT_MAX];

	if (fstatvfs(pool->state.fd, &status) < 0) {
		int result = -errno;
		log_error("pool %s: cannot look at the file system of shared memory: %s", pool->name, strerror(errno));
		return result;
	}
	uint64_t size = (uint64_t)status.f_blocks * status.f_frsize;
	if (size == 0 || options->size <= size || options->overcommit)
		return 0;
	size_format(options->size, wanted);
	size_format(size, there);
	log_error("pool %s: a segment of %s does not fit into /dev/shm, which holds %s: choose a smaller --size, enlarge it "
	          "(mount -o remount,size=SIZE /dev/shm; in Docker --shm-size)%s",
	          pool->name, wanted, there, options->up_front ? "" : ", or say --overcommit");
	return -ENOSPC;
}

static int open_for_clients(struct pool *pool)
{
	int result = shared_object_reopen(&pool->segment, O_RDWR, &pool->segment_read_write);

	if (result == 0)
		result = shared_object_reopen(&pool->segment, O_RDONLY, &pool->segment_read_only);
	return result;
}

static int make_tables(struct pool *pool, const struct pool_options *options)
{
	const struct state_header *state = pool->state_header;
	uint64_t units = pool->grown_size / pool->unit, pages = shared_object_round(pool->grown_size) / STATE_EXTENT;
	int result = region_new(buddy_footprint(units), &pool->buddy_memory);

	if (result == 0)
		result = buddy_init(&pool->buddy, pool->buddy_memory, units);
	if (result == 0)
		result = blocks_init(&pool->blocks, &pool->view, pool->header->blocks_at, state->max_blocks);
	if (result == 0)
		result = names_init(&pool->names, &pool->view, pool->header);
	if (result == 0)
		result = metadata_init(&pool->metadata, &pool->view);
	if (result == 0)
		result = references_init(&pool->references, &pool->state, state->references_at, state->max_references);
	if (result == 0)
		result = links_init(&pool->links, &pool->state, state->links_at, state->max_links);
	if (result == 0)
		result = tickets_init(&pool->tickets, &pool->state, state->tickets_at, state->max_tickets);
	if (result == 0)
		result = leases_init(&pool->leases, &pool->state, state->leases_at, state->max_leases);
	if (result == 0)
		result = extents_init(&pool->extents, &pool->state, STATE_EXTENTS_AT, pages);
	if (result == 0)
		result = sessions_init(&pool->sessions, pool->loop, &pool->state, state->sessions_at, state->max_sessions);
	if (result == 0) {
		committer_init(&pool->committer, pool->loop, &pool->segment, &pool->extents);
		timeouts_init(&pool->timeouts, pool->loop);
		wait_queue_init(&pool->wait_queue, pool->loop, &pool->buddy, &pool->timeouts);
		withheld_init(&pool->withheld, &pool->buddy, &pool->wait_queue);
		page_holds_init(&pool->page_holds);
		result = name_waiters_init(&pool->name_waiters, pool->loop, &pool->timeouts);
		if (result == 0)
			result = dying_init(&pool->dying, pool, state->max_blocks);
		if (result == 0)
			result = cache_init(&pool->cache, pool, state->max_blocks);
		if (result == 0)
			result = eviction_init(&pool->eviction, pool);
		if (result == 0)
			result = events_init(&pool->events, pool);
	}
	if (result == 0)
		result = collector_init(&pool->collector, pool);
	if (result == 0)
		result = accounts_init(&pool->accounts, pool->loop, &pool->timeouts, options->quotas);
	if (result == 0)
		result = payers_init(&pool->payers, state->max_blocks,
		                     (uint64_t)state->max_references + state->max_names + state->max_tickets + state->max_links);
	if (result == 0)
		result = clones_init(&pool->clones, pool);
	if (result == 0) {
		const uint32_t capacity[] = {[DEADLINE_TICKET] = state->max_tickets, [DEADLINE_LEASE] = state->max_leases};
		result = deadlines_init(&pool->deadlines, pool->loop, capacity);
	}
	return result;
}

/* Whole pieces, of which the options could not say how large they are. */
static int check_units(const struct pool *pool, const struct pool_options *options)
{
	uint64_t wrong = options->size % options->unit ? options->size : options->max_size;
	char size[SIZE_EXACT_MAX], unit[SIZE_EXACT_MAX];

	if (wrong % options->unit == 0)
		return 0;
	size_format_exact(wrong, size);
	size_format_exact(options->unit, unit);
	log_error("pool %s: a size of %s is no multiple of the smallest piece, %s: choose another --size, or say --min-block",
	          pool->name, size, unit);
	return -EINVAL;
}

/* What is guaranteed must be there to be given. */
static int check_guarantees(const struct pool *pool, const struct pool_options *options, uint64_t size)
{
	char guaranteed[SIZE_EXACT_MAX], there[SIZE_EXACT_MAX];

	if (!options->quotas || options->quotas->guaranteed <= size)
		return 0;
	size_format_exact(options->quotas->guaranteed, guaranteed);
	size_format_exact(size, there);
	log_error(
		"pool %s: --guarantee: all users together are guaranteed %s, more than the pool has, which is %s: guarantee %s "
		"or less in all, or choose a --size of %s or more",
		pool->name, guaranteed, there, there, guaranteed);
	return -EINVAL;
}

/* Makes the pool afresh; whatever was there goes. */
static int make(struct pool *pool, const struct pool_options *options, uint64_t leftover_size)
{
	/* A wrong --size must not cost what is there: look before anything is discarded. */
	int result = check_units(pool, options);

	if (result == 0)
		result = check_guarantees(pool, options, options->size);
	if (result == 0)
		result = check_room(pool, options);
	if (result < 0) {
		if (leftover_size == 0)
			shared_object_unlink(&pool->state);
		return result;
	}
	result = pool_objects_discard(pool, leftover_size);
	while (result == 0 && pool->incarnation == 0)
		result = random_bytes(&pool->incarnation, sizeof pool->incarnation);
	if (result < 0)
		return result;
	result = pool_objects_make(pool, options);
	if (result == 0)
		result = open_for_clients(pool);
	if (result == 0)
		result = make_tables(pool, options);
	if (result < 0) {
		log_error("pool %s: cannot make its shared memory: %s", pool->name, strerror(-result));
		pool_objects_remove(pool);
	}
	return result;
}

/* Opens the pool as it is. On failure nothing of it is removed. */
static int adopt(struct pool *pool, const struct pool_options *options)
{
	int result = check_guarantees(pool, options, pool->grown_size);

	if (result == 0 && pool->grown_size > pool->size)
		result = check_room(pool, options);
	if (result == 0)
		result = leftover_open(pool);
	if (result < 0)
		return result;
	result = open_for_clients(pool);
	if (result == 0)
		result = make_tables(pool, options);
	if (result < 0) {
		log_error("pool %s: cannot take it over: %s", pool->name, strerror(-result));
		return result;
	}
	pool->adopted = true;
	return 0;
}

int pool_open(uv_loop_t *loop, const struct pool_options *options, struct pool *out_pool)
{
	struct pool *pool = out_pool;
	enum leftover leftover;
	uint64_t size;

	*pool = (struct pool){
		.loop = loop,
		.ephemeral = options->ephemeral,
		.up_front = options->up_front,
		.zero_on_free = options->zero_on_free,
		.unit = options->unit,
		.size = options->size,
		.grown_size = options->size,
		.pressure_low = options->pressure_low ? options->pressure_low : PRESSURE_DEFAULT_LOW,
		.pressure_high = options->pressure_high ? options->pressure_high : PRESSURE_DEFAULT_HIGH,
		.segment_read_write = -1,
		.segment_read_only = -1,
		.next_id = 1,
	};
	strncpy(pool->name, options->name, sizeof pool->name - 1);
	shared_object_init(&pool->segment, pool->name, "");
	shared_object_init(&pool->view, pool->name, ".view");
	shared_object_init(&pool->state, pool->name, ".state");

	int result = pool_objects_lock(pool, &size);
	if (result < 0)
		return result;
	result = leftover_examine(pool, options, size, &leftover);
	if (result == 0)
		result = leftover == LEFTOVER_ADOPT ? adopt(pool, options) : make(pool, options, size);
	if (result < 0) {
		pool->ephemeral = false;
		pool_close(pool);
		return result;
	}
	pressure_init(&pool->pressure, pool->grown_size, pool->pressure_low, pool->pressure_high);
	if (!pool->adopted)
		pool_publish_counters(pool);
	return 0;
}

void pool_close(struct pool *pool)
{
	/* Their handles are closed, and those of reclaim_deinit are, by the run of the loop in sessions_deinit. */
	wait_queue_deinit(&pool->wait_queue);
	name_waiters_deinit(&pool->name_waiters);
	accounts_close(&pool->accounts);
	timeouts_deinit(&pool->timeouts);
	eviction_close(&pool->eviction);
	dying_close(&pool->dying);
	collector_close(&pool->collector);
	events_close(&pool->events);
	clones_close(&pool->clones);
	deadlines_close(&pool->deadlines);
	sessions_deinit(&pool->sessions);
	cache_deinit(&pool->cache);
	dying_deinit(&pool->dying);
	events_deinit(&pool->events);
	payers_deinit(&pool->payers);
	accounts_deinit(&pool->accounts);
	deadlines_deinit(&pool->deadlines);
	extents_deinit(&pool->extents);
	links_deinit(&pool->links);
	leases_deinit(&pool->leases);
	tickets_deinit(&pool->tickets);
	references_deinit(&pool->references);
	metadata_deinit(&pool->metadata);
	names_deinit(&pool->names);
	blocks_deinit(&pool->blocks);
	region_free(pool->buddy_memory, buddy_footprint(pool->grown_size / pool->unit));
	if (pool->segment_read_write >= 0)
		close(pool->segment_read_write);
	if (pool->segment_read_only >= 0)
		close(pool->segment_read_only);
	if (pool->ephemeral)
		pool_objects_remove(pool);
	shared_object_deinit(&pool->segment);
	shared_object_deinit(&pool->view);
	shared_object_deinit(&pool->state);
}

uint64_t pool_take_ids(struct pool *pool, uint32_t count)
{
	uint64_t first = pool->next_id;

	pool->next_id += count;
	if (pool->next_id > atomic_load_explicit(&pool->state_header->ids_reserved, memory_order_relaxed))
		commit(&pool->state_header->ids_reserved, pool->next_id + STATE_ID_STRIDE);
	return first;
}

void pool_publish_counters(struct pool *pool)
{
	struct view_counters *counters = pool->counters;
	uint64_t used = (buddy_units(&pool->buddy) - buddy_free_units(&pool->buddy) - pool->withheld.units) * pool->unit;

	atomic_store_explicit(&counters->used, used, memory_order_relaxed);
	atomic_store_explicit(&counters->requested, pool->requested, memory_order_relaxed);
	atomic_store_explicit(&counters->longest_free, buddy_largest_free(&pool->buddy) * pool->unit, memory_order_relaxed);
	atomic_store_explicit(&counters->committed, pool->extents.committed * STATE_EXTENT, memory_order_relaxed);
	atomic_store_explicit(&counters->blocks, pool->block_count, memory_order_relaxed);
	atomic_store_explicit(&counters->names, pool->name_count, memory_order_relaxed);
	atomic_store_explicit(&counters->links, pool->link_count, memory_order_relaxed);
	atomic_store_explicit(&counters->tickets, pool->tickets.count, memory_order_relaxed);
	atomic_store_explicit(&counters->leases, pool->leases.count, memory_order_relaxed);
	atomic_store_explicit(&counters->idle_blocks, pool->cache.blocks, memory_order_relaxed);
	atomic_store_explicit(&counters->idle_bytes, pool->cache.bytes, memory_order_relaxed);
	atomic_store_explicit(&counters->sessions, pool->sessions.count, memory_order_relaxed);
	atomic_store_explicit(&counters->block_records, pool->blocks.table.used, memory_order_relaxed);
	atomic_store_explicit(&counters->name_records, pool->names.table.used, memory_order_relaxed);
	if (pressure_update(&pool->pressure, used))
		events_emit(pool, &(struct event){.kind = EVENT_PRESSURE, .pressure = pool->pressure.level, .bytes = used});
}
