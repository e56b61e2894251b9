/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocking calls of any number of threads over one connection, which may be lost and found again. Belongs to one session; `mutex` also
 * guards what the session says it does. It is held for short stretches only, never while anything blocks.
 */
#ifndef CLIENT_EXCHANGE_H
#define CLIENT_EXCHANGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "connection.h"

struct caller;

struct exchange {
	pthread_mutex_t mutex;
	struct connection connection;
	struct connection joining; /* a new socket, until hello has been answered on it; of the one thread that opens it */
	/*
	 * Without the mutex, by one thread at a time: finds the daemon again and has the connection adopt the new socket, until `deadline` at
	 * most. 0, or a negative SHMB_E_* with its sentence; with SESSION_ENDED the connection is over.
	 */
	int (*rejoin)(struct exchange *exchange, int64_t deadline);
	struct caller *followers; /* threads that wait for another one to read, the newest first */
	bool reading;             /* some thread reads the socket, or looks for the daemon: the leader */
	bool writing;             /* some thread waits until the socket takes bytes again */
};

/* 0, or -ENOMEM and the like from pthread_mutex_init. */
int exchange_init(struct exchange *exchange);
void exchange_deinit(struct exchange *exchange);

/*
 * Sends the request and waits until the call is done or `deadline` (deadline.h) passes; `timeout_ms` is for the sentence.
 * Returns the call's result, which is the calling thread's last error where it is negative.
 */
int exchange_perform(struct exchange *exchange, struct call *call, Shmbuddy__V1__Request *request, int64_t deadline,
                     uint32_t timeout_ms);

/*
 * Waits until `heard`, which is asked under the mutex, or until `deadline` passes, and reads meanwhile like any caller. Past its deadline it takes in what
 * has come already; where the daemon was lost, it makes one short attempt to find it. 0; -ETIMEDOUT; or a negative SHMB_E_* with its
 * sentence: the connection was lost and not found again, or is over.
 */
int exchange_listen(struct exchange *exchange, bool (*heard)(const struct exchange *exchange), int64_t deadline);

/* Under the mutex: something has come that those who listen may have waited for. */
void exchange_wake_listeners(struct exchange *exchange);

/*
 * In a child: closes the socket and forgets what was outstanding. `orderly`: the mutex was taken before the fork, by this
 * thread, and is free afterwards; else nothing is known of the state, and no memory is given back.
 */
void exchange_after_fork(struct exchange *exchange, bool orderly);

/* A condition whose timed waits go by CLOCK_MONOTONIC. */
void exchange_condition_init(pthread_cond_t *condition);

#endif
