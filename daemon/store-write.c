/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queueing changes, and applying them within the commit's transaction. */
#include "daemon/store-internal.h"

#include "common/util.h"

#include <assert.h>
#include <stdio.h>

/* --- Queueing --- */

static struct change *put(struct store *store, enum change_type type, struct task_key key,
			  size_t bytes)
{
	struct change *change = xcalloc(1, sizeof(*change));

	change->type = type;
	change->key = key;
	STAILQ_INSERT_TAIL(&store->queue, change, link);
	store->queued_bytes += sizeof(*change) + bytes;
	return change;
}

static struct task_key job_key(uint64_t id)
{
	return (struct task_key){.job = id};
}

static struct job_row *copy_row(const struct job_row *row)
{
	struct job_row *copy = xmemdup(row, sizeof(*row));

	copy->kind = xstrdup_or_null(row->kind);
	copy->name = xstrdup_or_null(row->name);
	copy->token = xstrdup_or_null(row->token);
	copy->options = xstrdup_or_null(row->options);
	copy->targets = xstrdup_or_null(row->targets);
	return copy;
}

void job_row_done(struct job_row *row)
{
	free(row->kind);
	free(row->name);
	free(row->token);
	free(row->options);
	free(row->targets);
	row->kind = row->name = row->token = row->options = row->targets = NULL;
}

void change_free(struct change *change)
{
	switch (change->type) {
	case CHANGE_JOB:
	case CHANGE_JOB_UPDATE:
		job_row_done(change->row);
		free(change->row);
		break;
	case CHANGE_TASK_ENDED:
		free(change->ended.message);
		free(change->ended.result);
		break;
	case CHANGE_OUTPUT:
		free(change->output.bytes);
		break;
	case CHANGE_CURSOR:
		free(change->cursor.name);
		break;
	case CHANGE_JOB_REMOVED:
	case CHANGE_TASK_STARTED:
	case CHANGE_TASK_SENT:
	case CHANGE_TASK_QUEUED:
		break;
	}
	free(change);
}

void store_put_job(struct store *store, const struct job_row *row)
{
	size_t bytes = strlen(row->options) + strlen(row->targets);

	put(store, CHANGE_JOB, job_key(row->id), bytes)->row = copy_row(row);
}

void store_put_job_update(struct store *store, const struct job_row *row)
{
	put(store, CHANGE_JOB_UPDATE, job_key(row->id), sizeof(*row))->row = copy_row(row);
}

void store_drop_job(struct store *store, uint64_t id)
{
	struct change *change, *next;

	for (change = STAILQ_FIRST(&store->queue); change; change = next) {
		next = STAILQ_NEXT(change, link);
		if (change->key.job != id)
			continue;
		STAILQ_REMOVE(&store->queue, change, change, link);
		change_free(change);
	}
}

void store_put_job_removed(struct store *store, uint64_t id)
{
	(void) put(store, CHANGE_JOB_REMOVED, job_key(id), 0);
}

void store_put_task_started(struct store *store, struct task_key key, unsigned attempt,
			    int64_t started_us)
{
	struct change *change = put(store, CHANGE_TASK_STARTED, key, 0);

	change->started.attempt = attempt;
	change->started.at_us = started_us;
}

void store_put_task_sent(struct store *store, struct task_key key)
{
	(void) put(store, CHANGE_TASK_SENT, key, 0);
}

void store_put_task_queued(struct store *store, struct task_key key)
{
	(void) put(store, CHANGE_TASK_QUEUED, key, 0);
}

void store_put_task_ended(struct store *store, struct task_key key, const struct outcome *outcome,
			  int64_t ended_us, uint64_t position)
{
	struct change *change = put(store, CHANGE_TASK_ENDED, key, 0);

	assert(task_state_is_final(outcome->state));
	change->ended.state = outcome->state;
	change->ended.class = outcome->class;
	change->ended.message = xstrdup_or_null(outcome->message);
	change->ended.result = xstrdup_or_null(outcome->result);
	change->ended.at_us = ended_us;
	change->ended.position = position;
}

void store_put_output(struct store *store, struct task_key key, uint64_t position,
		      enum stream stream, uint64_t offset, int64_t at_us, char *bytes, size_t size)
{
	struct change *change = put(store, CHANGE_OUTPUT, key, size);

	change->output.position = position;
	change->output.stream = stream;
	change->output.offset = offset;
	change->output.at_us = at_us;
	change->output.bytes = bytes;
	change->output.size = size;
}

void store_put_cursor(struct store *store, uid_t uid, const char *name, uint64_t job,
		      uint64_t position)
{
	struct change *change = put(store, CHANGE_CURSOR, job_key(job), 0);

	change->cursor.uid = uid;
	change->cursor.name = xstrdup(name);
	change->cursor.position = position;
}

/* --- Applying --- */

static void bind(sqlite3_stmt *statement, int place, uint64_t value)
{
	(void) sqlite3_bind_int64(statement, place, (int64_t) value);
}

/* The text must stay until the statement has run; NULL is NULL. */
static void bind_text(sqlite3_stmt *statement, int place, const char *text)
{
	(void) sqlite3_bind_text(statement, place, text, -1, SQLITE_STATIC);
}

/* A statement about one thing, known by its key. */
static int run_with_key(struct store *store, enum statement which, int64_t key)
{
	sqlite3_stmt *statement = store_statement(store, which);

	if (statement)
		(void) sqlite3_bind_int64(statement, 1, key);
	return store_run(store, statement);
}

/* Both statements number their parameters as JOB_COLUMNS. */
static int apply_job(struct store *store, enum statement which, const struct job_row *row)
{
	sqlite3_stmt *statement = store_statement(store, which);
	char classes[ERROR_CLASS_COUNT * 21 + 1];
	size_t used = 0;

	if (!statement)
		return SQLITE_ERROR;
	for (size_t i = 0; i < ERROR_CLASS_COUNT; i++)
		used += (size_t) snprintf(classes + used, sizeof(classes) - used, "%llu ",
					  (unsigned long long) row->class_counts[i]);
	bind(statement, 1, row->id);
	bind_text(statement, 4, row->name);
	bind_text(statement, 6, row->options);
	bind(statement, 9, row->state);
	for (int i = 0; i < TASK_STATE_COUNT; i++)
		bind(statement, 10 + i, row->counts[i]);
	bind_text(statement, 16, classes);
	bind(statement, 17, row->next_index);
	bind(statement, 18, row->last_position);
	bind(statement, 19, row->received_position);
	(void) sqlite3_bind_int64(statement, 21, row->started_us);
	(void) sqlite3_bind_int64(statement, 22, row->ended_us);
	if (which == SQL_JOB_INSERT) {
		bind(statement, 2, row->uid);
		bind_text(statement, 3, row->kind);
		bind_text(statement, 5, row->token);
		bind_text(statement, 7, row->targets);
		bind(statement, 8, row->retry_of);
		(void) sqlite3_bind_int64(statement, 20, row->created_us);
	}
	return store_run(store, statement);
}

static int apply_removed(struct store *store, uint64_t id)
{
	int r = run_with_key(store, SQL_JOB_DELETE, (int64_t) id);

	if (r == SQLITE_OK)
		r = run_with_key(store, SQL_JOB_CURSORS_DELETE, (int64_t) id);
	return r == SQLITE_OK ? run_with_key(store, SQL_REMOVED_INSERT, (int64_t) id) : r;
}

static int apply_started(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_TASK_STARTED);

	if (!statement)
		return SQLITE_ERROR;
	(void) sqlite3_bind_int64(statement, 1, task_key_number(change->key));
	bind(statement, 2, change->started.attempt);
	(void) sqlite3_bind_int64(statement, 3, change->started.at_us);
	return store_run(store, statement);
}

/* Output of a stream, or with bytes NULL the end of the task. */
static int insert_record(struct store *store, const struct change *change, uint64_t position,
			 int64_t at_us)
{
	sqlite3_stmt *statement = store_statement(store, SQL_RECORD_INSERT);

	if (!statement)
		return SQLITE_ERROR;
	bind(statement, 1, position);
	bind(statement, 2, change->key.job);
	bind(statement, 3, change->key.index);
	(void) sqlite3_bind_int64(statement, 6, at_us);
	if (change->type == CHANGE_OUTPUT) {
		bind(statement, 4, change->output.stream);
		bind(statement, 5, change->output.offset);
		(void) sqlite3_bind_blob64(statement, 7, change->output.bytes, change->output.size,
					   SQLITE_STATIC);
	}
	return store_run(store, statement);
}

static int apply_ended(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_TASK_ENDED);
	int r;

	if (!statement)
		return SQLITE_ERROR;
	(void) sqlite3_bind_int64(statement, 1, task_key_number(change->key));
	bind(statement, 2, change->ended.state);
	bind(statement, 3, change->ended.class);
	bind_text(statement, 4, change->ended.message);
	bind_text(statement, 5, change->ended.result);
	(void) sqlite3_bind_int64(statement, 6, change->ended.at_us);
	r = store_run(store, statement);
	return r == SQLITE_OK
		       ? insert_record(store, change, change->ended.position, change->ended.at_us)
		       : r;
}

static int apply_output(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_TASK_OUTPUT);
	size_t size = change->output.size;
	int r;

	if (!statement)
		return SQLITE_ERROR;
	(void) sqlite3_bind_int64(statement, 1, task_key_number(change->key));
	bind(statement, 2, change->output.stream == STREAM_STDOUT ? size : 0);
	bind(statement, 3, change->output.stream == STREAM_STDERR ? size : 0);
	r = store_run(store, statement);
	return r == SQLITE_OK
		       ? insert_record(store, change, change->output.position, change->output.at_us)
		       : r;
}

static int apply_cursor(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_CURSOR_WRITE);

	if (!statement)
		return SQLITE_ERROR;
	bind(statement, 1, change->key.job);
	bind(statement, 2, change->cursor.uid);
	bind_text(statement, 3, change->cursor.name);
	bind(statement, 4, change->cursor.position);
	return store_run(store, statement);
}

int store_apply(struct store *store, const struct change *change)
{
	int64_t key = task_key_number(change->key);

	switch (change->type) {
	case CHANGE_JOB:
		return apply_job(store, SQL_JOB_INSERT, change->row);
	case CHANGE_JOB_UPDATE:
		return apply_job(store, SQL_JOB_UPDATE, change->row);
	case CHANGE_JOB_REMOVED:
		return apply_removed(store, change->key.job);
	case CHANGE_TASK_STARTED:
		return apply_started(store, change);
	case CHANGE_TASK_SENT:
		return run_with_key(store, SQL_TASK_SENT, key);
	case CHANGE_TASK_QUEUED:
		return run_with_key(store, SQL_TASK_QUEUED, key);
	case CHANGE_TASK_ENDED:
		return apply_ended(store, change);
	case CHANGE_OUTPUT:
		return apply_output(store, change);
	case CHANGE_CURSOR:
		return apply_cursor(store, change);
	}
	abort(); /* a type that does not exist */
}
