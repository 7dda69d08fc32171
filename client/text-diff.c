/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What changed from one text to another, as diff(1) says it: nobody does it better. */
#include "client/client.h"

#include "common/util.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* A file without a name, which the child has open too. */
static int file_of(const char *bytes, size_t size)
{
	int fd = memfd_create("jobctl", 0);

	if (fd < 0)
		fail(STATUS_REFUSED, "cannot compare outputs: %m");
	while (size > 0) {
		ssize_t part = write(fd, bytes, size);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			fail(STATUS_REFUSED, "cannot compare outputs: %m");
		bytes += part;
		size -= (size_t)part;
	}
	return fd;
}

char *text_diff(const char *before, size_t before_size, const char *after, size_t after_size,
		int64_t context, size_t *ret_size)
{
	autoclose int before_fd = file_of(before, before_size);
	autoclose int after_fd = file_of(after, after_size);
	autofree char *command =
		xasprintf("exec diff -U%lld /proc/self/fd/%d /proc/self/fd/%d 2>&1",
			  (long long)context, before_fd, after_fd);
	autofree char *line = NULL;
	char *diff = NULL;
	FILE *out = open_memstream(&diff, ret_size);
	FILE *from = popen(command, "re");
	size_t capacity = 0;
	ssize_t size;
	int status;

	if (!out || !from)
		fail(STATUS_REFUSED, "cannot compare outputs: %m");
	for (unsigned number = 0; (size = getline(&line, &capacity, from)) >= 0; number++) {
		if (number == 0 && strncmp(line, "--- ", 4) != 0)
			(void)fputs("Binary files differ\n", out);
		else if (number >= 2)
			(void)fwrite(line, 1, (size_t)size, out);
	}
	(void)fclose(out);
	status = pclose(from);
	/* Ctrl-C reaches both. */
	talk_check_interrupt();
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
		fail(STATUS_REFUSED,
		     "cannot compare outputs: diff(1) failed; is the package diffutils there?");
	return diff;
}
