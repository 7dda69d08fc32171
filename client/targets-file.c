/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files that a user wrote, read here with the rights of the user: hosts, inventories, commands. */
#include "client/client.h"

#include "common/protocol.h"
#include "common/targets.h"
#include "common/util.h"

#include <ctype.h>
#include <unistd.h>

/* --- Lines --- */

static const char byte_order_mark[] = "\xef\xbb\xbf";

static _Noreturn void is_no_text(unsigned line, const char *path)
{
	fail(STATUS_WORDS, "line %u of @%s has a NUL byte: save it as UTF-8", line, path);
}

FILE *file_open(const char *path)
{
	static bool is_read;

	if (!streq(path, "-"))
		return fopen(path, "re");
	if (is_read)
		fail(STATUS_WORDS,
		     "standard input (-) can be read once: name a file for the other");
	is_read = true;
	return stdin;
}

void file_lines_open(struct file_lines *lines, const char *path, const char *what)
{
	*lines = (struct file_lines){
		.file = file_open(path),
		.path = path,
		.what = what,
	};
	if (!lines->file)
		fail(STATUS_WORDS, "cannot read the %s of @%s: %m", what, path);
}

char *file_lines_next(struct file_lines *lines)
{
	ssize_t size = getline(&lines->line, &lines->capacity, lines->file);
	bool is_marked;

	if (size < 0) {
		if (ferror(lines->file))
			fail(STATUS_WORDS, "cannot read the %s of @%s: %m", lines->what,
			     lines->path);
		if (lines->file != stdin)
			(void)fclose(lines->file);
		free(lines->line);
		return NULL;
	}
	lines->number++;
	/* What stands behind it would be lost without a word. */
	if (strlen(lines->line) < (size_t)size)
		is_no_text(lines->number, lines->path);
	is_marked = lines->number == 1 &&
		    strncmp(lines->line, byte_order_mark, strlen(byte_order_mark)) == 0;
	return lines->line + (is_marked ? strlen(byte_order_mark) : 0);
}

static void add(json_t *targets, const char *word, const char *path, unsigned line)
{
	autofree char *what = xasprintf("line %u of @%s", line, path);

	(void)json_array_append_new(targets, text_value(word, what));
}

/* "[core]", "[all:vars]", "ansible_host=r1", JSON's "{", but not "[2001:db8::1]" or "[01-30].lab"
 */
static bool is_of_inventory(const char *word)
{
	size_t inside = word[0] == '[' ? strcspn(word + 1, "]") : 0;

	if (strchr(word, '=') || word[0] == '{')
		return true;
	return inside > 0 && streq(word + 1 + inside, "]") && isalpha((unsigned char)word[1]) &&
	       strchr(word, ':') == strrchr(word, ':');
}

/* One or more a line, with blanks or commas between; '#' begins a comment. */
static void read_plain(json_t *targets, const char *path)
{
	size_t before = json_array_size(targets);
	struct file_lines lines;
	char *rest, *word, *item;

	file_lines_open(&lines, path, "targets");
	while ((rest = file_lines_next(&lines))) {
		rest[strcspn(rest, "#\n")] = '\0';
		while ((word = strsep(&rest, " \t\r")))
			while ((item = list_item(&word)))
				if (is_of_inventory(item))
					fail(STATUS_WORDS,
					     "line %u of @%s is of an inventory: name its hosts, "
					     "as in @%s:all",
					     lines.number, path, path);
				else if (*item)
					add(targets, item, path, lines.number);
	}
	if (json_array_size(targets) == before)
		fail(STATUS_WORDS, "@%s has no target in it", path);
}

/* --- Inventories --- */

static void read_inventory(const struct target_lists *lists, const char *path, const char *pattern)
{
	autofree char *text = NULL;
	FILE *out;
	struct file_lines lines;
	size_t size;
	char *line;

	file_lines_open(&lines, path, "targets");
	out = open_memstream(&text, &size);
	while (out && (line = file_lines_next(&lines)))
		(void)fputs(line, out);
	if (!out || fclose(out) != 0)
		abort();
	if (size == 0)
		fail(STATUS_WORDS, "the inventory %s is empty", path);
	inventory_read(lists, path, text, pattern);
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

void targets_read(const struct target_lists *lists, const char *word)
{
	const char *colon;

	if (streq(word, "-"))
		fail(STATUS_WORDS, "'-' is no target: @- reads them from standard input");
	if (word[0] != '@') {
		autofree char *copy = xstrdup(word);
		char *rest = copy, *item;

		while ((item = list_item(&rest)))
			(void)json_array_append_new(lists->targets, text_value(item, "a target"));
		return;
	}
	word++;
	colon = access(word, F_OK) == 0 ? NULL : find_pattern(word);
	if (!colon) {
		read_plain(lists->targets, word);
	} else {
		autofree char *path = strndup(word, (size_t)(colon - word));

		read_inventory(lists, path, colon + 1);
	}
}

struct target_list *targets_list(const json_t *targets, const json_t *exclude,
				 struct error *ret_error)
{
	size_t include_count, exclude_count;
	autofree const char **included = json_strings(targets, &include_count);
	autofree const char **excluded = json_strings(exclude, &exclude_count);
	struct target_list *list;
	int r = target_list_new(included, include_count, excluded, exclude_count, UINT32_MAX, &list,
				ret_error);

	return r < 0 ? NULL : list;
}
