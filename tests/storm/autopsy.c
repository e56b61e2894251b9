/* SPDX-License-Identifier: Apache-2.0 */
/* Where the daemon was when it died: see autopsy.h. */
#include "tests/storm/autopsy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

/* All of an object, or its tables up to `most` bytes; the caller frees it. */
static void *read_object(const char *pool, const char *suffix)
{
	char path[128];
	struct stat status;

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s%s", pool, suffix);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	uint8_t *bytes = malloc((size_t)status.st_size);
	assert_non_null(bytes);
	for (off_t at = 0; at < status.st_size;) {
		ssize_t got = pread(fd, bytes + at, (size_t)(status.st_size - at), at);
		assert_true(got > 0);
		at += got;
	}
	return bytes;
}

static bool is_marked(enum record_state state)
{
	return state == RECORD_PENDING || state == RECORD_FREEING;
}

static unsigned marked_in_view(const uint8_t *bytes)
{
	const struct view_header *header = (const struct view_header *)(const void *)bytes;
	const struct block_record *blocks = (const struct block_record *)(const void *)(bytes + header->blocks_at);
	const struct name_record *names = (const struct name_record *)(const void *)(bytes + header->names_at);
	unsigned marked = 0;

	for (uint32_t i = 0; i < header->max_blocks; i++)
		marked += is_marked(record_state(atomic_load(&blocks[i].word)));
	for (uint32_t i = 0; i < header->max_names; i++)
		marked += is_marked(record_state(atomic_load(&names[i].word)));
	return marked;
}

static unsigned count_condemned(const uint8_t *bytes)
{
	const struct view_header *header = (const struct view_header *)(const void *)bytes;
	const struct block_record *blocks = (const struct block_record *)(const void *)(bytes + header->blocks_at);
	unsigned condemned = 0;

	for (uint32_t i = 0; i < header->max_blocks; i++) {
		uint64_t word = atomic_load(&blocks[i].word);
		if ((word & RECORD_CONDEMNED) && record_state(word) != RECORD_DYING)
			fail_msg("block record %u is condemned, and not dying", (unsigned)i);
		condemned += (word & RECORD_CONDEMNED) != 0;
	}
	return condemned;
}

static unsigned marked_in_state(const uint8_t *bytes)
{
	const struct state_header *header = (const struct state_header *)(const void *)bytes;
	const struct reference_record *records = (const struct reference_record *)(const void *)(bytes + header->references_at);
	const struct ticket_record *tickets = (const struct ticket_record *)(const void *)(bytes + header->tickets_at);
	const struct lease_record *leases = (const struct lease_record *)(const void *)(bytes + header->leases_at);
	unsigned marked = 0;

	for (uint32_t i = 0; i < header->max_references; i++)
		marked += is_marked(REFERENCE_STATE(atomic_load(&records[i].word)));
	for (uint32_t i = 0; i < header->max_tickets; i++)
		marked += is_marked(record_state(atomic_load(&tickets[i].word)));
	for (uint32_t i = 0; i < header->max_leases; i++)
		marked += is_marked(LEASE_STATE(atomic_load(&leases[i].word)));
	return marked;
}

/* The open slot; NULL: there is none. */
static const struct slot_record *find_slot(const uint8_t *bytes, struct autopsy *autopsy)
{
	const struct state_header *header = (const struct state_header *)(const void *)bytes;
	const struct session_record *sessions = (const struct session_record *)(const void *)(bytes + header->sessions_at);
	const struct slot_record *open = NULL;

	for (uint32_t number = 1; number < header->max_sessions; number++) {
		uint64_t state = atomic_load(&sessions[number].word) & 0xff;
		autopsy->dying += state == SESSION_DEAD;
		for (unsigned i = 0; i < SESSION_SLOTS && state != SESSION_FREE; i++) {
			const struct slot_record *slot = &sessions[number].slots[i];
			enum slot_phase phase = SLOT_PHASE(atomic_load(&slot->word));
			if (phase != SLOT_FILLING && phase != SLOT_DECIDED)
				continue;
			if (open)
				fail_msg("two slots are open, the second one of session %u", (unsigned)number);
			open = slot;
		}
	}
	return open;
}

void autopsy_of(const char *pool, struct autopsy *out_autopsy)
{
	CLEANUP_FREE uint8_t *view = read_object(pool, ".view");
	CLEANUP_FREE uint8_t *state = read_object(pool, ".state");
	struct autopsy autopsy = {0};
	const struct slot_record *slot = find_slot(state, &autopsy);

	autopsy.marked = marked_in_view(view) + marked_in_state(state);
	autopsy.condemned = count_condemned(view);
	autopsy.collected = atomic_load(&((const struct state_header *)(const void *)state)->collection) != 0;
	if (slot) {
		bool decided = SLOT_PHASE(atomic_load(&slot->word)) == SLOT_DECIDED;
		autopsy.open = true;
		/* Begun in this very moment, it is still that of the request before. */
		autopsy.operation = slot->operation < AUTOPSY_OPERATIONS ? (enum slot_operation)slot->operation : SLOT_NOTHING;
		if (decided)
			autopsy.stage = autopsy.marked ? AUTOPSY_DECIDED : AUTOPSY_APPLIED;
		else
			autopsy.stage = autopsy.marked ? AUTOPSY_MARKED : AUTOPSY_BEGUN;
	} else if (autopsy.marked) {
		fail_msg("%u records are marked, and no slot is open", autopsy.marked);
	}
	*out_autopsy = autopsy;
}

/* ---- The histogram ---------------------------------------------------------------------------------------------- */

void histogram_add(struct histogram *histogram, const struct autopsy *autopsy)
{
	if (autopsy->open)
		histogram->open[autopsy->operation][autopsy->stage]++;
	else if (autopsy->dying)
		histogram->dying++;
	else
		histogram->idle++;
	if (autopsy->condemned || autopsy->collected)
		histogram->condemned[autopsy->collected]++;
}

void histogram_print(const struct histogram *histogram)
{
	static const char *const names[AUTOPSY_OPERATIONS] = {
		[SLOT_NOTHING] = "(not written yet)",
		[SLOT_ALLOCATE] = "allocate",
		[SLOT_ALLOCATE_BATCH] = "allocate batch",
		[SLOT_FREE] = "free",
		[SLOT_FREE_BATCH] = "free batch",
		[SLOT_PUBLISH] = "publish",
		[SLOT_UNPUBLISH] = "unpublish",
		[SLOT_LOOKUP] = "look up",
		[SLOT_REMOVE] = "remove",
		[SLOT_ACQUIRE] = "acquire",
		[SLOT_LINK] = "link",
		[SLOT_UNLINK] = "unlink",
		[SLOT_CLONE] = "clone",
		[SLOT_SHARE] = "share",
		[SLOT_REDEEM] = "redeem",
		[SLOT_RENEW] = "renew",
		[SLOT_REVOKE] = "revoke",
		[SLOT_SEAL] = "seal",
		[SLOT_SET_METADATA] = "set metadata",
		[SLOT_RESIZE] = "resize",
	};

	printf("where the daemon fell     begun   marked  decided  applied\n");
	for (unsigned i = 0; i < AUTOPSY_OPERATIONS; i++) {
		const unsigned *row = histogram->open[i];
		if ((i == SLOT_NOTHING || !names[i]) && !(row[0] + row[1] + row[2] + row[3]))
			continue;
		printf("  %-20s %8u %8u %8u %8u\n", names[i] ? names[i] : "(unknown)", row[AUTOPSY_BEGUN], row[AUTOPSY_MARKED],
		       row[AUTOPSY_DECIDED], row[AUTOPSY_APPLIED]);
	}
	printf("  no slot open: %u while a dead client's holds were dropped, %u else\n", histogram->dying, histogram->idle);
	printf("  in the middle of a collection: %u before it was decided, %u after\n", histogram->condemned[0],
	       histogram->condemned[1]);
}
