/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls that take more than one turn, and what happens meanwhile: what is no longer there is not
 * taken for what never was. Of the server only what these calls ask for is here; the turns are the
 * test's.
 */
#include "common/log.h"
#include "common/util.h"
#include "daemon/json-text.h"
#include "daemon/methods.h"
#include "tests/lib/fault-vfs.h"
#include "tests/lib/jobs-box.h"
#include "tests/lib/store-box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { TASKS = 2500, UID = 7, OTHERS = 600, RECEIVED = 2100 };

/* --- What stands in for the server --- */

static enum error_id refused;
static bool is_answered, is_refused;
static json_t *reply;

void call_error(struct call *call, struct error *error)
{
	call->step = NULL;
	is_answered = is_refused = true;
	refused = error->id;
	error_done(error);
}

void call_storage_failed(struct call *call)
{
	(void)call;
	fail();
}

void call_reply(struct call *call, json_t *parameters)
{
	call->step = NULL;
	is_answered = true;
	reply = parameters;
}

void call_continue(struct call *call, json_t *parameters)
{
	(void)call;
	json_decref(parameters);
}

void call_text_begin(struct json_text *text)
{
	(void)text;
}

void call_reply_text(struct call *call, struct json_text *text)
{
	json_text_done(text);
	call_reply(call, NULL);
}

void call_reply_start(struct call *call, uint64_t id, struct json_text *text)
{
	(void)id;
	call_reply_text(call, text);
}

void call_continue_text(struct call *call, struct json_text *text)
{
	(void)call;
	json_text_done(text);
}

unsigned server_client_count(const struct server *server)
{
	(void)server;
	return 0;
}

void call_hold(struct call *call)
{
	(void)call;
}

static void *kept;
static void (*free_kept)(void *state);

void connection_set_state(struct connection *connection, void *state, void (*free_state)(void *))
{
	(void)connection;
	if (free_kept)
		free_kept(kept);
	kept = state;
	free_kept = free_state;
}

void *connection_state(const struct connection *connection, void (*free_state)(void *))
{
	(void)connection;
	return free_kept == free_state ? kept : NULL;
}

static struct daemon daemon_of_test;
static struct call call;

/* Its first turn. */
static void call_method(void (*method)(struct call *call), json_t *parameters)
{
	daemon_of_test = (struct daemon){
		.base = table.base,
		.config = table.config,
		.store = box.store,
		.jobs = table.jobs,
	};
	call = (struct call){.daemon = &daemon_of_test, .uid = UID, .parameters = parameters};
	is_answered = is_refused = false;
	reply = NULL;
	method(&call);
}

/* ... after which it has more to do. */
static void begin(void (*method)(struct call *call), json_t *parameters)
{
	call_method(method, parameters);
	assert_false(is_answered);
	assert_non_null(call.step);
}

static void go_on(void)
{
	while (call.step)
		call.step(&call);
}

static void end(void)
{
	call.free(call.state);
	json_decref(call.parameters);
	json_decref(reply);
}

static int64_t replied(const char *member)
{
	assert_true(is_answered && !is_refused);
	return json_integer_value(json_object_get(reply, member));
}

/* --- Jobs --- */

/* An ended one, whose tasks have all succeeded. */
static uint64_t put_ended(uint64_t tasks)
{
	char ping[] = "ping", options[] = "{\"kind\":\"ping\"}";
	autofree char *targets = xasprintf("{\"targets\":[\"r[0-%llu]\"]}",
					   (unsigned long long)(tasks > 0 ? tasks - 1 : 0));
	struct job_row row = {
		.id = store_next_job(box.store),
		.uid = UID,
		.kind = ping,
		.options = options,
		.targets = targets,
		.state = JOB_COMPLETED,
		.counts = {[TASK_SUCCEEDED] = tasks},
		.next_index = tasks,
		.recorded_index = tasks,
		.created_us = 1,
		.ended_us = 1,
	};

	for (uint32_t i = 0; i < tasks; i++)
		row.last_position = box_put_task(row.id, i, "x", 1);
	store_put_job(box.store, &row);
	return row.id;
}

static void remove_job(uint64_t id)
{
	jobs_remove(table.jobs, id);
	jobs_box_commit();
}

/* Those that succeeded are not tried again. */
static void test_retry(void **state)
{
	uint64_t id = put_ended(TASKS);

	(void)state;
	jobs_box_commit();
	begin(method_retry, json_pack("{s:s}", "selector", "1"));
	remove_job(id);
	go_on();
	assert_true(is_refused);
	assert_int_equal(refused, ERROR_NO_SUCH_JOB);
	assert_int_equal(jobs_live_count(table.jobs), 0);
	end();
}

/* ... nor listed as stopped. */
static void test_list_tasks(void **state)
{
	uint64_t id = put_ended(TASKS);

	(void)state;
	jobs_box_commit();
	begin(method_list_tasks, json_pack("{s:s, s:i}", "selector", "1", "limit", TASKS));
	remove_job(id);
	go_on();
	assert_true(is_refused);
	assert_int_equal(refused, ERROR_NO_SUCH_JOB);
	end();
}

/* The end of a job is not waited for when it has come and gone. */
static void test_wait(void **state)
{
	struct job *job;

	(void)state;
	for (unsigned i = 0; i < OTHERS; i++)
		(void)put_ended(1);
	jobs_box_commit();
	job = jobs_box_start("[\"127.0.0.1\"]", FAILING, 1);
	begin(method_wait, json_pack("{s:{s:b}}", "selection", "all", 1));
	remove_job(jobs_box_finish(job));
	go_on();
	assert_int_equal(replied("jobs"), OTHERS + 1);
	assert_int_equal(replied("jobsEnded"), OTHERS + 1);
	end();
}

/* ... and how a job ended counts, whatever becomes of it then. */
static void test_wait_for_what_failed(void **state)
{
	struct job *first = jobs_box_start("[\"127.0.0.1\"]", FAILING, 1);
	struct job *last = jobs_box_start("[\"127.0.0.[1-2]\"]", FAILING, 1);

	(void)state;
	jobs_pause(table.jobs, last);
	jobs_box_commit();
	call_method(method_wait, json_pack("{s:{s:b}}", "selection", "all", 1));
	remove_job(jobs_box_finish(first));
	assert_false(is_answered);
	jobs_resume(table.jobs, last);
	(void)jobs_box_finish(last);
	assert_int_equal(replied("tasks"), 3);
	assert_int_equal(replied("failed"), 3);
	end();
}

/* --- On a disk that fails --- */

/* Nothing of the database is in memory, and no more of it can be read. */
static void break_disk(struct job_watcher *watcher, const struct job_row *row, bool is_removed)
{
	(void)watcher;
	if (is_removed || !job_state_is_final(row->state))
		return;
	(void)sqlite3_db_release_memory(box.store->database);
	fault_arm(1, true);
}

/* While the others are removed one of them ends, and what it gave cannot be read. */
static void test_receive_and_remove(void **state)
{
	struct job_watcher breaker = {.changed = break_disk};
	struct job *job = jobs_box_start("[\"127.0.0.1\"]", FAILING, 1);
	uint64_t id = job->row.id;
	struct job_row row;

	(void)state;
	for (unsigned i = 0; i < RECEIVED; i++)
		(void)put_ended(0);
	jobs_box_commit();
	begin(method_receive, json_pack("{s:{s:b}, s:b}", "selection", "all", 1, "remove", 1));
	go_on();
	assert_true(is_answered);
	end();
	begin(method_receive, json_pack("{s:i}", "confirm", 0));
	jobs_watch(table.jobs, &breaker);
	(void)jobs_box_finish(job);
	assert_true(fault_disarm());
	jobs_unwatch(&breaker);
	go_on();
	assert_true(is_refused);
	jobs_box_commit();
	assert_int_equal(store_read_job(box.store, id, &row), 0);
	job_row_done(&row);
	end();
	connection_set_state(NULL, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TABLE_TEST(test_retry),
		TABLE_TEST(test_list_tasks),
		TABLE_TEST(test_wait),
		TABLE_TEST(test_wait_for_what_failed),
		TABLE_TEST(test_receive_and_remove),
	};

	log_set_level(LOG_ERR); /* not each end */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
