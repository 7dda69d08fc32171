/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/files.h"

#include "client/client.h"

#include "common/hash.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* What came of a task that has not ended. */
struct file {
	char *part;      /* its path */
	int64_t written; /* by this reading, with what came before */
	UT_hash_handle hh;
};

struct files {
	const char *dir;
	bool is_last; /* what is not written now is gone */
	bool has_new; /* something that may not be on disk yet */
	struct file *by_part;
};

static const char part_suffix[] = ".part";

void files_make_dir(const char *dir)
{
	autofree char *path = xasprintf("%s/", dir);

	for (char *slash = path; (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		if (mkdir(path, 0777) < 0 && errno != EEXIST)
			fail(STATUS_WORDS, "--dir: cannot make %s: %m", path);
		*slash = '/';
	}
	if (access(path, W_OK | X_OK) < 0)
		fail(STATUS_WORDS, "--dir: cannot write to %s: %m", dir);
}

struct files *files_new(const char *dir, bool is_last)
{
	struct files *files = xcalloc(1, sizeof(*files));

	files->dir = dir;
	files->is_last = is_last;
	return files;
}

static void drop(struct files *files, struct file *file)
{
	HASH_DEL(files->by_part, file);
	free(file->part);
	free(file);
}

void files_free(struct files *files)
{
	struct file *file, *next;

	if (!files)
		return;
	HASH_ITER (hh, files->by_part, file, next) {
		drop(files, file);
	}
	free(files);
}

static char *file_path(const struct files *files, const char *target, const char *suffix)
{
	if (strchr(target, '/'))
		fail(STATUS_REFUSED, "the target '%s' is no file name", target);
	return xasprintf("%s/%s%s", files->dir, target, suffix);
}

/* By the job too: another may write to the same target at the same time, for another reader. */
static struct file *find(struct files *files, const json_t *record)
{
	autofree char *suffix =
		xasprintf("%s.%lld", part_suffix, (long long)number_of(record, "job"));
	autofree char *part = file_path(files, text_of(record, "target"), suffix);
	struct file *file;

	HASH_FIND_STR(files->by_part, part, file);
	if (file)
		return file;
	file = xcalloc(1, sizeof(*file));
	file->part = part;
	part = NULL;
	HASH_ADD_KEYPTR(hh, files->by_part, file->part, strlen(file->part), file);
	return file;
}

static void write_at(int fd, const char *path, const char *bytes, size_t size, int64_t offset)
{
	while (size > 0) {
		ssize_t part = pwrite(fd, bytes, size, offset);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			fail(STATUS_REFUSED, "cannot write %s: %m", path);
		bytes += part;
		offset += part;
		size -= (size_t)part;
	}
}

static void write_part(const char *path, const char *bytes, size_t size, int64_t offset)
{
	struct stat status;
	int fd;

	/* What an interrupted reading wrote comes again, and goes where it was. */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (offset == 0 ? O_TRUNC : 0), 0666);
	if (fd < 0 || fstat(fd, &status) < 0)
		fail(STATUS_REFUSED, "cannot write %s: %m", path);
	/* What was received before is not there, and no hole is to look like it. */
	if (offset <= status.st_size)
		write_at(fd, path, bytes, size, offset);
	if (close(fd) < 0)
		fail(STATUS_REFUSED, "cannot write %s: %m", path);
}

void files_write(struct files *files, const json_t *record, const char *bytes, size_t size)
{
	struct file *file = find(files, record);
	int64_t offset = number_of(record, "offset");

	write_part(file->part, bytes, size, offset);
	file->written = offset + (int64_t)size;
	files->has_new = true;
}

/* The last `size` bytes of the part, and nothing before. */
static void cut_part(const char *part, int64_t part_size, int64_t size)
{
	autofree char *last = xasprintf("%s.last", part);
	autoclose int from = open(part, O_RDONLY | O_CLOEXEC);
	int to = open(last, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	char bytes[65536];
	int64_t at = 0;

	if (from < 0 || to < 0)
		fail(STATUS_REFUSED, "cannot write %s: %m", last);
	while (at < size) {
		ssize_t read_size = pread(from, bytes, sizeof(bytes), part_size - size + at);

		if (read_size <= 0)
			fail(STATUS_REFUSED, "cannot read %s: %m", part);
		write_at(to, last, bytes, (size_t)read_size, at);
		at += read_size;
	}
	if (close(to) < 0 || rename(last, part) < 0)
		fail(STATUS_REFUSED, "cannot write %s: %m", last);
}

/* Is all of a task's output there? Before that of the try that succeeded stands that of others. */
static bool is_whole(const struct file *file, const json_t *task, int64_t size, int64_t part_size)
{
	if (file->written > 0 && part_size != file->written)
		return false;
	return number_of(task, "attempts") > 1 ? part_size >= size : part_size == size;
}

static void tell_left(const struct files *files, const char *path)
{
	const char *why = "a part of the output was received before";

	if (files->is_last)
		fail(STATUS_REFUSED,
		     "--dir: %s is as it was, and the job is kept, since %s: --again writes all of "
		     "it",
		     path, why);
	(void)fflush(stdout); /* first what was printed before */
	(void)fprintf(stderr, "jobctl: %s is as it was, since %s: --again writes all of it\n", path,
		      why);
}

/* Of a task that succeeded. */
static void take_place(const struct files *files, const struct file *file, const json_t *task,
		       const char *path)
{
	int64_t size = number_of(json_object_get(task, "ssh"), "stdoutBytes");
	struct stat status;

	/* No output replaces that of an earlier run as well. */
	if (size == 0)
		write_part(file->part, "", 0, 0);
	if (stat(file->part, &status) < 0 || !is_whole(file, task, size, status.st_size)) {
		tell_left(files, path);
		return;
	}
	if (status.st_size > size)
		cut_part(file->part, status.st_size, size);
	if (rename(file->part, path) < 0)
		fail(STATUS_REFUSED, "cannot write %s: %m", path);
}

char *files_end(struct files *files, const json_t *record, const json_t *task)
{
	const char *target = text_of(record, "target");
	struct file *file = find(files, record);
	autofree char *path = file_path(files, target, "");
	char *left = file_path(files, target, part_suffix);
	const json_t *ssh = json_object_get(task, "ssh");
	bool has_succeeded = ssh && streq(text_of(task, "state"), "succeeded");
	bool is_left = false;

	if (has_succeeded)
		take_place(files, file, task, path);
	else
		is_left = rename(file->part, left) == 0;
	files->has_new |= has_succeeded || is_left;
	/* Of an earlier run. A ping, and what did not get as far as the command, says nothing. */
	if (ssh && !is_left)
		(void)unlink(left);
	drop(files, file);
	if (is_left)
		return left;
	free(left);
	return NULL;
}

/* One call for the file system: to wait for each of a thousand files takes long. A folder that may
 * not be read cannot be opened for it. */
void files_sync(struct files *files)
{
	autoclose int folder = -1;

	if (!files || !files->is_last || !files->has_new)
		return;
	folder = open(files->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 ? errno != EACCES : syncfs(folder) < 0)
		fail(STATUS_REFUSED, "cannot write to %s: %m; the next receive gives it again",
		     files->dir);
	files->has_new = false;
}
