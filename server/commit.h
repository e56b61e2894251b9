/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way by which a change comes to count: an aligned word, stored so that whatever it vouches for is there before it and
 * whatever it permits comes after. A process that is killed leaves exactly a prefix of its stores (state_layout.h tells what follows from that).
 *
 * With SHMB_COMMIT_TRAP (a test build) each commit is counted first, and the process stops dead right before the one whose
 * number stands in $SHMB_COMMIT_TRAP.
 */
#ifndef SERVER_COMMIT_H
#define SERVER_COMMIT_H

#include <stdatomic.h>
#include <stdint.h>

#ifdef SHMB_COMMIT_TRAP
void commit_trap(void);
#else
static inline void commit_trap(void) {}
#endif

static inline void commit(_Atomic uint64_t *word, uint64_t value)
{
	commit_trap();
	atomic_store_explicit(word, value, memory_order_release);
	atomic_thread_fence(memory_order_release); /* nor does what comes after move before it; costs nothing on x86 */
}

#endif
