/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tickets: see tickets.h. */
#include "tickets.h"

#include <stddef.h>
#include <string.h>

#include "checksum.h"
#include "commit.h"
#include "random.h"
#include "region.h"
#include "shared_object.h"
#include "view_layout.h"

/* Bytes of records committed at a time: 256 tickets. */
#define TICKETS_STEP 16384

int tickets_init(struct tickets *tickets, const struct shared_object *state, uint64_t at, uint32_t capacity)
{
	*tickets = (struct tickets){.records = (struct ticket_record *)((uint8_t *)state->base + at)};
	int result = table_init(&tickets->table, state, at, sizeof(struct ticket_record), capacity, TICKETS_STEP);

	if (result == 0)
		result = region_new(capacity * sizeof *tickets->of_block, (void **)&tickets->of_block);
	if (result == 0)
		result = pair_index_init(&tickets->by_token, capacity);
	if (result < 0)
		tickets_deinit(tickets);
	return result;
}

void tickets_deinit(struct tickets *tickets)
{
	region_free(tickets->of_block, tickets->table.capacity * sizeof *tickets->of_block);
	pair_index_deinit(&tickets->by_token);
	table_deinit(&tickets->table);
	*tickets = (struct tickets){0};
}

uint32_t ticket_checksum(const struct ticket_record *record, uint64_t id)
{
	const uint8_t *first = record->token;

	return checksum_of(first, (size_t)((const uint8_t *)&record->checksum - first)) ^ (uint32_t)id ^ (uint32_t)(id >> 32);
}

uint32_t tickets_find_alike(const struct tickets *tickets, const uint8_t token[TICKET_TOKEN_SIZE])
{
	uint32_t half[2];

	memcpy(half, token, sizeof half);
	return pair_index_find(&tickets->by_token, half[0], half[1]);
}

uint32_t tickets_find(const struct tickets *tickets, const uint8_t token[TICKET_TOKEN_SIZE])
{
	uint32_t link = tickets_find_alike(tickets, token);
	uint8_t difference = 0;

	for (size_t i = 0; link && i < TICKET_TOKEN_SIZE; i++)
		difference |= (uint8_t)(tickets->records[link - 1].token[i] ^ token[i]);
	return difference ? 0 : link;
}

int tickets_draw(const struct tickets *tickets, uint8_t out_token[TICKET_TOKEN_SIZE])
{
	int result;

	do
		result = random_bytes(out_token, TICKET_TOKEN_SIZE);
	while (result == 0 && tickets_find_alike(tickets, out_token));
	return result;
}

void tickets_write(struct tickets *tickets, uint32_t index, const struct ticket_content *content)
{
	struct ticket_record *record = &tickets->records[index];

	memcpy(record->token, content->token, sizeof record->token);
	record->block_id = content->block_id;
	record->deadline = content->deadline;
	record->session = content->session;
	record->block = content->block;
	record->uid = content->uid;
	record->for_uid = content->for_uid;
	record->checksum = ticket_checksum(record, content->id);
	commit(&record->word, record_word(content->id, 0, RECORD_PENDING));
}

void tickets_add(struct tickets *tickets, uint32_t index)
{
	uint32_t half[2];

	memcpy(half, tickets->records[index].token, sizeof half);
	pair_index_add(&tickets->by_token, index, half[0], half[1]);
	tickets->count++;
}

void tickets_set_state(struct tickets *tickets, uint32_t index, enum record_state state)
{
	commit(&tickets->records[index].word, record_with_state(tickets_word(tickets, index), state));
	if (state != RECORD_FREE)
		return;
	pair_index_remove(&tickets->by_token, index);
	tickets->count--;
	table_give(&tickets->table, index);
}
