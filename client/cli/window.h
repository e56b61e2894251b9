/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal that standard output goes to, or what takes its place. Asked once; any thread. */
#ifndef CLI_WINDOW_H
#define CLI_WINDOW_H

#include <stdbool.h>

struct window {
	unsigned columns, rows; /* each 1 or more */
	bool unicode;           /* a terminal whose locale is UTF-8 */
};

/*
 * Size: what the terminal on `fd` says, else $COLUMNS and $LINES, else 80 by 24, each for itself.
 */
struct window window_of(int fd);

#endif
