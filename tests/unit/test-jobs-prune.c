/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What jobd removes by itself: each once, and on a disk that fails no job before its turn. */
#include "common/log.h"
#include "daemon/config.h"
#include "daemon/jobs-internal.h"
#include "tests/lib/fault-vfs.h"
#include "tests/lib/jobs-box.h"
#include "tests/lib/store-box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Most of what a job takes is the text of its targets; LARGE is more than the rest of it. */
enum { JOBS = 60, LARGE = 6000, CALLS_MAX = 50 };

static uint64_t finish(void)
{
	return jobs_box_finish(jobs_box_start("[\"127.0.0.1\"]", FAILING, 1));
}

static void test_pruned_once(void **state)
{
	uint64_t first = finish(), second = finish();
	struct job_row row;

	(void)state;
	assert_true(jobs_prune(table.jobs, first));
	assert_true(jobs_prune(table.jobs, second));
	assert_false(jobs_prune(table.jobs, first));
	jobs_remove(table.jobs, finish());
	assert_int_equal(jobs_pruned(table.jobs), 2);
	assert_int_equal(store_read_job(box.store, first, &row), -ENOENT);
}

/* --- On a disk that fails --- */

static uint64_t put_ended(bool is_received)
{
	struct job_row row = {
		.id = box_put_job(NULL, 1),
		.state = JOB_COMPLETED,
		.counts = {[TASK_SUCCEEDED] = 1},
		.next_index = 1,
		.recorded_index = 1,
	};

	row.ended_us = (int64_t)row.id;
	row.last_position = box_put_task(row.id, 0, "x", 1);
	row.received_position = is_received ? row.last_position : 0;
	store_put_job_update(box.store, &row);
	return row.id;
}

/* Jobs that were received; the database is larger than it may be, and would not be without one. */
static void fill(void)
{
	for (unsigned i = 0; i < JOBS; i++)
		(void)put_ended(true);
	box_commit();
	box_execute("UPDATE request SET targets = printf('%.20000c', 'x')");
	table.config->max_database = store_used_bytes(box.store) - LARGE;
}

/* The job table looks, nothing of the database is in memory, and the n-th call to the disk fails,
 * or all from there on. Whether there were so many. */
static bool look(unsigned n, bool is_lasting)
{
	const uint64_t before = jobs_pruned(table.jobs);
	bool has_failed;

	(void)sqlite3_db_release_memory(box.store->database);
	jobs_prune_configured(table.jobs);
	event_active(table.jobs->prune_timer, EV_TIMEOUT, 1);
	fault_arm(n, is_lasting);
	(void)event_base_loop(table.base, EVLOOP_NONBLOCK);
	has_failed = fault_disarm();
	if (jobs_pruned(table.jobs) > before + 1)
		fail_msg("call %u failed, and %d jobs went", n,
			 (int)(jobs_pruned(table.jobs) - before));
	jobs_box_commit();
	return has_failed;
}

static void reap(void)
{
	bool is_more = true;

	while (is_more)
		assert_int_equal(store_reap(box.store, &is_more), 0);
}

static bool is_there(uint64_t id)
{
	struct job_row row = {0};
	int r = store_read_job(box.store, id, &row);

	job_row_done(&row);
	return r == 0;
}

/* One goes, of those that were received, or none. */
static void test_unread_stay(void **state)
{
	uint64_t unread = put_ended(false);
	unsigned n = 0;
	bool is_failing = true;

	(void)state;
	fill();
	while (is_failing) {
		assert_in_range(++n, 1, 2 * CALLS_MAX);
		is_failing = look(1 + n / 2, n % 2);
		if (!is_there(unread))
			fail_msg("look %u: a job that was not received went", n);
		reap();
		table.config->max_database = store_used_bytes(box.store) - LARGE;
	}
	assert_in_range(jobs_pruned(table.jobs), 1, n);
}

/* A job went, and its rows are still there: until they are gone no other goes. */
static void test_one_after_the_other(void **state)
{
	unsigned n = 0;
	bool is_failing = true;

	(void)state;
	fill();
	jobs_remove(table.jobs, put_ended(true));
	jobs_box_commit();
	while (is_failing) {
		assert_in_range(++n, 1, CALLS_MAX);
		is_failing = look(n, false);
		if (jobs_pruned(table.jobs) > 0)
			fail_msg("call %u failed, and another job went", n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TABLE_TEST(test_pruned_once),
		TABLE_TEST(test_unread_stay),
		TABLE_TEST(test_one_after_the_other),
	};

	log_set_level(LOG_ERR); /* not each end */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
