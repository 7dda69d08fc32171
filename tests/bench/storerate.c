/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * storerate MODE DATABASE COUNT BATCH: the job table alone, without clients, jobs and workers.
 *
 *   bare-jobs     the yardstick of submissions: the rows of COUNT new jobs, BATCH a commit
 *   bare-events   the yardstick of events: COUNT tasks that begin, write 1 KiB and end; a commit
 *                 has the ends of one BATCH and the beginnings of the next
 *   events        the same by jobd's store, as its turns do it
 *   fill          COUNT jobs of BATCH tasks each, which have ended. The first RARE of them are
 *                 unlike all others: failed, of kind ssh, named, not received, of user RARE_UID
 *
 * The yardsticks are hand-written: prepared inserts into the same tables with the same indexes,
 * pragmas and commits, and nothing else. Prints how many jobs or tasks were stored a second.
 */
#include "common/util.h"
#include "daemon/store-internal.h"

#include <stdio.h>

enum { OUTPUT_BYTES = 1024, FILL_TASKS = 20000, RARE = 3, RARE_UID = 54321 };

static char kind_ping[] = "ping", kind_ssh[] = "ssh", rare_name[] = "rare";
static char options[] = "{\"kind\":\"ping\"}";
static char targets[] = "{\"targets\":[\"127.0.0.1\"]}";
static const char result[] = "{\"sent\":1,\"received\":1,\"minUsec\":31,\"avgUsec\":31,"
			     "\"maxUsec\":31,\"address\":\"127.0.0.1\"}";

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "storerate: %s\n", what);
	exit(2);
}

static void must(struct store *store, int r)
{
	if (r != SQLITE_OK)
		die(sqlite3_errmsg(store->database));
}

static void commit(struct store *store)
{
	if (store_commit(store) < 0)
		die(store_error(store));
	store_checkpoint(store);
}

static char *some_output(void)
{
	char *bytes = xmalloc(OUTPUT_BYTES);

	memset(bytes, 'x', OUTPUT_BYTES);
	return bytes;
}

/* --- The yardsticks --- */

static sqlite3_stmt *prepare(struct store *store, const char *sql)
{
	sqlite3_stmt *statement;

	must(store, sqlite3_prepare_v3(store->database, sql, -1, SQLITE_PREPARE_PERSISTENT,
				       &statement, NULL));
	return statement;
}

static void bind(sqlite3_stmt *statement, int place, uint64_t number)
{
	(void)sqlite3_bind_int64(statement, place, (int64_t)number);
}

static void run(struct store *store, sqlite3_stmt *statement)
{
	must(store, store_run(statement));
}

static void bare_jobs(struct store *store, unsigned count, unsigned batch)
{
	sqlite3_stmt *begin = prepare(store, "BEGIN IMMEDIATE"), *end = prepare(store, "COMMIT");
	sqlite3_stmt *job = prepare(
		store, "INSERT INTO job (" JOB_COLUMNS ") VALUES (?1, 0, 'ping', NULL, NULL, 0, 0, "
		       "1, 0, 0, 0, 0, 0, '0 0 0 0 0 0 0 0 0 0 0 0 ', 0, 0, 0, ?2, 0, 0, 0, 0, "
		       "NULL, 0, NULL, NULL)");
	sqlite3_stmt *request =
		prepare(store, "INSERT INTO request (job, options, targets) VALUES (?1, ?2, ?3)");
	sqlite3_stmt *meta = prepare(store, "UPDATE meta SET next_job = ?1 WHERE id = 0");

	(void)sqlite3_bind_text(request, 2, options, -1, SQLITE_STATIC);
	(void)sqlite3_bind_text(request, 3, targets, -1, SQLITE_STATIC);
	for (unsigned id = 1; id <= count;) {
		run(store, begin);
		for (unsigned i = 0; i < batch && id <= count; i++, id++) {
			bind(job, 1, id);
			bind(job, 2, (uint64_t)now_real_us());
			run(store, job);
			bind(request, 1, id);
			run(store, request);
		}
		bind(meta, 1, id);
		run(store, meta);
		run(store, end);
		store_checkpoint(store);
	}
	(void)sqlite3_finalize(begin);
	(void)sqlite3_finalize(end);
	(void)sqlite3_finalize(job);
	(void)sqlite3_finalize(request);
	(void)sqlite3_finalize(meta);
}

/* What the bare loop of events runs again and again. */
struct bare {
	struct store *store;
	sqlite3_stmt *begin, *end, *started, *output, *ended, *ending, *meta;
	uint64_t position;
};

static void bare_started(struct bare *bare, struct task_key key)
{
	bind(bare->started, 1, (uint64_t)task_key_number(key));
	bind(bare->started, 2, (uint64_t)now_real_us());
	run(bare->store, bare->started);
}

static void bare_ended(struct bare *bare, struct task_key key)
{
	static char bytes[OUTPUT_BYTES];

	bind(bare->output, 1, bare->position++);
	bind(bare->output, 2, key.index);
	bind(bare->output, 3, (uint64_t)now_real_us());
	(void)sqlite3_bind_blob(bare->output, 4, bytes, OUTPUT_BYTES, SQLITE_STATIC);
	run(bare->store, bare->output);
	bind(bare->ended, 1, (uint64_t)task_key_number(key));
	bind(bare->ended, 2, (uint64_t)now_real_us());
	run(bare->store, bare->ended);
	bind(bare->ending, 1, bare->position++);
	bind(bare->ending, 2, key.index);
	bind(bare->ending, 3, (uint64_t)now_real_us());
	run(bare->store, bare->ending);
}

static void bare_events(struct store *store, unsigned count, unsigned batch)
{
	struct bare bare = {
		.store = store,
		.begin = prepare(store, "BEGIN IMMEDIATE"),
		.end = prepare(store, "COMMIT"),
		.started = prepare(store, "INSERT INTO task (key, state, attempts, started_us) "
					  "VALUES (?1, 1, 1, ?2)"),
		.output = prepare(store, "INSERT INTO record (position, job, task, stream, "
					 "\"offset\", at_us, bytes) VALUES (?1, 1, ?2, 0, 0, ?3, "
					 "?4)"),
		.ended = prepare(store, "UPDATE task SET state = 2, stdout_bytes = 1024, ended_us "
					"= ?2 WHERE key = ?1"),
		.ending = prepare(store, "INSERT INTO record (position, job, task, at_us) "
					 "VALUES (?1, 1, ?2, ?3)"),
		.meta = prepare(store, "UPDATE meta SET next_position = ?1 WHERE id = 0"),
		.position = 1,
	};

	for (unsigned first = 0; first < count + batch; first += batch) {
		run(store, bare.begin);
		for (unsigned i = first; i < first + batch && i < count; i++)
			bare_started(&bare, (struct task_key){1, i});
		for (unsigned i = first - batch; first > 0 && i < first && i < count; i++)
			bare_ended(&bare, (struct task_key){1, i});
		bind(bare.meta, 1, bare.position);
		run(store, bare.meta);
		run(store, bare.end);
		store_checkpoint(store);
	}
	(void)sqlite3_finalize(bare.begin);
	(void)sqlite3_finalize(bare.end);
	(void)sqlite3_finalize(bare.started);
	(void)sqlite3_finalize(bare.output);
	(void)sqlite3_finalize(bare.ended);
	(void)sqlite3_finalize(bare.ending);
	(void)sqlite3_finalize(bare.meta);
}

/* --- jobd's store --- */

static struct job_row new_job(struct store *store, unsigned tasks)
{
	return (struct job_row){
		.id = store_next_job(store),
		.kind = kind_ping,
		.options = options,
		.targets = targets,
		.counts = {[TASK_QUEUED] = tasks},
		.created_us = now_real_us(),
	};
}

static void put_ended(struct store *store, struct task_key key, struct job_row *job)
{
	struct outcome outcome = {.state = TASK_SUCCEEDED};

	job->last_position = store_next_position(store);
	store_put_output(store, key, job->last_position, STREAM_STDOUT, 0, now_real_us(),
			 some_output(), OUTPUT_BYTES);
	job->last_position = store_next_position(store);
	store_put_task_ended(store, key, 0, 0, &outcome, now_real_us(), job->last_position);
}

static void events(struct store *store, unsigned count, unsigned batch)
{
	struct job_row job = new_job(store, count);

	store_put_job(store, &job);
	for (unsigned first = 0; first < count + batch; first += batch) {
		for (unsigned i = first; i < first + batch && i < count; i++)
			store_put_task_started(store, (struct task_key){job.id, i}, 1,
					       now_real_us());
		for (unsigned i = first - batch; first > 0 && i < first && i < count; i++)
			put_ended(store, (struct task_key){job.id, i}, &job);
		store_put_job_update(store, &job);
		commit(store);
	}
}

static void fill_job(struct store *store, unsigned tasks)
{
	static unsigned uncommitted;
	char list[64];
	struct job_row job = new_job(store, 0);
	bool is_rare = job.id <= RARE;

	(void)snprintf(list, sizeof(list), "{\"targets\":[\"router[1-%u]\"]}", tasks);
	job.targets = list;
	job.state = is_rare ? JOB_FAILED : JOB_COMPLETED;
	job.kind = is_rare ? kind_ssh : kind_ping;
	job.name = is_rare ? rare_name : NULL;
	job.uid = is_rare ? RARE_UID : 0;
	job.counts[is_rare ? TASK_FAILED : TASK_SUCCEEDED] = tasks;
	job.next_index = job.recorded_index = tasks;
	job.started_us = job.ended_us = job.created_us;
	for (uint32_t i = 0; i < tasks; i++) {
		struct outcome outcome = {.state = is_rare ? TASK_FAILED : TASK_SUCCEEDED,
					  .result = xstrdup(result)};

		job.last_position = store_next_position(store);
		store_put_task_ended(store, (struct task_key){job.id, i}, 1, job.started_us,
				     &outcome, job.ended_us, job.last_position);
		if (++uncommitted % FILL_TASKS == 0)
			commit(store);
	}
	job.received_position = is_rare ? 0 : job.last_position;
	store_put_job(store, &job);
}

static void fill(struct store *store, unsigned count, unsigned tasks)
{
	for (unsigned i = 0; i < count; i++)
		fill_job(store, tasks);
	commit(store);
}

int main(int argument_count, char **arguments)
{
	static const struct {
		const char *word;
		void (*run)(struct store *store, unsigned count, unsigned batch);
	} modes[] = {{"bare-jobs", bare_jobs},
		     {"bare-events", bare_events},
		     {"events", events},
		     {"fill", fill}};
	unsigned count = 0, batch = 0;
	struct error error = {0};
	struct store *store;

	if (argument_count == 5) {
		count = (unsigned)strtoul(arguments[3], NULL, 10);
		batch = (unsigned)strtoul(arguments[4], NULL, 10);
	}
	for (size_t i = 0; count > 0 && batch > 0 && i < ARRAY_SIZE(modes); i++) {
		int64_t start_us;

		if (!streq(modes[i].word, arguments[1]))
			continue;
		if (store_open(arguments[2], &store, &error) < 0)
			die(error.sentence);
		start_us = now_monotonic_us();
		modes[i].run(store, count, batch);
		printf("%.0f\n", count * 1e6 / (double)(now_monotonic_us() - start_us));
		store_close(store);
		return 0;
	}
	die("usage: storerate bare-jobs|bare-events|events|fill DATABASE COUNT BATCH");
}
