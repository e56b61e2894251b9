/* SPDX-License-Identifier: Apache-2.0 */
/* The socket's path: claimed, refused, taken over from the dead, and left alone where it is not ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/endpoint.h"

static char directory[64], path[100], lock_path[108], aside[108];
static char why[512];
static void (*before_lock)(void); /* called once, before the lock is tried */

/* Stands before libc's. */
int flock(int fd, int operation)
{
	if (before_lock) {
		void (*act)(void) = before_lock;
		before_lock = NULL;
		act();
	}
	return (int)syscall(SYS_flock, fd, operation);
}

static int setup(void **state)
{
	static struct endpoint endpoint;

	strcpy(directory, "/tmp/shmbuddy-endpoint-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof path, "%s/socket", directory);
	snprintf(lock_path, sizeof lock_path, "%s.lock", path);
	snprintf(aside, sizeof aside, "%s.aside", path);
	endpoint = (struct endpoint){.lock_fd = -1, .fd = -1};
	memset(why, 0, sizeof why);
	*state = &endpoint;
	return 0;
}

static int teardown(void **state)
{
	endpoint_release(*state);
	unlink(lock_path);
	unlink(path);
	unlink(aside);
	rmdir(path);
	return rmdir(directory); /* and nothing else is in it */
}

static int is_there(const char *file)
{
	struct stat status;

	return lstat(file, &status) == 0;
}

/* A socket bound at `path` by somebody else. */
static int bind_foreign(int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void test_claim_and_release(void **state)
{
	struct endpoint *endpoint = *state;
	struct stat status;
	mode_t before = umask(0);
	int result = endpoint_claim(endpoint, path, why);
	mode_t during = umask(before);

	assert_int_equal(result, 0);
	assert_int_equal(during, 0); /* the umask is as it was */
	assert_string_equal(endpoint->path, path);
	assert_string_equal(endpoint->lock_path, lock_path);
	assert_int_equal(lstat(path, &status), 0);
	assert_int_equal(status.st_mode, S_IFSOCK | 0660);
	assert_int_equal(lstat(lock_path, &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	assert_int_equal(fcntl(endpoint->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(endpoint->lock_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(listen(endpoint->fd, 1), 0);
	endpoint_release(endpoint);
	assert_int_equal(endpoint->fd, -1);
	assert_int_equal(endpoint->lock_fd, -1);
	assert_false(is_there(path));
	assert_false(is_there(lock_path));
	endpoint_release(endpoint); /* of nothing */
}

static void test_second_claim(void **state)
{
	struct endpoint *endpoint = *state, second;

	assert_int_equal(endpoint_claim(endpoint, path, why), 0);
	assert_int_equal(endpoint_claim(&second, path, why), -EWOULDBLOCK);
	assert_non_null(strstr(why, "another daemon serves"));
	assert_non_null(strstr(why, path));
	assert_int_equal(second.fd, -1);
	assert_int_equal(second.lock_fd, -1);
	assert_true(is_there(path));
	assert_true(is_there(lock_path));
	endpoint_release(endpoint);
	assert_int_equal(endpoint_claim(&second, path, why), 0);
	endpoint_release(&second);
}

/* Both files of a daemon that was killed. */
static void test_stale(void **state)
{
	struct endpoint *endpoint = *state;
	struct stat before, after;

	close(bind_foreign(SOCK_STREAM));
	close(open(lock_path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(lstat(path, &before), 0);
	assert_int_equal(endpoint_claim(endpoint, path, why), 0);
	assert_int_equal(lstat(path, &after), 0);
	assert_int_equal(endpoint->inode, after.st_ino);
	assert_int_equal(after.st_mode, S_IFSOCK | 0660);
}

/* Somebody listens there who does not know of the lock. */
static void test_foreign_listener(void **state)
{
	struct endpoint *endpoint = *state;
	int fd = bind_foreign(SOCK_STREAM);

	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(endpoint_claim(endpoint, path, why), -EADDRINUSE);
	assert_non_null(strstr(why, "something that is not shmbuddyd"));
	assert_true(is_there(path));
	assert_false(is_there(lock_path)); /* let go of again */
	/* Its queue is full now (the probes lie in it): still it listens. */
	assert_int_equal(endpoint_claim(endpoint, path, why), -EADDRINUSE);
	assert_int_equal(endpoint_claim(endpoint, path, why), -EADDRINUSE);
	assert_true(is_there(path));
	close(fd);
	assert_int_equal(endpoint_claim(endpoint, path, why), 0);
	/* A socket of another kind is not ours either. */
	endpoint_release(endpoint);
	fd = bind_foreign(SOCK_DGRAM);
	assert_int_equal(endpoint_claim(endpoint, path, why), -EADDRINUSE);
	close(fd);
}

static void test_no_socket(void **state)
{
	struct endpoint *endpoint = *state;

	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(endpoint_claim(endpoint, path, why), -EEXIST);
	assert_non_null(strstr(why, "is no socket"));
	assert_true(is_there(path));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(endpoint_claim(endpoint, path, why), -EEXIST);
	assert_true(is_there(path));
	assert_false(is_there(lock_path));
}

static void test_lock_file_is_not_ours(void **state)
{
	struct endpoint *endpoint = *state;

	assert_int_equal(symlink("/etc/passwd", lock_path), 0);
	assert_int_equal(endpoint_claim(endpoint, path, why), -ELOOP);
	assert_int_equal(unlink(lock_path), 0);
	assert_int_equal(mkfifo(lock_path, 0600), 0); /* opening it does not hang */
	assert_int_equal(endpoint_claim(endpoint, path, why), -EPERM);
	assert_non_null(strstr(why, "is not ours"));
	assert_true(is_there(lock_path)); /* nor is it removed */
	if (geteuid() != 0)
		return;
	assert_int_equal(unlink(lock_path), 0);
	close(open(lock_path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(chown(lock_path, 65534, 65534), 0);
	assert_int_equal(endpoint_claim(endpoint, path, why), -EPERM);
	assert_true(is_there(lock_path));
}

static void test_no_such_directory(void **state)
{
	struct endpoint *endpoint = *state;
	char nowhere[120];

	snprintf(nowhere, sizeof nowhere, "%s/no/socket", directory);
	assert_int_equal(endpoint_claim(endpoint, nowhere, why), -ENOENT);
	assert_non_null(strstr(why, "cannot make the lock file"));
}

static void test_longest_path(void **state)
{
	struct endpoint *endpoint = *state;
	char longest[109];
	size_t length = strlen(path);

	memset(longest, 'x', sizeof longest);
	memcpy(longest, path, length);
	longest[108] = '\0';
	assert_int_equal(endpoint_claim(endpoint, longest, why), -ENAMETOOLONG);
	assert_non_null(strstr(why, "has 108 bytes, and the system takes 107"));
	longest[107] = '\0';
	assert_int_equal(endpoint_claim(endpoint, longest, why), 0);
	assert_true(is_there(longest));
	endpoint_release(endpoint);
	assert_false(is_there(longest));
}

static void remove_lock_file(void)
{
	assert_int_equal(unlink(lock_path), 0);
}

/* The daemon before us removed its lock file between our open and our lock: that lock is worth nothing. */
static void test_lock_file_replaced(void **state)
{
	struct endpoint *endpoint = *state;
	struct stat ours, named;

	before_lock = remove_lock_file;
	assert_int_equal(endpoint_claim(endpoint, path, why), 0);
	assert_null(before_lock);
	assert_int_equal(fstat(endpoint->lock_fd, &ours), 0);
	assert_int_equal(stat(lock_path, &named), 0);
	assert_int_equal(ours.st_ino, named.st_ino);
}

/* A socket that somebody put in place of ours is not ours to remove. */
static void test_release_leaves_what_is_not_ours(void **state)
{
	struct endpoint *endpoint = *state;

	assert_int_equal(endpoint_claim(endpoint, path, why), 0);
	assert_int_equal(rename(path, aside), 0); /* kept, so that its inode is not given out again */
	int fd = bind_foreign(SOCK_STREAM);
	endpoint_release(endpoint);
	assert_true(is_there(path));
	assert_false(is_there(lock_path));
	close(fd);
	assert_int_equal(unlink(aside), 0);
}

static void test_inherit_nothing(void **state)
{
	struct endpoint *endpoint = *state;

	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	assert_int_equal(endpoint_inherit(endpoint, why), 0);
	assert_int_equal(endpoint->fd, -1);
	assert_int_equal(endpoint->lock_fd, -1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_claim_and_release),
		TEST(test_second_claim),
		TEST(test_stale),
		TEST(test_foreign_listener),
		TEST(test_no_socket),
		TEST(test_lock_file_is_not_ours),
		TEST(test_no_such_directory),
		TEST(test_longest_path),
		TEST(test_lock_file_replaced),
		TEST(test_release_leaves_what_is_not_ours),
		TEST(test_inherit_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
