/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Queueing changes, and applying them within the commit's transaction. */
#include "daemon/store-internal.h"

#include "common/util.h"

#include <assert.h>
#include <stdalign.h>
#include <stddef.h>

/* --- Memory of the queue --- */

/*
 * There are thousands of changes a commit, which end with it: they lie one behind the other in
 * blocks. One by one they would leave holes between what lives on, jobs above all.
 */
struct block {
	struct block *next;
	size_t used, size;
	alignas(max_align_t) char bytes[];
};
/* Less than malloc(3) gives pages of their own for. */
enum { BLOCK_BYTES = 65536 };

static void *allocate(struct store *store, size_t size)
{
	struct block *block = store->blocks;
	void *room;

	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!block || block->size - block->used < size) {
		size_t bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;

		block = xmalloc(sizeof(*block) + bytes);
		*block = (struct block){.next = store->blocks, .size = bytes};
		store->blocks = block;
	}
	room = block->bytes + block->used;
	block->used += size;
	return room;
}

static void free_blocks(struct store *store)
{
	struct block *block;

	while ((block = store->blocks)) {
		store->blocks = block->next;
		free(block);
	}
}

/* --- Queueing --- */

struct change *store_put(struct store *store, enum change_type type, struct task_key key,
			 size_t payload)
{
	struct change *change = allocate(store, sizeof(*change));

	*change = (struct change){.type = type, .key = key, .bytes = sizeof(*change) + payload};
	STAILQ_INSERT_TAIL(&store->queue, change, link);
	store->queued++;
	store->queued_bytes += change->bytes;
	return change;
}

static struct task_key job_key(uint64_t id)
{
	return (struct task_key){.job = id};
}

size_t store_text_bytes(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

/* The texts of a row, one after the other. */
static const size_t text_offsets[] = {
	offsetof(struct job_row, kind),          offsetof(struct job_row, name),
	offsetof(struct job_row, token),         offsetof(struct job_row, reason),
	offsetof(struct job_row, options),       offsetof(struct job_row, targets),
	offsetof(struct job_row, targets_shown), offsetof(struct job_row, command_shown),
};

static char **text_of(const struct job_row *row, size_t number)
{
	return (char **)((uintptr_t)row + text_offsets[number]);
}

void job_row_copy(const struct job_row *row, struct job_row *ret_copy)
{
	*ret_copy = *row;
	for (size_t i = 0; i < ARRAY_SIZE(text_offsets); i++)
		*text_of(ret_copy, i) = xstrdup_or_null(*text_of(row, i));
}

void job_row_done(struct job_row *row)
{
	for (size_t i = 0; i < ARRAY_SIZE(text_offsets); i++) {
		free(*text_of(row, i));
		*text_of(row, i) = NULL;
	}
}

static void change_done(struct change *change)
{
	switch (change->type) {
	case CHANGE_TASK_ENDED:
		free(change->ended.message);
		free(change->ended.result);
		break;
	case CHANGE_OUTPUT:
		free(change->output.bytes);
		break;
	case CHANGE_CURSOR:
		free(change->cursor.name);
		break;
	case CHANGE_SCHEDULE:
	case CHANGE_SCHEDULE_TURN:
		change_done_schedule(change);
		break;
	case CHANGE_JOB:
	case CHANGE_JOB_UPDATE:
	case CHANGE_JOB_REMOVED:
	case CHANGE_JOB_KEPT:
	case CHANGE_TASK_STARTED:
	case CHANGE_TASK_SENT:
	case CHANGE_TASK_UNWANTED:
	case CHANGE_TASK_QUEUED:
	case CHANGE_SCHEDULE_RUN:
	case CHANGE_SCHEDULE_PAUSE:
	case CHANGE_SCHEDULE_REMOVED:
		break;
	}
}

void store_forget_changes(struct store *store)
{
	struct change *change;

	STAILQ_FOREACH (change, &store->queue, link)
		change_done(change);
	STAILQ_INIT(&store->queue);
	store->queued = store->queued_bytes = 0;
	free_blocks(store);
}

/* With its texts behind it. */
static struct job_row *put_row(struct store *store, enum change_type type,
			       const struct job_row *row)
{
	size_t size = 0;
	struct change *change;
	struct job_row *copy;
	char *at;

	for (size_t i = 0; i < ARRAY_SIZE(text_offsets); i++)
		size += store_text_bytes(*text_of(row, i));
	size += sizeof(*copy);
	change = store_put(store, type, job_key(row->id), size);
	copy = allocate(store, size);
	*copy = *row;
	change->row = copy;
	at = (char *)(copy + 1);
	for (size_t i = 0; i < ARRAY_SIZE(text_offsets); i++) {
		const char *text = *text_of(row, i);

		if (text) {
			*text_of(copy, i) = at;
			at = stpcpy(at, text) + 1;
		}
	}
	return copy;
}

struct job_row *store_put_job(struct store *store, const struct job_row *row)
{
	return put_row(store, CHANGE_JOB, row);
}

void store_change_new(struct store *store, struct job_row *put, const struct job_row *row)
{
	size_t reason_size = store_text_bytes(row->reason);
	struct job_row changed = *row;

	for (size_t i = 0; i < ARRAY_SIZE(text_offsets); i++)
		*text_of(&changed, i) = *text_of(put, i);
	if (row->reason)
		changed.reason = memcpy(allocate(store, reason_size), row->reason, reason_size);
	*put = changed;
}

void store_put_job_update(struct store *store, const struct job_row *row)
{
	struct job_row changed = *row;

	/* These never change */
	changed.kind = changed.token = changed.targets = NULL;
	changed.targets_shown = changed.command_shown = NULL;
	(void)put_row(store, CHANGE_JOB_UPDATE, &changed);
}

static bool is_of_job(const struct change *change, uint64_t id)
{
	return change->key.job == id ||
	       (change->type == CHANGE_SCHEDULE_RUN && change->run.job == id);
}

void store_drop_job(struct store *store, uint64_t id)
{
	STAILQ_HEAD(, change) all = STAILQ_HEAD_INITIALIZER(all);
	struct change *change;

	STAILQ_CONCAT(&all, &store->queue);
	while ((change = STAILQ_FIRST(&all))) {
		STAILQ_REMOVE_HEAD(&all, link);
		if (!is_of_job(change, id)) {
			STAILQ_INSERT_TAIL(&store->queue, change, link);
			continue;
		}
		store->queued--;
		store->queued_bytes -= change->bytes;
		change_done(change);
	}
	store_set_arriving(store, id, false);
}

void store_put_job_removed(struct store *store, uint64_t id)
{
	(void)store_put(store, CHANGE_JOB_REMOVED, job_key(id), 0);
}

void store_put_job_kept(struct store *store, uint64_t id)
{
	(void)store_put(store, CHANGE_JOB_KEPT, job_key(id), 0);
}

static void put_begun(struct store *store, enum change_type type, struct task_key key,
		      unsigned attempt, int64_t started_us)
{
	struct change *change = store_put(store, type, key, 0);

	change->started.attempt = attempt;
	change->started.at_us = started_us;
}

void store_put_task_started(struct store *store, struct task_key key, unsigned attempt,
			    int64_t started_us)
{
	put_begun(store, CHANGE_TASK_STARTED, key, attempt, started_us);
}

void store_put_task_unwanted(struct store *store, struct task_key key, unsigned attempt,
			     int64_t started_us)
{
	put_begun(store, CHANGE_TASK_UNWANTED, key, attempt, started_us);
}

void store_put_task_sent(struct store *store, struct task_key key)
{
	(void)store_put(store, CHANGE_TASK_SENT, key, 0);
}

void store_put_task_queued(struct store *store, struct task_key key, unsigned failures)
{
	store_put(store, CHANGE_TASK_QUEUED, key, 0)->failures = failures;
}

static struct change *put_ended(struct store *store, struct task_key key, struct outcome *outcome,
				int64_t ended_us, uint64_t position)
{
	struct change *change =
		store_put(store, CHANGE_TASK_ENDED, key,
			  store_text_bytes(outcome->message) + store_text_bytes(outcome->result));

	assert(task_state_is_final(outcome->state));
	change->ended.state = outcome->state;
	change->ended.class = outcome->class;
	change->ended.message = outcome->message;
	change->ended.result = outcome->result;
	outcome->message = outcome->result = NULL;
	change->ended.at_us = ended_us;
	change->ended.position = position;
	return change;
}

void store_put_task_ended(struct store *store, struct task_key key, unsigned attempt,
			  int64_t started_us, struct outcome *outcome, int64_t ended_us,
			  uint64_t position)
{
	struct change *change = put_ended(store, key, outcome, ended_us, position);

	change->ended.has_row = attempt == 0;
	change->ended.attempt = attempt;
	change->ended.started_us = started_us;
}

void store_put_task_dropped(struct store *store, struct task_key key, int64_t at_us,
			    uint64_t position)
{
	struct outcome outcome = {.state = TASK_STOPPED};

	(void)put_ended(store, key, &outcome, at_us, position);
}

void store_put_output(struct store *store, struct task_key key, uint64_t position,
		      enum stream stream, uint64_t offset, int64_t at_us, char *bytes, size_t size)
{
	struct change *change = store_put(store, CHANGE_OUTPUT, key, size);

	change->output.position = position;
	change->output.stream = stream;
	change->output.offset = offset;
	change->output.at_us = at_us;
	change->output.bytes = bytes;
	change->output.size = size;
}

void store_put_cursor(struct store *store, uid_t uid, const char *name, uint64_t job,
		      uint64_t position)
{
	struct change *change;

	if (store_is_stuck(store))
		return;
	change = store_put(store, CHANGE_CURSOR, job_key(job), store_text_bytes(name));
	change->cursor.uid = uid;
	change->cursor.name = xstrdup(name);
	change->cursor.position = position;
}

/* --- Applying --- */

int store_run_with_key(struct store *store, enum statement which, int64_t key)
{
	sqlite3_stmt *statement = store_statement(store, which);

	(void)sqlite3_bind_int64(statement, 1, key);
	return store_run(statement);
}

static int apply_job_update(struct store *store, const struct job_row *row)
{
	sqlite3_stmt *update = store_statement(store, SQL_JOB_UPDATE);
	sqlite3_stmt *request = store_statement(store, SQL_REQUEST_UPDATE);
	int r;

	store_bind_columns(update, row);
	r = store_run(update);
	if (r != SQLITE_OK || !row->options)
		return r;
	store_bind(request, 1, row->id);
	store_bind_text(request, 2, row->options);
	return store_run(request);
}

static int apply_removed(struct store *store, uint64_t id)
{
	int r = store_run_with_key(store, SQL_JOB_DELETE, (int64_t)id);

	if (r == SQLITE_OK)
		r = store_run_with_key(store, SQL_JOB_CURSORS_DELETE, (int64_t)id);
	return r == SQLITE_OK ? store_run_with_key(store, SQL_REMOVED_INSERT, (int64_t)id) : r;
}

static int apply_begun(struct store *store, const struct change *change, enum statement which)
{
	sqlite3_stmt *statement = store_statement(store, which);

	(void)sqlite3_bind_int64(statement, 1, task_key_number(change->key));
	store_bind(statement, 2, change->started.attempt);
	(void)sqlite3_bind_int64(statement, 3, change->started.at_us);
	return store_run(statement);
}

static int apply_queued(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_TASK_QUEUED);

	(void)sqlite3_bind_int64(statement, 1, task_key_number(change->key));
	store_bind(statement, 2, change->failures);
	return store_run(statement);
}

/* Output of a stream, or the end of the task: then stream, offset and bytes are NULL. */
static int insert_record(struct store *store, const struct change *change, uint64_t position,
			 int64_t at_us)
{
	sqlite3_stmt *statement = store_statement(store, SQL_RECORD_INSERT);

	store_bind(statement, 1, position);
	store_bind(statement, 2, change->key.job);
	store_bind(statement, 3, change->key.index);
	(void)sqlite3_bind_int64(statement, 6, at_us);
	if (change->type == CHANGE_OUTPUT) {
		store_bind(statement, 4, change->output.stream);
		store_bind(statement, 5, change->output.offset);
		(void)sqlite3_bind_blob64(statement, 7, change->output.bytes, change->output.size,
					  SQLITE_STATIC);
	}
	return store_run(statement);
}

static int apply_ended(struct store *store, const struct change *change)
{
	bool has_row = change->ended.has_row;
	sqlite3_stmt *statement =
		store_statement(store, has_row ? SQL_TASK_ENDED : SQL_TASK_INSERT_ENDED);
	int r;

	(void)sqlite3_bind_int64(statement, 1, task_key_number(change->key));
	store_bind(statement, 2, change->ended.state);
	store_bind(statement, 3, change->ended.class);
	store_bind_text(statement, 4, change->ended.message);
	store_bind_text(statement, 5, change->ended.result);
	(void)sqlite3_bind_int64(statement, 6, change->ended.at_us);
	if (!has_row) {
		store_bind(statement, 7, change->ended.attempt);
		(void)sqlite3_bind_int64(statement, 8, change->ended.started_us);
	}
	r = store_run(statement);
	/* Of a task that had ended already there is no second end. */
	if (r != SQLITE_OK || sqlite3_changes(store->database) == 0)
		return r;
	return insert_record(store, change, change->ended.position, change->ended.at_us);
}

static int apply_output(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_TASK_OUTPUT);
	size_t size = change->output.size;
	int r;

	(void)sqlite3_bind_int64(statement, 1, task_key_number(change->key));
	store_bind(statement, 2, change->output.stream == STREAM_STDOUT ? size : 0);
	store_bind(statement, 3, change->output.stream == STREAM_STDERR ? size : 0);
	r = store_run(statement);
	return r == SQLITE_OK
		       ? insert_record(store, change, change->output.position, change->output.at_us)
		       : r;
}

/* Names that are used once would pile up while an old record stays. */
static int bound_cursors(struct store *store, uid_t uid)
{
	sqlite3_stmt *statement = store_statement(store, SQL_CURSORS_BOUND);

	store_bind(statement, 1, uid);
	(void)sqlite3_bind_int(statement, 2, LOG_CURSORS_MAX);
	return store_run(statement);
}

static int apply_cursor(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_CURSOR_WRITE);
	int r;

	store_bind(statement, 1, change->key.job);
	store_bind(statement, 2, change->cursor.uid);
	store_bind_text(statement, 3, change->cursor.name);
	store_bind(statement, 4, change->cursor.position);
	r = store_run(statement);
	return r == SQLITE_OK && change->key.job == 0 ? bound_cursors(store, change->cursor.uid)
						      : r;
}

int store_apply(struct store *store, const struct change *change)
{
	int64_t key = task_key_number(change->key);

	switch (change->type) {
	case CHANGE_JOB: /* store_insert_jobs */
		break;
	case CHANGE_JOB_UPDATE:
		return apply_job_update(store, change->row);
	case CHANGE_JOB_REMOVED:
		return apply_removed(store, change->key.job);
	case CHANGE_JOB_KEPT:
		return store_run_with_key(store, SQL_REMOVED_DELETE, (int64_t)change->key.job);
	case CHANGE_TASK_STARTED:
		return apply_begun(store, change, SQL_TASK_STARTED);
	case CHANGE_TASK_UNWANTED:
		return apply_begun(store, change, SQL_TASK_UNWANTED);
	case CHANGE_TASK_SENT:
		return store_run_with_key(store, SQL_TASK_SENT, key);
	case CHANGE_TASK_QUEUED:
		return apply_queued(store, change);
	case CHANGE_TASK_ENDED:
		return apply_ended(store, change);
	case CHANGE_OUTPUT:
		return apply_output(store, change);
	case CHANGE_CURSOR:
		return apply_cursor(store, change);
	case CHANGE_SCHEDULE:
	case CHANGE_SCHEDULE_TURN:
	case CHANGE_SCHEDULE_RUN:
	case CHANGE_SCHEDULE_PAUSE:
	case CHANGE_SCHEDULE_REMOVED:
		return store_apply_schedule(store, change);
	}
	abort(); /* no type that exists */
}
