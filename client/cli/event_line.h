/* SPDX-License-Identifier: Apache-2.0 */
/* An event in a line: for people, or as a JSON object. Printed to standard output, and not flushed. One thread. */
#ifndef CLI_EVENT_LINE_H
#define CLI_EVENT_LINE_H

#include <stdint.h>

#include "command.h"

/* The kind of that name, SHMB_EVENT_*; 0: there is none. */
uint32_t event_line_kind(const char *name);

/* Time, kind, block, bytes, user and session, name; `-` for what the event says nothing about. */
void event_line_print(const struct command *command, const shmb_event *event);

void event_line_print_json(const shmb_event *event);

#endif
