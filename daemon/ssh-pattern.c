/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ssh-pattern.h"

#include <stddef.h>
#include <string.h>

/* '*' and '?' only; '[' is part of "[name]:port". */
static bool matches(const char *pattern, size_t length, const char *name)
{
	for (; length > 0; pattern++, length--) {
		if (*pattern == '*') {
			for (const char *rest = name;; rest++) {
				if (matches(pattern + 1, length - 1, rest))
					return true;
				if (*rest == '\0')
					return false;
			}
		}
		if (*name == '\0' || (*pattern != '?' && *pattern != *name))
			return false;
		name++;
	}
	return *name == '\0';
}

enum pattern_verdict ssh_patterns_match(const char *patterns, const char *name)
{
	enum pattern_verdict verdict = PATTERNS_MISS;

	while (*patterns != '\0') {
		size_t length = strcspn(patterns, ",");
		bool is_negated = *patterns == '!';

		if (matches(patterns + is_negated, length - is_negated, name)) {
			if (is_negated)
				return PATTERNS_NEGATED;
			verdict = PATTERNS_MATCH;
		}
		patterns += length;
		patterns += *patterns == ',';
	}
	return verdict;
}
