/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When requests go out, and when they have been waited for: pace, time-outs, whole networks. */
#include "tests/lib/ping-worker.h"

#include "common/util.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

/* --- Time --- */

static void test_whole_time_out(void **state)
{
	int64_t begin_us = now_monotonic_us();

	(void)state;
	assert_ping_failed(ping_within("{}", "127.5.0.1", 300000), CLASS_TIMEOUT,
			   "did not end within 0.3 s");
	assert_true(now_monotonic_us() - begin_us >= 300000);
}

/* The thread is held up for longer than any reply may take. */
static const struct outcome *ping_while_busy(const char *target)
{
	pinger_forget();
	pinger_begin("{\"count\": 1, \"replyTimeoutUsec\": 150000}", 0);
	pinger_start(target);
	while (worker.ended == 0 && ping_under_way() == 0)
		(void)event_base_loop(worker.base, EVLOOP_ONCE);
	(void)nanosleep(&(struct timespec){0, 450000000}, NULL);
	pinger_finish();
	return &worker.outcomes[0];
}

/* What counts is when the reply reached the machine, not when it was read. */
static void test_held_up(void **state)
{
	const struct outcome *outcome = ping_while_busy("10.5.0.9");

	(void)state;
	assert_ping_succeeded(outcome);
	assert_in_range(ping_number(outcome, "maxUsec"), 0, 149999);
	assert_ping_failed(ping_while_busy("10.5.0.7"), CLASS_NO_REPLY,
			   "no reply in time (1 sent), but 1 late");
}

static void test_pace_of_a_job(void **state)
{
	int64_t begin_us = now_monotonic_us(), took_us;

	(void)state;
	pinger_forget();
	pinger_begin("{\"rate\": 1000}",
		     100000); /* the whole task's time does not run while it waits */
	for (unsigned i = 0; i < 500; i++)
		pinger_start("127.0.0.1");
	pinger_finish();
	took_us = now_monotonic_us() - begin_us;
	for (unsigned i = 0; i < 500; i++)
		assert_ping_succeeded(&worker.outcomes[i]);
	assert_true(took_us >= 470000);
}

/* One task at a time: the pace is the job's, not a new one for each task. */
static void test_pace_outlives_tasks(void **state)
{
	int64_t begin_us = now_monotonic_us();

	(void)state;
	pinger_forget();
	pinger_begin("{\"rate\": 50}", 0);
	for (unsigned i = 0; i < 11; i++) {
		pinger_start("127.0.0.1");
		while (worker.ended < worker.started)
			(void)event_base_loop(worker.base, EVLOOP_ONCE);
	}
	pinger_finish();
	assert_true(now_monotonic_us() - begin_us >= 170000);
}

static void test_stop(void **state)
{
	(void)state;
	pinger_forget();
	pinger_begin("{\"count\": 1000}", 0);
	pinger_start("127.0.0.1");
	pinger_start("127.5.0.1");
	pinger_start("no-such-host.invalid");
	pinger_start("127.0.0.2");
	for (int i = 0; i < 3; i++)
		(void)event_base_loop(worker.base, EVLOOP_ONCE);
	for (unsigned i = 0; i < 4; i++)
		if (worker.tasks[i])
			kind_ping.task_stop(worker.engine, worker.tasks[i], STOP_ASKED, 0);
	pinger_finish();
	assert_int_equal(worker.outcomes[0].state, TASK_STOPPED);
	assert_int_equal(worker.outcomes[1].state, TASK_STOPPED);
	assert_int_equal(worker.outcomes[3].state, TASK_STOPPED);
	assert_int_equal(ping_number(&worker.outcomes[0], "sent"), 1);
}

/* --- Many --- */

static void start_loopback(const char *options, unsigned count)
{
	pinger_forget();
	pinger_begin(options, 0);
	for (unsigned i = 0; i < count; i++) {
		char target[32];

		(void)snprintf(target, sizeof(target), "127.0.%u.%u", (i + 1) / 256, (i + 1) % 256);
		pinger_start(target);
	}
}

static void test_a_whole_network(void **state)
{
	const unsigned count = 65534;

	(void)state;
	start_loopback("{}", count);
	pinger_finish();
	for (unsigned i = 0; i < count; i++) {
		assert_ping_succeeded(&worker.outcomes[i]);
		assert_int_equal(ping_number(&worker.outcomes[i], "sent"), 1);
	}
}

/* As many silent ones as there are sequence numbers do not stand in the way of an answer for long.
 */
static void test_a_silent_network(void **state)
{
	(void)state;
	pinger_forget();
	pinger_begin("{\"count\": 1, \"replyTimeoutUsec\": 500000}", 0);
	for (unsigned i = 0; i < 65000; i++) {
		char target[32];

		(void)snprintf(target, sizeof(target), "127.5.%u.%u", i / 256, i % 256);
		pinger_start(target);
	}
	pinger_start("127.0.0.1");
	pinger_finish();
	for (unsigned i = 0; i < 65000; i++)
		assert_string_equal(worker.outcomes[i].message, "no reply (1 sent)");
	assert_ping_succeeded(&worker.outcomes[65000]);
}

/* --- Main --- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_time_out),
		cmocka_unit_test(test_held_up),
		cmocka_unit_test(test_pace_of_a_job),
		cmocka_unit_test(test_pace_outlives_tasks),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_a_whole_network),
		cmocka_unit_test(test_a_silent_network),
	};

	return pinger_main(tests, ARRAY_SIZE(tests));
}
