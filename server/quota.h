/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What users and sessions may have at most, and what users have for certain: as the command line says it. Read once at the start, never
 * changed after that. What is used is counted elsewhere (account.h). Pure, but for the names of users, which the system knows.
 */
#ifndef SERVER_QUOTA_H
#define SERVER_QUOTA_H

#include <stddef.h>
#include <stdint.h>

/* The kinds of things that are counted: X(constant, word of the command line, noun in a sentence). */
#define QUOTA_KINDS(X)                                                                                                      \
	X(BYTES, "bytes", QUOTA_NOUN("byte of memory", "bytes of memory"))                                                      \
	X(BLOCKS, "blocks", QUOTA_NOUN("block", "blocks"))                                                                      \
	X(NAMES, "names", QUOTA_NOUN("name", "names"))                                                                          \
	X(TICKETS, "tickets", QUOTA_NOUN("ticket", "tickets"))                                                                  \
	X(LINKS, "links", QUOTA_NOUN("link", "links"))                                                                          \
	X(WAITERS, "waiters", QUOTA_NOUN("request that waits", "requests that wait"))                                           \
	X(SESSIONS, "sessions", QUOTA_NOUN("session", "sessions"))
#define QUOTA_NOUN(one, many)                                                                                               \
	{                                                                                                                       \
		one, many                                                                                                           \
	}

enum quota_kind {
#define QUOTA_KIND_CONSTANT(constant, word, noun) QUOTA_##constant,
	QUOTA_KINDS(QUOTA_KIND_CONSTANT)
#undef QUOTA_KIND_CONSTANT
		QUOTA_KIND_COUNT
};

/* No limit. As shmbuddy.h says: SHMB_NO_LIMIT. */
#define QUOTA_NONE UINT64_MAX

/* Bytes set aside, or a number of things; or QUOTA_NONE. */
struct quota {
	uint64_t limit[QUOTA_KIND_COUNT];
};

/* What the command line says of one user. */
struct quota_entry {
	uint32_t uid;
	unsigned user_given, session_given; /* bit k: the limit of kind k was given, and is not the default */
	struct quota user, session;         /* of the user, and of each of its sessions */
	uint64_t guarantee;                 /* bytes; 0: none */
};

struct quotas {
	unsigned user_given, session_given;
	struct quota user, session; /* of everybody else */
	struct quota_entry *entries;
	size_t count;
	uint64_t guaranteed; /* bytes, to all together */
};

/* A user or a word that is not understood is told in so many bytes. */
#define QUOTA_TEXT_MAX 256

/* Nothing is limited. */
void quotas_init(struct quotas *quotas);
void quotas_deinit(struct quotas *quotas);

/*
 * "user:WHO:KIND=LIMIT,…" or "session:WHO:KIND=LIMIT,…". WHO is a user's name or number, or "*" for everybody of whom nothing else is said;
 * a KIND is a word of QUOTA_KINDS; a LIMIT a number or size as size_parse takes it, or "none". -EINVAL: says why not. -ENOMEM.
 */
int quotas_limit(struct quotas *quotas, const char *text, char out_why[QUOTA_TEXT_MAX]);

/* "user:WHO=SIZE". Errors as above. */
int quotas_guarantee(struct quotas *quotas, const char *text, char out_why[QUOTA_TEXT_MAX]);

/* Once all has been said, in whatever order: what was not said of a user is as for everybody. -EINVAL: it contradicts itself. */
int quotas_resolve(struct quotas *quotas, char out_why[QUOTA_TEXT_MAX]);

/* What was said of this user; NULL: nothing. */
const struct quota_entry *quotas_find(const struct quotas *quotas, uint32_t uid);

const char *quota_kind_word(enum quota_kind kind);

/* What `count` of them are called in a sentence: "name", "names". */
const char *quota_kind_noun(enum quota_kind kind, uint64_t count);

#endif
