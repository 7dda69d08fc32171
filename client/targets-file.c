/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Targets from files, read here with the user's rights: plain lists, and inventories. */
#include "client/client.h"

#include "common/util.h"

#include <unistd.h>

static void add(json_t *targets, const char *word, const char *path, unsigned line)
{
	autofree char *what = xasprintf("line %u of @%s", line, path);

	(void)json_array_append_new(targets, text_value(word, what));
}

static FILE *open_list(const char *path)
{
	FILE *file = streq(path, "-") ? stdin : fopen(path, "re");

	if (!file)
		fail(STATUS_WORDS, "cannot read the targets of @%s: %m", path);
	return file;
}

/* One or more a line, '#' begins a comment. */
static void read_plain(json_t *targets, const char *path)
{
	autofree char *line = NULL;
	FILE *file = open_list(path);
	size_t size = 0, before = json_array_size(targets);

	for (unsigned number = 1; getline(&line, &size, file) >= 0; number++) {
		char *rest = line, *word;

		line[strcspn(line, "#\n")] = '\0';
		while ((word = strsep(&rest, " \t\r")))
			if (*word)
				add(targets, word, path, number);
	}
	if (ferror(file))
		fail(STATUS_WORDS, "cannot read the targets of @%s: %m", path);
	if (file != stdin)
		(void)fclose(file);
	if (json_array_size(targets) == before)
		fail(STATUS_WORDS, "@%s has no target in it", path);
}

/* --- Inventories --- */

static void read_inventory(json_t *targets, json_t *hosts, const char *path, const char *pattern)
{
	FILE *file = open_list(path);
	autofree char *text = NULL;
	size_t size = 0;

	if (getdelim(&text, &size, '\0', file) < 0) {
		if (ferror(file))
			fail(STATUS_WORDS, "cannot read the targets of @%s: %m", path);
		fail(STATUS_WORDS, "the inventory %s is empty", path);
	}
	inventory_read(targets, hosts, path, text, pattern);
	if (file != stdin)
		(void)fclose(file);
}

/* The colon between file and pattern, both of which may have some: the first that leaves a file. */
static const char *find_pattern(const char *word)
{
	for (const char *colon = strchr(word, ':'); colon; colon = strchr(colon + 1, ':')) {
		autofree char *path = strndup(word, (size_t)(colon - word));

		if (streq(path, "-") || access(path, F_OK) == 0)
			return colon;
	}
	return strchr(word, ':');
}

void targets_read(json_t *targets, json_t *hosts, const char *word)
{
	const char *colon;

	if (word[0] != '@') {
		(void)json_array_append_new(targets, text_value(word, "a target"));
		return;
	}
	word++;
	colon = access(word, F_OK) == 0 ? NULL : find_pattern(word);
	if (!colon) {
		read_plain(targets, word);
	} else {
		autofree char *path = strndup(word, (size_t)(colon - word));

		read_inventory(targets, hosts, path, colon + 1);
	}
}
