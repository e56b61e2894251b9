/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accounting: what the daemon says of users beside what the tables say (charges.h). A test that includes this includes shmbuddy.h itself too,
 * which links the library. Main thread only.
 */
#ifndef TESTS_SUPPORT_ACCOUNTING_H
#define TESTS_SUPPORT_ACCOUNTING_H

#include <stdint.h>

#include "shmbuddy.h"

/*
 * Fails the running test unless both agree on every user, for a pool at rest. Asks on a session of its own, which counts, and is closed. What
 * there is of the user with this uid goes to `out_user`, which may be NULL.
 */
void accounting_agrees(const char *pool, const char *socket_path, uint32_t uid, shmb_user_info *out_user);

#endif
