/* SPDX-License-Identifier: Apache-2.0 */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int input_open(const char *path, struct input *out_input)
{
	int fd;

	if (strcmp(path, "-") == 0) {
		*out_input = (struct input){STDIN_FILENO, "standard input"};
		return 0;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	*out_input = (struct input){fd, path};
	return 0;
}

int input_length(const struct input *input, uint64_t *out_bytes)
{
	struct stat status;
	off_t at;

	if (fstat(input->fd, &status) < 0)
		return -errno;
	if (S_ISDIR(status.st_mode))
		return -EISDIR;
	if (!S_ISREG(status.st_mode))
		return 0;
	at = lseek(input->fd, 0, SEEK_CUR); /* standard input may have been read in part */
	if (at < 0)
		return -errno;
	if (at >= status.st_size)
		return 0;
	*out_bytes = (uint64_t)(status.st_size - at);
	return 1;
}

void input_close(struct input *input)
{
	if (input->fd != STDIN_FILENO && input->fd >= 0)
		close(input->fd);
	input->fd = -1;
}
