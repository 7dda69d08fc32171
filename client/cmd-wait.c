/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* jobctl wait, and jobctl receive. */
#include "client/client.h"
#include "client/files.h"

#include "common/util.h"

static bool draw(json_t *reply, bool continues, void *context)
{
	json_t **last = context;

	json_decref(*last);
	*last = json_incref(reply);
	if (continues)
		progress_draw(reply);
	return true;
}

json_t *wait_for(json_t *parameters)
{
	json_t *last = NULL;

	talk_stream("Wait", parameters, draw, &last);
	progress_clear();
	return last;
}

/* Waited for, and what came of it. */
static enum status status_of_sums(const json_t *sums)
{
	if (json_is_true(json_object_get(sums, "isTimedOut")))
		return STATUS_TIMEOUT;
	return number_of(sums, "succeeded") < number_of(sums, "tasks") ? STATUS_FAILED : STATUS_OK;
}

static void print_sums(const json_t *sums)
{
	int64_t others = number_of(sums, "stopped") + number_of(sums, "interrupted");

	if (json_is_true(json_object_get(sums, "isTimedOut")))
		(void)fprintf(stderr,
			      "jobctl: the time is out: %lld of %lld jobs have ended, %lld tasks "
			      "run, %lld wait\n",
			      (long long)number_of(sums, "jobsEnded"),
			      (long long)number_of(sums, "jobs"),
			      (long long)number_of(sums, "running"),
			      (long long)number_of(sums, "queued"));
	else if (number_of(sums, "succeeded") < number_of(sums, "tasks"))
		(void)fprintf(stderr,
			      "jobctl: of %lld task%s %lld succeeded, %lld failed%s%.0lld%s\n",
			      (long long)number_of(sums, "tasks"),
			      number_of(sums, "tasks") == 1 ? "" : "s",
			      (long long)number_of(sums, "succeeded"),
			      (long long)number_of(sums, "failed"), others ? ", " : "",
			      (long long)others, others ? " stopped or interrupted" : "");
}

enum status cmd_wait(struct words *words)
{
	enum status status;
	json_t *sums;

	words_select(words);
	talk_on_interrupt(0);
	sums = wait_for(json_incref(words->parameters));
	status = status_of_sums(sums);
	if (globals.is_json)
		print_json(sums);
	else if (!globals.is_quiet)
		print_sums(sums);
	json_decref(sums);
	return status;
}

/* Is the selection one job of one target? */
static bool has_one_task(json_t *selection)
{
	json_t *parameters = json_pack("{s:i}", "limit", 2);
	json_t *list, *jobs;
	bool is_one;

	if (selection)
		(void)json_object_set(parameters, "selection", selection);
	list = talk("List", parameters);
	jobs = json_object_get(list, "jobs");
	is_one = json_array_size(jobs) == 1 && number_of(json_array_get(jobs, 0), "tasks") == 1;
	json_decref(list);
	return is_one;
}

/* One task and no more is meant: one job of one target, or 7/r03. */
static bool is_single(json_t *selection)
{
	const json_t *selectors = json_object_get(selection, "selectors");
	const char *word = json_string_value(json_array_get(selectors, 0));

	if (json_array_size(selectors) == 1 && strchr(word, '/') && !strpbrk(word, "[*?,-"))
		return true;
	return has_one_task(selection);
}

static json_t *present_sums(const struct words *words)
{
	return wait_for(json_pack("{s:O*, s:i}", "selection",
				  json_object_get(words->parameters, "selection"), "timeoutUsec",
				  0));
}

/*
 * Of jobs that were named, how all of their tasks ended: of one that was stopped before it began
 * there is no result, and what failed may have been received before.
 */
static bool has_failed(const struct words *words)
{
	json_t *sums;
	bool is_failed;

	/* Those that were removed are not there to be asked for. */
	if (words->argument_count == 0 || words_task_part(words) ||
	    json_object_get(words->parameters, "remove"))
		return false;
	/* As it is now: a name or @last may mean a job that came meanwhile. */
	sums = present_sums(words);
	is_failed = number_of(sums, "failed") + number_of(sums, "stopped") +
			    number_of(sums, "interrupted") >
		    0;
	json_decref(sums);
	return is_failed;
}

/* Else it looks as if a job had had no results, or no failures. is_whole: not only what is new. */
static void tell_nothing(bool is_whole)
{
	(void)fprintf(stderr, "jobctl: %s\n",
		      is_whole ? "there are no such results"
			       : "there is nothing new; --again gives what was received before");
}

enum status cmd_receive(struct words *words)
{
	bool is_wait = json_is_true(json_object_get(words->parameters, "wait"));
	struct results_options options;
	bool is_whole = json_is_true(json_object_get(words->parameters, "again"));
	struct results_sums received;
	json_t *sums;

	words_select(words);
	options = results_options_of(words);
	is_whole |= options.is_summary;
	if (options.dir)
		files_make_dir(options.dir);
	options.is_single = is_single(json_object_get(words->parameters, "selection"));
	talk_on_interrupt(0);
	results_receive(json_incref(words->parameters), &options, &received);
	if (options.is_summary && !options.is_failed_only && !words_task_part(words)) {
		sums = present_sums(words);
		results_tell_missing(&received, number_of(sums, "tasks"));
		json_decref(sums);
	}
	/* Who asked for files is to know that none was written. */
	if (received.is_empty && (globals.is_terminal[1] || options.dir) && !globals.is_quiet &&
	    !globals.is_json)
		tell_nothing(is_whole);
	return is_wait && (received.failed > 0 || has_failed(words)) ? STATUS_FAILED : STATUS_OK;
}
