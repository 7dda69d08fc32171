/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a job's row says when its deadline passed, it was received or adjusted. */
#include "common/log.h"
#include "common/util.h"
#include "daemon/jobs-internal.h"
#include "tests/lib/jobs-box.h"
#include "tests/lib/store-box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { WAIT_MS = 10000 };

static struct job *start(const char *targets, const char *options)
{
	return jobs_box_start(targets, options, 1000000);
}

/* --- Deadlines --- */

/* The job, which has not begun when it ends. */
static uint64_t start_until(int64_t deadline_us)
{
	json_t *parameters = json_pack("{s:s, s:[s], s:I}", "kind", "ping", "targets", "127.0.0.1",
				       "deadlineUsec", (json_int_t)deadline_us);
	struct job_request request = {.uid = 7, .parameters = parameters};
	struct error error = {0};
	uint64_t id, tasks;
	bool is_new;

	assert_int_equal(jobs_start(table.jobs, &request, &id, &tasks, &is_new, &error), 0);
	json_decref(parameters);
	return id;
}

/* Its row, when its deadline has passed. */
static struct job_row await_deadline(uint64_t id)
{
	int64_t end_us = now_monotonic_us() + WAIT_MS * US_PER_MS;
	struct job_row row;

	while (jobs_find(table.jobs, id)) {
		(void)event_base_loop(table.base, EVLOOP_ONCE);
		assert_true(now_monotonic_us() < end_us);
	}
	jobs_box_commit();
	assert_int_equal(store_read_job(box.store, id, &row), 0);
	return row;
}

/* In the turn that made the job: its row is new then, and says why nothing was tried. */
static void test_deadline_at_once(void **state)
{
	struct job_row row = await_deadline(start_until(US_PER_MS));

	(void)state;
	assert_int_equal(row.state, JOB_FAILED);
	assert_non_null(row.reason);
	assert_string_equal(row.reason, job_past_deadline.reason);
	job_row_done(&row);
}

#define LONG_TURN_US (20 * US_PER_MS)

/* The turn has lasted long when it makes the job. */
static void start_late(evutil_socket_t fd, short what, void *context)
{
	int64_t late_us = now_monotonic_us() + LONG_TURN_US;

	(void)fd;
	(void)what;
	while (now_monotonic_us() < late_us)
		;
	*(uint64_t *)context = start_until(LONG_TURN_US);
}

/* It never comes before its time, whatever time libevent takes for now. */
static void test_deadline_in_long_turn(void **state)
{
	static const struct timeval at_once;
	uint64_t id = 0;
	struct job_row row;

	(void)state;
	assert_int_equal(event_base_once(table.base, -1, EV_TIMEOUT, start_late, &id, &at_once), 0);
	(void)event_base_loop(table.base, EVLOOP_ONCE);
	row = await_deadline(id);
	assert_true(row.ended_us - row.created_us >= LONG_TURN_US);
	job_row_done(&row);
}

/* Made while the clock was ten years ahead, it has no more after a restart than it had. */
static void test_deadline_of_a_clock_ahead(void **state)
{
	uint64_t id = start_until(US_PER_SEC);
	struct error error = {0};

	(void)state;
	jobs_pause(table.jobs, jobs_find(table.jobs, id));
	jobs_box_commit();
	box_execute("UPDATE job SET created_us = created_us + 315360000000000");
	jobs_free(table.jobs);
	table.jobs = jobs_new(table.base, box.store, table.workers, table.config);
	assert_int_equal(jobs_recover(table.jobs, &error), 0);
	assert_true(live_job_find(table.jobs, id)->deadline_at_us <=
		    now_monotonic_us() + US_PER_SEC);
	jobs_stop(table.jobs, jobs_find(table.jobs, id), 0);
	jobs_box_commit();
}

/* Of one that was made before the clock was set. */
static void test_deadline_when_the_clock_is_set(void **state)
{
	static const int64_t hours[] = {-87600, 87600};
	const struct job_changes later = {
		.parallel = -1, .rate = -1, .deadline_us = 60 * US_PER_SEC};
	uint64_t id = start_until(3600 * US_PER_SEC);
	struct job *job = jobs_find(table.jobs, id);
	struct error error = {0};

	(void)state;
	jobs_pause(table.jobs, job);
	jobs_box_commit();
	for (size_t i = 0; i < ARRAY_SIZE(hours); i++) {
		int64_t now_us = now_monotonic_us(), at_us;

		job->row.created_us = now_real_us() + hours[i] * 3600 * US_PER_SEC;
		assert_int_equal(jobs_adjust(table.jobs, job, &later, &error), 0);
		at_us = live_job_of(job)->deadline_at_us;
		assert_true(at_us > now_us && at_us <= now_us + 60 * US_PER_SEC);
	}
	jobs_stop(table.jobs, job, 0);
	jobs_box_commit();
}

/* --- Receiving --- */

static struct job_row read_row(uint64_t id)
{
	struct job_row row;

	assert_int_equal(store_read_job(box.store, id, &row), 0);
	return row;
}

/* What a job was asked to do may be long, and does not change. */
static void test_received(void **state)
{
	uint64_t id = jobs_box_finish(start("[\"127.0.0.1\"]", FAILING));
	struct job_row before = read_row(id), after;

	(void)state;
	assert_int_equal(jobs_received(table.jobs, id, before.last_position), 0);
	assert_int_equal(store_queued_bytes(box.store),
			 sizeof(struct change) + sizeof(struct job_row));
	jobs_box_commit();
	after = read_row(id);
	assert_int_equal(after.received_position, before.last_position);
	assert_string_equal(after.options, before.options);
	job_row_done(&before);
	job_row_done(&after);
}

/* However often the same is received while nothing can be stored. */
static void test_received_on_full_disk(void **state)
{
	enum { TIMES = 20000, BYTES_MAX = 5 * 1024 * 1024 };
	uint64_t id = jobs_box_finish(start("[\"127.0.0.1\"]", FAILING));
	struct job_row row = read_row(id);
	sqlite3 *lock = box_lock();

	(void)state;
	store_put_cursor(box.store, 7, "", id, 1);
	assert_true(store_commit(box.store) < 0);
	for (unsigned i = 0; i < TIMES; i++)
		assert_int_equal(jobs_received(table.jobs, id, row.last_position), 0);
	assert_true(store_queued_bytes(box.store) < BYTES_MAX);
	for (unsigned i = 0; i < TIMES; i++)
		store_put_cursor(box.store, 7, "", id, 1);
	assert_true(store_queued_bytes(box.store) < BYTES_MAX);
	box_unlock(lock);
	box_commit();
	job_row_done(&row);
	row = read_row(id);
	assert_int_equal(row.received_position, row.last_position);
	job_row_done(&row);
}

/* --- Adjusting --- */

static void adjust(struct job *job, struct job_changes changes)
{
	struct error error = {0};

	if (jobs_adjust(table.jobs, job, &changes, &error) < 0)
		fail_msg("%s", error.sentence);
}

static void expect_options(uint64_t id, const char *expected)
{
	struct job_row row = read_row(id);
	json_t *options = json_loads(row.options, 0, NULL), *wanted = json_loads(expected, 0, NULL);

	if (!json_equal(options, wanted))
		fail_msg("%s", row.options);
	json_decref(options);
	json_decref(wanted);
	job_row_done(&row);
}

/* Each keeps what the other changed. */
static void test_adjusted_twice_in_a_turn(void **state)
{
	struct job *job = start("[\"127.0.0.1\"]", "{\"count\": 0}");

	(void)state;
	adjust(job, (struct job_changes){.parallel = 3, .rate = -1, .deadline_us = -1});
	adjust(job,
	       (struct job_changes){.name = "both", .parallel = -1, .rate = 9, .deadline_us = -1});
	jobs_box_commit();
	expect_options(
		job->row.id,
		"{\"kind\": \"ping\", \"parallel\": 3, \"retries\": 2, \"retryDelayUsec\": 0, "
		"\"name\": \"both\", \"ping\": {\"count\": 0, \"rate\": 9}}");
	adjust(job, (struct job_changes){.parallel = 0, .rate = 0, .deadline_us = -1});
	jobs_box_commit();
	expect_options(job->row.id, "{\"kind\": \"ping\", \"retries\": 2, \"retryDelayUsec\": 0, "
				    "\"name\": \"both\", \"ping\": {\"count\": 0}}");
	jobs_stop(table.jobs, job, 0);
	(void)jobs_box_finish(job);
}

/* What would have no effect any more is refused; a new name has. */
static void test_adjusted_too_late(void **state)
{
	struct job *job = start("[\"127.0.0.1\"]", "{\"count\": 0}");
	struct job_changes later = {.parallel = -1, .rate = -1, .deadline_us = US_PER_SEC};
	struct error error = {0};

	(void)state;
	jobs_stop(table.jobs, job, 0);
	assert_int_equal(job->row.state, JOB_STOPPING);
	assert_true(jobs_adjust(table.jobs, job, &later, &error) < 0);
	assert_string_equal(error.sentence, "job 1 is being stopped: there is nothing left to "
					    "adjust but its name");
	error_done(&error);
	adjust(job,
	       (struct job_changes){.name = "late", .parallel = -1, .rate = -1, .deadline_us = -1});
	assert_string_equal(job->row.name, "late");
	(void)jobs_box_finish(job);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TABLE_TEST(test_deadline_at_once),
		TABLE_TEST(test_deadline_in_long_turn),
		TABLE_TEST(test_deadline_of_a_clock_ahead),
		TABLE_TEST(test_deadline_when_the_clock_is_set),
		TABLE_TEST(test_received),
		TABLE_TEST(test_received_on_full_disk),
		TABLE_TEST(test_adjusted_twice_in_a_turn),
		TABLE_TEST(test_adjusted_too_late),
	};

	log_set_level(LOG_ERR); /* not each end */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
