/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/units.h"

#include "common/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

typedef int parse_fn(const char *text, int64_t *ret_value);

struct row {
	const char *text;
	int64_t value;
};

static void check_rows(parse_fn *parse, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int64_t value = -1;

		if (parse(rows[i].text, &value) != 0 || value != rows[i].value)
			fail_msg("'%s' is %lld", rows[i].text, (long long)value);
	}
}

static void check_wrong(parse_fn *parse, const char *text, int expected)
{
	int64_t value = 77;

	if (parse(text, &value) != expected)
		fail_msg("'%s'", text);
	assert_int_equal(value, 77);
}

static void test_durations(void **state)
{
	static const struct row rows[] = {
		{"10", 10 * US_PER_SEC},
		{"0", 0},
		{"1.5s", 1500000},
		{"200ms", 200000},
		{"50us", 50},
		{"2min", 120 * US_PER_SEC},
		{"2m", 120 * US_PER_SEC},
		{"1h30min", 5400 * US_PER_SEC},
		{"3d", 259200 * US_PER_SEC},
		{"1w", 604800 * US_PER_SEC},
		{"0.25", 250000},
	};

	(void)state;
	check_rows(duration_parse, rows, ARRAY_SIZE(rows));
	check_wrong(duration_parse, "", -EINVAL);
	check_wrong(duration_parse, "s", -EINVAL);
	check_wrong(duration_parse, "10x", -EINVAL);
	check_wrong(duration_parse, "-1s", -EINVAL);
	check_wrong(duration_parse, "1..5s", -EINVAL);
	check_wrong(duration_parse, "99999999999999999999", -ERANGE);
	check_wrong(duration_parse, "9999999999999999w", -ERANGE);
}

static void test_sizes(void **state)
{
	static const struct row rows[] = {
		{"4096", 4096},       {"16K", 16384}, {"16KiB", 16384},  {"1.5M", 1572864},
		{"2G", 2147483648LL}, {"512B", 512},  {"1T", 1LL << 40},
	};

	(void)state;
	check_rows(size_parse, rows, ARRAY_SIZE(rows));
	check_wrong(size_parse, "K", -EINVAL);
	check_wrong(size_parse, "1KB", -EINVAL);
	check_wrong(size_parse, "9999999999T", -ERANGE);
}

static void test_numbers(void **state)
{
	int64_t value = 0;
	int percent = 0;

	(void)state;
	assert_int_equal(number_parse("-5", -10, 10, &value), 0);
	assert_int_equal(value, -5);
	assert_int_equal(number_parse("11", -10, 10, &value), -ERANGE);
	assert_int_equal(number_parse("1x", -10, 10, &value), -EINVAL);
	assert_int_equal(number_parse("", -10, 10, &value), -EINVAL);
	assert_int_equal(number_parse(" 1", -10, 10, &value), -EINVAL);
	assert_int_equal(number_parse("99999999999999999999", 0, INT64_MAX, &value), -ERANGE);
	assert_int_equal(percent_parse("80%", &percent), 0);
	assert_int_equal(percent, 80);
	assert_int_equal(percent_parse("101%", &percent), -ERANGE);
	assert_int_equal(percent_parse("80", &percent), -EINVAL);
	assert_int_equal(percent_parse("%", &percent), -EINVAL);
}

static void test_times(void **state)
{
	const int64_t now = 1700000000 * US_PER_SEC; /* 2023-11-14 22:13:20 UTC */
	int64_t value = 0;

	(void)state;
	assert_int_equal(time_parse("2h", now, &value), 0);
	assert_int_equal(value, now - 7200 * US_PER_SEC);
	assert_int_equal(time_parse("@1700000000", now, &value), 0);
	assert_int_equal(value, now);
	assert_int_equal(time_parse("2023-11-14", now, &value), 0);
	assert_int_equal(value, 1699920000 * US_PER_SEC);
	assert_int_equal(time_parse("2023-11-14 22:13:20", now, &value), 0);
	assert_int_equal(value, now);
	assert_int_equal(time_parse("22:13", now, &value), 0);
	assert_int_equal(value, now - 20 * US_PER_SEC);
	assert_int_equal(time_parse("2023-11-14T23:13:20+01:00", now, &value), 0);
	assert_int_equal(value, now);
	assert_int_equal(time_parse("2023-11-14T22:13Z", now, &value), 0);
	assert_int_equal(value, now - 20 * US_PER_SEC);
	assert_int_equal(time_parse("today", now, &value), 0);
	assert_int_equal(value, 1699920000 * US_PER_SEC);
	assert_int_equal(time_parse("yesterday", now, &value), 0);
	assert_int_equal(value, 1699833600 * US_PER_SEC);
	assert_int_equal(time_parse("yesterday 22:13:20", now, &value), 0);
	assert_int_equal(value, now - 86400 * US_PER_SEC);
	assert_int_equal(time_parse("today ", now, &value), -EINVAL);
	assert_int_equal(time_parse("today 25:00", now, &value), -EINVAL);
	assert_int_equal(time_parse("todayish", now, &value), -EINVAL);
	assert_int_equal(time_parse("someday", now, &value), -EINVAL);
	assert_int_equal(time_parse("2023-13-40", now, &value), -EINVAL);
}

/* From 22:13:20 on */
static void test_times_ahead(void **state)
{
	const int64_t now = 1700000000 * US_PER_SEC;
	static const struct {
		const char *text;
		int64_t seconds; /* from now */
		int r;
	} rows[] = {
		{"+5m", 300, 0},
		{"in 1h30min", 5400, 0},
		{"22:14", 40, 0},
		{"22:13", 86400 - 20, 0},
		{"06:00", 7 * 3600 + 46 * 60 + 40, 0},
		{"2023-11-14 22:13:21", 1, 0},
		{"2023-11-14T22:13:21-01:00", 3601, 0},
		{"@1700000001", 1, 0},
		{"@1700000000", 0, -ERANGE},
		{"2023-11-14", 0, -ERANGE},
		{"5m", 0, -EINVAL},
		{"+", 0, -EINVAL},
		{"+15250000w", 0, -ERANGE},
		{"tomorrow", 3600 + 46 * 60 + 40, 0},
		{"tomorrow 22:13", 86400 - 20, 0},
		{"today 22:14", 40, 0},
		{"today 22:13", 0, -ERANGE},
		{"yesterday", 0, -ERANGE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t value = now;

		assert_int_equal(time_parse_ahead(rows[i].text, now, &value), rows[i].r);
		assert_int_equal(value, now + rows[i].seconds * US_PER_SEC);
	}
}

static void test_texts(void **state)
{
	char text[UNITS_TEXT_MAX];

	(void)state;
	assert_string_equal(duration_text(50, text), "50 us");
	assert_string_equal(duration_text(9100, text), "9.1 ms");
	assert_string_equal(duration_text(1500000, text), "1.5 s");
	assert_string_equal(duration_text(12 * US_PER_SEC, text), "12 s");
	assert_string_equal(duration_text(185 * US_PER_SEC, text), "3 min 5 s");
	assert_string_equal(duration_text(50 * 3600 * US_PER_SEC, text), "2 d 2 h");
	assert_string_equal(size_text(512, text), "512 B");
	assert_string_equal(size_text(4096, text), "4.0 KiB");
	assert_string_equal(size_text(1288490188, text), "1.2 GiB");
	assert_string_equal(ago_text(0, 500000, text), "just now");
	assert_string_equal(ago_text(0, 200 * US_PER_SEC, text), "3 min ago");
	assert_string_equal(ago_text(0, 90000 * US_PER_SEC, text), "1 d ago");
	/* Longer than a day: nothing wraps. */
	assert_string_equal(ago_text(0, 400 * 86400 * US_PER_SEC, text), "400 d ago");
	assert_string_equal(time_text(1700000000 * US_PER_SEC + 123456, text),
			    "2023-11-14T22:13:20.123456+00:00");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations),   cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_numbers),     cmocka_unit_test(test_times),
		cmocka_unit_test(test_times_ahead), cmocka_unit_test(test_texts),
	};

	(void)setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
