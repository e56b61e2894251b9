/* SPDX-License-Identifier: Apache-2.0 */
/* A client's life: connect, clear up after the one before, operations, and the end that it is told. See client.h. */
#include "tests/storm/client.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/pattern.h"

_Noreturn void client_fail(const struct client *client, const char *file, int line, const char *condition)
{
	dprintf(STDERR_FILENO, "%s:%d: at seat %td, process %ld: not so: %s; last error: %s\n", file, line,
	        client->seat - client->ledger->seats, (long)getpid(), condition, shmb_last_error());
	_exit(1);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------ */

void client_asks(struct client *client)
{
	atomic_store(&client->seat->called_ns, ledger_now_ns());
}

int client_is_answered(struct client *client, int result)
{
	struct seat *seat = client->seat;
	/* The driver clears it when it stops the process: that time is not the daemon's. */
	uint64_t called = atomic_exchange(&seat->called_ns, 0), took = ledger_now_ns() - called;

	if (called && took > atomic_load(&seat->longest_ns))
		atomic_store(&seat->longest_ns, took);
	return result;
}

void client_verify(struct client *client, const struct ledger_hold *hold)
{
	const void *bytes = shmb_pointer(client->session, hold->offset);

	CLIENT_EXPECT(client, bytes);
	if (hold->secret && hold->filled) {
		uint8_t metadata[SHMB_METADATA_MAX], expected[SHMB_METADATA_MAX];
		size_t size;
		CLIENT_EXPECT(client, shmb_get_metadata(client->session, hold->handle, metadata, sizeof metadata, &size) == 0);
		CLIENT_EXPECT(client, size == ledger_metadata(hold, expected) && memcmp(metadata, expected, size) == 0);
	}
	if (!hold->filled || pattern_matches(bytes, hold->size, hold->seed))
		return;
	char text[128];
	snprintf(text, sizeof text, "block %" PRIu64 " at %" PRIu64 ", %" PRIu64 " bytes, has the bytes of seed %" PRIx64,
	         hold->handle.id, hold->offset, hold->size, hold->seed);
	client_fail(client, __FILE__, __LINE__, text);
}

void client_check_address(const struct client *client, const shmb_block *block)
{
	const void *expected = block->sealed ? shmb_pointer_read_only(client->session, block->offset)
	                                     : shmb_pointer(client->session, block->offset);

	CLIENT_EXPECT(client, expected && block->data == expected);
}

void client_free(struct client *client, struct ledger_hold *hold)
{
	client_verify(client, hold);
	atomic_store(&hold->state, HOLD_GIVING);
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_free(client->session, hold->handle)) == 0);
	if (hold->secret)
		client->gone = hold->handle;
	atomic_store(&hold->state, HOLD_NONE);
}

struct ledger_hold *client_any_hold(struct client *client)
{
	uint64_t at = pattern_below(&client->random, LEDGER_HOLDS);

	for (unsigned tries = 0; tries < LEDGER_HOLDS; tries++, at = (at + 1) % LEDGER_HOLDS)
		if (atomic_load(&client->seat->holds[at].state) == HOLD_HELD)
			return &client->seat->holds[at];
	return NULL;
}

/* ---- The beginning ---------------------------------------------------------------------------------------------- */

/* The daemon may be away just now. */
static void join(struct client *client, const char *socket_path)
{
	shmb_connect_options options = {
		.socket_path = socket_path,
		.program = "storm",
		.access = client->read_only ? SHMB_READ_ONLY : SHMB_READ_WRITE,
	};
	int result;

	while ((result = shmb_connect(&options, &client->session)) < 0) {
		CLIENT_EXPECT(client, result == -SHMB_E_NO_DAEMON || result == -SHMB_E_DISCONNECTED);
		poll(NULL, 0, 1);
	}
}

/* A name of which the client before, which was killed, did not know whether it is there, or for what. If it is, its block is whole. */
static void settle(struct client *client, struct ledger_name *name)
{
	struct ledger_glimpse glimpse;
	char text[LEDGER_NAME_TEXT];
	shmb_block block;

	ledger_examine(name, &glimpse);
	uint64_t serial = NAME_SERIAL(glimpse.word);
	ledger_name_text(client->seat, serial, text);
	int found = CLIENT_CALL(client, shmb_lookup(client->session, text, &block));
	CLIENT_EXPECT(client, found == 0 || (found == -SHMB_E_NO_SUCH_NAME && NAME_STATE(glimpse.word) != NAME_REPLACING));
	if (found == 0) {
		const struct ledger_target *target = ledger_target(&glimpse, block.handle.id);
		CLIENT_EXPECT(client, target && block.size == target->size);
		struct ledger_hold hold = {.filled = target->filled,
		                           .handle = block.handle,
		                           .offset = block.offset,
		                           .size = block.size,
		                           .seed = target->seed};
		client_free(client, &hold);
	}
	if (NAME_STATE(glimpse.word) == NAME_REPLACING)
		atomic_store(&name->word, glimpse.word - NAME_REPLACING + NAME_SETTLING);
	CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_unpublish(client->session, text)) == found);
	atomic_store(&name->word, NAME_WORD(serial, NAME_NONE));
}

static void settle_all(struct client *client)
{
	for (unsigned i = 0; i < LEDGER_NAMES; i++) {
		struct ledger_name *name = &client->seat->names[i];
		enum name_state state = NAME_STATE(atomic_load(&name->word));
		if (state != NAME_NONE && state != NAME_PUBLISHED)
			settle(client, name);
	}
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

static void park(struct client *client)
{
	for (unsigned i = 0; i < LEDGER_HOLDS; i++)
		if (atomic_load(&client->seat->holds[i].state) == HOLD_HELD)
			client_verify(client, &client->seat->holds[i]);
	atomic_store(&client->seat->parked, true);
	while (atomic_load(&client->seat->command) == COMMAND_PARK)
		poll(NULL, 0, 1);
	atomic_store(&client->seat->parked, false);
}

static void clear(struct client *client)
{
	for (struct ledger_hold *hold; (hold = client_any_hold(client));)
		client_free(client, hold);
	for (unsigned i = 0; i < LEDGER_NAMES && !client->read_only; i++) {
		struct ledger_name *name = &client->seat->names[i];
		uint64_t word = atomic_load(&name->word);
		char text[LEDGER_NAME_TEXT];
		if (NAME_STATE(word) == NAME_NONE)
			continue;
		ledger_name_text(client->seat, NAME_SERIAL(word), text);
		atomic_store(&name->word, NAME_WORD(NAME_SERIAL(word), NAME_REMOVING));
		CLIENT_EXPECT(client, CLIENT_CALL(client, shmb_unpublish(client->session, text)) == 0);
		atomic_store(&name->word, NAME_WORD(NAME_SERIAL(word), NAME_NONE));
	}
}

static void *work(void *argument)
{
	struct client *client = argument;

	for (;;) {
		switch ((enum command)atomic_load(&client->seat->command)) {
		case COMMAND_RUN: operation_draw(client); break;
		case COMMAND_PARK: park(client); break;
		case COMMAND_CLEAR: clear(client); return NULL;
		case COMMAND_LEAVE: return NULL;
		}
	}
}

/* Takes a seat of the client, which has a session already, or makes one here. */
static void sit(struct client *client, const struct client_birth *birth, uint32_t which, shmb_session *session)
{
	*client = (struct client){
		.ledger = birth->ledger,
		.seat = &birth->ledger->seats[birth->first_seat + which],
		.session = session,
		.read_only = birth->read_only,
		.alone = birth->seats == 1,
		.random = birth->seed + which,
	};
	if (!session)
		join(client, birth->socket_path);
	if (!birth->read_only)
		settle_all(client);
}

void client_run(int control, const void *argument)
{
	const struct client_birth *birth = argument;
	struct client clients[LEDGER_SEATS];
	pthread_t threads[LEDGER_SEATS];

	close(control); /* what there is to say stands in the ledger */
	sit(&clients[0], birth, 0, NULL);
	for (uint32_t i = 1; i < birth->seats; i++) {
		sit(&clients[i], birth, i, clients[0].session);
		CLIENT_EXPECT(&clients[i], pthread_create(&threads[i], NULL, work, &clients[i]) == 0);
	}
	work(&clients[0]);
	for (uint32_t i = 1; i < birth->seats; i++)
		pthread_join(threads[i], NULL);
	shmb_close(clients[0].session);
}
