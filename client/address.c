/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and reaching the daemon's socket: see address.h. */
#include "address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "deadline.h"
#include "last_error.h"

/* How long one connect may wait while the daemon's queue is full; the kernel's timer is coarse for longer ones. */
#define ADDRESS_SLICE_MS 100

static int use(const char *path, struct sockaddr_un *out_address)
{
	size_t length = strlen(path);

	if (length == 0)
		return last_error_set(ERROR_INVALID_ARGUMENT, "the path of the daemon's socket is empty");
	if (length >= sizeof out_address->sun_path)
		return last_error_set(ERROR_INVALID_ARGUMENT,
		                      "the path of the daemon's socket has %zu bytes, %zu are the most that the system takes",
		                      length, sizeof out_address->sun_path - 1);
	memset(out_address, 0, sizeof *out_address);
	out_address->sun_family = AF_UNIX;
	memcpy(out_address->sun_path, path, length);
	return 0;
}

/* A program that runs with more rights than its caller does not take the caller's word for where its daemon is. */
static const char *variable(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

int address_resolve(const char *path, struct sockaddr_un *out_address)
{
	char own[sizeof out_address->sun_path];
	const char *directory;
	int length;

	if (!path)
		path = variable("SHMBUDDY_SOCKET");
	if (path)
		return use(path, out_address);
	directory = variable("XDG_RUNTIME_DIR");
	if (directory) {
		length = snprintf(own, sizeof own, "%s/shmbuddy.sock", directory);
		if (length > 0 && (size_t)length < sizeof own && access(own, F_OK) == 0)
			return use(own, out_address);
	}
	return use(ADDRESS_DEFAULT, out_address);
}

void address_make_absolute(struct sockaddr_un *address)
{
	char directory[sizeof address->sun_path], path[2 * sizeof address->sun_path];

	if (address->sun_path[0] == '/' || !getcwd(directory, sizeof directory))
		return;
	if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, address->sun_path) < sizeof address->sun_path)
		memcpy(address->sun_path, path, strlen(path) + 1);
}

static int refused(const struct sockaddr_un *address, bool given, int error)
{
	const char *path = address->sun_path;
	const char *elsewhere = given ? "name the socket that it listens on" : "set SHMBUDDY_SOCKET";

	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return last_error_set(ERROR_NO_DAEMON, "no daemon: there is no socket %s; start shmbuddyd, or %s", path, elsewhere);
	case ECONNREFUSED:
		return last_error_set(ERROR_NO_DAEMON, "no daemon: nothing listens on %s; start shmbuddyd, or %s", path, elsewhere);
	case EACCES:
	case EPERM:
		return last_error_set(ERROR_DENIED, "no permission to use %s; join the group that owns it%s", path,
		                      given ? "" : ", or set SHMBUDDY_SOCKET");
	case EPROTOTYPE:
		return last_error_set(ERROR_PROTOCOL, "what listens on %s is not shmbuddyd: it is no stream socket", path);
	default: return last_error_system(error, "cannot connect to %s", path);
	}
}

int address_connect(const struct sockaddr_un *address, bool given, int fd, int64_t deadline)
{
	for (;;) {
		int64_t slice = deadline_left(deadline);

		if (slice > ADDRESS_SLICE_MS * DEADLINE_MS)
			slice = ADDRESS_SLICE_MS * DEADLINE_MS;
		if (slice < DEADLINE_MS)
			slice = DEADLINE_MS; /* 0 would mean to wait for ever */

		struct timeval patience = {.tv_usec = (suseconds_t)(slice / 1000)};

		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
			return last_error_system(errno, "cannot set up a socket");
		if (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0)
			return 0;
		if (errno != EINTR && errno != EAGAIN)
			return refused(address, given, errno);
		if (deadline_passed(deadline))
			return last_error_set(ERROR_TIMEOUT,
			                      "the daemon on %s takes no connection, too many are waiting already: it hangs, is "
			                      "stopped, or has too much to do",
			                      address->sun_path);
	}
}
