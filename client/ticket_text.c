/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets as text, for pipes, environments and people: `shmb1-` and 32 digits of base 32 (D. Crockford's alphabet: no i, l, o, u; read without
 * regard to case, and i and l as 1, o as 0). They stand for the token's 16 bytes and their CRC-32C, 160 bits, the first bit first: whoever
 * mistypes one is told so, instead of that there is no such ticket. No state: any thread.
 */
#include "shmbuddy.h"

#include <string.h>
#include <strings.h>

#include "checksum.h"
#include "last_error.h"

#define PREFIX "shmb1-"
#define PREFIX_LENGTH (sizeof PREFIX - 1)
#define DIGITS 32u
#define BYTES 20u

_Static_assert(DIGITS * 5 == BYTES * 8, "all bits");
_Static_assert(PREFIX_LENGTH + DIGITS + 1 == SHMB_TICKET_TEXT_MAX, "room for the text");

static const char alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* The token and its checksum. */
static void spell_out(const shmb_ticket *ticket, uint8_t out_bytes[BYTES])
{
	uint32_t checksum = checksum_of(ticket->token, sizeof ticket->token);

	memcpy(out_bytes, ticket->token, sizeof ticket->token);
	for (unsigned i = 0; i < 4; i++)
		out_bytes[sizeof ticket->token + i] = (uint8_t)(checksum >> (24 - 8 * i));
}

void shmb_ticket_format(shmb_ticket ticket, char out_text[SHMB_TICKET_TEXT_MAX])
{
	uint8_t bytes[BYTES + 1] = {0};

	spell_out(&ticket, bytes);
	memcpy(out_text, PREFIX, PREFIX_LENGTH);
	for (unsigned i = 0; i < DIGITS; i++) {
		unsigned at = 5 * i / 8, pair = (unsigned)bytes[at] << 8 | bytes[at + 1];
		out_text[PREFIX_LENGTH + i] = alphabet[pair >> (11 - 5 * i % 8) & 31];
	}
	out_text[PREFIX_LENGTH + DIGITS] = '\0';
}

/* -1: no digit. */
static int value_of(char digit)
{
	if (digit >= 'A' && digit <= 'Z')
		digit = (char)(digit - 'A' + 'a');
	if (digit == 'i' || digit == 'l')
		digit = '1';
	if (digit == 'o')
		digit = '0';
	const char *found = digit ? strchr(alphabet, digit) : NULL;
	return found ? (int)(found - alphabet) : -1;
}

int shmb_ticket_parse(const char *text, shmb_ticket *out_ticket)
{
	uint8_t bytes[BYTES] = {0}, expected[BYTES];
	shmb_ticket ticket;

	if (!text || !out_ticket)
		return last_error_set(ERROR_INVALID_ARGUMENT, "%s is NULL", text ? "out_ticket" : "text");
	if (strncasecmp(text, PREFIX, PREFIX_LENGTH) != 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "that is no ticket: tickets begin with " PREFIX);
	if (strlen(text) != PREFIX_LENGTH + DIGITS)
		return last_error_set(ERROR_INVALID_ARGUMENT, "a ticket has %u characters, and this has %zu: it is not whole",
		                      (unsigned)(PREFIX_LENGTH + DIGITS), strlen(text));
	for (unsigned i = 0; i < DIGITS; i++) {
		int value = value_of(text[PREFIX_LENGTH + i]);
		if (value < 0)
			return last_error_set(ERROR_INVALID_ARGUMENT,
			                      "the ticket was mistyped: its character %u is none that tickets have",
			                      (unsigned)PREFIX_LENGTH + i + 1);
		unsigned at = 5 * i / 8, pair = (unsigned)value << (11 - 5 * i % 8);
		bytes[at] |= (uint8_t)(pair >> 8);
		if (at + 1 < BYTES)
			bytes[at + 1] |= (uint8_t)pair;
	}
	memcpy(ticket.token, bytes, sizeof ticket.token);
	spell_out(&ticket, expected);
	if (memcmp(bytes, expected, BYTES) != 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the ticket was mistyped: its checksum is wrong");
	*out_ticket = ticket;
	return 0;
}
