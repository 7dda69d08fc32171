/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whoever waits for another attempt: the first due is the first, whoever leaves meanwhile. */
#include "common/util.h"
#include "daemon/jobs-internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { TASKS = 3000, TIMES = 500 };

static struct live_job job;
static struct live_task *tasks[TASKS];

/* Many of them at the same time. */
static int set_up(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < TASKS; i++) {
		tasks[i] = xcalloc(1, sizeof(*tasks[i]));
		tasks[i]->job = &job;
		tasks[i]->index = i * 7 % TASKS;
		tasks[i]->not_before_us = 1 + i * UINT32_C(2654435761) % TIMES;
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < TASKS; i++)
		free(tasks[i]);
	free(job.waiting);
	job = (struct live_job){0};
	return 0;
}

static void add_all(void)
{
	for (size_t i = 0; i < TASKS; i++)
		job_add_waiting(tasks[i]);
}

/* All that wait come in order; how many these were. */
static size_t expect_order(void)
{
	int64_t last_us = 0;
	uint32_t last_index = 0;
	struct live_task *task;
	size_t count = 0;

	for (; (task = job_first_waiting(&job)); count++) {
		assert_true(task->not_before_us > last_us ||
			    (task->not_before_us == last_us && task->index > last_index));
		last_us = task->not_before_us;
		last_index = task->index;
		job_remove_waiting(task);
		assert_int_equal(task->place, 0);
	}
	return count;
}

static void test_order(void **state)
{
	(void)state;
	assert_null(job_first_waiting(&job));
	add_all();
	assert_int_equal(expect_order(), TASKS);
	/* As often as one likes. */
	add_all();
	assert_int_equal(expect_order(), TASKS);
}

static void test_leaving(void **state)
{
	size_t left = TASKS;

	(void)state;
	add_all();
	for (size_t i = 0; i < TASKS; i += i % 5 + 1, left--)
		job_remove_waiting(tasks[i]);
	/* One that has left already is fine. */
	job_remove_waiting(tasks[0]);
	assert_int_equal(job.waiting_count, left);
	assert_int_equal(expect_order(), left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_leaving, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
