/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes, names and sentences of the errors that leave the library or travel in a reply. The list itself is errors.def.
 * Inside, functions return 0 or a negative errno; these codes start at 1000, where no errno is. No state: any thread.
 */
#ifndef SHARED_ERRORS_H
#define SHARED_ERRORS_H

/* ERROR_INVALID_ARGUMENT = 1000 and so on: equal to SHMB_E_INVALID_ARGUMENT of shmbuddy.h and to the protocol's Status. */
enum error_code {
#define SHMB_ERROR(name, code, sentence) ERROR_##name = (code),
#include "errors.def"
};

/* "SHMB_E_STALE_HANDLE" for 1002 and for -1002, "SHMB_OK" for 0, "SHMB_E_UNKNOWN" for the rest. Static, never NULL. */
const char *error_name(int code);

/* One sentence without a full stop; "success" for 0, "unknown error" for the rest. Either sign. Static, never NULL. */
const char *error_sentence(int code);

#endif
