/* SPDX-License-Identifier: Apache-2.0 */
/* Steps that allocate: one block, or a batch; and what allocations that have waited bring. */
#include <string.h>

#include "tests/integration/model/model.h"
#include "tests/integration/model/step.h"
#include "tests/integration/model/waits.h"
#include "tests/support/pattern.h"

static const char *const tags[] = {"", "frame", "größe"};

static uint64_t draw_size(void)
{
	switch (model_below(20)) {
	case 0: return 1 + model_below(256 << 10);
	case 1:
	case 2: return UINT64_C(1) << model_below(16);
	default: return 1 + model_below(6000);
	}
}

/* A refusal must be true: nothing that long is free, or it is set aside for somebody. In a batch it may be the others that stand in the way. */
void step_check_refusal(const struct mail *mail)
{
	const shmb_oom *oom = &mail->oom;
	uint64_t need = mail->alloc.alignment > oom->granted ? mail->alloc.alignment : oom->granted;

	if (mail->result != -SHMB_E_OUT_OF_MEMORY)
		step_judge(mail, 0);
	model.refusals++;
	if (model.killing && !mail->explained)
		return; /* the next daemon does not know why */
	MODEL_CHECK(mail->explained && oom->granted >= oom->requested);
	MODEL_EQUAL(oom->limit, SHMB_OOM_SEGMENT);
	if (oom->set_aside) {
		MODEL_CHECK(waits_for_memory_is_there());
	} else if (!mail->count) {
		MODEL_EQUAL(oom->requested, mail->size);
		MODEL_CHECK(need > oom->longest_free);
	}
}

void step_allocate(struct actor *actor, puppet_call *call)
{
	for (int i = 0; i < KNOWN_BLOCKS; i++)
		model.killing = model.killing && !(model.blocks[i].live && model.blocks[i].cached);
	model.allocating = true;
	actor_perform(actor, call);
}

void step_call_alloc(shmb_session **session, struct mail *mail)
{
	mail->alloc.name = mail->named ? mail->name : NULL;
	mail->alloc.tag = mail->tag;
	mail->result = shmb_alloc(*session, mail->size, &mail->alloc, &mail->block);
	if (mail->result < 0)
		return;
	pattern_write(mail->block.data, mail->block.size, mail->block.handle.id);
	mail->expected_offset = mail->block.offset;
	mail->expected_size = mail->block.size;
	mail->expected_id = mail->block.handle.id;
}

uint64_t step_granted(uint64_t size)
{
	uint64_t granted = MODEL_UNIT;

	while (granted < size)
		granted *= 2;
	return granted;
}

void step_check_place(const shmb_block *block, uint64_t alignment)
{
	uint64_t granted = step_granted(block->size);

	MODEL_EQUAL(block->granted, granted);
	MODEL_CHECK(block->offset % granted == 0 && (!alignment || block->offset % alignment == 0));
}

void step_take_allocated(struct actor *actor, struct known_name *name)
{
	const struct mail *mail = actor->puppet.mail;
	struct known_block *place = known_block_vacancy();
	int expected = name ? known_name_judge(name, actor, mail->alloc.replace) : 0;

	if (actor->read_only)
		expected = -SHMB_E_READ_ONLY;
	if (!expected && name && known_name_refuses(name, actor))
		return;
	if (!expected && known_account_refuses_memory(actor, step_granted(mail->size), 1))
		return;
	if (!expected && mail->result < 0) {
		step_check_refusal(mail);
		return;
	}
	step_judge(mail, expected);
	if (expected)
		return;
	MODEL_CHECK(place && mail->intact && mail->block.size == mail->size);
	step_check_place(&mail->block, mail->alloc.alignment);
	known_block_add(place, actor, &mail->block, mail->tag);
	place->ttl_ms = mail->alloc.ttl_ms;
	if (name)
		known_name_set(name, place, 0, 0, actor);
	waits_hear(); /* who waits for the name has it, before its time is over */
	if (place->ttl_ms == STEP_TTL_SHORT_MS)
		known_block_expire(place);
}

void step_alloc(struct actor *actor)
{
	struct known_name *name = model_one_in(3) ? known_name_any() : NULL;
	struct mail *mail = actor_mail(actor);

	if (known_block_count() + ACTORS > KNOWN_BLOCKS)
		return;
	mail->size = draw_size();
	snprintf(mail->tag, sizeof mail->tag, "%s", tags[model_below(3)]);
	if (model_one_in(4))
		mail->alloc.alignment = UINT64_C(1) << model_below(16);
	if (model_one_in(8))
		mail->alloc.ttl_ms = name && waits_may_miss(name) ? STEP_TTL_MS : step_draw_ttl();
	mail->alloc.replace = model_one_in(2);
	mail->named = name;
	if (name)
		known_name_text(name, mail->name);
	step_allocate(actor, step_call_alloc);
	step_take_allocated(actor, name);
}

static void call_alloc_batch(shmb_session **session, struct mail *mail)
{
	mail->alloc.tag = mail->tag;
	mail->result = shmb_alloc_batch(*session, mail->sizes, mail->count, &mail->alloc, mail->blocks);
	for (size_t i = 0; i < mail->count && mail->result == 0; i++)
		pattern_write(mail->blocks[i].data, mail->blocks[i].size, mail->blocks[i].handle.id);
}

void step_alloc_batch(struct actor *actor)
{
	struct mail *mail = actor_mail(actor);
	uint64_t bytes = 0;

	mail->count = 1 + model_below(PUPPET_BATCH);
	if (known_block_count() + mail->count + ACTORS > KNOWN_BLOCKS)
		return;
	for (size_t i = 0; i < mail->count; i++)
		mail->sizes[i] = draw_size();
	snprintf(mail->tag, sizeof mail->tag, "batch");
	step_allocate(actor, call_alloc_batch);
	if (actor->read_only) {
		step_judge(mail, -SHMB_E_READ_ONLY);
		return;
	}
	for (size_t i = 0; i < mail->count; i++)
		bytes += step_granted(mail->sizes[i]);
	if (known_account_refuses_memory(actor, bytes, mail->count))
		return;
	if (mail->result < 0) {
		step_check_refusal(mail);
		return;
	}
	step_judge(mail, 0);
	for (size_t i = 0; i < mail->count; i++) {
		MODEL_EQUAL(mail->blocks[i].size, mail->sizes[i]);
		step_check_place(&mail->blocks[i], 0);
		known_block_add(known_block_vacancy(), actor, &mail->blocks[i], mail->tag);
	}
}
