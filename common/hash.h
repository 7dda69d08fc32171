/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * uthash with one-at-a-time hashing: its default, Jenkins's, falls through a switch in a way that
 * clang warns of. Running out of memory aborts, as everywhere.
 */
#pragma once

#define HASH_FUNCTION(key, size, value) HASH_OAT(key, size, value)
#include <uthash.h>
