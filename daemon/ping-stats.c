/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Classes of times: each power of two from 32 us up is cut into 16 equal ones, below that every
 * microsecond is its own.
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
	BUCKETS = (TIME_BITS - FINE_BITS + 1) * FINE,
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

static void keep(struct ping_stats *stats, int64_t us)
{
	if (stats->count == EXACT_MAX) {
		stats->buckets = xcalloc(BUCKETS, sizeof(*stats->buckets));
		for (unsigned i = 0; i < EXACT_MAX; i++)
			stats->buckets[bucket_of(stats->times[i])]++;
		free(stats->times);
		stats->times = NULL;
	}
	if (stats->buckets) {
		stats->buckets[bucket_of(us)]++;
	} else if (stats->count > 0) {
		if (!stats->times) {
			stats->times = xcalloc(EXACT_MAX, sizeof(*stats->times));
			stats->times[0] = (uint32_t)stats->last_us;
		}
		stats->times[stats->count] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
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
	free(stats->times);
	free(stats->buckets);
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

int64_t ping_stats_percentile_us(const struct ping_stats *stats, unsigned percent)
{
	int64_t rank = (stats->count * percent + 99) / 100; /* from 1 */
	uint32_t sorted[EXACT_MAX];

	assert(stats->count > 0 && percent >= 1 && percent <= 100);
	if (stats->buckets) {
		unsigned bucket = 0;

		for (int64_t below = stats->buckets[0]; below < rank;)
			below += stats->buckets[++bucket];
		return time_of(bucket);
	}
	if (!stats->times)
		return stats->last_us; /* the only one */
	memcpy(sorted, stats->times, (size_t)stats->count * sizeof(*sorted));
	qsort(sorted, (size_t)stats->count, sizeof(*sorted), compare_times);
	return sorted[rank - 1];
}
