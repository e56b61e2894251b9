/* SPDX-License-Identifier: Apache-2.0 */
/* Tickets, as the model knows them: see known_ticket.h. */
#include "tests/integration/model/known_ticket.h"

#include <stddef.h>

#include "tests/integration/model/model.h"

static unsigned count;

struct known_ticket *known_ticket_vacancy(void)
{
	for (uint64_t tries = 0, at = model_below(KNOWN_TICKETS); tries < KNOWN_TICKETS; tries++, at = (at + 1) % KNOWN_TICKETS)
		if (!model.tickets[at].block)
			return &model.tickets[at];
	return NULL;
}

struct known_ticket *known_ticket_any(void)
{
	return &model.tickets[model_below(KNOWN_TICKETS)];
}

void known_ticket_add(struct known_ticket *place, const struct known_ticket *ticket)
{
	*place = *ticket;
	place->block->tickets++;
	count++;
}

void known_ticket_drop(struct known_ticket *ticket)
{
	struct known_block *block = ticket->block;

	ticket->block = NULL;
	block->tickets--;
	count--;
	known_block_settle(block);
}

unsigned known_ticket_count(void)
{
	return count;
}
