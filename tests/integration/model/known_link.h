/* SPDX-License-Identifier: Apache-2.0 */
/* known_link: one block holds another. Links may go in circles, and blocks that hold each other so hold themselves: adrift.h. */
#ifndef TESTS_INTEGRATION_MODEL_KNOWN_LINK_H
#define TESTS_INTEGRATION_MODEL_KNOWN_LINK_H

#include <stdbool.h>
#include <sys/types.h>

#define KNOWN_LINKS 300

struct actor;
struct known_block;

struct known_link {
	struct known_block *from, *to; /* NULL: there is none here */
	uid_t uid;                     /* who made it */
	int by;                        /* actor, or NOBODY: its session has ended */
};

/* NULL: there is none. */
struct known_link *known_link_find(const struct known_block *from, const struct known_block *to);
struct known_link *known_link_any(void);

/* Does the block hold others? */
bool known_link_begins(const struct known_block *block);

/* False: there is no room for another. */
bool known_link_add(struct known_block *from, struct known_block *to, const struct actor *by);

void known_link_drop(struct known_link *link);
/* One to this block goes, and the block lives or not as before: what it came from. */
struct known_block *known_link_drop_to(struct known_block *block);
void known_link_drop_from(const struct known_block *block);

/* Marks the blocks that somebody but links holds, and whatever those hold: what is left over only circles keep. */
void known_link_mark(bool out_reached[]);

unsigned known_link_count(void);

#endif
