/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opening and the commit. One connection only, which writes and checkpoints: SQLite 3.40.1 (Debian
 * 12) lies in the range of the WAL-reset bug that needs two (https://sqlite.org/wal.html).
 */
#include "daemon/store-internal.h"

#include "common/paths.h"
#include "common/util.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* "jobd", so that file(1) and we know the file. */
enum { APPLICATION_ID = 0x6a6f6264, SCHEMA_VERSION = 1 };

const char *const store_sql[STATEMENT_COUNT] = {
#define STATEMENT_TEXT(id, sql) [id] = sql,
	STATEMENTS(STATEMENT_TEXT)
#undef STATEMENT_TEXT
};

static const char schema[] =
	"BEGIN;"
	"CREATE TABLE meta (id INTEGER PRIMARY KEY, next_job INTEGER NOT NULL,"
	" next_position INTEGER NOT NULL);"
	"INSERT INTO meta VALUES (0, 1, 1);"
	"CREATE TABLE job (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, kind TEXT NOT NULL,"
	" name TEXT, token TEXT, options TEXT NOT NULL, targets TEXT NOT NULL,"
	" retry_of INTEGER NOT NULL, state INTEGER NOT NULL, queued INTEGER NOT NULL,"
	" running INTEGER NOT NULL, succeeded INTEGER NOT NULL, failed INTEGER NOT NULL,"
	" stopped INTEGER NOT NULL, interrupted INTEGER NOT NULL, classes TEXT NOT NULL,"
	" next_index INTEGER NOT NULL, last_position INTEGER NOT NULL,"
	" received_position INTEGER NOT NULL, created_us INTEGER NOT NULL,"
	" started_us INTEGER NOT NULL, ended_us INTEGER NOT NULL);"
	"CREATE UNIQUE INDEX job_token ON job (uid, token) WHERE token IS NOT NULL;"
	"CREATE INDEX job_user ON job (uid);"
	"CREATE INDEX job_name ON job (name) WHERE name IS NOT NULL;"
	"CREATE INDEX job_live ON job (id) WHERE state < 4;"
	"CREATE INDEX job_unreceived ON job (uid) WHERE last_position > received_position;"
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
	"PRAGMA application_id = 0x6a6f6264;"
	"PRAGMA user_version = 1;"
	"COMMIT;";

/* --- Statements --- */

sqlite3_stmt *store_statement(struct store *store, enum statement which)
{
	sqlite3_stmt **statement = &store->statements[which];

	if (!*statement &&
	    sqlite3_prepare_v3(store->database, store_sql[which], -1, SQLITE_PREPARE_PERSISTENT,
			       statement, NULL) != SQLITE_OK)
		return NULL;
	assert(!sqlite3_stmt_busy(*statement)); /* a read inside its own callback */
	(void) sqlite3_clear_bindings(*statement);
	return *statement;
}

int store_run(struct store *store, sqlite3_stmt *statement)
{
	int r;

	if (!statement)
		return sqlite3_errcode(store->database);
	do
		r = sqlite3_step(statement);
	while (r == SQLITE_ROW);
	(void) sqlite3_reset(statement);
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

int store_failure(struct store *store, char **ret_sentence)
{
	int code = sqlite3_errcode(store->database);
	int number = sqlite3_system_errno(store->database);

	errno = number;
	switch (code) {
	case SQLITE_FULL:
		*ret_sentence = xasprintf("the disk is full, the database %s cannot grow: free "
					  "some space, jobd goes on by itself",
					  store->path);
		return -ENOSPC;
	case SQLITE_READONLY:
		*ret_sentence = xasprintf("the database %s is read-only", store->path);
		return -EROFS;
	case SQLITE_NOTADB:
		*ret_sentence = xasprintf("%s is no database of jobd: choose another with "
					  "--database",
					  store->path);
		return -EINVAL;
	case SQLITE_CORRUPT:
		*ret_sentence = xasprintf("the database %s is damaged: restore a copy, or move it "
					  "away to begin anew",
					  store->path);
		return -EIO;
	default:
		*ret_sentence = xasprintf("the database %s: %s%s%s", store->path,
					  sqlite3_errmsg(store->database), number ? ": " : "",
					  number ? strerrordesc_np(number) : "");
		return number > 0 ? -number : -EIO;
	}
}

/* --- Opening --- */

static int refuse(struct error *ret_error, const char *path, const char *what)
{
	return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
			 "%s for the database %s: %m; choose another with --database", what, path);
}

/* An flock, not a pid file: it ends with the process, however that ends. */
static int take_lock(struct store *store, struct error *ret_error)
{
	autofree char *path = xasprintf("%s-lock", store->path);
	char pid[16] = "";

	store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock_fd < 0)
		return refuse(ret_error, store->path, "cannot write to the folder");
	if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK)
			return refuse(ret_error, store->path, "cannot lock");
		(void) !pread(store->lock_fd, pid, sizeof(pid) - 1, 0);
		pid[strcspn(pid, "\n")] = '\0';
		return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				 "another jobd (process %s) has the database %s open: stop it, or "
				 "choose another with --database",
				 pid, store->path);
	}
	(void) snprintf(pid, sizeof(pid), "%ld\n", (long) getpid());
	(void) !ftruncate(store->lock_fd, 0);
	(void) !pwrite(store->lock_fd, pid, strlen(pid), 0);
	return 0;
}

static int execute(struct store *store, const char *sql)
{
	return sqlite3_exec(store->database, sql, NULL, NULL, NULL);
}

static int64_t pragma_number(struct store *store, const char *sql)
{
	sqlite3_stmt *statement;
	int64_t value = -1;

	if (sqlite3_prepare_v2(store->database, sql, -1, &statement, NULL) != SQLITE_OK)
		return -1;
	if (sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	(void) sqlite3_finalize(statement);
	return value;
}

static int fail_open(struct store *store, struct error *ret_error)
{
	autofree char *sentence = NULL;

	(void) store_failure(store, &sentence);
	return error_set(ret_error, ERROR_STORAGE_FAILED, NULL, "%s", sentence);
}

/* An empty file gets the schema; any other must be ours, and not newer than we are. */
static int check_schema(struct store *store, struct error *ret_error)
{
	int64_t pages = pragma_number(store, "PRAGMA page_count");
	int64_t application = pragma_number(store, "PRAGMA application_id");
	int64_t version = pragma_number(store, "PRAGMA user_version");

	if (pages < 0)
		return fail_open(store, ret_error);
	if (pages == 0 || (pages > 0 && application == 0 && version == 0 &&
			   pragma_number(store, "SELECT count(*) FROM sqlite_schema") == 0)) {
		if (execute(store, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM;") != SQLITE_OK ||
		    execute(store, schema) != SQLITE_OK)
			return fail_open(store, ret_error);
		return 0;
	}
	if (application != APPLICATION_ID)
		return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				 "%s is no database of jobd: choose another with --database",
				 store->path);
	if (version != SCHEMA_VERSION)
		return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				 "the database %s has version %lld, and this jobd knows version "
				 "%d: use a newer jobd",
				 store->path, (long long) version, SCHEMA_VERSION);
	return 0;
}

static int open_database(struct store *store, struct error *ret_error)
{
	static const char pragmas[] = "PRAGMA page_size = 4096;"
				      "PRAGMA journal_mode = WAL;"
				      "PRAGMA synchronous = FULL;"
				      "PRAGMA secure_delete = OFF;"
				      "PRAGMA wal_autocheckpoint = 1000;"
				      "PRAGMA journal_size_limit = 67108864;"
				      "PRAGMA temp_store = MEMORY;"
				      "PRAGMA cache_size = -4096;";
	sqlite3_stmt *meta;
	int r;

	r = sqlite3_open_v2(store->path, &store->database,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (r != SQLITE_OK)
		return fail_open(store, ret_error);
	(void) chmod(store->path, 0600);
	(void) sqlite3_busy_timeout(store->database, 1000);
	r = check_schema(store, ret_error);
	if (r < 0)
		return r;
	if (execute(store, pragmas) != SQLITE_OK)
		return fail_open(store, ret_error);

	meta = store_statement(store, SQL_META_READ);
	if (!meta || sqlite3_step(meta) != SQLITE_ROW)
		return fail_open(store, ret_error);
	store->next_job = (uint64_t) sqlite3_column_int64(meta, 0);
	store->next_position = (uint64_t) sqlite3_column_int64(meta, 1);
	(void) sqlite3_reset(meta);
	return 0;
}

int store_open(const char *path, struct store **ret_store, struct error *ret_error)
{
	struct store *store = xcalloc(1, sizeof(*store));
	int r;

	store->path = xstrdup(path);
	store->lock_fd = -1;
	STAILQ_INIT(&store->queue);
	r = path_make_parent(path);
	if (r < 0) {
		errno = -r;
		r = refuse(ret_error, path, "cannot make the folder");
	}
	if (r == 0)
		r = take_lock(store, ret_error);
	if (r == 0)
		r = open_database(store, ret_error);
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

void store_close(struct store *store)
{
	struct change *change;

	if (!store)
		return;
	while ((change = STAILQ_FIRST(&store->queue))) {
		STAILQ_REMOVE_HEAD(&store->queue, link);
		change_free(change);
	}
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		(void) sqlite3_finalize(store->statements[i]);
	(void) sqlite3_close(store->database);
	if (store->lock_fd >= 0)
		(void) close(store->lock_fd);
	free(store->error);
	free(store->path);
	free(store);
}

/* --- The commit --- */

static int apply_all(struct store *store)
{
	sqlite3_stmt *meta;
	struct change *change;
	int r = store_run(store, store_statement(store, SQL_BEGIN));

	if (r != SQLITE_OK)
		return r;
	STAILQ_FOREACH(change, &store->queue, link)
	{
		r = store_apply(store, change);
		if (r != SQLITE_OK)
			return r;
	}
	meta = store_statement(store, SQL_META_WRITE);
	if (!meta)
		return SQLITE_ERROR;
	(void) sqlite3_bind_int64(meta, 1, (int64_t) store->next_job);
	(void) sqlite3_bind_int64(meta, 2, (int64_t) store->next_position);
	r = store_run(store, meta);
	if (r != SQLITE_OK)
		return r;
	return store_run(store, store_statement(store, SQL_COMMIT));
}

int store_commit(struct store *store)
{
	struct change *change;
	int r = 0;

	if (STAILQ_EMPTY(&store->queue) && !store->error)
		return 0;
	free(store->error);
	store->error = NULL;
	if (apply_all(store) != SQLITE_OK) {
		r = store_failure(store, &store->error);
		/* SQLite may have rolled back by itself (disk full, I/O error). */
		if (!sqlite3_get_autocommit(store->database))
			(void) store_run(store, store_statement(store, SQL_ROLLBACK));
		return r;
	}
	store->commits++;
	store->queued_bytes = 0;
	while ((change = STAILQ_FIRST(&store->queue))) {
		STAILQ_REMOVE_HEAD(&store->queue, link);
		change_free(change);
	}
	return 0;
}

bool store_has_changes(const struct store *store)
{
	return !STAILQ_EMPTY(&store->queue);
}

size_t store_queued_bytes(const struct store *store)
{
	return store->queued_bytes;
}

const char *store_error(const struct store *store)
{
	return store->error;
}

uint64_t store_commits(const struct store *store)
{
	return store->commits;
}

int64_t store_bytes(const struct store *store)
{
	struct stat status;

	return stat(store->path, &status) == 0 ? status.st_size : 0;
}

uint64_t store_next_job(struct store *store)
{
	return store->next_job++;
}

uint64_t store_next_position(struct store *store)
{
	return store->next_position++;
}
