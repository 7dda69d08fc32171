/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/units.h"

#include "common/util.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

/* A number with its unit, the units by table; longest names first where one begins another. */
struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit duration_units[] = {
	{"usec", 1},
	{"us", 1},
	{"msec", US_PER_MS},
	{"ms", US_PER_MS},
	{"min", 60 * US_PER_SEC},
	{"m", 60 * US_PER_SEC},
	{"sec", US_PER_SEC},
	{"s", US_PER_SEC},
	{"hr", 3600 * US_PER_SEC},
	{"h", 3600 * US_PER_SEC},
	{"d", 86400 * US_PER_SEC},
	{"w", 7 * 86400 * US_PER_SEC},
	{NULL, 0},
};

static const struct unit size_units[] = {
	{"KiB", 1LL << 10}, {"K", 1LL << 10},   {"k", 1LL << 10}, {"MiB", 1LL << 20},
	{"M", 1LL << 20},   {"GiB", 1LL << 30}, {"G", 1LL << 30}, {"TiB", 1LL << 40},
	{"T", 1LL << 40},   {"B", 1},           {NULL, 0},
};

/* Digits with at most one point, times ten to the power of *ret_decimals. */
static int read_decimal(const char **at, int64_t *ret_digits, int64_t *ret_scale)
{
	int64_t digits = 0, scale = 1;
	bool has_point = false, has_digit = false;

	for (; isdigit((unsigned char)**at) || (**at == '.' && !has_point); (*at)++) {
		if (**at == '.') {
			has_point = true;
			continue;
		}
		has_digit = true;
		if (has_point && scale >= 1000000)
			continue; /* below what any unit here resolves */
		if (__builtin_mul_overflow(digits, 10, &digits) ||
		    __builtin_add_overflow(digits, **at - '0', &digits))
			return -ERANGE;
		if (has_point)
			scale *= 10;
	}
	if (!has_digit)
		return -EINVAL;
	*ret_digits = digits;
	*ret_scale = scale;
	return 0;
}

static const struct unit *read_unit(const char **at, const struct unit *units)
{
	for (const struct unit *unit = units; unit->name; unit++) {
		size_t size = strlen(unit->name);

		/* A unit ends where the next number begins, or the text. */
		if (strncmp(*at, unit->name, size) == 0 && !isalpha((unsigned char)(*at)[size])) {
			*at += size;
			return unit;
		}
	}
	return NULL;
}

/* One "1.5M" or several "1h30min", without a unit times `plain`. */
static int parse_quantity(const char *text, const struct unit *units, int64_t plain,
			  bool is_repeated, int64_t *ret_value)
{
	const char *at = text;
	int64_t sum = 0;

	do {
		const struct unit *unit;
		int64_t digits, scale, value;
		int r = read_decimal(&at, &digits, &scale);

		if (r < 0)
			return r;
		unit = read_unit(&at, units);
		if (!unit && (*at != '\0' || sum != 0))
			return -EINVAL;
		if (__builtin_mul_overflow(digits, unit ? unit->factor : plain, &value) ||
		    __builtin_add_overflow(sum, value / scale, &sum))
			return -ERANGE;
	} while (is_repeated && *at != '\0');
	if (*at != '\0')
		return -EINVAL;
	*ret_value = sum;
	return 0;
}

int duration_parse(const char *text, int64_t *ret_us)
{
	return parse_quantity(text, duration_units, US_PER_SEC, true, ret_us);
}

int size_parse(const char *text, int64_t *ret_bytes)
{
	return parse_quantity(text, size_units, 1, false, ret_bytes);
}

int number_parse(const char *text, int64_t min, int64_t max, int64_t *ret_value)
{
	const char *digits = text[0] == '-' ? text + 1 : text;
	char *end;
	long long value;

	if (!isdigit((unsigned char)digits[0]))
		return -EINVAL;
	errno = 0;
	value = strtoll(text, &end, 10);
	if (*end != '\0')
		return -EINVAL;
	if (errno == ERANGE || value < min || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int percent_parse(const char *text, int *ret_percent)
{
	size_t size = strlen(text);
	char digits[8];
	int64_t value;
	int r;

	if (size < 2 || size > sizeof(digits) || text[size - 1] != '%')
		return -EINVAL;
	memcpy(digits, text, size - 1);
	digits[size - 1] = '\0';
	r = number_parse(digits, 0, 100, &value);
	if (r < 0)
		return r;
	*ret_percent = (int)value;
	return 0;
}

int share_parse(const char *text, int64_t min, struct share *ret_share)
{
	struct share share = {0};
	int percent = 0;

	share.is_percent = percent_parse(text, &percent) == 0;
	share.number = percent;
	if ((!share.is_percent && number_parse(text, 0, UINT32_MAX, &share.number) < 0) ||
	    share.number < min)
		return -EINVAL;
	*ret_share = share;
	return 0;
}

uint64_t share_of(const struct share *share, uint64_t count)
{
	uint64_t number = (uint64_t)share->number;

	return share->is_percent ? count / 100 * number + count % 100 * number / 100 : number;
}

/* " 14:05[:06]", or nothing: 00:00. */
static bool parse_hour(const char *text, struct tm *tm)
{
	static const char *const forms[] = {"", " %H:%M:%S", " %H:%M"};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const char *end;

		tm->tm_hour = tm->tm_min = tm->tm_sec = 0;
		end = strptime(text, forms[i], tm);
		if (end && *end == '\0')
			return true;
	}
	return false;
}

/* "today", "tomorrow 06:00": the days of systemd.time(7). */
static bool parse_day(const char *text, time_t now, int64_t *ret_real_us)
{
	static const char *const days[] = {"yesterday", "today", "tomorrow"};
	struct tm tm;

	(void)localtime_r(&now, &tm);
	for (int i = 0; i < (int)ARRAY_SIZE(days); i++) {
		size_t size = strlen(days[i]);

		if (strncmp(text, days[i], size) != 0 || !parse_hour(text + size, &tm))
			continue;
		tm.tm_mday += i - 1;
		tm.tm_isdst = -1;
		*ret_real_us = mktime(&tm) * US_PER_SEC;
		return true;
	}
	return false;
}

int time_parse(const char *text, int64_t now_us, int64_t *ret_real_us)
{
	static const char *const forms[] = {
		"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M",      "%Y-%m-%d",         "%Y-%m-%dT%H:%M:%S",
		"%Y-%m-%dT%H:%M",    "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M%z", "%H:%M"};
	time_t now = (time_t)(now_us / US_PER_SEC);
	int64_t value;

	if (text[0] == '@') {
		int r = number_parse(text + 1, 0, INT64_MAX / US_PER_SEC, &value);

		if (r == 0)
			*ret_real_us = value * US_PER_SEC;
		return r;
	}
	if (duration_parse(text, &value) == 0 && !isdigit((unsigned char)text[strlen(text) - 1])) {
		*ret_real_us = now_us - value;
		return 0;
	}
	if (parse_day(text, now, ret_real_us))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct tm tm = {0};
		const char *end;
		time_t seconds;

		if (streq(forms[i], "%H:%M"))
			(void)localtime_r(&now, &tm);
		tm.tm_sec = 0;
		end = strptime(text, forms[i], &tm);
		if (!end || *end != '\0')
			continue;
		if (strstr(forms[i], "%z")) {
			int64_t east = tm.tm_gmtoff; /* timegm() clears it */

			seconds = timegm(&tm) - east;
		} else {
			tm.tm_isdst = -1;
			seconds = mktime(&tm);
		}
		if (seconds == (time_t)-1)
			return -ERANGE;
		*ret_real_us = seconds * US_PER_SEC;
		return 0;
	}
	return -EINVAL;
}

/* "14:05", of which there is one each day. */
static bool is_time_of_day(const char *text)
{
	struct tm tm;
	const char *end = strptime(text, "%H:%M", &tm);

	return end && *end == '\0';
}

int time_parse_ahead(const char *text, int64_t now_us, int64_t *ret_real_us)
{
	const char *ahead = text[0] == '+'                 ? text + 1
			    : strncmp(text, "in ", 3) == 0 ? text + 3
							   : NULL;
	int64_t value;
	int r;

	if (ahead) {
		r = duration_parse(ahead, &value);
		if (r == 0 && __builtin_add_overflow(now_us, value, &value))
			r = -ERANGE;
		if (r == 0)
			*ret_real_us = value;
		return r;
	}
	if (duration_parse(text, &value) == 0)
		return -EINVAL; /* from now, or ago? */
	r = time_parse(text, now_us, &value);
	if (r < 0)
		return r;
	if (value <= now_us && is_time_of_day(text)) {
		time_t seconds = (time_t)(value / US_PER_SEC);
		struct tm tm;

		(void)localtime_r(&seconds, &tm);
		tm.tm_mday++;
		tm.tm_isdst = -1;
		value = mktime(&tm) * US_PER_SEC;
	}
	if (value <= now_us)
		return -ERANGE;
	*ret_real_us = value;
	return 0;
}

/* --- For people --- */

const char *duration_text(int64_t us, char buffer[static UNITS_TEXT_MAX])
{
	static const struct {
		int64_t us;
		const char *name;
	} large[] = {{86400 * US_PER_SEC, "d"},
		     {3600 * US_PER_SEC, "h"},
		     {60 * US_PER_SEC, "min"},
		     {US_PER_SEC, "s"}};

	if (us < US_PER_MS)
		(void)snprintf(buffer, UNITS_TEXT_MAX, "%lld us", (long long)us);
	else if (us < US_PER_SEC)
		(void)snprintf(buffer, UNITS_TEXT_MAX, "%.1f ms", (double)us / 1e3);
	else if (us < 10 * US_PER_SEC)
		(void)snprintf(buffer, UNITS_TEXT_MAX, "%.1f s", (double)us / 1e6);
	else
		for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
			int64_t rest;

			if (us < large[i].us)
				continue;
			/* The largest unit, and what is left in the next. */
			rest = i + 1 < ARRAY_SIZE(large) ? us % large[i].us / large[i + 1].us : 0;
			if (rest == 0)
				(void)snprintf(buffer, UNITS_TEXT_MAX, "%lld %s",
					       (long long)(us / large[i].us), large[i].name);
			else
				(void)snprintf(buffer, UNITS_TEXT_MAX, "%lld %s %lld %s",
					       (long long)(us / large[i].us), large[i].name,
					       (long long)rest, large[i + 1].name);
			break;
		}
	return buffer;
}

const char *size_text(int64_t bytes, char buffer[static UNITS_TEXT_MAX])
{
	static const char *const names[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		(void)snprintf(buffer, UNITS_TEXT_MAX, "%lld B", (long long)bytes);
		return buffer;
	}
	for (; value >= 1024 && i + 1 < ARRAY_SIZE(names); i++)
		value /= 1024;
	(void)snprintf(buffer, UNITS_TEXT_MAX, "%.1f %s", value, names[i]);
	return buffer;
}

const char *ago_text(int64_t real_us, int64_t now_us, char buffer[static UNITS_TEXT_MAX])
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	int64_t seconds = (now_us - real_us) / US_PER_SEC;

	(void)snprintf(buffer, UNITS_TEXT_MAX, "just now");
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (seconds >= units[i].seconds) {
			(void)snprintf(buffer, UNITS_TEXT_MAX, "%lld %s ago",
				       (long long)(seconds / units[i].seconds), units[i].name);
			break;
		}
	return buffer;
}

const char *time_text(int64_t real_us, char buffer[static UNITS_TEXT_MAX])
{
	time_t seconds = (time_t)(real_us / US_PER_SEC);
	char date[24], zone[8];
	struct tm tm;

	(void)localtime_r(&seconds, &tm);
	(void)strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)strftime(zone, sizeof(zone), "%z", &tm);
	/* strftime has +0100, ISO 8601's extended form +01:00. */
	(void)snprintf(buffer, UNITS_TEXT_MAX, "%s.%06lld%.3s:%s", date,
		       (long long)(real_us % US_PER_SEC), zone, zone + 3);
	return buffer;
}
