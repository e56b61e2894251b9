/* SPDX-License-Identifier: Apache-2.0 */
#include "state_header.h"

#include "checksum.h"
#include "state_layout.h"

uint32_t state_header_checksum(const struct state_header *header)
{
	const uint8_t *first = (const uint8_t *)&header->layout_version;

	return checksum_of(first, (size_t)((const uint8_t *)&header->checksum - first));
}
