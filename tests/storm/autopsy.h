/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The autopsy: where in which operation a daemon was when it died, as the tables of its pool tell (state_layout.h); and the
 * histogram of many. Reads by pread, so that holes stay holes. For a pool without a daemon.
 */
#ifndef TESTS_STORM_AUTOPSY_H
#define TESTS_STORM_AUTOPSY_H

#include <stdbool.h>
#include <stdint.h>

#include "server/state_layout.h"

/* How far the operation of the open slot had come. */
enum autopsy_stage {
	AUTOPSY_BEGUN,   /* FILLING, and no record is marked */
	AUTOPSY_MARKED,  /* FILLING, and some are PENDING or FREEING */
	AUTOPSY_DECIDED, /* DECIDED, and some are still marked */
	AUTOPSY_APPLIED, /* DECIDED, and no record is marked: by itself, or not any more */
	AUTOPSY_STAGES
};

struct autopsy {
	bool open; /* a slot was */
	enum slot_operation operation;
	enum autopsy_stage stage;
	unsigned marked;    /* records */
	unsigned dying;     /* sessions whose holds were being dropped */
	unsigned condemned; /* blocks of circles of links that were being collected */
	bool collected;     /* and their end was decided */
};

/* Fails the test where more than one slot is open, or records are marked though none is; or blocks condemned that are not dying. */
void autopsy_of(const char *pool, struct autopsy *out_autopsy);

#define AUTOPSY_OPERATIONS (SLOT_REVOKE + 1)

struct histogram {
	unsigned open[AUTOPSY_OPERATIONS][AUTOPSY_STAGES];
	unsigned dying, idle;  /* no slot was open: a dead session's holds were being dropped, or not */
	unsigned condemned[2]; /* of all these, while circles were being collected: undecided, decided */
};

void histogram_add(struct histogram *histogram, const struct autopsy *autopsy);
void histogram_print(const struct histogram *histogram);

#endif
