/* SPDX-License-Identifier: Apache-2.0 */
/*
 * known_account: what a user has, and a session, and whether it may have more. By the rule of server/payer.c, counted afresh for each question. Where
 * the model cannot know who pays, because hold pages may be all that is left, or cannot know whether something is still there, it knows
 * the least and the most.
 */
#ifndef TESTS_INTEGRATION_MODEL_KNOWN_ACCOUNT_H
#define TESTS_INTEGRATION_MODEL_KNOWN_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/quota.h"

struct actor;
struct known_block;
struct mail;

/* What each user may have at most, and each session; 0: no limit. */
struct known_limits {
	uint64_t user[QUOTA_KIND_COUNT], session[QUOTA_KIND_COUNT];
};

struct known_account {
	uint64_t least[QUOTA_KIND_COUNT], most[QUOTA_KIND_COUNT];
};

/* Can the block be charged to this user? */
bool known_account_may_pay(const struct known_block *block, uid_t uid);

/* As the command line calls it. */
const char *known_account_word(enum quota_kind kind);

void known_account_of_user(uid_t uid, struct known_account *out_account);
void known_account_of_session(const struct actor *actor, struct known_account *out_account);

/* Would one more of a kind be refused to the actor: for certain, or perhaps? */
bool known_account_is_full(const struct actor *actor, enum quota_kind kind, bool certainly);

/*
 * The call would have made one more of a kind, charged to the actor's session and its user, or to the session alone. True: it was refused for
 * their quota, and that is true. Fails where it is not, and where it should have been refused.
 */
bool known_account_refuses(const struct actor *actor, enum quota_kind kind, bool session_alone);

/* The same of memory: the call would have brought so many blocks. For a refusal its detail must be true too. */
bool known_account_refuses_memory(const struct actor *actor, uint64_t bytes, uint64_t blocks);

/* Fails unless the daemon says the same of all users. */
void known_account_compare(void);

#endif
