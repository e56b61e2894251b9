/* SPDX-License-Identifier: Apache-2.0 */
/* The table of steps, and the dice: see step.h. */
#include "tests/integration/model/step.h"

#include "tests/integration/model/model.h"
#include "tests/integration/model/rest.h"

#define WRITERS_MIN 2

static const struct {
	const char *name;
	unsigned weight;
	bool lethal;
	void (*perform)(struct actor *actor);
} steps[] = {
#define STEP_LINE(name, weight, lethal) {#name, weight, lethal, step_##name},
	STEPS(STEP_LINE)
#undef STEP_LINE
};
#define STEP_COUNT (sizeof steps / sizeof steps[0])

/* Enough of them may write, and wait for nothing: who has gone is replaced. */
static void refill(void)
{
	struct actor *vacant;
	int writers = 0;

	for (int i = 0; i < ACTORS; i++)
		writers += model.actors[i].there && model.actors[i].wait == ACTOR_IDLE && !model.actors[i].read_only;
	if (writers >= WRITERS_MIN)
		return;
	for (int i = 0; i < ACTORS && !actor_vacant(); i++)
		if (model.actors[i].read_only || model.actors[i].wait != ACTOR_IDLE)
			actor_kill(&model.actors[i]);
	rest_await(); /* its end may be what another waits for */
	while (writers < WRITERS_MIN && (vacant = actor_vacant())) {
		actor_open(vacant);
		writers += vacant->there && !vacant->read_only;
	}
}

void step_draw(void)
{
	refill();
	struct actor *actor = actor_idle();
	unsigned sum = 0;
	size_t i = 0;

	for (size_t k = 0; k < STEP_COUNT; k++)
		sum += model.killing && !steps[k].lethal ? 0 : steps[k].weight;
	for (uint64_t left = model_below(sum);; i++) {
		unsigned weight = model.killing && !steps[i].lethal ? 0 : steps[i].weight;
		if (left < weight)
			break;
		left -= weight;
	}
	model.doing = steps[i].name;
	model.allocating = false;
	MODEL_CHECK(actor);
	steps[i].perform(actor);
}

void step_judge(const struct mail *mail, int expected)
{
	model.answers[expected < 0]++;
	if (mail->result == expected)
		return;
	model_fail(__FILE__, __LINE__, "the answer is %s (%s), and should be %s", shmb_error_name(mail->result),
	           mail->result < 0 ? mail->sentence : "", shmb_error_name(expected));
}

void step_judge_block(const struct mail *mail, const struct known_block *block)
{
	step_judge(mail, 0);
	MODEL_EQUAL(mail->block.handle.id, block->block.handle.id);
	MODEL_EQUAL(mail->block.offset, block->block.offset);
	MODEL_EQUAL(mail->block.size, block->block.size);
	MODEL_EQUAL(mail->block.granted, block->block.granted);
	MODEL_EQUAL(mail->block.sealed, block->sealed);
	MODEL_CHECK(mail->intact);
}

void step_expect_bytes(struct mail *mail, const struct known_block *block)
{
	mail->expected_offset = block->block.offset;
	mail->expected_size = block->block.size;
	mail->expected_id = block->block.handle.id;
}

uint64_t step_draw_ttl(void)
{
	/* A daemon that dies, or other models, may keep somebody from seeing what lives so shortly. */
	return model.script.alone && !model.killing && model_one_in(3) ? STEP_TTL_SHORT_MS : STEP_TTL_MS * (1 + model_below(2));
}

int step_judge_hold(const struct known_block *block, const struct actor *actor)
{
	if (!block->live)
		return -SHMB_E_STALE_HANDLE;
	return known_block_holds(block, actor) ? 0 : -SHMB_E_NOT_HELD;
}
