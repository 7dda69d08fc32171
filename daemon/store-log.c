/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The records of all jobs in their order, how far cursors have come in it, and what is still to
 * arrive. */
#include "daemon/store-internal.h"

#include "common/util.h"

#include <errno.h>

struct log_reading {
	record_place_fn *fn;
	void *context;
	uint64_t last;
	size_t looked_at;
};

static int use_place(sqlite3_stmt *statement, void *context)
{
	struct log_reading *reading = context;

	reading->looked_at++;
	reading->last = (uint64_t)sqlite3_column_int64(statement, 0);
	if (sqlite3_column_int(statement, 2))
		reading->fn((uint64_t)sqlite3_column_int64(statement, 1), reading->last,
			    reading->context);
	return 0;
}

int store_read_log(struct store *store, uid_t uid, const char *cursor, uint64_t *after, size_t most,
		   record_place_fn *fn, void *context, bool *ret_is_end)
{
	struct log_reading reading = {.fn = fn, .context = context, .last = *after};
	sqlite3_stmt *statement = store_statement(store, SQL_LOG_READ);
	int r;

	store_bind(statement, 1, *after);
	store_bind(statement, 2, uid);
	store_bind_text(statement, 3, cursor);
	store_bind_limit(statement, 4, most);
	r = store_each_row(store, statement, use_place, &reading);
	*after = reading.last;
	*ret_is_end = reading.looked_at < most;
	return r;
}

int store_has_jobs(struct store *store, uid_t uid, uint64_t count)
{
	sqlite3_stmt *statement = store_statement(store, SQL_JOBS_NTH);
	uint64_t id;
	int r;

	if (count == 0)
		return 1;
	store_bind(statement, 1, uid);
	store_bind(statement, 2, count - 1);
	r = store_one_row(store, statement, store_take_number, &id);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : 1;
}

int store_read_cursor(struct store *store, uid_t uid, const char *name, uint64_t job,
		      uint64_t *ret_position)
{
	sqlite3_stmt *statement = store_statement(store, SQL_CURSOR_READ);
	int r;

	*ret_position = 0;
	store_bind(statement, 1, job);
	store_bind(statement, 2, uid);
	store_bind_text(statement, 3, name);
	r = store_one_row(store, statement, store_take_number, ret_position);
	return r == -ENOENT ? 0 : r;
}

int store_cursor_has_room(struct store *store, uid_t uid, const char *name, uint64_t job)
{
	sqlite3_stmt *statement = store_statement(store, SQL_CURSOR_HAS_ROOM);
	uint64_t has_room = 0;
	int r;

	store_bind(statement, 1, job);
	store_bind(statement, 2, uid);
	store_bind_text(statement, 3, name);
	store_bind(statement, 4, JOB_CURSORS_MAX);
	r = store_one_row(store, statement, store_take_number, &has_room);
	return r < 0 ? r : has_room != 0;
}

void store_set_arriving(struct store *store, uint64_t job, bool is_arriving)
{
	if (is_arriving) {
		store->arriving =
			xgrow(store->arriving, store->arriving_count, sizeof(*store->arriving));
		store->arriving[store->arriving_count++] =
			(struct arriving){job, store_last_position(store)};
		return;
	}
	for (size_t i = 0; i < store->arriving_count; i++)
		if (store->arriving[i].job == job)
			store->arriving[i--] = store->arriving[--store->arriving_count];
}

void store_each_arriving(const struct store *store, record_place_fn *fn, void *context)
{
	for (size_t i = 0; i < store->arriving_count; i++)
		fn(store->arriving[i].job, store->arriving[i].position, context);
}
