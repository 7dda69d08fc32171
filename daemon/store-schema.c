/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the file holds, as a row of steps: the first makes version 1, each of the others brings a
 * database of the version before to its own. A new file takes them all, so that it is what an old
 * one becomes. A step that stands in a release is never changed again.
 */
#include "daemon/store-internal.h"

#include "common/log.h"
#include "common/util.h"

#include <stdio.h>

/* "jobd", so that file(1) and we know the file. */
enum { APPLICATION_ID = 0x6a6f6264 };

/* steps[n] leads from version n to n + 1. */
static const char *const steps[] = {
	"CREATE TABLE meta (id INTEGER PRIMARY KEY, next_job INTEGER NOT NULL,"
	" next_position INTEGER NOT NULL);"
	"INSERT INTO meta VALUES (0, 1, 1);"
	"CREATE TABLE job (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, kind TEXT NOT NULL,"
	" name TEXT, token TEXT, retry_of INTEGER NOT NULL, state INTEGER NOT NULL,"
	" queued INTEGER NOT NULL, running INTEGER NOT NULL, succeeded INTEGER NOT NULL,"
	" failed INTEGER NOT NULL, stopped INTEGER NOT NULL, interrupted INTEGER NOT NULL,"
	" classes TEXT NOT NULL, next_index INTEGER NOT NULL, last_position INTEGER NOT NULL,"
	" received_position INTEGER NOT NULL, created_us INTEGER NOT NULL,"
	" started_us INTEGER NOT NULL, ended_us INTEGER NOT NULL,"
	" recorded_index INTEGER NOT NULL, output_bytes INTEGER NOT NULL,"
	" reason TEXT);"
	"CREATE UNIQUE INDEX job_token ON job (uid, token) WHERE token IS NOT NULL;"
	"CREATE INDEX job_user ON job (uid);"
	"CREATE INDEX job_name ON job (name) WHERE name IS NOT NULL;"
	"CREATE INDEX job_ended ON job (ended_us) WHERE state >= 4;"
	"CREATE INDEX job_received ON job (ended_us)"
	" WHERE state >= 4 AND last_position <= received_position;"
	"CREATE INDEX job_live ON job (id) WHERE state < 4;"
	"CREATE INDEX job_unreceived ON job (uid) WHERE last_position > received_position;"
	"CREATE TABLE request (job INTEGER PRIMARY KEY, options TEXT NOT NULL,"
	" targets TEXT NOT NULL);"
	"CREATE TABLE task (key INTEGER PRIMARY KEY, state INTEGER NOT NULL,"
	" class INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL,"
	" is_sent INTEGER NOT NULL DEFAULT 0, started_us INTEGER NOT NULL,"
	" ended_us INTEGER NOT NULL DEFAULT 0, stdout_bytes INTEGER NOT NULL DEFAULT 0,"
	" stderr_bytes INTEGER NOT NULL DEFAULT 0, message TEXT, result TEXT);"
	"CREATE INDEX task_live ON task (key) WHERE state < 2;"
	/* An index ends with the rowid, which is the position: records of a job, in order. */
	"CREATE TABLE record (position INTEGER PRIMARY KEY, job INTEGER NOT NULL,"
	" task INTEGER NOT NULL, stream INTEGER, \"offset\" INTEGER, at_us INTEGER NOT NULL,"
	" bytes BLOB);"
	"CREATE INDEX record_job ON record (job);"
	"CREATE TABLE cursor (job INTEGER NOT NULL, uid INTEGER NOT NULL, name TEXT NOT NULL,"
	" position INTEGER NOT NULL, PRIMARY KEY (job, uid, name)) WITHOUT ROWID;"
	"CREATE TABLE removed (job INTEGER PRIMARY KEY);"
	"PRAGMA application_id = 0x6a6f6264;",

	/* Schedules, and a way to what failed. Where an index or a rule may ask whether a job is a
	 * run: 0 for none. */
	"CREATE TABLE schedule (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, kind TEXT NOT NULL,"
	" name TEXT, token TEXT, options TEXT NOT NULL, targets TEXT NOT NULL,"
	" every_us INTEGER NOT NULL, at_us INTEGER NOT NULL, calendar TEXT,"
	" is_catch_up INTEGER NOT NULL, is_overlap INTEGER NOT NULL, keep_last INTEGER NOT NULL,"
	" is_paused INTEGER NOT NULL, created_us INTEGER NOT NULL, next_us INTEGER NOT NULL,"
	" last_us INTEGER NOT NULL, last_job INTEGER NOT NULL, runs INTEGER NOT NULL,"
	" skipped INTEGER NOT NULL, error TEXT);"
	"CREATE UNIQUE INDEX schedule_token ON schedule (uid, token) WHERE token IS NOT NULL;"
	"CREATE UNIQUE INDEX schedule_name ON schedule (name, uid) WHERE name IS NOT NULL;"
	"CREATE INDEX schedule_user ON schedule (uid);"
	"CREATE INDEX schedule_due ON schedule (next_us) WHERE next_us > 0 AND is_paused = 0;"
	"ALTER TABLE job ADD COLUMN schedule INTEGER NOT NULL DEFAULT 0;"
	"CREATE INDEX job_schedule ON job (schedule) WHERE schedule > 0;"
	"CREATE INDEX job_failed ON job (id) WHERE state > 4;"
	"CREATE INDEX job_failed_of_user ON job (uid) WHERE state > 4;"
	"CREATE INDEX job_schedule_live ON job (schedule) WHERE schedule > 0 AND state < 4;",

	/* What a list shows of a long request, so that it need not be read for that. */
	("ALTER TABLE job ADD COLUMN targets_shown TEXT;"
	 "ALTER TABLE job ADD COLUMN command_shown TEXT;"),
};
enum { SCHEMA_VERSION = ARRAY_SIZE(steps) };

/* 0 and a number, or a negative errno. */
static int read_number(struct store *store, const char *sql, int64_t *ret_number)
{
	sqlite3_stmt *statement;
	int r;

	if (sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL) != SQLITE_OK)
		return store_failure(store);
	r = sqlite3_step(statement);
	if (r == SQLITE_ROW)
		*ret_number = sqlite3_column_int64(statement, 0);
	(void)sqlite3_finalize(statement);
	return r == SQLITE_ROW ? 0 : store_failure(store);
}

/* The steps that it lacks, and its new version: all of it or nothing. */
static int take_steps(struct store *store, int64_t version)
{
	char last[48];
	int r = store_execute(store, "BEGIN IMMEDIATE");

	for (; r == SQLITE_OK && version < SCHEMA_VERSION; version++)
		r = store_execute(store, steps[version]);
	(void)snprintf(last, sizeof(last), "PRAGMA user_version = %d; COMMIT", SCHEMA_VERSION);
	return r == SQLITE_OK ? store_execute(store, last) : r;
}

static int bring_up(struct store *store, int64_t version, struct error *ret_error)
{
	int r;

	if (take_steps(store, version) == SQLITE_OK)
		return 0;
	r = store_refuse(store, ret_error);
	/* SQLite may have rolled back by itself (disk full, I/O error). */
	if (!sqlite3_get_autocommit(store->database))
		(void)store_execute(store, "ROLLBACK");
	return r;
}

static int make_new(struct store *store, struct error *ret_error)
{
	/* VACUUM: for the file of an empty database, which knows its page size and kind already. */
	return store_execute(store, "PRAGMA page_size = 4096;"
				    "PRAGMA auto_vacuum = INCREMENTAL;"
				    "VACUUM;") == SQLITE_OK
		       ? bring_up(store, 0, ret_error)
		       : store_refuse(store, ret_error);
}

int store_read_version(struct store *store, int64_t *ret_version, struct error *ret_error)
{
	int64_t application, version;
	int r = -EUCLEAN;

	if (read_number(store, "PRAGMA application_id", &application) < 0 ||
	    read_number(store, "PRAGMA user_version", &version) < 0)
		return store_refuse(store, ret_error);
	if (application != APPLICATION_ID || version < 1)
		(void)error_set(ret_error, ERROR_STORAGE_FAILED, NULL, "the database %s %s",
				store->path, STORE_FOREIGN);
	else if (version > SCHEMA_VERSION)
		(void)error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				"the database %s has version %lld, and this jobd knows version "
				"%d: use a newer jobd",
				store->path, (long long)version, SCHEMA_VERSION);
	else
		r = 0;
	*ret_version = version;
	return r;
}

int store_make_schema(struct store *store, struct error *ret_error)
{
	int64_t used, version;
	int r;

	if (read_number(store,
			"SELECT (SELECT count(*) FROM sqlite_schema) + (SELECT application_id FROM "
			"pragma_application_id) + (SELECT user_version FROM pragma_user_version)",
			&used) < 0)
		return store_refuse(store, ret_error);
	if (used == 0)
		return make_new(store, ret_error);
	r = store_read_version(store, &version, ret_error);
	if (r < 0 || version == SCHEMA_VERSION)
		return r;
	r = bring_up(store, version, ret_error);
	if (r == 0)
		log_notice("the database %s went from version %lld to %d", store->path,
			   (long long)version, SCHEMA_VERSION);
	return r;
}
