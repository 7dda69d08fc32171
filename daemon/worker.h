/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Workers: threads with an event loop each, on which the engines run very many tasks at once. Tasks
 * come in and reports go out by mailboxes; nothing else is shared but the immutable config.
 *
 *   main --tasks, stop, go, stored--> worker's mailbox --> engine
 *   engine --output, sending, ended--> one batch a loop turn --> main's mailbox
 *
 * Worker 0 is for kinds that are PLACE_ALONE (ping), 1..N for PLACE_SPREAD.
 */
#pragma once

#include "daemon/kind.h"
#include "daemon/mailbox.h"
#include "daemon/task.h"

#include <event2/event.h>

struct config;
struct workers;

/* --- Main --- */

/* Starts the threads; struct report letters arrive in *reports, a mailbox of main's. */
int workers_new(const struct config *config, struct mailbox *reports, struct workers **ret_workers);
/* Every task must have come back. Joins the threads. */
void workers_free(struct workers *workers);
unsigned workers_count(const struct workers *workers);
/* The workers that a kind may use: [*ret_first, *ret_first + *ret_count). */
void workers_range(const struct workers *workers, const struct kind *kind, unsigned *ret_first,
		   unsigned *ret_count);
/* Hands over a whole batch, emptied afterwards. */
void workers_start(struct workers *workers, unsigned worker, struct task_batch *batch);
/* About one run of a task; ignored where that run has already come back. */
void workers_stop(struct workers *workers, unsigned worker, uint64_t run, enum stop_reason reason,
		  int64_t grace_us);
/* One target of a span, as a user asked. */
void workers_stop_target(struct workers *workers, unsigned worker, uint64_t run, uint32_t index);
void workers_go(struct workers *workers, unsigned worker, uint64_t run);
void workers_output_stored(struct workers *workers, unsigned worker, uint64_t run, size_t size);
/* Tells the engines of the job's kind; takes a reference of its own. */
void workers_adjust(struct workers *workers, uint64_t job, struct job_options *options);
/* A reload; the value must outlive the threads. */
void workers_set_config(struct workers *workers, const struct config *config);
/*
 * Watchdog: asks every worker for a sign of life; true if all have answered the time before, or
 * wait for a disk. Main pings the service manager only then.
 */
bool workers_check_alive(struct workers *workers);

/* --- Engines, on their worker's thread --- */

struct event_base *worker_base(struct worker *worker);
/* Monotonic time of this loop turn, microseconds. */
int64_t worker_now_us(struct worker *worker);
/* Copies the bytes. */
void worker_output(struct worker *worker, struct task *task, enum stream stream, const void *bytes,
		   size_t size);
/* task_go will be called once this is on disk. */
void worker_sending(struct worker *worker, struct task *task);
/* The task goes back to main with its outcome (ownership of both passes). */
void worker_ended(struct worker *worker, struct task *task, struct outcome *outcome);
/*
 * The same of one target, by its place in the job, of a task that may be a span. True: the task has
 * gone back.
 */
bool worker_target_ended(struct worker *worker, struct task *task, uint32_t index,
			 struct outcome *outcome);
/* task_resolved will be called, unless the task ended before; never from inside this call. */
void worker_resolve(struct worker *worker, struct task *task, const char *host, int family);
/* A task of the engine's own, which main never hears of; it takes a reference to the options. */
struct task *worker_adopt(struct worker *worker, struct job_options *options, const char *target);
/* The end of one that was adopted. */
void worker_dismiss(struct worker *worker, struct task *task);
