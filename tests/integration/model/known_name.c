/* SPDX-License-Identifier: Apache-2.0 */
/* Names, as the model knows them: see known_name.h. */
#include "tests/integration/model/known_name.h"

#include "tests/integration/model/expected_events.h"
#include "tests/integration/model/model.h"

static unsigned count;

void known_name_text(const struct known_name *name, char out_text[64])
{
	snprintf(out_text, 64, "%s/%d", model.script.prefix, (int)(name - model.names));
}

struct known_name *known_name_any(void)
{
	return &model.names[model_below(KNOWN_NAMES)];
}

int known_name_judge(const struct known_name *name, const struct actor *actor, bool replace)
{
	if (!name->block)
		return 0;
	if (!replace)
		return -SHMB_E_NAME_TAKEN;
	return model_may(actor, name->uid) ? 0 : -SHMB_E_DENIED;
}

bool known_name_refuses(const struct known_name *name, const struct actor *actor)
{
	if (name->block && name->by == actor_number(actor))
		return false;
	return known_account_refuses(actor, QUOTA_NAMES, name->block && name->uid == actor->uid);
}

/* What it stood for has one name less; it may end by that. */
static struct known_block *take_away(struct known_name *name)
{
	struct known_block *block = name->block;

	expected_events_add_name(SHMB_EVENT_NAME_REMOVED, name);
	block->names--;
	name->block = NULL;
	count--;
	return block;
}

void known_name_set(struct known_name *name, struct known_block *block, uint64_t offset, uint64_t length,
                    const struct actor *by)
{
	struct known_block *before = name->block ? take_away(name) : NULL;

	*name = (struct known_name){.block = block, .offset = offset, .length = length, .uid = by->uid, .by = actor_number(by)};
	block->names++;
	count++;
	expected_events_add_name(SHMB_EVENT_NAME_PUBLISHED, name);
	if (before)
		known_block_settle(before);
}

void known_name_drop(struct known_name *name)
{
	known_block_settle(take_away(name));
}

void known_name_drop_all(struct known_block *block)
{
	for (int i = 0; i < KNOWN_NAMES; i++)
		if (model.names[i].block == block)
			take_away(&model.names[i]);
}

uint64_t known_name_bytes(const struct known_name *name)
{
	return name->length ? name->length : name->block->block.size - name->offset;
}

unsigned known_name_count(void)
{
	return count;
}
