/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The commands that change jobs: stop, pause, resume, remove, retry, adjust. */
#include "client/client.h"

#include "common/units.h"
#include "common/util.h"

/* A change without any word on which jobs is refused. */
static void select_some(struct words *words, const char *verb)
{
	words_select(words);
	if (!json_object_get(words->parameters, "selection"))
		fail(STATUS_WORDS, "name the jobs to %s, or say --all", verb);
}

/* What came back, which only --json wants to see. */
static void print_reply(json_t *reply)
{
	if (globals.is_json)
		print_json(reply);
	json_decref(reply);
}

/* stop, pause and resume are one call each with the ids that it changed. */
static enum status change(struct words *words, const char *verb, const char *method)
{
	select_some(words, verb);
	print_reply(talk(method, json_incref(words->parameters)));
	return STATUS_OK;
}

enum status cmd_stop(struct words *words)
{
	return change(words, "stop", "Stop");
}

enum status cmd_pause(struct words *words)
{
	return change(words, "pause", "Pause");
}

enum status cmd_resume(struct words *words)
{
	return change(words, "resume", "Resume");
}

enum status cmd_remove(struct words *words)
{
	json_t *left, *job, *reply;
	enum status status;
	size_t index;

	select_some(words, "remove");
	reply = talk("Remove", json_incref(words->parameters));
	left = json_object_get(reply, "left");
	status = json_array_size(left) > 0 ? STATUS_REFUSED : STATUS_OK;
	if (globals.is_json)
		print_json(reply);
	else
		json_array_foreach (left, index, job) {
			(void)fprintf(stderr, "jobctl: %s\n", text_of(job, "message"));
		}
	json_decref(reply);
	return status;
}

/* The one job that a command is about: an id, a name or @last, perhaps with a task part. */
static json_t *only_argument(const struct words *words, const char *verb)
{
	/* Of several the newest would be taken, and the others without a word be left. */
	if (words->argument_count != 1 || words->has_rest || !word_is_one_job(words->arguments[0]))
		fail(STATUS_WORDS, "jobctl %s takes one job: jobctl %s 7", verb, verb);
	return text_value(words->arguments[0], "a selector");
}

enum status cmd_retry(struct words *words)
{
	json_t *selector = only_argument(words, "retry");
	json_t *reply =
		talk("Retry", json_pack("{s:o, s:o}", "selector", selector, "token", new_token()));

	if (globals.is_json)
		print_json(reply);
	else
		printf("%lld\n", (long long)number_of(reply, "id"));
	json_decref(reply);
	return STATUS_OK;
}

enum status cmd_adjust(struct words *words)
{
	json_t *selector = only_argument(words, "adjust");
	const char *word = json_string_value(selector);
	int64_t id;

	words_refuse_tasks(words, "adjust");
	if (json_object_size(words->parameters) == 0)
		fail(STATUS_WORDS, "what should change? see jobctl adjust --help");
	if (number_parse(word, 1, INT64_MAX / 2, &id) < 0) {
		/* A name or @last: its id first. */
		json_t *reply = talk("List", json_pack("{s:{s:[O]}, s:i}", "selection", "selectors",
						       selector, "limit", 1));

		id = number_of(json_array_get(json_object_get(reply, "jobs"), 0), "id");
		json_decref(reply);
		if (id == 0)
			fail(STATUS_REFUSED, "no job is called '%.80s'", word);
	}
	json_decref(selector);
	(void)json_object_set_new(words->parameters, "id", json_integer(id));
	print_reply(talk("Adjust", json_incref(words->parameters)));
	return STATUS_OK;
}
