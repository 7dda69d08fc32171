/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs by id: found while they are there, in order, whatever comes and goes meanwhile. */
#include "common/util.h"
#include "daemon/jobs-internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Ids in bursts of neighbours, with wide gaps between some, as over years. */
enum { JOBS = 5000, BURST = 150, GAP = 100000 };

static struct live_job jobs[JOBS];
static bool is_there[JOBS];
static struct job_index index_of_jobs;

static uint64_t id_of(size_t i)
{
	return 1 + i + i / BURST * GAP;
}

static void add(size_t i)
{
	jobs[i].job.row.id = id_of(i);
	job_index_add(&index_of_jobs, &jobs[i]);
	is_there[i] = true;
}

static void take_out(size_t i)
{
	job_index_remove(&index_of_jobs, &jobs[i]);
	is_there[i] = false;
}

static void expect_same(void)
{
	struct live_job *job;
	size_t i = 0;

	JOB_INDEX_EACH (job, next_id, &index_of_jobs) {
		while (!is_there[i])
			i++;
		assert_ptr_equal(job, &jobs[i++]);
	}
	while (i < JOBS)
		assert_false(is_there[i++]);
	for (i = 0; i < JOBS; i++)
		assert_ptr_equal(job_index_find(&index_of_jobs, id_of(i)),
				 is_there[i] ? &jobs[i] : NULL);
	assert_null(job_index_find(&index_of_jobs, 0));
	assert_null(job_index_find(&index_of_jobs, id_of(JOBS - 1) + 1));
	assert_null(job_index_find(&index_of_jobs, UINT64_MAX));
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < JOBS; i++)
		if (is_there[i])
			take_out(i);
	/* Nothing is left, which the sanitizers would see too. */
	return index_of_jobs.count == 0 && !index_of_jobs.pages ? 0 : -1;
}

static void test_in_order(void **state)
{
	(void)state;
	expect_same();
	for (size_t i = 0; i < JOBS; i++)
		add(i);
	expect_same();
	/* Most end soon; a few stay for long. */
	for (size_t i = 0; i < JOBS; i++)
		if (i % 97 != 0)
			take_out(i);
	expect_same();
}

/* As after a start, where those that go on come in any order. */
static void test_any_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < JOBS; i++)
		add(i * 1237 % JOBS);
	expect_same();
	for (size_t round = 0; round < 20; round++) {
		for (size_t i = 0; i < JOBS; i++) {
			size_t which = i * 2741 % JOBS;

			if (which % 20 != round && which % 7 == 0)
				continue;
			if (is_there[which])
				take_out(which);
			else
				add(which);
		}
		expect_same();
	}
}

static void test_changed_while_walked(void **state)
{
	struct live_job *job;
	size_t seen = 0;

	(void)state;
	for (size_t i = 0; i < JOBS; i += 2)
		add(i);
	/* Each is gone when the next is asked for, and one comes behind it. */
	JOB_INDEX_EACH (job, next_id, &index_of_jobs) {
		size_t i = (size_t)(job - jobs);

		take_out(i);
		if (i % 2 == 0)
			add(i + 1);
		seen++;
	}
	assert_int_equal(seen, JOBS);
	expect_same();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_in_order, tear_down),
		cmocka_unit_test_teardown(test_any_order, tear_down),
		cmocka_unit_test_teardown(test_changed_while_walked, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
