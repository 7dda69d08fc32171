/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Import: an ended job from what the interface told of it. Its rows go into the store as they come,
 * a commit a call, under an id that counts as removed: nobody sees them, and what a broken
 * connection or a crash leaves is reaped. The last call takes that back and puts the job's row, in
 * one commit. What is kept in memory is two bits a task.
 *
 * A task's row is made by its task, for its attempts, and ended by the record of its end, which
 * says all the rest. Tasks that were never begun have neither.
 */
#include "daemon/config.h"
#include "daemon/jobs.h"
#include "daemon/json-text.h"
#include "daemon/kind.h"
#include "daemon/methods.h"
#include "daemon/request.h"

#include "common/protocol.h"
#include "common/util.h"

struct import {
	struct daemon *daemon;
	struct job_row row; /* as it will be; what the tasks say is added up */
	json_t *job;        /* as it was told */
	struct target_list *targets;
	uint64_t ended[TASK_STATE_COUNT];
	unsigned char *begun, *done; /* bits, by index */
	uint64_t next_index;         /* of a task that may come */
	int64_t position;            /* of the newest record, as it was told */
};

static int refuse(struct error *ret_error, const char *what, const char *sentence)
{
	return error_set(ret_error, ERROR_INVALID_OPTION, what, "%s: %s", what, sentence);
}

static int64_t number_of(const json_t *object, const char *member)
{
	return json_integer_value(json_object_get(object, member));
}

static const char *text_of(const json_t *object, const char *member)
{
	return json_string_value(json_object_get(object, member));
}

/* Where the job is not there, what is there of it goes. */
static void import_free(void *context)
{
	struct import *import = context;
	struct store *store = import->daemon->store;

	if (import->row.ended_us == 0) {
		store_set_arriving(store, import->row.id, false);
		store_put_job_removed(store, import->row.id);
	}
	job_row_done(&import->row);
	json_decref(import->job);
	target_list_free(import->targets);
	free(import->begun);
	free(import->done);
	free(import);
}

static bool take_bit(unsigned char *bits, uint64_t index)
{
	unsigned char bit = (unsigned char)(1U << index % 8);
	bool was_set = bits[index / 8] & bit;

	bits[index / 8] |= bit;
	return was_set;
}

static bool has_bit(const unsigned char *bits, uint64_t index)
{
	return bits[index / 8] >> index % 8 & 1;
}

/* --- The job --- */

static char *dump(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER);

	json_decref(object);
	if (!text)
		abort();
	return text;
}

/* The texts of a row, from the options that are shown as one. */
static void split_options(const json_t *job, struct job_row *row)
{
	static const char *const members[] = {"targets", "exclude"};
	const json_t *options = json_object_get(job, "options");
	json_t *targets = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		(void)json_object_set(targets, members[i], json_object_get(options, members[i]));
	if (json_object_get(job, "shuffleSeed"))
		(void)json_object_set(targets, "shuffle", json_object_get(job, "shuffleSeed"));
	row->options = request_options_text(options, kind_find(row->kind));
	row->targets = dump(targets);
	request_show_long(options, row->options, row->targets, &row->targets_shown,
			  &row->command_shown);
}

/* Where the clock that it went by was ahead, or was set back meanwhile, its times are still to
 * come, or its end lies before its beginning. Times to come would keep it from being listed and
 * pruned. */
static int64_t past_time(const json_t *job, const char *member)
{
	int64_t told_us = number_of(job, member), now_us = now_real_us();

	return told_us < now_us ? told_us : now_us;
}

/* Who may name no files in a job of his own may have none that does: it could be started again. */
static int check_files(const struct call *call, const json_t *job, struct error *ret_error)
{
	return call->is_trusted ? 0
				: request_check_files(json_object_get(job, "options"),
						      kind_find(text_of(job, "kind")), ret_error);
}

static int read_job(struct import *import, const json_t *job, struct error *ret_error)
{
	struct job_row *row = &import->row;
	int state = word_find(job_state_words, text_of(job, "state"));
	const char *name = text_of(job, "name");
	int r;

	if (state < 0 || !job_state_is_final((enum job_state)state) ||
	    number_of(job, "endedUsec") <= 0)
		return refuse(ret_error, "job", "only a job that has ended can be imported");
	if (!kind_find(text_of(job, "kind")))
		return refuse(ret_error, "job", "this jobd does not know its kind");
	if (!json_is_array(json_object_get(json_object_get(job, "options"), "targets")))
		return refuse(ret_error, "job", "its options are missing");
	if (!streq(text_of(json_object_get(job, "options"), "kind"), text_of(job, "kind")))
		return refuse(ret_error, "job", "its options are of another kind");
	if (number_of(job, "createdUsec") < 0 || number_of(job, "startedUsec") < 0)
		return refuse(ret_error, "job", "it has times that cannot be");
	r = name ? job_name_check(name, ret_error) : 0;
	if (r < 0)
		return r;
	row->state = (enum job_state)state;
	row->kind = xstrdup(text_of(job, "kind"));
	row->name = xstrdup_or_null(name);
	row->reason = xstrdup_or_null(text_of(job, "reason"));
	row->created_us = past_time(job, "createdUsec");
	row->started_us = past_time(job, "startedUsec");
	split_options(job, row);
	r = request_targets(row->targets, (uint64_t)import->daemon->config->max_targets,
			    &import->targets, ret_error);
	if (r < 0)
		return r;
	row->next_index = row->recorded_index = target_list_count(import->targets);
	if ((uint64_t)number_of(job, "tasks") != row->next_index)
		return refuse(ret_error, "job", "it has more or fewer tasks than targets");
	import->begun = xcalloc(row->next_index / 8 + 1, 1);
	import->done = xcalloc(row->next_index / 8 + 1, 1);
	import->job = json_incref((json_t *)(uintptr_t)job);
	return 0;
}

/* The first call: what the connection had before is let go. */
static int begin(struct call *call, struct error *ret_error)
{
	const json_t *job = json_object_get(call->parameters, "job");
	struct import *import;
	int r = jobs_check_room(call->daemon->jobs, ret_error);

	if (r < 0)
		return r;
	import = xcalloc(1, sizeof(*import));
	import->daemon = call->daemon;
	import->row.uid = call->uid;
	import->row.id = store_next_job(call->daemon->store);
	store_set_arriving(call->daemon->store, import->row.id, true);
	store_put_job_removed(call->daemon->store, import->row.id);
	connection_set_state(call->connection, import, import_free);
	r = read_job(import, job, ret_error);
	return r == 0 ? check_files(call, job, ret_error) : r;
}

/* --- Tasks and records --- */

/* Both say whose they are. */
static int check_place(const struct import *import, const json_t *object, const char *what,
		       struct error *ret_error)
{
	int64_t index = number_of(object, "index");
	char target[TARGET_TEXT_MAX];

	if (number_of(object, "job") != number_of(import->job, "id"))
		return refuse(ret_error, what, "one is of another job");
	if (index < 0 || (uint64_t)index >= import->row.next_index)
		return refuse(ret_error, what, "one has an index beyond the job's targets");
	target_list_text(import->targets, (uint64_t)index, target);
	return streq(target, text_of(object, "target"))
		       ? 0
		       : refuse(ret_error, what, "one has another target than its index");
}

static struct task_key key_of(const struct import *import, const json_t *object)
{
	return (struct task_key){import->row.id, (uint32_t)number_of(object, "index")};
}

static int take_task(struct import *import, const json_t *task, struct error *ret_error)
{
	uint64_t index = (uint64_t)number_of(task, "index");
	int64_t attempts = number_of(task, "attempts");
	int r = check_place(import, task, "tasks", ret_error);

	if (r < 0)
		return r;
	if (index < import->next_index || import->position > 0)
		return refuse(ret_error, "tasks", "they are not in order");
	if (attempts < 0 || attempts > INT32_MAX)
		return refuse(ret_error, "tasks", "one has an impossible number of attempts");
	import->next_index = index + 1;
	if (!json_object_get(task, "endedUsec"))
		return 0;
	(void)take_bit(import->begun, index);
	store_put_task_started(import->daemon->store, key_of(import, task), (unsigned)attempts,
			       number_of(task, "startedUsec"));
	return 0;
}

static int take_output(struct import *import, const json_t *record, uint64_t position,
		       struct error *ret_error)
{
	int stream = word_find(stream_words, text_of(record, "stream"));
	int64_t offset = number_of(record, "offset");
	char *bytes;
	size_t size;

	if (stream < 0 || offset < 0 || bytes_from_json(record, &bytes, &size) < 0)
		return refuse(ret_error, "records", "one is neither output nor an end");
	import->row.output_bytes += size;
	store_put_output(import->daemon->store, key_of(import, record), position,
			 (enum stream)stream, (uint64_t)offset, number_of(record, "atUsec"), bytes,
			 size);
	return 0;
}

static int take_end(struct import *import, const json_t *record, const json_t *end,
		    uint64_t position, struct error *ret_error)
{
	int state = word_find(task_state_words, text_of(end, "state"));
	int class = text_of(end, "error") ? word_find(error_class_words, text_of(end, "error"))
					  : CLASS_NONE;
	json_t *result = json_object_get(end, import->row.kind);
	struct outcome outcome;

	if (state < 0 || class < 0 || !task_state_is_final((enum task_state)state) ||
	    take_bit(import->done, (uint64_t)number_of(record, "index")))
		return refuse(ret_error, "records", "a task has no end, or two");
	outcome = (struct outcome){
		.state = (enum task_state)state,
		.class = (enum error_class) class,
		.message = xstrdup_or_null(text_of(end, "message")),
		.result = result ? dump(json_incref(result)) : NULL,
	};
	import->ended[state]++;
	if (class != CLASS_NONE)
		import->row.class_counts[class]++;
	store_put_task_ended(import->daemon->store, key_of(import, record), 0, 0, &outcome,
			     number_of(record, "atUsec"), position);
	return 0;
}

static int take_record(struct import *import, const json_t *record, struct error *ret_error)
{
	const json_t *end = json_object_get(record, "task");
	uint64_t position;
	int r = check_place(import, record, "records", ret_error);

	if (r < 0)
		return r;
	if (!has_bit(import->begun, (uint64_t)number_of(record, "index")))
		return refuse(ret_error, "records", "one is of a task that was not begun");
	if (number_of(record, "position") <= import->position)
		return refuse(ret_error, "records", "they are not in order");
	import->position = number_of(record, "position");
	position = store_next_position(import->daemon->store);
	import->row.last_position = position;
	return end ? take_end(import, record, end, position, ret_error)
		   : take_output(import, record, position, ret_error);
}

/* --- The end --- */

/* Every task has its end, and the job says the same. */
static int check_whole(const struct import *import, struct error *ret_error)
{
	uint64_t left = import->row.next_index;

	for (uint64_t i = 0; i <= import->row.next_index / 8; i++)
		if (import->begun[i] != import->done[i])
			return refuse(ret_error, "records", "a task was begun and has no end");
	for (size_t i = TASK_SUCCEEDED; i < TASK_STATE_COUNT; i++) {
		left -= import->ended[i];
		if (i != TASK_STOPPED &&
		    (int64_t)import->ended[i] != number_of(import->job, task_state_words[i]))
			return refuse(ret_error, "records", "the job says another number of ends");
	}
	return (int64_t)(left + import->ended[TASK_STOPPED]) == number_of(import->job, "stopped")
		       ? 0
		       : refuse(ret_error, "tasks", "some are missing");
}

static int finish(struct import *import, struct error *ret_error)
{
	struct store *store = import->daemon->store;
	struct job_row *row = &import->row;
	int r = check_whole(import, ret_error);

	if (r < 0)
		return r;
	memcpy(row->counts, import->ended, sizeof(row->counts));
	row->counts[TASK_STOPPED] = (uint64_t)number_of(import->job, "stopped");
	row->ended_us = past_time(import->job, "endedUsec");
	if (!json_is_true(json_object_get(import->job, "hasResults")))
		row->received_position = row->last_position;
	(void)store_put_job(store, row);
	store_put_job_kept(store, row->id);
	jobs_arrived(import->daemon->jobs, row->id);
	return 0;
}

static int take(struct call *call, struct import *import, struct error *ret_error)
{
	json_t *tasks = json_object_get(call->parameters, "tasks");
	json_t *records = json_object_get(call->parameters, "records");
	int r = jobs_check_room(call->daemon->jobs, ret_error);

	for (size_t i = 0; r == 0 && i < json_array_size(tasks); i++)
		r = take_task(import, json_array_get(tasks, i), ret_error);
	for (size_t i = 0; r == 0 && i < json_array_size(records); i++)
		r = take_record(import, json_array_get(records, i), ret_error);
	return r;
}

static void reply_id(struct call *call, uint64_t id)
{
	struct json_text text = {0};

	call_text_begin(&text);
	json_text_add(&text, "{");
	json_text_member_number(&text, "id", (int64_t)id);
	json_text_add(&text, "}");
	call_reply_start(call, id, &text);
}

void method_import(struct call *call)
{
	bool is_end = json_is_true(json_object_get(call->parameters, "isEnd"));
	struct error error = {0};
	struct import *import;
	uint64_t id = 0;
	int r = 0;

	if (json_is_object(json_object_get(call->parameters, "job")))
		r = begin(call, &error);
	import = connection_state(call->connection, import_free);
	if (r == 0 && !import)
		r = refuse(&error, "job", "the first call of an import has it");
	if (r == 0)
		r = take(call, import, &error);
	if (r == 0 && is_end)
		r = finish(import, &error);
	if (import)
		id = import->row.id;
	/* It is there, or nothing of it is. */
	if (import && (r < 0 || is_end))
		connection_set_state(call->connection, NULL, NULL);
	if (r < 0)
		call_error(call, &error);
	else if (is_end)
		reply_id(call, id);
	else
		call_reply(call, NULL);
}
