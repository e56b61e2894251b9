/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool's view without its daemon: found by name in /dev/shm and mapped read-only, with the rights of whoever asks. What a
 * session that is SHMB_OFFLINE has in place of a connection. No state: any thread.
 */
#ifndef CLIENT_OFFLINE_H
#define CLIENT_OFFLINE_H

#include "mapping.h"

/* The pool of a daemon that was told no name. */
#define OFFLINE_DEFAULT_POOL "default"

/*
 * Maps the view of `pool`, where that is empty of the default one, into a new `mapping`; no descriptor stays open. A negative
 * SHMB_E_* with its sentence: NO_SUCH_POOL (none of that name, or half made), DENIED, VERSION, CORRUPT, SYSTEM. What is mapped
 * then is mapping_free's.
 */
int offline_open(const char *pool, struct mapping *mapping);

/* What every call gets that would have to ask the daemon: NO_DAEMON and its sentence. */
int offline_refuse(void);

#endif
