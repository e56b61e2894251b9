/* SPDX-License-Identifier: Apache-2.0 */
/* Steps with links: blocks hold each other, in chains, trees and circles. */
#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"

static void call_link(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_link(*session, mail->handle, mail->to);
}

static int judge_hold(const struct known_block *block, const struct actor *actor)
{
	if (!block->live)
		return -SHMB_E_STALE_HANDLE;
	return known_block_holds(block, actor) ? 0 : -SHMB_E_NOT_HELD;
}

void step_link(struct actor *actor)
{
	struct known_block *from = known_block_of(actor), *to = model_one_in(8) ? known_block_any() : known_block_of(actor);
	struct mail *mail = actor_mail(actor);

	if (!from || !to || known_link_count() == KNOWN_LINKS)
		return;
	mail->handle = from->block.handle;
	mail->to = to->block.handle;
	actor_perform(actor, call_link);
	int expected = actor->read_only ? -SHMB_E_READ_ONLY : from == to ? -SHMB_E_INVALID_ARGUMENT : judge_hold(from, actor);
	if (!expected)
		expected = judge_hold(to, actor);
	step_judge(mail, expected);
	if (!expected && !known_link_find(from, to))
		MODEL_CHECK(known_link_add(from, to));
}

static void call_unlink(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_unlink(*session, mail->handle, mail->to);
}

void step_unlink(struct actor *actor)
{
	struct known_link *link = known_link_any();
	struct mail *mail = actor_mail(actor);

	for (int tries = 0; tries < 20 && link && !known_block_holds(link->from, actor); tries++)
		link = known_link_any();
	struct known_block *from = link ? link->from : known_block_any(), *to = link ? link->to : known_block_any();
	if (model_one_in(8))
		to = known_block_any(); /* which it hardly ever holds */
	if (!from || !to)
		return;
	mail->handle = from->block.handle;
	mail->to = to->block.handle;
	actor_perform(actor, call_unlink);
	int expected = actor->read_only ? -SHMB_E_READ_ONLY : from == to ? -SHMB_E_INVALID_ARGUMENT : judge_hold(from, actor);
	if (!expected && !to->live)
		expected = -SHMB_E_STALE_HANDLE;
	if (!expected && !known_link_find(from, to))
		expected = -SHMB_E_NO_SUCH_LINK;
	step_judge(mail, expected);
	if (!expected)
		known_link_drop(known_link_find(from, to));
}

/* ---- Circles ---------------------------------------------------------------------------------------------------- */

/* Acquires the block, takes its links away, and lets go. */
static void call_untangle(shmb_session **session, struct mail *mail)
{
	mail->result = shmb_acquire(*session, mail->handle, &mail->block);
	for (size_t i = 0; i < mail->count && mail->result == 0; i++)
		mail->result = shmb_unlink(*session, mail->handle, mail->handles[i]);
	if (mail->result == 0)
		mail->result = shmb_free(*session, mail->handle);
}

/*
 * Blocks that nothing but a circle of links holds live on: somebody takes the circle apart. Once the daemon collects them by itself, the model has to
 * (known_link_mark says which they are), and this is a step that asks for it.
 */
void step_untangle(struct actor *actor)
{
	bool reached[KNOWN_BLOCKS];
	struct mail *mail = actor_mail(actor);
	struct known_block *block = NULL;

	known_link_mark(reached);
	for (int i = 0; i < KNOWN_BLOCKS && !block; i++)
		if (model.blocks[i].live && !reached[i])
			block = &model.blocks[i];
	if (!block || actor->read_only)
		return;
	mail->handle = block->block.handle;
	for (int i = 0; i < KNOWN_LINKS && mail->count < PUPPET_HANDLES; i++)
		if (model.links[i].from == block)
			mail->handles[mail->count++] = model.links[i].to->block.handle;
	step_expect_bytes(mail, block);
	mail->expected_size = 0; /* it may be gone afterwards */
	known_block_check_bytes(block);
	actor_perform(actor, call_untangle);
	step_judge(mail, 0);
	block->references[actor_number(actor)]++;
	for (int i = 0; i < KNOWN_LINKS; i++)
		if (model.links[i].from == block)
			known_link_drop(&model.links[i]);
	known_block_let_go(block, actor);
}
