/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a ping comes to: answers, what only looks like one, and no answer. */
#include "tests/lib/ping-worker.h"

#include "common/util.h"

#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

/* --- Answers --- */

static void test_first_reply(void **state)
{
	static const char *const targets[] = {"127.0.0.1", "::1", "[::1]", "192.0.2.2",
					      "2001:db8::2"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		const struct outcome *outcome = ping_once("{}", targets[i]);

		assert_ping_succeeded(outcome);
		assert_int_equal(ping_number(outcome, "sent"), 1);
		assert_int_equal(ping_number(outcome, "received"), 1);
		assert_int_equal(ping_number(outcome, "duplicates"), 0);
		assert_int_equal(ping_number(outcome, "ttl"), 64);
		assert_in_range(ping_number(outcome, "avgUsec"), 0, 200000);
	}
}

static void test_statistics(void **state)
{
	const struct outcome *outcome =
		ping_once("{\"count\": 5, \"intervalUsec\": 20000}", "192.0.2.2");

	(void)state;
	assert_ping_succeeded(outcome);
	assert_int_equal(ping_number(outcome, "sent"), 5);
	assert_int_equal(ping_number(outcome, "received"), 5);
	assert_true(ping_number(outcome, "minUsec") <= ping_number(outcome, "avgUsec"));
	assert_true(ping_number(outcome, "avgUsec") <= ping_number(outcome, "maxUsec"));
	assert_true(ping_number(outcome, "minUsec") <= ping_number(outcome, "medianUsec"));
	assert_true(ping_number(outcome, "medianUsec") <= ping_number(outcome, "p95Usec"));
	assert_int_equal(ping_number(outcome, "p95Usec"), ping_number(outcome, "maxUsec"));
	assert_in_range(ping_number(outcome, "stddevUsec"), 0, ping_number(outcome, "maxUsec"));
	assert_in_range(ping_number(outcome, "jitterUsec"), 0, ping_number(outcome, "maxUsec"));
	/* None of these came, and one reply alone has no spread. */
	assert_int_equal(ping_number(outcome, "outOfOrder"), -1);
	assert_int_equal(ping_number(outcome, "late"), -1);
	assert_int_equal(ping_number(ping_once("{}", "192.0.2.2"), "stddevUsec"), -1);
}

static void test_out_of_order(void **state)
{
	const struct outcome *outcome =
		ping_once("{\"count\": 4, \"intervalUsec\": 50000}", "10.5.0.10");

	(void)state;
	assert_ping_succeeded(outcome);
	assert_int_equal(ping_number(outcome, "received"), 4);
	assert_int_equal(ping_number(outcome, "outOfOrder"), 2);
}

static void test_sizes(void **state)
{
	static const int sizes[] = {0, 1, 7, 8, 9, 1472, 1473, 20000, PING_PAYLOAD_MAX};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char options[64];

		(void)snprintf(options, sizeof(options), "{\"size\": %d}", sizes[i]);
		assert_ping_succeeded(ping_once(options, "127.0.0.1"));
		assert_ping_succeeded(ping_once(options, "::1"));
		assert_ping_succeeded(ping_once(options, "192.0.2.2"));
	}
}

static void test_sources(void **state)
{
	(void)state;
	assert_ping_succeeded(ping_once("{\"source\": \"127.0.0.9\"}", "127.0.0.1"));
	assert_ping_succeeded(ping_once("{\"source\": \"2001:db8::1\"}", "2001:db8::2"));
	assert_ping_succeeded(ping_once("{\"source\": \"box0\"}", "192.0.2.2"));
	assert_ping_succeeded(ping_once("{\"source\": \"box0\"}", "2001:db8::2"));
	assert_ping_failed(ping_once("{\"source\": \"192.0.2.99\"}", "192.0.2.2"),
			   CLASS_UNREACHABLE, "192.0.2.99 is no address of this machine");
	assert_ping_failed(ping_once("{\"source\": \"nowhere0\"}", "192.0.2.2"), CLASS_UNREACHABLE,
			   "there is no interface 'nowhere0'");
	assert_ping_failed(ping_once("{\"source\": \"127.0.0.9\"}", "::1"), CLASS_RESOLVE,
			   "::1 is not an IPv4 address");
}

static void test_names(void **state)
{
	(void)state;
	assert_ping_succeeded(ping_once("{\"family\": \"ipv4\"}", "localhost"));
	assert_ping_failed(ping_once("{}", "no-such-host.invalid"), CLASS_RESOLVE,
			   "cannot resolve 'no-such-host.invalid'");
	assert_ping_failed(ping_once("{}", "admin@127.0.0.1"), CLASS_RESOLVE,
			   "ping knows no users");
}

static void test_max_rtt(void **state)
{
	const struct outcome *outcome =
		ping_once("{\"maxRttUsec\": 100000, \"count\": 1}", "10.5.0.7");

	(void)state;
	assert_ping_failed(outcome, CLASS_TIMEOUT, "too slow");
	assert_int_equal(ping_number(outcome, "received"), 1);
	assert_true(ping_number(outcome, "minUsec") >= 300000);
	assert_ping_succeeded(ping_once("{\"maxRttUsec\": 900000, \"count\": 1}", "10.5.0.7"));
}

static void test_shares(void **state)
{
	const char *half = "{\"count\": 4, \"intervalUsec\": 10000, \"replyTimeoutUsec\": 200000, "
			   "\"success\": \"50%\"}";
	const char *all = "{\"count\": 4, \"intervalUsec\": 10000, \"replyTimeoutUsec\": 200000, "
			  "\"success\": \"all\"}";
	const struct outcome *outcome;

	(void)state;
	assert_ping_succeeded(ping_once(half, "10.5.0.8"));
	outcome = ping_once(all, "10.5.0.8");
	assert_ping_failed(outcome, CLASS_NO_REPLY, "2 of 4 requests were answered");
	assert_int_equal(ping_number(outcome, "received"), 2);
	assert_ping_succeeded(ping_once(all, "192.0.2.2"));
}

static void test_max_loss(void **state)
{
	const char *half = "{\"count\": 4, \"intervalUsec\": 10000, \"replyTimeoutUsec\": 200000, "
			   "\"maxLossPercent\": 50}";
	const char *little = "{\"count\": 4, \"intervalUsec\": 10000, \"replyTimeoutUsec\": "
			     "200000, \"maxLossPercent\": 49}";

	(void)state;
	assert_ping_succeeded(ping_once(half, "10.5.0.8"));
	assert_ping_failed(ping_once(little, "10.5.0.8"), CLASS_NO_REPLY,
			   "50% loss (2 of 4 requests were answered), --max-loss allows 49%");
}

/* --- Replies that are none --- */

/* They are counted as what they are, as far as one can tell. */
static void test_replies_that_do_not_count(void **state)
{
	static const struct {
		enum box_habit habit;
		const char *counter, *words;
	} rows[] = {
		{BOX_OTHER_SOURCE, "wrongSource", "no reply (2 sent), but 2 from 10.5.0.200"},
		{BOX_WRONG_COOKIE, "corrupted", "no reply (2 sent), but 2 damaged"},
		{BOX_NO_COOKIE, "corrupted", "no reply (2 sent), but 2 damaged"},
		{BOX_WRONG_SEQUENCE, NULL, "no reply (2 sent)"},
		{BOX_WRONG_ID, NULL, "no reply (2 sent)"},
		{BOX_LATE, NULL, "no reply (2 sent)"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct outcome *outcome;
		char target[32];

		(void)snprintf(target, sizeof(target), "10.5.0.%d", rows[i].habit);
		outcome = ping_once("{\"count\": 2, \"intervalUsec\": 50000, \"replyTimeoutUsec\": "
				    "150000}",
				    target);
		assert_ping_failed(outcome, CLASS_NO_REPLY, rows[i].words);
		assert_int_equal(ping_number(outcome, "received"), 0);
		assert_int_equal(ping_number(outcome, "minUsec"), -1);
		assert_int_equal(ping_number(outcome, "ttl"), -1);
		if (rows[i].counter)
			assert_int_equal(ping_number(outcome, rows[i].counter), 2);
	}
}

/* Each comes 300 ms after its request or more, while the task still waits for others. */
static void test_late_replies(void **state)
{
	const struct outcome *outcome =
		ping_once("{\"count\": 5, \"intervalUsec\": 150000, \"replyTimeoutUsec\": 100000}",
			  "10.5.0.7");

	(void)state;
	assert_ping_failed(outcome, CLASS_NO_REPLY, "late ones");
	assert_int_equal(ping_number(outcome, "received"), 0);
	assert_in_range(ping_number(outcome, "late"), 1, 4);
}

static void test_duplicates(void **state)
{
	const struct outcome *outcome =
		ping_once("{\"count\": 3, \"intervalUsec\": 50000}", "10.5.0.1");

	(void)state;
	assert_ping_succeeded(outcome);
	assert_int_equal(ping_number(outcome, "received"), 3);
	/* That of the last reply comes when the task has ended, or just before. */
	assert_in_range(ping_number(outcome, "duplicates"), 2, 3);
	assert_int_equal(ping_number(outcome, "ttl"), 61);
}

/* Some hosts send back less than they were given. */
static void test_short_replies(void **state)
{
	(void)state;
	assert_ping_succeeded(ping_once("{}", "10.5.0.9"));
}

/* --- No answer --- */

static void test_no_reply(void **state)
{
	int64_t begin_us = now_monotonic_us();
	const struct outcome *outcome =
		ping_once("{\"intervalUsec\": 100000, \"replyTimeoutUsec\": 100000}", "127.5.0.1");
	int64_t took_us = now_monotonic_us() - begin_us;

	(void)state;
	assert_ping_failed(outcome, CLASS_NO_REPLY, "no reply (4 sent)");
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
		const struct outcome *outcome = ping_once("{}", rows[i].target);

		assert_ping_failed(outcome, CLASS_UNREACHABLE, rows[i].words);
		assert_int_equal(ping_number(outcome, "sent"), 0);
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

		assert_ping_failed(ping_once(rows[i].options, rows[i].target), CLASS_UNREACHABLE,
				   rows[i].words);
		/* Said at once, not when the time was out. */
		assert_true(now_monotonic_us() - begin_us < 900000);
	}
	assert_ping_succeeded(ping_once("{\"size\": 1472, \"dontFragment\": true}", "192.0.2.2"));
	assert_ping_succeeded(ping_once("{\"size\": 1452, \"dontFragment\": true}", "2001:db8::2"));
}

/* First a router says it, then the kernel, which has learnt it: hence a target for each run. */
static void test_mtu_of_the_path(void **state)
{
	static const char options[] = "{\"count\": 1, \"size\": 1400, \"dontFragment\": true}";
	static unsigned run;
	char target[32];

	(void)state;
	(void)snprintf(target, sizeof(target), "203.0.113.%u", ++run);
	assert_ping_failed(
		ping_once(options, target), CLASS_UNREACHABLE,
		"too big for the path, whose MTU is 1000, says 192.0.2.2; lower --size to "
		"972");
	assert_ping_failed(
		ping_once(options, target), CLASS_UNREACHABLE,
		"too big for the path, whose MTU is 1000, says this machine; lower --size to "
		"972");
}

static void test_nobody_on_the_link(void **state)
{
	(void)state;
	assert_ping_failed(ping_once("{}", "192.0.2.77"), CLASS_UNREACHABLE,
			   "nobody has this address on the network of 192.0.2.1");
	assert_ping_failed(ping_once("{}", "2001:db8::77"), CLASS_UNREACHABLE,
			   "nobody has this address on the network of 2001:db8::1");
}

/* An error about one host is a pending error of the socket that all share. */
static void test_errors_harm_no_other(void **state)
{
	size_t good = 0, bad = 0;

	(void)state;
	pinger_forget();
	pinger_begin("{\"count\": 3, \"intervalUsec\": 10000}", 0);
	for (unsigned i = 0; i < 600; i++) {
		char target[32];

		(void)snprintf(target, sizeof(target), i % 2 ? "10.6.0.%u" : "127.0.1.%u",
			       i / 2 % 120 + 1);
		pinger_start(target);
	}
	pinger_finish();
	for (unsigned i = 0; i < 600; i++) {
		good += i % 2 == 0 && ping_number(&worker.outcomes[i], "received") == 3;
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
		assert_ping_failed(ping_once("{}", targets[i]), CLASS_UNREACHABLE,
				   "name a single host");
}

/* The last test: it takes the permission away. */
static void test_not_allowed(void **state)
{
	(void)state;
	assert_true(ping_box_allow(false, false));
	assert_ping_failed(ping_once("{}", "127.0.0.1"), CLASS_INTERNAL,
			   "jobd may not send ICMP: give it CAP_NET_RAW or widen "
			   "net.ipv4.ping_group_range");
	assert_ping_failed(ping_once("{}", "::1"), CLASS_INTERNAL, "jobd may not send ICMP");
}

/* --- What a long ping tells --- */

static size_t count_of(const char *words)
{
	size_t count = 0;

	for (const char *at = worker.output; (at = strstr(at, words)); at++)
		count++;
	return count;
}

#define SLOW "\"intervalUsec\": 200000, \"replyTimeoutUsec\": 190000, \"onChange\": true"

/* 10.5.0.8 answers every other request: neither is in a row. */
static void test_hysteresis(void **state)
{
	const char *usual = "{\"count\": 8, " SLOW "}";
	const char *nervous = "{\"count\": 8, " SLOW ", \"downAfter\": 1, \"upAfter\": 1}";

	(void)state;
	(void)ping_once(usual, "10.5.0.8");
	assert_int_equal(worker.output_size, 0);
	(void)ping_once(nervous, "10.5.0.8");
	assert_int_equal(count_of(" up, 1 request answered"), 4);
	assert_int_equal(count_of(" down, no reply to 1 request"), 4);
	(void)ping_once(usual, "127.0.0.1");
	assert_int_equal(count_of(" up, 2 requests in a row answered\n"), 1);
	assert_int_equal(count_of("\n"), 1);
	(void)ping_once(usual, "127.5.0.1");
	assert_int_equal(count_of(" down, no reply to 3 requests in a row\n"), 1);
	assert_int_equal(count_of("\n"), 1);
}

/* This machine itself cannot send: down, but no loss. */
static void test_unsent_is_no_loss(void **state)
{
	const struct outcome *outcome =
		ping_once("{\"count\": 5, \"intervalUsec\": 10000, \"replyTimeoutUsec\": 5000, "
			  "\"onChange\": true, \"periodUsec\": 1000000}",
			  "10.1.0.1");

	(void)state;
	assert_ping_failed(outcome, CLASS_UNREACHABLE, "");
	assert_int_equal(count_of(" down, "), 1);
	assert_int_equal(count_of("0/0 replies, 0% loss, 5 could not be sent\n"), 1);
}

/* Nothing of it is stored: changes are told up to a bound, and not more. */
static void test_changes_wait_for_the_disk(void **state)
{
	(void)state;
	(void)ping_once("{\"count\": 40, \"intervalUsec\": 40000, \"replyTimeoutUsec\": 39000, "
			"\"onChange\": true, \"downAfter\": 1, \"upAfter\": 1}",
			"10.5.0.8");
	assert_in_range(worker.output_size, 1000, 1200);
}

/* Of all periods that were told */
static long replies_told(void)
{
	long sum = 0;

	for (const char *at = worker.output; (at = strstr(at, " s: ")); at++)
		sum += strtol(at + strlen(" s: "), NULL, 10);
	return sum;
}

/* Nothing of it is stored: the first period is told, the others become one. */
static void test_periods_wait_for_the_disk(void **state)
{
	(void)state;
	(void)ping_once("{\"count\": 35, \"intervalUsec\": 100000, \"periodUsec\": 1000000}",
			"127.0.0.1");
	assert_int_equal(count_of("\n"), 2);
	assert_int_equal(replies_told(), 35);
}

/* An hour back each time that somebody looks at it. */
static atomic_bool is_clock_set;

int64_t __real_now_real_us(void);
int64_t __wrap_now_real_us(void);

int64_t __wrap_now_real_us(void)
{
	static atomic_long hours;

	return __real_now_real_us() -
	       (atomic_load(&is_clock_set) ? atomic_fetch_add(&hours, 1) * 3600 * US_PER_SEC : 0);
}

/* For how long it was up is no matter of it. */
static void test_clock_is_set(void **state)
{
	(void)state;
	atomic_store(&is_clock_set, true);
	(void)ping_once("{\"count\": 8, " SLOW ", \"downAfter\": 1, \"upAfter\": 1, "
			"\"periodUsec\": 1000000}",
			"10.5.0.8");
	atomic_store(&is_clock_set, false);
	assert_true(count_of("; it was up for ") > 0 && count_of("/") > 0);
	assert_int_equal(count_of(" -"), 0);
}

/* --- Main --- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_reply),
		cmocka_unit_test(test_statistics),
		cmocka_unit_test(test_out_of_order),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_max_rtt),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_max_loss),
		cmocka_unit_test(test_replies_that_do_not_count),
		cmocka_unit_test(test_late_replies),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_short_replies),
		cmocka_unit_test(test_no_reply),
		cmocka_unit_test(test_local_errors),
		cmocka_unit_test(test_errors_of_routers),
		cmocka_unit_test(test_mtu_of_the_path),
		cmocka_unit_test(test_nobody_on_the_link),
		cmocka_unit_test(test_errors_harm_no_other),
		cmocka_unit_test(test_refused_addresses),
		cmocka_unit_test(test_hysteresis),
		cmocka_unit_test(test_unsent_is_no_loss),
		cmocka_unit_test(test_changes_wait_for_the_disk),
		cmocka_unit_test(test_periods_wait_for_the_disk),
		cmocka_unit_test(test_clock_is_set),
		cmocka_unit_test(test_not_allowed),
	};

	return pinger_main(tests, ARRAY_SIZE(tests));
}
