/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's command line. */
#ifndef SERVER_OPTIONS_H
#define SERVER_OPTIONS_H

#include "log.h"
#include "pool.h"
#include "quota.h"

struct options {
	const char *socket_path;
	char default_path[108];
	struct pool_options pool;
	enum log_level log_level;
	struct quotas quotas; /* `pool` points to it */
};

enum options_result {
	OPTIONS_RUN,   /* go on */
	OPTIONS_DONE,  /* help or version was printed */
	OPTIONS_WRONG, /* said so on standard error */
};

/* Strings in the result belong to argv and to `out_options`, which stays where it is. */
enum options_result options_parse(int argc, char **argv, struct options *out_options);

/* However that came out. */
void options_deinit(struct options *options);

#endif
