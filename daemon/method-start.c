/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Start, of jobs and schedules, and Retry, which is a Start with the targets of an ended job that
 * did not succeed. */
#include "daemon/jobs.h"
#include "daemon/json-text.h"
#include "daemon/methods.h"
#include "daemon/request.h"
#include "daemon/schedules.h"
#include "daemon/walk.h"

#include "common/util.h"

static void start(struct call *call, const json_t *parameters, bool is_trusted, uint64_t retry_of)
{
	struct job_request request = {
		.uid = call->uid,
		.is_trusted = is_trusted,
		.is_dry_run = json_is_true(json_object_get(call->parameters, "dryRun")),
		.token = json_string_value(json_object_get(call->parameters, "token")),
		.parameters = parameters,
		.retry_of = retry_of,
	};
	struct json_text text = {0};
	struct error error = {0};
	uint64_t id, tasks;
	bool is_new;
	int r;

	if (json_is_object(json_object_get(parameters, "schedule")))
		r = schedules_make(call->daemon->schedules, &request, &id, &tasks, &is_new, &error);
	else
		r = jobs_start(call->daemon->jobs, &request, &id, &tasks, &is_new, &error);
	if (r < 0) {
		call_error(call, &error);
		return;
	}
	call_text_begin(&text);
	json_text_add(&text, "{");
	json_text_member_number(&text, "id", (int64_t)id);
	json_text_member_number(&text, "tasks", (int64_t)tasks);
	json_text_member_bool(&text, "isNew", is_new);
	json_text_add(&text, "}");
	call_reply_start(call, is_new ? id : 0, &text);
}

void method_start(struct call *call)
{
	start(call, call->parameters, call->is_trusted, 0);
}

/* --- Retry --- */

enum { RETRY_STEP = 1000 };

struct retrying {
	struct walk walk;
	struct job_row row;
	struct target_list *list;
	int64_t after;  /* tasks up to here were looked at */
	int64_t filled; /* in this step */
	json_t *targets;
};

static void retrying_free(void *state)
{
	struct retrying *retrying = state;

	job_row_done(&retrying->row);
	target_list_free(retrying->list);
	json_decref(retrying->targets);
	walk_free(retrying);
}

static void add_target(struct retrying *retrying, int64_t index)
{
	char text[TARGET_TEXT_MAX];

	if (!selection_matches_task(retrying->walk.selection, retrying->row.id, (uint32_t)index))
		return;
	target_list_text(retrying->list, (uint64_t)index, text);
	(void)json_array_append_new(retrying->targets, json_string(text));
}

/* Those without a row, up to and without `end`: never begun, so that they are tried now. */
static void add_gap(struct retrying *retrying, int64_t end)
{
	while (++retrying->filled < end)
		add_target(retrying, retrying->filled);
}

static int add_failed(const struct task_row *row, void *context)
{
	struct retrying *retrying = context;

	if ((int64_t)row->key.index > retrying->after + RETRY_STEP)
		return 1;
	add_gap(retrying, row->key.index);
	if (row->state != TASK_SUCCEEDED)
		add_target(retrying, row->key.index);
	return 0;
}

static void start_again(struct call *call)
{
	struct retrying *retrying = call->state;
	json_t *parameters = json_loads(retrying->row.options, 0, NULL);
	struct error error = {0};

	if (json_array_size(retrying->targets) == 0) {
		const char *word = selection_task_word(retrying->walk.selection);
		char id[24];

		(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)retrying->row.id);
		(void)error_set(&error, ERROR_WRONG_STATE, id,
				"every task of %s%.64s succeeded: there is nothing to retry",
				word ? "" : "job ", word ? word : id);
		json_decref(parameters);
		call_error(call, &error);
		return;
	}
	(void)json_object_set(parameters, "targets", retrying->targets);
	/* Whoever named the files must have been allowed to, too. */
	start(call, parameters, call->is_trusted && user_is_trusted(retrying->row.uid),
	      retrying->row.id);
	json_decref(parameters);
}

static void retry_step(struct call *call)
{
	struct retrying *retrying = call->state;
	int64_t total = (int64_t)target_list_count(retrying->list);
	int64_t end = retrying->after + 1 + RETRY_STEP;
	struct error error = {0};
	int r;

	if (end > total)
		end = total;
	retrying->filled = retrying->after;
	r = store_read_tasks(call->daemon->store, retrying->row.id, retrying->after, RETRY_STEP,
			     add_failed, retrying);
	if (r < 0) {
		walk_refuse_read(call, r);
		return;
	}
	add_gap(retrying, end);
	retrying->after = end - 1;
	if (json_array_size(retrying->targets) > TARGET_NAMES_MAX) {
		(void)error_set(&error, ERROR_LIMIT_REACHED, "max-targets",
				"more than %d tasks did not succeed: start the job anew",
				TARGET_NAMES_MAX);
		call_error(call, &error);
	} else if (end < total) {
		call->step = retry_step;
		call_schedule(call);
	} else {
		call->step = NULL;
		start_again(call);
	}
}

/* The job that the selector names must have ended. */
static int open_job(struct call *call, struct retrying *retrying, struct error *ret_error)
{
	char id[24];

	if (!job_state_is_final(retrying->row.state) ||
	    jobs_find(call->daemon->jobs, retrying->row.id)) {
		(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)retrying->row.id);
		return error_set(ret_error, ERROR_WRONG_STATE, id,
				 "job %s is %s: wait for its end, or stop it, then retry", id,
				 job_state_words[retrying->row.state]);
	}
	return request_targets(retrying->row.targets, UINT32_MAX, &retrying->list, ret_error);
}

static void retry(struct call *call)
{
	struct error error = {0};

	if (open_job(call, call->state, &error) < 0)
		call_error(call, &error);
	else
		retry_step(call);
}

void method_retry(struct call *call)
{
	struct retrying *retrying = walk_new_one(call, sizeof(*retrying), retrying_free);

	if (!retrying)
		return;
	selection_want_whole(retrying->walk.selection);
	retrying->after = -1;
	retrying->targets = json_array();
	walk_find(call, &retrying->row, retry);
}
