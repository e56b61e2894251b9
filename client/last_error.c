/* SPDX-License-Identifier: Apache-2.0 */
/* The calling thread's last failure: see last_error.h. */
#include "last_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "name.h"

static _Thread_local char last_text[LAST_ERROR_MAX];
static _Thread_local shmb_oom last_oom;
static _Thread_local bool last_oom_set;

/* Paths and names come from outside: what is not printable is not printed. */
static void keep(const char *text)
{
	name_clean(text, strlen(text), sizeof last_text, last_text);
}

int last_error_set(enum error_code code, const char *format, ...)
{
	char text[LAST_ERROR_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	keep(text);
	return -(int)code;
}

int last_error_system(int error, const char *format, ...)
{
	char text[LAST_ERROR_MAX], why[128];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (length >= 0 && (size_t)length < sizeof text)
		snprintf(text + length, sizeof text - (size_t)length, ": %s",
		         strerror_r(error < 0 ? -error : error, why, sizeof why));
	keep(text);
	return -ERROR_SYSTEM;
}

void last_error_set_oom(const shmb_oom *oom)
{
	last_oom_set = oom != NULL;
	if (oom)
		last_oom = *oom;
}

const char *shmb_last_error(void)
{
	return last_text;
}

bool shmb_out_of_memory(shmb_oom *out_oom)
{
	if (last_oom_set && out_oom)
		*out_oom = last_oom;
	return last_oom_set;
}

const char *shmb_error_name(int error)
{
	return error_name(error);
}

const char *shmb_error_text(int error)
{
	return error_sentence(error);
}
