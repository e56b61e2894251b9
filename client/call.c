/* SPDX-License-Identifier: Apache-2.0 */
/* The ends that a call can have: see call.h. */
#include "call.h"

#include <errno.h>
#include <string.h>

#include "deadline.h"
#include "name.h"

void call_init(struct call *call, int (*take)(struct call *, const Shmbuddy__V1__Reply *))
{
	/* Text and detail are only written where there is a failure. */
	call->take = take;
	call->done = NULL;
	call->owner = NULL;
	call->once = false;
	call->wait_ms = NULL;
	call->request = NULL;
	call->state = CALL_WAITING;
	call->slot = 0;
	call->next_waiting = NULL;
	call->result = 0;
	call->has_oom = false;
	call->incarnation = 0;
}

void call_update_wait(struct call *call)
{
	/* Rounded up: whoever has a moment left waits once more. */
	if (call->wait_ms)
		*call->wait_ms = (uint32_t)((deadline_left(call->wait_until) + DEADLINE_MS - 1) / DEADLINE_MS);
}

void call_fail(struct call *call, enum error_code code, const char *text)
{
	if (!text || !*text)
		text = error_sentence((int)code);
	name_clean(text, strlen(text), sizeof call->text, call->text);
	call->result = -(int)code;
	call->state = CALL_DONE;
}

static void take_oom(struct call *call, const Shmbuddy__V1__OutOfMemory *from)
{
	shmb_oom *oom = &call->oom;

	memset(oom, 0, sizeof *oom);
	if (from->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__KERNEL)
		oom->limit = SHMB_OOM_KERNEL;
	else if (from->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__BLOCKS)
		oom->limit = SHMB_OOM_BLOCKS;
	else if (from->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__USER)
		oom->limit = SHMB_OOM_USER;
	else if (from->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__SESSION)
		oom->limit = SHMB_OOM_SESSION;
	else if (from->limit == SHMBUDDY__V1__OUT_OF_MEMORY__LIMIT__GUARANTEE)
		oom->limit = SHMB_OOM_GUARANTEE;
	oom->quota = from->quota;
	oom->quota_used = from->quota_used;
	oom->quota_blocks = from->quota_blocks;
	oom->quota_of_blocks = from->of_blocks;
	oom->requested = from->requested;
	oom->granted = from->granted;
	oom->free = from->free_bytes;
	oom->longest_free = from->longest_free;
	oom->kernel_free = from->kernel_free;
	oom->set_aside = from->set_aside;
	oom->holder_count = from->n_holder < SHMB_OOM_HOLDERS_MAX ? from->n_holder : SHMB_OOM_HOLDERS_MAX;
	for (size_t i = 0; i < oom->holder_count; i++) {
		const Shmbuddy__V1__Usage *holder = from->holder[i];

		oom->holders[i].session = holder->session;
		oom->holders[i].pid = holder->pid;
		oom->holders[i].uid = holder->uid;
		oom->holders[i].bytes = holder->bytes;
		oom->holders[i].blocks = holder->blocks;
		name_clean(holder->program, strlen(holder->program), sizeof oom->holders[i].program, oom->holders[i].program);
	}
	call->has_oom = true;
}

int call_finish(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	int r;

	if (reply->status != SHMBUDDY__V1__STATUS__OK) {
		if (!protobuf_c_enum_descriptor_get_value(&shmbuddy__v1__status__descriptor, (int)reply->status))
			return -EPROTO;
		if (reply->status == SHMBUDDY__V1__STATUS__OUT_OF_MEMORY && reply->out_of_memory)
			take_oom(call, reply->out_of_memory);
		if (reply->status == SHMBUDDY__V1__STATUS__SESSION_ENDED && reply->session_over)
			call->incarnation = reply->session_over->incarnation;
		call_fail(call, (enum error_code)reply->status, reply->text);
		return 0;
	}
	r = call->take ? call->take(call, reply) : 0;
	if (r == -ENOMEM)
		call_fail(call, ERROR_SYSTEM, "this program has no memory left for the answer");
	else if (r < 0)
		return r;
	call->state = CALL_DONE;
	return 0;
}

int call_report(const struct call *call)
{
	if (call->result == 0)
		return 0;
	if (call->result == -ERROR_OUT_OF_MEMORY)
		last_error_set_oom(call->has_oom ? &call->oom : NULL);
	return last_error_set((enum error_code) - call->result, "%s", call->text);
}
