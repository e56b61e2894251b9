/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on blocks: allocate and free, one or many. See operation.h. */
#include <string.h>

#include "tests/storm/client.h"
#include "tests/storm/operation_blocks.h"
#include "tests/support/pattern.h"

#define BATCH_MAX 64
#define WAIT_MS_MAX 20

uint64_t draw_size(struct client *client)
{
	switch (pattern_below(&client->random, 32)) {
	case 0: return 1 + pattern_below(&client->random, 256 << 10);
	case 1:
	case 2: return UINT64_C(1) << pattern_below(&client->random, 19);
	case 3:
	case 4: return 1 + pattern_below(&client->random, 100);
	default: return 1 + pattern_below(&client->random, 6000);
	}
}

struct ledger_hold *ask_hold(struct client *client, uint64_t size)
{
	struct ledger_hold *hold = ledger_vacant_hold(client->seat);

	if (!hold)
		return NULL;
	hold->seed = ledger_seed(client->seat, ledger_next_serial(client->seat));
	hold->size = size;
	hold->filled = false;
	hold->secret = true;
	hold->sealed = false;
	hold->metadata = 0;
	atomic_store(&hold->state, HOLD_ASKED);
	return hold;
}

static bool is_zero(const uint8_t *bytes, uint64_t size)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

void take_block(struct client *client, struct ledger_hold *hold, const shmb_block *block)
{
	CLIENT_EXPECT(client, block->size == hold->size && block->granted >= block->size && block->handle.id);
	CLIENT_EXPECT(client, block->data && block->data == shmb_pointer(client->session, block->offset));
	CLIENT_EXPECT(client, !client->ledger->zeroed || is_zero(block->data, block->granted));
	hold->handle = block->handle;
	hold->offset = block->offset;
	atomic_store(&hold->state, HOLD_HELD);
	pattern_write(block->data, block->size, hold->seed);
	hold->filled = true;
}

/* The pool is full, or a quota used up: so that it is not for ever, some of what this client holds goes. */
bool is_refused(struct client *client, int result)
{
	shmb_oom oom;

	CLIENT_EXPECT(client, result == 0 || result == -SHMB_E_OUT_OF_MEMORY || operation_is_limited(client, result));
	if (result == 0)
		return false;
	/* A daemon that answers in the place of a dead one knows that it was refused, and no figures. */
	if (result == -SHMB_E_OUT_OF_MEMORY && shmb_out_of_memory(&oom))
		CLIENT_EXPECT(client, oom.limit != SHMB_OOM_KERNEL && (oom.limit < SHMB_OOM_USER || client->ledger->limited));
	atomic_fetch_add(&client->seat->out_of_memory, 1);
	for (uint64_t count = pattern_below(&client->random, 20); count; count--) {
		struct ledger_hold *hold = client_any_hold(client);
		if (hold)
			client_free(client, hold);
	}
	return true;
}

bool operation_allocate(struct client *client)
{
	shmb_alloc_options options = {.tag = "storm"};
	struct ledger_hold *hold = ask_hold(client, draw_size(client));
	uint8_t metadata[SHMB_METADATA_MAX];
	shmb_block block;

	if (!hold)
		return operation_free(client);
	if (pattern_below(&client->random, 4) == 0) {
		options.ttl_ms = 1 + pattern_below(&client->random, 300);
		hold->seed |= LEDGER_TIMED;
		hold->secret = false; /* it may still be there when this seat has given it back */
	}
	if (pattern_below(&client->random, 8) == 0)
		options.alignment = UINT64_C(1) << pattern_below(&client->random, 17);
	if (pattern_below(&client->random, 4) == 0) {
		hold->metadata = 1;
		options.metadata = metadata;
		options.metadata_size = ledger_metadata(hold, metadata);
	}
	int result = CLIENT_CALL(client, shmb_alloc(client->session, hold->size, &options, &block));
	if (is_refused(client, result)) {
		atomic_store(&hold->state, HOLD_NONE);
		return true;
	}
	CLIENT_EXPECT(client, !options.alignment || block.offset % options.alignment == 0);
	take_block(client, hold, &block);
	return true;
}

/* The same, and waits a while where there is no room. */
bool operation_allocate_wait(struct client *client)
{
	struct ledger_hold *hold = ask_hold(client, draw_size(client));
	shmb_alloc_options options = {.tag = "storm", .wait_ms = 1 + (uint32_t)pattern_below(&client->random, WAIT_MS_MAX)};
	shmb_block block;

	if (!hold)
		return operation_free(client);
	int result = CLIENT_CALL(client, shmb_alloc(client->session, hold->size, &options, &block));
	if (is_refused(client, result)) {
		atomic_store(&hold->state, HOLD_NONE);
		return true;
	}
	take_block(client, hold, &block);
	return true;
}

/* Others may find the name before the bytes are written: `filled` tells them. */
bool operation_allocate_named(struct client *client)
{
	struct ledger_name *name = ledger_vacant_name(client->seat);
	struct ledger_hold *hold = name ? ask_hold(client, draw_size(client)) : NULL;
	char text[LEDGER_NAME_TEXT];
	shmb_block block;

	if (!hold)
		return false;
	hold->secret = false;
	uint64_t serial = ledger_next_serial(client->seat);
	ledger_name_text(client->seat, serial, text);
	atomic_store(&name->block, 0);
	atomic_store(&name->size, hold->size);
	atomic_store(&name->seed, hold->seed);
	atomic_store(&name->filled, false);
	atomic_store(&name->word, NAME_WORD(serial, NAME_PUBLISHING));
	int result = CLIENT_CALL(client, shmb_alloc(client->session, hold->size, &(shmb_alloc_options){.name = text}, &block));
	if (is_refused(client, result)) {
		atomic_store(&name->word, NAME_WORD(serial, NAME_NONE));
		atomic_store(&hold->state, HOLD_NONE);
		return true;
	}
	atomic_store(&name->block, block.handle.id);
	atomic_store(&name->word, NAME_WORD(serial, NAME_PUBLISHED));
	take_block(client, hold, &block);
	atomic_store(&name->filled, true);
	return true;
}

bool operation_allocate_batch(struct client *client)
{
	struct ledger_hold *holds[BATCH_MAX];
	uint64_t sizes[BATCH_MAX];
	shmb_block blocks[BATCH_MAX];
	size_t wanted = 1 + pattern_below(&client->random, BATCH_MAX), count = 0;

	while (count < wanted) {
		sizes[count] = draw_size(client);
		holds[count] = ask_hold(client, sizes[count]);
		if (!holds[count])
			break;
		count++;
	}
	if (!count)
		return operation_free_batch(client);
	int result = CLIENT_CALL(client, shmb_alloc_batch(client->session, sizes, count, NULL, blocks));
	bool refused = is_refused(client, result);
	for (size_t i = 0; i < count && refused; i++)
		atomic_store(&holds[i]->state, HOLD_NONE);
	for (size_t i = 0; i < count && !refused; i++)
		take_block(client, holds[i], &blocks[i]);
	return true;
}

bool operation_free(struct client *client)
{
	struct ledger_hold *hold = client_any_hold(client);

	if (hold)
		client_free(client, hold);
	return hold != NULL;
}

bool operation_free_batch(struct client *client)
{
	struct ledger_hold *holds[BATCH_MAX];
	shmb_handle handles[BATCH_MAX];
	size_t wanted = 1 + pattern_below(&client->random, BATCH_MAX), count = 0;

	while (count < wanted && (holds[count] = client_any_hold(client))) {
		client_verify(client, holds[count]);
		handles[count] = holds[count]->handle;
		atomic_store(&holds[count]->state, HOLD_GIVING);
		count++;
	}
	if (!count)
		return false;
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_free_batch(client->session, handles, count)) == 0);
	for (size_t i = 0; i < count; i++)
		atomic_store(&holds[i]->state, HOLD_NONE);
	if (holds[count - 1]->secret)
		client->gone = handles[count - 1];
	return true;
}

/* What this client holds it can take hold of once more, by its handle. */
bool operation_acquire(struct client *client)
{
	struct ledger_hold *held = client_any_hold(client), *hold = held ? ledger_vacant_hold(client->seat) : NULL;
	shmb_block block;

	if (!hold)
		return false;
	hold->seed = held->seed;
	hold->size = held->size;
	hold->filled = held->filled;
	hold->secret = held->secret = false; /* one of the two may go, and the block is still there */
	hold->sealed = held->sealed;
	atomic_store(&hold->state, HOLD_ASKED);
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_acquire(client->session, held->handle, &block)) == 0);
	CLIENT_EXPECT(client, !held->sealed || block.sealed);
	CLIENT_EXPECT(client, block.handle.id == held->handle.id && block.handle.index == held->handle.index &&
	                          block.offset == held->offset && block.size == held->size);
	hold->handle = block.handle;
	hold->offset = block.offset;
	atomic_store(&hold->state, HOLD_HELD);
	return true;
}

/* Two blocks that this client holds, in either order: circles of links come to be. */
static bool two_holds(struct client *client, struct ledger_hold **out_from, struct ledger_hold **out_to)
{
	*out_from = client_any_hold(client);
	*out_to = client_any_hold(client);
	return *out_from && (*out_from)->handle.id != (*out_to)->handle.id;
}

bool operation_link(struct client *client)
{
	struct ledger_hold *from, *to;

	if (!two_holds(client, &from, &to))
		return false;
	to->secret = false; /* given back, it may still be there */
	int result = CLIENT_CALL(client, shmb_link(client->session, from->handle, to->handle));
	CLIENT_EXPECT(client, result == 0 || operation_is_limited(client, result));
	return true;
}

bool operation_unlink(struct client *client)
{
	struct ledger_hold *from, *to;

	if (!two_holds(client, &from, &to))
		return false;
	int result = CLIENT_CALL(client, shmb_unlink(client->session, from->handle, to->handle));
	CLIENT_EXPECT(client, result == 0 || result == -SHMB_E_NO_SUCH_LINK);
	return true;
}

/* Blocks of its own, in a circle, left to themselves: whether anybody collects them, or the daemon does. */
bool operation_circle(struct client *client)
{
	struct ledger_hold *holds[BATCH_MAX];
	uint64_t sizes[BATCH_MAX];
	shmb_block blocks[BATCH_MAX];
	shmb_handle handles[BATCH_MAX];
	size_t wanted = 2 + pattern_below(&client->random, 7), count = 0;

	while (count < wanted) {
		sizes[count] = 1 + pattern_below(&client->random, 500);
		holds[count] = ask_hold(client, sizes[count]);
		if (!holds[count])
			break;
		holds[count++]->secret = false;
	}
	if (!count)
		return operation_free_batch(client);
	int result = CLIENT_CALL(client, shmb_alloc_batch(client->session, sizes, count, NULL, blocks));
	bool refused = is_refused(client, result);
	for (size_t i = 0; i < count && refused; i++)
		atomic_store(&holds[i]->state, HOLD_NONE);
	for (size_t i = 0; i < count && !refused; i++) {
		take_block(client, holds[i], &blocks[i]);
		handles[i] = blocks[i].handle;
	}
	for (size_t i = 0; i < count && !refused && count > 1; i++) {
		result = CLIENT_CALL(client, shmb_link(client->session, handles[i], handles[(i + 1) % count]));
		CLIENT_EXPECT(client,
		              result == 0 || operation_is_limited(client, result)); /* then it is no circle, and goes at once */
	}
	for (size_t i = 0; i < count && !refused; i++) {
		client_verify(client, holds[i]);
		atomic_store(&holds[i]->state, HOLD_GIVING);
	}
	if (refused)
		return true;
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_free_batch(client->session, handles, count)) == 0);
	for (size_t i = 0; i < count; i++)
		atomic_store(&holds[i]->state, HOLD_NONE);
	return pattern_below(&client->random, 2) ? operation_collect(client) : true;
}

bool operation_collect(struct client *client)
{
	shmb_collection collection;

	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_collect(client->session, &collection)) == 0);
	return true;
}

/* Nobody but this seat can have held it, so it is gone for good; or a clone has held it, and may still. */
bool operation_free_again(struct client *client)
{
	uint64_t mark = operation_clone_mark();

	if (!client->gone.id)
		return false;
	int result = CLIENT_CALL(client, shmb_free(client->session, client->gone));
	CLIENT_EXPECT(client, result == -SHMB_E_STALE_HANDLE || (result == -SHMB_E_NOT_HELD && operation_was_cloned(mark)));
	return true;
}
