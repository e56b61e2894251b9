/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be told: see expected_events.h. */
#include "tests/integration/model/expected_events.h"

#include <string.h>

#include "tests/integration/model/adrift.h"
#include "tests/integration/model/model.h"
#include "tests/integration/model/rest.h"

#define EXPECTED_MAX 8192
#define PATIENCE_MS 20000
#define PRINTED_MAX 8
#define KINDS (SHMB_EVENT_ALL & ~(unsigned)SHMB_EVENT_PRESSURE)

struct expected_event {
	enum shmb_event_kind kind;
	uint64_t id; /* of the block */
	uint32_t session, uid;
	uint64_t bytes;
	char name[64];
};

static struct expected_event expected[EXPECTED_MAX];
static unsigned count, losses; /* losses: so many may be told of */

static void add(const struct expected_event *event)
{
	if (!model.script.alone)
		return;
	MODEL_CHECK(count < EXPECTED_MAX);
	expected[count++] = *event;
}

void expected_events_begin(void)
{
	if (model.script.alone)
		MODEL_CHECK(shmb_subscribe(model.watcher, KINDS, NULL) == 0);
}

void expected_events_add_block(enum shmb_event_kind kind, const struct known_block *block)
{
	add(&(struct expected_event){
		.kind = kind, .id = block->block.handle.id, .uid = block->uid, .bytes = block->block.granted});
}

void expected_events_add_name(enum shmb_event_kind kind, const struct known_name *name)
{
	struct expected_event event = {
		.kind = kind, .id = name->block->block.handle.id, .uid = name->uid, .bytes = known_name_bytes(name)};

	known_name_text(name, event.name);
	add(&event);
}

void expected_events_add_session(enum shmb_event_kind kind, const struct actor *actor)
{
	struct expected_event event = {.kind = kind, .session = actor->session, .uid = actor->uid};

	snprintf(event.name, sizeof event.name, "%s", model.script.prefix);
	for (int i = 0; i < KNOWN_BLOCKS && kind == SHMB_EVENT_SESSION_ENDED; i++)
		if (model.blocks[i].live && model.blocks[i].owner == actor_number(actor))
			event.bytes += model.blocks[i].block.granted;
	add(&event);
}

static bool is(const struct expected_event *event, const shmb_event *found)
{
	/* By whose act a block or a name went is told too; not here. */
	bool session = event->kind != SHMB_EVENT_SESSION_OPENED && event->kind != SHMB_EVENT_SESSION_ENDED;

	return event->kind == found->kind && event->id == found->block.id && event->uid == found->uid &&
	       event->bytes == found->bytes && strcmp(event->name, found->name) == 0 &&
	       (session || event->session == found->session);
}

static void print(const char *what, enum shmb_event_kind kind, uint64_t id, uint32_t uid, uint64_t bytes, const char *name)
{
	dprintf(STDERR_FILENO, "%s: kind %#x, block %" PRIu64 ", uid %u, %" PRIu64 " bytes, \"%s\"\n", what, (unsigned)kind, id,
	        (unsigned)uid, bytes, name);
}

/* Fails: this one was told, or NULL: nothing more is. */
__attribute__((noreturn)) static void complain(const shmb_event *found)
{
	if (found)
		print("told", found->kind, found->block.id, found->uid, found->bytes, found->name);
	for (unsigned i = 0; i < count && i < PRINTED_MAX; i++)
		print("expected", expected[i].kind, expected[i].id, expected[i].uid, expected[i].bytes, expected[i].name);
	model_fail(__FILE__, __LINE__, "%s", found ? "an event that is not true" : "events are missing");
}

static void take(const shmb_event *event)
{
	unsigned i = 0;

	if (event->kind == SHMB_EVENT_LOST && losses) {
		losses--;
		return;
	}
	struct known_block *block = known_block_find(event->block.id);
	if (event->kind == SHMB_EVENT_BLOCK_FREED && block && adrift_has(block))
		known_block_lose(block); /* the daemon has collected it, by itself */
	while (i < count && !is(&expected[i], event))
		i++;
	if (i == count)
		complain(event);
	memmove(&expected[i], &expected[i + 1], (--count - i) * sizeof expected[0]);
}

void expected_events_take(void)
{
	shmb_event event;

	/* What is taken may make others due: those of a circle. */
	while (model.script.alone && shmb_next_event(model.watcher, count ? PATIENCE_MS : 0, &event) == 1)
		take(&event);
	if (count)
		complain(NULL);
}

void expected_events_forget(void)
{
	bool lost = false;
	shmb_event event;

	MODEL_CHECK(shmb_ping(model.watcher) == 0);
	/* What the daemon collects by itself meanwhile would be forgotten here, and expected later: it goes now. */
	adrift_collect();
	rest_await();
	/* What is on its way comes before the answer, or never. */
	MODEL_CHECK(shmb_subscribe(model.watcher, KINDS, NULL) == 0);
	while (shmb_next_event(model.watcher, 0, &event) == 1)
		lost = lost || event.kind == SHMB_EVENT_LOST;
	MODEL_CHECK(lost);
	count = 0;
	losses = 1; /* what was on its way may be told to have been lost */
}
