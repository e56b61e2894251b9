/* SPDX-License-Identifier: Apache-2.0 */
/* A ticket from a file: see ticket_file.h. */
#include "ticket_file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "input.h"
#include "report.h"
#include "ticket_word.h"

/* All there is, up to `capacity`, without the white space around it. */
static int read_word(const char *verb, const char *path, size_t capacity, char *out_text)
{
	struct input input;
	size_t length = 0;
	ssize_t got = 1;
	int result = input_open(path, &input);

	if (result < 0)
		return report_system(verb, -result, "opening %s", path);
	while (got > 0 && length < capacity - 1) {
		got = read(input.fd, out_text + length, capacity - 1 - length);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			length += (size_t)got;
	}
	result = errno;
	input_close(&input);
	if (got < 0)
		return report_system(verb, result, "reading %s", input.name);
	while (length > 0 && strchr(" \t\r\n", out_text[length - 1]))
		length--;
	out_text[length] = '\0';
	memmove(out_text, out_text + strspn(out_text, " \t\r\n"), length + 1 - strspn(out_text, " \t\r\n"));
	return EXIT_DONE;
}

int ticket_file_refuse_word(const char *verb)
{
	report(verb,
	       "a ticket is no argument, for everybody on this machine sees those: say the file that has it, or - for standard "
	       "input");
	report_remedy("who saw it can use it, until it is used, taken back (`shmbuddy revoke FROM`) or expires");
	return EXIT_USAGE;
}

int ticket_file_read(const char *verb, const char *path, shmb_ticket *out_ticket)
{
	char text[256];
	int status, result;

	if (ticket_word_is(path))
		return ticket_file_refuse_word(verb);
	status = read_word(verb, path, sizeof(text), text);
	if (status != EXIT_DONE)
		return status;
	result = shmb_ticket_parse(text, out_ticket);
	return result == 0 ? EXIT_DONE : report_failure(verb, result, "the ticket");
}
