/* SPDX-License-Identifier: Apache-2.0 */
/* Shared-memory objects: real ones, under names with this process's number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/shared_object.h"

static char pool[64];
static char other[SHARED_OBJECT_NAME_MAX]; /* a name beside the object's */

/* Called once, right after the lock was taken: what another daemon may do then. */
static void (*after_lock)(void);

/* Stand before libc's. */
int flock(int fd, int operation)
{
	int result = (int)syscall(SYS_flock, fd, operation);

	if (after_lock) {
		void (*act)(void) = after_lock;
		after_lock = NULL;
		act();
	}
	return result;
}

static int interruptions; /* that fallocate suffers before it works */

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	if (interruptions > 0) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}

static int setup(void **state)
{
	static struct shared_object object;

	snprintf(pool, sizeof pool, "unit-object-%d", (int)getpid());
	snprintf(other, sizeof other, "/shmbuddy.%s.other", pool);
	shared_object_init(&object, pool, ".state");
	*state = &object;
	return 0;
}

static int teardown(void **state)
{
	struct shared_object *object = *state;

	shared_object_deinit(object);
	shm_unlink(object->name);
	shm_unlink(other);
	return 0;
}

/* The object as a file. */
static const char *path_of(const char *name)
{
	static char paths[2][160];
	static int turn;

	turn = !turn;
	snprintf(paths[turn], sizeof paths[turn], "/dev/shm%s", name);
	return paths[turn];
}

static mode_t mode_of(const char *name)
{
	struct stat status;

	assert_int_equal(stat(path_of(name), &status), 0);
	return status.st_mode;
}

static void test_names(void **state)
{
	struct shared_object *object = *state;
	char expected[SHARED_OBJECT_NAME_MAX];

	snprintf(expected, sizeof expected, "/shmbuddy.%s.state", pool);
	assert_string_equal(object->name, expected);
	assert_int_equal(object->fd, -1);
	assert_null(object->base);
	shared_object_deinit(object); /* of nothing */
	assert_int_equal(shared_object_unlink(object), -ENOENT);
}

static void test_create(void **state)
{
	struct shared_object *object = *state, again;
	struct stat status;
	mode_t before = umask(0);
	int result = shared_object_create(object, 12345);

	umask(before);
	assert_int_equal(result, 0);
	assert_int_equal(object->size, 12345);
	assert_int_equal(fstat(object->fd, &status), 0);
	assert_int_equal(status.st_mode, S_IFREG | 0600);
	assert_int_equal(status.st_size, 12345);
	assert_int_equal(status.st_blocks, 0);
	assert_int_equal(fcntl(object->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	shared_object_init(&again, pool, ".state");
	assert_int_equal(shared_object_create(&again, 1), -EEXIST);
	assert_int_equal(again.fd, -1);
	assert_int_equal(shared_object_unlink(object), 0);
	before = umask(0777);
	result = shared_object_create(&again, 1);
	umask(before);
	assert_int_equal(result, 0);
	assert_int_equal(mode_of(again.name), S_IFREG | 0600);
	shared_object_deinit(&again);
}

/* A size that no file has: nothing is left behind. */
static void test_set_end(void **state)
{
	struct shared_object *object = *state;
	const char text[] = "stays";
	char found[sizeof text];
	struct stat status;

	assert_int_equal(shared_object_create(object, 4096), 0);
	assert_int_equal(pwrite(object->fd, text, sizeof text, 0), sizeof text);
	for (int i = 0; i < 2; i++) {
		uint64_t size = i ? 4096 : 1 << 20;
		assert_int_equal(shared_object_set_end(object, size), 0);
		assert_int_equal(object->size, size);
		assert_int_equal(fstat(object->fd, &status), 0);
		assert_int_equal(status.st_size, size);
		assert_true(status.st_blocks <= 8); /* longer, not larger */
		assert_int_equal(pread(object->fd, found, sizeof found, 0), sizeof found);
		assert_memory_equal(found, text, sizeof text);
	}
	/* Larger than any file. */
	assert_true(shared_object_set_end(object, UINT64_MAX) < 0);
	assert_int_equal(object->size, 4096);
}

static void test_round(void **state)
{
	(void)state;
	assert_int_equal(shared_object_round(0), 0);
	assert_int_equal(shared_object_round(1), 4096);
	assert_int_equal(shared_object_round(4096), 4096);
	assert_int_equal(shared_object_round(4097), 8192);
}

static void test_create_fails(void **state)
{
	struct shared_object *object = *state;

	assert_int_equal(shared_object_create(object, UINT64_MAX), -EINVAL);
	assert_int_equal(object->fd, -1);
	assert_int_equal(shared_object_unlink(object), -ENOENT);
}

static void test_map_and_commit(void **state)
{
	struct shared_object *object = *state;
	struct stat status;

	assert_int_equal(shared_object_create(object, 4 * 4096), 0);
	assert_int_equal(shared_object_map(object), 0);
	((uint8_t *)object->base)[4 * 4096 - 1] = 7;
	uint8_t byte = 0;
	assert_int_equal(pread(object->fd, &byte, 1, 4 * 4096 - 1), 1);
	assert_int_equal(byte, 7);
	interruptions = 3;
	assert_int_equal(shared_object_commit(object, 4096, 8192), 0);
	assert_int_equal(interruptions, 0);
	assert_int_equal(fstat(object->fd, &status), 0);
	assert_int_equal(status.st_blocks * 512, 3 * 4096);
	assert_int_equal(status.st_size, 4 * 4096);
	assert_int_equal(shared_object_commit(object, 0, 0), -EINVAL);
	assert_int_equal(shared_object_resize(object, 8192), 0); /* emptied on the way */
	assert_int_equal(fstat(object->fd, &status), 0);
	assert_int_equal(status.st_blocks, 0);
	assert_int_equal(object->size, 8192);
	object->size = 4 * 4096; /* as it is mapped, for deinit */
}

static void test_bad_descriptor(void **state)
{
	struct shared_object *object = *state;
	uint64_t inode = 5;
	int fd = 5;

	assert_int_equal(shared_object_resize(object, 1), -EBADF);
	assert_int_equal(shared_object_map(object), -EBADF);
	assert_null(object->base);
	assert_int_equal(shared_object_commit(object, 0, 1), -EBADF);
	assert_int_equal(shared_object_inode(object, &inode), -EBADF);
	assert_int_equal(shared_object_reopen(object, O_RDONLY, &fd), -ENOENT);
	assert_int_equal(inode, 5);
	assert_int_equal(fd, 5);
}

static void test_reopen(void **state)
{
	struct shared_object *object = *state;
	uint64_t inode;
	struct stat status;
	int fd;

	assert_int_equal(shared_object_create(object, 4096), 0);
	assert_int_equal(shared_object_unlink(object), 0); /* by descriptor, whatever became of the name */
	assert_int_equal(shared_object_reopen(object, O_RDONLY, &fd), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(shared_object_inode(object, &inode), 0);
	assert_int_equal(status.st_ino, inode);
	close(fd);
	assert_int_equal(shared_object_reopen(object, O_RDWR, &fd), 0);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	/* A description of its own: the object's lock is another's. */
	assert_int_equal(flock(object->fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
	close(fd);
}

static int lock(struct shared_object *object)
{
	uint64_t size = 4711;
	int result = shared_object_lock(object, &size);

	if (result < 0) {
		assert_int_equal(size, 4711);
		assert_int_equal(object->fd, -1);
	} else {
		assert_int_equal(size, object->size);
	}
	return result;
}

static void test_lock(void **state)
{
	struct shared_object *object = *state, second;

	assert_int_equal(lock(object), 0); /* made */
	assert_int_equal(object->size, 0);
	assert_int_equal(mode_of(object->name), S_IFREG | 0600);
	shared_object_init(&second, pool, ".state");
	assert_int_equal(lock(&second), -EWOULDBLOCK);
	assert_int_equal(shared_object_resize(object, 8192), 0);
	shared_object_deinit(object); /* the lock ends, the object stays */
	assert_int_equal(lock(&second), 0);
	assert_int_equal(second.size, 8192);
	assert_int_equal(lock(object), -EWOULDBLOCK);
	shared_object_deinit(&second);
}

/* By another process: the lock ends with it, however it ends. */
static void test_lock_of_a_killed_process(void **state)
{
	struct shared_object *object = *state;
	int ready[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (child == 0) {
		uint64_t size;
		if (shared_object_lock(object, &size) == 0 && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	int while_it_lives = lock(object); /* no assertion before the child is gone */
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(while_it_lives, -EWOULDBLOCK);
	assert_int_equal(lock(object), 0);
	close(ready[0]);
	close(ready[1]);
}

/* Makes the object with this mode and so many bytes. */
static void make(const struct shared_object *object, mode_t mode, off_t size)
{
	int fd = shm_open(object->name, O_RDWR | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void test_foreign_mode(void **state)
{
	static const mode_t modes[] = {0660, 0606, 0666, 0700, 04600, 0644};
	struct shared_object *object = *state;

	for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
		for (off_t size = 0; size < 2; size++) { /* an empty one may be in the hands of others just as well */
			make(object, modes[i], size);
			assert_int_equal(lock(object), -EPERM);
			assert_int_equal(mode_of(object->name), S_IFREG | modes[i]); /* left alone */
			assert_int_equal(shared_object_unlink(object), 0);
		}
	}
	make(object, 0400, 4096); /* not empty: somebody meant it */
	int result = lock(object);
	assert_true(result == -EPERM || result == -EACCES);
}

/* A daemon with an odd umask makes one with too few rights, and may die right then. */
static void test_too_few_rights(void **state)
{
	struct shared_object *object = *state;
	mode_t before = umask(0777);
	int result = lock(object);

	umask(before);
	assert_int_equal(result, 0);
	assert_int_equal(mode_of(object->name), S_IFREG | 0600);
	shared_object_deinit(object);
	assert_int_equal(lock(object), 0);
}

/* The same without root's rights, by whom a file without rights cannot be opened a second time. */
static void test_too_few_rights_as_a_user(void **state)
{
	struct shared_object *object = *state;
	int status;
	pid_t child = fork();

	if (child == 0) {
		uint64_t size;
		if (getuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(1);
		umask(0777);
		int result = shared_object_lock(object, &size);
		if (result == 0)
			shared_object_unlink(object);
		_exit(-result);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_foreign_owner(void **state)
{
	struct shared_object *object = *state;

	if (geteuid() != 0)
		skip();
	make(object, 0600, 0);
	assert_int_equal(chown(path_of(object->name), 65534, 65534), 0);
	assert_int_equal(lock(object), -EPERM);
}

static void test_hard_link(void **state)
{
	struct shared_object *object = *state;

	make(object, 0600, 0);
	assert_int_equal(link(path_of(object->name), path_of(other)), 0);
	assert_int_equal(lock(object), -EPERM);
	assert_int_equal(shm_unlink(other), 0);
	assert_int_equal(lock(object), 0);
}

static void test_no_plain_file(void **state)
{
	struct shared_object *object = *state;

	assert_int_equal(mkfifo(path_of(object->name), 0600), 0);
	assert_int_equal(lock(object), -EPERM);
	assert_int_equal(shared_object_unlink(object), 0);
	assert_int_equal(symlink(path_of(other), path_of(object->name)), 0);
	assert_int_equal(lock(object), -ELOOP); /* shm_open follows none */
}

static const struct shared_object *disturbed;

static void remove_it(void)
{
	assert_int_equal(shared_object_unlink(disturbed), 0);
}

static void replace_it(void)
{
	remove_it();
	make(disturbed, 0600, 4096);
}

/* A daemon that just ended has removed the object that we locked: the lock is worth nothing, and another is made. */
static void test_removed_before_the_lock(void **state)
{
	struct shared_object *object = *state;
	struct stat named;
	uint64_t inode;

	disturbed = object;
	make(object, 0600, 100);
	after_lock = remove_it;
	assert_int_equal(lock(object), 0);
	assert_null(after_lock);
	assert_int_equal(object->size, 0);
	assert_int_equal(stat(path_of(object->name), &named), 0);
	assert_int_equal(shared_object_inode(object, &inode), 0);
	assert_int_equal(named.st_ino, inode);
	shared_object_deinit(object);

	after_lock = replace_it;
	assert_int_equal(lock(object), 0);
	assert_int_equal(object->size, 4096);
	assert_int_equal(stat(path_of(object->name), &named), 0);
	assert_int_equal(shared_object_inode(object, &inode), 0);
	assert_int_equal(named.st_ino, inode);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names),
		TEST(test_create),
		TEST(test_create_fails),
		TEST(test_set_end),
		TEST(test_round),
		TEST(test_map_and_commit),
		TEST(test_bad_descriptor),
		TEST(test_reopen),
		TEST(test_lock),
		TEST(test_lock_of_a_killed_process),
		TEST(test_foreign_mode),
		TEST(test_too_few_rights),
		TEST(test_too_few_rights_as_a_user),
		TEST(test_foreign_owner),
		TEST(test_hard_link),
		TEST(test_no_plain_file),
		TEST(test_removed_before_the_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
