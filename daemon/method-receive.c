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
 * Giving moves nothing. Only the next call's `confirm` moves the cursors of the jobs that the page
 * was from; that is stored with the next commit, and a crash before it gives the page once more,
 * which is the safe side. Readings of single tasks, or of failures only, leave things out, and so
 * move no cursor.
 */
#include "daemon/jobs.h"
#include "daemon/json-text.h"
#include "daemon/methods.h"
#include "daemon/request.h"
#include "daemon/walk.h"

#include "common/protocol.h"
#include "common/util.h"

enum { PAGE_RECORDS = 1000, PAGE_BYTES = 1024 * 1024, SOURCES_PER_TURN = 2000 };

struct source {
	uint64_t job;
	uid_t uid;
	uint64_t given;     /* position of the last record given */
	uint64_t confirmed; /* likewise, confirmed */
	uint64_t next;      /* of the next record; 0: none now */
	bool is_live;
};

struct reading {
	struct daemon *daemon;
	uid_t uid;
	char *cursor; /* "" is the usual one */
	bool is_again, is_keep, is_wait, is_remove, is_failed_only;
	bool is_broken; /* a read failed, so that something may be left out: there is no more */
	struct selection *selection;
	struct source *sources; /* ascending by job */
	size_t count, capacity;
	size_t looked_up; /* so many know where their next record is */
	size_t *heap;     /* indices into sources, the smallest `next` at [0] */
	size_t heap_count;
	struct job_watcher watcher;
	struct call *call; /* that waits for something to give, or NULL */
	/* The list of the job last read from */
	uint64_t list_job;
	struct target_list *list;
	char *kind;
	/* The page being made */
	struct json_text text;
	size_t records, bytes; /* so many, and of output */
	uint64_t position;
	struct source *source;
};

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

/* --- The heap --- */

static uint64_t heap_key(const struct reading *reading, size_t place)
{
	return reading->sources[reading->heap[place]].next;
}

static void heap_swap(struct reading *reading, size_t a, size_t b)
{
	size_t index = reading->heap[a];

	reading->heap[a] = reading->heap[b];
	reading->heap[b] = index;
}

static void heap_push(struct reading *reading, size_t index)
{
	size_t place = reading->heap_count++;

	reading->heap[place] = index;
	for (; place > 0 && heap_key(reading, place) < heap_key(reading, (place - 1) / 2);
	     place = (place - 1) / 2)
		heap_swap(reading, place, (place - 1) / 2);
}

static size_t heap_pop(struct reading *reading)
{
	size_t top = reading->heap[0], place = 0;

	reading->heap[0] = reading->heap[--reading->heap_count];
	for (;;) {
		size_t child = 2 * place + 1;

		if (child + 1 < reading->heap_count &&
		    heap_key(reading, child + 1) < heap_key(reading, child))
			child++;
		if (child >= reading->heap_count ||
		    heap_key(reading, place) <= heap_key(reading, child))
			return top;
		heap_swap(reading, place, child);
		place = child;
	}
}

/* Where the source's next record is; with a wish for failures only once the job has ended. */
static void find_next(struct reading *reading, size_t index)
{
	struct source *source = &reading->sources[index];

	if (source->next != 0 || (reading->is_failed_only && source->is_live))
		return;
	if (store_next_record(reading->daemon->store, source->job, source->given, &source->next) <
	    0)
		reading->is_broken = true;
	else if (source->next != 0)
		heap_push(reading, index);
}

/* --- Opening --- */

static uint64_t cursor_of(struct reading *reading, const struct job_row *row)
{
	uint64_t position = 0;

	if (reading->is_again)
		return 0;
	if (reading->cursor[0] == '\0' && reading->uid == row->uid)
		return row->received_position;
	if (store_read_cursor(reading->daemon->store, reading->uid, reading->cursor, row->id,
			      &position) < 0)
		reading->is_broken = true;
	return position;
}

static struct reading *reading_of(struct call *call)
{
	return connection_state(call->connection, reading_free);
}

static void add_job(struct reading *reading, const struct job_row *row)
{
	uint64_t cursor = cursor_of(reading, row);

	if (reading->count == reading->capacity) {
		reading->capacity = reading->capacity ? 2 * reading->capacity : 16;
		reading->sources =
			xrealloc(reading->sources, reading->capacity * sizeof(*reading->sources));
	}
	reading->sources[reading->count++] = (struct source){
		.job = row->id,
		.uid = row->uid,
		.given = cursor,
		.confirmed = cursor,
		.is_live = !job_state_is_final(row->state),
	};
}

/* The walk comes newest first. */
static int add_source(const struct job_row *row, void *context)
{
	add_job(reading_of(context), row);
	return 0;
}

static void add_live(struct job *job, void *context)
{
	const struct receiving *receiving = context;

	if (selection_matches(receiving->walk.selection, &job->row))
		add_job(receiving->reading, &job->row);
}

/* The caller's own jobs by the usual cursor: those with something to give, and, to wait for, those
 * that may get it. With --remove, all. */
static void leave_out_received(struct receiving *receiving)
{
	struct reading *reading = receiving->reading;

	if (reading->cursor[0] != '\0' || reading->is_again || reading->is_remove ||
	    !selection_is_own(receiving->walk.selection))
		return;
	if (reading->is_wait)
		jobs_each(reading->daemon->jobs, add_live, receiving);
	selection_leave_out_received(receiving->walk.selection);
}

static int compare_sources(const void *a, const void *b)
{
	const struct source *left = a, *right = b;

	return left->job < right->job ? -1 : left->job > right->job;
}

static void give(struct call *call);

/* In order, and each once: a live job with something to give came twice. What ended meanwhile is
 * not waited for. */
static void sort_sources(struct reading *reading)
{
	struct source *sources = reading->sources;
	size_t count = 0;

	if (reading->count > 0)
		qsort(sources, reading->count, sizeof(*sources), compare_sources);
	for (size_t i = 0; i < reading->count; i++) {
		if (count > 0 && sources[count - 1].job == sources[i].job)
			continue;
		sources[count] = sources[i];
		sources[count].is_live = sources[count].is_live &&
					 jobs_find(reading->daemon->jobs, sources[count].job);
		count++;
	}
	reading->count = count;
}

/* Some more sources a turn. */
static void look_up(struct call *call)
{
	struct reading *reading = reading_of(call);

	call->step = NULL;
	for (unsigned i = 0; i < SOURCES_PER_TURN && reading->looked_up < reading->count; i++)
		find_next(reading, reading->looked_up++);
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
	sort_sources(reading);
	reading->heap = xcalloc(reading->count, sizeof(*reading->heap));
	look_up(call);
}

/* --- Giving --- */

static bool has_live(const struct reading *reading)
{
	for (size_t i = 0; i < reading->count; i++)
		if (reading->sources[i].is_live)
			return true;
	return false;
}

/* Target list and kind of the job that is read from. */
static int load_list(struct reading *reading, uint64_t job)
{
	struct error error = {0};
	struct job_row row;
	int r;

	if (reading->list && reading->list_job == job)
		return 0;
	target_list_free(reading->list);
	free(reading->kind);
	reading->list = NULL;
	reading->kind = NULL;
	r = store_read_job(reading->daemon->store, job, &row);
	if (r < 0)
		return r;
	r = request_targets(row.targets, UINT32_MAX, &reading->list, &error);
	reading->kind = xstrdup(row.kind);
	reading->list_job = job;
	job_row_done(&row);
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

	reading->source->given = row->position;
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

/* The source at the top of the heap, up to where the next one begins. */
static int read_source(struct reading *reading)
{
	size_t index = heap_pop(reading);
	struct source *source = &reading->sources[index];
	uint64_t until = reading->heap_count > 0 ? heap_key(reading, 0) - 1 : 0;
	int r = load_list(reading, source->job);

	source->next = 0;
	reading->source = source;
	if (r == -ENOENT) {
		/* Removed meanwhile: nothing more comes of it. */
		source->is_live = false;
		return 0;
	}
	if (r == 0)
		r = store_read_records(reading->daemon->store, source->job, source->given, until,
				       PAGE_RECORDS - reading->records, PAGE_BYTES - reading->bytes,
				       add_record, reading);
	if (r == 0)
		find_next(reading, index);
	return r;
}

static bool is_page_full(const struct reading *reading)
{
	return reading->records >= PAGE_RECORDS || reading->bytes >= PAGE_BYTES;
}

/* Answers with a page, or leaves the call waiting. */
static void give(struct call *call)
{
	struct reading *reading = reading_of(call);
	struct error error = {0};
	bool is_end;

	reading->call = NULL;
	call->step = NULL;
	json_text_done(&reading->text);
	call_text_begin(&reading->text);
	json_text_add(&reading->text, "{\"records\":[");
	reading->records = reading->bytes = 0;
	for (unsigned i = 0; i < SOURCES_PER_TURN && !reading->is_broken &&
			     reading->heap_count > 0 && !is_page_full(reading);
	     i++)
		reading->is_broken |= read_source(reading) < 0;
	if (reading->is_broken) {
		(void)store_refuse_read(reading->daemon->store, &error);
		call_error(call, &error);
		return;
	}
	is_end = reading->heap_count == 0 && !(reading->is_wait && has_live(reading));
	if (reading->records > 0 || is_end) {
		json_text_add(&reading->text, "]");
		json_text_member_number(&reading->text, "position", (int64_t)reading->position);
		json_text_member_bool(&reading->text, "hasMore", reading->heap_count > 0);
		json_text_member_bool(&reading->text, "isEnd", is_end);
		json_text_add(&reading->text, "}");
		call_reply_text(call, &reading->text);
		return;
	}
	reading->call = call;
	if (reading->heap_count > 0) {
		/* Much was left out of the page: on with it in the next turn. */
		call->step = give;
		call_schedule(call);
	}
}

/* --- While it waits --- */

static void on_change(struct job_watcher *watcher, const struct job_row *row, bool is_removed)
{
	struct reading *reading = watcher->context;
	struct source key = {.job = row->id};
	struct source *source;

	if (!reading->heap || reading->count == 0)
		return;
	source = bsearch(&key, reading->sources, reading->count, sizeof(key), compare_sources);
	if (!source)
		return;
	source->is_live = !is_removed && !job_state_is_final(row->state);
	if (!is_removed && row->last_position > source->given)
		find_next(reading, (size_t)(source - reading->sources));
	if (reading->call && !reading->call->step &&
	    (reading->heap_count > 0 || !source->is_live || reading->is_broken)) {
		reading->call->step = give;
		call_schedule(reading->call);
	}
}

/* --- Confirming --- */

/* 0, or the errno of a failed read: then it may be asked for again. */
static int confirm(struct reading *reading, uint64_t position)
{
	struct jobs *jobs = reading->daemon->jobs;
	bool moves = !reading->is_keep && !reading->is_failed_only &&
		     !selection_has_tasks(reading->selection);

	for (size_t i = 0; i < reading->count; i++) {
		struct source *source = &reading->sources[i];
		uint64_t upto = source->given < position ? source->given : position;

		if (upto > source->confirmed && moves) {
			int r = 0;

			if (reading->cursor[0] == '\0' && reading->uid == source->uid)
				r = jobs_received(jobs, source->job, upto);
			else
				store_put_cursor(reading->daemon->store, reading->uid,
						 reading->cursor, source->job, upto);
			if (r < 0)
				return r;
			source->confirmed = upto;
		}
		if (reading->is_remove && !source->is_live && source->next == 0 &&
		    source->given <= position && !jobs_find(jobs, source->job)) {
			jobs_remove(jobs, source->job);
			source->given = UINT64_MAX; /* once */
		}
	}
	return 0;
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

static void open_reading(struct call *call)
{
	const char *cursor = json_string_value(json_object_get(call->parameters, "cursor"));
	struct receiving *receiving = walk_new(call, sizeof(*receiving), receiving_free);
	struct reading *reading;

	if (!receiving)
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
	leave_out_received(receiving);
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
	if (confirm(reading, (uint64_t)json_integer_value(position)) < 0) {
		(void)store_refuse_read(call->daemon->store, &error);
		call_error(call, &error);
		return;
	}
	receiving = xcalloc(1, sizeof(*receiving));
	receiving->reading = reading;
	call->state = receiving;
	call->free = receiving_free;
	give(call);
}
