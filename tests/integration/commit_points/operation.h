/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations in which the daemon dies. Another one takes a line in the list of the room of its noun (operation_X.c), or a room of its own and
 * a list here and in test_commit_points.c. What several rooms find beforehand stands in preparation.h.
 */
#ifndef TESTS_INTEGRATION_COMMIT_POINTS_OPERATION_H
#define TESTS_INTEGRATION_COMMIT_POINTS_OPERATION_H

#include <stdbool.h>

#include "shmbuddy.pb-c.h"

struct operation {
	const char *name;
	void (*prepare)(void);
	Shmbuddy__V1__Request *(*request)(void); /* NULL: the operation is `act` */
	/* Ends or opens a session. True: it has happened; false: the daemon died first. `again`: it did, and was restarted. */
	bool (*act)(bool again);
};

/* Each ends with one that has no name. */
extern const struct operation operation_sessions[], operation_blocks[], operation_removals[], operation_names[],
	operation_links[], operation_tickets[], operation_leases[], operation_changes[], operation_cache[], operation_holds[],
	operation_waits[];

#endif
