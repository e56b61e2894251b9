/* SPDX-License-Identifier: Apache-2.0 */
/*
 * puppet: a process with one session, which makes the calls that the driver tells it to: by a function, which is the same in all processes, since
 * all are forked from the driver, and a mail in memory that both have. A puppet may fork another. All are prepared before the first
 * one is started, PUPPETS_MAX at most. Puppets end when the driver does. Fails the driver where one has gone without having been killed.
 */
#ifndef TESTS_INTEGRATION_MODEL_PUPPET_H
#define TESTS_INTEGRATION_MODEL_PUPPET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shmbuddy.h"

#define PUPPETS_MAX 16
#define PUPPET_BATCH 40
#define PUPPET_HANDLES (4 * PUPPET_BATCH)

/* What a call is to be made with, and what came of it. */
struct mail {
	/* For the call. */
	shmb_handle handle, to;
	bool named;
	char name[64], tag[SHMB_TAG_MAX + 1];
	shmb_alloc_options alloc; /* `name` and `tag` are set by the call */
	shmb_publish_options publish;
	shmb_share_options share;
	shmb_ticket ticket;
	shmb_clone_token clone;
	uint64_t size, ttl_ms;
	uint32_t wait_ms, number;
	bool kill, read_only, moved;
	uint8_t metadata[SHMB_METADATA_MAX];
	size_t metadata_size;
	size_t count;
	uint64_t sizes[PUPPET_BATCH];
	shmb_handle handles[PUPPET_HANDLES];
	char socket_path[108], program[16];
	/* Where the block lies that is expected: its bytes are looked at, if the call was successful. */
	uint64_t expected_offset, expected_size, expected_id;

	/* From it. */
	int result;
	shmb_block block, blocks[PUPPET_BATCH];
	shmb_oom oom;
	shmb_collection collection;
	bool explained; /* `oom` says why memory was refused */
	bool intact;    /* the expected bytes were there; and in this process, a range's address is what its offset says */
	pid_t pid;      /* of the puppet */
	char sentence[256];
};

/* In the puppet's process. `*session` is NULL where it has none. */
typedef void puppet_call(shmb_session **session, struct mail *mail);

struct puppet {
	struct mail *mail;
	int ours, theirs; /* ends of its socket; the driver keeps both */
	pid_t pid;        /* 0: there is no process */
	uint32_t number;  /* among all */
	bool called;      /* and has not been heard */
};

/* It stays where it is from now on. */
void puppet_prepare(struct puppet *puppet);

/* Starts the process, as that user; it has no session. */
void puppet_start(struct puppet *puppet, uid_t uid);

/* Has `parent` fork it: it has the parent's session, as a child has. */
void puppet_fork(struct puppet *puppet, struct puppet *parent);

/* Has it make a call, and goes on; waits for the end of the call; both. */
void puppet_post(struct puppet *puppet, puppet_call *call);
void puppet_await(struct puppet *puppet);
static inline void puppet_perform(struct puppet *puppet, puppet_call *call)
{
	puppet_post(puppet, call);
	puppet_await(puppet);
}

/* Would puppet_await return at once? */
bool puppet_has_answered(const struct puppet *puppet);

/* SIGKILL, and waits for its end; the second where somebody else has killed it. */
void puppet_kill(struct puppet *puppet);
void puppet_await_end(struct puppet *puppet);

#endif
