/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Wait and Subscribe: what job watchers say, to a client. */
#include "daemon/jobs.h"
#include "daemon/methods.h"
#include "daemon/store.h"
#include "daemon/walk.h"

#include "common/util.h"

/* --- Wait --- */

enum { PROGRESS_US = 200000 };

/* What a job last added to the sums. */
struct waited_job {
	uint64_t id;
	uint64_t counts[TASK_STATE_COUNT];
	bool has_ended;
};

struct waiting {
	struct walk walk;
	struct call *call;
	struct job_watcher watcher;
	bool is_watching, is_walked;
	struct waited_job *jobs; /* that had not ended; ascending by id once walked */
	size_t count;
	size_t selected, ended; /* jobs */
	uint64_t counts[TASK_STATE_COUNT];
	struct event *timeout, *progress;
	bool is_changed; /* since the last progress reply */
};

static void waiting_free(void *state)
{
	struct waiting *waiting = state;

	if (waiting->is_watching)
		jobs_unwatch(&waiting->watcher);
	if (waiting->timeout)
		event_free(waiting->timeout);
	if (waiting->progress)
		event_free(waiting->progress);
	free(waiting->jobs);
	walk_free(waiting);
}

static json_t *sums(const struct waiting *waiting, bool is_end, bool is_timed_out)
{
	json_t *reply = json_pack("{s:I, s:I, s:b, s:b}", "jobs", (json_int_t)waiting->selected,
				  "jobsEnded", (json_int_t)waiting->ended, "isEnd", (int)is_end,
				  "isTimedOut", (int)is_timed_out);
	uint64_t tasks = 0;

	for (size_t i = 0; i < TASK_STATE_COUNT; i++) {
		tasks += waiting->counts[i];
		(void)json_object_set_new(reply, task_state_words[i],
					  json_integer((json_int_t)waiting->counts[i]));
	}
	(void)json_object_set_new(reply, "tasks", json_integer((json_int_t)tasks));
	return reply;
}

static void update(struct waiting *waiting, struct waited_job *job, const uint64_t *counts,
		   bool has_ended)
{
	for (size_t i = 0; i < TASK_STATE_COUNT; i++) {
		waiting->counts[i] += counts[i] - job->counts[i];
		job->counts[i] = counts[i];
	}
	if (has_ended && !job->has_ended)
		waiting->ended++;
	job->has_ended = job->has_ended || has_ended;
}

static int waiting_each(const struct job_row *row, void *context)
{
	struct call *call = context;
	struct waiting *waiting = call->state;
	struct waited_job job = {.id = row->id};

	waiting->selected++;
	update(waiting, &job, row->counts, job_state_is_final(row->state));
	if (job.has_ended)
		return 0;
	waiting->jobs = xgrow(waiting->jobs, waiting->count, sizeof(*waiting->jobs));
	waiting->jobs[waiting->count++] = job;
	return 0;
}

static int compare_waited(const void *a, const void *b)
{
	const struct waited_job *left = a, *right = b;

	return left->id < right->id ? -1 : left->id > right->id;
}

/* True if the call is answered. */
static bool finish_waiting(struct waiting *waiting)
{
	if (waiting->ended < waiting->selected)
		return false;
	call_reply(waiting->call, sums(waiting, true, false));
	return true;
}

static void on_timeout(evutil_socket_t fd, short what, void *context)
{
	struct waiting *waiting = context;

	(void)fd;
	(void)what;
	call_reply(waiting->call, sums(waiting, true, true));
}

static void on_progress(evutil_socket_t fd, short what, void *context)
{
	struct waiting *waiting = context;

	(void)fd;
	(void)what;
	if (waiting->is_changed)
		call_continue(waiting->call, sums(waiting, false, false));
	waiting->is_changed = false;
}

static void arm(struct call *call, struct event **event, event_callback_fn fire, int64_t us)
{
	const struct timeval delay = timeval_of(us);

	if (!*event)
		*event = event_new(call->daemon->base, -1, 0, fire, call->state);
	if (!*event || event_add(*event, &delay) != 0)
		abort();
}

static void waiting_changed(struct job_watcher *watcher, const struct job_row *row, bool is_removed)
{
	struct waiting *waiting = watcher->context;
	struct waited_job key = {.id = row->id};
	struct waited_job *job;

	if (!waiting->is_walked || waiting->count == 0)
		return; /* what changes now, the walk or the next change will show */
	job = bsearch(&key, waiting->jobs, waiting->count, sizeof(key), compare_waited);
	/* How it ended counts, also where it is removed then. */
	if (!job || job->has_ended)
		return;
	update(waiting, job, row->counts, is_removed || job_state_is_final(row->state));
	if (finish_waiting(waiting) || !waiting->call->is_more)
		return;
	if (!waiting->is_changed)
		arm(waiting->call, &waiting->progress, on_progress, PROGRESS_US);
	waiting->is_changed = true;
}

static void waiting_done(struct call *call)
{
	static const uint64_t none[TASK_STATE_COUNT];
	struct waiting *waiting = call->state;
	int64_t timeout_us = json_integer_value(json_object_get(call->parameters, "timeoutUsec"));

	if (waiting->count > 0)
		qsort(waiting->jobs, waiting->count, sizeof(*waiting->jobs), compare_waited);
	waiting->is_walked = true;
	/* What ended while the walk went on. */
	for (size_t i = 0; i < waiting->count; i++) {
		struct waited_job *job = &waiting->jobs[i];
		struct job_row row;
		int r;

		if (job->has_ended || jobs_find(call->daemon->jobs, job->id))
			continue;
		r = store_read_job(call->daemon->store, job->id, &row);
		if (r < 0 && r != -ENOENT) {
			walk_read_failed(call);
			return;
		}
		/* It was removed as well, which nobody tells of again. */
		if (r < 0) {
			update(waiting, job, none, true);
			continue;
		}
		update(waiting, job, row.counts, job_state_is_final(row.state));
		job_row_done(&row);
		/* What jobd did not go on with, since it stores nothing, never ends. */
		if (!job->has_ended && !jobs_is_open(call->daemon->jobs, job->id) &&
		    store_error(call->daemon->store)) {
			call_storage_failed(call);
			return;
		}
	}
	if (finish_waiting(waiting))
		return;
	if (call->is_more)
		call_continue(call, sums(waiting, false, false));
	if (json_is_integer(json_object_get(call->parameters, "timeoutUsec")))
		arm(call, &waiting->timeout, on_timeout, timeout_us > 0 ? timeout_us : 0);
}

void method_wait(struct call *call)
{
	struct waiting *waiting = walk_new(call, sizeof(*waiting), waiting_free);

	if (!waiting || walk_refuse_tasks(call, "wait for"))
		return;
	waiting->call = call;
	waiting->watcher.changed = waiting_changed;
	waiting->watcher.context = waiting;
	jobs_watch(call->daemon->jobs, &waiting->watcher);
	waiting->is_watching = true;
	walk_start(call, waiting_each, waiting_done);
}

/* --- Subscribe --- */

struct subscription {
	struct walk walk;
	struct call *call;
	struct job_watcher watcher;
	bool is_watching;
};

static void subscription_free(void *state)
{
	struct subscription *subscription = state;

	if (subscription->is_watching)
		jobs_unwatch(&subscription->watcher);
	walk_free(subscription);
}

static void say(struct call *call, const struct job_row *row, bool is_removed)
{
	call_continue(call, json_pack("{s:o, s:b}", "job", view_job(row, false), "isRemoved",
				      (int)is_removed));
}

static int subscription_each(const struct job_row *row, void *context)
{
	say(context, row, false);
	return 0;
}

static void subscription_changed(struct job_watcher *watcher, const struct job_row *row,
				 bool is_removed)
{
	struct subscription *subscription = watcher->context;
	struct job_row whole;
	int r;

	if (is_removed) {
		/* What is left of a removed job is its id, and for a moment its row. */
		struct job_row gone = *row;

		gone.kind = row->kind ? row->kind : (char *)(uintptr_t) "";
		if (!row->kind || selection_matches(subscription->walk.selection, row))
			say(subscription->call, &gone, true);
		return;
	}
	if (!selection_matches(subscription->walk.selection, row))
		return;
	r = store_read_job(subscription->call->daemon->store, row->id, &whole);
	if (r < 0) {
		if (r != -ENOENT)
			walk_read_failed(subscription->call);
		return;
	}
	say(subscription->call, &whole, false);
	job_row_done(&whole);
}

/* Never answered: the client ends it by leaving. */
static void subscription_done(struct call *call)
{
	(void)call;
}

void method_subscribe(struct call *call)
{
	struct subscription *subscription =
		walk_new(call, sizeof(*subscription), subscription_free);

	if (!subscription)
		return;
	subscription->call = call;
	subscription->watcher.changed = subscription_changed;
	subscription->watcher.context = subscription;
	jobs_watch(call->daemon->jobs, &subscription->watcher);
	subscription->is_watching = true;
	walk_start(call, subscription_each, subscription_done);
}
