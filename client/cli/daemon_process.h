/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the daemon whose process id stands in a pool is still there, without asking it. The id means something only in the
 * daemon's own pid namespace. No state: any thread.
 */
#ifndef CLI_DAEMON_PROCESS_H
#define CLI_DAEMON_PROCESS_H

#include <stdint.h>

#include "process.h"

enum daemon_process {
	DAEMON_RUNS,  /* or is stopped, or hangs */
	DAEMON_ENDED, /* no process has the id, or a zombie has */
	DAEMON_OTHER, /* a program of another name has it: the id was given again, or the daemon's file was renamed */
};

/* `out_name` is what runs under the id, made printable; empty where nothing does. */
enum daemon_process daemon_process_look(uint32_t pid, char out_name[PROCESS_NAME_MAX]);

#endif
