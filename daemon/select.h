/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Selections: from the words of users ("7", "3-9", "core-*", "@last", "7/r[1-3]", filters) to jobs.
 * Main thread.
 */
#pragma once

#include "common/error.h"
#include "daemon/store.h"
#include "daemon/server.h"

#include <jansson.h>

struct selection;

/*
 * From the interface's type Selection (NULL: everything of the caller). ERROR_INVALID_SELECTOR,
 * ERROR_INVALID_PARAMETER.
 */
int selection_new(const struct call *call, const json_t *selection,
		  struct selection **ret_selection, struct error *ret_error);
/*
 * Before it is read: looks up what is named, a piece a turn. 1: there is more of it; 0; or
 * ERROR_NO_SUCH_JOB for an exact id, name, range end or @last that names nothing the caller may
 * see, ERROR_NO_SUCH_TASK. Globs and filters that match nothing are fine.
 */
int selection_look_up(struct selection *selection, struct store *store, struct error *ret_error);
void selection_free(struct selection *selection);
bool selection_is_empty(const struct selection *selection); /* no selector, no filter, no all */
/* The first selector with a task part, or NULL. */
const char *selection_task_word(const struct selection *selection);
bool selection_is_own(const struct selection *selection);       /* nobody else's jobs */
bool selection_is_own_whole(const struct selection *selection); /* all of the caller's jobs */
/* So many names that only a page of jobs is to be held against them in a turn. */
bool selection_is_slow(const struct selection *selection);
/* Options and targets of each job are read, also long ones. */
void selection_want_whole(struct selection *selection);
/* From now on without jobs of which their owner has received everything. */
void selection_leave_out_received(struct selection *selection);

/* Is this job in it? Also for jobs made later (Subscribe). newest is not looked at. Until all is
 * looked up none is that a selector would have to name. */
bool selection_matches(const struct selection *selection, const struct job_row *row);
/* Is this task of a job that matches in it? Task parts narrow; without one, all are. */
bool selection_matches_task(const struct selection *selection, uint64_t job, uint32_t index);
/* The task parts of a job, ascending; NULL where the whole job is meant. The caller frees. */
uint32_t *selection_tasks(const struct selection *selection, uint64_t job, size_t *ret_count);

/*
 * The jobs, newest first, a page at a time: ids below before (0: from the newest), at most limit.
 * Each once, whatever number of selectors name it. *ret_next is where to go on, as before; 0: there
 * are no more, or fn had enough.
 */
int selection_read(struct selection *selection, struct store *store, uint64_t before, size_t limit,
		   job_row_fn *fn, void *context, uint64_t *ret_next);

/* ERROR_NO_SUCH_JOB: it should have been of one job. */
int selection_is_of_none(struct error *ret_error, const char *selector);
