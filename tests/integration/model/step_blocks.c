/* SPDX-License-Identifier: Apache-2.0 */
/* Steps with blocks that are there: acquired, given back, removed. */
#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"

/* ---- Holding, and letting go ------------------------------------------------------------------------------------ */

static void call_acquire(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_acquire(*session, mail->handle, &mail->block);
}

void step_acquire(struct actor *actor)
{
	struct known_block *block = known_block_any();
	struct mail *mail = actor_mail(actor);

	if (!block)
		return;
	mail->handle = block->block.handle;
	step_expect_bytes(mail, block);
	actor_perform(actor, call_acquire);
	if (!block->live) {
		step_judge(mail, -SHMB_E_STALE_HANDLE);
		return;
	}
	step_judge_block(mail, block);
	block->references[actor_number(actor)]++;
}

static void call_free(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_free(*session, mail->handle);
}

/* Bytes are compared before: what has been freed may be another's by now. */
void step_free(struct actor *actor)
{
	struct known_block *block = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct mail *mail = actor_mail(actor);

	if (!block)
		return;
	if (block->live)
		known_block_check_bytes(block);
	mail->handle = block->block.handle;
	actor_perform(actor, call_free);
	if (!block->live) {
		step_judge(mail, -SHMB_E_STALE_HANDLE);
	} else if (!known_block_holds(block, actor)) {
		step_judge(mail, -SHMB_E_NOT_HELD);
	} else {
		step_judge(mail, 0);
		known_block_let_go(block, actor);
	}
}

static void call_free_batch(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_free_batch(*session, mail->handles, mail->count);
}

/* Everything that a session holds of some blocks; now and then once too often, and then nothing goes. */
void step_free_batch(struct actor *actor)
{
	struct known_block *blocks[PUPPET_BATCH] = {NULL};
	struct mail *mail = actor_mail(actor);

	for (uint64_t i = 0, at = model_below(KNOWN_BLOCKS); i < KNOWN_BLOCKS && mail->count < PUPPET_BATCH;
	     i++, at = (at + 1) % KNOWN_BLOCKS) {
		struct known_block *block = &model.blocks[at];
		for (unsigned n = block->live ? known_block_holds(block, actor) : 0; n && mail->count < PUPPET_BATCH; n--) {
			known_block_check_bytes(block);
			blocks[mail->count] = block;
			mail->handles[mail->count++] = block->block.handle;
		}
	}
	if (!mail->count)
		return;
	if (model_one_in(4) && known_block_holds(blocks[0], actor) <= PUPPET_HANDLES - PUPPET_BATCH) {
		for (unsigned n = known_block_holds(blocks[0], actor); n; n--)
			mail->handles[mail->count++] = mail->handles[0];
		actor_perform(actor, call_free_batch);
		step_judge(mail, -SHMB_E_NOT_HELD);
		return;
	}
	actor_perform(actor, call_free_batch);
	step_judge(mail, 0);
	for (size_t i = 0; i < mail->count; i++)
		known_block_let_go(blocks[i], actor);
}

/*
 * One lets go of a block that only he holds, and somebody else takes hold of it just then: it may be gone already, and if not, it lives. Blocks
 * with links are left out: what these hold ends a moment later.
 */
void step_race(struct actor *actor)
{
	struct known_block *block = known_block_of(actor);
	struct actor *other = actor_idle();

	if (!block || !block->live || other == actor || known_block_holds(block, actor) != 1 || block->names || block->tickets ||
	    block->links_to || block->ttl_ms || block->cached || known_link_begins(block))
		return;
	for (int i = 0; i < ACTORS; i++)
		if (&model.actors[i] != actor && known_block_holds(block, &model.actors[i]))
			return;
	struct mail *freed = actor_mail(actor), *acquired = actor_mail(other);
	freed->handle = acquired->handle = block->block.handle;
	puppet_post(&actor->puppet, call_free);
	puppet_post(&other->puppet, call_acquire);
	puppet_await(&actor->puppet);
	puppet_await(&other->puppet);
	step_judge(freed, 0);
	if (acquired->result != -SHMB_E_STALE_HANDLE) {
		acquired->intact = true; /* the driver looks itself: the block is held only from now on */
		step_judge_block(acquired, block);
		known_block_check_bytes(block);
		block->references[actor_number(other)]++;
	}
	known_block_let_go(block, actor);
}

/* ---- By an administrator, or whoever cleans up ------------------------------------------------------------------ */

static void call_remove(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_remove(*session, mail->handle.id);
}

static int judge_removal(const struct known_block *block, const struct actor *actor)
{
	if (!block->live)
		return -SHMB_E_NO_SUCH_BLOCK; /* a look at the view tells */
	if (actor->read_only)
		return -SHMB_E_READ_ONLY;
	if (known_block_is_held(block) || block->links_to || block->tickets)
		return -SHMB_E_IN_USE;
	if ((block->ttl_ms || block->cached) && !model_may(actor, block->uid))
		return -SHMB_E_DENIED;
	for (int i = 0; i < KNOWN_NAMES; i++)
		if (model.names[i].block == block && !model_may(actor, model.names[i].uid))
			return -SHMB_E_DENIED;
	return 0;
}

void step_remove(struct actor *actor)
{
	struct known_block *block = known_block_any();
	struct mail *mail = actor_mail(actor);

	for (int tries = 0; tries < 20 && block && known_block_is_held(block); tries++)
		block = known_block_any();
	if (!block)
		return;
	mail->handle = block->block.handle;
	actor_perform(actor, call_remove);
	int expected = judge_removal(block, actor);
	step_judge(mail, expected);
	if (expected)
		return;
	known_name_drop_all(block);
	block->ttl_ms = 0;
	block->cached = false;
	known_block_settle(block);
}
