/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobctl export: everything that jobd knows of jobs, as lines of JSON with the interface's own
 * types:
 * {"job": Job}, then its {"task": Task} by index, then its {"record": Record} by position. Nothing
 * is kept in memory but a page, and no reading position moves.
 */
#include "client/client.h"

#include "common/util.h"

enum { JOBS_PAGE = 1000 };

static void print_member(const char *name, json_t *value)
{
	json_t *line = json_pack("{s:O}", name, value);

	print_json(line);
	json_decref(line);
}

static bool print_tasks(json_t *reply, bool continues, void *context)
{
	json_t *tasks = json_object_get(reply, "tasks");

	(void)continues;
	(void)context;
	for (size_t i = 0; i < json_array_size(tasks); i++)
		print_member("task", json_array_get(tasks, i));
	return true;
}

static void print_record(json_t *record, void *context)
{
	(void)context;
	print_member("record", record);
}

static void export_job(json_t *job)
{
	autofree char *id = xasprintf("%lld", (long long)number_of(job, "id"));

	/* It was there when the list was made. */
	if (!talk_has_job(id)) {
		(void)fflush(stdout);
		(void)fprintf(stderr, "jobctl: job %s was removed meanwhile: it is left out\n", id);
		return;
	}
	print_member("job", job);
	talk_stream("ListTasks", json_pack("{s:s}", "selector", id), print_tasks, NULL);
	talk_records(id, print_record, NULL);
}

/* Of --newest are left those that the page did not have: false, where that is none. */
static bool is_newest_left(json_t *selection, size_t count)
{
	json_int_t left = number_of(selection, "newest") - (json_int_t)count;

	if (!json_object_get(selection, "newest"))
		return true;
	(void)json_object_set_new(selection, "newest", json_integer(left));
	return left > 0;
}

enum status cmd_export(struct words *words)
{
	bool has_older = true;

	words_refuse_tasks(words, "export");
	words_select(words);
	talk_on_interrupt(0);
	(void)json_object_set_new(words->parameters, "details", json_true());
	(void)json_object_set_new(words->parameters, "limit", json_integer(JOBS_PAGE));
	while (has_older) {
		json_t *reply = talk("List", json_incref(words->parameters));
		json_t *jobs = json_object_get(reply, "jobs");
		size_t count = json_array_size(jobs);

		for (size_t i = 0; i < count; i++)
			export_job(json_array_get(jobs, i));
		has_older = count > 0 && json_is_true(json_object_get(reply, "hasOlder")) &&
			    is_newest_left(json_object_get(words->parameters, "selection"), count);
		if (has_older)
			(void)json_object_set_new(
				words->parameters, "before",
				json_integer(number_of(json_array_get(jobs, count - 1), "id")));
		json_decref(reply);
	}
	return STATUS_OK;
}
