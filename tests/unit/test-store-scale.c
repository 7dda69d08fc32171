/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a read costs does not grow with what is in the table. Not by the clock: the steps of
 * SQLite's virtual machine are counted, and are the same each time.
 */
#include "tests/lib/store-box.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

enum {
	SMALL = 10,
	LARGE = 40000,
	TASKS = 2,
	/* The few that are looked for lie at the far end of a walk from the newest. */
	RARE = 3,
	RARE_UID = 7,
	FACTOR = 2,
	OTHERS = 4, /* reads beside those by a filter */
};

/* --- The table --- */

static void put_job(bool is_rare)
{
	char ssh[] = "ssh", ping[] = "ping", name[] = "rare", none[] = "{}", token[24];
	struct job_row row = {
		.id = store_next_job(box.store),
		.uid = is_rare ? RARE_UID : 0,
		.kind = is_rare ? ssh : ping,
		.name = is_rare ? name : NULL,
		.token = token,
		.options = none,
		.targets = none,
		.state = is_rare ? JOB_FAILED : JOB_COMPLETED,
		.counts = {[TASK_SUCCEEDED] = TASKS},
		.created_us = 1,
		.ended_us = 1,
	};

	(void)snprintf(token, sizeof(token), "t%llu", (unsigned long long)row.id);
	for (uint32_t i = 0; i < TASKS; i++)
		row.last_position = box_put_task(row.id, i, "abc", 3);
	row.received_position = is_rare ? 0 : row.last_position;
	store_put_job(box.store, &row);
	store_put_cursor(box.store, 0, "other", row.id, row.last_position);
}

/* Up to so many jobs in all. */
static void fill(unsigned count)
{
	static unsigned filled;

	if (count == SMALL)
		filled = 0;
	for (; filled < count; filled++)
		put_job(filled < RARE);
	box_commit();
}

/* --- What costs --- */

/* The newest first, as many as a page has; all pages of it where it is passed over. */
static unsigned read_jobs(const struct job_filter *filter)
{
	struct box_list list = {.stop_after = SMALL};
	uint64_t before = 0;
	unsigned pages = 0;

	do {
		pages++;
		assert_int_equal(store_read_jobs(box.store, filter, before, SMALL, box_list_job,
						 &list, &before),
				 0);
	} while (before != 0);
	return pages;
}

static const struct job_filter filters[] = {
	{.has_uid = true},
	{.has_uid = true, .uid = RARE_UID},
	{.has_uid = true, .uid = RARE_UID, .kind = "ssh", .since_us = 1},
	{0},
	{.states = 1U << JOB_FAILED},
	{.states = 1U << JOB_FAILED, .has_uid = true},
	{.states = 1U << JOB_FAILED | 1U << JOB_STOPPED, .has_uid = true, .uid = RARE_UID},
	{.states = 1U << JOB_RUNNING},
	{.states = 1U << JOB_QUEUED | 1U << JOB_RUNNING, .has_uid = true},
	{.has_unreceived = true, .has_uid = true},
	{.has_unreceived = true, .has_uid = true, .uid = RARE_UID},
	{.name_glob = "rare"},
	{.name_glob = "rare", .has_uid = true, .uid = RARE_UID},
	{.id_min = 2, .id_max = 3},
	{.id_min = 2, .id_max = 3, .has_uid = true, .uid = RARE_UID},
};

static void read_one_job(void)
{
	struct box_list list = {.count = 0};
	struct job_row row;
	uint64_t number;

	assert_int_equal(store_read_job(box.store, 2, &row), 0);
	job_row_done(&row);
	assert_int_equal(store_find_token(box.store, RARE_UID, "t2", &number), 0);
	assert_int_equal(store_next_record(box.store, 2, 0, &number), 0);
	assert_int_equal(store_read_cursor(box.store, 1, "mine", 2, &number), 0);
	assert_int_equal(store_read_tasks(box.store, 2, -1, SMALL, box_list_task, &list), 0);
	assert_int_equal(
		store_read_records(box.store, 2, 0, 0, SMALL, 1000, box_list_record, &list), 0);
	assert_int_equal(list.count, TASKS + 2 * TASKS);
}

static int count_ended(const struct ended_row *row, void *context)
{
	(void)row;
	++*(unsigned *)context;
	return 0;
}

/* What jobd reads at its start, and what pruning looks for. */
static void read_for_upkeep(void)
{
	struct box_list list = {.count = 0};
	unsigned count = 0;

	assert_int_equal(store_read_live_jobs(box.store, box_list_job, &list), 0);
	assert_int_equal(store_read_live_tasks(box.store, box_list_task, &list), 0);
	assert_int_equal(store_read_ended(box.store, true, 2, RARE, count_ended, &count), 0);
	assert_int_equal(store_read_ended(box.store, false, 2, RARE, count_ended, &count), 0);
	assert_int_equal(list.count, 0);
	assert_int_equal(count, 2 * RARE);
	assert_false(store_has_removed(box.store));
}

static void take_place(uint64_t job, uint64_t position, void *context)
{
	(void)job;
	(void)position;
	++*(unsigned *)context;
}

/* What is new for a cursor that has read all but the last few. */
static void read_news(void)
{
	uint64_t after = store_last_position(box.store) - RARE;
	unsigned count = 0;
	bool is_end = false;

	assert_int_equal(
		store_read_log(box.store, 0, "mine", &after, LARGE, take_place, &count, &is_end),
		0);
	assert_int_equal(count, RARE);
	assert_true(is_end);
}

static void write_one_job(void)
{
	bool is_more;

	put_job(false);
	store_put_job_removed(box.store, store_next_job(box.store) - 1);
	box_commit();
	while (store_has_removed(box.store))
		assert_int_equal(store_reap(box.store, &is_more), 0);
}

/* The steps of each of these, in costs. */
static size_t measure(uint64_t costs[static ARRAY_SIZE(filters) + OTHERS])
{
	static void (*const reads[OTHERS])(void) = {read_one_job, read_news, read_for_upkeep,
						    write_one_job};
	size_t count = 0;

	(void)box_steps();
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		(void)read_jobs(&filters[i]);
		costs[count++] = box_steps();
	}
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		reads[i]();
		costs[count++] = box_steps();
	}
	return count;
}

static void test_costs(void **state)
{
	uint64_t small[ARRAY_SIZE(filters) + OTHERS], large[ARRAY_SIZE(filters) + OTHERS];
	size_t count;

	(void)state;
	fill(SMALL);
	count = measure(small);
	fill(LARGE);
	(void)measure(large);
	for (size_t i = 0; i < count; i++)
		if (large[i] > FACTOR * small[i])
			fail_msg("read %zu takes %llu steps of %d jobs, and %llu of %d", i,
				 (unsigned long long)small[i], SMALL, (unsigned long long)large[i],
				 LARGE);
}

/* A filter that no index serves goes through all jobs, but a page at a time. */
static void test_pages(void **state)
{
	static const struct job_filter rows[] = {
		{.kind = "ssh"},
		{.name_glob = "rar*"},
		{.until_us = 0, .since_us = 2},
		{.has_unreceived = true},
	};
	struct box_list list = {.count = 0};
	uint64_t before;

	(void)state;
	fill(SMALL);
	fill(LARGE);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		(void)box_steps();
		assert_int_equal(store_read_jobs(box.store, &rows[i], 0, SMALL, box_list_job, &list,
						 &before),
				 0);
		assert_in_range(box_steps(), 1, 100000);
		assert_int_equal(list.count, 0);
		assert_true(read_jobs(&rows[i]) >= 10);
	}
}

/* Many small jobs go in as few pieces as one that is large. */
static void test_reaping(void **state)
{
	enum { REMOVED = 100 };
	bool is_more;

	(void)state;
	fill(SMALL);
	fill(REMOVED);
	for (uint64_t id = 1; id <= REMOVED; id++)
		store_put_job_removed(box.store, id);
	box_commit();
	assert_int_equal(store_reap(box.store, &is_more), 0);
	assert_true(is_more);
	assert_false(store_has_removed(box.store));
	assert_int_equal(
		box_number("SELECT (SELECT count(*) FROM task) + "
			   "(SELECT count(*) FROM record) + (SELECT count(*) FROM request)"),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_costs),
		BOX_TEST(test_pages),
		BOX_TEST(test_reaping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
