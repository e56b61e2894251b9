/* SPDX-License-Identifier: Apache-2.0 */
/* outcome: what an operation led to, its answer without what differs from run to run, and the tables. */
#ifndef TESTS_INTEGRATION_COMMIT_POINTS_OUTCOME_H
#define TESTS_INTEGRATION_COMMIT_POINTS_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "shmbuddy.pb-c.h"

struct outcome {
	Shmbuddy__V1__Status status;
	uint64_t blocks, size, granted; /* in the answer */
	uint64_t counted[14];
};

/* The trial remembers block and ticket. */
void outcome_keep_answer(struct outcome *outcome, const Shmbuddy__V1__Reply *reply);

/* As a recount finds them; fails where they contradict each other. */
void outcome_keep_tables(struct outcome *outcome);

/* The session has another block of so many bytes. */
void outcome_add_owned(struct outcome *outcome, uint64_t bytes);

bool outcome_is_same(const struct outcome *one, const struct outcome *two);

/* Fails unless a program learns the same from both, word by word. */
void outcome_expect_same_answer(Shmbuddy__V1__Reply *one, Shmbuddy__V1__Reply *two);

#endif
