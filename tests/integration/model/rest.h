/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rest: some of what follows from a step comes a moment after its answer: looks at hold pages, links of what is gone, times that have passed, the
 * end of a session, those who waited. Here the driver waits until it has happened.
 */
#ifndef TESTS_INTEGRATION_MODEL_REST_H
#define TESTS_INTEGRATION_MODEL_REST_H

#include <stdint.h>

/* This block has ended, or is about to. */
void rest_expect_end(uint64_t id);

/* Hears whoever has waited, and waits until the pool's counters, or what has become of its own blocks, are as the model says. */
void rest_await(void);

#endif
