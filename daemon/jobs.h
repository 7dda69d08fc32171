/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The job table and THE state machine; the only writer of states. Main thread.
 *
 *              start                 first task              every task final
 *   (none) ----------> JOB_QUEUED ----------------> JOB_RUNNING ------------------> JOB_COMPLETED
 *                        |  ^                         |  ^  |                         or JOB_FAILED
 *                  pause |  | resume            pause |  |  | stop, deadline
 *                        v  |                         v  |  v
 *                      JOB_PAUSED ------ stop -----> JOB_STOPPING --- every task final --->
 * JOB_STOPPED
 *
 *   A paused job whose last running task ends with nothing queued is final like a running one.
 *   Task: queued -> running -> succeeded | failed | stopped; running -> queued (a retry, or an
 * orphan whose command was not sent); running -> interrupted (an orphan whose command was sent).
 *
 * Jobs that have not ended are in memory as well (struct job); the rest is in the store alone, so
 * memory does not grow with history. Every change is put into the store first; what follows from it
 * (starting tasks, telling watchers) happens in jobs_committed.
 */
#pragma once

#include "common/error.h"
#include "common/targets.h"
#include "daemon/store.h"
#include "daemon/task.h"

#include <jansson.h>

struct config;
struct dispatch;
struct event_base;
struct jobs;
struct workers;

/* A job that has not ended. Others read it; only this room writes it. */
struct job {
	struct job_row row; /* token, options, targets and what is shown of these are kept in the
			       store only: NULL here */
	struct job_options *options;
	struct target_list *targets;
};

/* All of these outlive the table; config may be replaced on reload. */
struct jobs *jobs_new(struct event_base *base, struct store *store, struct workers *workers,
		      const struct config *config);
void jobs_free(struct jobs *jobs);
void jobs_set_config(struct jobs *jobs, const struct config *config);

/*
 * Reads back what had not ended, and settles each orphan: ping again, ssh again where nothing was
 * sent, else interrupted (or again with --rerun). A job whose options no longer hold ends. 0 or a
 * negative errno.
 */
int jobs_recover(struct jobs *jobs, struct error *ret_error);

/* What Start asks for; strings and JSON are the caller's. */
struct job_request {
	uid_t uid;
	bool is_trusted;          /* may name files for jobd to read */
	bool is_dry_run;          /* is checked, and nothing comes of it */
	const char *token;        /* or NULL */
	const json_t *parameters; /* of Start, whole */
	uint64_t retry_of;        /* 0: none */
	uint64_t schedule;        /* whose run it is; 0: none's */
};
/*
 * Checks everything, then makes the job. *ret_id and *ret_tasks; *ret_is_new is false where the
 * token was known. The id may be told after the commit only; that of a dry run is 0.
 */
int jobs_start(struct jobs *jobs, const struct job_request *request, uint64_t *ret_id,
	       uint64_t *ret_tasks, bool *ret_is_new, struct error *ret_error);
/* The commit that should have kept it failed: as if it had never been. */
void jobs_start_failed(struct jobs *jobs, uint64_t id);

/* A job that has not ended, or NULL. */
struct job *jobs_find(struct jobs *jobs, uint64_t id);
/* The targets of a job, those in memory where it goes on, and its kind (NULL: it is not asked for);
 * the caller frees both. 0, -ENOENT, or ERROR_STORAGE_FAILED. */
int jobs_targets(struct jobs *jobs, uint64_t id, struct target_list **ret_targets, char **ret_kind,
		 struct error *ret_error);
/* It has not ended, or its end, and what came with it, is not stored yet. */
bool jobs_is_open(struct jobs *jobs, uint64_t id);
size_t jobs_live_count(const struct jobs *jobs);
/* How many jobs jobd removed by itself since its start (keep-finished, max-database-size,
 * --keep-last of a schedule). */
uint64_t jobs_pruned(const struct jobs *jobs);
/* Calls fn for every live job that is stored, in order of id. */
void jobs_each(struct jobs *jobs, void (*fn)(struct job *job, void *context), void *context);

/* All are fine with a job that is already there (stop a stopping one, ...). */
void jobs_stop(struct jobs *jobs, struct job *job, int64_t grace_us);
/* Some tasks, ascending: returns how many of them had not ended. */
size_t jobs_stop_tasks(struct jobs *jobs, struct job *job, const uint32_t *indices, size_t count,
		       int64_t grace_us);
/* No task of it begins until as many times it was let go of, which is fine where it has ended. */
void jobs_hold(struct job *job);
void jobs_let_go(struct jobs *jobs, uint64_t id);
void jobs_pause(struct jobs *jobs, struct job *job);
void jobs_resume(struct jobs *jobs, struct job *job);
struct job_changes {
	const char *name;    /* NULL: as it is */
	int64_t parallel;    /* -1: as it is */
	int64_t rate;        /* -1: as it is */
	int64_t deadline_us; /* -1: as it is; 0: none */
};
/* Of a stopping job only the name: else WrongState. */
int jobs_adjust(struct jobs *jobs, struct job *job, const struct job_changes *changes,
		struct error *ret_error);
/* A job that has ended, and whose row was queued just now: watchers are told with the commit. */
void jobs_arrived(struct jobs *jobs, uint64_t id);
/* Of an ended job; a live one must be stopped first. Takes effect with the commit. */
void jobs_remove(struct jobs *jobs, uint64_t id);
/* The same, by jobd itself: jobs_pruned counts it. False where it is being removed already. */
bool jobs_prune(struct jobs *jobs, uint64_t id);
/* The usual cursor of the owner moved: keeps the job's row in step, unless the store is stuck. 0,
 * or the errno of a failed read. */
int jobs_received(struct jobs *jobs, uint64_t id, uint64_t position);

/* 0, or ERROR_LIMIT_REACHED: may there be another job? */
int jobs_check_room(const struct jobs *jobs, struct error *ret_error);
/* 0, or ERROR_INVALID_OPTION: may a job be called so? */
int job_name_check(const char *name, struct error *ret_error);

/* --- From dispatch and main --- */

/* What a worker says; the report is taken over. */
void jobs_report(struct jobs *jobs, struct report *report);
/*
 * The end of a turn, if jobs_has_changes. jobs_flush, right before store_commit: picks the tasks
 * that begin (none while the store is failing) and puts changed job rows into the queue; true where
 * more tasks could begin at once. jobs_committed, after it: lets tasks run, acknowledges output,
 * tells watchers. jobs_commit_failed instead: only stops what is to stop, and tells watchers that.
 */
bool jobs_has_changes(const struct jobs *jobs);
bool jobs_flush(struct jobs *jobs);
void jobs_committed(struct jobs *jobs);
void jobs_commit_failed(struct jobs *jobs);
/* jobd ends: no more tasks start, the running ones are called back; the next start settles them. */
void jobs_shutdown(struct jobs *jobs);
/* Every task has come back. */
bool jobs_is_quiet(const struct jobs *jobs);

/* --- Watchers: told once a commit for each job that changed (records, counters, state) --- */

struct job_watcher {
	LIST_ENTRY(job_watcher) link;
	/* row as committed; is_removed: it is gone. Must not free watchers other than itself. */
	void (*changed)(struct job_watcher *watcher, const struct job_row *row, bool is_removed);
	/* A commit failed, and is tried again later; NULL: the owner goes on waiting. The same
	 * holds for it. */
	void (*failed)(struct job_watcher *watcher);
	/* The fields the owner needs */
	void *context;
};
void jobs_watch(struct jobs *jobs, struct job_watcher *watcher);
void jobs_unwatch(struct job_watcher *watcher);
