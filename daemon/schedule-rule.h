/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * When a schedule runs, as sums without a clock of their own: what is due now, what was missed,
 * and when it is due next. Times are microseconds since the epoch.
 */
#pragma once

#include "daemon/store.h"

enum {
	/* Whoever comes later has missed a run: jobd was down, the schedule paused, the clock set.
	 */
	SCHEDULE_LATE_US = 10000000,
	/* Of a calendar so many missed runs are counted, at most. */
	SCHEDULE_COUNTED_MAX = 1000,
};

/*
 * The first time that is later. A schedule of every_us is due at created_us and then in whole
 * multiples of it, so that nothing adds up. 0: never again; -1: its zone cannot be read just now.
 */
int64_t schedule_next_us(const struct schedule_row *row, int64_t after_us);

/*
 * What to do about a schedule whose next_us has come. since_us: when it could first be looked at;
 * that others had to be made before it makes none late.
 */
struct schedule_turn {
	bool is_run;      /* make one now */
	uint64_t skipped; /* and so many are not made */
	int64_t next_us;  /* -1: its zone cannot be read just now, and nothing can be done */
};
struct schedule_turn schedule_decide(const struct schedule_row *row, int64_t since_us,
				     int64_t now_us, bool is_running);

/*
 * The clock may have been set back, or a zone's rules changed: the next_us that a schedule now
 * has. What ran does not run again, unless the clock went back by more than an hour. Where it
 * cannot be told any more it stays.
 */
int64_t schedule_review(const struct schedule_row *row, int64_t now_us);
