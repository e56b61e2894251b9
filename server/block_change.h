/* SPDX-License-Identifier: Apache-2.0 */
/* A request that changes what may change of a block: its seal, its metadata, its size (state_layout.h). Loop thread only. */
#ifndef SERVER_BLOCK_CHANGE_H
#define SERVER_BLOCK_CHANGE_H

#include <stdint.h>

#include "lifetime.h"
#include "slot.h"
#include "view_layout.h"

/*
 * May the slot's session change the block? 0, or ERROR_OTHER_POOL, ERROR_STALE_HANDLE, ERROR_NOT_HELD; ERROR_SEALED: nobody may any more. Who
 * holds a block may, whoever allocated it: they all could write to it.
 */
int block_change_check(const struct slot *slot, const struct handle *handle);

/* The block's body becomes this one, whose checksum is filled in, and its state: decided, and recorded as the slot's outcome. */
void block_change_perform(const struct slot *slot, enum slot_operation operation, uint32_t block,
                          const struct block_body *body, enum record_state state);

#endif
