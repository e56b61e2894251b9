/* SPDX-License-Identifier: Apache-2.0 */
/* One reference more to a block for a session, exactly once: what a look-up, an acquisition by handle and a ticket do when it is found. Loop thread only. */
#ifndef SERVER_ACQUISITION_H
#define SERVER_ACQUISITION_H

#include <stdint.h>

#include "names.h"
#include "slot.h"

/*
 * The slot's session gets a reference to a live block, or one more; decided and recorded, with the range of it that the answer is
 * about. 0, or ERROR_LIMIT (no more references, or this one's
 * count is at its end): nothing has happened, and nothing is recorded.
 */
int acquisition_perform(const struct slot *slot, enum slot_operation operation, uint32_t block, struct name_range range);

/* The same by a live ticket, which goes in the same operation. */
int acquisition_redeem(const struct slot *slot, uint32_t ticket);

#endif
