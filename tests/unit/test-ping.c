/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real engine, on a real event loop, against the kernel of a network namespace of its own
 * (tests/lib/ping-box.h). Of the worker only what engines see of it is replaced: it counts.
 */
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/ping-engine.h"
#include "daemon/resolver.h"
#include "daemon/worker.h"
#include "tests/lib/ping-box.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

enum { BOUND_S = 60, TASKS_MAX = 65536 };

/* --- The worker, as engines see it --- */

struct worker {
	struct event_base *base;
	struct mailbox mailbox; /* answers of the resolver */
	struct event *mailbox_event;
	struct resolver *resolver;
	struct engine *engine;
	struct job_options *options;
	struct task *tasks[TASKS_MAX]; /* by index, while they run */
	struct outcome outcomes[TASKS_MAX];
	size_t started, ended;
};

static struct worker worker;

struct event_base *worker_base(struct worker *of)
{
	return of->base;
}

int64_t worker_now_us(struct worker *of)
{
	(void)of;
	return now_monotonic_us();
}

void worker_ended(struct worker *of, struct task *task, struct outcome *outcome)
{
	uint32_t index = task->key.index;

	assert_ptr_equal(of->tasks[index], task);
	of->tasks[index] = NULL;
	of->outcomes[index] = *outcome;
	of->ended++;
	task_free(task);
}

void worker_resolve(struct worker *of, struct task *task, const char *host, int family)
{
	resolver_ask(of->resolver, host, family, task->key, task->run, 0, &of->mailbox);
}

static void on_mailbox(evutil_socket_t fd, short what, void *context)
{
	struct letters letters;
	struct letter *letter;

	(void)fd;
	(void)what;
	(void)context;
	mailbox_take(&worker.mailbox, &letters);
	while ((letter = STAILQ_FIRST(&letters))) {
		struct resolver_answer *answer = (struct resolver_answer *)letter;
		struct task *task = worker.tasks[answer->key.index];

		STAILQ_REMOVE_HEAD(&letters, link);
		if (task && task->run == answer->run)
			kind_ping.task_resolved(worker.engine, task, answer->addresses,
						answer->count, answer->error);
		free(answer->error);
		free(answer);
	}
}

/* --- Running --- */

static const struct config config = {.ping_rate = 10000000, .ping_parallel = TASKS_MAX};

/* options: JSON of type PingOptions. */
static void begin(const char *options, int64_t timeout_us)
{
	static uint64_t job;
	json_t *object = json_loads(options, 0, NULL);
	struct error error = {0};

	assert_non_null(object);
	worker.options = xcalloc(1, sizeof(*worker.options));
	atomic_init(&worker.options->references, 1);
	worker.options->kind = &kind_ping;
	worker.options->timeout_us = timeout_us;
	worker.options->kind_options = xcalloc(1, kind_ping.options_size);
	if (fields_parse(kind_ping.fields, kind_ping.field_count, object,
			 worker.options->kind_options, &error) < 0 ||
	    kind_ping.options_check(worker.options->kind_options, &config, true, &error) < 0)
		fail_msg("%s", error.sentence);
	json_decref(object);
	worker.started = worker.ended = 0;
	job++;
	worker.options->uid = (uid_t)job; /* only so that each run of a test has a job of its own */
}

static void start(const char *target)
{
	static uint64_t run;
	uint32_t index = (uint32_t)worker.started++;
	struct task_key key = {.job = worker.options->uid, .index = index};
	struct task *task = task_new(key, 1, ++run, worker.options, target);

	worker.tasks[index] = task;
	kind_ping.task_start(worker.engine, task);
}

static int64_t number_sent(const struct task *task)
{
	return ((const struct ping_task *)task->engine_task)->sent;
}

/* Until every task has ended; a test that hangs is killed. */
static void finish(void)
{
	(void)alarm(BOUND_S);
	while (worker.ended < worker.started)
		(void)event_base_loop(worker.base, EVLOOP_ONCE);
	(void)event_base_loop(worker.base, EVLOOP_NONBLOCK);
	(void)alarm(0);
	job_options_unref(worker.options);
	worker.options = NULL;
}

static void forget(void)
{
	for (size_t i = 0; i < worker.started; i++)
		outcome_done(&worker.outcomes[i]);
}

/* One target alone; the outcome stays until the next one. */
static const struct outcome *ping_within(const char *options, const char *target,
					 int64_t timeout_us)
{
	forget();
	begin(options, timeout_us);
	start(target);
	finish();
	return &worker.outcomes[0];
}

static const struct outcome *ping(const char *options, const char *target)
{
	return ping_within(options, target, 0);
}

/* A number of the result, or -1 where it has none of this name. */
static int64_t number_of(const struct outcome *outcome, const char *name)
{
	json_t *result = json_loads(outcome->result ? outcome->result : "", 0, NULL);
	json_t *value = json_object_get(result, name);
	int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;

	assert_non_null(result);
	json_decref(result);
	return number;
}

static void assert_failed(const struct outcome *outcome, enum error_class class, const char *words)
{
	assert_int_equal(outcome->state, TASK_FAILED);
	assert_string_equal(error_class_words[outcome->class], error_class_words[class]);
	assert_non_null(outcome->message);
	if (!strstr(outcome->message, words))
		fail_msg("'%s' does not say '%s'", outcome->message, words);
	assert_null(strchr(outcome->message, '\n'));
}

static void assert_succeeded(const struct outcome *outcome)
{
	if (outcome->message)
		fail_msg("%s", outcome->message);
	assert_int_equal(outcome->state, TASK_SUCCEEDED);
	assert_int_equal(outcome->class, CLASS_NONE);
}

/* --- Answers --- */

static void test_first_reply(void **state)
{
	static const char *const targets[] = {"127.0.0.1", "::1", "[::1]", "192.0.2.2",
					      "2001:db8::2"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		const struct outcome *outcome = ping("{}", targets[i]);

		assert_succeeded(outcome);
		assert_int_equal(number_of(outcome, "sent"), 1);
		assert_int_equal(number_of(outcome, "received"), 1);
		assert_int_equal(number_of(outcome, "duplicates"), 0);
		assert_int_equal(number_of(outcome, "ttl"), 64);
		assert_in_range(number_of(outcome, "avgUsec"), 0, 200000);
	}
}

static void test_statistics(void **state)
{
	const struct outcome *outcome =
		ping("{\"count\": 5, \"intervalUsec\": 20000}", "192.0.2.2");

	(void)state;
	assert_succeeded(outcome);
	assert_int_equal(number_of(outcome, "sent"), 5);
	assert_int_equal(number_of(outcome, "received"), 5);
	assert_true(number_of(outcome, "minUsec") <= number_of(outcome, "avgUsec"));
	assert_true(number_of(outcome, "avgUsec") <= number_of(outcome, "maxUsec"));
}

static void test_sizes(void **state)
{
	static const int sizes[] = {0, 1, 7, 8, 9, 1472, 1473, 20000, PING_PAYLOAD_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char options[64];

		(void)snprintf(options, sizeof(options), "{\"size\": %d}", sizes[i]);
		assert_succeeded(ping(options, "127.0.0.1"));
		assert_succeeded(ping(options, "::1"));
		assert_succeeded(ping(options, "192.0.2.2"));
	}
}

static void test_sources(void **state)
{
	(void)state;
	assert_succeeded(ping("{\"source\": \"127.0.0.9\"}", "127.0.0.1"));
	assert_succeeded(ping("{\"source\": \"2001:db8::1\"}", "2001:db8::2"));
	assert_succeeded(ping("{\"source\": \"box0\"}", "192.0.2.2"));
	assert_succeeded(ping("{\"source\": \"box0\"}", "2001:db8::2"));
	assert_failed(ping("{\"source\": \"192.0.2.99\"}", "192.0.2.2"), CLASS_UNREACHABLE,
		      "192.0.2.99 is no address of this machine");
	assert_failed(ping("{\"source\": \"nowhere0\"}", "192.0.2.2"), CLASS_UNREACHABLE,
		      "there is no interface 'nowhere0'");
	assert_failed(ping("{\"source\": \"127.0.0.9\"}", "::1"), CLASS_RESOLVE,
		      "::1 is not an IPv4 address");
}

static void test_names(void **state)
{
	(void)state;
	assert_succeeded(ping("{\"family\": \"ipv4\"}", "localhost"));
	assert_failed(ping("{}", "no-such-host.invalid"), CLASS_RESOLVE,
		      "cannot resolve 'no-such-host.invalid'");
	assert_failed(ping("{}", "admin@127.0.0.1"), CLASS_RESOLVE, "ping knows no users");
}

static void test_max_rtt(void **state)
{
	const struct outcome *outcome = ping("{\"maxRttUsec\": 100000, \"count\": 1}", "10.5.0.7");

	(void)state;
	assert_failed(outcome, CLASS_TIMEOUT, "too slow");
	assert_int_equal(number_of(outcome, "received"), 1);
	assert_true(number_of(outcome, "minUsec") >= 300000);
	assert_succeeded(ping("{\"maxRttUsec\": 900000, \"count\": 1}", "10.5.0.7"));
}

static void test_shares(void **state)
{
	const char *half = "{\"count\": 4, \"intervalUsec\": 10000, \"replyTimeoutUsec\": 200000, "
			   "\"success\": \"50%\"}";
	const char *all = "{\"count\": 4, \"intervalUsec\": 10000, \"replyTimeoutUsec\": 200000, "
			  "\"success\": \"all\"}";
	const struct outcome *outcome;

	(void)state;
	assert_succeeded(ping(half, "10.5.0.8"));
	outcome = ping(all, "10.5.0.8");
	assert_failed(outcome, CLASS_NO_REPLY, "2 of 4 requests were answered");
	assert_int_equal(number_of(outcome, "received"), 2);
	assert_succeeded(ping(all, "192.0.2.2"));
}

/* --- Replies that are none --- */

static void test_replies_that_do_not_count(void **state)
{
	static const enum box_habit habits[] = {BOX_OTHER_SOURCE,   BOX_WRONG_COOKIE, BOX_NO_COOKIE,
						BOX_WRONG_SEQUENCE, BOX_WRONG_ID,     BOX_LATE};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(habits); i++) {
		const struct outcome *outcome;
		char target[32];

		(void)snprintf(target, sizeof(target), "10.5.0.%d", habits[i]);
		outcome = ping("{\"count\": 2, \"intervalUsec\": 50000, \"replyTimeoutUsec\": "
			       "150000}",
			       target);
		assert_failed(outcome, CLASS_NO_REPLY, "no reply (2 sent)");
		assert_int_equal(number_of(outcome, "received"), 0);
		assert_int_equal(number_of(outcome, "minUsec"), -1);
		assert_int_equal(number_of(outcome, "ttl"), -1);
	}
}

static void test_duplicates(void **state)
{
	const struct outcome *outcome = ping("{\"count\": 3, \"intervalUsec\": 50000}", "10.5.0.1");

	(void)state;
	assert_succeeded(outcome);
	assert_int_equal(number_of(outcome, "received"), 3);
	/* That of the last reply comes when the task has ended, or just before. */
	assert_in_range(number_of(outcome, "duplicates"), 2, 3);
	assert_int_equal(number_of(outcome, "ttl"), 61);
}

/* Some hosts send back less than they were given. */
static void test_short_replies(void **state)
{
	(void)state;
	assert_succeeded(ping("{}", "10.5.0.9"));
}

/* --- No answer --- */

static void test_no_reply(void **state)
{
	int64_t begin_us = now_monotonic_us();
	const struct outcome *outcome =
		ping("{\"intervalUsec\": 100000, \"replyTimeoutUsec\": 100000}", "127.5.0.1");
	int64_t took_us = now_monotonic_us() - begin_us;

	(void)state;
	assert_failed(outcome, CLASS_NO_REPLY, "no reply (4 sent)");
	assert_string_equal(outcome->message, "no reply (4 sent)");
	assert_true(took_us >= 400000);
	/* Nothing is left to wake up for: no timer, no socket; only the mailbox of this test. */
	assert_int_equal(event_base_get_num_events(worker.base, EVENT_BASE_COUNT_ADDED), 1);
}

static void test_local_errors(void **state)
{
	static const struct {
		const char *target, *words;
	} rows[] = {
		{"10.1.0.1", "10.1.0.1 is unreachable by this machine's routes"},
		{"10.2.0.1", "10.2.0.1 is prohibited by this machine's routes"},
		{"10.3.0.1", "10.3.0.1 is in a blackhole of this machine's routes"},
		{"10.4.0.1", "a firewall of this machine"},
		{"10.99.0.1", "is on a network to which this machine has no route"},
		{"192.0.2.255", "or is a broadcast address"},
		{"2001:db8:f1::1", "2001:db8:f1::1 is unreachable by this machine's routes"},
		{"2001:db8:f2::1", "2001:db8:f2::1 is prohibited by this machine's routes"},
		{"2001:db8:f3::1", "2001:db8:f3::1 is in a blackhole of this machine's routes"},
		{"2001:db8:99::1", "is on a network to which this machine has no route"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct outcome *outcome = ping("{}", rows[i].target);

		assert_failed(outcome, CLASS_UNREACHABLE, rows[i].words);
		assert_int_equal(number_of(outcome, "sent"), 0);
	}
}

static void test_errors_of_routers(void **state)
{
	static const struct {
		const char *options, *target, *words;
	} rows[] = {
		{"{\"count\": 1}", "198.51.100.1", "host unreachable, says 192.0.2.2"},
		{"{\"count\": 1}", "198.51.100.200", "administratively prohibited by 192.0.2.2"},
		{"{\"count\": 1, \"ttl\": 1}", "203.0.113.1",
		 "time to live exceeded, says 192.0.2.2"},
		{"{\"count\": 1}", "2001:db8:1::1", "says 2001:db8::2"},
		{"{\"count\": 1}", "2001:db8:2::1", "administratively prohibited by 2001:db8::2"},
		{"{\"count\": 1, \"size\": 4}", "198.51.100.1", "host unreachable, says 192.0.2.2"},
		{"{\"count\": 1, \"size\": 1600, \"dontFragment\": true}", "192.0.2.2",
		 "too big for the path, whose MTU is 1500, says this machine; lower --size to "
		 "1472"},
		{"{\"count\": 1, \"size\": 1600, \"dontFragment\": true}", "2001:db8::2",
		 "too big for the path, whose MTU is 1500, says this machine; lower --size to "
		 "1452"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t begin_us = now_monotonic_us();

		assert_failed(ping(rows[i].options, rows[i].target), CLASS_UNREACHABLE,
			      rows[i].words);
		/* Said at once, not when the time was out. */
		assert_true(now_monotonic_us() - begin_us < 900000);
	}
	assert_succeeded(ping("{\"size\": 1472, \"dontFragment\": true}", "192.0.2.2"));
	assert_succeeded(ping("{\"size\": 1452, \"dontFragment\": true}", "2001:db8::2"));
}

/* First a router says it, then the kernel, which has learnt it: hence a target for each run. */
static void test_mtu_of_the_path(void **state)
{
	static const char options[] = "{\"count\": 1, \"size\": 1400, \"dontFragment\": true}";
	static unsigned run;
	char target[32];

	(void)state;
	(void)snprintf(target, sizeof(target), "203.0.113.%u", ++run);
	assert_failed(ping(options, target), CLASS_UNREACHABLE,
		      "too big for the path, whose MTU is 1000, says 192.0.2.2; lower --size to "
		      "972");
	assert_failed(ping(options, target), CLASS_UNREACHABLE,
		      "too big for the path, whose MTU is 1000, says this machine; lower --size to "
		      "972");
}

static void test_nobody_on_the_link(void **state)
{
	(void)state;
	assert_failed(ping("{}", "192.0.2.77"), CLASS_UNREACHABLE,
		      "nobody has this address on the network of 192.0.2.1");
	assert_failed(ping("{}", "2001:db8::77"), CLASS_UNREACHABLE,
		      "nobody has this address on the network of 2001:db8::1");
}

/* An error about one host is a pending error of the socket that all share. */
static void test_errors_harm_no_other(void **state)
{
	size_t good = 0, bad = 0;

	(void)state;
	forget();
	begin("{\"count\": 3, \"intervalUsec\": 10000}", 0);
	for (unsigned i = 0; i < 600; i++) {
		char target[32];

		(void)snprintf(target, sizeof(target), i % 2 ? "10.6.0.%u" : "127.0.1.%u",
			       i / 2 % 120 + 1);
		start(target);
	}
	finish();
	for (unsigned i = 0; i < 600; i++) {
		good += i % 2 == 0 && number_of(&worker.outcomes[i], "received") == 3;
		bad += i % 2 == 1 && worker.outcomes[i].class == CLASS_UNREACHABLE;
	}
	assert_int_equal(good, 300);
	assert_int_equal(bad, 300);
}

static void test_refused_addresses(void **state)
{
	static const char *const targets[] = {"0.0.0.0", "255.255.255.255", "224.0.0.1",
					      "::", "ff02::1"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		assert_failed(ping("{}", targets[i]), CLASS_UNREACHABLE, "name a single host");
}

/* --- Time --- */

static void test_whole_time_out(void **state)
{
	int64_t begin_us = now_monotonic_us();

	(void)state;
	assert_failed(ping_within("{}", "127.5.0.1", 300000), CLASS_TIMEOUT,
		      "did not end within 0.3 s");
	assert_true(now_monotonic_us() - begin_us >= 300000);
}

/* The thread is held up for longer than any reply may take. */
static const struct outcome *ping_while_busy(const char *target)
{
	forget();
	begin("{\"count\": 1, \"replyTimeoutUsec\": 150000}", 0);
	start(target);
	while (worker.ended == 0 && number_sent(worker.tasks[0]) == 0)
		(void)event_base_loop(worker.base, EVLOOP_ONCE);
	(void)nanosleep(&(struct timespec){0, 450000000}, NULL);
	finish();
	return &worker.outcomes[0];
}

/* What counts is when the reply reached the machine, not when it was read. */
static void test_held_up(void **state)
{
	const struct outcome *outcome = ping_while_busy("10.5.0.9");

	(void)state;
	assert_succeeded(outcome);
	assert_in_range(number_of(outcome, "maxUsec"), 0, 149999);
	assert_failed(ping_while_busy("10.5.0.7"), CLASS_NO_REPLY, "no reply (1 sent)");
}

static void test_pace_of_a_job(void **state)
{
	int64_t begin_us = now_monotonic_us(), took_us;

	(void)state;
	forget();
	begin("{\"rate\": 1000}", 100000); /* the whole task's time does not run while it waits */
	for (unsigned i = 0; i < 500; i++)
		start("127.0.0.1");
	finish();
	took_us = now_monotonic_us() - begin_us;
	for (unsigned i = 0; i < 500; i++)
		assert_succeeded(&worker.outcomes[i]);
	assert_true(took_us >= 470000);
}

/* One task at a time: the pace is the job's, not a new one for each task. */
static void test_pace_outlives_tasks(void **state)
{
	int64_t begin_us = now_monotonic_us();

	(void)state;
	forget();
	begin("{\"rate\": 50}", 0);
	for (unsigned i = 0; i < 11; i++) {
		start("127.0.0.1");
		while (worker.ended < worker.started)
			(void)event_base_loop(worker.base, EVLOOP_ONCE);
	}
	finish();
	assert_true(now_monotonic_us() - begin_us >= 170000);
}

static void test_stop(void **state)
{
	(void)state;
	forget();
	begin("{\"count\": 1000}", 0);
	start("127.0.0.1");
	start("127.5.0.1");
	start("no-such-host.invalid");
	start("127.0.0.2");
	for (int i = 0; i < 3; i++)
		(void)event_base_loop(worker.base, EVLOOP_ONCE);
	for (unsigned i = 0; i < 4; i++)
		if (worker.tasks[i])
			kind_ping.task_stop(worker.engine, worker.tasks[i], STOP_ASKED, 0);
	finish();
	assert_int_equal(worker.outcomes[0].state, TASK_STOPPED);
	assert_int_equal(worker.outcomes[1].state, TASK_STOPPED);
	assert_int_equal(worker.outcomes[3].state, TASK_STOPPED);
	assert_int_equal(number_of(&worker.outcomes[0], "sent"), 1);
}

/* --- Many --- */

static void start_loopback(const char *options, unsigned count)
{
	forget();
	begin(options, 0);
	for (unsigned i = 0; i < count; i++) {
		char target[32];

		(void)snprintf(target, sizeof(target), "127.0.%u.%u", (i + 1) / 256, (i + 1) % 256);
		start(target);
	}
}

static void test_a_whole_network(void **state)
{
	const unsigned count = 65534;

	(void)state;
	start_loopback("{}", count);
	finish();
	for (unsigned i = 0; i < count; i++) {
		assert_succeeded(&worker.outcomes[i]);
		assert_int_equal(number_of(&worker.outcomes[i], "sent"), 1);
	}
}

/* As many silent ones as there are sequence numbers do not stand in the way of an answer for long.
 */
static void test_a_silent_network(void **state)
{
	(void)state;
	forget();
	begin("{\"count\": 1, \"replyTimeoutUsec\": 500000}", 0);
	for (unsigned i = 0; i < 65000; i++) {
		char target[32];

		(void)snprintf(target, sizeof(target), "127.5.%u.%u", i / 256, i % 256);
		start(target);
	}
	start("127.0.0.1");
	finish();
	for (unsigned i = 0; i < 65000; i++)
		assert_string_equal(worker.outcomes[i].message, "no reply (1 sent)");
	assert_succeeded(&worker.outcomes[65000]);
}

/* The last test: it takes the permission away. */
static void test_not_allowed(void **state)
{
	(void)state;
	assert_true(ping_box_allow(false, false));
	assert_failed(ping("{}", "127.0.0.1"), CLASS_INTERNAL,
		      "jobd may not send ICMP: give it CAP_NET_RAW or widen "
		      "net.ipv4.ping_group_range");
	assert_failed(ping("{}", "::1"), CLASS_INTERNAL, "jobd may not send ICMP");
}

/* --- Main --- */

static int setup_worker(bool raw, bool datagram)
{
	if (!ping_box_allow(raw, datagram))
		return -1;
	worker.base = event_base_new();
	if (!worker.base || mailbox_init(&worker.mailbox) < 0 ||
	    resolver_new(2, &worker.resolver) < 0)
		return -1;
	worker.mailbox_event =
		event_new(worker.base, worker.mailbox.fd, EV_READ | EV_PERSIST, on_mailbox, NULL);
	(void)event_add(worker.mailbox_event, NULL);
	worker.engine = kind_ping.engine_new(&worker, &config);
	return 0;
}

static int setup_raw(void **state)
{
	(void)state;
	return setup_worker(true, false);
}

static int setup_datagram(void **state)
{
	(void)state;
	return setup_worker(false, true);
}

static int teardown_worker(void **state)
{
	(void)state;
	forget();
	kind_ping.engine_free(worker.engine);
	resolver_free(worker.resolver);
	on_mailbox(-1, 0, NULL);
	event_free(worker.mailbox_event);
	event_base_free(worker.base);
	mailbox_done(&worker.mailbox);
	return 0;
}

int main(void)
{
	/* With either kind of socket */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_reply),
		cmocka_unit_test(test_statistics),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_max_rtt),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_replies_that_do_not_count),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_short_replies),
		cmocka_unit_test(test_no_reply),
		cmocka_unit_test(test_local_errors),
		cmocka_unit_test(test_errors_of_routers),
		cmocka_unit_test(test_mtu_of_the_path),
		cmocka_unit_test(test_nobody_on_the_link),
		cmocka_unit_test(test_errors_harm_no_other),
		cmocka_unit_test(test_refused_addresses),
		cmocka_unit_test(test_whole_time_out),
		cmocka_unit_test(test_held_up),
		cmocka_unit_test(test_pace_of_a_job),
		cmocka_unit_test(test_pace_outlives_tasks),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_a_whole_network),
		cmocka_unit_test(test_a_silent_network),
		cmocka_unit_test(test_not_allowed),
	};
	int r = ping_box_enter();

	if (r != 0)
		return r;
	r = cmocka_run_group_tests_name("raw", tests, setup_raw, teardown_worker);
	r += cmocka_run_group_tests_name("datagram", tests, setup_datagram, teardown_worker);
	ping_box_leave();
	return r;
}
