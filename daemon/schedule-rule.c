/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/schedule-rule.h"

#include "common/calendar.h"
#include "common/util.h"

#include <errno.h>

static const int64_t back_max_us = 3600 * US_PER_SEC;

static int64_t calendar_next_us(const char *text, int64_t after_us)
{
	struct error error = {0};
	struct calendar *calendar;
	int64_t next_us;
	int r = calendar_parse(text, &calendar, &error);

	/* It was checked when it came; a zone may have gone since. */
	if (r < 0) {
		error_done(&error);
		return r == -EAGAIN ? -1 : 0;
	}
	next_us = calendar_next(calendar, after_us);
	calendar_free(calendar);
	return next_us;
}

/* Multiples of step that lie between, rounded down also below 0. */
static int64_t steps_between(int64_t from_us, int64_t to_us, int64_t step_us)
{
	int64_t distance_us = to_us - from_us;

	return distance_us / step_us - (distance_us % step_us < 0);
}

int64_t schedule_next_us(const struct schedule_row *row, int64_t after_us)
{
	if (row->calendar)
		return calendar_next_us(row->calendar, after_us);
	if (row->every_us > 0)
		return row->created_us + (steps_between(row->created_us, after_us, row->every_us) +
					  1) * row->every_us;
	return row->at_us > after_us ? row->at_us : 0;
}

/* How many times lie from next_us to now. */
static uint64_t count_due(const struct schedule_row *row, int64_t now_us)
{
	uint64_t count = 1;

	if (row->every_us > 0)
		return (uint64_t)steps_between(row->next_us, now_us, row->every_us) + 1;
	if (row->calendar) {
		struct error error = {0};
		struct calendar *calendar;
		int64_t at_us = row->next_us;

		if (calendar_parse(row->calendar, &calendar, &error) < 0) {
			error_done(&error);
			return count;
		}
		while (count < SCHEDULE_COUNTED_MAX &&
		       (at_us = calendar_next(calendar, at_us)) != 0 && at_us <= now_us)
			count++;
		calendar_free(calendar);
	}
	return count;
}

struct schedule_turn schedule_decide(const struct schedule_row *row, int64_t since_us,
				     int64_t now_us, bool is_running)
{
	bool is_late = since_us - row->next_us > SCHEDULE_LATE_US;
	bool is_run = (!is_late || row->is_catch_up) && (!is_running || row->is_overlap);

	return (struct schedule_turn){
		.is_run = is_run,
		.skipped = count_due(row, now_us) - is_run,
		.next_us = schedule_next_us(row, now_us),
	};
}

int64_t schedule_review(const struct schedule_row *row, int64_t now_us)
{
	int64_t after_us = now_us, next_us;

	/* What is due, or over, stays so. */
	if (row->next_us <= now_us)
		return row->next_us;
	if (row->last_us > now_us && row->last_us - now_us <= back_max_us)
		after_us = row->last_us;
	next_us = schedule_next_us(row, after_us);
	/* Its zone may be gone for a moment, while the machine gets new ones: that ends nothing. */
	return next_us > 0 ? next_us : row->next_us;
}
