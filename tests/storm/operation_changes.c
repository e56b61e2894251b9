/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations that change a block: see operation.h. A seat seals any block that it has made; metadata and size it changes of blocks that nobody else
 * can hold (`secret`), and so knows what they are.
 */
#include <string.h>

#include "tests/storm/client.h"
#include "tests/storm/operation_blocks.h"
#include "tests/support/pattern.h"

/* A block that this seat alone can hold; NULL: it found none. */
static struct ledger_hold *any_secret(struct client *client)
{
	struct ledger_hold *hold = client_any_hold(client);

	return hold && hold->secret && hold->filled ? hold : NULL;
}

bool operation_seal(struct client *client)
{
	struct ledger_hold *hold = client_any_hold(client);
	shmb_block_info info;

	if (!hold || !hold->filled || hold->seed >> 48 != client->seat->number + 1u)
		return false;
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_seal(client->session, hold->handle)) == 0);
	hold->sealed = true;
	CLIENT_EXPECT(client, shmb_find_block(client->session, hold->handle.id, &info) == 0 && info.sealed);
	return true;
}

/* Its next metadata. */
static void set_metadata(struct client *client, struct ledger_hold *hold)
{
	uint8_t bytes[SHMB_METADATA_MAX];
	struct ledger_hold changed = {.seed = hold->seed, .metadata = hold->metadata + 1};
	size_t size = ledger_metadata(&changed, bytes);
	int result = CLIENT_CALL(client, shmb_set_metadata(client->session, hold->handle, bytes, size));
	CLIENT_EXPECT(client, result == (hold->sealed ? -SHMB_E_SEALED : 0));
	hold->metadata += result == 0;
	client_verify(client, hold);
}

bool operation_set_metadata(struct client *client)
{
	struct ledger_hold *hold = any_secret(client);

	if (hold)
		set_metadata(client, hold);
	return hold != NULL;
}

/* A new block came of it, with the metadata of the old one, which stays. */
static void take_moved(struct client *client, const struct ledger_hold *old, struct ledger_hold *hold,
                       const shmb_block *block)
{
	uint8_t bytes[SHMB_METADATA_MAX], expected[SHMB_METADATA_MAX];
	size_t size;

	CLIENT_EXPECT(client, shmb_get_metadata(client->session, block->handle, bytes, sizeof bytes, &size) == 0);
	CLIENT_EXPECT(client, size == ledger_metadata(old, expected) && memcmp(bytes, expected, size) == 0);
	take_block(client, hold, block);
	set_metadata(client, hold);
	client_verify(client, old);
}

bool operation_resize(struct client *client)
{
	struct ledger_hold *hold = any_secret(client);
	uint64_t size = draw_size(client);
	/* In case that it is moved. */
	struct ledger_hold *other = hold ? ask_hold(client, size) : NULL;
	shmb_block block;
	bool moved = false;
	uint64_t mark = operation_clone_mark();

	if (!other)
		return false;
	client_verify(client, hold);
	int result = CLIENT_CALL(client, shmb_resize(client->session, hold->handle, size, &block, &moved));
	bool sealed = hold->sealed;
	if (!sealed && result == 0 && moved) {
		take_moved(client, hold, other, &block);
		return true;
	}
	atomic_store(&other->state, HOLD_NONE);
	CLIENT_EXPECT(client, !sealed || result == -SHMB_E_SEALED);
	/* A clone of the session holds the block too. */
	bool cloned = result == -SHMB_E_IN_USE && size < hold->size && operation_was_cloned(mark);
	if (sealed || cloned || is_refused(client, result))
		return true;
	CLIENT_EXPECT(client, block.handle.id == hold->handle.id && block.offset == hold->offset && block.size == size);
	CLIENT_EXPECT(client, pattern_matches(block.data, size < hold->size ? size : hold->size, hold->seed));
	hold->size = size;
	pattern_write(block.data, size, hold->seed);
	return true;
}

/* A second hold on the cache block, if it is there still; given back at once, so that nobody but the pool has it. */
static void use_cached(struct client *client, const struct ledger_hold *was)
{
	struct ledger_hold *hold = ask_hold(client, was->size);
	shmb_block block;

	if (!hold)
		return;
	hold->seed = was->seed;
	hold->filled = true;
	hold->secret = false;
	hold->sealed = true;
	int result = CLIENT_CALL(client, shmb_acquire(client->session, was->handle, &block));
	CLIENT_EXPECT(client, result == 0 || result == -SHMB_E_STALE_HANDLE);
	if (result < 0) {
		atomic_store(&hold->state, HOLD_NONE);
		return;
	}
	hold->handle = block.handle;
	hold->offset = block.offset;
	atomic_store(&hold->state, HOLD_HELD);
	CLIENT_EXPECT(client, block.sealed && block.size == was->size);
	client_free(client, hold);
}

/* A block that nobody else can know becomes one of the pool's cache, and is used again a few times: it may go whenever nobody holds it. */
bool operation_cache(struct client *client)
{
	struct ledger_hold *hold = any_secret(client);

	if (!hold)
		return false;
	int result = CLIENT_CALL(client, shmb_cache(client->session, hold->handle));
	CLIENT_EXPECT(client, result == 0 || result == -SHMB_E_IN_USE); /* it holds others */
	if (result < 0)
		return true;
	hold->secret = false;
	hold->sealed = true;
	const struct ledger_hold was = *hold;
	client_free(client, hold);
	for (uint64_t uses = pattern_below(&client->random, 4); uses; uses--)
		use_cached(client, &was);
	return true;
}
