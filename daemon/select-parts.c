/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parts of one job are looked for together, since its target list may be long. What was found is
 * sorted: to hold a task against thousands takes no longer than against a few.
 */
#include "daemon/select-parts.h"

#include "common/units.h"
#include "common/util.h"
#include "daemon/request.h"
#include "daemon/select.h"

#include <errno.h>

/* Targets of one call; parts of a job that are looked for at once. */
enum { PARTS_MAX = 100000, PARTS_AT_ONCE = 1000 };

struct part {
	uint64_t job;
	size_t place; /* among the words */
};

static void end_search(struct task_parts *parts)
{
	target_search_free(parts->search);
	target_list_free(parts->wanted);
	parts->search = NULL;
	parts->wanted = NULL;
}

void task_parts_done(struct task_parts *parts)
{
	end_search(parts);
	target_list_free(parts->list);
	free(parts->parts);
	free(parts->tasks);
	json_decref(parts->words);
	*parts = (struct task_parts){0};
}

/* --- Adding --- */

/* By job, then as they were given. */
static int compare_parts(const void *a, const void *b)
{
	const struct part *left = a, *right = b;

	if (left->job != right->job)
		return left->job < right->job ? -1 : 1;
	return left->place < right->place ? -1 : left->place > right->place;
}

static int compare_tasks(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

static const char *word_of(const struct task_parts *parts, const struct part *part)
{
	return json_string_value(json_array_get(parts->words, part->place));
}

void task_parts_add(struct task_parts *parts, uint64_t job, size_t place)
{
	parts->parts = xgrow(parts->parts, parts->count, sizeof(*parts->parts));
	parts->parts[parts->count++] = (struct part){job, place};
}

void task_parts_sort(struct task_parts *parts)
{
	if (parts->count > 1)
		qsort(parts->parts, parts->count, sizeof(*parts->parts), compare_parts);
}

bool task_parts_are_found(const struct task_parts *parts)
{
	return parts->found == parts->count;
}

/* --- Looking up --- */

static void add_task(struct task_parts *parts, uint64_t job, uint64_t index)
{
	parts->tasks = xgrow(parts->tasks, parts->task_count, sizeof(*parts->tasks));
	parts->tasks[parts->task_count++] = job << 32 | index;
}

/* The target list of the part's job, which stays for the next ones. */
static int load_list(struct task_parts *parts, const struct part *part, struct error *ret_error)
{
	int r;

	if (parts->list && parts->list_job == part->job)
		return 0;
	target_list_free(parts->list);
	parts->list = NULL;
	parts->list_job = part->job;
	r = jobs_targets(parts->jobs, part->job, &parts->list, NULL, ret_error);
	return r == -ENOENT ? selection_is_of_none(ret_error, word_of(parts, part)) : r;
}

/* The places of the wanted targets in the job's list; all must be there. */
static int take_found(struct task_parts *parts, const struct part *part, struct error *ret_error)
{
	const uint64_t *indices;
	uint64_t count = target_list_count(parts->wanted);
	uint64_t missing = target_search_found(parts->search, &indices);
	const char *word = word_of(parts, part);
	char text[TARGET_TEXT_MAX];

	if (missing < count) {
		target_list_text(parts->wanted, missing, text);
		return error_set(ret_error, ERROR_NO_SUCH_TASK, word,
				 "'%.64s': the job has no target '%.64s'", word, text);
	}
	for (uint64_t i = 0; i < count; i++)
		add_task(parts, part->job, indices[i]);
	return 0;
}

/* Targets in a task part, by their own notation. */
static int count_targets(const char *notation, uint64_t *ret_count, struct error *ret_error)
{
	struct target_list *list;
	/* That there are too many is the call's matter. */
	int r = target_list_new(&notation, 1, NULL, 0, UINT64_MAX, &list, ret_error);

	if (r < 0)
		return r;
	*ret_count = target_list_count(list);
	target_list_free(list);
	return 0;
}

/* Parts of one job: an index each, or targets, for which a search begins. */
static int begin_parts(struct task_parts *parts, const struct part *first, size_t count,
		       struct error *ret_error)
{
	autofree const char **notations = xcalloc(count, sizeof(*notations));
	size_t notation_count = 0;
	int64_t index;
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const char *notation = strchr(word_of(parts, &first[i]), '/') + 1;
		uint64_t named = 1;

		if (number_parse(notation, 0, UINT32_MAX, &index) == 0 &&
		    (uint64_t)index < target_list_count(parts->list)) {
			add_task(parts, first->job, (uint64_t)index);
		} else {
			notations[notation_count++] = notation;
			r = count_targets(notation, &named, ret_error);
		}
		parts->named += named;
		if (r == 0 && parts->named > PARTS_MAX)
			r = error_set(ret_error, ERROR_LIMIT_REACHED, "selectors",
				      "more than %d targets are named of jobs: name fewer, or "
				      "whole jobs",
				      PARTS_MAX);
	}
	if (r < 0 || notation_count == 0)
		return r;
	r = target_list_new(notations, notation_count, NULL, 0, PARTS_MAX, &parts->wanted,
			    ret_error);
	if (r == 0)
		parts->search = target_search_new(parts->list, parts->wanted);
	return r;
}

/* The next parts of a job, as many as are looked for at once. */
static int begin_batch(struct task_parts *parts, struct error *ret_error)
{
	const struct part *first = &parts->parts[parts->found];
	size_t at_once = parts->at_once ? parts->at_once : PARTS_AT_ONCE;
	size_t left = parts->count - parts->found;
	int r = load_list(parts, first, ret_error);

	parts->batch = 1;
	parts->tasks_before = parts->task_count;
	parts->named_before = parts->named;
	if (r < 0)
		return r;
	while (parts->batch < left && parts->batch < at_once &&
	       first[parts->batch].job == first->job)
		parts->batch++;
	return begin_parts(parts, first, parts->batch, ret_error);
}

/* Where one of many is refused, half as many are tried: the last alone says why. 1: there is more
 * of it. */
int task_parts_look_up(struct task_parts *parts, int64_t late_us, struct error *ret_error)
{
	const struct part *first = &parts->parts[parts->found];
	int r = parts->search ? 0 : begin_batch(parts, ret_error);

	if (r == 0 && parts->search) {
		while (target_search_step(parts->search))
			if (now_monotonic_us() >= late_us)
				return 1;
		r = take_found(parts, first, ret_error);
	}
	end_search(parts);
	if (r == 0) {
		parts->found += parts->batch;
	} else if (parts->batch > 1) {
		error_done(ret_error);
		parts->task_count = parts->tasks_before;
		parts->named = parts->named_before;
		parts->at_once = parts->batch / 2;
		r = 0;
	}
	return r;
}

/* --- Asking --- */

void task_parts_settle(struct task_parts *parts)
{
	target_list_free(parts->list);
	parts->list = NULL;
	if (parts->task_count > 1)
		qsort(parts->tasks, parts->task_count, sizeof(*parts->tasks), compare_tasks);
}

/* The place of the first task from this one on. */
static size_t place_of(const struct task_parts *parts, uint64_t task)
{
	size_t low = 0, high = parts->task_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (parts->tasks[middle] < task)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_of_job(const struct task_parts *parts, size_t place, uint64_t job)
{
	return place < parts->task_count && parts->tasks[place] >> 32 == job;
}

bool task_parts_match(const struct task_parts *parts, uint64_t job, uint32_t index)
{
	uint64_t task = job << 32 | index;
	size_t place = place_of(parts, task);

	if (place < parts->task_count && parts->tasks[place] == task)
		return true;
	/* Is it narrowed? Then a neighbour is of this job. */
	return !is_of_job(parts, place, job) && !(place > 0 && is_of_job(parts, place - 1, job));
}

uint32_t *task_parts_of(const struct task_parts *parts, uint64_t job, size_t *ret_count)
{
	size_t first = place_of(parts, job << 32), last = place_of(parts, (job + 1) << 32);
	uint32_t *indices = last > first ? xcalloc(last - first, sizeof(*indices)) : NULL;

	for (size_t i = first; i < last; i++)
		indices[i - first] = (uint32_t)parts->tasks[i];
	*ret_count = last - first;
	return indices;
}
