/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The listening socket: who may come in, and how many. Every client costs a file descriptor and up
 * to some megabytes, so there is a limit for all (max-clients), a share of it for each user, and a
 * few places more for root.
 */
#include "daemon/server.h"

#include "common/log.h"
#include "common/paths.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BACKLOG = 1024,
	/* Kept free for root, so that whoever can mend it always gets in */
	ROOT_RESERVE = 8,
	RELISTEN_US = 200000,
	/* As long as people do not notice, and so long that a commit is shared by many */
	TURN_US = 4000,
};

/* --- Binding --- */

static int fill_address(const char *path, struct sockaddr_un *ret_address)
{
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_address->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_address->sun_path, path, strlen(path) + 1);
	return 0;
}

/* 0 where somebody answers there, or the errno of what is there instead. */
static int look_there(const struct sockaddr_un *address)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
			       errno == EAGAIN
		       ? 0
		       : -errno;
}

/* What is left of a daemon that was killed: nobody has it open. Only a socket goes: the path may be
 * mistyped. */
static void unlink_stale(const char *path)
{
	struct stat status;

	if (lstat(path, &status) == 0 && S_ISSOCK(status.st_mode))
		(void)unlink(path);
}

/* The mode is right before anybody can connect, which takes listen. */
static int bind_and_listen(int fd, const struct sockaddr_un *address, mode_t mode)
{
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ||
	    chmod(address->sun_path, mode) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return 0;
}

/* What bind calls an address in use may be no address at all. */
static const char *why_not(const char *path, int r)
{
	struct stat status;

	if (r != -EADDRINUSE || lstat(path, &status) < 0 || S_ISSOCK(status.st_mode))
		return strerror(-r);
	return S_ISDIR(status.st_mode) ? "it is a folder" : "it is a file that is no socket";
}

/*
 * The database's lock was taken before, so that of two daemons with one database only one comes
 * here; two with different databases on one socket are told apart by connecting.
 */
static int bind_socket(const struct config *config, int *ret_fd, char **ret_sentence)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	int r, there;

	r = fd < 0 ? -errno : fill_address(config->socket, &address);
	if (r == 0)
		r = path_check_socket_folder(config->socket);
	if (r == 0)
		r = path_make_parent(config->socket);
	there = r == 0 ? look_there(&address) : r;
	if (there == 0) {
		*ret_sentence = xasprintf("another jobd listens on %s: stop it, or choose another "
					  "socket with --socket",
					  config->socket);
		return -EADDRINUSE;
	}
	/* Another program's socket may be of a sort that takes no connections. */
	if (there == -ECONNREFUSED)
		unlink_stale(config->socket);
	if (r == 0)
		r = bind_and_listen(fd, &address, config->is_user ? 0600 : 0666);
	if (r < 0) {
		*ret_sentence = xasprintf("cannot listen on %s: %s; choose another socket with "
					  "--socket",
					  config->socket, why_not(config->socket, r));
		return r;
	}
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* --- Accepting --- */

static bool is_in_admin_group(int fd, const struct ucred *peer, gid_t admin_gid)
{
	autofree gid_t *groups = NULL;
	socklen_t size = 0;

	if (admin_gid == (gid_t)-1)
		return false;
	if (peer->gid == admin_gid)
		return true;
	/* Asked with too little room, it says how much is needed. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
		return false;
	groups = xmalloc(size);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof(groups[0]); i++)
		if (groups[i] == admin_gid)
			return true;
	return false;
}

/* Says why before closing: the client takes it for the reply to its first call. */
static void refuse(int fd, const char *limit, const char *sentence)
{
	json_t *message = error_build("org.jobd.LimitReached",
				      json_pack("{s:s, s:s}", "limit", limit, "message", sentence));
	size_t size;
	autofree char *text = message_encode(message, &size);

	json_decref(message);
	(void)send(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)close(fd);
}

/* One user leaves a quarter of the places to others; root always gets in. */
static bool has_room(const struct server *server, uid_t uid)
{
	unsigned max = (unsigned)server->daemon->config->max_clients;
	const struct connection *connection;
	unsigned own = 0;

	if (uid == 0)
		return server->client_count < max + ROOT_RESERVE;
	LIST_FOREACH (connection, &server->connections, link)
		own += connection->uid == uid;
	return server->client_count < max && (uid == geteuid() || own < max - max / 4);
}

static void welcome(struct server *server, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
		(void)close(fd);
		return;
	}
	if (!has_room(server, peer.uid)) {
		refuse(fd, "max-clients",
		       "too many clients are connected (max-clients of jobd.conf): try again when "
		       "some have left");
		return;
	}
	connection_new(server, fd, peer.uid,
		       peer.uid == 0 || peer.uid == geteuid() ||
			       is_in_admin_group(fd, &peer, server->daemon->config->admin_gid));
}

/* Accepting again at once would spin: those who wait keep waiting for a while. */
static void pause_accepting(struct server *server)
{
	static const struct timeval pause = {.tv_usec = RELISTEN_US};

	if (!server->is_starved)
		log_warning("no further client can be accepted just now: %m");
	server->is_starved = true;
	(void)event_del(server->listen_event);
	(void)event_add(server->relisten_timer, &pause);
}

static void on_listen(evutil_socket_t listen_fd, short what, void *context)
{
	struct server *server = context;

	(void)what;
	for (unsigned i = 0; i < BACKLOG; i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			server->is_starved = false;
			welcome(server, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(server);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void on_relisten(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;

	(void)fd;
	(void)what;
	if (!server->is_closed)
		(void)event_add(server->listen_event, NULL);
}

/* --- Life --- */

int server_new(struct daemon *daemon, int fd, struct server **ret_server, char **ret_sentence)
{
	struct server *server;
	int r = 0;
	bool is_bound = fd < 0;

	if (is_bound)
		r = bind_socket(daemon->config, &fd, ret_sentence);
	if (r < 0)
		return r;
	(void)evutil_make_socket_nonblocking(fd); /* a passed one may not be */
	server = xcalloc(1, sizeof(*server));
	server->daemon = daemon;
	server->fd = fd;
	server->bound_path = is_bound ? xstrdup(daemon->config->socket) : NULL;
	LIST_INIT(&server->connections);
	TAILQ_INIT(&server->due);
	service_init(server);
	server->listen_event = event_new(daemon->base, fd, EV_READ | EV_PERSIST, on_listen, server);
	server->relisten_timer = event_new(daemon->base, -1, 0, on_relisten, server);
	if (!server->listen_event || !server->relisten_timer)
		abort();
	(void)event_add(server->listen_event, NULL);
	*ret_server = server;
	return 0;
}

void server_close(struct server *server)
{
	struct connection *connection;

	server->is_closed = true;
	(void)event_del(server->listen_event);
	LIST_FOREACH (connection, &server->connections, link)
		(void)event_del(connection->read_event);
}

void server_free(struct server *server)
{
	struct connection *connection;

	if (!server)
		return;
	while ((connection = LIST_FIRST(&server->connections))) {
		connection_write(connection);
		connection_free(connection);
	}
	event_free(server->listen_event);
	event_free(server->relisten_timer);
	/* In this order, so that it is not the next daemon's socket that goes. */
	if (server->bound_path)
		(void)unlink(server->bound_path);
	(void)close(server->fd);
	service_done(server);
	free(server->bound_path);
	free(server);
}

unsigned server_client_count(const struct server *server)
{
	return server->client_count;
}

void server_committed(struct server *server, const char *error)
{
	struct due due = TAILQ_HEAD_INITIALIZER(due);
	struct connection *connection;

	/* What becomes due meanwhile is for the next commit. */
	TAILQ_CONCAT(&due, &server->due, due_link);
	while ((connection = TAILQ_FIRST(&due))) {
		TAILQ_REMOVE(&due, connection, due_link);
		connection->is_due = false;
		connection_committed(connection, error);
	}
}

void server_resume(struct server *server)
{
	int64_t late_us = now_monotonic_us() + TURN_US;
	struct connection *connection;

	LIST_FOREACH (connection, &server->connections, link) {
		connection_resume(connection);
		if (now_monotonic_us() >= late_us)
			break;
	}
}

bool turn_is_over(const struct daemon *daemon)
{
	return now_monotonic_us() - daemon->turn_began_us >= TURN_US;
}

void turn_worked(struct daemon *daemon, bool has_more)
{
	daemon->is_turn_open = daemon->is_turn_open || has_more;
	if (daemon->turn_began_us == 0)
		daemon->turn_began_us = now_monotonic_us();
	else if (turn_is_over(daemon))
		(void)event_base_loopbreak(daemon->base);
}

bool server_has_held(const struct server *server)
{
	return !TAILQ_EMPTY(&server->due);
}
