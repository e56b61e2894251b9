/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds: see holds.h, and hold_layout.h for why they hold.
 *
 * A thread starts at a line of the page of its own, and takes the first slot that is free; a hold may be given back by any thread, which
 * finds it by its id. Until it is known to hold, a slot is claimed. Else another thread could give it back and a third one take it for another
 * block, and the first, which has not got hold, would empty that (tests/model/slots.pml). All slots taken: a miss. What the daemon waits for is
 * told once, by a message without a reply; whether it arrives does not matter, so it is not kept where many wait for the socket already.
 *
 * Whoever looks for a hold looks only into the lines in which something was ever held (`lines`): a bit is set before anybody is told of the first
 * hold in its line, and never cleared, so what may be given back lies in one of them. A block that was never SHARED is in no slot.
 *
 * A page that the daemon has something to say to (`notice`) is closed for taking alone: what is held can be given back still.
 */
#include "holds.h"

#include "block.h"
#include "inspect.h"

/* A body that changes under us this often in a row is torn by something else than the daemon. */
#define READ_ATTEMPTS 64

#define ALL_LINES ((UINT64_C(1) << HOLD_LINES) - 1)
_Static_assert(HOLD_LINES < 64, "a bit a line");

/* Each thread's line in all pages of the process. */
static _Atomic unsigned next_home;
static _Thread_local unsigned home; /* plus one */

static unsigned home_line(void)
{
	if (!home)
		home = atomic_fetch_add_explicit(&next_home, 1, memory_order_relaxed) % HOLD_LINES + 1;
	return home - 1;
}

static struct hold_page *page_of(struct shmb_session *session)
{
	return atomic_load_explicit(&session->holds.page, memory_order_acquire);
}

/* The page, unless the daemon has something to say first. */
static struct hold_page *page_to_take(struct shmb_session *session)
{
	struct hold_page *page = page_of(session);

	return page && !atomic_load_explicit(&page->notice, memory_order_relaxed) ? page : NULL;
}

/* The lines that may hold something, the thread's own first: bit i is the one i behind it, going round. */
static uint64_t lines_from(const struct holds *holds, unsigned own)
{
	uint64_t lines = atomic_load_explicit(&holds->lines, memory_order_relaxed);

	return own ? (lines >> own | lines << (HOLD_LINES - own)) & ALL_LINES : lines;
}

/* The first of those. */
static unsigned line_at(unsigned own, uint64_t lines)
{
	unsigned line = own + (unsigned)__builtin_ctzll(lines);

	return line < HOLD_LINES ? line : line - HOLD_LINES;
}

static void use_line(struct holds *holds, unsigned line)
{
	uint64_t bit = UINT64_C(1) << line;

	if (!(atomic_load_explicit(&holds->lines, memory_order_relaxed) & bit))
		atomic_fetch_or_explicit(&holds->lines, bit, memory_order_relaxed);
}

static void tell_released(struct shmb_session *session, shmb_handle handle)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Released released = SHMBUDDY__V1__RELEASED__INIT;
	Shmbuddy__V1__Handle wire = block_wire_handle(handle);

	released.handle = &wire;
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_RELEASED;
	request.released = &released;
	pthread_mutex_lock(&session->exchange.mutex);
	connection_tell(&session->exchange.connection, &request);
	pthread_mutex_unlock(&session->exchange.mutex);
}

/* Can a slot hold what this handle means? As long as one does, the record is that block's, and says that it is shared. */
static bool may_hold(const struct shmb_session *session, shmb_handle handle)
{
	const struct view *view = &session->mapping->view;

	if (handle.incarnation != session->incarnation || handle.index >= inspect_block_records(view))
		return false;
	uint64_t word = atomic_load_explicit(&view->blocks[handle.index].word, memory_order_relaxed);
	return record_id(word) == handle.id && (word & RECORD_SHARED);
}

/* Two threads at once may lose the use of one of two blocks. */
static void leave_trail(struct shmb_session *session, uint32_t block)
{
	uint64_t clock = atomic_load_explicit(&session->mapping->view.header->use_clock, memory_order_relaxed);
	_Atomic uint64_t *set = &session->holds.mapped->trail[block % HOLD_TRAIL_SETS * HOLD_TRAIL_WAYS], *oldest = set;
	uint64_t longest = 0;

	for (unsigned i = 0; i < HOLD_TRAIL_WAYS; i++) {
		uint64_t entry = atomic_load_explicit(&set[i], memory_order_relaxed);
		uint64_t ago = entry ? clock - hold_trail_used(entry, clock) : UINT64_MAX;
		if (entry && hold_trail_block(entry) == block) {
			oldest = &set[i];
			break;
		}
		if (ago > longest) {
			longest = ago;
			oldest = &set[i];
		}
	}
	atomic_store_explicit(oldest, hold_trail_entry(block, clock), memory_order_relaxed);
}

/* Steps 2 to 4 of letting go, after the slot was emptied. */
static void let_go(struct shmb_session *session, shmb_handle handle)
{
	const struct block_record *record = &session->mapping->view.blocks[handle.index];

	atomic_thread_fence(memory_order_seq_cst);
	uint64_t now = atomic_load_explicit(&record->word, memory_order_relaxed);
	if (record_id(now) != handle.id)
		return;
	if (record_awaits_release(now))
		tell_released(session, handle);
	if (record->body[record_body(now)].flags & BLOCK_CACHED) /* should it be another block's by now, nothing comes of it */
		leave_trail(session, handle.index);
}

/* Step 1 of taking hold; NULL: no slot is free. It is claimed: nobody else may change it. */
static _Atomic uint64_t *take_slot(struct holds *holds, struct hold_page *page, shmb_handle handle)
{
	unsigned first = home_line() * HOLD_LINE;

	for (unsigned i = 0; i < HOLD_SLOTS; i++) {
		_Atomic uint64_t *slot = &page->slots[first + i < HOLD_SLOTS ? first + i : first + i - HOLD_SLOTS];
		uint64_t none = 0;
		if (atomic_load_explicit(slot, memory_order_relaxed) == 0 &&
		    atomic_compare_exchange_strong_explicit(slot, &none, handle.id | HOLD_CLAIMED, memory_order_relaxed,
		                                            memory_order_relaxed)) {
			size_t place = (size_t)(slot - page->slots);
			atomic_store_explicit(&holds->indexes[place], handle.index, memory_order_relaxed);
			use_line(holds, (unsigned)(place / HOLD_LINE));
			return slot;
		}
	}
	return NULL;
}

/* Of a block that is held: what its record says. False: it says what cannot be. */
static bool read_held(const struct shmb_session *session, shmb_handle handle, shmb_block *out_block)
{
	const struct block_record *record = &session->mapping->view.blocks[handle.index];

	for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
		uint64_t word = atomic_load_explicit(&record->word, memory_order_acquire);
		struct block_body body = record->body[record_body(word)];
		atomic_thread_fence(memory_order_acquire);
		if ((atomic_load_explicit(&record->word, memory_order_relaxed) ^ word) & RECORD_BODY)
			continue;
		/* Changed twice meanwhile, it shows in the checksum. What never changes was there before the block lived. */
		if (body.checksum == block_body_checksum(&body, handle.id))
			return block_accept(session,
			                    &(shmb_block){
									.handle = handle,
									.offset = record->offset,
									.size = body.size,
									.granted = body.granted,
									.sealed = body.flags & BLOCK_SEALED,
								},
			                    out_block) == 0;
	}
	return false;
}

bool holds_acquire(struct shmb_session *session, shmb_handle handle, shmb_block *out_block)
{
	struct hold_page *page = page_to_take(session);
	const struct view *view = &session->mapping->view;

	if (!page || handle.incarnation != session->incarnation || handle.index >= inspect_block_records(view))
		return false;
	const _Atomic uint64_t *word = &view->blocks[handle.index].word;
	uint64_t now = atomic_load_explicit(word, memory_order_relaxed);
	if (record_id(now) != handle.id || !record_is_holdable(now))
		return false;
	_Atomic uint64_t *slot = take_slot(&session->holds, page, handle);
	if (!slot)
		return false;
	atomic_thread_fence(memory_order_seq_cst);
	now = atomic_load_explicit(word, memory_order_acquire);
	if (record_id(now) == handle.id && record_is_holdable(now) && read_held(session, handle, out_block)) {
		atomic_store_explicit(slot, handle.id, memory_order_relaxed); /* from here on any thread may give it back */
		return true;
	}
	atomic_store_explicit(slot, 0, memory_order_release);
	let_go(session, handle);
	return false;
}

bool holds_look_up(struct shmb_session *session, const char *name, size_t length, shmb_block *out_block)
{
	const struct view *view = &session->mapping->view;
	struct view_named named;
	shmb_block block;

	if (!page_to_take(session) || !view_find_named(view, name, length, &named))
		return false;
	shmb_handle handle = {.id = named.block_id, .index = named.block, .incarnation = session->incarnation};
	if (!holds_acquire(session, handle, &block))
		return false;
	/* It was held while the name still led to it, or else is given back. */
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&view->names[named.index].word, memory_order_relaxed) == named.word &&
	    block_narrow(&block, named.offset, named.length)) {
		*out_block = block;
		return true;
	}
	holds_release(session, handle);
	return false;
}

/* Empties a slot of the line that has the id. Two threads that give back two holds do not give back one twice. */
static bool empty_one(_Atomic uint64_t *line, uint64_t id)
{
	for (unsigned i = 0; i < HOLD_LINE; i++) {
		uint64_t found = id;
		/* What was done with the block comes before. */
		if (atomic_load_explicit(&line[i], memory_order_relaxed) == id &&
		    atomic_compare_exchange_strong_explicit(&line[i], &found, 0, memory_order_release, memory_order_relaxed))
			return true;
	}
	return false;
}

bool holds_release(struct shmb_session *session, shmb_handle handle)
{
	struct hold_page *page = page_of(session);
	unsigned own = home_line();

	if (!page || !may_hold(session, handle))
		return false;
	for (uint64_t lines = lines_from(&session->holds, own); lines; lines &= lines - 1) {
		if (empty_one(&page->slots[line_at(own, lines) * HOLD_LINE], handle.id)) {
			let_go(session, handle);
			return true;
		}
	}
	return false;
}

void holds_claim(struct shmb_session *session, const shmb_handle *handles, size_t count, uint16_t *out_slots)
{
	struct hold_page *page = page_of(session);
	uint64_t ids[HOLD_SLOTS];
	uint16_t slots[HOLD_SLOTS];
	size_t used = 0;

	for (uint64_t lines = page ? lines_from(&session->holds, 0) : 0; lines; lines &= lines - 1) {
		unsigned first = line_at(0, lines) * HOLD_LINE;
		for (unsigned i = first; i < first + HOLD_LINE; i++) {
			ids[used] = atomic_load_explicit(&page->slots[i], memory_order_relaxed);
			slots[used] = (uint16_t)i;
			used += ids[used] != 0;
		}
	}
	for (size_t k = 0; k < count; k++) {
		size_t end = may_hold(session, handles[k]) ? used : 0;
		out_slots[k] = HOLD_SLOTS;
		for (size_t i = 0; i < end && out_slots[k] == HOLD_SLOTS; i++) {
			uint64_t id = handles[k].id;
			if (ids[i] != id)
				continue;
			ids[i] = 0; /* the next one of this id has another slot */
			if (atomic_compare_exchange_strong_explicit(&page->slots[slots[i]], &id, id | HOLD_CLAIMED, memory_order_release,
			                                            memory_order_relaxed))
				out_slots[k] = slots[i];
		}
	}
}

void holds_settle(struct shmb_session *session, const shmb_handle *handles, size_t count, const uint16_t *slots, bool keep)
{
	for (size_t k = 0; k < count; k++) {
		if (slots[k] == HOLD_SLOTS)
			continue;
		/* Whatever the daemon has to say meanwhile: it is this thread's to settle, and the page, which was there to be claimed, stays mapped. */
		struct hold_page *page = session->holds.mapped;
		atomic_store_explicit(&page->slots[slots[k]], keep ? handles[k].id : 0, memory_order_release);
		if (!keep)
			let_go(session, handles[k]);
	}
}

/* Which record a slot's block has is known from its index, where that is of this block: a thread may just be taking the slot. */
size_t holds_list(struct shmb_session *session, shmb_handle *out_handles)
{
	struct hold_page *page = atomic_load_explicit(&session->holds.page, memory_order_acquire);
	const struct view *view = &session->mapping->view;
	size_t count = 0;

	for (unsigned i = 0; page && i < HOLD_SLOTS; i++) {
		uint64_t id = atomic_load_explicit(&page->slots[i], memory_order_relaxed) & ~HOLD_CLAIMED;
		uint32_t index = atomic_load_explicit(&session->holds.indexes[i], memory_order_relaxed);
		if (id && index < inspect_block_records(view) &&
		    record_id(atomic_load_explicit(&view->blocks[index].word, memory_order_relaxed)) == id)
			out_handles[count++] = (shmb_handle){.id = id, .index = index, .incarnation = session->incarnation};
	}
	return count;
}
