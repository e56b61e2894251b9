/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queued bytes lie at data[start..end). Consuming moves `start`, appending moves `end`; a queue that runs empty starts
 * over at 0. When the room behind `end` is too small, the bytes move down to 0 if at least as many were consumed before
 * them, so that a byte is moved once for each byte consumed at most; else they move to a memory twice as large. Either way
 * the cost of a byte is constant in the long run, and the capacity below 4 times the most that was queued and asked for at
 * one time (or BYTE_QUEUE_MIN).
 */
#include "byte_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void byte_queue_init(struct byte_queue *queue)
{
	*queue = (struct byte_queue){0};
}

void byte_queue_deinit(struct byte_queue *queue)
{
	free(queue->data);
	byte_queue_init(queue);
}

/* Moves what is queued to a larger memory with room for `size` more bytes. */
static int grow(struct byte_queue *queue, size_t size)
{
	size_t length = byte_queue_length(queue);
	size_t capacity = queue->capacity ? queue->capacity : BYTE_QUEUE_MIN / 2;
	uint8_t *data;

	if (size > SIZE_MAX / 2 - length) /* so that the doubling below ends */
		return -ENOMEM;
	do {
		capacity *= 2;
	} while (capacity - length < size);
	data = malloc(capacity);
	if (!data)
		return -ENOMEM;
	if (queue->data)
		memcpy(data, queue->data + queue->start, length);
	free(queue->data);
	*queue = (struct byte_queue){.data = data, .end = length, .capacity = capacity};
	return 0;
}

int byte_queue_reserve(struct byte_queue *queue, size_t size, uint8_t **out_bytes)
{
	size_t length = byte_queue_length(queue);

	if (!queue->data || byte_queue_room(queue) < size) {
		if (queue->data && queue->start >= length && queue->capacity - length >= size) {
			memcpy(queue->data, queue->data + queue->start, length); /* start >= length: no overlap */
			queue->start = 0;
			queue->end = length;
		} else {
			int result = grow(queue, size);

			if (result < 0)
				return result;
		}
	}
	*out_bytes = queue->data + queue->end;
	return 0;
}

void byte_queue_commit(struct byte_queue *queue, size_t size)
{
	assert(size <= byte_queue_room(queue));
	queue->end += size;
}

int byte_queue_append(struct byte_queue *queue, const void *bytes, size_t size)
{
	uint8_t *end;
	int result;

	if (size == 0)
		return 0;
	result = byte_queue_reserve(queue, size, &end);
	if (result < 0)
		return result;
	memcpy(end, bytes, size);
	byte_queue_commit(queue, size);
	return 0;
}

void byte_queue_consume(struct byte_queue *queue, size_t size)
{
	assert(size <= byte_queue_length(queue));
	queue->start += size;
	if (queue->start < queue->end)
		return;
	queue->start = 0;
	queue->end = 0;
	if (queue->capacity > BYTE_QUEUE_KEEP)
		byte_queue_deinit(queue);
}

void byte_queue_release(struct byte_queue *queue)
{
	if (byte_queue_length(queue) == 0)
		byte_queue_deinit(queue);
}
