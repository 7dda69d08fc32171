/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Patterns of host names as ssh_config(5), PATTERNS, has them: '*' and '?', and '!' in lists. */
#pragma once

#include <stdbool.h>

enum pattern_verdict {
	PATTERNS_MISS,
	PATTERNS_MATCH,
	PATTERNS_NEGATED, /* one with a '!' does: whatever else stands there, it is meant not */
};

/* patterns: with commas between. Case counts; callers lower it where it does not. */
enum pattern_verdict ssh_patterns_match(const char *patterns, const char *name);
