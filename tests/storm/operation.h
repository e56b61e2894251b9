/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations that a client of the storm does at random. Each is a line of OPERATIONS and a function: it writes into the
 * ledger what it is about to ask, calls the library by CLIENT_CALL, judges the answer, and writes that down. Another one takes a
 * line here, and a function in the room of its noun (operation_blocks.c, operation_changes.c, operation_names.c, operation_tickets.c,
 * operation_looks.c, operation_events.c, operation_forks.c).
 */
#ifndef TESTS_STORM_OPERATION_H
#define TESTS_STORM_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

struct client;

/* name, how often it is drawn, whether a read-only session may do it */
#define OPERATIONS(X)                                                                                                       \
	X(allocate, 30, false)                                                                                                  \
	X(allocate_named, 8, false)                                                                                             \
	X(allocate_batch, 6, false)                                                                                             \
	X(free, 24, true)                                                                                                       \
	X(free_batch, 8, true)                                                                                                  \
	X(free_again, 2, true)                                                                                                  \
	X(publish, 12, false)                                                                                                   \
	X(publish_taken, 2, false)                                                                                              \
	X(replace, 10, false)                                                                                                   \
	X(unpublish, 10, false)                                                                                                 \
	X(remove, 6, false)                                                                                                     \
	X(lookup, 24, true)                                                                                                     \
	X(acquire, 12, true)                                                                                                    \
	X(link, 8, false)                                                                                                       \
	X(unlink, 2, false)                                                                                                     \
	X(seal, 3, false)                                                                                                       \
	X(cache, 4, false)                                                                                                      \
	X(set_metadata, 6, false)                                                                                               \
	X(resize, 8, false)                                                                                                     \
	X(circle, 6, false)                                                                                                     \
	X(collect, 1, false)                                                                                                    \
	X(verify, 8, true)                                                                                                      \
	X(find, 8, true)                                                                                                        \
	X(walk, 1, true)                                                                                                        \
	X(allocate_wait, 4, false)                                                                                              \
	X(lookup_wait, 4, true)                                                                                                 \
	X(list, 1, true)                                                                                                        \
	X(fork, 1, true)                                                                                                        \
	X(ping, 2, true)                                                                                                        \
	X(share, 16, false)                                                                                                     \
	X(redeem, 20, true)                                                                                                     \
	X(revoke, 2, false)                                                                                                     \
	X(renew, 8, false)                                                                                                      \
	X(subscribe, 2, true)                                                                                                   \
	X(listen, 6, true)

enum operation_number {
#define OPERATION_NUMBER(name, weight, read_only) OPERATION_##name,
	OPERATIONS(OPERATION_NUMBER)
#undef OPERATION_NUMBER
		OPERATION_COUNT
};

struct operation {
	const char *name;
	unsigned weight;
	bool read_only;
	bool (*perform)(struct client *client); /* true: it was done; false: there was nothing to do it with */
};
extern const struct operation operations[OPERATION_COUNT];

#define OPERATION_PERFORM(name, weight, read_only) bool operation_##name(struct client *client);
OPERATIONS(OPERATION_PERFORM)
#undef OPERATION_PERFORM

/*
 * A clone of the session holds what any seat of the client holds, or has held: has there been one since the mark was taken? A process's own,
 * any thread.
 */
uint64_t operation_clone_mark(void);
bool operation_was_cloned(uint64_t mark);

/* Was it refused by a quota, of something other than memory? */
bool operation_is_limited(const struct client *client, int result);

/* Draws one that the client may do, does it, and counts it. */
void operation_draw(struct client *client);

#endif
