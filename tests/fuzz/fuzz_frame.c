/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a stream, as the daemon would read it and as the library would: cut into frames, whatever the pieces it
 * arrives in, and each payload unpacked as a request and as a reply. What unpacks without fields that this version does not
 * know must pack again, to something that unpacks to the same. (protobuf-c keeps unknown fields with their tags as they came, and
 * a tag can come in more ways than it is packed in.) The first byte says how the stream is cut into pieces, the second which side's limit holds.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "byte_queue.h"
#include "frame.h"
#include "shmbuddy.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): it must hold in every kind of build. */
#define must(truth) ((truth) ? (void)0 : abort())

static bool knows_all(const ProtobufCMessage *message);

/* Does the message in this field know all its fields? True where there is none. */
static bool field_knows_all(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	const uint8_t *bytes = (const uint8_t *)message;
	size_t count = 1;

	if (field->type != PROTOBUF_C_TYPE_MESSAGE)
		return true;
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		uint32_t chosen;
		memcpy(&chosen, bytes + field->quantifier_offset, sizeof(chosen));
		if (chosen != field->id)
			return true;
	}
	if (field->label != PROTOBUF_C_LABEL_REPEATED) {
		const ProtobufCMessage *inner;
		memcpy(&inner, bytes + field->offset, sizeof(inner));
		return !inner || knows_all(inner);
	}
	ProtobufCMessage *const *list;
	memcpy(&count, bytes + field->quantifier_offset, sizeof(count));
	memcpy(&list, bytes + field->offset, sizeof(list));
	for (size_t i = 0; i < count; i++)
		if (!knows_all(list[i]))
			return false;
	return true;
}

static bool knows_all(const ProtobufCMessage *message)
{
	if (message->n_unknown_fields)
		return false;
	for (unsigned i = 0; i < message->descriptor->n_fields; i++)
		if (!field_knows_all(message, &message->descriptor->fields[i]))
			return false;
	return true;
}

/* Packs, unpacks and packs again: the two packed forms must be equal. */
static void repack(const ProtobufCMessage *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *first = malloc(size + 1), *second = malloc(size + 1);

	must(first && second);
	must(protobuf_c_message_pack(message, first) == size);
	ProtobufCMessage *again = protobuf_c_message_unpack(message->descriptor, NULL, size, first);
	must(again != NULL);
	must(protobuf_c_message_get_packed_size(again) == size);
	must(protobuf_c_message_pack(again, second) == size);
	must(memcmp(first, second, size) == 0);
	protobuf_c_message_free_unpacked(again, NULL);
	free(first);
	free(second);
}

static void take_payload(const uint8_t *payload, uint32_t size)
{
	const ProtobufCMessageDescriptor *kinds[] = {&shmbuddy__v1__request__descriptor, &shmbuddy__v1__reply__descriptor};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		ProtobufCMessage *message = protobuf_c_message_unpack(kinds[i], NULL, size, payload);

		if (!message)
			continue;
		if (knows_all(message))
			repack(message);
		protobuf_c_message_free_unpacked(message, NULL);
	}
}

/* Takes every whole frame off the queue. Returns frame_peek's last word: 0, or the error that ends the stream. */
static int take_frames(struct byte_queue *queue, uint32_t max, uint64_t *frames, uint64_t *bytes)
{
	const uint8_t *payload;
	uint32_t size;
	int found;

	while ((found = frame_peek(byte_queue_bytes(queue), byte_queue_length(queue), max, &payload, &size)) == 1) {
		must(size > 0 && size <= max);
		must(payload == byte_queue_bytes(queue) + FRAME_HEADER);
		must(byte_queue_length(queue) >= FRAME_HEADER + (size_t)size);
		take_payload(payload, size);
		byte_queue_consume(queue, FRAME_HEADER + (size_t)size);
		(*frames)++;
		*bytes += size;
	}
	return found;
}

/* Reads the stream in pieces of `piece` bytes; the outcome goes into `out_seen`. */
static void read_stream(const uint8_t *data, size_t size, size_t piece, uint32_t max, uint64_t out_seen[3])
{
	struct byte_queue queue;
	int result = 0;

	byte_queue_init(&queue);
	out_seen[0] = out_seen[1] = 0;
	for (size_t at = 0; at < size && result == 0; at += piece) {
		size_t length = size - at < piece ? size - at : piece;

		must(byte_queue_append(&queue, data + at, length) == 0);
		result = take_frames(&queue, max, &out_seen[0], &out_seen[1]);
	}
	out_seen[2] = (uint64_t)-result;
	byte_queue_deinit(&queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t whole[3], pieces[3];

	if (size < 2)
		return 0;
	uint32_t max = data[1] % 2 ? FRAME_MAX : FRAME_MAX_BEFORE_HELLO;
	read_stream(data + 2, size - 2, size, max, whole);
	read_stream(data + 2, size - 2, (size_t)data[0] + 1, max, pieces);
	must(memcmp(whole, pieces, sizeof(whole)) == 0);
	return 0;
}
