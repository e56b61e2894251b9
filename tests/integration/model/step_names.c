/* SPDX-License-Identifier: Apache-2.0 */
/* Steps with names: published, replaced, taken away, looked up, waited for. */
#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"
#include "tests/integration/model/waits.h"

static void call_publish(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_publish_with(*session, mail->handle, mail->name, &mail->publish);
}

/* One in three is a range; now and then it does not lie in the block. */
static shmb_publish_options draw_range(const struct known_block *block)
{
	shmb_publish_options options = {.replace = model_one_in(2)};

	if (model_one_in(3)) {
		options.offset = model_below(block->block.size + block->block.size / 16);
		options.length = model_one_in(2) ? 0 : model_below(block->block.size + 2);
	}
	return options;
}

static int judge_publication(const struct known_block *block, const struct actor *actor, const struct known_name *name,
                             const shmb_publish_options *options)
{
	uint64_t size = block->block.size;

	if (actor->read_only)
		return -SHMB_E_READ_ONLY;
	if (!block->live)
		return -SHMB_E_STALE_HANDLE;
	if (!known_block_holds(block, actor))
		return -SHMB_E_NOT_HELD;
	if (options->offset >= size || options->length > size - options->offset)
		return -SHMB_E_INVALID_ARGUMENT;
	return known_name_judge(name, actor, options->replace);
}

void step_publish(struct actor *actor)
{
	struct known_block *block = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct known_name *name = known_name_any();
	struct mail *mail = actor_mail(actor);

	if (!block)
		return;
	mail->handle = block->block.handle;
	mail->publish = draw_range(block);
	known_name_text(name, mail->name);
	if (name->block)
		known_block_check_bytes(name->block);
	actor_perform(actor, call_publish);
	int expected = judge_publication(block, actor, name, &mail->publish);
	if (!expected && known_name_refuses(name, actor))
		return;
	step_judge(mail, expected);
	if (!expected)
		known_name_set(name, block, mail->publish.offset, mail->publish.length, actor);
}

static void call_unpublish(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_unpublish(*session, mail->name);
}

void step_unpublish(struct actor *actor)
{
	struct known_name *name = known_name_any();
	struct mail *mail = actor_mail(actor);

	if (name->block)
		known_block_check_bytes(name->block);
	known_name_text(name, mail->name);
	actor_perform(actor, call_unpublish);
	if (actor->read_only) {
		step_judge(mail, -SHMB_E_READ_ONLY);
	} else if (!name->block) {
		step_judge(mail, -SHMB_E_NO_SUCH_NAME);
	} else if (!model_may(actor, name->uid)) {
		step_judge(mail, -SHMB_E_DENIED);
	} else {
		step_judge(mail, 0);
		known_name_drop(name);
	}
}

/* ---- Looking up ------------------------------------------------------------------------------------------------- */

static void call_lookup(shmb_session **session, struct mail *mail)
{
	mail->result = mail->wait_ms ? shmb_lookup_wait(*session, mail->name, mail->wait_ms, &mail->block)
	                             : shmb_lookup(*session, mail->name, &mail->block);
	if (mail->result < 0)
		return;
	/* In this process the address is that of the offset; and the whole block is there. */
	const void *address = mail->block.sealed ? shmb_pointer_read_only(*session, mail->block.offset)
	                                         : shmb_pointer(*session, mail->block.offset);
	bool there = mail->block.data == address;
	mail->expected_id = mail->block.handle.id;
	if (!there)
		mail->expected_size = 0;
}

void step_take_found(struct actor *actor, const struct known_name *name)
{
	const struct mail *mail = actor->puppet.mail;
	struct known_block *block = name->block;

	if (!block && mail->wait_ms && known_account_refuses(actor, QUOTA_WAITERS, false))
		return;
	if (!block) {
		step_judge(mail, -SHMB_E_NO_SUCH_NAME);
		return;
	}
	step_judge(mail, 0);
	MODEL_EQUAL(mail->block.handle.id, block->block.handle.id);
	MODEL_EQUAL(mail->block.offset, block->block.offset + name->offset);
	MODEL_EQUAL(mail->block.size, known_name_bytes(name));
	MODEL_EQUAL(mail->block.sealed, block->sealed);
	MODEL_CHECK(!mail->expected_offset || mail->intact);
	known_block_check_bytes(block);
	block->references[actor_number(actor)]++;
}

void step_lookup(struct actor *actor)
{
	struct known_name *name = known_name_any();
	struct mail *mail = actor_mail(actor);

	known_name_text(name, mail->name);
	if (name->block)
		step_expect_bytes(mail, name->block);
	actor_perform(actor, call_lookup);
	step_take_found(actor, name);
}

/* Up to a time that does not come, or that comes at once. */
void step_wait_for_name(struct actor *actor)
{
	struct known_name *name = &model.names[model_below(KNOWN_NAMES_AWAITED)];
	struct mail *mail = actor_mail(actor);

	if (!waits_has_room())
		return;
	known_name_text(name, mail->name);
	mail->wait_ms = model_one_in(4) ? 1 : (uint32_t)STEP_TTL_MS;
	actor->name = (int)(name - model.names);
	/* Whether who waits since before the daemon died counts again, the model does not know. */
	bool refused = !name->block && known_account_is_full(actor, QUOTA_WAITERS, true);
	if (refused != (!name->block && known_account_is_full(actor, QUOTA_WAITERS, false)))
		return;
	puppet_post(&actor->puppet, call_lookup);
	if (mail->wait_ms == 1 || refused) {
		puppet_await(&actor->puppet);
		step_take_found(actor, name);
	} else {
		waits_begin(actor, ACTOR_WAITS_FOR_NAME);
	}
}

/* ---- Waiting for memory ----------------------------------------------------------------------------------------- */

/* Not where there are quotas: when one of them lets it go on is told by more than the model knows. */
void step_wait_for_memory(struct actor *actor)
{
	struct known_name *name = NULL;
	struct mail *mail = actor_mail(actor);

	if (!waits_has_room() || waits_for_memory_is_there() || !model.script.alone || model.script.limits ||
	    known_block_count() + ACTORS > KNOWN_BLOCKS || known_block_count_cached())
		return;
	if (model_one_in(3))
		name = &model.names[KNOWN_NAMES_AWAITED + model_below(KNOWN_NAMES - KNOWN_NAMES_AWAITED)];
	mail->size = 1 + model_below(UINT64_C(64) << 10 << model_below(5));
	mail->alloc.wait_ms = (uint32_t)STEP_TTL_MS;
	mail->alloc.replace = model_one_in(2);
	mail->named = name;
	if (name)
		known_name_text(name, mail->name);
	actor->name = name ? (int)(name - model.names) : NOBODY;
	for (actor->need = MODEL_UNIT; actor->need < mail->size;)
		actor->need *= 2;
	puppet_post(&actor->puppet, step_call_alloc);
	waits_begin(actor, ACTOR_WAITS_FOR_MEMORY);
	/* What is refused, is at once. */
	if (actor->read_only || (name && known_name_judge(name, actor, mail->alloc.replace))) {
		puppet_await(&actor->puppet);
		actor->wait = ACTOR_IDLE;
		step_take_allocated(actor, name);
	}
}
