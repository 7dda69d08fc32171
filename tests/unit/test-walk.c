/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking for what is rare goes a page a turn, and thousands of selectors cost little more than
 * one. Of the calls only what a walk asks for is here; the turns are the test's.
 */
#include "tests/lib/jobs-box.h"
#include "tests/lib/store-box.h"

#include "common/util.h"
#include "daemon/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum {
	OTHERS = 40000, /* jobs of another user, newer than the one that is looked for */
	OTHER_UID = 7,
	PAGES = OTHERS / 2000,
	STEPS_MAX = 100000, /* of SQLite, in a turn */
};

/* --- What stands in for the server --- */

static enum error_id said;
static bool is_refused;

void call_error(struct call *call, struct error *error)
{
	(void)call;
	said = error->id;
	is_refused = true;
	error_done(error);
}

/* --- The walk --- */

static struct daemon daemon_of_test;
static struct job_row found_row;
static unsigned found_count;

static void put_job(uid_t uid, const char *name)
{
	autofree char *copy = xstrdup(name);
	char ping[] = "ping", none[] = "{}";
	struct job_row row = {
		.id = store_next_job(box.store),
		.uid = uid,
		.kind = ping,
		.name = copy,
		.options = none,
		.targets = none,
		.state = JOB_COMPLETED,
		.created_us = 1,
		.ended_us = 1,
	};

	store_put_job(box.store, &row);
}

static void found(struct call *call)
{
	(void)call;
	found_count++;
}

/* In so many turns. */
static unsigned find(uid_t uid, bool is_admin, const char *selector)
{
	struct call call = {
		.daemon = &daemon_of_test,
		.uid = uid,
		.is_admin = is_admin,
		.parameters = json_pack("{s:s}", "selector", selector),
	};
	unsigned turns = 1;

	daemon_of_test.store = box.store;
	found_count = 0;
	job_row_done(&found_row);
	found_row = (struct job_row){0};
	is_refused = false;
	if (walk_new_one(&call, sizeof(struct walk), walk_free)) {
		walk_find(&call, &found_row, found);
		for (; call.step && !is_refused; turns++) {
			assert_true(box_steps() <= STEPS_MAX);
			call.step(&call);
		}
		call.free(call.state);
	}
	json_decref(call.parameters);
	assert_true(box_steps() <= STEPS_MAX);
	return turns;
}

static void test_find(void **state)
{
	(void)state;
	put_job(0, "core-1");
	put_job(0, "rare");
	for (unsigned i = 0; i < OTHERS; i++)
		put_job(OTHER_UID, "core-1");
	box_commit();
	(void)box_steps();

	/* By a name that another user has given many times */
	assert_true(find(0, false, "core-1") >= PAGES);
	assert_int_equal(found_count, 1);
	assert_int_equal(found_row.id, 1);
	/* By a glob */
	assert_true(find(0, true, "rar*") >= PAGES);
	assert_int_equal(found_count, 1);
	assert_int_equal(found_row.id, 2);
	/* What is not there */
	assert_true(find(0, true, "nothing*") >= PAGES);
	assert_int_equal(found_count, 0);
	assert_int_equal(said, ERROR_NO_SUCH_JOB);
	assert_true(find(3, false, "core-1") >= PAGES);
	assert_int_equal(said, ERROR_NO_SUCH_JOB);
	/* What an index knows is there at once */
	assert_int_equal(find(0, false, "rare"), 1);
	assert_int_equal(found_row.id, 2);
	assert_int_equal(find(0, false, "@last"), 1);
	assert_int_equal(found_row.id, 2);
	assert_int_equal(find(0, true, "@last"), 1);
	assert_int_equal(found_row.id, OTHERS + 2);
	assert_int_equal(find(0, false, "3-9"), 1);
	assert_int_equal(said, ERROR_NO_SUCH_JOB);
	assert_int_equal(find(3, false, "@last"), 1);
	assert_int_equal(said, ERROR_NO_SUCH_JOB);
	job_row_done(&found_row);
}

/* --- Selections --- */

/* Of these words, looked up to the end or to what is wrong with them. */
static int select_words(json_t *words, struct selection **ret_selection, struct error *ret_error)
{
	const struct call call = {.daemon = &daemon_of_test, .uid = 1000};
	json_t *object = json_pack("{s:o}", "selectors", words);
	int r;

	daemon_of_test.jobs = table.jobs;
	r = selection_new(&call, object, ret_selection, ret_error);
	assert_int_equal(r, 0);
	do
		r = selection_look_up(*ret_selection, box.store, ret_error);
	while (r > 0);
	json_decref(object);
	return r;
}

static void put_targets(const char *targets)
{
	autofree char *copy = xasprintf("{\"targets\":[%s]}", targets);
	char ping[] = "ping", none[] = "{}", name[] = "core";
	struct job_row row = {
		.id = store_next_job(box.store),
		.uid = 1000,
		.kind = ping,
		.name = name,
		.options = none,
		.targets = copy,
		.state = JOB_COMPLETED,
	};

	store_put_job(box.store, &row);
}

static bool matches(const struct selection *selection, uint64_t id, char *name)
{
	const struct job_row row = {.id = id, .uid = 1000, .name = name};

	return selection_matches(selection, &row);
}

static void test_sorted(void **state)
{
	char name[] = "core-7", other[] = "edge";
	struct selection *selection;
	struct error error = {0};

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		put_targets("\"r[0-9]\"");
	box_commit();
	assert_int_equal(
		select_words(json_pack("[ssssss]", "9-12", "3", "core-*", "10", "4-5", "11-13"),
			     &selection, &error),
		0);
	for (uint64_t id = 1; id < 20; id++)
		assert_int_equal(matches(selection, id, other),
				 (id >= 3 && id <= 5) || (id >= 9 && id <= 13));
	assert_true(matches(selection, 1, name));
	assert_false(matches(selection, 1, NULL));
	assert_null(selection_task_word(selection));
	selection_free(selection);
}

static void test_parts(void **state)
{
	struct selection *selection;
	struct error error = {0};
	autofree uint32_t *tasks = NULL;
	json_t *words;
	size_t count;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		put_targets("\"r[0-9]\"");
	box_commit();
	assert_int_equal(select_words(json_pack("[sssssss]", "3/r7", "1/r[3-4]", "3/r1", "1",
						"1/r3", "2", "core/2"),
				      &selection, &error),
			 0);
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(selection_matches_task(selection, 1, i), i == 3 || i == 4);
		assert_true(selection_matches_task(selection, 2, i));
		assert_int_equal(selection_matches_task(selection, 3, i),
				 i == 1 || i == 2 || i == 7);
	}
	tasks = selection_tasks(selection, 3, &count);
	assert_int_equal(count, 3);
	assert_int_equal(tasks[0], 1);
	assert_int_equal(tasks[2], 7);
	assert_null(selection_tasks(selection, 2, &count));
	selection_free(selection);
	/* The word that is wrong is named, wherever it stands. */
	words = json_pack("[ssssss]", "3/r7", "1/r3", "3/r1", "3/none", "3/2", "1/r4");
	assert_true(select_words(words, &selection, &error) < 0);
	assert_int_equal(error.id, ERROR_NO_SUCH_TASK);
	assert_string_equal(error.subject, "3/none");
	error_done(&error);
	selection_free(selection);
	/* Too many are no matter of jobd.conf. */
	assert_true(select_words(json_pack("[s]", "3/10.0.0.0/8"), &selection, &error) < 0);
	assert_int_equal(error.id, ERROR_LIMIT_REACHED);
	assert_string_equal(error.subject, "selectors");
	error_done(&error);
	selection_free(selection);
}

enum { MANY = 5000, PART_STEPS_MAX = 2000 };

/* Its row and its list, which may be long, are read for all of them once. */
static void test_many_parts(void **state)
{
	struct selection *selection;
	struct error error = {0};
	json_t *words = json_array();

	(void)state;
	put_targets("\"r[0-99999]\"");
	box_commit();
	for (unsigned i = MANY; i > 0; i--) {
		autofree char *word = xasprintf("1/r%u", i);

		(void)json_array_append_new(words, json_string(word));
	}
	(void)box_steps();
	assert_int_equal(select_words(words, &selection, &error), 0);
	assert_in_range(box_steps(), 1, PART_STEPS_MAX);
	for (uint32_t i = 0; i < 2 * MANY; i++)
		assert_int_equal(selection_matches_task(selection, 1, i), i >= 1 && i <= MANY);
	selection_free(selection);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_find, jobs_box_open, jobs_box_close),
		cmocka_unit_test_setup_teardown(test_sorted, jobs_box_open, jobs_box_close),
		cmocka_unit_test_setup_teardown(test_parts, jobs_box_open, jobs_box_close),
		cmocka_unit_test_setup_teardown(test_many_parts, jobs_box_open, jobs_box_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
