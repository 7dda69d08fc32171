/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store on a disk that fails at every call there is, one after the other, and on a machine
 * whose power goes at any moment: what was committed is there and whole, what was not is not there
 * or whole as well, and when the disk is well again the store goes on by itself.
 */
#include "tests/lib/fault-vfs.h"
#include "tests/lib/store-box.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

enum { TASKS = 5, CALLS_MAX = 100000, OUTPUT_MAX = 9000, CUTS = 200, CUTS_OF_A_DATABASE = 20 };

static int open_on_faults(void **state)
{
	fault_install(false);
	return box_open(state);
}

static int open_on_cuts(void **state)
{
	fault_install(true);
	return box_open(state);
}

static int close_on_faults(void **state)
{
	(void)fault_disarm();
	(void)box_close(state);
	fault_remove();
	return 0;
}

/* --- What a job must look like --- */

/* Its tasks' outputs can be told from the job and the index alone. */
static size_t output_of(uint64_t job, uint32_t index, char output[static OUTPUT_MAX])
{
	size_t size = 1 + (job * 7919 + index * 104729) % OUTPUT_MAX;

	for (size_t i = 0; i < size; i++)
		output[i] = (char)(job + index + i % 251);
	return size;
}

/* A job with all of its tasks' lives, queued. */
static uint64_t put_whole_job(void)
{
	struct job_row row = {
		.id = box_put_job(NULL, TASKS),
		.state = JOB_COMPLETED,
		.counts = {[TASK_SUCCEEDED] = TASKS},
		.next_index = TASKS,
		.recorded_index = TASKS,
		.ended_us = 1,
	};
	char output[OUTPUT_MAX];

	for (uint32_t i = 0; i < TASKS; i++)
		row.last_position = box_put_task(row.id, i, output, output_of(row.id, i, output));
	store_put_job_update(box.store, &row);
	return row.id;
}

struct seen_job {
	uint64_t id;
	unsigned outputs, ends;
};

static int see_record(const struct record_row *row, void *context)
{
	struct seen_job *seen = context;
	char output[OUTPUT_MAX];

	assert_int_equal(row->key.index, seen->ends);
	if (row->is_end) {
		assert_int_equal(row->task.state, TASK_SUCCEEDED);
		seen->ends++;
	} else {
		assert_int_equal(row->size, output_of(seen->id, row->key.index, output));
		assert_memory_equal(row->bytes, output, row->size);
		seen->outputs++;
	}
	return 0;
}

/* Reads all of a job: 1 where it is there, and then it is whole; 0; or a negative errno. */
static int read_whole_job(uint64_t id)
{
	struct seen_job seen = {.id = id};
	struct job_row row;
	int r = store_read_job(box.store, id, &row);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	job_row_done(&row);
	r = store_read_records(box.store, id, 0, 0, SIZE_MAX, SIZE_MAX, see_record, &seen);
	if (r < 0)
		return r;
	assert_int_equal(seen.outputs, TASKS);
	assert_int_equal(seen.ends, TASKS);
	return 1;
}

/* --- Every call --- */

/* A commit, which the disk may refuse: then it says why, keeps what is queued, and the next one, on
 * a disk that is well, takes it. */
static void commit_somehow(void)
{
	int r = store_commit(box.store);

	store_checkpoint(box.store);
	if (r == 0)
		return;
	assert_non_null(store_error(box.store));
	assert_true(store_has_changes(box.store));
	assert_true(fault_disarm());
	box_commit();
}

/* What a read said: as it should be, or that it failed, with a sentence; never that there is
 * nothing. */
static void expect_read(int r, int expected)
{
	struct error error = {0};

	if (r == expected)
		return;
	assert_true(r < 0 && r != -ENOENT);
	assert_true(fault_disarm());
	assert_int_equal(store_refuse_read(box.store, &error), -EIO);
	assert_non_null(strstr(error.sentence, box.path));
	error_done(&error);
}

/* The other ways to read; what they give is the matter of test-store. */
static void read_all_ways(uint64_t job)
{
	struct job_filter filters[] = {
		{.has_uid = true, .uid = 1000}, {.name_glob = "lab"}, {.states = 1U << JOB_QUEUED}};
	uint64_t number = 0, next;
	struct box_list list;

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		list = (struct box_list){.stop_after = 9};
		expect_read(
			store_read_jobs(box.store, &filters[i], 0, 9, box_list_job, &list, &next),
			0);
	}
	list = (struct box_list){.stop_after = 9};
	expect_read(store_read_live_jobs(box.store, box_list_job, &list), 0);
	expect_read(store_read_live_tasks(box.store, box_list_task, &list), 0);
	expect_read(store_read_tasks(box.store, job, -1, 9, box_list_task, &list), 0);
	expect_read(store_find_token(box.store, 1000, "none", &number) == -ENOENT ? 0 : -EIO, 0);
	expect_read(store_next_record(box.store, job, 0, &number), 0);
	expect_read(store_read_cursor(box.store, 7, "mine", job, &number), 0);
	assert_true(number == 1 || fault_disarm());
}

static void count_finding(const char *finding, void *context)
{
	(void)finding;
	(void)context;
}

/* From outside: a check that cannot read says so, and a copy is there whole or not at all. */
static void look_after(void)
{
	autofree char *copy = xasprintf("%s/copy", box.folder);
	struct error error = {0};
	int r = store_check(box.path, count_finding, NULL, &error);

	assert_true(r == 0 || fault_disarm());
	error_done(&error);
	r = store_backup(box.path, copy, &error);
	assert_true(r == 0 || (fault_disarm() && access(copy, F_OK) < 0));
	error_done(&error);
	(void)fault_disarm();
	if (r == 0)
		assert_int_equal(store_check(copy, count_finding, NULL, &error), 0);
	(void)unlink(copy);
}

static void remove_job(uint64_t job)
{
	bool is_more = true;

	store_put_job_removed(box.store, job);
	commit_somehow();
	while (is_more)
		if (store_reap(box.store, &is_more) < 0)
			assert_true(fault_disarm());
}

/* Everything that the store does, while some call to the disk fails. Whether one did. */
static bool use_store(uint64_t before)
{
	uint64_t job = put_whole_job();
	bool has_failed;

	store_put_cursor(box.store, 7, "mine", job, 1);
	commit_somehow();
	expect_read(read_whole_job(before), 1);
	read_all_ways(job);
	remove_job(before);
	expect_read(read_whole_job(job), 1);
	look_after();
	has_failed = fault_disarm();
	assert_int_equal(read_whole_job(job), 1);
	assert_int_equal(read_whole_job(before), 0);
	box_check();
	box_reopen();
	assert_int_equal(read_whole_job(job), 1);
	assert_int_equal(read_whole_job(before), 0);
	box_check();
	remove_job(job); /* so that no round takes longer than the one before */
	return has_failed;
}

/* The first, the second, ... until so late a call is to fail that there is none. */
static void fail_each_call(bool is_lasting)
{
	bool has_failed = true;

	for (unsigned n = 1; has_failed; n++) {
		uint64_t before = put_whole_job();

		assert_true(n < CALLS_MAX);
		box_commit();
		box_reopen(); /* nothing is in SQLite's cache */
		fault_arm(n, is_lasting);
		has_failed = use_store(before);
	}
}

static void test_every_call_fails_once(void **state)
{
	(void)state;
	fail_each_call(false);
}

static void test_every_call_fails_for_a_while(void **state)
{
	(void)state;
	fail_each_call(true);
}

/* A store that cannot be opened says why, and opens when the disk is well. */
static void test_opening_fails(void **state)
{
	uint64_t job = put_whole_job();
	bool has_failed = true;

	(void)state;
	box_commit();
	for (unsigned n = 1; has_failed; n++) {
		struct error error = {0};

		store_close(box.store);
		box.store = NULL;
		fault_arm(n, true);
		if (store_open(box.path, &box.store, &error) < 0) {
			assert_non_null(error.sentence);
			assert_null(strchr(error.sentence, '\n'));
			error_done(&error);
			assert_true(fault_disarm());
			box.store = box_open_store(box.path);
		}
		has_failed = fault_disarm();
		assert_int_equal(read_whole_job(job), 1);
	}
}

/* Nor is a file in the way that was being made when the disk failed, or when the power went. */
static void test_making_fails(void **state)
{
	bool has_failed = true;

	(void)state;
	for (unsigned n = 1; has_failed; n++) {
		autofree char *path = xasprintf("%s/new%u.db", box.folder, n);
		struct error error = {0};
		struct store *store = NULL;

		fault_arm(n, true);
		assert_true(store_open(path, &store, &error) == 0 || error.sentence);
		error_done(&error);
		store_close(store);
		has_failed = fault_disarm();
		fault_cut_power(n);
		store = box_open_store(path);
		assert_int_equal(store_next_job(store), 1);
		store_close(store);
	}
}

/* --- Power cuts --- */

/* What the clients of a run were told. */
struct acknowledged {
	uint64_t jobs[CUTS_OF_A_DATABASE * 16];
	size_t count;
};

/* Commits until the power goes; the job of the last commit, which nobody was told of. */
static uint64_t commit_until_cut(struct acknowledged *acknowledged, unsigned *seed)
{
	fault_arm(1 + (unsigned)rand_r(seed) % 400, true);
	for (;;) {
		uint64_t job = put_whole_job();

		if (store_commit(box.store) < 0)
			return job;
		store_checkpoint(box.store);
		assert_true(acknowledged->count < ARRAY_SIZE(acknowledged->jobs));
		acknowledged->jobs[acknowledged->count++] = job;
	}
}

static void cut_again_and_again(unsigned *seed)
{
	struct acknowledged acknowledged = {.count = 0};

	for (unsigned i = 0; i < CUTS_OF_A_DATABASE; i++) {
		uint64_t untold = commit_until_cut(&acknowledged, seed);

		store_close(box.store);
		box.store = NULL;
		(void)fault_disarm();
		fault_cut_power((unsigned)rand_r(seed));
		box.store = box_open_store(box.path);
		box_check();
		for (size_t n = 0; n < acknowledged.count; n++)
			assert_int_equal(read_whole_job(acknowledged.jobs[n]), 1);
		/* All of it or nothing; and its number is not given to another if it is there. */
		if (read_whole_job(untold) == 1)
			assert_true(store_next_job(box.store) > untold);
	}
}

static void test_power_cuts(void **state)
{
	unsigned seed = 1; /* the same cuts each time */

	for (unsigned i = 0; i < CUTS / CUTS_OF_A_DATABASE; i++) {
		cut_again_and_again(&seed);
		assert_int_equal(close_on_faults(state), 0);
		assert_int_equal(open_on_cuts(state), 0);
	}
}

int main(void)
{
#define FAULT_TEST(name) cmocka_unit_test_setup_teardown(name, open_on_faults, close_on_faults)
#define CUT_TEST(name)   cmocka_unit_test_setup_teardown(name, open_on_cuts, close_on_faults)
	const struct CMUnitTest tests[] = {
		FAULT_TEST(test_every_call_fails_once),
		FAULT_TEST(test_every_call_fails_for_a_while),
		FAULT_TEST(test_opening_fails),
		CUT_TEST(test_making_fails),
		CUT_TEST(test_power_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
