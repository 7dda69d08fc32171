/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ListSchedules and ChangeSchedules; Start makes them. */
#include "daemon/json-text.h"
#include "daemon/methods.h"
#include "daemon/schedules.h"

#include "common/util.h"

enum { LIST_LIMIT = 100, LIST_LIMIT_MAX = 1000, SELECTORS_MAX = 1000 };
/* Of schedules' texts, each of which may be as long as a message, no more is looked at in a turn.
 */
enum { TEXT_MAX = 256 * 1024 };

/* --- ListSchedules --- */

struct listing {
	struct call *call;
	bool with_details;
	json_t *schedules;
	size_t next;       /* selector */
	size_t text_bytes; /* in this turn */
	int status;
};

static void listing_free(void *state)
{
	struct listing *listing = state;

	json_decref(listing->schedules);
	free(listing);
}

static bool is_turn_full(const struct listing *listing)
{
	return listing->text_bytes >= TEXT_MAX;
}

static size_t bytes_of(const char *text)
{
	return text ? strlen(text) : 0;
}

static int add_schedule(const struct schedule_row *row, void *context)
{
	struct listing *listing = context;
	const char *state = NULL;
	struct job_row job;
	int r = row->last_job == 0
			? -ENOENT
			: store_read_job(listing->call->daemon->store, row->last_job, &job);

	if (r == 0) {
		state = job_state_words[job.state];
		job_row_done(&job);
	} else if (r != -ENOENT) {
		listing->status = r;
		return 1;
	}
	(void)json_array_append_new(listing->schedules,
				    view_schedule(row, state, listing->with_details));
	listing->text_bytes += bytes_of(row->options) + bytes_of(row->targets);
	return is_turn_full(listing);
}

static int find(const struct call *call, const json_t *selector, struct schedule_row *ret_row,
		struct error *ret_error)
{
	return schedules_find(call->daemon->schedules, call->uid, call->is_admin,
			      json_string_value(selector), ret_row, ret_error);
}

/* How many were named; too many are an error. */
static int count_selectors(const json_t *selectors, size_t *ret_count, struct error *ret_error)
{
	*ret_count = json_array_size(selectors);
	return *ret_count <= SELECTORS_MAX
		       ? 0
		       : error_set(ret_error, ERROR_INVALID_SELECTOR, "",
				   "name at most %d schedules at a time", SELECTORS_MAX);
}

static void reply_schedules(struct call *call, bool has_more)
{
	const struct listing *listing = call->state;

	call_reply(call, json_pack("{s:O, s:b}", "schedules", listing->schedules, "hasMore",
				   (int)has_more));
}

/* The next of them, some a turn. */
static void list_named(struct call *call)
{
	const json_t *selectors = json_object_get(call->parameters, "selectors");
	struct listing *listing = call->state;
	struct error error = {0};
	size_t count;
	int r = count_selectors(selectors, &count, &error);

	listing->text_bytes = 0;
	while (r == 0 && listing->next < count && !is_turn_full(listing)) {
		struct schedule_row row;

		r = find(call, json_array_get(selectors, listing->next++), &row, &error);
		if (r < 0)
			break;
		(void)add_schedule(&row, listing);
		if (listing->status < 0)
			r = store_refuse_read(call->daemon->store, &error);
		schedule_row_done(&row);
	}
	if (r < 0) {
		call_error(call, &error);
	} else if (listing->next < count) {
		call->step = list_named;
		call_schedule(call);
	} else {
		call->step = NULL;
		reply_schedules(call, false);
	}
}

void method_list_schedules(struct call *call)
{
	struct listing *listing = xcalloc(1, sizeof(*listing));
	json_int_t after = json_integer_value(json_object_get(call->parameters, "after"));
	size_t limit = limit_of(call, LIST_LIMIT, LIST_LIMIT_MAX);
	bool is_all = call->is_admin && json_is_true(json_object_get(call->parameters, "all"));
	struct error error = {0};

	listing->call = call;
	listing->with_details = json_is_true(json_object_get(call->parameters, "details"));
	listing->schedules = json_array();
	call->state = listing;
	call->free = listing_free;
	if (json_array_size(json_object_get(call->parameters, "selectors")) > 0) {
		list_named(call);
		return;
	}
	if (store_read_schedules(call->daemon->store, is_all ? NULL : &call->uid,
				 after > 0 ? (uint64_t)after : 0, limit, add_schedule,
				 listing) < 0 ||
	    listing->status < 0) {
		(void)store_refuse_read(call->daemon->store, &error);
		call_error(call, &error);
		return;
	}
	reply_schedules(call,
			json_array_size(listing->schedules) == limit || is_turn_full(listing));
}

/* --- ChangeSchedules --- */

struct change {
	struct call *call;
	json_t *ids;
};

static int pause_one(struct change *change, const struct schedule_row *row, struct error *ret_error)
{
	(void)ret_error;
	schedules_pause(change->call->daemon->schedules, row->id, true);
	return 0;
}

static int resume_one(struct change *change, const struct schedule_row *row,
		      struct error *ret_error)
{
	(void)ret_error;
	schedules_pause(change->call->daemon->schedules, row->id, false);
	return 0;
}

static int remove_one(struct change *change, const struct schedule_row *row,
		      struct error *ret_error)
{
	(void)ret_error;
	schedules_remove(change->call->daemon->schedules, row->id);
	return 0;
}

typedef int change_fn(struct change *change, const struct schedule_row *row,
		      struct error *ret_error);

static change_fn *action_of(const char *word)
{
	static const struct {
		const char *word;
		change_fn *fn;
	} actions[] = {{"pause", pause_one}, {"resume", resume_one}, {"remove", remove_one}};
	size_t i = 0;

	/* The interface's check saw to it that it is one of them, or "run". */
	while (!streq(actions[i].word, word))
		i++;
	return actions[i].fn;
}

/* fn for each that was named; NULL: just look whether all are there. */
static int each_named(struct change *change, change_fn *fn, struct error *ret_error)
{
	const json_t *selectors = json_object_get(change->call->parameters, "selectors");
	size_t count;
	int r = count_selectors(selectors, &count, ret_error);

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct schedule_row row;

		r = find(change->call, json_array_get(selectors, i), &row, ret_error);
		if (r < 0)
			break;
		if (fn)
			r = fn(change, &row, ret_error);
		if (fn && r == 0)
			(void)json_array_append_new(change->ids, json_integer((json_int_t)row.id));
		schedule_row_done(&row);
	}
	return r;
}

/* One a call: its job is there, or the reply is an error and it is not, as with Start. */
static void run(struct call *call)
{
	const json_t *selectors = json_object_get(call->parameters, "selectors");
	autofree char *reply = NULL;
	struct json_text text = {0};
	struct error error = {0};
	struct schedule_row row;
	uint64_t job = 0;
	int r = json_array_size(selectors) == 1
			? find(call, json_array_get(selectors, 0), &row, &error)
			: error_set(&error, ERROR_INVALID_SELECTOR, "",
				    "run takes one schedule: call it for each");

	if (r == 0) {
		r = schedules_run(call->daemon->schedules, &row, &job, &error);
		reply = xasprintf("{\"ids\":[%llu],\"jobs\":[%llu]}", (unsigned long long)row.id,
				  (unsigned long long)job);
		schedule_row_done(&row);
	}
	if (r < 0) {
		call_error(call, &error);
		return;
	}
	call_text_begin(&text);
	json_text_add(&text, reply);
	call_reply_start(call, job, &text);
}

static void change_all(struct call *call, change_fn *fn)
{
	struct change change = {.call = call, .ids = json_array()};
	struct error error = {0};
	int r = each_named(&change, NULL, &error);

	if (r == 0)
		r = each_named(&change, fn, &error);
	if (r < 0)
		call_error(call, &error);
	else
		call_reply(call, json_pack("{s:O, s:[]}", "ids", change.ids, "jobs"));
	json_decref(change.ids);
}

void method_change_schedules(struct call *call)
{
	const char *action = json_string_value(json_object_get(call->parameters, "action"));

	if (streq(action, "run"))
		run(call);
	else
		change_all(call, action_of(action));
}
