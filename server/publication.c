/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing: see publication.h.
 *
 * A new name gets a record, which is PENDING until the slot has decided, and in the index from the start: to readers it does not
 * exist before it is LIVE.
 *
 * A name that is replaced keeps its record and its place in the index. What it is to stand for goes into the body that does not count
 * (step 3), and the slot's `next` says which one that is, plus one (step 2). After the decision one store, of the record's word,
 * flips the body and brings the id of the new publication: a reader has the old block or the new one, never none. No record more
 * is needed, so that a pool full of names can replace them. Then the new block is in the lists, and the old one's end begins,
 * where nothing else holds it. Whoever holds it keeps it.
 *
 * A kill before the decision leaves a body that does not count and is overwritten next time. One between decision and flip: recovery
 * compares the word with `next`, and flips (recovery_names.c, which comes after the blocks: a block that was allocated with the
 * name lives by then). One behind the flip leaves, at worst, an old block that nothing holds: recovery frees it.
 *
 * Who replaces a name is its publisher from then on.
 */
#include "publication.h"

#include <stdio.h>

#include "errors.h"
#include "lifetime.h"
#include "session.h"

static int find(const struct pool *pool, const struct publication_wish *wish, uint32_t *out_index,
                char out_text[PUBLICATION_TEXT_MAX])
{
	if (names_find(&pool->names, wish->name, wish->length, out_index) < 0)
		return 0;
	uint32_t publisher = names_body(&pool->names, *out_index)->uid;
	if (!wish->replace) {
		snprintf(out_text, PUBLICATION_TEXT_MAX,
		         "a block is published under this name already: choose another, remove it first, or ask to replace it");
		return ERROR_NAME_TAKEN;
	}
	uint32_t uid = wish->session->record->uid;
	if (uid != publisher && uid != 0) {
		snprintf(out_text, PUBLICATION_TEXT_MAX, "the name belongs to uid %u: only that user and root may replace it",
		         (unsigned)publisher);
		return ERROR_DENIED;
	}
	return 1;
}

/* Would it be one name more for who asks? The name stands for something, at `index`, if it is `found`. */
static int check_quota(const struct pool *pool, const struct publication_wish *wish, bool found, uint32_t index,
                       char out_text[PUBLICATION_TEXT_MAX])
{
	if (found && names_body(&pool->names, index)->session == session_key(wish->session))
		return 0;
	/* Another session's name, of the same user: its session alone has one more. */
	if (found && names_body(&pool->names, index)->uid == wish->session->record->uid)
		return charge_check_session(wish->session, QUOTA_NAMES, out_text);
	return charge_check(wish->session, QUOTA_NAMES, out_text);
}

int publication_check(const struct pool *pool, const struct publication_wish *wish, char out_text[PUBLICATION_TEXT_MAX])
{
	uint32_t index = 0;
	int found = find(pool, wish, &index, out_text);

	return found > 1 ? found : check_quota(pool, wish, found == 1, index, out_text);
}

int publication_prepare(struct pool *pool, const struct publication_wish *wish, struct publication *out_publication,
                        char out_text[PUBLICATION_TEXT_MAX])
{
	uint32_t index = 0;
	int found = find(pool, wish, &index, out_text);

	if (found > 1)
		return found;
	int error = check_quota(pool, wish, found == 1, index, out_text);
	if (error)
		return error;
	if (found == 0 && table_take(&pool->names.table, &index) < 0) {
		snprintf(out_text, PUBLICATION_TEXT_MAX,
		         "the pool has as many names as it takes, or no memory for another: take some away");
		return ERROR_LIMIT;
	}
	*out_publication = (struct publication){.name = index + 1, .replaces = found == 1};
	return 0;
}

void publication_write(struct pool *pool, const struct publication *publication, const struct name_content *content,
                       struct slot_record *slot)
{
	slot->name = publication->name;
	if (!publication->replaces) {
		names_write(&pool->names, publication->name - 1, content);
		return;
	}
	slot->next = 1 + !record_body(names_word(&pool->names, publication->name - 1));
	names_write_next(&pool->names, publication->name - 1, content);
}

void publication_apply(struct pool *pool, const struct publication *publication)
{
	if (publication->replaces)
		lifetime_replace_name(pool, publication->name - 1);
	else
		lifetime_add_name(pool, publication->name - 1);
}
