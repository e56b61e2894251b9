/* SPDX-License-Identifier: Apache-2.0 */
/* Limits as the command line says them: see quota.h. A piece of text is cut out of its argument, copied, and only then read. */
#include "quota.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "size.h"

/* Bytes of a word, a user's name or a number, the NUL included: longer ones are none. */
#define PIECE_MAX 64

static const char *const words[] = {
#define WORD(constant, word, noun) word,
	QUOTA_KINDS(WORD)
#undef WORD
};
static const struct {
	const char *one, *many;
} nouns[] = {
#define NOUN(constant, word, noun) noun,
	QUOTA_KINDS(NOUN)
#undef NOUN
};

const char *quota_kind_word(enum quota_kind kind)
{
	return words[kind];
}

const char *quota_kind_noun(enum quota_kind kind, uint64_t count)
{
	return count == 1 ? nouns[kind].one : nouns[kind].many;
}

__attribute__((format(printf, 2, 3))) static int wrong(char out_why[QUOTA_TEXT_MAX], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(out_why, QUOTA_TEXT_MAX, format, arguments);
	va_end(arguments);
	return -EINVAL;
}

void quotas_init(struct quotas *quotas)
{
	*quotas = (struct quotas){0};
	for (unsigned kind = 0; kind < QUOTA_KIND_COUNT; kind++)
		quotas->user.limit[kind] = quotas->session.limit[kind] = QUOTA_NONE;
}

void quotas_deinit(struct quotas *quotas)
{
	free(quotas->entries);
	*quotas = (struct quotas){0};
}

static struct quota_entry *find(const struct quotas *quotas, uint32_t uid)
{
	for (size_t i = 0; i < quotas->count; i++) {
		if (quotas->entries[i].uid == uid)
			return &quotas->entries[i];
	}
	return NULL;
}

const struct quota_entry *quotas_find(const struct quotas *quotas, uint32_t uid)
{
	return find(quotas, uid);
}

/* What will be said of a user; NULL: there is no memory. */
static struct quota_entry *entry_of(struct quotas *quotas, uint32_t uid)
{
	struct quota_entry *entry = find(quotas, uid), *entries;

	if (entry)
		return entry;
	entries = reallocarray(quotas->entries, quotas->count + 1, sizeof *entries);
	if (!entries)
		return NULL;
	quotas->entries = entries;
	entry = &entries[quotas->count++];
	*entry = (struct quota_entry){.uid = uid};
	return entry;
}

/* The part of `*text` before the first `end`, which is passed over. False: there is none, or it is too long. */
static bool cut(const char **text, char end, char out_piece[PIECE_MAX])
{
	const char *place = strchr(*text, end);

	if (!place || place == *text || place - *text >= PIECE_MAX)
		return false;
	memcpy(out_piece, *text, (size_t)(place - *text));
	out_piece[place - *text] = '\0';
	*text = place + 1;
	return true;
}

/* A user's number, or the number of the user of that name. No user has the highest one, chown(2). */
static int parse_user(const char *text, uint32_t *out_uid, char out_why[QUOTA_TEXT_MAX])
{
	char *end;

	if (text[0] >= '0' && text[0] <= '9') {
		errno = 0;
		unsigned long long number = strtoull(text, &end, 10);
		if (*end || errno || number >= UINT32_MAX)
			return wrong(out_why, "\"%s\" is no number of a user", text);
		*out_uid = (uint32_t)number;
		return 0;
	}
	const struct passwd *user = getpwnam(text);
	if (!user)
		return wrong(out_why, "there is no user \"%s\"", text);
	*out_uid = user->pw_uid;
	return 0;
}

static int parse_limit(const char *text, enum quota_kind kind, uint64_t *out_limit, char out_why[QUOTA_TEXT_MAX])
{
	if (strcmp(text, "none") == 0) {
		*out_limit = QUOTA_NONE;
		return 0;
	}
	if (size_parse(text, out_limit) < 0 || *out_limit == QUOTA_NONE)
		return wrong(out_why, "%s=%s: must be a number, such as 100 or 64K, or none", words[kind], text);
	return 0;
}

/* "KIND=LIMIT". */
static int take_limit(const char *text, bool of_session, unsigned *given, struct quota *quota, char out_why[QUOTA_TEXT_MAX])
{
	char word[PIECE_MAX];
	unsigned kind = 0;

	if (!cut(&text, '=', word))
		return wrong(out_why, "\"%.100s\" is not of the form KIND=LIMIT", text);
	while (kind < QUOTA_KIND_COUNT && strcmp(words[kind], word) != 0)
		kind++;
	if (kind == QUOTA_KIND_COUNT)
		return wrong(out_why,
		             "there is no limit on \"%s\"; there are bytes, blocks, names, tickets, links, waiters, sessions", word);
	if (of_session && kind == QUOTA_SESSIONS)
		return wrong(out_why, "a session is one session: a limit on sessions is a user's");
	if (*given & 1u << kind)
		return wrong(out_why, "the limit on %s is given twice", word);
	*given |= 1u << kind;
	return parse_limit(text, (enum quota_kind)kind, &quota->limit[kind], out_why);
}

/* "KIND=LIMIT,…". */
static int take_limits(const char *text, bool of_session, unsigned *given, struct quota *quota, char out_why[QUOTA_TEXT_MAX])
{
	int result = 0;

	while (result == 0 && *text) {
		char piece[2 * PIECE_MAX];
		size_t length = strcspn(text, ",");
		if (length == 0 || length >= sizeof piece || (text[length] && !text[length + 1]))
			return wrong(out_why, "\"%.100s\" is not of the form KIND=LIMIT", text);
		memcpy(piece, text, length);
		piece[length] = '\0';
		text += length + (text[length] != '\0');
		result = take_limit(piece, of_session, given, quota, out_why);
	}
	return result;
}

int quotas_limit(struct quotas *quotas, const char *text, char out_why[QUOTA_TEXT_MAX])
{
	char scope[PIECE_MAX], who[PIECE_MAX];
	struct quota_entry *entry;
	uint32_t uid = 0;

	if (!cut(&text, ':', scope) || !cut(&text, ':', who) || !*text)
		return wrong(out_why, "must be user:WHO:KIND=LIMIT,… or session:WHO:KIND=LIMIT,…");
	bool of_session = strcmp(scope, "session") == 0;
	if (!of_session && strcmp(scope, "user") != 0)
		return wrong(out_why, "\"%s\": a limit is a user's or a session's", scope);
	if (strcmp(who, "*") == 0)
		return of_session ? take_limits(text, true, &quotas->session_given, &quotas->session, out_why)
		                  : take_limits(text, false, &quotas->user_given, &quotas->user, out_why);
	int result = parse_user(who, &uid, out_why);
	if (result < 0)
		return result;
	entry = entry_of(quotas, uid);
	if (!entry)
		return -ENOMEM;
	return of_session ? take_limits(text, true, &entry->session_given, &entry->session, out_why)
	                  : take_limits(text, false, &entry->user_given, &entry->user, out_why);
}

int quotas_guarantee(struct quotas *quotas, const char *text, char out_why[QUOTA_TEXT_MAX])
{
	char scope[PIECE_MAX], who[PIECE_MAX];
	struct quota_entry *entry;
	uint64_t bytes;
	uint32_t uid = 0;

	if (!cut(&text, ':', scope) || strcmp(scope, "user") != 0 || !cut(&text, '=', who))
		return wrong(out_why, "must be user:WHO=SIZE");
	if (size_parse(text, &bytes) < 0 || bytes == 0 || bytes == QUOTA_NONE)
		return wrong(out_why, "\"%.100s\" is not a size such as 64K or 1.5G", text);
	int result = parse_user(who, &uid, out_why);
	if (result < 0)
		return result;
	entry = entry_of(quotas, uid);
	if (!entry)
		return -ENOMEM;
	if (entry->guarantee)
		return wrong(out_why, "what is guaranteed to user %s is given twice", who);
	if (__builtin_add_overflow(quotas->guaranteed, bytes, &quotas->guaranteed))
		return wrong(out_why, "more is guaranteed than there can be");
	entry->guarantee = bytes;
	return 0;
}

static void fill_in(struct quota *quota, unsigned given, const struct quota *everybody)
{
	for (unsigned kind = 0; kind < QUOTA_KIND_COUNT; kind++) {
		if (!(given & 1u << kind))
			quota->limit[kind] = everybody->limit[kind];
	}
}

/* More is kept for the user than it may have. */
static int contradicts(const struct quota_entry *entry, char out_why[QUOTA_TEXT_MAX])
{
	char guarantee[SIZE_EXACT_MAX], limit[SIZE_EXACT_MAX];

	size_format_exact(entry->guarantee, guarantee);
	size_format_exact(entry->user.limit[QUOTA_BYTES], limit);
	return wrong(out_why,
	             "user %u is guaranteed %s, more than the %s that --quota lets it have: guarantee %s or less, or give it a "
	             "--quota of %s or more (user:%u:bytes=%s)",
	             (unsigned)entry->uid, guarantee, limit, limit, guarantee, (unsigned)entry->uid, guarantee);
}

int quotas_resolve(struct quotas *quotas, char out_why[QUOTA_TEXT_MAX])
{
	for (size_t i = 0; i < quotas->count; i++) {
		struct quota_entry *entry = &quotas->entries[i];
		fill_in(&entry->user, entry->user_given, &quotas->user);
		fill_in(&entry->session, entry->session_given, &quotas->session);
		if (entry->guarantee > entry->user.limit[QUOTA_BYTES])
			return contradicts(entry, out_why);
	}
	return 0;
}
