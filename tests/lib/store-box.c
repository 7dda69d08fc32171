/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/store-box.h"

#include "common/util.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct store_box box;

/* --- The box --- */

int box_open(void **state)
{
	const char *parent = getenv("TMPDIR");

	(void)state;
	(void)snprintf(box.folder, sizeof(box.folder), "%s/test-store-XXXXXX",
		       parent && strlen(parent) < 32 ? parent : "/tmp");
	if (!mkdtemp(box.folder))
		return -1;
	box.path = xasprintf("%s/state/jobd.db", box.folder);
	box.store = box_open_store(box.path);
	return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

int box_close(void **state)
{
	(void)state;
	store_close(box.store);
	free(box.path);
	box.store = NULL;
	return nftw(box.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct store *box_open_store(const char *path)
{
	struct error error = {0};
	struct store *store = NULL;

	if (store_open(path, &store, &error) < 0) {
		print_error("%s\n", error.sentence);
		error_done(&error);
		fail();
	}
	return store;
}

char *box_refusal(const char *path)
{
	struct error error = {0};
	struct store *store = NULL;
	int r = store_open(path, &store, &error);
	char *sentence;

	assert_true(r == -EIO || r == -EUCLEAN);
	assert_int_equal(error.id, ERROR_STORAGE_FAILED);
	assert_null(store);
	sentence = xstrdup(error.sentence);
	error_done(&error);
	return sentence;
}

void box_reopen(void)
{
	store_close(box.store);
	box.store = NULL;
	box.store = box_open_store(box.path);
}

void box_commit(void)
{
	int r = store_commit(box.store);

	if (r < 0)
		print_error("%s\n", store_error(box.store));
	assert_int_equal(r, 0);
	assert_null(store_error(box.store));
	assert_false(store_has_changes(box.store));
	store_checkpoint(box.store);
	assert_int_equal(store_queued_bytes(box.store), 0);
}

int64_t box_number(const char *sql)
{
	sqlite3_stmt *statement = NULL;
	int64_t value;

	assert_int_equal(sqlite3_prepare_v2(box.store->database, sql, -1, &statement, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
	value = sqlite3_column_int64(statement, 0);
	(void)sqlite3_finalize(statement);
	return value;
}

void box_execute(const char *sql)
{
	assert_int_equal(sqlite3_exec(box.store->database, sql, NULL, NULL, NULL), SQLITE_OK);
}

void box_check(void)
{
	assert_int_equal(box_number("SELECT count(*) = 1 AND min(integrity_check) = 'ok' "
				    "FROM pragma_integrity_check"),
			 1);
}

uint64_t box_steps(void)
{
	uint64_t steps = 0;

	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		steps += (uint64_t)sqlite3_stmt_status(box.store->statements[i],
						       SQLITE_STMTSTATUS_VM_STEP, 1);
	return steps;
}

/* --- Filling --- */

uint64_t box_put_job(const char *name, uint64_t tasks)
{
	autofree char *copy = xstrdup_or_null(name);
	char kind[] = "ping", options[] = "{\"count\":3}", targets[] = "{\"targets\":[\"r[1-9]\"]}";
	struct job_row row = {
		.id = store_next_job(box.store),
		.uid = 1000,
		.kind = kind,
		.name = copy,
		.options = options,
		.targets = targets,
		.state = JOB_QUEUED,
		.counts = {[TASK_QUEUED] = tasks},
		.created_us = now_real_us(),
	};

	store_put_job(box.store, &row);
	return row.id;
}

struct task_key box_key(uint64_t job, uint32_t index)
{
	return (struct task_key){.job = job, .index = index};
}

uint64_t box_put_task(uint64_t job, uint32_t index, const char *output, size_t size)
{
	struct task_key key = box_key(job, index);
	struct outcome outcome = {.state = TASK_SUCCEEDED};
	uint64_t position;

	store_put_task_started(box.store, key, 1, now_real_us());
	position = store_next_position(box.store);
	store_put_output(box.store, key, position, STREAM_STDOUT, 0, now_real_us(),
			 xmemdup(output, size), size);
	position = store_next_position(box.store);
	store_put_task_ended(box.store, key, 0, 0, &outcome, now_real_us(), position);
	return position;
}

uint64_t box_put_output(struct task_key key, enum stream stream, uint64_t offset, size_t size)
{
	uint64_t position = store_next_position(box.store);
	char *bytes = xmalloc(size);

	memset(bytes, 'x', size);
	store_put_output(box.store, key, position, stream, offset, now_real_us(), bytes, size);
	return position;
}

/* --- Reading --- */

static int list_item(struct box_list *list, uint64_t item)
{
	assert_true(list->count < ARRAY_SIZE(list->items));
	list->items[list->count++] = item;
	return list->count == list->stop_after;
}

int box_list_job(const struct job_row *row, void *list)
{
	return list_item(list, row->id);
}

int box_list_task(const struct task_row *row, void *list)
{
	return list_item(list, row->key.index);
}

int box_list_record(const struct record_row *row, void *context)
{
	struct box_list *list = context;

	if (row->is_end) {
		list->ends++;
		assert_int_equal(row->task.key.index, row->key.index);
		assert_true(task_state_is_final(row->task.state));
	}
	list->bytes += row->size;
	return list_item(list, row->position);
}

void box_expect_items(const struct box_list *list, const uint64_t *items, size_t count)
{
	assert_int_equal(list->count, count - 1);
	for (size_t i = 1; i < count; i++)
		assert_int_equal(list->items[i - 1], items[i]);
}

static int take_task(const struct task_row *row, void *context)
{
	*(struct task_row *)context = *row;
	return 1;
}

struct task_row box_task(struct task_key key)
{
	struct task_row row = {.key = {.job = 0}};

	assert_int_equal(
		store_read_tasks(box.store, key.job, (int64_t)key.index - 1, 1, take_task, &row),
		0);
	assert_int_equal(row.key.job, key.job);
	assert_int_equal(row.key.index, key.index);
	row.message = row.result = NULL;
	return row;
}

sqlite3 *box_lock(void)
{
	sqlite3 *other;

	assert_int_equal(sqlite3_open(box.path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	return other;
}

void box_unlock(sqlite3 *other)
{
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(other), SQLITE_OK);
}
