/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon_fixture: a real shmbuddyd of the test's own, on a socket and a pool that nobody else uses.
 *
 *     struct daemon_fixture fixture;
 *     daemon_fixture_start(&fixture, "--size", "1M", NULL);
 *     … connect to fixture.socket_path …
 *     daemon_fixture_stop(&fixture);
 *
 * Whatever goes wrong here fails the running test, after the daemon's log has been printed. Should the test's process die,
 * the daemon gets SIGTERM from the kernel, and takes its pool along if that is not to last. Main thread only.
 */
#ifndef TESTS_SUPPORT_DAEMON_FIXTURE_H
#define TESTS_SUPPORT_DAEMON_FIXTURE_H

#include <stdbool.h>
#include <sys/types.h>

struct daemon_fixture {
	char directory[64]; /* temporary; holds the socket, the log and whatever the test puts there */
	char socket_path[96];
	char log_path[96]; /* standard error of all daemons of this fixture, one after the other */
	char pool[48];
	pid_t pid;    /* 0: not running */
	bool killed;  /* the last one had no chance to clean up */
	bool lasting; /* its pool outlives it */
	/* Where the next one starts; for the test to change before a restart. The start puts it where the test is. */
	int pid_namespace; /* descriptor, as in pid_namespace.h; 0: the test's own */
	bool own_proc;     /* with a /proc of that namespace, root only; inside, without it, the last daemon is killed */
};

/*
 * Makes the directory and starts a daemon there: `--ephemeral --size 16M --log-level info`, then the given arguments, which
 * end with NULL and may say otherwise. Returns when the daemon accepts connections.
 */
__attribute__((sentinel)) void daemon_fixture_start(struct daemon_fixture *daemon, ...);

/* The same without waiting for anything: for a daemon that is to refuse its service. */
__attribute__((sentinel)) void daemon_fixture_spawn(struct daemon_fixture *daemon, ...);

/* The same as start, without --ephemeral: the pool is there for the next daemon, until daemon_fixture_stop removes it. */
__attribute__((sentinel)) void daemon_fixture_start_lasting(struct daemon_fixture *daemon, ...);

/* Lets every user connect; to be said again after each start. */
void daemon_fixture_let_all_in(const struct daemon_fixture *daemon);

/* A shared object of the pool, "", ".view", ".state" or ".hold.N", to be read and written: its descriptor, for the test to close. */
int daemon_fixture_open_object(const struct daemon_fixture *daemon, const char *suffix);

/* Waits for the end of a daemon that was spawned: its exit status, or minus the signal that ended it. Keeps the directory. */
int daemon_fixture_wait(struct daemon_fixture *daemon);

/* Starts a daemon again on the same directory, socket and pool, after kill or terminate. */
__attribute__((sentinel)) void daemon_fixture_restart(struct daemon_fixture *daemon, ...);

/* The same without waiting for anything. */
__attribute__((sentinel)) void daemon_fixture_respawn(struct daemon_fixture *daemon, ...);

/* Waits until a spawned daemon accepts connections, or has ended: then .pid is 0, and this is what daemon_fixture_wait returns. */
int daemon_fixture_comes_up(struct daemon_fixture *daemon);

/* Ends the daemon with SIGTERM, or with SIGKILL. It must exit with status 0 in the first case. Keeps the directory. */
void daemon_fixture_terminate(struct daemon_fixture *daemon);
void daemon_fixture_kill(struct daemon_fixture *daemon);

/*
 * The end: terminates the daemon where it runs, prints its log where the test's output is not a terminal (ctest shows it
 * only on failure), removes the directory, and fails unless /dev/shm is free of the pool. A daemon that was killed could
 * not clean up: then this does, and does not mind. May be called twice, and on a fixture that is all zeros.
 */
void daemon_fixture_stop(struct daemon_fixture *daemon);

/* Does the daemon's log contain `text`? Waits up to twenty seconds for it. */
bool daemon_fixture_logged(const struct daemon_fixture *daemon, const char *text);

/* How many objects of the pool are in /dev/shm. */
unsigned daemon_fixture_shared_objects(const struct daemon_fixture *daemon);

#endif
