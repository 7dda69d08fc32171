/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What passes between main and the workers: a task to run, and what became of it. A task belongs to
 * whoever took it last from a mailbox: main makes it, a worker runs it and gives it back with its
 * end, main frees it. What main says of a task names its run, since it may already be on its way
 * back.
 *
 * Where thousands of targets need nothing of their own, they travel together: a span is one struct
 * task for a row of a job's targets. Each ends by itself; the span comes back with the last.
 */
#pragma once

#include "common/hash.h"
#include "common/states.h"
#include "common/units.h"
#include "daemon/mailbox.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

struct kind;
struct target_list;

/* The parsed options of a job, shared by its tasks; immutable. Counted, any thread may drop one. */
struct job_options {
	atomic_uint references;
	const struct kind *kind;
	uid_t uid; /* the job's owner */
	/* Of every kind */
	int64_t timeout_us;  /* a whole attempt; 0: the kind's own bound alone */
	int64_t deadline_us; /* the whole job; 0: none */
	int64_t parallel;    /* 0: as the kind allows */
	int64_t retries, retry_delay_us;
	bool is_rerun;
	int64_t canary;            /* tasks that go first, and of which none may fail; 0: none */
	struct share batch;        /* tasks of which all end before the next begin; 0: all */
	struct share failures_max; /* before the job gives up; -1: as many as there are */
	void *kind_options;        /* kind->options_size bytes */
};
struct job_options *job_options_ref(struct job_options *options);
void job_options_unref(struct job_options *options);

/* Which task: its job's id and its place in the job's target list. */
struct task_key {
	uint64_t job;
	uint32_t index;
};

/*
 * How an attempt ended. state is TASK_SUCCEEDED, TASK_FAILED or TASK_STOPPED; TASK_QUEUED of a
 * target that must have a task of its own instead of its place in a span. is_transient: nothing
 * took effect on the far side, so that trying again is safe even without --retries (a connection
 * that died before authentication); main counts such tries.
 */
struct outcome {
	enum task_state state;
	enum error_class class;
	bool is_transient;
	char *message; /* owned; one line; NULL on success */
	char *result; /* owned; JSON object text of the interface's result type of the kind, or NULL
		       */
};
void outcome_done(struct outcome *outcome);

enum report_type {
	REPORT_OUTPUT,  /* bytes of a stream */
	REPORT_SENDING, /* the engine is about to do what may take effect; it waits for task_go */
	REPORT_ENDED,   /* the task comes back with its outcome */
	REPORT_ENDINGS, /* targets of a span have ended; it comes back if these were the last */
};

/* How a target of a span ended. */
struct ending {
	uint32_t index; /* in its job */
	int64_t at_us;  /* real time */
	struct outcome outcome;
};

/* From a worker to main: a letter in main's mailbox. */
struct report {
	struct letter letter;
	enum report_type type;
	void *owner;   /* the task's */
	int64_t at_us; /* real time */
	/* REPORT_OUTPUT */
	enum stream stream;
	char *bytes; /* owned */
	size_t size;
	/* REPORT_ENDED: owned, the report is a part of it. REPORT_ENDINGS: owned, or NULL */
	struct task *task;
	/* REPORT_ENDED */
	struct outcome outcome;
	/* REPORT_ENDINGS */
	struct task *span;      /* the worker's, until the report leaves */
	struct ending *endings; /* owned, their outcomes too */
	size_t ending_count;
};
void report_free(struct report *report);

struct task {
	STAILQ_ENTRY(task) link; /* in a batch */
	struct task_key key;     /* of the first target, of a span */
	uint32_t count;          /* of targets; more than 1: a span */
	unsigned attempt;        /* 1 for the first */
	/*
	 * How this task's end is told apart from an older attempt's: dispatch gives each hand-over
	 * a new number, and what main says of the task names it.
	 */
	uint64_t run;
	void *owner; /* main's, who keeps it until the task has come back; nothing to a worker */
	unsigned worker; /* where it runs; main's */
	struct job_options *options;
	struct target_list *targets; /* of the job; of a span alone, else NULL */
	void *engine_task;           /* the engine's own, while it runs */
	/* The worker's, while it runs */
	UT_hash_handle hh;      /* by run */
	bool is_asking;         /* the resolver */
	uint32_t left;          /* targets that have not ended */
	struct report *endings; /* of a span, in this turn; or NULL */
	struct report end;
	char target[]; /* its text, NUL-terminated; "" of a span */
};
STAILQ_HEAD(task_batch, task);
/* Both take references of their own to what they are given. */
struct task *task_new(struct task_key key, unsigned attempt, uint64_t run,
		      struct job_options *options, const char *target);
struct task *task_new_span(struct task_key key, uint32_t count, uint64_t run,
			   struct job_options *options, struct target_list *targets);
void task_free(struct task *task);
