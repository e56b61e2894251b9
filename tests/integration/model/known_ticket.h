/* SPDX-License-Identifier: Apache-2.0 */
/* known_ticket: a ticket, live or used up. */
#ifndef TESTS_INTEGRATION_MODEL_KNOWN_TICKET_H
#define TESTS_INTEGRATION_MODEL_KNOWN_TICKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "shmbuddy.h"

#define KNOWN_TICKETS 60

struct known_block;

struct known_ticket {
	shmb_ticket ticket;
	struct known_block *block; /* NULL: it is gone, or was never given */
	uid_t uid;                 /* who made it */
	bool bound;
	uid_t for_uid; /* the only one who may redeem it, if it is bound */
	int by;        /* actor, or NOBODY: its session has ended */
};

/* A place for another, or NULL; any one, live or not. */
struct known_ticket *known_ticket_vacancy(void);
struct known_ticket *known_ticket_any(void);

void known_ticket_add(struct known_ticket *place, const struct known_ticket *ticket);

/* It goes; its block may end by that. */
void known_ticket_drop(struct known_ticket *ticket);

unsigned known_ticket_count(void);

#endif
