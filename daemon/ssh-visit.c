/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loop that drives a visit from step to step, its clock, and its end.
 *
 * A visit is advanced from events only (its socket, its timer, a word of main's, another visit that
 * made room), never from inside another visit or a callback of libssh, so that it may end anywhere
 * in a step: the step settles the outcome and returns PROGRESS_END, and the loop alone frees.
 *
 * After each advance the socket is watched for what libssh waits for. A step is called again as
 * long as bytes move, since libssh does one read or write a call; what it then still waits for is
 * really not there yet.
 */
#include "daemon/kind-ssh.h"

#include "common/units.h"
#include "common/util.h"
#include "daemon/json-text.h"
#include "daemon/ssh-agent.h"
#include "daemon/ssh-jump.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* Calls of one step in a row: a flood from one host leaves time for the others. */
enum { ROUNDS_MAX = 16 };

static const struct {
	const char *during;
	enum progress (*run)(struct visit *visit);
	unsigned next;
} steps[STEP_COUNT] = {
#define SSH_STEP_ROW(id, during, run, next) [id] = {during, run, next},
	SSH_STEPS(SSH_STEP_ROW)
#undef SSH_STEP_ROW
};

/* --- Steps and outcomes --- */

enum progress visit_go(struct visit *visit, enum ssh_step step)
{
	assert(steps[visit->step].next & TO(step));
	visit->step = step;
	return PROGRESS_GO;
}

/* Far sides and libraries have a say in sentences: one printable line is what becomes of it. */
static void make_printable(char *text)
{
	for (char *c = text; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = *c == '\n' || *c == '\t' ? ' ' : '?';
}

static enum progress settle(struct visit *visit, enum error_class class, bool is_transient,
			    const char *format, va_list arguments)
	__attribute__((format(printf, 4, 0)));
static enum progress settle(struct visit *visit, enum error_class class, bool is_transient,
			    const char *format, va_list arguments)
{
	char *message;

	if (vasprintf(&message, format, arguments) < 0)
		abort();
	make_printable(message);
	/* The first reason is the one that counts. */
	if (visit->outcome.message) {
		free(message);
		return PROGRESS_END;
	}
	visit->outcome = (struct outcome){
		.state = TASK_FAILED,
		.class = class,
		.is_transient = is_transient,
		.message = message,
	};
	return PROGRESS_END;
}

enum progress visit_fail(struct visit *visit, enum error_class class, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)settle(visit, class, false, format, arguments);
	va_end(arguments);
	return PROGRESS_END;
}

enum progress visit_fail_transient(struct visit *visit, enum error_class class, const char *format,
				   ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)settle(visit, class, true, format, arguments);
	va_end(arguments);
	return PROGRESS_END;
}

const char *visit_during(const struct visit *visit)
{
	return steps[visit->step].during;
}

/* --- The result --- */

/* SshResult of the interface. */
static char *result_text(const struct visit *visit)
{
	char buffer[ADDRESS_TEXT_MAX];
	const char *address = visit_address(visit, buffer);
	struct json_text text = {0};

	json_text_add(&text, "{");
	if (address[0] != '\0')
		json_text_member_string(&text, "address", address);
	if (visit->had_exit_status)
		json_text_member_number(&text, "exitStatus", visit->exit_status);
	if (visit->exit_signal[0] != '\0')
		json_text_member_string(&text, "signal", visit->exit_signal);
	json_text_member_number(&text, "stdoutBytes", (int64_t)visit->output_sizes[STREAM_STDOUT]);
	json_text_member_number(&text, "stderrBytes", (int64_t)visit->output_sizes[STREAM_STDERR]);
	if (visit_shell_profile(visit))
		json_text_member_string(&text, "profile", visit_shell_profile(visit));
	json_text_add(&text, "}");
	return json_text_take(&text, NULL);
}

/* Events go before the session: libssh closes the descriptor, and its number may come again. */
static void disconnect(struct visit *visit)
{
	(void)event_del(&visit->timer);
	if (visit->is_reading)
		(void)event_del(&visit->read_event);
	if (visit->is_writing)
		(void)event_del(&visit->write_event);
	if (visit->is_lent)
		key_agent_abandon(visit->engine->agent,
				  visit); /* its thread has the session, and frees it */
	else if (visit->session)
		ssh_free(visit->session);
	else if (visit->fd >= 0)
		(void)close(visit->fd);
}

static void finish(struct visit *visit)
{
	struct engine *engine = visit->engine;
	struct task *task = visit->task;

	visit_output_flush(visit, true);
	if (visit->jump)
		jump_ended(visit->jump, &visit->outcome);
	if (visit->is_ready)
		TAILQ_REMOVE(&engine->ready, visit, ready_link);
	visit_leave_queue(visit);
	disconnect(visit);
	engine_feed_starved(engine);
	tunnel_free(visit->tunnel);
	visit_leave_gate(visit);
	visit_leave_destination(visit);
	visit_forget_secrets(visit);
	if (visit->jump) {
		worker_dismiss(engine->worker, task);
		outcome_done(&visit->outcome);
	} else {
		visit->outcome.result = result_text(visit);
		task->engine_task = NULL;
		worker_ended(engine->worker, task, &visit->outcome);
	}
	visit_free_shell(visit);
	visit_leave_way(visit);
	free(visit->user);
	free(visit->resolve_error);
	free(visit->auth_hint);
	free(visit->tried);
	free(visit->addresses);
	free(visit);
}

/* --- The clock --- */

void visit_wait_begin(struct visit *visit)
{
	if (visit->wait_began_us == 0)
		visit->wait_began_us = worker_now_us(visit->engine->worker);
}

void visit_wait_end(struct visit *visit)
{
	if (visit->wait_began_us == 0)
		return;
	visit->step_deadline_us += worker_now_us(visit->engine->worker) - visit->wait_began_us;
	visit->wait_began_us = 0;
}

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The commands have all the time that they have; the steps before share one bound. */
static bool is_at_work(const struct visit *visit)
{
	return visit->step == STEP_RUN || visit->step == STEP_TALK || visit->step == STEP_CARRY;
}

static bool is_idle_counted(const struct visit *visit)
{
	return is_at_work(visit) && !visit->jump && visit->idle_timeout_us > 0 &&
	       !visit_output_is_held(visit);
}

/* When it is too late. */
static int64_t next_deadline(const struct visit *visit)
{
	int64_t next_us = visit->task_deadline_us;

	if (visit->step == STEP_QUIT)
		return visit->quit_deadline_us;
	if (!is_at_work(visit) && visit->wait_began_us == 0)
		next_us = smaller(next_us, visit->step_deadline_us);
	if (visit->step == STEP_CONNECT && visit->fd >= 0)
		next_us = smaller(next_us, visit->address_deadline_us);
	if (is_idle_counted(visit))
		next_us = smaller(next_us, visit->idle_deadline_us);
	return next_us;
}

/* The timer is set again only where it would fire too late: output moves the idle deadline often.
 */
static void arm_timer(struct visit *visit)
{
	int64_t next_us = smaller(next_deadline(visit), visit_shell_deadline(visit));
	struct timeval delay;

	if (next_us >= visit->timer_us)
		return;
	delay = timeval_of(next_us - worker_now_us(visit->engine->worker));
	visit->timer_us = next_us;
	(void)event_add(&visit->timer, &delay);
}

static void time_out(struct visit *visit, int64_t now_us)
{
	const char *host = visit->target.host, *last = visit_shell_last_line(visit);
	enum error_class class = *last ? CLASS_PROMPT : CLASS_TIMEOUT;
	char text[UNITS_TEXT_MAX];

	if (now_us >= visit->task_deadline_us)
		(void)visit_fail(visit, CLASS_TIMEOUT, "%s did not end within %s (--timeout)", host,
				 duration_text(visit->task->options->timeout_us, text));
	else if (is_at_work(visit))
		(void)visit_fail(visit, class, "no output from %s for %s (--idle-timeout)%s%s%s",
				 host, duration_text(visit->idle_timeout_us, text),
				 *last ? "; it waits after '" : "", last, *last ? "'" : "");
	else
		(void)visit_fail(visit, class,
				 "%s did not answer within %s (--connect-timeout) during %s%s%s%s",
				 host, duration_text(visit->settings.connect_timeout_us, text),
				 visit_during(visit), *last ? "; its last line: '" : "", last,
				 *last ? "'" : "");
}

static void end(struct visit *visit);

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct visit *visit = context;
	int64_t now_us = worker_now_us(visit->engine->worker);

	(void)fd;
	(void)what;
	visit->timer_us = INT64_MAX;
	if (now_us < next_deadline(visit)) {
		if (visit->shell)
			visit_advance(visit); /* it may be time to look at the last line */
		else
			arm_timer(visit);
	} else if (visit->step == STEP_QUIT ||
		   (visit->step == STEP_CONNECT && now_us < visit->step_deadline_us &&
		    now_us < visit->task_deadline_us)) {
		visit_advance(visit); /* the step looks at its own clock */
	} else {
		time_out(visit, now_us);
		end(visit);
	}
}

/* --- The socket --- */

void event_watch(struct event *event, bool *is_watched, bool is_wanted)
{
	if (*is_watched == is_wanted)
		return;
	*is_watched = is_wanted;
	if (is_wanted)
		(void)event_add(event, NULL);
	else
		(void)event_del(event);
}

void visit_watch(struct visit *visit)
{
	bool is_open = visit->fd >= 0 && !visit->is_lent;
	bool is_writing = visit->step == STEP_CONNECT;
	bool is_reading =
		visit->session && visit->step != STEP_SLOT && !visit_output_is_held(visit);

	/* Before the key exchange, bytes left to write are no reason to begin it. */
	if (is_open && visit->session && visit->step > STEP_SLOT)
		is_writing = ssh_get_poll_flags(visit->session) & SSH_WRITE_PENDING;
	event_watch(&visit->read_event, &visit->is_reading, is_open && is_reading);
	event_watch(&visit->write_event, &visit->is_writing, is_open && is_writing);
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	visit_advance(context);
}

void visit_use_socket(struct visit *visit, int fd)
{
	struct event_base *base = worker_base(visit->engine->worker);

	assert(!visit->is_reading && !visit->is_writing);
	visit->fd = fd;
	if (event_assign(&visit->read_event, base, fd, EV_READ | EV_PERSIST, on_socket, visit) <
		    0 ||
	    event_assign(&visit->write_event, base, fd, EV_WRITE | EV_PERSIST, on_socket, visit) <
		    0)
		abort();
}

void visit_drop_socket(struct visit *visit)
{
	assert(!visit->session);
	event_watch(&visit->read_event, &visit->is_reading, false);
	event_watch(&visit->write_event, &visit->is_writing, false);
	if (visit->fd >= 0)
		(void)close(visit->fd);
	visit->fd = -1;
}

/* --- The loop --- */

static enum progress run_step(struct visit *visit)
{
	enum progress progress = PROGRESS_AGAIN;

	for (int i = 0; i < ROUNDS_MAX && progress == PROGRESS_AGAIN; i++) {
		struct ssh_counter_struct before = visit->moved;

		progress = steps[visit->step].run(visit);
		if (before.in_bytes == visit->moved.in_bytes &&
		    before.out_bytes == visit->moved.out_bytes)
			break;
	}
	return progress;
}

void visit_advance(struct visit *visit)
{
	enum progress progress = PROGRESS_GO;

	/* The agent's thread has it; the answer will come. */
	if (visit->is_lent)
		return;
	while (progress == PROGRESS_GO)
		progress = run_step(visit);
	if (progress == PROGRESS_END) {
		end(visit);
		return;
	}
	visit_output_flush(visit, false);
	visit_watch(visit);
	arm_timer(visit);
}

/* The outcome stands. A command that runs is ended on the far side before it leaves. */
static void end(struct visit *visit)
{
	bool may_run = (visit->is_sent && (visit->step == STEP_SEND || visit->step == STEP_RUN)) ||
		       visit->step == STEP_PROMPT || visit->step == STEP_TALK;

	if (may_run && visit->channel && !visit_is_lost(visit)) {
		(void)visit_go(visit, STEP_QUIT);
		visit_advance(visit);
		return;
	}
	finish(visit);
}

void visit_wake(struct visit *visit)
{
	struct engine *engine = visit->engine;

	if (visit->is_ready)
		return;
	visit->is_ready = true;
	TAILQ_INSERT_TAIL(&engine->ready, visit, ready_link);
	event_active(engine->ready_event, EV_READ, 0);
}

/* --- From the outside --- */

struct visit *visit_new(struct engine *engine, struct task *task, struct jump *jump)
{
	struct visit *visit = xcalloc(1, sizeof(*visit));
	int64_t now_us = worker_now_us(engine->worker);
	int r;

	task->engine_task = visit;
	visit->engine = engine;
	visit->task = task;
	visit->jump = jump;
	visit->options = task->options->kind_options;
	visit->fd = -1;
	visit->way = -1;
	visit->timer_us = INT64_MAX;
	visit->task_deadline_us = !jump && task->options->timeout_us > 0
					  ? now_us + task->options->timeout_us
					  : INT64_MAX;
	visit->outcome.state = TASK_SUCCEEDED;
	(void)evtimer_assign(&visit->timer, worker_base(engine->worker), on_timer, visit);
	r = target_split(jump ? task->target : ssh_address_of(visit->options, task->target),
			 &visit->target);
	assert(r == 0); /* main let it through */
	(void)r;
	visit_find_way(visit);
	visit->step_deadline_us = now_us + visit->settings.connect_timeout_us;
	return visit;
}

void visit_stop(struct visit *visit, enum stop_reason reason, int64_t grace_us)
{
	int64_t quit_us = worker_now_us(visit->engine->worker) + grace_us;

	if (visit->step == STEP_QUIT && reason == STOP_ASKED) {
		/* It is ending already; a second stop may make it shorter. */
		visit->quit_deadline_us = smaller(visit->quit_deadline_us, quit_us);
		arm_timer(visit);
		return;
	}
	if (visit->step != STEP_QUIT) {
		visit->grace_us = grace_us;
		visit->outcome.state = TASK_STOPPED;
		visit->outcome.message = xstrdup("stopped");
	}
	if (reason == STOP_SHUTDOWN) {
		outcome_done(&visit->outcome);
		visit->outcome = (struct outcome){.state = TASK_STOPPED};
		finish(visit);
	} else {
		end(visit);
	}
}
