/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inventories as ansible-inventory(1) --list writes them, and as Ansible's inventory scripts do:
 * an object of groups, each with hosts, children and vars, and the variables of hosts in _meta
 * (https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html). So hosts come from
 * YAML and from whatever Ansible has a plugin for.
 */
#include "client/client.h"
#include "client/inventory.h"

#include "common/util.h"

static _Noreturn void refuse(const struct inventory *inventory, const char *name, const char *why)
{
	fail(STATUS_WORDS,
	     "%s: '%s' %s: an inventory in JSON is what ansible-inventory --list writes",
	     inventory->path, name, why);
}

/* A variable is a text or a number. What is for programs of Ansible may be anything. */
static void take_variables(char **variables, const json_t *object)
{
	for (size_t i = 0; i < VARIABLE_COUNT; i++) {
		const json_t *value = json_object_get(object, variable_names[i]);

		if (!json_is_string(value) && !json_is_integer(value))
			continue;
		free(variables[i]);
		variables[i] = json_is_string(value)
				       ? xstrdup(json_string_value(value))
				       : xasprintf("%lld", (long long)json_integer_value(value));
	}
}

/* A list of names. */
static void take_names(struct inventory *inventory, const char *name, const json_t *names,
		       bool are_children)
{
	struct group *group = inventory_group(inventory, name);
	const json_t *word;
	size_t index;

	if (names && !json_is_array(names))
		refuse(inventory, name, "has no list of names");
	json_array_foreach (names, index, word) {
		const char *text = json_string_value(word);

		if (!text || !*text)
			refuse(inventory, name, "has something else than names in a list");
		if (are_children)
			inventory_add_child(inventory, group, text);
		else
			inventory_join(group, inventory_host(inventory, text));
	}
}

static void take_group(struct inventory *inventory, const char *name, json_t *group)
{
	/* The short form */
	if (json_is_array(group)) {
		take_names(inventory, name, group, false);
		return;
	}
	if (!json_is_object(group))
		refuse(inventory, name, "is no group");
	take_names(inventory, name, json_object_get(group, "hosts"), false);
	take_names(inventory, name, json_object_get(group, "children"), true);
	take_variables(inventory_group(inventory, name)->variables, json_object_get(group, "vars"));
}

void inventory_read_json(struct inventory *inventory, const char *text)
{
	json_error_t error;
	json_t *groups = json_loads(text, JSON_REJECT_DUPLICATES, &error), *value;
	const char *name;

	if (!groups)
		fail(STATUS_WORDS, "%s:%d: %s: it begins as JSON does", inventory->path, error.line,
		     error.text);
	json_object_foreach (groups, name, value) {
		if (!streq(name, "_meta"))
			take_group(inventory, name, value);
	}
	json_object_foreach (json_object_get(json_object_get(groups, "_meta"), "hostvars"), name,
			     value) {
		take_variables(inventory_host(inventory, name)->variables, value);
	}
	json_decref(groups);
}
