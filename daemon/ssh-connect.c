/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a name to a finished key exchange; what it waits for on the way is in ssh-queue.c. */
#include "daemon/kind-ssh.h"

#include "common/util.h"
#include "daemon/ssh-jump.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	GREET_ROUNDS = 3,
	/* More than a version line and the first packet (RFC 4253, 4.2 and 6.1) */
	GREETING_MAX = 48 * 1024,
	KEEPALIVE_IDLE_S = 30,
	KEEPALIVE_INTERVAL_S = 10,
	KEEPALIVE_COUNT = 3,
	UNACKNOWLEDGED_MS = 60000,
};

/* --- Name look-up --- */

const char *visit_address(const struct visit *visit, char buffer[static ADDRESS_TEXT_MAX])
{
	return visit->address_count > 0 ? address_text(&visit->addresses[visit->address_at], buffer)
					: "";
}

void visit_take_addresses(struct visit *visit, const struct sockaddr_storage *addresses,
			  size_t count, const char *error)
{
	assert(visit->step == STEP_RESOLVE && visit->address_count == 0);
	if (error)
		visit->resolve_error = xstrdup(error);
	visit->addresses = xmemdup(addresses, count * sizeof(*addresses));
	visit->address_count = count;
}

enum progress visit_step_resolve(struct visit *visit)
{
	struct sockaddr_storage address;

	if (visit->resolve_error)
		return visit_fail(visit, CLASS_RESOLVE, "%s", visit->resolve_error);
	/* Behind a jump host, that one looks the name up. */
	if (visit_has_jump(visit))
		return visit_go(visit, STEP_PLACE);
	if (visit->address_count == 0 &&
	    address_parse(visit->address_name, AF_UNSPEC, &address) == 1)
		visit_take_addresses(visit, &address, 1, NULL);
	if (visit->address_count > 0)
		return visit_go(visit, STEP_PLACE);
	worker_resolve(visit->engine->worker, visit->task, visit->address_name, AF_UNSPEC);
	return PROGRESS_WAIT;
}

/* --- TCP --- */

/* Dead peers are found: by keepalive while nothing is sent, by the user time-out else (tcp(7)). */
static void set_socket_options(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value,
				 sizeof(options[i].value));
}

static enum progress fail_connect(struct visit *visit, int number)
{
	const char *host = visit->target.host;
	unsigned port = visit->port;

	switch (number) {
	case ECONNREFUSED:
		return visit_fail(visit, CLASS_REFUSED, "%s port %u refuses connections", host,
				  port);
	case ECONNRESET:
		return visit_fail_transient(visit, CLASS_REFUSED,
					    "%s port %u resets connections: it may be busy", host,
					    port);
	case EADDRNOTAVAIL:
	case ENOBUFS:
		return visit_fail_transient(visit, CLASS_INTERNAL,
					    "jobd cannot open another connection (%s): lower "
					    "ssh-parallel or raise the limit",
					    strerrordesc_np(number));
	default:
		return visit_fail(visit, CLASS_UNREACHABLE, "%s port %u cannot be reached: %s",
				  host, port, strerrordesc_np(number));
	}
}

static bool has_next_address(const struct visit *visit)
{
	return visit->address_at + 1 < visit->address_count;
}

static enum progress next_address(struct visit *visit, int number)
{
	visit_drop_socket(visit);
	if (!has_next_address(visit))
		return fail_connect(visit, number);
	visit->address_at++;
	visit_leave_destination(visit);
	return visit_go(visit, STEP_PLACE);
}

static enum progress begin_connect(struct visit *visit)
{
	struct sockaddr_storage address = visit->addresses[visit->address_at];
	int64_t now_us = worker_now_us(visit->engine->worker);
	size_t left = visit->address_count - visit->address_at;
	int fd;

	/* The same place in both families (sockaddr_in, sockaddr_in6) */
	((struct sockaddr_in *)(void *)&address)->sin_port = htons(visit->port);
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= visit->engine->fd_limit || (fd < 0 && (errno == EMFILE || errno == ENFILE))) {
		close_fd(&fd);
		return visit_starve(visit);
	}
	if (fd < 0)
		return next_address(visit, errno);
	visit_use_socket(visit, fd);
	set_socket_options(fd);
	/* Each address gets its share of the time that is left. */
	visit->address_deadline_us = now_us + (visit->step_deadline_us - now_us) / (int64_t)left;
	if (connect(fd, (const struct sockaddr *)&address,
		    address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						  : sizeof(struct sockaddr_in)) == 0)
		return visit_go(visit, STEP_GREET);
	return errno == EINPROGRESS ? PROGRESS_WAIT : next_address(visit, errno);
}

enum progress visit_step_connect(struct visit *visit)
{
	struct sockaddr_storage peer;
	socklen_t size = sizeof(int);
	int number = 0;

	if (visit->fd < 0)
		return visit_enter_gate(visit, GATE_CONNECT) ? begin_connect(visit) : PROGRESS_WAIT;
	if (getsockopt(visit->fd, SOL_SOCKET, SO_ERROR, &number, &size) < 0)
		number = errno;
	if (number != 0)
		return next_address(visit, number);
	size = sizeof(peer);
	if (getpeername(visit->fd, (struct sockaddr *)&peer, &size) == 0)
		return visit_go(visit, STEP_GREET);
	if (worker_now_us(visit->engine->worker) >= visit->address_deadline_us &&
	    has_next_address(visit))
		return next_address(visit, ETIMEDOUT);
	return PROGRESS_WAIT;
}

/* --- Through a jump host --- */

enum progress visit_step_jump(struct visit *visit)
{
	enum error_class class;
	bool is_transient;
	const char *why;

	if (!visit->tunnel)
		visit->tunnel = tunnel_new(visit);
	switch (tunnel_state(visit->tunnel)) {
	case TUNNEL_WAITING: /* it has a bound of its own */
		visit_wait_begin(visit);
		return PROGRESS_WAIT;
	case TUNNEL_OPENING:
		visit_wait_end(visit);
		return PROGRESS_WAIT;
	case TUNNEL_OPEN:
		visit_wait_end(visit);
		visit_use_socket(visit, tunnel_take_fd(visit->tunnel));
		return visit_go(visit, STEP_GREET);
	case TUNNEL_FAILED:
	default:
		why = tunnel_why(visit->tunnel, &class, &is_transient);
		return is_transient ? visit_fail_transient(visit, class, "%s", why)
				    : visit_fail(visit, class, "%s", why);
	}
}

/* --- Version lines --- */

/* libssh makes the descriptor blocking when it first sees it; one stopped host would freeze all. */
static void unblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && !(flags & O_NONBLOCK))
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* How many bytes must have come before poll(2) says so (socket(7)). */
static void set_readable_from(int fd, int bytes)
{
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

/*
 * Ours is sent; what comes back is not read yet, since that begins the key exchange. libssh must
 * also have seen that it may write again: if one read brings version line and algorithms, and none
 * fits, a write that then still waits makes it forget why.
 */
enum progress visit_step_greet(struct visit *visit)
{
	int r = SSH_AGAIN;

	if (visit->session)
		return visit_go(visit, STEP_SLOT);
	if (visit_open_session(visit) < 0)
		return PROGRESS_END;
	set_readable_from(visit->fd, GREETING_MAX);
	for (int i = 0; i < GREET_ROUNDS && r == SSH_AGAIN; i++) {
		r = ssh_connect(visit->session);
		unblock(visit->fd);
	}
	if (r == SSH_ERROR)
		return visit_lost(visit);
	set_readable_from(visit->fd, 1);
	if (visit->tunnel)
		tunnel_flow(visit->tunnel);
	return PROGRESS_WAIT;
}

/* --- Key exchange --- */

enum progress visit_step_slot(struct visit *visit)
{
	return visit_enter_gate(visit, GATE_EXCHANGE) ? visit_go(visit, STEP_KEY_EXCHANGE)
						      : PROGRESS_WAIT;
}

enum progress visit_step_key_exchange(struct visit *visit)
{
	switch (ssh_connect(visit->session)) {
	case SSH_OK:
		return visit_go(visit, STEP_HOST_KEY);
	case SSH_AGAIN:
		unblock(visit->fd);
		return PROGRESS_AGAIN;
	default:
		return visit_lost(visit);
	}
}
