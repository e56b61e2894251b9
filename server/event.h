/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thing that has happened in a pool, as its subscribers are told of it. By value, but for the name, which belongs to whoever made it.
 */
#ifndef SERVER_EVENT_H
#define SERVER_EVENT_H

#include <stddef.h>
#include <stdint.h>

/* As on the wire: EventKind of the protocol. */
enum event_kind {
	EVENT_LOST = 0, /* said to one subscriber, and in no log */
	EVENT_NAME_PUBLISHED = 1,
	EVENT_NAME_REMOVED = 2, /* also when it was replaced, or went with its block */
	EVENT_BLOCK_FREED = 3,
	EVENT_BLOCK_EVICTED = 4, /* its time to live was over; what else holds it keeps it */
	EVENT_BLOCK_EXPIRED = 5, /* then it is freed */
	EVENT_PRESSURE = 6,
	EVENT_SESSION_OPENED = 7,
	EVENT_SESSION_ENDED = 8,
	EVENT_KINDS,
};

/* A set of kinds. */
#define EVENT_BIT(kind) (UINT32_C(1) << (kind))
#define EVENT_ALL (EVENT_BIT(EVENT_KINDS) - 1)
#define EVENT_OF_NAMES (EVENT_BIT(EVENT_NAME_PUBLISHED) | EVENT_BIT(EVENT_NAME_REMOVED))

/* What an event has nothing to say about is 0. */
struct event {
	enum event_kind kind;
	uint32_t uid;     /* of the name's publisher, of who allocated the block, of the session */
	uint32_t session; /* EVENT_SESSION_*: which; else whose request or end it came by; 0: the daemon's own doing */
	uint32_t index;   /* of the block's record */
	uint64_t id;      /* of the block; 0: it is about none */
	uint64_t
		bytes; /* that the name stands for; set aside for the block, or for the session's blocks; used, or refused by the kernel */
	uint64_t count;    /* EVENT_LOST: events */
	uint64_t time_ns;  /* since 1970-01-01 UTC; events_emit fills it in */
	uint32_t pressure; /* EVENT_PRESSURE: enum pressure_level */
	uint32_t name_length;
	const char *name; /* that was published or removed, the session's program; not NUL-terminated. NULL: none */
};

#endif
