/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A job in batches, so that a bad change stops after a few devices. No task begins above the gate;
 * it opens for the next batch when every task below has ended. Where more tasks failed than the job
 * allows (of the canaries none, unless it says otherwise), it gives up: what runs goes on to its
 * own end, since half a change is worse, and nothing else is tried.
 */
#include "daemon/jobs-internal.h"

#include "common/units.h"
#include "common/util.h"

static uint64_t batch_size(const struct live_job *job)
{
	uint64_t count = target_list_count(job->job.targets);
	uint64_t size = share_of(&job->job.options->batch, count);

	if (job->job.options->batch.number == 0)
		return count;
	return size > 0 ? size : 1;
}

void job_set_gate(struct live_job *job)
{
	uint64_t canary = (uint64_t)job->job.options->canary;
	uint64_t size = batch_size(job);

	job->gate = canary > 0 ? canary : size;
	while (job->gate < job->job.row.next_index)
		job->gate += size;
}

uint64_t job_before_gate(const struct live_job *job)
{
	uint64_t end = target_list_count(job->job.targets), next = job->job.row.next_index;

	if (end > job->gate)
		end = job->gate;
	return end > next ? end - next : 0;
}

/* How many tasks may fail before the job gives up. */
static uint64_t failures_allowed(const struct live_job *job)
{
	const struct job_options *options = job->job.options;

	if (options->failures_max.number >= 0)
		return share_of(&options->failures_max, target_list_count(job->job.targets));
	return job->gate == (uint64_t)options->canary ? 0 : UINT64_MAX;
}

static void give_up(struct live_job *job, uint64_t failures)
{
	const char *option =
		job->job.options->failures_max.number >= 0 ? "--max-failures" : "--canary";

	free(job->job.row.reason);
	job->job.row.reason =
		xasprintf("%llu of the first %llu tasks failed (%s): %llu were not tried",
			  (unsigned long long)failures, (unsigned long long)job->job.row.next_index,
			  option, (unsigned long long)job_never_begun(job));
	dispatch_drop(job->jobs->dispatch, &job->source);
	job_set_state(job, JOB_STOPPING);
	job_drop_queued(job);
}

void job_check_batch(struct live_job *job)
{
	const uint64_t *counts = job->job.row.counts;
	uint64_t failures = counts[TASK_FAILED] + counts[TASK_INTERRUPTED];
	enum job_state state = job->job.row.state;

	if (job_state_is_final(state) || state == JOB_STOPPING || job_never_begun(job) == 0)
		return;
	if (failures > failures_allowed(job)) {
		give_up(job, failures);
	} else if (job_before_gate(job) == 0 && counts[TASK_RUNNING] == 0 &&
		   job->waiting_count == 0) {
		job->gate += batch_size(job);
		if (state != JOB_PAUSED)
			dispatch_ready(job->jobs->dispatch, &job->source);
	}
}
