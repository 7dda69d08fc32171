/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the job table share: jobs.c and jobs-*.c. */
#pragma once

#include "common/hash.h"
#include "daemon/dispatch.h"
#include "daemon/jobs.h"
#include "daemon/request.h"

#include <event2/event.h>

struct live_job;

/*
 * A task that is in memory: it runs (has a run number), or it waits for another attempt. Tasks that
 * were never begun are only counted. Of a span there is one for all its targets; one that ends
 * becomes a task of its own for what is left to do.
 */
struct live_task {
	TAILQ_ENTRY(live_task) link; /* in job->running, while it runs */
	size_t place;                /* in job->waiting; 0: it is not there */
	struct live_job *job;
	uint64_t run;         /* 0: it does not run */
	uint32_t index;       /* of the first */
	uint32_t count, left; /* targets, and those that have not ended; a span has more than 1 */
	unsigned worker;
	bool has_row;                   /* in the store; or not yet, while it runs */
	bool is_unwanted;               /* somebody stopped it: it is not tried again */
	unsigned attempts;              /* begun so far */
	int64_t started_us;             /* the last of them; real time */
	unsigned failures;              /* that counted against --retries */
	unsigned breaks;                /* transient ones, that did not */
	int64_t not_before_us;          /* monotonic; waiting */
	uint64_t offsets[STREAM_COUNT]; /* bytes of output so far */

	/* What to tell the worker once the commit is done; in jobs->told while any of it is set */
	TAILQ_ENTRY(live_task) told_link;
	bool is_in_told;
	bool is_going; /* "sent" is being stored */
	bool is_to_stop;
	size_t stored_bytes;
	int64_t grace_us;
	uint32_t *stops; /* targets of a span to stop */
	size_t stop_count;

	uint64_t *unwanted; /* bits: targets of a span; or NULL */
	uint64_t ended[];   /* likewise */
};
TAILQ_HEAD(live_tasks, live_task);

/* A task that was stopped before its turn came: picking passes over it. */
struct skipped_task {
	uint32_t index;
	UT_hash_handle hh;
};

/* A job is ended for a reason that makes its running tasks failures, not somebody's wish. */
struct cut_off {
	enum error_class class;
	const char *reason;  /* of the job */
	const char *message; /* of each of these tasks */
};
extern const struct cut_off job_past_deadline, job_over_output;

struct live_job {
	struct job job;
	struct dispatch_source source;
	struct live_tasks running;  /* those without a row by index */
	uint64_t unrecorded;        /* targets in them without a row */
	struct live_task **waiting; /* a heap, waiting[1] the first: jobs-wait.c */
	size_t waiting_count;
	struct skipped_task *skipped;              /* at next_index or above */
	uint64_t gate;                             /* no task at or above begins yet */
	struct event *look_timer, *deadline_timer; /* made when first needed */
	int64_t created_at_us;                     /* monotonic */
	int64_t look_us;        /* when look_timer goes off, monotonic; 0: it is not set */
	int64_t deadline_at_us; /* the same of deadline_timer, where there is one */
	unsigned holds;         /* jobs_hold; more than 0: no task begins */
	int64_t turn_us;        /* by the job's rate, when the next task may begin; monotonic */
	const struct cut_off *cut_off; /* why jobd itself ends it, or NULL */
	bool is_removed;
	struct job_row *new_row; /* in the store's queue, until the end of its turn */
	struct job_token *token; /* until its row is in the store, if it has one */
	char *adjusted;          /* parameters on their way to the store, or NULL */
	TAILQ_ENTRY(live_job) changed_link;
	bool is_changed; /* in jobs->changed */
	bool is_dirty;   /* its row is not in the store's queue yet */
	struct jobs *jobs;
};

/* Which job a user's token has made, while only memory knows. */
struct job_token {
	struct live_job *job;
	UT_hash_handle hh;
	char key[]; /* uid and token */
};

struct job_page;
struct job_index {
	struct job_page **pages; /* ascending */
	size_t count;
};

struct jobs {
	struct event_base *base;
	struct store *store;
	struct dispatch *dispatch;
	struct workers *workers;
	const struct config *config;
	struct recent_options recent;
	struct job_index by_id;
	struct job_token *by_token;
	uint64_t last_run, handed_run; /* up to this one the workers have them */
	size_t live_count;
	TAILQ_HEAD(live_jobs, live_job) changed; /* since the last commit */
	struct live_tasks told;
	LIST_HEAD(, job_watcher) watchers;
	bool is_shutting_down;
	struct event *prune_timer;
	uint64_t pruned; /* jobs, since the start */
	/* Jobs removed long after their end, and such as came ended: watchers are told after the
	 * commit */
	uint64_t *removed, *arrived;
	size_t removed_count, arrived_count;
};

/* jobs.c */
struct live_job *live_job_find(struct jobs *jobs, uint64_t id);
struct live_job *live_job_of(struct job *job);
/* Its row goes to the store and to the watchers with the turn's commit. */
void job_mark_dirty(struct live_job *job);
void job_set_state(struct live_job *job, enum job_state state);
/* Adds a checked job to the table; takes over options and targets of the request. */
struct live_job *live_job_new(struct jobs *jobs, const struct job_row *row,
			      struct request *request);
void live_job_free(struct live_job *job);
/* Tasks at a time, by --parallel and by what the kind says; 0: no bound. */
uint64_t job_parallel(const struct job_options *options);
/* Every task is final: so is the job. */
void job_check_end(struct live_job *job);

/* jobs-run.c */
struct task *job_next_task(struct dispatch_source *source, unsigned worker, uint32_t most,
			   void *context);
/* It neither runs nor waits yet. */
struct live_task *live_task_new(struct live_job *job, uint32_t index, uint32_t count);
void live_task_free(struct live_task *task);
/* Makes the task's row, if it has none. */
void live_task_record(struct live_task *task);
/* All tasks that were begun and are below this have a row. */
uint64_t job_recorded_index(const struct live_job *job);
/* Tasks move from one state to another in their job's counters. */
void job_count(struct live_job *job, enum task_state from, enum task_state to, uint32_t tasks);
/* The task gets its final state, in the store as well, which takes message and result; it is freed.
 */
void live_task_end(struct live_task *task, enum task_state from, struct outcome *outcome,
		   int64_t at_us);
/* It waits for another attempt, for so long. */
void live_task_wait(struct live_task *task, int64_t delay_us);
/* The worker is told to stop it, after the commit. */
void live_task_stop(struct live_task *task, int64_t grace_us);
/* The same of one target of it, which has not ended, and is not tried again however it ends. */
void live_task_stop_target(struct live_task *task, uint32_t index, int64_t grace_us);
/* Is it one, and has not ended? */
bool live_task_has(const struct live_task *task, uint32_t index);
void job_tell_workers(struct jobs *jobs, bool is_stored);

/* jobs-index.c */
struct live_job *job_index_find(const struct job_index *index, uint64_t id);
/* Its id is in its row, and not in the index yet. */
void job_index_add(struct job_index *index, struct live_job *job);
/* One that is in it. */
void job_index_remove(struct job_index *index, const struct live_job *job);
/* The first of this id or above, or NULL. */
struct live_job *job_index_next(const struct job_index *index, uint64_t id);
/* All of them, by id; any may be added or removed meanwhile. */
#define JOB_INDEX_EACH(job, next_id, index) \
	for (uint64_t next_id = 0;          \
	     (job = job_index_next(index, next_id)) && (next_id = job->job.row.id + 1) > 0;)

/* jobs-wait.c */
/* By its not_before_us. */
void job_add_waiting(struct live_task *task);
/* One that does not wait is fine. */
void job_remove_waiting(struct live_task *task);
/* The one that may begin first, of several the one that is first in the list; NULL: none waits. */
struct live_task *job_first_waiting(const struct live_job *job);

/* jobs-batch.c */
/* Where it is by the options, for a job that is new or goes on. */
void job_set_gate(struct live_job *job);
/* So many more tasks may begin, if no other bound holds them back. */
uint64_t job_before_gate(const struct live_job *job);
/* A task has ended: the next batch, or the end of all trying. */
void job_check_batch(struct live_job *job);

/* jobs-prune.c */
/* The settings are there, or have changed. */
void jobs_prune_configured(struct jobs *jobs);
/* Larger than max-database-size: pruning is behind, or there is nothing to prune. */
bool jobs_are_too_large(const struct jobs *jobs);

/* jobs-control.c */
void job_cut_off(struct live_job *job, const struct cut_off *why);
void job_arm_deadline(struct live_job *job);
/* Ends whatever waits or was never begun. */
void job_drop_queued(struct live_job *job);
/* Picking will pass over this task, whose end is already in the store. */
void job_skip(struct live_job *job, uint32_t index);
/* Was it to be passed over? Once. */
bool job_take_skipped(struct live_job *job, uint32_t index);
/* So many tasks from this one on are not to be passed over, of at most so many. */
uint32_t job_unskipped(const struct live_job *job, uint32_t index, uint32_t most);
/* How many tasks were never begun. */
uint64_t job_never_begun(const struct live_job *job);
