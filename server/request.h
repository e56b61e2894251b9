/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on its way through the daemon, and the handlers, one a file (request_*.c). A handler validates what the client
 * sent, does the work, and replies; or, if it must wait for memory, keeps the slot and replies later. Loop thread only.
 */
#ifndef SERVER_REQUEST_H
#define SERVER_REQUEST_H

#include "pool.h"
#include "reply.h"
#include "session.h"
#include "slot.h"

struct daemon;

struct request {
	struct daemon *daemon;
	struct connection *connection;
	struct pool *pool; /* the session's; NULL for hello */
	struct slot slot;  /* slot.session is NULL for hello */
	const Shmbuddy__V1__Request *message;
};

/* Replies to this request: see reply_status. */
#define request_reply(request, status, ...)                                                                                 \
	reply_status((request)->connection, (request)->slot.index, (request)->slot.sequence, status, __VA_ARGS__)

void request_hello(struct request *request);
void request_goodbye(struct request *request);
void request_ping(struct request *request);
void request_allocate(struct request *request);
void request_allocate_batch(struct request *request);
void request_free(struct request *request);
void request_free_batch(struct request *request);
void request_publish(struct request *request);
void request_unpublish(struct request *request);
void request_lookup(struct request *request);
void request_acquire(struct request *request);
void request_clone(struct request *request);
void request_link(struct request *request);
void request_unlink(struct request *request);
void request_collect(struct request *request);
void request_share(struct request *request);
void request_redeem(struct request *request);
void request_revoke(struct request *request);
void request_renew(struct request *request);
void request_seal(struct request *request);
void request_set_metadata(struct request *request);
void request_resize(struct request *request);
void request_open_holds(struct request *request);
void request_released(struct request *request);
void request_remove(struct request *request);
void request_list_clients(struct request *request);
void request_list_users(struct request *request);
void request_list_holders(struct request *request);
void request_end_session(struct request *request);
void request_subscribe(struct request *request);

/* Runs an allocation that is filled in but for what it is given here, and answers the request by it, now or later. Takes it over. */
struct allocation;
void request_start_allocation(struct request *request, struct allocation *allocation, uint64_t alignment, uint32_t wait_ms);

/* Sends the recorded outcome of a request that came again. */
void request_repeat(struct request *request);

#endif
