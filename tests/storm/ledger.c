/* SPDX-License-Identifier: Apache-2.0 */
/* Who has asked for what: see ledger.h. */
#include "tests/storm/ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/support/pattern.h"

struct ledger *ledger_new(void)
{
	struct ledger *ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (ledger == MAP_FAILED)
		return NULL;
	for (uint32_t i = 0; i < LEDGER_SEATS; i++)
		ledger->seats[i].number = i;
	return ledger;
}

void ledger_free(struct ledger *ledger)
{
	if (ledger)
		munmap(ledger, sizeof *ledger);
}

uint64_t ledger_next_serial(struct seat *seat)
{
	return atomic_fetch_add(&seat->serial, 1) + 1;
}

uint64_t ledger_seed(const struct seat *seat, uint64_t serial)
{
	return (uint64_t)(seat->number + 1) << 48 | serial;
}

size_t ledger_metadata(const struct ledger_hold *hold, uint8_t out_bytes[SHMB_METADATA_MAX])
{
	/* Every fifth is none. */
	size_t size = hold->metadata % 5 ? 1 + (hold->seed + 37 * (uint64_t)hold->metadata) % SHMB_METADATA_MAX : 0;

	pattern_write(out_bytes, size, hold->seed + ((uint64_t)hold->metadata << 40));
	return size;
}

struct ledger_hold *ledger_vacant_hold(struct seat *seat)
{
	for (unsigned i = 0; i < LEDGER_HOLDS; i++)
		if (atomic_load(&seat->holds[i].state) == HOLD_NONE)
			return &seat->holds[i];
	return NULL;
}

struct ledger_name *ledger_vacant_name(struct seat *seat)
{
	for (unsigned i = 0; i < LEDGER_NAMES; i++)
		if (NAME_STATE(atomic_load(&seat->names[i].word)) == NAME_NONE)
			return &seat->names[i];
	return NULL;
}

void ledger_name_text(const struct seat *seat, uint64_t serial, char out_text[LEDGER_NAME_TEXT])
{
	snprintf(out_text, LEDGER_NAME_TEXT, "storm/%" PRIu32 "/%" PRIu64, seat->number, serial);
}

bool ledger_find_name(struct ledger *ledger, const char *text, struct ledger_name **out_name)
{
	uint32_t number;
	uint64_t serial;

	if (sscanf(text, "storm/%" SCNu32 "/%" SCNu64, &number, &serial) != 2 || number >= LEDGER_SEATS)
		return false;
	for (unsigned i = 0; i < LEDGER_NAMES; i++) {
		struct ledger_name *name = &ledger->seats[number].names[i];
		uint64_t word = atomic_load(&name->word);
		if (NAME_SERIAL(word) == serial && NAME_STATE(word) != NAME_NONE) {
			*out_name = name;
			return true;
		}
	}
	return false;
}

void ledger_examine(const struct ledger_name *name, struct ledger_glimpse *out_glimpse)
{
	uint64_t word = atomic_load(&name->word);

	*out_glimpse = (struct ledger_glimpse){
		.word = word,
		.now = {atomic_load(&name->block), atomic_load(&name->size), atomic_load(&name->seed), atomic_load(&name->filled)},
		.next = {atomic_load(&name->next_block), atomic_load(&name->next_size), atomic_load(&name->next_seed), true},
	};
}

bool ledger_glimpse(const struct ledger_name *name, struct ledger_glimpse *out_glimpse)
{
	struct ledger_glimpse glimpse;

	ledger_examine(name, &glimpse);
	if (NAME_STATE(glimpse.word) == NAME_NONE || glimpse.word & NAME_TURN || atomic_load(&name->word) != glimpse.word)
		return false;
	*out_glimpse = glimpse;
	return true;
}

const struct ledger_target *ledger_target(const struct ledger_glimpse *glimpse, uint64_t block)
{
	enum name_state state = NAME_STATE(glimpse->word);

	if ((state == NAME_REPLACING || state == NAME_SETTLING) && glimpse->next.block == block)
		return &glimpse->next;
	return glimpse->now.block == 0 || glimpse->now.block == block ? &glimpse->now : NULL;
}

void ledger_replaced(struct ledger_name *name)
{
	uint64_t word = atomic_load(&name->word);

	atomic_store(&name->word, word + NAME_TURN);
	atomic_store(&name->block, atomic_load(&name->next_block));
	atomic_store(&name->size, atomic_load(&name->next_size));
	atomic_store(&name->seed, atomic_load(&name->next_seed));
	atomic_store(&name->filled, true);
	atomic_store(&name->word, word + 2 * NAME_TURN - NAME_REPLACING + NAME_PUBLISHED);
}

static enum ticket_state state_of(uint64_t word)
{
	return (enum ticket_state)(word & 0xff);
}

struct ledger_ticket *ledger_vacant_ticket(struct seat *seat)
{
	for (unsigned i = 0; i < LEDGER_TICKETS; i++)
		if (state_of(atomic_load(&seat->tickets[i].word)) == TICKET_NONE)
			return &seat->tickets[i];
	return NULL;
}

void ledger_offer(struct ledger_ticket *entry, const struct ledger_offer *offer)
{
	entry->offer = *offer;
	atomic_store(&entry->word, NAME_WORD(NAME_SERIAL(atomic_load(&entry->word)), TICKET_OFFERED));
}

bool ledger_take_offer(struct ledger_ticket *entry, struct ledger_offer *out_offer)
{
	uint64_t word = atomic_load(&entry->word), serial = NAME_SERIAL(word);

	if (state_of(word) != TICKET_OFFERED ||
	    !atomic_compare_exchange_strong(&entry->word, &word, NAME_WORD(serial, TICKET_TAKEN)))
		return false;
	*out_offer = entry->offer;
	atomic_store(&entry->word, NAME_WORD(serial, TICKET_NONE));
	return true;
}

void ledger_bury(struct seat *seat)
{
	for (unsigned i = 0; i < LEDGER_HOLDS; i++)
		atomic_store(&seat->holds[i].state, HOLD_NONE);
	for (unsigned i = 0; i < LEDGER_TICKETS; i++) {
		uint64_t word = atomic_load(&seat->tickets[i].word);
		if (state_of(word) == TICKET_SHARING)
			atomic_store(&seat->tickets[i].word, NAME_WORD(NAME_SERIAL(word), TICKET_NONE));
	}
	atomic_store(&seat->called_ns, 0);
	atomic_store(&seat->parked, false);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t ledger_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t ledger_boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}
