/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client of the storm: a process that does operations at random until it is told otherwise, or killed. It expects every
 * call to succeed, or to be refused for a reason that its ledger explains, whatever becomes of the daemon meanwhile; anything
 * else ends it with a sentence on standard error and status 1.
 *
 * It works at one seat, or at several, each with a thread of its own; the session they share. `struct client` is one of them.
 */
#ifndef TESTS_STORM_CLIENT_H
#define TESTS_STORM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "shmbuddy.h"
#include "tests/storm/ledger.h"

struct client {
	struct ledger *ledger;
	struct seat *seat;
	shmb_session *session;
	bool read_only;
	bool alone; /* its process has no other thread */
	uint64_t random;
	shmb_handle gone; /* a block that was given back, and that nobody else can have held; id 0: none */
};

/* What a client is started with. */
struct client_birth {
	struct ledger *ledger;
	uint32_t first_seat, seats;
	uint64_t seed;
	bool read_only;
	const char *socket_path;
};

/* In a process of its own: the run() of client_process.h; `birth` is a struct client_birth. */
void client_run(int control, const void *birth);

/* The value of a call of the library, which the driver is told of while it lasts. */
#define CLIENT_CALL(client, call) (client_asks(client), client_is_answered(client, (call)))
void client_asks(struct client *client);
int client_is_answered(struct client *client, int result);

/* Ends the process with a sentence unless the condition holds; a failed call's own sentence comes along. */
#define CLIENT_EXPECT(client, condition)                                                                                    \
	do {                                                                                                                    \
		if (!(condition))                                                                                                   \
			client_fail(client, __FILE__, __LINE__, #condition);                                                            \
	} while (0)
_Noreturn void client_fail(const struct client *client, const char *file, int line, const char *condition);

/* Fails unless the block is where it was, and its bytes are its own. */
void client_verify(struct client *client, const struct ledger_hold *hold);

/* A block that the library gave has the address that it should have: a sealed one in the read-only mapping. */
void client_check_address(const struct client *client, const shmb_block *block);

/* Gives the hold back. */
void client_free(struct client *client, struct ledger_hold *hold);

/* A hold of this client; NULL: there is none. */
struct ledger_hold *client_any_hold(struct client *client);

#endif
