/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lines that are another each time, such as those with the time, by regular expressions. */
#include "client/client.h"

#include "common/util.h"

#include <regex.h>

struct ignore {
	size_t count;
	regex_t expressions[];
};

struct ignore *ignore_new(const json_t *texts)
{
	size_t count = json_array_size(texts);
	struct ignore *ignore = xcalloc(1, sizeof(*ignore) + count * sizeof(regex_t));
	char why[100];

	for (; ignore->count < count; ignore->count++) {
		const char *text = json_string_value(json_array_get(texts, ignore->count));
		regex_t *expression = &ignore->expressions[ignore->count];
		int r = regcomp(expression, text, REG_EXTENDED | REG_NOSUB);

		/* As a script's variable is that was never set: it fits every line. */
		if (!*text)
			fail(STATUS_WORDS, "--ignore got an empty value: say --ignore REGEX");
		if (r == 0)
			continue;
		(void)regerror(r, expression, why, sizeof(why));
		fail(STATUS_WORDS, "--ignore '%.80s' is no regular expression: %s", text, why);
	}
	return ignore;
}

void ignore_free(struct ignore *ignore)
{
	for (size_t i = 0; i < ignore->count; i++)
		regfree(&ignore->expressions[i]);
	free(ignore);
}

/* A line without its end; what follows a NUL in it does not count. */
static bool is_ignored(const struct ignore *ignore, const char *line, size_t size)
{
	autofree char *text = xcalloc(1, size + 1);

	memcpy(text, line, size);
	for (size_t i = 0; i < ignore->count; i++)
		if (regexec(&ignore->expressions[i], text, 0, NULL, 0) == 0)
			return true;
	return false;
}

size_t ignore_lines(const struct ignore *ignore, char *bytes, size_t size)
{
	size_t kept = 0;

	for (size_t at = 0, step; ignore->count > 0 && at < size; at += step) {
		const char *end = memchr(bytes + at, '\n', size - at);
		size_t line = end ? (size_t)(end - bytes) - at : size - at;

		step = line + (end != NULL);
		/* Devices end their lines with CR LF, and $ is to mean that. */
		while (line > 0 && bytes[at + line - 1] == '\r')
			line--;
		if (is_ignored(ignore, bytes + at, line))
			continue;
		memmove(bytes + kept, bytes + at, step);
		kept += step;
	}
	return ignore->count > 0 ? kept : size;
}
