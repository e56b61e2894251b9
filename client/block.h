/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks as they come from the daemon, and the checks that they get. No state: any thread. */
#ifndef CLIENT_BLOCK_H
#define CLIENT_BLOCK_H

#include "session.h"

/*
 * Writes the block that somebody describes, with its address in this process but where that is left to block_hand_out. -EPROTO: it does not lie
 * in the pool, or cannot be one.
 */
int block_accept(const struct shmb_session *session, const shmb_block *described, shmb_block *out_block);

/* The same for a block in a message; NULL is none. */
int block_from_message(const struct shmb_session *session, const Shmbuddy__V1__Block *message, shmb_block *out_block);

/* The same for the block of a reply, which may have none. */
int block_from_reply(const struct shmb_session *session, const Shmbuddy__V1__Reply *reply, shmb_block *out_block);

/* Makes a block the range of it that a name stands for; a length of 0: to the end. False: there is no such range. */
bool block_narrow(shmb_block *block, uint64_t offset, uint64_t length);

/*
 * The last step of every call that gives the program a block: a sealed one gets its address, for which the segment may have to be mapped once
 * more. Where that fails the hold is given back, and the result is a negative SHMB_E_* with its sentence. Not under the mutex.
 */
int block_hand_out(struct shmb_session *session, const shmb_block *block, shmb_block *out_block);

/* Performs a request whose answer is a block: look-up or acquisition. As session_perform. `wait_ms` as in struct call; NULL: it does not wait. */
int block_fetch(struct shmb_session *session, Shmbuddy__V1__Request *request, uint32_t *wait_ms, shmb_block *out_block);

/* A negative SHMB_E_* with its sentence, where alignment or tag are none that a pool of this session could take. */
int block_check_options(const struct shmb_session *session, const shmb_alloc_options *options);

/* The same where a time to live is longer than there are. */
int block_check_ttl(uint64_t ttl_ms);

/* The same for metadata, which may be none. */
int block_check_metadata(const void *metadata, size_t size);

/* The same where the handle is all zeros. */
int block_check_handle(shmb_handle handle);

/*
 * The handle of a live block, from the view. A block that is gone by the time the daemon hears of it is no such block
 * either: block_gone turns that result into the one that callers who have but an id expect.
 */
int block_find_handle(struct shmb_session *session, uint64_t id, Shmbuddy__V1__Handle *out_wire);
int block_gone(int result, uint64_t id);

/* A handle for the wire. */
Shmbuddy__V1__Handle block_wire_handle(shmb_handle handle);

#endif
