/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locals that clean up after themselves when their scope ends, in the reverse order of declaration. Initialise each where it
 * is declared. Where ownership moves on, say so: `*out_path = take_pointer(&path);`.
 *
 *     CLEANUP_FREE char *path = NULL;    free() at the end; NULL is fine
 *     CLEANUP_CLOSE int fd = -1;         close() at the end where fd >= 0
 *
 * errno survives either.
 */
#ifndef SHARED_CLEANUP_H
#define SHARED_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))
#define CLEANUP_CLOSE __attribute__((cleanup(cleanup_close)))

/* Moves the pointer out of `*place`: its value, and NULL is left behind. */
#define take_pointer(place)                                                                                                 \
	__extension__({                                                                                                         \
		__typeof__(place) take_place = (place);                                                                             \
		__typeof__(*take_place) take_value = *take_place;                                                                   \
		*take_place = NULL;                                                                                                 \
		take_value;                                                                                                         \
	})

/* Moves the descriptor out of `*fd`: its value, and -1 is left behind. */
static inline int take_fd(int *fd)
{
	int value = *fd;

	*fd = -1;
	return value;
}

/* `place` is the address of a pointer to anything. */
static inline void cleanup_free(void *place)
{
	int saved = errno;
	void *pointer;

	memcpy(&pointer, place, sizeof(pointer)); /* a `char *` may not be read as a `void *` */
	free(pointer);
	errno = saved;
}

static inline void cleanup_close(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd); /* on Linux the descriptor is gone whatever close says, EINTR included */
	errno = saved;
}

#endif
