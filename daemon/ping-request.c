/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each request takes a place in the table, whose number is the ICMP sequence number: a reply finds
 * its request at once, and two requests under way never look alike. What a reply says is believed
 * only if it also comes from the address that was asked and brings back the cookie, eight random
 * bytes of that request alone. A request that was answered or given up keeps its place for a while,
 * so that duplicates and late replies are known for what they are; then the oldest place is the
 * next to be used.
 */
#include "daemon/ping-engine.h"

#include "common/util.h"
#include "daemon/worker.h"

#include <errno.h>

/* --- The table --- */

static struct ping_request *request_of(struct engine *engine, uint16_t sequence)
{
	unsigned chunk = sequence / PING_CHUNK;

	return chunk < engine->chunk_count ? &engine->chunks[chunk][sequence % PING_CHUNK] : NULL;
}

static void add_chunk(struct engine *engine)
{
	struct ping_request *chunk = xcalloc(PING_CHUNK, sizeof(*chunk));

	for (unsigned i = 0; i < PING_CHUNK; i++) {
		chunk[i].sequence = (uint16_t)(engine->chunk_count * PING_CHUNK + i);
		chunk[i].timer.type = TIMER_REQUEST;
		TAILQ_INSERT_TAIL(&engine->free_requests, &chunk[i], link);
	}
	engine->chunks[engine->chunk_count++] = chunk;
}

/* False where every sequence number is taken by a request under way. */
bool ping_request_is_free(struct engine *engine)
{
	struct ping_request *oldest = TAILQ_FIRST(&engine->closed_requests);
	bool is_full = engine->chunk_count == PING_CHUNKS_MAX;

	if (!TAILQ_EMPTY(&engine->free_requests))
		return true;
	if (oldest && (is_full ||
		       oldest->sent_ns / 1000 + PING_REMEMBERED_US < worker_now_us(engine->worker)))
		ping_request_free(oldest);
	else if (!is_full)
		add_chunk(engine);
	return !TAILQ_EMPTY(&engine->free_requests);
}

static void draw_cookie(struct engine *engine, unsigned char ret_cookie[static ECHO_COOKIE_SIZE])
{
	if (engine->cookies_left == 0) {
		if (getentropy(engine->cookies, sizeof(engine->cookies)) < 0)
			abort();
		engine->cookies_left = PING_COOKIES;
	}
	memcpy(ret_cookie, engine->cookies[--engine->cookies_left], ECHO_COOKIE_SIZE);
}

struct ping_request *ping_request_new(struct ping_task *task)
{
	struct engine *engine = task->engine;
	struct ping_request *request = TAILQ_FIRST(&engine->free_requests);

	TAILQ_REMOVE(&engine->free_requests, request, link);
	draw_cookie(engine, request->cookie);
	request->task = task;
	request->state = REQUEST_BATCHED;
	request->is_recent = true;
	task->socket->expected += ping_socket_charge(task->options->size);
	LIST_INSERT_HEAD(&task->requests, request, task_link);
	task->open++;
	engine->recent++;
	return request;
}

/* It no longer counts in the window. */
static void request_age(struct ping_request *request)
{
	struct ping_task *task = request->task;

	if (!request->is_recent)
		return;
	request->is_recent = false;
	task->engine->recent--;
	task->socket->expected -= ping_socket_charge(task->options->size);
}

static void request_set_state(struct ping_request *request, enum request_state state)
{
	bool was_open = request->state == REQUEST_BATCHED || request->state == REQUEST_AWAITED;

	if (was_open && state != REQUEST_AWAITED)
		request->task->open--;
	request->state = (uint8_t)state;
}

static bool is_closed(const struct ping_request *request)
{
	return request->state == REQUEST_ANSWERED || request->state == REQUEST_GIVEN_UP;
}

/* Nothing more is expected of it. */
static void request_close(struct ping_request *request, enum request_state state)
{
	struct engine *engine = request->task->engine;

	request_age(request);
	wheel_clear(&engine->wheel, &request->timer);
	request_set_state(request, state);
	TAILQ_INSERT_TAIL(&engine->closed_requests, request, link);
}

void ping_request_free(struct ping_request *request)
{
	struct engine *engine = request->task->engine;

	if (is_closed(request))
		TAILQ_REMOVE(&engine->closed_requests, request, link);
	request_age(request);
	request_set_state(request, REQUEST_FREE);
	wheel_clear(&engine->wheel, &request->timer);
	LIST_REMOVE(request, task_link);
	request->task = NULL;
	TAILQ_INSERT_TAIL(&engine->free_requests, request, link);
}

/* --- What the sockets report --- */

static bool is_same_address(const union ping_address *a, const union ping_address *b)
{
	if (a->any.sa_family != b->any.sa_family)
		return false;
	if (a->any.sa_family == AF_INET)
		return a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
	/* The zone is there for link-local addresses only. */
	return IN6_ARE_ADDR_EQUAL(&a->v6.sin6_addr, &b->v6.sin6_addr) &&
	       (a->v6.sin6_scope_id == 0 || b->v6.sin6_scope_id == 0 ||
		a->v6.sin6_scope_id == b->v6.sin6_scope_id);
}

/* The request that has this number, if it was sent from this socket. */
static struct ping_request *find_request(struct ping_socket *socket, uint16_t sequence)
{
	struct ping_request *request = request_of(socket->engine, sequence);

	if (!request || request->state == REQUEST_FREE || request->state == REQUEST_BATCHED ||
	    request->task->socket != socket)
		return NULL;
	return request;
}

/* Does the echo bring the request's cookie back? At least so much of it must be there. */
static bool has_cookie(const struct ping_request *request, const struct echo *echo,
		       size_t cookie_min)
{
	size_t sent_size = (size_t)request->task->options->size;
	size_t size = sent_size < echo->cookie_size ? sent_size : echo->cookie_size;

	return (size >= cookie_min || size >= sent_size) &&
	       memcmp(request->cookie, echo->cookie, size) == 0;
}

/* The window counted it when it went into the batch. */
void request_sent(struct ping_request *request, int64_t sent_ns)
{
	struct ping_task *task = request->task;
	int64_t timeout_us = task->options->reply_timeout_us;
	int64_t sent_us = sent_ns / 1000;

	request_set_state(request, REQUEST_AWAITED);
	request->sent_ns = sent_ns;
	wheel_set(&task->engine->wheel, &request->timer,
		  sent_us + (timeout_us < PING_RECENT_US ? timeout_us : PING_RECENT_US));
	task->sent++;
	ping_task_made_request(task, sent_us);
}

/* "No room just now" is neither a loss nor an answer. */
static bool is_no_room(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

void request_unsent(struct ping_request *request, const struct ping_trouble *trouble)
{
	struct ping_task *task = request->task;

	ping_request_free(request);
	if (is_no_room(trouble->error) && ping_task_backs_off(task))
		return;
	task->trouble = *trouble;
	ping_watch_unsent(task);
	ping_task_made_request(task, worker_now_us(task->engine->worker));
	/* This machine itself says that it cannot: nobody needs to hear that four times. */
	if (task->options->is_until_reply || ping_task_is_done(task))
		ping_task_finish(task);
}

/*
 * Never negative: the send stamp of a packet within a batch is an estimate. A kernel's stamp from
 * outside the time between sending and reading means that the wall clock was set in between.
 */
static int64_t rtt_us(const struct ping_request *request, const struct ping_arrival *arrival)
{
	int64_t slack_ns = INT64_C(1000000);
	int64_t received_ns = arrival->received_ns;

	if (received_ns < request->sent_ns - slack_ns || received_ns > arrival->read_ns)
		received_ns = arrival->read_ns;
	return received_ns > request->sent_ns ? (received_ns - request->sent_ns + 500) / 1000 : 0;
}

static void count_reply(struct ping_task *task, const struct ping_request *request, int64_t us,
			int ttl)
{
	int64_t max_us = task->options->max_rtt_us;

	ping_stats_add(&task->rtt, us);
	ping_watch_replied(task, us);
	task->ttl = ttl;
	if (max_us == 0 || us <= max_us)
		task->good++;
	if (request->sent_ns < task->newest_answered_ns)
		task->out_of_order++;
	else
		task->newest_answered_ns = request->sent_ns;
}

/* The target's own answer, whole. */
static void take_reply(struct ping_request *request, const struct ping_arrival *arrival)
{
	struct ping_task *task = request->task;
	int64_t us = rtt_us(request, arrival);

	if (request->state == REQUEST_ANSWERED) {
		task->duplicates++;
	} else if (request->state == REQUEST_GIVEN_UP) {
		task->late++;
		request->state = REQUEST_ANSWERED;
	} else if (us > task->options->reply_timeout_us) {
		task->late++; /* its timer is about to say so */
		ping_watch_lost(task);
		request_close(request, REQUEST_ANSWERED);
	} else {
		request_close(request, REQUEST_ANSWERED);
		count_reply(task, request, us, arrival->ttl);
	}
	if ((task->options->is_until_reply && task->good > 0) || ping_task_is_done(task))
		ping_task_finish(task);
}

void request_replied(struct ping_socket *socket, const struct echo *echo,
		     const struct ping_arrival *arrival)
{
	struct ping_request *request = find_request(socket, echo->sequence);
	bool is_target, is_whole;

	if (!request)
		return;
	is_target = is_same_address(&request->task->address, &arrival->from);
	is_whole = has_cookie(request, echo, ECHO_COOKIE_SIZE);
	if (is_target && is_whole) {
		take_reply(request, arrival);
	} else if (is_whole) {
		request->task->wrong_source++;
		request->task->stranger = arrival->from;
	} else if (is_target) {
		request->task->corrupted++;
	} /* else it is forged, or for somebody who had this number before */
}

void request_failed(struct ping_socket *socket, const struct echo *quote,
		    const union ping_address *to, const struct ping_trouble *trouble)
{
	struct ping_request *request = find_request(socket, quote->sequence);
	struct ping_task *task;

	if (!request || request->state == REQUEST_ANSWERED || !has_cookie(request, quote, 0) ||
	    !is_same_address(&request->task->address, to))
		return;
	task = request->task;
	task->trouble = *trouble;
	if (request->state == REQUEST_AWAITED)
		ping_watch_lost(task);
	ping_request_free(request); /* also one that was given up: it tells why */
	if (ping_task_is_done(task))
		ping_task_finish(task);
}

/* --- Time --- */

/* First it leaves the window, then its time is out. */
void ping_request_on_timer(struct ping_request *request)
{
	struct ping_task *task = request->task;
	struct engine *engine = task->engine;
	int64_t end_us = request->sent_ns / 1000 + task->options->reply_timeout_us;

	request_age(request);
	if (worker_now_us(engine->worker) < end_us) {
		wheel_set(&engine->wheel, &request->timer, end_us);
		return;
	}
	request_close(request, REQUEST_GIVEN_UP);
	ping_watch_lost(task);
	if (ping_task_is_done(task))
		ping_task_finish(task);
}
