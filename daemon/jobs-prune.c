/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What jobd forgets by itself, where jobd.conf says so: jobs that ended longer ago than
 * keep-finished, and, while the database is larger than max-database-size, the jobs that ended
 * first, those that were received before the others. Runs beyond --keep-last are a matter of
 * schedules.c, and only counted here. Each is told in the journal.
 *
 * Rows of removed jobs go piece by piece in idle turns (store_reap); until they are gone nobody
 * knows what their going brought, and size takes no further job.
 */
#include "daemon/jobs-internal.h"

#include "common/log.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/config.h"

enum {
	LOOKS_IN_AGE = 8, /* a job is kept by so much of keep-finished too long, at most */
	LOOK_MIN_US = 1000000,
	LOOK_MAX_US = 60000000,
	LOOK_AGAIN_US = 50000, /* while there is more to do */
	AT_A_TIME = 200,
};

/* Which setting asks for it. */
struct pruning {
	struct jobs *jobs;
	const char *setting;
	unsigned count;
	int64_t excess; /* bytes that are to go */
};

uint64_t jobs_pruned(const struct jobs *jobs)
{
	return jobs->pruned;
}

/* Until the commit it is there for whoever reads. */
static bool is_being_removed(struct jobs *jobs, uint64_t id)
{
	const struct live_job *job = live_job_find(jobs, id);

	for (size_t i = 0; i < jobs->removed_count; i++)
		if (jobs->removed[i] == id)
			return true;
	return job && job->is_removed;
}

bool jobs_prune(struct jobs *jobs, uint64_t id)
{
	if (is_being_removed(jobs, id))
		return false;
	jobs_remove(jobs, id);
	jobs->pruned++;
	return true;
}

static int prune_job(const struct ended_row *row, void *context)
{
	struct pruning *pruning = context;
	autofree char *id = xasprintf("JOBD_JOB=%llu", (unsigned long long)row->id);
	const char *const fields[] = {id, "JOBD_STATE=pruned", NULL};
	char ended[UNITS_TEXT_MAX];

	log_event(LOG_NOTICE, fields, "job %llu, which ended at %s%s, is pruned: %s in jobd.conf",
		  (unsigned long long)row->id, time_text(row->ended_us, ended),
		  row->is_received ? "" : " and was not received", pruning->setting);
	(void)jobs_prune(pruning->jobs, row->id);
	pruning->count++;
	pruning->excess -= row->bytes;
	return pruning->excess <= 0;
}

static bool prune_by_age(struct jobs *jobs)
{
	struct pruning pruning = {.jobs = jobs, .setting = "keep-finished", .excess = INT64_MAX};
	int64_t keep_us = jobs->config->keep_finished;

	if (keep_us > 0)
		(void)store_read_ended(jobs->store, false, now_real_us() - keep_us, AT_A_TIME,
				       prune_job, &pruning);
	return pruning.count > 0;
}

bool jobs_are_too_large(const struct jobs *jobs)
{
	int64_t most = jobs->config->max_database;

	return most > 0 && store_used_bytes(jobs->store) > most;
}

static bool prune_by_size(struct jobs *jobs)
{
	struct pruning pruning = {
		.jobs = jobs,
		.setting = "max-database-size",
		.excess = store_used_bytes(jobs->store) - jobs->config->max_database,
	};

	if (!jobs_are_too_large(jobs))
		return false;
	if (store_has_removed(jobs->store))
		return true;
	/* Also those that ended while the clock was ahead. Without an answer none is known to be
	 * the next. */
	if (store_read_ended(jobs->store, true, INT64_MAX, AT_A_TIME, prune_job, &pruning) == 0 &&
	    pruning.count == 0)
		(void)store_read_ended(jobs->store, false, INT64_MAX, AT_A_TIME, prune_job,
				       &pruning);
	return pruning.count > 0;
}

/* Now and then, and often while there is something to do. */
static void arm(struct jobs *jobs, bool is_more)
{
	int64_t look_us = jobs->config->keep_finished / LOOKS_IN_AGE;
	struct timeval delay;

	if (look_us == 0 || look_us > LOOK_MAX_US)
		look_us = LOOK_MAX_US;
	if (look_us < LOOK_MIN_US || jobs->config->max_database > 0)
		look_us = LOOK_MIN_US;
	if (is_more)
		look_us = LOOK_AGAIN_US;
	delay = (struct timeval){look_us / US_PER_SEC, look_us % US_PER_SEC};
	if (jobs->config->keep_finished > 0 || jobs->config->max_database > 0)
		(void)event_add(jobs->prune_timer, &delay);
	else
		(void)event_del(jobs->prune_timer);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct jobs *jobs = context;
	/* What was removed at the last look is there until it is committed. */
	bool is_more = jobs->removed_count > 0;

	(void)fd;
	(void)what;
	if (!store_error(jobs->store) && !is_more) {
		is_more = prune_by_age(jobs);
		is_more |= !is_more && prune_by_size(jobs);
	}
	arm(jobs, is_more);
}

void jobs_prune_configured(struct jobs *jobs)
{
	if (!jobs->prune_timer)
		jobs->prune_timer = event_new(jobs->base, -1, 0, on_timer, jobs);
	if (!jobs->prune_timer)
		abort();
	arm(jobs, true);
}
