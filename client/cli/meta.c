/* SPDX-License-Identifier: Apache-2.0 */
#include "meta.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "input.h"
#include "report.h"

#define LINE 16 /* bytes */

static int too_long(const char *verb)
{
	return report_usage(verb, "metadata has at most %d bytes", SHMB_METADATA_MAX);
}

static int read_file(const char *verb, const char *path, struct meta *out_meta)
{
	uint8_t bytes[SHMB_METADATA_MAX + 1];
	struct input input;
	size_t size = 0;
	ssize_t got = 0;
	int result = input_open(path, &input);

	if (result < 0)
		return report_system(verb, -result, "opening %s", path);
	while (size < sizeof bytes && (got = read(input.fd, bytes + size, sizeof bytes - size)) != 0) {
		if (got < 0 && errno != EINTR)
			break;
		size += got > 0 ? (size_t)got : 0;
	}
	int error = errno;
	input_close(&input);
	if (got < 0)
		return report_system(verb, error, "reading %s", path);
	if (size > SHMB_METADATA_MAX)
		return too_long(verb);
	memcpy(out_meta->bytes, bytes, size);
	out_meta->size = size;
	return EXIT_DONE;
}

int meta_read(const char *verb, const char *argument, struct meta *out_meta)
{
	size_t size = strlen(argument);

	if (argument[0] == '@')
		return read_file(verb, argument + 1, out_meta);
	if (size > SHMB_METADATA_MAX)
		return too_long(verb);
	memcpy(out_meta->bytes, argument, size);
	out_meta->size = size;
	return EXIT_DONE;
}

void meta_hex(const struct meta *meta, char out_text[META_HEX_MAX])
{
	out_text[0] = '\0';
	for (size_t i = 0; i < meta->size; i++)
		snprintf(out_text + 2 * i, 3, "%02x", meta->bytes[i]);
}

void meta_print(const struct meta *meta, const char *heading)
{
	for (size_t at = 0; at < meta->size; at += LINE) {
		size_t count = meta->size - at < LINE ? meta->size - at : LINE;

		printf("%-11s", at == 0 ? heading : "");
		for (size_t i = 0; i < LINE; i++)
			i < count ? printf(" %02x", meta->bytes[at + i]) : printf("   ");
		printf("  ");
		for (size_t i = 0; i < count; i++)
			putchar(meta->bytes[at + i] >= 0x20 && meta->bytes[at + i] < 0x7f ? meta->bytes[at + i] : '.');
		putchar('\n');
	}
}
