/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of bytes in one piece of memory: written at its end, read in place and consumed at its start. A connection has
 * one for what came in and one for what goes out. It grows as asked; its owner bounds it. Belongs to one thread at a time.
 *
 * Any call that may move the bytes (reserve, append, consume, release, deinit) ends the life of pointers into it.
 */
#ifndef SHARED_BYTE_QUEUE_H
#define SHARED_BYTE_QUEUE_H

#include <stddef.h>
#include <stdint.h>

/* The smallest piece of memory taken, and the largest kept while the queue is empty, in bytes. */
#define BYTE_QUEUE_MIN 512
#define BYTE_QUEUE_KEEP 16384

/* All zeros is an empty queue without memory. */
struct byte_queue {
	uint8_t *data;   /* `capacity` bytes, owned; NULL where that is 0 */
	size_t start;    /* of what is queued */
	size_t end;      /* of what is queued, and where the next bytes go */
	size_t capacity; /* 0, or a power of two */
};

void byte_queue_init(struct byte_queue *queue);

/* Frees the memory and whatever is queued. The queue is then as after init. */
void byte_queue_deinit(struct byte_queue *queue);

/*
 * Makes room for at least `size` bytes at the end; byte_queue_room says how many there are. Write there, then commit what
 * was written. -ENOMEM leaves the queue as it was. `*out_bytes` is never NULL, with size 0 either.
 */
int byte_queue_reserve(struct byte_queue *queue, size_t size, uint8_t **out_bytes);

/* Queues `size` bytes that were written where byte_queue_reserve said; at most byte_queue_room. */
void byte_queue_commit(struct byte_queue *queue, size_t size);

/* Reserves, copies and commits. -ENOMEM leaves the queue as it was. `bytes` may be NULL where `size` is 0. */
int byte_queue_append(struct byte_queue *queue, const void *bytes, size_t size);

/* Takes `size` bytes off the start, at most byte_queue_length. Emptied, it gives back a memory over BYTE_QUEUE_KEEP. */
void byte_queue_consume(struct byte_queue *queue, size_t size);

/* Gives back all memory where the queue is empty, for a connection that has become idle; else does nothing. */
void byte_queue_release(struct byte_queue *queue);

/* What is queued, in one piece; NULL where the queue has no memory. */
static inline uint8_t *byte_queue_bytes(const struct byte_queue *queue)
{
	return queue->data ? queue->data + queue->start : NULL;
}

/* Bytes queued. */
static inline size_t byte_queue_length(const struct byte_queue *queue)
{
	return queue->end - queue->start;
}

/* Bytes that can be written at the end without a new reserve. */
static inline size_t byte_queue_room(const struct byte_queue *queue)
{
	return queue->capacity - queue->end;
}

#endif
