/* SPDX-License-Identifier: Apache-2.0 */
/* Names and sentences of the codes in errors.def. */
#include "errors.h"

#include <stddef.h>

struct entry {
	int code;
	const char *name;
	const char *sentence;
};

static const struct entry entries[] = {
	{0, "SHMB_OK", "success"},
#define SHMB_ERROR(name, code, sentence) {(code), "SHMB_E_" #name, (sentence)},
#include "errors.def"
};

static const struct entry unknown = {-1, "SHMB_E_UNKNOWN", "unknown error"};

static const struct entry *find(int code)
{
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		/* The entry is negated, not `code`: the negative of INT_MIN is no int. */
		if (entries[i].code == code || -entries[i].code == code)
			return &entries[i];
	}
	return &unknown;
}

const char *error_name(int code)
{
	return find(code)->name;
}

const char *error_sentence(int code)
{
	return find(code)->sentence;
}
