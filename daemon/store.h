/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What survives: jobs, tasks, results and reading positions, in one SQLite file. The only file that
 * includes sqlite3.h. Main thread.
 *
 * Writing is two steps. store_put_* queue a change in memory (and cannot fail); store_commit
 * applies the whole queue in one transaction with synchronous=FULL, so that one fsync serves
 * everything that happened meanwhile. If it fails (disk full), the transaction is rolled back and
 * the queue stays as it was: nothing is half done, and a later store_commit tries again. Only a new
 * job can be taken back out of the queue (store_drop_job), so that a client can be told that it was
 * not made.
 *
 * Reading sees what was committed, never the queue. Reads are by page, on indexes only (a test
 * reads the query plan of every statement).
 *
 * Schema (user_version 3; store-schema.c). Tasks have a row from their first start on, or those of
 * a kind that is repeatable from their end (or first output) on; the others are computed from the
 * job's row. A record is a piece of output or the end of a task; positions grow by one and are
 * never used again, so that a reading position is one number. Schedules take their ids from the
 * same row of numbers as jobs, so that no number means two things.
 *   meta      the next id and the next position
 *   job       (id, uid, kind, name, token, state, counters, times, next_index, schedule, ...): a
 *             short row, since it is written anew with every commit in which one of its tasks
 *             begins or ends
 *   request   (job, options, targets): what was asked for, as long as a message may be
 *   task      (key = job << 32 | index, state, class, attempts, is_sent, times, sizes, message,
 *             result); until it ends, ended_us is how many of its attempts count against its
 *             retries, or -1 where it is asked to stop: few tasks have any of that, and a column
 *             of their own is a byte of every task
 *   record    (position, job, index, stream or none for the end, offset, at, bytes)
 *   cursor    (job, uid, name, position)
 *   removed   (job): removed jobs whose rows are still being deleted, piece by piece, and such as
 *             are being imported
 *   schedule  (id, uid, name, token, options, targets, rule, next_us, last_job, counters, ...)
 */
#pragma once

#include "common/error.h"
#include "common/states.h"
#include "daemon/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct store;

/*
 * Opens or makes the file and takes the lock on it. Failures are told in *ret_error as
 * ERROR_STORAGE_FAILED with a sentence: the folder cannot be written, another jobd has it (flock on
 * the file's "-lock" neighbour), it is no database, it is of a newer version. -EUCLEAN: trying
 * again brings nothing, since the file is damaged or no database.
 */
int store_open(const char *path, struct store **ret_store, struct error *ret_error);
/* What is still queued is lost: commit first. */
void store_close(struct store *store);

bool store_has_changes(const struct store *store);
size_t store_queued_bytes(const struct store *store);
/* So much is queued that its commit takes tens of ms: it should not become more. */
bool store_is_full(const struct store *store);
/* ... and commits fail. Clients are still read to, as often as they like: what they received is not
 * queued, and given again. */
bool store_is_stuck(const struct store *store);
/*
 * 0, or -ENOSPC, -EIO, -EROFS, ...: see store_error for the sentence. An empty queue is fine: after
 * a failure it tries whether the disk takes changes again. -ESTALE: the file was removed or
 * replaced, so that what is written to the open one would be lost with this process.
 */
int store_commit(struct store *store);
/* When whoever waited for the commit has been told: what is in the log goes into the file, where it
 * is much. What fails is tried again after the next commit. */
void store_checkpoint(struct store *store);
/* NULL while the last commit succeeded, else a sentence for people. */
const char *store_error(const struct store *store);
/* The sentence of the last read (or piece of upkeep) that failed, or NULL, and how many did. */
const char *store_read_error(const struct store *store, uint64_t *ret_failures);
/* The same for whoever asked, right after it failed: returns -EIO. */
int store_refuse_read(const struct store *store, struct error *ret_error);
/* Was that since the file is damaged? */
bool store_is_damaged(const struct store *store);
/*
 * Nothing is written any more, since what a read that failed should have given would be needed for
 * that: what is queued is dropped, and each commit fails with that sentence. Reads go on.
 */
void store_stop_writing(struct store *store);
/* How long the last commit waited for the disk, beside the work of applying its changes. */
int64_t store_sync_us(const struct store *store);
uint64_t store_commits(const struct store *store);
int64_t store_bytes(const struct store *store);

/* A job's row. Strings are the owner's of the struct; job_row_done frees them after a read. */
struct job_row {
	uint64_t id;
	uid_t uid;
	char *kind;
	char *name;    /* or NULL */
	char *token;   /* or NULL */
	char *options; /* JSON text: the parameters of Start without targets, exclude and token */
	char *targets; /* JSON text: {"targets": [...], "exclude": [...]} */
	char *reason;  /* why jobd itself ended it before all tasks were tried, or NULL */
	/* Where these two JSON texts are long: what a list shows of them, or NULL. Where the first
	 * is, options and targets are read on demand only. */
	char *targets_shown, *command_shown;
	uint64_t retry_of; /* 0: none */
	uint64_t schedule; /* whose run it is; 0: none's */
	enum job_state state;
	uint64_t counts[TASK_STATE_COUNT]; /* by task state; their sum is the number of tasks */
	uint32_t class_counts[ERROR_CLASS_COUNT]; /* of its tasks, by error class */
	uint64_t next_index;        /* tasks below have been begun at least once (or dropped) */
	uint64_t recorded_index;    /* <= next_index; tasks below have a row */
	uint64_t last_position;     /* of the job's newest record; 0: none */
	uint64_t received_position; /* of the owner's usual cursor */
	uint64_t output_bytes;      /* of all its tasks */
	int64_t created_us, started_us, ended_us; /* 0: not yet */
};
/* Its strings as well. */
void job_row_copy(const struct job_row *row, struct job_row *ret_copy);
void job_row_done(struct job_row *row);

/* --- Changes --- */

/* 0, or ERROR_LIMIT_REACHED: is there another id? */
int store_check_ids(const struct store *store, struct error *ret_error);
/* The next free id, where there is one; never given twice, over restarts too. */
uint64_t store_next_job(struct store *store);
/* The next free position. */
uint64_t store_next_position(struct store *store);
/* Copies the row. Until the next commit store_change_new may say what has become of the copy. */
struct job_row *store_put_job(struct store *store, const struct job_row *row);
/* All but the texts that it had from the start: of these only a reason may come. */
void store_change_new(struct store *store, struct job_row *put, const struct job_row *row);
/* State, counters, positions, times, next_index, and name and options where not NULL. */
void store_put_job_update(struct store *store, const struct job_row *row);
/* Takes a queued store_put_job and everything about that job out of the queue, that it is a
 * schedule's run included. */
void store_drop_job(struct store *store, uint64_t id);
/* The job vanishes from every read with the commit; its rows go later, by store_reap. */
void store_put_job_removed(struct store *store, uint64_t id);
/* A job that arrives piece by piece: it is removed first, so that what is there of it is reaped
 * after a crash, and kept with the commit that puts its row. */
void store_put_job_kept(struct store *store, uint64_t id);

/* A task begins an attempt (a row is made at the first). */
void store_put_task_started(struct store *store, struct task_key key, unsigned attempt,
			    int64_t started_us);
/* Its command is about to be sent. */
void store_put_task_sent(struct store *store, struct task_key key);
/* One that runs is asked to stop, by itself. attempt, started_us: where it has no row. */
void store_put_task_unwanted(struct store *store, struct task_key key, unsigned attempt,
			     int64_t started_us);
/* Back to queued: a retry, or orphaned before anything was sent. failures: of its attempts so far,
 * those that count against its retries. */
void store_put_task_queued(struct store *store, struct task_key key, unsigned failures);
/* Final; also writes the record of its end at position. Takes over message and result. attempt,
 * started_us: where store_put_task_started was never called for it; 0 where it was. */
void store_put_task_ended(struct store *store, struct task_key key, unsigned attempt,
			  int64_t started_us, struct outcome *outcome, int64_t ended_us,
			  uint64_t position);
/* The same of one that was stopped before it was begun: it has no row. */
void store_put_task_dropped(struct store *store, struct task_key key, int64_t at_us,
			    uint64_t position);
/* Takes over bytes. */
void store_put_output(struct store *store, struct task_key key, uint64_t position,
		      enum stream stream, uint64_t offset, int64_t at_us, char *bytes, size_t size);
/*
 * The cursor named name ("" is the usual one) of uid in a job; never moves backwards. In job 0: in
 * none of the jobs of uid there is anything up to here that it was not moved over. That is only a
 * way past what was read: it may lag, and goes once all records are above it. A user has a hundred
 * of them at most: the one that is furthest behind goes. Where the store is stuck it is not queued.
 */
void store_put_cursor(struct store *store, uid_t uid, const char *name, uint64_t job,
		      uint64_t position);

/* --- Reads: 0 or a negative errno; callbacks return 0 to go on, else reading stops with 0 --- */

/* Which jobs; zero or NULL members do not filter. */
struct job_filter {
	bool has_uid;
	uid_t uid;
	uint64_t schedule; /* runs of this one */
	const char *kind;
	const char *name_glob;   /* as GLOB of SQLite: * ? [ ] */
	uint64_t id_min, id_max; /* 0: open */
	unsigned states;         /* bits 1 << JOB_... */
	int64_t since_us, until_us;
	bool has_unreceived; /* last_position > received_position */
	bool is_whole;       /* no filter: each row with options and targets, also long ones */
};
typedef int job_row_fn(const struct job_row *row, void *context);
/*
 * Newest first, ids below before (0: all), at most limit. Where many are passed over, or much is
 * read of them, it ends early: *ret_next is where to go on, as before; 0 at the end, and where fn
 * had enough.
 */
int store_read_jobs(struct store *store, const struct job_filter *filter, uint64_t before,
		    size_t limit, job_row_fn *fn, void *context, uint64_t *ret_next);
/* 1 where a user has so many jobs or more, else 0, or a negative errno. It counts them. */
int store_has_jobs(struct store *store, uid_t uid, uint64_t count);
/* -ENOENT where there is none (or it was removed). Without options and targets where these are long
 * (there is targets_shown). */
int store_read_job(struct store *store, uint64_t id, struct job_row *ret_row);
/* With them. */
int store_read_whole_job(struct store *store, uint64_t id, struct job_row *ret_row);
int store_find_token(struct store *store, uid_t uid, const char *token, uint64_t *ret_id);
/* Jobs that have not ended, whole, oldest first. */
int store_read_live_jobs(struct store *store, job_row_fn *fn, void *context);

/* A job that has ended, as far as pruning wants to know. */
struct ended_row {
	uint64_t id;
	int64_t ended_us;
	bool is_received; /* wholly, by its owner */
	int64_t bytes;    /* of the database that its rows take, at most */
};
typedef int ended_row_fn(const struct ended_row *row, void *context);
/* Those that ended before that time (and were received), the first first, at most limit. Where the
 * disk fails some may have been given already. */
int store_read_ended(struct store *store, bool is_received, int64_t before_us, size_t limit,
		     ended_row_fn *fn, void *context);

struct task_row {
	struct task_key key;
	enum task_state state;
	enum error_class class;
	unsigned attempts;
	unsigned failures; /* of one that has not ended: attempts that count against its retries */
	bool is_unwanted;  /* that has not ended, and is asked to stop */
	bool is_sent;
	int64_t started_us, ended_us;
	uint64_t output_sizes[STREAM_COUNT]; /* bytes stored so far */
	const char *message, *result;        /* or NULL; until the callback returns */
};
typedef int task_row_fn(const struct task_row *row, void *context);
/* Of one job, by index above after (-1: all), at most limit rows. -ENOENT where there is no such
 * job, or none any more. */
int store_read_tasks(struct store *store, uint64_t job, int64_t after, size_t limit,
		     task_row_fn *fn, void *context);
/* Rows in state queued or running, of all jobs: proportional to these only. */
int store_read_live_tasks(struct store *store, task_row_fn *fn, void *context);

struct record_row {
	uint64_t position;
	struct task_key key;
	int64_t at_us;
	bool is_end;
	/* Output */
	enum stream stream;
	uint64_t offset;
	const char *bytes; /* until the callback returns */
	size_t size;
	/* The end: the task's row as it is now */
	struct task_row task;
};
typedef int record_row_fn(const struct record_row *row, void *context);
/*
 * Records of one job with after < position <= until (0: no end), by position, at most limit records
 * and, after the first, at most bytes_max bytes of output.
 */
int store_read_records(struct store *store, uint64_t job, uint64_t after, uint64_t until,
		       size_t limit, size_t bytes_max, record_row_fn *fn, void *context);
/* The position of the first record of job after the given one; 0 where there is none. */
int store_next_record(struct store *store, uint64_t job, uint64_t after, uint64_t *ret_position);
typedef void record_place_fn(uint64_t job, uint64_t position, void *context);
/*
 * Where records of all jobs of uid are, by position, from *after on; without those that a cursor
 * (NULL: none) was moved over in their job. It looks at `most` at once, whosever they are: *after
 * becomes the last of them; *ret_is_end where there were no more.
 */
int store_read_log(struct store *store, uid_t uid, const char *cursor, uint64_t *after, size_t most,
		   record_place_fn *fn, void *context, bool *ret_is_end);
/* The jobs that arrive: their records lie above position, and are not there yet. */
void store_each_arriving(const struct store *store, record_place_fn *fn, void *context);
/* The newest, committed or not. */
uint64_t store_last_position(const struct store *store);
/* 0 where the cursor has not been moved yet. */
int store_read_cursor(struct store *store, uid_t uid, const char *name, uint64_t job,
		      uint64_t *ret_position);

/* 1 where a job has this cursor of a user, or less than a hundred of the user; else 0. */
int store_cursor_has_room(struct store *store, uid_t uid, const char *name, uint64_t job);

/* --- Schedules: what makes jobs at their times --- */

/* Strings are the owner's of the struct; schedule_row_done frees them after a read. */
struct schedule_row {
	uint64_t id;
	uid_t uid;
	char *kind;
	char *name;    /* or NULL; once a user */
	char *token;   /* or NULL */
	char *options; /* of each run, as a job's */
	char *targets;
	/* One of three: every so long from created_us on; once; as the calendar says */
	int64_t every_us, at_us;
	char *calendar;
	bool is_catch_up, is_overlap, is_paused;
	uint64_t keep_last; /* runs; 0: all */
	int64_t created_us;
	int64_t next_us; /* 0: never again */
	int64_t last_us; /* 0: not yet */
	uint64_t last_job;
	uint64_t runs, skipped;
	char *error; /* why the last run could not be made, or NULL */
};
void schedule_row_done(struct schedule_row *row);

/* Copies the row; store_drop_job takes it back out. */
void store_put_schedule(struct store *store, const struct schedule_row *row);
/* A time has come, or went by so many times; copies error. */
void store_put_schedule_turn(struct store *store, uint64_t id, int64_t next_us, uint64_t skipped,
			     const char *error);
/* A job was made, by the same commit. */
void store_put_schedule_run(struct store *store, uint64_t id, uint64_t job, int64_t at_us);
void store_put_schedule_paused(struct store *store, uint64_t id, bool is_paused);
void store_put_schedule_removed(struct store *store, uint64_t id);
/* One that is queued, of this user and with this token or this name: its id, or 0. */
uint64_t store_queued_schedule(const struct store *store, uid_t uid, const char *token,
			       const char *name);

typedef int schedule_row_fn(const struct schedule_row *row, void *context);
/* Of a user, or of all (uid NULL), by id above after, at most limit. */
int store_read_schedules(struct store *store, const uid_t *uid, uint64_t after, size_t limit,
			 schedule_row_fn *fn, void *context);
/* Those of this name: several users may each have one. */
int store_read_schedules_named(struct store *store, const uid_t *uid, const char *name,
			       size_t limit, schedule_row_fn *fn, void *context);
/* Those whose time is there, the first first. */
int store_read_schedules_due(struct store *store, int64_t now_us, size_t limit, schedule_row_fn *fn,
			     void *context);
/* -ENOENT where there is none. */
int store_read_schedule(struct store *store, uint64_t id, struct schedule_row *ret_row);
int store_find_schedule_token(struct store *store, uid_t uid, const char *token, uint64_t *ret_id);
/* When the first of them is due; 0: none ever is. */
int store_next_schedule_us(struct store *store, int64_t *ret_us);
/* With those that are queued. */
int store_count_schedules(struct store *store, uint64_t *ret_count);
/* A run that has not ended: its id, or 0. */
int store_live_run(struct store *store, uint64_t schedule, uint64_t *ret_job);
typedef void run_id_fn(uint64_t job, void *context);
/* Runs that have ended, but for the newest so many; at most limit. */
int store_read_old_runs(struct store *store, uint64_t schedule, uint64_t keep, size_t limit,
			run_id_fn *fn, void *context);

/* --- From outside: also beside a jobd that has the file open --- */

/*
 * Everything that can be checked: SQLite's own structure, and that jobs, tasks, results and
 * counters fit together. Calls tell with a line for each thing that is wrong; returns how many
 * there were, or a negative errno.
 */
typedef void store_finding_fn(const char *finding, void *context);
int store_check(const char *path, store_finding_fn *tell, void *context, struct error *ret_error);
/* A copy as of now, into a new file, which is there only once it is whole. */
int store_backup(const char *path, const char *to, struct error *ret_error);

/* --- Upkeep --- */

/* While a removed job is said to arrive its rows are not deleted. To keep it ends that, with the
 * commit; store_drop_job does too. */
void store_set_arriving(struct store *store, uint64_t job, bool is_arriving);
/* Rows of removed jobs are still being deleted; also where that cannot be told. */
bool store_has_removed(struct store *store);
/* Bytes of the file that are not free; 0 where they cannot be told. */
int64_t store_used_bytes(struct store *store);

/* Deletes a piece (about 1,000 rows) of what was removed, of one job or of many, in a transaction
 * of its own; *ret_more where something is left. Not while changes are queued. -ESTALE, -EBUSY: the
 * files are not in their places. */
int store_reap(struct store *store, bool *ret_more);
