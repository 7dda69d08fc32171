/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * When to commit. A reply that is being held, or much output, commits at the end of the turn. Else
 * commits are spaced by twice the time that the last one waited for the disk, within [SPACING_MIN,
 * SPACING_MAX]: an idle daemon commits at once, a busy one shares each fsync among all that
 * happened meanwhile, and a slow disk gets fewer and larger commits.
 *
 * While the disk is full the queue is tried again every RETRY_US; reads go on. So is deleting,
 * where it failed.
 */
#include "daemon/turn.h"

#include "common/log.h"
#include "common/util.h"
#include "daemon/jobs.h"
#include "daemon/schedules.h"
#include "daemon/store.h"

#include <errno.h>
#include <time.h>

enum {
	SPACING_MIN_US = 2000,
	SPACING_MAX_US = 40000,
	RETRY_US = 1000000,
	REAP_DELAY_US = 10000,     /* from a commit to the deletions that it may have asked for */
	READ_ERRORS_US = 10000000, /* one line of the log in so long */
};

struct turns {
	struct daemon *daemon;
	void (*on_storage)(void *context);
	void *context;
	struct event *wake; /* a later commit, or another piece of work */
	bool is_stopping;
	bool is_failing; /* the last commit did */
	bool has_more;   /* tasks that could begin, rows to reap: another turn soon */
	bool may_reap;
	uint64_t read_failures;
	/* monotonic; not before */
	int64_t next_commit_us, next_reap_us, next_read_error_us;
};

static void on_wake(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context; /* the turn's end does the rest */
}

struct turns *turns_new(struct daemon *daemon, void (*on_storage)(void *context), void *context)
{
	struct turns *turns = xcalloc(1, sizeof(*turns));

	turns->daemon = daemon;
	turns->on_storage = on_storage;
	turns->context = context;
	turns->may_reap = true; /* what a crash left half deleted */
	/* What failed before was told. */
	(void)store_read_error(daemon->store, &turns->read_failures);
	turns->wake = event_new(daemon->base, -1, 0, on_wake, NULL);
	if (!turns->wake)
		abort();
	return turns;
}

void turns_free(struct turns *turns)
{
	if (!turns)
		return;
	event_free(turns->wake);
	free(turns);
}

static void wake_in(struct turns *turns, int64_t delay_us)
{
	const struct timeval delay = timeval_of(delay_us);

	(void)event_add(turns->wake, &delay);
}

static void commit(struct turns *turns)
{
	struct daemon *daemon = turns->daemon;
	int64_t spacing_us;
	int r;

	turns->has_more = jobs_flush(daemon->jobs);
	r = store_commit(daemon->store);
	if ((r < 0) != turns->is_failing)
		turns->on_storage(turns->context);
	spacing_us = 2 * store_sync_us(daemon->store);
	if (spacing_us < SPACING_MIN_US)
		spacing_us = SPACING_MIN_US;
	if (spacing_us > SPACING_MAX_US)
		spacing_us = SPACING_MAX_US;
	if (r < 0) {
		if (!turns->is_failing)
			log_error("%s", store_error(daemon->store));
		spacing_us = RETRY_US;
		server_committed(daemon->server, store_error(daemon->store));
		jobs_commit_failed(daemon->jobs);
	} else {
		if (turns->is_failing)
			log_notice("the database takes changes again");
		if (!turns->may_reap)
			turns->next_reap_us = now_monotonic_us() + REAP_DELAY_US;
		turns->may_reap = true;
		/* First the replies: what is told next (a job that runs) rests on them. */
		server_committed(daemon->server, NULL);
		jobs_committed(daemon->jobs);
		schedules_committed(daemon->schedules);
	}
	server_resume(daemon->server);
	turns->is_failing = r < 0;
	turns->next_commit_us = now_monotonic_us() + spacing_us;
}

/* Whoever asked was told; a damaged page that is read again and again does not fill the log. */
static void log_failed_reads(struct turns *turns)
{
	uint64_t failures;
	const char *error = store_read_error(turns->daemon->store, &failures);
	int64_t now_us;

	if (failures == turns->read_failures)
		return;
	now_us = now_monotonic_us();
	turns->read_failures = failures;
	if (now_us < turns->next_read_error_us)
		return;
	log_error("%s", error);
	turns->next_read_error_us = now_us + READ_ERRORS_US;
}

/* A piece of deleting, in the pauses between commits: often when idle, seldom under load. */
static void reap(struct turns *turns)
{
	struct store *store = turns->daemon->store;
	int64_t now_us = now_monotonic_us();
	bool is_more = false;
	int r;

	if (!turns->may_reap || turns->is_failing || now_us < turns->next_reap_us ||
	    store_has_changes(store))
		return;
	r = store_reap(store, &is_more);
	/* A disk that is full, a lock, a file that is not in its place: all but damage may pass. */
	turns->may_reap =
		r == 0 ? is_more : r != -EUCLEAN && !(r == -EIO && store_is_damaged(store));
	/* At most half of the time, so that nobody waits for it long. */
	turns->next_reap_us = 2 * now_monotonic_us() - now_us + (r == 0 ? US_PER_MS : RETRY_US);
}

/* When the next turn is due by itself; INT64_MAX: when something happens. */
static int64_t next_turn_us(const struct turns *turns, bool has_work)
{
	if (has_work)
		return turns->next_commit_us;
	return turns->may_reap ? turns->next_reap_us : INT64_MAX;
}

static bool has_work(const struct turns *turns)
{
	return jobs_has_changes(turns->daemon->jobs) || turns->has_more || turns->is_failing;
}

static void end_turn(struct turns *turns)
{
	const struct daemon *daemon = turns->daemon;
	bool is_urgent = (server_has_held(daemon->server) || store_is_full(daemon->store)) &&
			 !turns->is_failing;
	int64_t due_us;

	if (is_urgent || (has_work(turns) && now_monotonic_us() >= turns->next_commit_us))
		commit(turns);
	reap(turns);
	store_checkpoint(daemon->store);
	log_failed_reads(turns);
	due_us = next_turn_us(turns, has_work(turns));
	if (due_us != INT64_MAX)
		wake_in(turns, due_us - now_monotonic_us());
}

static int64_t thread_cpu_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * US_PER_SEC + now.tv_nsec / 1000;
}

void turns_run(struct turns *turns)
{
	struct daemon *daemon = turns->daemon;

	turns->is_stopping = false;
	end_turn(turns); /* what recovery changed */
	while (!turns->is_stopping) {
		int64_t cpu_us = thread_cpu_us();
		int64_t end_us, turn_us;

		/* The first pass waits until something happens, then runs what is active; others
		 * follow while somebody has more to ask for, until the turn has lasted long.
		 * Waiting is not part of the turn, and the handlers never block: their CPU time is
		 * their time. */
		(void)event_base_loop(daemon->base, EVLOOP_ONCE);
		while (daemon->is_turn_open && !turn_is_over(daemon)) {
			daemon->is_turn_open = false;
			(void)event_base_loop(daemon->base, EVLOOP_NONBLOCK);
		}
		daemon->is_turn_open = false;
		cpu_us = thread_cpu_us() - cpu_us;
		end_us = now_monotonic_us();
		end_turn(turns);
		daemon->turn_began_us = 0;
		turn_us = cpu_us + now_monotonic_us() - end_us;
		if (turn_us > daemon->longest_turn_us)
			daemon->longest_turn_us = turn_us;
	}
}

void turns_stop(struct turns *turns)
{
	turns->is_stopping = true;
}

void turns_finish(struct turns *turns)
{
	if (jobs_has_changes(turns->daemon->jobs))
		commit(turns);
}
