/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the store share: store.c and store-*.c. */
#pragma once

#include "daemon/store.h"

#include <sqlite3.h>
#include <sys/queue.h>

/* Words are stored as their numbers in common/states.h, which therefore stay as they are. */
_Static_assert(JOB_COMPLETED == 4 && TASK_SUCCEEDED == 2 && TASK_STATE_COUNT == 6,
	       "\"state < 4\", \"state < 2\" and the columns that count tasks");

/* The columns of a job behind its id, and those of its request: what they are called, what they
 * are, and where a job_row has them. */
#define JOB_FIELDS(FIELD)                                    \
	FIELD(uid, UID, uid)                                 \
	FIELD(kind, TEXT, kind)                              \
	FIELD(name, TEXT, name)                              \
	FIELD(token, TEXT, token)                            \
	FIELD(retry_of, NUMBER, retry_of)                    \
	FIELD(state, STATE, state)                           \
	FIELD(queued, NUMBER, counts[TASK_QUEUED])           \
	FIELD(running, NUMBER, counts[TASK_RUNNING])         \
	FIELD(succeeded, NUMBER, counts[TASK_SUCCEEDED])     \
	FIELD(failed, NUMBER, counts[TASK_FAILED])           \
	FIELD(stopped, NUMBER, counts[TASK_STOPPED])         \
	FIELD(interrupted, NUMBER, counts[TASK_INTERRUPTED]) \
	FIELD(classes, CLASSES, class_counts)                \
	FIELD(next_index, NUMBER, next_index)                \
	FIELD(last_position, NUMBER, last_position)          \
	FIELD(received_position, NUMBER, received_position)  \
	FIELD(created_us, NUMBER, created_us)                \
	FIELD(started_us, NUMBER, started_us)                \
	FIELD(ended_us, NUMBER, ended_us)                    \
	FIELD(recorded_index, NUMBER, recorded_index)        \
	FIELD(output_bytes, NUMBER, output_bytes)            \
	FIELD(reason, TEXT, reason)                          \
	FIELD(schedule, NUMBER, schedule)                    \
	FIELD(targets_shown, TEXT, targets_shown)            \
	FIELD(command_shown, TEXT, command_shown)
#define REQUEST_FIELDS(FIELD)         \
	FIELD(options, TEXT, options) \
	FIELD(targets, TEXT, targets)
#define COLUMN_NAME(column, type, member) ", " #column
#define JOB_COLUMNS                       "id" JOB_FIELDS(COLUMN_NAME)
#define JOB_AND_REQUEST_COLUMNS           JOB_COLUMNS REQUEST_FIELDS(COLUMN_NAME)
#define TASK_COLUMNS                                                                               \
	"key, state, class, attempts, is_sent, started_us, ended_us, stdout_bytes, stderr_bytes, " \
	"message, result"
/*
 * Jobs by a way in, and of each whether the job_filter wants it: what it does not want is a row
 * too, so that the limit bounds the work and not the find. Parameters as store-read.c binds them.
 */
#define JOBS_BY(way)                                                                             \
	"SELECT id, (?1 IS NULL OR uid = ?1) AND (?4 & (1 << state)) AND "                       \
	"(?5 IS NULL OR kind = ?5) AND (?6 IS NULL OR name GLOB ?6) AND created_us >= ?7 AND "   \
	"created_us <= ?8 AND (?9 = 0 OR last_position > received_position) FROM job WHERE " way \
	" AND id < ?2 AND id >= ?3 ORDER BY id DESC LIMIT ?10"
#define FROM_JOB_AND_REQUEST " FROM job CROSS JOIN request ON request.job = id WHERE "
#define JOB_SELECT           "SELECT " JOB_AND_REQUEST_COLUMNS FROM_JOB_AND_REQUEST
/* What is not asked for SQLite does not read. */
#define JOB_SELECT_SHORT                                                                       \
	"SELECT " JOB_COLUMNS ", CASE WHEN targets_shown IS NULL THEN options END, CASE WHEN " \
	"targets_shown IS NULL THEN targets END" FROM_JOB_AND_REQUEST

#define SCHEDULE_COLUMNS                                                                          \
	"id, uid, kind, name, token, options, targets, every_us, at_us, calendar, "               \
	"is_catch_up, is_overlap, keep_last, is_paused, created_us, next_us, last_us, last_job, " \
	"runs, "                                                                                  \
	"skipped, error"
#define SCHEDULE_SELECT "SELECT " SCHEDULE_COLUMNS " FROM schedule WHERE "
/* Of a job that has ended; the last is what its rows take at most, but for its request. */
#define ENDED_COLUMNS                                        \
	"id, ended_us, last_position <= received_position, " \
	"4096 + 2 * output_bytes + 1024 * (succeeded + failed + stopped + interrupted)"

/* The rows of a removed job are there until they are reaped. */
#define NOT_REMOVED "EXISTS (SELECT 1 FROM job WHERE id = ?3) "

/* Of a user in job 0, and in each job; they are read when one is written, or a new one is to be. */
enum { LOG_CURSORS_MAX = 100, JOB_CURSORS_MAX = 100 };

/* Every statement, once; a test reads the query plan of each. */
#define STATEMENTS(X)                                                                              \
	X(SQL_BEGIN, "BEGIN IMMEDIATE")                                                            \
	X(SQL_COMMIT, "COMMIT")                                                                    \
	X(SQL_ROLLBACK, "ROLLBACK")                                                                \
	X(SQL_META_WRITE, "UPDATE meta SET next_job = ?1, next_position = ?2 WHERE id = 0")        \
	/* OR FAIL: the transaction is taken back anyway, and SQLite keeps nothing to take back    \
	 * one. */                                                                                 \
	X(SQL_JOBS_INSERT,                                                                         \
	  "INSERT OR FAIL INTO job (" JOB_COLUMNS ") SELECT " JOB_COLUMNS " FROM temp.new_job")    \
	X(SQL_REQUESTS_INSERT, "INSERT OR FAIL INTO request (job, options, targets) SELECT id, "   \
			       "options, targets FROM temp.new_job")                               \
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
	X(SQL_TASK_UNWANTED,                                                                       \
	  "INSERT INTO task (key, state, attempts, started_us, ended_us) VALUES (?1, 1, ?2, ?3, "  \
	  "-1) ON CONFLICT (key) DO UPDATE SET ended_us = -1 WHERE state < 2")                     \
	X(SQL_TASK_QUEUED,                                                                         \
	  "UPDATE task SET state = 0, is_sent = 0, ended_us = ?2 WHERE key = ?1 AND state < 2")    \
	X(SQL_TASK_ENDED,                                                                          \
	  "UPDATE task SET state = ?2, class = ?3, message = ?4, result = ?5, ended_us = ?6 "      \
	  "WHERE key = ?1 AND state < 2")                                                          \
	X(SQL_TASK_INSERT_ENDED,                                                                   \
	  "INSERT INTO task (key, state, class, message, result, ended_us, attempts, started_us) " \
	  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (key) DO UPDATE SET state = ?2, "   \
	  "class = ?3, message = ?4, result = ?5, ended_us = ?6, attempts = ?7, started_us = ?8 "  \
	  "WHERE state < 2")                                                                       \
	X(SQL_TASK_OUTPUT,                                                                         \
	  "UPDATE task SET stdout_bytes = stdout_bytes + ?2, stderr_bytes = stderr_bytes + ?3 "    \
	  "WHERE key = ?1")                                                                        \
	X(SQL_RECORD_INSERT,                                                                       \
	  "INSERT INTO record (position, job, task, stream, \"offset\", at_us, bytes) "            \
	  "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                                   \
	X(SQL_CURSOR_WRITE,                                                                        \
	  "INSERT INTO cursor (job, uid, name, position) SELECT ?1, ?2, ?3, ?4 "                   \
	  "WHERE ?1 = 0 OR EXISTS (SELECT 1 FROM job WHERE id = ?1) "                              \
	  "ON CONFLICT (job, uid, name) DO UPDATE SET position = max(position, ?4)")               \
	X(SQL_META_READ, "SELECT next_job, next_position FROM meta WHERE id = 0")                  \
	X(SQL_JOB_READ, JOB_SELECT_SHORT "id = ?1")                                                \
	X(SQL_WHOLE_JOB_READ, JOB_SELECT "id = ?1")                                                \
	X(SQL_JOBS_ALL, JOBS_BY("TRUE"))                                                           \
	X(SQL_JOBS_OF_USER, JOBS_BY("uid = ?1"))                                                   \
	X(SQL_JOBS_NTH, "SELECT id FROM job WHERE uid = ?1 LIMIT 1 OFFSET ?2")                     \
	X(SQL_JOBS_UNRECEIVED, JOBS_BY("uid = ?1 AND last_position > received_position"))          \
	X(SQL_JOBS_LIVE, JOBS_BY("state < 4"))                                                     \
	X(SQL_JOBS_FAILED, JOBS_BY("state > 4"))                                                   \
	X(SQL_JOBS_FAILED_OF_USER, JOBS_BY("uid = ?1 AND state > 4"))                              \
	X(SQL_JOBS_NAMED, JOBS_BY("name = ?6"))                                                    \
	X(SQL_JOBS_OF_SCHEDULE, JOBS_BY("schedule = ?11 AND schedule > 0"))                        \
	X(SQL_JOBS_LIVE_ASCENDING, JOB_SELECT "state < 4 ORDER BY id")                             \
	X(SQL_JOBS_ENDED, "SELECT " ENDED_COLUMNS " FROM job "                                     \
			  "WHERE state >= 4 AND ended_us < ?1 ORDER BY ended_us LIMIT ?2")         \
	X(SQL_JOBS_ENDED_RECEIVED,                                                                 \
	  "SELECT " ENDED_COLUMNS " FROM job WHERE state >= 4 AND last_position <= "               \
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
	X(SQL_LOG_READ,                                                                            \
	  "SELECT position, job, EXISTS (SELECT 1 FROM job WHERE id = record.job AND uid = ?2) "   \
	  "AND position > coalesce((SELECT cursor.position FROM cursor WHERE "                     \
	  "cursor.job = record.job AND uid = ?2 AND name = ?3), 0) "                               \
	  "FROM record WHERE position > ?1 ORDER BY position LIMIT ?4")                            \
	X(SQL_CURSOR_READ,                                                                         \
	  "SELECT position FROM cursor WHERE job = ?1 AND uid = ?2 AND name = ?3")                 \
	X(SQL_CURSOR_HAS_ROOM,                                                                     \
	  "SELECT count(*) < ?4 OR EXISTS (SELECT 1 FROM cursor WHERE job = ?1 AND uid = ?2 AND "  \
	  "name = ?3) FROM cursor WHERE job = ?1 AND uid = ?2")                                    \
	/* Of too many ways into the log the one that spares least. */                             \
	X(SQL_CURSORS_BOUND,                                                                       \
	  "DELETE FROM cursor WHERE job = 0 AND uid = ?1 AND (name, position) = (SELECT name, "    \
	  "min(position) FROM cursor WHERE job = 0 AND uid = ?1 GROUP BY uid HAVING count(*) > "   \
	  "?2)")                                                                                   \
	/* Below all records a way into them spares nothing. */                                    \
	X(SQL_CURSORS_FORGET, "DELETE FROM cursor WHERE job = 0 AND position < "                   \
			      "coalesce((SELECT min(position) FROM record), 9223372036854775807)") \
	X(SQL_REMOVED_READ, "SELECT job FROM removed ORDER BY job")                                \
	X(SQL_RECORD_SIZES, "SELECT position, length(bytes) FROM record WHERE job = ?1 "           \
			    "ORDER BY position LIMIT ?2")                                          \
	X(SQL_RECORDS_DELETE, "DELETE FROM record WHERE job = ?1 AND position <= ?2")              \
	X(SQL_TASKS_DELETE, "DELETE FROM task WHERE key IN (SELECT key FROM task WHERE "           \
			    "key >= ?1 AND key <= ?2 LIMIT ?3)")                                   \
	X(SQL_REQUEST_DELETE, "DELETE FROM request WHERE job = ?1")                                \
	X(SQL_REMOVED_DELETE, "DELETE FROM removed WHERE job = ?1")                                \
	X(SQL_SCHEDULE_INSERT,                                                                     \
	  "INSERT INTO schedule (" SCHEDULE_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "   \
	  "?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)")                       \
	X(SQL_SCHEDULE_TURN,                                                                       \
	  "UPDATE schedule SET next_us = ?2, skipped = skipped + ?3, error = ?4 WHERE id = ?1")    \
	X(SQL_SCHEDULE_RUN,                                                                        \
	  "UPDATE schedule SET last_job = ?2, last_us = ?3, runs = runs + 1, error = NULL "        \
	  "WHERE id = ?1")                                                                         \
	X(SQL_SCHEDULE_PAUSE, "UPDATE schedule SET is_paused = ?2 WHERE id = ?1")                  \
	X(SQL_SCHEDULE_DELETE, "DELETE FROM schedule WHERE id = ?1")                               \
	X(SQL_SCHEDULE_READ, SCHEDULE_SELECT "id = ?1")                                            \
	X(SQL_SCHEDULES_ALL, SCHEDULE_SELECT "id > ?2 ORDER BY id LIMIT ?3")                       \
	X(SQL_SCHEDULES_OF_USER, SCHEDULE_SELECT "uid = ?1 AND id > ?2 ORDER BY id LIMIT ?3")      \
	X(SQL_SCHEDULES_NAMED, SCHEDULE_SELECT "name = ?4 AND (?1 IS NULL OR uid = ?1) LIMIT ?3")  \
	X(SQL_SCHEDULES_DUE, SCHEDULE_SELECT "next_us > 0 AND is_paused = 0 AND next_us <= ?2 "    \
					     "ORDER BY next_us LIMIT ?3")                          \
	X(SQL_SCHEDULE_NEXT, "SELECT next_us FROM schedule WHERE next_us > 0 AND is_paused = 0 "   \
			     "ORDER BY next_us LIMIT 1")                                           \
	X(SQL_SCHEDULE_COUNT, "SELECT count(*) FROM schedule")                                     \
	X(SQL_SCHEDULE_TOKEN, "SELECT id FROM schedule WHERE uid = ?1 AND token = ?2")             \
	X(SQL_SCHEDULE_LIVE, "SELECT id FROM job WHERE schedule = ?1 AND schedule > 0 AND "        \
			     "state < 4 LIMIT 1")                                                  \
	X(SQL_SCHEDULE_ENDED, "SELECT id FROM job WHERE schedule = ?1 AND schedule > 0 AND "       \
			      "state >= 4 ORDER BY id DESC LIMIT ?3 OFFSET ?2")                    \
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
	CHANGE_JOB_KEPT,
	CHANGE_TASK_STARTED,
	CHANGE_TASK_SENT,
	CHANGE_TASK_UNWANTED,
	CHANGE_TASK_QUEUED,
	CHANGE_TASK_ENDED,
	CHANGE_OUTPUT,
	CHANGE_CURSOR,
	CHANGE_SCHEDULE,
	CHANGE_SCHEDULE_TURN,
	CHANGE_SCHEDULE_RUN,
	CHANGE_SCHEDULE_PAUSE,
	CHANGE_SCHEDULE_REMOVED,
};

/* One queued change. */
struct change {
	STAILQ_ENTRY(change) link;
	enum change_type type;
	size_t bytes;        /* of memory */
	struct task_key key; /* key.job for changes of a job or of a schedule */
	union {
		const struct job_row *row; /* CHANGE_JOB, CHANGE_JOB_UPDATE; a part of it */
		struct {
			unsigned attempt;
			int64_t at_us;
		} started;         /* CHANGE_TASK_UNWANTED too */
		unsigned failures; /* CHANGE_TASK_QUEUED */
		struct {
			enum task_state state;
			enum error_class class;
			bool has_row;
			unsigned attempt;       /* where it has none */
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
		struct schedule_row *schedule; /* CHANGE_SCHEDULE; owned */
		struct {
			int64_t next_us;
			uint64_t skipped;
			char *error; /* owned */
		} turn;
		struct {
			uint64_t job;
			int64_t at_us;
		} run;
		bool is_paused;
	};
};

/* The files of a database, by what follows its path. */
enum store_file { FILE_MAIN, FILE_LOG, FILE_INDEX, FILE_LOCK, STORE_FILE_COUNT };

struct store {
	char *path;
	int lock_fd;
	struct file_place {
		dev_t device;
		ino_t inode;        /* 0: there is none */
	} places[STORE_FILE_COUNT]; /* as they were opened */
	sqlite3 *database;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	STAILQ_HEAD(, change) queue;
	struct block *blocks; /* where its changes and their rows are: they go together */
	size_t queued, queued_bytes;
	const struct change *new_jobs, *new_jobs_end; /* which are being inserted; else NULL */
	uint64_t next_job, next_position;
	uint64_t commits;
	int64_t sync_us; /* of the last one */
	int log_pages;   /* after it */
	char *error;     /* why the last commit failed, or NULL */
	/* Removed jobs that are to be kept, whose rows are not all there yet */
	struct arriving {
		uint64_t job, position; /* its records lie above */
	} * arriving;
	size_t arriving_count;
	char *read_error; /* the last read that failed, or NULL */
	uint64_t read_failures;
	bool is_damaged;         /* that one found it so */
	bool is_writing_stopped; /* for that */
};

/* The statement, reset and with no parameters. */
sqlite3_stmt *store_statement(struct store *store, enum statement which);
/* Steps a statement that returns no rows and resets it: SQLITE_OK or its error. */
int store_run(sqlite3_stmt *statement);
/* One or more statements of their own: SQLITE_OK or an error. */
int store_execute(struct store *store, const char *sql);
/* What a file says that is not ours. */
#define STORE_FOREIGN "is not one of jobd: choose another with --database"
/* Its version, if it is ours, and no newer than we know. */
int store_read_version(struct store *store, int64_t *ret_version, struct error *ret_error);
/* An empty file gets the schema, one of an older version what that lacks. */
int store_make_schema(struct store *store, struct error *ret_error);
/* The database's last failure as a negative errno. */
int store_failure(const struct store *store);
/* ... and as a sentence; then: what follows where it may pass. The caller frees. */
char *store_describe_failure(const struct store *store, const char *then);
/* Is it that the file is damaged, or no database? */
bool store_failed_for_good(const struct store *store);
/* ... and as an error: returns -EIO, or then -EUCLEAN. */
int store_refuse(const struct store *store, struct error *ret_error);
/* payload: bytes of memory that the change will own. */
struct change *store_put(struct store *store, enum change_type type, struct task_key key,
			 size_t payload);
/* Applies one change within the transaction: SQLITE_OK or an error. */
int store_apply(struct store *store, const struct change *change);
/* The same for a new job and those that follow it in the queue; where it goes on. */
int store_insert_jobs(struct store *store, const struct change *first,
		      const struct change **ret_next);
/* What these are read from; once, before statements are prepared. */
int store_make_rows(struct store *store);
/* From the columns of JOB_AND_REQUEST_COLUMNS; the texts are copies. */
void store_read_columns(sqlite3_stmt *statement, struct job_row *ret_row);
/* As parameters with the numbers of JOB_COLUMNS, counted from 1; those that the statement has. */
void store_bind_columns(sqlite3_stmt *statement, const struct job_row *row);
/* All of the queue. */
void store_forget_changes(struct store *store);
/* The same for the changes of schedules (store-schedule.c). */
int store_apply_schedule(struct store *store, const struct change *change);
void change_done_schedule(struct change *change);

/* What a read does with each row; returns 0 to go on. */
typedef int use_row_fn(sqlite3_stmt *statement, void *context);
/* Steps through a bound statement: 0, or a negative errno. */
int store_each_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use, void *context);
/* Its one row: 0, -ENOENT, or another errno. use is called at most once. */
int store_one_row(struct store *store, sqlite3_stmt *statement, use_row_fn *use, void *context);
/* Uses of a row: its first column into a uint64_t. */
int store_take_number(sqlite3_stmt *statement, void *context);
/* A column's text, or NULL; the caller frees. */
char *store_column_copy(sqlite3_stmt *statement, int column);
void store_bind_limit(sqlite3_stmt *statement, int place, size_t limit);
static inline void store_bind(sqlite3_stmt *statement, int place, uint64_t value)
{
	(void)sqlite3_bind_int64(statement, place, (int64_t)value);
}
/* The text must stay until the statement has run; NULL is NULL. */
static inline void store_bind_text(sqlite3_stmt *statement, int place, const char *text)
{
	(void)sqlite3_bind_text(statement, place, text, -1, SQLITE_STATIC);
}
/* A statement about one thing, known by its key. */
int store_run_with_key(struct store *store, enum statement which, int64_t key);
/* Bytes with the end of the string; 0 for NULL. */
size_t store_text_bytes(const char *text);
/* Closes what an earlier lock was held by. */
int store_take_lock(struct store *store, struct error *ret_error);
/* Where the files are that were just opened. */
void store_note_places(struct store *store);
/* Are they there still? Mends what can be mended; else a negative errno and a sentence. */
int store_check_places(struct store *store, char **ret_sentence);
/*
 * Where a running jobd has another file open than the one at path, or another log than the one
 * beside it, or none is there: copies that to the empty file `to`, and returns 1. Else 0, or an
 * error.
 */
int store_rescue(const char *path, const char *to, struct error *ret_error);

static inline int64_t task_key_number(struct task_key key)
{
	return (int64_t)(key.job << 32 | key.index);
}
