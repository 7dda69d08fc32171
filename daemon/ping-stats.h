/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The round-trip times of one target as a few numbers: one alone takes nothing beside the struct,
 * the first 64 take 4 bytes each, and more, however many, 64 bytes for each power of two that some
 * of them lie in: two or three for one host, 1.5 KiB at most. Times are microseconds.
 */
#pragma once

#include <stdint.h>

struct ping_stats {
	int64_t count;
	int64_t min_us, max_us, sum_us;
	int64_t last_us;
	int64_t jitter_sum_us; /* of the differences between one and the next, without sign */
	double mean_us;        /* running, for the next */
	double squares;        /* of the differences from the mean, summed (Welford, 1962) */
	uint32_t *kept; /* the first times as they are; then, of classes, how many; or NULL */
	uint32_t rows;  /* bits: of which powers of two there are classes; 0: times are kept */
};

/* us: 0 or more. */
void ping_stats_add(struct ping_stats *stats, int64_t us);
void ping_stats_done(struct ping_stats *stats);

/* All of these need count >= 1. */
int64_t ping_stats_average_us(const struct ping_stats *stats);
/* Of the population, as ping(8)'s mdev. */
int64_t ping_stats_stddev_us(const struct ping_stats *stats);
/* The mean difference between one time and the next (RFC 3393's, without sign); needs two. */
int64_t ping_stats_jitter_us(const struct ping_stats *stats);
/*
 * By nearest rank, percent 1 to 100: a time that was measured while there are at most 64, then
 * within 1/32 of one.
 */
int64_t ping_stats_percentile_us(const struct ping_stats *stats, unsigned percent);
