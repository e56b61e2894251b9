/* SPDX-License-Identifier: Apache-2.0 */
/* Which names are wanted: prefix and pattern. No state: any thread. */
#ifndef CLIENT_NAME_FILTER_H
#define CLIENT_NAME_FILTER_H

#include "shmbuddy.h"

/* 1: the name is wanted; NULL wants all. 0: it is not. A negative SHMB_E_* with its sentence: the pattern could not be compared. */
int name_filter_takes(const shmb_name_filter *filter, const char *name);

#endif
