/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* start --dry-run: what would run against what, in which order and batches. jobd has checked it. */
#include "client/client.h"

#include "common/calendar.h"
#include "common/targets.h"
#include "common/units.h"
#include "common/util.h"

enum { FOLDED_MAX = 100000, BATCHES_SHOWN = 20, ADDRESSES_SHOWN = 20, TIMES_SHOWN = 5 };

static struct target_list *list_of(const json_t *parameters)
{
	struct error error = {0};
	struct target_list *list = targets_list(json_object_get(parameters, "targets"),
						json_object_get(parameters, "exclude"), &error);

	if (!list)
		fail(STATUS_WORDS, "%s", error.sentence);
	return list;
}

/* Targets first to end, folded. */
static void print_targets(const struct target_list *list, uint64_t first, uint64_t end)
{
	size_t count = (size_t)(end - first);
	autofree const char **names = xcalloc(count, sizeof(*names));
	char text[TARGET_TEXT_MAX];

	for (size_t i = 0; i < count; i++) {
		target_list_text(list, first + i, text);
		names[i] = xstrdup(text);
	}
	autofree char *folded = target_fold(names, count);
	printf("%s\n", folded);
	for (size_t i = 0; i < count; i++)
		free((char *)(uintptr_t)names[i]);
}

static void print_batches(const json_t *parameters, const struct target_list *list)
{
	uint64_t count = target_list_count(list), first = 0, number = 0;
	uint64_t canary = (uint64_t)number_of(parameters, "canary");
	struct share batch = {0};
	uint64_t size;

	(void)share_parse(text_of(parameters, "batch"), 1, &batch);
	size = batch.number > 0 ? share_of(&batch, count) : count;
	while (first < count) {
		uint64_t end = first + (first == 0 && canary > 0 ? canary : size > 0 ? size : 1);

		end = end < count ? end : count;
		number++;
		if (number == BATCHES_SHOWN + 1)
			printf("...\n");
		if (number <= BATCHES_SHOWN || end == count) {
			printf("batch %llu%s, %llu of them: ", (unsigned long long)number,
			       first == 0 && canary > 0 ? " (the canary)" : "",
			       (unsigned long long)(end - first));
			print_targets(list, first, end);
		}
		first = end;
	}
}

/* Where those are that have names of their own. */
static void print_addresses(const json_t *addresses)
{
	int shown = 0;
	const char *name;
	json_t *address;

	json_object_foreach ((json_t *)(uintptr_t)addresses, name, address) {
		if (shown++ == ADDRESSES_SHOWN) {
			printf("...\n");
			return;
		}
		printf("%s: %s\n", name, json_string_value(address));
	}
}

static void print_time(int64_t at_us)
{
	char text[UNITS_TEXT_MAX];

	printf("run: %s\n", time_text(at_us, text));
}

/* The first times of a schedule; NULL is none. */
static void print_times(const json_t *rule)
{
	int64_t every_us = number_of(rule, "everyUsec"), at_us = now_real_us();
	const char *text = text_of(rule, "onCalendar");
	struct error error = {0};
	struct calendar *calendar;

	if (json_object_get(rule, "atUsec"))
		print_time(number_of(rule, "atUsec"));
	for (int i = 0; every_us > 0 && i < TIMES_SHOWN; i++)
		print_time(at_us + i * every_us);
	if (!json_object_get(rule, "onCalendar") || calendar_parse(text, &calendar, &error) < 0)
		return;
	for (int i = 0; i < TIMES_SHOWN && (at_us = calendar_next(calendar, at_us)) != 0; i++)
		print_time(at_us);
	if (at_us == 0)
		printf("run: %s\n", "no more");
	calendar_free(calendar);
}

void dry_run(const json_t *parameters, const char *kind)
{
	const json_t *lines = json_object_get(json_object_get(parameters, kind), "commands");
	bool has_batches =
		json_object_get(parameters, "canary") || json_object_get(parameters, "batch");
	bool is_shuffled = json_is_true(json_object_get(parameters, "shuffle"));
	struct target_list *list = list_of(parameters);
	uint64_t count = target_list_count(list);

	if (globals.is_json) {
		json_t *whole = json_copy((json_t *)(uintptr_t)parameters);

		(void)json_object_del(whole, "token");
		(void)json_object_del(whole, "dryRun");
		(void)json_object_set_new(whole, "tasks", json_integer((json_int_t)count));
		print_json(whole);
		json_decref(whole);
		target_list_free(list);
		return;
	}
	printf("%s: %llu target%s%s\n", kind, (unsigned long long)count, count == 1 ? "" : "s",
	       is_shuffled ? ", in random order" : "");
	for (size_t i = 0; i < json_array_size(lines); i++)
		printf("command: %s\n", json_string_value(json_array_get(lines, i)));
	print_times(json_object_get(parameters, "schedule"));
	print_addresses(json_object_get(json_object_get(parameters, kind), "addresses"));
	if (count > FOLDED_MAX) {
		printf("targets: too many to show\n");
	} else if (has_batches && !is_shuffled) {
		print_batches(parameters, list);
	} else {
		printf("targets: ");
		print_targets(list, 0, count);
	}
	target_list_free(list);
}
