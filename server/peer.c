/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end: see peer.h. */
#include "peer.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* asm-generic/socket.h, since Linux 6.5 */
#endif

int peer_credentials(int socket, struct peer *out_peer)
{
	struct ucred credentials;
	socklen_t length = sizeof credentials;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
		return -errno;
	*out_peer = (struct peer){
		.uid = credentials.uid,
		.gid = credentials.gid,
		.pid = credentials.pid > 0 ? (uint32_t)credentials.pid : 0,
		.pidfd = -1,
	};
	return 0;
}

/* By the pid that /proc has for it, which need not be the daemon's: a daemon in a container may see the /proc of the host. */
static int start_time(int pidfd, uint64_t *out_ticks)
{
	pid_t pid;
	int result = process_of_pidfd(pidfd, &pid);

	return result < 0 ? result : process_start_time(pid, out_ticks);
}

int peer_find(struct peer *peer)
{
	uint64_t start;
	int pidfd = (int)syscall(SYS_pidfd_open, peer->pid, 0);

	if (pidfd < 0)
		return errno == ENOSYS ? -EOPNOTSUPP : -errno;
	/* The order matters: whoever has the pid now has it until the pidfd says otherwise. */
	int result = start_time(pidfd, &start);
	if (peer_has_ended(pidfd) || (result == 0 && peer->start_time && peer->start_time != start)) {
		close(pidfd);
		return -ESRCH;
	}
	/* One that hides from /proc (hidepid, proc(5)) may be anybody; it has not ended. */
	if (result < 0) {
		close(pidfd);
		return -EOPNOTSUPP;
	}
	peer->pidfd = pidfd;
	peer->start_time = start;
	return 0;
}

int peer_open_pidfd(int socket, uint64_t claimed_start, struct peer *peer)
{
	int pidfd = -1;
	socklen_t length = sizeof pidfd;
	uint64_t start = 0;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) == 0) {
		peer->pidfd = pidfd;
		if (start_time(pidfd, &start) == 0)
			peer->start_time = start;
		/* A socket that was handed on speaks for the process that connected it, not for the one that would map the memory. */
		bool other = claimed_start && start && claimed_start != start;
		return other || peer_has_ended(pidfd) ? -ESRCH : 0;
	}
	if (errno == ESRCH)
		return -ESRCH;
	if (!peer->pid)
		return -EOPNOTSUPP;
	peer->start_time = claimed_start;
	return peer_find(peer);
}

void peer_program(const struct peer *peer, char out_name[PROCESS_NAME_MAX])
{
	pid_t pid;

	if (process_of_pidfd(peer->pidfd, &pid) < 0 || process_name(pid, out_name) < 0)
		out_name[0] = '\0';
}

void peer_deinit(struct peer *peer)
{
	if (peer->pidfd >= 0)
		close(peer->pidfd);
	peer->pidfd = -1;
}

bool peer_has_ended(int pidfd)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 1;
}
