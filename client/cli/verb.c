/* SPDX-License-Identifier: Apache-2.0 */
#include "verb.h"

#include <stddef.h>
#include <string.h>

const struct verb *const verb_table[] = {
	&verb_status, &verb_ping,  &verb_ls,   &verb_show,   &verb_names, &verb_clients, &verb_users,
	&verb_map,    &verb_alloc, &verb_free, &verb_name,   &verb_share, &verb_revoke,  &verb_renew,
	&verb_put,    &verb_get,   &verb_gc,   &verb_events, &verb_end,   &verb_help,    NULL,
};

const struct verb *verb_find(const char *name)
{
	for (const struct verb *const *verb = verb_table; *verb; verb++) {
		if (strcmp((*verb)->name, name) == 0)
			return *verb;
	}
	return NULL;
}
