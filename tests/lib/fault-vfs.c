/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A shim over the default VFS. Writes go through at once; what was there before is kept until the
 * file is synced, and comes back when the power is cut. The shared memory beside a WAL is a file
 * that nobody syncs: it does not survive at all.
 */
#include "tests/lib/fault-vfs.h"

#include "common/util.h"

#include <assert.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512 };

/* A sector as it was before an unsynced write. */
struct unsynced {
	TAILQ_ENTRY(unsynced) link;
	char *path; /* the file's, which outlives its handle */
	sqlite3_int64 offset;
	int size;
	bool is_lost;        /* its sync failed */
	sqlite3_int64 end;   /* of the file then */
	char before[SECTOR]; /* zeros where the file was shorter */
};
TAILQ_HEAD(unsynced_list, unsynced);

struct fault_file {
	sqlite3_file base;
	const char *path; /* SQLite's, or NULL: a temporary file */
	sqlite3_file *real;
};

static sqlite3_vfs shim, *real_vfs;
static struct unsynced_list writes = TAILQ_HEAD_INITIALIZER(writes);
static unsigned calls_left; /* until one fails; 0: none will */
static unsigned cut_left;   /* until the power goes, likewise */
static unsigned often, often_seed, cut_seed;
static bool is_lasting, has_failed, is_remembering;

/* --- Failing --- */

void fault_arm(unsigned n, bool lasting)
{
	calls_left = n;
	is_lasting = lasting;
	has_failed = false;
}

bool fault_disarm(void)
{
	calls_left = 0;
	is_lasting = false;
	return has_failed;
}

void fault_often(unsigned calls, unsigned seed)
{
	often = calls;
	often_seed = seed;
}

void fault_plan_cut(unsigned n, unsigned seed)
{
	cut_left = n;
	cut_seed = seed;
}

/* Is it this call's turn? */
static bool fails(void)
{
	if (cut_left > 0 && --cut_left == 0) {
		fault_cut_power(cut_seed);
		_exit(FAULT_CUT_STATUS);
	}
	if (often > 0 && (unsigned)rand_r(&often_seed) % often == 0)
		return true;
	if (has_failed && is_lasting)
		return true;
	if (calls_left == 0 || --calls_left > 0)
		return false;
	has_failed = true;
	return true;
}

/* --- What is not synced --- */

static void forget(struct unsynced *write)
{
	TAILQ_REMOVE(&writes, write, link);
	free(write->path);
	free(write);
}

static bool is_of(const struct unsynced *write, const char *path)
{
	return path && streq(write->path, path);
}

static void forget_file(const char *path)
{
	struct unsynced *write, *next;

	for (write = TAILQ_FIRST(&writes); write; write = next) {
		next = TAILQ_NEXT(write, link);
		if (is_of(write, path))
			forget(write);
	}
}

static void lose_file(const char *path)
{
	struct unsynced *write;

	TAILQ_FOREACH (write, &writes, link)
		write->is_lost |= is_of(write, path);
}

/* Is it written anew by one that is not lost? */
static bool is_made_good(const struct unsynced *lost)
{
	const struct unsynced *write = lost;

	while ((write = TAILQ_NEXT(write, link)))
		if (!write->is_lost && is_of(write, lost->path) && write->offset <= lost->offset &&
		    write->offset + write->size >= lost->offset + lost->size)
			return true;
	return false;
}

/* It is on the disk, but for what an earlier sync lost. */
static void keep_file(const char *path)
{
	struct unsynced *write, *next;

	for (write = TAILQ_FIRST(&writes); write; write = next) {
		next = TAILQ_NEXT(write, link);
		if (is_of(write, path) && (!write->is_lost || is_made_good(write)))
			forget(write);
	}
}

/* What stands in [offset, offset + size) now. */
static void remember(struct fault_file *file, sqlite3_int64 offset, sqlite3_int64 size)
{
	sqlite3_int64 end = 0;

	if (!is_remembering)
		return;
	(void)file->real->pMethods->xFileSize(file->real, &end);
	while (file->path && size > 0) {
		struct unsynced *write = xcalloc(1, sizeof(*write));
		int part = SECTOR - (int)(offset % SECTOR);

		write->path = xstrdup(file->path);
		write->offset = offset;
		write->size = size < part ? (int)size : part;
		write->end = end;
		/* Beyond the end: zeros, and an error that says so. */
		(void)file->real->pMethods->xRead(file->real, write->before, write->size, offset);
		TAILQ_INSERT_TAIL(&writes, write, link);
		offset += write->size;
		size -= write->size;
	}
}

/* All but its first bytes. What had made the file longer, and all behind it, is cut off. */
static void take_back(const struct unsynced *write, int kept)
{
	autoclose int fd = open(write->path, O_WRONLY | O_CLOEXEC);
	off_t offset = write->offset + kept, end;

	/* It may be gone: a log that was deleted at the end. */
	if (fd < 0)
		return;
	end = lseek(fd, 0, SEEK_END);
	if (offset >= write->end && write->offset + write->size >= end) {
		if (ftruncate(fd, offset) < 0)
			abort();
	} else if (pwrite(fd, write->before + kept, (size_t)(write->size - kept), offset) < 0) {
		abort();
	}
}

void fault_cut_power(unsigned seed)
{
	enum { NOTHING_STAYS, FIRST_STAY, ANY_STAY, WAYS } way = (unsigned)rand_r(&seed) % WAYS;
	size_t count = 0, first, at;
	struct unsynced *write;

	TAILQ_FOREACH (write, &writes, link)
		count++;
	first = count > 0 ? (size_t)rand_r(&seed) % count : 0;
	for (at = count; (write = TAILQ_LAST(&writes, unsynced_list)); at--) {
		bool is_torn = way == FIRST_STAY && at == first + 1;
		bool stays = (way == FIRST_STAY && at <= first) ||
			     (way == ANY_STAY && rand_r(&seed) % 2 == 0);

		if (write->is_lost || !stays)
			take_back(write,
				  is_torn && !write->is_lost ? rand_r(&seed) % write->size : 0);
		forget(write);
	}
}

/* --- Files --- */

static struct fault_file *file_of(sqlite3_file *file)
{
	return (struct fault_file *)(void *)file;
}

static sqlite3_file *real_of(sqlite3_file *file)
{
	return file_of(file)->real;
}

static int fault_close(sqlite3_file *file)
{
	return real_of(file)->pMethods->xClose(real_of(file));
}

static int fault_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
	return fails() ? SQLITE_IOERR_READ
		       : real_of(file)->pMethods->xRead(real_of(file), to, size, offset);
}

/* The call at which a disk fails may have been done by half. */
static int fault_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 offset)
{
	bool was_dead = has_failed && is_lasting;
	bool is_torn = fails();

	if (was_dead)
		return SQLITE_FULL;
	if (is_torn)
		size /= 2;
	remember(file_of(file), offset, size);
	if (!is_torn)
		return real_of(file)->pMethods->xWrite(real_of(file), from, size, offset);
	(void)real_of(file)->pMethods->xWrite(real_of(file), from, size, offset);
	return SQLITE_FULL;
}

static int fault_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	sqlite3_int64 before = 0;

	if (fails())
		return SQLITE_IOERR_TRUNCATE;
	(void)real_of(file)->pMethods->xFileSize(real_of(file), &before);
	remember(file_of(file), size, before - size);
	return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int fault_sync(sqlite3_file *file, int flags)
{
	int r;

	if (fails()) {
		lose_file(file_of(file)->path);
		return SQLITE_IOERR_FSYNC;
	}
	r = real_of(file)->pMethods->xSync(real_of(file), flags);
	if (r == SQLITE_OK)
		keep_file(file_of(file)->path);
	return r;
}

static int fault_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
	return fails() ? SQLITE_IOERR_FSTAT
		       : real_of(file)->pMethods->xFileSize(real_of(file), ret_size);
}

static int fault_lock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int fault_unlock(sqlite3_file *file, int level)
{
	return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int fault_check_lock(sqlite3_file *file, int *ret_is_locked)
{
	return real_of(file)->pMethods->xCheckReservedLock(real_of(file), ret_is_locked);
}

static int fault_control(sqlite3_file *file, int what, void *argument)
{
	return real_of(file)->pMethods->xFileControl(real_of(file), what, argument);
}

static int fault_sector(sqlite3_file *file)
{
	(void)file;
	return SECTOR;
}

static int fault_characteristics(sqlite3_file *file)
{
	(void)file;
	return 0; /* nothing is promised: neither atomic writes nor their order */
}

static int fault_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **ret)
{
	return fails() ? SQLITE_IOERR_SHMMAP
		       : real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, ret);
}

static int fault_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void fault_shm_barrier(sqlite3_file *file)
{
	real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int fault_shm_unmap(sqlite3_file *file, int is_deleted)
{
	return real_of(file)->pMethods->xShmUnmap(real_of(file), is_deleted);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = fault_close,
	.xRead = fault_read,
	.xWrite = fault_write,
	.xTruncate = fault_truncate,
	.xSync = fault_sync,
	.xFileSize = fault_size,
	.xLock = fault_lock,
	.xUnlock = fault_unlock,
	.xCheckReservedLock = fault_check_lock,
	.xFileControl = fault_control,
	.xSectorSize = fault_sector,
	.xDeviceCharacteristics = fault_characteristics,
	.xShmMap = fault_shm_map,
	.xShmLock = fault_shm_lock,
	.xShmBarrier = fault_shm_barrier,
	.xShmUnmap = fault_shm_unmap,
};

/* --- The VFS --- */

static int fault_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *opened, int flags,
		      int *ret_flags)
{
	struct fault_file *file = file_of(opened);
	int r;

	(void)vfs;
	*file = (struct fault_file){.path = name, .real = (sqlite3_file *)(void *)(file + 1)};
	if (fails())
		return SQLITE_CANTOPEN;
	r = real_vfs->xOpen(real_vfs, name, file->real, flags, ret_flags);
	if (file->real->pMethods)
		file->base.pMethods = &methods;
	return r;
}

static int fault_delete(sqlite3_vfs *vfs, const char *name, int is_synced)
{
	int r = fails() ? SQLITE_IOERR_DELETE : real_vfs->xDelete(real_vfs, name, is_synced);

	(void)vfs;
	if (r == SQLITE_OK)
		forget_file(name);
	return r;
}

static int fault_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	(void)vfs;
	return fails() ? SQLITE_IOERR_ACCESS : real_vfs->xAccess(real_vfs, name, flags, ret);
}

void fault_install(bool with_cuts)
{
	is_remembering = with_cuts;
	real_vfs = sqlite3_vfs_find(NULL);
	shim = *real_vfs;
	shim.zName = "fault";
	shim.szOsFile = (int)sizeof(struct fault_file) + real_vfs->szOsFile;
	shim.xOpen = fault_open;
	shim.xDelete = fault_delete;
	shim.xAccess = fault_access;
	if (sqlite3_vfs_register(&shim, 1) != SQLITE_OK)
		abort();
	(void)fault_disarm();
}

void fault_remove(void)
{
	struct unsynced *write;

	while ((write = TAILQ_FIRST(&writes)))
		forget(write);
	(void)fault_disarm();
	(void)sqlite3_vfs_unregister(&shim);
	(void)sqlite3_vfs_register(real_vfs, 1);
}
