/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * --exclude. A host of an inventory has two names, its own and what it is reached by; another may
 * have a user and a port about it, and is meant without these as well. Who excludes a host wants to
 * be sure that nothing is done to it, so that a word that leaves out nothing, which may be a typing
 * mistake, is told.
 */
#include "client/client.h"

#include "common/targets.h"
#include "common/util.h"

/* Of more than these it is not told that nothing is left out. */
enum { TARGETS_MAX = 10000, WORDS_MAX = 100 };
/* More than these are not looked at one by one. */
enum { LOGINS_MAX = 1000000 };

/* NULL where it is no list, which jobd says, or empty. */
static struct target_list *list_of(const json_t *include, const json_t *exclude)
{
	struct error error = {0};
	struct target_list *list = targets_list(include, exclude, &error);

	error_done(&error);
	return list;
}

/* Those hosts of inventories that the words mean by their addresses. */
static void add_others(json_t *targets, const struct target_lists *lists)
{
	struct target_list *list =
		json_object_size(lists->addresses) > 0 ? list_of(targets, NULL) : NULL;
	const char *name;
	json_t *value;

	json_object_foreach (lists->addresses, name, value) {
		const char *address = json_string_value(value);
		struct target_parts parts;
		uint64_t index;

		if (list && (target_list_find(list, address, &index) ||
			     (target_split(address, &parts) == 0 &&
			      target_list_find(list, parts.host, &index))))
			(void)json_array_append_new(targets, json_string(name));
	}
	target_list_free(list);
}

/* Targets with a user or a port whose host the words mean. all: of the targets, or NULL. */
static void add_logins(json_t *targets, const struct target_list *all)
{
	uint64_t count = all ? target_list_count(all) : 0, index;
	struct target_list *list = count > 0 && count <= LOGINS_MAX ? list_of(targets, NULL) : NULL;
	char text[TARGET_TEXT_MAX];

	for (uint64_t i = 0; list && i < count; i++) {
		struct target_parts parts;

		target_list_text(all, i, text);
		if (target_split(text, &parts) == 0 && (parts.user[0] || parts.port != 0) &&
		    target_list_find(list, parts.host, &index))
			(void)json_array_append_new(targets, json_string(text));
	}
	target_list_free(list);
}

/* all: of the targets, or NULL */
static bool leaves_out_nothing(const struct target_list *all, const json_t *targets,
			       const json_t *excluded)
{
	struct target_list *left = all ? list_of(targets, excluded) : NULL;
	bool is_nothing = left && target_list_count(all) == target_list_count(left);

	target_list_free(left);
	return is_nothing;
}

void exclude_read(const struct target_lists *lists, const struct target_lists *left_out,
		  const json_t *words)
{
	size_t count = json_array_size(words);
	struct target_list *all = count > 0 ? list_of(lists->targets, NULL) : NULL;
	bool may_tell = !globals.is_quiet && count <= WORDS_MAX &&
			json_array_size(lists->targets) <= TARGETS_MAX;

	for (size_t i = 0; i < count; i++) {
		const char *word = json_string_value(json_array_get(words, i));
		struct target_lists one = *left_out;

		one.targets = json_array();
		targets_read(&one, word);
		add_others(one.targets, lists);
		if (lists->has_logins)
			add_logins(one.targets, all);
		/* A file may well hold what is to be left out wherever it is. */
		if (may_tell && word[0] != '@' &&
		    leaves_out_nothing(all, lists->targets, one.targets))
			(void)fprintf(stderr,
				      "jobctl: --exclude %s leaves out nothing: it is none of the "
				      "targets\n",
				      word);
		(void)json_array_extend(left_out->targets, one.targets);
		json_decref(one.targets);
	}
	target_list_free(all);
}
