/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong in the calling thread's last call that failed: the sentence behind shmb_last_error and the detail behind
 * shmb_out_of_memory. One of each a thread, kept until the next failure; a call that succeeds costs nothing.
 */
#ifndef CLIENT_LAST_ERROR_H
#define CLIENT_LAST_ERROR_H

#include "errors.h"
#include "shmbuddy.h"

/* Room for a sentence, the final NUL included. */
#define LAST_ERROR_MAX 512

/* Keeps the sentence, made printable and cut to LAST_ERROR_MAX, and returns -code. */
int last_error_set(enum error_code code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For ERROR_SYSTEM: the sentence ends with what `error`, an errno of either sign, means. */
int last_error_system(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Keeps the detail of an allocation that was refused. NULL: there is none. */
void last_error_set_oom(const shmb_oom *oom);

#endif
