/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/background.h"

#include "common/log.h"
#include "common/paths.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The pipe on which the child says that it is ready; and the log that then takes over. */
static int ready_fd = -1, log_fd = -1;

/* Ready: one byte. Not ready: the child's end closed the pipe; its status says why. */
static _Noreturn void wait_for_child(int fd, pid_t pid)
{
	char byte;
	ssize_t size;
	int status = 0;

	do
		size = read(fd, &byte, 1);
	while (size < 0 && errno == EINTR);
	if (size == 1)
		_exit(EXIT_SUCCESS);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE);
}

static int open_log(const char *database)
{
	const char *slash = strrchr(database, '/');
	autofree char *path =
		xasprintf("%.*sjobd.log", slash ? (int)(slash + 1 - database) : 0, database);

	(void)path_make_parent(path);
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

int background_start(const char *database)
{
	int fds[2], null_fd;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		log_error("cannot go into the background: %m");
		return -errno;
	}
	if (pid > 0) {
		(void)close(fds[1]);
		wait_for_child(fds[0], pid);
	}
	(void)close(fds[0]);
	ready_fd = fds[1];
	log_fd = open_log(database);
	(void)setsid();
	(void)chdir("/");
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null_fd >= 0) {
		(void)dup2(null_fd, STDIN_FILENO);
		(void)dup2(null_fd, STDOUT_FILENO);
		(void)close(null_fd);
	}
	return 0;
}

void background_ready(void)
{
	if (ready_fd < 0)
		return;
	if (log_fd < 0)
		log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (log_fd >= 0) {
		(void)dup2(log_fd, STDERR_FILENO);
		(void)close(log_fd);
	}
	(void)!write(ready_fd, "", 1);
	(void)close(ready_fd);
	ready_fd = log_fd = -1;
}
