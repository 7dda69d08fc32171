/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a kind of job is: its options, where its tasks run, and the engine that runs them. One file
 * daemon/kind-*.c and one row of kinds[] each.
 *
 * Options are parsed and checked on main, then shared read-only. An engine is what one worker holds
 * for one kind; all calls to it come on that worker's thread, from its event loop, and must return
 * at once. For each target of each task_start the engine calls worker_target_ended (or
 * worker_ended) exactly once, sooner or later, also after task_stop; it must see to every time-out
 * itself (options->timeout_us included).
 */
#pragma once

#include "common/error.h"
#include "daemon/fields.h"
#include "daemon/task.h"

#include <netinet/in.h>

struct config;
struct engine;
struct worker;

/* Where tasks run: on the one worker that pings, or spread over the others. */
enum placement { PLACE_ALONE, PLACE_SPREAD };

enum stop_reason {
	STOP_ASKED,    /* a user: outcome TASK_STOPPED */
	STOP_SHUTDOWN, /* jobd ends: give it back at once; main records nothing final for it */
};

struct kind {
	const char *name;
	enum placement placement;
	/* Running a task twice does no harm. Then its beginning is no row of its own: after a crash
	 * the job's row tells which tasks may have been running. */
	bool is_repeatable;
	/* Bound of tasks in flight, of all jobs and workers */
	unsigned (*in_flight_max)(const struct config *config);
	/* The object under the kind's name in Start's parameters */
	const struct field *fields;
	size_t field_count;
	size_t options_size;
	/* Fills what is derived from the fields, and checks what one field alone cannot say; may be
	 * NULL. is_trusted: the owner may name files for jobd to read (same user as jobd, or root).
	 */
	int (*options_check)(void *options, const struct config *config, bool is_trusted,
			     struct error *ret_error);
	/* 0, or ERROR_INVALID_OPTION: do the fields, read and not derived from, name a file for
	 * jobd to read? NULL: they never do. */
	int (*files_check)(const void *options, struct error *ret_error);
	/* What options_check derived, also where it failed in the midst; may be NULL */
	void (*options_done)(void *options);
	/* The option that is a secret, or NULL: it is never written down. In what is stored the
	 * option secret_mark says that there was one. */
	const char *secret, *secret_mark;
	/* Options that were read again from what is stored get the secret of those before. */
	void (*options_inherit)(void *options, const void *before);
	/* 0 or ERROR_INVALID_TARGET: is this text a target of the kind? Main, once per term. */
	int (*target_check)(const char *target, struct error *ret_error);
	/* 0 or ERROR_LIMIT_REACHED: may a job have so many targets, which target_check let through?
	 * NULL: as many as it likes. */
	int (*count_check)(const void *options, uint64_t count, const struct config *config,
			   struct error *ret_error);
	/* As many tasks of one job as are of use at a time, by its options; 0: no bound. NULL: none
	 * ever. A job that is held back by its own pace must not fill the kind's places. */
	uint64_t (*job_parallel)(const void *options);
	/* Tasks of one job that begin in a second, retries too; 0: no bound. NULL: none ever, or
	 * the engine itself sees to a pace. */
	int64_t (*job_rate)(const void *options);
	/* Tasks of one hash run on one worker; 0: on any. NULL: always on any. */
	uint32_t (*affinity)(const void *options, const char *target);
	/* May a span of the job begin with this target? It is repeatable then, writes no output,
	 * has no job_rate, and what follows and does not belong in it comes back. NULL: a kind
	 * without spans. */
	bool (*is_plain)(const struct job_options *options, const char *target);
	/* A few words on what the job does ("show version"), or NULL; into options */
	const char *(*command)(const void *options);

	struct engine *(*engine_new)(struct worker *worker, const struct config *config);
	void (*engine_free)(struct engine *engine); /* no task is left in it */
	/* A reload: for what begins from now on */
	void (*configured)(struct engine *engine, const struct config *config);
	void (*task_start)(struct engine *engine, struct task *task);
	/* grace_us: between TERM and KILL on the far side; at most a second to the outcome if 0 */
	void (*task_stop)(struct engine *engine, struct task *task, enum stop_reason reason,
			  int64_t grace_us);
	/* One target of a span: TASK_STOPPED. NULL where the kind has no spans. */
	void (*target_stop)(struct engine *engine, struct task *task, uint32_t index);
	/* The options of a job with tasks here were adjusted; NULL where later tasks are enough. */
	void (*job_adjusted)(struct engine *engine, uint64_t job,
			     const struct job_options *options);
	/* What worker_sending announced is on disk: go on. NULL where the kind never announces. */
	void (*task_go)(struct engine *engine, struct task *task);
	/* Main stored size bytes of output; reading may go on. NULL where there is no output. */
	void (*task_output_stored)(struct engine *engine, struct task *task, size_t size);
	/* The answer to worker_resolve; error: a sentence, or NULL and the addresses (count >= 1)
	 */
	void (*task_resolved)(struct engine *engine, struct task *task,
			      const struct sockaddr_storage *addresses, size_t count,
			      const char *error);
};

extern const struct kind kind_ping, kind_ssh;

/* All kinds, in order of name; ended by NULL. */
extern const struct kind *const kinds[];
const struct kind *kind_find(const char *name);
