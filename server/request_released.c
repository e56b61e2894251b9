/* SPDX-License-Identifier: Apache-2.0 */
/* Released: somebody has let go of a block by his hold page. No reply, and nothing is recorded: it may as well have been lost. */
#include "request.h"

#include "handle.h"

void request_released(struct request *request)
{
	const Shmbuddy__V1__Handle *message = request->message->released->handle;
	const struct pool *pool = request->pool;

	if (message && !handle_find(pool, &(struct handle){message->id, message->index, message->incarnation}))
		dying_released(request->slot.session, message->index);
}
