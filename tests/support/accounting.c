/* SPDX-License-Identifier: Apache-2.0 */
/* Daemon and tables side by side: see accounting.h. */
#include "tests/support/accounting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/charges.h"

static const char *const words[] = {
#define WORD(constant, word, sentence) word,
	QUOTA_KINDS(WORD)
#undef WORD
};

/* One user's. Bytes may be doubtful, and blocks with them. */
static void compare(const shmb_user_info *told, const struct charges_user *counted)
{
	const uint64_t used[] = {
		[QUOTA_BYTES] = told->bytes.used,     [QUOTA_BLOCKS] = told->blocks.used, [QUOTA_NAMES] = told->names.used,
		[QUOTA_TICKETS] = told->tickets.used, [QUOTA_LINKS] = told->links.used,   [QUOTA_SESSIONS] = told->sessions.used,
	};

	for (unsigned kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
		bool doubtful = counted->doubtful && (kind == QUOTA_BYTES || kind == QUOTA_BLOCKS);
		uint64_t most = counted->used[kind] + (doubtful ? counted->doubtful : 0);
		if (kind != QUOTA_WAITERS && (used[kind] < counted->used[kind] || used[kind] > most))
			fail_msg("user %u: the daemon says %llu %s, the tables %llu", (unsigned)told->uid,
			         (unsigned long long)used[kind], words[kind], (unsigned long long)counted->used[kind]);
	}
}

void accounting_agrees(const char *pool, const char *socket_path, uint32_t uid, shmb_user_info *out_user)
{
	static struct charges charges;
	shmb_session *session;
	shmb_user_info *users, found = {.uid = uid};
	unsigned seen = 0;
	size_t count;

	assert_int_equal(shmb_connect(&(shmb_connect_options){.socket_path = socket_path}, &session), 0);
	assert_int_equal(shmb_list_users(session, &users, &count), 0);
	charges_count(pool, &charges);
	for (size_t i = 0; i < count; i++) {
		struct charges_user counted = charges_of(&charges, users[i].uid);
		assert_true(i == 0 || users[i - 1].uid < users[i].uid);
		compare(&users[i], &counted);
		for (unsigned k = 0; k < charges.user_count; k++)
			seen += charges.users[k].uid == users[i].uid;
		if (users[i].uid == uid)
			found = users[i];
	}
	assert_int_equal(seen, charges.user_count);
	free(users);
	shmb_close(session);
	if (out_user)
		*out_user = found;
}
