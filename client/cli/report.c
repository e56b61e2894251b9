/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "name.h"
#include "shmbuddy.h"
#include "size.h"
#include "ticket_word.h"

#define NAMES_REMEDY "`shmbuddy names` lists the names there are"

/* Room for a sentence with a path and a name in it; what is longer is cut off. */
#define REPORT_MAX 2048

enum exit_status report_status(int result)
{
	switch (result) {
	case 0: return EXIT_DONE;
	case -SHMB_E_NO_DAEMON:
	case -SHMB_E_DISCONNECTED:
	case -SHMB_E_TIMEOUT:
	case -SHMB_E_PROTOCOL: /* something answers, but it is not our daemon */ return EXIT_NO_DAEMON;
	case -SHMB_E_INVALID_ARGUMENT:
	case -SHMB_E_BAD_NAME: return EXIT_USAGE;
	default: return EXIT_REFUSED;
	}
}

static void print_clean(const char *prefix, const char *verb, const char *text)
{
	char clean[REPORT_MAX];

	name_clean(text, strlen(text), sizeof(clean), clean);
	ticket_word_hide(clean);
	fprintf(stderr, "%s%s%s%s\n", prefix, verb ? verb : "", verb ? ": " : "", clean);
}

__attribute__((format(printf, 2, 0))) static void report_list(const char *verb, const char *format, va_list arguments,
                                                              const char *why)
{
	char text[REPORT_MAX];
	int length = vsnprintf(text, sizeof(text), format, arguments);

	if (why && length >= 0 && (size_t)length < sizeof(text))
		snprintf(text + length, sizeof(text) - (size_t)length, ": %s", why);
	print_clean("shmbuddy: ", verb, text);
}

void report(const char *verb, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report_list(verb, format, arguments, NULL);
	va_end(arguments);
}

void report_remedy(const char *format, ...)
{
	char text[REPORT_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	print_clean("  ", NULL, text);
}

int report_usage(const char *verb, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report_list(verb, format, arguments, NULL);
	va_end(arguments);
	report_remedy("see: shmbuddy %s%s--help", verb ? verb : "", verb ? " " : "");
	return EXIT_USAGE;
}

static const char *limit_sentence(const shmb_oom *oom)
{
	switch (oom->limit) {
	case SHMB_OOM_KERNEL: return "the kernel has no memory for it: /dev/shm or a control group is full";
	case SHMB_OOM_BLOCKS: return "the pool has as many blocks as its table holds";
	case SHMB_OOM_USER: return "the quota of the user, for all its sessions together";
	case SHMB_OOM_SESSION: return "the quota of the session";
	case SHMB_OOM_GUARANTEE: return "what is free is guaranteed to other users";
	case SHMB_OOM_SEGMENT:
	default: break;
	}
	if (oom->set_aside)
		return "what is free is set aside for one who came before, and waits";
	return oom->granted == 0 ? "this pool is smaller than that" : "no free run of the segment is long enough";
}

static void report_quota(const shmb_oom *oom)
{
	char quota[SIZE_TEXT_MAX], used[SIZE_TEXT_MAX];

	size_format(oom->quota, quota);
	size_format(oom->quota_used, used);
	if (oom->quota_of_blocks)
		report_remedy("quota: %" PRIu64 " of %" PRIu64 " %s used", oom->quota_used, oom->quota,
		              oom->quota == 1 ? "block" : "blocks");
	else
		report_remedy("quota: %s of %s used, by %" PRIu64 " %s", used, quota, oom->quota_blocks,
		              oom->quota_blocks == 1 ? "block" : "blocks");
}

/* Who holds what and what to do about it, below the message. */
static void report_out_of_memory(const shmb_oom *oom)
{
	char requested[SIZE_TEXT_MAX], granted[SIZE_TEXT_MAX], available[SIZE_TEXT_MAX], longest[SIZE_EXACT_MAX],
		bytes[SIZE_TEXT_MAX];
	/* the share of the free bytes that the longest request cannot reach */
	double fragmentation = oom->free ? 1.0 - (double)oom->longest_free / (double)oom->free : 0.0;

	size_format(oom->requested, requested);
	size_format(oom->granted, granted);
	size_format(oom->free, available);
	size_format_exact(oom->longest_free, longest);
	report_remedy("requested %s, which would take %s; free %s, longest run %s, fragmentation %.2f", requested,
	              oom->granted ? granted : "more than this pool has", available, longest, fragmentation);
	report_remedy("limit: %s", limit_sentence(oom));
	if (oom->limit == SHMB_OOM_KERNEL) {
		size_format(oom->kernel_free, bytes);
		report_remedy("left in /dev/shm: %s", bytes);
	}
	if (oom->limit == SHMB_OOM_USER || oom->limit == SHMB_OOM_SESSION)
		report_quota(oom);
	for (size_t i = 0; i < oom->holder_count && i < SHMB_OOM_HOLDERS_MAX; i++) {
		const struct shmb_oom_holder *holder = &oom->holders[i];
		const char *blocks = holder->blocks == 1 ? "block" : "blocks";

		size_format(holder->bytes, bytes);
		if (holder->session == 0)
			report_remedy("held by no session: %s in %" PRIu64 " %s", bytes, holder->blocks, blocks);
		else
			report_remedy("held by session %" PRIu32 ", %.*s, pid %" PRIu32 ", uid %" PRIu32 ": %s in %" PRIu64 " %s",
			              holder->session, SHMB_PROGRAM_MAX,
			              holder->program[0] ? holder->program : "a program without a name", holder->pid, holder->uid, bytes,
			              holder->blocks, blocks);
	}
	if (oom->limit == SHMB_OOM_USER || oom->limit == SHMB_OOM_SESSION || oom->limit == SHMB_OOM_GUARANTEE)
		report_remedy("try: free blocks of yours (`shmbuddy users`, `shmbuddy ls`), or start the daemon with another %s",
		              oom->limit == SHMB_OOM_GUARANTEE ? "--guarantee" : "--quota");
	else if (oom->limit == SHMB_OOM_BLOCKS)
		report_remedy("try: free blocks that are not needed (`shmbuddy ls`), or make a new pool with a larger --max-blocks");
	else if (oom->limit == SHMB_OOM_KERNEL)
		report_remedy("try: make room in /dev/shm (`df /dev/shm`), or enlarge it (mount -o remount,size=… /dev/shm)");
	else if (oom->set_aside)
		report_remedy("try: --wait, to stand in the same line, or free what `shmbuddy ls --sort granted:desc` shows");
	else if (oom->longest_free > 0)
		report_remedy(
			"try: ask for %s or less, free what `shmbuddy ls --sort granted:desc` shows, or start the daemon with a "
			"larger --size",
			longest);
	else
		report_remedy("try: free what `shmbuddy ls --sort granted:desc` shows, or start the daemon with a larger --size");
}

/* The daemon is there and says nothing. What it does only its machine knows. */
static void report_silence(void)
{
	report_remedy(
		"see what it does: `ps -o pid,stat,wchan:24,args -C shmbuddyd`; with T in STAT it is stopped (kill -CONT PID), with "
		"D it waits for the kernel");
	report_remedy(
		"try: later again; or kill -9 PID and start it anew, which goes on with the pool, programs and all, unless it is "
		"--ephemeral");
}

static void report_what_helps(int result)
{
	switch (result) {
	case -SHMB_E_LIMIT: report_remedy("what each user has and may have: `shmbuddy users`"); break;
	case -SHMB_E_SESSION_ENDED: report_remedy("try: run the command again, which opens a session of its own"); break;
	case -SHMB_E_NO_SUCH_BLOCK: report_remedy("`shmbuddy ls` lists the blocks there are"); break;
	case -SHMB_E_NO_SUCH_NAME: report_remedy(NAMES_REMEDY); break;
	case -SHMB_E_TIMEOUT: report_silence(); break;
	default: break;
	}
}

int report_no_name(const char *verb, const char *name)
{
	report(verb, "name '%s': %s", name, shmb_error_text(SHMB_E_NO_SUCH_NAME));
	report_remedy(NAMES_REMEDY);
	return EXIT_REFUSED;
}

int report_failure(const char *verb, int result, const char *format, ...)
{
	shmb_oom oom;
	bool has_detail = result == -SHMB_E_OUT_OF_MEMORY && shmb_out_of_memory(&oom);
	va_list arguments;

	va_start(arguments, format);
	report_list(verb, format, arguments, shmb_last_error());
	va_end(arguments);
	if (has_detail)
		report_out_of_memory(&oom);
	else
		report_what_helps(result);
	return (int)report_status(result);
}

int report_system(const char *verb, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report_list(verb, format, arguments, strerror(error));
	va_end(arguments);
	return EXIT_REFUSED;
}
