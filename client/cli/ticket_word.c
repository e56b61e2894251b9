/* SPDX-License-Identifier: Apache-2.0 */
#include "ticket_word.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define PREFIX "shmb1-"
#define ELLIPSIS "…"

/* A ticket has 32 letters and digits behind its prefix; one that was mistyped may lack some. */
#define TICKET_LEAST 30

/* As many are no word of a language: part of a ticket, perhaps. */
#define SECRET_LEAST 12

static size_t secret_length(const char *text)
{
	size_t length = 0;

	while (isalnum((unsigned char)text[length]))
		length++;
	return length;
}

bool ticket_word_is(const char *text)
{
	if (strncasecmp(text, PREFIX, strlen(PREFIX)) != 0)
		return false;
	text += strlen(PREFIX);
	size_t length = secret_length(text);
	return length >= TICKET_LEAST && text[length] == '\0';
}

void ticket_word_hide(char *text)
{
	_Static_assert(sizeof(ELLIPSIS) - 1 <= SECRET_LEAST, "what is hidden does not become longer");

	while ((text = strcasestr(text, PREFIX))) {
		text += strlen(PREFIX);
		size_t length = secret_length(text);
		if (length < SECRET_LEAST)
			continue;
		memcpy(text, ELLIPSIS, strlen(ELLIPSIS));
		text += strlen(ELLIPSIS);
		memmove(text, text + length - strlen(ELLIPSIS), strlen(text + length - strlen(ELLIPSIS)) + 1);
	}
}
