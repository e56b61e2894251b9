/* SPDX-License-Identifier: Apache-2.0 */
/* The model's beginning and end: see model.h. */
#include "tests/integration/model/model.h"

#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include "tests/integration/model/adrift.h"
#include "tests/integration/model/comparison.h"
#include "tests/integration/model/expected_events.h"
#include "tests/integration/model/rest.h"
#include "tests/integration/model/step.h"
#include "tests/support/client_process.h"
#include "tests/support/pattern.h"

#define ACTORS_FIRST 6
#define COMPARISON_STEPS 400 /* between two */
#define DEATH_STEPS 500      /* on the average, between two of the daemon */

struct model model;

void model_fail(const char *file, int line, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	dprintf(STDERR_FILENO, "%s:%d: model %s, seed 0x%" PRIx64 ", step %u (%s%s): %s\n", file, line, model.script.prefix,
	        model.script.seed, model.step, model.doing, model.killing ? ", the daemon dies" : "", text);
	_exit(1);
}

uint64_t model_below(uint64_t limit)
{
	return pattern_below(&model.random_state, limit);
}

void model_ask(enum model_wish wish, void *out_answer, size_t size)
{
	const char byte = (char)wish;

	if (!client_process_say(model.control, &byte, 1) || !client_process_hear(model.control, out_answer, size))
		_exit(1); /* the test has failed, and says why */
}

void model_open(const struct model_script *script, int control)
{
	shmb_connect_options options = {.socket_path = script->socket_path, .program = "watcher"};

	model.script = *script;
	model.control = control;
	model.random_state = script->seed;
	model.uid = geteuid();
	model.doing = "open";
	for (int i = 0; i < KNOWN_BLOCKS; i++)
		model.blocks[i].owner = NOBODY;
	for (int i = 0; i < ACTORS; i++)
		puppet_prepare(&model.actors[i].puppet);
	MODEL_CHECK(shmb_connect(&options, &model.watcher) == 0);
	expected_events_begin();
	for (int i = 0; i < ACTORS_FIRST; i++)
		actor_open(&model.actors[i]);
}

/* Cache blocks, the links of which go first. By the watcher, who may. */
static void drop_cached(void)
{
	shmb_block held;

	adrift_collect(); /* circles would go by themselves meanwhile */
	rest_await();
	for (struct known_link *link; (link = known_link_any());) {
		shmb_handle from = link->from->block.handle;
		MODEL_CHECK(shmb_acquire(model.watcher, from, &held) == 0);
		MODEL_CHECK(shmb_unlink(model.watcher, from, link->to->block.handle) == 0);
		MODEL_CHECK(shmb_free(model.watcher, from) == 0);
		known_link_drop(link);
		rest_await();
	}
	for (int i = 0; i < KNOWN_BLOCKS; i++) {
		if (!model.blocks[i].live || !model.blocks[i].cached)
			continue;
		MODEL_CHECK(shmb_remove(model.watcher, model.blocks[i].block.handle.id) == 0);
		model.blocks[i].cached = false;
		known_block_settle(&model.blocks[i]);
	}
	rest_await();
}

/* What lives without a session: names, tickets, times, and circles of links. By the watcher, who may. */
static void take_apart(void)
{
	char text[64];

	for (int i = 0; i < KNOWN_NAMES; i++) {
		if (!model.names[i].block)
			continue;
		known_name_text(&model.names[i], text);
		MODEL_CHECK(shmb_unpublish(model.watcher, text) == 0);
		known_name_drop(&model.names[i]);
	}
	for (int i = 0; i < KNOWN_TICKETS; i++) {
		if (!model.tickets[i].block)
			continue;
		MODEL_CHECK(shmb_revoke(model.watcher, model.tickets[i].ticket) == 0);
		known_ticket_drop(&model.tickets[i]);
	}
	for (int i = 0; i < KNOWN_BLOCKS; i++) {
		if (!model.blocks[i].live || !model.blocks[i].ttl_ms)
			continue;
		MODEL_CHECK(shmb_renew(model.watcher, model.blocks[i].block.handle, 0) == 0);
		model.blocks[i].ttl_ms = 0;
		known_block_settle(&model.blocks[i]);
	}
	rest_await();
	adrift_collect();
	rest_await();
	drop_cached();
}

void model_close(void)
{
	model.doing = "close";
	model.killing = false;
	for (int i = 0; i < ACTORS; i++) {
		if (model.actors[i].there)
			actor_kill(&model.actors[i]);
		rest_await(); /* its end may be what another waits for */
	}
	take_apart();
	expected_events_take();
	MODEL_EQUAL(known_block_count(), 0);
	shmb_close(model.watcher);
}

void model_run(int control, const void *argument)
{
	/* cmocka's handlers, which the test has left, would go on with the test in here. */
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	signal(SIGFPE, SIG_DFL);
	signal(SIGILL, SIG_DFL);
	model_open(argument, control);
	rest_await();
	for (model.step = 0; model.step < model.script.steps; model.step++) {
		model.killing = model.script.alone && model_one_in(DEATH_STEPS);
		unsigned deaths = model.deaths;
		step_draw();
		model.killing = model.deaths != deaths;
		rest_await();
		if (model.killing)
			expected_events_forget();
		else
			expected_events_take();
		if (model.step % COMPARISON_STEPS == COMPARISON_STEPS - 1)
			comparison_make();
	}
	printf("model %s: %u steps, %u done and %u refused, %u for want of memory; %" PRIu64 " blocks at once at most, %" PRIu64
	       " and %" PRIu64 " collected, by itself and on request, %" PRIu64 " evicted; %u daemons killed\n",
	       model.script.prefix, model.script.steps, model.answers[0], model.answers[1] + model.refusals, model.refusals,
	       model.most, model.collected[0], model.collected[1], model.evicted, model.deaths);
	for (int kind = 0; kind < QUOTA_KIND_COUNT && model.script.limits; kind++)
		printf("refused for a quota of %s: %u\n", known_account_word((enum quota_kind)kind), model.quota_refusals[kind]);
	fflush(stdout);
	model_close();
}
