/* SPDX-License-Identifier: LGPL-2.1-or-later */
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

/* Does somebody answer there? */
static bool is_alive(const struct sockaddr_un *address)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return connect(fd, (const struct sockaddr *) address, sizeof(*address)) == 0 ||
	       errno == EAGAIN;
}

/*
 * The database's lock was taken before, so that of two daemons with one database only one comes
 * here; two with different databases on one socket are told apart by connecting.
 */
static int bind_socket(const struct config *config, int *ret_fd, char **ret_sentence)
{
	struct sockaddr_un address;
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old_mask;
	int r;

	r = fill_address(config->socket, &address);
	if (r == 0)
		r = path_check_socket_folder(config->socket);
	if (r == 0)
		r = path_make_parent(config->socket);
	if (r == 0 && is_alive(&address)) {
		*ret_sentence = xasprintf("another jobd listens on %s: stop it, or choose another "
					  "with --socket",
					  config->socket);
		return -EADDRINUSE;
	}
	if (r == 0) {
		(void) unlink(config->socket);
		old_mask = umask(config->is_user ? 0177 : 0111);
		r = bind(fd, (const struct sockaddr *) &address, sizeof(address)) < 0 ||
				    listen(fd, BACKLOG) < 0
			    ? -errno
			    : 0;
		(void) umask(old_mask);
	}
	if (r < 0) {
		errno = -r;
		*ret_sentence = xasprintf("cannot listen on %s: %m; choose another with --socket",
					  config->socket);
		return r;
	}
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* --- Accepting --- */

static bool is_in_admin_group(int fd, gid_t admin_gid)
{
	gid_t groups[256];
	socklen_t size = sizeof(groups);
	struct ucred peer;
	socklen_t peer_size = sizeof(peer);

	if (admin_gid == (gid_t) -1)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) == 0 &&
	    peer.gid == admin_gid)
		return true;
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
	json_t *message = error_build(
		"org.jobd.LimitReached", json_pack("{s:s, s:s}", "limit", limit, "message", sentence));
	size_t size;
	autofree char *text = message_encode(message, &size);

	json_decref(message);
	(void) send(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	(void) close(fd);
}

/* One user leaves a quarter of the connections to others; root always gets in. */
static bool has_room(const struct server *server, uid_t uid)
{
	unsigned max = (unsigned) server->daemon->config->max_clients;
	const struct connection *connection;
	unsigned own = 0;

	if (uid == 0)
		return server->client_count < max + ROOT_RESERVE;
	LIST_FOREACH(connection, &server->connections, link)
	{
		own += connection->uid == uid;
	}
	return server->client_count < max &&
	       (uid == geteuid() || own < (max * 3 + 3) / 4);
}

static void welcome(struct server *server, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
		(void) close(fd);
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
			       is_in_admin_group(fd, server->daemon->config->admin_gid));
}

static void on_listen(evutil_socket_t listen_fd, short what, void *context)
{
	struct server *server = context;
	struct timeval pause = {.tv_usec = RELISTEN_US};

	(void) what;
	for (unsigned i = 0; i < BACKLOG; i++) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			welcome(server, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			/* Accepting again at once would spin: those who wait keep waiting. */
			log_warning("no client can be accepted just now: %m");
			(void) event_del(server->listen_event);
			(void) event_add(server->relisten_event, &pause);
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
}

static void on_relisten(evutil_socket_t fd, short what, void *context)
{
	struct server *server = context;

	(void) fd;
	(void) what;
	if (!server->is_closed)
		(void) event_add(server->listen_event, NULL);
}

/* --- Life --- */

int server_new(struct daemon *daemon, int fd, struct server **ret_server, char **ret_sentence)
{
	struct server *server = xcalloc(1, sizeof(*server));
	autofree char *why = NULL;
	int r;

	server->daemon = daemon;
	server->fd = fd;
	LIST_INIT(&server->connections);
	if (fd < 0) {
		r = bind_socket(daemon->config, &server->fd, ret_sentence);
		if (r < 0) {
			free(server);
			return r;
		}
		server->bound_path = xstrdup(daemon->config->socket);
	} else {
		(void) evutil_make_socket_nonblocking(fd);
	}
	server->interface = interface_parse(interface_text, &why);
	assert(server->interface); /* the tests parse it as well */
	server->listen_event =
		event_new(daemon->base, server->fd, EV_READ | EV_PERSIST, on_listen, server);
	server->relisten_event = event_new(daemon->base, -1, 0, on_relisten, server);
	if (!server->listen_event || !server->relisten_event)
		abort();
	(void) event_add(server->listen_event, NULL);
	*ret_server = server;
	return 0;
}

void server_close(struct server *server)
{
	struct connection *connection;

	server->is_closed = true;
	(void) event_del(server->listen_event);
	LIST_FOREACH(connection, &server->connections, link)
	{
		(void) event_del(connection->read_event);
	}
}

void server_free(struct server *server)
{
	struct connection *connection;

	if (!server)
		return;
	while ((connection = LIST_FIRST(&server->connections))) {
		(void) evbuffer_write(connection->output, connection->fd);
		connection_free(connection);
	}
	event_free(server->listen_event);
	event_free(server->relisten_event);
	(void) close(server->fd);
	if (server->bound_path)
		(void) unlink(server->bound_path);
	interface_free(server->interface);
	free(server->bound_path);
	free(server);
}

unsigned server_client_count(const struct server *server)
{
	return server->client_count;
}

void server_committed(struct server *server, const char *error)
{
	struct connection *connection;

	if (server->held_count == 0 && server->waiting_count == 0)
		return;
	LIST_FOREACH(connection, &server->connections, link)
	{
		if (connection->is_waiting || !STAILQ_EMPTY(&connection->held))
			connection_committed(connection, error);
	}
}

bool server_has_held(const struct server *server)
{
	return server->held_count + server->waiting_count > 0;
}
