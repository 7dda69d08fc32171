/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tasks that wait for another attempt: of each job a binary heap (Williams, 1964) by when they may
 * begin. Their delays are spread at random, so that in a list that is kept in order each would walk
 * past many of the others. The places count from 1, which is the first.
 */
#include "daemon/jobs-internal.h"

#include "common/util.h"

#include <assert.h>

static bool is_before(const struct live_task *a, const struct live_task *b)
{
	return a->not_before_us != b->not_before_us ? a->not_before_us < b->not_before_us
						    : a->index < b->index;
}

static void put(struct live_task *task, size_t place)
{
	task->job->waiting[place] = task;
	task->place = place;
}

/* From this place, which is free, to where it belongs. */
static void move_up(struct live_task *task, size_t place)
{
	struct live_task **waiting = task->job->waiting;

	for (; place > 1 && is_before(task, waiting[place / 2]); place /= 2)
		put(waiting[place / 2], place);
	put(task, place);
}

static void move_down(struct live_task *task, size_t place)
{
	const struct live_job *job = task->job;
	size_t below;

	for (; (below = 2 * place) <= job->waiting_count; place = below) {
		if (below < job->waiting_count &&
		    is_before(job->waiting[below + 1], job->waiting[below]))
			below++;
		if (!is_before(job->waiting[below], task))
			break;
		put(job->waiting[below], place);
	}
	put(task, place);
}

void job_add_waiting(struct live_task *task)
{
	struct live_job *job = task->job;
	size_t used = job->waiting_count + 1; /* with the place before the first */

	assert(task->run == 0 && task->place == 0);
	job->waiting = xgrow(job->waiting, used, sizeof(struct live_task *));
	move_up(task, ++job->waiting_count);
}

void job_remove_waiting(struct live_task *task)
{
	struct live_job *job = task->job;
	size_t place = task->place;
	struct live_task *last;

	if (place == 0)
		return;
	last = job->waiting[job->waiting_count--];
	task->place = 0;
	if (last == task)
		return;
	move_up(last, place);
	move_down(last, last->place);
}

struct live_task *job_first_waiting(const struct live_job *job)
{
	return job->waiting_count > 0 ? job->waiting[1] : NULL;
}
