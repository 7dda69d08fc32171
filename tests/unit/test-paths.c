/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Folders that are made stay: what is synced is written down, by the links of /proc/self/fd. */
#include "common/paths.h"
#include "common/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char synced[4][256];
static unsigned synced_count;
static int sync_errno;

int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
	autofree char *link = xasprintf("/proc/self/fd/%d", fd);
	ssize_t size = readlink(link, synced[synced_count], sizeof(synced[0]) - 1);

	assert_true(size > 0);
	synced[synced_count++][size] = '\0';
	errno = sync_errno;
	return sync_errno ? -1 : 0;
}

static void test_make_parent(void **state)
{
	const char *parent = getenv("TMPDIR");
	autofree char *folder = xasprintf("%s/test-paths-XXXXXX", parent ? parent : "/tmp");
	autofree char *real = NULL, *first = NULL, *path = NULL, *other = NULL;

	(void)state;
	assert_non_null(mkdtemp(folder));
	real = realpath(folder, NULL);
	first = xasprintf("%s/a", real);
	path = xasprintf("%s/a/b/jobd.db", folder);
	assert_int_equal(path_make_parent(path), 0);
	assert_int_equal(synced_count, 2);
	assert_string_equal(synced[0], real);
	assert_string_equal(synced[1], first);
	/* There already */
	assert_int_equal(path_make_parent(path), 0);
	assert_int_equal(synced_count, 2);
	/* By no whole path */
	assert_int_equal(chdir(first), 0);
	assert_int_equal(path_make_parent("c/jobd.db"), 0);
	assert_int_equal(synced_count, 3);
	assert_string_equal(synced[2], first);
	/* What may be lost is an error, but where nothing can be synced */
	assert_int_equal(rmdir("c"), 0);
	sync_errno = EIO;
	synced_count = 0;
	assert_int_equal(path_make_parent("c/jobd.db"), -EIO);
	sync_errno = EINVAL;
	assert_int_equal(rmdir("c"), 0);
	assert_int_equal(path_make_parent("c/jobd.db"), 0);
	other = xasprintf("rm -r %s", real);
	assert_int_equal(system(other), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
