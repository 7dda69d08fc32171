/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stop, Pause, Resume, Remove and Adjust. */
#include "daemon/jobs.h"
#include "daemon/methods.h"
#include "daemon/walk.h"

#include "common/util.h"

#include <assert.h>
#include <stdio.h>

/* Targets that are stopped in a turn: each is a change or two of its commit. */
enum { STOPS_AT_ONCE = 1000 };

/* Targets of one job to stop. */
struct stop {
	uint64_t job; /* held, until all of them are done */
	uint32_t *indices;
	size_t count, done;
};

struct control {
	struct walk walk;
	struct jobs *jobs;
	void (*act)(struct call *call, struct job *job);
	int64_t grace_us;
	json_t *ids;
	struct stop *stops;
	size_t stop_count, stops_done;
};

static void control_free(void *state)
{
	struct control *control = state;

	for (size_t i = 0; i < control->stop_count; i++) {
		if (i >= control->stops_done)
			jobs_let_go(control->jobs, control->stops[i].job);
		free(control->stops[i].indices);
	}
	free(control->stops);
	json_decref(control->ids);
	walk_free(control);
}

static void add_id(json_t *ids, uint64_t id)
{
	(void)json_array_append_new(ids, json_integer((json_int_t)id));
}

/* Acts on one that has not ended; for the others there is nothing to do. */
static int control_each(const struct job_row *row, void *context)
{
	struct call *call = context;
	struct control *control = call->state;
	struct job *job = jobs_find(call->daemon->jobs, row->id);

	if (job) {
		control->act(call, job);
		add_id(control->ids, row->id);
	}
	return 0;
}

/* The next ones of it, at most so many; returns how many. */
static size_t stop_some(const struct control *control, struct stop *stop, size_t most)
{
	struct job *job = jobs_find(control->jobs, stop->job);
	size_t count = stop->count - stop->done;

	if (count > most)
		count = most;
	/* Where it has ended meanwhile, so have they. */
	if (job)
		(void)jobs_stop_tasks(control->jobs, job, stop->indices + stop->done, count,
				      control->grace_us);
	stop->done += count;
	return count;
}

/* Whole jobs are stopped by now; targets that were named follow, some a turn. */
static void control_done(struct call *call)
{
	struct control *control = call->state;
	size_t most = STOPS_AT_ONCE;

	while (control->stops_done < control->stop_count && most > 0) {
		struct stop *stop = &control->stops[control->stops_done];

		most -= stop_some(control, stop, most);
		if (stop->done == stop->count) {
			jobs_let_go(control->jobs, stop->job);
			control->stops_done++;
		}
	}
	if (control->stops_done < control->stop_count) {
		call->step = control_done;
		call_schedule(call);
		return;
	}
	call_reply(call, json_pack("{s:O}", "ids", control->ids));
}

/* What changes or forgets jobs never means all of them by saying nothing. */
static bool refuse_empty(struct call *call, const struct walk *walk, const char *verb)
{
	struct error error = {0};

	if (!selection_is_empty(walk->selection))
		return false;
	(void)error_set(&error, ERROR_INVALID_SELECTOR, "", "name the jobs to %s, or say --all",
			verb);
	call_error(call, &error);
	return true;
}

/*
 * Of very many targets some are stopped later than others, and meanwhile none of those is to begin.
 * Where the client leaves before the reply, what was not done yet is not, as with many jobs.
 */
static void stop_job(struct call *call, struct job *job)
{
	struct control *control = call->state;
	size_t count;
	uint32_t *indices = selection_tasks(control->walk.selection, job->row.id, &count);

	if (!indices) {
		jobs_stop(control->jobs, job, control->grace_us);
		return;
	}
	control->stops = xgrow(control->stops, control->stop_count, sizeof(*control->stops));
	control->stops[control->stop_count++] =
		(struct stop){.job = job->row.id, .indices = indices, .count = count};
	jobs_hold(job);
}

static void control(struct call *call, const char *verb,
		    void (*act)(struct call *call, struct job *job))
{
	struct control *control = walk_new(call, sizeof(*control), control_free);

	if (!control)
		return;
	control->jobs = call->daemon->jobs;
	control->ids = json_array();
	control->act = act;
	control->grace_us = json_integer_value(json_object_get(call->parameters, "graceUsec"));
	if (!refuse_empty(call, &control->walk, verb) &&
	    (act == stop_job || !walk_refuse_tasks(call, verb)))
		walk_start(call, control_each, control_done);
}

static void pause_job(struct call *call, struct job *job)
{
	jobs_pause(call->daemon->jobs, job);
}

static void resume_job(struct call *call, struct job *job)
{
	jobs_resume(call->daemon->jobs, job);
}

void method_stop(struct call *call)
{
	control(call, "stop", stop_job);
}

void method_pause(struct call *call)
{
	control(call, "pause", pause_job);
}

void method_resume(struct call *call)
{
	control(call, "resume", resume_job);
}

/* --- Remove --- */

/* Stopped by us, and removed once it has ended. */
struct ending_job {
	uint64_t id;
	bool has_ended;
};

struct removal {
	struct walk walk;
	struct job_watcher watcher; /* with force: until the stopped jobs have ended */
	bool is_watching;
	bool is_force;
	bool is_walked;
	struct call *call;
	struct ending_job *endings;        /* descending by id, as the walk meets them */
	size_t ending_count, waited_count; /* of these waited for: have not ended */
	json_t *removed, *left;
};

static void removal_free(void *state)
{
	struct removal *removal = state;

	if (removal->is_watching)
		jobs_unwatch(&removal->watcher);
	free(removal->endings);
	json_decref(removal->removed);
	json_decref(removal->left);
	walk_free(removal);
}

static void leave(struct removal *removal, const struct job_row *row)
{
	autofree char *message =
		xasprintf("job %llu is %s: stop it first, or --force", (unsigned long long)row->id,
			  job_state_words[row->state]);

	(void)json_array_append_new(removal->left,
				    json_pack("{s:I, s:s, s:s}", "id", (json_int_t)row->id, "state",
					      job_state_words[row->state], "message", message));
}

static void remove_now(struct removal *removal, uint64_t id)
{
	jobs_remove(removal->call->daemon->jobs, id);
	add_id(removal->removed, id);
}

static void finish_removal(struct removal *removal)
{
	if (removal->is_walked && removal->waited_count == 0)
		call_reply(removal->call, json_pack("{s:O, s:O}", "removed", removal->removed,
						    "left", removal->left));
}

static int compare_endings(const void *a, const void *b)
{
	const struct ending_job *left = a, *right = b;

	return left->id > right->id ? -1 : left->id < right->id;
}

static void removal_changed(struct job_watcher *watcher, const struct job_row *row, bool is_removed)
{
	struct removal *removal = watcher->context;
	struct ending_job key = {.id = row->id};
	struct ending_job *job;

	if (removal->waited_count == 0 || (!is_removed && !job_state_is_final(row->state)))
		return;
	job = bsearch(&key, removal->endings, removal->ending_count, sizeof(key), compare_endings);
	if (!job || job->has_ended)
		return;
	job->has_ended = true;
	removal->waited_count--;
	if (!is_removed)
		remove_now(removal, row->id);
	finish_removal(removal);
}

/*
 * A full disk may stay so for long. What was to be removed so far is tried again with the rest of
 * the commit; nothing else is removed, since nobody would hear of it.
 */
static void removal_failed(struct job_watcher *watcher)
{
	const struct removal *removal = watcher->context;
	struct error error = {0};

	(void)error_set(&error, ERROR_STORAGE_FAILED, NULL,
			"%s; %zu of the jobs are removed once that can be stored: remove the "
			"others again, of which %zu were stopped",
			store_error(removal->call->daemon->store),
			json_array_size(removal->removed), removal->waited_count);
	call_error(removal->call, &error);
}

/* Stops it, and then waits for its end. */
static void end_job(struct removal *removal, struct job *job)
{
	size_t count = removal->ending_count;

	assert(count == 0 || removal->endings[count - 1].id > job->row.id);
	jobs_stop(removal->call->daemon->jobs, job, 0);
	removal->endings = xgrow(removal->endings, count, sizeof(*removal->endings));
	removal->endings[removal->ending_count++] = (struct ending_job){.id = job->row.id};
	removal->waited_count++;
}

static int removal_each(const struct job_row *row, void *context)
{
	struct call *call = context;
	struct removal *removal = call->state;
	struct job *job = jobs_find(call->daemon->jobs, row->id);

	if (!job)
		remove_now(removal, row->id);
	else if (removal->is_force)
		end_job(removal, job);
	else
		leave(removal, &job->row);
	return 0;
}

static void removal_done(struct call *call)
{
	struct removal *removal = call->state;

	removal->is_walked = true;
	finish_removal(removal);
}

void method_remove(struct call *call)
{
	struct removal *removal = walk_new(call, sizeof(*removal), removal_free);

	if (!removal)
		return;
	removal->call = call;
	removal->is_force = json_is_true(json_object_get(call->parameters, "force"));
	removal->removed = json_array();
	removal->left = json_array();
	removal->watcher.changed = removal_changed;
	removal->watcher.failed = removal_failed;
	removal->watcher.context = removal;
	if (refuse_empty(call, &removal->walk, "remove") || walk_refuse_tasks(call, "remove"))
		return;
	jobs_watch(call->daemon->jobs, &removal->watcher);
	removal->is_watching = true;
	walk_start(call, removal_each, removal_done);
}

/* --- Adjust --- */

/* -1 where the parameter is absent. */
static int64_t change_of(const struct call *call, const char *parameter)
{
	const json_t *value = json_object_get(call->parameters, parameter);

	return json_is_integer(value) ? json_integer_value(value) : -1;
}

void method_adjust(struct call *call)
{
	uint64_t id = (uint64_t)json_integer_value(json_object_get(call->parameters, "id"));
	struct job *job = jobs_find(call->daemon->jobs, id);
	struct job_changes changes = {
		.name = json_string_value(json_object_get(call->parameters, "name")),
		.parallel = change_of(call, "parallel"),
		.rate = change_of(call, "rate"),
		.deadline_us = change_of(call, "deadlineUsec"),
	};
	struct error error = {0};
	bool is_visible = false;
	struct job_row row;
	char word[24];
	int r = store_read_job(call->daemon->store, id, &row);

	(void)snprintf(word, sizeof(word), "%llu", (unsigned long long)id);
	if (r == 0) {
		is_visible = row.uid == call->uid || call->is_admin;
		job_row_done(&row);
	}
	if (r < 0 && r != -ENOENT) {
		walk_read_failed(call);
	} else if (!is_visible) {
		(void)error_set(&error, ERROR_NO_SUCH_JOB, word,
				"no job %s; `jobctl list` shows yours", word);
		call_error(call, &error);
	} else if (!job) {
		(void)error_set(&error, ERROR_WRONG_STATE, word,
				"job %s has ended: there is nothing left to adjust", word);
		call_error(call, &error);
	} else if (jobs_adjust(call->daemon->jobs, job, &changes, &error) < 0) {
		call_error(call, &error);
	} else {
		call_reply(call, NULL);
	}
}
