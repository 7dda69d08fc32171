/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The summed-up round-trip times against all of them in an array. */
#include "daemon/ping-stats.h"

#include "common/util.h"

#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { TIMES_MAX = 5000 };

static int compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

/* All that can be asked, of count times; tolerance: of percentiles, as a part of the time. */
static void assert_stats(const int64_t *times, size_t count, double tolerance)
{
	static const unsigned percents[] = {1, 5, 25, 50, 75, 95, 99, 100};
	int64_t sorted[TIMES_MAX], sum = 0, jitter = 0;
	struct ping_stats stats = {0};
	double squares = 0;

	for (size_t i = 0; i < count; i++) {
		ping_stats_add(&stats, times[i]);
		sum += times[i];
		jitter += i > 0 ? llabs(times[i] - times[i - 1]) : 0;
	}
	memcpy(sorted, times, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare);
	for (size_t i = 0; i < count; i++) {
		double difference = (double)times[i] - (double)sum / (double)count;

		squares += difference * difference;
	}
	assert_int_equal(stats.count, count);
	assert_int_equal(stats.min_us, sorted[0]);
	assert_int_equal(stats.max_us, sorted[count - 1]);
	assert_int_equal(ping_stats_average_us(&stats), sum / (int64_t)count);
	assert_int_equal(ping_stats_stddev_us(&stats), llround(sqrt(squares / (double)count)));
	if (count > 1)
		assert_int_equal(ping_stats_jitter_us(&stats), jitter / (int64_t)(count - 1));
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
		size_t rank = (count * percents[i] + 99) / 100;
		int64_t right = sorted[rank - 1];
		int64_t got = ping_stats_percentile_us(&stats, percents[i]);

		assert_true(fabs((double)(got - right)) <= tolerance * (double)right);
		assert_in_range(got, stats.min_us, stats.max_us);
	}
	ping_stats_done(&stats);
}

static void test_one(void **state)
{
	const int64_t times[] = {1234};

	(void)state;
	assert_stats(times, 1, 0);
}

static void test_few_are_exact(void **state)
{
	const int64_t times[] = {10, 30, 20, 0, 50, 50, 59999999};

	(void)state;
	for (size_t count = 2; count <= ARRAY_SIZE(times); count++)
		assert_stats(times, count, 0);
}

/* From a microsecond to a minute, around the number from which on they are counted in classes */
static void test_many_are_close(void **state)
{
	static const size_t counts[] = {63, 64, 65, 66, 1000, TIMES_MAX};
	int64_t times[TIMES_MAX];
	unsigned seed = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		for (size_t n = 0; n < counts[i]; n++) {
			unsigned bits = (unsigned)rand_r(&seed) % 26;

			times[n] = rand_r(&seed) % ((1 << bits) + 1);
		}
		assert_stats(times, counts[i], counts[i] > 64 ? 1.0 / 32 : 0);
	}
}

/* All alike: the differences from the mean must not become noise. */
static void test_alike(void **state)
{
	int64_t times[TIMES_MAX];

	(void)state;
	for (size_t n = 0; n < TIMES_MAX; n++)
		times[n] = 60000000 - (int64_t)(n % 2);
	assert_stats(times, TIMES_MAX, 1.0 / 32);
}

/* Within a part of a class, whose middle is none of them */
static void test_narrow(void **state)
{
	int64_t times[TIMES_MAX];

	(void)state;
	for (size_t n = 0; n < TIMES_MAX; n++)
		times[n] = 187517 + (int64_t)(n % 45);
	assert_stats(times, TIMES_MAX, 1.0 / 32);
}

/* What is kept of them grows with how much they differ, not with how many there are. */
static void test_memory(void **state)
{
	static const struct {
		unsigned bits; /* of the largest difference */
		size_t bytes;
	} rows[] = {{13, 2 * 64}, {26, 14 * 64}};
	unsigned seed = 1;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ping_stats stats = {0};

		ping_stats_add(&stats, 10000);
		assert_null(stats.kept);
		for (size_t n = 0; n < TIMES_MAX; n++)
			ping_stats_add(&stats, 10000 + rand_r(&seed) % (1 << rows[i].bits));
		assert_in_range(malloc_usable_size(stats.kept), 1, rows[i].bytes + 32);
		ping_stats_add(&stats, 100000000); /* one that is far off */
		assert_in_range(malloc_usable_size(stats.kept), 1, rows[i].bytes + 64 + 32);
		ping_stats_done(&stats);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_few_are_exact),
		cmocka_unit_test(test_many_are_close),
		cmocka_unit_test(test_alike),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_narrow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
