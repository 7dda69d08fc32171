/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rows of new jobs as a table that SQLite reads, new_job: an INSERT INTO job SELECT from it runs
 * once for thousands of them, where a statement for each would open and close a cursor on the table
 * and on each of its indexes, and be handed each column (https://sqlite.org/vtab.html,
 * eponymous-only virtual tables). Its rows are those that store_insert_jobs is about; else it is
 * empty.
 */
#include "daemon/store-internal.h"

#include "common/util.h"

#include <assert.h>

/* As JOB_COLUMNS and REQUEST_COLUMNS have them. */
static const struct column {
	enum { COLUMN_NUMBER, COLUMN_UID, COLUMN_STATE, COLUMN_TEXT, COLUMN_CLASSES } type;
	size_t offset;
} columns[] = {
#define COLUMN(type, member)                           \
	{                                              \
		type, offsetof(struct job_row, member) \
	}
	COLUMN(COLUMN_NUMBER, id),
	COLUMN(COLUMN_UID, uid),
	COLUMN(COLUMN_TEXT, kind),
	COLUMN(COLUMN_TEXT, name),
	COLUMN(COLUMN_TEXT, token),
	COLUMN(COLUMN_NUMBER, retry_of),
	COLUMN(COLUMN_STATE, state),
	COLUMN(COLUMN_NUMBER, counts[TASK_QUEUED]),
	COLUMN(COLUMN_NUMBER, counts[TASK_RUNNING]),
	COLUMN(COLUMN_NUMBER, counts[TASK_SUCCEEDED]),
	COLUMN(COLUMN_NUMBER, counts[TASK_FAILED]),
	COLUMN(COLUMN_NUMBER, counts[TASK_STOPPED]),
	COLUMN(COLUMN_NUMBER, counts[TASK_INTERRUPTED]),
	COLUMN(COLUMN_CLASSES, class_counts),
	COLUMN(COLUMN_NUMBER, next_index),
	COLUMN(COLUMN_NUMBER, last_position),
	COLUMN(COLUMN_NUMBER, received_position),
	COLUMN(COLUMN_NUMBER, created_us),
	COLUMN(COLUMN_NUMBER, started_us),
	COLUMN(COLUMN_NUMBER, ended_us),
	COLUMN(COLUMN_NUMBER, recorded_index),
	COLUMN(COLUMN_NUMBER, output_bytes),
	COLUMN(COLUMN_TEXT, reason),
	COLUMN(COLUMN_NUMBER, schedule),
	COLUMN(COLUMN_TEXT, options),
	COLUMN(COLUMN_TEXT, targets),
#undef COLUMN
};

struct rows_table {
	sqlite3_vtab table; /* first */
	struct store *store;
};

struct rows_cursor {
	sqlite3_vtab_cursor cursor; /* first */
	const struct change *at;
};

static int rows_connect(sqlite3 *database, void *store, int count, const char *const *words,
			sqlite3_vtab **ret_table, char **ret_why)
{
	struct rows_table *table;
	int r = sqlite3_declare_vtab(database,
				     "CREATE TABLE x (" JOB_COLUMNS ", options, targets)");

	(void)count;
	(void)words;
	(void)ret_why;
	if (r != SQLITE_OK)
		return r;
	table = xcalloc(1, sizeof(*table));
	table->store = store;
	*ret_table = &table->table;
	return SQLITE_OK;
}

static int rows_disconnect(sqlite3_vtab *table)
{
	free(table);
	return SQLITE_OK;
}

static int rows_plan(sqlite3_vtab *table, sqlite3_index_info *info)
{
	(void)table;
	(void)info; /* there is one way: from the first to the last */
	return SQLITE_OK;
}

static int rows_open(sqlite3_vtab *table, sqlite3_vtab_cursor **ret_cursor)
{
	struct rows_cursor *cursor = xcalloc(1, sizeof(*cursor));

	(void)table;
	*ret_cursor = &cursor->cursor;
	return SQLITE_OK;
}

static int rows_close(sqlite3_vtab_cursor *cursor)
{
	free(cursor);
	return SQLITE_OK;
}

static struct rows_cursor *cursor_of(sqlite3_vtab_cursor *cursor)
{
	return (struct rows_cursor *)cursor;
}

static const struct store *store_of(const sqlite3_vtab_cursor *cursor)
{
	return ((const struct rows_table *)cursor->pVtab)->store;
}

static int rows_first(sqlite3_vtab_cursor *cursor, int way, const char *way_name, int count,
		      sqlite3_value **values)
{
	(void)way;
	(void)way_name;
	(void)count;
	(void)values;
	cursor_of(cursor)->at = store_of(cursor)->new_jobs;
	return SQLITE_OK;
}

static int rows_next(sqlite3_vtab_cursor *cursor)
{
	struct rows_cursor *rows = cursor_of(cursor);

	rows->at = STAILQ_NEXT(rows->at, link);
	return SQLITE_OK;
}

static int rows_are_over(sqlite3_vtab_cursor *cursor)
{
	return cursor_of(cursor)->at == store_of(cursor)->new_jobs_end;
}

static int rows_column(sqlite3_vtab_cursor *cursor, sqlite3_context *result, int number)
{
	const struct job_row *row = cursor_of(cursor)->at->row;
	const struct column *column = &columns[number];
	const void *at = (const char *)row + column->offset;
	char classes[CLASSES_TEXT_MAX];

	switch (column->type) {
	case COLUMN_NUMBER:
		sqlite3_result_int64(result, *(const int64_t *)at);
		break;
	case COLUMN_UID:
		sqlite3_result_int64(result, row->uid);
		break;
	case COLUMN_STATE:
		sqlite3_result_int64(result, row->state);
		break;
	case COLUMN_TEXT:
		sqlite3_result_text(result, *(char *const *)at, -1, SQLITE_STATIC);
		break;
	case COLUMN_CLASSES:
		sqlite3_result_text(result, store_classes_text(row, classes), -1, SQLITE_TRANSIENT);
		break;
	}
	return SQLITE_OK;
}

static int rows_id(sqlite3_vtab_cursor *cursor, sqlite3_int64 *ret_id)
{
	*ret_id = (sqlite3_int64)cursor_of(cursor)->at->row->id;
	return SQLITE_OK;
}

int store_make_rows(struct store *store)
{
	static const sqlite3_module module = {
		.xCreate = rows_connect,
		.xConnect = rows_connect,
		.xDestroy = rows_disconnect,
		.xDisconnect = rows_disconnect,
		.xBestIndex = rows_plan,
		.xOpen = rows_open,
		.xClose = rows_close,
		.xFilter = rows_first,
		.xNext = rows_next,
		.xEof = rows_are_over,
		.xColumn = rows_column,
		.xRowid = rows_id,
	};

	_Static_assert(ARRAY_SIZE(columns) == JOB_COLUMN_COUNT + 2, "JOB_COLUMNS, and of request");
	int r = sqlite3_create_module(store->database, "new_job", &module, store);

	return r == SQLITE_OK
		       ? store_execute(store, "CREATE VIRTUAL TABLE temp.new_job USING new_job")
		       : r;
}

int store_insert_jobs(struct store *store, const struct change *first,
		      const struct change **ret_next)
{
	const struct change *next = first;
	int r, count = 0;

	for (; next && next->type == CHANGE_JOB; next = STAILQ_NEXT(next, link))
		count++;
	store->new_jobs = first;
	store->new_jobs_end = next;
	r = store_run(store_statement(store, SQL_JOBS_INSERT));
	assert(r != SQLITE_OK || sqlite3_changes(store->database) == count);
	if (r == SQLITE_OK)
		r = store_run(store_statement(store, SQL_REQUESTS_INSERT));
	store->new_jobs = store->new_jobs_end = NULL;
	*ret_next = next;
	return r;
}
