/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ping-watch.h"

#include "common/log.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/ping-engine.h"
#include "daemon/worker.h"

#include <assert.h>
#include <stdarg.h>

enum { UNSTORED_MAX = 1024 };

enum host_state { HOST_UNKNOWN, HOST_UP, HOST_DOWN };

struct ping_watch {
	/* This period */
	int64_t began_us; /* monotonic */
	int64_t received, lost, unsent;
	int64_t min_us, max_us, sum_us; /* of the times of those received */
	bool is_due;                    /* it ends as soon as earlier lines are stored */

	enum host_state state, told; /* as it is, as the last line about it says */
	int64_t since_us, told_us;   /* monotonic */
	enum host_state counted;     /* by contrary */
	int64_t contrary;            /* outcomes in a row that speak for this other state */

	size_t unstored; /* bytes */
};

/* A line, with the time in front. */
static void __attribute__((format(printf, 2, 3)))
write_line(struct ping_task *task, const char *format, ...)
{
	char when[UNITS_TEXT_MAX], line[256];
	int size = snprintf(line, sizeof(line), "%s ", time_text(now_real_us(), when));
	va_list arguments;

	va_start(arguments, format);
	size += vsnprintf(line + size, sizeof(line) - (size_t)size, format, arguments);
	va_end(arguments);
	assert((size_t)size < sizeof(line) - 1);
	line[size++] = '\n';
	task->watch->unstored += (size_t)size;
	worker_output(task->engine->worker, task->span->task, STREAM_STDOUT, line, (size_t)size);
}

/* --- Periods --- */

static void arm(struct ping_task *task)
{
	int64_t period_us = task->options->period_us;

	if (period_us > 0)
		wheel_set(&task->engine->wheel, &task->period,
			  worker_now_us(task->engine->worker) + period_us);
}

static void begin_period(struct ping_task *task)
{
	struct ping_watch *watch = task->watch;

	watch->received = watch->lost = watch->unsent = 0;
	watch->min_us = INT64_MAX;
	watch->max_us = watch->sum_us = 0;
	watch->is_due = false;
	watch->began_us = now_monotonic_us();
}

static void write_period(struct ping_task *task)
{
	const struct ping_watch *watch = task->watch;
	int64_t received = watch->received, sent = received + watch->lost;
	char span[UNITS_TEXT_MAX], times[96] = "", unsent[48] = "";

	if (task->options->period_us == 0 || sent + watch->unsent == 0)
		return;
	if (watch->unsent > 0)
		(void)snprintf(unsent, sizeof(unsent), ", %lld could not be sent",
			       (long long)watch->unsent);
	(void)duration_text(now_monotonic_us() - watch->began_us, span);
	if (received > 0)
		(void)snprintf(times, sizeof(times), ", min/avg/max %.2f/%.2f/%.2f ms",
			       (double)watch->min_us / 1e3,
			       (double)(watch->sum_us / received) / 1e3,
			       (double)watch->max_us / 1e3);
	write_line(task, "%s: %lld/%lld replies, %lld%% loss%s%s", span, (long long)received,
		   (long long)sent, (long long)(sent > 0 ? watch->lost * 100 / sent : 0), times,
		   unsent);
}

static void end_period(struct ping_task *task)
{
	write_period(task);
	begin_period(task);
	arm(task);
}

void ping_watch_on_period(struct ping_task *task)
{
	task->watch->is_due = true;
	if (task->watch->unstored == 0)
		end_period(task);
}

/* --- Changes --- */

/* To who watches this machine's journal. */
static void log_change(const struct ping_task *task, const char *what)
{
	const struct task *of = task->span->task;
	bool is_up = task->watch->state == HOST_UP;
	autofree char *job = xasprintf("JOBD_JOB=%llu", (unsigned long long)of->key.job);
	autofree char *target = xasprintf("JOBD_TARGET=%s", of->target);
	const char *const fields[] = {job, target, is_up ? "JOBD_STATE=up" : "JOBD_STATE=down",
				      NULL};

	log_event(is_up ? LOG_NOTICE : LOG_WARNING, fields, "job %llu: %s is %s",
		  (unsigned long long)of->key.job, of->target, what);
}

/* requests: how many in a row showed it */
static void tell_change(struct ping_task *task, int64_t requests)
{
	struct ping_watch *watch = task->watch;
	const char *words = requests == 1 ? "request" : "requests in a row";
	char span[UNITS_TEXT_MAX], history[UNITS_TEXT_MAX + 32] = "", what[192];

	if (watch->told != HOST_UNKNOWN)
		(void)snprintf(history, sizeof(history), "; it was %s for %s",
			       watch->told == HOST_UP ? "up" : "down",
			       duration_text(watch->since_us - watch->told_us, span));
	if (watch->state == HOST_DOWN)
		(void)snprintf(what, sizeof(what), "down, no reply to %lld %s%s",
			       (long long)requests, words, history);
	else
		(void)snprintf(what, sizeof(what), "up, %lld %s answered%s", (long long)requests,
			       words, history);
	write_line(task, "%s", what);
	log_change(task, what);
	watch->told = watch->state;
	watch->told_us = watch->since_us;
}

static int64_t needed(const struct ping_task *task, enum host_state state)
{
	return state == HOST_UP ? task->options->up_after : task->options->down_after;
}

/* While too much waits for the disk, what comes of several changes is told when it has room. */
static void change(struct ping_task *task, enum host_state state)
{
	struct ping_watch *watch = task->watch;

	watch->state = state;
	watch->since_us = now_monotonic_us();
	watch->contrary = 0;
	if (watch->unstored < UNSTORED_MAX && watch->told != state)
		tell_change(task, needed(task, state));
}

/* Until so many in a row say otherwise, a host is what it was. */
static void take_outcome(struct ping_task *task, enum host_state speaks_for)
{
	struct ping_watch *watch = task->watch;

	if (!task->options->is_on_change)
		return;
	if (watch->state == speaks_for) {
		watch->contrary = 0;
		return;
	}
	if (watch->counted != speaks_for)
		watch->contrary = 0;
	watch->counted = speaks_for;
	if (++watch->contrary >= needed(task, speaks_for))
		change(task, speaks_for);
}

/* --- The disk --- */

void ping_watch_stored(struct ping_task *task, size_t size)
{
	struct ping_watch *watch = task->watch;

	assert(watch && size <= watch->unstored);
	watch->unstored -= size;
	if (watch->unstored > 0)
		return;
	if (watch->told != watch->state)
		tell_change(task, needed(task, watch->state));
	if (watch->is_due)
		end_period(task);
}

/* --- The task --- */

void ping_watch_begin(struct ping_task *task)
{
	if (task->options->period_us == 0 && !task->options->is_on_change)
		return;
	task->watch = xcalloc(1, sizeof(*task->watch));
	begin_period(task);
	arm(task);
	if (task->span->task->attempt > 1)
		write_line(task, "begins again: nothing was measured since the line before");
}

void ping_watch_end(struct ping_task *task)
{
	if (!task->watch)
		return;
	write_period(task);
	wheel_clear(&task->engine->wheel, &task->period);
	free(task->watch);
	task->watch = NULL;
}

void ping_watch_replied(struct ping_task *task, int64_t rtt_us)
{
	struct ping_watch *watch = task->watch;

	if (!watch)
		return;
	watch->received++;
	watch->sum_us += rtt_us;
	if (rtt_us < watch->min_us)
		watch->min_us = rtt_us;
	if (rtt_us > watch->max_us)
		watch->max_us = rtt_us;
	take_outcome(task, HOST_UP);
}

void ping_watch_lost(struct ping_task *task)
{
	if (!task->watch)
		return;
	task->watch->lost++;
	take_outcome(task, HOST_DOWN);
}

void ping_watch_unsent(struct ping_task *task)
{
	if (!task->watch)
		return;
	task->watch->unsent++;
	take_outcome(task, HOST_DOWN);
}
