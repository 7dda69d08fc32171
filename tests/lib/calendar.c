/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calendar events, for calendar-compare.py: reads lines of COUNT BASE SPEC, BASE in seconds since
 * the epoch, and writes for each a line with the next COUNT elapses in whole seconds, or "bad".
 */
#include "common/calendar.h"
#include "common/util.h"

#include <stdio.h>

static void answer(int count, int64_t base, const char *spec)
{
	struct error error = {0};
	struct calendar *calendar;
	int64_t at = base * US_PER_SEC;

	if (calendar_parse(spec, &calendar, &error) < 0) {
		printf("bad\n");
		error_done(&error);
		return;
	}
	for (int i = 0; i < count && (at = calendar_next(calendar, at)) != 0; i++)
		printf("%lld ", (long long)(at / US_PER_SEC));
	printf("\n");
	calendar_free(calendar);
}

int main(void)
{
	autofree char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0) {
		char *end;
		long count = strtol(line, &end, 10);
		int64_t base = strtoll(end, &end, 10);

		line[strcspn(line, "\n")] = '\0';
		answer((int)count, base, *end ? end + 1 : end);
	}
	return 0;
}
