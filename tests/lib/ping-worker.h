/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real ping engine, on a real event loop, against the kernel of a network namespace of its own
 * (tests/lib/ping-box.h). Of the worker only what engines see of it is replaced: it counts.
 */
#pragma once

#include "daemon/ping-engine.h"
#include "tests/lib/ping-box.h"

enum { TASKS_MAX = 65536 };

struct worker {
	struct event_base *base;
	struct mailbox mailbox; /* answers of the resolver */
	struct event *mailbox_event;
	struct resolver *resolver;
	struct engine *engine;
	struct job_options *options;
	struct task *tasks[TASKS_MAX]; /* by index, while they run */
	struct outcome outcomes[TASKS_MAX];
	size_t started, ended;
	/* What tasks wrote; that it is stored they hear from the test */
	char output[65536];
	size_t output_size;
};
extern struct worker worker;

/* A job: pinger_begin, pinger_start for each target, pinger_finish until all have ended. */

/* options: JSON of type PingOptions. timeout_us: of each whole task; 0: none */
void pinger_begin(const char *options, int64_t timeout_us);
void pinger_start(const char *target);
/* All that the words name, as one span; before any other. */
void pinger_start_span(const char *const *words, size_t count);
/* A test that hangs is killed. */
void pinger_finish(void);
/* The outcomes so far. */
void pinger_forget(void);

/* A job of one target; its outcome stays until the next. */
const struct outcome *ping_within(const char *options, const char *target, int64_t timeout_us);
const struct outcome *ping_once(const char *options, const char *target);
/* A number of the result, or -1 where it has none of this name. */
int64_t ping_number(const struct outcome *outcome, const char *name);
/* Requests that were sent and are waited for. */
size_t ping_under_way(void);
/* words: in its message, which is one line */
void assert_ping_failed(const struct outcome *outcome, enum error_class class, const char *words);
void assert_ping_succeeded(const struct outcome *outcome);

/* The tests in a network of their own, with either kind of socket; the exit status. */
struct CMUnitTest;
int pinger_main(const struct CMUnitTest *tests, size_t count);
