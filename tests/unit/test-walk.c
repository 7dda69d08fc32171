/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking for what is rare goes a page a turn. Of the calls only what a walk asks for is here; the
 * turns are the test's.
 */
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

void call_schedule(struct call *call)
{
	assert_non_null(call->step);
}

void turn_worked(struct daemon *daemon, bool has_more)
{
	(void)daemon;
	(void)has_more;
}

bool turn_is_over(const struct daemon *daemon)
{
	(void)daemon;
	return false;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
