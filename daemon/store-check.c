/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking after the file from outside: a check, and a copy. Both read over a connection of their
 * own that can write nothing, all of it as it was at one moment, so that a jobd may go on beside
 * them.
 */
#include "daemon/store-internal.h"

#include "common/paths.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

enum { BUSY_MS = 10000 };

/* A reader with one transaction under way, for store_close; also of an older version. */
static int open_reader(const char *path, struct store **ret_store, int64_t *ret_version,
		       struct error *ret_error)
{
	struct store *store = xcalloc(1, sizeof(*store));
	int r;

	STAILQ_INIT(&store->queue);
	store->path = xstrdup(path);
	store->lock_fd = -1;
	if (access(path, R_OK) < 0) {
		r = error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
			      "cannot read the database %s: %m", path);
	} else if (sqlite3_open_v2(path, &store->database, SQLITE_OPEN_READONLY, NULL) !=
			   SQLITE_OK ||
		   sqlite3_busy_timeout(store->database, BUSY_MS) != SQLITE_OK ||
		   sqlite3_exec(store->database, "BEGIN", NULL, NULL, NULL) != SQLITE_OK) {
		r = store_refuse(store, ret_error);
	} else {
		r = store_read_version(store, ret_version, ret_error);
	}
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

/* --- The check --- */

#define KNOWN_JOBS "(SELECT id FROM job UNION ALL SELECT job FROM removed)"
#define PER_JOB    "SELECT key >> 32 AS job, "

/* What may never be: how it is called, and how many there are of it. */
static const struct rule {
	int since; /* which version of the file */
	const char *what, *sql;
} rules[] = {
	{1, "requests of jobs that are not there",
	 "SELECT count(*) FROM request WHERE job NOT IN " KNOWN_JOBS},
	{1, "jobs without their request",
	 "SELECT count(*) FROM job WHERE id NOT IN (SELECT job FROM request)"},
	{1, "tasks of jobs that are not there",
	 "SELECT count(*) FROM task WHERE key >> 32 NOT IN " KNOWN_JOBS},
	{1, "results of jobs that are not there",
	 "SELECT count(*) FROM record WHERE job NOT IN " KNOWN_JOBS},
	{1, "reading positions of jobs that are not there",
	 "SELECT count(*) FROM cursor WHERE job <> 0 AND job NOT IN (SELECT id FROM job)"},
	{1, "jobs whose counters differ from their tasks",
	 "SELECT count(*) FROM job LEFT JOIN (" PER_JOB "sum(state = 2) AS two, sum(state = 3) AS "
	 "three, sum(state = 5) AS five FROM task GROUP BY 1) ON job.id = job WHERE "
	 "(succeeded, failed, interrupted) IS NOT "
	 "(coalesce(two, 0), coalesce(three, 0), coalesce(five, 0))"},
	{1, "jobs whose running tasks are not to be found",
	 "SELECT count(*) FROM job WHERE state < 4 AND running <> next_index - recorded_index + "
	 "(SELECT count(*) FROM task WHERE key >= id << 32 AND key < id + 1 << 32 AND state = 1) - "
	 "(SELECT count(*) FROM task WHERE key >= (id << 32) + recorded_index AND "
	 "key < (id << 32) + next_index)"},
	{1, "tasks that failed more often than they were begun",
	 "SELECT count(*) FROM task WHERE state < 2 AND ended_us > attempts"},
	{1, "jobs whose tasks ended without a record, or twice",
	 "SELECT count(*) FROM (" PER_JOB "count(*) AS ends FROM task WHERE state >= 2 GROUP BY 1) "
	 "AS a LEFT JOIN (SELECT job, count(*) AS ends FROM record WHERE stream IS NULL GROUP BY "
	 "1) AS b ON b.job = a.job WHERE a.ends IS NOT b.ends AND a.job IN (SELECT id FROM job)"},
	{1, "jobs whose output is shorter or longer than their tasks say",
	 "SELECT count(*) FROM (" PER_JOB "sum(stdout_bytes + stderr_bytes) AS bytes FROM task "
	 "GROUP BY 1) AS a LEFT JOIN (SELECT job, sum(length(bytes)) AS bytes FROM record GROUP BY "
	 "1) AS b ON b.job = a.job WHERE a.bytes <> coalesce(b.bytes, 0) AND a.job IN "
	 "(SELECT id FROM job)"},
	{1, "jobs whose last result is not the one they say",
	 "SELECT count(*) FROM job LEFT JOIN (SELECT job, max(position) AS last FROM record GROUP "
	 "BY 1) ON job.id = job WHERE last_position <> coalesce(last, 0)"},
	{1, "numbers that would be given twice",
	 "SELECT (SELECT count(*) FROM job WHERE id >= next_job) + "
	 "(SELECT count(*) FROM record WHERE position >= next_position) FROM meta"},
	{1, "reading positions that would hide results to come",
	 "SELECT (SELECT count(*) FROM cursor WHERE position >= next_position) + "
	 "(SELECT count(*) FROM job WHERE received_position >= next_position) FROM meta"},
	{2, "schedules whose number a job has, or may get",
	 "SELECT count(*) FROM schedule, meta WHERE schedule.id >= next_job OR "
	 "schedule.id IN " KNOWN_JOBS},
	{2, "jobs of schedules that never were",
	 "SELECT count(*) FROM job, meta WHERE schedule >= next_job OR schedule IN " KNOWN_JOBS},
	{2, "schedules that count fewer runs than there are",
	 "SELECT count(*) FROM schedule WHERE runs < (SELECT count(*) FROM job WHERE "
	 "job.schedule = schedule.id AND job.schedule > 0)"},
	{2, "schedules whose last run is not theirs",
	 "SELECT count(*) FROM schedule WHERE (last_job = 0) <> (runs = 0) OR (last_job IN (SELECT "
	 "id FROM job) AND (SELECT schedule FROM job WHERE id = last_job) <> schedule.id)"},
};

#undef PER_JOB
#undef KNOWN_JOBS

struct checking {
	store_finding_fn *tell;
	void *context;
	unsigned findings;
};

static void __attribute__((format(printf, 2, 3)))
find(struct checking *checking, const char *format, ...)
{
	char finding[512];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(finding, sizeof(finding), format, arguments);
	va_end(arguments);
	checking->findings++;
	checking->tell(finding, checking->context);
}

/* A line of SQLite's own check, which says "ok" where all is well. */
static int take_line(void *context, int count, char **values, char **names)
{
	(void)count;
	(void)names;
	if (!streq(values[0], "ok"))
		find(context, "%s", values[0]);
	return 0;
}

static int take_count(void *context, int count, char **values, char **names)
{
	(void)count;
	(void)names;
	*(long long *)context = atoll(values[0]);
	return 0;
}

static int check_rules(struct store *store, int64_t version, struct checking *checking)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		long long count = 0;
		int r = SQLITE_OK;

		if (rules[i].since <= version)
			r = sqlite3_exec(store->database, rules[i].sql, take_count, &count, NULL);
		if (r != SQLITE_OK)
			return r;
		if (count > 0)
			find(checking, "%lld %s", count, rules[i].what);
	}
	return SQLITE_OK;
}

int store_check(const char *path, store_finding_fn *tell, void *context, struct error *ret_error)
{
	struct checking checking = {.tell = tell, .context = context};
	struct store *store;
	int64_t version;
	int r = open_reader(path, &store, &version, ret_error);

	if (r < 0)
		return r;
	if (sqlite3_exec(store->database, "PRAGMA integrity_check", take_line, &checking, NULL) !=
	    SQLITE_OK)
		find(&checking, "%s", sqlite3_errmsg(store->database));
	/* In pages that are damaged rows are missing or doubled: that is said already. */
	else if (checking.findings == 0 && check_rules(store, version, &checking) != SQLITE_OK)
		find(&checking, "%s", sqlite3_errmsg(store->database));
	store_close(store);
	return (int)checking.findings;
}

/* --- The copy --- */

/* Into an empty file: 0, or a negative errno and a sentence. */
static int copy_open(struct store *store, const char *to, struct error *ret_error)
{
	sqlite3 *copy = NULL;
	sqlite3_backup *backup = NULL;
	int r = sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE, NULL);

	if (r == SQLITE_OK)
		backup = sqlite3_backup_init(copy, "main", store->database, "main");
	if (backup) {
		int step = sqlite3_backup_step(backup, -1);

		/* It takes a lock that was not to be had for no failure. */
		r = sqlite3_backup_finish(backup);
		if (r == SQLITE_OK && step != SQLITE_DONE)
			r = step;
	} else {
		r = sqlite3_errcode(copy);
	}
	if (r != SQLITE_OK)
		r = error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
			      "the copy %s cannot be written: %s", to, sqlite3_errstr(r));
	if (sqlite3_close(copy) != SQLITE_OK && r == 0)
		r = error_set(ret_error, ERROR_STORAGE_FAILED, NULL, "the copy %s cannot be closed",
			      to);
	return r;
}

static int copy_database(const char *name, const char *to, struct error *ret_error)
{
	autofree char *path = path_follow_links(name);
	int r = store_rescue(path, to, ret_error);
	struct store *store;
	int64_t version;

	if (r != 0)
		return r < 0 ? r : 0;
	r = open_reader(path, &store, &version, ret_error);
	if (r < 0)
		return r;
	r = copy_open(store, to, ret_error);
	store_close(store);
	return r;
}

/* It gets its name when it is whole, and keeps it. */
static int name_copy(const char *unfinished, const char *to, struct error *ret_error)
{
	int r = rename(unfinished, to) < 0 ? -errno : path_sync_parent(to);

	errno = -r;
	return r == 0 ? 0
		      : error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				  "cannot name the copy %s: %m", to);
}

int store_backup(const char *path, const char *to, struct error *ret_error)
{
	autofree char *unfinished = xasprintf("%s.unfinished", to);
	int r, fd;

	if (access(to, F_OK) == 0)
		return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				 "%s is there already: name a new file", to);
	(void)unlink(unfinished); /* of a copy that was broken off */
	fd = open(unfinished, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(ret_error, ERROR_STORAGE_FAILED, NULL, "cannot make %s: %m",
				 unfinished);
	(void)close(fd);
	r = copy_database(path, unfinished, ret_error);
	if (r == 0)
		r = name_copy(unfinished, to, ret_error);
	if (r < 0)
		(void)unlink(unfinished);
	return r;
}
