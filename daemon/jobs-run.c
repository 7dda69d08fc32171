/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way of a task: picked by dispatch, told about by its worker, ended or tried again.
 *
 * A task is picked before the commit and handed over after it, so that what runs was recorded. What
 * a worker must hear back (output is stored, "sent" is stored, stop) is noted in jobs->told and
 * said after the commit, when the worker has the task for certain.
 *
 * Where a kind needs no more than a target's place in the list, a row of them is picked as a span:
 * one struct here and at the worker, and a bit for each.
 */
#include "daemon/jobs-internal.h"

#include "common/log.h"
#include "common/util.h"
#include "daemon/config.h"

#include <assert.h>

enum {
	/* A connection that broke before it took effect is tried again so often, whatever --retries
	 * says: sshd's MaxStartups drops many of a burst. */
	BREAKS_MAX = 10,
	BREAK_DELAY_US = 250000,
	BREAK_DOUBLINGS_MAX = 5,
	RETRY_DOUBLINGS_MAX = 10,
	PACE_BURST_US = 50000,
};

/* --- Live tasks --- */

static struct task_key key_of(const struct live_task *task)
{
	return (struct task_key){.job = task->job->job.row.id, .index = task->index};
}

enum { WORD_BITS = 64 };

/* A bit for each target of a span. */
static size_t words_of(uint32_t count)
{
	return count > 1 ? (count + WORD_BITS - 1) / WORD_BITS : 0;
}

static bool has_bit(const uint64_t *bits, uint32_t place)
{
	return bits[place / WORD_BITS] >> place % WORD_BITS & 1;
}

static void set_bit(uint64_t *bits, uint32_t place)
{
	bits[place / WORD_BITS] |= UINT64_C(1) << place % WORD_BITS;
}

struct live_task *live_task_new(struct live_job *job, uint32_t index, uint32_t count)
{
	struct live_task *task = xcalloc(1, sizeof(*task) + words_of(count) * sizeof(*task->ended));

	task->job = job;
	task->index = index;
	task->count = task->left = count;
	return task;
}

void live_task_record(struct live_task *task)
{
	struct live_job *job = task->job;

	if (task->has_row)
		return;
	assert(task->count == 1);
	store_put_task_started(job->jobs->store, key_of(task), task->attempts, task->started_us);
	task->has_row = true;
	if (task->run == 0)
		return;
	job->unrecorded--;
	/* Behind those without a row, whose first tells job_recorded_index. */
	TAILQ_REMOVE(&job->running, task, link);
	TAILQ_INSERT_TAIL(&job->running, task, link);
}

/* The first target of a span that has not ended. */
static uint32_t first_left(const struct live_task *task)
{
	uint32_t word = 0;

	if (task->count == 1)
		return task->index;
	while (task->ended[word] == UINT64_MAX)
		word++;
	return task->index + word * WORD_BITS + (uint32_t)__builtin_ctzll(~task->ended[word]);
}

uint64_t job_recorded_index(const struct live_job *job)
{
	const struct live_task *task = TAILQ_FIRST(&job->running);

	if (job->unrecorded == 0)
		return job->job.row.next_index;
	while (task->has_row)
		task = TAILQ_NEXT(task, link);
	return first_left(task);
}

static void leave_run(struct live_task *task)
{
	struct jobs *jobs = task->job->jobs;

	if (task->run == 0)
		return;
	TAILQ_REMOVE(&task->job->running, task, link);
	if (!task->has_row)
		task->job->unrecorded -= task->left;
	task->run = 0;
	if (task->is_in_told)
		TAILQ_REMOVE(&jobs->told, task, told_link);
	task->is_in_told = task->is_going = task->is_to_stop = false;
	task->stored_bytes = 0;
}

void live_task_free(struct live_task *task)
{
	leave_run(task);
	job_remove_waiting(task);
	free(task->stops);
	free(task->unwanted);
	free(task);
}

void job_count(struct live_job *job, enum task_state from, enum task_state to, uint32_t tasks)
{
	uint64_t *counts = job->job.row.counts;

	assert(counts[from] >= tasks);
	counts[from] -= tasks;
	counts[to] += tasks;
	job_mark_dirty(job);
}

/* --- Spans --- */

bool live_task_has(const struct live_task *task, uint32_t index)
{
	uint32_t place = index - task->index;

	if (index < task->index || place >= task->count)
		return false;
	return task->count == 1 || !has_bit(task->ended, place);
}

/*
 * A target of a span that has come back as a task of its own, which runs as far as the job knows.
 * The span is freed with its last.
 */
static struct live_task *take_out(struct live_task *span, uint32_t index)
{
	struct live_job *job = span->job;
	struct live_task *task = live_task_new(job, index, 1);
	uint32_t place = index - span->index;

	assert(live_task_has(span, index));
	task->run = span->run;
	task->worker = span->worker;
	task->attempts = span->attempts;
	task->started_us = span->started_us;
	task->is_unwanted = span->unwanted && has_bit(span->unwanted, place);
	TAILQ_INSERT_BEFORE(span, task, link);
	set_bit(span->ended, place);
	if (--span->left == 0)
		live_task_free(span);
	return task;
}

/* --- Waiting for another attempt --- */

static void on_look(evutil_socket_t fd, short what, void *context)
{
	struct live_job *job = context;

	(void)fd;
	(void)what;
	job->look_us = 0;
	/* Marked, so that the turn's end looks for tasks to begin. */
	job_mark_dirty(job);
	dispatch_ready(job->jobs->dispatch, &job->source);
}

/* Looks then for a task that may begin, if not before. */
static void look_at(struct live_job *job, int64_t at_us)
{
	const struct timeval delay = timeval_of(at_us - now_monotonic_us());

	if (job->look_us != 0 && job->look_us <= at_us)
		return;
	if (!job->look_timer)
		job->look_timer = event_new(job->jobs->base, -1, 0, on_look, job);
	if (!job->look_timer)
		abort();
	job->look_us = at_us;
	(void)event_add(job->look_timer, &delay);
}

/* For the first that waits. */
static void look_for_waiting(struct live_job *job)
{
	look_at(job, job_first_waiting(job)->not_before_us);
}

/* --- Pace --- */

/* The time from one task's beginning to the next one's, by the job's rate; 0: none. */
static int64_t step_us(const struct live_job *job)
{
	const struct job_options *options = job->job.options;
	int64_t rate = options->kind->job_rate ? options->kind->job_rate(options->kind_options) : 0;

	return rate > 0 ? US_PER_SEC / rate : 0;
}

/* Is it the job's turn, as its rate has it? Else it looks again when it is. */
static bool has_turn(struct live_job *job)
{
	int64_t now_us = now_monotonic_us(), step = step_us(job);

	/* The rate may have been adjusted. */
	if (job->turn_us > now_us + step)
		job->turn_us = now_us + step;
	if (step == 0 || job->turn_us <= now_us)
		return true;
	look_at(job, job->turn_us);
	return false;
}

/* What a moment of sleep cost is made up for. */
static void take_turn(const struct live_task *task)
{
	struct live_job *job = task->job;
	int64_t earliest_us = now_monotonic_us() - PACE_BURST_US, step = step_us(job);

	assert(step == 0 || task->count == 1);
	job->turn_us = (job->turn_us > earliest_us ? job->turn_us : earliest_us) + step;
}

/* --- Picking --- */

/* How many of those never begun go together, of at most so many. */
static uint32_t span_size(const struct live_job *job, uint32_t most)
{
	const struct job_options *options = job->job.options;
	uint32_t next = (uint32_t)job->job.row.next_index;
	uint64_t allowed = job_before_gate(job);
	char target[TARGET_TEXT_MAX];

	if (allowed < most)
		most = (uint32_t)allowed;
	if (most == 1 || !options->kind->is_plain)
		return 1;
	target_list_text(job->job.targets, next, target);
	return options->kind->is_plain(options, target) ? job_unskipped(job, next, most) : 1;
}

/* Passes over those that were stopped, and where these were all of a batch, into the next one. */
static bool find_never_begun(struct live_job *job)
{
	uint64_t gate;

	do {
		gate = job->gate;
		while (job_take_skipped(job, (uint32_t)job->job.row.next_index))
			job->job.row.next_index++;
		if (job_before_gate(job) > 0)
			return true;
		job_check_batch(job);
	} while (job->gate != gate);
	return false;
}

/* The next one that waits and is due, else some never begun, at most so many, else NULL. */
static struct live_task *pick(struct live_job *job, uint32_t most)
{
	struct job_row *row = &job->job.row;
	struct live_task *task = job_first_waiting(job);

	if (task && task->not_before_us <= now_monotonic_us())
		return task;
	if (!find_never_begun(job)) {
		/* A timer may come a moment early; then it is set once more. */
		if (job_first_waiting(job))
			look_for_waiting(job);
		return NULL;
	}
	task = live_task_new(job, (uint32_t)row->next_index, span_size(job, most));
	row->next_index += task->count;
	return task;
}

/* That a task of a repeatable kind was begun, next_index of the job's row tells, until its end. */
static void note_begun(struct live_task *task)
{
	task->attempts++;
	task->started_us = now_real_us();
	if (task->has_row) {
		store_put_task_started(task->job->jobs->store, key_of(task), task->attempts,
				       task->started_us);
		return;
	}
	task->job->unrecorded += task->count;
	if (!task->job->source.kind->is_repeatable)
		live_task_record(task);
}

/* The one that has the others to the same host, where they must know of each other. */
static unsigned choose_worker(const struct live_job *job, const char *target, unsigned best)
{
	const struct kind *kind = job->source.kind;
	unsigned first, count;
	uint32_t hash = kind->affinity ? kind->affinity(job->job.options->kind_options, target) : 0;

	if (hash == 0)
		return best;
	workers_range(job->jobs->workers, kind, &first, &count);
	return first + hash % count;
}

/* What the worker gets of it. */
static struct task *hand_out(struct live_task *task, unsigned worker)
{
	struct live_job *job = task->job;
	struct job_options *options = job->job.options;
	char target[TARGET_TEXT_MAX];
	struct task *handed;

	if (task->count > 1) {
		handed = task_new_span(key_of(task), task->count, task->run, options,
				       job->job.targets);
		handed->worker = task->worker = worker;
	} else {
		target_list_text(job->job.targets, task->index, target);
		handed = task_new(key_of(task), task->attempts, task->run, options, target);
		handed->worker = task->worker = choose_worker(job, target, worker);
	}
	handed->owner = task;
	return handed;
}

struct task *job_next_task(struct dispatch_source *source, unsigned worker, uint32_t most,
			   void *context)
{
	struct jobs *jobs = context;
	struct live_job *job = live_job_find(jobs, source->job);
	struct live_task *task;

	if (job->holds > 0 ||
	    (job->job.row.state != JOB_QUEUED && job->job.row.state != JOB_RUNNING))
		return NULL;
	task = has_turn(job) ? pick(job, most) : NULL;
	if (!task)
		return NULL;
	take_turn(task);
	job_remove_waiting(task);
	TAILQ_INSERT_TAIL(&job->running, task, link);
	task->run = ++jobs->last_run;
	job_count(job, TASK_QUEUED, TASK_RUNNING, task->count);
	if (job->job.row.started_us == 0)
		job->job.row.started_us = now_real_us();
	if (job->job.row.state == JOB_QUEUED)
		job_set_state(job, JOB_RUNNING);
	note_begun(task);
	return hand_out(task, worker);
}

/* --- Telling workers --- */

static void tell(struct live_task *task)
{
	if (task->is_in_told)
		return;
	task->is_in_told = true;
	TAILQ_INSERT_TAIL(&task->job->jobs->told, task, told_link);
}

void live_task_stop(struct live_task *task, int64_t grace_us)
{
	assert(task->run != 0);
	task->is_to_stop = true;
	task->grace_us = grace_us;
	tell(task);
}

/* Acknowledged, it holds after a crash too. */
static void put_unwanted(const struct live_task *task, uint32_t index)
{
	struct task_key key = {.job = task->job->job.row.id, .index = index};

	store_put_task_unwanted(task->job->jobs->store, key, task->attempts, task->started_us);
}

static void stop_of_span(struct live_task *span, uint32_t index)
{
	uint32_t place = index - span->index;

	if (!span->unwanted)
		span->unwanted = xcalloc(words_of(span->count), sizeof(*span->unwanted));
	if (has_bit(span->unwanted, place))
		return;
	set_bit(span->unwanted, place);
	span->stops = xgrow(span->stops, span->stop_count, sizeof(*span->stops));
	span->stops[span->stop_count++] = index;
	put_unwanted(span, index);
	tell(span);
}

void live_task_stop_target(struct live_task *task, uint32_t index, int64_t grace_us)
{
	assert(live_task_has(task, index));
	/* Its end may be on its way already, and ask for another attempt. */
	if (task->count > 1) {
		stop_of_span(task, index);
	} else {
		if (!task->is_unwanted)
			put_unwanted(task, index);
		task->is_unwanted = true;
		live_task_stop(task, grace_us);
	}
}

/* What holds while commits fail as well. */
static void tell_stops(struct jobs *jobs, struct live_task *task)
{
	if (task->run > jobs->handed_run)
		return;
	if (task->is_to_stop)
		workers_stop(jobs->workers, task->worker, task->run,
			     jobs->is_shutting_down ? STOP_SHUTDOWN : STOP_ASKED, task->grace_us);
	for (size_t i = 0; i < task->stop_count; i++)
		workers_stop_target(jobs->workers, task->worker, task->run, task->stops[i]);
	task->is_to_stop = false;
	task->stop_count = 0;
}

/*
 * After a commit every task that was picked has been handed over. While commits fail, only stopping
 * goes on, for those whose worker has them.
 */
void job_tell_workers(struct jobs *jobs, bool is_stored)
{
	struct live_tasks told = TAILQ_HEAD_INITIALIZER(told);
	struct live_task *task;

	TAILQ_CONCAT(&told, &jobs->told, told_link);
	while ((task = TAILQ_FIRST(&told))) {
		TAILQ_REMOVE(&told, task, told_link);
		task->is_in_told = false;
		if (is_stored && task->is_going)
			workers_go(jobs->workers, task->worker, task->run);
		if (is_stored && task->stored_bytes > 0)
			workers_output_stored(jobs->workers, task->worker, task->run,
					      task->stored_bytes);
		if (is_stored) {
			task->is_going = false;
			task->stored_bytes = 0;
		}
		tell_stops(jobs, task);
		if (task->is_going || task->stored_bytes > 0 || task->is_to_stop ||
		    task->stop_count > 0)
			tell(task);
	}
}

/* --- Reports --- */

static void take_output(struct live_task *task, struct report *report)
{
	struct live_job *job = task->job;
	struct store *store = job->jobs->store;
	uint64_t position = store_next_position(store);
	int64_t most;

	live_task_record(task);
	store_put_output(store, key_of(task), position, report->stream,
			 task->offsets[report->stream], report->at_us, report->bytes, report->size);
	report->bytes = NULL;
	task->offsets[report->stream] += report->size;
	task->stored_bytes += report->size;
	tell(task);
	job->job.row.last_position = position;
	job->job.row.output_bytes += report->size;
	job_mark_dirty(job);
	most = job->jobs->config->max_job_output;
	if (most > 0 && job->job.row.output_bytes > (uint64_t)most && !job->cut_off)
		job_cut_off(job, &job_over_output);
}

void live_task_end(struct live_task *task, enum task_state from, struct outcome *outcome,
		   int64_t at_us)
{
	struct live_job *job = task->job;
	struct store *store = job->jobs->store;
	uint64_t position = store_next_position(store);

	store_put_task_ended(store, key_of(task), task->has_row ? 0 : task->attempts,
			     task->started_us, outcome, at_us, position);
	job->job.row.last_position = position;
	if (outcome->class != CLASS_NONE)
		job->job.row.class_counts[outcome->class]++;
	job_count(job, from, outcome->state, 1);
	live_task_free(task);
	job_check_end(job);
	job_check_batch(job);
}

void live_task_wait(struct live_task *task, int64_t delay_us)
{
	leave_run(task);
	task->not_before_us = now_monotonic_us() + delay_us;
	job_add_waiting(task);
	look_for_waiting(task->job);
}

/* A delay that doubles, give or take a quarter so that a burst does not come back as one. */
static int64_t backed_off(int64_t first_us, unsigned tries, unsigned doublings_max)
{
	unsigned doublings = tries - 1 < doublings_max ? tries - 1 : doublings_max;
	int64_t delay_us = first_us << doublings;
	int64_t spread_us = delay_us / 2;

	if (spread_us > UINT32_MAX - 1)
		spread_us = UINT32_MAX - 1;
	return delay_us - spread_us / 2 + (int64_t)arc4random_uniform((uint32_t)spread_us + 1);
}

static void queue_again(struct live_task *task, int64_t delay_us)
{
	live_task_record(task);
	store_put_task_queued(task->job->jobs->store, key_of(task), task->failures);
	job_count(task->job, TASK_RUNNING, TASK_QUEUED, 1);
	live_task_wait(task, delay_us);
}

/* Its end is what is wanted, whichever it is. */
static bool is_to_end(const struct live_task *task)
{
	return task->is_unwanted || task->job->job.row.state == JOB_STOPPING;
}

/* May this attempt be followed by another? Then it waits for that, and the answer is true. */
static bool try_again(struct live_task *task, const struct outcome *outcome)
{
	const struct job_options *options = task->job->job.options;
	int64_t delay_us;

	if (outcome->state != TASK_FAILED || is_to_end(task))
		return false;
	if (outcome->is_transient && task->breaks < BREAKS_MAX)
		delay_us = backed_off(BREAK_DELAY_US, ++task->breaks, BREAK_DOUBLINGS_MAX);
	else if (task->failures < (unsigned)options->retries)
		delay_us =
			backed_off(options->retry_delay_us, ++task->failures, RETRY_DOUBLINGS_MAX);
	else
		return false;
	queue_again(task, delay_us);
	return true;
}

static void cut_off(struct outcome *outcome, const struct cut_off *why)
{
	outcome->state = TASK_FAILED;
	outcome->class = why->class;
	free(outcome->message);
	outcome->message = xstrdup(why->message);
}

static void take_end(struct live_task *task, struct outcome *outcome, int64_t at_us)
{
	struct live_job *job = task->job;
	struct jobs *jobs = job->jobs;

	dispatch_returned(jobs->dispatch, &job->source, task->worker);
	if (jobs->is_shutting_down && outcome->state == TASK_STOPPED && !is_to_end(task)) {
		/* Its row stays as running: the next start settles it as what a crash left. */
		live_task_record(task);
		live_task_free(task);
		return;
	}
	if (outcome->state == TASK_STOPPED && job->cut_off)
		cut_off(outcome, job->cut_off);
	if (outcome->state == TASK_QUEUED && is_to_end(task))
		outcome->state = TASK_STOPPED;
	if (outcome->state == TASK_QUEUED) {
		task->attempts = 0; /* nothing was tried */
		queue_again(task, 0);
	} else if (!try_again(task, outcome)) {
		live_task_end(task, TASK_RUNNING, outcome, at_us);
	}
}

void jobs_report(struct jobs *jobs, struct report *report)
{
	struct live_task *task = report->owner; /* it stays until the end was reported */

	switch (report->type) {
	case REPORT_OUTPUT:
		take_output(task, report);
		break;
	case REPORT_SENDING:
		store_put_task_sent(jobs->store, key_of(task));
		task->is_going = true;
		tell(task);
		break;
	case REPORT_ENDED:
		take_end(task, &report->outcome, report->at_us);
		break;
	case REPORT_ENDINGS:
		for (size_t i = 0; i < report->ending_count; i++) {
			struct ending *ending = &report->endings[i];

			take_end(take_out(task, ending->index), &ending->outcome, ending->at_us);
		}
		break;
	}
	report_free(report);
}

void jobs_shutdown(struct jobs *jobs)
{
	struct live_job *job;
	struct live_task *task;

	jobs->is_shutting_down = true;
	JOB_INDEX_EACH (job, next_id, &jobs->by_id) {
		dispatch_drop(jobs->dispatch, &job->source);
		TAILQ_FOREACH (task, &job->running, link) {
			live_task_stop(task, 0);
		}
	}
	job_tell_workers(jobs, store_error(jobs->store) == NULL);
}

bool jobs_is_quiet(const struct jobs *jobs)
{
	return dispatch_running(jobs->dispatch) == 0;
}
