/* SPDX-License-Identifier: Apache-2.0 */
/* Circles of links: has the daemon look for those that nothing holds. */
#include <errno.h>

#include "session.h"

struct collect_call {
	struct call call;
	shmb_collection *out_collection; /* NULL: the caller does not want to know */
};

static int take_collection(struct call *call, const Shmbuddy__V1__Reply *reply)
{
	const struct collect_call *collect = (const struct collect_call *)call;
	const Shmbuddy__V1__Collection *collection = reply->collection;

	if (reply->result_case != SHMBUDDY__V1__REPLY__RESULT_COLLECTION)
		return -EPROTO;
	if (collect->out_collection)
		*collect->out_collection = (shmb_collection){.marked = collection->marked,
		                                             .freed = collection->freed,
		                                             .freed_bytes = collection->freed_bytes,
		                                             .slices = collection->slices,
		                                             .longest_us = collection->longest_us,
		                                             .duration_us = collection->duration_us};
	return 0;
}

int shmb_collect(shmb_session *session, shmb_collection *out_collection)
{
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;
	Shmbuddy__V1__Collect body = SHMBUDDY__V1__COLLECT__INIT;
	struct collect_call collect;

	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_COLLECT;
	request.collect = &body;
	call_init(&collect.call, take_collection);
	collect.out_collection = out_collection;
	return session_perform(session, &collect.call, &request);
}
