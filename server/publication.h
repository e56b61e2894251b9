/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name on its way to a block, as part of a request that publishes or allocates: a new name, or one that is replaced. The
 * parts of the request's steps (state_layout.h) that are about the name. Loop thread only.
 */
#ifndef SERVER_PUBLICATION_H
#define SERVER_PUBLICATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "charge.h"
#include "names.h"
#include "pool.h"
#include "state_layout.h"

/* What is asked for. The name has passed name_check. */
struct publication_wish {
	const char *name;
	size_t length;
	bool replace;                  /* whatever it stands for */
	const struct session *session; /* that asks */
};

struct publication {
	uint32_t name; /* record, plus one; 0: there is no name to publish */
	bool replaces;
};

/*
 * May the name be published? 0; ERROR_NAME_TAKEN: it stands for something, which is not to be replaced; ERROR_DENIED: it is
 * another user's; ERROR_LIMIT: a quota. With a sentence for the reply in `out_text`, unless it is 0.
 */
#define PUBLICATION_TEXT_MAX CHARGE_TEXT_MAX
int publication_check(const struct pool *pool, const struct publication_wish *wish, char out_text[PUBLICATION_TEXT_MAX]);

/* The same, and takes a record where one is needed, so that nothing can fail any more. ERROR_LIMIT also: no more names. */
int publication_prepare(struct pool *pool, const struct publication_wish *wish, struct publication *out_publication,
                        char out_text[PUBLICATION_TEXT_MAX]);

/* Steps 2 and 3: what the name will stand for, as yet invisible. */
void publication_write(struct pool *pool, const struct publication *publication, const struct name_content *content,
                       struct slot_record *slot);

/* Step 5: it stands for that. What it stood for before goes, where nothing else holds it. */
void publication_apply(struct pool *pool, const struct publication *publication);

#endif
