/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What users and deadlines do to jobs: stop, pause, resume, adjust. */
#include "daemon/jobs-internal.h"

#include "common/util.h"
#include "daemon/request.h"

#include <assert.h>

/* --- Stopping --- */

static void end_as_stopped(struct live_task *task)
{
	struct outcome outcome = {.state = TASK_STOPPED};

	live_task_end(task, TASK_QUEUED, &outcome, now_real_us());
}

void job_skip(struct live_job *job, uint32_t index)
{
	struct skipped_task *skipped = xcalloc(1, sizeof(*skipped));

	skipped->index = index;
	HASH_ADD(hh, job->skipped, index, sizeof(index), skipped);
}

static struct skipped_task *find_skipped(const struct live_job *job, uint32_t index)
{
	struct skipped_task *skipped = NULL;

	HASH_FIND(hh, job->skipped, &index, sizeof(index), skipped);
	return skipped;
}

bool job_take_skipped(struct live_job *job, uint32_t index)
{
	struct skipped_task *skipped = find_skipped(job, index);

	if (!skipped)
		return false;
	HASH_DEL(job->skipped, skipped);
	free(skipped);
	return true;
}

uint32_t job_unskipped(const struct live_job *job, uint32_t index, uint32_t most)
{
	uint32_t count = 0;

	if (HASH_COUNT(job->skipped) == 0)
		return most;
	while (count < most && !find_skipped(job, index + count))
		count++;
	return count;
}

uint64_t job_never_begun(const struct live_job *job)
{
	return target_list_count(job->job.targets) - job->job.row.next_index -
	       HASH_COUNT(job->skipped);
}

/* Stops tasks whose turn has not come: their end is stored now, and picking passes over them. */
static size_t stop_never_begun(struct live_job *job, const uint32_t *indices, size_t count)
{
	struct job_row *row = &job->job.row;
	uint64_t total = target_list_count(job->job.targets);
	int64_t now_us = now_real_us();
	uint32_t stopped = 0;

	for (size_t i = 0; i < count && row->state != JOB_STOPPING; i++) {
		struct task_key key = {.job = row->id, .index = indices[i]};

		if (key.index < row->next_index || key.index >= total ||
		    find_skipped(job, key.index))
			continue;
		job_skip(job, key.index);
		row->last_position = store_next_position(job->jobs->store);
		store_put_task_dropped(job->jobs->store, key, now_us, row->last_position);
		stopped++;
	}
	if (stopped == 0)
		return 0;
	job_count(job, TASK_QUEUED, TASK_STOPPED, stopped);
	job_check_end(job);
	job_check_batch(job);
	return stopped;
}

void job_drop_queued(struct live_job *job)
{
	uint64_t *counts = job->job.row.counts;
	struct live_task *task;

	/* What was begun before has a row, and its end a record; what was never begun has neither.
	 * That goes first: ending the last of the others ends the job. */
	uint64_t never_begun = job_never_begun(job);

	counts[TASK_QUEUED] -= never_begun;
	counts[TASK_STOPPED] += never_begun;
	job_mark_dirty(job);
	while ((task = job_first_waiting(job)))
		end_as_stopped(task);
	job_check_end(job);
}

void jobs_stop(struct jobs *jobs, struct job *public_job, int64_t grace_us)
{
	struct live_job *job = live_job_of(public_job);
	struct live_task *task;

	TAILQ_FOREACH (task, &job->running, link) {
		live_task_stop(task, grace_us);
	}
	if (job->job.row.state == JOB_STOPPING)
		return;
	dispatch_drop(jobs->dispatch, &job->source);
	job_set_state(job, JOB_STOPPING);
	job_drop_queued(job);
}

/* The first that is not below. */
static size_t first_from(const uint32_t *indices, size_t count, uint32_t below)
{
	size_t low = 0;

	while (low < count) {
		size_t middle = (low + count) / 2;

		if (indices[middle] < below)
			low = middle + 1;
		else
			count = middle;
	}
	return low;
}

static size_t stop_running(struct live_job *job, const uint32_t *indices, size_t count,
			   int64_t grace_us)
{
	struct live_task *task;
	size_t stopped = 0;

	TAILQ_FOREACH (task, &job->running, link) {
		size_t at = first_from(indices, count, task->index);

		for (; at < count && indices[at] - task->index < task->count; at++) {
			if (!live_task_has(task, indices[at]))
				continue;
			live_task_stop_target(task, indices[at], grace_us);
			stopped++;
		}
	}
	return stopped;
}

/* Each that ends leaves the heap, so that they are looked up first. */
static size_t stop_waiting(struct live_job *job, const uint32_t *indices, size_t count)
{
	autofree struct live_task **tasks = xcalloc(job->waiting_count, sizeof(struct live_task *));
	size_t found = 0;

	for (size_t place = 1; place <= job->waiting_count; place++) {
		struct live_task *task = job->waiting[place];
		size_t at = first_from(indices, count, task->index);

		if (at < count && indices[at] == task->index)
			tasks[found++] = task;
	}
	for (size_t i = 0; i < found; i++)
		end_as_stopped(tasks[i]);
	return found;
}

size_t jobs_stop_tasks(struct jobs *jobs, struct job *public_job, const uint32_t *indices,
		       size_t count, int64_t grace_us)
{
	struct live_job *job = live_job_of(public_job);
	size_t stopped = stop_running(job, indices, count, grace_us);

	(void)jobs;
	stopped += stop_waiting(job, indices, count);
	return stopped + stop_never_begun(job, indices, count);
}

void jobs_hold(struct job *public_job)
{
	live_job_of(public_job)->holds++;
}

void jobs_let_go(struct jobs *jobs, uint64_t id)
{
	struct live_job *job = live_job_find(jobs, id);

	if (!job || --job->holds > 0)
		return;
	if (job->job.row.state != JOB_QUEUED && job->job.row.state != JOB_RUNNING)
		return;
	/* Marked, so that the turn's end looks for tasks to begin. */
	job_mark_dirty(job);
	dispatch_ready(jobs->dispatch, &job->source);
}

const struct cut_off job_past_deadline = {
	CLASS_TIMEOUT,
	"the job's --deadline passed",
	"the job's --deadline passed while the task ran",
};
const struct cut_off job_over_output = {
	CLASS_OUTPUT_LIMIT,
	"its output reached max-output-per-job of jobd.conf",
	"the output of the job reached max-output-per-job of jobd.conf: write less, or raise it",
};

void job_cut_off(struct live_job *job, const struct cut_off *why)
{
	job->cut_off = why;
	free(job->job.row.reason);
	job->job.row.reason = xstrdup(why->reason);
	jobs_stop(job->jobs, &job->job, 0);
}

/* libevent counts from when its pass began, so that the timer may go off a turn too early; then it
 * is set once more. */
static void on_deadline(evutil_socket_t fd, short what, void *context)
{
	struct live_job *job = context;
	int64_t left_us = job->deadline_at_us - now_monotonic_us();
	const struct timeval delay = timeval_of(left_us);

	(void)fd;
	(void)what;
	if (job_state_is_final(job->job.row.state))
		return;
	if (left_us > 0)
		(void)event_add(job->deadline_timer, &delay);
	else
		job_cut_off(job, &job_past_deadline);
}

void job_arm_deadline(struct live_job *job)
{
	int64_t deadline_us = job->job.options->deadline_us;
	struct timeval delay;

	if (deadline_us == 0) {
		if (job->deadline_timer)
			(void)event_del(job->deadline_timer);
		return;
	}
	job->deadline_at_us = job->created_at_us + deadline_us;
	delay = timeval_of(job->deadline_at_us - now_monotonic_us());
	if (!job->deadline_timer)
		job->deadline_timer = event_new(job->jobs->base, -1, 0, on_deadline, job);
	if (!job->deadline_timer)
		abort();
	(void)event_add(job->deadline_timer, &delay);
}

/* --- Pausing --- */

void jobs_pause(struct jobs *jobs, struct job *public_job)
{
	struct live_job *job = live_job_of(public_job);

	if (job->job.row.state != JOB_QUEUED && job->job.row.state != JOB_RUNNING)
		return;
	dispatch_drop(jobs->dispatch, &job->source);
	job_set_state(job, JOB_PAUSED);
}

void jobs_resume(struct jobs *jobs, struct job *public_job)
{
	struct live_job *job = live_job_of(public_job);

	if (job->job.row.state != JOB_PAUSED)
		return;
	job_set_state(job, job->job.row.started_us == 0 ? JOB_QUEUED : JOB_RUNNING);
	dispatch_ready(jobs->dispatch, &job->source);
}

/* --- Adjusting --- */

static void set_integer(json_t *object, const char *member, int64_t value)
{
	if (value == 0)
		(void)json_object_del(object, member);
	else if (value > 0)
		(void)json_object_set_new(object, member, json_integer(value));
}

/* Start's parameters as they would have been; the caller frees. NULL where they cannot be read. */
static char *changed_parameters(const char *text, const struct job_changes *changes)
{
	json_t *parameters = json_loads(text, 0, NULL);
	char *changed;

	if (!parameters)
		return NULL;
	if (changes->name)
		(void)json_object_set_new(parameters, "name", json_string(changes->name));
	set_integer(parameters, "parallel", changes->parallel);
	set_integer(parameters, "deadlineUsec", changes->deadline_us);
	if (changes->rate >= 0) {
		const char *kind = json_string_value(json_object_get(parameters, "kind"));
		json_t *object = json_object_get(parameters, kind ? kind : "");

		if (!json_is_object(object)) {
			object = json_object();
			(void)json_object_set_new(parameters, kind ? kind : "", object);
		}
		set_integer(object, "rate", changes->rate);
	}
	changed = json_dumps(parameters, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(parameters);
	return changed;
}

/* The store knows nothing yet of an adjustment of the same turn. */
static int read_changed(const struct live_job *job, const struct job_changes *changes,
			char **ret_text)
{
	struct job_row row;
	int r;

	if (job->adjusted) {
		*ret_text = changed_parameters(job->adjusted, changes);
		return 0;
	}
	r = store_read_whole_job(job->jobs->store, job->job.row.id, &row);
	if (r < 0)
		return r;
	*ret_text = changed_parameters(row.options, changes);
	job_row_done(&row);
	return 0;
}

/* Of a job that is being stopped, by its deadline perhaps, nothing would have an effect. */
static int refuse_late(const struct live_job *job, const struct job_changes *changes,
		       struct error *ret_error)
{
	char id[24];

	if (job->job.row.state != JOB_STOPPING ||
	    (changes->parallel < 0 && changes->rate < 0 && changes->deadline_us < 0))
		return 0;
	(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)job->job.row.id);
	return error_set(
		ret_error, ERROR_WRONG_STATE, id,
		"job %s is being stopped%s%s: there is nothing left to adjust but its name", id,
		job->job.row.reason ? ", since " : "",
		job->job.row.reason ? job->job.row.reason : "");
}

int jobs_adjust(struct jobs *jobs, struct job *public_job, const struct job_changes *changes,
		struct error *ret_error)
{
	struct live_job *job = live_job_of(public_job);
	struct job_options *options;
	autofree char *text = NULL;
	int r = refuse_late(job, changes, ret_error);

	if (r < 0)
		return r;
	if (changes->name && (r = job_name_check(changes->name, ret_error)) < 0)
		return r;
	if (read_changed(job, changes, &text) < 0)
		return store_refuse_read(jobs->store, ret_error);
	r = request_options(text ? text : "", job->job.row.uid, jobs->config, &options, ret_error);
	if (r < 0)
		return r;

	if (options->kind->options_inherit)
		options->kind->options_inherit(options->kind_options,
					       job->job.options->kind_options);
	/* Tasks under way keep the options that they began with, but for the job's pace. */
	job_options_unref(job->job.options);
	job->job.options = options;
	job->source.parallel = job_parallel(options);
	workers_adjust(jobs->workers, job->job.row.id, options);
	if (changes->name) {
		free(job->job.row.name);
		job->job.row.name = xstrdup(changes->name);
	}
	if (changes->deadline_us >= 0)
		job_arm_deadline(job);
	job->job.row.options = text;
	store_put_job_update(jobs->store, &job->job.row);
	job->job.row.options = NULL;
	free(job->adjusted);
	job->adjusted = text;
	text = NULL;
	job_mark_dirty(job);
	if (job->job.row.state == JOB_RUNNING || job->job.row.state == JOB_QUEUED)
		dispatch_ready(jobs->dispatch, &job->source);
	return 0;
}
