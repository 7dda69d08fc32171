/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which task runs next, on which worker: round robin over the sources (jobs) that have something to
 * run, within the source's own bound, its share, and the bound of its kind. Knows nothing of jobs
 * but what a source says. Main thread.
 */
#pragma once

#include "daemon/kind.h"
#include "daemon/task.h"
#include "daemon/worker.h"

#include <sys/queue.h>

struct config;
struct dispatch;

/* One job, as dispatch sees it; embedded in struct job. Zeroed but for job, kind and
 * parallel. */
struct dispatch_source {
	TAILQ_ENTRY(dispatch_source) link; /* in the ring, while is_ready */
	uint64_t job;
	const struct kind *kind;
	uint64_t parallel; /* tasks at a time; 0: no bound of its own */
	uint64_t running;  /* taken and not yet returned */
	bool is_ready;     /* in the ring */
};

/*
 * Makes the next task of a source (the caller passes ownership), or a span of at most so many, or
 * returns NULL where it has none just now: it then leaves the ring until dispatch_ready. worker:
 * where it had best run; where it will, the task says.
 */
typedef struct task *dispatch_next_fn(struct dispatch_source *source, unsigned worker,
				      uint32_t most, void *context);

struct dispatch *dispatch_new(struct workers *workers, const struct config *config,
			      dispatch_next_fn *next, void *context);
void dispatch_free(struct dispatch *dispatch);
void dispatch_set_config(struct dispatch *dispatch, const struct config *config);
/* The source may have something to run: into its kind's ring (if it is not in it). */
void dispatch_ready(struct dispatch *dispatch, struct dispatch_source *source);
/* Out of the ring: paused, stopping or gone. */
void dispatch_drop(struct dispatch *dispatch, struct dispatch_source *source);
/* Takes tasks from the rings while the bounds allow, at most a bounded number; hands over nothing
 * yet. True where the number was reached and more may be had at once. */
bool dispatch_take(struct dispatch *dispatch);
/* What was taken is recorded on disk: off to the workers. */
void dispatch_hand_over(struct dispatch *dispatch);
/* Frees what was taken of this source and not handed over: its job was never made. */
void dispatch_forget(struct dispatch *dispatch, struct dispatch_source *source);
/* A task, or a target of a span, came back from this worker. */
void dispatch_returned(struct dispatch *dispatch, struct dispatch_source *source, unsigned worker);
/* Tasks taken and not yet returned, of all sources. */
size_t dispatch_running(const struct dispatch *dispatch);
