/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A selection is read by one SQL statement with the filters and the hull of all selectors, newest
 * first, and each row is then held against the selectors: so a job comes once, whatever number of
 * selectors name it. What is named must be there: each selector is looked up first, some a turn,
 * and one that takes long more than one turn; task parts (select-parts.c) come after all jobs. What
 * was looked up is sorted: to hold a job against thousands of ids takes no longer than against a
 * few.
 */
#include "daemon/select.h"

#include "common/units.h"
#include "common/util.h"
#include "daemon/schedules.h"
#include "daemon/select-parts.h"

#include <assert.h>
#include <ctype.h>
#include <fnmatch.h>

/* Of one call: each job is held against all that are names. So many of these are quickly gone
 * through. */
enum { SELECTORS_MAX = 10000, NAMES_FEW = 100 };
#define LOOK_UP_US (5 * US_PER_MS) /* at once */

struct selector {
	uint64_t first, last; /* ids; 0: by name, or @last before it was looked up */
	char *name;           /* exact or a glob; NULL: by id */
	bool is_glob;
};

struct selection {
	/* Once all were looked up: first the names, then so many rows of ids, ascending */
	struct selector *selectors;
	size_t count, name_count, range_count;
	json_t *words;         /* of each, until all were looked up */
	const char *task_word; /* the first of them with a task part, or NULL */
	size_t looked_up;
	uint64_t known; /* the id that was looked up last: its row may be large */
	struct task_parts parts;
	uint64_t before;          /* so far the next one was looked for */
	struct job_filter scope;  /* in which */
	struct job_filter filter; /* strings are owned below */
	char *kind;
	uint64_t newest, given; /* how many, and how many were given since the start */
	bool is_all, has_filter;
};

void selection_free(struct selection *selection)
{
	if (!selection)
		return;
	for (size_t i = 0; i < selection->count; i++)
		free(selection->selectors[i].name);
	free(selection->selectors);
	task_parts_done(&selection->parts);
	json_decref(selection->words);
	free(selection->kind);
	free(selection);
}

/* --- Selectors --- */

static int no_such_job(struct error *ret_error, const char *word, bool is_name)
{
	/* As start prints the id of a schedule */
	if (is_name && schedule_is_id(word))
		return error_set(ret_error, ERROR_NO_SUCH_JOB, word,
				 "no job is called '%.64s': if it is a schedule, see `jobctl "
				 "schedules` and `jobctl list --schedule %.64s`",
				 word, word);
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

/* What the word says, before its task part. */
static int parse_jobs(const char *word, struct selector *selector, struct error *ret_error)
{
	if (streq(word, "@last"))
		return 0;
	if (isdigit((unsigned char)word[0]))
		return parse_ids(word, selector, ret_error);
	if (word[0] == '\0' || word[0] == '@')
		return error_set(ret_error, ERROR_INVALID_SELECTOR, word,
				 "'%.64s' is no selector: 7, 3-9, a name, a glob, or @last", word);
	selector->name = xstrdup(word);
	selector->is_glob = strpbrk(word, "*?[") != NULL;
	return 0;
}

/* The word without its task part, which is returned as well, or NULL. The caller frees. */
static char *split_word(const char *word, const char **ret_part)
{
	const char *slash = strchr(word, '/');

	*ret_part = slash ? slash + 1 : NULL;
	return slash ? xasprintf("%.*s", (int)(slash - word), word) : xstrdup(word);
}

static int parse_selectors(struct selection *selection, json_t *words, struct error *ret_error)
{
	size_t count = json_array_size(words);
	int r = 0;

	if (count > SELECTORS_MAX)
		return error_set(ret_error, ERROR_LIMIT_REACHED, "selectors",
				 "%zu selectors are more than %d: name ranges, as 3-9, or a part "
				 "at a time",
				 count, SELECTORS_MAX);
	selection->words = json_incref(words);
	selection->parts.words = json_incref(words);
	selection->selectors = xcalloc(count, sizeof(*selection->selectors));
	while (r == 0 && selection->count < count) {
		const char *part,
			*word = json_string_value(json_array_get(words, selection->count));
		autofree char *jobs = split_word(word, &part);

		if (part && !selection->task_word)
			selection->task_word = word;
		r = parse_jobs(jobs, &selection->selectors[selection->count++], ret_error);
	}
	return r;
}

/* --- Looking up --- */

/* What an exact selector names must exist, in sight of the caller. 1: on with it later. */
static int look_up_jobs(struct store *store, struct selection *selection, const char *word,
			bool has_part, struct error *ret_error)
{
	struct selector *selector = &selection->selectors[selection->looked_up];
	struct job_filter filter = selection->scope;
	uint64_t id = 0;

	if (selector->is_glob || (selector->first != 0 && selector->first == selection->known &&
				  selector->last == selection->known))
		return 0;
	filter.id_min = selector->first;
	filter.id_max = selector->last;
	filter.name_glob = selector->name;
	if (store_read_jobs(store, &filter, selection->before, 1, take_id, &id,
			    &selection->before) < 0)
		return store_refuse_read(store, ret_error);
	if (id == 0 && selection->before != 0)
		return 1;
	selection->before = 0;
	if (id == 0)
		return streq(word, "@last") ? error_set(ret_error, ERROR_NO_SUCH_JOB, word,
							"there is no job yet")
					    : no_such_job(ret_error, word, selector->name);
	/* A name with a task part stands for its newest job. */
	if (selector->first == 0 && (!selector->name || has_part)) {
		selector->first = selector->last = id;
		free(selector->name);
		selector->name = NULL;
	}
	if (selector->first == selector->last)
		selection->known = selector->first;
	return 0;
}

static int look_up_one(struct store *store, struct selection *selection, struct error *ret_error)
{
	size_t index = selection->looked_up;
	const struct selector *selector = &selection->selectors[index];
	const char *part, *word = json_string_value(json_array_get(selection->words, index));
	autofree char *jobs = split_word(word, &part);
	int r = look_up_jobs(store, selection, jobs, part != NULL, ret_error);

	if (r != 0)
		return r;
	if (part && (selector->name || selector->first != selector->last))
		return error_set(ret_error, ERROR_INVALID_SELECTOR, word,
				 "'%.64s': tasks are named of one job by its id, as 7/r03", word);
	if (part)
		task_parts_add(&selection->parts, selector->first, index);
	if (++selection->looked_up == selection->count)
		task_parts_sort(&selection->parts);
	return 0;
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
	/* 0 is no filter; of what is given none may become one. */
	if (json_is_integer(json_object_get(object, "untilUsec")) && filter->until_us == 0)
		filter->until_us = -1;
	selection->newest = (uint64_t)integer(object, "newest");
	selection->is_all = json_is_true(json_object_get(object, "all"));
	selection->has_filter = filter->states != 0 || kind || filter->since_us ||
				filter->until_us || filter->has_unreceived || selection->newest;
}

/* None, or fewer, would be taken for all. */
static int check_newest(const json_t *object, struct error *ret_error)
{
	const json_t *newest = json_object_get(object, "newest");

	if (!json_is_integer(newest) || json_integer_value(newest) > 0)
		return 0;
	return error_set(ret_error, ERROR_INVALID_SELECTOR, "newest",
			 "the newest %lld are no jobs: give at least 1",
			 (long long)json_integer_value(newest));
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

/* Names first, then ids. */
static int compare_selectors(const void *a, const void *b)
{
	const struct selector *left = a, *right = b;

	if (left->name || right->name)
		return (left->name == NULL) - (right->name == NULL);
	return left->first < right->first ? -1 : left->first > right->first;
}

/* Rows of ids that overlap become one. */
static void sort_selectors(struct selection *selection)
{
	struct selector *ranges, *last = NULL;

	if (selection->count > 1)
		qsort(selection->selectors, selection->count, sizeof(*selection->selectors),
		      compare_selectors);
	while (selection->name_count < selection->count &&
	       selection->selectors[selection->name_count].name)
		selection->name_count++;
	ranges = selection->selectors + selection->name_count;
	for (size_t i = 0; i < selection->count - selection->name_count; i++) {
		if (last && ranges[i].first <= last->last) {
			if (ranges[i].last > last->last)
				last->last = ranges[i].last;
		} else {
			last = &ranges[selection->range_count++];
			*last = ranges[i];
		}
	}
}

/* One statement reads all: from the smallest to the largest id, or by the one name there is. */
static void set_hull(struct selection *selection)
{
	const struct selector *ranges = selection->selectors + selection->name_count;

	if (selection->count == 1)
		selection->filter.name_glob = selection->selectors[0].name;
	if (selection->name_count == 0 && selection->range_count > 0) {
		selection->filter.id_min = ranges[0].first;
		selection->filter.id_max = ranges[selection->range_count - 1].last;
	}
}

int selection_look_up(struct selection *selection, struct store *store, struct error *ret_error)
{
	int64_t late_us = now_monotonic_us() + LOOK_UP_US;

	while (selection->looked_up < selection->count ||
	       !task_parts_are_found(&selection->parts)) {
		int r = selection->looked_up < selection->count
				? look_up_one(store, selection, ret_error)
				: task_parts_look_up(&selection->parts, late_us, ret_error);

		if (r == 0 && now_monotonic_us() >= late_us)
			r = 1;
		if (r != 0)
			return r;
	}
	task_parts_settle(&selection->parts);
	sort_selectors(selection);
	set_hull(selection);
	return 0;
}

int selection_new(const struct call *call, const json_t *object, struct selection **ret_selection,
		  struct error *ret_error)
{
	struct selection *selection = xcalloc(1, sizeof(*selection));
	int r;

	selection->parts.jobs = call->daemon->jobs;
	selection->scope = (struct job_filter){.has_uid = !call->is_admin, .uid = call->uid};
	parse_filters(selection, object);
	r = check_newest(object, ret_error);
	if (r == 0)
		r = parse_schedule(call, selection, object, ret_error);
	if (r == 0)
		r = parse_selectors(selection, json_object_get(object, "selectors"), ret_error);
	if (r < 0) {
		selection_free(selection);
		return r;
	}
	/* Without a word about whose, an admin too means the own ones. */
	selection->filter.has_uid =
		!call->is_admin ||
		(selection->count == 0 && !selection->is_all && selection->filter.schedule == 0);
	selection->filter.uid = call->uid;
	*ret_selection = selection;
	return 0;
}

bool selection_is_empty(const struct selection *selection)
{
	return selection->count == 0 && !selection->is_all && !selection->has_filter;
}

const char *selection_task_word(const struct selection *selection)
{
	return selection->task_word;
}

bool selection_is_slow(const struct selection *selection)
{
	return selection->name_count > NAMES_FEW;
}

bool selection_is_own(const struct selection *selection)
{
	return selection->filter.has_uid;
}

bool selection_is_own_whole(const struct selection *selection)
{
	return selection->filter.has_uid && selection->count == 0 && !selection->has_filter;
}

void selection_want_whole(struct selection *selection)
{
	selection->filter.is_whole = true;
}

void selection_leave_out_received(struct selection *selection)
{
	selection->filter.has_unreceived = true;
}

static bool is_named(const struct selection *selection, const char *name)
{
	for (size_t i = 0; name && i < selection->name_count; i++) {
		const struct selector *selector = &selection->selectors[i];

		if (selector->is_glob ? fnmatch(selector->name, name, 0) == 0
				      : streq(selector->name, name))
			return true;
	}
	return false;
}

static int compare_with_range(const void *key, const void *item)
{
	uint64_t id = *(const uint64_t *)key;
	const struct selector *range = item;

	return id < range->first ? -1 : id > range->last;
}

static bool is_selected(const struct selection *selection, const struct job_row *row)
{
	return selection->count == 0 ||
	       (selection->range_count > 0 &&
		bsearch(&row->id, selection->selectors + selection->name_count,
			selection->range_count, sizeof(*selection->selectors),
			compare_with_range)) ||
	       is_named(selection, row->name);
}

bool selection_matches(const struct selection *selection, const struct job_row *row)
{
	const struct job_filter *filter = &selection->filter;

	return (!filter->has_uid || filter->uid == row->uid) &&
	       (filter->states == 0 || (filter->states & 1U << row->state)) &&
	       (filter->schedule == 0 || filter->schedule == row->schedule) &&
	       (!filter->kind || streq(filter->kind, row->kind)) &&
	       row->created_us >= filter->since_us &&
	       (filter->until_us == 0 || row->created_us <= filter->until_us) &&
	       (!filter->has_unreceived || row->last_position > row->received_position) &&
	       is_selected(selection, row);
}

bool selection_matches_task(const struct selection *selection, uint64_t job, uint32_t index)
{
	return task_parts_match(&selection->parts, job, index);
}

uint32_t *selection_tasks(const struct selection *selection, uint64_t job, size_t *ret_count)
{
	return task_parts_of(&selection->parts, job, ret_count);
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
	/* Many names take long for each job. */
	limit /= 1 + selection->name_count / NAMES_FEW;
	return store_read_jobs(store, &selection->filter, before, limit > 0 ? limit : 1, read_row,
			       &page, ret_next);
}

int selection_is_of_none(struct error *ret_error, const char *selector)
{
	return no_such_job(ret_error, selector, false);
}
