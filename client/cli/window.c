/* SPDX-License-Identifier: Apache-2.0 */
#include "window.h"

#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Wider and higher than any screen; keeps a wild value from asking for gigabytes. */
#define WINDOW_SIDE_MAX 10000

static unsigned side(unsigned terminal, const char *variable, unsigned otherwise)
{
	const char *text = getenv(variable);
	long value = terminal;

	if (value == 0 && text)
		value = strtol(text, NULL, 10);
	if (value < 1)
		return otherwise;
	return value > WINDOW_SIDE_MAX ? WINDOW_SIDE_MAX : (unsigned)value;
}

struct window window_of(int fd)
{
	struct winsize size = {0};
	struct window window;

	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		memset(&size, 0, sizeof(size));
	window.columns = side(size.ws_col, "COLUMNS", 80);
	window.rows = side(size.ws_row, "LINES", 24);
	window.unicode = isatty(fd) && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	return window;
}
