/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/permutation.h"

#include <assert.h>

enum { ROUNDS = 4 };

struct permutation permutation_of(uint64_t count, uint64_t seed)
{
	struct permutation permutation = {.count = count, .seed = seed, .half_bits = 1};

	assert(count >= 1 && count <= UINT64_C(1) << 62);
	while (UINT64_C(1) << 2 * permutation.half_bits < count)
		permutation.half_bits++;
	return permutation;
}

/* The finalizer of splitmix64 (Steele, Lea and Flood, 2014), cut to a half. */
static uint64_t scramble(const struct permutation *permutation, unsigned round, uint64_t half)
{
	uint64_t value = permutation->seed + (half + 1) * 0x9e3779b97f4a7c15U +
			 (round + 1) * 0xd1b54a32d192ed03U;

	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9U;
	value = (value ^ value >> 27) * 0x94d049bb133111ebU;
	return (value ^ value >> 31) & ((UINT64_C(1) << permutation->half_bits) - 1);
}

static uint64_t forwards(const struct permutation *permutation, uint64_t value)
{
	unsigned bits = permutation->half_bits;
	uint64_t left = value >> bits, right = value & ((UINT64_C(1) << bits) - 1);

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t old = left;

		left = right;
		right = old ^ scramble(permutation, round, right);
	}
	return left << bits | right;
}

static uint64_t backwards(const struct permutation *permutation, uint64_t value)
{
	unsigned bits = permutation->half_bits;
	uint64_t left = value >> bits, right = value & ((UINT64_C(1) << bits) - 1);

	for (unsigned round = ROUNDS; round-- > 0;) {
		uint64_t old = right;

		right = left;
		left = old ^ scramble(permutation, round, left);
	}
	return left << bits | right;
}

/* Each value outside lies on a path between two inside: at most four steps on average. */
uint64_t permutation_at(const struct permutation *permutation, uint64_t place)
{
	assert(place < permutation->count);
	do
		place = forwards(permutation, place);
	while (place >= permutation->count);
	return place;
}

uint64_t permutation_place(const struct permutation *permutation, uint64_t item)
{
	assert(item < permutation->count);
	do
		item = backwards(permutation, item);
	while (item >= permutation->count);
	return item;
}
