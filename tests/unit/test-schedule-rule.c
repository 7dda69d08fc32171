/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Schedules by a clock of the test's own: what is due, missed and next, and when the clock is set.
 */
#include "common/util.h"
#include "daemon/schedule-rule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define S  US_PER_SEC
#define T0 (1700000000 * S) /* 2023-11-14 22:13:20 UTC */

static void expect_turn(const struct schedule_row *row, int64_t now_us, bool is_running,
			const struct schedule_turn *expected)
{
	struct schedule_turn turn = schedule_decide(row, now_us, now_us, is_running);

	assert_int_equal(turn.is_run, expected->is_run);
	assert_int_equal(turn.skipped, expected->skipped);
	assert_int_equal(turn.next_us, expected->next_us);
}

/* Nothing adds up, also below where it began. */
static void test_every(void **state)
{
	struct schedule_row row = {.every_us = 7 * S, .created_us = T0};

	(void)state;
	assert_int_equal(schedule_next_us(&row, T0 - 1), T0);
	assert_int_equal(schedule_next_us(&row, T0), T0 + 7 * S);
	assert_int_equal(schedule_next_us(&row, T0 + 7 * S - 1), T0 + 7 * S);
	assert_int_equal(schedule_next_us(&row, T0 + 7 * S), T0 + 14 * S);
	assert_int_equal(schedule_next_us(&row, T0 + 7000 * S + 3), T0 + 7007 * S);
	assert_int_equal(schedule_next_us(&row, T0 - 7 * S), T0);
	assert_int_equal(schedule_next_us(&row, T0 - 8 * S), T0 - 7 * S);
}

static void test_due(void **state)
{
	struct schedule_row row = {.every_us = 4 * S, .created_us = T0, .next_us = T0 + 4 * S};

	(void)state;
	expect_turn(&row, T0 + 4 * S, false, &(struct schedule_turn){true, 0, T0 + 8 * S});
	expect_turn(&row, T0 + 5 * S, false, &(struct schedule_turn){true, 0, T0 + 8 * S});
	/* Of what was due meanwhile one is made */
	expect_turn(&row, T0 + 13 * S, false, &(struct schedule_turn){true, 2, T0 + 16 * S});
	/* The one before goes on */
	expect_turn(&row, T0 + 5 * S, true, &(struct schedule_turn){false, 1, T0 + 8 * S});
	row.is_overlap = true;
	expect_turn(&row, T0 + 5 * S, true, &(struct schedule_turn){true, 0, T0 + 8 * S});
}

static void test_missed(void **state)
{
	struct schedule_row row = {.every_us = 4 * S, .created_us = T0, .next_us = T0 + 4 * S};
	const int64_t late_us = T0 + 4 * S + SCHEDULE_LATE_US;

	(void)state;
	expect_turn(&row, late_us, false, &(struct schedule_turn){true, 2, T0 + 16 * S});
	expect_turn(&row, late_us + 1, false, &(struct schedule_turn){false, 3, T0 + 16 * S});
	expect_turn(&row, T0 + 4000 * S, false,
		    &(struct schedule_turn){false, 1000, T0 + 4004 * S});
	row.is_catch_up = true;
	expect_turn(&row, T0 + 4000 * S, false, &(struct schedule_turn){true, 999, T0 + 4004 * S});
	expect_turn(&row, T0 + 4000 * S, true, &(struct schedule_turn){false, 1000, T0 + 4004 * S});
}

/* Many were due at once, and this one is the last of them. */
static void test_behind_others(void **state)
{
	struct schedule_row row = {.at_us = T0, .next_us = T0};

	(void)state;
	assert_true(schedule_decide(&row, T0 + S, T0 + 60 * S, false).is_run);
	assert_false(schedule_decide(&row, T0 + 11 * S, T0 + 60 * S, false).is_run);
}

static void test_at(void **state)
{
	struct schedule_row row = {.at_us = T0, .next_us = T0};

	(void)state;
	assert_int_equal(schedule_next_us(&row, T0 - 1), T0);
	assert_int_equal(schedule_next_us(&row, T0), 0);
	expect_turn(&row, T0, false, &(struct schedule_turn){true, 0, 0});
	expect_turn(&row, T0 + 3600 * S, false, &(struct schedule_turn){false, 1, 0});
	row.is_catch_up = true;
	expect_turn(&row, T0 + 3600 * S, false, &(struct schedule_turn){true, 0, 0});
}

static void test_calendar(void **state)
{
	char text[] = "*:13:20 UTC", dense[] = "*:*:* UTC", gone[] = "12:00 No/Zone";
	struct schedule_row row = {.calendar = text, .next_us = T0};

	(void)state;
	expect_turn(&row, T0 + 1, false, &(struct schedule_turn){true, 0, T0 + 3600 * S});
	expect_turn(&row, T0 + 7200 * S, false, &(struct schedule_turn){false, 3, T0 + 10800 * S});
	/* Counted up to a bound, however long it was */
	row.calendar = dense;
	expect_turn(
		&row, T0 + 86400 * 365 * S, false,
		&(struct schedule_turn){false, SCHEDULE_COUNTED_MAX, T0 + (86400 * 365 + 1) * S});
	/* A zone that the machine has no more */
	row.calendar = gone;
	expect_turn(&row, T0, false, &(struct schedule_turn){true, 0, 0});
}

static void test_clock_is_set(void **state)
{
	char text[] = "*:13:20 UTC";
	struct schedule_row row = {
		.calendar = text, .next_us = T0 + 3600 * S, .last_us = T0, .runs = 1};

	(void)state;
	/* Nothing to say, also for what is due */
	assert_int_equal(schedule_review(&row, T0 + 5), T0 + 3600 * S);
	assert_int_equal(schedule_review(&row, T0 + 3600 * S), T0 + 3600 * S);
	assert_int_equal(schedule_review(&row, T0 + 9000 * S), T0 + 3600 * S);
	/* Set back a little: what ran does not run again; by a lot: it does, at its time */
	assert_int_equal(schedule_review(&row, T0 - 2 * S), T0 + 3600 * S);
	assert_int_equal(schedule_review(&row, T0 - 3601 * S), T0 - 3600 * S);
	row.next_us = 0;
	assert_int_equal(schedule_review(&row, T0 - 5 * S), 0);
}

static void test_zone_is_gone(void **state)
{
	char calendar[] = "12:00 Nowhere/Town";
	const struct schedule_row row = {.calendar = calendar, .next_us = T0 + 3600 * S};

	(void)state;
	assert_int_equal(schedule_review(&row, T0), T0 + 3600 * S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every),        cmocka_unit_test(test_due),
		cmocka_unit_test(test_missed),       cmocka_unit_test(test_behind_others),
		cmocka_unit_test(test_at),           cmocka_unit_test(test_calendar),
		cmocka_unit_test(test_clock_is_set), cmocka_unit_test(test_zone_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
