/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* jobctl show: a job whole. */
#include "client/client.h"

#include "common/units.h"
#include "common/util.h"

enum { TASKS_SHOWN = 50 };

static void print_field(const char *name, const char *value)
{
	if (!*value)
		return;
	printf("%12s: ", name);
	print_clean_text(stdout, value);
	printf("\n");
}

static void print_counts(const json_t *job)
{
	static const char *const states[] = {"queued", "running", "succeeded",
					     "failed", "stopped", "interrupted"};
	bool is_first = true;

	printf("%12s: %lld (", "tasks", (long long)number_of(job, "tasks"));
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (number_of(job, states[i]) == 0)
			continue;
		printf("%s%lld %s", is_first ? "" : ", ", (long long)number_of(job, states[i]),
		       states[i]);
		is_first = false;
	}
	printf(")\n");
}

static void print_errors(const json_t *job)
{
	json_t *errors = json_object_get(job, "errors");
	const char *class;
	json_t *count;
	char word[32];

	json_object_foreach (errors, class, count) {
		printf("%12s: %lld %s\n", "errors", (long long)json_integer_value(count),
		       for_people(class, word));
	}
}

/* Thousands of commands or of hosts are for programs. */
enum { OPTION_SHOWN_MAX = 200 };

/* "retryDelayUsec": 1000000 as people say it: --retry-delay 1.0 s. */
static void print_option(const char *name, const json_t *value)
{
	const char *option = option_of_parameter(name);
	size_t size = strlen(name);
	char text[UNITS_TEXT_MAX];

	printf("%12s: %s%s", "option", option ? "--" : "", option ? option : name);
	if (size > 4 && streq(name + size - 4, "Usec")) {
		printf(" %s\n", duration_text(json_integer_value(value), text));
	} else if (json_is_string(value)) {
		printf(" ");
		print_clean_text(stdout, json_string_value(value));
		printf("\n");
	} else if (json_is_true(value)) {
		printf("\n");
	} else {
		autofree char *dump =
			json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
		bool is_long = strlen(dump) > OPTION_SHOWN_MAX;

		printf(" %.*s%s\n", OPTION_SHOWN_MAX, dump, is_long ? "... (--json has all)" : "");
	}
}

static void print_options(const json_t *job)
{
	static const char *const known[] = {"kind", "name", "targets", "exclude", NULL};
	json_t *options = json_object_get(job, "options");
	const char *name, *inner;
	json_t *value, *inner_value;

	json_object_foreach (options, name, value) {
		bool is_known = false;

		for (size_t i = 0; known[i]; i++)
			is_known = is_known || streq(known[i], name);
		if (is_known)
			continue;
		if (!json_is_object(value)) {
			print_option(name, value);
			continue;
		}
		json_object_foreach (value, inner, inner_value) {
			if (streq(inner, "stdin"))
				printf("%12s: stdin (%zu bytes in base64)\n", "option",
				       json_string_length(inner_value));
			else
				print_option(inner, inner_value);
		}
	}
}

static void print_time(const char *name, const json_t *job, const char *member)
{
	char when[UNITS_TEXT_MAX], ago[UNITS_TEXT_MAX];
	int64_t us = number_of(job, member);

	if (us != 0)
		printf("%12s: %s (%s)\n", name, time_text(us, when),
		       ago_text(us, now_real_us(), ago));
}

static void print_job(const json_t *job)
{
	printf("%12s: %lld\n", "job", (long long)number_of(job, "id"));
	print_field("name", text_of(job, "name"));
	print_field("kind", text_of(job, "kind"));
	print_field("state", text_of(job, "state"));
	print_field("reason", text_of(job, "reason"));
	print_field("user", text_of(job, "user"));
	print_field("targets", text_of(job, "targets"));
	if (json_object_get(job, "retryOf"))
		printf("%12s: job %lld\n", "retries", (long long)number_of(job, "retryOf"));
	if (json_object_get(job, "schedule"))
		printf("%12s: s%lld\n", "run of", (long long)number_of(job, "schedule"));
	print_options(job);
	print_time("created", job, "createdUsec");
	print_time("started", job, "startedUsec");
	print_time("ended", job, "endedUsec");
	print_counts(job);
	print_errors(job);
}

static bool collect(json_t *reply, bool continues, void *context)
{
	(void)continues;
	(void)json_array_extend(context, json_object_get(reply, "tasks"));
	return true;
}

/* "median 9.31": of a ping's round-trip times, in ms. */
static void print_rtt(const json_t *ping, const char *name, const char *member)
{
	if (json_object_get(ping, member))
		printf("  %s %.2f", name, (double)number_of(ping, member) / 1e3);
}

static void print_number(const json_t *ping, const char *name, const char *member)
{
	if (number_of(ping, member) > 0)
		printf("  %s %lld", name, (long long)number_of(ping, member));
}

static void print_result(const json_t *ping)
{
	printf("%12s: %s\n", "address", text_of(ping, "address"));
	printf("%12s: sent %lld  received %lld", "requests", (long long)number_of(ping, "sent"),
	       (long long)number_of(ping, "received"));
	print_number(ping, "duplicates", "duplicates");
	print_number(ping, "late", "late");
	print_number(ping, "out-of-order", "outOfOrder");
	print_number(ping, "wrong-source", "wrongSource");
	print_number(ping, "corrupted", "corrupted");
	print_number(ping, "TTL", "ttl");
	printf("\n");
	if (number_of(ping, "received") == 0)
		return;
	printf("%12s:", "times in ms");
	print_rtt(ping, "min", "minUsec");
	print_rtt(ping, "median", "medianUsec");
	print_rtt(ping, "avg", "avgUsec");
	print_rtt(ping, "p95", "p95Usec");
	print_rtt(ping, "max", "maxUsec");
	print_rtt(ping, "stddev", "stddevUsec");
	print_rtt(ping, "jitter", "jitterUsec");
	printf("\n");
}

/* Of one target what the table has no room for. */
static void print_target(const json_t *task)
{
	const json_t *ping = json_object_get(task, "ping");
	const json_t *addresses = json_object_get(ping, "addresses");

	if (!ping && !*text_of(task, "message"))
		return;
	printf("\n");
	print_field("target", text_of(task, "target"));
	print_field("error", text_of(task, "message"));
	if (!ping)
		return;
	for (size_t i = 0; i < json_array_size(addresses); i++)
		print_result(json_object_get(json_array_get(addresses, i), "ping"));
	if (json_array_size(addresses) == 0)
		print_result(ping);
}

/* All in JSON and where single ones were named; for people the first, and how to see the others. */
static json_t *tasks_of(const char *selector, bool is_all, bool *ret_more)
{
	json_t *parameters = json_pack("{s:s}", "selector", selector);
	json_t *tasks = json_array();
	json_t *reply;

	*ret_more = false;
	if (is_all) {
		talk_stream("ListTasks", parameters, collect, tasks);
		return tasks;
	}
	(void)json_object_set_new(parameters, "limit", json_integer(TASKS_SHOWN));
	reply = talk("ListTasks", parameters);
	(void)json_array_extend(tasks, json_object_get(reply, "tasks"));
	*ret_more = json_is_true(json_object_get(reply, "hasMore"));
	json_decref(reply);
	while (json_array_size(tasks) > TASKS_SHOWN) {
		(void)json_array_remove(tasks, json_array_size(tasks) - 1);
		*ret_more = true;
	}
	return tasks;
}

static bool collect_jobs(json_t *reply, bool continues, void *context)
{
	(void)continues;
	(void)json_array_extend(context, json_object_get(reply, "jobs"));
	return true;
}

static void show(const json_t *job, const char *task_selector)
{
	autofree char *id = xasprintf("%lld", (long long)number_of(job, "id"));
	bool has_part = task_selector && strchr(task_selector, '/');
	bool is_more;
	json_t *tasks =
		tasks_of(has_part ? task_selector : id, globals.is_json || has_part, &is_more);

	if (globals.is_json) {
		json_t *whole = json_copy((json_t *)(uintptr_t)job);

		(void)json_object_set(whole, "taskList", tasks);
		print_json(whole);
		json_decref(whole);
	} else {
		tables_load();
		print_job(job);
		printf("\n");
		print_task_table(tasks);
		for (size_t i = 0; has_part && i < json_array_size(tasks); i++)
			print_target(json_array_get(tasks, i));
		if (is_more && !globals.is_quiet)
			(void)fprintf(stderr,
				      "jobctl: the first %d tasks; --json shows all, and "
				      "`jobctl receive %s --again` their results\n",
				      TASKS_SHOWN, id);
	}
	json_decref(tasks);
}

/* The jobs of one selector, oldest first. */
static void show_selected(json_t *parameters, const char *selector, bool *is_first)
{
	json_t *jobs = json_array();

	talk_stream("List", json_incref(parameters), collect_jobs, jobs);
	for (size_t i = json_array_size(jobs); i-- > 0;) {
		if (!*is_first && !globals.is_json)
			printf("\n");
		*is_first = false;
		show(json_array_get(jobs, i), selector);
	}
	json_decref(jobs);
}

/* Selector by selector, in the order in which they were named: each may have a task part. */
enum status cmd_show(struct words *words)
{
	size_t count = words->argument_count;
	bool is_first = true;

	if (count == 0 && !json_object_get(words->parameters, "selection"))
		fail(STATUS_WORDS, "which job? jobctl show 7, or jobctl show @last");
	words_select(words);
	count = words->argument_count;
	(void)json_object_set_new(words->parameters, "details", json_true());
	if (count == 0)
		show_selected(words->parameters, NULL, &is_first);
	for (size_t i = 0; i < count; i++) {
		json_t *selection = json_object_get(words->parameters, "selection");

		(void)json_object_set_new(selection, "selectors",
					  json_pack("[s]", words->arguments[i]));
		show_selected(words->parameters, words->arguments[i], &is_first);
	}
	return STATUS_OK;
}
