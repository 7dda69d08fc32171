/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/walk.h"

#include "common/util.h"

#include <errno.h>

void walk_free(void *state)
{
	struct walk *walk = state;

	selection_free(walk->selection);
	free(walk);
}

static void *new_of(struct call *call, const json_t *object, size_t state_size,
		    void (*free_state)(void *state))
{
	struct error error = {0};
	struct selection *selection;
	struct walk *walk;

	if (selection_new(call, object, &selection, &error) < 0) {
		call_error(call, &error);
		return NULL;
	}
	walk = xcalloc(1, state_size);
	walk->selection = selection;
	call->state = walk;
	call->free = free_state;
	return walk;
}

void *walk_new(struct call *call, size_t state_size, void (*free_state)(void *state))
{
	return new_of(call, json_object_get(call->parameters, "selection"), state_size, free_state);
}

void *walk_new_one(struct call *call, size_t state_size, void (*free_state)(void *state))
{
	json_t *object =
		json_pack("{s:[O]}", "selectors", json_object_get(call->parameters, "selector"));
	void *walk = new_of(call, object, state_size, free_state);

	json_decref(object);
	return walk;
}

bool walk_refuse_tasks(struct call *call, const char *verb)
{
	const struct walk *walk = call->state;
	const char *word = selection_task_word(walk->selection);
	struct error error = {0};

	if (!word)
		return false;
	(void)error_set(&error, ERROR_INVALID_SELECTOR, word,
			"'%.64s': there is no way to %s single tasks of a job; name the whole job",
			word, verb);
	call_error(call, &error);
	return true;
}

static void walk_step(struct call *call)
{
	struct walk *walk = call->state;

	if (walk->before != 0 && walk->page)
		walk->page(call);
	if (selection_read(walk->selection, call->daemon->store, walk->before, WALK_PAGE,
			   walk->each, call, &walk->before) < 0) {
		walk_read_failed(call);
	} else if (walk->before != 0) {
		call->step = walk_step;
		call_schedule(call);
	} else {
		call->step = NULL;
		walk->done(call);
	}
}

static void look_up(struct call *call)
{
	struct walk *walk = call->state;
	struct error error = {0};
	int r = selection_look_up(walk->selection, call->daemon->store, &error);

	if (r < 0) {
		call_error(call, &error);
	} else if (r > 0) {
		call->step = look_up;
		call_schedule(call);
	} else {
		if (walk->begin)
			walk->begin(call);
		walk_step(call);
	}
}

void walk_start(struct call *call, job_row_fn *each, void (*done)(struct call *call))
{
	struct walk *walk = call->state;

	walk->each = each;
	walk->done = done;
	look_up(call);
}

static int take_first(const struct job_row *row, void *context)
{
	const struct call *call = context;
	const struct walk *walk = call->state;

	job_row_copy(row, walk->row);
	return 1;
}

void walk_read_failed(struct call *call)
{
	struct error error = {0};

	(void)store_refuse_read(call->daemon->store, &error);
	call_error(call, &error);
}

void walk_refuse_none(struct call *call)
{
	struct error error = {0};

	(void)selection_is_of_none(
		&error, json_string_value(json_object_get(call->parameters, "selector")));
	call_error(call, &error);
}

void walk_refuse_read(struct call *call, int r)
{
	if (r == -ENOENT)
		walk_refuse_none(call);
	else
		walk_read_failed(call);
}

static void find_done(struct call *call)
{
	const struct walk *walk = call->state;

	if (walk->row->id != 0)
		walk->found(call);
	else
		walk_refuse_none(call);
}

void walk_find(struct call *call, struct job_row *row, void (*done)(struct call *call))
{
	struct walk *walk = call->state;

	walk->row = row;
	walk->found = done;
	walk_start(call, take_first, find_done);
}
