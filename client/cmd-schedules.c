/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* jobctl schedules: what makes jobs at their times; start makes them. */
#include "client/client.h"

#include "common/states.h"
#include "common/util.h"

static const char *const actions[] = {"pause", "resume", "run", "remove", NULL};

static json_t *named(const struct words *words, size_t first)
{
	json_t *selectors = json_array();

	for (size_t i = first; i < words->argument_count; i++)
		(void)json_array_append_new(selectors,
					    text_value(words->arguments[i], "a schedule"));
	return selectors;
}

/* Takes the selectors. */
static void change_named(json_t *selectors, const char *action)
{
	json_t *reply = talk("ChangeSchedules",
			     json_pack("{s:o, s:s}", "selectors", selectors, "action", action));
	json_t *job;
	size_t i;

	if (globals.is_json)
		print_json(reply);
	else
		json_array_foreach (json_object_get(reply, "jobs"), i, job) {
			printf("%lld\n", (long long)json_integer_value(job));
		}
	json_decref(reply);
}

static enum status change(const struct words *words)
{
	const char *action = words->arguments[0];
	json_t *selectors, *selector;
	size_t i;

	if (json_object_size(words->parameters) > 0)
		fail(STATUS_WORDS, "--all is for showing: name the schedules to %s", action);
	if (words->argument_count == 1)
		fail(STATUS_WORDS, "name the schedules to %s: jobctl schedules %s s7", action,
		     action);
	selectors = named(words, 1);
	if (!streq(action, "run")) {
		change_named(selectors, action);
		return STATUS_OK;
	}
	json_array_foreach (selectors, i, selector) {
		change_named(json_pack("[O]", selector), action);
	}
	json_decref(selectors);
	return STATUS_OK;
}

/* All of them, page after page. */
static json_t *read_all(json_t *parameters)
{
	json_t *all = json_array();
	bool is_more = true;

	while (is_more) {
		json_t *reply = talk("ListSchedules", json_deep_copy(parameters));
		const json_t *page = json_object_get(reply, "schedules");
		const json_t *last = json_array_get(page, json_array_size(page) - 1);

		(void)json_array_extend(all, (json_t *)(uintptr_t)page);
		(void)json_object_set_new(parameters, "after", json_integer(number_of(last, "id")));
		is_more = json_is_true(json_object_get(reply, "hasMore"));
		json_decref(reply);
	}
	json_decref(parameters);
	return all;
}

/* What a table has no room for. */
static void tell_errors(const json_t *schedules)
{
	for (size_t i = 0; i < json_array_size(schedules); i++) {
		const json_t *schedule = json_array_get(schedules, i);

		if (*text_of(schedule, "error") && !globals.is_quiet)
			(void)fprintf(stderr, "jobctl: s%lld made no job the last time: %s\n",
				      (long long)number_of(schedule, "id"),
				      text_of(schedule, "error"));
	}
}

/* A mistyped action is taken, and refused, as the name of a schedule. */
static char *meant_action(const struct words *words)
{
	const char *meant =
		words->argument_count > 1 ? nearest(words->arguments[0], actions) : NULL;

	return meant ? xasprintf("meant was perhaps 'jobctl schedules %s'", meant) : NULL;
}

enum status cmd_schedules(struct words *words)
{
	autofree char *meant = meant_action(words);
	json_t *schedules;

	words_no_rest(words);
	if (words->argument_count > 0 && word_find(actions, words->arguments[0]) >= 0)
		return change(words);
	(void)json_object_set_new(words->parameters, "selectors", named(words, 0));
	(void)json_object_set_new(words->parameters, "details", json_boolean(globals.is_json));
	talk_about(meant);
	schedules = read_all(json_incref(words->parameters));
	talk_about(NULL);
	if (!globals.is_json)
		print_schedule_table(schedules);
	for (size_t i = 0; globals.is_json && i < json_array_size(schedules); i++)
		print_json(json_array_get(schedules, i));
	if (!globals.is_json)
		tell_errors(schedules);
	json_decref(schedules);
	return STATUS_OK;
}
