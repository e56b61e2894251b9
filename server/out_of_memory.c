/* SPDX-License-Identifier: Apache-2.0 */
/* Out of memory is an answer: see out_of_memory.h. */
#include "out_of_memory.h"

#include <stdio.h>

#include "charge.h"
#include "duration.h"
#include "errors.h"
#include "pool.h"
#include "reply.h"
#include "session.h"
#include "size.h"

/* As many as shmbuddy.h has room for. */
#define HOLDERS_MAX 5

/* Puts one more into the list of the largest, which stays sorted. */
static void consider(Shmbuddy__V1__Usage *usages, size_t *count, const Shmbuddy__V1__Usage *usage)
{
	size_t place = *count;

	if (usage->bytes == 0)
		return;
	while (place > 0 && usages[place - 1].bytes < usage->bytes)
		place--;
	if (place == HOLDERS_MAX)
		return;
	if (*count < HOLDERS_MAX)
		++*count;
	for (size_t i = *count - 1; i > place; i--)
		usages[i] = usages[i - 1];
	usages[place] = *usage;
}

/* What is charged to the user, and no session of it owns. */
static void user_rest(const struct pool *pool, const struct user *user, Shmbuddy__V1__Usage *usage)
{
	usage->uid = user->uid;
	usage->bytes = user->account.used[QUOTA_BYTES];
	usage->blocks = user->account.used[QUOTA_BLOCKS];
	for (struct session *session = sessions_from(&pool->sessions, 1); session;
	     session = sessions_from(&pool->sessions, session->number + 1)) {
		if (session->user != user)
			continue;
		usage->bytes -= session->account.used[QUOTA_BYTES];
		usage->blocks -= session->account.used[QUOTA_BLOCKS];
	}
}

/* Of the pool; of one user, if it is not NULL. */
static size_t largest_holders(const struct pool *pool, const struct user *user, Shmbuddy__V1__Usage *usages)
{
	size_t count = 0;
	Shmbuddy__V1__Usage usage = SHMBUDDY__V1__USAGE__INIT;

	usage.program = (char *)"";
	usage.bytes = pool->unowned_bytes;
	usage.blocks = pool->unowned_blocks;
	if (user)
		user_rest(pool, user, &usage);
	consider(usages, &count, &usage);
	for (struct session *session = sessions_from(&pool->sessions, 1); session;
	     session = sessions_from(&pool->sessions, session->number + 1)) {
		if (user && session->user != user)
			continue;
		usage.session = session->number;
		usage.pid = session->pid;
		usage.uid = session->record->uid;
		usage.program = session->program;
		usage.bytes = session->account.used[QUOTA_BYTES];
		usage.blocks = session->account.used[QUOTA_BLOCKS];
		consider(usages, &count, &usage);
	}
	return count;
}

/* A quota, or what is guaranteed to others. */
static void explain_account(const struct session *session, const struct allocation_refusal *refusal,
                            const Shmbuddy__V1__OutOfMemory *detail, char *out_text, size_t room)
{
	char requested[SIZE_TEXT_MAX], granted[SIZE_TEXT_MAX], quota[SIZE_TEXT_MAX], used[SIZE_TEXT_MAX];
	char free_text[SIZE_TEXT_MAX], whose[CHARGE_USER_MAX];

	size_format(refusal->requested, requested);
	size_format(refusal->granted, granted);
	size_format(refusal->quota, quota);
	size_format(refusal->used, used);
	size_format(detail->free_bytes, free_text);
	if (refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__SESSION)
		snprintf(whose, sizeof whose, "this session, %u,", (unsigned)session->number);
	else
		charge_user_text(session->user->uid, whose);
	if (refusal->set_aside)
		snprintf(out_text, room,
		         "%s asked for, and what there is for %s is set aside for a request that came before and waits", requested,
		         whose);
	else if (refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__GUARANTEE)
		snprintf(out_text, room, "%s asked for, which takes %s; %s free, of which %s are guaranteed to other users",
		         requested, granted, free_text, quota);
	else if (refusal->kind == QUOTA_BLOCKS)
		snprintf(out_text, room, "the quota of %s is %llu %s, and it has %llu", whose, (unsigned long long)refusal->quota,
		         quota_kind_noun(QUOTA_BLOCKS, refusal->quota), (unsigned long long)refusal->used);
	else
		snprintf(out_text, room, "%s asked for, which takes %s; the quota of %s is %s, and %s are used, by %llu %s",
		         requested, granted, whose, quota, used, (unsigned long long)refusal->used_blocks,
		         quota_kind_noun(QUOTA_BLOCKS, refusal->used_blocks));
}

static bool is_of_account(const struct allocation_refusal *refusal)
{
	return refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__SESSION ||
	       refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__USER ||
	       refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__GUARANTEE;
}

/* Why, without the remedy. */
static void explain(const struct pool *pool, const struct allocation_refusal *refusal,
                    const Shmbuddy__V1__OutOfMemory *detail, char *out_text, size_t room)
{
	char requested[SIZE_TEXT_MAX], free_text[SIZE_TEXT_MAX], longest[SIZE_TEXT_MAX], kernel[SIZE_TEXT_MAX];
	char batch[SIZE_TEXT_MAX];

	size_format(detail->requested, requested);
	size_format(detail->free_bytes, free_text);
	size_format(detail->longest_free, longest);
	size_format(detail->kernel_free, kernel);
	size_format(refusal->batch, batch);
	if (refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL)
		snprintf(out_text, room, "%s asked for, and the kernel has no memory for it: /dev/shm has %s left", requested,
		         kernel);
	else if (refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__BLOCKS)
		snprintf(out_text, room, "the pool has %u %s, as many as it takes", (unsigned)pool->blocks.table.capacity,
		         quota_kind_noun(QUOTA_BLOCKS, pool->blocks.table.capacity));
	else if (refusal->set_aside)
		snprintf(out_text, room,
		         "%s asked for, %s free, the longest free run is %s, and it is set aside for a request that came before and "
		         "waits",
		         requested, free_text, longest);
	else if (refusal->batch)
		snprintf(out_text, room,
		         "a batch of %s does not fit, a block of %s is the first without room; without the batch %s is free, the "
		         "longest free run is %s",
		         batch, requested, free_text, longest);
	else
		snprintf(out_text, room, "%s asked for, %s free, the longest free run is %s", requested, free_text, longest);
}

static const char *remedy(const struct allocation_refusal *refusal)
{
	if (refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL)
		return "free blocks, or enlarge it";
	if (refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__BLOCKS)
		return refusal->never ? "ask for fewer, or start it with a larger --max-blocks"
		                      : "free some, or start it with a larger --max-blocks";
	if (is_of_account(refusal) && refusal->never)
		return "that would not do either if nothing were used: ask for less, or have the quota raised";
	if (is_of_account(refusal))
		return refusal->set_aside ? "free blocks, or wait too" : "free blocks, or have the quota raised";
	if (refusal->never)
		return "it would not fit an empty pool either: start a larger one";
	return refusal->set_aside ? "free blocks, or wait too" : "free blocks, or start a larger pool";
}

void out_of_memory_reply(struct connection *connection, const struct slot *slot, struct pool *pool,
                         const struct allocation_refusal *refusal)
{
	Shmbuddy__V1__Reply reply = SHMBUDDY__V1__REPLY__INIT;
	Shmbuddy__V1__OutOfMemory detail = SHMBUDDY__V1__OUT_OF_MEMORY__INIT;
	Shmbuddy__V1__Usage usages[HOLDERS_MAX], *holders[HOLDERS_MAX];
	char why[320], waited[80] = "", text[512], time[DURATION_TEXT_MAX];

	pool_count(&pool->counters->refusals, 1);
	if (refusal->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL)
		events_emit(pool, &(struct event){
							  .kind = EVENT_PRESSURE,
							  .pressure = PRESSURE_KERNEL,
							  .bytes = refusal->requested,
						  });
	detail.limit = (Shmbuddy__V1__OutOfMemory__Limit)refusal->limit;
	detail.requested = refusal->requested;
	detail.granted = refusal->granted;
	detail.free_bytes = buddy_free_units(&pool->buddy) * pool->unit;
	detail.longest_free = buddy_largest_free(&pool->buddy) * pool->unit;
	detail.kernel_free = refusal->kernel_free;
	detail.set_aside = refusal->set_aside;
	const struct session *session = slot->session;
	bool of_user = is_of_account(refusal) && refusal->limit != SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__GUARANTEE;
	if (of_user) {
		detail.quota_used = refusal->used;
		detail.quota_blocks = refusal->used_blocks;
		detail.of_blocks = refusal->kind == QUOTA_BLOCKS;
	}
	detail.quota = refusal->quota;
	detail.n_holder = largest_holders(pool, of_user ? session->user : NULL, usages);
	for (size_t i = 0; i < detail.n_holder; i++)
		holders[i] = &usages[i];
	detail.holder = holders;

	if (is_of_account(refusal))
		explain_account(session, refusal, &detail, why, sizeof why);
	else
		explain(pool, refusal, &detail, why, sizeof why);
	duration_format(refusal->waited_ms, time);
	if (refusal->waited_ms)
		snprintf(waited, sizeof waited, ", and that has not changed within %s", time);
	snprintf(text, sizeof text, "%s%s: %s", why, waited, remedy(refusal));

	reply.slot = slot->index;
	reply.sequence = slot->sequence;
	reply.status = (Shmbuddy__V1__Status)ERROR_OUT_OF_MEMORY;
	reply.text = text;
	reply.out_of_memory = &detail;
	reply_send(connection, &reply);
}
