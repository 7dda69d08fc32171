/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What kind ping says to options and targets before anything is sent. */
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/kind-ping.h"
#include "daemon/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct config config = {.ping_rate = 100000, .ping_parallel = 32768};

/* 0, or the negative errno and the error. */
static int check(const char *text, struct ping_options *ret_options, struct error *ret_error)
{
	json_t *object = json_loads(text, 0, NULL);
	int r;

	assert_non_null(object);
	assert_int_equal(kind_ping.options_size, sizeof(*ret_options));
	r = fields_parse(kind_ping.fields, kind_ping.field_count, object, NULL, ret_options,
			 ret_error);
	json_decref(object);
	if (r < 0)
		return r;
	r = kind_ping.options_check(ret_options, &config, true, ret_error);
	fields_done(kind_ping.fields, kind_ping.field_count, ret_options);
	return r;
}

static void test_defaults(void **state)
{
	struct ping_options options = {0};
	struct error error = {0};

	(void)state;
	assert_int_equal(check("{}", &options, &error), 0);
	assert_int_equal(options.requests, 4);
	assert_true(options.is_until_reply);
	assert_int_equal(options.interval_us, 1000000);
	assert_int_equal(options.reply_timeout_us, 1000000);
	assert_int_equal(options.size, 56);
	assert_int_equal(options.ttl, 64);
	assert_int_equal(options.family, AF_UNSPEC);
}

static void test_modes(void **state)
{
	static const struct {
		const char *text;
		int64_t requests;
		bool is_until_reply;
		int success_percent;
		int family;
	} rows[] = {
		{"{\"count\": 7}", 7, false, 0, AF_UNSPEC},
		{"{\"success\": \"any\"}", 4, true, 0, AF_UNSPEC},
		{"{\"success\": \"all\"}", 4, false, 100, AF_UNSPEC},
		{"{\"success\": \"80%\", \"count\": 10}", 10, false, 80, AF_UNSPEC},
		{"{\"maxLossPercent\": 25}", 4, false, 75, AF_UNSPEC},
		{"{\"maxLossPercent\": 0, \"count\": 9}", 9, false, 100, AF_UNSPEC},
		{"{\"family\": \"ipv4\"}", 4, true, 0, AF_INET},
		{"{\"source\": \"2001:db8::1\"}", 4, true, 0, AF_INET6},
		{"{\"source\": \"eth0\"}", 4, true, 0, AF_UNSPEC},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ping_options options = {0};
		struct error error = {0};

		assert_int_equal(check(rows[i].text, &options, &error), 0);
		assert_int_equal(options.requests, rows[i].requests);
		assert_int_equal(options.is_until_reply, rows[i].is_until_reply);
		assert_int_equal(options.success_percent, rows[i].success_percent);
		assert_int_equal(options.family, rows[i].family);
	}
}

static void test_wrong_options(void **state)
{
	static const struct {
		const char *options, *words;
	} rows[] = {
		{"{\"success\": \"most\"}", "'most' is none of any, all, and 1% to 100%"},
		{"{\"success\": \"any\", \"maxLossPercent\": 3}", "does not go together"},
		{"{\"tos\": 256}", "255"},
		{"{\"success\": \"0%\"}", "'0%' is none of"},
		{"{\"source\": \"192.0.2.1\", \"family\": \"ipv6\"}", "is not an IPv6 address"},
		{"{\"source\": \"a-name-that-is-too-long-for-one\"}", "is neither an address nor"},
		{"{\"source\": \"\"}", "is neither an address nor"},
		{"{\"intervalUsec\": 1000, \"replyTimeoutUsec\": 2000000}",
		 "lengthen the interval"},
		{"{\"size\": 65508}", "65507"},
		{"{\"ttl\": 256}", "255"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ping_options options = {0};
		struct error error = {0};

		assert_true(check(rows[i].options, &options, &error) < 0);
		assert_int_equal(error.id, ERROR_INVALID_OPTION);
		if (!strstr(error.sentence, rows[i].words))
			fail_msg("'%s' does not say '%s'", error.sentence, rows[i].words);
		error_done(&error);
	}
}

static void test_targets(void **state)
{
	static const char *const good[] = {"r7", "192.0.2.1", "2001:db8::1", "[2001:db8::1]",
					   "fe80::1%lo"};
	static const struct {
		const char *target, *words;
	} bad[] = {
		{"admin@r7", "ping knows no users; give 'r7' alone"},
		{"r7:22", "ping knows no ports; give 'r7' alone"},
		{"[2001:db8::1]:22", "ping knows no ports; give '2001:db8::1' alone"},
		{"", "neither a host name nor an address"},
		{"0.0.0.0", "is the unspecified address; name a single host"},
		{"::", "is the unspecified address; name a single host"},
		{"255.255.255.255", "is the broadcast address; name a single host"},
		{"224.0.0.1", "is a multicast address; name a single host"},
		{"[ff02::1]", "is a multicast address; name a single host"},
	};
	struct error error = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(kind_ping.target_check(good[i], &error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(kind_ping.target_check(bad[i].target, &error) < 0);
		assert_int_equal(error.id, ERROR_INVALID_TARGET);
		if (!strstr(error.sentence, bad[i].words))
			fail_msg("'%s' does not say '%s'", error.sentence, bad[i].words);
		error_done(&error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_modes),
		cmocka_unit_test(test_wrong_options),
		cmocka_unit_test(test_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
