/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What /proc says about a process. Pid 0 is the calling process. A pid can be reused at any time: whoever must be sure holds
 * a pidfd and asks again whether it is readable. No state: any thread.
 */
#ifndef SHARED_PROCESS_H
#define SHARED_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Room for a name of a process, the NUL included. */
#define PROCESS_NAME_MAX 64

/*
 * When the process started, in clock ticks since boot: with the pid it tells a process from a later one of the same pid.
 * -ESRCH: no such process, or not visible here. -EBADMSG: not what proc(5) says. -EOPNOTSUPP: the calling process is in a time
 * namespace where boot is said to have been at another moment: its figures cannot be compared with those of others. Else a negative
 * errno of open or read.
 */
int process_start_time(pid_t pid, uint64_t *out_ticks);

/*
 * By how many nanoseconds CLOCK_BOOTTIME is shifted for the calling process, against what the machine itself shows: its time namespace's
 * offset, positive where it shows more. 0 where there is none, or none is known.
 */
int64_t process_boot_shift(void);

/* What process_start_time finds, from the `length` bytes of a /proc/PID/stat. -EBADMSG: they are not one. */
int process_parse_start_time(const char *text, size_t length, uint64_t *out_ticks);

/*
 * The pid by which /proc knows the process of a pidfd. It is the only one to ask /proc with: a /proc that was mounted in another pid
 * namespace gives the caller's pids to other processes. -ESRCH: it has been reaped, or is not visible there. -EBADMSG: not what proc(5)
 * says. Else a negative errno of open or read.
 */
int process_of_pidfd(int pidfd, pid_t *out_pid);

/* The same from the `length` bytes of a /proc/self/fdinfo/PIDFD. -ESRCH, -EBADMSG. */
int process_parse_pidfd(const char *text, size_t length, pid_t *out_pid);

/* The short name of the program (/proc/PID/comm), made printable as in name.h. Errors as process_start_time. */
int process_name(pid_t pid, char out_name[PROCESS_NAME_MAX]);

#endif
