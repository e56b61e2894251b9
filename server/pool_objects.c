/* SPDX-License-Identifier: Apache-2.0 */
/* A pool's objects in shared memory: see pool_objects.h. */
#include "pool_objects.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "boot.h"
#include "clock.h"
#include "commit.h"
#include "hold_page.h"
#include "leftover.h"
#include "log.h"
#include "state_header.h"
#include "state_layout.h"
#include "view.h"

/* Tables are sparse: a large capacity costs address space only. */
#define DEFAULT_MAX_BLOCKS (UINT32_C(1) << 24)
#define DEFAULT_MAX_NAMES (UINT32_C(1) << 20)
#define DEFAULT_MAX_SESSIONS 16384
#define MIN_MAX_NAMES 1024
#define MAX_REFERENCES (UINT32_C(1) << 22)
#define MAX_LINKS (UINT32_C(1) << 22)

int pool_objects_lock(struct pool *pool, uint64_t *out_leftover)
{
	int result = shared_object_lock(&pool->state, out_leftover);

	if (result == -EWOULDBLOCK)
		log_error("pool %s: another daemon serves it: stop that one, or choose another name with --pool", pool->name);
	else if (result == -EPERM)
		log_error("pool %s: /dev/shm%s is not ours alone (owner, mode 0600 and a single name are required): remove it, or "
		          "choose another name with --pool",
		          pool->name, pool->state.name);
	else if (result == -ENOENT || result == -ENOSYS)
		log_error("pool %s: there is no POSIX shared memory here: mount a tmpfs on /dev/shm", pool->name);
	else if (result == -EACCES)
		log_error("pool %s: no permission for /dev/shm%s: it belongs to another user; choose another name with --pool",
		          pool->name, pool->state.name);
	else if (result < 0)
		log_error("pool %s: cannot make shared memory %s: %s", pool->name, pool->state.name, strerror(-result));
	return result;
}

int pool_objects_discard(struct pool *pool, uint64_t leftover)
{
	const struct shared_object *objects[] = {&pool->view, &pool->segment};
	bool found = leftover != 0;
	char what[LEFTOVER_TEXT_MAX];

	leftover_describe(pool, what);
	/* Emptied first: from here on it is known as half made, whatever becomes of the rest. */
	int emptied = shared_object_resize(&pool->state, 0);
	if (emptied < 0) {
		log_error("pool %s: cannot empty the leftover %s: %s", pool->name, pool->state.name, strerror(-emptied));
		return emptied;
	}

	hold_page_remove_all(pool->name);
	for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
		int result = shared_object_unlink(objects[i]);
		if (result == 0)
			found = true;
		else if (result != -ENOENT) {
			log_error("pool %s: cannot remove the leftover %s: %s", pool->name, objects[i]->name, strerror(-result));
			return result;
		}
	}
	if (found)
		log_warning("pool %s: discarded what a former daemon left of it: %s", pool->name, what);
	return 0;
}

static void fill_headers(struct pool *pool, const struct pool_options *options, const struct view_geometry *geometry,
                         const struct state_header *state)
{
	struct view_header *view = pool->header;

	view->layout_version = VIEW_LAYOUT_VERSION;
	view->incarnation = pool->incarnation;
	memcpy(view->boot_id, state->boot_id, sizeof view->boot_id);
	memcpy(view->pool, pool->name, sizeof view->pool);
	view->created_ns = clock_realtime_ns();
	view->unit = options->unit;
	view->max_size = state->max_size;
	view->view_size = geometry->view_size;
	view->names_at = geometry->names_at;
	view->blocks_at = geometry->blocks_at;
	view->metadata_at = geometry->metadata_at;
	view->name_buckets = geometry->name_buckets;
	view->max_names = state->max_names;
	view->max_blocks = state->max_blocks;
	view->max_sessions = state->max_sessions - 1;
	view->checksum = view_header_checksum(view);
	atomic_store_explicit(&view->size, options->size, memory_order_relaxed);
	atomic_store_explicit(&view->daemon_pid, (uint32_t)getpid(), memory_order_relaxed);

	struct state_header *header = pool->state_header;
	memcpy(&header->layout_version, &state->layout_version,
	       offsetof(struct state_header, checksum) - offsetof(struct state_header, layout_version));
	header->checksum = state_header_checksum(header);
	atomic_store_explicit(&header->size, options->size, memory_order_relaxed);
	atomic_store_explicit(&header->lasts, options->ephemeral ? STATE_EPHEMERAL : STATE_LASTS, memory_order_relaxed);

	commit(&header->magic, STATE_MAGIC);
	commit(&view->magic, VIEW_MAGIC);
}

/*
 * One name for 16 blocks that the pool starts with, or for 64 that it may grow to. Their index is committed at once, and takes 4 bytes
 * a name: with units of 64 bytes that is a 256th of the pool, a 128th where it may grow eightfold.
 */
static uint32_t default_max_names(uint64_t units, uint32_t max_blocks)
{
	uint32_t blocks = units < max_blocks ? (uint32_t)units : max_blocks;
	uint32_t names = blocks / 16 > max_blocks / 64 ? blocks / 16 : max_blocks / 64;

	return names < MIN_MAX_NAMES ? MIN_MAX_NAMES : names < DEFAULT_MAX_NAMES ? names : DEFAULT_MAX_NAMES;
}

int pool_objects_make(struct pool *pool, const struct pool_options *options)
{
	struct view_geometry geometry;
	struct state_header state = {
		.layout_version = STATE_LAYOUT_VERSION,
		.incarnation = pool->incarnation,
		.unit = options->unit,
		.max_size = options->max_size ? options->max_size : options->size,
		.extent = STATE_EXTENT,
		.max_blocks = options->max_blocks,
		.max_names = options->max_names,
		.max_sessions = options->max_sessions ? options->max_sessions : DEFAULT_MAX_SESSIONS,
	};
	uint64_t max_units = state.max_size / state.unit, max_pages = shared_object_round(state.max_size) / STATE_EXTENT;
	if (!state.max_blocks)
		state.max_blocks = max_units < DEFAULT_MAX_BLOCKS ? (uint32_t)max_units : DEFAULT_MAX_BLOCKS;
	if (!state.max_names)
		state.max_names = default_max_names(options->size / options->unit, state.max_blocks);
	state.max_sessions++; /* number 0 is the daemon */
	/* A reference for each block and client twice over, within reason. */
	state.max_references = (MAX_REFERENCES - state.max_sessions) / 2 > state.max_blocks
	                           ? 2 * state.max_blocks + state.max_sessions
	                           : MAX_REFERENCES;
	state.references_at = STATE_EXTENTS_AT + extents_footprint(max_pages);
	state.max_links = state.max_blocks < MAX_LINKS ? state.max_blocks : MAX_LINKS;
	state.links_at = shared_object_round(state.references_at + state.max_references * sizeof(struct reference_record));
	state.max_tickets = state.max_names;
	state.max_leases = state.max_blocks;
	state.tickets_at = shared_object_round(state.links_at + state.max_links * sizeof(struct link_record));
	state.leases_at = shared_object_round(state.tickets_at + state.max_tickets * sizeof(struct ticket_record));
	state.sessions_at = shared_object_round(state.leases_at + state.max_leases * sizeof(struct lease_record));
	state.state_size = state.sessions_at + (uint64_t)state.max_sessions * sizeof(struct session_record);
	view_geometry(state.max_blocks, state.max_names, &geometry);

	memcpy(state.pool, pool->name, sizeof state.pool);
	int result = boot_id(state.boot_id);
	if (result == 0)
		result = shared_object_resize(&pool->state, state.state_size);
	if (result == 0)
		result = shared_object_commit(&pool->state, 0, 4096);
	if (result == 0)
		result = shared_object_map(&pool->state);
	if (result == 0)
		result = shared_object_create(&pool->segment, shared_object_round(options->size));
	if (result == 0)
		result = shared_object_create(&pool->view, geometry.view_size);
	if (result == 0)
		result = shared_object_inode(&pool->segment, &state.segment_inode);
	if (result == 0)
		result = shared_object_inode(&pool->view, &state.view_inode);
	if (result == 0)
		result = shared_object_commit(&pool->view, 0, VIEW_INDEX_AT);
	if (result == 0)
		result = shared_object_map(&pool->view);
	if (result < 0)
		return result;

	pool->state_header = pool->state.base;
	pool->header = pool->view.base;
	pool->counters = (struct view_counters *)((uint8_t *)pool->view.base + VIEW_COUNTERS_AT);
	fill_headers(pool, options, &geometry, &state);
	return 0;
}

void pool_objects_remove(struct pool *pool)
{
	hold_page_remove_all(pool->name);
	shared_object_unlink(&pool->view);
	shared_object_unlink(&pool->segment);
	/* Last: its lock says that the pool is ours. */
	shared_object_unlink(&pool->state);
}
