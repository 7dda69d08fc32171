/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Targets from files, read here with the user's rights: plain lists, and groups of inventories in
 * Ansible's INI form (its documentation, "How to build your inventory").
 */
#include "client/client.h"

#include "common/util.h"

#include <ctype.h>

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

/* The value of NAME=VALUE among the words of a host's line, without quotes; or NULL. */
static char *variable(const char *words, const char *name)
{
	size_t size = strlen(name);
	const char *at = words;

	while ((at = strstr(at, name))) {
		bool is_start = at == words || isspace((unsigned char)at[-1]);

		at += size;
		if (!is_start || *at != '=')
			continue;
		at++;
		if (*at == '"' || *at == '\'')
			return strndup(at + 1, strcspn(at + 1, "\"'"));
		return strndup(at, strcspn(at, " \t\r\n"));
	}
	return NULL;
}

/* A host's line as a target; Ansible's ranges, r[01:30], are also ours. */
static char *inventory_target(char *line)
{
	size_t size = strcspn(line, " \t");
	const char *words = line + size;
	autofree char *name = strndup(line, size);
	autofree char *host = variable(words, "ansible_host");
	autofree char *port = variable(words, "ansible_port");
	autofree char *user = variable(words, "ansible_user");

	const char *address = host ? host : name;
	/* An IPv6 address with a port behind it needs brackets; a range's (r[01:30]) are others. */
	bool is_bracketed =
		port && !strchr(address, '[') && strchr(address, ':') != strrchr(address, ':');

	return xasprintf("%s%s%s%s%s%s%s", user ? user : "", user ? "@" : "",
			 is_bracketed ? "[" : "", address, is_bracketed ? "]" : "", port ? ":" : "",
			 port ? port : "");
}

/* The words of a line, trimmed; false for nothing but a comment. */
static bool trim(char **line)
{
	size_t size;

	*line += strspn(*line, " \t");
	if (**line == '#' || **line == ';')
		return false;
	(*line)[strcspn(*line, "#\r\n")] = '\0';
	for (size = strlen(*line); size > 0 && isspace((unsigned char)(*line)[size - 1]); size--)
		(*line)[size - 1] = '\0';
	return **line != '\0';
}

/* Hosts of the group, then of its children; a group that is asked for twice is read once. */
static void read_group(json_t *targets, char *text, const char *path, const char *group,
		       json_t *seen)
{
	autofree char *hosts_section = xasprintf("[%s]", group);
	autofree char *children_section = xasprintf("[%s:children]", group);
	autofree char *copy = xstrdup(text);
	bool is_all = streq(group, "all"), is_known = is_all;
	bool is_hosts = is_all, is_children = false;
	char *rest = copy, *line;

	if (json_object_get(seen, group))
		return;
	(void)json_object_set_new(seen, group, json_true());
	for (unsigned number = 1; (line = strsep(&rest, "\n")); number++) {
		if (!trim(&line))
			continue;
		if (line[0] == '[') {
			is_hosts = is_all ? !strchr(line, ':') : streq(line, hosts_section);
			is_children = streq(line, children_section);
			is_known = is_known || is_hosts || is_children;
			continue;
		}
		if (is_hosts) {
			autofree char *target = inventory_target(line);

			add(targets, target, path, number);
		} else if (is_children) {
			read_group(targets, text, path, line, seen);
		}
	}
	if (!is_known)
		fail(STATUS_WORDS, "the inventory %s has no group '%s'", path, group);
}

static void read_inventory(json_t *targets, const char *path, const char *group)
{
	FILE *file = open_list(path);
	autofree char *text = NULL;
	json_t *seen = json_object();
	size_t size = 0;

	if (getdelim(&text, &size, '\0', file) < 0) {
		if (ferror(file))
			fail(STATUS_WORDS, "cannot read the targets of @%s: %m", path);
		fail(STATUS_WORDS, "the inventory %s is empty", path);
	}
	read_group(targets, text, path, group, seen);
	json_decref(seen);
	(void)fclose(file);
}

void targets_read(json_t *targets, const char *word)
{
	const char *colon;

	if (word[0] != '@') {
		(void)json_array_append_new(targets, text_value(word, "a target"));
		return;
	}
	colon = strrchr(word, ':');
	if (!colon) {
		read_plain(targets, word + 1);
	} else {
		autofree char *path = strndup(word + 1, (size_t)(colon - word) - 1);

		read_inventory(targets, path, colon + 1);
	}
}
