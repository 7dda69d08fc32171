/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows as the interface's types Job and Task. */
#include "daemon/methods.h"

#include "common/hash.h"
#include "common/util.h"
#include "daemon/json-text.h"
#include "daemon/request.h"
#include "daemon/store.h"

#include <pwd.h>

static void set(json_t *object, const char *member, json_t *value)
{
	if (json_object_set_new(object, member, value) != 0)
		abort();
}

static void set_number(json_t *object, const char *member, uint64_t value)
{
	set(object, member, json_integer((json_int_t)value));
}

static void set_time(json_t *object, const char *member, int64_t us)
{
	if (us != 0)
		set(object, member, json_integer(us));
}

/* A string that users or far sides wrote: never invalid UTF-8. */
static void set_text(json_t *object, const char *member, const char *text)
{
	json_t *value = json_string(text);

	set(object, member, value ? value : json_string("(not UTF-8)"));
}

/* --- User names --- */

/* Looked up once a user: the name service may be slow, and main must not wait for it each time. */
struct user {
	uid_t uid;
	char *name;
	UT_hash_handle hh;
};

static const char *user_name(uid_t uid)
{
	static struct user *users; /* main's alone; a few dozen at most live with the process */
	const struct passwd *entry;
	struct user *user;

	HASH_FIND(hh, users, &uid, sizeof(uid), user);
	if (user)
		return user->name;
	entry = getpwuid(uid);
	user = xcalloc(1, sizeof(*user));
	user->uid = uid;
	user->name = entry ? xstrdup(entry->pw_name) : xasprintf("%lu", (unsigned long)uid);
	HASH_ADD(hh, users, uid, sizeof(uid), user);
	return user->name;
}

/* --- Jobs --- */

static void set_errors(json_t *job, const struct job_row *row)
{
	json_t *errors = json_object();

	for (size_t i = CLASS_NONE + 1; i < ERROR_CLASS_COUNT; i++)
		if (row->class_counts[i] > 0)
			set_number(errors, error_class_words[i], row->class_counts[i]);
	set(job, "errors", errors);
}

static json_t *load_text(const char *text)
{
	return json_loads(text ? text : "{}", 0, NULL);
}

/* Targets and command as they are kept, or, where the former are NULL, from the texts. */
static void set_shown(json_t *object, const char *targets, const char *command,
		      const json_t *options, const json_t *given)
{
	autofree char *new_targets = targets ? NULL : request_show_targets(given);
	autofree char *new_command = targets ? NULL : request_show_command(options);

	if (!targets)
		command = new_command;
	set_text(object, "targets", targets ? targets : new_targets);
	if (command)
		set_text(object, "command", command);
}

/* The parameters of Start, put together again. */
static void set_options(json_t *object, json_t *options, json_t *given)
{
	(void)json_object_update_missing(options, given);
	set(object, "options", json_incref(options));
}

json_t *view_job(const struct job_row *row, bool with_details)
{
	json_t *options = load_text(row->options), *given = load_text(row->targets);
	json_t *job = json_object();
	uint64_t tasks = 0;

	set_number(job, "id", row->id);
	if (row->name)
		set_text(job, "name", row->name);
	set(job, "kind", json_string(row->kind));
	set(job, "state", json_string(job_state_words[row->state]));
	set_number(job, "uid", row->uid);
	set_text(job, "user", user_name(row->uid));
	set_shown(job, row->targets_shown, row->command_shown, options, given);
	for (size_t i = 0; i < TASK_STATE_COUNT; i++)
		tasks += row->counts[i];
	set_number(job, "tasks", tasks);
	for (size_t i = 0; i < TASK_STATE_COUNT; i++)
		set_number(job, task_state_words[i], row->counts[i]);
	set_number(job, "createdUsec", (uint64_t)row->created_us);
	set_time(job, "startedUsec", row->started_us);
	set_time(job, "endedUsec", row->ended_us);
	set(job, "hasResults", json_boolean(row->last_position > row->received_position));
	if (row->reason)
		set_text(job, "reason", row->reason);
	if (row->retry_of != 0)
		set_number(job, "retryOf", row->retry_of);
	if (row->schedule != 0)
		set_number(job, "schedule", row->schedule);
	if (with_details) {
		json_t *seed = json_object_get(given, "shuffle");

		set_errors(job, row);
		if (json_is_integer(seed))
			set(job, "shuffleSeed", json_incref(seed));
		set_options(job, options, given);
	}
	json_decref(given);
	json_decref(options);
	return job;
}

/* --- Schedules --- */

static json_t *view_rule(const struct schedule_row *row)
{
	json_t *rule = json_object();

	set_time(rule, "everyUsec", row->every_us);
	set_time(rule, "atUsec", row->at_us);
	if (row->calendar)
		set_text(rule, "onCalendar", row->calendar);
	if (row->is_catch_up)
		set(rule, "catchUp", json_true());
	if (row->is_overlap)
		set(rule, "overlap", json_true());
	if (row->keep_last != 0)
		set_number(rule, "keepLast", row->keep_last);
	return rule;
}

json_t *view_schedule(const struct schedule_row *row, const char *last_state, bool with_details)
{
	json_t *options = load_text(row->options), *given = load_text(row->targets);
	json_t *schedule = json_object();

	set_number(schedule, "id", row->id);
	if (row->name)
		set_text(schedule, "name", row->name);
	set(schedule, "kind", json_string(row->kind));
	set(schedule, "rule", view_rule(row));
	set_number(schedule, "uid", row->uid);
	set_text(schedule, "user", user_name(row->uid));
	set_shown(schedule, NULL, NULL, options, given);
	set(schedule, "paused", json_boolean(row->is_paused));
	set_number(schedule, "createdUsec", (uint64_t)row->created_us);
	set_time(schedule, "nextUsec", row->next_us);
	set_time(schedule, "lastUsec", row->last_us);
	if (row->last_job != 0)
		set_number(schedule, "lastJob", row->last_job);
	if (last_state)
		set(schedule, "lastState", json_string(last_state));
	set_number(schedule, "runs", row->runs);
	set_number(schedule, "skipped", row->skipped);
	if (row->error)
		set_text(schedule, "error", row->error);
	if (with_details)
		set_options(schedule, options, given);
	json_decref(given);
	json_decref(options);
	return schedule;
}

/* --- Tasks --- */

/* What a Task and a TaskEnd have in common. */
static void add_state(const struct task_row *row, const char *kind, struct json_text *text)
{
	json_text_member_string(text, "state", task_state_words[row->state]);
	json_text_member_number(text, "attempts", row->attempts);
	if (row->started_us != 0)
		json_text_member_number(text, "startedUsec", row->started_us);
	if (row->class != CLASS_NONE)
		json_text_member_string(text, "error", error_class_words[row->class]);
	if (row->message)
		json_text_member_string(text, "message", row->message);
	if (row->result) {
		json_text_name(text, kind);
		json_text_add(text, row->result);
	}
	json_text_add(text, "}");
}

void view_task(const struct task_row *row, const char *kind, const char *target,
	       struct json_text *text)
{
	json_text_add(text, "{");
	json_text_member_number(text, "job", (int64_t)row->key.job);
	json_text_member_number(text, "index", row->key.index);
	json_text_member_string(text, "target", target);
	if (row->ended_us != 0)
		json_text_member_number(text, "endedUsec", row->ended_us);
	add_state(row, kind, text);
}

void view_task_end(const struct task_row *row, const char *kind, struct json_text *text)
{
	json_text_add(text, "{");
	add_state(row, kind, text);
}
