/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ssh-jump.h"

#include "common/hash.h"
#include "common/util.h"
#include "daemon/kind-ssh.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
	OPENING_MAX =
		256, /* channels of one jump at a time; hosts that say nothing hold one long */
	ERROR_KEPT = 200,
	PIECE_MAX = 32 << 10,
	LINGER_SECONDS = 10, /* without anybody behind it */
};

struct tunnel {
	struct jump *jump; /* NULL once that has ended */
	struct visit *visit;
	TAILQ_ENTRY(tunnel) link; /* in one of the jump's lists */
	enum tunnel_state state;
	bool is_stuck; /* in the list of those */
	bool is_flowing, has_eof;
	int near, far; /* ours and the visit's end; -1: not there, or not ours any more */
	ssh_channel channel;
	struct ssh_channel_callbacks_struct callbacks;
	struct event read_event, write_event;
	bool is_reading, is_writing;
	struct backlog {
		char *bytes; /* PIECE_MAX; NULL while there is nothing */
		size_t size, at;
	} to_far, to_channel;
	char *why;
	enum error_class class;
	bool is_transient;
};
TAILQ_HEAD(tunnels, tunnel);

struct jump {
	UT_hash_handle hh;
	struct engine *engine;
	struct visit *visit;
	bool is_open;
	char last_error[ERROR_KEPT]; /* libssh's, when the channels were looked at */
	char *before;
	/* Not open yet (waiting or opening, in order), carrying, and carrying but held up by the
	 * session */
	struct tunnels beginning, carrying, stuck;
	size_t opening;
	struct event linger;
	char key[];
};

/* --- The pair of sockets --- */

static void close_near(struct tunnel *tunnel)
{
	if (tunnel->near < 0)
		return;
	event_watch(&tunnel->read_event, &tunnel->is_reading, false);
	event_watch(&tunnel->write_event, &tunnel->is_writing, false);
	(void)close(tunnel->near);
	tunnel->near = -1;
}

static void keep(struct backlog *backlog, const char *bytes, size_t size)
{
	assert(!backlog->bytes);
	if (size == 0)
		return;
	backlog->bytes = xmemdup(bytes, size);
	backlog->size = size;
	backlog->at = 0;
}

static void took(struct backlog *backlog, size_t size)
{
	backlog->at += size;
	if (backlog->at < backlog->size)
		return;
	free(backlog->bytes);
	*backlog = (struct backlog){0};
}

/* How much the far end takes now */
static size_t send_far(struct tunnel *tunnel, const char *bytes, size_t size)
{
	ssize_t n = tunnel->near < 0 ? (ssize_t)size
				     : send(tunnel->near, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0)
		return (size_t)n;
	/* An end that is gone takes everything. */
	return errno == EAGAIN || errno == EINTR ? 0 : size;
}

/* What the channel holds goes to the visit, as much as that takes. */
static void drain(struct tunnel *tunnel)
{
	char piece[PIECE_MAX];

	while (tunnel->channel && tunnel->is_flowing) {
		struct backlog *backlog = &tunnel->to_far;
		size_t sent;
		int n;

		if (backlog->bytes) {
			took(backlog, send_far(tunnel, backlog->bytes + backlog->at,
					       backlog->size - backlog->at));
			if (backlog->bytes)
				break;
		}
		n = ssh_channel_read_nonblocking(tunnel->channel, piece, sizeof(piece), 0);
		if (n <= 0)
			break;
		sent = send_far(tunnel, piece, (size_t)n);
		keep(backlog, piece + sent, (size_t)n - sent);
	}
	if (tunnel->near < 0)
		return;
	event_watch(&tunnel->write_event, &tunnel->is_writing, tunnel->to_far.bytes != NULL);
	if (tunnel->has_eof && tunnel->is_flowing && !tunnel->to_far.bytes)
		(void)shutdown(tunnel->near, SHUT_WR);
}

/* --- What the channel says --- */

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t size,
		   int is_stderr, void *context)
{
	struct tunnel *tunnel = context;
	size_t sent;

	(void)session;
	(void)channel;
	if (is_stderr || !tunnel->is_flowing || tunnel->to_far.bytes)
		return is_stderr ? (int)size : 0;
	sent = send_far(tunnel, data, size);
	/* The rest stays with libssh, whose window closes; when the far end reads, it is fetched.
	 */
	if (sent < size && tunnel->near >= 0)
		event_watch(&tunnel->write_event, &tunnel->is_writing, true);
	return (int)sent;
}

static void on_eof(ssh_session session, ssh_channel channel, void *context)
{
	struct tunnel *tunnel = context;

	(void)session;
	(void)channel;
	tunnel->has_eof = true;
	if (tunnel->near >= 0)
		event_watch(&tunnel->write_event, &tunnel->is_writing, true);
}

static void on_writable(evutil_socket_t fd, short what, void *context)
{
	struct tunnel *tunnel = context;

	(void)fd;
	(void)what;
	event_watch(&tunnel->write_event, &tunnel->is_writing, false);
	drain(tunnel);
	if (tunnel->jump)
		visit_wake(tunnel->jump->visit); /* the window may have opened */
}

/* --- What the visit says --- */

static bool may_write(const struct tunnel *tunnel)
{
	return !(ssh_get_status(tunnel->jump->visit->session) & SSH_WRITE_PENDING) &&
	       ssh_channel_window_size(tunnel->channel) > 0;
}

static void move_to(struct tunnel *tunnel, bool is_stuck)
{
	struct jump *jump = tunnel->jump;

	if (tunnel->is_stuck == is_stuck)
		return;
	tunnel->is_stuck = is_stuck;
	TAILQ_REMOVE(is_stuck ? &jump->carrying : &jump->stuck, tunnel, link);
	TAILQ_INSERT_TAIL(is_stuck ? &jump->stuck : &jump->carrying, tunnel, link);
}

static void write_backlog(struct tunnel *tunnel)
{
	struct backlog *backlog = &tunnel->to_channel;
	int n;

	if (!backlog->bytes)
		return;
	n = ssh_channel_write(tunnel->channel, backlog->bytes + backlog->at,
			      (uint32_t)(backlog->size - backlog->at));
	if (n > 0)
		took(backlog, (size_t)n);
}

/* As far as the session takes it; else the tunnel waits with the others that are stuck. */
static void forward(struct tunnel *tunnel)
{
	char piece[PIECE_MAX];
	ssize_t n;

	write_backlog(tunnel);
	if (tunnel->to_channel.bytes || !may_write(tunnel)) {
		event_watch(&tunnel->read_event, &tunnel->is_reading, false);
		move_to(tunnel, true);
		return;
	}
	move_to(tunnel, false);
	n = recv(tunnel->near, piece, sizeof(piece), MSG_DONTWAIT);
	event_watch(&tunnel->read_event, &tunnel->is_reading, n != 0);
	if (n == 0)
		(void)ssh_channel_send_eof(tunnel->channel);
	if (n > 0) {
		keep(&tunnel->to_channel, piece, (size_t)n);
		write_backlog(tunnel);
	}
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct tunnel *tunnel = context;

	(void)fd;
	(void)what;
	forward(tunnel);
	visit_wake(tunnel->jump->visit); /* it watches for what it can write */
}

/* --- Opening --- */

static void fail_tunnel(struct tunnel *tunnel, enum error_class class, bool is_transient, char *why)
{
	tunnel->state = TUNNEL_FAILED;
	free(tunnel->why);
	tunnel->why = why;
	tunnel->class = class;
	tunnel->is_transient = is_transient;
	visit_wake(tunnel->visit);
}

static int open_pair(struct tunnel *tunnel)
{
	struct event_base *base = worker_base(tunnel->jump->engine->worker);
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -errno;
	tunnel->near = fds[0];
	tunnel->far = fds[1];
	if (event_assign(&tunnel->read_event, base, fds[0], EV_READ | EV_PERSIST, on_readable,
			 tunnel) < 0 ||
	    event_assign(&tunnel->write_event, base, fds[0], EV_WRITE | EV_PERSIST, on_writable,
			 tunnel) < 0)
		abort();
	return 0;
}

static void begin_opening(struct tunnel *tunnel)
{
	tunnel->channel = ssh_channel_new(tunnel->jump->visit->session);
	if (!tunnel->channel)
		abort(); /* out of memory */
	tunnel->callbacks = (struct ssh_channel_callbacks_struct){
		.size = sizeof(tunnel->callbacks),
		.userdata = tunnel,
		.channel_data_function = on_data,
		.channel_eof_function = on_eof,
		.channel_close_function = on_eof,
	};
	(void)ssh_set_channel_callbacks(tunnel->channel, &tunnel->callbacks);
	tunnel->state = TUNNEL_OPENING;
	tunnel->jump->opening++;
	visit_wake(tunnel->visit); /* its clock runs from now on */
}

static void end_opening(struct tunnel *tunnel)
{
	TAILQ_REMOVE(&tunnel->jump->beginning, tunnel, link);
	TAILQ_INSERT_TAIL(&tunnel->jump->carrying, tunnel, link);
	tunnel->jump->opening--;
}

static void opened(struct tunnel *tunnel)
{
	int r = open_pair(tunnel);

	end_opening(tunnel);
	if (r < 0) {
		fail_tunnel(tunnel, CLASS_INTERNAL, true,
			    xasprintf("jobd cannot open another connection (%s): lower "
				      "ssh-parallel or raise the limit",
				      strerrordesc_np(-r)));
		return;
	}
	tunnel->state = TUNNEL_OPEN;
	event_watch(&tunnel->read_event, &tunnel->is_reading, true);
	visit_wake(tunnel->visit);
}

/* "Channel opening failure: channel N error (REASON) TEXT" (RFC 4254, 5.1) */
static void refused(struct tunnel *tunnel)
{
	const struct visit *visit = tunnel->visit, *through = tunnel->jump->visit;
	const char *text = ssh_get_error(through->session), *reason = strstr(text, "error (");
	bool is_prohibited = reason && strncmp(reason, "error (1)", 9) == 0;

	end_opening(tunnel);
	if (is_prohibited)
		fail_tunnel(tunnel, CLASS_REFUSED, false,
			    xasprintf("the jump host %s does not forward to %s port %u: allow it "
				      "there (AllowTcpForwarding)",
				      through->target.host, visit->target.host, visit->port));
	else
		fail_tunnel(tunnel, CLASS_UNREACHABLE, false,
			    xasprintf("%s port %u cannot be reached from the jump host %s: %s",
				      visit->target.host, visit->port, through->target.host,
				      reason && strlen(reason) > 10 ? reason + 10 : text));
}

/*
 * has_failed: a channel was refused, any. libssh tells of which only where each is asked for, and
 * that costs a poll(2).
 */
static void go_on_opening(struct tunnel *tunnel, bool has_failed)
{
	if (tunnel->state == TUNNEL_WAITING && tunnel->jump->opening >= OPENING_MAX)
		return;
	if (tunnel->state == TUNNEL_WAITING)
		begin_opening(tunnel);
	else if (!has_failed && !ssh_channel_is_open(tunnel->channel))
		return;
	switch (ssh_channel_open_forward(tunnel->channel, tunnel->visit->address_name,
					 tunnel->visit->port, "127.0.0.1", 0)) {
	case SSH_OK:
		opened(tunnel);
		break;
	case SSH_AGAIN:
		break;
	default:
		/* Where the session itself is lost, its visit says so. */
		if (!visit_is_lost(tunnel->jump->visit))
			refused(tunnel);
		break;
	}
}

/* --- The jump --- */

const char *jump_before(const struct jump *jump)
{
	return jump->before;
}

/* Each refusal has a text of its own, since it names the channel. */
static bool has_failed_channel(struct jump *jump)
{
	const char *text = ssh_get_error(jump->visit->session);

	if (strncmp(jump->last_error, text, ERROR_KEPT - 1) == 0)
		return false;
	(void)snprintf(jump->last_error, ERROR_KEPT, "%s", text);
	return true;
}

/* Its session moves: opens, and goes on with what was held up. */
static void carry(struct jump *jump)
{
	struct tunnel *tunnel, *next;
	bool has_failed = has_failed_channel(jump);
	size_t looked = 0;

	jump->is_open = true;
	for (tunnel = TAILQ_FIRST(&jump->beginning); tunnel && looked < OPENING_MAX;
	     tunnel = next) {
		next = TAILQ_NEXT(tunnel, link);
		looked++;
		go_on_opening(tunnel, has_failed);
	}
	for (tunnel = TAILQ_FIRST(&jump->stuck); tunnel; tunnel = next) {
		next = TAILQ_NEXT(tunnel, link);
		if (tunnel->near >= 0)
			forward(tunnel);
	}
}

enum progress visit_step_carry(struct visit *visit)
{
	visit_pump(visit);
	if (visit_is_lost(visit))
		return visit_lost(visit);
	carry(visit->jump);
	/* It may be what was carried that found the session lost. */
	return visit_is_lost(visit) ? visit_lost(visit) : PROGRESS_AGAIN;
}

static bool is_unused(const struct jump *jump)
{
	return TAILQ_EMPTY(&jump->beginning) && TAILQ_EMPTY(&jump->carrying) &&
	       TAILQ_EMPTY(&jump->stuck);
}

static void on_linger(evutil_socket_t fd, short what, void *context)
{
	struct jump *jump = context;

	(void)fd;
	(void)what;
	if (is_unused(jump))
		visit_stop(jump->visit, STOP_SHUTDOWN, 0);
}

/* A secret is not kept longer than the job that has it. */
static void linger(struct jump *jump)
{
	const struct timeval delay = {.tv_sec =
					      jump->visit->options->password ? 0 : LINGER_SECONDS};

	if (is_unused(jump))
		(void)event_add(&jump->linger, &delay);
}

/* Who may share it: the same user, with the same keys, by the same way. */
static char *key_of(const struct visit *visit)
{
	const struct ssh_options *options = visit->options;
	const char *none = "";

	return xasprintf("%lu|%s|%s|%s|%s|%lld|%d", (unsigned long)visit->task->options->uid,
			 visit->settings.jump,
			 visit->credential_name ? visit->credential_name : none,
			 options->jump_credential ? options->jump_credential : none,
			 options->identity ? options->identity : none,
			 (long long)visit->settings.host_key, options->is_legacy);
}

/* Chooses the last of "a,b,c"; what is before it is how that one is reached. */
static struct jump *begin_jump(struct visit *visit, const char *key)
{
	struct engine *engine = visit->engine;
	size_t size = strlen(key) + 1;
	struct jump *jump = xcalloc(1, sizeof(*jump) + size);
	const char *comma = strrchr(visit->settings.jump, ',');

	memcpy(jump->key, key, size);
	jump->engine = engine;
	if (comma)
		jump->before =
			strndup(visit->settings.jump, (size_t)(comma - visit->settings.jump));
	TAILQ_INIT(&jump->beginning);
	TAILQ_INIT(&jump->carrying);
	TAILQ_INIT(&jump->stuck);
	(void)evtimer_assign(&jump->linger, worker_base(engine->worker), on_linger, jump);
	HASH_ADD_STR(engine->jumps, key, jump);
	jump->visit = visit_new(engine,
				worker_adopt(engine->worker, visit->task->options,
					     comma ? comma + 1 : visit->settings.jump),
				jump);
	visit_wake(jump->visit);
	return jump;
}

static void forget_tunnel(struct tunnel *tunnel, const struct outcome *outcome)
{
	const char *message = outcome->message ? outcome->message : "it was closed";

	tunnel->jump = NULL;
	tunnel->channel = NULL;
	close_near(tunnel);
	if (tunnel->state != TUNNEL_FAILED)
		fail_tunnel(tunnel, outcome->state == TASK_FAILED ? outcome->class : CLASS_INTERNAL,
			    outcome->is_transient,
			    xasprintf("its jump host cannot be used: %s", message));
}

static void forget_tunnels(struct tunnels *tunnels, const struct outcome *outcome)
{
	struct tunnel *tunnel;

	while ((tunnel = TAILQ_FIRST(tunnels))) {
		TAILQ_REMOVE(tunnels, tunnel, link);
		forget_tunnel(tunnel, outcome);
	}
}

void jump_ended(struct jump *jump, const struct outcome *outcome)
{
	HASH_DEL(jump->engine->jumps, jump);
	(void)event_del(&jump->linger);
	forget_tunnels(&jump->beginning, outcome);
	forget_tunnels(&jump->carrying, outcome);
	forget_tunnels(&jump->stuck, outcome);
	free(jump->before);
	free(jump);
}

void engine_done_jumps(struct engine *engine)
{
	struct jump *jump, *next;

	/* One that carries another ends it as well: begin anew each time. */
	while ((jump = engine->jumps)) {
		for (; jump && !is_unused(jump); jump = next)
			next = jump->hh.next;
		assert(jump); /* no visit is left */
		visit_stop(jump->visit, STOP_SHUTDOWN, 0);
	}
}

/* --- Tunnels --- */

/* Is the one reached through the other? */
static bool is_circle(const struct jump *jump, const struct jump *through)
{
	while (jump && through && through != jump)
		through = through->visit->tunnel ? through->visit->tunnel->jump : NULL;
	return jump && through == jump;
}

struct tunnel *tunnel_new(struct visit *visit)
{
	struct tunnel *tunnel = xcalloc(1, sizeof(*tunnel));
	autofree char *key = key_of(visit);
	struct jump *jump = NULL;

	tunnel->visit = visit;
	tunnel->near = tunnel->far = -1;
	HASH_FIND_STR(visit->engine->jumps, key, jump);
	if (is_circle(visit->jump, jump)) {
		fail_tunnel(tunnel, CLASS_PROTOCOL, false,
			    xasprintf("the way to %s goes in a circle: look at ProxyJump in "
				      "ssh_config",
				      visit->target.host));
		return tunnel;
	}
	if (!jump)
		jump = begin_jump(visit, key);
	tunnel->jump = jump;
	(void)event_del(&jump->linger);
	TAILQ_INSERT_TAIL(&jump->beginning, tunnel, link);
	if (jump->is_open)
		visit_wake(jump->visit);
	return tunnel;
}

static void leave_jump(struct tunnel *tunnel)
{
	struct jump *jump = tunnel->jump;
	bool is_beginning = tunnel->state == TUNNEL_WAITING || tunnel->state == TUNNEL_OPENING;

	TAILQ_REMOVE(is_beginning       ? &jump->beginning
		     : tunnel->is_stuck ? &jump->stuck
					: &jump->carrying,
		     tunnel, link);
	jump->opening -= tunnel->state == TUNNEL_OPENING;
	if (tunnel->channel) {
		/* Nothing of it comes back here. */
		ssh_remove_channel_callbacks(tunnel->channel, &tunnel->callbacks);
		ssh_channel_free(tunnel->channel);
	}
	visit_wake(jump->visit);
	linger(jump);
}

void tunnel_free(struct tunnel *tunnel)
{
	if (!tunnel)
		return;
	close_near(tunnel);
	if (tunnel->far >= 0)
		(void)close(tunnel->far);
	if (tunnel->jump)
		leave_jump(tunnel);
	free(tunnel->to_far.bytes);
	free(tunnel->to_channel.bytes);
	free(tunnel->why);
	free(tunnel);
}

enum tunnel_state tunnel_state(const struct tunnel *tunnel)
{
	return tunnel->state;
}

int tunnel_take_fd(struct tunnel *tunnel)
{
	int fd = tunnel->far;

	assert(tunnel->state == TUNNEL_OPEN && fd >= 0);
	tunnel->far = -1;
	return fd;
}

void tunnel_flow(struct tunnel *tunnel)
{
	tunnel->is_flowing = true;
	drain(tunnel);
	if (tunnel->jump)
		visit_wake(tunnel->jump->visit); /* its session was touched */
}

const char *tunnel_why(const struct tunnel *tunnel, enum error_class *ret_class,
		       bool *ret_is_transient)
{
	*ret_class = tunnel->class;
	*ret_is_transient = tunnel->is_transient;
	return tunnel->why;
}
