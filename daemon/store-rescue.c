/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A database whose file, or its log, was removed or replaced lives on in the jobd that has it open,
 * and nowhere else. The kernel gives such files to root and to the user of the process
 * (proc_pid_fd(5)). jobd writes nothing once it has noticed (store-place.c), so that the files can
 * be copied as they are.
 */
#include "daemon/store-internal.h"

#include "common/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* https://www.sqlite.org/fileformat.html; the last bit of the log's is its byte order. */
static const char main_magic[] = "SQLite format 3";
static const unsigned char log_magic[] = {0x37, 0x7f, 0x06};

struct open_files {
	int fd, log_fd; /* or -1 */
};

/* Who has the database's lock, or 0. */
static long find_holder(const char *path)
{
	autofree char *lock = xasprintf("%s-lock", path);
	autoclose int fd = open(lock, O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 ||
	    pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtol(text, NULL, 10);
}

/* Takes the file of the holder if it is one of the two; its access is jobd's own, to plain files.
 */
static void take_file(const char *path, struct open_files *files)
{
	char begin[sizeof(main_magic)] = "";
	struct stat status;
	int fd;

	if (stat(path, &status) < 0 || !S_ISREG(status.st_mode))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!pread(fd, begin, sizeof(begin), 0);
	if (files->fd < 0 && memcmp(begin, main_magic, sizeof(main_magic)) == 0)
		files->fd = fd;
	else if (files->log_fd < 0 && memcmp(begin, log_magic, sizeof(log_magic)) == 0)
		files->log_fd = fd;
	else
		(void)close(fd);
}

static void find_files(long holder, struct open_files *ret_files)
{
	autofree char *folder = xasprintf("/proc/%ld/fd", holder);
	DIR *entries = opendir(folder);
	const struct dirent *entry;

	*ret_files = (struct open_files){-1, -1};
	while (entries && (entry = readdir(entries))) {
		autofree char *path = xasprintf("%s/%s", folder, entry->d_name);

		take_file(path, ret_files);
	}
	if (entries)
		(void)closedir(entries);
}

static bool is_at(int fd, const char *path)
{
	struct stat here, there;

	return fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_dev == there.st_dev &&
	       here.st_ino == there.st_ino;
}

/* 0 or a negative errno. What did not fit was cut: why, the next call says. */
static int write_whole(int fd, const char *bytes, size_t size, off_t offset)
{
	while (size > 0) {
		ssize_t written = pwrite(fd, bytes, size, offset);

		if (written < 0)
			return -errno;
		bytes += written;
		size -= (size_t)written;
		offset += written;
	}
	return 0;
}

/* 0 or a negative errno; -EAGAIN: it was written to meanwhile. */
static int copy_file(int from, const char *to)
{
	autoclose int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	static char piece[1 << 16];
	struct stat before, after;
	off_t offset = 0;
	ssize_t size;

	if (fd < 0 || fstat(from, &before) < 0)
		return -errno;
	while ((size = pread(from, piece, sizeof(piece), offset)) > 0) {
		int r = write_whole(fd, piece, (size_t)size, offset);

		if (r < 0)
			return r;
		offset += size;
	}
	if (size < 0 || fstat(from, &after) < 0)
		return -errno;
	return is_same_file(&before, &after) ? 0 : -EAGAIN;
}

/* The log's changes go into the copy, which is then one file, on disk. */
static int fold_log(const char *to)
{
	sqlite3 *copy = NULL;
	int r = sqlite3_open_v2(to, &copy, SQLITE_OPEN_READWRITE, NULL);

	if (r == SQLITE_OK)
		r = sqlite3_exec(copy, "PRAGMA synchronous = FULL; PRAGMA journal_mode = DELETE",
				 NULL, NULL, NULL);
	(void)sqlite3_close(copy);
	return r == SQLITE_OK ? 0 : -EIO;
}

/* As copy_file. Where the log goes into the main file once that is copied, neither copy has it. */
static int copy_both(const struct open_files *files, const char *to, const char *log)
{
	struct stat before, after;
	int r;

	if (fstat(files->fd, &before) < 0)
		return -errno;
	r = copy_file(files->fd, to);
	if (r == 0 && files->log_fd >= 0)
		r = copy_file(files->log_fd, log);
	if (r < 0)
		return r;
	if (fstat(files->fd, &after) < 0)
		return -errno;
	return is_same_file(&before, &after) ? 0 : -EAGAIN;
}

static int copy_files(const struct open_files *files, const char *to)
{
	enum { TRIES_MAX = 5 };
	autofree char *log = xasprintf("%s-wal", to);
	int r = -EAGAIN;

	for (int i = 0; r == -EAGAIN && i < TRIES_MAX; i++)
		r = copy_both(files, to, log);
	if (r == 0)
		r = fold_log(to);
	if (r < 0)
		(void)unlink(log);
	return r;
}

/* Both; without its log the file lacks what was committed last. */
static bool are_in_place(const struct open_files *files, const char *path)
{
	autofree char *log = xasprintf("%s-wal", path);

	return is_at(files->fd, path) && (files->log_fd < 0 || is_at(files->log_fd, log));
}

int store_rescue(const char *path, const char *to, struct error *ret_error)
{
	long holder = find_holder(path);
	struct open_files files = {-1, -1};
	int r = 0;

	if (holder > 0)
		find_files(holder, &files);
	if (files.fd >= 0 && !are_in_place(&files, path)) {
		r = copy_files(&files, to);
		if (r == 0)
			r = 1;
	}
	if (files.fd >= 0)
		(void)close(files.fd);
	if (files.log_fd >= 0)
		(void)close(files.log_fd);
	if (r == -EAGAIN)
		(void)error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				"jobd (pid %ld) wrote to what it has open of %s each time it was "
				"copied: try again, jobd stops writing once it notices that the "
				"file is gone",
				holder, path);
	else if (r < 0) {
		errno = -r;
		(void)error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				"what jobd (pid %ld) has open of %s cannot be copied to %s: %m",
				holder, path, to);
	}
	return r;
}
