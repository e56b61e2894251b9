/* SPDX-License-Identifier: Apache-2.0 */
/* What clients call blocks by: see handle.h. */
#include "handle.h"

#include "dying.h"
#include "errors.h"
#include "page_holds.h"

/* Condemned blocks live as long as they can be rescued. */
static bool lives(const struct pool *pool, uint32_t index)
{
	return record_state(blocks_word(&pool->blocks, index)) != RECORD_DYING ||
	       (blocks_is_condemned(&pool->blocks, index) && !collector_has_decided(pool));
}

int handle_find(const struct pool *pool, const struct handle *handle)
{
	if (handle->incarnation != pool->incarnation)
		return ERROR_OTHER_POOL;
	return blocks_is_there(&pool->blocks, handle->index, handle->id) && lives(pool, handle->index) ? 0 : ERROR_STALE_HANDLE;
}

int handle_find_to_acquire(const struct session *session, const struct handle *handle)
{
	struct pool *pool = session->pool;

	if (handle->incarnation == pool->incarnation && blocks_is_there(&pool->blocks, handle->index, handle->id) &&
	    record_state(blocks_word(&pool->blocks, handle->index)) == RECORD_DYING) {
		if (blocks_is_condemned(&pool->blocks, handle->index))
			collector_rescue(pool, handle->index);
		else
			dying_settle(session, handle->index);
	}
	return handle_find(pool, handle);
}

int handle_find_hold(const struct session *session, const struct handle *handle, struct hold *out_hold)
{
	const struct pool *pool = session->pool;
	int error = handle_find(pool, handle);

	/* One that is looked at, and stands in this session's page, is not stale: it is held, but not known to be. */
	if (error == ERROR_STALE_HANDLE && blocks_is_there(&pool->blocks, handle->index, handle->id) &&
	    page_holds_count(session, handle->index))
		return ERROR_NOT_HELD;
	if (error)
		return error;
	uint32_t link = lifetime_find_reference(session, handle->index);
	if (link && REFERENCE_NEXT(references_word(&pool->references, link - 1)) > 0) {
		*out_hold = (struct hold){handle->index, link};
		return 0;
	}
	if (blocks_body(&pool->blocks, handle->index)->owner == session->number &&
	    record_state(blocks_word(&pool->blocks, handle->index)) == RECORD_LIVE) {
		*out_hold = (struct hold){handle->index, 0};
		return 0;
	}
	return ERROR_NOT_HELD;
}

int handle_check_held(struct session *session, const struct handle *handle)
{
	struct pool *pool = session->pool;
	int error = handle_find_to_acquire(session, handle);

	if (error)
		return error;
	if (blocks_body(&pool->blocks, handle->index)->owner == session->number ||
	    lifetime_find_reference(session, handle->index) || page_holds_count(session, handle->index))
		return 0;
	return ERROR_NOT_HELD;
}
