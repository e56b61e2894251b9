/* SPDX-License-Identifier: Apache-2.0 */
/* Which boot of the machine this is, and which view of its processes: what a pool must agree with to be taken over. */
#ifndef SERVER_BOOT_H
#define SERVER_BOOT_H

#include <stdint.h>

/* /proc/sys/kernel/random/boot_id, random(4). -errno; -EBADMSG: it has no id. */
int boot_id(uint8_t out_id[16]);

/* The inode of this process's pid namespace: pids mean something only there, namespaces(7). */
int pid_namespace(uint32_t *out_inode);

#endif
