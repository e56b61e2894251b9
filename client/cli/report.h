/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to standard error, and the exit status that follows from it: `shmbuddy: VERB: what failed: why`, then the remedy
 * in a line of its own where there is one. Whatever is not printable in a message becomes '?'.
 * `verb` may be NULL before one is known. One thread.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#define REPORT_FORMAT(at) __attribute__((format(printf, at, (at) + 1)))

enum exit_status {
	EXIT_DONE = 0,
	EXIT_REFUSED = 1,   /* the service refused, or something on this side of it failed */
	EXIT_USAGE = 2,     /* the command line can never be right */
	EXIT_NO_DAEMON = 3, /* nobody answers, or not any more */
};

/* Which status a negative SHMB_E_* ends the program with. */
enum exit_status report_status(int result);

/* A sentence, without the full stop and without a newline. */
void report(const char *verb, const char *format, ...) REPORT_FORMAT(2);

/* What the reader can do about it: printed below the message. */
void report_remedy(const char *format, ...) REPORT_FORMAT(1);

/* Wrong usage: the sentence and where the help is. Returns EXIT_USAGE. */
int report_usage(const char *verb, const char *format, ...) REPORT_FORMAT(2);

/*
 * A call of the library failed with `result`: what was tried, then the library's own sentence, then the whole of the
 * out-of-memory detail where it is that, or the remedy where all verbs have the same. To be called before any other call of the
 * library. Returns report_status(result).
 */
int report_failure(const char *verb, int result, const char *format, ...) REPORT_FORMAT(3);

/* Nothing is published under the name, as was found without a call of the library. Returns EXIT_REFUSED. */
int report_no_name(const char *verb, const char *name);

/* A system call failed with `error`, an errno: what was tried, then its text. Returns EXIT_REFUSED. */
int report_system(const char *verb, int error, const char *format, ...) REPORT_FORMAT(3);

#endif
