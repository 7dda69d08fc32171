/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Schedules in the store: what is put is read, the due ones in their order, their runs by theirs.
 */
#include "tests/lib/store-box.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int list_schedule(const struct schedule_row *row, void *context)
{
	struct box_list *list = context;

	list->items[list->count++] = row->id;
	return 0;
}

static void list_run(uint64_t job, void *context)
{
	struct box_list *list = context;

	list->items[list->count++] = job;
}

/* Queues one, due at a time; its id. */
static uint64_t put_schedule(uid_t uid, const char *name, const char *token, int64_t next_us)
{
	autofree char *own_name = xstrdup_or_null(name), *own_token = xstrdup_or_null(token);
	char kind[] = "ping", options[] = "{\"kind\":\"ping\"}", targets[] = "{}";
	struct schedule_row row = {
		.id = store_next_job(box.store),
		.uid = uid,
		.kind = kind,
		.name = own_name,
		.token = own_token,
		.options = options,
		.targets = targets,
		.every_us = 5,
		.keep_last = 3,
		.created_us = 7,
		.next_us = next_us,
	};

	store_put_schedule(box.store, &row);
	return row.id;
}

static void test_row(void **state)
{
	char kind[] = "ssh", name[] = "nightly", token[] = "t", options[] = "{1}";
	char targets[] = "{2}", calendar[] = "daily";
	struct schedule_row row = {
		.id = store_next_job(box.store),
		.uid = UINT32_MAX - 1,
		.kind = kind,
		.name = name,
		.token = token,
		.options = options,
		.targets = targets,
		.calendar = calendar,
		.is_catch_up = true,
		.keep_last = 9,
		.created_us = 1700000000000001,
		.next_us = 1700000000000002,
	};
	struct schedule_row read;
	uint64_t id, count;

	(void)state;
	store_put_schedule(box.store, &row);
	assert_int_equal(store_queued_schedule(box.store, row.uid, "t", NULL), row.id);
	assert_int_equal(store_queued_schedule(box.store, row.uid, "x", "nightly"), row.id);
	assert_int_equal(store_queued_schedule(box.store, row.uid, "x", "daily"), 0);
	assert_int_equal(store_queued_schedule(box.store, 1, "t", "nightly"), 0);
	assert_int_equal(store_read_schedule(box.store, row.id, &read), -ENOENT);
	store_put_schedule_run(box.store, row.id, 77, 1700000000000002);
	store_put_schedule_turn(box.store, row.id, 1700000000000003, 4, "no");
	store_put_schedule_paused(box.store, row.id, true);
	box_commit();
	box_reopen();
	assert_int_equal(store_queued_schedule(box.store, row.uid, "t", "nightly"), 0);
	assert_int_equal(store_find_schedule_token(box.store, row.uid, "t", &id), 0);
	assert_int_equal(id, row.id);
	assert_int_equal(store_find_schedule_token(box.store, 1, "t", &id), -ENOENT);
	assert_int_equal(store_read_schedule(box.store, row.id, &read), 0);
	assert_int_equal(read.uid, row.uid);
	assert_string_equal(read.kind, "ssh");
	assert_string_equal(read.name, "nightly");
	assert_string_equal(read.options, "{1}");
	assert_string_equal(read.targets, "{2}");
	assert_string_equal(read.calendar, "daily");
	assert_string_equal(read.error, "no");
	assert_true(read.is_catch_up && !read.is_overlap && read.is_paused);
	assert_int_equal(read.keep_last, 9);
	assert_int_equal(read.created_us, row.created_us);
	assert_int_equal(read.next_us, 1700000000000003);
	assert_int_equal(read.last_us, 1700000000000002);
	assert_int_equal(read.last_job, 77);
	assert_int_equal(read.runs, 1);
	assert_int_equal(read.skipped, 4);
	schedule_row_done(&read);
	store_put_schedule_removed(box.store, row.id);
	box_commit();
	assert_int_equal(store_read_schedule(box.store, row.id, &read), -ENOENT);
	assert_int_equal(store_count_schedules(box.store, &count), 0);
	assert_int_equal(count, 0);
}

static void test_due(void **state)
{
	uint64_t late, soon, never, paused, dropped, count;
	struct box_list due = {.count = 0}, all = {.count = 0}, own = {.count = 0};
	struct box_list named = {.count = 0};
	int64_t next_us;
	uid_t uid = 1;

	(void)state;
	assert_int_equal(store_next_schedule_us(box.store, &next_us), 0);
	assert_int_equal(next_us, 0);
	late = put_schedule(1, "a", NULL, 300);
	soon = put_schedule(2, "a", "t", 200);
	never = put_schedule(1, "b", NULL, 0);
	paused = put_schedule(1, NULL, NULL, 100);
	dropped = put_schedule(2, "a", "t", 50); /* would break the commit */
	store_put_schedule_paused(box.store, paused, true);
	store_drop_job(box.store, dropped);
	box_commit();
	store_put_schedule_run(box.store, late, 88, 9);
	store_put_schedule_run(box.store, soon, 99, 9);
	store_drop_job(box.store, 99);
	box_commit();
	assert_int_equal(box_number("SELECT sum(last_job) FROM schedule"), 88);
	assert_int_equal(store_count_schedules(box.store, &count), 0);
	assert_int_equal(count, 4);
	assert_int_equal(store_next_schedule_us(box.store, &next_us), 0);
	assert_int_equal(next_us, 200);
	assert_int_equal(store_read_schedules_due(box.store, 299, 9, list_schedule, &due), 0);
	assert_int_equal(store_read_schedules_due(box.store, 300, 9, list_schedule, &due), 0);
	assert_int_equal(store_read_schedules_due(box.store, 300, 1, list_schedule, &due), 0);
	box_expect(&due, soon, soon, late, soon);
	assert_int_equal(store_read_schedules(box.store, NULL, late, 2, list_schedule, &all), 0);
	box_expect(&all, soon, never);
	assert_int_equal(store_read_schedules(box.store, &uid, 0, 9, list_schedule, &own), 0);
	box_expect(&own, late, never, paused);
	assert_int_equal(store_read_schedules_named(box.store, &uid, "a", 9, list_schedule, &named),
			 0);
	assert_int_equal(store_read_schedules_named(box.store, NULL, "b", 9, list_schedule, &named),
			 0);
	box_expect(&named, late, never);
}

/* Jobs 2 to 5 are runs of 1, the last of them is not over. */
static void test_runs(void **state)
{
	uint64_t schedule = put_schedule(1, NULL, NULL, 1), next, run;
	struct job_filter filter = {.schedule = schedule};
	struct box_list list = {.count = 0}, old = {.count = 0}, none = {.count = 0};
	char kind[] = "ping", text[] = "{}";

	(void)state;
	for (uint64_t i = 0; i < 5; i++) {
		struct job_row row = {
			.id = store_next_job(box.store),
			.uid = 1,
			.kind = kind,
			.options = text,
			.targets = text,
			.schedule = i < 4 ? schedule : 0,
			.state = i < 3 ? JOB_COMPLETED : JOB_RUNNING,
			.created_us = (int64_t)i,
		};

		store_put_job(box.store, &row);
	}
	box_commit();
	assert_int_equal(store_live_run(box.store, schedule, &run), 0);
	assert_int_equal(run, 5);
	assert_int_equal(store_live_run(box.store, 77, &run), 0);
	assert_int_equal(run, 0);
	assert_int_equal(store_read_jobs(box.store, &filter, 0, 9, box_list_job, &list, &next), 0);
	box_expect(&list, 5, 4, 3, 2);
	assert_int_equal(store_read_old_runs(box.store, schedule, 1, 9, list_run, &old), 0);
	assert_int_equal(store_read_old_runs(box.store, schedule, 2, 9, list_run, &old), 0);
	assert_int_equal(store_read_old_runs(box.store, schedule, 3, 9, list_run, &none), 0);
	assert_int_equal(store_read_old_runs(box.store, schedule, 0, 1, list_run, &old), 0);
	box_expect(&old, 3, 2, 2, 4);
	assert_int_equal(none.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_row),
		BOX_TEST(test_due),
		BOX_TEST(test_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
