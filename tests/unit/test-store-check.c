/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --check and --backup, beside the store that is open. */
#include "tests/lib/store-box.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

struct findings {
	char text[1024];
	size_t size;
};

static void take_finding(const char *finding, void *context)
{
	struct findings *findings = context;

	findings->size +=
		(size_t)snprintf(findings->text + findings->size,
				 sizeof(findings->text) - findings->size, "%s\n", finding);
	assert_true(findings->size < sizeof(findings->text));
}

/* The lines of a check, of which there are just so many. */
static void expect_findings(const char *path, const char *expected)
{
	struct findings findings = {.size = 0};
	struct error error = {0};
	int count = store_check(path, take_finding, &findings, &error), lines = 0;

	if (count < 0)
		fail_msg("%s", error.sentence);
	assert_string_equal(findings.text, expected);
	for (const char *c = findings.text; *c; c++)
		lines += *c == '\n';
	assert_int_equal(count, lines);
}

/* Two jobs, the first with tasks that ended, one that failed among them. */
static uint64_t fill(void)
{
	uint64_t job = box_put_job("whole", 3);
	uint64_t other = box_put_job(NULL, 1);
	struct outcome outcome = {.state = TASK_FAILED, .class = CLASS_EXIT};
	struct job_row row = {.id = job, .state = JOB_FAILED, .next_index = 3};

	(void)box_put_task(job, 0, "one", 3);
	(void)box_put_task(job, 1, "two\n", 4);
	store_put_cursor(box.store, 1000, "mine", job, 1);
	row.last_position = row.received_position = store_next_position(box.store);
	store_put_cursor(box.store, 1000, "mine", 0, row.last_position);
	store_put_task_ended(box.store, box_key(job, 2), 1, 1, &outcome, 2, row.last_position);
	row.counts[TASK_SUCCEEDED] = 2;
	row.counts[TASK_FAILED] = 1;
	store_put_job_update(box.store, &row);
	box_commit();
	assert_true(other > job);
	return job;
}

static void test_what_is_well(void **state)
{
	uint64_t job = fill();
	bool is_more = true;

	(void)state;
	expect_findings(box.path, "");
	/* A removed job, before and after its rows are gone */
	store_put_job_removed(box.store, job);
	box_commit();
	expect_findings(box.path, "");
	while (is_more)
		assert_int_equal(store_reap(box.store, &is_more), 0);
	expect_findings(box.path, "");
}

#define ADD_SCHEDULE(id, last_job, runs)                                                          \
	"INSERT INTO schedule VALUES (" id ", 0, 'ping', NULL, NULL, '{}', '{}', 1, 0, NULL, 0, " \
	"0, 0, 0, 1, 2, 0, " last_job ", " runs ", 0, NULL)"

/* One thing wrong after the other. */
static void test_what_is_wrong(void **state)
{
	static const struct {
		const char *breaks, *mends, *finding;
	} rows[] = {
		{"INSERT INTO request VALUES (77, '{}', '{}')",
		 "DELETE FROM request WHERE job = 77", "1 requests of jobs that are not there\n"},
		{"UPDATE request SET job = 99 WHERE job = 2",
		 "UPDATE request SET job = 2 WHERE job = 99",
		 "1 requests of jobs that are not there\n1 jobs without their request\n"},
		{"INSERT INTO task (key, state, attempts, started_us) VALUES (330712481792, 1, 1, "
		 "1)",
		 "DELETE FROM task WHERE key = 330712481792",
		 "1 tasks of jobs that are not there\n"},
		{"UPDATE record SET job = 77 WHERE position = 1",
		 "UPDATE record SET job = 1 WHERE position = 1",
		 "1 results of jobs that are not there\n"
		 "1 jobs whose output is shorter or longer than their tasks say\n"},
		{"INSERT INTO cursor VALUES (77, 0, '', 1)", "DELETE FROM cursor WHERE job = 77",
		 "1 reading positions of jobs that are not there\n"},
		{"UPDATE cursor SET position = 6 WHERE job = 0",
		 "UPDATE cursor SET position = 5 WHERE job = 0",
		 "1 reading positions that would hide results to come\n"},
		{"UPDATE job SET received_position = 6 WHERE id = 1",
		 "UPDATE job SET received_position = 5 WHERE id = 1",
		 "1 reading positions that would hide results to come\n"},
		{"UPDATE job SET succeeded = 3 WHERE id = 1",
		 "UPDATE job SET succeeded = 2 WHERE id = 1",
		 "1 jobs whose counters differ from their tasks\n"},
		{"UPDATE job SET running = 1 WHERE id = 2",
		 "UPDATE job SET running = 0 WHERE id = 2",
		 "1 jobs whose running tasks are not to be found\n"},
		{"INSERT INTO task (key, state, attempts, started_us, ended_us) VALUES "
		 "(8589934592, 0, 1, 1, 2)",
		 "DELETE FROM task WHERE key = 8589934592",
		 "1 tasks that failed more often than they were begun\n"},
		{"UPDATE record SET stream = 0, bytes = x'' WHERE position = 2",
		 "UPDATE record SET stream = NULL, bytes = NULL WHERE position = 2",
		 "1 jobs whose tasks ended without a record, or twice\n"},
		{"UPDATE record SET bytes = x'61' WHERE position = 3",
		 "UPDATE record SET bytes = x'74776f0a' WHERE position = 3",
		 "1 jobs whose output is shorter or longer than their tasks say\n"},
		{"UPDATE job SET last_position = 4 WHERE id = 1",
		 "UPDATE job SET last_position = 5 WHERE id = 1",
		 "1 jobs whose last result is not the one they say\n"},
		{ADD_SCHEDULE("2", "0", "0"), "DELETE FROM schedule",
		 "1 schedules whose number a job has, or may get\n"},
		{ADD_SCHEDULE("3", "0", "0"), "DELETE FROM schedule",
		 "1 schedules whose number a job has, or may get\n"},
		{"UPDATE job SET schedule = 1 WHERE id = 2",
		 "UPDATE job SET schedule = 0 WHERE id = 2",
		 "1 jobs of schedules that never were\n"},
		{"UPDATE meta SET next_job = 4; UPDATE job SET schedule = 3 WHERE id < "
		 "3;" ADD_SCHEDULE("3", "2", "1"),
		 "UPDATE meta SET next_job = 3; UPDATE job SET schedule = 0; DELETE FROM schedule",
		 "1 schedules that count fewer runs than there are\n"},
		{"UPDATE meta SET next_job = 4;" ADD_SCHEDULE("3", "2", "1"),
		 "UPDATE meta SET next_job = 3; DELETE FROM schedule",
		 "1 schedules whose last run is not theirs\n"},
		{"UPDATE meta SET next_job = 2, next_position = 5",
		 "UPDATE meta SET next_job = 3, next_position = 6",
		 "2 numbers that would be given twice\n"
		 "2 reading positions that would hide results to come\n"},
	};

	(void)state;
	assert_int_equal(fill(), 1);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		box_execute(rows[i].breaks);
		expect_findings(box.path, rows[i].finding);
		box_execute(rows[i].mends);
		expect_findings(box.path, "");
	}
}

static void test_what_cannot_be_checked(void **state)
{
	autofree char *missing = xasprintf("%s/missing", box.folder);
	struct error error = {0};

	(void)state;
	assert_int_equal(store_check(missing, take_finding, NULL, &error), -EIO);
	assert_non_null(strstr(error.sentence, missing));
	error_done(&error);
	box_execute("PRAGMA user_version = 9");
	assert_int_equal(store_check(box.path, take_finding, NULL, &error), -EUCLEAN);
	assert_non_null(strstr(error.sentence, "version 9"));
	error_done(&error);
}

static void test_backup(void **state)
{
	autofree char *copy = xasprintf("%s/copy", box.folder);
	autofree char *nowhere = xasprintf("%s/no/copy", box.folder);
	struct error error = {0};
	uint64_t job = fill();
	struct job_row row;
	struct stat status;

	(void)state;
	assert_int_equal(store_backup(box.path, copy, &error), 0);
	assert_int_equal(stat(copy, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	/* What comes later is not in it. */
	store_put_job_removed(box.store, job);
	box_commit();
	expect_findings(copy, "");

	assert_int_equal(store_backup(box.path, copy, &error), -EIO);
	assert_non_null(strstr(error.sentence, "is there already"));
	error_done(&error);
	assert_int_equal(store_backup(box.path, nowhere, &error), -EIO);
	error_done(&error);

	/* It is a database like any other. */
	store_close(box.store);
	box.store = box_open_store(copy);
	assert_int_equal(store_read_job(box.store, job, &row), 0);
	assert_int_equal(row.counts[TASK_SUCCEEDED], 2);
	job_row_done(&row);
	box_check();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_what_is_well),
		BOX_TEST(test_what_is_wrong),
		BOX_TEST(test_what_cannot_be_checked),
		BOX_TEST(test_backup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
