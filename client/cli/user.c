/* SPDX-License-Identifier: Apache-2.0 */
#include "user.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>

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
