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

/* How long a commit waits for another program that writes to the file; then it is tried later. */
enum { BUSY_MS = 100 };
/* Of the log, as SQLite itself has it: a checkpoint moves them into the file. */
enum { CHECKPOINT_PAGES = 1000 };
/* Half of a task's key. */
enum { JOB_ID_MAX = INT32_MAX };

const char *const store_sql[STATEMENT_COUNT] = {
#define STATEMENT_TEXT(id, sql) [id] = sql,
	STATEMENTS(STATEMENT_TEXT)
#undef STATEMENT_TEXT
};

/* --- Statements --- */

sqlite3_stmt *store_statement(struct store *store, enum statement which)
{
	sqlite3_stmt *statement = store->statements[which];

	assert(!sqlite3_stmt_busy(statement)); /* a read inside its own callback */
	(void)sqlite3_clear_bindings(statement);
	return statement;
}

int store_run(sqlite3_stmt *statement)
{
	int r;

	do
		r = sqlite3_step(statement);
	while (r == SQLITE_ROW);
	(void)sqlite3_reset(statement);
	return r == SQLITE_DONE ? SQLITE_OK : r;
}

int store_execute(struct store *store, const char *sql)
{
	return sqlite3_exec(store->database, sql, NULL, NULL, NULL);
}

/* --- Failures --- */

static const struct failure {
	int code; /* of SQLite */
	int number;
	bool is_passing; /* jobd goes on once it is gone */
	const char *what;
} failures[] = {
	{SQLITE_FULL, ENOSPC, true, "cannot grow, its disk is full: free some space"},
	{SQLITE_READONLY, EROFS, true, "is read-only: make it writable"},
	{SQLITE_BUSY, EBUSY, true, "is locked by another program: end that one"},
	{SQLITE_CORRUPT, EIO, false, "is damaged: restore a copy, or move it away to begin anew"},
	{SQLITE_NOTADB, EINVAL, false, STORE_FOREIGN},
};

/* The errno behind the last failure, or 0. SQLite keeps an old one where another code failed. */
static int system_errno(const struct store *store)
{
	int code = sqlite3_errcode(store->database), number = 0;
	sqlite3_file *log = NULL;

	if (code != SQLITE_IOERR && code != SQLITE_CANTOPEN)
		return 0;
	number = sqlite3_system_errno(store->database);
	/* Where a COMMIT fails, only the file that failed has it. */
	if (number == 0 &&
	    sqlite3_file_control(store->database, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) ==
		    SQLITE_OK &&
	    log && log->pMethods)
		(void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &number);
	return number;
}

static const struct failure *find_failure(const struct store *store)
{
	int code = sqlite3_errcode(store->database);

	for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
		if (failures[i].code == code ||
		    (failures[i].is_passing && failures[i].number == system_errno(store)))
			return &failures[i];
	return NULL;
}

bool store_failed_for_good(const struct store *store)
{
	const struct failure *failure = find_failure(store);

	return failure && !failure->is_passing;
}

int store_failure(const struct store *store)
{
	const struct failure *failure = find_failure(store);
	int number = failure ? failure->number : system_errno(store);

	return number > 0 ? -number : -EIO;
}

char *store_describe_failure(const struct store *store, const char *then)
{
	const struct failure *failure = find_failure(store);
	int number = system_errno(store);
	const char *reason = number > 0 ? strerrordesc_np(number) : NULL;

	if (failure)
		return xasprintf("the database %s %s%s", store->path, failure->what,
				 failure->is_passing ? then : "");
	return xasprintf("the database %s fails (%s%s%s): see to its disk%s", store->path,
			 sqlite3_errmsg(store->database), reason ? ", " : "", reason ? reason : "",
			 then);
}

/* --- Opening --- */

static int refuse_file(const struct store *store, const char *what, struct error *ret_error)
{
	return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
			 "cannot %s the database %s: %m; choose another with --database", what,
			 store->path);
}

static int refuse_folder(const struct store *store, const char *what, struct error *ret_error)
{
	const char *slash = strrchr(store->path, '/');
	int length = slash > store->path ? (int)(slash - store->path) : 1;
	autofree char *folder = slash ? xasprintf("%.*s", length, store->path) : xstrdup(".");

	return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
			 "cannot %s the folder %s: %m; choose another with --database", what,
			 folder);
}

int store_refuse(const struct store *store, struct error *ret_error)
{
	autofree char *sentence = store_describe_failure(store, "");
	int r = error_set(ret_error, ERROR_STORAGE_FAILED, NULL, "%s", sentence);

	return store_failed_for_good(store) ? -EUCLEAN : r;
}

static int refuse_second(const struct store *store, struct error *ret_error)
{
	char text[16] = "", holder[32] = "";
	long pid;

	(void)!pread(store->lock_fd, text, sizeof(text) - 1, 0);
	pid = strtol(text, NULL, 10);
	if (pid > 0)
		(void)snprintf(holder, sizeof(holder), " (pid %ld)", pid);
	return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
			 "another jobd%s has the database %s open: stop it, or choose another "
			 "with --database",
			 holder, store->path);
}

/* An flock, not a pid file: it ends with the process, however that ends. */
int store_take_lock(struct store *store, struct error *ret_error)
{
	autofree char *path = xasprintf("%s-lock", store->path);
	char pid[16];

	if (store->lock_fd >= 0)
		(void)close(store->lock_fd);
	store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock_fd < 0)
		return refuse_folder(store, "write to", ret_error);
	if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? refuse_second(store, ret_error)
					    : refuse_file(store, "lock", ret_error);
	/* Only for refuse_second, which does without where this fails. */
	(void)snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
	(void)!ftruncate(store->lock_fd, 0);
	(void)!pwrite(store->lock_fd, pid, strlen(pid), 0);
	return 0;
}

static int connect_database(struct store *store, struct error *ret_error)
{
	/* Made here, for its mode, which SQLite then gives to the files beside it as well. */
	int fd = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return refuse_file(store, "open", ret_error);
	(void)close(fd);
	/* Nobody asks how much memory SQLite has: counting takes a lock each time. This counts
	 * before its first use only. */
	(void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	if (sqlite3_open_v2(store->path, &store->database,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return store_refuse(store, ret_error);
	(void)sqlite3_busy_timeout(store->database, BUSY_MS);
	return 0;
}

/* SQLite's own hook would make a checkpoint of it, for which the commit's replies would wait. */
static int note_log(void *context, sqlite3 *database, const char *name, int pages)
{
	struct store *store = context;

	(void)database;
	(void)name;
	store->log_pages = pages;
	return SQLITE_OK;
}

static int prepare_database(struct store *store, struct error *ret_error)
{
	static const char pragmas[] = "PRAGMA journal_mode = WAL;"
				      "PRAGMA synchronous = FULL;"
				      "PRAGMA secure_delete = OFF;"
				      "PRAGMA journal_size_limit = 67108864;"
				      "PRAGMA temp_store = MEMORY;"
				      "PRAGMA cache_size = -4096;";
	sqlite3_stmt *meta;

	(void)sqlite3_wal_hook(store->database, note_log, store);
	if (store_execute(store, pragmas) != SQLITE_OK || store_make_rows(store) != SQLITE_OK)
		return store_refuse(store, ret_error);
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		if (sqlite3_prepare_v3(store->database, store_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &store->statements[i], NULL) != SQLITE_OK)
			return store_refuse(store, ret_error);
	meta = store_statement(store, SQL_META_READ);
	if (sqlite3_step(meta) != SQLITE_ROW)
		return store_refuse(store, ret_error);
	store->next_job = (uint64_t)sqlite3_column_int64(meta, 0);
	store->next_position = (uint64_t)sqlite3_column_int64(meta, 1);
	(void)sqlite3_reset(meta);
	store_note_places(store);
	return 0;
}

int store_open(const char *path, struct store **ret_store, struct error *ret_error)
{
	struct store *store = xcalloc(1, sizeof(*store));
	int r;

	/* The lock and the log are beside the file itself, by whichever path it is named. */
	store->path = path_follow_links(path);
	store->lock_fd = -1;
	STAILQ_INIT(&store->queue);
	r = path_make_parent(store->path);
	if (r < 0) {
		errno = -r;
		r = refuse_folder(store, "make", ret_error);
	}
	if (r == 0)
		r = store_take_lock(store, ret_error);
	if (r == 0)
		r = connect_database(store, ret_error);
	if (r == 0)
		r = store_make_schema(store, ret_error);
	if (r == 0)
		r = prepare_database(store, ret_error);
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	store_forget_changes(store);
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		(void)sqlite3_finalize(store->statements[i]);
	(void)sqlite3_close(store->database);
	if (store->lock_fd >= 0)
		(void)close(store->lock_fd);
	free(store->error);
	free(store->read_error);
	free(store->arriving);
	free(store->path);
	free(store);
}

/* --- The commit --- */

static int apply_all(struct store *store)
{
	sqlite3_stmt *meta;
	const struct change *change, *next;
	int64_t start_us;
	int r = store_run(store_statement(store, SQL_BEGIN));

	for (change = STAILQ_FIRST(&store->queue); change && r == SQLITE_OK; change = next) {
		next = STAILQ_NEXT(change, link);
		r = change->type == CHANGE_JOB ? store_insert_jobs(store, change, &next)
					       : store_apply(store, change);
	}
	if (r != SQLITE_OK)
		return r;
	meta = store_statement(store, SQL_META_WRITE);
	(void)sqlite3_bind_int64(meta, 1, (int64_t)store->next_job);
	(void)sqlite3_bind_int64(meta, 2, (int64_t)store->next_position);
	r = store_run(meta);
	if (r != SQLITE_OK)
		return r;
	start_us = now_monotonic_us();
	r = store_run(store_statement(store, SQL_COMMIT));
	store->sync_us = now_monotonic_us() - start_us;
	return r;
}

/* Of jobs that are there with this commit. */
static void end_arrivals(struct store *store)
{
	const struct change *change;

	STAILQ_FOREACH (change, &store->queue, link)
		if (change->type == CHANGE_JOB_KEPT)
			store_set_arriving(store, change->key.job, false);
}

int store_commit(struct store *store)
{
	int r;

	if (STAILQ_EMPTY(&store->queue) && !store->error)
		return 0;
	if (store->is_writing_stopped) {
		store_forget_changes(store);
		return -EUCLEAN;
	}
	free(store->error);
	store->error = NULL;
	r = store_check_places(store, &store->error);
	if (r < 0)
		return r;
	if (apply_all(store) != SQLITE_OK) {
		r = store_failure(store);
		store->error = store_describe_failure(store, ", jobd then goes on by itself");
		/* SQLite may have rolled back by itself (disk full, I/O error). */
		if (!sqlite3_get_autocommit(store->database))
			(void)store_run(store_statement(store, SQL_ROLLBACK));
		return r;
	}
	store->commits++;
	if (store->arriving_count > 0)
		end_arrivals(store);
	store_forget_changes(store);
	return 0;
}

bool store_is_damaged(const struct store *store)
{
	return store->is_damaged;
}

void store_stop_writing(struct store *store)
{
	store_forget_changes(store);
	free(store->error);
	store->error = xasprintf("%s; until then jobd takes no work, and answers what it can read",
				 store->read_error);
	store->is_writing_stopped = true;
	/* Nor does the end take what the log has into the file. */
	(void)sqlite3_db_config(store->database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
}

void store_checkpoint(struct store *store)
{
	if (store->log_pages < CHECKPOINT_PAGES)
		return;
	store->log_pages = 0; /* the next commit tells, also where this fails */
	(void)store_run(store_statement(store, SQL_CHECKPOINT));
}

bool store_has_changes(const struct store *store)
{
	return !STAILQ_EMPTY(&store->queue);
}

size_t store_queued_bytes(const struct store *store)
{
	return store->queued_bytes;
}

bool store_is_full(const struct store *store)
{
	enum { QUEUED_MAX = 4096, QUEUED_BYTES_MAX = 4 * 1024 * 1024 };

	return store->queued >= QUEUED_MAX || store->queued_bytes >= QUEUED_BYTES_MAX;
}

bool store_is_stuck(const struct store *store)
{
	return store->error && store_is_full(store);
}

const char *store_error(const struct store *store)
{
	return store->error;
}

const char *store_read_error(const struct store *store, uint64_t *ret_failures)
{
	*ret_failures = store->read_failures;
	return store->read_error;
}

int store_refuse_read(const struct store *store, struct error *ret_error)
{
	return error_set(ret_error, ERROR_STORAGE_FAILED, NULL, "%s",
			 store->read_error ? store->read_error : "the database cannot be read");
}

int64_t store_sync_us(const struct store *store)
{
	return store->sync_us;
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

int store_check_ids(const struct store *store, struct error *ret_error)
{
	return store->next_job < JOB_ID_MAX
		       ? 0
		       : error_set(ret_error, ERROR_LIMIT_REACHED, "ids",
				   "all ids up to %d were given, and none is given twice: keep "
				   "this database, and begin another with --database",
				   JOB_ID_MAX - 1);
}

uint64_t store_next_job(struct store *store)
{
	assert(store->next_job < JOB_ID_MAX);
	return store->next_job++;
}

uint64_t store_next_position(struct store *store)
{
	return store->next_position++;
}

uint64_t store_last_position(const struct store *store)
{
	return store->next_position - 1;
}
