/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/walk.h"

#include "common/util.h"

void walk_free(void *state)
{
	struct walk *walk = state;

	selection_free(walk->selection);
	free(walk);
}

void *walk_new(struct call *call, size_t state_size, void (*free_state)(void *state))
{
	struct error error = {0};
	struct selection *selection;
	struct walk *walk;

	if (selection_new(call, json_object_get(call->parameters, "selection"), &selection,
			  &error) < 0) {
		call_error(call, &error);
		return NULL;
	}
	walk = xcalloc(1, state_size);
	walk->selection = selection;
	call->state = walk;
	call->free = free_state;
	return walk;
}

static void walk_step(struct call *call)
{
	struct walk *walk = call->state;
	struct error error = {0};

	if (walk->before != 0 && walk->page)
		walk->page(call);
	if (selection_read(walk->selection, call->daemon->store, walk->before, WALK_PAGE,
			   walk->each, call, &walk->before) < 0) {
		(void)store_refuse_read(call->daemon->store, &error);
		call_error(call, &error);
	} else if (walk->before != 0) {
		call->step = walk_step;
		call_schedule(call);
	} else {
		call->step = NULL;
		walk->done(call);
	}
}

void walk_start(struct call *call, job_row_fn *each, void (*done)(struct call *call))
{
	struct walk *walk = call->state;

	walk->each = each;
	walk->done = done;
	walk_step(call);
}
