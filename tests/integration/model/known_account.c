/* SPDX-License-Identifier: Apache-2.0 */
/* Who has how much: see known_account.h. */
#include "tests/integration/model/known_account.h"

#include <stddef.h>

#include "cleanup.h"
#include "tests/integration/model/adrift.h"
#include "tests/integration/model/model.h"

const char *known_account_word(enum quota_kind kind)
{
#define WORD(constant, word, sentence) [QUOTA_##constant] = (word),
	static const char *const words[QUOTA_KIND_COUNT] = {QUOTA_KINDS(WORD)};
#undef WORD

	return words[kind];
}

static void count(struct known_account *account, enum quota_kind kind, uint64_t more, bool certain)
{
	account->least[kind] += certain ? more : 0;
	account->most[kind] += more;
}

/* ---- Who pays for a block --------------------------------------------------------------------------------------- */

/* Root comes last. */
static void prefer(uid_t uid, bool *found, uid_t *payer)
{
	if (!*found || uid - 1 < *payer - 1)
		*payer = uid;
	*found = true;
}

/* By rule 2, among those that hold it by names, tickets and links; unless it is the one that allocated it. False: none of them does. */
static bool find_payer(const struct known_block *block, uid_t *out_uid)
{
	bool found = false, own = false;

	for (int i = 0; i < KNOWN_NAMES; i++)
		if (model.names[i].block == block) {
			prefer(model.names[i].uid, &found, out_uid);
			own = own || model.names[i].uid == block->uid;
		}
	for (int i = 0; i < KNOWN_TICKETS; i++)
		if (model.tickets[i].block == block) {
			prefer(model.tickets[i].uid, &found, out_uid);
			own = own || model.tickets[i].uid == block->uid;
		}
	for (int i = 0; i < KNOWN_LINKS; i++)
		if (model.links[i].to == block) {
			prefer(model.links[i].uid, &found, out_uid);
			own = own || model.links[i].uid == block->uid;
		}
	if (own)
		*out_uid = block->uid;
	return found;
}

/* Whether a reference is one by request, which counts as names do, or stands in a hold page, the model does not know. */
static bool has_references(const struct known_block *block)
{
	for (int i = 0; i < ACTORS; i++)
		if (block->references[i])
			return true;
	return false;
}

enum payment { PAYS_NOT, PAYS_PERHAPS, PAYS };

static enum payment payment(const struct known_block *block, uid_t uid)
{
	uid_t payer = block->uid;
	bool settled = block->owner != NOBODY || block->ttl_ms || block->cached ||
	               (find_payer(block, &payer) && payer == block->uid) || !has_references(block);

	if (!settled)
		return PAYS_PERHAPS;
	return payer == uid ? PAYS : PAYS_NOT;
}

bool known_account_may_pay(const struct known_block *block, uid_t uid)
{
	return payment(block, uid) != PAYS_NOT;
}

static void count_block(const struct known_block *block, uid_t uid, struct known_account *account)
{
	bool certain = payment(block, uid) == PAYS && !adrift_has(block);

	if (!known_account_may_pay(block, uid))
		return;
	count(account, QUOTA_BYTES, block->block.granted, certain);
	count(account, QUOTA_BLOCKS, 1, certain);
}

/* A daemon that has come since may not have heard of it. */
static void count_wait(const struct actor *actor, struct known_account *account)
{
	if (actor->wait != ACTOR_IDLE)
		count(account, QUOTA_WAITERS, 1, actor->deaths == model.deaths);
}

/* ---- Accounts --------------------------------------------------------------------------------------------------- */

void known_account_of_user(uid_t uid, struct known_account *out_account)
{
	*out_account = (struct known_account){{0}, {0}};
	for (int i = 0; i < KNOWN_BLOCKS; i++)
		if (model.blocks[i].live)
			count_block(&model.blocks[i], uid, out_account);
	for (int i = 0; i < KNOWN_NAMES; i++)
		if (model.names[i].block && model.names[i].uid == uid)
			count(out_account, QUOTA_NAMES, 1, true);
	for (int i = 0; i < KNOWN_TICKETS; i++)
		if (model.tickets[i].block && model.tickets[i].uid == uid)
			count(out_account, QUOTA_TICKETS, 1, true);
	for (int i = 0; i < KNOWN_LINKS; i++)
		if (model.links[i].from && model.links[i].uid == uid)
			count(out_account, QUOTA_LINKS, 1, !adrift_has(model.links[i].from));
	for (int i = 0; i < ACTORS; i++)
		if (model.actors[i].there && model.actors[i].uid == uid) {
			count(out_account, QUOTA_SESSIONS, 1, true);
			count_wait(&model.actors[i], out_account);
		}
	if (uid == model.uid)
		count(out_account, QUOTA_SESSIONS, 1, true); /* the watcher */
}

void known_account_of_session(const struct actor *actor, struct known_account *out_account)
{
	int number = actor_number(actor);

	*out_account = (struct known_account){{0}, {0}};
	for (int i = 0; i < KNOWN_BLOCKS; i++)
		if (model.blocks[i].live && model.blocks[i].owner == number) {
			count(out_account, QUOTA_BYTES, model.blocks[i].block.granted, true);
			count(out_account, QUOTA_BLOCKS, 1, true);
		}
	for (int i = 0; i < KNOWN_NAMES; i++)
		if (model.names[i].block && model.names[i].by == number)
			count(out_account, QUOTA_NAMES, 1, true);
	for (int i = 0; i < KNOWN_TICKETS; i++)
		if (model.tickets[i].block && model.tickets[i].by == number)
			count(out_account, QUOTA_TICKETS, 1, true);
	for (int i = 0; i < KNOWN_LINKS; i++)
		if (model.links[i].from && model.links[i].by == number)
			count(out_account, QUOTA_LINKS, 1, !adrift_has(model.links[i].from));
	count_wait(actor, out_account);
}

/* ---- Questions -------------------------------------------------------------------------------------------------- */

/* Is there no room for so many more, for certain, or as far as is known? */
static bool is_full(const uint64_t used[], const uint64_t limits[], enum quota_kind kind, uint64_t more)
{
	return limits[kind] && used[kind] + more > limits[kind];
}

bool known_account_is_full(const struct actor *actor, enum quota_kind kind, bool certainly)
{
	const struct known_limits *limits = model.script.limits;
	struct known_account user, session;

	if (!limits)
		return false;
	known_account_of_user(actor->uid, &user);
	known_account_of_session(actor, &session);
	return is_full(certainly ? session.least : session.most, limits->session, kind, 1) ||
	       is_full(certainly ? user.least : user.most, limits->user, kind, 1);
}

bool known_account_refuses(const struct actor *actor, enum quota_kind kind, bool session_alone)
{
	const struct known_limits *limits = model.script.limits;
	const struct mail *mail = actor->puppet.mail;
	struct known_account user, session;

	if (!limits)
		return false;
	known_account_of_user(actor->uid, &user);
	known_account_of_session(actor, &session);
	if (mail->result == -SHMB_E_LIMIT) {
		MODEL_CHECK(session_alone ? is_full(session.most, limits->session, kind, 1)
		                          : known_account_is_full(actor, kind, false));
		model.quota_refusals[kind]++;
		return true;
	}
	MODEL_CHECK(!is_full(session.least, limits->session, kind, 1));
	MODEL_CHECK(session_alone || !is_full(user.least, limits->user, kind, 1));
	return false;
}

/* What would have made room for the user: cache blocks that nobody holds go. */
static uint64_t idle(uid_t uid, enum quota_kind kind)
{
	uint64_t sum = 0;

	for (int i = 0; i < KNOWN_BLOCKS; i++)
		if (model.blocks[i].uid == uid && known_block_is_idle(&model.blocks[i]))
			sum += kind == QUOTA_BYTES ? model.blocks[i].block.granted : 1;
	return sum;
}

static void check_refusal(const struct actor *actor, const uint64_t limits[], const struct known_account *account)
{
	const shmb_oom *oom = &actor->puppet.mail->oom;
	enum quota_kind kind = oom->quota_of_blocks ? QUOTA_BLOCKS : QUOTA_BYTES;

	MODEL_EQUAL(oom->quota, limits[kind]);
	MODEL_CHECK(oom->quota_used >= account->least[kind] && oom->quota_used <= account->most[kind]);
	MODEL_CHECK(!oom->set_aside);
	model.quota_refusals[kind]++;
}

bool known_account_refuses_memory(const struct actor *actor, uint64_t bytes, uint64_t blocks)
{
	const struct known_limits *limits = model.script.limits;
	const struct mail *mail = actor->puppet.mail;
	struct known_account user, session;

	if (!limits || (mail->result < 0 && !mail->explained))
		return false;
	known_account_of_user(actor->uid, &user);
	known_account_of_session(actor, &session);
	if (mail->result < 0 && mail->oom.limit == SHMB_OOM_SESSION) {
		check_refusal(actor, limits->session, &session);
		MODEL_CHECK(is_full(session.most, limits->session, QUOTA_BYTES, bytes) ||
		            is_full(session.most, limits->session, QUOTA_BLOCKS, blocks));
		return true;
	}
	if (mail->result < 0 && mail->oom.limit == SHMB_OOM_USER) {
		check_refusal(actor, limits->user, &user);
		user.most[QUOTA_BYTES] -= idle(actor->uid, QUOTA_BYTES);
		user.most[QUOTA_BLOCKS] -= idle(actor->uid, QUOTA_BLOCKS);
		MODEL_CHECK(is_full(user.most, limits->user, QUOTA_BYTES, bytes) ||
		            is_full(user.most, limits->user, QUOTA_BLOCKS, blocks));
		return true;
	}
	if (mail->result < 0)
		return false;
	MODEL_CHECK(!is_full(session.least, limits->session, QUOTA_BYTES, bytes));
	MODEL_CHECK(!is_full(session.least, limits->session, QUOTA_BLOCKS, blocks));
	MODEL_CHECK(!is_full(user.least, limits->user, QUOTA_BYTES, bytes));
	MODEL_CHECK(!is_full(user.least, limits->user, QUOTA_BLOCKS, blocks));
	return false;
}

/* ---- Comparison ------------------------------------------------------------------------------------------------- */

static const shmb_user_info *find(const shmb_user_info *infos, size_t count_of_infos, uid_t uid)
{
	static const shmb_user_info nothing;

	for (size_t i = 0; i < count_of_infos; i++)
		if (infos[i].uid == uid)
			return &infos[i];
	return &nothing;
}

static void compare(const shmb_user_info *info, uid_t uid)
{
	const shmb_charge *charges[QUOTA_KIND_COUNT] = {
		[QUOTA_BYTES] = &info->bytes,       [QUOTA_BLOCKS] = &info->blocks, [QUOTA_NAMES] = &info->names,
		[QUOTA_TICKETS] = &info->tickets,   [QUOTA_LINKS] = &info->links,   [QUOTA_WAITERS] = &info->waiters,
		[QUOTA_SESSIONS] = &info->sessions,
	};
	struct known_account account;

	known_account_of_user(uid, &account);
	for (int kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
		uint64_t used = charges[kind]->used;
		if (used < account.least[kind] || used > account.most[kind])
			model_fail(__FILE__, __LINE__, "user %u has %" PRIu64 " %s, and should have %" PRIu64 " to %" PRIu64,
			           (unsigned)uid, used, known_account_word((enum quota_kind)kind), account.least[kind],
			           account.most[kind]);
	}
}

void known_account_compare(void)
{
	CLEANUP_FREE shmb_user_info *infos = NULL;
	uint64_t bytes = 0;
	size_t listed;

	MODEL_CHECK(shmb_list_users(model.watcher, &infos, &listed) == 0);
	for (int i = 0; i < ACTORS; i++)
		compare(find(infos, listed, model.actors[i].uid), model.actors[i].uid);
	for (size_t i = 0; i < listed; i++)
		bytes += infos[i].bytes.used;
	MODEL_EQUAL(bytes, known_block_used());
}
