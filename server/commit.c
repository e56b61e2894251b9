/* SPDX-License-Identifier: Apache-2.0 */
/* The trap of the test build: see commit.h. The loop's thread only. */
#include "commit.h"

#ifdef SHMB_COMMIT_TRAP
#include <signal.h>
#include <stdlib.h>

void commit_trap(void)
{
	static uint64_t count, stop = UINT64_MAX;

	if (count == 0) {
		const char *text = getenv("SHMB_COMMIT_TRAP");
		if (text)
			stop = strtoull(text, NULL, 10);
	}
	if (++count == stop)
		raise(SIGKILL);
}
#else
typedef int commit_has_no_trap_here; /* C forbids an empty translation unit */
#endif
