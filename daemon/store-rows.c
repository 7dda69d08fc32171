/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a job_row is in the database: columns that are read, parameters that are bound, and new
 * ones.
 *
 * Rows of new jobs are a table that SQLite reads, new_job: an INSERT INTO job SELECT from it runs
 * once for thousands of them, where a statement for each would open and close a cursor on the table
 * and on each of its indexes, and be handed each column (https://sqlite.org/vtab.html,
 * eponymous-only virtual tables). Its rows are those that store_insert_jobs is about; else it is
 * empty.
 */
#include "daemon/store-internal.h"

#include "common/util.h"

#include <assert.h>

static const struct column {
	enum { COLUMN_NUMBER, COLUMN_UID, COLUMN_STATE, COLUMN_TEXT, COLUMN_CLASSES } type;
	size_t offset;
} columns[] = {
#define COLUMN(column, type, member) {COLUMN_##type, offsetof(struct job_row, member)},
	COLUMN(id, NUMBER, id) JOB_FIELDS(COLUMN) REQUEST_FIELDS(COLUMN)
#undef COLUMN
};

/* --- Error classes, as a text of numbers --- */

enum { CLASSES_TEXT_MAX = ERROR_CLASS_COUNT * 11 + 1 };

/* Written from its end on, within the buffer */
static const char *classes_text(const struct job_row *row, char text[static CLASSES_TEXT_MAX])
{
	char *at = text + CLASSES_TEXT_MAX;

	*--at = '\0';
	for (size_t i = ERROR_CLASS_COUNT; i-- > 0;) {
		uint32_t rest = row->class_counts[i];

		*--at = ' ';
		do
			*--at = (char)('0' + rest % 10);
		while ((rest /= 10) > 0);
	}
	return at;
}

static void read_classes(const char *text, struct job_row *row)
{
	for (size_t i = 0; text && *text && i < ERROR_CLASS_COUNT; i++) {
		char *end;

		row->class_counts[i] = (uint32_t)strtoul(text, &end, 10);
		text = end;
	}
}

/* --- A row from columns, and as parameters --- */

static void read_column(sqlite3_stmt *statement, int number, struct job_row *row)
{
	void *at = (char *)row + columns[number].offset;

	switch (columns[number].type) {
	case COLUMN_NUMBER:
		*(int64_t *)at = sqlite3_column_int64(statement, number);
		break;
	case COLUMN_UID:
		row->uid = (uid_t)sqlite3_column_int64(statement, number);
		break;
	case COLUMN_STATE:
		row->state = (enum job_state)sqlite3_column_int(statement, number);
		break;
	case COLUMN_TEXT:
		*(char **)at = store_column_copy(statement, number);
		break;
	case COLUMN_CLASSES:
		read_classes((const char *)sqlite3_column_text(statement, number), row);
		break;
	}
}

void store_read_columns(sqlite3_stmt *statement, struct job_row *ret_row)
{
	*ret_row = (struct job_row){0};
	for (int i = 0; i < (int)ARRAY_SIZE(columns); i++)
		read_column(statement, i, ret_row);
}

static void bind_column(sqlite3_stmt *statement, int number, const struct job_row *row)
{
	const void *at = (const char *)row + columns[number].offset;
	char classes[CLASSES_TEXT_MAX];

	switch (columns[number].type) {
	case COLUMN_NUMBER:
		(void)sqlite3_bind_int64(statement, number + 1, *(const int64_t *)at);
		break;
	case COLUMN_UID:
		(void)sqlite3_bind_int64(statement, number + 1, row->uid);
		break;
	case COLUMN_STATE:
		(void)sqlite3_bind_int(statement, number + 1, (int)row->state);
		break;
	case COLUMN_TEXT:
		(void)sqlite3_bind_text(statement, number + 1, *(char *const *)at, -1,
					SQLITE_STATIC);
		break;
	case COLUMN_CLASSES:
		(void)sqlite3_bind_text(statement, number + 1, classes_text(row, classes), -1,
					SQLITE_TRANSIENT);
		break;
	}
}

void store_bind_columns(sqlite3_stmt *statement, const struct job_row *row)
{
	for (int i = 0; i < sqlite3_bind_parameter_count(statement); i++)
		bind_column(statement, i, row);
}

/* --- New rows as a table --- */

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
	int r = sqlite3_declare_vtab(database, "CREATE TABLE x (" JOB_AND_REQUEST_COLUMNS ")");

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
		sqlite3_result_text(result, classes_text(row, classes), -1, SQLITE_TRANSIENT);
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
