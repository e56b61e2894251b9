/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what each client of the storm has asked for, and what it was told. It lies in memory that the driver shares with
 * its clients, outside the pool, so that neither a client's kill nor the daemon's takes anything from it.
 *
 * A seat is a place at which one thread of a client works at a time. Its holds are void when the client dies. Its names stay:
 * the next client at the seat inherits them. Only who works there writes there, except where it says otherwise.
 *
 * An entry is written before the library is asked, and says so (ASKED, PUBLISHING, …); what the library answered comes next. A
 * kill in between leaves an open entry, of which nobody knows whether it came to be.
 *
 * The bytes of a block follow from its seed, which names the seat that made it and is used once.
 */
#ifndef TESTS_STORM_LEDGER_H
#define TESTS_STORM_LEDGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shmbuddy.h"
#include "tests/storm/operation.h"

#define LEDGER_SEATS 10
#define LEDGER_HOLDS 160
#define LEDGER_NAMES 32
#define LEDGER_NAME_TEXT 32
#define LEDGER_TICKETS 8

/* In a seed: the block has a time to live, or had one. */
#define LEDGER_TIMED (UINT64_C(1) << 47)

enum hold_state {
	HOLD_NONE,
	HOLD_ASKED, /* an allocation or a look-up is under way */
	HOLD_HELD,
	HOLD_GIVING, /* a free is under way */
};

/* One hold on a block, owned or looked up. A block that is held twice has two. */
struct ledger_hold {
	_Atomic uint32_t state; /* enum hold_state */
	bool filled;            /* the bytes are those of `seed`; else a look-up that came before they were written */
	bool secret;            /* was never published: nobody else can hold it */
	bool sealed;            /* by this seat; where the block is secret, else it is not */
	uint32_t metadata;      /* which it has, if it is secret: ledger_metadata */
	shmb_handle handle;
	uint64_t offset, size; /* bytes */
	uint64_t seed;
};

enum name_state {
	NAME_NONE,
	NAME_PUBLISHING, /* it may be there */
	NAME_PUBLISHED,  /* it is there */
	NAME_REMOVING,   /* it may still be there */
	NAME_REPLACING,  /* it is there, and stands for the one block or the next */
	NAME_SETTLING,   /* so it was, and it may still be there: who replaced it has died, and another takes it away */
};
/* A name's word also counts how often its target was written here: odd, it is being written. */
#define NAME_WORD(serial, state) ((uint64_t)(serial) << 32 | (uint64_t)(state))
#define NAME_SERIAL(word) ((word) >> 32)
#define NAME_STATE(word) ((enum name_state)((word)&0xffu))
#define NAME_TURN UINT64_C(0x100)

/* One name. The other seats read it. */
struct ledger_name {
	_Atomic uint64_t word;                             /* NAME_WORD: the serial is part of the name, and is used once */
	_Atomic uint64_t block;                            /* id; 0: allocated with its name, and not answered yet */
	_Atomic uint64_t size, seed;                       /* of the block */
	_Atomic bool filled;                               /* its bytes are written */
	_Atomic uint64_t next_block, next_size, next_seed; /* while it is REPLACING or SETTLING; its bytes are written */
};

enum ticket_state {
	TICKET_NONE,
	TICKET_SHARING, /* it may be there */
	TICKET_OFFERED, /* it is there, for whoever takes it first */
	TICKET_TAKEN,   /* it is just being taken: for ever, by one who is killed right then */
};

/* What is to be had by a ticket. */
struct ledger_offer {
	shmb_ticket ticket;
	uint64_t until;      /* nanoseconds of CLOCK_BOOTTIME: before that it has not expired */
	uint64_t size, seed; /* of the block */
	bool filled;
};

/* One ticket. Any seat may take it: from OFFERED by TAKEN to NONE. */
struct ledger_ticket {
	_Atomic uint64_t word; /* NAME_WORD, with an enum ticket_state */
	struct ledger_offer offer;
};

/* What the driver tells a client, at all of its seats. */
enum command {
	COMMAND_RUN,
	COMMAND_PARK,  /* verify everything, then wait */
	COMMAND_LEAVE, /* close the session and go, whatever is held */
	COMMAND_CLEAR, /* give everything back, names included, and go */
};

struct seat {
	uint32_t number;             /* from 0 */
	_Atomic uint32_t command;    /* enum command; the driver writes it */
	_Atomic bool parked;         /* everything has been verified, and nothing is under way */
	_Atomic uint64_t serial;     /* the last one of seeds and names: never used again */
	_Atomic uint64_t called_ns;  /* since when the client waits for an answer; 0: it does not, or was stopped meanwhile */
	_Atomic uint64_t longest_ns; /* that it ever waited, in calls during which it was not stopped */
	_Atomic uint64_t done[OPERATION_COUNT]; /* by all clients that sat here */
	_Atomic uint64_t out_of_memory;
	struct ledger_hold holds[LEDGER_HOLDS];
	struct ledger_name names[LEDGER_NAMES];
	struct ledger_ticket tickets[LEDGER_TICKETS];
};

struct ledger {
	bool limited; /* the daemons have quotas */
	bool zeroed;  /* the daemons hand out zeros: what was freed is cleaned */
	struct seat seats[LEDGER_SEATS];
};

/* All zeros but the seats' numbers, shared with whatever is forked. NULL: no memory. */
struct ledger *ledger_new(void);
void ledger_free(struct ledger *ledger);

/* A seed that was never used, and the seat that made it. */
uint64_t ledger_next_serial(struct seat *seat);
uint64_t ledger_seed(const struct seat *seat, uint64_t serial);

/* The metadata of a secret block, and how many bytes these are. */
size_t ledger_metadata(const struct ledger_hold *hold, uint8_t out_bytes[SHMB_METADATA_MAX]);

/* An entry that is not used; NULL: none is left. */
struct ledger_hold *ledger_vacant_hold(struct seat *seat);
struct ledger_name *ledger_vacant_name(struct seat *seat);

/* The name as the pool knows it, and back: false where no client of the storm made it. */
void ledger_name_text(const struct seat *seat, uint64_t serial, char out_text[LEDGER_NAME_TEXT]);
bool ledger_find_name(struct ledger *ledger, const char *text, struct ledger_name **out_name);

/* What a name stands for. */
struct ledger_target {
	uint64_t block, size, seed;
	bool filled;
};

/* A name at one moment. False: it is not in use, or just changes. Any seat. */
struct ledger_glimpse {
	uint64_t word;
	struct ledger_target now, next;
};
bool ledger_glimpse(const struct ledger_name *name, struct ledger_glimpse *out_glimpse);

/* The same where nobody can be writing. */
void ledger_examine(const struct ledger_name *name, struct ledger_glimpse *out_glimpse);

/* What the ledger says of the block that the name was found to stand for; NULL: that it does not. */
const struct ledger_target *ledger_target(const struct ledger_glimpse *glimpse, uint64_t block);

/* The name stands for the next block from now on. */
void ledger_replaced(struct ledger_name *name);

/* The same for tickets. Makes an offer of one that is SHARING; takes one that is OFFERED, false: it is not, or another seat was first. */
struct ledger_ticket *ledger_vacant_ticket(struct seat *seat);
void ledger_offer(struct ledger_ticket *entry, const struct ledger_offer *offer);
bool ledger_take_offer(struct ledger_ticket *entry, struct ledger_offer *out_offer);

/* The client has died: its holds are void, and it waits for nothing. For the driver. */
void ledger_bury(struct seat *seat);

uint64_t ledger_now_ns(void);  /* monotonic */
uint64_t ledger_boot_ns(void); /* CLOCK_BOOTTIME */

#endif
