/* SPDX-License-Identifier: Apache-2.0 */
/* The boot's id: see boot.h. */
#include "boot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_id(uint8_t out_id[16])
{
	char text[64] = {0};
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	ssize_t length = read(fd, text, sizeof text - 1);
	close(fd);
	memset(out_id, 0, 16);
	size_t digits = 0;
	for (ssize_t i = 0; i < length && digits < 32; i++) {
		int value = text[i] >= '0' && text[i] <= '9'   ? text[i] - '0'
		            : text[i] >= 'a' && text[i] <= 'f' ? text[i] - 'a' + 10
		                                               : -1;
		if (value < 0)
			continue; /* a dash */
		out_id[digits / 2] = (uint8_t)(out_id[digits / 2] << 4 | value);
		digits++;
	}
	return digits == 32 ? 0 : -EBADMSG;
}

int pid_namespace(uint32_t *out_inode)
{
	struct stat status;

	if (stat("/proc/self/ns/pid", &status) < 0)
		return -errno;
	*out_inode = (uint32_t)status.st_ino; /* the kernel numbers them in 32 bits */
	return 0;
}
