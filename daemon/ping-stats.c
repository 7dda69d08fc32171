/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Classes of times: each power of two from 32 us up is cut into 16 equal ones, below that every
 * microsecond is its own. Such 16 are a row, which is there as soon as one of its times is.
 */
#include "daemon/ping-stats.h"

#include "common/util.h"

#include <assert.h>
#include <math.h>

enum {
	EXACT_MAX = 64,
	FINE_BITS = 4, /* classes of a power of two, as a power of two */
	FINE = 1 << FINE_BITS,
	TIME_BITS = 27, /* 134 s: no reply is waited for that long */
	ROWS = TIME_BITS - FINE_BITS + 1,
};

static unsigned bucket_of(int64_t us)
{
	uint64_t time = us < (INT64_C(1) << TIME_BITS) ? (uint64_t)us : (1U << TIME_BITS) - 1;
	unsigned shift = 0;

	if (time >= 2 * FINE)
		shift = 63 - (unsigned)__builtin_clzll(time) - FINE_BITS;
	return shift * FINE + (unsigned)(time >> shift);
}

/* The middle of a class. */
static int64_t time_of(unsigned bucket)
{
	unsigned shift = bucket < 2 * FINE ? 0 : bucket / FINE - 1;
	int64_t low = (int64_t)(bucket - shift * FINE) << shift;

	return low + ((INT64_C(1) << shift) - 1) / 2;
}

/* Where a row is in what is kept: behind those of smaller times. */
static size_t place_of(const struct ping_stats *stats, unsigned row)
{
	return (size_t)__builtin_popcount(stats->rows & ((UINT32_C(1) << row) - 1)) * FINE;
}

static void add_row(struct ping_stats *stats, unsigned row)
{
	size_t before = place_of(stats, row);
	size_t size = (size_t)__builtin_popcount(stats->rows) * FINE;
	uint32_t *kept = xrealloc(stats->kept, (size + FINE) * sizeof(*kept));

	memmove(kept + before + FINE, kept + before, (size - before) * sizeof(*kept));
	memset(kept + before, 0, FINE * sizeof(*kept));
	stats->kept = kept;
	stats->rows |= UINT32_C(1) << row;
}

/* The shares stay what they are. */
static void halve(struct ping_stats *stats)
{
	for (size_t i = 0; i < place_of(stats, ROWS); i++)
		stats->kept[i] /= 2;
}

static void count_in_bucket(struct ping_stats *stats, int64_t us)
{
	unsigned bucket = bucket_of(us), row = bucket / FINE;
	uint32_t *count;

	if (!(stats->rows >> row & 1))
		add_row(stats, row);
	count = &stats->kept[place_of(stats, row) + bucket % FINE];
	if (*count == UINT32_MAX)
		halve(stats);
	(*count)++;
}

static void fill_buckets(struct ping_stats *stats)
{
	autofree uint32_t *times = stats->kept;

	stats->kept = NULL;
	for (unsigned i = 0; i < EXACT_MAX; i++)
		count_in_bucket(stats, times[i]);
}

static void keep(struct ping_stats *stats, int64_t us)
{
	size_t count = (size_t)stats->count;

	if (count == EXACT_MAX)
		fill_buckets(stats);
	if (count >= EXACT_MAX) {
		count_in_bucket(stats, us);
	} else if (count > 0) {
		stats->kept = xgrow(stats->kept, count, sizeof(*stats->kept));
		if (count == 1)
			stats->kept[0] = (uint32_t)stats->last_us;
		stats->kept[count] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
	}
}

void ping_stats_add(struct ping_stats *stats, int64_t us)
{
	double difference = (double)us - stats->mean_us;

	assert(us >= 0);
	keep(stats, us);
	if (stats->count == 0 || us < stats->min_us)
		stats->min_us = us;
	if (us > stats->max_us)
		stats->max_us = us;
	if (stats->count > 0)
		stats->jitter_sum_us +=
			us > stats->last_us ? us - stats->last_us : stats->last_us - us;
	stats->count++;
	stats->sum_us += us;
	stats->last_us = us;
	stats->mean_us += difference / (double)stats->count;
	stats->squares += difference * ((double)us - stats->mean_us);
}

void ping_stats_done(struct ping_stats *stats)
{
	free(stats->kept);
	*stats = (struct ping_stats){0};
}

int64_t ping_stats_average_us(const struct ping_stats *stats)
{
	return stats->sum_us / stats->count;
}

int64_t ping_stats_stddev_us(const struct ping_stats *stats)
{
	return llround(sqrt(stats->squares / (double)stats->count));
}

int64_t ping_stats_jitter_us(const struct ping_stats *stats)
{
	assert(stats->count > 1);
	return stats->jitter_sum_us / (stats->count - 1);
}

static int compare_times(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static int64_t rank_of(int64_t count, unsigned percent)
{
	return (count * percent + 99) / 100; /* from 1 */
}

/* In which class this percentile is. */
static unsigned bucket_at(const struct ping_stats *stats, unsigned percent)
{
	uint32_t rows = stats->rows;
	const uint32_t *count = stats->kept;
	int64_t rank, total = 0, below = 0;

	for (size_t i = 0; i < place_of(stats, ROWS); i++)
		total += stats->kept[i];
	rank = rank_of(total, percent);
	for (; rows; rows &= rows - 1) {
		for (unsigned i = 0; i < FINE; i++) {
			below += *count++;
			if (below >= rank)
				return (unsigned)__builtin_ctz(rows) * FINE + i;
		}
	}
	abort(); /* some class has the last */
}

int64_t ping_stats_percentile_us(const struct ping_stats *stats, unsigned percent)
{
	uint32_t sorted[EXACT_MAX];

	assert(stats->count > 0 && percent >= 1 && percent <= 100);
	if (stats->rows != 0) {
		int64_t us = time_of(bucket_at(stats, percent));

		return us < stats->min_us ? stats->min_us : us > stats->max_us ? stats->max_us : us;
	}
	if (!stats->kept)
		return stats->last_us; /* the only one */
	memcpy(sorted, stats->kept, (size_t)stats->count * sizeof(*sorted));
	qsort(sorted, (size_t)stats->count, sizeof(*sorted), compare_times);
	return sorted[rank_of(stats->count, percent) - 1];
}
