/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Each request takes a place in the table, whose number is the ICMP sequence number: a reply finds
 * its request at once, and two requests under way never look alike. What a reply says is believed
 * only if it also comes from the address that was asked and brings back the cookie, eight random
 * bytes of that request alone. A request that was answered or given up keeps its place for a while,
 * so that duplicates and late replies are known for what they are; then the oldest place is the
 * next to be used.
 *
 * A list for each state, of numbers instead of pointers, costs four bytes a request and a
 * nanosecond a change. It is what waits in the order of time, too, since one job waits equally long
 * for each of its replies: no request has a timer, only the first of a list is looked at.
 */
#include "daemon/ping-engine.h"

#include "common/util.h"
#include "daemon/worker.h"

#include <assert.h>
#include <errno.h>

/* --- Lists --- */

static struct engine *engine_of(const struct ping_request *request)
{
	return request->span->job->engine;
}

struct ping_request *ping_request_at(struct engine *engine, uint16_t number)
{
	return number == NO_REQUEST ? NULL : &engine->requests[number];
}

uint16_t ping_request_number(const struct ping_request *request)
{
	return (uint16_t)(request - engine_of(request)->requests);
}

static void append(struct engine *engine, struct request_list *list, struct ping_request *request)
{
	uint16_t number = (uint16_t)(request - engine->requests);
	struct ping_request *last = ping_request_at(engine, list->last);

	request->previous = list->last;
	request->next = NO_REQUEST;
	if (last)
		last->next = number;
	else
		list->first = number;
	list->last = number;
}

static void take_out(struct engine *engine, struct request_list *list,
		     const struct ping_request *request)
{
	struct ping_request *previous = ping_request_at(engine, request->previous);
	struct ping_request *next = ping_request_at(engine, request->next);

	if (previous)
		previous->next = request->next;
	else
		list->first = request->next;
	if (next)
		next->previous = request->previous;
	else
		list->last = request->previous;
}

/* --- States --- */

/* Where those of a state are; NULL: in the batch. */
static struct request_list *list_of(struct engine *engine, struct ping_job *job,
				    enum request_state state)
{
	switch (state) {
	case REQUEST_FREE:
		return &engine->free;
	case REQUEST_BATCHED:
		return NULL;
	case REQUEST_RECENT:
		return &job->recent;
	case REQUEST_AWAITED:
		return &job->awaited;
	case REQUEST_PAUSED:
		return &job->paused;
	case REQUEST_AGAIN:
		return &job->again;
	case REQUEST_ANSWERED:
	case REQUEST_GIVEN_UP:
		return &engine->closed;
	}
	abort(); /* a state that does not exist */
}

static bool is_in_window(enum request_state state)
{
	return state == REQUEST_BATCHED || state == REQUEST_RECENT;
}

bool ping_request_is_open(const struct ping_request *request)
{
	return is_in_window(request->state) || request->state == REQUEST_AWAITED;
}

/* It came into the window, or left it. */
static void count_in_window(struct ping_request *request, bool is_in)
{
	struct engine *engine = engine_of(request);
	struct ping_socket *socket = &engine->sockets[request->socket];
	size_t charge = ping_socket_charge(request->span->options->size);

	if (is_in) {
		engine->recent++;
		socket->expected += charge;
	} else {
		engine->recent--;
		socket->expected -= charge;
	}
}

/* When one of the lists that are watched is to be looked at for this one. */
static int64_t due_us(const struct ping_request *request)
{
	const struct ping_options *options = request->span->options;
	int64_t timeout_us = options->reply_timeout_us;

	if (request->state == REQUEST_PAUSED)
		timeout_us = options->interval_us;
	else if (request->state == REQUEST_RECENT && timeout_us > PING_RECENT_US)
		timeout_us = PING_RECENT_US;
	return request->sent_ns / 1000 + timeout_us;
}

static void look_in_time(struct ping_job *job, int64_t at_us)
{
	if (job->look.due_us == 0 || at_us < job->look.due_us)
		wheel_set(&job->engine->wheel, &job->look, at_us > 0 ? at_us : 1);
}

void ping_request_set_state(struct ping_request *request, enum request_state state)
{
	struct ping_job *job = request->span->job;
	struct engine *engine = job->engine;
	struct request_list *list = list_of(engine, job, request->state);
	bool was_in_window = is_in_window(request->state);
	bool was_open = ping_request_is_open(request);

	if (list)
		take_out(engine, list, request);
	request->state = (uint8_t)state;
	list = list_of(engine, job, state);
	if (list)
		append(engine, list, request);
	if (was_in_window != is_in_window(state))
		count_in_window(request, !was_in_window);
	if (!request->is_flat && was_open && !ping_request_is_open(request))
		request->task->open--;
	if (!request->is_flat && !was_open && ping_request_is_open(request))
		request->task->open++;
	if (state == REQUEST_RECENT || state == REQUEST_AWAITED || state == REQUEST_PAUSED)
		look_in_time(job, due_us(request));
}

/* --- The table --- */

void ping_request_free(struct ping_request *request)
{
	struct engine *engine = engine_of(request);
	struct ping_request *newer = ping_request_at(engine, request->newer);
	struct ping_request *older = ping_request_at(engine, request->older);

	if (newer)
		newer->older = request->older;
	else if (!request->is_flat)
		request->task->newest = request->older;
	if (older)
		older->newer = request->newer;
	ping_request_set_state(request, REQUEST_FREE);
	request->span = NULL;
}

bool ping_request_make_room(struct engine *engine, int64_t now_us)
{
	struct ping_request *oldest = ping_request_at(engine, engine->closed.first);
	bool is_full = engine->used == PING_REQUESTS;

	if (engine->free.first != NO_REQUEST)
		return true;
	if (oldest && (is_full || oldest->sent_ns / 1000 + PING_REMEMBERED_US < now_us))
		ping_request_free(oldest);
	else if (!is_full)
		append(engine, &engine->free, &engine->requests[engine->used++]);
	return engine->free.first != NO_REQUEST;
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

/* The next place. */
static struct ping_request *place_for(struct ping_span *span, enum ping_socket_type socket)
{
	struct engine *engine = span->job->engine;
	struct ping_request *request = ping_request_at(engine, engine->free.first);

	draw_cookie(engine, request->cookie);
	request->span = span;
	request->sent_ns = 0;
	request->newer = request->older = NO_REQUEST;
	request->socket = (uint8_t)socket;
	request->sendings = 1;
	return request;
}

struct ping_request *ping_request_new(struct ping_task *task)
{
	struct ping_request *before = ping_request_at(task->engine, task->newest);
	struct ping_request *request = place_for(task->span, task->socket->type);

	request->is_flat = false;
	request->task = task;
	request->older = task->newest;
	task->newest = ping_request_number(request);
	if (before)
		before->newer = task->newest;
	ping_request_set_state(request, REQUEST_BATCHED);
	return request;
}

struct ping_request *ping_request_new_flat(struct ping_span *span, uint32_t index,
					   enum ping_socket_type socket,
					   const union ping_address *address)
{
	struct ping_request *request = place_for(span, socket);

	request->is_flat = true;
	request->flat_address = (struct in6_addr){0};
	if (address->any.sa_family == AF_INET)
		memcpy(&request->flat_address, &address->v4.sin_addr, sizeof(struct in_addr));
	else
		request->flat_address = address->v6.sin6_addr;
	request->flat_index = index;
	span->flat++;
	ping_request_set_state(request, REQUEST_BATCHED);
	return request;
}

void ping_request_again(struct ping_request *request)
{
	request->sendings++;
	request->cookie[0]++;
	ping_request_set_state(request, REQUEST_BATCHED);
}

void ping_request_address(const struct ping_request *request, union ping_address *ret_address)
{
	if (!request->is_flat) {
		*ret_address = request->task->address;
		return;
	}
	*ret_address = (union ping_address){
		.any.sa_family = (sa_family_t)engine_of(request)->sockets[request->socket].family,
	};
	if (ret_address->any.sa_family == AF_INET)
		memcpy(&ret_address->v4.sin_addr, &request->flat_address, sizeof(struct in_addr));
	else
		ret_address->v6.sin6_addr = request->flat_address;
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

static bool is_its_address(const struct ping_request *request, const union ping_address *from)
{
	union ping_address address;

	ping_request_address(request, &address);
	return is_same_address(&address, from);
}

/* The request that has this number, if it was sent from this socket. */
static struct ping_request *find_request(struct ping_socket *socket, uint16_t sequence)
{
	struct ping_request *request = ping_request_at(socket->engine, sequence);

	if (!request || sequence >= socket->engine->used || request->state == REQUEST_FREE ||
	    request->state == REQUEST_BATCHED || request->socket != socket->type)
		return NULL;
	return request;
}

/*
 * Does the echo bring the request's cookie back? At least so much of it must be there.
 * *ret_is_earlier: as it was before it was sent again.
 */
static bool has_cookie(const struct ping_request *request, const struct echo *echo,
		       size_t cookie_min, bool *ret_is_earlier)
{
	uint8_t behind = (uint8_t)(request->cookie[0] - echo->cookie[0]);
	size_t sent_size = (size_t)request->span->options->size;
	size_t size = sent_size < echo->cookie_size ? sent_size : echo->cookie_size;

	*ret_is_earlier = size > 0 && behind > 0;
	return (size >= cookie_min || size >= sent_size) &&
	       (size == 0 || (behind < request->sendings &&
			      memcmp(request->cookie + 1, echo->cookie + 1, size - 1) == 0));
}

/* The window counted it when it went into the batch. */
void request_sent(struct ping_request *request, int64_t sent_ns)
{
	request->sent_ns = sent_ns;
	ping_request_set_state(request, REQUEST_RECENT);
	if (request->is_flat)
		return;
	request->task->sent++;
	ping_task_made_request(request->task, sent_ns / 1000);
}

/* "No room just now" is neither a loss nor an answer. */
static bool is_no_room(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

void request_unsent(struct ping_request *request, const struct ping_trouble *trouble)
{
	struct ping_task *task = ping_request_task(request);

	ping_request_free(request);
	if (is_no_room(trouble->error) && ping_task_backs_off(task))
		return;
	ping_task_note(task)->trouble = *trouble;
	ping_watch_unsent(task);
	ping_task_made_request(task, worker_now_us(task->engine->worker));
	/* This machine itself says that it cannot: nobody needs to hear that four times. */
	if (task->options->is_until_reply || ping_task_is_done(task))
		ping_task_finish(task);
}

/*
 * Never negative: the send stamp of a packet within a batch is an estimate, which is wrong where
 * the batch was held up. A kernel's stamp from outside the time between sending the batch and
 * reading means that the wall clock was set in between.
 */
static int64_t rtt_us(const struct ping_request *request, const struct ping_arrival *arrival)
{
	int64_t began_ns = engine_of(request)->sockets[request->socket].began_sending_ns;
	int64_t earliest_ns = request->sent_ns - INT64_C(1000000);
	int64_t received_ns = arrival->received_ns;

	if (began_ns < earliest_ns)
		earliest_ns = began_ns;
	if (received_ns < earliest_ns || received_ns > arrival->read_ns)
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
		ping_task_note(task)->out_of_order++;
	else
		task->newest_answered_ns = request->sent_ns;
}

/* The target's own answer, whole. */
static void take_reply(struct ping_request *request, const struct ping_arrival *arrival,
		       bool is_earlier)
{
	int64_t us = rtt_us(request, arrival);
	bool is_open = ping_request_is_open(request);
	bool is_in_time = us <= request->span->options->reply_timeout_us;
	struct ping_task *task;

	if (request->is_flat && is_open && is_in_time && !is_earlier) {
		ping_flat_end(request, us, arrival->ttl);
		return;
	}
	task = ping_request_task(request);
	if (is_earlier) {
		ping_task_note(task)->late++;
	} else if (request->state == REQUEST_ANSWERED) {
		ping_task_note(task)->duplicates++;
	} else if (!is_open) {
		ping_task_note(task)->late++;
		ping_request_set_state(request, REQUEST_ANSWERED);
	} else if (!is_in_time) {
		ping_task_note(task)->late++; /* its time is about to be out */
		ping_watch_lost(task);
		ping_request_set_state(request, REQUEST_ANSWERED);
	} else {
		ping_request_set_state(request, REQUEST_ANSWERED);
		count_reply(task, request, us, arrival->ttl);
	}
	if ((task->options->is_until_reply && task->good > 0) || ping_task_is_done(task))
		ping_task_finish(task);
}

void request_replied(struct ping_socket *socket, const struct echo *echo,
		     const struct ping_arrival *arrival)
{
	struct ping_request *request = find_request(socket, echo->sequence);
	bool is_target, is_whole, is_earlier;

	if (!request)
		return;
	is_target = is_its_address(request, &arrival->from);
	is_whole = has_cookie(request, echo, ECHO_COOKIE_SIZE, &is_earlier);
	if (is_target && is_whole) {
		take_reply(request, arrival, is_earlier);
	} else if (is_whole) {
		struct ping_oddities *odd = ping_task_note(ping_request_task(request));

		odd->wrong_source++;
		odd->stranger = arrival->from;
	} else if (is_target) {
		ping_task_note(ping_request_task(request))->corrupted++;
	} /* else it is forged, or for somebody who had this number before */
}

void request_failed(struct ping_socket *socket, const struct echo *quote,
		    const union ping_address *to, const struct ping_trouble *trouble)
{
	struct ping_request *request = find_request(socket, quote->sequence);
	struct ping_task *task;
	bool is_earlier;

	if (!request || request->state == REQUEST_ANSWERED ||
	    !has_cookie(request, quote, 0, &is_earlier) || !is_its_address(request, to))
		return;
	task = ping_request_task(request);
	ping_task_note(task)->trouble = *trouble;
	/* Another is on its way already, or may be: without a cookie nobody can tell. */
	if (is_earlier || (quote->cookie_size == 0 && request->sendings > 1))
		return;
	if (ping_request_is_open(request))
		ping_watch_lost(task);
	ping_request_free(request); /* also one that was given up: it tells why */
	if (ping_task_is_done(task))
		ping_task_finish(task);
}

/* --- Time --- */

static void give_up(struct ping_request *request)
{
	const struct ping_options *options = request->span->options;

	if (!request->is_flat) {
		struct ping_task *task = request->task;

		ping_request_set_state(request, REQUEST_GIVEN_UP);
		ping_watch_lost(task);
		if (ping_task_is_done(task))
			ping_task_finish(task);
	} else if (request->sendings == options->requests) {
		ping_flat_end(request, -1, -1);
	} else {
		ping_request_set_state(request, REQUEST_PAUSED);
	}
}

static struct ping_request *first_due(struct engine *engine, const struct request_list *list,
				      int64_t now_us)
{
	struct ping_request *request = ping_request_at(engine, list->first);

	return request && due_us(request) <= now_us ? request : NULL;
}

/* First it leaves the window, then its time is out, then it is sent again. */
void ping_job_on_look(struct ping_job *job)
{
	struct engine *engine = job->engine;
	struct request_list *const lists[] = {&job->recent, &job->awaited, &job->paused};
	int64_t now_us = engine->turn_us; /* what came by then was read */
	struct ping_request *request;

	job->spans++; /* it stays while its last span ends */
	while ((request = first_due(engine, &job->recent, now_us)))
		ping_request_set_state(request, REQUEST_AWAITED);
	while ((request = first_due(engine, &job->awaited, now_us)))
		give_up(request);
	while ((request = first_due(engine, &job->paused, now_us)))
		ping_request_set_state(request, REQUEST_AGAIN);
	wheel_clear(&engine->wheel, &job->look);
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		request = ping_request_at(engine, lists[i]->first);
		if (request)
			look_in_time(job, due_us(request));
	}
	ping_job_drop_span(job);
}
