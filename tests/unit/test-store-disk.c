/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the disk and other processes may do to the store: it says so, loses nothing and goes on. */
#include "tests/lib/store-box.h"

#include "common/util.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <cmocka.h>

enum { NOBODY = 65534 };

/* --- What cannot be opened --- */

static void expect_refusal(const char *path, const char *expected)
{
	autofree char *sentence = box_refusal(path);

	assert_string_equal(sentence, expected);
}

/* path: how the sentence of two strings goes on around the path. */
static void expect_refusal_of(const char *path, const char *before, const char *after)
{
	autofree char *expected = xasprintf("%s%s%s", before, path, after);

	expect_refusal(path, expected);
}

static void test_folders(void **state)
{
	autofree char *closed = xasprintf("%s/closed", box.folder);
	autofree char *in_closed = xasprintf("%s/jobd.db", closed);
	autofree char *under_closed = xasprintf("%s/more/jobd.db", closed);
	autofree char *cannot_write =
		xasprintf("cannot write to the folder %s: Permission denied; choose another with "
			  "--database",
			  closed);
	autofree char *cannot_make =
		xasprintf("cannot make the folder %s/more: Permission denied; choose another with "
			  "--database",
			  closed);
	bool is_root = geteuid() == 0;

	(void)state;
	assert_int_equal(chmod(box.folder, 0755), 0);
	assert_int_equal(mkdir(closed, 0555), 0);
	/* Permissions are nothing to root. */
	assert_int_equal(is_root ? seteuid(NOBODY) : 0, 0);
	expect_refusal(in_closed, cannot_write);
	expect_refusal(under_closed, cannot_make);
	assert_int_equal(is_root ? seteuid(0) : 0, 0);
	expect_refusal_of(closed, "cannot open the database ",
			  ": Is a directory; choose another with --database");
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void make_database(const char *path, const char *sql)
{
	sqlite3 *database;

	(void)unlink(path);
	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(database);
}

static void test_foreign_files(void **state)
{
	static const char text[] = "A file of somebody else, of more than a hundred bytes, so that "
				   "nobody takes it for one that was cut off while it was made.\n";
	static const char not_ours[] = " is not one of jobd: choose another with --database";
	autofree char *path = xasprintf("%s/foreign", box.folder);
	char bytes[sizeof(text)] = "";
	autoclose int fd = -1;

	(void)state;
	write_file(path, text);
	expect_refusal_of(path, "the database ", not_ours);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), sizeof(text) - 1);
	assert_string_equal(bytes, text);

	make_database(path, "CREATE TABLE job (id)");
	expect_refusal_of(path, "the database ", not_ours);
	make_database(path, "PRAGMA application_id = 7");
	expect_refusal_of(path, "the database ", not_ours);
	make_database(path, "PRAGMA application_id = 0x6a6f6264; PRAGMA user_version = 4");
	expect_refusal_of(path, "the database ",
			  " has version 4, and this jobd knows version 3: use a newer jobd");
}

/* --- Other processes --- */

/* A child that has the pipe's end for writing; it leaves by _exit. Its pid. */
static pid_t fork_writer(int *ret_fd, void (*run)(int fd))
{
	int ends[2];
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail */
		run(ends[1]);
		_exit(1);
	}
	(void)close(ends[1]);
	*ret_fd = ends[0];
	return pid;
}

static void kill_child(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	/* Else it ended by itself, where something failed. */
	assert_true(WIFSIGNALED(status));
}

static void hold_store(int fd)
{
	struct error error = {0};
	struct store *store;

	if (store_open(box.path, &store, &error) < 0 || write(fd, "", 1) != 1)
		return;
	for (;;)
		(void)pause();
}

static void test_second_jobd(void **state)
{
	autoclose int fd = -1;
	autofree char *expected = NULL;
	char byte;
	pid_t pid;

	(void)state;
	store_close(box.store);
	box.store = NULL;
	pid = fork_writer(&fd, hold_store);
	assert_int_equal(read(fd, &byte, 1), 1);
	expected = xasprintf("another jobd (pid %ld) has the database %s open: stop it, or choose "
			     "another with --database",
			     (long)pid, box.path);
	expect_refusal(box.path, expected);
	kill_child(pid);
	/* The lock ended with the process. */
	box.store = box_open_store(box.path);
}

/* A program that writes to the file on its own stands in the way for a moment, no longer. */
static void test_locked_by_another_program(void **state)
{
	sqlite3 *database;

	(void)state;
	assert_int_equal(sqlite3_open(box.path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_busy_timeout(box.store->database, 1);
	(void)box_put_job(NULL, 1);
	assert_int_equal(store_commit(box.store), -EBUSY);
	assert_non_null(strstr(store_error(box.store), "locked by another program"));
	assert_int_equal(sqlite3_exec(database, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	box_commit();
	(void)sqlite3_close(database);
}

/* --- Killed at any moment --- */

enum { ROUNDS = 50, ACKNOWLEDGED_MAX = 8, OUTPUT = 3000 };

/* Commits jobs, each with a whole task, and says so, until it is killed. */
static void commit_for_ever(int fd)
{
	char output[OUTPUT] = "";
	struct error error = {0};

	if (store_open(box.path, &box.store, &error) < 0)
		return;
	for (;;) {
		uint64_t job = box_put_job(NULL, 1);

		(void)box_put_task(job, 0, output, sizeof(output));
		if (store_commit(box.store) < 0 || write(fd, &job, sizeof(job)) != sizeof(job))
			return;
	}
}

/* A job that was acknowledged is there with all that was committed with it. */
static void expect_whole(uint64_t job)
{
	struct task_row task = box_task(box_key(job, 0));
	struct box_list records = {.count = 0};
	struct job_row row;

	assert_int_equal(store_read_job(box.store, job, &row), 0);
	job_row_done(&row);
	assert_int_equal(task.state, TASK_SUCCEEDED);
	assert_int_equal(task.output_sizes[STREAM_STDOUT], OUTPUT);
	assert_int_equal(
		store_read_records(box.store, job, 0, 0, 10, 2 * OUTPUT, box_list_record, &records),
		0);
	assert_int_equal(records.count, 2);
	assert_int_equal(records.ends, 1);
	assert_int_equal(records.bytes, OUTPUT);
}

static void test_kill(void **state)
{
	uint64_t last = 0;

	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t jobs[4096];
		unsigned count = 0, wanted = 1 + round % ACKNOWLEDGED_MAX;
		autoclose int fd = -1;
		pid_t pid;

		store_close(box.store);
		box.store = NULL;
		pid = fork_writer(&fd, commit_for_ever);
		while (count < wanted && read(fd, &jobs[count], sizeof(*jobs)) == sizeof(*jobs))
			count++;
		kill_child(pid);
		while (count < ARRAY_SIZE(jobs) &&
		       read(fd, &jobs[count], sizeof(*jobs)) == sizeof(*jobs))
			count++;
		assert_true(count >= wanted);

		box.store = box_open_store(box.path);
		box_check();
		for (unsigned i = 0; i < count; i++) {
			assert_true(jobs[i] > last); /* none given twice */
			last = jobs[i];
			expect_whole(jobs[i]);
		}
		/* What was not acknowledged is there as a whole, or not at all. */
		assert_int_equal(box_number("SELECT count(*) = (SELECT count(*) FROM task) AND "
					    "2 * count(*) = (SELECT count(*) FROM record) AND "
					    "count(*) = (SELECT count(*) FROM request) FROM job"),
				 1);
	}
}

/* --- The disk is full --- */

static void expect_full(void)
{
	size_t bytes = store_queued_bytes(box.store);

	assert_int_equal(store_commit(box.store), -ENOSPC);
	assert_non_null(strstr(store_error(box.store), box.path));
	assert_non_null(strstr(store_error(box.store),
			       "its disk is full: free some space, jobd then goes on by itself"));
	assert_true(store_has_changes(box.store));
	assert_int_equal(store_queued_bytes(box.store), bytes);
	/* No transaction is left open behind it. */
	assert_true(sqlite3_get_autocommit(box.store->database));
}

/* A job with so many megabytes in the queue. */
static uint64_t put_large(unsigned megabytes)
{
	uint64_t job = box_put_job(NULL, 1);

	store_put_task_started(box.store, box_key(job, 0), 1, 1);
	for (unsigned i = 0; i < megabytes; i++)
		(void)box_put_output(box_key(job, 0), STREAM_STDOUT, i << 20, 1 << 20);
	return job;
}

static size_t bytes_of(uint64_t job)
{
	struct box_list list = {.count = 0};

	assert_int_equal(
		store_read_records(box.store, job, 0, 0, 64, SIZE_MAX, box_list_record, &list), 0);
	return list.bytes;
}

static void test_page_limit(void **state)
{
	uint64_t before = box_put_job(NULL, 1), large, dropped;

	(void)state;
	(void)box_put_task(before, 0, "abc", 3);
	box_commit();
	box_execute("PRAGMA max_page_count = 20");
	large = put_large(1);
	for (int i = 0; i < 3; i++)
		expect_full();
	assert_int_equal(bytes_of(before), 3);
	assert_int_equal(bytes_of(large), 0);

	/* A new job can be taken back; what remains waits. */
	dropped = put_large(1);
	expect_full();
	store_drop_job(box.store, dropped);
	expect_full();
	box_execute("PRAGMA max_page_count = 1000000");
	box_commit();
	assert_int_equal(bytes_of(large), 1 << 20);
	assert_int_equal(bytes_of(dropped), 0);
	assert_int_equal(bytes_of(before), 3);
	box_check();
}

/* With nothing left in the queue, a commit still finds out whether the disk takes changes. */
static void test_empty_queue_tries_again(void **state)
{
	uint64_t commits = store_commits(box.store), job;

	(void)state;
	box_execute("PRAGMA max_page_count = 20");
	job = put_large(1);
	expect_full();
	store_drop_job(box.store, job);
	assert_false(store_has_changes(box.store));
	assert_non_null(store_error(box.store));
	box_commit();
	assert_int_equal(store_commits(box.store), commits + 1);
	box_commit(); /* and is not tried any more */
	assert_int_equal(store_commits(box.store), commits + 1);
}

/* A file that leaves just so many bytes of its file system free; its path. */
static char *put_ballast(const char *folder, off_t left)
{
	char *path = xasprintf("%s/ballast", folder);
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	struct statvfs status;

	assert_true(fd >= 0);
	assert_int_equal(fstatvfs(fd, &status), 0);
	assert_int_equal(posix_fallocate(fd, 0, (off_t)(status.f_bavail * status.f_frsize) - left),
			 0);
	return path;
}

/* A small file system of the test's own; its folder, or NULL where that is not allowed. */
static char *mount_small(off_t size)
{
	autofree char *options = xasprintf("size=%lld", (long long)size);
	char *folder = xasprintf("%s/small", box.folder);

	assert_int_equal(mkdir(folder, 0700), 0);
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("jobd", folder, "tmpfs", 0, options) == 0)
		return folder;
	free(folder);
	return NULL;
}

static void test_full_disk(void **state)
{
	enum { SIZE = 64 << 20, LEFT = 128 << 10 };
	/* Within SQLite's cache, so that COMMIT fails, and beyond it, so that a change does. */
	static const unsigned sizes[] = {1, 12};
	autofree char *folder = mount_small(SIZE);
	uint64_t before, jobs[ARRAY_SIZE(sizes)];

	(void)state;
	if (!folder) {
		print_message("no file system can be mounted here\n");
		skip();
	}
	store_close(box.store);
	free(box.path);
	box.path = xasprintf("%s/jobd.db", folder);
	box.store = box_open_store(box.path);
	before = box_put_job(NULL, 1);
	(void)box_put_task(before, 0, "abc", 3);
	box_commit();

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		autofree char *ballast = put_ballast(folder, LEFT);

		jobs[i] = put_large(sizes[i]);
		for (int n = 0; n < 3; n++)
			expect_full();
		assert_int_equal(bytes_of(before), 3);
		assert_int_equal(bytes_of(jobs[i]), 0);
		assert_int_equal(unlink(ballast), 0);
		box_commit();
		box_check();
	}
	box_reopen();
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		assert_int_equal(bytes_of(jobs[i]), sizes[i] << 20);
	assert_int_equal(bytes_of(before), 3);
	store_close(box.store);
	box.store = NULL;
	assert_int_equal(umount(folder), 0);
}

/* Of a file that was moved away nothing is deleted until it is back. */
static void test_reap_of_moved_file(void **state)
{
	autofree char *away = xasprintf("%s.away", box.path);
	uint64_t job = box_put_job(NULL, 1);
	bool is_more = true;

	(void)state;
	(void)box_put_task(job, 0, "abc", 3);
	store_put_job_removed(box.store, job);
	box_commit();
	assert_int_equal(rename(box.path, away), 0);
	assert_true(store_reap(box.store, &is_more) < 0);
	assert_int_equal(rename(away, box.path), 0);
	assert_int_equal(box_number("SELECT count(*) FROM record"), 2);
	while (is_more)
		assert_int_equal(store_reap(box.store, &is_more), 0);
	assert_int_equal(box_number("SELECT count(*) FROM record"), 0);
}

/* A damaged page was needed for what would be written: what is queued goes, the rest is read. */
static void test_stop_writing(void **state)
{
	uint64_t job = box_put_job(NULL, 1), page;
	struct job_row row;
	bool is_more = false;
	char page_bytes[4096];
	FILE *file;

	(void)state;
	store_put_job_removed(box.store, box_put_job(NULL, 1));
	box_commit();
	page = (uint64_t)box_number("SELECT rootpage FROM sqlite_schema WHERE name = 'job_live'");
	box_reopen();
	memset(page_bytes, 0xff, sizeof(page_bytes));
	file = fopen(box.path, "r+");
	assert_int_equal(fseek(file, (long)(page - 1) * 4096, SEEK_SET), 0);
	assert_int_equal(fwrite(page_bytes, sizeof(page_bytes), 1, file), 1);
	assert_int_equal(fclose(file), 0);
	assert_false(store_is_damaged(box.store));
	assert_int_equal(store_read_live_jobs(box.store, NULL, NULL), -EIO);
	assert_true(store_is_damaged(box.store));
	(void)box_put_job(NULL, 1);
	store_stop_writing(box.store);
	assert_false(store_has_changes(box.store));
	assert_non_null(strstr(store_error(box.store), "answers what it can read"));
	(void)box_put_job(NULL, 1);
	assert_true(store_commit(box.store) < 0);
	assert_non_null(strstr(store_error(box.store), "answers what it can read"));
	store_drop_job(box.store, job + 3);
	assert_false(store_has_changes(box.store));
	assert_true(store_reap(box.store, &is_more) < 0);
	assert_int_equal(store_read_job(box.store, job, &row), 0);
	job_row_done(&row);
	assert_int_equal(box_number("SELECT count(*) FROM removed"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_folders),
		BOX_TEST(test_foreign_files),
		BOX_TEST(test_second_jobd),
		BOX_TEST(test_locked_by_another_program),
		BOX_TEST(test_kill),
		BOX_TEST(test_page_limit),
		BOX_TEST(test_empty_queue_tries_again),
		BOX_TEST(test_full_disk),
		BOX_TEST(test_reap_of_moved_file),
		BOX_TEST(test_stop_writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
