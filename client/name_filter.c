/* SPDX-License-Identifier: Apache-2.0 */
/* Which names are wanted: see name_filter.h. */
#include "name_filter.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "last_error.h"

int name_filter_takes(const shmb_name_filter *filter, const char *name)
{
	if (!filter)
		return 1;
	if (filter->prefix && strncmp(name, filter->prefix, strlen(filter->prefix)) != 0)
		return 0;
	if (!filter->pattern)
		return 1;
	/* No flags: names are no paths, so that * and ? take a slash and a dot at the start as any other character. */
	switch (fnmatch(filter->pattern, name, 0)) {
	case 0: return 1;
	case FNM_NOMATCH: return 0;
	default: return last_error_system(errno, "cannot compare '%s' with '%s'", name, filter->pattern);
	}
}
