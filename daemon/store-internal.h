/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the store share: store.c, store-write.c, store-read.c. */
#pragma once

#include "daemon/store.h"

#include <sqlite3.h>
#include <sys/queue.h>

/* Words are stored as their numbers in common/states.h, which therefore stay as they are. */
_Static_assert(JOB_COMPLETED == 4 && TASK_SUCCEEDED == 2 && TASK_STATE_COUNT == 6,
	       "\"state < 4\", \"state < 2\" and the columns that count tasks");

#define JOB_COLUMNS                                                                         \
	"id, uid, kind, name, token, retry_of, state, queued, running, succeeded, failed, " \
	"stopped, interrupted, classes, next_index, last_position, received_position, "     \
	"created_us, started_us, ended_us, recorded_index, output_bytes, reason"
#define TASK_COLUMNS                                                                               \
	"key, state, class, attempts, is_sent, started_us, ended_us, stdout_bytes, stderr_bytes, " \
	"message, result"
/* What a job_filter asks beside the way in; parameters as store-read.c binds them. */
#define JOB_FILTER                                                                             \
	"id < ?2 AND id >= ?3 AND id <= ?4 AND (?5 & (1 << state)) AND "                       \
	"(?6 IS NULL OR kind = ?6) AND (?7 IS NULL OR name GLOB ?7) AND created_us >= ?8 AND " \
	"created_us <= ?9 AND (?10 = 0 OR last_position > received_position) "                 \
	"ORDER BY id DESC LIMIT ?11"
#define JOB_SELECT            \
	"SELECT " JOB_COLUMNS \
	", options, targets FROM job CROSS JOIN request ON request.job = id WHERE "

/* The rows of a removed job are there until they are reaped. */
#define NOT_REMOVED "EXISTS (SELECT 1 FROM job WHERE id = ?3) "

/* Every statement, once; a test reads the query plan of each. */
#define STATEMENTS(X)                                                                              \
	X(SQL_BEGIN, "BEGIN IMMEDIATE")                                                            \
	X(SQL_COMMIT, "COMMIT")                                                                    \
	X(SQL_ROLLBACK, "ROLLBACK")                                                                \
	X(SQL_META_WRITE, "UPDATE meta SET next_job = ?1, next_position = ?2 WHERE id = 0")        \
	X(SQL_JOB_INSERT, "INSERT INTO job (" JOB_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, " \
			  "?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, "   \
			  "?22, ?23)")                                                             \
	X(SQL_REQUEST_INSERT, "INSERT INTO request (job, options, targets) VALUES (?1, ?2, ?3)")   \
	X(SQL_JOB_UPDATE,                                                                          \
	  "UPDATE job SET name = coalesce(?4, name), state = ?7, queued = ?8, running = ?9, "      \
	  "succeeded = ?10, failed = ?11, stopped = ?12, interrupted = ?13, classes = ?14, "       \
	  "next_index = ?15, last_position = ?16, "                                                \
	  "received_position = max(received_position, ?17), started_us = ?19, ended_us = ?20, "    \
	  "recorded_index = ?21, output_bytes = ?22, reason = ?23 "                                \
	  "WHERE id = ?1")                                                                         \
	X(SQL_REQUEST_UPDATE, "UPDATE request SET options = ?2 WHERE job = ?1 AND options <> ?2")  \
	X(SQL_JOB_DELETE, "DELETE FROM job WHERE id = ?1")                                         \
	X(SQL_JOB_CURSORS_DELETE, "DELETE FROM cursor WHERE job = ?1")                             \
	X(SQL_REMOVED_INSERT, "INSERT OR IGNORE INTO removed (job) VALUES (?1)")                   \
	X(SQL_TASK_STARTED,                                                                        \
	  "INSERT INTO task (key, state, attempts, started_us) VALUES (?1, 1, ?2, ?3) "            \
	  "ON CONFLICT (key) DO UPDATE SET state = 1, attempts = ?2, started_us = ?3, "            \
	  "is_sent = 0 WHERE state < 2")                                                           \
	X(SQL_TASK_SENT, "UPDATE task SET is_sent = 1 WHERE key = ?1 AND state < 2")               \
	X(SQL_TASK_QUEUED, "UPDATE task SET state = 0, is_sent = 0 WHERE key = ?1 AND state < 2")  \
	X(SQL_TASK_ENDED,                                                                          \
	  "UPDATE task SET state = ?2, class = ?3, message = ?4, result = ?5, ended_us = ?6 "      \
	  "WHERE key = ?1 AND state < 2")                                                          \
	X(SQL_TASK_INSERT_ENDED,                                                                   \
	  "INSERT INTO task (key, state, class, message, result, ended_us, attempts, started_us) " \
	  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (key) DO NOTHING")                  \
	X(SQL_TASK_OUTPUT,                                                                         \
	  "UPDATE task SET stdout_bytes = stdout_bytes + ?2, stderr_bytes = stderr_bytes + ?3 "    \
	  "WHERE key = ?1")                                                                        \
	X(SQL_RECORD_INSERT,                                                                       \
	  "INSERT INTO record (position, job, task, stream, \"offset\", at_us, bytes) "            \
	  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                                   \
	X(SQL_CURSOR_WRITE,                                                                        \
	  "INSERT INTO cursor (job, uid, name, position) "                                         \
	  "SELECT id, ?2, ?3, ?4 FROM job WHERE id = ?1 "                                          \
	  "ON CONFLICT (job, uid, name) DO UPDATE SET position = max(position, ?4)")               \
	X(SQL_META_READ, "SELECT next_job, next_position FROM meta WHERE id = 0")                  \
	X(SQL_JOB_READ, JOB_SELECT "id = ?1")                                                      \
	X(SQL_JOBS_ALL, JOB_SELECT "(?1 IS NULL OR uid = ?1) AND " JOB_FILTER)                     \
	X(SQL_JOBS_OF_USER, JOB_SELECT "uid = ?1 AND " JOB_FILTER)                                 \
	X(SQL_JOBS_UNRECEIVED,                                                                     \
	  JOB_SELECT "uid = ?1 AND last_position > received_position AND " JOB_FILTER)             \
	X(SQL_JOBS_LIVE, JOB_SELECT "state < 4 AND (?1 IS NULL OR uid = ?1) AND " JOB_FILTER)      \
	X(SQL_JOBS_NAMED, JOB_SELECT "name = ?7 AND (?1 IS NULL OR uid = ?1) AND " JOB_FILTER)     \
	X(SQL_JOBS_LIVE_ASCENDING, JOB_SELECT "state < 4 ORDER BY id")                             \
	X(SQL_JOBS_ENDED, "SELECT id, ended_us, last_position <= received_position FROM job "      \
			  "WHERE state >= 4 AND ended_us < ?1 ORDER BY ended_us LIMIT ?2")         \
	X(SQL_JOBS_ENDED_RECEIVED,                                                                 \
	  "SELECT id, ended_us, 1 FROM job WHERE state >= 4 AND last_position <= "                 \
	  "received_position AND ended_us < ?1 ORDER BY ended_us LIMIT ?2")                        \
	X(SQL_TOKEN_FIND, "SELECT id FROM job WHERE uid = ?1 AND token = ?2")                      \
	X(SQL_TASKS_READ,                                                                          \
	  "SELECT " TASK_COLUMNS " FROM task WHERE key > ?1 AND key <= ?2 AND " NOT_REMOVED        \
	  "ORDER BY key LIMIT ?4")                                                                 \
	X(SQL_TASKS_LIVE, "SELECT " TASK_COLUMNS " FROM task WHERE state < 2 ORDER BY key")        \
	X(SQL_TASK_READ, "SELECT " TASK_COLUMNS " FROM task WHERE key = ?1")                       \
	X(SQL_RECORDS_READ, "SELECT position, task, stream, \"offset\", at_us, bytes FROM record " \
			    "WHERE job = ?3 AND position > ?1 AND position <= ?2 AND " NOT_REMOVED \
			    "ORDER BY position LIMIT ?4")                                          \
	X(SQL_RECORD_NEXT,                                                                         \
	  "SELECT position FROM record WHERE job = ?3 AND position > ?1 AND " NOT_REMOVED          \
	  "ORDER BY position LIMIT 1")                                                             \
	X(SQL_CURSOR_READ,                                                                         \
	  "SELECT position FROM cursor WHERE job = ?1 AND uid = ?2 AND name = ?3")                 \
	X(SQL_REMOVED_READ, "SELECT job FROM removed ORDER BY job LIMIT 1")                        \
	X(SQL_RECORD_SIZES, "SELECT position, length(bytes) FROM record WHERE job = ?1 "           \
			    "ORDER BY position LIMIT ?2")                                          \
	X(SQL_RECORDS_DELETE, "DELETE FROM record WHERE job = ?1 AND position <= ?2")              \
	X(SQL_TASKS_DELETE, "DELETE FROM task WHERE key IN (SELECT key FROM task WHERE "           \
			    "key >= ?1 AND key <= ?2 LIMIT ?3)")                                   \
	X(SQL_REQUEST_DELETE, "DELETE FROM request WHERE job = ?1")                                \
	X(SQL_REMOVED_DELETE, "DELETE FROM removed WHERE job = ?1")                                \
	X(SQL_VACUUM, "PRAGMA incremental_vacuum(200)")                                            \
	X(SQL_ALL_PAGES, "PRAGMA page_count")                                                      \
	X(SQL_FREE_PAGES, "PRAGMA freelist_count")                                                 \
	X(SQL_CHECKPOINT, "PRAGMA wal_checkpoint")

#define STATEMENT_ENUM(id, sql) id,
enum statement { STATEMENTS(STATEMENT_ENUM) STATEMENT_COUNT };
#undef STATEMENT_ENUM
extern const char *const store_sql[STATEMENT_COUNT];

enum change_type {
	CHANGE_JOB,
	CHANGE_JOB_UPDATE,
	CHANGE_JOB_REMOVED,
	CHANGE_TASK_STARTED,
	CHANGE_TASK_SENT,
	CHANGE_TASK_QUEUED,
	CHANGE_TASK_ENDED,
	CHANGE_OUTPUT,
	CHANGE_CURSOR,
};

/* One queued change. */
struct change {
	STAILQ_ENTRY(change) link;
	enum change_type type;
	size_t bytes;        /* of memory */
	struct task_key key; /* key.job for changes of a job */
	union {
		struct job_row *row; /* CHANGE_JOB, CHANGE_JOB_UPDATE; owned */
		struct {
			unsigned attempt;
			int64_t at_us;
		} started;
		struct {
			enum task_state state;
			enum error_class class;
			unsigned attempt;       /* 0: it has a row */
			char *message, *result; /* owned */
			int64_t started_us, at_us;
			uint64_t position;
		} ended;
		struct {
			uint64_t position, offset;
			enum stream stream;
			int64_t at_us;
			char *bytes; /* owned */
			size_t size;
		} output;
		struct {
			uid_t uid;
			char *name; /* owned */
			uint64_t position;
		} cursor;
	};
};

struct store {
	char *path;
	int lock_fd;
	sqlite3 *database;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	STAILQ_HEAD(, change) queue;
	size_t queued_bytes;
	uint64_t next_job, next_position;
	uint64_t commits;
	int64_t sync_us; /* of the last one */
	char *error;     /* why the last commit failed, or NULL */
};

/* The statement, reset and with no parameters. */
sqlite3_stmt *store_statement(struct store *store, enum statement which);
/* Steps a statement that returns no rows and resets it: SQLITE_OK or its error. */
int store_run(sqlite3_stmt *statement);
/* The same as a sentence: returns -EIO. */
int store_refuse(const struct store *store, struct error *ret_error);
/* Is it ours, and of a version that we know? */
int store_check_version(struct store *store, struct error *ret_error);
/* The database's last failure as a negative errno. */
int store_failure(const struct store *store);
/* Applies one change within the transaction: SQLITE_OK or an error. */
int store_apply(struct store *store, const struct change *change);
void change_free(struct change *change);

static inline int64_t task_key_number(struct task_key key)
{
	return (int64_t)(key.job << 32 | key.index);
}
