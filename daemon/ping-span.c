/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Spans: their targets are taken from the job's list when it is their turn to send, and a flat one
 * is nothing but its newest request.
 */
#include "daemon/ping-engine.h"

#include "common/util.h"
#include "daemon/ping-result.h"
#include "daemon/resolver.h"
#include "daemon/worker.h"

#include <assert.h>

/* --- What is plain, and what is flat --- */

/* Do the options want no more than the first reply, and one request at a time? */
static bool is_flat_enough(const struct job_options *options)
{
	const struct ping_options *ping = options->kind_options;

	return options->timeout_us == 0 && !ping->source && ping->max_rtt_us == 0 &&
	       ping->interval_us >= ping->reply_timeout_us && ping->size >= ECHO_COOKIE_SIZE &&
	       (ping->is_until_reply || ping->requests == 1);
}

/* Also where it is a wrong one: then nobody needs to be asked. */
static bool is_address(const struct ping_options *options, const char *target)
{
	char host[TARGET_TEXT_MAX];
	struct sockaddr_storage address;
	struct error error = {0};

	if (ping_host_of(options, target, host, &error) == 0)
		return address_parse(host, AF_UNSPEC, &address) != 0;
	error_done(&error);
	return true;
}

/* A watch writes, and several addresses take asking. */
bool ping_is_plain(const struct job_options *options, const char *target)
{
	const struct ping_options *ping = options->kind_options;

	return ping->period_us == 0 && !ping->is_on_change && !ping->is_all_addresses &&
	       is_address(ping, target);
}

/* --- The span itself --- */

static void enter_line(struct ping_span *span)
{
	TAILQ_INSERT_TAIL(&span->job->line, span, line_link);
	span->is_in_line = true;
}

static void leave_line(struct ping_span *span)
{
	if (span->is_in_line)
		TAILQ_REMOVE(&span->job->line, span, line_link);
	span->is_in_line = false;
}

static void span_free(struct ping_span *span)
{
	struct engine *engine = span->job->engine;

	leave_line(span);
	for (unsigned i = 0; i < PING_SOCKET_COUNT; i++)
		if (span->has_socket[i])
			engine->sockets[i].tasks--;
	ping_job_drop_span(span->job);
	free(span->stopped);
	free(span);
}

/* While it is held it stays, whoever ends. */
static void span_hold(struct ping_span *span)
{
	assert(!span->is_held);
	span->is_held = true;
}

/* False: it is gone. */
static bool span_let_go(struct ping_span *span)
{
	span->is_held = false;
	if (!span->is_over)
		return true;
	span_free(span);
	return false;
}

void ping_span_leave(struct ping_span *span, uint32_t index, struct outcome *outcome)
{
	struct engine *engine = span->job->engine;

	if (worker_target_ended(engine->worker, span->task, index, outcome)) {
		span->is_over = true;
		if (!span->is_held)
			span_free(span);
	}
	ping_engine_kick(engine);
}

void ping_task_start(struct engine *engine, struct task *task)
{
	struct ping_span *span = xcalloc(1, sizeof(*span));

	span->task = task;
	span->options = task->options->kind_options;
	span->job = ping_job_of(engine, task);
	LIST_INIT(&span->tasks);
	task->engine_task = span;
	if (task->count == 1 && !ping_is_plain(task->options, task->target)) {
		span->next = 1;
		ping_task_begin(ping_task_new(span, task->key.index), task->target);
		return;
	}
	enter_line(span);
	ping_job_tend(span->job);
	ping_engine_kick(engine);
}

/* --- Beginning with a target --- */

static bool was_stopped(const struct ping_span *span, uint32_t place)
{
	for (size_t i = 0; i < span->stopped_count; i++)
		if (span->stopped[i] == place)
			return true;
	return false;
}

/* Its socket stays open until the span has ended. False where it cannot be had. */
static bool hold_socket(struct ping_span *span, enum ping_socket_type type)
{
	struct ping_socket *socket = &span->job->engine->sockets[type];

	if (span->has_socket[type])
		return true;
	if (ping_socket_open(socket) < 0)
		return false;
	socket->tasks++;
	span->has_socket[type] = true;
	return true;
}

/* True: it is flat, and was noted. */
static bool note_flat(struct ping_span *span, const struct sockaddr_storage *address)
{
	memcpy(&span->peeked, address, sizeof(span->peeked));
	span->peeked_socket = ping_socket_type_for(span->options, address->ss_family);
	span->is_peeked = is_flat_enough(span->task->options) &&
			  !ping_address_refusal(&span->peeked) &&
			  (address->ss_family == AF_INET || span->peeked.v6.sin6_scope_id == 0) &&
			  hold_socket(span, span->peeked_socket);
	return span->is_peeked;
}

/* Notes it, or begins with it, or gives it back. */
static void look_at_next(struct ping_span *span)
{
	const struct task *task = span->task;
	uint32_t place = span->next++, index = task->key.index + place;
	char text[TARGET_TEXT_MAX], host[TARGET_TEXT_MAX];
	const char *target = task->target;
	struct sockaddr_storage address;
	struct error error = {0};
	int r;

	if (was_stopped(span, place))
		return;
	if (task->count > 1) {
		target_list_text(task->targets, index, text);
		target = text;
	}
	r = ping_host_of(span->options, target, host, &error);
	if (r == 0)
		r = address_parse(host, span->options->family, &address);
	error_done(&error);
	if (r == 0 && task->count > 1) {
		struct outcome outcome = {.state = TASK_QUEUED}; /* its name takes a while */

		ping_span_leave(span, index, &outcome);
	} else if (r <= 0 || !note_flat(span, &address)) {
		ping_task_begin(ping_task_new(span, index), target);
	}
}

struct ping_socket *ping_span_peek(struct ping_span *span)
{
	struct ping_job *job = span->job;

	span_hold(span);
	/* One that is not flat may send now: those behind it need not be begun yet. */
	while (!span->is_peeked && !span->is_over && span->next < span->task->count &&
	       TAILQ_EMPTY(&job->ready))
		look_at_next(span);
	if (!span->is_peeked && (span->is_over || span->next == span->task->count))
		leave_line(span);
	if (!span_let_go(span) || !span->is_peeked)
		return NULL;
	return &job->engine->sockets[span->peeked_socket];
}

struct ping_request *ping_span_take(struct ping_span *span)
{
	uint32_t index = span->task->key.index + span->next - 1;

	assert(span->is_peeked);
	span->is_peeked = false;
	if (span->next == span->task->count)
		leave_line(span);
	return ping_request_new_flat(span, index, span->peeked_socket, &span->peeked);
}

/* --- Flat targets --- */

/* What there is of one, for who writes results. */
static void portray(const struct ping_request *request, struct ping_task *ret_task)
{
	*ret_task = (struct ping_task){
		.engine = request->span->job->engine,
		.span = request->span,
		.options = request->span->options,
		.index = request->flat_index,
		.made = request->sendings,
		.sent = request->sendings,
		.ttl = -1,
	};
	ping_request_address(request, &ret_task->address);
}

static void flat_leave(struct ping_request *request, struct outcome *outcome)
{
	struct ping_span *span = request->span;
	uint32_t index = request->flat_index;

	span->flat--;
	ping_request_free(request);
	ping_span_leave(span, index, outcome);
}

void ping_flat_end(struct ping_request *request, int64_t rtt_us, int ttl)
{
	struct ping_task task;
	struct outcome outcome;

	portray(request, &task);
	if (rtt_us >= 0) {
		ping_stats_add(&task.rtt, rtt_us);
		task.good = 1;
		task.ttl = ttl;
	}
	ping_result(&task, &outcome);
	flat_leave(request, &outcome);
}

struct ping_task *ping_request_task(struct ping_request *request)
{
	struct ping_span *span = request->span;
	struct engine *engine = span->job->engine;
	struct ping_task *task;

	if (!request->is_flat)
		return request->task;
	task = ping_task_new(span, request->flat_index);
	ping_request_address(request, &task->address);
	task->socket = &engine->sockets[request->socket];
	task->socket->tasks++;
	task->made = task->sent = request->sendings - (request->state == REQUEST_BATCHED);
	task->open = ping_request_is_open(request);
	task->newest = ping_request_number(request);
	span->flat--;
	request->is_flat = false;
	request->task = task;
	if (request->state == REQUEST_AGAIN)
		ping_task_make_ready(task);
	else if (request->state != REQUEST_BATCHED && task->made < span->options->requests)
		wheel_set(&engine->wheel, &task->pause,
			  request->sent_ns / 1000 + span->options->interval_us);
	if (!task->open)
		ping_request_set_state(request, REQUEST_GIVEN_UP);
	return task;
}

/* --- Stopping --- */

static void stop_flat(struct ping_span *span, const uint32_t *index)
{
	struct ping_job *job = span->job;
	const struct request_list *const lists[] = {&job->recent, &job->awaited, &job->paused,
						    &job->again};

	for (size_t i = 0; i < ARRAY_SIZE(lists) && span->flat > 0; i++) {
		struct ping_request *request = ping_request_at(job->engine, lists[i]->first), *next;

		for (; request && span->flat > 0; request = next) {
			struct ping_task task;
			struct outcome outcome;

			next = ping_request_at(job->engine, request->next);
			if (!request->is_flat || request->span != span ||
			    (index && request->flat_index != *index))
				continue;
			portray(request, &task);
			ping_result_cut_off(&task, TASK_STOPPED, CLASS_NONE, NULL, &outcome);
			flat_leave(request, &outcome);
		}
	}
}

static void stop_not_begun(struct ping_span *span, uint32_t place)
{
	struct outcome outcome = {.state = TASK_STOPPED};

	ping_span_leave(span, span->task->key.index + place, &outcome);
}

/* The first that was not begun; one that is peeked at has not been. */
static uint32_t first_not_begun(const struct ping_span *span)
{
	return span->next - span->is_peeked;
}

/* Nothing runs on the far side, so there is no grace to give, and main knows what to do of it. */
void ping_task_stop(struct engine *engine, struct task *task, enum stop_reason reason,
		    int64_t grace_us)
{
	struct ping_span *span = task->engine_task;
	uint32_t place = first_not_begun(span), count = task->count;
	struct ping_task *ping;

	(void)engine;
	(void)reason;
	(void)grace_us;
	span_hold(span);
	leave_line(span);
	span->is_peeked = false;
	span->next = count;
	while ((ping = LIST_FIRST(&span->tasks)))
		ping_task_cancel(ping);
	stop_flat(span, NULL);
	for (; place < count; place++)
		if (!was_stopped(span, place))
			stop_not_begun(span, place);
	(void)span_let_go(span);
}

void ping_target_stop(struct engine *engine, struct task *task, uint32_t index)
{
	struct ping_span *span = task->engine_task;
	uint32_t place = index - task->key.index;
	struct ping_task *ping, *next;

	(void)engine;
	span_hold(span);
	if (place < first_not_begun(span)) {
		stop_flat(span, &index);
		for (ping = LIST_FIRST(&span->tasks); ping; ping = next) {
			next = LIST_NEXT(ping, span_link);
			if (ping->index == index)
				ping_task_cancel(ping);
		}
	} else if (!was_stopped(span, place)) {
		stop_not_begun(span, place);
		span->stopped = xgrow(span->stopped, span->stopped_count, sizeof(*span->stopped));
		span->stopped[span->stopped_count++] = place;
		if (place < span->next)
			span->is_peeked = false;
	}
	(void)span_let_go(span);
}
