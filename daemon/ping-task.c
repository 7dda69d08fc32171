/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A target, from its name to its outcome. */
#include "daemon/ping-engine.h"

#include "common/util.h"
#include "daemon/ping-result.h"
#include "daemon/resolver.h"
#include "daemon/worker.h"

#include <assert.h>
#include <net/if.h>

enum {
	BACK_OFF_MIN_US = 2000,
	BACK_OFF_MAX_US = 256000,
	UNSENT_MAX_US = 30000000,
};

/* --- The end --- */

/* Back to main. Sockets that nobody uses any more are closed at the end of the turn. */
static void task_end(struct ping_task *task, struct outcome *outcome)
{
	struct engine *engine = task->engine;

	ping_watch_end(task);
	while (task->newest != NO_REQUEST) {
		struct ping_request *request = ping_request_at(engine, task->newest);

		assert(request->state != REQUEST_BATCHED);
		ping_request_free(request);
	}
	wheel_clear(&engine->wheel, &task->pause);
	wheel_clear(&engine->wheel, &task->deadline);
	ping_task_leave_ready(task);
	if (task->socket)
		task->socket->tasks--;
	LIST_REMOVE(task, span_link);
	if (!task->group || ping_group_leave(task, outcome))
		ping_span_leave(task->span, task->index, outcome);
	ping_stats_done(&task->rtt);
	free(task->odd);
	free(task);
}

/* It ends before its time; message: ownership passes. */
static void task_cut_off(struct ping_task *task, enum task_state state, enum error_class class,
			 char *message)
{
	struct outcome outcome;

	ping_result_cut_off(task, state, class, message, &outcome);
	task_end(task, &outcome);
}

void ping_task_finish(struct ping_task *task)
{
	struct outcome outcome;

	ping_result(task, &outcome);
	task_end(task, &outcome);
}

void ping_task_cancel(struct ping_task *task)
{
	task_cut_off(task, TASK_STOPPED, CLASS_NONE, NULL);
}

void ping_task_on_deadline(struct ping_task *task)
{
	double seconds = (double)task->span->task->options->timeout_us / (double)US_PER_SEC;

	task_cut_off(task, TASK_FAILED, CLASS_TIMEOUT,
		     xasprintf("did not end within %g s (%lld sent, %lld replies); allow more with "
			       "--timeout",
			       seconds, (long long)task->sent, (long long)task->rtt.count));
}

/* --- Its requests --- */

bool ping_task_is_done(const struct ping_task *task)
{
	return task->made == task->options->requests && task->open == 0;
}

/* One more request was made; the next one follows after the interval. */
void ping_task_made_request(struct ping_task *task, int64_t now_us)
{
	task->made++;
	task->unsent_since_us = task->back_off_us = 0;
	if (task->made < task->options->requests)
		wheel_set(&task->engine->wheel, &task->pause, now_us + task->options->interval_us);
}

/* The clock of the whole task stands still while its turn has not come. */
void ping_task_start_clock(struct ping_task *task, int64_t now_us)
{
	if (task->time_left_us > 0 && task->deadline.due_us == 0)
		wheel_set(&task->engine->wheel, &task->deadline, now_us + task->time_left_us);
}

bool ping_task_backs_off(struct ping_task *task)
{
	int64_t now_us = worker_now_us(task->engine->worker);

	if (task->unsent_since_us == 0)
		task->unsent_since_us = now_us;
	else if (now_us - task->unsent_since_us > UNSENT_MAX_US)
		return false;
	task->back_off_us = task->back_off_us == 0 ? BACK_OFF_MIN_US : task->back_off_us * 2;
	if (task->back_off_us > BACK_OFF_MAX_US)
		task->back_off_us = BACK_OFF_MAX_US;
	wheel_set(&task->engine->wheel, &task->pause, now_us + task->back_off_us);
	return true;
}

/* --- The beginning --- */

enum ping_socket_type ping_socket_type_for(const struct ping_options *options, int family)
{
	if (family == AF_INET)
		return options->is_dont_fragment ? PING_V4_WHOLE : PING_V4;
	return options->is_dont_fragment ? PING_V6_WHOLE : PING_V6;
}

/* Which socket, and from where. False where the task has ended over it. */
static bool task_choose_path(struct ping_task *task)
{
	const struct ping_options *options = task->options;
	enum ping_socket_type type = ping_socket_type_for(options, task->address.any.sa_family);
	bool is_from_interface =
		options->source && options->source_address.any.sa_family == AF_UNSPEC;
	int r;

	if (is_from_interface)
		task->source_interface = if_nametoindex(options->source);
	if (is_from_interface && task->source_interface == 0) {
		task_cut_off(task, TASK_FAILED, CLASS_UNREACHABLE,
			     xasprintf("there is no interface '%s' to send from; `ip link` shows "
				       "which there are",
				       options->source));
		return false;
	}
	r = ping_socket_open(&task->engine->sockets[type]);
	if (r < 0) {
		task_cut_off(task, TASK_FAILED, CLASS_INTERNAL,
			     ping_open_sentence(task->address.any.sa_family, r));
		return false;
	}
	task->socket = &task->engine->sockets[type];
	task->socket->tasks++;
	return true;
}

/* Its address is known. */
static void task_begin_at(struct ping_task *task, const struct sockaddr_storage *address)
{
	const char *refusal;

	memcpy(&task->address, address, sizeof(task->address));
	refusal = ping_address_refusal(&task->address);
	if (refusal) {
		char text[ADDRESS_TEXT_MAX];

		task_cut_off(task, TASK_FAILED, CLASS_UNREACHABLE,
			     xasprintf("%s %s; name a single host", address_text(address, text),
				       refusal));
		return;
	}
	if (!task_choose_path(task))
		return;
	ping_watch_begin(task);
	ping_task_make_ready(task);
	ping_engine_kick(task->engine);
}

void ping_task_begin(struct ping_task *task, const char *target)
{
	struct engine *engine = task->engine;
	int family = task->options->family;
	struct sockaddr_storage address;
	char host[TARGET_TEXT_MAX];
	struct error error = {0};
	int r;

	/* Of a long list, only the first targets were checked when the job was made. */
	if (ping_host_of(task->options, target, host, &error) < 0) {
		task_cut_off(task, TASK_FAILED, CLASS_RESOLVE, xstrdup(error.sentence));
		error_done(&error);
		return;
	}
	r = address_parse(host, family, &address);
	if (r > 0) {
		task_begin_at(task, &address);
	} else if (r < 0) {
		task_cut_off(task, TASK_FAILED, CLASS_RESOLVE,
			     xasprintf("%s is not an %s address, and only such ones were asked for",
				       host, family == AF_INET ? "IPv4" : "IPv6"));
	} else {
		ping_task_start_clock(task, worker_now_us(engine->worker));
		worker_resolve(engine->worker, task->span->task, host, family);
		ping_engine_kick(engine);
	}
}

struct ping_task *ping_task_new(struct ping_span *span, uint32_t index)
{
	struct ping_task *ping = xcalloc(1, sizeof(*ping));

	ping->engine = span->job->engine;
	ping->span = span;
	ping->options = span->options;
	ping->index = index;
	ping->newest = NO_REQUEST;
	ping->pause.type = TIMER_PAUSE;
	ping->deadline.type = TIMER_DEADLINE;
	ping->period.type = TIMER_PERIOD;
	ping->time_left_us = span->task->options->timeout_us;
	ping->ttl = -1;
	LIST_INSERT_HEAD(&span->tasks, ping, span_link);
	return ping;
}

const struct ping_oddities *ping_task_oddities(const struct ping_task *task)
{
	static const struct ping_oddities none;

	return task->odd ? task->odd : &none;
}

struct ping_oddities *ping_task_note(struct ping_task *task)
{
	if (!task->odd)
		task->odd = xcalloc(1, sizeof(*task->odd));
	return task->odd;
}

/* A leg for each address. They join before any begins, since one may end at once. */
static void begin_legs(struct ping_task *first, const struct sockaddr_storage *addresses,
		       size_t count)
{
	struct ping_task *legs[RESOLVER_ADDRESSES_MAX] = {first};
	struct ping_group *group = NULL;

	assert(count <= RESOLVER_ADDRESSES_MAX);
	for (size_t i = 0; i < count; i++) {
		if (i > 0) {
			legs[i] = ping_task_new(first->span, first->index);
			legs[i]->time_left_us = first->time_left_us;
		}
		memcpy(&legs[i]->address, &addresses[i], sizeof(legs[i]->address));
		ping_group_join(legs[i], &group);
	}
	for (size_t i = 0; i < count; i++)
		task_begin_at(legs[i], &addresses[i]);
}

/* Of a struct task that is no span, where no target is flat and none has legs yet. */
static struct ping_task *only_task(const struct task *task)
{
	const struct ping_span *span = task->engine_task;

	return LIST_FIRST(&span->tasks);
}

void ping_task_resolved(struct engine *engine, struct task *task,
			const struct sockaddr_storage *addresses, size_t count, const char *error)
{
	struct ping_task *ping = only_task(task);

	if (ping->deadline.due_us > 0) {
		ping->time_left_us = ping->deadline.due_us - worker_now_us(engine->worker);
		if (ping->time_left_us <= 0)
			ping->time_left_us = 1;
		wheel_clear(&engine->wheel, &ping->deadline);
	}
	assert(error || count > 0);
	if (error)
		task_cut_off(ping, TASK_FAILED, CLASS_RESOLVE, xstrdup(error));
	else if (count > 1 && ping->options->is_all_addresses)
		begin_legs(ping, addresses, count);
	else
		task_begin_at(ping, &addresses[0]);
}

/* Only a watch writes. */
void ping_task_output_stored(struct engine *engine, struct task *task, size_t size)
{
	(void)engine;
	ping_watch_stored(only_task(task), size);
}
