/* SPDX-License-Identifier: Apache-2.0 */
/* One record of a session's view, checked and put as the public header has it. The session is open. No state: any thread. */
#ifndef CLIENT_INSPECT_H
#define CLIENT_INSPECT_H

#include "session.h"

/* Records from here on were never used, and may have no memory behind them: reading there would make the kernel back it. */
uint32_t inspect_block_records(const struct view *view);
uint32_t inspect_name_records(const struct view *view);

/* 1: the record lives, and was copied. 0: it does not live. SHMB_E_CORRUPT with its sentence: it contradicts itself. */
int inspect_block(const struct shmb_session *session, uint32_t index, shmb_block_info *out_block);
int inspect_name(const struct shmb_session *session, uint32_t index, shmb_name_info *out_name, uint64_t *out_id);

#endif
