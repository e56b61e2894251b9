/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doubly linked lists of table indexes. The links lie in an array beside the table, so that a record can be in a list without
 * a pointer and without memory of its own. A link is an index plus one; 0 is none, hence zeroed memory is empty lists.
 */
#ifndef SERVER_INDEX_LIST_H
#define SERVER_INDEX_LIST_H

#include <stdint.h>

struct index_link {
	uint32_t prev, next;
};

static inline void index_list_push(struct index_link *links, uint32_t *head, uint32_t index)
{
	links[index] = (struct index_link){.prev = 0, .next = *head};
	if (*head)
		links[*head - 1].prev = index + 1;
	*head = index + 1;
}

static inline void index_list_remove(struct index_link *links, uint32_t *head, uint32_t index)
{
	struct index_link link = links[index];

	if (link.prev)
		links[link.prev - 1].next = link.next;
	else
		*head = link.next;
	if (link.next)
		links[link.next - 1].prev = link.prev;
	links[index] = (struct index_link){0, 0};
}

/* Before a record leaves its list: whoever walks that list with pauses, and would come to the record next, goes on behind it. */
static inline void index_list_step_over(const struct index_link *links, uint32_t *walk, uint32_t index)
{
	if (*walk == index + 1)
		*walk = links[index].next;
}

#endif
