/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/zone.h"

#include "common/util.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ZONES_FOLDER "/usr/share/zoneinfo"
enum {
	NAME_BYTES_MAX = 128,
	FILE_BYTES_MAX = 1 << 20, /* the largest of tzdata has some 4 KiB */
	HEADER_BYTES = 44,
	DAY_SECONDS = 86400,
	PROBES = 6,
};

/* When a rule's change is, in each year (POSIX, TZ). */
struct change_rule {
	enum { RULE_WEEKDAY, RULE_JULIAN, RULE_DAY } type;
	int month, week, day;
	int32_t seconds; /* of the day, by the clocks before the change */
};

struct zone {
	size_t count;
	int64_t *times;         /* of the changes, ascending */
	unsigned char *indexes; /* of the types from then on */
	struct zone_type {
		int32_t offset;
		bool is_dst;
	} types[256];
	/* After the last change */
	bool has_footer, has_dst;
	struct zone_type standard, summer;
	struct change_rule begin, end; /* of summer time */
};

/* --- The rule for later years: "CET-1CEST,M3.5.0,M10.5.0/3" --- */

static bool take_char(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static bool take_number(const char **at, int max, int *ret_number)
{
	int number = 0;

	if (!isdigit((unsigned char)**at))
		return false;
	while (isdigit((unsigned char)**at) && number <= max)
		number = 10 * number + *(*at)++ - '0';
	*ret_number = number;
	return number <= max;
}

/* A zone's short name, which nobody here wants to know. */
static bool take_name(const char **at)
{
	const char *start = *at;

	if (take_char(at, '<')) {
		*at += strcspn(*at, ">");
		return take_char(at, '>');
	}
	while (isalpha((unsigned char)**at))
		(*at)++;
	return *at - start >= 3;
}

/* "-1", "10:30", "+2:00:00" */
static bool take_time(const char **at, int32_t *ret_seconds)
{
	int sign = 1, hours, minutes = 0, seconds = 0;

	if (take_char(at, '-'))
		sign = -1;
	else
		(void)take_char(at, '+');
	if (!take_number(at, 167, &hours) ||
	    (take_char(at, ':') && (!take_number(at, 59, &minutes) ||
				    (take_char(at, ':') && !take_number(at, 59, &seconds)))))
		return false;
	*ret_seconds = sign * (hours * 3600 + minutes * 60 + seconds);
	return true;
}

static bool take_rule(const char **at, struct change_rule *rule)
{
	bool is_taken;

	rule->seconds = 2 * 3600;
	if (!take_char(at, ','))
		return false;
	if (take_char(at, 'M')) {
		rule->type = RULE_WEEKDAY;
		is_taken = take_number(at, 12, &rule->month) && rule->month >= 1 &&
			   take_char(at, '.') && take_number(at, 5, &rule->week) &&
			   rule->week >= 1 && take_char(at, '.') && take_number(at, 6, &rule->day);
	} else {
		rule->type = take_char(at, 'J') ? RULE_JULIAN : RULE_DAY;
		is_taken = take_number(at, 365, &rule->day);
	}
	return is_taken && (!take_char(at, '/') || take_time(at, &rule->seconds));
}

/* A whole TZ string; false: it is none, or names no zone by itself. */
static bool take_footer(struct zone *zone, const char *text)
{
	int32_t west;

	if (!take_name(&text) || !take_time(&text, &west))
		return false;
	zone->standard = (struct zone_type){.offset = -west};
	zone->summer = (struct zone_type){.offset = -west + 3600, .is_dst = true};
	zone->has_footer = true;
	if (*text == '\0')
		return true;
	zone->has_footer = zone->has_dst = take_name(&text);
	if (zone->has_dst && *text && *text != ',') {
		zone->has_footer = take_time(&text, &west);
		zone->summer.offset = -west;
	}
	zone->has_footer = zone->has_footer && take_rule(&text, &zone->begin) &&
			   take_rule(&text, &zone->end) && *text == '\0';
	return zone->has_footer;
}

static int64_t days_before(int year, int month, int day)
{
	struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};

	return timegm(&tm) / DAY_SECONDS;
}

/* The time of a change in a year, by clocks that are so far east. */
static int64_t change_time(const struct change_rule *rule, int year, int32_t offset)
{
	int64_t day;

	if (rule->type == RULE_WEEKDAY) {
		int64_t first = days_before(year, rule->month, 1);
		int64_t next_month = days_before(year, rule->month + 1, 1);
		int64_t weekday = (first + 4) % 7; /* 1970 began with a Thursday */

		if (weekday < 0)
			weekday += 7;
		day = first + (rule->day - weekday + 7) % 7 + (rule->week - 1) * 7;
		if (day >= next_month)
			day -= 7;
	} else {
		day = days_before(year, 1, 1) + rule->day;
		/* J counts from 1, and never the 29th of February. */
		if (rule->type == RULE_JULIAN &&
		    (rule->day < 60 || days_before(year, 3, 1) == days_before(year, 2, 29)))
			day--;
	}
	return day * DAY_SECONDS + rule->seconds - offset;
}

static const struct zone_type *footer_type(const struct zone *zone, int64_t at)
{
	time_t time = at;
	int64_t begin, end;
	struct tm tm;
	int year;

	if (!zone->has_dst)
		return &zone->standard;
	(void)gmtime_r(&time, &tm);
	year = tm.tm_year + 1900;
	begin = change_time(&zone->begin, year, zone->standard.offset);
	end = change_time(&zone->end, year, zone->summer.offset);
	/* South of the equator summer goes over the new year. */
	if (begin > end ? at < end || at >= begin : at >= begin && at < end)
		return &zone->summer;
	return &zone->standard;
}

/* --- The file (RFC 8536) --- */

/* What a file holds, read with care for its end. */
struct reading {
	const unsigned char *at, *end;
};

static const unsigned char *take_bytes(struct reading *reading, uint64_t size)
{
	const unsigned char *bytes = reading->at;

	if ((uint64_t)(reading->end - reading->at) < size)
		return NULL;
	reading->at += size;
	return bytes;
}

static uint32_t number_32(const unsigned char *bytes)
{
	uint32_t number;

	memcpy(&number, bytes, sizeof(number));
	return be32toh(number);
}

static int64_t number_64(const unsigned char *bytes)
{
	uint64_t number;

	memcpy(&number, bytes, sizeof(number));
	return (int64_t)be64toh(number);
}

enum count { COUNT_ISUT, COUNT_ISSTD, COUNT_LEAP, COUNT_TIME, COUNT_TYPE, COUNT_CHAR, COUNTS };

static bool take_header(struct reading *reading, uint64_t counts[static COUNTS])
{
	const unsigned char *header = take_bytes(reading, HEADER_BYTES);

	/* Version 1 has no times of 64 bits; nobody writes it any more. */
	if (!header || memcmp(header, "TZif", 4) != 0 || header[4] < '2')
		return false;
	for (size_t i = 0; i < COUNTS; i++)
		counts[i] = number_32(header + 20 + 4 * i);
	return true;
}

static bool take_types(struct reading *reading, uint64_t count, struct zone *zone)
{
	const unsigned char *types = take_bytes(reading, 6 * count);

	if (!types || count == 0 || count > ARRAY_SIZE(zone->types))
		return false;
	for (size_t i = 0; i < count; i++, types += 6) {
		zone->types[i].offset = (int32_t)number_32(types);
		zone->types[i].is_dst = types[4] != 0;
	}
	return true;
}

static bool take_changes(struct reading *reading, const uint64_t counts[static COUNTS],
			 struct zone *zone)
{
	size_t count = (size_t)counts[COUNT_TIME];
	const unsigned char *times = take_bytes(reading, 8 * counts[COUNT_TIME]);
	const unsigned char *indexes = take_bytes(reading, counts[COUNT_TIME]);

	if (!times || !indexes || !take_types(reading, counts[COUNT_TYPE], zone))
		return false;
	zone->count = count;
	zone->times = xcalloc(count, sizeof(*zone->times));
	zone->indexes = xcalloc(count, sizeof(*zone->indexes));
	for (size_t i = 0; i < count; i++) {
		zone->times[i] = number_64(times + 8 * i);
		zone->indexes[i] = indexes[i];
		if (indexes[i] >= counts[COUNT_TYPE])
			return false;
	}
	return true;
}

/* The numbers of 32 bits are passed over, those of 64 taken, then the rule in a line of its own. */
static bool take_file(struct zone *zone, const unsigned char *bytes, size_t size)
{
	struct reading reading = {bytes, bytes + size};
	uint64_t counts[COUNTS];
	const char *end;

	if (!take_header(&reading, counts) ||
	    !take_bytes(&reading, 5 * counts[COUNT_TIME] + 6 * counts[COUNT_TYPE] +
					  counts[COUNT_CHAR] + 8 * counts[COUNT_LEAP] +
					  counts[COUNT_ISSTD] + counts[COUNT_ISUT]) ||
	    !take_header(&reading, counts) || !take_changes(&reading, counts, zone) ||
	    !take_bytes(&reading, counts[COUNT_CHAR] + 12 * counts[COUNT_LEAP] +
					  counts[COUNT_ISSTD] + counts[COUNT_ISUT] + 1))
		return false;
	end = memchr(reading.at, '\n', (size_t)(reading.end - reading.at));
	if (!end)
		return false;
	autofree char *footer =
		strndup((const char *)reading.at, (size_t)(end - (const char *)reading.at));
	return *footer == '\0' || take_footer(zone, footer);
}

/* A shortage passes, and a disk may. */
static int failure(int number)
{
	return number == EMFILE || number == ENFILE || number == ENOMEM || number == EIO ? -number
											 : -ENOENT;
}

static int load_file(struct zone *zone, const char *path)
{
	autofree unsigned char *bytes = xmalloc(FILE_BYTES_MAX);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;
	ssize_t size;

	if (fd < 0 || fstat(fd, &status) < 0)
		return failure(errno);
	if (!S_ISREG(status.st_mode) || status.st_size > FILE_BYTES_MAX)
		return -ENOENT;
	size = read(fd, bytes, FILE_BYTES_MAX);
	if (size < 0)
		return failure(errno);
	return size > 0 && take_file(zone, bytes, (size_t)size) ? 0 : -ENOENT;
}

/* --- Finding it --- */

static bool is_name(const char *name)
{
	bool is_part = false;

	if (strlen(name) > NAME_BYTES_MAX)
		return false;
	for (const char *at = name; *at; at++) {
		if (*at == '/' ? !is_part : !isalnum((unsigned char)*at) && !strchr("-_+", *at))
			return false;
		is_part = *at != '/';
	}
	return is_part;
}

static int load_named(struct zone *zone, const char *name)
{
	autofree char *path = xasprintf(ZONES_FOLDER "/%s", name);

	return is_name(name) ? load_file(zone, path) : -ENOENT;
}

/* By TZ: a file, a name, or a rule. */
static int load_variable(struct zone *zone, const char *text)
{
	int r;

	if (*text == ':')
		text++;
	if (*text == '/')
		return load_file(zone, text);
	r = *text ? load_named(zone, text) : -ENOENT;
	return r == -ENOENT && take_footer(zone, text) ? 0 : r;
}

static int load_local(struct zone *zone)
{
	const char *text = getenv("TZ");
	int r = text ? load_variable(zone, text) : load_file(zone, "/etc/localtime");

	if (r != -ENOENT)
		return r;
	free(zone->times); /* of a file that is broken further on */
	free(zone->indexes);
	*zone = (struct zone){.has_footer = true}; /* UTC */
	return 0;
}

int zone_load(const char *name, struct zone **ret_zone)
{
	struct zone *zone = xcalloc(1, sizeof(*zone));
	int r = 0;

	if (!name)
		r = load_local(zone);
	else if (streq(name, "UTC"))
		zone->has_footer = true;
	else
		r = load_named(zone, name);
	if (r < 0) {
		zone_free(zone);
		return r;
	}
	*ret_zone = zone;
	return 0;
}

void zone_free(struct zone *zone)
{
	if (!zone)
		return;
	free(zone->times);
	free(zone->indexes);
	free(zone);
}

/* --- Asking it --- */

static const struct zone_type *type_at(const struct zone *zone, int64_t at)
{
	size_t low = 0, high = zone->count;

	/* The first change that is later */
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (zone->times[middle] <= at)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == zone->count && zone->has_footer)
		return footer_type(zone, at);
	return &zone->types[low > 0 ? zone->indexes[low - 1] : 0];
}

int32_t zone_offset(const struct zone *zone, int64_t at, bool *ret_is_dst)
{
	const struct zone_type *type = type_at(zone, at);

	if (ret_is_dst)
		*ret_is_dst = type->is_dst;
	return type->offset;
}

int64_t zone_instant(const struct zone *zone, int64_t local, int32_t *guess)
{
	int64_t at = local - *guess, before = at, before_that = at;
	bool was_dst = false, is_dst;

	for (int i = 0; i < PROBES; i++) {
		int64_t shown = at + zone_offset(zone, at, &is_dst);

		/* It swings over an hour that is left out: of the two ends, summer's. */
		if (shown == local || (at == before_that && at != before && was_dst <= is_dst))
			break;
		before_that = before;
		before = at;
		was_dst = is_dst;
		at += local - shown;
	}
	*guess = (int32_t)(local - at);
	return at;
}
