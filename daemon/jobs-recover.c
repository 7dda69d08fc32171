/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a crash or a restart left: jobs that had not ended go on, and each task that was running is
 * settled at once: those that have a row which says so, and those of repeatable kinds that were
 * begun and have none. A ping runs again, it harms nobody. An ssh task runs again where its command
 * had not been sent (the mark is on disk before the command leaves), or where the job says --rerun;
 * otherwise the command may have taken effect, and it becomes `interrupted`. A job whose options no
 * longer hold ends, and says why.
 */
#include "daemon/jobs-internal.h"

#include "common/log.h"
#include "common/util.h"
#include "daemon/request.h"

#include <assert.h>

/* A task that was running at so many ends of jobd may be why: it is not begun again. */
enum { ATTEMPTS_MAX = 32 };

/* Its options no longer hold, for example a credential is gone from jobd.conf: nobody is to wait
 * for it, and jobs_recover ends it when all that was under way is known. */
static void give_up(struct jobs *jobs, const struct job_row *row, const struct error *why)
{
	autofree char *reason =
		xasprintf("it could not go on after a restart of jobd: %s", why->sentence);
	struct job_row given_up = *row;
	struct error error = {0};
	struct request request;

	log_error("job %llu cannot go on: %s", (unsigned long long)row->id, why->sentence);
	if (!given_up.reason && row->state != JOB_STOPPING)
		given_up.reason = reason;
	if (request_restore_bare(row->kind, row->targets, &request, &error) == 0) {
		(void)live_job_new(jobs, &given_up, &request);
		request_done(&request);
	}
	error_done(&error);
}

static int read_job(const struct job_row *row, void *context)
{
	struct jobs *jobs = context;
	struct error error = {0};
	struct request request;

	if (request_restore(row->options, row->targets, row->uid, jobs->config, &request, &error) <
	    0) {
		give_up(jobs, row, &error);
		error_done(&error);
		return 0;
	}
	job_arm_deadline(live_job_new(jobs, row, &request));
	request_done(&request);
	return 0;
}

/* Why a task that was running may not simply run again, or NULL. */
static const char *why_not_again(const struct live_job *job, const struct task_row *row)
{
	if (row->attempts >= ATTEMPTS_MAX + (unsigned)job->job.options->retries)
		return "jobd ended too often while this task ran: it is not begun again";
	if (!row->is_sent || job->job.options->is_rerun)
		return NULL;
	return "jobd ended while the command ran, which may have taken effect: look, and use "
	       "`jobctl retry` (or start with --rerun where running twice is harmless)";
}

static void settle_orphan(struct live_task *task, const struct task_row *row)
{
	struct live_job *job = task->job;
	const char *why = why_not_again(job, row);
	struct outcome outcome = {0};

	if (job->job.row.state == JOB_STOPPING || row->is_unwanted) {
		outcome.state = TASK_STOPPED;
		live_task_end(task, TASK_RUNNING, &outcome, now_real_us());
	} else if (why) {
		outcome.state = TASK_INTERRUPTED;
		outcome.message = xstrdup(why);
		live_task_end(task, TASK_RUNNING, &outcome, now_real_us());
	} else {
		store_put_task_queued(job->jobs->store, row->key, task->failures);
		job_count(job, TASK_RUNNING, TASK_QUEUED, 1);
		live_task_wait(task, 0);
	}
}

static int read_task(const struct task_row *row, void *context)
{
	struct jobs *jobs = context;
	struct live_job *job = live_job_find(jobs, row->key.job);
	struct live_task *task;

	if (!job)
		return 0;
	task = live_task_new(job, row->key.index, 1);
	task->has_row = true;
	task->attempts = row->attempts;
	task->failures = row->failures;
	memcpy(task->offsets, row->output_sizes, sizeof(task->offsets));
	if (row->state == TASK_RUNNING)
		settle_orphan(task, row);
	else
		live_task_wait(task, 0);
	return 0;
}

/* What stands between the rows of a job. */
struct gaps {
	struct live_job *job;
	uint64_t filled; /* up to and without this one */
};

/* Tasks without a row, up to and without `end`: where they were begun, they were running. */
static void settle_gap(struct gaps *gaps, uint64_t end)
{
	struct live_job *job = gaps->job;

	for (; gaps->filled < end && gaps->filled < job->job.row.next_index; gaps->filled++) {
		struct live_task *task = live_task_new(job, (uint32_t)gaps->filled, 1);
		struct task_row row = {
			.key = {.job = job->job.row.id, .index = task->index},
			.attempts = 1,
		};

		task->attempts = row.attempts;
		task->started_us = now_real_us();
		live_task_record(task);
		settle_orphan(task, &row);
	}
}

/* Rows above next_index are of tasks that were stopped before their turn. */
static int read_row(const struct task_row *row, void *context)
{
	struct gaps *gaps = context;

	settle_gap(gaps, row->key.index);
	if (row->key.index >= gaps->job->job.row.next_index)
		job_skip(gaps->job, row->key.index);
	gaps->filled = row->key.index + UINT64_C(1);
	return 0;
}

static int read_rows(struct live_job *job)
{
	struct gaps gaps = {.job = job, .filled = job->job.row.recorded_index};
	int r = store_read_tasks(job->jobs->store, job->job.row.id, (int64_t)gaps.filled - 1,
				 SIZE_MAX, read_row, &gaps);

	if (r == 0)
		settle_gap(&gaps, job->job.row.next_index);
	return r;
}

/* Now that all of it that is under way is here. */
static void go_on(struct live_job *job)
{
	job_set_gate(job);
	job_check_batch(job);
	/* Who has a reason, and is not stopping for it, was given up. */
	if (job->job.row.reason && !job_state_is_final(job->job.row.state) &&
	    job->job.row.state != JOB_STOPPING)
		job_set_state(job, JOB_STOPPING);
	if (job->job.row.state == JOB_STOPPING)
		job_drop_queued(job);
	else if (job->job.row.state != JOB_PAUSED)
		dispatch_ready(job->jobs->dispatch, &job->source);
}

int jobs_recover(struct jobs *jobs, struct error *ret_error)
{
	struct live_job *job;

	if (store_read_live_jobs(jobs->store, read_job, jobs) < 0 ||
	    store_read_live_tasks(jobs->store, read_task, jobs) < 0)
		return store_refuse_read(jobs->store, ret_error);
	JOB_INDEX_EACH (job, next_id, &jobs->by_id) {
		if (read_rows(job) < 0)
			return store_refuse_read(jobs->store, ret_error);
		go_on(job);
	}
	if (jobs->live_count > 0)
		log_info("%zu jobs go on", jobs->live_count);
	return 0;
}
