/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inventories in Ansible's INI form (its documentation, "How to build your inventory"). */
#include "client/client.h"
#include "client/inventory.h"

#include "common/targets.h"
#include "common/util.h"

#include <ctype.h>

char *unquoted(const char *text)
{
	const char *end = *text == '"' || *text == '\'' ? strchr(text + 1, *text) : NULL;

	return end ? strndup(text + 1, (size_t)(end - text - 1)) : xstrdup(text);
}

/* NAME=VALUE, the value in quotes or not: a variable that we know, or nothing. */
static void take_variable(char **variables, const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(variable_names); i++) {
		size_t size = strlen(variable_names[i]);
		const char *value = word + size;

		if (strncmp(word, variable_names[i], size) != 0)
			continue;
		value += strspn(value, " \t");
		if (*value++ != '=')
			continue;
		value += strspn(value, " \t");
		free(variables[i]);
		variables[i] = unquoted(value);
	}
}

char *next_word(char **rest)
{
	char *word = *rest + strspn(*rest, " \t"), *end = word;
	char quote = '\0';

	for (; *end && (quote || !strchr(" \t", *end)); end++)
		if (quote ? *end == quote : strchr("\"'", *end) != NULL)
			quote = quote ? '\0' : *end;
	*rest = *end ? end + 1 : end;
	*end = '\0';
	return *word ? word : NULL;
}

static void take_host(struct inventory *inventory, struct group *group, const char *name,
		      char *const *variables)
{
	struct host *host = inventory_host(inventory, name);

	for (size_t v = 0; v < VARIABLE_COUNT; v++)
		if (variables[v]) {
			free(host->variables[v]);
			host->variables[v] = xstrdup(variables[v]);
		}
	inventory_join(group, host);
}

/* The first "[a:f]" of a name, or NULL; numbers are for target lists to expand. */
static const char *find_letters(const char *name)
{
	for (; (name = strchr(name, '[')); name++)
		if (isalpha((unsigned char)name[1]) && name[2] == ':' &&
		    isalpha((unsigned char)name[3]) && name[4] == ']' && name[1] <= name[3])
			return name;
	return NULL;
}

/* "r[01:30]", "r[a:c]": each of the hosts, which get the same variables. */
static void take_names(struct inventory *inventory, struct group *group, const char *pattern,
		       char *const *variables)
{
	const char *letters = find_letters(pattern);
	struct error error = {0};
	struct target_list *list;
	char name[TARGET_TEXT_MAX];

	if (letters) {
		for (char c = letters[1]; c <= letters[3]; c++) {
			autofree char *one = xasprintf("%.*s%c%s", (int)(letters - pattern),
						       pattern, c, letters + 5);

			take_names(inventory, group, one, variables);
		}
		return;
	}
	if (target_list_new(&pattern, 1, NULL, 0, TARGET_NAMES_MAX, &list, &error) < 0)
		fail(STATUS_WORDS, "%s:%u: %s", inventory->path, inventory->line, error.sentence);
	for (uint64_t i = 0; i < target_list_count(list); i++) {
		target_list_text(list, i, name);
		take_host(inventory, group, name, variables);
	}
	target_list_free(list);
}

/* "r[01:30] ansible_user=admin" */
static void take_hosts(struct inventory *inventory, struct group *group, char *line)
{
	const char *pattern = next_word(&line), *word;
	char *variables[VARIABLE_COUNT] = {0};

	/* The names of YAML's, which would be taken for hosts */
	if (pattern[strlen(pattern) - 1] == ':')
		fail(STATUS_WORDS,
		     "%s:%u: '%s' is no host: an inventory is read in Ansible's INI form, or as "
		     "`ansible-inventory -i FILE --list` writes it, not in YAML",
		     inventory->path, inventory->line, pattern);
	while ((word = next_word(&line)))
		take_variable(variables, word);
	take_names(inventory, group, pattern, variables);
	for (size_t v = 0; v < VARIABLE_COUNT; v++)
		free(variables[v]);
}

/* The words of a line, trimmed; false for nothing but a comment. */
static bool trim(char **line)
{
	size_t size;

	*line += strspn(*line, " \t");
	if (**line == '#' || **line == ';' || **line == '\0')
		return false;
	for (char *hash = *line; (hash = strchr(hash + 1, '#'));)
		if (isspace((unsigned char)hash[-1])) {
			*hash = '\0';
			break;
		}
	for (size = strlen(*line); size > 0 && isspace((unsigned char)(*line)[size - 1]); size--)
		(*line)[size - 1] = '\0';
	return **line != '\0';
}

enum section { SECTION_HOSTS, SECTION_CHILDREN, SECTION_VARIABLES };

/* "[core]", "[both:children]", "[core:vars]"; *ret_group is what it is about. */
static enum section take_heading(struct inventory *inventory, char *line, struct group **ret_group)
{
	size_t size = strlen(line);
	char *colon;
	enum section section = SECTION_HOSTS;

	if (line[size - 1] != ']')
		fail(STATUS_WORDS, "%s:%u: '%s' has no ] at its end", inventory->path,
		     inventory->line, line);
	line[size - 1] = '\0';
	colon = strchr(line, ':');
	if (colon) {
		*colon++ = '\0';
		if (!streq(colon, "children") && !streq(colon, "vars"))
			fail(STATUS_WORDS, "%s:%u: [%s:%s] is neither of children nor of vars",
			     inventory->path, inventory->line, line + 1, colon);
		section = streq(colon, "vars") ? SECTION_VARIABLES : SECTION_CHILDREN;
	}
	*ret_group = inventory_group(inventory, line + 1);
	return section;
}

void inventory_read_ini(struct inventory *inventory, char *text)
{
	struct group *group = inventory_group(inventory, "ungrouped");
	enum section section = SECTION_HOSTS;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		inventory->line++;
		if (!trim(&line))
			continue;
		if (line[0] == '[')
			section = take_heading(inventory, line, &group);
		else if (section == SECTION_HOSTS)
			take_hosts(inventory, group, line);
		else if (section == SECTION_CHILDREN)
			inventory_add_child(inventory, group, line);
		else
			take_variable(group->variables, line);
	}
}
