/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Durations, sizes, shares and times: from the words of users, and back. Parsers return 0, -EINVAL
 * (not of this form) or -ERANGE (too large); nothing is written on failure.
 */
#pragma once

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>

/* "10" (seconds), "1.5s", "200ms", "50us", "2min", "2m", "1h30min", "3d", "1w" (systemd.time(7)).
 */
int duration_parse(const char *text, int64_t *ret_us);
/* "4096", "16K", "16KiB", "1.5M", "2G": powers of 1024. */
int size_parse(const char *text, int64_t *ret_bytes);
/* "80%" -> 80, "0%".."100%". */
int percent_parse(const char *text, int *ret_percent);
/* So many, or so many of a hundred. */
struct share {
	int64_t number;
	bool is_percent;
};
/* "10" or "20%", at least min: 0 or -EINVAL. */
int share_parse(const char *text, int64_t min, struct share *ret_share);
/* Of so many; a percentage is rounded down. */
uint64_t share_of(const struct share *share, uint64_t count);
/* A decimal number, whole text, within [min, max] (-ERANGE outside). */
int number_parse(const char *text, int64_t min, int64_t max, int64_t *ret_value);
/* "2h" (so long ago), "2026-11-23", "2026-11-23 14:05[:06]", "14:05" (today), "yesterday",
 * "tomorrow 14:05", "@1700000000", local time; "2026-11-23T14:05[:06]+01:00", "...Z" with a zone.
 */
int time_parse(const char *text, int64_t now_real_us, int64_t *ret_real_us);
/* The same for what is to come: "+5m" and "in 5m", no "2h"; of "14:05" the next. What is past is
 * -ERANGE. */
int time_parse_ahead(const char *text, int64_t now_real_us, int64_t *ret_real_us);

enum { UNITS_TEXT_MAX = 48 };
/* "9.1 ms", "12 s", "3 min 5 s", "2 d 4 h": for people; returns buffer. */
const char *duration_text(int64_t us, char buffer[static UNITS_TEXT_MAX]);
/* "512 B", "4.0 KiB", "1.2 GiB" */
const char *size_text(int64_t bytes, char buffer[static UNITS_TEXT_MAX]);
/* "just now", "3 min ago", "2 h ago", "5 d ago" */
const char *ago_text(int64_t real_us, int64_t now_real_us, char buffer[static UNITS_TEXT_MAX]);
/* ISO 8601 with zone: "2026-11-23T14:05:06.123456+01:00" */
const char *time_text(int64_t real_us, char buffer[static UNITS_TEXT_MAX]);
