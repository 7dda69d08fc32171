/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uthash with one-at-a-time hashing: its default, Jenkins's, falls through a switch in a way that
 * clang warns of. A number of 64 bits, which here counts from 1 on, is its own hash: those that
 * follow each other lie in buckets that do. Running out of memory aborts, as everywhere.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#define HASH_FUNCTION(key, size, value)                                  \
	do {                                                             \
		uint64_t number_;                                        \
                                                                         \
		if ((size) == sizeof(number_)) {                         \
			memcpy(&number_, (key), sizeof(number_));        \
			(value) = (unsigned)(number_ ^ (number_ >> 32)); \
		} else {                                                 \
			HASH_OAT(key, size, value);                      \
		}                                                        \
	} while (0)
#include <uthash.h>
