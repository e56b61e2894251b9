/* SPDX-License-Identifier: Apache-2.0 */
/* known_name: a name, and what it stands for. */
#ifndef TESTS_INTEGRATION_MODEL_KNOWN_NAME_H
#define TESTS_INTEGRATION_MODEL_KNOWN_NAME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define KNOWN_NAMES 120
#define KNOWN_NAMES_AWAITED 20 /* the first of them: for these sessions wait, and nobody else who waits publishes them */

struct actor;
struct known_block;

struct known_name {
	struct known_block *block; /* NULL: there is no such name */
	uint64_t offset, length;   /* the range; a length of 0: to its end */
	uid_t uid;                 /* of the publisher */
	int by;                    /* actor, or NOBODY: its session has ended */
};

/* Its text. */
void known_name_text(const struct known_name *name, char out_text[64]);

struct known_name *known_name_any(void);

/* 0, or the negative error that an actor gets who wants to publish it. */
int known_name_judge(const struct known_name *name, const struct actor *actor, bool replace);

/* True: its quota keeps the actor from publishing it, truly (known_account.h). */
bool known_name_refuses(const struct known_name *name, const struct actor *actor);

/* It stands for that from now on, and no more for what it did. */
void known_name_set(struct known_name *name, struct known_block *block, uint64_t offset, uint64_t length,
                    const struct actor *by);

void known_name_drop(struct known_name *name);
void known_name_drop_all(struct known_block *block); /* which lives on, whatever held it */

/* Bytes that it stands for. */
uint64_t known_name_bytes(const struct known_name *name);

unsigned known_name_count(void);

#endif
