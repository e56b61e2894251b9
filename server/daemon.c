/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's life: see daemon.h.
 *
 * Start: claim the socket's path, then the pool (a daemon that may not listen must not touch a pool), listen, tell systemd. End,
 * by SIGTERM, SIGINT or SIGHUP: take nobody in, remove the socket, close the connections, wait for what is on the thread pool,
 * close the pool. A pool that is not ephemeral stays for the next start, with its sessions and their blocks as they are.
 */
#include "daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#ifdef SHMB_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "dispatch.h"
#include "expiry.h"
#include "log.h"
#include "session.h"
#include "size.h"
#include "takeover.h"
#include "up_front.h"

/* Descriptors that the daemon itself may need at a time, beside its clients'. */
#define OWN_DESCRIPTORS 64

/* Descriptors a client: socket and pidfd, and one for luck: three are on their way to it until it has read hello's answer. */
#define CLIENT_DESCRIPTORS 3

/* Bytes that one message may take when decoded: a frame of packed numbers grows eightfold. */
#define ARENA_LIMIT (16u << 20)

/* What ends the daemon; SIGHUP because a closed terminal must not leave an ephemeral pool behind. */
static const int ending_signals[] = {SIGTERM, SIGINT, SIGHUP};
#define SIGNALS (sizeof ending_signals / sizeof ending_signals[0])

/* As many descriptors as the system lets us have; returns how many that are. */
static uint64_t raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	rlim_t before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		limit.rlim_cur = before;
	return limit.rlim_cur;
}

static void frame(struct connection *connection, const uint8_t *payload, size_t size)
{
	struct listener *listener = connection->host->data;

	dispatch_frame(listener->data, connection, payload, size);
}

static void lost(struct connection *connection)
{
	struct session *session = connection->session;

	connection->session = NULL;
	session_lost(session);
}

static void unwatch_signals(struct daemon *daemon)
{
	for (size_t i = 0; i < SIGNALS; i++) {
		uv_handle_t *handle = (uv_handle_t *)&daemon->signals[i];
		if (handle->type == UV_SIGNAL && !uv_is_closing(handle))
			uv_close(handle, NULL);
	}
}

/* What is on the thread pool comes back; what still waits is called off. */
static void forget_sessions(struct daemon *daemon)
{
	struct session *session;

	for (uint32_t n = 1; (session = sessions_from(&daemon->pool.sessions, n)); n++) {
		n = session->number;
		session_forget(session);
	}
}

static void stop(uv_signal_t *signal, int number)
{
	struct daemon *daemon = signal->data;

	if (daemon->stopping)
		return;
	daemon->stopping = true;
	log_info("signal %d: stopping", number);
#ifdef SHMB_HAVE_SYSTEMD
	sd_notify(0, "STOPPING=1");
#endif
	cascade_stop(&daemon->cascade);
	dying_stop(&daemon->pool.dying);
	eviction_stop(&daemon->pool.eviction);
	collector_stop(&daemon->pool.collector);
	deadlines_stop(&daemon->pool.deadlines);
	forget_sessions(daemon);
	reclaim_stop(&daemon->reclaim);
	listener_stop(&daemon->listener);
	unwatch_signals(daemon);
}

/* They are blocked until somebody listens: a signal that comes while the pool is made must not leave it half made. */
static void block_signals(bool blocked)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < SIGNALS; i++)
		sigaddset(&set, ending_signals[i]);
	pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

/* Has one of them come while they were blocked? Tells systemd too, after each gibibyte, that the start goes on. */
static bool is_to_end(void)
{
	sigset_t pending;
	bool ends = false;

	sigpending(&pending);
	for (size_t i = 0; i < SIGNALS; i++)
		ends |= sigismember(&pending, ending_signals[i]) == 1;
#ifdef SHMB_HAVE_SYSTEMD
	static unsigned asked;
	if (asked++ % 1024 == 0)
		sd_notify(0, "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=Committing memory");
#endif
	return ends;
}

static int watch_signals(struct daemon *daemon)
{
	int result = 0;

	for (size_t i = 0; i < SIGNALS && result == 0; i++) {
		result = uv_signal_init(&daemon->loop, &daemon->signals[i]);
		if (result < 0)
			break;
		daemon->signals[i].data = daemon;
		result = uv_signal_start(&daemon->signals[i], stop, ending_signals[i]);
	}
	return result;
}

static int claim_endpoint(struct daemon *daemon, const struct options *options)
{
	char why[512] = "";
	int result = endpoint_inherit(&daemon->endpoint, why);

	if (result == 0)
		result = endpoint_claim(&daemon->endpoint, options->socket_path, why);
	if (result < 0)
		log_error("%s", why[0] ? why : strerror(-result));
	return result < 0 ? result : 0;
}

static void announce(const struct daemon *daemon, uint32_t max_connections)
{
	char size[SIZE_TEXT_MAX], unit[SIZE_TEXT_MAX], most[SIZE_TEXT_MAX];

	size_format(daemon->pool.size, size);
	size_format(daemon->pool.unit, unit);
	size_format(daemon->pool.header->max_size, most);
	log_info("ready: pool %s, %s in units of %s, may grow to %s, on %s, up to %" PRIu32 " connections%s", daemon->pool.name,
	         size, unit, most, daemon->endpoint.path[0] ? daemon->endpoint.path : "the socket from systemd", max_connections,
	         daemon->pool.ephemeral ? ", ephemeral" : "");
#ifdef SHMB_HAVE_SYSTEMD
	sd_notifyf(0, "READY=1\nSTATUS=Serving pool %s, %s", daemon->pool.name, size);
#endif
}

static int start(struct daemon *daemon, const struct options *options, uint64_t descriptors)
{
	static const struct listener_events events = {.frame = frame, .lost = lost};
	uint64_t max = (descriptors - OWN_DESCRIPTORS) / CLIENT_DESCRIPTORS;
	uint32_t max_connections = max > UINT32_MAX ? UINT32_MAX : (uint32_t)max;

	int result = claim_endpoint(daemon, options);
	if (result < 0)
		return result;
	result = pool_open(&daemon->loop, &options->pool, &daemon->pool);
	if (result < 0)
		goto release_endpoint;
	result = reclaim_init(&daemon->reclaim, &daemon->pool);
	if (result == 0 && daemon->pool.adopted)
		result = takeover_run(&daemon->pool);
	if (result == 0 && options->pool.up_front)
		result = up_front_commit(&daemon->pool, is_to_end);
	if (result == -ECANCELED)
		log_info("a signal has come: stopping before all was committed");
	else if (result < 0)
		daemon->pool.ephemeral = !daemon->pool.adopted; /* a new one was never used; another is left as it is */
	if (result < 0)
		goto close_pool;
	result = watch_signals(daemon);
	if (result == 0)
		result = listener_start(&daemon->listener, &daemon->loop, daemon->endpoint.fd, max_connections, &events, daemon);
	if (result < 0) {
		log_error("cannot listen: %s", uv_strerror(result));
		goto close_pool;
	}
	daemon->endpoint.fd = -1; /* the listener's now */
	reclaim_start(&daemon->reclaim, options->pool.return_after_ms);
	cascade_init(&daemon->cascade, &daemon->pool);
	expiry_start(&daemon->pool);
	collector_start(&daemon->pool.collector);
	block_signals(false);
	announce(daemon, max_connections);
	return 0;

close_pool:
	unwatch_signals(daemon);
	listener_stop(&daemon->listener);
	dying_stop(&daemon->pool.dying);
	eviction_stop(&daemon->pool.eviction);
	collector_stop(&daemon->pool.collector);
	deadlines_stop(&daemon->pool.deadlines);
	forget_sessions(daemon);
	uv_run(&daemon->loop, UV_RUN_DEFAULT);
	reclaim_deinit(&daemon->reclaim);
	pool_close(&daemon->pool);
release_endpoint:
	endpoint_release(&daemon->endpoint);
	return result;
}

int daemon_run(const struct options *options)
{
	uint64_t descriptors = raise_descriptor_limit();
	/* Before libuv, which aborts where it cannot have its own. */
	if (descriptors < OWN_DESCRIPTORS + CLIENT_DESCRIPTORS) {
		log_error("only %" PRIu64
		          " files may be open at a time, and %d are needed: raise the limit (ulimit -n, LimitNOFILE=)",
		          descriptors, OWN_DESCRIPTORS + CLIENT_DESCRIPTORS);
		return -EMFILE;
	}
	block_signals(true);
	struct daemon *daemon = calloc(1, sizeof *daemon);
	int result = daemon ? uv_loop_init(&daemon->loop) : -ENOMEM;

	if (result < 0) {
		log_error("cannot start: %s", strerror(-result));
		free(daemon);
		return result;
	}
	arena_init(&daemon->arena, ARENA_LIMIT);
	result = start(daemon, options, descriptors);
	if (result == 0) {
		uv_run(&daemon->loop, UV_RUN_DEFAULT);
		endpoint_release(&daemon->endpoint);
		reclaim_deinit(&daemon->reclaim);
		pool_close(&daemon->pool);
		log_info("stopped");
	}
	listener_deinit(&daemon->listener);
	uv_loop_close(&daemon->loop);
	arena_deinit(&daemon->arena);
	free(daemon);
	return result == -ECANCELED ? 0 : result; /* ended as it should, if early */
}
