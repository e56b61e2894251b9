/* SPDX-License-Identifier: Apache-2.0 */
/* What operations that may bring a new block have in common (operation_blocks.c). For the client's thread. */
#ifndef TESTS_STORM_OPERATION_BLOCKS_H
#define TESTS_STORM_OPERATION_BLOCKS_H

#include "tests/storm/client.h"

/* 1 byte to 256 KiB: mostly small ones, and large ones often enough that the pool is full now and then. */
uint64_t draw_size(struct client *client);

/* Into the ledger: a block of that size is about to be asked for. NULL: there is no room for it. */
struct ledger_hold *ask_hold(struct client *client, uint64_t size);

/* The answer to an allocation: into the ledger, and then the bytes. */
void take_block(struct client *client, struct ledger_hold *hold, const shmb_block *block);

/* The pool is full: so that it is not for ever, some of what this client holds goes. Another result but 0 fails. */
bool is_refused(struct client *client, int result);

#endif
