/* SPDX-License-Identifier: Apache-2.0 */
/* A raw client that has said hello: see raw_session.h. */
#include "tests/support/raw_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/raw_request.h"

/* A request of a kind that only this file sends. */
#define REQUEST(field, NAME, message)                                                                                       \
	Shmbuddy__V1__Request request = SHMBUDDY__V1__REQUEST__INIT;                                                            \
	request.operation_case = SHMBUDDY__V1__REQUEST__OPERATION_##NAME;                                                       \
	request.field = &(message)

/* ---- Opening and closing ---------------------------------------------------------------------------------------- */

static void close_descriptor(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

enum way { OPENING, RESUMING, ADOPTING };

static void take_welcome(struct raw_session *session, const Shmbuddy__V1__Welcome *welcome, enum way way)
{
	assert_int_equal(welcome->token.len, sizeof session->token);
	memcpy(session->token, welcome->token.data, sizeof session->token);
	session->number = welcome->session;
	session->incarnation = welcome->incarnation;
	session->slots = welcome->slots;
	session->size = welcome->size;
	if (way == RESUMING)
		return;
	assert_int_equal(raw_client_take_descriptor(&session->client, &session->segment), 0);
	assert_int_equal(raw_client_take_descriptor(&session->client, &session->view), 0);
	assert_int_equal(raw_client_take_descriptor(&session->client, &session->lock), 0);
}

/* On a fresh connection. A negative errno: the daemon ended. */
static int try_hello(struct raw_session *session, Shmbuddy__V1__Access access, enum way way,
                     Shmbuddy__V1__Status *out_status)
{
	Shmbuddy__V1__Hello message = SHMBUDDY__V1__HELLO__INIT;
	REQUEST(hello, HELLO, message);
	Shmbuddy__V1__Reply *reply;

	message.protocol_version = 1;
	message.program = (char *)(uintptr_t) "raw_session";
	message.access = access;
	message.adopt = way == ADOPTING;
	if (way != OPENING)
		message.token = (ProtobufCBinaryData){sizeof session->token, session->token};
	request.sequence = 1;
	int result = raw_client_call(&session->client, &request, &reply);
	if (result < 0)
		return result;
	*out_status = reply->status;
	if (reply->status == SHMBUDDY__V1__STATUS__OK) {
		assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_WELCOME);
		take_welcome(session, reply->welcome, way);
	} else if (reply->status == SHMBUDDY__V1__STATUS__SESSION_ENDED) {
		assert_non_null(reply->session_over);
		session->incarnation = reply->session_over->incarnation;
	}
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return 0;
}

static Shmbuddy__V1__Status say_hello(struct raw_session *session, Shmbuddy__V1__Access access, enum way way)
{
	Shmbuddy__V1__Status status = SHMBUDDY__V1__STATUS__PROTOCOL;

	assert_int_equal(try_hello(session, access, way, &status), 0);
	return status;
}

void raw_session_open(struct raw_session *session, const char *socket_path, Shmbuddy__V1__Access access)
{
	*session = RAW_SESSION_CLOSED;
	assert_int_equal(raw_client_open(&session->client, socket_path), 0);
	assert_int_equal(say_hello(session, access, OPENING), SHMBUDDY__V1__STATUS__OK);
}

Shmbuddy__V1__Status raw_session_resume(struct raw_session *session, const char *socket_path)
{
	raw_session_disconnect(session);
	assert_int_equal(raw_client_open(&session->client, socket_path), 0);
	return say_hello(session, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE, RESUMING);
}

int raw_session_adopt(struct raw_session *session, const char *socket_path, Shmbuddy__V1__Status *out_status)
{
	raw_session_close(session);
	assert_int_equal(raw_client_open(&session->client, socket_path), 0);
	return try_hello(session, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE, ADOPTING, out_status);
}

int raw_session_open_holds(const struct raw_session *session, const char *socket_path, Shmbuddy__V1__Status *out_status)
{
	Shmbuddy__V1__OpenHolds message = SHMBUDDY__V1__OPEN_HOLDS__INIT;
	REQUEST(open_holds, OPEN_HOLDS, message);
	struct raw_client client;
	Shmbuddy__V1__Reply *reply;

	message.token = (ProtobufCBinaryData){sizeof session->token, (uint8_t *)(uintptr_t)session->token};
	request.sequence = 1;
	assert_int_equal(raw_client_open(&client, socket_path), 0);
	int result = raw_client_call(&client, &request, &reply);
	raw_client_close(&client);
	if (result < 0)
		return result;
	*out_status = reply->status;
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return 0;
}

void raw_session_disconnect(struct raw_session *session)
{
	raw_client_close(&session->client);
}

void raw_session_close(struct raw_session *session)
{
	/* The lock first: the daemon then knows at the socket's end that the session is over. */
	close_descriptor(&session->lock);
	close_descriptor(&session->segment);
	close_descriptor(&session->view);
	raw_client_close(&session->client);
}

/* ---- Requests --------------------------------------------------------------------------------------------------- */

Shmbuddy__V1__Reply *raw_session_send(struct raw_session *session, uint32_t slot, uint64_t sequence,
                                      Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply *reply;

	request->slot = slot;
	request->sequence = sequence;
	assert_int_equal(raw_client_call(&session->client, request, &reply), 0);
	assert_int_equal(reply->slot, slot);
	assert_int_equal(reply->sequence, sequence);
	if (reply->status != SHMBUDDY__V1__STATUS__OK)
		assert_true(reply->text[0] != 0); /* whatever is refused, people are told why */
	return reply;
}

static Shmbuddy__V1__Status call_for_block(struct raw_session *session, Shmbuddy__V1__Request *request,
                                           Shmbuddy__V1__Handle *out_handle)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(session, 0, ++session->sequence, request);
	Shmbuddy__V1__Status status = reply->status;

	if (status == SHMBUDDY__V1__STATUS__OK) {
		assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_BLOCK);
		*out_handle = *reply->block->handle;
	}
	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return status;
}

Shmbuddy__V1__Status raw_session_call(struct raw_session *session, Shmbuddy__V1__Request *request)
{
	Shmbuddy__V1__Reply *reply = raw_session_send(session, 0, ++session->sequence, request);
	Shmbuddy__V1__Status status = reply->status;

	shmbuddy__v1__reply__free_unpacked(reply, NULL);
	return status;
}

Shmbuddy__V1__Status raw_session_ping(struct raw_session *session)
{
	return raw_session_call(session, raw_request_ping());
}

Shmbuddy__V1__Status raw_session_allocate(struct raw_session *session, uint64_t size, const char *name,
                                          Shmbuddy__V1__Handle *out_handle)
{
	Shmbuddy__V1__Handle ignored;

	return call_for_block(session, raw_request_allocate(size, name), out_handle ? out_handle : &ignored);
}

Shmbuddy__V1__Status raw_session_free(struct raw_session *session, const Shmbuddy__V1__Handle *handle)
{
	return raw_session_call(session, raw_request_free(handle));
}

Shmbuddy__V1__Status raw_session_publish(struct raw_session *session, const Shmbuddy__V1__Handle *handle, const char *name)
{
	return raw_session_call(session, raw_request_publish(handle, name));
}

Shmbuddy__V1__Status raw_session_unpublish(struct raw_session *session, const char *name)
{
	return raw_session_call(session, raw_request_unpublish(name));
}

Shmbuddy__V1__Status raw_session_acquire(struct raw_session *session, const Shmbuddy__V1__Handle *handle)
{
	Shmbuddy__V1__Handle found;

	return call_for_block(session, raw_request_acquire(handle), &found);
}

Shmbuddy__V1__Status raw_session_lookup(struct raw_session *session, const char *name, Shmbuddy__V1__Handle *out_handle)
{
	Shmbuddy__V1__Handle ignored;

	return call_for_block(session, raw_request_lookup(name), out_handle ? out_handle : &ignored);
}

Shmbuddy__V1__Status raw_session_subscribe(struct raw_session *session, uint32_t kinds, const char *prefix)
{
	Shmbuddy__V1__Subscribe message = SHMBUDDY__V1__SUBSCRIBE__INIT;
	REQUEST(subscribe, SUBSCRIBE, message);

	message.kinds = kinds;
	message.prefix = (char *)(uintptr_t)prefix;
	request.sequence = ++session->sequence;
	assert_int_equal(raw_client_send_request(&session->client, &request), 0);
	for (;;) {
		Shmbuddy__V1__Reply *reply;
		assert_int_equal(raw_client_receive_reply(&session->client, &reply), 0);
		uint64_t sequence = reply->sequence;
		Shmbuddy__V1__Status status = reply->status;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
		if (sequence == request.sequence)
			return status;
		assert_int_equal(sequence, 0);
	}
}

void raw_session_holdings(struct raw_session *session, struct raw_session_holdings *out_holdings)
{
	Shmbuddy__V1__ListClients list = SHMBUDDY__V1__LIST_CLIENTS__INIT;
	struct raw_session_holdings holdings = {0};
	bool more = true;

	while (more) {
		REQUEST(list_clients, LIST_CLIENTS, list);
		Shmbuddy__V1__Reply *reply = raw_session_send(session, 0, ++session->sequence, &request);
		assert_int_equal(reply->result_case, SHMBUDDY__V1__REPLY__RESULT_CLIENT_PAGE);
		for (size_t i = 0; i < reply->client_page->n_client; i++) {
			const Shmbuddy__V1__Client *client = reply->client_page->client[i];
			list.after = client->session;
			holdings.sessions++;
			if (client->session == session->number) {
				holdings.blocks = client->blocks;
				holdings.bytes = client->bytes;
			}
		}
		more = reply->client_page->more;
		shmbuddy__v1__reply__free_unpacked(reply, NULL);
	}
	*out_holdings = holdings;
}

void raw_session_wait_for_sessions(struct raw_session *session, size_t count)
{
	struct raw_session_holdings holdings;

	for (int waited = 0; waited < RAW_CLIENT_PATIENCE_MS; waited += 2) {
		raw_session_holdings(session, &holdings);
		if (holdings.sessions == count)
			return;
		poll(NULL, 0, 2);
	}
	fail_msg("the pool has %zu sessions, not %zu", holdings.sessions, count);
}
