/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes: see random.h. */
#include "random.h"

#include <errno.h>
#include <stdint.h>
#include <sys/random.h>
#include <sys/types.h>

int random_bytes(void *out_bytes, size_t size)
{
	uint8_t *next = out_bytes;

	while (size > 0) {
		ssize_t got = getrandom(next, size, 0); /* above 256 bytes a signal may make it stop early */

		if (got < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		next += got;
		size -= (size_t)got;
	}
	return 0;
}
