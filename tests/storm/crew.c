/* SPDX-License-Identifier: Apache-2.0 */
/* The clients' processes: see crew.h. */
#include "tests/storm/crew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/support/pattern.h"

#define PATIENCE_MS 60000

static struct seat *seat_of(const struct crew *crew, const struct crew_member *member)
{
	return &crew->ledger->seats[member->birth.seat];
}

/* Puts a new client there. Some may only read. */
static void seat_one(struct crew *crew, struct crew_member *member, enum command command, bool read_only)
{
	ledger_bury(seat_of(crew, member));
	atomic_store(&seat_of(crew, member)->command, command);
	member->birth.seed = pattern_random(&crew->random);
	member->birth.read_only = read_only;
	client_process_start(&member->process, client_run, &member->birth);
	crew->started++;
}

static void seat_any(struct crew *crew, struct crew_member *member)
{
	seat_one(crew, member, COMMAND_RUN, pattern_below(&crew->random, 8) == 0);
}

void crew_start(struct crew *crew, struct ledger *ledger, const char *socket_path, uint64_t seed)
{
	*crew = (struct crew){.ledger = ledger, .random = seed};
	for (uint32_t i = 0; i < LEDGER_SEATS; i++) {
		crew->members[i].birth = (struct client_birth){.ledger = ledger, .seat = i, .socket_path = socket_path};
		seat_any(crew, &crew->members[i]);
	}
}

/* Has it ended? Then it was told to, and found nothing wrong. */
static bool has_ended(struct crew_member *member)
{
	siginfo_t info = {0};

	assert_int_equal(waitid(P_PID, (id_t)member->process.pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	if (!info.si_pid)
		return false;
	int status = client_process_reap(&member->process);
	if (status != 0)
		fail_msg("the client at seat %u has ended with %d", (unsigned)member->birth.seat, status);
	return true;
}

void crew_refill(struct crew *crew)
{
	for (unsigned i = 0; i < LEDGER_SEATS; i++) {
		struct crew_member *member = &crew->members[i];
		if (member->process.pid && !has_ended(member))
			continue;
		if (atomic_load(&seat_of(crew, member)->command) == COMMAND_LEAVE)
			crew->left++;
		seat_any(crew, member);
	}
}

/* ---- Disturbances ----------------------------------------------------------------------------------------------- */

static void kill_one(struct crew *crew, struct crew_member *member)
{
	assert_int_equal(kill(member->process.pid, SIGKILL), 0);
	int status = client_process_reap(&member->process);
	if (status != -SIGKILL && status != 0) /* it may just have left */
		fail_msg("the client at seat %u has ended with %d", (unsigned)member->birth.seat, status);
	member->stopped = false;
	crew->killed++;
	seat_any(crew, member);
}

static void stop_one(struct crew *crew, struct crew_member *member)
{
	siginfo_t info = {0};

	assert_int_equal(kill(member->process.pid, SIGSTOP), 0);
	assert_int_equal(waitid(P_PID, (id_t)member->process.pid, &info, WSTOPPED | WEXITED | WNOWAIT), 0);
	if (info.si_code != CLD_STOPPED)
		return; /* it ended instead: crew_refill sees to it */
	atomic_store(&seat_of(crew, member)->called_ns, 0);
	member->stopped = true;
	crew->stopped++;
}

void crew_disturb(struct crew *crew)
{
	struct crew_member *member = &crew->members[pattern_below(&crew->random, LEDGER_SEATS)];

	switch (pattern_below(&crew->random, 6)) {
	case 0: atomic_store(&seat_of(crew, member)->command, COMMAND_LEAVE); break;
	case 1:
		if (!member->stopped)
			stop_one(crew, member);
		break;
	default: kill_one(crew, member); break;
	}
}

void crew_continue(struct crew *crew)
{
	for (unsigned i = 0; i < LEDGER_SEATS; i++) {
		if (!crew->members[i].stopped)
			continue;
		assert_int_equal(kill(crew->members[i].process.pid, SIGCONT), 0);
		crew->members[i].stopped = false;
	}
}

unsigned crew_waiting_since(const struct crew *crew, uint64_t moment_ns)
{
	unsigned waiting = 0;

	for (unsigned i = 0; i < LEDGER_SEATS; i++) {
		uint64_t called = atomic_load(&crew->ledger->seats[i].called_ns);
		waiting += called != 0 && called < moment_ns;
	}
	return waiting;
}

/* ---- Rest ------------------------------------------------------------------------------------------------------- */

static bool all_parked(const struct crew *crew)
{
	for (unsigned i = 0; i < LEDGER_SEATS; i++)
		if (!atomic_load(&crew->ledger->seats[i].parked))
			return false;
	return true;
}

void crew_park(struct crew *crew)
{
	crew_continue(crew);
	for (int waited = 0; waited < PATIENCE_MS; waited++) {
		crew_refill(crew);
		for (unsigned i = 0; i < LEDGER_SEATS; i++) {
			struct seat *seat = &crew->ledger->seats[i];
			if (atomic_load(&seat->command) == COMMAND_RUN)
				atomic_store(&seat->command, COMMAND_PARK);
		}
		if (all_parked(crew))
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("the clients do not come to rest");
}

void crew_unpark(struct crew *crew)
{
	for (unsigned i = 0; i < LEDGER_SEATS; i++)
		atomic_store(&crew->ledger->seats[i].command, COMMAND_RUN);
}

static bool has_names(const struct seat *seat)
{
	for (unsigned i = 0; i < LEDGER_NAMES; i++)
		if (NAME_STATE(atomic_load(&seat->names[i].word)) != NAME_NONE)
			return true;
	return false;
}

static void await_end(struct crew_member *member)
{
	for (int waited = 0; waited < PATIENCE_MS; waited++) {
		if (has_ended(member))
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("the client at seat %u does not end", (unsigned)member->birth.seat);
}

void crew_clear(struct crew *crew)
{
	crew_continue(crew);
	for (unsigned i = 0; i < LEDGER_SEATS; i++)
		atomic_store(&crew->ledger->seats[i].command, COMMAND_CLEAR);
	for (unsigned i = 0; i < LEDGER_SEATS; i++) {
		await_end(&crew->members[i]);
		if (!has_names(seat_of(crew, &crew->members[i])))
			continue;
		/* It could only read. */
		seat_one(crew, &crew->members[i], COMMAND_CLEAR, false);
		await_end(&crew->members[i]);
		assert_false(has_names(seat_of(crew, &crew->members[i])));
	}
}

void crew_end(struct crew *crew)
{
	for (unsigned i = 0; i < LEDGER_SEATS; i++)
		client_process_end(&crew->members[i].process);
}
