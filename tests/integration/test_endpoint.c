/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's place in the file system: who may have the socket and the pool, what becomes of what lies there already, and
 * that nothing is left at the end. A daemon that cannot start says why in one sentence, and ends with 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "tests/support/daemon_fixture.h"
#include "tests/support/raw_request.h"
#include "tests/support/raw_session.h"

#define OK SHMBUDDY__V1__STATUS__OK
#define NOBODY 65534

static struct daemon_fixture first, second;
static struct raw_session session = RAW_SESSION_CLOSED;
static int listening = -1;
static char foreign_path[80], foreign_link[96]; /* in /dev/shm, made by a test */

static int setup(void **state)
{
	(void)state;
	session = RAW_SESSION_CLOSED;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	if (listening >= 0)
		close(listening);
	listening = -1;
	unlink(foreign_path);
	unlink(foreign_link);
	raw_session_close(&session);
	daemon_fixture_stop(&second);
	daemon_fixture_stop(&first);
	return 0;
}

/* The daemon ended with 1 and said one line that contains `text`. */
static void expect_refusal(struct daemon_fixture *daemon, const char *text)
{
	char log[4096] = {0};

	assert_int_equal(daemon_fixture_wait(daemon), 1);
	CLEANUP_CLOSE int fd = open(daemon->log_path, O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, log, sizeof log - 1);
	assert_true(length > 0);
	if (!strstr(log, text))
		fail_msg("\"%s\" is not in: %s", text, log);
	assert_ptr_equal(strchr(log, '\n'), log + length - 1);
	assert_non_null(strstr(log, " error "));
	assert_int_equal(daemon_fixture_shared_objects(daemon), 0);
}

/* The daemon serves, and an old session of it still does. */
static void check_service(struct daemon_fixture *daemon)
{
	struct raw_session fresh;

	raw_session_open(&fresh, daemon->socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_allocate(&fresh, 1000, NULL, NULL), OK);
	raw_session_close(&fresh);
	if (session.client.fd >= 0)
		assert_int_equal(raw_session_ping(&session), OK);
}

static void start_first(void)
{
	daemon_fixture_start(&first, NULL);
	raw_session_open(&session, first.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
}

/* ---- Two daemons ------------------------------------------------------------------------------------------------ */

static void test_two_on_one_socket(void **state)
{
	(void)state;
	start_first();
	daemon_fixture_spawn(&second, "--socket", first.socket_path, NULL);
	expect_refusal(&second, "another daemon serves");
	check_service(&first);
}

static void test_two_on_one_pool(void **state)
{
	char socket_path[96], lock_path[104];

	(void)state;
	start_first();
	daemon_fixture_spawn(&second, "--pool", first.pool, NULL);
	memcpy(socket_path, second.socket_path, sizeof socket_path);
	snprintf(lock_path, sizeof lock_path, "%s.lock", socket_path);
	expect_refusal(&second, "another daemon serves it");
	assert_int_equal(access(socket_path, F_OK), -1);
	assert_int_equal(access(lock_path, F_OK), -1);
	check_service(&first);
	assert_true(daemon_fixture_shared_objects(&first) >= 3);
}

/* The first one's files survive the second one's failure even when the first was killed in between. */
static void test_first_ends_with_its_files(void **state)
{
	char lock_path[104];

	(void)state;
	start_first();
	snprintf(lock_path, sizeof lock_path, "%s.lock", first.socket_path);
	daemon_fixture_spawn(&second, "--socket", first.socket_path, NULL);
	expect_refusal(&second, "another daemon serves");
	assert_int_equal(access(lock_path, F_OK), 0);
	daemon_fixture_terminate(&first);
	assert_int_equal(access(first.socket_path, F_OK), -1);
	assert_int_equal(access(lock_path, F_OK), -1);
	assert_int_equal(daemon_fixture_shared_objects(&first), 0);
}

/* ---- What lies at the path -------------------------------------------------------------------------------------- */

static void test_stale_socket_and_leftover_pool(void **state)
{
	struct stat before, after;

	(void)state;
	start_first();
	assert_int_equal(raw_session_allocate(&session, 1000, "left", NULL), OK);
	daemon_fixture_kill(&first);
	raw_session_close(&session);
	assert_int_equal(stat(first.socket_path, &before), 0);
	assert_true(daemon_fixture_shared_objects(&first) >= 3);
	daemon_fixture_restart(&first, NULL);
	assert_int_equal(stat(first.socket_path, &after), 0);
	assert_true(before.st_ino != after.st_ino || before.st_ctim.tv_nsec != after.st_ctim.tv_nsec);
	assert_true(daemon_fixture_logged(&first, "discarded what a former daemon left"));
	check_service(&first);
	raw_session_open(&session, first.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	assert_int_equal(raw_session_lookup(&session, "left", NULL), SHMBUDDY__V1__STATUS__NO_SUCH_NAME);
}

static void bind_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof address), 0);
}

/* A path in the directory of a daemon that has been terminated: what lies there is removed with it. */
static const char *path_beside(struct daemon_fixture *daemon, const char *name)
{
	static char path[160];

	snprintf(path, sizeof path, "%s/%s", daemon->directory, name);
	return path;
}

static void test_socket_of_somebody_else(void **state)
{
	struct stat before, after;

	(void)state;
	start_first();
	raw_session_close(&session);
	daemon_fixture_terminate(&first);
	bind_at(first.socket_path);
	assert_int_equal(listen(listening, 1), 0);
	assert_int_equal(stat(first.socket_path, &before), 0);
	daemon_fixture_spawn(&second, "--socket", first.socket_path, NULL);
	expect_refusal(&second, "something that is not shmbuddyd listens on");
	assert_int_equal(stat(first.socket_path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);

	/* Also when its queue is full, so that connecting to it would block. */
	assert_int_equal(listen(listening, 0), 0);
	struct raw_client waiting[4];
	for (size_t i = 0; i < 4; i++) {
		waiting[i].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		memcpy(address.sun_path, first.socket_path, strlen(first.socket_path));
		if (connect(waiting[i].fd, (struct sockaddr *)&address, sizeof address) != 0)
			assert_int_equal(errno, EAGAIN);
	}
	daemon_fixture_stop(&second);
	daemon_fixture_spawn(&second, "--socket", first.socket_path, NULL);
	expect_refusal(&second, "something that is not shmbuddyd listens on");
	for (size_t i = 0; i < 4; i++)
		close(waiting[i].fd);
}

static void test_regular_file(void **state)
{
	const char *path;
	char content[8] = {0};

	(void)state;
	start_first();
	path = path_beside(&first, "file");
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	daemon_fixture_spawn(&second, "--socket", path, NULL);
	expect_refusal(&second, "is there and is no socket");
	assert_int_equal(pread(fd, content, sizeof content, 0), 4);
	assert_string_equal(content, "mine");
	assert_int_equal(access(path, F_OK), 0);
}

/* Nothing is followed or emptied through a link that somebody laid where the lock file goes. */
static void test_link_for_a_lock(void **state)
{
	char target[160], link_path[176];
	struct stat status;

	(void)state;
	start_first();
	snprintf(target, sizeof target, "%s/precious", first.directory);
	snprintf(link_path, sizeof link_path, "%s/s.lock", first.directory);
	assert_int_equal(symlink(target, link_path), 0);
	daemon_fixture_spawn(&second, "--socket", path_beside(&first, "s"), NULL);
	expect_refusal(&second, "cannot make the lock file");
	assert_int_equal(stat(target, &status), -1);
}

static void test_paths_that_cannot_be(void **state)
{
	char longest[256];

	(void)state;
	memset(longest, 'x', sizeof longest);
	memcpy(longest, "/tmp/", 5);
	longest[108] = 0;
	daemon_fixture_spawn(&second, "--socket", longest, NULL);
	expect_refusal(&second, "has 108 bytes, and the system takes 107 at most: choose a shorter --socket");
	daemon_fixture_stop(&second);
	daemon_fixture_spawn(&second, "--socket", "/nonexistent/socket", NULL);
	expect_refusal(&second, "/nonexistent/socket.lock: No such file or directory");
	daemon_fixture_stop(&second);
	daemon_fixture_spawn(&second, "--socket", "/dev/null/socket", NULL);
	expect_refusal(&second, "/dev/null/socket.lock: Not a directory");
}

/* The longest path that there may be. */
static void test_longest_path(void **state)
{
	char path[108];

	(void)state;
	start_first();
	int length = snprintf(path, sizeof path, "%s/", first.directory);
	memset(path + length, 'x', sizeof path - (size_t)length);
	path[107] = 0;
	daemon_fixture_spawn(&second, "--socket", path, NULL);
	assert_true(daemon_fixture_logged(&second, "ready"));
	assert_int_equal(access(path, F_OK), 0);
	daemon_fixture_terminate(&second);
	assert_int_equal(access(path, F_OK), -1);
}

/* In a directory where it may not write. */
static void test_daemon_without_permission(void **state)
{
	int status;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	start_first();
	/* The fixture's directory is root's alone; its log is open before the daemon becomes somebody else. */
	char program[64];
	snprintf(program, sizeof program, "/proc/%ld/exe", (long)first.pid);
	CLEANUP_CLOSE int exe = open(program, O_RDONLY | O_CLOEXEC);
	pid_t child = fork();
	if (child == 0) {
		const char *arguments[] = {"shmbuddyd", "--socket", path_beside(&first, "s"), "--ephemeral", NULL};
		int log = open(path_beside(&first, "refusal"), O_WRONLY | O_CREAT, 0600);
		dup2(log, STDERR_FILENO);
		if (setgid(NOBODY) == 0 && setuid(NOBODY) == 0)
			fexecve(exe, (char *const *)(uintptr_t)arguments, environ);
		_exit(127);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
	char text[1024] = {0};
	CLEANUP_CLOSE int fd = open(path_beside(&first, "refusal"), O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof text - 1) > 0);
	assert_non_null(strstr(text, "Permission denied: choose another --socket"));
}

static void test_client_without_permission(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: only root can become somebody else\n");
		skip();
	}
	start_first();
	/* The fixture's directory is root's alone. */
	assert_int_equal(seteuid(NOBODY), 0);
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	memcpy(address.sun_path, first.socket_path, strlen(first.socket_path));
	int result = connect(fd, (struct sockaddr *)&address, sizeof address);
	int error = errno;
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(result, -1);
	assert_int_equal(error, EACCES);
}

static void test_mode(void **state)
{
	struct stat status;
	mode_t before;

	(void)state;
	/* Whatever the umask. */
	before = umask(0);
	daemon_fixture_start(&first, NULL);
	umask(0777);
	daemon_fixture_spawn(&second, NULL);
	umask(before);
	assert_int_equal(stat(first.socket_path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0660);
	if (geteuid() == 0) {
		/* A log that nobody may read is no obstacle to root. */
		assert_true(daemon_fixture_logged(&second, "ready"));
		assert_int_equal(stat(second.socket_path, &status), 0);
		assert_int_equal(status.st_mode & 07777, 0660);
	}
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

static void end_by(int number)
{
	char lock_path[104];

	start_first();
	snprintf(lock_path, sizeof lock_path, "%s.lock", first.socket_path);
	assert_int_equal(raw_session_allocate(&session, 1 << 20, "held", NULL), OK);
	assert_int_equal(kill(first.pid, number), 0);
	assert_int_equal(daemon_fixture_wait(&first), 0);
	assert_int_equal(raw_client_wait_for_end(&session.client), 0);
	assert_int_equal(daemon_fixture_shared_objects(&first), 0);
	assert_int_equal(access(first.socket_path, F_OK), -1);
	assert_int_equal(access(lock_path, F_OK), -1);
	assert_true(daemon_fixture_logged(&first, "stopped"));
}

static void test_sigterm(void **state)
{
	(void)state;
	end_by(SIGTERM);
}

static void test_sigint(void **state)
{
	(void)state;
	end_by(SIGINT);
}

/* Twice is once, and what is under way is waited for or called off. */
static void test_end_while_committing(void **state)
{
	(void)state;
	daemon_fixture_start(&first, "--size", "256M", NULL);
	raw_session_open(&session, first.socket_path, SHMBUDDY__V1__ACCESS__ACCESS_READ_WRITE);
	Shmbuddy__V1__Request *request = raw_request_allocate(200 << 20, NULL);
	request->sequence = 1;
	assert_int_equal(raw_client_send_request(&session.client, request), 0);
	assert_int_equal(kill(first.pid, SIGTERM), 0);
	kill(first.pid, SIGINT);
	assert_int_equal(daemon_fixture_wait(&first), 0);
	assert_int_equal(daemon_fixture_shared_objects(&first), 0);
}

/* A socket file that is no longer ours is not ours to remove. */
static void test_foreign_file_survives_the_end(void **state)
{
	(void)state;
	start_first();
	raw_session_close(&session);
	assert_int_equal(unlink(first.socket_path), 0);
	bind_at(first.socket_path);
	daemon_fixture_terminate(&first);
	assert_int_equal(access(first.socket_path, F_OK), 0);
}

/* ---- The pool's own files --------------------------------------------------------------------------------------- */

/* A state that others could have opened, or have another name for, is refused and left alone. */
static void refuse_state(const char *pool, const char *text)
{
	char name[64], path[80];
	struct stat before, after;

	snprintf(name, sizeof name, "/shmbuddy.%s.state", pool);
	snprintf(path, sizeof path, "/dev/shm%s", name);
	assert_int_equal(stat(path, &before), 0);
	daemon_fixture_spawn(&second, "--pool", pool, NULL);
	expect_refusal(&second, text);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(before.st_size, after.st_size);
	daemon_fixture_stop(&second);
}

static void test_foreign_state(void **state)
{
	const char *path = foreign_path, *other = foreign_link;
	char pool[32];

	(void)state;
	snprintf(pool, sizeof pool, "state-%ld", (long)getpid());
	snprintf(foreign_path, sizeof foreign_path, "/dev/shm/shmbuddy.%s.state", pool);
	snprintf(foreign_link, sizeof foreign_link, "%s-too", path);
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);

	assert_int_equal(fchmod(fd, 0644), 0);
	refuse_state(pool, "is not ours alone");
	assert_int_equal(fchmod(fd, 0600), 0);
	assert_int_equal(link(path, other), 0);
	refuse_state(pool, "is not ours alone");
	assert_int_equal(unlink(other), 0);
	if (geteuid() == 0) {
		assert_int_equal(fchown(fd, NOBODY, NOBODY), 0);
		refuse_state(pool, "is not ours alone");
		assert_int_equal(fchown(fd, 0, 0), 0);
	}
	/* With all that mended it is a leftover like any other. */
	daemon_fixture_start(&first, "--pool", pool, NULL);
	assert_true(daemon_fixture_logged(&first, "discarded what a former daemon left"));
	daemon_fixture_terminate(&first);
	assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_two_on_one_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_two_on_one_pool, setup, teardown),
		cmocka_unit_test_setup_teardown(test_first_ends_with_its_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stale_socket_and_leftover_pool, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket_of_somebody_else, setup, teardown),
		cmocka_unit_test_setup_teardown(test_regular_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link_for_a_lock, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paths_that_cannot_be, setup, teardown),
		cmocka_unit_test_setup_teardown(test_longest_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_daemon_without_permission, setup, teardown),
		cmocka_unit_test_setup_teardown(test_client_without_permission, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sigterm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sigint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_while_committing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_file_survives_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_state, setup, teardown),
	};

	return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
