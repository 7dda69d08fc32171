/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A specification is six sets, one for each part of a date and time, the weekdays, and a zone. A
 * set is a list of ranges with steps; the next elapse is found part by part from the year down:
 * where a part has no value left, the one above goes on by one and all below begin anew.
 *
 * The date is settled (mktime(3)) after each step, as systemd does it and with all that follows
 * from it: what an hour that is left out becomes, and which of two it is.
 */
#include "common/calendar.h"

#include "common/util.h"
#include "common/zone.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

enum part { YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, PARTS };
enum {
	RANGES_MAX = 240, /* of one part */
	STEPS_MAX = 1000, /* of a search; further on nothing is looked for */
	YEAR_MAX = 2199,
	SECOND_US = 1000000,
	LEFT_OUT_MAX = 24 * 60, /* minutes that clocks may leave out at once: Apia lost a day */
	EVERY_DAY = 127,
	OPEN = -1, /* a range without an end */
};

/* Seconds are counted in microseconds. */
static const struct {
	const char *name;
	int first, last;
} parts[PARTS] = {
	[YEAR] = {"year", 1970, YEAR_MAX},
	[MONTH] = {"month", 1, 12},
	[DAY] = {"day", 1, 31},
	[HOUR] = {"hour", 0, 23},
	[MINUTE] = {"minute", 0, 59},
	[SECOND] = {"second", 0, 60 * SECOND_US - 1},
};

struct range {
	int start, stop, step; /* step 0: start alone */
};

/* No range at all: any value. */
struct set {
	struct range *ranges;
	size_t count;
};

struct calendar {
	struct set sets[PARTS];
	unsigned weekdays;    /* bits, Monday is the first; 0: any */
	bool is_from_the_end; /* days count from the month's last, which is 1 */
	struct zone *zone;
};

/* --- Parsing: functions return NULL, or what is wrong; at moves over what was taken --- */

typedef const char *fault;

/* A number; of seconds in microseconds, with a fraction that is rounded to them. */
static fault take_number(const char **at, enum part part, int *ret_number)
{
	int64_t number = 0;

	if (!isdigit((unsigned char)**at))
		return "a number is missing";
	for (; isdigit((unsigned char)**at); (*at)++)
		if (number <= INT_MAX)
			number = number * 10 + (**at - '0');
	if (part == SECOND && number <= INT_MAX)
		number *= SECOND_US;
	if (part == SECOND && (*at)[0] == '.' && (*at)[1] != '.') {
		(*at)++;
		if (!isdigit((unsigned char)**at))
			return "a fraction is missing";
		for (int unit = SECOND_US / 10; isdigit((unsigned char)**at); (*at)++) {
			number += unit > 0 ? unit * (**at - '0') : 0;
			if (unit == 1 && (*at)[1] >= '5' && (*at)[1] <= '9')
				number++;
			unit /= 10;
		}
	}
	if (number > INT_MAX)
		return "a number is too large";
	*ret_number = (int)number;
	return NULL;
}

static fault take_range(const char **at, enum part part, struct range *range)
{
	int unit = part == SECOND ? SECOND_US : 1;
	fault wrong = take_number(at, part, &range->start);

	range->stop = OPEN;
	range->step = 0;
	if (!wrong && (*at)[0] == '.' && (*at)[1] == '.') {
		*at += 2;
		wrong = take_number(at, part, &range->stop);
		range->step = unit;
	}
	if (wrong)
		return wrong;
	if (**at == '/') {
		(*at)++;
		wrong = take_number(at, part, &range->step);
		if (!wrong && range->step == 0)
			wrong = "a step of 0 leads nowhere";
	} else if (part == SECOND && range->stop != OPEN &&
		   (int64_t)range->start + range->step > range->stop) {
		wrong = "a range of seconds is empty";
	}
	if (!wrong && **at != '\0' && !strchr(" ,-~:", **at))
		wrong = "what follows a number is neither '/', '..', ',', nor the next part";
	return wrong;
}

/* "*", or ranges with commas between them. */
static fault take_set(const char **at, enum part part, struct set *set)
{
	*set = (struct set){NULL, 0};
	if (**at == '*') {
		(*at)++;
		if (part == SECOND) {
			set->ranges = xgrow(NULL, 0, sizeof(*set->ranges));
			set->ranges[set->count++] = (struct range){0, OPEN, SECOND_US};
		}
		return NULL;
	}
	for (;;) {
		fault wrong;

		if (set->count > RANGES_MAX)
			return "a list is too long";
		set->ranges = xgrow(set->ranges, set->count, sizeof(*set->ranges));
		wrong = take_range(at, part, &set->ranges[set->count]);
		if (wrong)
			return wrong;
		set->count++;
		if (**at != ',')
			return NULL;
		(*at)++;
	}
}

/* Which day stands there, in full or as three letters: 0 for Monday; -1. */
static int take_weekday(const char **at)
{
	static const char *const names[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
					    "Friday", "Saturday", "Sunday"};

	for (int i = 0; i < (int)ARRAY_SIZE(names); i++) {
		const size_t sizes[] = {strlen(names[i]), 3};

		for (size_t n = 0; n < ARRAY_SIZE(sizes); n++)
			if (strncasecmp(*at, names[i], sizes[n]) == 0) {
				*at += sizes[n];
				return i;
			}
	}
	return -1;
}

static fault take_weekdays(const char **at, struct calendar *calendar)
{
	int from = -1; /* of an open range */

	for (bool is_first = true;; is_first = false) {
		int day = take_weekday(at);

		if (day < 0)
			return is_first ? NULL : "a weekday is missing (Mon, Tue, ...)";
		if (**at != '\0' && !strchr("-., ", **at))
			return "that is no weekday (Mon, Tue, ...)";
		if (from > day)
			return "the weekdays of a range are in the wrong order";
		for (int i = from < 0 ? day : from; i <= day; i++)
			calendar->weekdays |= 1U << i;
		if (**at == '.' || **at == '-') {
			if (from >= 0 || (**at == '.' && (*at)[1] != '.'))
				return "a range of weekdays is Mon..Fri";
			*at += **at == '.' ? 2 : 1;
			from = day;
		} else if (**at == ',') {
			(*at)++;
			from = -1;
		} else {
			from = -1;
		}
		if (**at == '\0' || **at == ' ') {
			*at += strspn(*at, " ");
			return from < 0 ? NULL : "a range of weekdays has no end";
		}
	}
}

/* '-' or, before a day that counts from the month's end, '~'. */
static fault take_dash(const char **at, struct calendar *calendar)
{
	if (**at == '~')
		calendar->is_from_the_end = true;
	else if (**at != '-')
		return "a date is YEAR-MONTH-DAY or MONTH-DAY, and a time HOUR:MINUTE";
	(*at)++;
	return NULL;
}

static bool is_end(char c)
{
	return c == '\0' || c == ' ';
}

static void move_set(struct set *to, struct set *from)
{
	*to = *from;
	*from = (struct set){NULL, 0};
}

/* "2026-*-1", "*-1", "12~3"; nothing is taken where a time stands there instead. */
static fault take_date(const char **at, struct calendar *calendar)
{
	struct set taken[3] = {{NULL, 0}};
	const char *start = *at;
	size_t count = 0;
	fault wrong = NULL;

	while (!wrong && count < 3) {
		wrong = take_set(at, (enum part)(YEAR + count), &taken[count]);
		count++;
		if (wrong || (count > 1 && is_end(**at)))
			break;
		if (count == 1 && (**at == '\0' || **at == ':')) {
			*at = start;
			break;
		}
		if (count == 2 && calendar->is_from_the_end)
			wrong = "the day that counts from the end is a date's last part";
		else if (count < 3)
			wrong = take_dash(at, calendar);
		else
			wrong = "a date has no more than three parts";
	}
	if (!wrong && *at != start) {
		for (size_t i = 0; i < count; i++)
			move_set(&calendar->sets[YEAR + i + 3 - count], &taken[i]);
		*at += strspn(*at, " ");
	}
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		free(taken[i].ranges);
	return wrong;
}

/* A part that has this value alone. */
static void set_value(struct set *set, int value)
{
	set->ranges = xgrow(set->ranges, set->count, sizeof(*set->ranges));
	set->ranges[set->count++] = (struct range){value, OPEN, 0};
}

/* "6:00", "*:0/5:30"; without any it is midnight. */
static fault take_time(const char **at, struct calendar *calendar)
{
	fault wrong;

	if (**at == '\0') {
		for (enum part part = HOUR; part < PARTS; part++)
			set_value(&calendar->sets[part], 0);
		return NULL;
	}
	for (enum part part = HOUR; part < PARTS; part++) {
		wrong = take_set(at, part, &calendar->sets[part]);
		if (wrong)
			return wrong;
		if (part == MINUTE && **at == '\0') {
			set_value(&calendar->sets[SECOND], 0);
			return NULL;
		}
		if (part < SECOND && **at != ':')
			return "a time is HOUR:MINUTE or HOUR:MINUTE:SECOND";
		(*at) += part < SECOND;
	}
	return **at == '\0' ? NULL : "something is left over behind the time";
}

/* "@1700000000", whatever the zone. */
static fault take_timestamp(const char *text, struct calendar *calendar)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);
	time_t time = (time_t)value;
	struct tm tm;

	if (!isdigit((unsigned char)text[strspn(text, " ")]) || *end != '\0' ||
	    value > UINT32_MAX * 2ULL)
		return "behind '@' stand seconds since 1970";
	(void)gmtime_r(&time, &tm);
	set_value(&calendar->sets[YEAR], tm.tm_year + 1900);
	set_value(&calendar->sets[MONTH], tm.tm_mon + 1);
	set_value(&calendar->sets[DAY], tm.tm_mday);
	set_value(&calendar->sets[HOUR], tm.tm_hour);
	set_value(&calendar->sets[MINUTE], tm.tm_min);
	set_value(&calendar->sets[SECOND], tm.tm_sec * SECOND_US);
	zone_free(calendar->zone);
	(void)zone_load("UTC", &calendar->zone);
	return NULL;
}

/* A word that stands for a specification, or NULL. */
static const char *long_form(const char *text)
{
	static const struct {
		const char *word, *form;
	} words[] = {
		{"minutely", "*:*"},       {"hourly", "*:0"},          {"daily", "0:0"},
		{"weekly", "Mon"},         {"monthly", "*-1"},         {"quarterly", "1,4,7,10-1"},
		{"semiannually", "1,7-1"}, {"semi-annually", "1,7-1"}, {"biannually", "1,7-1"},
		{"bi-annually", "1,7-1"},  {"yearly", "1-1"},          {"annually", "1-1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(text, words[i].word) == 0)
			return words[i].form;
	return NULL;
}

/* "70" is 1970, "12" is 2012. */
static void fix_year(int *year)
{
	if (*year >= 0 && *year < 100)
		*year += *year < 70 ? 2000 : 1900;
}

static bool is_range_fine(const struct range *range, enum part part, bool is_from_the_end)
{
	/* Each month has so many days, counted from its end. */
	int first = parts[part].first, last = parts[part].last - (is_from_the_end ? 3 : 0);

	if (range->start < first || range->start > last || range->step > last - first)
		return false;
	if (range->stop != OPEN)
		return range->stop >= first && range->stop <= last &&
		       range->start + range->step <= range->stop;
	return is_from_the_end ? range->start - range->step >= first
			       : range->start + range->step <= last;
}

/* Years in full, and each range within its bounds. */
static fault check_sets(struct calendar *calendar, char sentence[static 64])
{
	for (enum part part = YEAR; part < PARTS; part++) {
		bool is_from_the_end = part == DAY && calendar->is_from_the_end;

		for (size_t i = 0; i < calendar->sets[part].count; i++) {
			struct range *range = &calendar->sets[part].ranges[i];

			if (part == YEAR) {
				fix_year(&range->start);
				fix_year(&range->stop);
			}
			if (range->stop > range->start && range->step > 0)
				range->stop -= (range->stop - range->start) % range->step;
			if (range->stop == range->start)
				*range = (struct range){range->start, OPEN, 0};
			if (is_range_fine(range, part, is_from_the_end))
				continue;
			(void)snprintf(sentence, 64,
				       "the %s, its range or its step is out of bounds",
				       parts[part].name);
			return sentence;
		}
	}
	return NULL;
}

static fault parse_text(const char *text, struct calendar *calendar, char sentence[static 64])
{
	const char *at = text;
	fault wrong;

	if (*at == '\0')
		return "it is empty";
	if (long_form(text))
		at = long_form(text);
	wrong = take_weekdays(&at, calendar);
	if (!wrong && *at == '@')
		wrong = take_timestamp(at + 1, calendar);
	else {
		if (!wrong && *at != '\0')
			wrong = take_date(&at, calendar);
		if (!wrong)
			wrong = take_time(&at, calendar);
	}
	if (calendar->weekdays == EVERY_DAY)
		calendar->weekdays = 0;
	if (calendar->sets[DAY].count == 0)
		calendar->is_from_the_end = false;
	return wrong ? wrong : check_sets(calendar, sentence);
}

/* The zone at the end of the text, which is cut off; the local one where there is none. */
static int take_zone(char *text, struct zone **ret_zone)
{
	char *blank = strrchr(text, ' ');
	int r = -ENOENT;

	if (blank)
		r = zone_load(strcasecmp(blank + 1, "UTC") == 0 ? "UTC" : blank + 1, ret_zone);
	if (r == 0)
		*blank = '\0';
	return r == -ENOENT ? zone_load(NULL, ret_zone) : r;
}

int calendar_parse(const char *text, struct calendar **ret_calendar, struct error *ret_error)
{
	struct calendar *calendar = xcalloc(1, sizeof(*calendar));
	autofree char *copy = xstrdup(text);
	char sentence[64], *blank;
	fault wrong = NULL;
	int r = take_zone(copy, &calendar->zone);

	if (r == 0)
		wrong = parse_text(copy, calendar, sentence);
	/* The last word may be a zone that is none. */
	blank = strrchr(copy, ' ');
	if (wrong && blank && isalpha((unsigned char)blank[1]) && strchr(blank, '/'))
		wrong = "there is no such time zone";
	if (r == 0 && !wrong) {
		*ret_calendar = calendar;
		return 0;
	}
	calendar_free(calendar);
	if (wrong)
		return error_set(ret_error, ERROR_INVALID_OPTION, "onCalendar",
				 "'%.64s' is no calendar event: %s; see systemd.time(7)", text,
				 wrong);
	(void)error_set(ret_error, ERROR_INVALID_OPTION, "onCalendar",
			"the time zone of '%.64s' cannot be read (%s): try again", text,
			strerrordesc_np(-r));
	return -EAGAIN;
}

void calendar_free(struct calendar *calendar)
{
	if (!calendar)
		return;
	for (enum part part = YEAR; part < PARTS; part++)
		free(calendar->sets[part].ranges);
	zone_free(calendar->zone);
	free(calendar);
}

/* --- The next elapse --- */

/* A date and time by the zone's clocks; a part may be beyond its bounds until it is settled. */
struct moment {
	int values[PARTS];
	unsigned weekday; /* bit; once it is settled */
};

struct search {
	const struct calendar *calendar;
	int32_t guess; /* of the offset: that of the time before, as mktime(3) keeps it */
};

/* Seconds since the epoch, and what clocks then show. Fractions of seconds stay. */
static int64_t settle(struct search *search, const struct moment *moment,
		      struct moment *ret_settled)
{
	const int *values = moment->values;
	int second = values[SECOND] / SECOND_US;
	/* Seconds beyond a minute are added at last: so does glibc, because of leap seconds. */
	int whole = second < 59 ? second : 59;
	struct tm tm = {
		.tm_year = values[YEAR] - 1900,
		.tm_mon = values[MONTH] - 1,
		.tm_mday = values[DAY],
		.tm_hour = values[HOUR],
		.tm_min = values[MINUTE],
		.tm_sec = whole,
	};
	int64_t at = zone_instant(search->calendar->zone, timegm(&tm), &search->guess);
	time_t shown;

	at += second - whole;
	shown = at + zone_offset(search->calendar->zone, at, NULL);
	(void)gmtime_r(&shown, &tm);
	*ret_settled = (struct moment){
		.values = {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
			   tm.tm_sec * SECOND_US + values[SECOND] % SECOND_US},
		.weekday = 1U << (tm.tm_wday + 6) % 7,
	};
	return at;
}

/* Which day of the moment's month is its n-th from the end; OPEN where it has none. */
static int day_from_the_end(struct search *search, const struct moment *moment, int n)
{
	struct moment day = *moment;

	day.values[MONTH]++;
	day.values[DAY] = 1 - n;
	(void)settle(search, &day, &day);
	return day.values[MONTH] == moment->values[MONTH] ? day.values[DAY] : OPEN;
}

/* The smallest value of a range that is no less; INT_MAX where it has none. */
static int next_in_range(struct search *search, const struct moment *moment, enum part part,
			 const struct range *range)
{
	int start = range->start, stop = range->stop, value = moment->values[part];
	int64_t next;

	if (part == DAY && search->calendar->is_from_the_end) {
		start = day_from_the_end(search, moment, range->start);
		stop = day_from_the_end(search, moment, range->stop);
		if (stop > 0) {
			int other = start;

			start = stop;
			stop = other;
		}
	}
	if (start >= value)
		return start;
	if (range->step == 0)
		return INT_MAX;
	next = start + ((int64_t)value - start + range->step - 1) / range->step * range->step;
	return stop < 0 || next <= stop ? (int)next : INT_MAX;
}

/* The smallest value of a part's set that is no less: 1, 0 where it was one already, or -1. */
static int move_part(struct search *search, struct moment *moment, enum part part)
{
	const struct set *set = &search->calendar->sets[part];
	int least = INT_MAX;

	if (set->count == 0)
		return 0;
	for (size_t i = 0; i < set->count; i++) {
		int next = next_in_range(search, moment, part, &set->ranges[i]);

		least = next < least ? next : least;
	}
	if (least == INT_MAX)
		return -1;
	if (least == moment->values[part])
		return 0;
	moment->values[part] = least;
	return 1;
}

static void begin_below(struct moment *moment, enum part part)
{
	for (int below = (int)part + 1; below < PARTS; below++)
		moment->values[below] = parts[below].first;
}

/* Is there such a moment: 1; 0: no, but it becomes the later one that it means; -1: nothing. */
static int check_moment(struct search *search, struct moment *moment)
{
	struct moment settled;

	if (moment->values[YEAR] > YEAR_MAX)
		return -1;
	(void)settle(search, moment, &settled);
	for (enum part part = YEAR; part < PARTS; part++) {
		if (settled.values[part] < moment->values[part])
			return -1;
		if (settled.values[part] == moment->values[part])
			continue;
		/* The next part down may have gone too far; fractions have not. */
		if (part < MINUTE)
			settled.values[part + 1] = parts[part + 1].first;
		else if (part == MINUTE)
			settled.values[SECOND] %= SECOND_US;
		*moment = settled;
		return 0;
	}
	return 1;
}

/* A part above goes on by one: that of a part without any value left. */
static void go_on(struct moment *moment, enum part part)
{
	moment->values[part]++;
	begin_below(moment, part);
}

/*
 * One pass from the year down: 1: this is it; 0: once more, from the moment as it is now; -1: there
 * is none.
 */
static int pass(struct search *search, struct moment *moment)
{
	for (enum part part = YEAR; part < PARTS; part++) {
		int r = move_part(search, moment, part);

		if (r > 0)
			begin_below(moment, part);
		if (r >= 0)
			r = check_moment(search, moment);
		if (r <= 0 && part == YEAR)
			return -1;
		if (r < 0)
			go_on(moment, part - 1);
		if (r <= 0)
			return 0;
		if (part == DAY && search->calendar->weekdays != 0) {
			struct moment settled;

			(void)settle(search, moment, &settled);
			if (!(settled.weekday & search->calendar->weekdays)) {
				go_on(moment, DAY);
				return 0;
			}
		}
	}
	return 1;
}

/* The first elapse at this time or later; 0: none. */
static int64_t search_from(const struct calendar *calendar, int64_t from_us)
{
	int64_t at = from_us / SECOND_US;
	struct search search = {calendar, zone_offset(calendar->zone, at, NULL)};
	time_t shown = at + search.guess;
	struct moment moment;
	struct tm tm;
	int r = 0;

	(void)gmtime_r(&shown, &tm);
	moment = (struct moment){.values = {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
					    tm.tm_hour, tm.tm_min,
					    tm.tm_sec * SECOND_US + (int)(from_us % SECOND_US)}};
	for (int i = 0; r == 0 && i < STEPS_MAX; i++) {
		(void)settle(&search, &moment, &moment);
		r = pass(&search, &moment);
	}
	if (r <= 0)
		return 0;
	at = settle(&search, &moment, &moment);
	return at * SECOND_US + moment.values[SECOND] % SECOND_US;
}

int64_t calendar_next(const struct calendar *calendar, int64_t after_us)
{
	int64_t next_us = search_from(calendar, after_us + 1);

	/* Where an hour is left out mktime(3) may go back before it: begin behind that hour. */
	for (int minutes = 1; next_us != 0 && next_us <= after_us && minutes <= LEFT_OUT_MAX;
	     minutes++)
		next_us = search_from(calendar, after_us + minutes * (60LL * SECOND_US));
	return next_us > after_us ? next_us : 0;
}

int calendar_check(const char *text, int64_t after_us, struct error *ret_error)
{
	struct calendar *calendar;
	int r = calendar_parse(text, &calendar, ret_error);

	if (r < 0)
		return r;
	if (calendar_next(calendar, after_us) == 0)
		r = error_set(ret_error, ERROR_INVALID_OPTION, "onCalendar",
			      "'%.64s' never comes: see it in systemd-analyze calendar", text);
	calendar_free(calendar);
	return r;
}
