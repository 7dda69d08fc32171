/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Receive: the selected jobs, and the heap of those that have something to give. */
#include "daemon/method-receive-internal.h"

#include "common/util.h"

#include <errno.h>

/* --- The heap --- */

static uint64_t heap_key(const struct reading *reading, size_t place)
{
	return reading->sources[reading->heap[place]].next;
}

static void heap_swap(struct reading *reading, size_t a, size_t b)
{
	size_t index = reading->heap[a];

	reading->heap[a] = reading->heap[b];
	reading->heap[b] = index;
}

static void heap_push(struct reading *reading, size_t index)
{
	size_t place = reading->heap_count++;

	reading->heap[place] = index;
	for (; place > 0 && heap_key(reading, place) < heap_key(reading, (place - 1) / 2);
	     place = (place - 1) / 2)
		heap_swap(reading, place, (place - 1) / 2);
}

static size_t heap_pop(struct reading *reading)
{
	size_t top = reading->heap[0], place = 0;

	reading->heap[0] = reading->heap[--reading->heap_count];
	for (;;) {
		size_t child = 2 * place + 1;

		if (child + 1 < reading->heap_count &&
		    heap_key(reading, child + 1) < heap_key(reading, child))
			child++;
		if (child >= reading->heap_count ||
		    heap_key(reading, place) <= heap_key(reading, child))
			return top;
		heap_swap(reading, place, child);
		place = child;
	}
}

/* --- The sources --- */

static uint64_t cursor_of(struct reading *reading, const struct job_row *row)
{
	uint64_t position = 0;

	if (reading->is_again || reading->log.is_on)
		return 0;
	if (reading->cursor[0] == '\0' && reading->uid == row->uid)
		return row->received_position;
	if (store_read_cursor(reading->daemon->store, reading->uid, reading->cursor, row->id,
			      &position) < 0)
		reading->is_broken = true;
	return position;
}

void sources_add(struct reading *reading, const struct job_row *row)
{
	bool is_live = !job_state_is_final(row->state);

	reading->sources = xgrow(reading->sources, reading->count, sizeof(*reading->sources));
	reading->sources[reading->count++] = (struct source){
		.job = row->id,
		.uid = row->uid,
		.given = cursor_of(reading, row),
		.is_live = is_live,
	};
	reading->live += is_live;
}

static int compare_up(const void *a, const void *b)
{
	const struct source *left = a, *right = b;

	return left->job < right->job ? -1 : left->job > right->job;
}

static int compare_down(const void *a, const void *b)
{
	return compare_up(b, a);
}

struct source *sources_find(const struct reading *reading, uint64_t job)
{
	struct source key = {.job = job}, *source = NULL;
	size_t begin = reading->walk_begin;

	if (begin > 0)
		source = bsearch(&key, reading->sources, begin, sizeof(key), compare_up);
	if (!source && reading->count > begin)
		source = bsearch(&key, reading->sources + begin, reading->count - begin,
				 sizeof(key), compare_down);
	return source;
}

void source_set_live(struct reading *reading, struct source *source, bool is_live)
{
	reading->live -= source->is_live;
	reading->live += is_live;
	source->is_live = is_live;
}

void source_find_next(struct reading *reading, struct source *source)
{
	if (source->next != 0 || (reading->is_failed_only && source->is_live))
		return;
	if (store_next_record(reading->daemon->store, source->job, source->given, &source->next) <
	    0)
		reading->is_broken = true;
	else if (source->next != 0)
		heap_push(reading, (size_t)(source - reading->sources));
}

int sources_read(struct reading *reading)
{
	struct source *source = &reading->sources[heap_pop(reading)];
	struct run run = {.job = source->job, .after = source->given};
	int r;

	run.last = reading->heap_count > 0 ? heap_key(reading, 0) - 1 : INT64_MAX;
	r = reading_add(reading, &run, source->uid, &source->given);
	source->next = 0;
	source->has_given |= source->given > run.after;
	if (r == -ENOENT) {
		/* Nothing more comes of it. */
		source_set_live(reading, source, false);
		return 0;
	}
	if (r == 0)
		source_find_next(reading, source);
	return r;
}
