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

/* Threads of each client; in all as many as there are seats. */
static const uint32_t threads_of[CREW_MEMBERS] = {3, 2, 2, 1, 1, 1};

static struct seat *seat_of(const struct crew *crew, const struct crew_member *member, uint32_t thread)
{
	return &crew->ledger->seats[member->birth.first_seat + thread];
}

static void tell(const struct crew *crew, const struct crew_member *member, enum command command)
{
	for (uint32_t i = 0; i < member->birth.seats; i++)
		atomic_store(&seat_of(crew, member, i)->command, command);
}

static bool was_told(const struct crew *crew, const struct crew_member *member, enum command command)
{
	return atomic_load(&seat_of(crew, member, 0)->command) == command;
}

/* Puts a new client there. Some may only read. */
static void seat_one(struct crew *crew, struct crew_member *member, enum command command, bool read_only)
{
	for (uint32_t i = 0; i < member->birth.seats; i++)
		ledger_bury(seat_of(crew, member, i));
	tell(crew, member, command);
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
	for (uint32_t i = 0, seat = 0; i < CREW_MEMBERS; i++) {
		crew->members[i].birth =
			(struct client_birth){.ledger = ledger, .first_seat = seat, .seats = threads_of[i], .socket_path = socket_path};
		seat += threads_of[i];
		assert_in_range(seat, 1, LEDGER_SEATS);
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
		fail_msg("the client from seat %u on has ended with %d", (unsigned)member->birth.first_seat, status);
	return true;
}

void crew_refill(struct crew *crew)
{
	for (unsigned i = 0; i < CREW_MEMBERS; i++) {
		struct crew_member *member = &crew->members[i];
		if (member->process.pid && !has_ended(member))
			continue;
		crew->left += was_told(crew, member, COMMAND_LEAVE);
		seat_any(crew, member);
	}
}

/* ---- Disturbances ----------------------------------------------------------------------------------------------- */

static void kill_one(struct crew *crew, struct crew_member *member)
{
	assert_int_equal(kill(member->process.pid, SIGKILL), 0);
	int status = client_process_reap(&member->process);
	if (status != -SIGKILL && status != 0) /* it may just have left */
		fail_msg("the client from seat %u on has ended with %d", (unsigned)member->birth.first_seat, status);
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
	for (uint32_t i = 0; i < member->birth.seats; i++)
		atomic_store(&seat_of(crew, member, i)->called_ns, 0);
	member->stopped = true;
	crew->stopped++;
}

void crew_disturb(struct crew *crew)
{
	struct crew_member *member = &crew->members[pattern_below(&crew->random, CREW_MEMBERS)];

	switch (pattern_below(&crew->random, 6)) {
	case 0: tell(crew, member, COMMAND_LEAVE); break;
	case 1:
		if (!member->stopped)
			stop_one(crew, member);
		break;
	default: kill_one(crew, member); break;
	}
}

void crew_continue(struct crew *crew)
{
	for (unsigned i = 0; i < CREW_MEMBERS; i++) {
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
		for (unsigned i = 0; i < CREW_MEMBERS; i++)
			if (was_told(crew, &crew->members[i], COMMAND_RUN))
				tell(crew, &crew->members[i], COMMAND_PARK);
		if (all_parked(crew))
			return;
		poll(NULL, 0, 1);
	}
	fail_msg("the clients do not come to rest");
}

void crew_unpark(struct crew *crew)
{
	for (unsigned i = 0; i < CREW_MEMBERS; i++)
		tell(crew, &crew->members[i], COMMAND_RUN);
}

static bool has_names(const struct crew *crew, const struct crew_member *member)
{
	for (uint32_t i = 0; i < member->birth.seats; i++)
		for (unsigned k = 0; k < LEDGER_NAMES; k++)
			if (NAME_STATE(atomic_load(&seat_of(crew, member, i)->names[k].word)) != NAME_NONE)
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
	fail_msg("the client from seat %u on does not end", (unsigned)member->birth.first_seat);
}

void crew_clear(struct crew *crew)
{
	crew_continue(crew);
	for (unsigned i = 0; i < CREW_MEMBERS; i++)
		tell(crew, &crew->members[i], COMMAND_CLEAR);
	for (unsigned i = 0; i < CREW_MEMBERS; i++) {
		struct crew_member *member = &crew->members[i];
		await_end(member);
		if (!has_names(crew, member))
			continue;
		/* It could only read. */
		seat_one(crew, member, COMMAND_CLEAR, false);
		await_end(member);
		assert_false(has_names(crew, member));
	}
}

void crew_end(struct crew *crew)
{
	for (unsigned i = 0; i < CREW_MEMBERS; i++)
		client_process_end(&crew->members[i].process);
}
