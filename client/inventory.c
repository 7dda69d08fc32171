/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inventories of Ansible: groups, groups of groups, their variables, and patterns over them (its
 * documentation, "How to build your inventory" and "Patterns: targeting hosts and groups"). Of the
 * variables those count that say how to reach a host. A host's own goes before a group's, a group's
 * before that of the groups above it, and of two groups side by side the one later in the alphabet
 * wins.
 */
#include "client/client.h"
#include "client/inventory.h"

#include "common/targets.h"
#include "common/util.h"

#include <fnmatch.h>

#define VARIABLE_NAME(id, name) name,
const char *const variable_names[] = {VARIABLES(VARIABLE_NAME)};

struct group *inventory_group(struct inventory *inventory, const char *name)
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

struct host *inventory_host(struct inventory *inventory, const char *name)
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

void inventory_join(struct group *group, struct host *host)
{
	group->hosts = xgrow(group->hosts, group->host_count, sizeof(struct host *));
	group->hosts[group->host_count++] = host;
}

void inventory_add_child(struct inventory *inventory, struct group *group, const char *name)
{
	group->children = xgrow(group->children, group->child_count, sizeof(struct group *));
	group->children[group->child_count++] = inventory_group(inventory, name);
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

	if (text[strspn(text, " \t\r\n")] == '{')
		inventory_read_json(&inventory, text);
	else
		inventory_read_ini(&inventory, text);
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
