/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file, its jobs, and removing: what is put is read on indexes, what is removed is gone. */
#include "tests/lib/store-box.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

/* --- The file --- */

static unsigned mode_of(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return status.st_mode & 07777;
}

static void test_new_file(void **state)
{
	static const struct {
		const char *sql;
		int64_t value;
	} rows[] = {
		{"PRAGMA application_id", 0x6a6f6264},
		{"PRAGMA user_version", 3},
		{"PRAGMA page_size", 4096},
		{"PRAGMA auto_vacuum", 2},
		{"PRAGMA synchronous", 2},
		{"PRAGMA secure_delete", 0},
		{"PRAGMA wal_autocheckpoint", 0},
		{"PRAGMA journal_size_limit", 64 << 20},
		{"SELECT journal_mode = 'wal' FROM pragma_journal_mode", 1},
	};
	autofree char *folder = xasprintf("%s/state", box.folder);
	autofree char *log = xasprintf("%s-wal", box.path);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(box_number(rows[i].sql), rows[i].value);
	(void)box_put_job(NULL, 1);
	box_commit();
	assert_int_equal(mode_of(folder), 0700);
	assert_int_equal(mode_of(box.path), 0600);
	assert_int_equal(mode_of(log), 0600);
	assert_int_equal(store_commits(box.store), 1);
	assert_true(store_bytes(box.store) >= 4096);
}

/* A file that SQLite made, and that nothing is in yet, is as good as none. */
static void test_empty_database(void **state)
{
	autofree char *path = xasprintf("%s/empty.db", box.folder);
	sqlite3 *database;

	(void)state;
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	assert_int_equal(
		sqlite3_exec(database, "CREATE TABLE t (x); DROP TABLE t", NULL, NULL, NULL),
		SQLITE_OK);
	(void)sqlite3_close(database);
	store_close(box.store);
	box.store = box_open_store(path);
	assert_int_equal(box_number("PRAGMA auto_vacuum"), 2);
	(void)box_put_job(NULL, 1);
	box_commit();
}

/* The steps of a statement's plan, a line each. The test frees. */
static char *plan_of(enum statement which)
{
	autofree char *sql = xasprintf("EXPLAIN QUERY PLAN %s", store_sql[which]);
	char *steps = xstrdup("");
	sqlite3_stmt *plan;

	assert_int_equal(sqlite3_prepare_v2(box.store->database, sql, -1, &plan, NULL), SQLITE_OK);
	while (sqlite3_step(plan) == SQLITE_ROW) {
		autofree char *before = steps;

		steps = xasprintf("%s%s\n", before, sqlite3_column_text(plan, 3));
	}
	(void)sqlite3_finalize(plan);
	return steps;
}

/*
 * No statement walks over a table: only the small partial indexes of what is live are read whole.
 * A temporary b-tree would sort what an index should have in order.
 */
static void test_query_plans(void **state)
{
	static const char *const fine[] = {
		"SCAN removed",
		"SCAN job USING INDEX job_live",
		"SCAN task USING INDEX task_live",
		"SCAN CONSTANT ROW",
		/* What is inserted is read whole. */
		"SCAN temp.new_job VIRTUAL TABLE INDEX 0:",
		/* Counted when one is made: max-schedules bounds them. */
		"SCAN schedule USING COVERING INDEX schedule_user",
	};

	(void)state;
	for (enum statement i = 0; i < STATEMENT_COUNT; i++) {
		autofree char *plan = plan_of(i);
		char *rest = plan, *step;

		while ((step = strsep(&rest, "\n"))) {
			bool is_fine = !strstr(step, "SCAN") && !strstr(step, "TEMP B-TREE");

			for (size_t n = 0; n < ARRAY_SIZE(fine); n++)
				is_fine = is_fine || streq(step, fine[n]);
			if (!is_fine)
				fail_msg("%s: %s", store_sql[i], step);
		}
	}
}

/* Each way to a job takes the index that was made for it, not the way through all jobs. */
static void test_indexes(void **state)
{
	static const struct {
		enum statement statement;
		const char *step;
	} rows[] = {
		{SQL_JOBS_ALL, "SEARCH job USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)\n"},
		{SQL_JOBS_OF_USER, "SEARCH job USING INDEX job_user (uid=? AND rowid>"},
		{SQL_JOBS_UNRECEIVED, "SEARCH job USING INDEX job_unreceived (uid=? AND rowid>"},
		{SQL_JOBS_LIVE, "job USING INDEX job_live"},
		{SQL_JOBS_FAILED, "job USING INDEX job_failed ("},
		{SQL_JOBS_FAILED_OF_USER,
		 "SEARCH job USING INDEX job_failed_of_user (uid=? AND rowid>"},
		{SQL_JOBS_LIVE_ASCENDING, "job USING INDEX job_live"},
		{SQL_JOBS_NAMED, "SEARCH job USING INDEX job_name (name=? AND rowid>"},
		{SQL_JOBS_OF_SCHEDULE, "job USING INDEX job_schedule (schedule=? AND rowid>"},
		{SQL_SCHEDULES_OF_USER, "schedule USING INDEX schedule_user (uid=? AND rowid>?)"},
		{SQL_SCHEDULES_NAMED, "schedule USING INDEX schedule_name (name=?)"},
		{SQL_SCHEDULES_DUE, "INDEX schedule_due (next_us>? AND next_us<?)"},
		{SQL_SCHEDULE_NEXT, "INDEX schedule_due (next_us>?)"},
		{SQL_SCHEDULE_TOKEN, "INDEX schedule_token (uid=? AND token=?)"},
		{SQL_SCHEDULE_LIVE, "INDEX job_schedule_live (schedule=?)"},
		{SQL_SCHEDULE_ENDED, "INDEX job_schedule (schedule=?)"},
		{SQL_TOKEN_FIND, "INDEX job_token (uid=? AND token=?)"},
		{SQL_TASKS_LIVE, "task USING INDEX task_live"},
		{SQL_RECORDS_READ, "record USING INDEX record_job (job=? AND rowid>? AND rowid<?)"},
		{SQL_RECORD_NEXT, "record USING COVERING INDEX record_job (job=? AND rowid>?)"},
		{SQL_RECORDS_DELETE, "INDEX record_job (job=? AND rowid<?)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *plan = plan_of(rows[i].statement);

		if (!strstr(plan, rows[i].step))
			fail_msg("%s: %s", store_sql[rows[i].statement], plan);
	}
}

/* --- Jobs --- */

static void assert_text(const char *text, const char *expected)
{
	if (expected)
		assert_string_equal(text, expected);
	else
		assert_null(text);
}

static void expect_job(const struct job_row *expected)
{
	struct job_row row;

	assert_int_equal(store_read_whole_job(box.store, expected->id, &row), 0);
	assert_int_equal(row.id, expected->id);
	assert_int_equal(row.uid, expected->uid);
	assert_text(row.kind, expected->kind);
	assert_text(row.name, expected->name);
	assert_text(row.token, expected->token);
	assert_text(row.options, expected->options);
	assert_text(row.targets, expected->targets);
	assert_int_equal(row.retry_of, expected->retry_of);
	assert_int_equal(row.schedule, expected->schedule);
	assert_int_equal(row.state, expected->state);
	assert_memory_equal(row.counts, expected->counts, sizeof(row.counts));
	assert_memory_equal(row.class_counts, expected->class_counts, sizeof(row.class_counts));
	assert_int_equal(row.next_index, expected->next_index);
	assert_int_equal(row.recorded_index, expected->recorded_index);
	assert_int_equal(row.last_position, expected->last_position);
	assert_int_equal(row.received_position, expected->received_position);
	assert_int_equal(row.created_us, expected->created_us);
	assert_int_equal(row.started_us, expected->started_us);
	assert_int_equal(row.ended_us, expected->ended_us);
	assert_int_equal(row.output_bytes, expected->output_bytes);
	assert_text(row.reason, expected->reason);
	assert_text(row.targets_shown, expected->targets_shown);
	assert_text(row.command_shown, expected->command_shown);
	job_row_done(&row);
}

static int take_copy(const struct job_row *row, void *context)
{
	job_row_copy(row, context);
	return 1;
}

/* Options and targets are read on demand where there is a short form of them, and else always. */
static void test_short_row(void **state)
{
	char kind[] = "ping", options[] = "{\"count\":3}", targets[] = "{\"targets\":[\"r1\"]}";
	char targets_shown[] = "r1 ... (9)", command_shown[] = "show";
	struct job_row row = {.uid = 1,
			      .kind = kind,
			      .options = options,
			      .targets = targets,
			      .targets_shown = targets_shown,
			      .command_shown = command_shown};
	uint64_t ordinary = box_put_job(NULL, 1), next;

	(void)state;
	row.id = store_next_job(box.store);
	store_put_job(box.store, &row);
	box_commit();
	expect_job(&row);
	for (int is_whole = 0; is_whole <= 1; is_whole++) {
		const struct job_filter filter = {.is_whole = is_whole};
		struct job_row read = {.id = 0};

		assert_int_equal(store_read_jobs(box.store, &filter, 0, 1, take_copy, &read, &next),
				 0);
		assert_text(read.options, is_whole ? options : NULL);
		assert_text(read.targets, is_whole ? targets : NULL);
		assert_text(read.targets_shown, targets_shown);
		job_row_done(&read);
	}
	assert_int_equal(store_read_job(box.store, row.id, &row), 0);
	assert_null(row.options);
	assert_null(row.targets);
	assert_text(row.targets_shown, "r1 ... (9)");
	assert_text(row.command_shown, "show");
	job_row_done(&row);
	assert_int_equal(store_read_job(box.store, ordinary, &row), 0);
	assert_text(row.options, options);
	assert_non_null(row.targets);
	job_row_done(&row);
}

/* What takes long to look at is no page of a hundred. */
static void test_long_rows(void **state)
{
	enum { LONG = 300 * 1024 };
	autofree char *text = xcalloc(LONG + 1, 1);
	char kind[] = "ssh", targets[] = "{}";
	struct job_row row = {.uid = 1, .kind = kind, .options = text, .targets = targets};
	uint64_t before = 0;

	(void)state;
	memset(text, 'x', LONG);
	for (size_t i = 0; i < 3; i++) {
		row.id = store_next_job(box.store);
		store_put_job(box.store, &row);
	}
	box_commit();
	for (uint64_t id = 3; id > 0; id--) {
		struct box_list list = {0};

		assert_int_equal(store_read_jobs(box.store, &(struct job_filter){0}, before, 100,
						 box_list_job, &list, &before),
				 0);
		box_expect(&list, id);
		assert_int_equal(before, id);
	}
}

static void test_job_row(void **state)
{
	char kind[] = "ssh", name[] = "nightly", token[] = "t-1", options[] = "{\"command\":\"x\"}";
	char targets[] = "{\"targets\":[\"r\xc3\xa9\"]}", other[] = "weekly", later[] = "{}";
	char reason[] = "enough", targets_shown[] = "r ... (99)", command_shown[] = "show ...";
	struct job_row row = {
		.id = store_next_job(box.store),
		.uid = UINT32_MAX - 1,
		.kind = kind,
		.name = name,
		.token = token,
		.options = options,
		.targets = targets,
		.reason = reason,
		.targets_shown = targets_shown,
		.command_shown = command_shown,
		.retry_of = 77,
		.schedule = 78,
		.state = JOB_RUNNING,
		.counts = {1, 2, 3, 4, 5, 1ULL << 40},
		.class_counts = {[CLASS_TIMEOUT] = 7, [CLASS_INTERNAL] = UINT32_MAX},
		.next_index = 9,
		.recorded_index = 7,
		.last_position = 10,
		.received_position = 8,
		.created_us = 1700000000000001,
		.started_us = 1700000000000002,
		.ended_us = 1700000000000003,
		.output_bytes = 11,
	};
	uint64_t found;

	(void)state;
	store_put_job(box.store, &row);
	box_commit();
	box_reopen();
	expect_job(&row);
	assert_int_equal(store_find_token(box.store, row.uid, token, &found), 0);
	assert_int_equal(found, row.id);
	assert_int_equal(store_find_token(box.store, row.uid + 1, token, &found), -ENOENT);
	assert_int_equal(store_find_token(box.store, row.uid, "t-2", &found), -ENOENT);

	/* An update without name and options leaves them; what never changes is not looked at. */
	row.state = JOB_FAILED;
	row.counts[TASK_FAILED] = 6;
	row.class_counts[CLASS_EXIT] = 1;
	row.last_position = 12;
	row.received_position = 3;
	row.ended_us = 1700000000000003;
	row.kind = row.name = row.token = row.options = row.targets = NULL;
	row.targets_shown = row.command_shown = NULL;
	store_put_job_update(box.store, &row);
	box_commit();
	row.kind = kind;
	row.name = name;
	row.token = token;
	row.options = options;
	row.targets = targets;
	row.targets_shown = targets_shown;
	row.command_shown = command_shown;
	row.received_position = 8; /* never backwards */
	expect_job(&row);

	row.name = other;
	row.options = later;
	row.received_position = 11;
	store_put_job_update(box.store, &row);
	box_commit();
	box_reopen();
	expect_job(&row);
}

static void test_queue_is_unseen(void **state)
{
	struct box_list list = {.count = 0};
	struct job_row row;
	uint64_t kept = box_put_job(NULL, 1), dropped = box_put_job(NULL, 1), next;
	size_t bytes;

	(void)state;
	bytes = store_queued_bytes(box.store) / 2;
	(void)box_put_task(dropped, 0, "abc", 3);
	store_put_cursor(box.store, 1000, "mine", dropped, 1);
	assert_true(store_has_changes(box.store));
	assert_int_equal(store_read_job(box.store, kept, &row), -ENOENT);
	store_drop_job(box.store, dropped);
	assert_int_equal(store_queued_bytes(box.store), bytes);
	box_commit();
	assert_int_equal(store_read_jobs(box.store, &(struct job_filter){0}, 0, 10, box_list_job,
					 &list, &next),
			 0);
	box_expect(&list, kept);
	assert_int_equal(
		box_number("SELECT (SELECT count(*) FROM task) + "
			   "(SELECT count(*) FROM record) + (SELECT count(*) FROM cursor)"),
		0);
}

/* What the database refuses takes nothing else along: neither before it nor behind it. */
static void test_refused_change(void **state)
{
	char kind[] = "ping", token[] = "t", none[] = "{}";
	struct job_row row = {
		.uid = 1, .kind = kind, .token = token, .options = none, .targets = none};
	uint64_t first = row.id = store_next_job(box.store), second;
	size_t bytes;

	(void)state;
	store_put_job(box.store, &row);
	second = row.id = store_next_job(box.store);
	store_put_job(box.store, &row); /* the token is taken */
	bytes = store_queued_bytes(box.store);
	assert_int_equal(store_commit(box.store), -EIO);
	assert_non_null(strstr(store_error(box.store), "UNIQUE constraint failed"));
	assert_int_equal(store_queued_bytes(box.store), bytes);
	assert_true(sqlite3_get_autocommit(box.store->database));
	assert_int_equal(box_number("SELECT count(*) FROM job"), 0);
	store_drop_job(box.store, second);
	box_commit();
	assert_int_equal(box_number("SELECT group_concat(id) FROM job"), first);
}

/* Jobs 1 to 6, one of each sort. */
static void put_sorts(void)
{
	static const struct {
		const char *name;
		char kind[8];
		uid_t uid;
		enum job_state state;
		uint64_t last, received;
	} sorts[] = {
		{NULL, "ping", 1, JOB_COMPLETED, 5, 5},  {"lab-a", "ssh", 1, JOB_QUEUED, 0, 0},
		{"lab-b", "ping", 2, JOB_PAUSED, 9, 4},  {"lab-b", "ssh", 1, JOB_FAILED, 7, 6},
		{"other", "ping", 1, JOB_STOPPED, 3, 0}, {"lab-a", "ping", 2, JOB_RUNNING, 8, 8},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sorts); i++) {
		autofree char *name = xstrdup_or_null(sorts[i].name);
		char kind[8], none[] = "{}";
		struct job_row row = {
			.id = store_next_job(box.store),
			.uid = sorts[i].uid,
			.kind = kind,
			.name = name,
			.options = none,
			.targets = none,
			.state = sorts[i].state,
			.last_position = sorts[i].last,
			.received_position = sorts[i].received,
			.created_us = (int64_t)(100 * (i + 1)),
		};

		memcpy(kind, sorts[i].kind, sizeof(kind));
		store_put_job(box.store, &row);
	}
	box_commit();
}

static void test_job_filters(void **state)
{
	static const struct {
		struct job_filter filter;
		uint64_t before;
		size_t limit;
		uint64_t ids[8]; /* ended by 0 */
	} rows[] = {
		{{0}, 0, 100, {6, 5, 4, 3, 2, 1}},
		{{0}, 0, SIZE_MAX, {6, 5, 4, 3, 2, 1}},
		{{0}, 0, 2, {6, 5}},
		{{0}, 5, 2, {4, 3}},
		{{.id_min = 2, .id_max = 4}, 0, 100, {4, 3, 2}},
		{{.has_uid = true, .uid = 1}, 0, 100, {5, 4, 2, 1}},
		{{.has_uid = true, .uid = 1}, 5, 2, {4, 2}},
		{{.has_uid = true, .uid = 0}, 0, 100, {0}},
		{{.kind = "ssh"}, 0, 100, {4, 2}},
		{{.name_glob = "lab-*"}, 0, 100, {6, 4, 3, 2}},
		{{.name_glob = "lab-[a]"}, 0, 100, {6, 2}},
		{{.name_glob = "lab-b"}, 0, 100, {4, 3}},
		{{.name_glob = "lab-b", .has_uid = true, .uid = 2}, 0, 100, {3}},
		{{.name_glob = "lab"}, 0, 100, {0}},
		{{.states = 1U << JOB_RUNNING | 1U << JOB_PAUSED}, 0, 100, {6, 3}},
		{{.states = 1U << JOB_RUNNING | 1U << JOB_FAILED}, 0, 100, {6, 4}},
		{{.states = 1U << JOB_QUEUED, .has_uid = true, .uid = 2}, 0, 100, {0}},
		{{.states = 1U << JOB_FAILED | 1U << JOB_STOPPED}, 0, 100, {5, 4}},
		{{.states = 1U << JOB_FAILED, .has_uid = true, .uid = 1}, 0, 100, {4}},
		{{.states = 1U << JOB_FAILED, .has_uid = true, .uid = 2}, 0, 100, {0}},
		{{.since_us = 300, .until_us = 500}, 0, 100, {5, 4, 3}},
		{{.has_unreceived = true}, 0, 100, {5, 4, 3}},
		{{.has_unreceived = true, .has_uid = true, .uid = 1}, 0, 100, {5, 4}},
		{{.has_unreceived = true, .has_uid = true, .uid = 1}, 5, 1, {4}},
	};

	(void)state;
	put_sorts();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct box_list list = {.count = 0};
		uint64_t next;

		assert_int_equal(store_read_jobs(box.store, &rows[i].filter, rows[i].before,
						 rows[i].limit, box_list_job, &list, &next),
				 0);
		assert_memory_equal(list.items, rows[i].ids, sizeof(rows[i].ids));
	}
}

static void test_live_jobs(void **state)
{
	struct box_list list = {.count = 0}, first = {.stop_after = 2};

	(void)state;
	put_sorts();
	assert_int_equal(store_read_live_jobs(box.store, box_list_job, &list), 0);
	box_expect(&list, 2, 3, 6);
	assert_int_equal(store_read_live_jobs(box.store, box_list_job, &first), 0);
	box_expect(&first, 2, 3);
}

/* --- Removing --- */

static void test_ids_are_new(void **state)
{
	uint64_t job = 0, position = 0;

	(void)state;
	for (int i = 0; i < 3; i++) {
		uint64_t next = box_put_job(NULL, 1), end = box_put_task(next, 0, "", 0);

		assert_true(next > job);
		assert_true(end > position);
		job = next;
		position = end;
		box_commit();
		store_put_job_removed(box.store, job);
		box_commit();
		box_reopen();
	}
	assert_true(store_next_job(box.store) > job);
	assert_true(store_next_position(box.store) > position);
}

static void test_removed_vanishes(void **state)
{
	uint64_t job = box_put_job("lab", 1), number, next;
	struct box_list list = {.count = 0};
	struct job_row row;

	(void)state;
	(void)box_put_task(job, 0, "abc", 3);
	store_put_cursor(box.store, 7, "", job, 1);
	box_commit();
	store_put_job_removed(box.store, job);
	store_put_job_removed(box.store, job); /* two clients in one turn */
	box_commit();
	assert_int_equal(store_read_job(box.store, job, &row), -ENOENT);
	(void)store_read_jobs(box.store, &(struct job_filter){0}, 0, 9, box_list_job, &list, &next);
	(void)store_read_tasks(box.store, job, -1, 9, box_list_task, &list);
	(void)store_read_records(box.store, job, 0, 0, 9, 9, box_list_record, &list);
	box_expect(&list);
	assert_int_equal(store_read_cursor(box.store, 7, "", job, &number), 0);
	assert_int_equal(number, 0);
	assert_int_equal(store_next_record(box.store, job, 0, &number), 0);
	assert_int_equal(number, 0);
}

static int64_t record_bytes(void)
{
	return box_number("SELECT coalesce(sum(length(bytes)), 0) FROM record");
}

/* Reaps until nothing is left to do; each piece is small, in rows and in bytes. */
static void reap_all(void)
{
	enum { PIECES = 1000, ROWS = 1000, BYTES = 3 << 20 };
	int64_t rows = box_number("SELECT count(*) FROM record"), bytes = record_bytes();
	unsigned pieces = 0;
	bool is_more = true;

	while (is_more) {
		int64_t rows_left, bytes_left;

		assert_int_equal(store_reap(box.store, &is_more), 0);
		assert_true(++pieces < PIECES);
		rows_left = box_number("SELECT count(*) FROM record");
		bytes_left = record_bytes();
		assert_true(rows - rows_left <= ROWS);
		assert_true(bytes - bytes_left <= BYTES);
		rows = rows_left;
		bytes = bytes_left;
	}
}

/* Made anew by a program that wanted no auto_vacuum; no more is done than can be. */
static void test_reap_of_uncut(void **state)
{
	uint64_t job = box_put_job(NULL, 1);

	(void)state;
	(void)box_put_output(box_key(job, 0), STREAM_STDOUT, 0, 1 << 20);
	box_commit();
	store_put_job_removed(box.store, job);
	box_commit();
	box_execute("PRAGMA auto_vacuum = 0; VACUUM");
	assert_int_equal(box_number("PRAGMA auto_vacuum"), 0);
	reap_all();
	assert_true(box_number("PRAGMA freelist_count") > 100);
}

/* A large job beside a small one: nothing is left of it, and the small one keeps everything. */
static void test_reap_leaves_nothing(void **state)
{
	enum { TASKS = 2500, LARGE = 20 };
	uint64_t job = box_put_job(NULL, TASKS), kept = box_put_job(NULL, 1);
	struct box_list list = {.count = 0};
	int64_t pages;

	(void)state;
	for (uint32_t i = 0; i < TASKS; i++)
		(void)box_put_task(job, i, "abc", 3);
	for (uint32_t i = 0; i < LARGE; i++)
		(void)box_put_output(box_key(job, i), STREAM_STDOUT, 3, 1 << 20);
	(void)box_put_task(kept, 0, "abc", 3);
	box_commit();
	store_put_job_removed(box.store, job);
	box_commit();
	pages = box_number("PRAGMA page_count");
	reap_all();
	assert_int_equal(box_number("SELECT (SELECT count(*) FROM job) + "
				    "(SELECT count(*) FROM request) + (SELECT count(*) FROM task)"),
			 3);
	assert_int_equal(box_number("SELECT count(*) FROM record"), 2);
	assert_int_equal(box_number("SELECT count(*) FROM removed"), 0);
	assert_int_equal(box_number("PRAGMA freelist_count"), 0);
	assert_true(store_bytes(box.store) < pages * 4096 / 100);
	(void)store_read_records(box.store, kept, 0, 0, 9, 9, box_list_record, &list);
	assert_int_equal(list.count, 2);
	box_check();
}

/* A commit goes to the log alone; the file has it when all were told. */
static void test_checkpoint(void **state)
{
	enum { SIZE = 5000000 };
	char kind[] = "ping", targets[] = "{}";
	autofree char *options = xmalloc(SIZE + 1);
	struct job_row row = {.id = store_next_job(box.store),
			      .kind = kind,
			      .options = options,
			      .targets = targets};
	int64_t before;

	(void)state;
	memset(options, 'x', SIZE);
	options[SIZE] = '\0';
	before = store_bytes(box.store);
	store_put_job(box.store, &row);
	assert_int_equal(store_commit(box.store), 0);
	assert_int_equal(store_bytes(box.store), before);
	store_checkpoint(box.store);
	assert_true(store_bytes(box.store) > SIZE);
	/* A small one is left for later. */
	before = store_bytes(box.store);
	row.id = store_next_job(box.store);
	row.options = targets;
	store_put_job(box.store, &row);
	assert_int_equal(store_commit(box.store), 0);
	store_checkpoint(box.store);
	assert_int_equal(store_bytes(box.store), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_new_file),
		BOX_TEST(test_empty_database),
		BOX_TEST(test_query_plans),
		BOX_TEST(test_indexes),
		BOX_TEST(test_job_row),
		BOX_TEST(test_short_row),
		BOX_TEST(test_queue_is_unseen),
		BOX_TEST(test_refused_change),
		BOX_TEST(test_job_filters),
		BOX_TEST(test_live_jobs),
		BOX_TEST(test_ids_are_new),
		BOX_TEST(test_removed_vanishes),
		BOX_TEST(test_reap_leaves_nothing),
		BOX_TEST(test_reap_of_uncut),
		BOX_TEST(test_checkpoint),
		BOX_TEST(test_long_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
