/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A permutation of 0 ... count-1 in random order that is computed, not kept: a Feistel network over
 * the next power of four, walked until it falls inside (Black and Rogaway, "Ciphers with Arbitrary
 * Finite Domains", 2002). It spreads; it hides nothing.
 */
#pragma once

#include <stdint.h>

struct permutation {
	uint64_t count, seed;
	unsigned half_bits;
};

/* count: 1 to 2^62. The same seed gives the same order, always: stored jobs rely on it. */
struct permutation permutation_of(uint64_t count, uint64_t seed);
/* What stands at a place, and the place of what stands there; both below count. */
uint64_t permutation_at(const struct permutation *permutation, uint64_t place);
uint64_t permutation_place(const struct permutation *permutation, uint64_t item);
