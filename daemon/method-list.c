/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* List, ListTasks and GetStatus. */
#include "daemon/config.h"
#include "daemon/jobs.h"
#include "daemon/json-text.h"
#include "daemon/methods.h"
#include "daemon/request.h"
#include "daemon/walk.h"

#include "common/util.h"

#include <limits.h>
#include <unistd.h>

/* --- List --- */

enum { LIST_LIMIT = 100, LIST_LIMIT_MAX = 1000 };
/* Of what was asked for, as long as a message for each job, a reply has no more and one. */
enum { LIST_BYTES_MAX = 1024 * 1024 };

struct listing {
	struct walk walk;
	bool with_details;
	size_t limit, bytes; /* without "more" */
	bool has_older;
	json_t *jobs;
};

static void listing_free(void *state)
{
	struct listing *listing = state;

	json_decref(listing->jobs);
	walk_free(listing);
}

static bool is_reply_full(const struct listing *listing)
{
	return json_array_size(listing->jobs) == listing->limit || listing->bytes >= LIST_BYTES_MAX;
}

static int list_each(const struct job_row *row, void *context)
{
	struct call *call = context;
	struct listing *listing = call->state;

	if (!call->is_more && is_reply_full(listing)) {
		listing->has_older = true;
		return 1;
	}
	if (listing->with_details && row->options && row->targets)
		listing->bytes += strlen(row->options) + strlen(row->targets);
	(void)json_array_append_new(listing->jobs, view_job(row, listing->with_details));
	return 0;
}

static json_t *take_jobs(struct listing *listing, bool has_older)
{
	json_t *reply = json_pack("{s:o, s:b}", "jobs", listing->jobs, "hasOlder", (int)has_older);

	listing->jobs = json_array();
	return reply;
}

static void list_page(struct call *call)
{
	const struct listing *listing = call->state;

	if (call->is_more && json_array_size(listing->jobs) > 0)
		call_continue(call, take_jobs(call->state, true));
}

static void list_done(struct call *call)
{
	struct listing *listing = call->state;

	call_reply(call, take_jobs(listing, listing->has_older));
}

size_t limit_of(const struct call *call, size_t fallback, size_t max)
{
	json_int_t limit = json_integer_value(json_object_get(call->parameters, "limit"));

	if (limit <= 0)
		return fallback;
	return (size_t)limit < max ? (size_t)limit : max;
}

void method_list(struct call *call)
{
	struct listing *listing = walk_new(call, sizeof(*listing), listing_free);

	if (!listing)
		return;
	listing->jobs = json_array();
	listing->with_details = json_is_true(json_object_get(call->parameters, "details"));
	if (listing->with_details)
		selection_want_whole(listing->walk.selection);
	listing->limit = limit_of(call, LIST_LIMIT, LIST_LIMIT_MAX);
	listing->walk.before =
		(uint64_t)json_integer_value(json_object_get(call->parameters, "before"));
	listing->walk.page = list_page;
	walk_start(call, list_each, list_done);
}

/* --- ListTasks --- */

enum { TASKS_LIMIT = 1000, TASKS_LIMIT_MAX = 10000, TASKS_STEP = 1000 };

struct task_listing {
	struct walk walk;
	struct job_row row;
	struct target_list *list;
	unsigned states;       /* bits; 0: all */
	size_t limit;          /* tasks of the reply; 0: of each page, all */
	int64_t filled;        /* tasks up to here are in the reply, or left out */
	int64_t end;           /* of this turn */
	struct json_text text; /* the reply that is being made */
	size_t count;          /* tasks in it */
	uint64_t left;         /* of the job, so many at most are still to come */
};

static void task_listing_free(void *state)
{
	struct task_listing *listing = state;

	job_row_done(&listing->row);
	target_list_free(listing->list);
	json_text_done(&listing->text);
	walk_free(listing);
}

static void add_task(struct task_listing *listing, const struct task_row *row)
{
	char target[TARGET_TEXT_MAX];

	if ((listing->states != 0 && !(listing->states & 1U << row->state)) ||
	    !selection_matches_task(listing->walk.selection, row->key.job, row->key.index))
		return;
	target_list_text(listing->list, row->key.index, target);
	json_text_next(&listing->text);
	view_task(row, listing->row.kind, target, &listing->text);
	listing->count++;
	listing->left--;
}

static bool is_full(const struct task_listing *listing)
{
	return listing->limit > 0 && listing->count >= listing->limit;
}

/* Tasks without a row, up to and without `end`: they were never begun, or are of a kind that makes
 * rows at the end. */
static void fill_gap(struct task_listing *listing, int64_t end)
{
	enum job_state job = listing->row.state;
	enum task_state never_begun =
		job == JOB_STOPPING || job_state_is_final(job) ? TASK_STOPPED : TASK_QUEUED;
	struct task_row row = {.key.job = listing->row.id};

	while (listing->filled + 1 < end && !is_full(listing)) {
		uint64_t index = (uint64_t)++listing->filled;
		bool is_begun = !job_state_is_final(job) && index < listing->row.next_index;

		row.key.index = (uint32_t)index;
		row.state = is_begun ? TASK_RUNNING : never_begun;
		row.attempts = is_begun;
		add_task(listing, &row);
	}
}

static int list_task(const struct task_row *row, void *context)
{
	struct task_listing *listing = context;

	if ((int64_t)row->key.index >= listing->end)
		return 1;
	fill_gap(listing, row->key.index);
	if (is_full(listing))
		return 1;
	add_task(listing, row);
	listing->filled = row->key.index;
	return 0;
}

static void begin_tasks(struct task_listing *listing)
{
	listing->count = 0;
	call_text_begin(&listing->text);
	json_text_add(&listing->text, "{\"tasks\":[");
}

static struct json_text *end_tasks(struct task_listing *listing, bool has_more)
{
	json_text_add(&listing->text, "]");
	json_text_member_bool(&listing->text, "hasMore", has_more);
	json_text_add(&listing->text, "}");
	return &listing->text;
}

/* The next TASKS_STEP indices. */
static void list_tasks_step(struct call *call)
{
	struct task_listing *listing = call->state;
	int64_t total = (int64_t)target_list_count(listing->list);
	int r;

	listing->end = listing->filled + 1 + TASKS_STEP;
	if (listing->end > total)
		listing->end = total;
	r = store_read_tasks(call->daemon->store, listing->row.id, listing->filled, TASKS_STEP,
			     list_task, listing);
	if (r < 0) {
		walk_refuse_read(call, r);
		return;
	}
	fill_gap(listing, listing->end);
	if (listing->filled + 1 >= total || listing->left == 0 || is_full(listing)) {
		call_reply_text(
			call, end_tasks(listing, listing->filled + 1 < total && listing->left > 0));
		return;
	}
	if (call->is_more && listing->count > 0) {
		call_continue_text(call, end_tasks(listing, true));
		begin_tasks(listing);
	}
	call->step = list_tasks_step;
	call_schedule(call);
}

/* Of an ended job its row tells how many there are in a state. */
static uint64_t count_listed(const struct task_listing *listing)
{
	uint64_t count = 0;

	if (listing->states == 0 || !job_state_is_final(listing->row.state))
		return UINT64_MAX;
	for (unsigned state = 0; state < TASK_STATE_COUNT; state++)
		if (listing->states & 1U << state)
			count += listing->row.counts[state];
	return count;
}

static void list_tasks(struct call *call)
{
	struct task_listing *listing = call->state;
	struct error error = {0};
	int r = jobs_targets(call->daemon->jobs, listing->row.id, &listing->list, NULL, &error);

	if (r == -ENOENT) {
		walk_refuse_none(call);
		return;
	}
	if (r < 0) {
		call_error(call, &error);
		return;
	}
	if (listing->filled < -1 || listing->filled >= (int64_t)target_list_count(listing->list))
		listing->filled = (int64_t)target_list_count(listing->list) - 1;
	listing->left = count_listed(listing);
	list_tasks_step(call);
}

void method_list_tasks(struct call *call)
{
	struct task_listing *listing = walk_new_one(call, sizeof(*listing), task_listing_free);
	const json_t *states = json_object_get(call->parameters, "states");
	const json_t *after = json_object_get(call->parameters, "after");

	if (!listing)
		return;
	begin_tasks(listing);
	listing->limit = call->is_more ? 0 : limit_of(call, TASKS_LIMIT, TASKS_LIMIT_MAX);
	listing->filled = json_is_integer(after) ? json_integer_value(after) : -1;
	for (size_t i = 0; i < json_array_size(states); i++)
		listing->states |= 1U << word_find(task_state_words,
						   json_string_value(json_array_get(states, i)));
	walk_find(call, &listing->row, list_tasks);
}

/* --- GetStatus --- */

struct totals {
	const struct call *call;
	uint64_t jobs, queued, running;
};

static void add_job(struct job *job, void *context)
{
	struct totals *totals = context;

	if (job->row.uid != totals->call->uid && !totals->call->is_admin)
		return;
	totals->jobs++;
	totals->queued += job->row.counts[TASK_QUEUED];
	totals->running += job->row.counts[TASK_RUNNING];
}

void method_get_status(struct call *call)
{
	const struct daemon *daemon = call->daemon;
	struct totals totals = {.call = call};
	json_t *limits = json_object();
	json_t *reply;

	for (size_t i = 0; i < config_setting_count; i++) {
		const int64_t *value =
			(const int64_t *)(const void *)((const char *)daemon->config +
							config_settings[i].offset);

		(void)json_object_set_new(limits, config_settings[i].name, json_integer(*value));
	}
	jobs_each(daemon->jobs, add_job, &totals);
	reply = json_pack(
		"{s:s, s:i, s:I, s:s, s:s, s:I, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		"version", PACKAGE_VERSION, "pid", (int)getpid(), "startedUsec",
		(json_int_t)daemon->started_us, "socket", daemon->config->socket, "database",
		daemon->config->database, "databaseBytes", (json_int_t)store_bytes(daemon->store),
		"workers", (int)daemon->workers, "clients",
		(int)server_client_count(daemon->server), "jobs", (json_int_t)totals.jobs,
		"tasksQueued", (json_int_t)totals.queued, "tasksRunning",
		(json_int_t)totals.running, "prunedJobs", (json_int_t)jobs_pruned(daemon->jobs),
		"longestTurnUsec", (json_int_t)daemon->longest_turn_us, "commits",
		(json_int_t)store_commits(daemon->store), "limits", limits);
	if (store_error(daemon->store))
		(void)json_object_set_new(reply, "storageError",
					  json_string(store_error(daemon->store)));
	call_reply(call, reply);
}
