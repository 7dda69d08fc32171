/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inventories in Ansible's INI form: groups, groups of groups, their variables, and patterns over
 * them (its documentation, "How to build your inventory" and "Patterns: targeting hosts and
 * groups"). Of the variables those count that say how to reach a host, listed below. A host's own
 * goes before a group's, a group's before that of the groups above it, and of two groups side by
 * side the one later in the alphabet wins.
 */
#include "client/client.h"

#include "common/hash.h"
#include "common/targets.h"
#include "common/util.h"

#include <ctype.h>
#include <fnmatch.h>

/* The first three make the target itself, the others are what is said of it in particular. */
#define VARIABLES(X)                                    \
	X(VARIABLE_HOST, "ansible_host")                \
	X(VARIABLE_PORT, "ansible_port")                \
	X(VARIABLE_USER, "ansible_user")                \
	X(VARIABLE_JUMP, "jobd_jump")                   \
	X(VARIABLE_CREDENTIAL, "jobd_credential")       \
	X(VARIABLE_PROFILE, "jobd_profile")             \
	X(VARIABLE_SYSTEM, "ansible_network_os")        \
	X(VARIABLE_KEY, "ansible_ssh_private_key_file") \
	X(VARIABLE_ARGUMENTS, "ansible_ssh_common_args")

#define VARIABLE_ENUM(id, name) id,
enum variable { VARIABLES(VARIABLE_ENUM) VARIABLE_COUNT };
#define VARIABLE_NAME(id, name) name,
static const char *const variable_names[] = {VARIABLES(VARIABLE_NAME)};

struct host {
	char *name;
	char *variables[VARIABLE_COUNT];
	unsigned line;
	bool is_in, is_met; /* of the pattern: so far; of its present part */
	UT_hash_handle hh;  /* in the order of the file */
};

struct group {
	char *name;
	char *variables[VARIABLE_COUNT];
	struct host **hosts;
	struct group **children;
	size_t host_count, child_count;
	size_t depth; /* 1 and the longest way down to it; 0: not known yet */
	UT_hash_handle hh;
};

struct inventory {
	const char *path;
	struct host *hosts;
	struct group *groups;
	unsigned line;
};

/* --- Reading --- */

static struct group *group_of(struct inventory *inventory, const char *name)
{
	struct group *group;

	HASH_FIND_STR(inventory->groups, name, group);
	if (group)
		return group;
	group = xcalloc(1, sizeof(*group));
	group->name = xstrdup(name);
	HASH_ADD_KEYPTR(hh, inventory->groups, group->name, strlen(name), group);
	return group;
}

static struct host *host_of(struct inventory *inventory, const char *name)
{
	struct host *host;

	HASH_FIND_STR(inventory->hosts, name, host);
	if (host)
		return host;
	host = xcalloc(1, sizeof(*host));
	host->name = xstrdup(name);
	host->line = inventory->line;
	HASH_ADD_KEYPTR(hh, inventory->hosts, host->name, strlen(name), host);
	return host;
}

static char *unquoted(const char *text)
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

/* The next word of a line, quotes kept together; NULL at its end. */
static char *next_word(char **rest)
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
	struct host *host = host_of(inventory, name);

	for (size_t v = 0; v < VARIABLE_COUNT; v++)
		if (variables[v]) {
			free(host->variables[v]);
			host->variables[v] = xstrdup(variables[v]);
		}
	group->hosts = xgrow(group->hosts, group->host_count, sizeof(struct host *));
	group->hosts[group->host_count++] = host;
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
		     "%s:%u: '%s' is no host: an inventory is read in Ansible's INI form, not in "
		     "YAML",
		     inventory->path, inventory->line, pattern);
	while ((word = next_word(&line)))
		take_variable(variables, word);
	take_names(inventory, group, pattern, variables);
	for (size_t v = 0; v < VARIABLE_COUNT; v++)
		free(variables[v]);
}

static void take_child(struct inventory *inventory, struct group *group, const char *name)
{
	group->children = xgrow(group->children, group->child_count, sizeof(struct group *));
	group->children[group->child_count++] = group_of(inventory, name);
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
	*ret_group = group_of(inventory, line + 1);
	return section;
}

static void read_lines(struct inventory *inventory, char *text)
{
	struct group *group = group_of(inventory, "ungrouped");
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
			take_child(inventory, group, line);
		else
			take_variable(group->variables, line);
	}
}

/* --- Variables --- */

static void set_depth(const struct inventory *inventory, struct group *group, size_t depth)
{
	if (depth > HASH_COUNT(inventory->groups))
		fail(STATUS_WORDS, "%s: the group '%s' is a child of itself", inventory->path,
		     group->name);
	if (depth <= group->depth)
		return;
	group->depth = depth;
	for (size_t i = 0; i < group->child_count; i++)
		set_depth(inventory, group->children[i], depth + 1);
}

/* Whose variables count first: the deepest groups, then the last of the alphabet. */
static int nearest_first(const struct group *a, const struct group *b)
{
	return a->depth != b->depth ? (a->depth < b->depth) - (a->depth > b->depth)
				    : strcmp(b->name, a->name);
}

/* Of a host that has none itself, or from a group that is nearer. */
static void inherit(struct group *from, const struct group *group)
{
	for (size_t i = 0; i < group->host_count; i++)
		for (size_t v = 0; v < VARIABLE_COUNT; v++)
			if (from->variables[v] && !group->hosts[i]->variables[v])
				group->hosts[i]->variables[v] = xstrdup(from->variables[v]);
	for (size_t i = 0; i < group->child_count; i++)
		inherit(from, group->children[i]);
}

static bool has_variables(const struct group *group)
{
	for (size_t v = 0; v < VARIABLE_COUNT; v++)
		if (group->variables[v])
			return true;
	return false;
}

static void spread_variables(struct inventory *inventory)
{
	struct group *group, *next, *all;
	struct host *host, *next_host;

	HASH_ITER (hh, inventory->groups, group, next) {
		set_depth(inventory, group, 1);
	}
	HASH_SORT(inventory->groups, nearest_first);
	HASH_ITER (hh, inventory->groups, group, next) {
		if (has_variables(group))
			inherit(group, group);
	}
	/* [all:vars], without anybody being in [all] */
	HASH_FIND_STR(inventory->groups, "all", all);
	HASH_ITER (hh, inventory->hosts, host, next_host) {
		for (size_t v = 0; all && v < VARIABLE_COUNT; v++)
			if (all->variables[v] && !host->variables[v])
				host->variables[v] = xstrdup(all->variables[v]);
	}
}

/* --- Patterns --- */

static void meet_group(const struct group *group)
{
	for (size_t i = 0; i < group->host_count; i++)
		group->hosts[i]->is_met = true;
	for (size_t i = 0; i < group->child_count; i++)
		meet_group(group->children[i]);
}

/* Marks the hosts of a name or glob of groups or hosts. */
static void meet(struct inventory *inventory, const char *name)
{
	bool is_all = streq(name, "all") || streq(name, "*"), is_known = is_all;
	struct group *group, *next_group;
	struct host *host, *next;

	HASH_ITER (hh, inventory->hosts, host, next) {
		host->is_met = is_all || fnmatch(name, host->name, 0) == 0;
		is_known = is_known || host->is_met;
	}
	HASH_ITER (hh, inventory->groups, group, next_group) {
		if (fnmatch(name, group->name, 0) != 0 || is_all)
			continue;
		meet_group(group);
		is_known = true;
	}
	if (!is_known)
		fail(STATUS_WORDS, "the inventory %s has no group or host '%s'", inventory->path,
		     name);
}

/* All parts of one sort: '\0' those that add, '&' and '!'. */
static void apply_parts(struct inventory *inventory, const char *pattern, char sort)
{
	autofree char *copy = xstrdup(pattern);
	char *rest = copy, *part;
	struct host *host, *next;

	while ((part = strsep(&rest, ":,"))) {
		char mark = *part == '&' || *part == '!' ? *part++ : '\0';

		if (mark != sort || *part == '\0')
			continue;
		meet(inventory, part);
		HASH_ITER (hh, inventory->hosts, host, next) {
			if (sort == '\0')
				host->is_in = host->is_in || host->is_met;
			else
				host->is_in = host->is_in && host->is_met == (sort == '&');
		}
	}
}

/* "user@address:port"; of a kind that knows no logins the address alone. */
static char *target_of(const struct host *host, bool has_logins)
{
	const char *user = has_logins ? host->variables[VARIABLE_USER] : NULL;
	const char *port = has_logins ? host->variables[VARIABLE_PORT] : NULL;
	const char *address =
		host->variables[VARIABLE_HOST] ? host->variables[VARIABLE_HOST] : host->name;
	/* An IPv6 address with a port behind it needs brackets. */
	bool is_bracketed = port && strchr(address, ':') != strrchr(address, ':');

	return xasprintf("%s%s%s%s%s%s%s", user ? user : "", user ? "@" : "",
			 is_bracketed ? "[" : "", address, is_bracketed ? "]" : "", port ? ":" : "",
			 port ? port : "");
}

static void inventory_done(struct inventory *inventory)
{
	struct group *group, *next_group;
	struct host *host, *next;

	HASH_ITER (hh, inventory->hosts, host, next) {
		HASH_DEL(inventory->hosts, host);
		for (size_t v = 0; v < VARIABLE_COUNT; v++)
			free(host->variables[v]);
		free(host->name);
		free(host);
	}
	HASH_ITER (hh, inventory->groups, group, next_group) {
		HASH_DEL(inventory->groups, group);
		for (size_t v = 0; v < VARIABLE_COUNT; v++)
			free(group->variables[v]);
		free(group->hosts);
		free(group->children);
		free(group->name);
		free(group);
	}
}

/* --- What is said of a host in particular --- */

/* The systems of Ansible's network collections, and whose shell they have. */
static const char *profile_of(const struct host *host)
{
	static const struct {
		const char *system, *profile;
	} systems[] = {
		{"ios", "cisco-ios"},
		{"nxos", "cisco-nxos"},
		{"iosxr", "cisco-xr"},
		{"asa", "cisco-asa"},
		{"eos", "arista-eos"},
		{"junos", "juniper-junos"},
		{"vyos", "vyos"},
		{"frr", "frr"},
		{"sros", "nokia-sros"},
		{"fortios", "fortinet"},
		{"vrp", "huawei-vrp"},
		{"ce", "huawei-vrp"},
		{"routeros", "mikrotik-routeros"},
	};
	const char *system = host->variables[VARIABLE_SYSTEM];

	if (host->variables[VARIABLE_PROFILE] || !system)
		return host->variables[VARIABLE_PROFILE];
	/* "cisco.ios.ios" */
	system = strrchr(system, '.') ? strrchr(system, '.') + 1 : system;
	for (size_t i = 0; i < ARRAY_SIZE(systems); i++)
		if (streq(systems[i].system, system))
			return systems[i].profile;
	return NULL;
}

/* Of ssh's arguments "-J HOST" and "-o Keyword=value"; others say nothing to jobd. */
static void take_arguments(const char *arguments, json_t *lines)
{
	autofree char *copy = xstrdup(arguments);
	char *rest = copy, *word;

	while ((word = next_word(&rest))) {
		bool is_jump = strncmp(word, "-J", 2) == 0;
		autofree char *line = NULL, *value = NULL;

		if (!is_jump && strncmp(word, "-o", 2) != 0)
			continue;
		word += 2;
		if (*word == '\0' && !(word = next_word(&rest)))
			return;
		value = unquoted(word);
		line = xasprintf("%s%s", is_jump ? "ProxyJump=" : "", value);
		(void)json_array_append_new(lines, json_string(line));
	}
}

static void set_text(json_t *object, const char *member, const char *text)
{
	if (text)
		(void)json_object_set_new(object, member, text_value(text, "the inventory"));
}

/* A member of the interface's SshHost without its targets; NULL where nothing is said. */
static json_t *particulars(const struct host *host)
{
	char *const *variables = host->variables;
	json_t *object = json_object(), *lines = json_array();

	set_text(object, "jump", variables[VARIABLE_JUMP]);
	set_text(object, "credential", variables[VARIABLE_CREDENTIAL]);
	set_text(object, "shell", profile_of(host));
	if (variables[VARIABLE_KEY]) {
		autofree char *line = xasprintf("IdentityFile \"%s\"", variables[VARIABLE_KEY]);

		(void)json_array_append_new(lines, text_value(line, "the inventory"));
	}
	if (variables[VARIABLE_ARGUMENTS])
		take_arguments(variables[VARIABLE_ARGUMENTS], lines);
	if (json_array_size(lines) > 0)
		(void)json_object_set(object, "options", lines);
	json_decref(lines);
	if (json_object_size(object) > 0)
		return object;
	json_decref(object);
	return NULL;
}

/* One for all targets of which the same is said; places: where in hosts, by what is said. */
static void add_particulars(json_t *hosts, json_t *places, const struct host *host,
			    const char *target)
{
	json_t *object = particulars(host), *found;
	autofree char *key = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	if (!object)
		return;
	found = json_object_get(places, key);
	if (!found) {
		(void)json_object_set_new(object, "targets", json_array());
		(void)json_array_append(hosts, object);
		(void)json_object_set(places, key, object);
		found = object;
	}
	(void)json_array_append_new(json_object_get(found, "targets"), json_string(target));
	json_decref(object);
}

/* Two hosts of one name, of two inventories, would be one. */
static void add_address(json_t *addresses, const struct host *host, const char *address)
{
	const char *known = json_string_value(json_object_get(addresses, host->name));

	if (known && !streq(known, address))
		fail(STATUS_WORDS, "%s is at %s, and in another inventory at %s: take one of them",
		     host->name, address, known);
	(void)json_object_set_new(addresses, host->name, text_value(address, "the inventory"));
}

static void add_host(const struct target_lists *lists, json_t *places, const struct host *host,
		     const char *what)
{
	autofree char *address = target_of(host, lists->has_logins);
	struct target_parts parts;
	bool is_named = target_split(host->name, &parts) == 0 &&
			(lists->has_logins || (parts.user[0] == '\0' && parts.port == 0));
	const char *target = is_named ? host->name : address;

	(void)json_array_append_new(lists->targets, text_value(target, what));
	if (lists->addresses && is_named && !streq(address, host->name))
		add_address(lists->addresses, host, address);
	if (lists->hosts)
		add_particulars(lists->hosts, places, host, target);
}

void inventory_read(const struct target_lists *lists, const char *path, char *text,
		    const char *pattern)
{
	json_t *places = json_object();
	struct inventory inventory = {.path = path};
	struct host *host, *next;
	size_t before = json_array_size(lists->targets);

	read_lines(&inventory, text);
	spread_variables(&inventory);
	apply_parts(&inventory, pattern, '\0');
	apply_parts(&inventory, pattern, '&');
	apply_parts(&inventory, pattern, '!');
	HASH_ITER (hh, inventory.hosts, host, next) {
		if (host->is_in) {
			autofree char *what = xasprintf("line %u of %s", host->line, path);

			add_host(lists, places, host, what);
		}
	}
	if (json_array_size(lists->targets) == before)
		fail(STATUS_WORDS, "the pattern '%s' leaves no host of the inventory %s", pattern,
		     path);
	json_decref(places);
	inventory_done(&inventory);
}
