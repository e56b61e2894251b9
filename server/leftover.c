/* SPDX-License-Identifier: Apache-2.0 */
/* What a former daemon left: see leftover.h. Nothing is believed that has no checksum, and nothing is changed here. */
#include "leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot.h"
#include "cleanup.h"
#include "log.h"
#include "pool.h"
#include "size.h"
#include "state_header.h"
#include "state_layout.h"
#include "view.h"

__attribute__((format(printf, 2, 3))) static int refuse(const struct pool *pool, const char *format, ...)
{
	char text[384];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	log_error("pool %s: %s, or throw it away with --discard", pool->name, text);
	return -EUCLEAN;
}

/* Is it, or can it become, what the operator asked for? */
static int check_wishes(const struct pool *pool, const struct pool_options *options, const struct state_header *header)
{
	uint64_t size = atomic_load_explicit(&header->size, memory_order_relaxed);
	char there[SIZE_EXACT_MAX], most[SIZE_EXACT_MAX], unit[SIZE_EXACT_MAX], wanted[SIZE_EXACT_MAX];

	size_format_exact(size, there);
	size_format_exact(header->max_size, most);
	size_format_exact(header->unit, unit);
	size_format_exact(options->size, wanted);
	if (options->unit_given && options->unit != header->unit)
		return refuse(pool, "it was made with --min-block %s: start it with that", unit);
	if (options->max_size_given && options->max_size != header->max_size)
		return refuse(pool, "it was made with --max-size %s, which stays: start it with that, or without", most);
	if (!options->size_given)
		return 0;
	if (options->size < size)
		return refuse(pool, "it has a size of %s, and does not shrink to %s: start it with --size %s or more, or without",
		              there, wanted, there);
	if (options->size > header->max_size)
		return refuse(pool, "it has a size of %s and was made with --max-size %s: start it with a --size up to %s, not %s",
		              there, most, most, wanted);
	if (options->size % header->unit)
		return refuse(pool, "it was made with --min-block %s: start it with a --size that is a multiple of that, not %s",
		              unit, wanted);
	return 0;
}

/* Does the header fit this daemon and this boot, and is it whole? */
static int check_header(const struct pool *pool, const struct state_header *header)
{
	uint8_t boot[16];
	uint64_t size = atomic_load_explicit(&header->size, memory_order_relaxed);
	int result = boot_id(boot);

	if (result < 0)
		return result;
	if (header->layout_version != STATE_LAYOUT_VERSION)
		return refuse(pool,
		              "what is there has layout version %" PRIu32 ", this daemon knows %u: start the shmbuddyd that made it",
		              header->layout_version, STATE_LAYOUT_VERSION);
	if (header->checksum != state_header_checksum(header) || strncmp(header->pool, pool->name, sizeof header->pool) != 0 ||
	    header->extent != STATE_EXTENT || size == 0 || size % header->unit || size > header->max_size ||
	    atomic_load_explicit(&header->lasts, memory_order_relaxed) != STATE_LASTS)
		return refuse(pool, "the header of %s is damaged: look at it", pool->state.name);
	if (memcmp(header->boot_id, boot, sizeof boot) != 0)
		return refuse(pool, "what is there comes from another boot of the machine, and its processes are gone: look at it");
	return 0;
}

int leftover_examine(struct pool *pool, const struct pool_options *options, uint64_t size, enum leftover *out_leftover)
{
	struct state_header header;

	*out_leftover = LEFTOVER_NONE;
	if (size == 0)
		return 0;
	ssize_t count = pread(pool->state.fd, &header, sizeof header, 0);
	if (count < 0)
		return -errno;
	uint64_t magic = count == sizeof header ? atomic_load_explicit(&header.magic, memory_order_relaxed) : 0;
	if (magic == 0)
		return 0;
	uint64_t lasts = atomic_load_explicit(&header.lasts, memory_order_relaxed);
	if (magic == STATE_MAGIC && header.checksum == state_header_checksum(&header) && lasts == STATE_EPHEMERAL) {
		log_info("pool %s: a former daemon left it, and it was ephemeral", pool->name);
		return 0;
	}
	if (options->discard) {
		*out_leftover = LEFTOVER_DISCARD;
		return 0;
	}
	if (magic != STATE_MAGIC)
		return refuse(pool, "/dev/shm%s is no pool of this program: look at it", pool->state.name);
	int result = check_header(pool, &header);
	if (result == 0)
		result = check_wishes(pool, options, &header);
	if (result < 0)
		return result;
	pool->unit = header.unit;
	pool->size = atomic_load_explicit(&header.size, memory_order_relaxed);
	pool->grown_size = options->size_given ? options->size : pool->size;
	pool->incarnation = header.incarnation;
	*out_leftover = LEFTOVER_ADOPT;
	return 0;
}

void leftover_describe(const struct pool *pool, char out_text[LEFTOVER_TEXT_MAX])
{
	CLEANUP_CLOSE int fd = shm_open(pool->view.name, O_RDONLY | O_NONBLOCK, 0);
	struct view_counters counters;
	char used[SIZE_TEXT_MAX];
	uint64_t magic = 0;

	/* One that was never finished had nobody in it; of one whose view is gone or damaged that cannot be said. */
	snprintf(out_text, LEFTOVER_TEXT_MAX, pool->state.size ? "its view cannot be read" : "nothing that was ever used");
	if (fd < 0 || pread(fd, &magic, sizeof magic, 0) != sizeof magic || magic != VIEW_MAGIC ||
	    pread(fd, &counters, sizeof counters, VIEW_COUNTERS_AT) != sizeof counters)
		return;
	uint64_t blocks = atomic_load_explicit(&counters.blocks, memory_order_relaxed);
	uint64_t names = atomic_load_explicit(&counters.names, memory_order_relaxed);
	size_format(atomic_load_explicit(&counters.used, memory_order_relaxed), used);
	snprintf(out_text, LEFTOVER_TEXT_MAX, "%" PRIu64 " %s (%s), %" PRIu64 " %s", blocks, blocks == 1 ? "block" : "blocks",
	         used, names, names == 1 ? "name" : "names");
}

/* An object that must be the one that the state knows, and as large as it was; or larger, up to `most`. */
static int open_object(const struct pool *pool, struct shared_object *object, uint64_t inode, uint64_t size, uint64_t most)
{
	uint64_t found = 0;
	int result = shared_object_open(object);

	if (result == -ENOENT)
		return refuse(pool, "/dev/shm%s is gone, and nothing can be served without it: put it back", object->name);
	if (result == 0)
		result = shared_object_inode(object, &found);
	if (result < 0) {
		log_error("pool %s: cannot open %s: %s", pool->name, object->name, strerror(-result));
		return result;
	}
	if (found != inode)
		return refuse(pool, "/dev/shm%s is not the one that belongs to it: put that back", object->name);
	if (object->size < size || object->size > most)
		return refuse(pool, "/dev/shm%s has %" PRIu64 " bytes and had %" PRIu64 ": somebody has cut or grown it",
		              object->name, object->size, size);
	return 0;
}

int leftover_open(struct pool *pool)
{
	struct view view;
	int result = shared_object_map(&pool->state);

	if (result < 0)
		return result;
	const struct state_header *state = pool->state_header = pool->state.base;
	struct view_geometry geometry;
	view_geometry(state->max_blocks, state->max_names, &geometry);
	if (pool->state.size != state->state_size)
		return refuse(pool, "/dev/shm%s has %" PRIu64 " bytes and had %" PRIu64 ": somebody has cut or grown it",
		              pool->state.name, pool->state.size, state->state_size);
	/* A growth that was killed may have left it longer (growth.c). */
	result = open_object(pool, &pool->segment, state->segment_inode, shared_object_round(pool->size),
	                     shared_object_round(state->max_size));
	if (result == 0)
		result = open_object(pool, &pool->view, state->view_inode, geometry.view_size, geometry.view_size);
	if (result == 0)
		result = shared_object_map(&pool->view);
	if (result < 0)
		return result;
	result = view_open(pool->view.base, pool->view.size, &view);
	/* The view's magic is the last store of making a pool: without it, nobody was let in. But then the state has its own. */
	if (result == -EAGAIN)
		return refuse(pool, "it was never finished: nothing is in it");
	/* Its size follows the state's, growth.c. */
	if (result < 0 || view.header->incarnation != state->incarnation || view.header->unit != state->unit ||
	    view.header->max_size != state->max_size ||
	    atomic_load_explicit(&view.header->size, memory_order_relaxed) > pool->size)
		return refuse(pool, "the header of %s is damaged: look at it", pool->view.name);
	pool->header = pool->view.base;
	pool->counters = (struct view_counters *)((uint8_t *)pool->view.base + VIEW_COUNTERS_AT);
	return 0;
}
