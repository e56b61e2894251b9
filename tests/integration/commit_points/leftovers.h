/* SPDX-License-Identifier: Apache-2.0 */
/* leftovers: what there must be none of when all has been given back. */
#ifndef TESTS_INTEGRATION_COMMIT_POINTS_LEFTOVERS_H
#define TESTS_INTEGRATION_COMMIT_POINTS_LEFTOVERS_H

/* The sessions go on, give all back, and end, but for `other`; then the pool is empty. */
void leftovers_expect_none(void);

#endif
