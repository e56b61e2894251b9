/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon: owns the loop, the endpoint, the listener, the pool and what reclaims its memory, and ends them in the right order. One thread.
 */
#ifndef SERVER_DAEMON_H
#define SERVER_DAEMON_H

#include <uv.h>

#include "arena.h"
#include "cascade.h"
#include "endpoint.h"
#include "lifetime.h"
#include "listener.h"
#include "options.h"
#include "pool.h"
#include "reclaim.h"

#define DAEMON_PROTOCOL_VERSION 1

/* Blocks in one batch, as shmbuddy.h says: SHMB_BATCH_MAX. */
#define DAEMON_BATCH_MAX 4096

struct daemon {
	uv_loop_t loop;
	uv_signal_t signals[3]; /* SIGTERM, SIGINT, SIGHUP: the end */
	struct endpoint endpoint;
	struct listener listener;
	struct pool pool;
	struct reclaim reclaim;
	struct cascade cascade;
	struct arena arena;                  /* for the message that is being handled */
	struct hold holds[DAEMON_BATCH_MAX]; /* for the batch that is being freed */
	bool stopping;
};

/* Runs until SIGTERM, SIGINT or SIGHUP. 0: ended as it should; -errno: could not start, and has said why. */
int daemon_run(const struct options *options);

#endif
