/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Are the files of the database where they were opened? A file that was removed or replaced takes
 * all that is written to it as before, and the next start finds nothing of that. Each commit looks
 * first, which costs some microseconds.
 *
 * A lock is taken anew. A log (-wal) or its index (-shm) is made anew, once all that is in the open
 * log has gone into the file. The file itself nobody can put back but who took it away: until then
 * nothing is written, reads go on, and --backup still finds the open file (store-rescue.c).
 */
#include "daemon/store-internal.h"

#include "common/log.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char *const suffixes[] = {
	[FILE_MAIN] = "", [FILE_LOG] = "-wal", [FILE_INDEX] = "-shm", [FILE_LOCK] = "-lock"};

static struct file_place place_of(const struct store *store, enum store_file file)
{
	autofree char *path = xasprintf("%s%s", store->path, suffixes[file]);
	struct statx status;

	/* Not its times: whoever asks for them makes the next write change them, and the sync after
	 * it write the inode as well (multigrain timestamps, Linux 6.13). */
	if (statx(AT_FDCWD, path, 0, STATX_INO, &status) < 0)
		return (struct file_place){0};
	return (struct file_place){.device = makedev(status.stx_dev_major, status.stx_dev_minor),
				   .inode = status.stx_ino};
}

void store_note_places(struct store *store)
{
	for (enum store_file file = 0; file < STORE_FILE_COUNT; file++)
		store->places[file] = place_of(store, file);
}

/* Its file, whatever is at its path now; or nothing was there to begin with. */
static bool is_in_place(const struct store *store, enum store_file file)
{
	struct file_place now = place_of(store, file), then = store->places[file];

	return then.inode == 0 || (now.inode == then.inode && now.device == then.device);
}

/* What is in the log goes into the open file, so that the log fits to no other and misses to none.
 */
static int say_moved(struct store *store, char **ret_sentence)
{
	bool is_replaced = place_of(store, FILE_MAIN).inode != 0;

	(void)sqlite3_exec(store->database, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
	*ret_sentence =
		xasprintf("the database %s was %s while jobd has it open: put that file back, or "
			  "save it with "
			  "jobd --backup, stop jobd, and put the copy there",
			  store->path, is_replaced ? "replaced by another file" : "removed");
	return -ESTALE;
}

static int take_lock_again(struct store *store, char **ret_sentence)
{
	struct error error = {0};

	if (store_take_lock(store, &error) < 0) {
		*ret_sentence = error.sentence;
		error.sentence = NULL;
		error_done(&error);
		return -EBUSY;
	}
	store->places[FILE_LOCK] = place_of(store, FILE_LOCK);
	return 0;
}

static int take_integer(void *context, int count, char **values, char **names)
{
	(void)count;
	(void)names;
	*(int *)context = atoi(values[0]);
	return 0;
}

static int take_is_log(void *context, int count, char **values, char **names)
{
	(void)count;
	(void)names;
	*(bool *)context = streq(values[0], "wal");
	return 0;
}

/* Leaving the mode closes the open log, entering it makes a new one; which the read then opens. */
static int renew_log(struct store *store, char **ret_sentence)
{
	sqlite3 *database = store->database;
	int is_busy = 1;
	bool is_log = true;

	if (sqlite3_exec(database, "PRAGMA wal_checkpoint(TRUNCATE)", take_integer, &is_busy,
			 NULL) == SQLITE_OK &&
	    !is_busy &&
	    sqlite3_exec(database, "PRAGMA journal_mode = DELETE", take_is_log, &is_log, NULL) ==
		    SQLITE_OK &&
	    !is_log &&
	    sqlite3_exec(database, "PRAGMA journal_mode = WAL", take_is_log, &is_log, NULL) ==
		    SQLITE_OK &&
	    is_log && sqlite3_exec(database, "SELECT 1 FROM meta", NULL, NULL, NULL) == SQLITE_OK) {
		log_warning("files beside the database %s were removed or replaced; they are made "
			    "anew, and nothing is lost",
			    store->path);
		store_note_places(store);
		return 0;
	}
	if (sqlite3_errcode(database) != SQLITE_OK)
		*ret_sentence = store_describe_failure(store, ", jobd then goes on by itself");
	else
		*ret_sentence = xasprintf("the files beside the database %s were removed, and "
					  "another program reads it: end that one, jobd then goes "
					  "on by itself",
					  store->path);
	return -EBUSY;
}

int store_check_places(struct store *store, char **ret_sentence)
{
	int r = 0;

	/* First, since it tells --backup who has the file open. */
	if (!is_in_place(store, FILE_LOCK))
		r = take_lock_again(store, ret_sentence);
	if (r == 0 && !is_in_place(store, FILE_MAIN))
		r = say_moved(store, ret_sentence);
	if (r == 0 && !(is_in_place(store, FILE_LOG) && is_in_place(store, FILE_INDEX)))
		r = renew_log(store, ret_sentence);
	return r;
}
