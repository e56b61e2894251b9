/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the view tells, without a round trip. Each counter is read by itself and each record is checked before it is believed,
 * so this works beside a daemon that is busy, hangs or is gone.
 */
#include "inspect.h"

#include <string.h>

/* A name that is replaced under us this often in a row leads to what a dead daemon has left half done. */
#define MEASURE_ATTEMPTS 64

static uint64_t counter(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_relaxed);
}

int shmb_get_status(shmb_session *session, shmb_status *out_status)
{
	const struct view_counters *counters;
	const struct view_header *header;
	int r;

	if (!out_status)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_status is NULL");
	r = session_enter_view(session);
	if (r < 0)
		return r;
	counters = session->mapping->view.counters;
	header = session->mapping->view.header;

	shmb_status status = {
		.incarnation = header->incarnation,
		.daemon_pid = atomic_load_explicit(&header->daemon_pid, memory_order_relaxed),
		.unit = header->unit,
		.size = header->size,
		.used = counter(&counters->used),
		.requested = counter(&counters->requested),
		.longest_free = counter(&counters->longest_free),
		.committed = counter(&counters->committed),
		.blocks = counter(&counters->blocks),
		.names = counter(&counters->names),
		.clients = counter(&counters->sessions),
		.tickets = counter(&counters->tickets),
		.leases = counter(&counters->leases),
		.idle_blocks = counter(&counters->idle_blocks),
		.idle_bytes = counter(&counters->idle_bytes),
		.evictions = counter(&counters->evictions),
		.max_blocks = header->max_blocks,
		.max_names = header->max_names,
		.max_clients = header->max_sessions,
		.allocations = counter(&counters->allocations),
		.frees = counter(&counters->frees),
		.refusals = counter(&counters->refusals),
		.requests = counter(&counters->requests),
		.created_ns = header->created_ns,
	};

	status.free = status.size > status.used ? status.size - status.used : 0;
	memcpy(status.pool, header->pool, sizeof status.pool);
	status.pool[sizeof status.pool - 1] = '\0';
	*out_status = status;
	return 0;
}

_Static_assert(sizeof(((shmb_status *)0)->pool) == sizeof(((struct view_header *)0)->pool), "room for the pool's name");
_Static_assert(sizeof(((shmb_block_info *)0)->tag) == sizeof(((struct view_block *)0)->tag), "room for a tag");
_Static_assert(sizeof(((shmb_name_info *)0)->name) == sizeof(((struct view_name *)0)->name), "room for a name");

static uint32_t records_used(const _Atomic uint64_t *used, uint32_t capacity)
{
	uint64_t value = atomic_load_explicit(used, memory_order_acquire);

	return value < capacity ? (uint32_t)value : capacity;
}

uint32_t inspect_block_records(const struct view *view)
{
	return records_used(&view->counters->block_records, view->header->max_blocks);
}

uint32_t inspect_name_records(const struct view *view)
{
	return records_used(&view->counters->name_records, view->header->max_names);
}

static int corrupt(const char *what, uint32_t index)
{
	return last_error_set(ERROR_CORRUPT, "the pool's record of %s %u contradicts itself", what, index);
}

int inspect_block(const struct shmb_session *session, uint32_t index, shmb_block_info *out_block)
{
	struct view_block block;
	int r = view_read_block(&session->mapping->view, index, &block);

	if (r < 0)
		return corrupt("block", index);
	if (r == 0)
		return 0;
	*out_block = (shmb_block_info){
		.handle = {.id = block.id, .index = index, .incarnation = session->incarnation},
		.offset = block.offset,
		.size = block.size,
		.granted = block.granted,
		.uid = block.uid,
		.owner = block.owner,
		.created_ns = block.created_ns,
		.sealed = block.flags & BLOCK_SEALED,
		.cached = block.flags & BLOCK_CACHED,
	};
	memcpy(out_block->tag, block.tag, sizeof out_block->tag);
	return 1;
}

/*
 * A name that goes to the end of its block is as long as that says. 1, or 0: the block is gone, so that the name does not lead there any
 * more.
 */
static int measure(const struct view *view, struct view_name *name)
{
	struct view_block block;

	if (name->length)
		return 1;
	if (name->block >= inspect_block_records(view) || view_read_block(view, name->block, &block) != 1 ||
	    block.id != name->block_id || block.size <= name->offset)
		return 0;
	name->length = block.size - name->offset;
	return 1;
}

int inspect_name(const struct shmb_session *session, uint32_t index, shmb_name_info *out_name, uint64_t *out_id)
{
	const struct view *view = &session->mapping->view;
	struct view_name name;
	int r = view_read_name(view, index, &name);

	/* A name that was replaced meanwhile leads elsewhere; one that is removed is gone with the next look. */
	for (int attempt = 0; r > 0 && !measure(view, &name); attempt++)
		r = attempt < MEASURE_ATTEMPTS ? view_read_name(view, index, &name) : 0;
	if (r < 0)
		return corrupt("name", index);
	if (r == 0)
		return 0;
	*out_name = (shmb_name_info){
		.block = name.block_id,
		.offset = name.offset,
		.length = name.length,
		.uid = name.uid,
		.created_ns = name.created_ns,
	};
	memcpy(out_name->name, name.name, sizeof out_name->name);
	*out_id = name.first_id;
	return 1;
}

/* A record that is refused is passed over by the next call. */
int shmb_next_block(shmb_session *session, uint32_t *cursor, shmb_block_info *out_block)
{
	int r;

	if (!cursor || !out_block)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", cursor ? "out_block" : "cursor");
	r = session_enter_view(session);
	if (r < 0)
		return r;
	for (uint32_t end = inspect_block_records(&session->mapping->view); *cursor < end;) {
		r = inspect_block(session, (*cursor)++, out_block);
		if (r != 0)
			return r;
	}
	return 0;
}

int shmb_next_name(shmb_session *session, uint32_t *cursor, shmb_name_info *out_name)
{
	uint64_t id;
	int r;

	if (!cursor || !out_name)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", cursor ? "out_name" : "cursor");
	r = session_enter_view(session);
	if (r < 0)
		return r;
	for (uint32_t end = inspect_name_records(&session->mapping->view); *cursor < end;) {
		r = inspect_name(session, (*cursor)++, out_name, &id);
		if (r != 0)
			return r;
	}
	return 0;
}

int shmb_find_block(shmb_session *session, uint64_t id, shmb_block_info *out_block)
{
	int r;

	if (!out_block)
		return last_error_set(ERROR_INVALID_ARGUMENT, "out_block is NULL");
	if (id == 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "no block has the id 0");
	r = session_enter_view(session);
	if (r < 0)
		return r;

	const struct view *view = &session->mapping->view;
	uint32_t end = inspect_block_records(view);

	for (uint32_t index = 0; index < end; index++) {
		shmb_block_info block = {0};

		/* The word alone rules out all records but one. */
		if (record_id(atomic_load_explicit(&view->blocks[index].word, memory_order_relaxed)) != id)
			continue;
		r = inspect_block(session, index, &block);
		if (r < 0)
			return r;
		if (r == 0 || block.handle.id != id)
			break;
		*out_block = block;
		return 0;
	}
	return last_error_set(ERROR_NO_SUCH_BLOCK, "no live block has the id %llu", (unsigned long long)id);
}
