/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real schedules on a real store, whose disk fails at each call there is and whose power goes:
 * each time that comes makes one job. The job table is the test's own: it puts rows.
 */
#include "common/log.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/schedules.h"
#include "daemon/server.h"
#include "tests/lib/fault-vfs.h"
#include "tests/lib/store-box.h"

#include <errno.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { CALLS_MAX = 10000, ROUNDS_MAX = 200, CUTS = 40, MANY = 300 };

static struct {
	struct event_base *base;
	struct config config;
	struct daemon daemon;
	struct schedules *schedules;
	struct job_watcher *watcher;
	unsigned started, removed;
	bool is_refusing, is_clock_set;
	unsigned refused_reads, worked, worked_max; /* in a turn; 0: no bound */
	bool is_unreadable;
	enum statement unreadable; /* this one alone; 0: none */
	unsigned warnings;
} set;

/* --- The clock, as timerfd_create(2) tells that it was set --- */

ssize_t __real_read(int fd, void *bytes, size_t size);
ssize_t __wrap_read(int fd, void *bytes, size_t size);

ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
	if (!set.is_clock_set)
		return __real_read(fd, bytes, size);
	set.is_clock_set = false;
	errno = ECANCELED;
	return -1;
}

/* --- Reads, which fail, though the commits do not --- */

int __real_store_each_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use,
			  void *context);
int __wrap_store_each_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use,
			  void *context);
int __real_store_one_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use,
			 void *context);
int __wrap_store_one_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use,
			 void *context);

static bool is_refused(sqlite3_stmt *statement)
{
	bool is_one = set.is_unreadable ||
		      (set.unreadable != 0 && statement == box.store->statements[set.unreadable]);

	set.refused_reads += is_one;
	return is_one;
}

int __wrap_store_each_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use,
			  void *context)
{
	return is_refused(statement) ? -EIO : __real_store_each_row(store, statement, use, context);
}

int __wrap_store_one_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use,
			 void *context)
{
	return is_refused(statement) ? -EIO : __real_store_one_row(store, statement, use, context);
}

/* --- The journal --- */

void __wrap_log_line(int level, const char *format, ...);

void __wrap_log_line(int level, const char *format, ...)
{
	(void)format;
	set.warnings += level == LOG_WARNING;
}

/* --- The job table --- */

int jobs_start(struct jobs *jobs, const struct job_request *request, uint64_t *ret_id,
	       uint64_t *ret_tasks, bool *ret_is_new, struct error *ret_error)
{
	char kind[] = "ping", text[] = "{}";
	struct job_row row = {.uid = request->uid,
			      .kind = kind,
			      .options = text,
			      .targets = text,
			      .schedule = request->schedule,
			      .state = JOB_COMPLETED,
			      .created_us = now_real_us()};

	(void)jobs;
	if (set.is_refusing)
		return error_set(ret_error, ERROR_LIMIT_REACHED, "max-live-jobs", "no room");
	assert_int_equal(json_array_size(json_object_get(request->parameters, "targets")), 1);
	assert_null(json_object_get(request->parameters, "schedule"));
	*ret_id = row.id = store_next_job(box.store);
	*ret_tasks = 1;
	*ret_is_new = true;
	store_put_job(box.store, &row);
	set.started++;
	return 0;
}

bool jobs_prune(struct jobs *jobs, uint64_t id)
{
	(void)jobs;
	store_put_job_removed(box.store, id);
	set.removed++;
	return true;
}

void jobs_watch(struct jobs *jobs, struct job_watcher *watcher)
{
	(void)jobs;
	set.watcher = watcher;
}

void jobs_unwatch(struct job_watcher *watcher)
{
	assert_ptr_equal(watcher, set.watcher);
	set.watcher = NULL;
}

int job_name_check(const char *name, struct error *ret_error)
{
	(void)name;
	(void)ret_error;
	return 0;
}

/* --- Turns --- */

void turn_worked(struct daemon *daemon, bool has_more)
{
	(void)daemon;
	(void)has_more;
	set.worked++;
}

bool turn_is_over(const struct daemon *daemon)
{
	(void)daemon;
	return set.worked_max > 0 && set.worked >= set.worked_max;
}

static void open_schedules(void)
{
	set.daemon = (struct daemon){.base = set.base, .config = &set.config, .store = box.store};
	set.schedules = schedules_new(&set.daemon);
}

static void close_schedules(void)
{
	schedules_free(set.schedules);
	set.schedules = NULL;
}

/* What is active, then a commit: whether that went well. */
static bool turn(void)
{
	int r;

	set.worked = 0;
	(void)event_base_loop(set.base, EVLOOP_NONBLOCK);
	r = store_commit(box.store);
	if (r == 0)
		schedules_committed(set.schedules);
	return r == 0;
}

/* The review at the start, and what is due, all of it. */
static void settle(void)
{
	for (int i = 0; i < 5; i++) {
		const struct timeval soon = timeval_of(2 * US_PER_MS);

		(void)event_base_loopexit(set.base, &soon);
		(void)event_base_loop(set.base, 0);
		(void)turn();
	}
}

/* Start with a rule; its id, or 0 and the test frees the sentence. */
static uint64_t make(const char *rule, const char *name, const char *token, bool *ret_is_new,
		     char **ret_sentence)
{
	json_t *parameters =
		json_pack("{s:s, s:[s], s:b, s:o}", "kind", "ping", "targets", "127.0.0.1",
			  "shuffle", 1, "schedule", json_loads(rule, 0, NULL));
	struct job_request request = {.uid = 7, .token = token, .parameters = parameters};
	struct error error = {0};
	uint64_t id = 0, tasks;

	if (name)
		(void)json_object_set_new(parameters, "name", json_string(name));
	if (schedules_make(set.schedules, &request, &id, &tasks, ret_is_new, &error) < 0) {
		*ret_sentence = xstrdup(error.sentence);
		error_done(&error);
		id = 0;
	} else {
		assert_int_equal(tasks, 1);
	}
	json_decref(parameters);
	return id;
}

/* One that must be taken, each hour, and is not due: its first run is over. */
static uint64_t make_hourly(const char *more)
{
	autofree char *rule = xasprintf("{\"everyUsec\":3600000000%s}", more);
	char *sentence = NULL;
	bool is_new;
	uint64_t id = make(rule, NULL, NULL, &is_new, &sentence);

	if (id == 0)
		fail_msg("%s", sentence);
	assert_true(turn());
	settle();
	return id;
}

/* So long ago it was due; past the schedules, which look again. */
static void make_due(int64_t seconds)
{
	autofree char *sql = xasprintf("UPDATE schedule SET next_us = %lld",
				       (long long)(now_real_us() - seconds * US_PER_SEC));

	close_schedules();
	box_execute(sql);
	open_schedules();
}

static int64_t number_of(uint64_t id, const char *column)
{
	autofree char *sql = xasprintf("SELECT %s FROM schedule WHERE id = %llu", column,
				       (unsigned long long)id);

	return box_number(sql);
}

/* Its runs are jobs, one for one. */
static void expect_runs(uint64_t id, int64_t runs)
{
	autofree char *sql =
		xasprintf("SELECT count(*) FROM job WHERE schedule = %llu", (unsigned long long)id);

	assert_int_equal(number_of(id, "runs"), runs);
	assert_int_equal(box_number(sql), runs);
	assert_true(number_of(id, "next_us") > now_real_us());
}

/* --- The tests --- */

static void test_same_turn(void **state)
{
	static const char rule[] = "{\"everyUsec\":3600000000}";
	autofree char *sentence = NULL, *no_room = NULL;
	uint64_t id, other;
	bool is_new;

	(void)state;
	id = make(rule, "n", "t", &is_new, &sentence);
	assert_true(id != 0 && is_new);
	assert_int_equal(make(rule, "n", "t", &is_new, &sentence), id);
	assert_false(is_new);
	assert_int_equal(make(rule, "n", "u", &is_new, &sentence), 0);
	assert_non_null(strstr(sentence, "is called 'n' already"));
	/* The commit that should have kept it failed */
	store_drop_job(box.store, id);
	other = make(rule, "n", "t", &is_new, &sentence);
	assert_true(other != 0 && other != id && is_new);
	assert_true(turn());
	assert_int_equal(make(rule, "n", "t", &is_new, &sentence), other);
	assert_false(is_new);
	set.config.max_schedules = 2;
	assert_true(make(rule, NULL, NULL, &is_new, &sentence) != 0);
	assert_int_equal(make(rule, NULL, NULL, &is_new, &no_room), 0);
	assert_non_null(strstr(no_room, "there are 2 schedules"));
	settle();
	expect_runs(other, 1);
}

/* Whether there is one cannot be known: not made, lest it breaks the commit of all in the turn. */
static void test_unreadable_keys(void **state)
{
	static const char rule[] = "{\"everyUsec\":3600000000}";
	autofree char *by_token = NULL, *by_name = NULL;
	struct error error = {0};
	struct schedule_row row;
	bool is_new;

	(void)state;
	set.is_unreadable = true;
	assert_int_equal(make(rule, NULL, "t", &is_new, &by_token), 0);
	assert_string_equal(by_token, "the database cannot be read");
	assert_int_equal(make(rule, "n", NULL, &is_new, &by_name), 0);
	assert_string_equal(by_name, "the database cannot be read");
	for (int i = 0; i < 2; i++) {
		assert_true(schedules_find(set.schedules, 7, true, i == 0 ? "s1" : "n", &row,
					   &error) < 0);
		assert_int_equal(error.id, ERROR_STORAGE_FAILED);
		error_done(&error);
	}
}

static void test_due(void **state)
{
	uint64_t id = make_hourly("");

	(void)state;
	expect_runs(id, 1);
	make_due(5);
	settle();
	expect_runs(id, 2);
	make_due(7200);
	settle();
	expect_runs(id, 2);
	assert_int_equal(number_of(id, "skipped"), 3);
	schedules_pause(set.schedules, id, true);
	assert_true(turn());
	make_due(5);
	settle();
	assert_int_equal(number_of(id, "runs"), 2);
	schedules_pause(set.schedules, id, false);
	assert_true(turn());
	settle();
	expect_runs(id, 3);
	schedules_remove(set.schedules, id);
	assert_true(turn());
	assert_int_equal(box_number("SELECT count(*) FROM schedule"), 0);
}

static void make_many(void)
{
	set.config.max_schedules = MANY;
	for (int i = 0; i < MANY; i++) {
		char *sentence = NULL;
		bool is_new;

		assert_true(make("{\"everyUsec\":3600000000}", NULL, NULL, &is_new, &sentence));
	}
	assert_true(turn());
}

/* More than fit in a turn. */
static void test_many(void **state)
{
	(void)state;
	make_many();
	/* A turn that is over leaves the rest; the timer and the review each have a piece. */
	set.worked_max = 3;
	while (set.started < 9) {
		assert_true(turn());
		assert_true(set.worked <= 4);
	}
	for (int i = 0; set.started < MANY && i < ROUNDS_MAX; i++)
		settle();
	settle();
	assert_int_equal(set.started, MANY);
	assert_int_equal(box_number("SELECT sum(runs) FROM schedule"), MANY);
	assert_int_equal(box_number("SELECT count(DISTINCT schedule) FROM job"), MANY);
}

static void test_refused_run(void **state)
{
	uint64_t id = make_hourly("");

	(void)state;
	set.is_refusing = true;
	make_due(1);
	settle();
	expect_runs(id, 1);
	assert_int_equal(number_of(id, "skipped"), 1);
	assert_int_equal(number_of(id, "error = 'no room'"), 1);
	set.is_refusing = false;
	make_due(1);
	settle();
	expect_runs(id, 2);
	assert_int_equal(number_of(id, "error IS NULL"), 1);
}

/* The zone database may change under a schedule. */
static void test_zone_is_gone(void **state)
{
	uint64_t id = make_hourly("");

	(void)state;
	box_execute("UPDATE schedule SET every_us = 0, calendar = '12:00 No/Zone'");
	make_due(1);
	settle();
	assert_int_equal(number_of(id, "runs"), 2);
	assert_int_equal(number_of(id, "next_us"), 0);
	assert_int_equal(number_of(id, "error LIKE '%there is no such time zone%'"), 1);
}

/* As if the clock had been ten years ahead. */
static void test_review(void **state)
{
	static const char wrong[] = "SELECT count(*) FROM schedule WHERE next_us <> created_us + "
				    "3600000000";

	(void)state;
	make_many();
	for (int i = 0; set.started < MANY && i < ROUNDS_MAX; i++)
		settle();
	settle();
	assert_int_equal(box_number(wrong), 0);
	make_due(-10 * 366 * 86400);
	assert_int_equal(box_number(wrong), MANY);
	for (int i = 0; box_number(wrong) > 0 && i < ROUNDS_MAX; i++)
		settle();
	assert_int_equal(box_number(wrong), 0);
	assert_int_equal(set.started, MANY);
}

/* While it runs; what is due is due all the same. */
static void test_clock_is_set(void **state)
{
	uint64_t id = make_hourly("");
	int64_t next_us = number_of(id, "next_us");
	char *sentence = NULL;
	bool is_new;

	(void)state;
	assert_true(make("{\"onCalendar\":\"*:*:0/0.05\"}", NULL, NULL, &is_new, &sentence));
	assert_true(turn());
	box_execute("UPDATE schedule SET next_us = 4000000000000000 WHERE every_us > 0");
	while (set.started < 3)
		settle();
	assert_int_equal(number_of(id, "next_us"), 4000000000000000);
	set.is_clock_set = true;
	for (int i = 0; number_of(id, "next_us") != next_us && i < ROUNDS_MAX; i++)
		settle();
	assert_int_equal(number_of(id, "next_us"), next_us);
}

static void put_runs(uint64_t id, unsigned count)
{
	char kind[] = "ping", text[] = "{}";
	struct job_row row = {.kind = kind,
			      .options = text,
			      .targets = text,
			      .schedule = id,
			      .state = JOB_COMPLETED};

	for (unsigned i = 0; i < count; i++) {
		row.id = store_next_job(box.store);
		store_put_job(box.store, &row);
	}
}

static void test_keep_last(void **state)
{
	uint64_t id = make_hourly(",\"keepLast\":2");
	const struct job_row ended = {.id = 99, .schedule = id, .state = JOB_COMPLETED};

	(void)state;
	put_runs(id, 4);
	assert_true(turn());
	set.watcher->changed(set.watcher, &ended, true);
	settle();
	assert_int_equal(set.removed, 0);
	/* Two that end in one commit, and one before what they led to is committed */
	set.watcher->changed(set.watcher, &ended, false);
	set.watcher->changed(set.watcher, &ended, false);
	(void)event_base_loop(set.base, EVLOOP_NONBLOCK);
	assert_int_equal(set.removed, 3);
	set.watcher->changed(set.watcher, &ended, false);
	(void)event_base_loop(set.base, EVLOOP_NONBLOCK);
	assert_true(turn());
	/* jobd died when runs had ended, and before the others were removed. */
	put_runs(id, 2);
	assert_true(turn());
	close_schedules();
	open_schedules();
	settle();
	assert_int_equal(set.removed, 5);
	assert_int_equal(box_number("SELECT count(*) FROM job"), 2);
}

/* More than can be asked for now, as an older database may have it; and more than go at once. */
static void test_keep_many(void **state)
{
	enum { KEPT = 1500, MORE = 250 };
	uint64_t id = make_hourly(",\"keepLast\":2");
	const struct job_row ended = {.id = 99, .schedule = id, .state = JOB_COMPLETED};

	(void)state;
	box_execute("UPDATE schedule SET keep_last = 1500");
	put_runs(id, KEPT + MORE - 1);
	assert_true(turn());
	set.watcher->changed(set.watcher, &ended, false);
	for (int i = 0; set.removed < MORE && i < ROUNDS_MAX; i++)
		settle();
	settle();
	assert_int_equal(set.removed, MORE);
	assert_int_equal(box_number("SELECT count(*) FROM job"), KEPT);
}

/* What cannot be read is pruned when it can be. */
static void test_unreadable_runs(void **state)
{
	uint64_t id = make_hourly(",\"keepLast\":2");
	const struct job_row ended = {.id = 99, .schedule = id, .state = JOB_COMPLETED};

	(void)state;
	put_runs(id, 4);
	assert_true(turn());
	set.is_unreadable = true;
	set.watcher->changed(set.watcher, &ended, false);
	settle();
	assert_int_equal(set.refused_reads, 1);
	set.is_unreadable = false;
	for (int i = 0; set.removed == 0 && i < ROUNDS_MAX; i++)
		settle();
	assert_int_equal(set.removed, 3);
}

/* A run goes on, which cannot be read: there is no other until it can, and no time is passed over.
 */
static void test_unreadable_run(void **state)
{
	uint64_t id = make_hourly("");

	(void)state;
	box_execute("UPDATE job SET state = 1");
	make_due(1);
	set.unreadable = SQL_SCHEDULE_LIVE;
	for (int i = 0; i < 3; i++)
		settle();
	assert_in_range(set.refused_reads, 1, 2);
	assert_int_equal(number_of(id, "runs"), 1);
	assert_int_equal(number_of(id, "skipped"), 0);
	assert_true(number_of(id, "next_us") < now_real_us());
	assert_int_equal(set.warnings, 1);
	set.unreadable = 0;
	for (int i = 0; number_of(id, "skipped") == 0 && i < ROUNDS_MAX; i++)
		settle();
	assert_int_equal(number_of(id, "runs"), 1);
	assert_int_equal(number_of(id, "skipped"), 1);
	assert_int_equal(set.warnings, 1);
}

/* A call to the disk fails, and all after it: once that is well, there is one run. */
static void test_failing_disk(void **state)
{
	uint64_t id = make_hourly("");
	bool has_failed = true;
	int64_t runs = 1;

	(void)state;
	for (unsigned n = 1; has_failed; n++) {
		assert_true(n < CALLS_MAX);
		make_due(1);
		fault_arm(n, true);
		settle();
		has_failed = fault_disarm();
		settle();
		expect_runs(id, ++runs);
	}
	assert_true(runs > 3);
}

/* The disk is full of others' things when the time comes: the run is made when it is well. */
static void test_due_while_failing(void **state)
{
	char *sentence = NULL;
	bool is_new;
	unsigned started;
	int64_t end_us;

	(void)state;
	assert_true(make("{\"onCalendar\":\"*:*:0/0.05\"}", NULL, NULL, &is_new, &sentence));
	assert_true(turn());
	while (set.started < 2)
		settle();
	(void)box_put_job(NULL, 1);
	fault_arm(1, true);
	assert_false(turn());
	started = set.started;
	end_us = now_real_us() + 120 * US_PER_MS;
	while (now_real_us() < end_us)
		settle();
	assert_int_equal(set.started, started);
	assert_true(fault_disarm());
	end_us = now_real_us() + 10 * US_PER_SEC;
	while (set.started == started && now_real_us() < end_us)
		settle();
	assert_true(set.started > started);
	assert_int_equal(box_number("SELECT sum(runs) - (SELECT count(*) FROM job WHERE schedule > "
				    "0) FROM schedule"),
			 0);
}

/* What is due cannot be read: it is tried now and then, and made when it can be. */
static void test_unreadable(void **state)
{
	uint64_t id = make_hourly("");
	int64_t end_us = now_real_us() + 10 * US_PER_SEC;

	(void)state;
	make_due(1);
	set.is_unreadable = true;
	settle();
	assert_true(set.refused_reads > 0 && set.refused_reads < 5);
	schedules_pause(set.schedules, id, false);
	assert_true(turn());
	settle();
	assert_true(set.refused_reads < 9);
	set.is_unreadable = false;
	while (number_of(id, "runs") < 2 && now_real_us() < end_us)
		settle();
	expect_runs(id, 2);
}

/* The power goes in the midst: at the next start there was one run, or it is made now. */
static void test_power_cuts(void **state)
{
	uint64_t id = make_hourly(",\"catchUp\":true");

	(void)state;
	for (unsigned i = 0; i < CUTS; i++) {
		make_due(1);
		fault_arm(1 + i % 20, true);
		settle();
		close_schedules();
		store_close(box.store);
		(void)fault_disarm();
		fault_cut_power(i);
		box.store = box_open_store(box.path);
		open_schedules();
		settle();
		expect_runs(id, 2 + i);
	}
}

/* --- The set --- */

static int open_set(void **state)
{
	memset(&set, 0, sizeof(set));
	set.config.max_targets = set.config.max_schedules = 10;
	set.base = event_base_new();
	fault_install(false);
	if (!set.base || box_open(state) != 0)
		return -1;
	open_schedules();
	return 0;
}

static int close_set(void **state)
{
	close_schedules();
	event_base_free(set.base);
	(void)box_close(state);
	fault_remove();
	return 0;
}

#define SET_TEST(name) cmocka_unit_test_setup_teardown(name, open_set, close_set)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SET_TEST(test_same_turn),
		SET_TEST(test_unreadable_keys),
		SET_TEST(test_due),
		SET_TEST(test_many),
		SET_TEST(test_refused_run),
		SET_TEST(test_review),
		SET_TEST(test_zone_is_gone),
		SET_TEST(test_clock_is_set),
		SET_TEST(test_keep_last),
		SET_TEST(test_keep_many),
		SET_TEST(test_unreadable_runs),
		SET_TEST(test_unreadable_run),
		SET_TEST(test_failing_disk),
		SET_TEST(test_due_while_failing),
		SET_TEST(test_unreadable),
		SET_TEST(test_power_cuts),
	};

	log_set_level(LOG_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
