/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A database of an older jobd: what it says stays, and where it cannot be brought up, all of it. */
#include "tests/lib/fault-vfs.h"
#include "tests/lib/store-box.h"

#include "common/log.h"
#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

enum { CALLS_MAX = 1000, LAST_VERSION = 2 /* of tests/data */ };

/* The text of a file of tests/data. The test frees. */
static char *data_text(const char *name)
{
	const char *top = getenv("abs_top_srcdir");
	autofree char *path = xasprintf("%s/tests/data/%s", top ? top : ".", name);
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	if (!file)
		fail_msg("cannot read %s", path);
	assert_true(getdelim(&text, &size, '\0', file) > 0);
	(void)fclose(file);
	return text;
}

/* In the place of the box's database, past the store. */
static void restore(int version)
{
	static const char *const files[] = {"", "-wal", "-shm"};
	autofree char *name = xasprintf("schema-%d.sql", version);
	autofree char *text = data_text(name);
	sqlite3 *database;

	store_close(box.store);
	box.store = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		autofree char *path = xasprintf("%s%s", box.path, files[i]);

		(void)unlink(path);
	}
	assert_int_equal(sqlite3_open(box.path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, text, NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(database);
}

static int add_row(void *context, int count, char **values, char **names)
{
	FILE *out = context;

	(void)names;
	for (int i = 0; i < count; i++)
		(void)fprintf(out, "%s|", values[i] ? values[i] : "NULL");
	(void)fputc('\n', out);
	return 0;
}

/* All that version 1 knows, and the schema where that is asked for. The test frees. */
static char *contents(bool with_schema)
{
	static const char *const queries[] = {
		"SELECT * FROM meta",
		"SELECT id, uid, kind, name, token, retry_of, state, queued, running, succeeded, "
		"failed, stopped, interrupted, classes, next_index, last_position, "
		"received_position, created_us, started_us, ended_us, recorded_index, "
		"output_bytes, reason FROM job ORDER BY id",
		"SELECT * FROM request ORDER BY job",
		"SELECT * FROM task ORDER BY key",
		"SELECT position, job, task, stream, \"offset\", at_us, hex(bytes) FROM record "
		"ORDER BY position",
		"SELECT * FROM cursor ORDER BY job, uid, name",
		"SELECT * FROM removed ORDER BY job",
		"SELECT sql, (SELECT user_version FROM pragma_user_version) FROM sqlite_schema "
		"ORDER BY name",
	};
	size_t count = ARRAY_SIZE(queries) - !with_schema, size;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);
	sqlite3 *database;

	assert_non_null(out);
	assert_int_equal(sqlite3_open(box.path, &database), SQLITE_OK);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(sqlite3_exec(database, queries[i], add_row, out, NULL), SQLITE_OK);
	(void)sqlite3_close(database);
	assert_int_equal(fclose(out), 0);
	return text;
}

static void tell_finding(const char *finding, void *context)
{
	(void)context;
	print_error("%s\n", finding);
}

static void expect_well(void)
{
	struct error error = {0};

	assert_int_equal(store_check(box.path, tell_finding, NULL, &error), 0);
}

/* An older file can be checked and copied before it is brought up. */
static void bring_up(int version)
{
	autofree char *copy = xasprintf("%s/copy", box.folder);
	struct error error = {0};

	restore(version);
	autofree char *before = contents(false);
	expect_well();
	assert_int_equal(store_backup(box.path, copy, &error), 0);
	assert_int_equal(access(copy, F_OK), 0);
	box.store = box_open_store(box.path);
	autofree char *after = contents(false);
	assert_string_equal(after, before);
	assert_int_equal(box_number("PRAGMA user_version"), 3);
	expect_well();
}

static void test_version_1(void **state)
{
	struct box_list live = {.count = 0}, tasks = {.count = 0};
	uint64_t position, id;
	bool is_more = true;
	struct job_row row;

	(void)state;
	bring_up(1);
	assert_int_equal(store_read_live_jobs(box.store, box_list_job, &live), 0);
	box_expect(&live, 6, 8);
	assert_int_equal(store_read_live_tasks(box.store, box_list_task, &tasks), 0);
	box_expect(&tasks, 0);
	assert_int_equal(store_read_cursor(box.store, 0, "backup", 2, &position), 0);
	assert_int_equal(position, 9);
	assert_int_equal(store_find_token(box.store, 0, "1814e083b9e35253cc8109c51f264ee0", &id),
			 0);
	assert_int_equal(store_read_job(box.store, id, &row), 0);
	assert_string_equal(row.name, "live");
	assert_int_equal(row.schedule, 0);
	job_row_done(&row);
	while (is_more)
		assert_int_equal(store_reap(box.store, &is_more), 0);
	assert_int_equal(box_number("SELECT count(*) FROM record WHERE job = 9"), 0);
	assert_true(box_put_job(NULL, 1) == 10);
	box_commit();
	box_reopen();
	expect_well();
}

/* The request of a long job has no short form yet: it is read for that. */
static void test_version_2(void **state)
{
	struct box_list live = {.count = 0};
	struct job_row row;

	(void)state;
	bring_up(2);
	assert_int_equal(store_read_live_jobs(box.store, box_list_job, &live), 0);
	box_expect(&live, 3);
	assert_int_equal(box_number("SELECT count(*) FROM schedule"), 2);
	assert_int_equal(store_read_job(box.store, 2, &row), 0);
	assert_null(row.targets_shown);
	assert_non_null(strstr(row.targets, "127.0.79.9"));
	job_row_done(&row);
	assert_int_equal(store_read_job(box.store, 5, &row), 0);
	assert_int_equal(row.schedule, 4);
	job_row_done(&row);
	box_reopen();
	expect_well();
}

/* Every column and index of the box's database. The test frees. */
static char *shape(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(
		sqlite3_exec(box.store->database,
			     "SELECT t.type, t.name, tbl_name, c.name, c.type, \"notnull\", "
			     "dflt_value, pk, CASE WHEN t.type = 'index' THEN replace(sql, '  ', "
			     "' ') END FROM sqlite_schema AS t LEFT JOIN pragma_table_info(t.name) "
			     "AS c ORDER BY t.name, cid",
			     add_row, out, NULL),
		SQLITE_OK);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* What an old file becomes is what a new one is. */
static void test_one_schema(void **state)
{
	autofree char *fresh = shape();

	(void)state;
	for (int version = 1; version <= LAST_VERSION; version++) {
		restore(version);
		box.store = box_open_store(box.path);
		autofree char *brought_up = shape();
		assert_string_equal(brought_up, fresh);
	}
}

/* A disk that fails at some call leaves the old version whole, and the next opening does it. */
static void fail_at_each_call(int version)
{
	bool has_failed = true;

	for (unsigned n = 1; has_failed; n++) {
		struct error error = {0};

		assert_true(n < CALLS_MAX);
		restore(version);
		autofree char *before = contents(true);
		fault_arm(n, true);
		if (store_open(box.path, &box.store, &error) == 0)
			store_close(box.store);
		box.store = NULL;
		error_done(&error);
		has_failed = fault_disarm();
		autofree char *after = contents(true);
		if (!strstr(after, "targets_shown"))
			assert_string_equal(after, before);
		expect_well();
		box.store = box_open_store(box.path);
		assert_int_equal(box_number("PRAGMA user_version"), 3);
	}
}

static void test_failing_disk(void **state)
{
	(void)state;
	for (int version = 1; version <= LAST_VERSION; version++)
		fail_at_each_call(version);
}

/* One whose steps cannot be taken says so, and stays. */
static void test_what_is_in_the_way(void **state)
{
	(void)state;
	restore(1);
	sqlite3 *database;
	assert_int_equal(sqlite3_open(box.path, &database), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(database, "CREATE INDEX job_schedule ON job (id)", NULL, NULL, NULL),
		SQLITE_OK);
	(void)sqlite3_close(database);
	autofree char *before = contents(true);
	autofree char *sentence = box_refusal(box.path);
	autofree char *after = contents(true);
	assert_non_null(strstr(sentence, "job_schedule"));
	assert_string_equal(after, before);
}

static int open_on_faults(void **state)
{
	fault_install(false);
	return box_open(state);
}

static int close_on_faults(void **state)
{
	(void)box_close(state);
	fault_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_version_1),
		BOX_TEST(test_version_2),
		BOX_TEST(test_one_schema),
		cmocka_unit_test_setup_teardown(test_failing_disk, open_on_faults, close_on_faults),
		BOX_TEST(test_what_is_in_the_way),
	};

	log_set_level(LOG_ERR); /* not each bringing up */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
