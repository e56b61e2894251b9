/* SPDX-License-Identifier: Apache-2.0 */
/* Unguessable bytes from the kernel, for tokens. No state: any thread. */
#ifndef SHARED_RANDOM_H
#define SHARED_RANDOM_H

#include <stddef.h>

/*
 * Fills `size` bytes with random ones by getrandom(2). Waits while the kernel has none yet, early at boot. A negative errno
 * where the kernel refuses; what is in `out_bytes` is then worth nothing. Arguments in the order of getrandom.
 */
int random_bytes(void *out_bytes, size_t size);

#endif
