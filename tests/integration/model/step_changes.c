/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that change a block: its seal, its metadata, its size. */
#include <string.h>

#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"
#include "tests/integration/model/waits.h"
#include "tests/support/pattern.h"

/* So long there are cache blocks, and then nobody makes any, so that others can wait for memory. */
#define CACHE_STEPS 4000

static int judge_change(const struct known_block *block, const struct actor *actor)
{
	int expected = actor->read_only ? -SHMB_E_READ_ONLY : step_judge_hold(block, actor);

	return !expected && block->sealed ? -SHMB_E_SEALED : expected;
}

static void call_seal(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_seal(*session, mail->handle);
}

void step_seal(struct actor *actor)
{
	struct known_block *block = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct mail *mail = actor_mail(actor);

	if (!block)
		return;
	mail->handle = block->block.handle;
	actor_perform(actor, call_seal);
	int expected = judge_change(block, actor);
	step_judge(mail, expected == -SHMB_E_SEALED ? 0 : expected); /* as it is wanted */
	if (!expected)
		block->sealed = true;
}

static void call_cache(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_cache(*session, mail->handle);
}

/* Not while somebody waits for memory: whatever is idle would go then, at any time. */
void step_cache(struct actor *actor)
{
	struct known_block *block = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct mail *mail = actor_mail(actor);

	if (!block || waits_for_memory_is_there() || !model.script.alone || model.step / CACHE_STEPS % 2)
		return;
	mail->handle = block->block.handle;
	actor_perform(actor, call_cache);
	int expected = judge_change(block, actor);
	if (expected == -SHMB_E_SEALED)
		expected = 0;
	if (!expected && !model_may(actor, block->uid))
		expected = -SHMB_E_DENIED;
	if (!expected && known_link_begins(block))
		expected = -SHMB_E_IN_USE;
	step_judge(mail, expected);
	if (!expected)
		block->sealed = block->cached = true;
}

static void call_set_metadata(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_set_metadata(*session, mail->handle, mail->metadata, mail->metadata_size);
}

void step_set_metadata(struct actor *actor)
{
	struct known_block *block = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct mail *mail = actor_mail(actor);

	if (!block)
		return;
	mail->handle = block->block.handle;
	mail->metadata_size = model_one_in(4) ? 0 : 1 + model_below(SHMB_METADATA_MAX);
	pattern_write(mail->metadata, mail->metadata_size, 1 + model_below(UINT64_C(1) << 40));
	actor_perform(actor, call_set_metadata);
	int expected = judge_change(block, actor);
	step_judge(mail, expected);
	if (!expected) {
		block->metadata_size = mail->metadata_size;
		memcpy(block->metadata, mail->metadata, mail->metadata_size);
	}
	if (block->live && known_block_holds(block, actor))
		known_block_check_metadata(block);
}

/* ---- Size ------------------------------------------------------------------------------------------------------- */

/* What it has beyond its former size is written. */
static void call_resize(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_resize(*session, mail->handle, mail->size, &mail->block, &mail->moved);
	if (mail->result < 0)
		return;
	const uint8_t *bytes = mail->block.data;
	uint64_t kept = mail->expected_size < mail->size ? mail->expected_size : mail->size;
	bool intact = mail->moved || pattern_matches(bytes, kept, mail->expected_id);
	pattern_write(mail->block.data, mail->block.size, mail->block.handle.id);
	mail->expected_offset = mail->block.offset;
	mail->expected_size = intact ? mail->block.size : 0;
	mail->expected_id = mail->block.handle.id;
}

/* Nobody else may hold what becomes smaller, and no name stand for what would go. */
static bool may_shrink(const struct known_block *block, const struct actor *actor, uint64_t size)
{
	if (block->tickets || block->links_to)
		return false;
	for (int i = 0; i < ACTORS; i++)
		if (&model.actors[i] != actor && known_block_holds(block, &model.actors[i]))
			return false;
	for (int i = 0; i < KNOWN_NAMES; i++) {
		const struct known_name *name = &model.names[i];
		if (name->block == block && name->offset + (name->length ? name->length : 1) > size)
			return false;
	}
	return true;
}

/* Bytes that it has afterwards, in its place; 0: it may have to move. */
static uint64_t granted_in_place(const struct known_block *block, uint64_t size)
{
	if (size >= block->block.size)
		return size <= block->block.granted ? block->block.granted : 0;
	return step_granted(size) < block->block.granted ? step_granted(size) : block->block.granted;
}

static void take_resized(struct actor *actor, struct known_block *block)
{
	const struct mail *mail = actor->puppet.mail;
	uint64_t granted = granted_in_place(block, mail->size);

	MODEL_CHECK(mail->intact && mail->block.size == mail->size && !mail->block.sealed);
	if (mail->moved) {
		struct known_block *place = known_block_vacancy();
		MODEL_CHECK(!granted && place && mail->block.handle.id != block->block.handle.id);
		step_check_place(&mail->block, 0);
		known_block_add(place, actor, &mail->block, block->tag);
		place->metadata_size = block->metadata_size;
		memcpy(place->metadata, block->metadata, block->metadata_size);
		return;
	}
	MODEL_EQUAL(mail->block.handle.id, block->block.handle.id);
	MODEL_EQUAL(mail->block.offset, block->block.offset);
	MODEL_CHECK(granted || known_account_may_pay(block, actor->uid));
	MODEL_EQUAL(mail->block.granted, granted ? granted : step_granted(mail->size));
	known_block_resize(block, mail->size, mail->block.granted);
}

/* It grows, in its place or by another block: then the one is charged with what it becomes longer by, or the other with all of it. */
static bool refuses(const struct actor *actor, const struct known_block *block)
{
	const struct mail *mail = actor->puppet.mail;
	bool another = mail->result < 0 || mail->moved;

	return known_account_refuses_memory(actor, step_granted(mail->size) - (another ? 0 : block->block.granted), another);
}

void step_resize(struct actor *actor)
{
	struct known_block *block = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct mail *mail = actor_mail(actor);

	if (!block || known_block_count() + ACTORS > KNOWN_BLOCKS)
		return;
	mail->handle = block->block.handle;
	mail->size = 1 + model_below(model_one_in(2) ? block->block.size : 3 * block->block.size);
	if (block->live)
		step_expect_bytes(mail, block);
	step_allocate(actor, call_resize);
	int expected = judge_change(block, actor);
	if (!expected && mail->size < block->block.size && !may_shrink(block, actor, mail->size))
		expected = -SHMB_E_IN_USE;
	if (!expected && !granted_in_place(block, mail->size) && refuses(actor, block))
		return;
	if (!expected && mail->result < 0 && !granted_in_place(block, mail->size)) {
		step_check_refusal(mail);
		return;
	}
	step_judge(mail, expected);
	if (!expected)
		take_resized(actor, block);
}
