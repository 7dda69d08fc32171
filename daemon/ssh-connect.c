/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a name to a finished key exchange.
 *
 * Two things are bounded. Connections to one address that are not authenticated yet, since servers
 * drop more than a few of these (sshd's MaxStartups); and key exchanges at a time, since each costs
 * CPU here and, worse, there: too many at once and all of them run into their time-outs. A visit
 * takes one of the worker's slots only when the server's version line has come, so a silent host
 * holds none, and hands it on after SLOT_HELD_US if others wait, so a slow router does not hold it
 * either. While a visit waits for such a place its connect clock stands.
 */
#include "daemon/kind-ssh.h"

#include "common/hash.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/ssh-jump.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	SLOT_HELD_US = 1000000,
	SLOT_LOOK_US = 200000,
	/* libssh keeps only 16 bits of a descriptor */
	FD_MAX = UINT16_MAX,
	FD_RESERVED = 64,
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

/* --- Queues --- */

static void join_queue(struct visit *visit, struct visits *queue)
{
	assert(!visit->queue);
	visit->queue = queue;
	TAILQ_INSERT_TAIL(queue, visit, queue_link);
	visit_wait_begin(visit);
}

void visit_leave_queue(struct visit *visit)
{
	if (!visit->queue)
		return;
	TAILQ_REMOVE(visit->queue, visit, queue_link);
	visit->queue = NULL;
	visit_wait_end(visit);
}

/* --- Places: few unauthenticated connections to one address, and as many sessions as the job says
 */

struct destination {
	unsigned places_taken;
	uint64_t sessions; /* until their end, whatever their step */
	struct visits queue;
	UT_hash_handle hh;
	char key[]; /* an address; behind a jump host "JUMP>HOST" */
};

static struct destination *find_destination(const struct visit *visit)
{
	struct engine *engine = visit->engine;
	char buffer[ADDRESS_TEXT_MAX];
	autofree char *key = visit_has_jump(visit)
				     ? xasprintf("%s>%s", visit->settings.jump, visit->address_name)
				     : xstrdup(visit_address(visit, buffer));
	struct destination *destination = NULL;

	HASH_FIND_STR(engine->destinations, key, destination);
	if (destination)
		return destination;
	destination = xcalloc(1, sizeof(*destination) + strlen(key) + 1);
	strcpy(destination->key, key);
	TAILQ_INIT(&destination->queue);
	HASH_ADD_STR(engine->destinations, key, destination);
	return destination;
}

static bool has_room(const struct visit *visit, const struct destination *destination)
{
	int64_t limit = visit->options->per_host_limit;

	return destination->places_taken < UNAUTHENTICATED_PER_ADDRESS &&
	       (limit == 0 || visit->jump || destination->sessions < (uint64_t)limit);
}

static void take_place(struct visit *visit, struct destination *destination)
{
	destination->places_taken++;
	destination->sessions++;
	visit->destination = destination;
	visit->has_place = true;
}

enum progress visit_step_place(struct visit *visit)
{
	enum ssh_step next = visit_has_jump(visit) ? STEP_JUMP : STEP_CONNECT;
	struct destination *destination;

	if (visit->destination)
		return visit_go(visit, next);
	if (visit->queue)
		return PROGRESS_WAIT;
	destination = find_destination(visit);
	if (!TAILQ_EMPTY(&destination->queue) || !has_room(visit, destination)) {
		join_queue(visit, &destination->queue);
		return PROGRESS_WAIT;
	}
	take_place(visit, destination);
	return visit_go(visit, next);
}

/* Room goes on to the next in the queue. */
static void hand_on(struct engine *engine, struct destination *destination)
{
	struct visit *next;

	while ((next = TAILQ_FIRST(&destination->queue)) && has_room(next, destination)) {
		visit_leave_queue(next);
		take_place(next, destination);
		visit_wake(next);
	}
	if (destination->sessions > 0 || !TAILQ_EMPTY(&destination->queue))
		return;
	HASH_DEL(engine->destinations, destination);
	free(destination);
}

void visit_release_place(struct visit *visit)
{
	if (!visit->has_place)
		return;
	visit->has_place = false;
	visit->destination->places_taken--;
	hand_on(visit->engine, visit->destination);
}

void visit_leave_destination(struct visit *visit)
{
	struct destination *destination = visit->destination;

	if (!destination)
		return;
	visit_release_place(visit);
	visit->destination = NULL;
	destination->sessions--;
	hand_on(visit->engine, destination);
}

/* --- Descriptors: who finds none waits --- */

/* The process has other uses for some, the control socket above all. */
static int fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > FD_MAX + FD_RESERVED)
		return FD_MAX;
	return limit.rlim_cur > 4 * FD_RESERVED ? (int)limit.rlim_cur - FD_RESERVED
						: (int)limit.rlim_cur / 4 * 3;
}

void engine_feed_starved(struct engine *engine)
{
	struct visit *next = TAILQ_FIRST(&engine->starved);

	if (!next)
		return;
	visit_leave_queue(next);
	visit_wake(next);
}

/* It may have been somebody else's. */
static void on_starved_timer(evutil_socket_t fd, short what, void *context)
{
	const struct timeval look = {.tv_usec = SLOT_LOOK_US};
	struct engine *engine = context;

	(void)fd;
	(void)what;
	engine_feed_starved(engine);
	if (!TAILQ_EMPTY(&engine->starved))
		(void)event_add(engine->starved_timer, &look);
}

static enum progress starve(struct visit *visit)
{
	const struct timeval look = {.tv_usec = SLOT_LOOK_US};
	struct engine *engine = visit->engine;

	join_queue(visit, &engine->starved);
	if (!event_pending(engine->starved_timer, EV_TIMEOUT, NULL))
		(void)event_add(engine->starved_timer, &look);
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
		return starve(visit);
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

	if (visit->queue)
		return PROGRESS_WAIT;
	if (visit->fd < 0)
		return begin_connect(visit);
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

/* --- Slots: few key exchanges at a time --- */

static void take_slot(struct visit *visit)
{
	struct engine *engine = visit->engine;

	engine->slots_taken++;
	visit->has_slot = true;
	visit->slot_since_us = worker_now_us(engine->worker);
	TAILQ_INSERT_TAIL(&engine->slot_holders, visit, slot_link);
}

static void hand_on_slots(struct engine *engine)
{
	const struct timeval look = {.tv_usec = SLOT_LOOK_US};
	struct visit *next;

	while (engine->slots_taken < (size_t)engine->config->ssh_handshakes &&
	       (next = TAILQ_FIRST(&engine->slot_queue))) {
		visit_leave_queue(next);
		take_slot(next);
		visit_wake(next);
	}
	if (!TAILQ_EMPTY(&engine->slot_queue) &&
	    !event_pending(engine->slot_timer, EV_TIMEOUT, NULL))
		(void)event_add(engine->slot_timer, &look);
}

static void drop_slot(struct visit *visit)
{
	struct engine *engine = visit->engine;

	assert(visit->has_slot && engine->slots_taken > 0);
	visit->has_slot = false;
	TAILQ_REMOVE(&engine->slot_holders, visit, slot_link);
	engine->slots_taken--;
}

void visit_release_slot(struct visit *visit)
{
	if (!visit->has_slot)
		return;
	drop_slot(visit);
	hand_on_slots(visit->engine);
}

/* While others wait: those who have held a slot for long go on without one. */
static void on_slot_timer(evutil_socket_t fd, short what, void *context)
{
	struct engine *engine = context;
	int64_t before_us = worker_now_us(engine->worker) - SLOT_HELD_US;
	struct visit *oldest;

	(void)fd;
	(void)what;
	while ((oldest = TAILQ_FIRST(&engine->slot_holders)) && oldest->slot_since_us <= before_us)
		drop_slot(oldest);
	hand_on_slots(engine);
}

void engine_init_queues(struct engine *engine)
{
	engine->fd_limit = fd_limit();
	TAILQ_INIT(&engine->starved);
	engine->starved_timer = evtimer_new(worker_base(engine->worker), on_starved_timer, engine);
	TAILQ_INIT(&engine->slot_queue);
	TAILQ_INIT(&engine->slot_holders);
	engine->slot_timer = evtimer_new(worker_base(engine->worker), on_slot_timer, engine);
	if (!engine->slot_timer || !engine->starved_timer)
		abort();
}

void engine_done_queues(struct engine *engine)
{
	assert(TAILQ_EMPTY(&engine->starved));
	event_free(engine->starved_timer);
	assert(TAILQ_EMPTY(&engine->slot_queue) && TAILQ_EMPTY(&engine->slot_holders));
	event_free(engine->slot_timer);
}

enum progress visit_step_slot(struct visit *visit)
{
	if (visit->queue)
		return PROGRESS_WAIT;
	if (!visit->has_slot) {
		join_queue(visit, &visit->engine->slot_queue);
		hand_on_slots(visit->engine);
		return PROGRESS_WAIT;
	}
	return visit_go(visit, STEP_KEY_EXCHANGE);
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
