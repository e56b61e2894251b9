/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a recovery share: see recovery.h. */
#include "recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"

int recovery_contradiction(const struct recovery *recovery, const char *kind, uint32_t index, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	log_error("pool %s: %s record %" PRIu32 " %s: the pool is left as it is; start with --discard to throw it away",
	          recovery->pool->name, kind, index, text);
	return RECOVERY_CONTRADICTION;
}

int recovery_count_records(const struct table *table, uint32_t *out_count)
{
	off_t end = (off_t)(table->at + (uint64_t)table->capacity * table->stride), last = (off_t)table->at;
	off_t at = (off_t)table->at;

	/* Pages that were never written are holes. Below the last that was, all are committed: tables are, from their start. */
	while (at < end && (at = lseek(table->object->fd, at, SEEK_DATA)) >= 0 && at < end) {
		at = lseek(table->object->fd, at, SEEK_HOLE);
		if (at < 0)
			return -errno;
		last = at < end ? at : end;
	}
	if (at < 0 && errno != ENXIO)
		return -errno;
	*out_count = (uint32_t)(((uint64_t)last - table->at + table->stride - 1) / table->stride);
	if (*out_count > table->capacity)
		*out_count = table->capacity;
	return 0;
}
