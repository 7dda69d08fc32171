/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Receive: the records of all jobs of the caller, in the order in which they lie in the store. */
#include "daemon/method-receive-internal.h"

#include "common/util.h"

#include <errno.h>

/*
 * To look at a job takes as long as at so many records. A cursor that has gone through the log once
 * does so only once, whosever records they are; again is each time.
 */
enum { RECORDS_OF_JOB = 8, JOBS_BY_CURSOR = 2000, JOBS_AGAIN = 100000 };

static int find_way(struct reading *reading)
{
	struct store *store = reading->daemon->store;
	uint64_t enough = reading->is_again ? JOBS_AGAIN : JOBS_BY_CURSOR;
	uint64_t records = store_last_position(store) - reading->log.stored;
	int r;

	if (enough > records / RECORDS_OF_JOB)
		enough = records / RECORDS_OF_JOB;
	r = store_has_jobs(store, reading->uid, enough);
	reading->log.is_on = r > 0;
	return r < 0 ? r : 0;
}

int log_open(struct reading *reading)
{
	struct store *store = reading->daemon->store;
	struct record_log *log = &reading->log;
	int r = 0;

	log->until = reading->is_wait ? INT64_MAX : store_last_position(store);
	log->arriving = UINT64_MAX;
	if (!reading->is_again)
		r = store_read_cursor(store, reading->uid, reading->cursor, 0, &log->stored);
	log->scanned = log->stored;
	return r == 0 ? find_way(reading) : r;
}

static bool has_runs(const struct record_log *log)
{
	return log->next < log->count;
}

bool log_has_more(const struct reading *reading)
{
	return has_runs(&reading->log) || !reading->log.is_end;
}

static struct left_out *find_left_out(const struct record_log *log, uint64_t job)
{
	struct left_out *left_out = NULL;

	HASH_FIND(hh, log->left_out, &job, sizeof(job), left_out);
	return left_out;
}

/* For good: it may be there when this has gone past its first records, and its cursor, which the
 * others would move, is one number. */
static void leave_out(uint64_t job, uint64_t position, void *context)
{
	struct record_log *log = context;
	struct left_out *left_out;

	if (log->arriving > position)
		log->arriving = position;
	if (find_left_out(log, job))
		return;
	left_out = xcalloc(1, sizeof(*left_out));
	left_out->job = job;
	HASH_ADD(hh, log->left_out, job, sizeof(job), left_out);
}

static void add_place(uint64_t job, uint64_t position, void *context)
{
	struct record_log *log = context;
	struct run *last = log->count > 0 ? &log->runs[log->count - 1] : NULL;

	if (position > log->until || find_left_out(log, job))
		return;
	if (last && last->job == job)
		last->last = position;
	else
		log->runs[log->count++] = (struct run){job, position - 1, position};
}

static int scan(struct reading *reading)
{
	struct record_log *log = &reading->log;
	struct store *store = reading->daemon->store;
	int r;

	store_each_arriving(store, leave_out, log);
	log->next = log->count = 0;
	r = store_read_log(store, reading->uid, reading->is_again ? NULL : reading->cursor,
			   &log->scanned, PAGE_RECORDS, add_place, log, &log->is_end);
	if (log->scanned >= log->until) {
		log->scanned = log->until;
		log->is_end = true;
	}
	return r;
}

static int read_run(struct reading *reading)
{
	struct record_log *log = &reading->log;
	struct run *run = &log->runs[log->next];
	uint64_t given;
	int r = reading_add(reading, run, reading->uid, &given);

	if (r < 0 && r != -ENOENT)
		return r;
	/* Read to its end, or removed; or the page is full. */
	if (given == run->after || given == run->last)
		log->next++;
	else
		run->after = given;
	return 0;
}

int log_read(struct reading *reading)
{
	int r = has_runs(&reading->log) ? read_run(reading) : scan(reading);

	/* All below was given, or is not for this cursor. */
	if (!has_runs(&reading->log))
		reading->position = reading->log.scanned;
	return r;
}

void log_changed(struct reading *reading, const struct job_row *row)
{
	struct record_log *log = &reading->log;

	if (row->uid == reading->uid && row->last_position > log->scanned &&
	    log->scanned < log->until)
		log->is_end = false;
}

/* Where it spares as much as a page. */
void log_confirmed(struct reading *reading)
{
	struct record_log *log = &reading->log;
	uint64_t position = reading->confirmed;

	if (position > log->arriving)
		position = log->arriving;
	if (reading->cursor[0] == '\0' || position < log->stored + PAGE_RECORDS)
		return;
	store_put_cursor(reading->daemon->store, reading->uid, reading->cursor, 0, position);
	log->stored = position;
}

void log_done(struct record_log *log)
{
	struct left_out *left_out, *next;

	HASH_ITER (hh, log->left_out, left_out, next) {
		HASH_DEL(log->left_out, left_out);
		free(left_out);
	}
}
