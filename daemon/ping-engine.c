/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All ping tasks of jobd on one thread. Whose turn it is: jobs with something to send stand in a
 * ring, so that a small job is not behind a large one. What holds a request back: the pace of all
 * jobs, the pace of its job, and the window, so that replies which may come at any moment fit into
 * the receive buffer. A request older than PING_RECENT_US no longer counts there: an answer so late
 * is rare, and silent hosts would otherwise keep the window shut.
 *
 * One timer wakes the engine when something is due. While few requests are recent, a reply wakes it
 * as well. While many are, a wake-up a reply would cost ten times the reply: then the engine looks
 * every TICK_US and is not woken in between, which no round-trip time suffers from, since the
 * kernel stamps. It is the same after a turn that sent many, even where all were answered at once,
 * as neighbours do: the next such turn may follow, and whoever waits for a socket is told of each
 * packet.
 */
#include "daemon/ping-engine.h"

#include "common/util.h"
#include "daemon/config.h"
#include "daemon/worker.h"

#include <assert.h>

enum {
	TICK_US = 5000,
	BURST_US = 2 * TICK_US, /* a pace makes up for so much lost time */
	RECENT_FEW = 32,        /* so many replies may wake the engine one by one */
	ROUNDS_MAX = 16,        /* batches of one turn, before other events have theirs */
	UNREAD_MAX = 64,        /* turns that leave replies unread: more than were ever queued */
};

#define CONTAINER(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* --- Pace --- */

static void pace_set(struct ping_pace *pace, int64_t rate)
{
	pace->step_ns = rate > 0 ? INT64_C(1000000000) / rate : 0;
}

static bool pace_allows(const struct ping_pace *pace, int64_t now_us)
{
	return pace->step_ns == 0 || pace->due_ns <= now_us * 1000;
}

static void pace_take(struct ping_pace *pace, int64_t now_us)
{
	int64_t earliest = (now_us - BURST_US) * 1000;

	pace->due_ns = (pace->due_ns > earliest ? pace->due_ns : earliest) + pace->step_ns;
}

/* When to look again: several requests at a time rather than a wake-up for each. */
static int64_t pace_next_us(const struct ping_pace *pace, int64_t now_us)
{
	int64_t due_us = pace->due_ns / 1000 + 1;

	return due_us > now_us + TICK_US ? due_us : now_us + TICK_US;
}

/* --- Jobs --- */

struct ping_job *ping_job_of(struct engine *engine, const struct task *task)
{
	static const struct request_list none = {NO_REQUEST, NO_REQUEST};
	const struct ping_options *options = task->options->kind_options;
	struct ping_job *job = NULL;

	HASH_FIND(hh, engine->jobs, &task->key.job, sizeof(job->id), job);
	if (!job) {
		job = xcalloc(1, sizeof(*job));
		job->engine = engine;
		job->id = task->key.job;
		job->timer.type = TIMER_JOB;
		job->look.type = TIMER_LOOK;
		TAILQ_INIT(&job->ready);
		TAILQ_INIT(&job->line);
		job->again = job->recent = job->awaited = job->paused = none;
		HASH_ADD(hh, engine->jobs, id, sizeof(job->id), job);
	}
	/* Of its newest span: the rate may have been adjusted. */
	pace_set(&job->pace, options->rate);
	job->spans++;
	return job;
}

void ping_job_adjusted(struct engine *engine, uint64_t id, const struct job_options *options)
{
	const struct ping_options *ping = options->kind_options;
	int64_t now_us = worker_now_us(engine->worker);
	struct ping_job *job = NULL;

	HASH_FIND(hh, engine->jobs, &id, sizeof(id), job);
	if (!job)
		return;
	pace_set(&job->pace, ping->rate);
	/* A turn that the old pace had put far off comes as the new one says. */
	if (job->pace.due_ns > now_us * 1000 + job->pace.step_ns)
		job->pace.due_ns = now_us * 1000 + job->pace.step_ns;
	if (job->timer.due_us > 0) {
		wheel_clear(&engine->wheel, &job->timer);
		wheel_set(&engine->wheel, &job->timer, job->pace.due_ns / 1000 + 1);
	}
}

static bool may_send(const struct ping_job *job)
{
	return !TAILQ_EMPTY(&job->ready) || job->again.first != NO_REQUEST ||
	       !TAILQ_EMPTY(&job->line);
}

static void job_leave_ring(struct ping_job *job)
{
	if (job->is_in_ring)
		TAILQ_REMOVE(&job->engine->ring, job, ring_link);
	job->is_in_ring = false;
}

/* In the ring, at its end where it is new there, if it has something to send and its pace allows.
 */
void ping_job_tend(struct ping_job *job)
{
	if (!may_send(job) || job->timer.due_us > 0) {
		job_leave_ring(job);
	} else if (!job->is_in_ring) {
		TAILQ_INSERT_TAIL(&job->engine->ring, job, ring_link);
		job->is_in_ring = true;
	}
}

static void job_free(struct ping_job *job)
{
	struct engine *engine = job->engine;

	job_leave_ring(job);
	wheel_clear(&engine->wheel, &job->timer);
	wheel_clear(&engine->wheel, &job->look);
	HASH_DEL(engine->jobs, job);
	free(job);
}

void ping_job_drop_span(struct ping_job *job)
{
	struct engine *engine = job->engine;

	ping_job_tend(job);
	if (--job->spans > 0)
		return;
	/* It may come back in a moment with its next span, whose turn its pace has not forgotten.
	 */
	if (!pace_allows(&job->pace, worker_now_us(engine->worker)))
		wheel_set(&engine->wheel, &job->timer, job->pace.due_ns / 1000 + 1);
	else
		job_free(job);
}

static void job_on_timer(struct ping_job *job)
{
	if (job->spans > 0)
		ping_job_tend(job);
	else
		job_free(job);
}

/* --- Waiting for a turn --- */

void ping_engine_kick(struct engine *engine)
{
	if (!engine->is_kicked)
		event_active(engine->timer, EV_TIMEOUT, 0);
	engine->is_kicked = true;
}

void ping_task_make_ready(struct ping_task *task)
{
	assert(!task->is_ready);
	task->is_ready = true;
	TAILQ_INSERT_TAIL(&task->span->job->ready, task, ready_link);
	ping_job_tend(task->span->job);
}

void ping_task_leave_ready(struct ping_task *task)
{
	if (!task->is_ready)
		return;
	TAILQ_REMOVE(&task->span->job->ready, task, ready_link);
	task->is_ready = false;
	ping_job_tend(task->span->job);
}

/* --- Time --- */

static void on_wheel(struct wheel_timer *timer, void *context)
{
	(void)context;
	switch ((enum ping_timer)timer->type) {
	case TIMER_PAUSE:
		ping_task_make_ready(CONTAINER(timer, struct ping_task, pause));
		break;
	case TIMER_DEADLINE:
		ping_task_on_deadline(CONTAINER(timer, struct ping_task, deadline));
		break;
	case TIMER_PERIOD:
		ping_watch_on_period(CONTAINER(timer, struct ping_task, period));
		break;
	case TIMER_JOB:
		job_on_timer(CONTAINER(timer, struct ping_job, timer));
		break;
	case TIMER_LOOK:
		ping_job_on_look(CONTAINER(timer, struct ping_job, look));
		break;
	}
}

/* --- A turn --- */

/* Where the next request of a job goes, or NULL: it has none after all. */
static struct ping_socket *next_socket(struct ping_job *job)
{
	struct ping_socket *socket = NULL;

	/* Looking at a span may make a task ready, or end it. */
	while (!socket && may_send(job)) {
		if (!TAILQ_EMPTY(&job->ready))
			socket = TAILQ_FIRST(&job->ready)->socket;
		else if (job->again.first != NO_REQUEST)
			socket =
				&job->engine->sockets[ping_request_at(job->engine, job->again.first)
							      ->socket];
		else
			socket = ping_span_peek(TAILQ_FIRST(&job->line));
	}
	return socket;
}

/* The request that next_socket is about. */
static struct ping_request *take_request(struct ping_job *job, int64_t now_us)
{
	struct ping_task *task = TAILQ_FIRST(&job->ready);
	struct ping_request *request;

	if (task) {
		ping_task_leave_ready(task);
		ping_task_start_clock(task, now_us);
		return ping_request_new(task);
	}
	request = ping_request_at(job->engine, job->again.first);
	if (!request)
		return ping_span_take(TAILQ_FIRST(&job->line));
	ping_request_again(request);
	return request;
}

/* Is there a place in the table for it? One that is sent again has its own. */
static bool has_room(const struct ping_job *job, int64_t now_us)
{
	return (TAILQ_EMPTY(&job->ready) && job->again.first != NO_REQUEST) ||
	       ping_request_make_room(job->engine, now_us);
}

/* The next request that may go just now, or NULL. */
static struct ping_request *next_request(struct engine *engine, int64_t now_us)
{
	struct ping_request *request = NULL;
	struct ping_job *job, *held_up = NULL;

	while (!request && (job = TAILQ_FIRST(&engine->ring)) && job != held_up) {
		struct ping_socket *socket;
		bool is_held_up;

		if (!pace_allows(&engine->pace, now_us))
			return NULL;
		job->spans++; /* it stays while its last span ends */
		job_leave_ring(job);
		is_held_up = !has_room(job, now_us);
		socket = is_held_up ? NULL : next_socket(job);
		if (socket)
			is_held_up = now_us < socket->paused_until_us ||
				     socket->expected > socket->buffer;
		if (is_held_up) {
			/* Others may have places or another socket: once round the ring. */
			held_up = held_up ? held_up : job;
		} else if (!socket) {
			/* Nothing is left of what it had */
		} else if (!pace_allows(&job->pace, now_us)) {
			wheel_set(&engine->wheel, &job->timer, pace_next_us(&job->pace, now_us));
		} else {
			pace_take(&engine->pace, now_us);
			pace_take(&job->pace, now_us);
			request = take_request(job, now_us);
		}
		ping_job_drop_span(job); /* back into the ring, behind the others */
	}
	return request;
}

/* Until a batch is full or nothing may be sent; false where there was nothing at all. */
static bool fill_batches(struct engine *engine, int64_t now_us)
{
	unsigned before = engine->added;
	struct ping_request *request;

	while ((request = next_request(engine, now_us))) {
		struct ping_socket *socket = &engine->sockets[request->socket];

		ping_socket_add(socket, request);
		engine->added++;
		if (ping_socket_is_full(socket))
			break;
	}
	return engine->added > before;
}

/* Reading after every batch keeps the receive buffer nearly empty. False: there is more. */
static bool send_ready(struct engine *engine, int64_t now_us)
{
	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		if (!fill_batches(engine, now_us))
			return true;
		for (unsigned i = 0; i < PING_SOCKET_COUNT; i++) {
			struct ping_socket *socket = &engine->sockets[i];

			if (!ping_socket_is_empty(socket)) {
				ping_socket_flush(socket);
				(void)ping_socket_read(socket);
			}
		}
	}
	return false;
}

static bool read_sockets(struct engine *engine)
{
	bool is_all = true;

	for (unsigned i = 0; i < PING_SOCKET_COUNT; i++)
		if (engine->sockets[i].fd >= 0 && !ping_socket_read(&engine->sockets[i]))
			is_all = false;
	return is_all;
}

/* One that nobody uses would only collect what is meant for others. */
static void tend_sockets(struct engine *engine, bool is_busy)
{
	for (unsigned i = 0; i < PING_SOCKET_COUNT; i++) {
		struct ping_socket *socket = &engine->sockets[i];

		if (socket->tasks == 0)
			ping_socket_close(socket);
		else
			ping_socket_watch(socket, !is_busy);
	}
}

static void arm(struct engine *engine, int64_t now_us)
{
	bool is_busy = engine->recent > RECENT_FEW || engine->added > RECENT_FEW;
	int64_t due_us = wheel_next_us(&engine->wheel);
	int64_t tick_us = INT64_MAX;
	struct timeval wait;

	tend_sockets(engine, is_busy);
	if (!TAILQ_EMPTY(&engine->ring)) /* held back by the pace or the window */
		tick_us = pace_next_us(&engine->pace, now_us);
	if (is_busy)
		tick_us = now_us + TICK_US;
	if (tick_us < due_us)
		due_us = tick_us;
	if (due_us == INT64_MAX) {
		(void)event_del(engine->timer);
		return;
	}
	due_us = due_us > now_us ? due_us - now_us : 0;
	wait = (struct timeval){due_us / US_PER_SEC, due_us % US_PER_SEC};
	if (event_add(engine->timer, &wait) < 0)
		abort();
}

static void take_turn(struct engine *engine)
{
	int64_t now_us = worker_now_us(engine->worker);
	bool is_all_read, is_all_sent;

	engine->added = 0;
	engine->turn_us = now_us;
	engine->is_kicked = true; /* what ends during the turn needs no other one */
	is_all_read = read_sockets(engine);
	/* Reading goes first: a reply that is here has not timed out. A flood stops no clock. */
	engine->unread_turns = is_all_read ? 0 : engine->unread_turns + 1;
	if (is_all_read || engine->unread_turns > UNREAD_MAX)
		wheel_advance(&engine->wheel, now_us, on_wheel, engine);
	is_all_sent = send_ready(engine, now_us);
	engine->is_kicked = false;
	arm(engine, worker_now_us(engine->worker));
	if (!is_all_read || !is_all_sent)
		ping_engine_kick(engine);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	take_turn(context);
}

void ping_engine_readable(struct engine *engine)
{
	take_turn(engine);
}

/* --- The engine --- */

void ping_configured(struct engine *engine, const struct config *config)
{
	pace_set(&engine->pace, config->ping_rate);
}

struct engine *ping_engine_new(struct worker *worker, const struct config *config)
{
	struct engine *engine = xcalloc(1, sizeof(*engine));
	struct event_base *base = worker_base(worker);

	engine->worker = worker;
	engine->timer = event_new(base, -1, 0, on_timer, engine);
	if (!engine->timer)
		abort();
	wheel_init(&engine->wheel, worker_now_us(worker));
	engine->requests = xcalloc(PING_REQUESTS, sizeof(*engine->requests));
	engine->free = engine->closed = (struct request_list){NO_REQUEST, NO_REQUEST};
	TAILQ_INIT(&engine->ring);
	ping_configured(engine, config);
	for (unsigned i = 0; i < PING_SOCKET_COUNT; i++)
		ping_socket_init(&engine->sockets[i], i, engine, base);
	return engine;
}

void ping_engine_free(struct engine *engine)
{
	struct ping_job *job, *next;

	if (!engine)
		return;
	assert(engine->recent == 0);
	HASH_ITER (hh, engine->jobs, job, next) {
		assert(job->spans == 0);
		job_free(job);
	}
	for (unsigned i = 0; i < PING_SOCKET_COUNT; i++)
		ping_socket_close(&engine->sockets[i]);
	free(engine->requests);
	event_free(engine->timer);
	free(engine);
}
