/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calendar events by cases: what each form means, clocks that change, what is refused and why.
 * check-calendar.sh holds thousands against systemd.
 */
#include "common/calendar.h"
#include "common/util.h"
#include "common/zone.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

/* "2026-03-29 01:00:00.5", UTC */
static int64_t utc(const char *text)
{
	struct tm tm = {0};
	const char *end = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);

	assert_non_null(end);
	return timegm(&tm) * US_PER_SEC + (*end == '.' ? (int64_t)(strtod(end, NULL) * 1e6) : 0);
}

static void expect_next(const char *text, const char *after, const char *expected)
{
	struct error error = {0};
	struct calendar *calendar;
	int64_t next;

	if (calendar_parse(text, &calendar, &error) < 0)
		fail_msg("%s", error.sentence);
	next = calendar_next(calendar, utc(after));
	if (next != (expected ? utc(expected) : 0))
		fail_msg("'%s' after %s: %lld, not %s", text, after, (long long)next, expected);
	calendar_free(calendar);
}

static void test_forms(void **state)
{
	/* 2026-11-24 is a Tuesday */
	static const struct {
		const char *text, *next;
	} rows[] = {
		{"minutely", "2026-11-24 10:31:00"},
		{"hourly", "2026-11-24 11:00:00"},
		{"Daily", "2026-11-25 00:00:00"},
		{"weekly", "2026-11-30 00:00:00"},
		{"monthly", "2026-12-01 00:00:00"},
		{"quarterly", "2027-01-01 00:00:00"},
		{"semiannually", "2027-01-01 00:00:00"},
		{"yearly", "2027-01-01 00:00:00"},
		{"Mon,Wed 6:00", "2026-11-25 06:00:00"},
		{"Sat..Sun", "2026-11-28 00:00:00"},
		{"Fri *-*-13", "2027-08-13 00:00:00"},
		{"*-2~1", "2027-02-28 00:00:00"},
		{"*-02~03 12:00", "2027-02-26 12:00:00"},
		{"28-2-29", "2028-02-29 00:00:00"},
		{"*-02-30", NULL},
		{"2025-1-1", NULL},
		{"*:0/20", "2026-11-24 10:40:00"},
		{"*:*:0/7.5", "2026-11-24 10:30:52.5"},
		{"*:*:*", "2026-11-24 10:30:51"},
		{"8..18/4:30", "2026-11-24 12:30:00"},
		{"10:30:50.1..52.3/0.3", "2026-11-24 10:30:50.1"},
		{"@1800000000", "2027-01-15 08:00:00"},
		{"*-*-* 12:00 UTC", "2026-11-24 12:00:00"},
		{"*-*-* 12:00 Asia/Kolkata", "2026-11-25 06:30:00"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect_next(rows[i].text, "2026-11-24 10:30:50", rows[i].next);
}

/* By the clocks of Berlin, New York and Lord Howe, whose summer time is half an hour. */
static void test_clocks(void **state)
{
	static const struct {
		const char *text, *after, *next;
	} rows[] = {
		/* Left out: not on that day */
		{"2:30 Europe/Berlin", "2026-03-28 12:00:00", "2026-03-30 00:30:00"},
		/* Twice: the first only */
		{"2:30 Europe/Berlin", "2026-10-24 12:00:00", "2026-10-25 00:30:00"},
		{"2:30 Europe/Berlin", "2026-10-25 00:30:00", "2026-10-26 01:30:00"},
		{"*:0/30 America/New_York", "2026-03-08 06:30:00", "2026-03-08 07:00:00"},
		{"2:15 Australia/Lord_Howe", "2026-10-03 12:00:00", "2026-10-04 15:15:00"},
		{"12:00 Australia/Lord_Howe", "2026-10-04 12:00:00", "2026-10-05 01:00:00"},
		/* Beyond the zone file's table: by its rule */
		{"12:00 Europe/Berlin", "2060-07-01 00:00:00", "2060-07-01 10:00:00"},
		{"12:00 America/New_York", "2060-12-01 00:00:00", "2060-12-01 17:00:00"},
		{"12:00 Australia/Lord_Howe", "2060-12-01 02:00:00", "2060-12-02 01:00:00"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect_next(rows[i].text, rows[i].after, rows[i].next);
	assert_int_equal(setenv("TZ", "Europe/Berlin", 1), 0);
	expect_next("12:00", "2026-07-01 00:00:00", "2026-07-01 10:00:00");
	assert_int_equal(setenv("TZ", "<+0330>-3:30", 1), 0);
	expect_next("12:00", "2026-07-01 00:00:00", "2026-07-01 08:30:00");
	assert_int_equal(setenv("TZ", "NZST-12NZDT,J300,59/3", 1), 0);
	expect_next("12:00", "2026-07-01 00:00:00", "2026-07-02 00:00:00");
	expect_next("12:00", "2026-12-01 00:00:00", "2026-12-01 23:00:00");
	assert_int_equal(setenv("TZ", "../../../etc/passwd", 1), 0);
	expect_next("12:00", "2026-07-01 00:00:00", "2026-07-01 12:00:00");
	assert_int_equal(setenv("TZ", "UTC", 1), 0);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"", "it is empty"},
		{"noon", "a number is missing"},
		{"*-13-01", "the month, its range or its step is out of bounds"},
		{"25:00", "the hour, its range or its step is out of bounds"},
		{"Mon..Fri..Sun", "a range of weekdays is Mon..Fri"},
		{"Fri..Mon", "the weekdays of a range are in the wrong order"},
		{"Mon..", "a range of weekdays has no end"},
		{"Mon,Foo", "a weekday is missing (Mon, Tue, ...)"},
		{"Month", "that is no weekday (Mon, Tue, ...)"},
		{"*:0/0", "a step of 0 leads nowhere"},
		{"1:2:3:4", "something is left over behind the time"},
		{"2026-1-1-1", "a date has no more than three parts"},
		{"*/5 * * * *", "a date is YEAR-MONTH-DAY or MONTH-DAY"},
		{"99999999999999999999:00", "a number is too large"},
		{"12:00 Nowhere/City", "there is no such time zone"},
		{"12:00 ../zoneinfo/UTC", "a time is HOUR:MINUTE or HOUR:MINUTE:SECOND"},
		{"@x", "behind '@' stand seconds since 1970"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error error = {0};
		struct calendar *calendar = NULL;

		if (calendar_parse(rows[i].text, &calendar, &error) == 0)
			fail_msg("'%s' is taken", rows[i].text);
		if (!strstr(error.sentence, rows[i].why))
			fail_msg("'%s': %s", rows[i].text, error.sentence);
		error_done(&error);
	}
}

/* Lists are bounded, and so is the time that a search takes. */
static void test_bounds(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct error error = {0};
	struct calendar *calendar;

	(void)state;
	for (int i = 0; i < 300; i++)
		(void)fprintf(out, "%d,", i % 60);
	(void)fprintf(out, "0:00");
	assert_int_equal(fclose(out), 0);
	assert_true(calendar_parse(text, &calendar, &error) < 0);
	assert_non_null(strstr(error.sentence, "a list is too long"));
	error_done(&error);
	free(text);
}

/* Names that lead elsewhere are none. */
static void test_zone_names(void **state)
{
	static const char *const names[] = {
		"",       "/etc/localtime", "..",      "Europe/", "Europe//Berlin",
		"Europe", "europe/berlin",  "zone.tab"};
	struct zone *zone;
	bool is_dst;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(zone_load(names[i], &zone), -ENOENT);
	assert_int_equal(zone_load("Europe/Berlin", &zone), 0);
	assert_int_equal(zone_offset(zone, utc("2026-07-01 00:00:00") / US_PER_SEC, &is_dst), 7200);
	assert_true(is_dst);
	assert_int_equal(zone_offset(zone, utc("2026-01-01 00:00:00") / US_PER_SEC, &is_dst), 3600);
	assert_false(is_dst);
	zone_free(zone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),      cmocka_unit_test(test_clocks),
		cmocka_unit_test(test_refusals),   cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_zone_names),
	};

	(void)setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
