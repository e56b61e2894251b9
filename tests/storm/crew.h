/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crew: the clients' processes, seen by the driver. Some work at one seat, some at several. It kills them, stops them, has them leave, and puts
 * new ones in their places. A client that ends by itself with anything but status 0 fails the test. Main thread only.
 */
#ifndef TESTS_STORM_CREW_H
#define TESTS_STORM_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/storm/client.h"
#include "tests/support/client_process.h"

/* A client each. */
#define CREW_MEMBERS 6

struct crew {
	struct ledger *ledger;
	uint64_t random;
	struct crew_member {
		struct client_process process;
		struct client_birth birth;
		bool stopped;
	} members[CREW_MEMBERS];
	unsigned started, killed, stopped, left;
};

/* Puts clients at all seats. The strings and the ledger stay the caller's. */
void crew_start(struct crew *crew, struct ledger *ledger, const char *socket_path, uint64_t seed);

/* Something happens to one of them, drawn at random: it is killed, stopped, or told to leave. */
void crew_disturb(struct crew *crew);

/* Those that were stopped go on. */
void crew_continue(struct crew *crew);

/* Others take the seats of those that have left. */
void crew_refill(struct crew *crew);

/* At how many seats somebody waits for an answer that was asked for before that moment, ledger_now_ns(). */
unsigned crew_waiting_since(const struct crew *crew, uint64_t moment_ns);

/* All of them verify what they hold, and wait; then they go on. */
void crew_park(struct crew *crew);
void crew_unpark(struct crew *crew);

/* All of them give back what they hold, take their names away, and go. */
void crew_clear(struct crew *crew);

/* For a teardown: kills whoever still runs. */
void crew_end(struct crew *crew);

#endif
