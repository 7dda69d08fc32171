/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real job table on a real store and real workers, turned by hand: what workers report is there
 * when the test wants it.
 */
#include "common/log.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/jobs-internal.h"
#include "daemon/json-text.h"
#include "daemon/methods.h"
#include "daemon/schedules.h"
#include "tests/lib/jobs-box.h"
#include "tests/lib/store-box.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { WAIT_MS = 10000 };

/* A worker has something to say; nobody has listened yet. */
static void await_reports(void)
{
	struct pollfd mailbox = {.fd = table.reports.fd, .events = POLLIN};

	assert_int_equal(poll(&mailbox, 1, WAIT_MS), 1);
}

static struct job *start(const char *targets, const char *options)
{
	return jobs_box_start(targets, options, 1000000);
}

static void expect_task(uint64_t job, uint32_t index, enum task_state state, unsigned attempts)
{
	struct task_row row = box_task(box_key(job, index));

	assert_int_equal(row.state, state);
	assert_int_equal(row.attempts, attempts);
}

/* --- Stopping one target --- */

/* False where it had ended. */
static bool stop(struct job *job, uint32_t index)
{
	return jobs_stop_tasks(table.jobs, job, &index, 1, 0) == 1;
}

/* Its failure is on its way, and would be followed by another attempt. */
static void test_stop_meets_retry(void **state)
{
	struct job *job = start("[\"127.0.0.1\"]", FAILING);
	uint64_t id;

	(void)state;
	await_reports();
	assert_true(stop(job, 0));
	id = jobs_box_finish(job);
	expect_task(id, 0, TASK_FAILED, 1);
}

/* The same of one of many; the others are tried again. */
static void test_stop_meets_retry_in_span(void **state)
{
	struct job *job = start("[\"127.0.0.1-127.0.0.100\"]", FAILING);
	const struct live_task *span = TAILQ_FIRST(&live_job_of(job)->running);
	uint64_t id;

	(void)state;
	assert_int_equal(span->count, 100);
	await_reports();
	for (uint32_t index = 70; index < 75; index++) {
		assert_true(stop(job, index));
		assert_true(stop(job, index));
	}
	/* Who was told of it already is not told again. */
	assert_int_equal(span->stop_count, 5);
	id = jobs_box_finish(job);
	for (uint32_t index = 0; index < 100; index++)
		expect_task(id, index, TASK_FAILED,
			    index >= 70 && index < 75 ? 1 : JOBS_BOX_RETRIES + 1);
}

/* It comes back from its span, to have a task of its own for its name. */
static void test_stop_meets_name(void **state)
{
	struct job *job = start("[\"127.0.0.1\", \"name.invalid\", \"127.0.0.2\"]", FAILING);
	uint64_t id;

	(void)state;
	await_reports();
	assert_true(stop(job, 1));
	id = jobs_box_finish(job);
	expect_task(id, 0, TASK_FAILED, JOBS_BOX_RETRIES + 1);
	expect_task(id, 1, TASK_STOPPED, 1);
	expect_task(id, 2, TASK_FAILED, JOBS_BOX_RETRIES + 1);
}

/* It waits for its turn: it ends at once, and only once. */
static void test_stop_while_waiting(void **state)
{
	struct job *job = start("[\"127.0.0.1\", \"127.0.0.2\"]", FAILING);
	uint64_t id;

	(void)state;
	while (live_job_of(job)->waiting_count < 2) {
		await_reports();
		jobs_box_take_reports();
	}
	assert_true(stop(job, 1));
	assert_false(stop(job, 1));
	id = jobs_box_finish(job);
	expect_task(id, 0, TASK_FAILED, JOBS_BOX_RETRIES + 1);
	expect_task(id, 1, TASK_STOPPED, 1);
}

/* jobd ends before it has heard that the target did: that is its end, and it does not go on. */
static void test_stop_meets_shutdown(void **state)
{
	struct job *job = start("[\"127.0.0.1\"]", "{\"count\": 0}");
	uint64_t id = job->row.id;

	(void)state;
	assert_true(stop(job, 0));
	jobs_box_commit();
	jobs_shutdown(table.jobs);
	await_reports();
	jobs_box_take_reports();
	jobs_box_commit();
	expect_task(id, 0, TASK_STOPPED, 1);
}

/* jobd dies before it has heard that the targets did: they were told to stop, and do. */
static void test_stop_meets_crash(void **state)
{
	struct job *one = start("[\"127.0.0.1\"]", "{\"count\": 0}");
	struct job *many = start("[\"127.0.0.1-127.0.0.100\"]", FAILING);
	uint64_t lone = one->row.id, spanned = many->row.id;
	struct jobs *after = jobs_new(table.base, box.store, table.workers, table.config);
	struct error error = {0};

	(void)state;
	assert_true(stop(one, 0));
	assert_true(stop(many, 70));
	jobs_box_commit();
	expect_task(lone, 0, TASK_RUNNING, 1);
	expect_task(spanned, 70, TASK_RUNNING, 1);
	assert_int_equal(jobs_recover(after, &error), 0);
	box_commit();
	expect_task(lone, 0, TASK_STOPPED, 1);
	expect_task(spanned, 70, TASK_STOPPED, 1);
	assert_int_equal(live_job_find(after, spanned)->waiting_count, 99);
	jobs_free(after);
	(void)jobs_box_finish(one);
	(void)jobs_box_finish(many);
	/* An end stays the one that it is. */
	expect_task(spanned, 70, TASK_STOPPED, 1);
	expect_task(spanned, 71, TASK_FAILED, JOBS_BOX_RETRIES + 1);
}

/* --- Stopping very many --- */

/* What stands in for the server: the turns are the test's. */
static json_t *said;
static struct error refused;
static bool may_be_refused;

void call_reply(struct call *call, json_t *parameters)
{
	call->step = NULL;
	said = parameters;
}

void call_error(struct call *call, struct error *error)
{
	if (!may_be_refused)
		fail_msg("%s", error->sentence);
	call->step = NULL;
	refused = *error;
}

static struct daemon daemon_of_test;

enum { STOPPED = 3000, AT_ONCE_MAX = 1000, LATER = 10 };
/* One of them begins; the named ones follow, then some more. */
#define ROW     "[\"127.0.0.1\", \"127.1.0.1-127.1.11.184\", \"127.2.0.1-127.2.0.10\"]"
#define NAMED_1 "127.1.0.1-127.1.0.200"
#define NAMED_2 "127.1.0.150-127.1.11.184"

/* By user 7; takes over the parameters. */
static void prepare_call(struct call *call, json_t *parameters)
{
	daemon_of_test = (struct daemon){.store = box.store, .jobs = table.jobs};
	*call = (struct call){.daemon = &daemon_of_test, .uid = 7, .parameters = parameters};
	said = NULL;
}

/* In this turn a piece of it. second may be NULL. */
static void call_stop(struct call *call, const char *first, const char *second)
{
	prepare_call(call, json_pack("{s:{s:[s, s*]}}", "selection", "selectors", first, second));
	method_stop(call);
}

/* The job's first task runs, and another would follow. Stops the named ones, in this turn some. */
static struct job *begin_stop(struct call *call)
{
	struct job *job = jobs_box_start(ROW, FAILING, 1);

	assert_int_equal(target_list_count(job->targets), STOPPED + LATER + 1);
	assert_int_equal(job->row.next_index, 1);
	call_stop(call, "1/" NAMED_1, "1/" NAMED_2);
	assert_non_null(call->step);
	await_reports();
	jobs_box_take_reports();
	return job;
}

static void end_call(struct call *call)
{
	call->free(call->state);
	json_decref(call->parameters);
	json_decref(said);
}

/* Some a turn, while none of them begins; the reply comes with the last. */
static void test_stop_many(void **state)
{
	uint64_t stopped = 0;
	struct call call;
	struct job *job = begin_stop(&call);

	(void)state;
	for (;;) {
		const uint64_t *counts = job->row.counts;

		assert_true(counts[TASK_STOPPED] <= stopped + AT_ONCE_MAX);
		stopped = counts[TASK_STOPPED];
		if (said)
			break;
		/* One change each, and some of the task that runs */
		assert_true(box.store->queued <= AT_ONCE_MAX + 10);
		jobs_box_commit();
		assert_int_equal(counts[TASK_RUNNING], 0);
		assert_int_equal(job->row.next_index, 1);
		call.step(&call);
	}
	assert_int_equal(stopped, STOPPED);
	assert_int_equal(json_array_size(json_object_get(said, "ids")), 1);
	end_call(&call);
	(void)jobs_box_finish(job);
	assert_int_equal(box_number("SELECT count(*) FROM task WHERE state = 4 AND attempts = 0"),
			 STOPPED);
	assert_int_equal(box_number("SELECT count(DISTINCT task) FROM record"),
			 STOPPED + LATER + 1);
	assert_int_equal(box_number("SELECT stopped FROM job"), STOPPED);
	assert_int_equal(box_number("SELECT failed FROM job"), LATER + 1);
	box_check();
}

/* The name of one is looked for in a list that is gone through in more than one turn. */
static void test_stop_far(void **state)
{
	enum { COUNT = 15 * 256 * 254 };
	struct job *job = jobs_box_start("[\"127.[0-14].[0-255].[1-254]\"]", FAILING, 1);
	struct call call;
	unsigned turns = 1;

	(void)state;
	call_stop(&call, "1/127.14.255.254", NULL);
	for (; !said; turns++)
		call.step(&call);
	assert_true(turns > 2);
	end_call(&call);
	assert_int_equal(job->row.counts[TASK_STOPPED], 1);
	jobs_box_commit();
	expect_task(job->row.id, COUNT - 1, TASK_STOPPED, 0);
	jobs_stop(table.jobs, job, 0);
	(void)jobs_box_finish(job);
}

/* The client leaves in between: what was stopped is, after a crash too; the others go on. */
static void test_stop_many_left(void **state)
{
	struct call call;
	struct job *job = begin_stop(&call);
	uint64_t id = job->row.id, stopped = job->row.counts[TASK_STOPPED];
	struct jobs *after = jobs_new(table.base, box.store, table.workers, table.config);
	struct error error = {0};

	(void)state;
	assert_true(stopped > 0 && stopped <= AT_ONCE_MAX);
	jobs_box_commit();
	assert_int_equal(jobs_recover(after, &error), 0);
	assert_int_equal(job_never_begun(live_job_find(after, id)), STOPPED + LATER - stopped);
	jobs_free(after);
	assert_int_equal(job->row.counts[TASK_RUNNING], 0);
	end_call(&call);
	assert_null(said);
	jobs_box_commit();
	assert_int_equal(job->row.counts[TASK_RUNNING], 1);
	assert_int_equal(job->row.counts[TASK_STOPPED], stopped);
	jobs_stop(table.jobs, job, 0);
	(void)jobs_box_finish(job);
	box_check();
}

/* --- Removing very many --- */

enum { MANY = 1200 };

static void call_remove(struct call *call, const char *selector)
{
	prepare_call(call,
		     json_pack("{s:{s:[s]}, s:b}", "selection", "selectors", selector, "force", 1));
	method_remove(call);
}

/* All but the last are running when they are to be removed, by user 7; in this turn a page. */
static struct job *begin_remove(struct call *call)
{
	struct job *last = NULL;

	for (unsigned i = 0; i <= MANY; i++)
		last = start("[\"127.0.0.1\"]", "{\"count\": 0}");
	call_remove(call, "1-1200");
	return last;
}

/* Stopped some a turn, and each is removed once, when it has ended; others stay as they are. */
static void test_remove_many(void **state)
{
	int64_t end_us = now_monotonic_us() + WAIT_MS * US_PER_MS;
	const json_t *removed;
	struct call call;
	struct job *other = begin_remove(&call);

	(void)state;
	/* Newest first */
	assert_int_equal(jobs_find(table.jobs, MANY)->row.state, JOB_STOPPING);
	assert_int_equal(jobs_find(table.jobs, 1)->row.state, JOB_RUNNING);
	jobs_stop(table.jobs, other, 0);
	while (!said || jobs_find(table.jobs, MANY + 1)) {
		jobs_box_commit();
		jobs_box_take_reports();
		if (call.step)
			call.step(&call);
		assert_true(now_monotonic_us() < end_us);
	}
	removed = json_object_get(said, "removed");
	assert_int_equal(json_array_size(removed), MANY);
	assert_int_equal(json_array_size(json_object_get(said, "left")), 0);
	jobs_box_commit();
	assert_int_equal(box_number("SELECT count(*) FROM job WHERE id <= 1200"), 0);
	assert_int_equal(box_number("SELECT count(*) FROM removed"), MANY);
	end_call(&call);
	expect_task(MANY + 1, 0, TASK_STOPPED, 1);
	assert_int_equal(box_number("SELECT count(*) FROM job"), 1);
}

/* Another program has the database. */
static void fail_to_commit(void)
{
	(void)jobs_flush(table.jobs);
	assert_true(store_commit(box.store) < 0);
	jobs_commit_failed(table.jobs);
}

/* Nothing can be stored any more: it is answered then, and no more is removed than it says. */
static void test_remove_while_commits_fail(void **state)
{
	struct call call;
	uint64_t ended = jobs_box_finish(start("[\"127.0.0.1\"]", FAILING));
	uint64_t stopped = start("[\"127.0.0.1\"]", "{\"count\": 0}")->row.id;
	sqlite3 *lock;

	(void)state;
	call_remove(&call, "1-2");
	lock = box_lock();
	may_be_refused = true;
	fail_to_commit();
	may_be_refused = false;
	assert_null(said);
	assert_int_equal(refused.id, ERROR_STORAGE_FAILED);
	assert_non_null(strstr(refused.sentence, "is locked by another program"));
	assert_non_null(strstr(refused.sentence, "; 1 of the jobs are removed"));
	assert_non_null(strstr(refused.sentence, " 1 were stopped"));
	error_done(&refused);
	end_call(&call);
	await_reports();
	jobs_box_take_reports();
	fail_to_commit();
	box_unlock(lock);
	jobs_box_commit();
	assert_int_equal(ended, 1);
	assert_int_equal(box_number("SELECT min(id) FROM job"), stopped);
	expect_task(stopped, 0, TASK_STOPPED, 1);
	box_check();
}

/* --- Dry runs --- */

static char *started;

void call_text_begin(struct json_text *text)
{
	(void)text;
}

void call_reply_start(struct call *call, uint64_t id, struct json_text *text)
{
	(void)call;
	(void)id;
	started = json_text_take(text, NULL);
}

/* Start, with these parameters beside its targets, says so. */
static void expect_start(const char *more, const char *reply)
{
	autofree char *parameters = xasprintf("{\"kind\": \"ping\", \"token\": \"t\", \"targets\": "
					      "[\"127.0.0.[1-3]\"], \"ping\": " FAILING "%s}",
					      more);
	struct call call = {
		.daemon = &daemon_of_test, .uid = 7, .parameters = json_loads(parameters, 0, NULL)};

	method_start(&call);
	assert_string_equal(started, reply);
	free(started);
	json_decref(call.parameters);
}

#define DRY       ", \"dryRun\": true"
#define SCHEDULE  ", \"name\": \"n\", \"schedule\": {\"everyUsec\": 3600000000}"
#define NEW(id)   "{\"id\":" #id ",\"tasks\":3,\"isNew\":true}"
#define KNOWN(id) "{\"id\":" #id ",\"tasks\":3,\"isNew\":false}"

/* It takes no id, no token and no name, and leaves nothing to store. */
static void test_dry_run(void **state)
{
	(void)state;
	daemon_of_test = (struct daemon){table.base, table.config, box.store, .jobs = table.jobs};
	daemon_of_test.schedules = schedules_new(&daemon_of_test);
	expect_start(DRY, NEW(0));
	expect_start(DRY SCHEDULE, NEW(0));
	expect_start(DRY SCHEDULE, NEW(0));
	assert_false(jobs_has_changes(table.jobs));
	assert_int_equal(store_queued_bytes(box.store), 0);
	expect_start("", NEW(1));
	expect_start(SCHEDULE, NEW(2));
	/* As it would be: the one that there is */
	expect_start(DRY, KNOWN(1));
	expect_start(DRY SCHEDULE, KNOWN(2));
	(void)jobs_box_finish(jobs_find(table.jobs, 1));
	schedules_free(daemon_of_test.schedules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TABLE_TEST(test_stop_meets_retry),
		TABLE_TEST(test_stop_meets_retry_in_span),
		TABLE_TEST(test_stop_meets_name),
		TABLE_TEST(test_stop_while_waiting),
		TABLE_TEST(test_stop_meets_shutdown),
		TABLE_TEST(test_stop_meets_crash),
		TABLE_TEST(test_stop_many),
		TABLE_TEST(test_stop_many_left),
		TABLE_TEST(test_stop_far),
		TABLE_TEST(test_remove_many),
		TABLE_TEST(test_remove_while_commits_fail),
		TABLE_TEST(test_dry_run),
	};

	log_set_level(LOG_ERR); /* not each end */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
