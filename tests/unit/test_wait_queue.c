/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The line of those who wait for memory: who is served, in which order, who overtakes whom and how often, and who is told that its time is
 * over. Memory that is withheld (withheld.h) comes back through it as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <uv.h>

#include "server/buddy.h"
#include "server/wait_queue.h"
#include "server/withheld.h"
#include "tests/unit/draw.h"

#define UNITS 256
#define LONG 1000000 /* milliseconds that do not pass */
#define PIECES_MAX 4

static uv_loop_t loop;
static uint64_t memory[512];
static struct buddy buddy;
static struct timeouts timeouts;
static struct wait_queue queue;
static struct withheld withheld;

#define NO_ANSWER 1

struct customer {
	struct waiter waiter; /* first: the waiter is the customer */
	uint64_t wants[PIECES_MAX];
	size_t pieces;
	uint64_t offsets[PIECES_MAX], granted[PIECES_MAX]; /* once it is served */
	unsigned takes, overtaken;
	int answer; /* NO_ANSWER; 0: served; or as ended() has it */
};

static unsigned takes;
static void (*served)(struct customer *customer);

static void give_back(struct customer *customer)
{
	for (size_t i = 0; i < customer->pieces; i++)
		buddy_release(&buddy, customer->offsets[i], customer->granted[i]);
	wait_queue_wake(&queue);
}

static bool take(struct waiter *waiter)
{
	struct customer *customer = (struct customer *)waiter;
	size_t done = 0;

	takes++;
	customer->takes++;
	while (done < customer->pieces &&
	       buddy_allocate(&buddy, customer->wants[done], 1, &customer->offsets[done], &customer->granted[done]) == 0)
		done++;
	if (done == customer->pieces)
		return true;
	while (done-- > 0)
		buddy_release(&buddy, customer->offsets[done], customer->granted[done]);
	return false;
}

static void ended(struct waiter *waiter, int result)
{
	struct customer *customer = (struct customer *)waiter;

	assert_null(waiter->queue);
	assert_int_equal(customer->answer, NO_ANSWER);
	customer->answer = result;
	if (result == 0 && served)
		served(customer);
}

static void be(struct customer *customer, const uint64_t *wants, size_t pieces)
{
	*customer = (struct customer){.waiter = {.take = take, .ended = ended}, .pieces = pieces, .answer = NO_ANSWER};
	for (size_t i = 0; i < pieces; i++) {
		customer->wants[i] = wants[i];
		assert_int_equal(demand_add(&customer->waiter.demand, wants[i], 1), 0);
	}
}

static struct customer customer_of(uint64_t units)
{
	struct customer customer;

	be(&customer, &units, 1);
	return customer;
}

static int join(struct customer *customer, uint32_t wait_ms)
{
	return wait_queue_join(&queue, &customer->waiter, wait_ms);
}

/* As whoever asks does it. 0: served at once. Else what join says: negative, or 1: it waits. */
static int ask(struct customer *customer, uint32_t wait_ms)
{
	bool set_aside = wait_queue_is_set_aside(&queue);

	if (!set_aside && take(&customer->waiter)) {
		wait_queue_overtake(&queue);
		customer->answer = 0;
		return 0;
	}
	if (set_aside && !wait_ms)
		return -EBUSY;
	int result = join(customer, wait_ms);
	return result ? result : 1;
}

/* All who can be served are. */
static void settle(void)
{
	while (uv_is_active((uv_handle_t *)&queue.looking))
		uv_run(&loop, UV_RUN_NOWAIT);
}

static int setup(void **state)
{
	(void)state;
	memset(memory, 0, sizeof memory);
	assert_true(buddy_footprint(UNITS) <= sizeof memory);
	assert_int_equal(buddy_init(&buddy, memory, UNITS), 0);
	assert_int_equal(uv_loop_init(&loop), 0);
	timeouts_init(&timeouts, &loop);
	wait_queue_init(&queue, &loop, &buddy, &timeouts);
	withheld_init(&withheld, &buddy, &queue);
	takes = 0;
	served = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wait_queue_deinit(&queue);
	wait_queue_deinit(&queue);
	timeouts_deinit(&timeouts);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

/* ---- With a time of their own ----------------------------------------------------------------------------------- */

static void test_first_come_first_served(void **state)
{
	struct customer waiting[3] = {customer_of(64), customer_of(64), customer_of(64)};

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(join(&waiting[i], LONG), 0);
	assert_int_equal(queue.patient_count, 3);
	assert_int_equal(queue.blocks, 3);
	buddy_release(&buddy, 64, 64);
	wait_queue_wake(&queue);
	assert_int_equal(waiting[0].answer, NO_ANSWER); /* never from within */
	settle();
	assert_int_equal(waiting[0].answer, 0);
	assert_int_equal(waiting[1].answer, NO_ANSWER);
	assert_true(wait_queue_leave(&waiting[1].waiter));
	assert_false(wait_queue_leave(&waiting[1].waiter));
	settle();
	assert_int_equal(waiting[1].answer, NO_ANSWER); /* without a word */
	give_back(&waiting[0]);
	settle();
	assert_int_equal(waiting[2].answer, 0);
	assert_int_equal(queue.patient_count, 0);
	assert_int_equal(queue.orders, 0);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* no timer is left */
}

/* Small ones go past a large one so often, and no oftener; then all is kept for it, and goes on when it has left. */
static void test_set_aside(void **state)
{
	struct customer large = customer_of(UNITS), small = customer_of(1), behind = customer_of(2);

	(void)state;
	buddy_reserve(&buddy, 0, 1);
	assert_int_equal(join(&large, LONG), 0);
	for (unsigned i = 0; i < WAIT_QUEUE_OVERTAKEN_MAX; i++) {
		assert_false(wait_queue_is_set_aside(&queue));
		small = customer_of(1);
		assert_int_equal(ask(&small, 0), 0);
		give_back(&small);
		settle();
	}
	assert_true(wait_queue_is_set_aside(&queue));
	small = customer_of(1);
	assert_int_equal(ask(&small, 0), -EBUSY);
	assert_int_equal(ask(&behind, LONG), 1);
	wait_queue_wake(&queue);
	settle();
	assert_int_equal(behind.answer, NO_ANSWER);
	buddy_release(&buddy, 0, 1);
	wait_queue_wake(&queue);
	settle();
	assert_int_equal(large.answer, 0);
	assert_int_equal(behind.answer, NO_ANSWER);
	assert_false(wait_queue_is_set_aside(&queue));
	give_back(&large);
	settle();
	assert_int_equal(behind.answer, 0);
}

/* Whoever leaves the line, for whom memory was set aside, leaves it to the others. */
static void test_leaves_what_was_set_aside(void **state)
{
	struct customer large = customer_of(UNITS), small, behind = customer_of(2);

	(void)state;
	buddy_reserve(&buddy, 0, 1);
	assert_int_equal(join(&large, LONG), 0);
	for (unsigned i = 0; i < WAIT_QUEUE_OVERTAKEN_MAX; i++) {
		small = customer_of(1);
		assert_int_equal(ask(&small, 0), 0);
	}
	assert_int_equal(ask(&behind, LONG), 1);
	settle();
	assert_int_equal(behind.answer, NO_ANSWER);
	assert_true(wait_queue_leave(&large.waiter));
	settle();
	assert_int_equal(behind.answer, 0);
}

/* Several pieces go where one would not, for the first in line. */
static void test_pieces(void **state)
{
	const uint64_t wants[] = {32, 16, 1, 32};
	struct customer first = customer_of(128), batch, last = customer_of(16);

	(void)state;
	be(&batch, wants, 4);
	buddy_reserve(&buddy, 0, UNITS);
	assert_int_equal(join(&first, LONG), 0);
	assert_int_equal(join(&batch, LONG), 0);
	assert_int_equal(join(&last, LONG), 0);
	buddy_release(&buddy, 0, 32);
	buddy_release(&buddy, 64, 32);
	buddy_release(&buddy, 128, 32);
	wait_queue_wake(&queue);
	settle();
	assert_int_equal(last.answer, 0);
	give_back(&last);
	assert_true(wait_queue_leave(&first.waiter));
	settle();
	assert_int_equal(batch.answer, 0);
	assert_int_equal(queue.blocks, 0);
}

static void test_time_passes(void **state)
{
	struct customer first = customer_of(UNITS), second = customer_of(1), third = customer_of(1), small;

	(void)state;
	buddy_reserve(&buddy, 0, 1);
	assert_int_equal(join(&first, 30), 0);
	for (unsigned i = 0; i < WAIT_QUEUE_OVERTAKEN_MAX; i++) {
		small = customer_of(1);
		assert_int_equal(ask(&small, 0), 0);
		give_back(&small);
	}
	settle();
	assert_int_equal(join(&second, 1), 0);
	assert_int_equal(join(&third, LONG), 0);
	while (second.answer == NO_ANSWER)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(first.answer, NO_ANSWER);
	assert_int_equal(second.answer, -EBUSY); /* there was room, for another */
	while (first.answer == NO_ANSWER)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(first.answer, -ETIMEDOUT);
	settle();
	assert_int_equal(third.answer, 0);
}

/* Free memory that nobody was woken for is found by the last look. */
static void test_last_look(void **state)
{
	struct customer customer = customer_of(8);

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	assert_int_equal(join(&customer, 1), 0);
	buddy_release(&buddy, 0, 8);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(customer.answer, 0);
}

/* So many wait, and no more; and to wake one of them is no more work than if it were alone. */
static void test_many(void **state)
{
	static struct customer crowd[WAIT_QUEUE_MAX];
	struct customer late = customer_of(1);
	unsigned count = 0;

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	for (size_t i = 0; i < WAIT_QUEUE_MAX; i++) {
		crowd[i] = customer_of(i < 4000 ? UNITS : 1 + i % 16);
		assert_int_equal(join(&crowd[i], LONG), 0);
	}
	assert_int_equal(join(&late, LONG), -EDQUOT);
	for (size_t i = 0; i < 1000; i++) {
		buddy_release(&buddy, 16 * (i % 16), 16);
		wait_queue_wake(&queue);
		settle();
		buddy_reserve(&buddy, 16 * (i % 16), 16); /* where something is left, it fails, and that stays free */
	}
	for (size_t i = 0; i < WAIT_QUEUE_MAX; i++) {
		count += crowd[i].answer == 0;
		assert_true(crowd[i].takes <= 1);
		wait_queue_leave(&crowd[i].waiter);
	}
	assert_in_range(count, WAIT_QUEUE_OVERTAKEN_MAX, WAIT_QUEUE_OVERTAKEN_MAX); /* past the 4,000 large ones */
	assert_int_equal(takes, count);
	settle();
	be(&late, (const uint64_t[]){1}, 1);
	late.waiter.demand.blocks = WAIT_QUEUE_BLOCKS_MAX + 1;
	assert_int_equal(join(&late, LONG), -EDQUOT);
}

/* ---- Without ---------------------------------------------------------------------------------------------------- */

static void test_nothing_withheld(void **state)
{
	struct customer customer = customer_of(UNITS);

	(void)state;
	assert_int_equal(join(&customer, 0), -ENOMEM);
	withheld_take(&withheld, 0, 8);
	assert_int_equal(buddy_free_units(&buddy), UNITS - 8);
	withheld_give(&withheld, 0, 8);
	assert_int_equal(buddy_free_units(&buddy), UNITS);
	assert_int_equal(join(&customer, 0), -ENOMEM);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(customer.takes, 0);
}

static void test_waits_for_the_last(void **state)
{
	struct customer large = customer_of(UNITS), small = customer_of(4);

	(void)state;
	withheld_take(&withheld, 0, UNITS / 2);
	withheld_take(&withheld, UNITS / 2, UNITS / 2);
	assert_false(wait_queue_is_busy(&queue));
	assert_int_equal(join(&large, 0), 0);
	assert_int_equal(join(&small, 0), 0);
	assert_true(wait_queue_is_busy(&queue));
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing has come back: the loop has nothing to do */

	withheld_give(&withheld, UNITS / 2, UNITS / 2);
	settle();
	assert_int_equal(large.answer, NO_ANSWER);
	assert_int_equal(small.answer, 0);
	give_back(&small);
	withheld_give(&withheld, 0, UNITS / 2);
	settle();
	assert_int_equal(large.answer, 0);
	assert_int_equal(withheld.units, 0);
	assert_false(wait_queue_is_busy(&queue));
}

/* All has come back, and it was not enough. */
static void test_refused_at_last(void **state)
{
	struct customer customers[3] = {customer_of(UNITS), customer_of(UNITS), customer_of(1)};
	uint64_t offset, granted;

	(void)state;
	assert_int_equal(buddy_allocate(&buddy, 1, 1, &offset, &granted), 0);
	withheld_take(&withheld, 32, 32);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(join(&customers[i], 0), 0);
	withheld_give(&withheld, 32, 32);
	settle();
	assert_int_equal(customers[0].answer, -ENOMEM);
	assert_int_equal(customers[1].answer, -ENOMEM);
	assert_int_equal(customers[2].answer, 0);
}

/* Others free all the time, and what they free is withheld: it does not wait for ever. */
static void test_patience_ends(void **state)
{
	struct customer customer = customer_of(UNITS);
	unsigned rounds = 0;

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	withheld_keep(&withheld, 8);
	assert_int_equal(join(&customer, 0), 0);
	for (; customer.answer == NO_ANSWER && rounds < 1000; rounds++) {
		withheld_keep(&withheld, 8);
		withheld_give(&withheld, 0, 8);
		settle();
		buddy_reserve(&buddy, 0, 8);
	}
	assert_int_equal(customer.answer, -ENOMEM);
	assert_int_equal(rounds, UNITS / 8);
	assert_int_equal(withheld.units, 8);
}

static void test_stuck(void **state)
{
	struct customer customer = customer_of(UNITS), late = customer_of(UNITS), patient = customer_of(UNITS);

	(void)state;
	withheld_take(&withheld, 0, 16);
	assert_int_equal(join(&customer, 0), 0);
	assert_int_equal(join(&patient, LONG), 0);
	withheld_set_stuck(&withheld, 16);
	settle();
	assert_int_equal(customer.answer, -ENOMEM);
	assert_int_equal(patient.answer, NO_ANSWER);
	assert_true(wait_queue_leave(&patient.waiter));
	assert_int_equal(join(&late, 0), -ENOMEM);
	withheld_set_stuck(&withheld, 0);
	assert_int_equal(join(&late, 0), 0);
	withheld_give(&withheld, 0, 16);
	settle();
	assert_int_equal(late.answer, 0);
}

/* What is nobody's is yet to be found: who came before that was paid waits for it, once; who has a time waits as ever. */
static void test_owed(void **state)
{
	struct customer customers[3] = {customer_of(UNITS), customer_of(UNITS), customer_of(UNITS / 2)},
					late = customer_of(UNITS), patient = customer_of(UNITS);

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	wait_queue_owe(&queue, false);
	assert_int_equal(join(&customers[0], 0), -ENOMEM);
	wait_queue_owe(&queue, true);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(join(&customers[i], 0), 0);
	assert_int_equal(join(&patient, LONG), 0);
	settle();
	assert_int_equal(customers[0].answer, NO_ANSWER);
	/* It is owed again to those who come now, before the others have had their last look. */
	buddy_release(&buddy, 0, UNITS / 2);
	wait_queue_owe(&queue, false);
	wait_queue_owe(&queue, true);
	wait_queue_owe(&queue, true);
	assert_int_equal(join(&late, 0), 0);
	settle();
	assert_int_equal(customers[0].answer, -ENOMEM);
	assert_int_equal(customers[1].answer, -ENOMEM);
	assert_int_equal(customers[2].answer, 0);
	assert_int_equal(late.answer, NO_ANSWER);
	assert_int_equal(patient.answer, NO_ANSWER);
	wait_queue_owe(&queue, false);
	settle();
	assert_int_equal(late.answer, -ENOMEM);
	assert_true(wait_queue_leave(&patient.waiter));
	/* Memory that comes back is waited for though nothing is owed. */
	withheld_keep(&withheld, UNITS / 2);
	late = customer_of(UNITS);
	assert_int_equal(join(&late, 0), 0);
	wait_queue_owe(&queue, true);
	wait_queue_owe(&queue, false);
	settle();
	assert_int_equal(late.answer, NO_ANSWER);
	give_back(&customers[2]);
	withheld_give(&withheld, UNITS / 2, UNITS / 2);
	settle();
	assert_int_equal(late.answer, 0);
}

/* Garbage is looked for: who has no time waits for a look that began after it came, and not for the next. */
static void test_collection(void **state)
{
	struct customer first = customer_of(UNITS), second = customer_of(UNITS), small = customer_of(8), late = customer_of(1);

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	assert_int_equal(join(&first, 0), -ENOMEM);
	wait_queue_await_collection(&queue);
	assert_int_equal(join(&first, 0), 0);
	uint64_t arrivals = queue.arrivals;
	assert_int_equal(join(&second, 0), 0);
	assert_int_equal(join(&small, 0), 0);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing has come of it yet: the loop has nothing to do */
	buddy_release(&buddy, 0, 8);
	wait_queue_wake(&queue);
	settle();
	assert_int_equal(small.answer, 0);
	wait_queue_collected(&queue, arrivals);
	settle();
	assert_int_equal(first.answer, -ENOMEM);
	assert_int_equal(second.answer, NO_ANSWER);
	wait_queue_collected(&queue, UINT64_MAX);
	settle();
	assert_int_equal(second.answer, -ENOMEM);
	assert_int_equal(join(&late, 0), -ENOMEM);
	wait_queue_collected(&queue, arrivals); /* nobody has asked for another */
	assert_int_equal(join(&late, 0), -ENOMEM);
}

/* For those without a time nothing is set aside. */
static void test_sets_nothing_aside(void **state)
{
	struct customer large = customer_of(UNITS), small;

	(void)state;
	withheld_take(&withheld, 0, 8);
	assert_int_equal(join(&large, 0), 0);
	for (unsigned i = 0; i < 2 * WAIT_QUEUE_OVERTAKEN_MAX; i++) {
		small = customer_of(1);
		assert_int_equal(ask(&small, 0), 0);
		give_back(&small);
		settle();
	}
	withheld_give(&withheld, 0, 8);
	settle();
	assert_int_equal(large.answer, 0);
}

/* ---- At random -------------------------------------------------------------------------------------------------- */

#define CROWD 48

/* The model: the line as an array, in order of arrival; and who holds memory. */
static struct customer customers[CROWD];
static struct customer *line[CROWD];
static size_t line_length;
static unsigned overtakings, served_count, times_set_aside;

static bool is_single(const struct customer *customer)
{
	return customer->pieces == 1;
}

/* Nobody in line whose share is used up came before place `at`. */
static bool is_open(size_t at)
{
	for (size_t i = 0; i < at; i++) {
		if (line[i]->waiter.patient)
			return line[i]->overtaken < WAIT_QUEUE_OVERTAKEN_MAX; /* the first of them has the largest */
	}
	return true;
}

/* Those before place `at` are passed. */
static void count_overtaken(size_t at)
{
	for (size_t i = 0; i < at; i++) {
		if (!line[i]->waiter.patient)
			continue;
		assert_true(line[i]->overtaken < WAIT_QUEUE_OVERTAKEN_MAX);
		line[i]->overtaken++;
		overtakings++;
	}
}

static void leave_line(const struct customer *customer, size_t *out_at)
{
	size_t at = 0;

	while (line[at] != customer)
		assert_true(++at < line_length);
	memmove(&line[at], &line[at + 1], (--line_length - at) * sizeof *line);
	*out_at = at;
}

static void was_served(struct customer *customer)
{
	size_t at;

	leave_line(customer, &at);
	count_overtaken(at);
	served_count++;
}

static uint64_t log_size(void)
{
	return 1 + draw(UINT64_C(1) << draw(9));
}

static void come(struct customer *customer)
{
	uint64_t wants[PIECES_MAX];
	size_t pieces = draw(4) ? 1 : 1 + draw(PIECES_MAX);

	for (size_t i = 0; i < pieces; i++)
		wants[i] = log_size();
	be(customer, wants, pieces);
	if (!demand_fits_empty(&customer->waiter.demand, UNITS))
		be(customer, wants, 1);
	bool first_is_used_up = !is_open(line_length);
	int result = ask(customer, draw(4) ? LONG : 0);
	if (first_is_used_up)
		assert_int_not_equal(result, 0);
	if (result == 0)
		count_overtaken(line_length);
	else if (result == 1)
		line[line_length++] = customer;
	else
		customer->answer = -ENOMEM;
}

/*
 * Nobody is forgotten: of those who may be served, nobody would find room. The queue may count too much, and set aside too early, but
 * for the first of those with a time alone.
 */
static void check_line(void)
{
	bool first_of[2] = {true, true}, set_aside = false;

	for (size_t i = 0; i < line_length; i++) {
		bool patient = line[i]->waiter.patient;
		if (!set_aside && (is_single(line[i]) || first_of[patient]))
			assert_false(demand_fits(&line[i]->waiter.demand, &buddy));
		set_aside = set_aside || (patient && wait_queue_is_set_aside(&queue));
		first_of[patient] = false;
		assert_true(patient || withheld.units > 0);
	}
}

static uint64_t kept_at[8], kept_units[8];
static size_t kept;

static void withhold(void)
{
	uint64_t units = 1 + draw(32), at = draw(UNITS);

	if (kept == 8 || !buddy_is_free(&buddy, at, units) || at + units > UNITS)
		return;
	withheld_take(&withheld, at, units);
	kept_at[kept] = at;
	kept_units[kept++] = units;
}

static void release_withheld(void)
{
	if (kept == 0)
		return;
	kept--;
	withheld_give(&withheld, kept_at[kept], kept_units[kept]);
}

static void step(void)
{
	struct customer *customer = &customers[draw(CROWD)];
	size_t at;

	switch (draw(8)) {
	case 0: withhold(); break;
	case 1: release_withheld(); break;
	default:
		if (customer->answer == 0 && customer->pieces) {
			give_back(customer);
			customer->answer = -ENOMEM;
		} else if (customer->waiter.queue) {
			if (draw(8) == 0) {
				wait_queue_leave(&customer->waiter);
				leave_line(customer, &at);
			}
		} else {
			come(customer);
		}
	}
}

/* Who was refused since is not in line any more. */
static void forget_refused(void)
{
	size_t at;

	for (size_t i = 0; i < line_length;) {
		if (line[i]->waiter.queue)
			i++;
		else
			leave_line(line[i], &at);
	}
}

static void test_at_random(void **state)
{
	(void)state;
	served = was_served;
	line_length = overtakings = served_count = times_set_aside = 0;
	kept = 0;
	for (size_t i = 0; i < CROWD; i++)
		customers[i] = (struct customer){.answer = -ENOMEM};
	for (unsigned steps = 0; steps < 200000; steps++) {
		step();
		if (draw(2))
			continue; /* several things happen in one turn of the loop */
		settle();
		forget_refused();
		check_line();
		times_set_aside += wait_queue_is_set_aside(&queue);
	}
	assert_true(times_set_aside > 100);
	assert_true(overtakings > 1000);
	assert_true(served_count > 1000);
	/* When all give back what they have, all are served. */
	while (kept)
		release_withheld();
	for (unsigned rounds = 0; rounds < CROWD && line_length; rounds++) {
		for (size_t i = 0; i < CROWD; i++) {
			if (customers[i].answer == 0)
				give_back(&customers[i]);
			customers[i].answer = customers[i].waiter.queue ? NO_ANSWER : -ENOMEM;
		}
		settle();
		forget_refused();
	}
	assert_int_equal(line_length, 0);
	assert_int_equal(queue.patient_count, 0);
	assert_int_equal(queue.blocks, 0);
	assert_int_equal(queue.orders, 0);
	assert_null(timeouts.first);
}

/* ---- Who cannot take memory ------------------------------------------------------------------------------------- */

static struct customer *stopped; /* by a quota, say */

static bool step_aside(struct waiter *waiter)
{
	if ((struct customer *)waiter != stopped)
		return false;
	assert_true(wait_queue_leave(waiter));
	return true;
}

/* Whoever comes behind gets what the first could not take. */
static void test_steps_aside(void **state)
{
	struct customer first = customer_of(64), second = customer_of(64);

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	first.waiter.step_aside = second.waiter.step_aside = step_aside;
	assert_int_equal(join(&first, LONG), 0);
	assert_int_equal(join(&second, LONG), 0);
	stopped = &first;
	buddy_release(&buddy, 64, 64);
	wait_queue_wake(&queue);
	settle();
	assert_int_equal(first.answer, NO_ANSWER);
	assert_null(first.waiter.queue);
	assert_int_equal(first.takes, 0);
	assert_int_equal(second.answer, 0);
	/* It comes back to the end. */
	stopped = NULL;
	assert_int_equal(join(&first, LONG), 0);
	give_back(&second);
	settle();
	assert_int_equal(first.answer, 0);
	assert_int_equal(queue.patient_count, 0);
}

/* Nothing is set aside for one who could not take it: the next whom it is set aside for is, or nobody. */
static void test_sets_nothing_aside_for_the_stopped(void **state)
{
	struct customer large = customer_of(UNITS), next = customer_of(UNITS), small = customer_of(64);

	(void)state;
	buddy_reserve(&buddy, 0, UNITS);
	buddy_release(&buddy, 64, 64);
	large.waiter.step_aside = next.waiter.step_aside = step_aside;
	assert_int_equal(join(&large, LONG), 0);
	for (unsigned i = 0; i < WAIT_QUEUE_OVERTAKEN_MAX; i++) {
		assert_false(wait_queue_is_set_aside(&queue));
		assert_int_equal(ask(&small, 0), 0);
		buddy_release(&buddy, small.offsets[0], small.granted[0]);
		small = customer_of(64);
	}
	assert_true(wait_queue_is_set_aside(&queue));
	assert_int_equal(ask(&small, 0), -EBUSY);
	assert_int_equal(join(&next, LONG), 0);
	stopped = &large;
	assert_false(wait_queue_is_set_aside(&queue));
	assert_null(large.waiter.queue);
	assert_int_equal(ask(&small, 0), 0);
	assert_true(wait_queue_leave(&next.waiter));
	stopped = NULL;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_first_come_first_served),
		TEST(test_set_aside),
		TEST(test_leaves_what_was_set_aside),
		TEST(test_pieces),
		TEST(test_time_passes),
		TEST(test_last_look),
		TEST(test_many),
		TEST(test_nothing_withheld),
		TEST(test_waits_for_the_last),
		TEST(test_refused_at_last),
		TEST(test_patience_ends),
		TEST(test_stuck),
		TEST(test_owed),
		TEST(test_collection),
		TEST(test_sets_nothing_aside),
		TEST(test_steps_aside),
		TEST(test_sets_nothing_aside_for_the_stopped),
		TEST(test_at_random),
	};

	draw_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
