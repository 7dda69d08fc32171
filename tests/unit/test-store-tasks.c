/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tasks, their records and how far these were read: as they were put, by page, final once. */
#include "tests/lib/store-box.h"

#include "common/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* --- Tasks --- */

static void test_task_life(void **state)
{
	struct task_key key = box_key(box_put_job(NULL, 9), UINT32_MAX);
	struct box_list live = {.count = 0}, none = {.count = 0};
	struct task_row row;
	struct outcome outcome = {
		.state = TASK_FAILED,
		.class = CLASS_TIMEOUT,
		.message = xstrdup("no answer"),
		.result = xstrdup("{\"sent\":3}"),
	};

	(void)state;
	store_put_task_started(box.store, key, 1, 100);
	store_put_task_sent(box.store, key);
	box_commit();
	row = box_task(key);
	assert_int_equal(row.state, TASK_RUNNING);
	assert_int_equal(row.attempts, 1);
	assert_int_equal(row.started_us, 100);
	assert_true(row.is_sent);

	store_put_task_queued(box.store, key, 1);
	box_commit();
	row = box_task(key);
	assert_int_equal(row.state, TASK_QUEUED);
	assert_false(row.is_sent);
	assert_int_equal(row.failures, 1);
	assert_int_equal(row.ended_us, 0);
	assert_int_equal(store_read_live_tasks(box.store, box_list_task, &live), 0);
	box_expect(&live, UINT32_MAX);

	/* What failed is known while it is tried again, too. */
	store_put_task_started(box.store, key, 2, 200);
	box_commit();
	assert_int_equal(box_task(key).failures, 1);
	(void)box_put_output(key, STREAM_STDOUT, 0, 30);
	(void)box_put_output(key, STREAM_STDERR, 0, 4);
	(void)box_put_output(key, STREAM_STDOUT, 30, 10);
	store_put_task_ended(box.store, key, 0, 0, &outcome, 300, store_next_position(box.store));
	box_commit();
	row = box_task(key);
	assert_int_equal(row.state, TASK_FAILED);
	assert_int_equal(row.class, CLASS_TIMEOUT);
	assert_int_equal(row.attempts, 2);
	assert_int_equal(row.started_us, 200);
	assert_int_equal(row.ended_us, 300);
	assert_int_equal(row.output_sizes[STREAM_STDOUT], 40);
	assert_int_equal(row.output_sizes[STREAM_STDERR], 4);
	assert_int_equal(store_read_live_tasks(box.store, box_list_task, &none), 0);
	box_expect(&none);
}

static void test_final_state_stays(void **state)
{
	uint64_t job = box_put_job(NULL, 1);
	struct task_key key = box_key(job, 0);
	struct outcome later = {.state = TASK_FAILED, .class = CLASS_EXIT};
	struct box_list records = {.count = 0};
	struct task_row before, after;
	uint64_t end = box_put_task(job, 0, "abc", 3);

	(void)state;
	box_commit();
	before = box_task(key);
	store_put_task_queued(box.store, key, 1);
	store_put_task_started(box.store, key, 2, 1);
	store_put_task_sent(box.store, key);
	store_put_task_unwanted(box.store, key, 2, 1);
	store_put_task_ended(box.store, key, 0, 0, &later, 2, store_next_position(box.store));
	box_commit();
	after = box_task(key);
	assert_int_equal(after.state, TASK_SUCCEEDED);
	assert_int_equal(after.class, CLASS_NONE);
	assert_int_equal(after.attempts, 1);
	assert_false(after.is_sent);
	assert_int_equal(after.started_us, before.started_us);
	assert_int_equal(after.ended_us, before.ended_us);
	assert_int_equal(
		store_read_records(box.store, job, 0, 0, 10, 1000, box_list_record, &records), 0);
	box_expect(&records, end - 1, end);
}

static void test_task_pages(void **state)
{
	struct box_list first = {.count = 0}, second = {.count = 0};
	uint64_t jobs[3];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		jobs[i] = box_put_job(NULL, 5);
		for (uint32_t index = 0; index < 5; index++)
			(void)box_put_task(jobs[i], index, "", 0);
	}
	box_commit();
	assert_int_equal(store_read_tasks(box.store, jobs[1], -1, 3, box_list_task, &first), 0);
	box_expect(&first, 0, 1, 2);
	assert_int_equal(store_read_tasks(box.store, jobs[1], 2, 3, box_list_task, &second), 0);
	box_expect(&second, 3, 4);
}

/* --- Records --- */

struct seen {
	uint64_t position, offset;
	enum stream stream;
	char bytes[16];
	size_t size;
	char message[32], result[32];
	struct task_row task;
};

static int see_record(const struct record_row *row, void *context)
{
	struct seen *seen = context;

	seen->position = row->position;
	if (row->is_end) {
		seen->task = row->task;
		(void)snprintf(seen->message, sizeof(seen->message), "%s", row->task.message);
		(void)snprintf(seen->result, sizeof(seen->result), "%s", row->task.result);
		return 0;
	}
	seen->stream = row->stream;
	seen->offset = row->offset;
	seen->size = row->size;
	assert_true(row->size <= sizeof(seen->bytes));
	memcpy(seen->bytes, row->bytes, row->size);
	return 0;
}

/* A task of a repeatable kind has its first row with its end, once. */
static void test_end_without_a_beginning(void **state)
{
	struct task_key key = box_key(box_put_job(NULL, 1), 0);
	struct outcome first = {.state = TASK_SUCCEEDED}, second = {.state = TASK_FAILED};
	struct box_list records = {.count = 0};
	uint64_t end = store_next_position(box.store);
	struct task_row row;

	(void)state;
	store_put_task_ended(box.store, key, 1, 100, &first, 200, end);
	store_put_task_ended(box.store, key, 2, 300, &second, 400, store_next_position(box.store));
	box_commit();
	row = box_task(key);
	assert_int_equal(row.state, TASK_SUCCEEDED);
	assert_int_equal(row.attempts, 1);
	assert_int_equal(row.started_us, 100);
	assert_int_equal(row.ended_us, 200);
	assert_int_equal(
		store_read_records(box.store, key.job, 0, 0, 9, 9, box_list_record, &records), 0);
	box_expect(&records, end);
}

/* That it is to stop is known until its end, of one with a row and of one without. */
static void test_unwanted(void **state)
{
	uint64_t job = box_put_job(NULL, 2);
	struct box_list records = {.count = 0};
	uint64_t ends[2];

	(void)state;
	store_put_task_started(box.store, box_key(job, 0), 3, 100);
	store_put_task_queued(box.store, box_key(job, 0), 2);
	store_put_task_started(box.store, box_key(job, 0), 3, 100);
	for (uint32_t index = 0; index < 2; index++)
		store_put_task_unwanted(box.store, box_key(job, index), 3, 100);
	box_commit();
	for (uint32_t index = 0; index < 2; index++) {
		struct outcome outcome = {.state = TASK_STOPPED};
		struct task_row row = box_task(box_key(job, index));

		assert_true(row.is_unwanted);
		assert_int_equal(row.state, TASK_RUNNING);
		assert_int_equal(row.attempts, 3);
		assert_int_equal(row.started_us, 100);
		assert_int_equal(row.failures, 0);
		assert_int_equal(row.ended_us, 0);
		ends[index] = store_next_position(box.store);
		store_put_task_ended(box.store, box_key(job, index), index == 0 ? 0 : 3, 100,
				     &outcome, 200, ends[index]);
	}
	box_commit();
	for (uint32_t index = 0; index < 2; index++) {
		struct task_row row = box_task(box_key(job, index));

		assert_false(row.is_unwanted);
		assert_int_equal(row.state, TASK_STOPPED);
		assert_int_equal(row.attempts, 3);
		assert_int_equal(row.ended_us, 200);
	}
	assert_int_equal(store_read_records(box.store, job, 0, 0, 9, 9, box_list_record, &records),
			 0);
	box_expect(&records, ends[0], ends[1]);
}

/* Output is bytes, whatever they are; the end of a task comes with its row. */
static void test_record_contents(void **state)
{
	struct task_key key = box_key(box_put_job(NULL, 1), 0);
	const char *message = "exit status 2", *result = "{\"exitStatus\":2}";
	struct outcome outcome = {.state = TASK_FAILED,
				  .class = CLASS_EXIT,
				  .message = xstrdup(message),
				  .result = xstrdup(result)};
	struct seen seen = {.position = 0};

	(void)state;
	store_put_task_started(box.store, key, 1, 1);
	store_put_output(box.store, key, store_next_position(box.store), STREAM_STDERR, 1ULL << 40,
			 5, xmemdup("a\0\xff\n", 4), 4);
	store_put_task_ended(box.store, key, 0, 0, &outcome, 6, store_next_position(box.store));
	box_commit();
	assert_int_equal(store_read_records(box.store, key.job, 0, 0, 9, 9, see_record, &seen), 0);
	assert_int_equal(seen.position, 2);
	assert_int_equal(seen.stream, STREAM_STDERR);
	assert_int_equal(seen.offset, 1ULL << 40);
	assert_int_equal(seen.size, 4);
	assert_memory_equal(seen.bytes, "a\0\xff\n", 4);
	assert_int_equal(seen.task.class, CLASS_EXIT);
	assert_string_equal(seen.message, message);
	assert_string_equal(seen.result, result);
}

static void test_record_pages(void **state)
{
	static const struct {
		uint64_t after, until;
		size_t limit, bytes_max;
		uint64_t positions[8]; /* ended by 0 */
	} rows[] = {
		{0, 0, 100, 1000, {1, 3, 5, 7}}, {1, 5, 100, 1000, {3, 5}}, {3, 0, 1, 1000, {5}},
		{0, 0, 100, 25, {1, 3}},         {0, 0, 100, 20, {1, 3}},   {0, 0, 100, 1, {1}},
		{7, 0, 100, 1000, {0}},
	};
	uint64_t mine = box_put_job(NULL, 2), other = box_put_job(NULL, 2), next;

	(void)state;
	store_put_task_started(box.store, box_key(mine, 0), 1, 1);
	store_put_task_started(box.store, box_key(other, 0), 1, 1);
	for (int i = 0; i < 4; i++) {
		(void)box_put_output(box_key(mine, 0), STREAM_STDOUT, 0, 10);
		(void)box_put_output(box_key(other, 0), STREAM_STDOUT, 0, 10);
	}
	box_commit();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct box_list list = {.count = 0};

		assert_int_equal(store_read_records(box.store, mine, rows[i].after, rows[i].until,
						    rows[i].limit, rows[i].bytes_max,
						    box_list_record, &list),
				 0);
		assert_memory_equal(list.items, rows[i].positions, sizeof(rows[i].positions));
	}
	assert_int_equal(store_next_record(box.store, mine, 3, &next), 0);
	assert_int_equal(next, 5);
	assert_int_equal(store_next_record(box.store, mine, 7, &next), 0);
	assert_int_equal(next, 0);
}

/* --- Cursors --- */

static uint64_t cursor_of(uid_t uid, const char *name, uint64_t job)
{
	uint64_t position;

	assert_int_equal(store_read_cursor(box.store, uid, name, job, &position), 0);
	return position;
}

static void test_cursors(void **state)
{
	uint64_t job = box_put_job(NULL, 1);

	(void)state;
	box_commit();
	assert_int_equal(cursor_of(7, "", job), 0);
	store_put_cursor(box.store, 7, "", job, 10);
	store_put_cursor(box.store, 7, "web", job, 5);
	box_commit();
	store_put_cursor(box.store, 7, "", job, 9);
	store_put_cursor(box.store, 8, "", job, 3);
	box_commit();
	assert_int_equal(cursor_of(7, "", job), 10);
	assert_int_equal(cursor_of(7, "web", job), 5);
	assert_int_equal(cursor_of(8, "", job), 3);

	/* A confirmation that comes with the removal leaves no cursor of nothing. */
	store_put_job_removed(box.store, job);
	store_put_cursor(box.store, 7, "", job, 11);
	box_commit();
	assert_int_equal(box_number("SELECT count(*) FROM cursor"), 0);
}

static void count_place(uint64_t job, uint64_t position, void *context)
{
	struct box_list *list = context;

	assert_true(job > 0);
	list->items[list->count++] = position;
}

/* Of a user in a job. */
static void test_cursor_room(void **state)
{
	uint64_t job = box_put_job("a", 1), other = box_put_job("b", 1);

	(void)state;
	for (unsigned i = 1; i < JOB_CURSORS_MAX; i++) {
		autofree char *name = xasprintf("c%u", i);

		store_put_cursor(box.store, 7, name, job, 1);
	}
	box_commit();
	assert_int_equal(store_cursor_has_room(box.store, 7, "new", job), 1);
	store_put_cursor(box.store, 7, "last", job, 1);
	box_commit();
	assert_int_equal(store_cursor_has_room(box.store, 7, "new", job), 0);
	assert_int_equal(store_cursor_has_room(box.store, 7, "last", job), 1);
	assert_int_equal(store_cursor_has_room(box.store, 8, "new", job), 1);
	assert_int_equal(store_cursor_has_room(box.store, 7, "new", other), 1);
}

/* What of the log is for a user and a cursor, two places at a time. */
static struct box_list log_of(uid_t uid, const char *name)
{
	struct box_list list = {.count = 0};
	uint64_t after = 0;
	bool is_end = false;

	while (!is_end)
		assert_int_equal(store_read_log(box.store, uid, name, &after, 2, count_place, &list,
						&is_end),
				 0);
	return list;
}

static void remove_wholly(uint64_t job)
{
	bool is_more;

	store_put_job_removed(box.store, job);
	box_commit();
	while (store_has_removed(box.store))
		assert_int_equal(store_reap(box.store, &is_more), 0);
}

static void test_log(void **state)
{
	uint64_t job = box_put_job(NULL, 2), other = box_put_job(NULL, 1), gone = 99;
	struct box_list list;

	(void)state;
	assert_int_equal(box_put_task(job, 0, "abc", 3), 2);
	assert_int_equal(box_put_task(other, 0, "abc", 3), 4);
	assert_int_equal(box_put_task(job, 1, "abc", 3), 6);
	(void)box_put_task(gone, 0, "abc", 3); /* of a job that is not there */
	box_commit();
	list = log_of(1000, NULL);
	box_expect(&list, 1, 2, 3, 4, 5, 6);
	list = log_of(7, NULL);
	box_expect(&list);
	/* Each name and each user has a cursor of its own. */
	store_put_cursor(box.store, 1000, "", job, 6);
	store_put_cursor(box.store, 1000, "mine", job, 5);
	store_put_cursor(box.store, 7, "mine", other, 4);
	box_commit();
	list = log_of(1000, "mine");
	box_expect(&list, 3, 4, 6);
	list = log_of(1000, "");
	box_expect(&list, 3, 4);
	list = log_of(1000, NULL);
	box_expect(&list, 1, 2, 3, 4, 5, 6);

	/* The way past what was read stays while it spares something. */
	store_put_cursor(box.store, 1000, "mine", 0, 4);
	remove_wholly(job);
	assert_int_equal(cursor_of(1000, "mine", 0), 4);
	remove_wholly(other);
	assert_int_equal(cursor_of(1000, "mine", 0), 0);
	store_put_cursor(box.store, 1000, "mine", 0, store_last_position(box.store));
	remove_wholly(gone);
	assert_int_equal(cursor_of(1000, "mine", 0), 0);
}

static void test_has_jobs(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++)
		(void)box_put_job(NULL, 1);
	box_commit();
	for (uint64_t count = 0; count < 5; count++) {
		assert_int_equal(store_has_jobs(box.store, 1000, count), count <= 2);
		assert_int_equal(store_has_jobs(box.store, 7, count), count == 0);
	}
}

/* Names that are used once do not pile up: those that spare least go, also of equals. */
static void test_log_cursors(void **state)
{
	enum { MORE = 5 };

	(void)state;
	store_put_cursor(box.store, 7, "mine", 0, 1);
	store_put_cursor(box.store, 1000, "lowest", 0, 2);
	for (unsigned i = 0; i < 2 * LOG_CURSORS_MAX; i++) {
		autofree char *name = xasprintf("once%u", i);

		store_put_cursor(box.store, 1000, name, 0, i < MORE ? 3 + i : 9);
	}
	box_commit();
	assert_int_equal(box_number("SELECT count(*) FROM cursor WHERE uid = 1000"),
			 LOG_CURSORS_MAX);
	assert_int_equal(box_number("SELECT min(position) FROM cursor WHERE uid = 1000"), 9);
	assert_int_equal(cursor_of(7, "mine", 0), 1);
	/* One that is moved is not one more. */
	store_put_cursor(box.store, 1000, "once199", 0, 20);
	store_put_cursor(box.store, 1000, "ahead", 0, 20);
	box_commit();
	assert_int_equal(cursor_of(1000, "once199", 0), 20);
	assert_int_equal(cursor_of(1000, "ahead", 0), 20);
	assert_int_equal(box_number("SELECT count(*) FROM cursor WHERE uid = 1000"),
			 LOG_CURSORS_MAX);
}

static void take_lowest(uint64_t job, uint64_t position, void *context)
{
	uint64_t *lowest = context;

	assert_true(job > 0);
	if (position < *lowest)
		*lowest = position;
}

static uint64_t arriving_position(void)
{
	uint64_t lowest = UINT64_MAX;

	store_each_arriving(box.store, take_lowest, &lowest);
	return lowest;
}

/* What arrives lies above where it began, until it is there or given up. */
static void test_arriving(void **state)
{
	uint64_t first = store_next_job(box.store), second = store_next_job(box.store);
	uint64_t begin = store_last_position(box.store);

	(void)state;
	assert_int_equal(arriving_position(), UINT64_MAX);
	store_set_arriving(box.store, first, true);
	(void)store_next_position(box.store);
	store_set_arriving(box.store, second, true);
	assert_int_equal(arriving_position(), begin);
	store_put_job_kept(box.store, first);
	box_execute("CREATE TEMP TRIGGER fault BEFORE UPDATE ON meta "
		    "BEGIN SELECT RAISE(FAIL, 'fault'); END");
	assert_int_equal(store_commit(box.store), -EIO);
	assert_int_equal(arriving_position(), begin);
	box_execute("DROP TRIGGER fault");
	box_commit();
	assert_int_equal(arriving_position(), begin + 1);
	store_drop_job(box.store, second);
	assert_int_equal(arriving_position(), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_task_life),
		BOX_TEST(test_final_state_stays),
		BOX_TEST(test_end_without_a_beginning),
		BOX_TEST(test_unwanted),
		BOX_TEST(test_task_pages),
		BOX_TEST(test_record_contents),
		BOX_TEST(test_record_pages),
		BOX_TEST(test_cursors),
		BOX_TEST(test_cursor_room),
		BOX_TEST(test_log),
		BOX_TEST(test_has_jobs),
		BOX_TEST(test_log_cursors),
		BOX_TEST(test_arriving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
