/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Schedules whose time comes while no file may be opened: their zone cannot be read, which ends
 * nothing. */
#include "common/log.h"
#include "common/util.h"
#include "daemon/schedules.h"
#include "daemon/server.h"
#include "tests/lib/jobs-box.h"
#include "tests/lib/store-box.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <cmocka.h>

enum { WAIT_US = 10000000 };

static struct schedules *schedules;
static struct daemon daemon_of_test;

static int open_schedules(void **state)
{
	if (jobs_box_open(state) < 0)
		return -1;
	daemon_of_test = (struct daemon){
		.base = table.base,
		.config = table.config,
		.store = box.store,
		.jobs = table.jobs,
	};
	schedules = schedules_new(&daemon_of_test);
	return 0;
}

static int close_schedules(void **state)
{
	schedules_free(schedules);
	return jobs_box_close(state);
}

static void turn(void)
{
	(void)event_base_loop(table.base, EVLOOP_NONBLOCK);
	jobs_box_commit();
	schedules_committed(schedules);
}

static uint64_t make(const char *calendar)
{
	json_t *parameters =
		json_pack("{s:s, s:[s], s:{s:s}, s:{s:s}}", "kind", "ping", "targets", "127.0.0.1",
			  "ping", "source", "192.0.2.77", "schedule", "onCalendar", calendar);
	struct job_request request = {.uid = 7, .parameters = parameters};
	struct error error = {0};
	uint64_t id, tasks;
	bool is_new;

	if (schedules_make(schedules, &request, &id, &tasks, &is_new, &error) < 0)
		fail_msg("%s", error.sentence);
	json_decref(parameters);
	turn();
	return id;
}

static struct schedule_row read_row(uint64_t id)
{
	struct schedule_row row;

	assert_int_equal(store_read_schedule(box.store, id, &row), 0);
	return row;
}

/* No more files may be opened; what was allowed before. */
static struct rlimit starve(void)
{
	struct rlimit usual, none;
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_true(next >= 0 && close(next) == 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &usual), 0);
	none = usual;
	none.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return usual;
}

/* Its time comes and goes. */
static void await_time(uint64_t id)
{
	struct schedule_row row = read_row(id);
	int64_t late_us = row.next_us + US_PER_SEC / 10;

	schedule_row_done(&row);
	while (now_real_us() < late_us)
		turn();
}

static uint64_t await_run(uint64_t id)
{
	int64_t end_us = now_monotonic_us() + WAIT_US;
	uint64_t job;

	do {
		struct schedule_row row;

		turn();
		row = read_row(id);
		job = row.last_job;
		schedule_row_done(&row);
		assert_true(now_monotonic_us() < end_us);
	} while (job == 0);
	return job;
}

static void expect_run_when_read(const char *calendar)
{
	struct rlimit usual;
	struct schedule_row row;
	uint64_t id = make(calendar), job;

	usual = starve();
	await_time(id);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &usual), 0);
	row = read_row(id);
	assert_int_equal(row.runs, 0);
	assert_int_equal(row.skipped, 0);
	assert_true(row.next_us > 0);
	assert_null(row.error);
	schedule_row_done(&row);
	job = await_run(id);
	schedules_remove(schedules, id);
	turn();
	if (jobs_find(table.jobs, job))
		(void)jobs_box_finish(jobs_find(table.jobs, job));
}

static void test_named(void **state)
{
	(void)state;
	expect_run_when_read("*:*:* Europe/Berlin");
}

/* Nor is that of this machine UTC then. */
static void test_local(void **state)
{
	(void)state;
	expect_run_when_read("*:*:*");
}

#define SCHEDULES_TEST(name) cmocka_unit_test_setup_teardown(name, open_schedules, close_schedules)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCHEDULES_TEST(test_named),
		SCHEDULES_TEST(test_local),
	};

	log_set_level(LOG_ERR); /* not each run */
	(void)unsetenv("TZ");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
