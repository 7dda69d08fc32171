/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of targets that travel together, most of them flat: each ends by itself, and once. */
#include "tests/lib/ping-worker.h"

#include "common/util.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define QUICK "{\"intervalUsec\": 100000, \"replyTimeoutUsec\": 100000}"

static void ping_span(const char *options, const char *const *words, size_t count)
{
	pinger_forget();
	pinger_begin(options, 0);
	pinger_start_span(words, count);
	pinger_finish();
}

static void turn_until(bool (*is_so)(void))
{
	while (!is_so())
		(void)event_base_loop(worker.base, EVLOOP_ONCE);
}

/* --- What becomes of each --- */

static void test_each_for_itself(void **state)
{
	static const char *const words[] = {
		"127.0.0.1-127.0.0.20",
		"127.5.0.1",
		"::1",
		"localhost",
		"10.1.0.1",
		"10.6.0.1",
		"10.6.0.2",
		"224.0.0.1",
		"10.5.0.2",
		"10.5.0.3",
		"2001:db8::2",
		"a@127.0.0.1",
	};
	const struct outcome *of = worker.outcomes;

	(void)state;
	ping_span(QUICK, words, ARRAY_SIZE(words));
	assert_int_equal(worker.ended, 31);
	for (unsigned i = 0; i < 20; i++) {
		assert_ping_succeeded(&of[i]);
		assert_int_equal(ping_number(&of[i], "sent"), 1);
		assert_in_range(ping_number(&of[i], "ttl"), 64, 64);
	}
	assert_ping_failed(&of[20], CLASS_NO_REPLY, "no reply (4 sent)");
	assert_ping_succeeded(&of[21]);
	/* Whoever has to ask for an address does so in a task of its own. */
	assert_int_equal(of[22].state, TASK_QUEUED);
	assert_ping_failed(&of[23], CLASS_UNREACHABLE, "10.1.0.1 is unreachable by this machine");
	assert_ping_failed(&of[24], CLASS_UNREACHABLE, "prohibited by 192.0.2.2");
	assert_int_equal(ping_number(&of[24], "sent"), 4);
	assert_ping_failed(&of[25], CLASS_UNREACHABLE, "prohibited by 192.0.2.2");
	assert_ping_failed(&of[26], CLASS_UNREACHABLE, "name a single host");
	/* The last one may come when the target has ended. */
	assert_ping_failed(&of[27], CLASS_NO_REPLY, "from 10.5.0.200");
	assert_in_range(ping_number(&of[27], "wrongSource"), 1, 4);
	assert_ping_failed(&of[28], CLASS_NO_REPLY, "damaged");
	assert_in_range(ping_number(&of[28], "corrupted"), 1, 4);
	assert_ping_succeeded(&of[29]);
	assert_ping_failed(&of[30], CLASS_RESOLVE, "ping knows no users");
}

/* The reply to one sending comes while the next one is waited for: in time it is for neither. */
static void test_late_is_not_in_time(void **state)
{
	static const char *const words[] = {"10.5.0.7"};

	(void)state;
	pinger_forget();
	pinger_begin("{\"intervalUsec\": 200000, \"replyTimeoutUsec\": 200000}", 0);
	pinger_start(words[0]);
	pinger_finish();
	assert_ping_failed(&worker.outcomes[0], CLASS_NO_REPLY, "late ones");
	assert_int_equal(ping_number(&worker.outcomes[0], "sent"), 4);
	assert_int_equal(ping_number(&worker.outcomes[0], "received"), 0);
	assert_in_range(ping_number(&worker.outcomes[0], "late"), 2, 4);
}

static void test_pauses(void **state)
{
	static const char *const words[] = {"127.5.0.1-127.5.0.200"};
	int64_t begin_us = now_monotonic_us();

	(void)state;
	ping_span("{\"intervalUsec\": 200000, \"replyTimeoutUsec\": 50000}", words, 1);
	assert_true(now_monotonic_us() - begin_us >= 650000);
	for (unsigned i = 0; i < 200; i++)
		assert_string_equal(worker.outcomes[i].message, "no reply (4 sent)");
}

static void test_a_whole_network(void **state)
{
	static const char *const words[] = {"127.0.0.1-127.0.255.254"};

	(void)state;
	ping_span("{\"count\": 1}", words, 1);
	for (unsigned i = 0; i < 65534; i++)
		assert_ping_succeeded(&worker.outcomes[i]);
	/* Nothing is left but the mailbox of this test. */
	assert_int_equal(event_base_get_num_events(worker.base, EVENT_BASE_COUNT_ADDED), 1);
}

static bool are_all_under_way(void)
{
	return ping_under_way() == 20;
}

/* Where every sequence number is taken, those that have one are asked again all the same. The
 * table is of no use afterwards. */
static void test_again_in_a_full_table(void **state)
{
	static const char *const words[] = {"127.5.0.1-127.5.0.20"};

	(void)state;
	pinger_forget();
	pinger_begin(QUICK, 0);
	pinger_start_span(words, 1);
	turn_until(are_all_under_way);
	worker.engine->used = PING_REQUESTS;
	worker.engine->free = (struct request_list){NO_REQUEST, NO_REQUEST};
	assert_false(ping_request_make_room(worker.engine, now_monotonic_us()));
	pinger_finish();
	for (unsigned i = 0; i < 20; i++)
		assert_string_equal(worker.outcomes[i].message, "no reply (4 sent)");
}

/* --- Stopping --- */

static bool are_some_under_way(void)
{
	return ping_under_way() >= 3;
}

static bool has_one_ended(void)
{
	return worker.ended > 0;
}

/* Silent ones at a slow pace: some are under way, one is about to begin, most were not begun. */
static struct task *begin_slowly(void)
{
	static const char *const words[] = {"127.5.0.1-127.5.0.98", "10.5.0.3", "127.0.0.1"};

	pinger_forget();
	pinger_begin("{\"rate\": 50, \"intervalUsec\": 300000, \"replyTimeoutUsec\": 300000}", 0);
	pinger_start_span(words, ARRAY_SIZE(words));
	turn_until(are_some_under_way);
	return worker.tasks[0];
}

static void test_stop_all(void **state)
{
	(void)state;
	kind_ping.task_stop(worker.engine, begin_slowly(), STOP_ASKED, 0);
	pinger_finish();
	assert_int_equal(worker.ended, 100);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(worker.outcomes[i].state, TASK_STOPPED);
	assert_int_equal(ping_number(&worker.outcomes[0], "sent"), 1);
	assert_null(worker.outcomes[99].result);
}

static void test_stop_one_by_one(void **state)
{
	struct task *task = begin_slowly();

	(void)state;
	/* Twice is once; from the end, so that the one that is about to begin is met as such. */
	for (uint32_t i = 98; i > 0; i--) {
		kind_ping.target_stop(worker.engine, task, i);
		kind_ping.target_stop(worker.engine, task, i);
		assert_int_equal(worker.ended, 99 - i);
	}
	assert_in_range(((struct ping_span *)task->engine_task)->stopped_count, 1, 98);
	/* The others take their way. */
	pinger_finish();
	assert_int_equal(worker.ended, 100);
	for (unsigned i = 1; i < 99; i++)
		assert_int_equal(worker.outcomes[i].state, TASK_STOPPED);
	assert_string_equal(worker.outcomes[0].message, "no reply (4 sent)");
	assert_ping_succeeded(&worker.outcomes[99]);
}

/* One that has more to tell than a flat one */
static void test_stop_what_is_not_flat(void **state)
{
	static const char *const words[] = {"10.5.0.3", "198.51.100.200", "127.0.0.1"};

	(void)state;
	pinger_forget();
	pinger_begin("{}", 0);
	pinger_start_span(words, ARRAY_SIZE(words));
	turn_until(has_one_ended);
	kind_ping.target_stop(worker.engine, worker.tasks[1], 1);
	kind_ping.task_stop(worker.engine, worker.tasks[0], STOP_ASKED, 0);
	pinger_finish();
	assert_int_equal(worker.outcomes[0].state, TASK_STOPPED);
	assert_int_equal(worker.outcomes[1].state, TASK_STOPPED);
	assert_ping_succeeded(&worker.outcomes[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_for_itself),
		cmocka_unit_test(test_late_is_not_in_time),
		cmocka_unit_test(test_pauses),
		cmocka_unit_test(test_a_whole_network),
		cmocka_unit_test(test_stop_all),
		cmocka_unit_test(test_stop_one_by_one),
		cmocka_unit_test(test_stop_what_is_not_flat),
		cmocka_unit_test(test_again_in_a_full_table),
	};

	return pinger_main(tests, ARRAY_SIZE(tests));
}
