/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_process.h"

#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#define DAEMON_NAME "shmbuddyd"

/* A zombie keeps its id and its name; its pidfd says that it has ended. Kernels before 5.3 have none: then it is not seen. */
static bool is_zombie(uint32_t pid)
{
	CLEANUP_CLOSE int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	struct pollfd end = {.fd = fd, .events = POLLIN};

	return fd >= 0 && poll(&end, 1, 0) == 1;
}

enum daemon_process daemon_process_look(uint32_t pid, char out_name[PROCESS_NAME_MAX])
{
	out_name[0] = '\0';
	if (pid == 0 || pid > INT32_MAX || process_name((pid_t)pid, out_name) < 0 || is_zombie(pid)) {
		out_name[0] = '\0';
		return DAEMON_ENDED;
	}
	return strcmp(out_name, DAEMON_NAME) == 0 ? DAEMON_RUNS : DAEMON_OTHER;
}
