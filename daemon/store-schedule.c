/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Schedules in the store: their changes, and the reads. */
#include "daemon/store-internal.h"

#include "common/util.h"

/* --- Changes --- */

void schedule_row_done(struct schedule_row *row)
{
	free(row->kind);
	free(row->name);
	free(row->token);
	free(row->options);
	free(row->targets);
	free(row->calendar);
	free(row->error);
	memset(row, 0, sizeof(*row));
}

static struct schedule_row *row_copy(const struct schedule_row *row)
{
	struct schedule_row *copy = xmalloc(sizeof(*copy));

	*copy = *row;
	copy->kind = xstrdup(row->kind);
	copy->name = xstrdup_or_null(row->name);
	copy->token = xstrdup_or_null(row->token);
	copy->options = xstrdup(row->options);
	copy->targets = xstrdup(row->targets);
	copy->calendar = xstrdup_or_null(row->calendar);
	copy->error = xstrdup_or_null(row->error);
	return copy;
}

static struct change *put(struct store *store, enum change_type type, uint64_t id, size_t payload)
{
	return store_put(store, type, (struct task_key){.job = id}, payload);
}

void store_put_schedule(struct store *store, const struct schedule_row *row)
{
	size_t payload = sizeof(*row) + store_text_bytes(row->options) +
			 store_text_bytes(row->targets) + store_text_bytes(row->calendar);

	put(store, CHANGE_SCHEDULE, row->id, payload)->schedule = row_copy(row);
}

void store_put_schedule_turn(struct store *store, uint64_t id, int64_t next_us, uint64_t skipped,
			     const char *error)
{
	struct change *change = put(store, CHANGE_SCHEDULE_TURN, id, store_text_bytes(error));

	change->turn.next_us = next_us;
	change->turn.skipped = skipped;
	change->turn.error = xstrdup_or_null(error);
}

void store_put_schedule_run(struct store *store, uint64_t id, uint64_t job, int64_t at_us)
{
	struct change *change = put(store, CHANGE_SCHEDULE_RUN, id, 0);

	change->run.job = job;
	change->run.at_us = at_us;
}

void store_put_schedule_paused(struct store *store, uint64_t id, bool is_paused)
{
	put(store, CHANGE_SCHEDULE_PAUSE, id, 0)->is_paused = is_paused;
}

void store_put_schedule_removed(struct store *store, uint64_t id)
{
	(void)put(store, CHANGE_SCHEDULE_REMOVED, id, 0);
}

uint64_t store_queued_schedule(const struct store *store, uid_t uid, const char *token,
			       const char *name)
{
	const struct change *change;

	STAILQ_FOREACH (change, &store->queue, link) {
		const struct schedule_row *row = change->schedule;

		if (change->type != CHANGE_SCHEDULE || row->uid != uid)
			continue;
		if ((token && row->token && streq(token, row->token)) ||
		    (name && row->name && streq(name, row->name)))
			return row->id;
	}
	return 0;
}

void change_done_schedule(struct change *change)
{
	if (change->type == CHANGE_SCHEDULE_TURN) {
		free(change->turn.error);
		return;
	}
	schedule_row_done(change->schedule);
	free(change->schedule);
}

/* --- Applying --- */

/* In the order of SCHEDULE_COLUMNS. */
static int apply_row(struct store *store, const struct schedule_row *row)
{
	sqlite3_stmt *statement = store_statement(store, SQL_SCHEDULE_INSERT);
	const struct {
		int place;
		int64_t value;
	} numbers[] = {
		{1, (int64_t)row->id},
		{2, row->uid},
		{8, row->every_us},
		{9, row->at_us},
		{11, row->is_catch_up},
		{12, row->is_overlap},
		{13, (int64_t)row->keep_last},
		{14, row->is_paused},
		{15, row->created_us},
		{16, row->next_us},
		{17, row->last_us},
		{18, (int64_t)row->last_job},
		{19, (int64_t)row->runs},
		{20, (int64_t)row->skipped},
	};
	const struct {
		int place;
		const char *text;
	} texts[] = {
		{3, row->kind},    {4, row->name},      {5, row->token},  {6, row->options},
		{7, row->targets}, {10, row->calendar}, {21, row->error},
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		(void)sqlite3_bind_int64(statement, numbers[i].place, numbers[i].value);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		store_bind_text(statement, texts[i].place, texts[i].text);
	return store_run(statement);
}

static int apply_turn(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_SCHEDULE_TURN);

	store_bind(statement, 1, change->key.job);
	(void)sqlite3_bind_int64(statement, 2, change->turn.next_us);
	store_bind(statement, 3, change->turn.skipped);
	store_bind_text(statement, 4, change->turn.error);
	return store_run(statement);
}

static int apply_run(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_SCHEDULE_RUN);

	store_bind(statement, 1, change->key.job);
	store_bind(statement, 2, change->run.job);
	(void)sqlite3_bind_int64(statement, 3, change->run.at_us);
	return store_run(statement);
}

static int apply_pause(struct store *store, const struct change *change)
{
	sqlite3_stmt *statement = store_statement(store, SQL_SCHEDULE_PAUSE);

	store_bind(statement, 1, change->key.job);
	store_bind(statement, 2, change->is_paused);
	return store_run(statement);
}

int store_apply_schedule(struct store *store, const struct change *change)
{
	if (change->type == CHANGE_SCHEDULE)
		return apply_row(store, change->schedule);
	if (change->type == CHANGE_SCHEDULE_TURN)
		return apply_turn(store, change);
	if (change->type == CHANGE_SCHEDULE_RUN)
		return apply_run(store, change);
	if (change->type == CHANGE_SCHEDULE_PAUSE)
		return apply_pause(store, change);
	return store_run_with_key(store, SQL_SCHEDULE_DELETE, (int64_t)change->key.job);
}

/* --- Reads --- */

static uint64_t number(sqlite3_stmt *statement, int column)
{
	return (uint64_t)sqlite3_column_int64(statement, column);
}

/* The columns of SCHEDULE_COLUMNS. */
static int take_row(sqlite3_stmt *statement, void *context)
{
	*(struct schedule_row *)context = (struct schedule_row){
		.id = number(statement, 0),
		.uid = (uid_t)number(statement, 1),
		.kind = store_column_copy(statement, 2),
		.name = store_column_copy(statement, 3),
		.token = store_column_copy(statement, 4),
		.options = store_column_copy(statement, 5),
		.targets = store_column_copy(statement, 6),
		.every_us = sqlite3_column_int64(statement, 7),
		.at_us = sqlite3_column_int64(statement, 8),
		.calendar = store_column_copy(statement, 9),
		.is_catch_up = number(statement, 10) != 0,
		.is_overlap = number(statement, 11) != 0,
		.keep_last = number(statement, 12),
		.is_paused = number(statement, 13) != 0,
		.created_us = sqlite3_column_int64(statement, 14),
		.next_us = sqlite3_column_int64(statement, 15),
		.last_us = sqlite3_column_int64(statement, 16),
		.last_job = number(statement, 17),
		.runs = number(statement, 18),
		.skipped = number(statement, 19),
		.error = store_column_copy(statement, 20),
	};
	return 0;
}

struct schedule_reading {
	schedule_row_fn *fn;
	void *context;
};

static int use_row(sqlite3_stmt *statement, void *context)
{
	const struct schedule_reading *reading = context;
	struct schedule_row row;
	int r;

	(void)take_row(statement, &row);
	r = reading->fn(&row, reading->context);
	schedule_row_done(&row);
	return r;
}

static sqlite3_stmt *bound(struct store *store, enum statement which, const uid_t *uid,
			   int64_t border, size_t limit)
{
	sqlite3_stmt *statement = store_statement(store, which);

	if (uid)
		(void)sqlite3_bind_int64(statement, 1, *uid);
	(void)sqlite3_bind_int64(statement, 2, border);
	store_bind_limit(statement, 3, limit);
	return statement;
}

int store_read_schedules(struct store *store, const uid_t *uid, uint64_t after, size_t limit,
			 schedule_row_fn *fn, void *context)
{
	struct schedule_reading reading = {.fn = fn, .context = context};
	enum statement which = uid ? SQL_SCHEDULES_OF_USER : SQL_SCHEDULES_ALL;

	return store_each_row(store, bound(store, which, uid, (int64_t)after, limit), use_row,
			      &reading);
}

int store_read_schedules_named(struct store *store, const uid_t *uid, const char *name,
			       size_t limit, schedule_row_fn *fn, void *context)
{
	struct schedule_reading reading = {.fn = fn, .context = context};
	sqlite3_stmt *statement = bound(store, SQL_SCHEDULES_NAMED, uid, 0, limit);

	store_bind_text(statement, 4, name);
	return store_each_row(store, statement, use_row, &reading);
}

int store_read_schedules_due(struct store *store, int64_t now_us, size_t limit, schedule_row_fn *fn,
			     void *context)
{
	struct schedule_reading reading = {.fn = fn, .context = context};

	return store_each_row(store, bound(store, SQL_SCHEDULES_DUE, NULL, now_us, limit), use_row,
			      &reading);
}

int store_read_schedule(struct store *store, uint64_t id, struct schedule_row *ret_row)
{
	sqlite3_stmt *statement = store_statement(store, SQL_SCHEDULE_READ);

	store_bind(statement, 1, id);
	return store_one_row(store, statement, take_row, ret_row);
}

int store_find_schedule_token(struct store *store, uid_t uid, const char *token, uint64_t *ret_id)
{
	sqlite3_stmt *statement = store_statement(store, SQL_SCHEDULE_TOKEN);

	store_bind(statement, 1, uid);
	store_bind_text(statement, 2, token);
	return store_one_row(store, statement, store_take_number, ret_id);
}

int store_next_schedule_us(struct store *store, int64_t *ret_us)
{
	uint64_t value = 0;
	int r = store_one_row(store, store_statement(store, SQL_SCHEDULE_NEXT), store_take_number,
			      &value);

	*ret_us = (int64_t)value;
	return r == -ENOENT ? 0 : r;
}

int store_count_schedules(struct store *store, uint64_t *ret_count)
{
	const struct change *change;
	int r;

	*ret_count = 0;
	r = store_one_row(store, store_statement(store, SQL_SCHEDULE_COUNT), store_take_number,
			  ret_count);
	STAILQ_FOREACH (change, &store->queue, link)
		*ret_count += change->type == CHANGE_SCHEDULE;
	return r;
}

int store_live_run(struct store *store, uint64_t schedule, uint64_t *ret_job)
{
	sqlite3_stmt *statement = store_statement(store, SQL_SCHEDULE_LIVE);
	int r;

	*ret_job = 0;
	store_bind(statement, 1, schedule);
	r = store_one_row(store, statement, store_take_number, ret_job);
	return r == -ENOENT ? 0 : r;
}

struct run_reading {
	run_id_fn *fn;
	void *context;
};

static int use_run(sqlite3_stmt *statement, void *context)
{
	const struct run_reading *reading = context;

	reading->fn(number(statement, 0), reading->context);
	return 0;
}

int store_read_old_runs(struct store *store, uint64_t schedule, uint64_t keep, size_t limit,
			run_id_fn *fn, void *context)
{
	struct run_reading reading = {.fn = fn, .context = context};
	sqlite3_stmt *statement = store_statement(store, SQL_SCHEDULE_ENDED);

	store_bind(statement, 1, schedule);
	store_bind(statement, 2, keep);
	store_bind_limit(statement, 3, limit);
	return store_each_row(store, statement, use_run, &reading);
}
