/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* jobctl list: one row a job, the newest hundred unless more is asked for. */
#include "client/client.h"

#include "common/util.h"

static void print_jobs(const json_t *jobs)
{
	size_t index;
	json_t *job;

	if (!globals.is_json) {
		print_job_table(jobs);
		return;
	}
	json_array_foreach ((json_t *)(uintptr_t)jobs, index, job) {
		print_json(job);
	}
}

static bool collect(json_t *reply, bool continues, void *context)
{
	(void)continues;
	(void)json_array_extend(context, json_object_get(reply, "jobs"));
	return true;
}

enum status cmd_list(struct words *words)
{
	json_t *jobs = json_array();
	bool is_whole;

	words_select(words);
	/* Whoever says which jobs gets them all. */
	is_whole = json_object_get(words->parameters, "selection") != NULL;
	if (is_whole) {
		talk_stream("List", json_incref(words->parameters), collect, jobs);
	} else {
		json_t *reply = talk("List", json_incref(words->parameters));

		(void)json_array_extend(jobs, json_object_get(reply, "jobs"));
		if (json_is_true(json_object_get(reply, "hasOlder")) && !globals.is_quiet)
			(void)fprintf(stderr, "jobctl: the newest %zu jobs; --all shows all\n",
				      json_array_size(jobs));
		json_decref(reply);
	}
	print_jobs(jobs);
	json_decref(jobs);
	return STATUS_OK;
}
