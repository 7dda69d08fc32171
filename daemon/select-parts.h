/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Targets of jobs that a call names: the task parts of its selectors, as in 7/r03. They are added
 * while jobs are looked up, and looked up themselves after that; then a task is held against all of
 * them at once. Main thread.
 */
#pragma once

#include "common/error.h"
#include "common/targets.h"
#include "daemon/jobs.h"

#include <jansson.h>

struct task_parts {
	struct jobs *jobs;
	json_t *words;      /* of the selectors; a reference */
	struct part *parts; /* by job, once they were sorted */
	size_t count, found;
	size_t at_once;           /* so many are looked for together at most; 0: as usual */
	struct target_list *list; /* of the job list_job */
	uint64_t list_job;
	/* Of those that are looked for: how many, with what there was before them, and the search
	 * for those that are no indices; or NULL */
	size_t batch, tasks_before;
	uint64_t named_before;
	struct target_search *search;
	struct target_list *wanted;
	uint64_t *tasks; /* job << 32 | index; ascending once they were settled */
	size_t task_count;
	uint64_t named; /* so many targets, each as often as it is */
};
void task_parts_done(struct task_parts *parts);
/* place: of the word. */
void task_parts_add(struct task_parts *parts, uint64_t job, size_t place);
/* All were added. */
void task_parts_sort(struct task_parts *parts);
bool task_parts_are_found(const struct task_parts *parts);
/* The next ones, or some of the way to them: at most until it is late_us (monotonic). 1: it is
 * late. ERROR_NO_SUCH_JOB, ERROR_NO_SUCH_TASK, ERROR_LIMIT_REACHED and so on are of the first word
 * of a job that is wrong. */
int task_parts_look_up(struct task_parts *parts, int64_t late_us, struct error *ret_error);
/* All were found. */
void task_parts_settle(struct task_parts *parts);
/* True also where nothing of the job is named. */
bool task_parts_match(const struct task_parts *parts, uint64_t job, uint32_t index);
/* The indices of a job's targets, ascending; the caller frees. NULL: there are none. */
uint32_t *task_parts_of(const struct task_parts *parts, uint64_t job, size_t *ret_count);
