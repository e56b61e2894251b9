/* SPDX-License-Identifier: Apache-2.0 */
#include "user.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

const char *user_name(uint32_t uid)
{
	/* a listing has thousands of lines and few users, and a directory service may be slow */
	static char text[256];
	static uint32_t text_uid;
	static bool known;
	const struct passwd *entry;

	if (known && text_uid == uid)
		return text;
	entry = getpwuid(uid);
	if (entry)
		snprintf(text, sizeof(text), "%s", entry->pw_name);
	else
		snprintf(text, sizeof(text), "%" PRIu32, uid);
	text_uid = uid;
	known = true;
	return text;
}

int user_find(const char *text, uint32_t *out_uid)
{
	const struct passwd *entry = getpwnam(text);
	uint64_t uid = 0;

	if (entry) {
		*out_uid = entry->pw_uid;
		return 0;
	}
	if (!*text || strspn(text, "0123456789") != strlen(text))
		return -ENOENT;
	for (; *text && uid <= UINT32_MAX; text++)
		uid = 10 * uid + (uint64_t)(*text - '0');
	if (uid >= UINT32_MAX)
		return -ENOENT;
	*out_uid = (uint32_t)uid;
	return 0;
}
