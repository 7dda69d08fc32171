/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table itself: making, finding and forgetting jobs, their states, and telling watchers.
 *
 * A change marks its job dirty. At the end of the turn jobs_flush puts the rows of the dirty jobs
 * into the store's queue, and after the commit jobs_committed tells the watchers of what changed
 * since the last one, and lets go of the jobs that have ended.
 */
#include "daemon/jobs-internal.h"

#include "common/log.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/request.h"

#include <assert.h>
#include <ctype.h>

struct jobs *jobs_new(struct event_base *base, struct store *store, struct workers *workers,
		      const struct config *config)
{
	struct jobs *jobs = xcalloc(1, sizeof(*jobs));

	jobs->base = base;
	jobs->store = store;
	jobs->workers = workers;
	jobs->config = config;
	jobs->dispatch = dispatch_new(workers, config, job_next_task, jobs);
	TAILQ_INIT(&jobs->changed);
	TAILQ_INIT(&jobs->told);
	LIST_INIT(&jobs->watchers);
	jobs_prune_configured(jobs);
	return jobs;
}

void jobs_free(struct jobs *jobs)
{
	struct live_job *job;

	if (!jobs)
		return;
	JOB_INDEX_EACH (job, next_id, &jobs->by_id) {
		live_job_free(job);
	}
	dispatch_free(jobs->dispatch);
	event_free(jobs->prune_timer);
	recent_options_forget(&jobs->recent);
	free(jobs->removed);
	free(jobs->arrived);
	free(jobs);
}

void jobs_set_config(struct jobs *jobs, const struct config *config)
{
	jobs->config = config;
	recent_options_forget(&jobs->recent);
	dispatch_set_config(jobs->dispatch, config);
	jobs_prune_configured(jobs);
}

/* --- Finding --- */

struct live_job *live_job_of(struct job *job)
{
	return (struct live_job *)job; /* its first member */
}

struct live_job *live_job_find(struct jobs *jobs, uint64_t id)
{
	return job_index_find(&jobs->by_id, id);
}

struct job *jobs_find(struct jobs *jobs, uint64_t id)
{
	struct live_job *job = live_job_find(jobs, id);

	return job && !job->is_removed && !job_state_is_final(job->job.row.state) ? &job->job
										  : NULL;
}

int jobs_targets(struct jobs *jobs, uint64_t id, struct target_list **ret_targets, char **ret_kind,
		 struct error *ret_error)
{
	const struct job *live = jobs_find(jobs, id);
	struct job_row row;
	int r;

	if (live) {
		*ret_targets = target_list_ref(live->targets);
		if (ret_kind)
			*ret_kind = xstrdup(live->row.kind);
		return 0;
	}
	r = store_read_whole_job(jobs->store, id, &row);
	if (r < 0)
		return r == -ENOENT ? r : store_refuse_read(jobs->store, ret_error);
	r = request_targets(row.targets, UINT32_MAX, ret_targets, ret_error);
	if (r == 0 && ret_kind)
		*ret_kind = xstrdup(row.kind);
	job_row_done(&row);
	return r;
}

bool jobs_is_open(struct jobs *jobs, uint64_t id)
{
	const struct live_job *job = live_job_find(jobs, id);

	return job && !job->is_removed;
}

size_t jobs_live_count(const struct jobs *jobs)
{
	return jobs->live_count;
}

void jobs_each(struct jobs *jobs, void (*fn)(struct job *job, void *context), void *context)
{
	struct live_job *job;

	JOB_INDEX_EACH (job, next_id, &jobs->by_id) {
		if (!job->new_row && !job->is_removed && !job_state_is_final(job->job.row.state))
			fn(&job->job, context);
	}
}

/* --- States --- */

/* The arrows of the diagram in jobs.h, as bits of where each state may go. */
#define TO(state) (1U << (state))
static const unsigned job_transitions[JOB_STATE_COUNT] = {
	[JOB_QUEUED] = TO(JOB_RUNNING) | TO(JOB_PAUSED) | TO(JOB_STOPPING) | TO(JOB_COMPLETED) |
		       TO(JOB_FAILED),
	[JOB_RUNNING] = TO(JOB_PAUSED) | TO(JOB_STOPPING) | TO(JOB_COMPLETED) | TO(JOB_FAILED),
	[JOB_PAUSED] = TO(JOB_QUEUED) | TO(JOB_RUNNING) | TO(JOB_STOPPING) | TO(JOB_COMPLETED) |
		       TO(JOB_FAILED),
	[JOB_STOPPING] = TO(JOB_STOPPED) | TO(JOB_FAILED),
};

void job_mark_dirty(struct live_job *job)
{
	job->is_dirty = true;
	if (job->is_changed)
		return;
	job->is_changed = true;
	TAILQ_INSERT_TAIL(&job->jobs->changed, job, changed_link);
}

static void log_end(const struct job_row *row)
{
	autofree char *id = xasprintf("JOBD_JOB=%llu", (unsigned long long)row->id);
	autofree char *kind = xasprintf("JOBD_KIND=%s", row->kind);
	autofree char *state = xasprintf("JOBD_STATE=%s", job_state_words[row->state]);
	const char *const fields[] = {id, kind, state, NULL};

	log_event(LOG_INFO, fields, "job %llu (%s) %s: %llu succeeded, %llu failed",
		  (unsigned long long)row->id, row->kind, job_state_words[row->state],
		  (unsigned long long)row->counts[TASK_SUCCEEDED],
		  (unsigned long long)row->counts[TASK_FAILED]);
}

void job_set_state(struct live_job *job, enum job_state state)
{
	struct job_row *row = &job->job.row;

	assert(job_transitions[row->state] & TO(state));
	row->state = state;
	if (job_state_is_final(state)) {
		row->ended_us = now_real_us();
		job->jobs->live_count--;
		dispatch_drop(job->jobs->dispatch, &job->source);
		log_end(row);
	}
	job_mark_dirty(job);
}

void job_check_end(struct live_job *job)
{
	const uint64_t *counts = job->job.row.counts;
	enum job_state state = job->job.row.state;

	if (counts[TASK_QUEUED] + counts[TASK_RUNNING] > 0 || job_state_is_final(state))
		return;
	if (state == JOB_STOPPING && !job->job.row.reason)
		job_set_state(job, JOB_STOPPED);
	else if (counts[TASK_FAILED] + counts[TASK_STOPPED] + counts[TASK_INTERRUPTED] > 0)
		job_set_state(job, JOB_FAILED);
	else
		job_set_state(job, state == JOB_STOPPING ? JOB_STOPPED : JOB_COMPLETED);
}

/* --- Making and forgetting --- */

int job_name_check(const char *name, struct error *ret_error)
{
	enum { NAME_MAX_BYTES = 64 };
	size_t size = strlen(name);

	if (size == 0 || size > NAME_MAX_BYTES)
		return error_set(ret_error, ERROR_INVALID_OPTION, "name",
				 "a name has 1 to %d bytes", NAME_MAX_BYTES);
	if (isdigit((unsigned char)name[0]) || strchr("@-", name[0]))
		return error_set(ret_error, ERROR_INVALID_OPTION, "name",
				 "'%s': a name begins with no digit, '@' or '-', so that it is "
				 "never taken for an id",
				 name);
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f || strchr("/*?[],", name[i]))
			return error_set(ret_error, ERROR_INVALID_OPTION, "name",
					 "a name has no blanks and none of / * ? [ ] ,");
	return 0;
}

uint64_t job_parallel(const struct job_options *options)
{
	const struct kind *kind = options->kind;
	uint64_t asked = (uint64_t)options->parallel;
	uint64_t useful = kind->job_parallel ? kind->job_parallel(options->kind_options) : 0;

	if (asked == 0 || useful == 0)
		return asked + useful; /* the one that bounds, if any */
	return asked < useful ? asked : useful;
}

struct live_job *live_job_new(struct jobs *jobs, const struct job_row *row, struct request *request)
{
	struct live_job *job = xcalloc(1, sizeof(*job));
	int64_t age_us = now_real_us() - row->created_us;

	job->jobs = jobs;
	job->job.row = *row;
	job->job.row.kind = (char *)(uintptr_t)request->options->kind->name;
	job->job.row.name = xstrdup_or_null(row->name);
	job->job.row.reason = xstrdup_or_null(row->reason);
	job->job.row.token = job->job.row.options = job->job.row.targets = NULL;
	job->job.row.targets_shown = job->job.row.command_shown = NULL;
	job->job.options = request->options;
	job->job.targets = request->targets;
	request->options = NULL;
	request->targets = NULL;
	/* By the wall clock, since time goes on while jobd is down; while jobd runs, a clock that
	 * is set changes it no more. One that was ahead then makes no job younger than new. */
	job->created_at_us = now_monotonic_us() - (age_us > 0 ? age_us : 0);
	job->source.job = row->id;
	job->source.kind = job->job.options->kind;
	job->source.parallel = job_parallel(job->job.options);
	TAILQ_INIT(&job->running);
	job_set_gate(job);
	job_index_add(&jobs->by_id, job);
	jobs->live_count++;
	return job;
}

static void forget_token(struct live_job *job)
{
	if (!job->token)
		return;
	HASH_DEL(job->jobs->by_token, job->token);
	free(job->token);
	job->token = NULL;
}

void live_job_free(struct live_job *job)
{
	struct jobs *jobs = job->jobs;
	struct skipped_task *skipped, *next_skipped;
	struct live_task *task;

	HASH_ITER (hh, job->skipped, skipped, next_skipped) {
		HASH_DEL(job->skipped, skipped);
		free(skipped);
	}
	if (!job_state_is_final(job->job.row.state))
		jobs->live_count--;
	dispatch_drop(jobs->dispatch, &job->source);
	while ((task = TAILQ_FIRST(&job->running)) || (task = job_first_waiting(job)))
		live_task_free(task);
	free(job->waiting);
	if (job->is_changed)
		TAILQ_REMOVE(&jobs->changed, job, changed_link);
	job_index_remove(&jobs->by_id, job);
	forget_token(job);
	free(job->adjusted);
	if (job->look_timer)
		event_free(job->look_timer);
	if (job->deadline_timer)
		event_free(job->deadline_timer);
	job_options_unref(job->job.options);
	target_list_free(job->job.targets);
	job->job.row.kind = NULL; /* it is the kind's own */
	job_row_done(&job->job.row);
	free(job);
}

static char *token_key(uid_t uid, const char *token)
{
	return xasprintf("%lu:%s", (unsigned long)uid, token);
}

static void note_token(struct live_job *job, const char *token)
{
	autofree char *key = token_key(job->job.row.uid, token);
	size_t size = strlen(key) + 1;

	job->token = xcalloc(1, sizeof(*job->token) + size);
	job->token->job = job;
	memcpy(job->token->key, key, size);
	HASH_ADD_STR(job->jobs->by_token, key, job->token);
}

/* The job that this user already made with this token: 0, -ENOENT, or -EIO and a sentence. */
static int find_token(struct jobs *jobs, const struct job_request *request, uint64_t *ret_id,
		      uint64_t *ret_tasks, struct error *ret_error)
{
	autofree char *key = token_key(request->uid, request->token);
	struct job_token *token = NULL;
	struct job_row row;
	int r;

	HASH_FIND_STR(jobs->by_token, key, token);
	if (token) {
		*ret_id = token->job->job.row.id;
		*ret_tasks = target_list_count(token->job->job.targets);
		return 0;
	}
	r = store_find_token(jobs->store, request->uid, request->token, ret_id);
	if (r == 0)
		r = store_read_job(jobs->store, *ret_id, &row);
	if (r < 0)
		return r == -ENOENT ? r : store_refuse_read(jobs->store, ret_error);
	*ret_tasks = 0;
	for (size_t i = 0; i < TASK_STATE_COUNT; i++)
		*ret_tasks += row.counts[i];
	job_row_done(&row);
	return 0;
}

/* A checked request becomes a job; its row in the store's queue is brought up to date at the end of
 * the turn, when its first tasks have begun. */
static struct live_job *make_job(struct jobs *jobs, const struct job_request *request,
				 struct request *parsed)
{
	struct job_row row = {
		.id = store_next_job(jobs->store),
		.uid = request->uid,
		.kind = (char *)(uintptr_t)parsed->options->kind->name, /* it is copied */
		.name = parsed->name,
		.token = (char *)(uintptr_t)request->token,
		.options = parsed->options_text,
		.targets = parsed->targets_text,
		.targets_shown = parsed->targets_shown,
		.command_shown = parsed->command_shown,
		.retry_of = request->retry_of,
		.schedule = request->schedule,
		.state = JOB_QUEUED,
		.created_us = now_real_us(),
	};
	struct live_job *job;

	row.counts[TASK_QUEUED] = target_list_count(parsed->targets);
	job = live_job_new(jobs, &row, parsed);
	job->new_row = store_put_job(jobs->store, &row);
	if (request->token)
		note_token(job, request->token);
	job_arm_deadline(job);
	job_mark_dirty(job);
	dispatch_ready(jobs->dispatch, &job->source);
	return job;
}

int jobs_check_room(const struct jobs *jobs, struct error *ret_error)
{
	char used[UNITS_TEXT_MAX], most[UNITS_TEXT_MAX];
	int r = store_check_ids(jobs->store, ret_error);

	if (r < 0 || !jobs_are_too_large(jobs))
		return r;
	return error_set(ret_error, ERROR_LIMIT_REACHED, "max-database-size",
			 "the database has %s, and max-database-size in jobd.conf allows %s: "
			 "remove jobs, or raise it",
			 size_text(store_used_bytes(jobs->store), used),
			 size_text(jobs->config->max_database, most));
}

int jobs_start(struct jobs *jobs, const struct job_request *request, uint64_t *ret_id,
	       uint64_t *ret_tasks, bool *ret_is_new, struct error *ret_error)
{
	struct request parsed;
	int r = request->token ? find_token(jobs, request, ret_id, ret_tasks, ret_error) : -ENOENT;

	if (r != -ENOENT) {
		*ret_is_new = false;
		return r;
	}
	if (jobs->live_count >= (size_t)jobs->config->max_live_jobs)
		return error_set(
			ret_error, ERROR_LIMIT_REACHED, "max-live-jobs",
			"%zu jobs have not ended yet, and max-live-jobs in jobd.conf allows "
			"no more: wait for some, or stop some",
			jobs->live_count);
	r = jobs_check_room(jobs, ret_error);
	if (r < 0)
		return r;
	r = request_parse(request, jobs->config, &jobs->recent, &parsed, ret_error);
	if (r < 0)
		return r;
	*ret_id = 0;
	*ret_tasks = target_list_count(parsed.targets);
	*ret_is_new = true;
	if (!request->is_dry_run)
		*ret_id = make_job(jobs, request, &parsed)->job.row.id;
	request_done(&parsed);
	return 0;
}

static void tell_watchers(struct jobs *jobs, const struct job_row *row, bool is_removed)
{
	struct job_watcher *watcher, *next;

	for (watcher = LIST_FIRST(&jobs->watchers); watcher; watcher = next) {
		next = LIST_NEXT(watcher, link);
		watcher->changed(watcher, row, is_removed);
	}
}

void jobs_start_failed(struct jobs *jobs, uint64_t id)
{
	struct live_job *job = live_job_find(jobs, id);

	store_drop_job(jobs->store, id);
	if (!job)
		return;
	dispatch_forget(jobs->dispatch, &job->source);
	live_job_free(job);
	/* Whoever has begun to watch since the commit failed may know of it. */
	tell_watchers(jobs, &(struct job_row){.id = id}, true);
}

static void push_id(uint64_t **ids, size_t *count, uint64_t id)
{
	*ids = xgrow(*ids, *count, sizeof(**ids));
	(*ids)[(*count)++] = id;
}

void jobs_arrived(struct jobs *jobs, uint64_t id)
{
	push_id(&jobs->arrived, &jobs->arrived_count, id);
}

void jobs_remove(struct jobs *jobs, uint64_t id)
{
	struct live_job *job = live_job_find(jobs, id);

	if (job) {
		assert(job_state_is_final(job->job.row.state));
		job->is_removed = true;
		job_mark_dirty(job);
	} else {
		push_id(&jobs->removed, &jobs->removed_count, id);
	}
	store_put_job_removed(jobs->store, id);
}

int jobs_received(struct jobs *jobs, uint64_t id, uint64_t position)
{
	struct live_job *job = live_job_find(jobs, id);
	struct job_row row;
	int r;

	if (store_is_stuck(jobs->store))
		return 0;
	if (job) {
		if (position > job->job.row.received_position) {
			job->job.row.received_position = position;
			/* At once, so that a reading call knows that there is something to wait
			 * for. */
			store_put_job_update(jobs->store, &job->job.row);
		}
		return 0;
	}
	r = store_read_job(jobs->store, id, &row);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (position > row.received_position) {
		row.received_position = position;
		free(row.options); /* as they were */
		row.options = NULL;
		store_put_job_update(jobs->store, &row);
	}
	job_row_done(&row);
	return 0;
}

/* --- The end of a turn --- */

bool jobs_has_changes(const struct jobs *jobs)
{
	return !TAILQ_EMPTY(&jobs->changed) || store_has_changes(jobs->store);
}

/* The row as it is now goes into the store's queue. */
static void put_row(struct live_job *job)
{
	if (job->new_row)
		store_change_new(job->jobs->store, job->new_row, &job->job.row);
	else
		store_put_job_update(job->jobs->store, &job->job.row);
	job->new_row = NULL;
}

bool jobs_flush(struct jobs *jobs)
{
	struct live_job *job;
	bool is_more = false;

	recent_options_forget(&jobs->recent);
	if (!store_error(jobs->store) && !jobs->is_shutting_down)
		is_more = dispatch_take(jobs->dispatch);
	TAILQ_FOREACH (job, &jobs->changed, changed_link) {
		job->job.row.recorded_index = job_recorded_index(job);
		if (job->is_dirty && !job->is_removed)
			put_row(job);
		job->is_dirty = false;
	}
	return is_more;
}

/* Where the commit that should have kept it failed it is not there. */
static void tell_arrived(struct jobs *jobs)
{
	uint64_t *arrived = jobs->arrived;
	size_t count = jobs->arrived_count;
	struct job_row row;

	jobs->arrived = NULL;
	jobs->arrived_count = 0;
	for (size_t i = 0; i < count; i++) {
		if (store_read_job(jobs->store, arrived[i], &row) < 0)
			continue;
		tell_watchers(jobs, &row, false);
		job_row_done(&row);
	}
	free(arrived);
}

void jobs_committed(struct jobs *jobs)
{
	struct live_jobs changed = TAILQ_HEAD_INITIALIZER(changed);
	struct live_job *job;
	uint64_t *removed = jobs->removed;
	size_t removed_count = jobs->removed_count;

	dispatch_hand_over(jobs->dispatch);
	jobs->handed_run = jobs->last_run;
	job_tell_workers(jobs, true);

	/* A watcher may change and remove jobs again: these are for the next commit. */
	jobs->removed = NULL;
	jobs->removed_count = 0;
	TAILQ_CONCAT(&changed, &jobs->changed, changed_link);
	while ((job = TAILQ_FIRST(&changed))) {
		bool is_again = job->is_dirty; /* by what an earlier one led to */

		TAILQ_REMOVE(&changed, job, changed_link);
		job->is_changed = false;
		forget_token(job);
		free(job->adjusted);
		job->adjusted = NULL;
		if (is_again)
			job_mark_dirty(job);
		tell_watchers(jobs, &job->job.row, job->is_removed && !is_again);
		if (job_state_is_final(job->job.row.state) && !job->is_changed)
			live_job_free(job);
	}
	tell_arrived(jobs);
	for (size_t i = 0; i < removed_count; i++)
		tell_watchers(jobs, &(struct job_row){.id = removed[i]}, true);
	free(removed);
}

void jobs_commit_failed(struct jobs *jobs)
{
	struct job_watcher *watcher, *next;

	job_tell_workers(jobs, false);
	for (watcher = LIST_FIRST(&jobs->watchers); watcher; watcher = next) {
		next = LIST_NEXT(watcher, link);
		if (watcher->failed)
			watcher->failed(watcher);
	}
}

void jobs_watch(struct jobs *jobs, struct job_watcher *watcher)
{
	LIST_INSERT_HEAD(&jobs->watchers, watcher, link);
}

void jobs_unwatch(struct job_watcher *watcher)
{
	LIST_REMOVE(watcher, link);
}
