/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations on names: see operation.h. Only the seat that made a block publishes it, and only it takes the name away; the others
 * look it up, and hold the block whatever becomes of its maker.
 */
#include "tests/storm/client.h"
#include "tests/support/pattern.h"

#define POPULAR_NAMES 2 /* of each seat */
#define WAIT_MS_MAX 10
#define NEXT_SERIALS 3 /* that another seat may give to a name */

/* A published name of this seat; NULL: there is none. */
static struct ledger_name *any_name(struct client *client)
{
	uint64_t at = pattern_below(&client->random, LEDGER_NAMES);

	for (unsigned tries = 0; tries < LEDGER_NAMES; tries++, at = (at + 1) % LEDGER_NAMES)
		if (NAME_STATE(atomic_load(&client->seat->names[at].word)) == NAME_PUBLISHED)
			return &client->seat->names[at];
	return NULL;
}

static void set_state(struct ledger_name *name, enum name_state state)
{
	atomic_store(&name->word, (atomic_load(&name->word) & ~UINT64_C(0xff)) | (uint64_t)state);
}

/* Is the block one that this seat has made, and that stays with its name? */
static bool is_own(const struct client *client, const struct ledger_hold *hold)
{
	return hold->filled && hold->seed >> 48 == client->seat->number + 1u && !(hold->seed & LEDGER_TIMED);
}

bool operation_publish(struct client *client)
{
	struct ledger_hold *hold = client_any_hold(client);
	struct ledger_name *name = ledger_vacant_name(client->seat);
	char text[LEDGER_NAME_TEXT];

	if (!hold || !name || !is_own(client, hold))
		return false;
	hold->secret = false;
	uint64_t serial = ledger_next_serial(client->seat);
	ledger_name_text(client->seat, serial, text);
	atomic_store(&name->block, hold->handle.id);
	atomic_store(&name->size, hold->size);
	atomic_store(&name->seed, hold->seed);
	atomic_store(&name->filled, true);
	atomic_store(&name->word, NAME_WORD(serial, NAME_PUBLISHING));
	int result = CLIENT_CALL(client, shmb_publish(client->session, hold->handle, text));
	CLIENT_EXPECT(client, result == 0 || operation_is_limited(client, result));
	set_state(name, result == 0 ? NAME_PUBLISHED : NAME_NONE);
	return true;
}

/* A name goes over to another block of this seat: who looks it up meanwhile finds the one or the other. */
bool operation_replace(struct client *client)
{
	struct ledger_hold *hold = client_any_hold(client);
	struct ledger_name *name = any_name(client);
	const shmb_publish_options options = {.replace = true};
	char text[LEDGER_NAME_TEXT];

	if (!hold || !name || !is_own(client, hold))
		return false;
	hold->secret = false;
	ledger_name_text(client->seat, NAME_SERIAL(atomic_load(&name->word)), text);
	atomic_store(&name->next_block, hold->handle.id);
	atomic_store(&name->next_size, hold->size);
	atomic_store(&name->next_seed, hold->seed);
	set_state(name, NAME_REPLACING);
	int result = CLIENT_CALL(client, shmb_publish_with(client->session, hold->handle, text, &options));
	CLIENT_EXPECT(client, result == 0 || operation_is_limited(client, result));
	if (result == 0)
		ledger_replaced(name);
	else
		set_state(name, NAME_PUBLISHED);
	return true;
}

bool operation_publish_taken(struct client *client)
{
	struct ledger_hold *hold = client_any_hold(client);
	struct ledger_name *name = any_name(client);
	char text[LEDGER_NAME_TEXT];
	shmb_block block;

	if (!hold || !name)
		return false;
	ledger_name_text(client->seat, NAME_SERIAL(atomic_load(&name->word)), text);
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_publish(client->session, hold->handle, text)) == -SHMB_E_NAME_TAKEN);
	int result = CLIENT_CALL(client, shmb_alloc(client->session, 100, &(shmb_alloc_options){.name = text}, &block));
	CLIENT_EXPECT(client, result == -SHMB_E_NAME_TAKEN);
	return true;
}

bool operation_unpublish(struct client *client)
{
	struct ledger_name *name = any_name(client);
	char text[LEDGER_NAME_TEXT];

	if (!name)
		return false;
	ledger_name_text(client->seat, NAME_SERIAL(atomic_load(&name->word)), text);
	set_state(name, NAME_REMOVING);
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_unpublish(client->session, text)) == 0);
	set_state(name, NAME_NONE);
	return true;
}

/* All names of a block become `to`, which are `from`. */
static void set_states(struct client *client, uint64_t block, enum name_state from, enum name_state to)
{
	for (unsigned i = 0; i < LEDGER_NAMES; i++) {
		struct ledger_name *name = &client->seat->names[i];
		if (NAME_STATE(atomic_load(&name->word)) == from && atomic_load(&name->block) == block)
			set_state(name, to);
	}
}

/* A block that names alone hold goes, names and all; one that somebody holds stays as it is. */
bool operation_remove(struct client *client)
{
	struct ledger_name *name = any_name(client);
	bool held = false;

	if (!name)
		return false;
	uint64_t block = atomic_load(&name->block);
	for (unsigned i = 0; i < LEDGER_HOLDS; i++)
		held =
			held || (atomic_load(&client->seat->holds[i].state) == HOLD_HELD && client->seat->holds[i].handle.id == block);
	set_states(client, block, NAME_PUBLISHED, NAME_REMOVING);
	int result = CLIENT_CALL(client, shmb_remove(client->session, block));
	CLIENT_EXPECT(client, result == -SHMB_E_IN_USE || (result == 0 && !held));
	set_states(client, block, NAME_REMOVING, result == 0 ? NAME_NONE : NAME_PUBLISHED);
	return true;
}

/* Is the name there, whatever it stands for? */
static bool is_there(uint64_t word)
{
	return NAME_STATE(word) == NAME_PUBLISHED || NAME_STATE(word) == NAME_REPLACING;
}

/*
 * The hold gets size, seed and whether its bytes are known by what the ledger said of the name before the question; or, where it has been replaced
 * since, by what it says after the answer, if it still speaks of that block.
 */
static void identify(struct client *client, const struct ledger_name *name, const struct ledger_glimpse *before,
                     const shmb_block *block, struct ledger_hold *hold)
{
	bool same = atomic_load(&name->word) == before->word;
	const struct ledger_target *target = same || before->now.block ? ledger_target(before, block->handle.id) : NULL;
	struct ledger_glimpse after;

	CLIENT_EXPECT(client, target || !same);
	if (!target && ledger_glimpse(name, &after) && NAME_SERIAL(after.word) == NAME_SERIAL(before->word) && after.now.block)
		target = ledger_target(&after, block->handle.id);
	hold->handle = block->handle;
	hold->offset = block->offset;
	hold->size = block->size;
	hold->filled = false;
	if (!target)
		return;
	CLIENT_EXPECT(client, block->size == target->size);
	hold->seed = target->seed;
	hold->filled = target->filled;
}

/*
 * A name that was published before the question, and still is after the answer, is found, though it may be replaced meanwhile. Any name that is
 * found leads to a block that the ledger says.
 */
bool operation_lookup(struct client *client)
{
	struct seat *seat = &client->ledger->seats[pattern_below(&client->random, LEDGER_SEATS)];
	/* Some names are popular, so that one session holds one block many times. */
	uint64_t choice = pattern_below(&client->random, 2) ? POPULAR_NAMES : LEDGER_NAMES;
	struct ledger_name *name = &seat->names[pattern_below(&client->random, choice)];
	struct ledger_hold *hold = ledger_vacant_hold(client->seat);
	struct ledger_glimpse glimpse;
	char text[LEDGER_NAME_TEXT];
	shmb_block block;

	if (!hold)
		return operation_free(client);
	if (!ledger_glimpse(name, &glimpse))
		return false;
	ledger_name_text(seat, NAME_SERIAL(glimpse.word), text);
	*hold = (struct ledger_hold){0};
	atomic_store(&hold->state, HOLD_ASKED);
	int result = CLIENT_CALL(client, shmb_lookup(client->session, text, &block));
	if (result < 0) {
		uint64_t word = atomic_load(&name->word);
		CLIENT_EXPECT(client, result == -SHMB_E_NO_SUCH_NAME);
		CLIENT_EXPECT(client, !is_there(glimpse.word) || !is_there(word) || NAME_SERIAL(word) != NAME_SERIAL(glimpse.word));
		atomic_store(&hold->state, HOLD_NONE);
		return true;
	}
	client_check_address(client, &block);
	hold->sealed = block.sealed;
	identify(client, name, &glimpse, &block, hold);
	atomic_store(&hold->state, HOLD_HELD);
	client_verify(client, hold);
	return true;
}

/*
 * Waits for a name that another seat may be about to publish. Where it does, the ledger says what its block is, unless that seat has taken
 * the name away since.
 */
bool operation_lookup_wait(struct client *client)
{
	uint64_t ahead = 1 + pattern_below(&client->random, LEDGER_SEATS - 1);
	struct seat *seat = &client->ledger->seats[(client->seat->number + ahead) % LEDGER_SEATS];
	uint64_t serial = atomic_load(&seat->serial) + 1 + pattern_below(&client->random, NEXT_SERIALS);
	uint32_t wait_ms = 1 + (uint32_t)pattern_below(&client->random, WAIT_MS_MAX);
	struct ledger_hold *hold = ledger_vacant_hold(client->seat);
	struct ledger_name *name;
	struct ledger_glimpse glimpse;
	char text[LEDGER_NAME_TEXT];
	shmb_block block;

	if (!hold)
		return operation_free(client);
	ledger_name_text(seat, serial, text);
	*hold = (struct ledger_hold){.filled = false};
	atomic_store(&hold->state, HOLD_ASKED);
	int result = CLIENT_CALL(client, shmb_lookup_wait(client->session, text, wait_ms, &block));
	if (result < 0) {
		CLIENT_EXPECT(client, result == -SHMB_E_NO_SUCH_NAME || operation_is_limited(client, result));
		atomic_store(&hold->state, HOLD_NONE);
		return true;
	}
	client_check_address(client, &block);
	hold->sealed = block.sealed;
	hold->handle = block.handle;
	hold->offset = block.offset;
	hold->size = block.size;
	if (ledger_find_name(client->ledger, text, &name) && ledger_glimpse(name, &glimpse) &&
	    NAME_SERIAL(glimpse.word) == serial) {
		const struct ledger_target *target = ledger_target(&glimpse, block.handle.id);
		/* No more, where it has been replaced since. */
		CLIENT_EXPECT(client, target ? block.size == target->size : glimpse.word >= NAME_WORD(serial, 0) + 2 * NAME_TURN);
		if (target) {
			hold->seed = target->seed;
			hold->filled = target->filled;
		}
	}
	atomic_store(&hold->state, HOLD_HELD);
	client_verify(client, hold);
	return true;
}
