/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/paths.h"

#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

/* $NAME/jobd/FILE, else HOME/FALLBACK/jobd/FILE; an empty or relative $NAME counts as none (XDG).
 */
static char *user_path(const char *variable, const char *fallback, const char *file)
{
	const char *folder = getenv(variable);
	const char *home = getenv("HOME");

	if (folder && folder[0] == '/')
		return xasprintf("%s/jobd/%s", folder, file);
	if (!home || home[0] != '/') {
		const struct passwd *entry = getpwuid(geteuid());

		home = entry ? entry->pw_dir : NULL;
	}
	return home ? xasprintf("%s/%s/jobd/%s", home, fallback, file) : NULL;
}

char *path_socket(bool is_user)
{
	const char *folder = getenv("XDG_RUNTIME_DIR");

	if (!is_user)
		return xstrdup(RUNSTATEDIR "/jobd.sock");
	if (folder && folder[0] == '/')
		return xasprintf("%s/jobd.sock", folder);
	return xasprintf("/tmp/jobd-%lu/jobd.sock", (unsigned long)geteuid());
}

/* The service manager's folder for it, where there is one: STATE_DIRECTORY in systemd.exec(5). */
char *path_database(bool is_user)
{
	const char *folder = getenv("STATE_DIRECTORY");

	if (!is_user && folder && folder[0] == '/')
		return xasprintf("%.*s/jobd.db", (int)strcspn(folder, ":"), folder);
	return is_user ? user_path("XDG_STATE_HOME", ".local/state", "jobd.db")
		       : xstrdup(LOCALSTATEDIR "/lib/jobd/jobd.db");
}

char *path_config(bool is_user)
{
	return is_user ? user_path("XDG_CONFIG_HOME", ".config", "jobd.conf")
		       : xstrdup(SYSCONFDIR "/jobd.conf");
}

char *path_profiles(bool is_user)
{
	return is_user ? user_path("XDG_CONFIG_HOME", ".config", "profiles")
		       : xstrdup(SYSCONFDIR "/jobd/profiles");
}

/* Not where it may not be read, or its file system knows no such thing. */
static int sync_folder(const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == EACCES ? 0 : -errno;
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

int path_sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	autofree char *folder =
		slash ? xasprintf("%.*s", (int)(slash + 1 - path), path) : xstrdup(".");

	return sync_folder(folder);
}

int path_make_parent(const char *path)
{
	autofree char *folder = xstrdup(path), *parent = xstrdup(path[0] == '/' ? "/" : ".");
	int r = 0;

	for (char *slash = folder; r == 0 && (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		if (mkdir(folder, 0700) == 0)
			r = sync_folder(parent);
		else if (errno != EEXIST)
			r = -errno;
		free(parent);
		parent = xstrdup(folder);
		*slash = '/';
	}
	return r;
}

/* path where the link says so, from the folder that the link is in. */
static char *path_from(const char *link, const char *target)
{
	const char *slash = target[0] == '/' ? NULL : strrchr(link, '/');

	return xasprintf("%.*s%s", slash ? (int)(slash + 1 - link) : 0, link, target);
}

char *path_follow_links(const char *path)
{
	enum { LINKS_MAX = 40 }; /* as the kernel has it */
	char *file = xstrdup(path);
	char target[PATH_MAX];
	ssize_t size;

	for (int i = 0; i < LINKS_MAX && (size = readlink(file, target, sizeof(target) - 1)) > 0;
	     i++) {
		char *link = file;

		target[size] = '\0';
		file = path_from(link, target);
		free(link);
	}
	return file;
}

int path_check_socket_folder(const char *socket_path)
{
	autofree char *shared = xasprintf("/tmp/jobd-%lu/", (unsigned long)geteuid());
	struct stat status;

	if (strncmp(socket_path, shared, strlen(shared)) != 0)
		return 0;
	shared[strlen(shared) - 1] = '\0';
	if (mkdir(shared, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (lstat(shared, &status) < 0)
		return -errno;
	return S_ISDIR(status.st_mode) && status.st_uid == geteuid() && (status.st_mode & 077) == 0
		       ? 0
		       : -EPERM;
}
