/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon for a test: see daemon_fixture.h. Waiting is polling for a fact, never a fixed sleep. */
#include "tests/support/daemon_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "tests/support/pid_namespace.h"

#define PATIENCE_MS 20000
#define ARGUMENTS_MAX 40
#define LOG_SHOWN_MAX 65536

/* ---- The pool in /dev/shm --------------------------------------------------------------------------------------- */

/* Counts the objects of the pool, and names them; with `remove_them`, unlinks them too. */
static unsigned shared_objects(const char *pool, bool remove_them)
{
	char prefix[64];
	unsigned count = 0;
	DIR *directory = opendir("/dev/shm");

	assert_non_null(directory);
	int length = snprintf(prefix, sizeof(prefix), "shmbuddy.%s", pool);
	for (struct dirent *entry; (entry = readdir(directory));) {
		if (strncmp(entry->d_name, prefix, (size_t)length) != 0)
			continue;
		if (entry->d_name[length] != 0 && entry->d_name[length] != '.')
			continue; /* a pool whose name only starts like ours */
		count++;
		print_message("in /dev/shm: %s\n", entry->d_name);
		if (remove_them)
			unlinkat(dirfd(directory), entry->d_name, 0);
	}
	closedir(directory);
	return count;
}

unsigned daemon_fixture_shared_objects(const struct daemon_fixture *daemon)
{
	return shared_objects(daemon->pool, false);
}

/* ---- The log ---------------------------------------------------------------------------------------------------- */

/* The end of the log, at most LOG_SHOWN_MAX bytes; the caller frees it. */
static char *read_log(const struct daemon_fixture *daemon)
{
	CLEANUP_CLOSE int fd = open(daemon->log_path, O_RDONLY | O_CLOEXEC);
	char *text = calloc(1, LOG_SHOWN_MAX + 1);
	struct stat status;

	assert_non_null(text);
	if (fd < 0 || fstat(fd, &status) != 0)
		return text;
	off_t from = status.st_size > LOG_SHOWN_MAX ? status.st_size - LOG_SHOWN_MAX : 0;
	if (pread(fd, text, LOG_SHOWN_MAX, from) < 0)
		text[0] = 0;
	return text;
}

static void print_log(const struct daemon_fixture *daemon)
{
	CLEANUP_FREE char *text = read_log(daemon);

	/* Not through cmocka, which cuts long messages. */
	fprintf(stderr, "---- log of the daemon on pool %s ----\n%s---- end of the log ----\n", daemon->pool, text);
}

bool daemon_fixture_logged(const struct daemon_fixture *daemon, const char *text)
{
	for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
		CLEANUP_FREE char *log = read_log(daemon);
		if (strstr(log, text))
			return true;
		poll(NULL, 0, 5);
	}
	return false;
}

/* ---- Starting --------------------------------------------------------------------------------------------------- */

static void make_directory(struct daemon_fixture *daemon)
{
	static unsigned number;

	memset(daemon, 0, sizeof(*daemon));
	snprintf(daemon->directory, sizeof(daemon->directory), "/tmp/shmbuddy-test-XXXXXX");
	assert_non_null(mkdtemp(daemon->directory));
	snprintf(daemon->socket_path, sizeof(daemon->socket_path), "%s/socket", daemon->directory);
	snprintf(daemon->log_path, sizeof(daemon->log_path), "%s/log", daemon->directory);
	snprintf(daemon->pool, sizeof(daemon->pool), "test-%ld-%u", (long)getpid(), number++);
}

/* A /proc that knows the processes of our pid namespace by the pids that they have there; nobody else sees it. */
static bool mount_proc(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0;
}

/* In the child: never returns. */
static void become_daemon(const struct daemon_fixture *daemon, char *const *arguments)
{
	sigset_t none;
	int log = open(daemon->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0)
		_exit(127);
	if (!daemon->own_proc || mount_proc())
		execv(arguments[0], arguments);
	_exit(127);
}

static void spawn(struct daemon_fixture *daemon, va_list extra)
{
	const char *arguments[ARGUMENTS_MAX + 1] = {SHMBUDDYD_PATH, "--socket", daemon->socket_path, "--pool", daemon->pool,
	                                            "--size",       "16M",      "--log-level",       "info"};
	size_t count = 9;

	if (!daemon->lasting)
		arguments[count++] = "--ephemeral";
	for (const char *argument; (argument = va_arg(extra, const char *));) {
		assert_true(count < ARGUMENTS_MAX);
		arguments[count++] = argument;
	}
	arguments[count] = NULL;
	assert_int_equal(daemon->pid, 0);
	daemon->killed = false;
	daemon->pid = pid_namespace_fork(daemon->pid_namespace, SIGTERM);
	assert_true(daemon->pid >= 0);
	if (daemon->pid == 0)
		become_daemon(daemon, (char *const *)(uintptr_t)arguments); /* execv does not write to them */
}

static bool accepts_connections(const struct daemon_fixture *daemon)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	memcpy(address.sun_path, daemon->socket_path, strlen(daemon->socket_path) + 1);
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

/* What waitpid said, as daemon_fixture_wait returns it. */
static int outcome(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int daemon_fixture_comes_up(struct daemon_fixture *daemon)
{
	int status;

	for (int waited = 0; waited < PATIENCE_MS; waited += 1) {
		if (accepts_connections(daemon))
			return 0;
		if (waitpid(daemon->pid, &status, WNOHANG) == daemon->pid) {
			daemon->pid = 0;
			daemon->killed = WIFSIGNALED(status);
			return outcome(status);
		}
		poll(NULL, 0, 1);
	}
	daemon_fixture_kill(daemon);
	daemon_fixture_stop(daemon);
	fail_msg("the daemon does not listen");
	return 0;
}

static void wait_until_ready(struct daemon_fixture *daemon)
{
	int status = daemon_fixture_comes_up(daemon);

	if (daemon->pid)
		return;
	daemon_fixture_stop(daemon);
	fail_msg("the daemon ended before it was ready: %d", status);
}

void daemon_fixture_spawn(struct daemon_fixture *daemon, ...)
{
	va_list extra;

	make_directory(daemon);
	va_start(extra, daemon);
	spawn(daemon, extra);
	va_end(extra);
}

void daemon_fixture_start(struct daemon_fixture *daemon, ...)
{
	va_list extra;

	make_directory(daemon);
	va_start(extra, daemon);
	spawn(daemon, extra);
	va_end(extra);
	wait_until_ready(daemon);
}

void daemon_fixture_start_lasting(struct daemon_fixture *daemon, ...)
{
	va_list extra;

	make_directory(daemon);
	daemon->lasting = true;
	va_start(extra, daemon);
	spawn(daemon, extra);
	va_end(extra);
	wait_until_ready(daemon);
}

void daemon_fixture_respawn(struct daemon_fixture *daemon, ...)
{
	va_list extra;

	va_start(extra, daemon);
	spawn(daemon, extra);
	va_end(extra);
}

void daemon_fixture_restart(struct daemon_fixture *daemon, ...)
{
	va_list extra;

	va_start(extra, daemon);
	spawn(daemon, extra);
	va_end(extra);
	wait_until_ready(daemon);
}

/* ---- Ending ----------------------------------------------------------------------------------------------------- */

int daemon_fixture_open_object(const struct daemon_fixture *daemon, const char *suffix)
{
	char path[128];

	snprintf(path, sizeof path, "/dev/shm/shmbuddy.%s%s", daemon->pool, suffix);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

void daemon_fixture_let_all_in(const struct daemon_fixture *daemon)
{
	assert_int_equal(chmod(daemon->directory, 0711), 0);
	assert_int_equal(chmod(daemon->socket_path, 0666), 0);
}

/*
 * ThreadSanitizer puts a signal off until the process comes back from the kernel, where one that came right before epoll_wait() is not seen as long
 * as nothing else happens. A process that is stopped and continued comes back (signal(7), "Interruption of system calls ... by stop signals").
 */
static void wake(const struct daemon_fixture *daemon, int waited)
{
#ifdef __SANITIZE_THREAD__
	if (waited % 1000 == 998) {
		kill(daemon->pid, SIGSTOP);
		kill(daemon->pid, SIGCONT);
	}
#endif
	(void)daemon;
	(void)waited;
}

int daemon_fixture_wait(struct daemon_fixture *daemon)
{
	int status = 0;

	for (int waited = 0; waited < PATIENCE_MS; waited += 2) {
		pid_t ended = waitpid(daemon->pid, &status, WNOHANG);
		assert_true(ended >= 0);
		if (ended == daemon->pid) {
			daemon->pid = 0;
			return outcome(status);
		}
		wake(daemon, waited);
		poll(NULL, 0, 2);
	}
	daemon_fixture_kill(daemon);
	daemon_fixture_stop(daemon);
	fail_msg("the daemon does not end");
	return 0;
}

void daemon_fixture_terminate(struct daemon_fixture *daemon)
{
	assert_true(daemon->pid > 0);
	assert_int_equal(kill(daemon->pid, SIGTERM), 0);
	int status = daemon_fixture_wait(daemon);
	if (status != 0) {
		print_log(daemon);
		fail_msg("after SIGTERM the daemon ended with %d", status);
	}
}

void daemon_fixture_kill(struct daemon_fixture *daemon)
{
	assert_true(daemon->pid > 0);
	assert_int_equal(kill(daemon->pid, SIGKILL), 0);
	assert_int_equal(waitpid(daemon->pid, NULL, 0), daemon->pid);
	daemon->pid = 0;
	daemon->killed = true;
}

static void remove_directory(const char *path)
{
	DIR *directory = opendir(path);

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
	assert_int_equal(rmdir(path), 0);
}

void daemon_fixture_stop(struct daemon_fixture *daemon)
{
	if (daemon->directory[0] == 0)
		return;
	/* LeakSanitizer would ask a /proc where its pid is another's: such a daemon does not get to its end. */
	if (daemon->pid > 0 && daemon->pid_namespace && !daemon->own_proc)
		daemon_fixture_kill(daemon);
	int status = 0;
	bool kept = daemon->killed || daemon->lasting;
	struct daemon_fixture gone = *daemon;

	if (daemon->pid > 0) {
		kill(daemon->pid, SIGTERM);
		status = daemon_fixture_wait(daemon);
	}
	if (status != 0 || !isatty(STDERR_FILENO))
		print_log(&gone);
	memset(daemon, 0, sizeof(*daemon));
	remove_directory(gone.directory);
	unsigned left = shared_objects(gone.pool, true);
	if (status != 0)
		fail_msg("after SIGTERM the daemon ended with %d", status);
	if (left != 0 && !kept)
		fail_msg("%u objects of pool %s were left in /dev/shm", left, gone.pool);
}
