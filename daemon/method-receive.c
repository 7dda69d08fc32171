/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Receive: what was not received yet, page by page.
 *
 * A reading belongs to the connection. It holds a source for each selected job: up to where it was
 * given, and where its next record is. The sources that have a next record are a heap ordered by
 * it, so that records of many jobs come in the one order of their positions: each page takes the
 * source at the top and reads it up to where the next one begins. Jobs of which everything was
 * received are no sources, where that can be told from their rows: they only get more.
 *
 * All of the caller's jobs, by a cursor of another name or again, are not looked for one by one
 * where they are many: the records of all jobs lie in the order of their positions, so that this
 * log is read from where the cursor has nothing left out on. That place is stored as the cursor's
 * in job 0. It is only a way past what was read; what counts is its position in each job, which
 * other readings move too.
 *
 * Giving moves nothing. Only the next call's `confirm` moves the cursors of the jobs that the page
 * was from; that is stored with the next commit, and a crash before it gives the page once more,
 * which is the safe side. The reply that says isEnd waits for that commit: whoever has it never
 * gets the same again. Readings of single tasks, or of failures only, leave things out, and so
 * move no cursor.
 */
#include "daemon/method-receive-internal.h"

#include "daemon/methods.h"
#include "daemon/request.h"
#include "daemon/walk.h"

#include "common/protocol.h"
#include "common/util.h"

#define PAGE_US (5 * US_PER_MS) /* a page is not read longer */

/*
 * A call's state: the walk of its opening, and the way to the reading, which must forget a call
 * that waits when that ends (the peer left).
 */
struct receiving {
	struct walk walk;
	struct reading *reading;
};

static void reading_free(void *context)
{
	struct reading *reading = context;

	confirm_forget(reading);
	log_done(&reading->log);
	jobs_unwatch(&reading->watcher);
	selection_free(reading->selection);
	target_list_free(reading->list);
	json_text_done(&reading->text);
	free(reading->kind);
	free(reading->cursor);
	free(reading->sources);
	free(reading->heap);
	free(reading);
}

/* --- Opening --- */

static struct reading *reading_of(struct call *call)
{
	return connection_state(call->connection, reading_free);
}

/* The walk comes newest first. A live job that has something to give came before. */
static int add_source(const struct job_row *row, void *context)
{
	struct reading *reading = reading_of(context);

	if (reading->walk_begin == 0 || !sources_find(reading, row->id))
		sources_add(reading, row);
	return 0;
}

static void add_live(struct job *job, void *context)
{
	const struct receiving *receiving = context;

	if (selection_matches(receiving->walk.selection, &job->row))
		sources_add(receiving->reading, &job->row);
}

/* Those that are waited for. */
static void add_all_live(struct receiving *receiving)
{
	struct reading *reading = receiving->reading;

	if (reading->is_wait)
		jobs_each(reading->daemon->jobs, add_live, receiving);
	reading->walk_begin = reading->count;
}

/* The caller's own jobs by the usual cursor: those with something to give, and, to wait for, those
 * that may get it, which are looked through at once. With --remove, all. */
static void leave_out_received(struct call *call)
{
	struct receiving *receiving = call->state;
	struct reading *reading = receiving->reading;

	if (reading->cursor[0] != '\0' || reading->is_again || reading->is_remove ||
	    !selection_is_own(receiving->walk.selection) ||
	    selection_is_slow(receiving->walk.selection))
		return;
	add_all_live(receiving);
	selection_leave_out_received(receiving->walk.selection);
}

/* All that the caller has, and nothing that asks for each job? */
static bool may_be_of_log(const struct receiving *receiving)
{
	const struct reading *reading = receiving->reading;

	return (reading->cursor[0] != '\0' || reading->is_again) && !reading->is_remove &&
	       !reading->is_failed_only && selection_is_own_whole(receiving->walk.selection);
}

static void give(struct call *call);

/* Some more sources a turn. */
static void look_up(struct call *call)
{
	struct reading *reading = reading_of(call);

	call->step = NULL;
	for (unsigned i = 0; i < SOURCES_PER_TURN && reading->looked_up < reading->count; i++) {
		struct source *source = &reading->sources[reading->looked_up];
		bool is_open = jobs_is_open(reading->daemon->jobs, source->job);

		/* What jobd did not go on with, since it stores nothing, never ends. */
		if (reading->is_wait && source->is_live && !is_open &&
		    store_error(reading->daemon->store)) {
			call_storage_failed(call);
			return;
		}
		/* What ended meanwhile is not waited for. */
		source_set_live(reading, source, source->is_live && is_open);
		if (!reading->log.is_on)
			source_find_next(reading, source);
		reading->looked_up++;
	}
	if (reading->looked_up == reading->count) {
		give(call);
		return;
	}
	call->step = look_up;
	call_schedule(call);
}

static void opened(struct call *call)
{
	struct reading *reading = reading_of(call);
	struct walk *walk = call->state;

	reading->selection = walk->selection;
	walk->selection = NULL;
	reading->is_moving = !reading->is_keep && !reading->is_failed_only &&
			     !selection_task_word(reading->selection);
	reading->heap = xcalloc(reading->count, sizeof(*reading->heap));
	look_up(call);
}

/* --- Records --- */

/* Target list and kind of the job that is read from. */
static int load_list(struct reading *reading, uint64_t job)
{
	struct error error = {0};
	int r;

	if (reading->list && reading->list_job == job)
		return 0;
	target_list_free(reading->list);
	free(reading->kind);
	reading->list = NULL;
	reading->kind = NULL;
	reading->list_job = job;
	r = jobs_targets(reading->daemon->jobs, job, &reading->list, &reading->kind, &error);
	error_done(&error);
	return r;
}

/* Its task's row, for a record of output. */
static int take_state(const struct task_row *row, void *context)
{
	*(enum task_state *)context = row->state;
	return 1;
}

static bool is_wanted(struct reading *reading, const struct record_row *row)
{
	enum task_state state = TASK_QUEUED;

	if (!selection_matches_task(reading->selection, row->key.job, row->key.index))
		return false;
	if (!reading->is_failed_only)
		return true;
	if (row->is_end)
		state = row->task.state;
	else if (store_read_tasks(reading->daemon->store, row->key.job, (int64_t)row->key.index - 1,
				  1, take_state, &state) < 0)
		reading->is_broken = true;
	return state != TASK_SUCCEEDED;
}

/* Bytes of all kinds are jansson's matter. */
static void add_output(struct json_text *text, const struct record_row *row)
{
	json_t *output = json_object();
	char *encoded;

	bytes_to_json(output, row->bytes, row->size);
	encoded = json_dumps(output, JSON_COMPACT | JSON_EMBED);
	json_decref(output);
	json_text_member_string(text, "stream", stream_words[row->stream]);
	json_text_member_number(text, "offset", (int64_t)row->offset);
	json_text_next(text);
	json_text_add(text, encoded);
	free(encoded);
}

static int add_record(const struct record_row *row, void *context)
{
	struct reading *reading = context;
	struct json_text *text = &reading->text;
	char target[TARGET_TEXT_MAX];

	reading->position = row->position;
	if (!is_wanted(reading, row))
		return 0;
	target_list_text(reading->list, row->key.index, target);
	json_text_next(text);
	json_text_add(text, "{");
	json_text_member_number(text, "position", (int64_t)row->position);
	json_text_member_number(text, "job", (int64_t)row->key.job);
	json_text_member_number(text, "index", row->key.index);
	json_text_member_string(text, "target", target);
	json_text_member_number(text, "atUsec", row->at_us);
	if (row->is_end) {
		json_text_name(text, "task");
		view_task_end(&row->task, reading->kind, text);
	} else {
		add_output(text, row);
		reading->bytes += row->size;
	}
	json_text_add(text, "}");
	reading->records++;
	return 0;
}

int reading_add(struct reading *reading, const struct run *run, uid_t uid, uint64_t *ret_given)
{
	uint64_t position = reading->position;
	int r = load_list(reading, run->job);

	*ret_given = run->after;
	if (r == 0)
		r = confirm_room(reading, run->job);
	if (r < 0)
		return r;
	reading->position = run->after;
	r = store_read_records(reading->daemon->store, run->job, run->after, run->last,
			       PAGE_RECORDS - reading->records, PAGE_BYTES - reading->bytes,
			       add_record, reading);
	*ret_given = reading->position;
	if (reading->position > run->after)
		confirm_later(reading, run->job, uid, run->after);
	else
		reading->position = position;
	return r;
}

/* --- Giving --- */

/* Something that can be given, or looked for, at once. */
static bool has_more(const struct reading *reading)
{
	return reading->log.is_on ? log_has_more(reading) : reading->heap_count > 0;
}

static bool is_page_full(const struct reading *reading)
{
	return reading->records >= PAGE_RECORDS || reading->bytes >= PAGE_BYTES;
}

/* Fills the page. */
static void read_page(struct reading *reading)
{
	int64_t late_us = now_monotonic_us() + PAGE_US;

	while (!reading->is_broken && has_more(reading) && !is_page_full(reading)) {
		int r = reading->log.is_on ? log_read(reading) : sources_read(reading);

		reading->is_broken |= r < 0;
		if (now_monotonic_us() >= late_us)
			return;
	}
}

static void refuse_page(struct call *call, const struct reading *reading)
{
	struct error error = {0};

	if (reading->full_job != 0)
		(void)error_set(&error, ERROR_LIMIT_REACHED, "cursors",
				"job %llu has a hundred cursors of yours: receive by one of these "
				"or by the usual one, or remove the job",
				(unsigned long long)reading->full_job);
	else
		(void)store_refuse_read(reading->daemon->store, &error);
	call_error(call, &error);
}

/* Answers with a page, or leaves the call waiting. */
static void give(struct call *call)
{
	struct reading *reading = reading_of(call);
	bool is_end;

	reading->call = NULL;
	call->step = NULL;
	json_text_done(&reading->text);
	call_text_begin(&reading->text);
	json_text_add(&reading->text, "{\"records\":[");
	reading->records = reading->bytes = 0;
	read_page(reading);
	if (reading->is_broken) {
		refuse_page(call, reading);
		return;
	}
	is_end = !has_more(reading) && !(reading->is_wait && reading->live > 0);
	if (reading->records > 0 || is_end) {
		json_text_add(&reading->text, "]");
		json_text_member_number(&reading->text, "position", (int64_t)reading->position);
		json_text_member_bool(&reading->text, "hasMore", has_more(reading));
		json_text_member_bool(&reading->text, "isEnd", is_end);
		json_text_add(&reading->text, "}");
		if (is_end && reading->has_moved) {
			reading->has_moved = false;
			call_hold(call);
		}
		call_reply_text(call, &reading->text);
		return;
	}
	reading->call = call;
	if (has_more(reading)) {
		/* Much was left out of the page: on with it in the next turn. */
		call->step = give;
		call_schedule(call);
	}
}

/* --- While it waits --- */

static void on_change(struct job_watcher *watcher, const struct job_row *row, bool is_removed)
{
	struct reading *reading = watcher->context;
	struct source *source;

	if (!reading->heap)
		return;
	source = sources_find(reading, row->id);
	if (source)
		source_set_live(reading, source, !is_removed && !job_state_is_final(row->state));
	if (reading->log.is_on && !is_removed)
		log_changed(reading, row);
	else if (source && !is_removed && row->last_position > source->given)
		source_find_next(reading, source);
	if (reading->call && !reading->call->step &&
	    (has_more(reading) || reading->live == 0 || reading->is_broken)) {
		reading->call->step = give;
		call_schedule(reading->call);
	}
}

/* Then the next page. */
static void confirm(struct call *call)
{
	int r = confirm_step(reading_of(call));

	call->step = NULL;
	if (r < 0) {
		walk_read_failed(call);
	} else if (r > 0) {
		call->step = confirm;
		call_schedule(call);
	} else {
		give(call);
	}
}

/* --- The method --- */

static void receiving_free(void *state)
{
	struct receiving *receiving = state;

	if (receiving->reading)
		receiving->reading->call = NULL;
	walk_free(receiving);
}

static bool flag(const struct call *call, const char *name)
{
	return json_is_true(json_object_get(call->parameters, name));
}

/* A job of which something was left out was not received. */
static bool refuse_remove(struct call *call, const struct selection *selection)
{
	struct error error = {0};

	if (!flag(call, "remove") || (!flag(call, "failedOnly") && !selection_task_word(selection)))
		return false;
	(void)error_set(&error, ERROR_INVALID_OPTION, "remove",
			"jobs are removed that were received whole: not with --failed, nor with "
			"selectors of tasks");
	call_error(call, &error);
	return true;
}

static void open_reading(struct call *call)
{
	const char *cursor = json_string_value(json_object_get(call->parameters, "cursor"));
	struct receiving *receiving = walk_new(call, sizeof(*receiving), receiving_free);
	struct reading *reading;

	if (!receiving || refuse_remove(call, receiving->walk.selection))
		return;
	reading = receiving->reading = xcalloc(1, sizeof(*reading));
	reading->daemon = call->daemon;
	reading->uid = call->uid;
	reading->cursor = xstrdup(cursor ? cursor : "");
	reading->is_again = flag(call, "again");
	reading->is_keep = flag(call, "keep");
	reading->is_wait = flag(call, "wait");
	reading->is_remove = flag(call, "remove");
	reading->is_failed_only = flag(call, "failedOnly");
	reading->watcher.changed = on_change;
	reading->watcher.context = reading;
	jobs_watch(call->daemon->jobs, &reading->watcher);
	connection_set_state(call->connection, reading, reading_free);
	if (may_be_of_log(receiving))
		reading->is_broken = log_open(reading) < 0;
	if (reading->log.is_on) {
		add_all_live(receiving);
		opened(call);
		return;
	}
	receiving->walk.begin = leave_out_received;
	walk_start(call, add_source, opened);
}

void method_receive(struct call *call)
{
	const json_t *position = json_object_get(call->parameters, "confirm");
	struct reading *reading = reading_of(call);
	struct receiving *receiving;
	struct error error = {0};

	if (!json_is_integer(position)) {
		open_reading(call);
		return;
	}
	if (!reading || !reading->heap || reading->is_broken) {
		(void)error_set(&error, ERROR_NO_READING, NULL,
				"nothing was received on this connection that could be confirmed");
		call_error(call, &error);
		return;
	}
	if (json_integer_value(position) < 0) {
		(void)error_set(&error, ERROR_INVALID_PARAMETER, "confirm",
				"confirm is negative: give the position of a page");
		call_error(call, &error);
		return;
	}
	receiving = xcalloc(1, sizeof(*receiving));
	receiving->reading = reading;
	call->state = receiving;
	call->free = receiving_free;
	confirm_begin(reading, (uint64_t)json_integer_value(position));
	confirm(call);
}
