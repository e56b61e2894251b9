/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a pool's state (state_layout.h). */
#ifndef SERVER_STATE_HEADER_H
#define SERVER_STATE_HEADER_H

#include <stdint.h>

struct state_header;

/* Over what never changes. */
uint32_t state_header_checksum(const struct state_header *header);

#endif
