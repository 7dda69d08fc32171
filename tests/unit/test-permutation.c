/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/permutation.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_permutation(uint64_t count, uint64_t seed)
{
	struct permutation permutation = permutation_of(count, seed);
	autofree unsigned char *seen = xcalloc(count, 1);

	for (uint64_t place = 0; place < count; place++) {
		uint64_t item = permutation_at(&permutation, place);

		assert_true(item < count);
		assert_int_equal(seen[item]++, 0);
		assert_int_equal(permutation_place(&permutation, item), place);
	}
}

static void test_each_once(void **state)
{
	(void)state;
	for (uint64_t count = 1; count <= 300; count++)
		assert_permutation(count, count * 7);
	assert_permutation(65534, 1);
	assert_permutation(65536, 2);
	assert_permutation(65537, 3);
}

static void test_large(void **state)
{
	struct permutation permutation = permutation_of(UINT64_C(1) << 62, 5);

	(void)state;
	for (uint64_t place = 0; place < 1000; place++)
		assert_int_equal(
			permutation_place(&permutation, permutation_at(&permutation, place)),
			place);
}

/* Neighbours do not stay neighbours: of a /16's sixteen-host runs hardly any is hit in a row. */
static void test_spreads(void **state)
{
	struct permutation permutation = permutation_of(65536, 42);
	unsigned in_a_row = 0;

	(void)state;
	for (uint64_t place = 1; place < 65536; place++)
		in_a_row += permutation_at(&permutation, place) / 256 ==
			    permutation_at(&permutation, place - 1) / 256;
	/* By chance 256 of them */
	assert_in_range(in_a_row, 128, 512);
}

/* What is stored depends on it: these may never change. */
static void test_is_for_ever(void **state)
{
	struct permutation permutation = permutation_of(10, 1);
	static const uint64_t order[] = {5, 2, 8, 9, 1, 6, 3, 4, 7, 0};

	(void)state;
	for (uint64_t place = 0; place < ARRAY_SIZE(order); place++)
		assert_int_equal(permutation_at(&permutation, place), order[place]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_spreads),
		cmocka_unit_test(test_is_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
