/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What visits wait for, each in a queue of its own. Connections to one address that are not
 * authenticated yet are few, since servers drop more of them (sshd's MaxStartups). Connections that
 * are being made are few, since a server of many addresses, or what stands in front of many, has to
 * begin a process for each. Key exchanges are few, since each costs CPU here and, worse, there: too
 * many at once and all of them run into their time-outs.
 *
 * A visit takes a place among the key exchanges only when the server's version line has come, so a
 * silent host holds none, and what it holds for long it hands on if others wait, so a slow router
 * does not hold it either. While a visit waits its connect clock stands.
 */
#include "daemon/kind-ssh.h"

#include "common/hash.h"
#include "common/util.h"
#include "daemon/config.h"

#include <assert.h>
#include <errno.h>
#include <sys/resource.h>

enum {
	HELD_US = 1000000,
	LOOK_US = 200000,
	/* libssh keeps only 16 bits of a descriptor */
	FD_MAX = UINT16_MAX,
	FD_RESERVED = 64,
};

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

/* For those who wait: the timer, if it is not set. */
static void look_later(struct event *timer, const struct visits *queue)
{
	const struct timeval look = {.tv_usec = LOOK_US};

	if (!TAILQ_EMPTY(queue) && !event_pending(timer, EV_TIMEOUT, NULL))
		(void)event_add(timer, &look);
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
	struct engine *engine = context;

	(void)fd;
	(void)what;
	engine_feed_starved(engine);
	look_later(engine->starved_timer, &engine->starved);
}

enum progress visit_starve(struct visit *visit)
{
	struct engine *engine = visit->engine;

	join_queue(visit, &engine->starved);
	look_later(engine->starved_timer, &engine->starved);
	return PROGRESS_WAIT;
}

/* --- Gates --- */

static bool is_full(const struct gate *gate)
{
	return gate->taken >= (size_t)gate->engine->config->ssh_handshakes;
}

static void drop(struct visit *visit)
{
	struct gate *gate = visit->gate;

	assert(gate->taken > 0);
	visit->gate = NULL;
	TAILQ_REMOVE(&gate->holders, visit, gate_link);
	gate->taken--;
}

static void take(struct visit *visit, struct gate *gate)
{
	gate->taken++;
	visit->gate = gate;
	visit->gate_since_us = worker_now_us(gate->engine->worker);
	TAILQ_INSERT_TAIL(&gate->holders, visit, gate_link);
}

static void let_in(struct gate *gate)
{
	struct visit *next;

	while (!is_full(gate) && (next = TAILQ_FIRST(&gate->queue))) {
		visit_leave_queue(next);
		visit_leave_gate(next);
		take(next, gate);
		visit_wake(next);
	}
	look_later(gate->timer, &gate->queue);
}

void visit_leave_gate(struct visit *visit)
{
	struct gate *gate = visit->gate;

	if (!gate)
		return;
	drop(visit);
	let_in(gate);
}

bool visit_enter_gate(struct visit *visit, enum gate_name name)
{
	struct gate *gate = &visit->engine->gates[name];

	if (visit->queue)
		return false;
	if (visit->gate == gate)
		return true;
	if (!is_full(gate) && TAILQ_EMPTY(&gate->queue)) {
		visit_leave_gate(visit);
		take(visit, gate);
		return true;
	}
	join_queue(visit, &gate->queue);
	let_in(gate);
	return false;
}

/* While others wait: those who have held a place for long go on without one. */
static void on_gate_timer(evutil_socket_t fd, short what, void *context)
{
	struct gate *gate = context;
	int64_t before_us = worker_now_us(gate->engine->worker) - HELD_US;
	struct visit *oldest;

	(void)fd;
	(void)what;
	while ((oldest = TAILQ_FIRST(&gate->holders)) && oldest->gate_since_us <= before_us)
		drop(oldest);
	let_in(gate);
}

void engine_init_queues(struct engine *engine)
{
	struct event_base *base = worker_base(engine->worker);

	engine->fd_limit = fd_limit();
	TAILQ_INIT(&engine->starved);
	engine->starved_timer = evtimer_new(base, on_starved_timer, engine);
	if (!engine->starved_timer)
		abort();
	for (size_t i = 0; i < GATE_COUNT; i++) {
		struct gate *gate = &engine->gates[i];

		gate->engine = engine;
		TAILQ_INIT(&gate->queue);
		TAILQ_INIT(&gate->holders);
		gate->timer = evtimer_new(base, on_gate_timer, gate);
		if (!gate->timer)
			abort();
	}
}

void engine_done_queues(struct engine *engine)
{
	assert(TAILQ_EMPTY(&engine->starved) && !engine->destinations);
	event_free(engine->starved_timer);
	for (size_t i = 0; i < GATE_COUNT; i++) {
		assert(TAILQ_EMPTY(&engine->gates[i].queue) && engine->gates[i].taken == 0);
		event_free(engine->gates[i].timer);
	}
}
