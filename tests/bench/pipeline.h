/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline: very many requests of one session, as fast as they go: as many at a time as there are slots. Slot 0 stays free for others. Fails
 * the running test where an answer is another one than OK.
 */
#ifndef TESTS_BENCH_PIPELINE_H
#define TESTS_BENCH_PIPELINE_H

#include "tests/support/raw_session.h"

#define PIPELINE_SLOTS 59

/* Sends `request(n)` for each n from `from` up to `to`. `*sequence` is the last that was used in these slots. */
static inline void pipeline_run(struct raw_session *session, uint64_t *sequence, unsigned from, unsigned to,
                                Shmbuddy__V1__Request *(*request)(unsigned n))
{
	while (from < to) {
		unsigned count = to - from < PIPELINE_SLOTS ? to - from : PIPELINE_SLOTS;
		++*sequence;
		for (unsigned i = 0; i < count; i++) {
			Shmbuddy__V1__Request *message = request(from + i);
			message->slot = 1 + i;
			message->sequence = *sequence;
			assert_int_equal(raw_client_send_request(&session->client, message), 0);
		}
		for (unsigned i = 0; i < count; i++) {
			Shmbuddy__V1__Reply *reply;
			assert_int_equal(raw_client_receive_reply(&session->client, &reply), 0);
			assert_int_equal(reply->status, SHMBUDDY__V1__STATUS__OK);
			shmbuddy__v1__reply__free_unpacked(reply, NULL);
		}
		from += count;
	}
}

#endif
