/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A selection is read by one SQL statement with the filters and the hull of all selectors, newest
 * first, and each row is then held against the selectors: so a job comes once, whatever number of
 * selectors name it.
 */
#include "daemon/select.h"

#include "common/targets.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/request.h"
#include "daemon/schedules.h"

#include <assert.h>
#include <ctype.h>
#include <fnmatch.h>

enum { PART_MAX = 100000 };

struct selector {
	uint64_t first, last; /* ids; 0: by name */
	char *name;           /* exact or a glob; NULL: by id */
	bool is_glob;
	uint32_t *indices; /* the task part, ascending; NULL: whole jobs */
	size_t index_count;
};

struct selection {
	struct selector *selectors;
	size_t count;
	struct job_filter filter; /* strings are owned below */
	char *kind;
	uint64_t newest, given; /* how many, and how many were given since the start */
	bool is_all, has_filter;
};

void selection_free(struct selection *selection)
{
	if (!selection)
		return;
	for (size_t i = 0; i < selection->count; i++) {
		free(selection->selectors[i].name);
		free(selection->selectors[i].indices);
	}
	free(selection->selectors);
	free(selection->kind);
	free(selection);
}

/* --- Selectors --- */

static int no_such_job(struct error *ret_error, const char *word, bool is_name)
{
	return error_set(ret_error, ERROR_NO_SUCH_JOB, word,
			 is_name ? "no job is called '%.64s'; `jobctl list` shows yours"
				 : "no job %.64s; `jobctl list` shows yours",
			 word);
}

static int take_id(const struct job_row *row, void *context)
{
	*(uint64_t *)context = row->id;
	return 1;
}

/* The newest job of the filter, or 0 where there is none. */
static int newest_of(struct store *store, const struct job_filter *filter, uint64_t *ret_id,
		     struct error *ret_error)
{
	uint64_t before = 0;
	int r;

	*ret_id = 0;
	do
		r = store_read_jobs(store, filter, before, 1, take_id, ret_id, &before);
	while (r == 0 && *ret_id == 0 && before != 0);
	return r < 0 ? store_refuse_read(store, ret_error) : 0;
}

/* "7" or "3-9"; 0 if it is of this form. */
static int parse_ids(const char *word, struct selector *selector, struct error *ret_error)
{
	autofree char *first_text = xstrdup(word);
	char *dash = strchr(first_text, '-');
	int64_t first, last;

	if (dash)
		*dash = '\0';
	if (number_parse(first_text, 1, INT32_MAX, &first) < 0 ||
	    (dash && number_parse(dash + 1, 1, INT32_MAX, &last) < 0))
		return error_set(ret_error, ERROR_INVALID_SELECTOR, word,
				 "'%.64s' is neither a job's id (7), a range (3-9) nor a name "
				 "(names begin with a letter)",
				 word);
	if (!dash)
		last = first;
	if (first > last)
		return error_set(ret_error, ERROR_INVALID_SELECTOR, word,
				 "'%.64s': the first id must not be above the last", word);
	selector->first = (uint64_t)first;
	selector->last = (uint64_t)last;
	return 0;
}

/* What an exact selector names must exist, in sight of the caller. */
static int parse_jobs(struct store *store, const struct job_filter *scope, const char *word,
		      struct selector *selector, struct error *ret_error)
{
	struct job_filter filter = *scope;
	uint64_t id;
	int r;

	if (streq(word, "@last")) {
		r = newest_of(store, scope, &id, ret_error);
		selector->first = selector->last = id;
		return r < 0 || id ? r
				   : error_set(ret_error, ERROR_NO_SUCH_JOB, word,
					       "there is no job yet");
	}
	if (isdigit((unsigned char)word[0])) {
		r = parse_ids(word, selector, ret_error);
		if (r < 0)
			return r;
		filter.id_min = selector->first;
		filter.id_max = selector->last;
		r = newest_of(store, &filter, &id, ret_error);
		return r < 0 || id ? r : no_such_job(ret_error, word, false);
	}
	if (word[0] == '\0' || word[0] == '@')
		return error_set(ret_error, ERROR_INVALID_SELECTOR, word,
				 "'%.64s' is no selector: 7, 3-9, a name, a glob, or @last", word);
	selector->name = xstrdup(word);
	selector->is_glob = strpbrk(word, "*?[") != NULL;
	if (selector->is_glob)
		return 0;
	filter.name_glob = word;
	r = newest_of(store, &filter, &id, ret_error);
	return r < 0 || id ? r : no_such_job(ret_error, word, true);
}

/* --- Task parts --- */

static int compare_indices(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

/* The places of the wanted targets in the job's list; all must be there. */
static int find_targets(const struct target_list *list, const struct target_list *wanted,
			const char *word, struct selector *selector, struct error *ret_error)
{
	uint64_t count = target_list_count(wanted);
	autofree uint64_t *indices = xcalloc(count, sizeof(*indices));
	uint64_t missing = target_list_find_all(list, wanted, indices);
	char text[TARGET_TEXT_MAX];

	if (missing < count) {
		target_list_text(wanted, missing, text);
		return error_set(ret_error, ERROR_NO_SUCH_TASK, word,
				 "'%.64s': the job has no target '%.64s'", word, text);
	}
	selector->index_count = count;
	selector->indices = xcalloc(count, sizeof(*selector->indices));
	for (uint64_t i = 0; i < count; i++)
		selector->indices[i] = (uint32_t)indices[i];
	qsort(selector->indices, selector->index_count, sizeof(*selector->indices),
	      compare_indices);
	return 0;
}

/* A task part: an index, or targets in their own notation. */
static int parse_part(struct store *store, const char *word, const char *part,
		      struct selector *selector, struct error *ret_error)
{
	struct target_list *wanted = NULL, *list = NULL;
	struct job_row row;
	int64_t index;
	int r;

	if (selector->name || selector->first != selector->last)
		return error_set(ret_error, ERROR_INVALID_SELECTOR, word,
				 "'%.64s': tasks are named of one job by its id, as 7/r03", word);
	r = store_read_job(store, selector->first, &row);
	if (r < 0)
		return r == -ENOENT ? no_such_job(ret_error, word, false)
				    : store_refuse_read(store, ret_error);
	r = request_targets(row.targets, UINT32_MAX, &list, ret_error);
	job_row_done(&row);
	if (r < 0)
		return r;
	if (number_parse(part, 0, UINT32_MAX, &index) == 0 &&
	    (uint64_t)index < target_list_count(list)) {
		selector->indices = xcalloc(1, sizeof(*selector->indices));
		selector->indices[0] = (uint32_t)index;
		selector->index_count = 1;
		r = 0;
	} else {
		r = target_list_new(&part, 1, NULL, 0, PART_MAX, &wanted, ret_error);
		if (r == 0)
			r = find_targets(list, wanted, word, selector, ret_error);
	}
	target_list_free(wanted);
	target_list_free(list);
	return r;
}

static int parse_selector(struct store *store, struct selection *selection,
			  const struct job_filter *scope, const char *word, struct error *ret_error)
{
	autofree char *copy = xstrdup(word);
	char *slash = strchr(copy, '/');
	struct selector *selector;
	int r;

	selection->selectors = xrealloc(selection->selectors,
					(selection->count + 1) * sizeof(*selection->selectors));
	selector = &selection->selectors[selection->count++];
	*selector = (struct selector){0};
	if (slash)
		*slash = '\0';
	r = parse_jobs(store, scope, copy, selector, ret_error);
	if (r == 0 && slash && selector->name && !selector->is_glob) {
		/* A name with a task part stands for its newest job. */
		struct job_filter filter = *scope;

		filter.name_glob = copy;
		r = newest_of(store, &filter, &selector->first, ret_error);
		selector->last = selector->first;
		free(selector->name);
		selector->name = NULL;
	}
	if (r == 0 && slash)
		r = parse_part(store, word, slash + 1, selector, ret_error);
	return r;
}

/* --- The whole --- */

static int64_t integer(const json_t *object, const char *member)
{
	return json_integer_value(json_object_get(object, member));
}

/* The filters beside the selectors. */
static void parse_filters(struct selection *selection, const json_t *object)
{
	struct job_filter *filter = &selection->filter;
	const json_t *states = json_object_get(object, "states");
	const char *kind = json_string_value(json_object_get(object, "kind"));

	for (size_t i = 0; i < json_array_size(states); i++) {
		int state =
			word_find(job_state_words, json_string_value(json_array_get(states, i)));

		assert(state >= 0); /* the interface's check saw to it */
		filter->states |= 1U << state;
	}
	selection->kind = xstrdup_or_null(kind);
	filter->kind = selection->kind;
	filter->since_us = integer(object, "sinceUsec");
	filter->until_us = integer(object, "untilUsec");
	filter->has_unreceived = json_is_true(json_object_get(object, "withResults"));
	selection->newest = (uint64_t)integer(object, "newest");
	selection->is_all = json_is_true(json_object_get(object, "all"));
	selection->has_filter = filter->states != 0 || kind || filter->since_us ||
				filter->until_us || filter->has_unreceived || selection->newest;
}

/* Those of one schedule, which must be there. */
static int parse_schedule(const struct call *call, struct selection *selection,
			  const json_t *object, struct error *ret_error)
{
	const char *word = json_string_value(json_object_get(object, "schedule"));
	struct schedule_row row;
	int r;

	if (!word)
		return 0;
	r = schedules_find(call->daemon->schedules, call->uid, call->is_admin, word, &row,
			   ret_error);
	if (r < 0)
		return r;
	selection->filter.schedule = row.id;
	selection->has_filter = true;
	schedule_row_done(&row);
	return 0;
}

/* One statement reads all: from the smallest to the largest id, or by the one name there is. */
static void set_hull(struct selection *selection)
{
	uint64_t min = UINT64_MAX, max = 0;

	if (selection->count == 1 && selection->selectors[0].name)
		selection->filter.name_glob = selection->selectors[0].name;
	for (size_t i = 0; i < selection->count; i++) {
		if (selection->selectors[i].name)
			return;
		if (selection->selectors[i].first < min)
			min = selection->selectors[i].first;
		if (selection->selectors[i].last > max)
			max = selection->selectors[i].last;
	}
	if (selection->count > 0) {
		selection->filter.id_min = min;
		selection->filter.id_max = max;
	}
}

int selection_new(const struct call *call, const json_t *object, struct selection **ret_selection,
		  struct error *ret_error)
{
	struct selection *selection = xcalloc(1, sizeof(*selection));
	const json_t *selectors = json_object_get(object, "selectors");
	struct job_filter scope = {.has_uid = !call->is_admin, .uid = call->uid};

	int r;

	parse_filters(selection, object);
	r = parse_schedule(call, selection, object, ret_error);
	for (size_t i = 0; r == 0 && i < json_array_size(selectors); i++)
		r = parse_selector(call->daemon->store, selection, &scope,
				   json_string_value(json_array_get(selectors, i)), ret_error);
	if (r < 0) {
		selection_free(selection);
		return r;
	}
	/* Without a word about whose, an admin too means the own ones. */
	selection->filter.has_uid =
		!call->is_admin ||
		(selection->count == 0 && !selection->is_all && selection->filter.schedule == 0);
	selection->filter.uid = call->uid;
	set_hull(selection);
	*ret_selection = selection;
	return 0;
}

bool selection_is_empty(const struct selection *selection)
{
	return selection->count == 0 && !selection->is_all && !selection->has_filter;
}

bool selection_has_tasks(const struct selection *selection)
{
	for (size_t i = 0; i < selection->count; i++)
		if (selection->selectors[i].indices)
			return true;
	return false;
}

bool selection_is_own(const struct selection *selection)
{
	return selection->filter.has_uid;
}

bool selection_is_own_whole(const struct selection *selection)
{
	return selection->filter.has_uid && selection->count == 0 && !selection->has_filter;
}

void selection_leave_out_received(struct selection *selection)
{
	selection->filter.has_unreceived = true;
}

static bool is_selected_by(const struct selector *selector, const struct job_row *row)
{
	if (!selector->name)
		return row->id >= selector->first && row->id <= selector->last;
	if (!row->name)
		return false;
	return selector->is_glob ? fnmatch(selector->name, row->name, 0) == 0
				 : streq(selector->name, row->name);
}

bool selection_matches(const struct selection *selection, const struct job_row *row)
{
	const struct job_filter *filter = &selection->filter;
	bool is_selected = selection->count == 0;

	for (size_t i = 0; i < selection->count && !is_selected; i++)
		is_selected = is_selected_by(&selection->selectors[i], row);
	return is_selected && (!filter->has_uid || filter->uid == row->uid) &&
	       (filter->states == 0 || (filter->states & 1U << row->state)) &&
	       (filter->schedule == 0 || filter->schedule == row->schedule) &&
	       (!filter->kind || streq(filter->kind, row->kind)) &&
	       row->created_us >= filter->since_us &&
	       (filter->until_us == 0 || row->created_us <= filter->until_us) &&
	       (!filter->has_unreceived || row->last_position > row->received_position);
}

bool selection_matches_task(const struct selection *selection, uint64_t job, uint32_t index)
{
	bool is_narrowed = false;

	for (size_t i = 0; i < selection->count; i++) {
		const struct selector *selector = &selection->selectors[i];

		if (!selector->indices)
			continue;
		if (selector->first != job)
			continue;
		is_narrowed = true;
		if (bsearch(&index, selector->indices, selector->index_count,
			    sizeof(*selector->indices), compare_indices))
			return true;
	}
	return !is_narrowed;
}

const uint32_t *selection_tasks(const struct selection *selection, uint64_t job, size_t *ret_count)
{
	for (size_t i = 0; i < selection->count; i++) {
		const struct selector *selector = &selection->selectors[i];

		if (selector->indices && selector->first == job) {
			*ret_count = selector->index_count;
			return selector->indices;
		}
	}
	return NULL;
}

struct page {
	struct selection *selection;
	job_row_fn *fn;
	void *context;
};

static int read_row(const struct job_row *row, void *context)
{
	struct page *page = context;
	struct selection *selection = page->selection;

	if (!selection_matches(selection, row))
		return 0;
	if (selection->newest != 0 && selection->given >= selection->newest)
		return 1;
	selection->given++;
	return page->fn(row, page->context);
}

int selection_read(struct selection *selection, struct store *store, uint64_t before, size_t limit,
		   job_row_fn *fn, void *context, uint64_t *ret_next)
{
	struct page page = {.selection = selection, .fn = fn, .context = context};

	if (before == 0)
		selection->given = 0;
	return store_read_jobs(store, &selection->filter, before, limit, read_row, &page, ret_next);
}

static int take_row(const struct job_row *row, void *context)
{
	job_row_copy(row, context);
	return 1;
}

int select_one(const struct call *call, const char *selector, struct selection **ret_selection,
	       struct job_row *ret_row, struct error *ret_error)
{
	json_t *words = json_pack("{s:[s]}", "selectors", selector);
	struct selection *selection;
	struct job_row row = {0};
	uint64_t before = 0;
	int r = selection_new(call, words, &selection, ret_error);

	json_decref(words);
	if (r < 0)
		return r;
	do
		r = selection_read(selection, call->daemon->store, before, 1, take_row, &row,
				   &before);
	while (r == 0 && row.id == 0 && before != 0);
	if (r < 0 || row.id == 0) {
		selection_free(selection);
		return r < 0 ? store_refuse_read(call->daemon->store, ret_error)
			     : no_such_job(ret_error, selector, false);
	}
	*ret_selection = selection;
	*ret_row = row;
	return 0;
}
