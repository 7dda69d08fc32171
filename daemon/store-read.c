/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading, by page, and deleting what was removed, by piece. */
#include "daemon/store-internal.h"

#include "common/util.h"

#include <assert.h>
#include <errno.h>

static const char *text(sqlite3_stmt *statement, int column)
{
	return (const char *)sqlite3_column_text(statement, column);
}

static uint64_t number(sqlite3_stmt *statement, int column)
{
	return (uint64_t)sqlite3_column_int64(statement, column);
}

/* 0 is no end. */
static void bind_end(sqlite3_stmt *statement, int place, uint64_t end)
{
	(void)sqlite3_bind_int64(statement, place, end != 0 ? (int64_t)end : INT64_MAX);
}

void store_bind_limit(sqlite3_stmt *statement, int place, size_t limit)
{
	(void)sqlite3_bind_int64(statement, place, limit < INT64_MAX ? (int64_t)limit : -1);
}

/*
 * The last thing that SQLite did failed: -EIO, whatever the system called it, since -ENOENT is for
 * what is not there. The sentence is kept for store_refuse_read.
 */
static int failed(struct store *store)
{
	free(store->read_error);
	store->read_error = store_describe_failure(store, "");
	store->is_damaged = store_failed_for_good(store);
	store->read_failures++;
	return -EIO;
}

int store_each_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use, void *context)
{
	int r, status = 0;

	while ((r = sqlite3_step(statement)) == SQLITE_ROW)
		if (use(statement, context) != 0)
			break;
	if (r != SQLITE_ROW && r != SQLITE_DONE)
		status = failed(store);
	(void)sqlite3_reset(statement);
	return status;
}

/* --- Jobs --- */

char *store_column_copy(sqlite3_stmt *statement, int column)
{
	return xstrdup_or_null(text(statement, column));
}

struct job_reading {
	struct store *store;
	job_row_fn *fn;
	void *context;
	/* By a way in */
	enum statement read; /* each of them */
	size_t limit, found, looked_at, text_bytes;
	uint64_t next; /* of what was looked at, to go on below; 0: fn has had enough */
	bool has_more; /* perhaps */
	int status;
};

static int take_job(sqlite3_stmt *statement, void *context)
{
	store_read_columns(statement, context);
	return 0;
}

static int read_job(struct store *store, enum statement which, uint64_t id, struct job_row *ret_row)
{
	sqlite3_stmt *statement = store_statement(store, which);

	(void)sqlite3_bind_int64(statement, 1, (int64_t)id);
	return store_one_row(store, statement, take_job, ret_row);
}

int store_read_job(struct store *store, uint64_t id, struct job_row *ret_row)
{
	return read_job(store, SQL_JOB_READ, id, ret_row);
}

int store_read_whole_job(struct store *store, uint64_t id, struct job_row *ret_row)
{
	return read_job(store, SQL_WHOLE_JOB_READ, id, ret_row);
}

static int use_job(sqlite3_stmt *statement, void *context)
{
	const struct job_reading *reading = context;
	struct job_row row;
	int r;

	store_read_columns(statement, &row);
	r = reading->fn(&row, reading->context);
	job_row_done(&row);
	return r;
}

/* What a message held may be in a job: then some of them are as long as a page. */
static bool is_page_full(struct job_reading *reading, const struct job_row *row)
{
	enum { TEXT_MAX = 256 * 1024 };

	reading->text_bytes += store_text_bytes(row->options) + store_text_bytes(row->targets);
	return ++reading->found == reading->limit || reading->text_bytes >= TEXT_MAX;
}

/* A job on the way, which the filter wants or not. */
static int use_job_on_way(sqlite3_stmt *statement, void *context)
{
	struct job_reading *reading = context;
	struct job_row row;
	int r;

	reading->looked_at++;
	reading->next = number(statement, 0);
	if (!sqlite3_column_int(statement, 1))
		return 0;
	reading->status = read_job(reading->store, reading->read, reading->next, &row);
	if (reading->status < 0)
		return 1;
	r = reading->fn(&row, reading->context);
	if (r != 0)
		reading->next = 0;
	reading->has_more = r == 0 && is_page_full(reading, &row);
	job_row_done(&row);
	return r != 0 || reading->has_more;
}

/* The narrowest way in that the filter allows. */
static enum statement choose_way(const struct job_filter *filter)
{
	const unsigned live =
		1U << JOB_QUEUED | 1U << JOB_RUNNING | 1U << JOB_PAUSED | 1U << JOB_STOPPING;
	const unsigned failed = 1U << JOB_FAILED | 1U << JOB_STOPPED;

	if (filter->schedule != 0)
		return SQL_JOBS_OF_SCHEDULE;
	if (filter->name_glob && !strpbrk(filter->name_glob, "*?["))
		return SQL_JOBS_NAMED;
	if (filter->states != 0 && (filter->states & ~live) == 0)
		return SQL_JOBS_LIVE;
	if (filter->has_unreceived && filter->has_uid)
		return SQL_JOBS_UNRECEIVED;
	if (filter->states != 0 && (filter->states & ~failed) == 0)
		return filter->has_uid ? SQL_JOBS_FAILED_OF_USER : SQL_JOBS_FAILED;
	return filter->has_uid ? SQL_JOBS_OF_USER : SQL_JOBS_ALL;
}

int store_read_jobs(struct store *store, const struct job_filter *filter, uint64_t before,
		    size_t limit, job_row_fn *fn, void *context, uint64_t *ret_next)
{
	/* A ms, where none of them is wanted. */
	enum { LOOKED_AT_MAX = 2000 };
	struct job_reading reading = {.store = store,
				      .fn = fn,
				      .context = context,
				      .read = filter->is_whole ? SQL_WHOLE_JOB_READ : SQL_JOB_READ,
				      .limit = limit};
	enum statement way = choose_way(filter);
	sqlite3_stmt *statement = store_statement(store, way);
	int r;

	if (filter->has_uid)
		(void)sqlite3_bind_int64(statement, 1, filter->uid);
	/* Of two upper bounds SQLite would take one to begin at, and pass over what the other says.
	 */
	if (filter->id_max != 0 && (before == 0 || before > filter->id_max))
		before = filter->id_max + 1;
	bind_end(statement, 2, before);
	(void)sqlite3_bind_int64(statement, 3, (int64_t)filter->id_min);
	(void)sqlite3_bind_int64(statement, 4, filter->states != 0 ? filter->states : ~0U);
	(void)sqlite3_bind_text(statement, 5, filter->kind, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(statement, 6, filter->name_glob, -1, SQLITE_STATIC);
	(void)sqlite3_bind_int64(statement, 7, filter->since_us);
	bind_end(statement, 8, (uint64_t)filter->until_us);
	(void)sqlite3_bind_int(statement, 9, filter->has_unreceived);
	store_bind_limit(statement, 10, LOOKED_AT_MAX);
	if (way == SQL_JOBS_OF_SCHEDULE)
		(void)sqlite3_bind_int64(statement, 11, (int64_t)filter->schedule);
	r = store_each_row(store, statement, use_job_on_way, &reading);
	*ret_next = reading.has_more || reading.looked_at == LOOKED_AT_MAX ? reading.next : 0;
	return r < 0 ? r : reading.status;
}

int store_read_live_jobs(struct store *store, job_row_fn *fn, void *context)
{
	struct job_reading reading = {.fn = fn, .context = context};

	return store_each_row(store, store_statement(store, SQL_JOBS_LIVE_ASCENDING), use_job,
			      &reading);
}

int store_one_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use, void *context)
{
	int r, status;

	r = sqlite3_step(statement);
	if (r == SQLITE_ROW)
		status = use(statement, context);
	else
		status = r == SQLITE_DONE ? -ENOENT : failed(store);
	(void)sqlite3_reset(statement);
	return status;
}

int store_take_number(sqlite3_stmt *statement, void *context)
{
	*(uint64_t *)context = number(statement, 0);
	return 0;
}

int store_find_token(struct store *store, uid_t uid, const char *token, uint64_t *ret_id)
{
	sqlite3_stmt *statement = store_statement(store, SQL_TOKEN_FIND);

	(void)sqlite3_bind_int64(statement, 1, uid);
	(void)sqlite3_bind_text(statement, 2, token, -1, SQLITE_STATIC);
	return store_one_row(store, statement, store_take_number, ret_id);
}

struct ended_reading {
	struct store *store;
	ended_row_fn *fn;
	void *context;
	int status;
};

/* Of a text of a job's request, whose bytes are not read for that: it may be as long as a message.
 */
static int64_t text_bytes(struct ended_reading *reading, const char *column, uint64_t job)
{
	sqlite3_blob *blob = NULL;
	int64_t bytes = 0;
	int r = sqlite3_blob_open(reading->store->database, "main", "request", column, (int64_t)job,
				  0, &blob);

	if (r == SQLITE_OK)
		bytes = sqlite3_blob_bytes(blob);
	else if (r != SQLITE_ERROR) /* that is a text which is not there */
		reading->status = failed(reading->store);
	(void)sqlite3_blob_close(blob);
	return bytes;
}

static int use_ended(sqlite3_stmt *statement, void *context)
{
	struct ended_reading *reading = context;
	struct ended_row row = {
		.id = number(statement, 0),
		.ended_us = sqlite3_column_int64(statement, 1),
		.is_received = sqlite3_column_int(statement, 2) != 0,
		.bytes = sqlite3_column_int64(statement, 3),
	};

	row.bytes +=
		text_bytes(reading, "options", row.id) + text_bytes(reading, "targets", row.id);
	return reading->status < 0 ? 1 : reading->fn(&row, reading->context);
}

int store_read_ended(struct store *store, bool is_received, int64_t before_us, size_t limit,
		     ended_row_fn *fn, void *context)
{
	struct ended_reading reading = {.store = store, .fn = fn, .context = context};
	sqlite3_stmt *statement =
		store_statement(store, is_received ? SQL_JOBS_ENDED_RECEIVED : SQL_JOBS_ENDED);
	int r;

	(void)sqlite3_bind_int64(statement, 1, before_us);
	store_bind_limit(statement, 2, limit);
	r = store_each_row(store, statement, use_ended, &reading);
	return r < 0 ? r : reading.status;
}

/* --- Tasks --- */

/* The columns of TASK_COLUMNS; the texts are the statement's. */
static void fill_task(sqlite3_stmt *statement, struct task_row *row)
{
	uint64_t key = number(statement, 0);

	*row = (struct task_row){
		.key = {.job = key >> 32, .index = (uint32_t)key},
		.state = (enum task_state)sqlite3_column_int(statement, 1),
		.class = (enum error_class)sqlite3_column_int(statement, 2),
		.attempts = (unsigned)sqlite3_column_int(statement, 3),
		.is_sent = sqlite3_column_int(statement, 4) != 0,
		.started_us = sqlite3_column_int64(statement, 5),
		.output_sizes = {number(statement, 7), number(statement, 8)},
		.message = text(statement, 9),
		.result = text(statement, 10),
	};
	/* One column (store.h). */
	if (task_state_is_final(row->state))
		row->ended_us = sqlite3_column_int64(statement, 6);
	else if (sqlite3_column_int(statement, 6) < 0)
		row->is_unwanted = true;
	else
		row->failures = (unsigned)sqlite3_column_int(statement, 6);
}

struct task_reading {
	task_row_fn *fn;
	void *context;
	bool has_row;
};

static int use_task(sqlite3_stmt *statement, void *context)
{
	struct task_reading *reading = context;
	struct task_row row;

	reading->has_row = true;
	fill_task(statement, &row);
	return reading->fn(&row, reading->context);
}

int store_read_tasks(struct store *store, uint64_t job, int64_t after, size_t limit,
		     task_row_fn *fn, void *context)
{
	struct task_reading reading = {.fn = fn, .context = context};
	sqlite3_stmt *statement = store_statement(store, SQL_TASKS_READ);
	uint64_t id;
	int r;

	(void)sqlite3_bind_int64(statement, 1, (int64_t)(job << 32) + after);
	(void)sqlite3_bind_int64(statement, 2, (int64_t)(job << 32 | UINT32_MAX));
	(void)sqlite3_bind_int64(statement, 3, (int64_t)job);
	store_bind_limit(statement, 4, limit);
	r = store_each_row(store, statement, use_task, &reading);
	if (r < 0 || reading.has_row)
		return r;
	/* Tasks that were never begun have no row, and those of a removed job are none. */
	statement = store_statement(store, SQL_JOB_READ);
	(void)sqlite3_bind_int64(statement, 1, (int64_t)job);
	return store_one_row(store, statement, store_take_number, &id);
}

int store_read_live_tasks(struct store *store, task_row_fn *fn, void *context)
{
	struct task_reading reading = {.fn = fn, .context = context};

	return store_each_row(store, store_statement(store, SQL_TASKS_LIVE), use_task, &reading);
}

/* --- Records --- */

struct record_reading {
	struct store *store;
	uint64_t job;
	size_t bytes, bytes_max;
	record_row_fn *fn;
	void *context;
	int status;
};

/* The end of a task, with its row; both are the statement's until fn returns. */
static int use_end(struct record_reading *reading, struct record_row *row)
{
	sqlite3_stmt *statement = store_statement(reading->store, SQL_TASK_READ);
	int r;

	(void)sqlite3_bind_int64(statement, 1, task_key_number(row->key));
	r = sqlite3_step(statement);
	if (r != SQLITE_ROW) {
		reading->status = r == SQLITE_DONE ? -EIO : failed(reading->store);
		r = reading->status;
	} else {
		fill_task(statement, &row->task);
		r = reading->fn(row, reading->context);
	}
	(void)sqlite3_reset(statement);
	return r;
}

static int use_record(sqlite3_stmt *statement, void *context)
{
	struct record_reading *reading = context;
	struct record_row row = {
		.position = number(statement, 0),
		.key = {.job = reading->job, .index = (uint32_t)number(statement, 1)},
		.at_us = sqlite3_column_int64(statement, 4),
		.is_end = sqlite3_column_type(statement, 2) == SQLITE_NULL,
	};

	if (row.is_end)
		return use_end(reading, &row);
	row.stream = (enum stream)sqlite3_column_int(statement, 2);
	row.offset = number(statement, 3);
	row.size = (size_t)sqlite3_column_bytes(statement, 5);
	if (reading->bytes > 0 && reading->bytes + row.size > reading->bytes_max)
		return 1;
	reading->bytes += row.size;
	row.bytes = sqlite3_column_blob(statement, 5);
	return reading->fn(&row, reading->context);
}

int store_read_records(struct store *store, uint64_t job, uint64_t after, uint64_t until,
		       size_t limit, size_t bytes_max, record_row_fn *fn, void *context)
{
	struct record_reading reading = {
		.store = store, .job = job, .bytes_max = bytes_max, .fn = fn, .context = context};
	sqlite3_stmt *statement = store_statement(store, SQL_RECORDS_READ);
	int r;

	(void)sqlite3_bind_int64(statement, 1, (int64_t)after);
	bind_end(statement, 2, until);
	(void)sqlite3_bind_int64(statement, 3, (int64_t)job);
	store_bind_limit(statement, 4, limit);
	r = store_each_row(store, statement, use_record, &reading);
	return r < 0 ? r : reading.status;
}

int store_next_record(struct store *store, uint64_t job, uint64_t after, uint64_t *ret_position)
{
	sqlite3_stmt *statement = store_statement(store, SQL_RECORD_NEXT);
	int r;

	*ret_position = 0;
	(void)sqlite3_bind_int64(statement, 1, (int64_t)after);
	(void)sqlite3_bind_int64(statement, 3, (int64_t)job);
	r = store_one_row(store, statement, store_take_number, ret_position);
	return r == -ENOENT ? 0 : r;
}

/* --- Upkeep --- */

/* A piece takes some ms: what is freed counts, be it many small rows or a few large ones. */
enum { PIECE_ROWS = 1000, PIECE_BYTES = 2 * 1024 * 1024, PAGE_BYTES = 4096 };

static int run(struct store *store, enum statement which)
{
	return store_run(store_statement(store, which)) == SQLITE_OK ? 0 : failed(store);
}

/* Runs a deletion whose parameters are bound; *count grows by the rows that went. */
static int delete_rows(struct store *store, sqlite3_stmt *statement, int64_t *count)
{
	if (store_run(statement) != SQLITE_OK)
		return failed(store);
	*count += sqlite3_changes(store->database);
	return 0;
}

struct piece {
	int64_t last; /* position */
	int64_t bytes;
};

static int add_to_piece(sqlite3_stmt *statement, void *context)
{
	struct piece *piece = context;

	piece->last = sqlite3_column_int64(statement, 0);
	piece->bytes += sqlite3_column_int64(statement, 1);
	return piece->bytes >= PIECE_BYTES;
}

static int reap_records(struct store *store, uint64_t job, int64_t *count)
{
	sqlite3_stmt *sizes = store_statement(store, SQL_RECORD_SIZES);
	sqlite3_stmt *deletion = store_statement(store, SQL_RECORDS_DELETE);
	struct piece piece = {0};
	int r;

	(void)sqlite3_bind_int64(sizes, 1, (int64_t)job);
	(void)sqlite3_bind_int(sizes, 2, PIECE_ROWS);
	r = store_each_row(store, sizes, add_to_piece, &piece);
	if (r < 0)
		return r;
	(void)sqlite3_bind_int64(deletion, 1, (int64_t)job);
	(void)sqlite3_bind_int64(deletion, 2, piece.last);
	*count += piece.bytes / (PIECE_BYTES / PIECE_ROWS);
	return delete_rows(store, deletion, count);
}

static int reap_tasks(struct store *store, uint64_t job, int64_t *count)
{
	sqlite3_stmt *statement = store_statement(store, SQL_TASKS_DELETE);

	(void)sqlite3_bind_int64(statement, 1, (int64_t)(job << 32));
	(void)sqlite3_bind_int64(statement, 2, (int64_t)(job << 32 | UINT32_MAX));
	(void)sqlite3_bind_int(statement, 3, PIECE_ROWS);
	return delete_rows(store, statement, count);
}

static int reap_rest(struct store *store, uint64_t job, int64_t *count)
{
	static const enum statement last[] = {SQL_REQUEST_DELETE, SQL_REMOVED_DELETE};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(last); i++) {
		sqlite3_stmt *statement = store_statement(store, last[i]);

		(void)sqlite3_bind_int64(statement, 1, (int64_t)job);
		r = delete_rows(store, statement, count);
	}
	return r;
}

/* Records first, then tasks, then what is left of a job; *count grows by what that took. */
static int reap_job(struct store *store, uint64_t job, int64_t *count)
{
	int64_t before = *count;
	int r = reap_records(store, job, count);

	if (r == 0 && *count == before)
		r = reap_tasks(store, job, count);
	return r == 0 && *count == before ? reap_rest(store, job, count) : r;
}

struct removed_reading {
	const struct store *store;
	uint64_t job; /* 0: none */
};

static int take_removed(sqlite3_stmt *statement, void *context)
{
	struct removed_reading *reading = context;
	uint64_t job = number(statement, 0);

	for (size_t i = 0; i < reading->store->arriving_count; i++)
		if (reading->store->arriving[i].job == job)
			return 0;
	reading->job = job;
	return 1;
}

/* One that may be reaped: 0, -ENOENT, or another errno. */
static int find_removed(struct store *store, uint64_t *ret_job)
{
	struct removed_reading reading = {.store = store};
	int r = store_each_row(store, store_statement(store, SQL_REMOVED_READ), take_removed,
			       &reading);

	*ret_job = reading.job;
	return r < 0 || reading.job ? r : -ENOENT;
}

/* Of one large job or of many small ones. */
static int reap_piece(struct store *store)
{
	int64_t count = 0;
	uint64_t job = 0;
	int r = run(store, SQL_BEGIN);

	while (r == 0 && count < PIECE_ROWS) {
		r = find_removed(store, &job);
		if (r == 0)
			r = reap_job(store, job, &count);
	}
	if (r == 0 || r == -ENOENT)
		r = run(store, SQL_CURSORS_FORGET);
	if (r == 0)
		r = run(store, SQL_COMMIT);
	if (!sqlite3_get_autocommit(store->database))
		(void)run(store, SQL_ROLLBACK);
	return r;
}

static int count_free_pages(struct store *store, uint64_t *ret_pages)
{
	return store_one_row(store, store_statement(store, SQL_FREE_PAGES), store_take_number,
			     ret_pages);
}

/* Gives some of the free pages back to the file system. */
static int cut_file(struct store *store, uint64_t free_pages, uint64_t *ret_left)
{
	/* A checkpoint does the cutting, and hundreds of megabytes at once take long. */
	enum { CUT_PAGES = 4096 };
	uint64_t left = 0;
	int r = run(store, SQL_VACUUM);

	if (r == 0)
		r = count_free_pages(store, &left);
	if (r == 0 && (left == 0 || left / CUT_PAGES != free_pages / CUT_PAGES))
		r = run(store, SQL_CHECKPOINT);
	if (r == 0)
		*ret_left = left;
	return r;
}

/* When nothing is left to delete. A file that another program made anew may have no way to cut it.
 */
static int give_pages_back(struct store *store, bool *ret_more)
{
	uint64_t pages = 0, left = 0;
	int r = count_free_pages(store, &pages);

	if (r == 0 && pages > 0)
		r = cut_file(store, pages, &left);
	if (r == 0)
		*ret_more = left > 0 && left < pages;
	return r;
}

bool store_has_removed(struct store *store)
{
	uint64_t job;

	return find_removed(store, &job) != -ENOENT;
}

int64_t store_used_bytes(struct store *store)
{
	uint64_t pages = 0, free_pages = 0;

	if (store_one_row(store, store_statement(store, SQL_ALL_PAGES), store_take_number, &pages) <
		    0 ||
	    count_free_pages(store, &free_pages) < 0)
		return 0;
	return (int64_t)(pages - free_pages) * PAGE_BYTES;
}

int store_reap(struct store *store, bool *ret_more)
{
	autofree char *sentence = NULL;
	uint64_t job;
	int r;

	assert(!store_has_changes(store));
	if (store->is_writing_stopped)
		return -EUCLEAN;
	r = store_check_places(store, &sentence);
	if (r == 0)
		r = find_removed(store, &job);
	if (r == -ENOENT)
		return give_pages_back(store, ret_more);
	if (r == 0)
		r = reap_piece(store);
	if (r == 0)
		*ret_more = true;
	return r;
}
