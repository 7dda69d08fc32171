/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/dispatch.h"

#include "common/util.h"

#include <assert.h>

/*
 * A turn takes at most TURN_MAX tasks of a kind, QUANTUM of one source before the next has its
 * turn. A source has at most SHARE times as many places as it leaves free (Choudhury and Hahne's
 * dynamic thresholds, 1998): alone 8 of 9, two of them 8 of 17 each, so that a newcomer always
 * finds some, however long the tasks of the others take.
 */
enum { KINDS_MAX = 8, TURN_MAX = 4096, QUANTUM = 16, SPAN_MAX = 1024, SHARE = 8 };

struct lane {
	struct task_batch taken; /* for this worker, not yet handed over */
	size_t load;             /* taken and not yet returned */
};

/* The sources of one kind, and how much of its bound is used. */
struct lineup {
	TAILQ_HEAD(ring, dispatch_source) ring;
	size_t running;
};

struct dispatch {
	struct workers *workers;
	const struct config *config;
	dispatch_next_fn *next;
	void *context;
	struct lineup lineups[KINDS_MAX]; /* by place in kinds[] */
	struct lane *lanes;               /* one a worker */
};

static struct lineup *lineup_of(struct dispatch *dispatch, const struct kind *kind)
{
	size_t place = 0;

	while (kinds[place] != kind)
		place++;
	return &dispatch->lineups[place];
}

struct dispatch *dispatch_new(struct workers *workers, const struct config *config,
			      dispatch_next_fn *next, void *context)
{
	struct dispatch *dispatch = xcalloc(1, sizeof(*dispatch));

	dispatch->workers = workers;
	dispatch->config = config;
	dispatch->next = next;
	dispatch->context = context;
	for (size_t i = 0; kinds[i]; i++) {
		assert(i < KINDS_MAX);
		TAILQ_INIT(&dispatch->lineups[i].ring);
	}
	dispatch->lanes = xcalloc(workers_count(workers), sizeof(*dispatch->lanes));
	for (unsigned i = 0; i < workers_count(workers); i++)
		STAILQ_INIT(&dispatch->lanes[i].taken);
	return dispatch;
}

void dispatch_free(struct dispatch *dispatch)
{
	if (!dispatch)
		return;
	for (unsigned i = 0; i < workers_count(dispatch->workers); i++) {
		struct task_batch *taken = &dispatch->lanes[i].taken;
		struct task *task;

		while ((task = STAILQ_FIRST(taken))) {
			STAILQ_REMOVE_HEAD(taken, link);
			task_free(task);
		}
	}
	free(dispatch->lanes);
	free(dispatch);
}

void dispatch_set_config(struct dispatch *dispatch, const struct config *config)
{
	dispatch->config = config;
}

void dispatch_ready(struct dispatch *dispatch, struct dispatch_source *source)
{
	if (source->is_ready)
		return;
	TAILQ_INSERT_TAIL(&lineup_of(dispatch, source->kind)->ring, source, link);
	source->is_ready = true;
}

void dispatch_drop(struct dispatch *dispatch, struct dispatch_source *source)
{
	if (!source->is_ready)
		return;
	TAILQ_REMOVE(&lineup_of(dispatch, source->kind)->ring, source, link);
	source->is_ready = false;
}

static void count_returned(struct dispatch *dispatch, struct dispatch_source *source,
			   unsigned worker, uint32_t count)
{
	dispatch->lanes[worker].load -= count;
	source->running -= count;
	lineup_of(dispatch, source->kind)->running -= count;
}

/* The worker with the fewest tasks among those that the kind may use. */
static unsigned choose_worker(const struct dispatch *dispatch, const struct kind *kind)
{
	unsigned first, count, best;

	workers_range(dispatch->workers, kind, &first, &count);
	best = first;
	for (unsigned i = first + 1; i < first + count; i++)
		if (dispatch->lanes[i].load < dispatch->lanes[best].load)
			best = i;
	return best;
}

/* For so many more of this source there are places. */
static uint64_t places(const struct lineup *lineup, size_t bound,
		       const struct dispatch_source *source)
{
	uint64_t share;

	if (lineup->running >= bound)
		return 0;
	/* The last of n is taken while it has less than SHARE times what is free then. */
	share = SHARE * (bound - lineup->running + 1);
	return share > source->running ? (share - source->running) / (SHARE + 1) : 0;
}

/* So many may be taken together; 0: the source is at its own bound. */
static uint32_t most_at_once(uint64_t free, const struct dispatch_source *source)
{
	uint64_t most = free < SPAN_MAX ? free : SPAN_MAX;

	if (source->parallel == 0 || source->running + most <= source->parallel)
		return (uint32_t)most;
	return source->running < source->parallel ? (uint32_t)(source->parallel - source->running)
						  : 0;
}

/*
 * Up to QUANTUM tasks of one source, and a span whole; returns how many. A source that has nothing
 * or is at its own bound leaves the ring: dispatch_ready and dispatch_returned bring it back.
 */
static unsigned take_from(struct dispatch *dispatch, struct lineup *lineup, size_t bound,
			  struct dispatch_source *source)
{
	unsigned taken = 0;
	uint64_t free;

	while (taken < QUANTUM && (free = places(lineup, bound, source)) > 0) {
		unsigned worker = choose_worker(dispatch, source->kind);
		uint32_t most = most_at_once(free, source);
		struct task *task =
			most > 0 ? dispatch->next(source, worker, most, dispatch->context) : NULL;

		if (!task) {
			dispatch_drop(dispatch, source);
			return taken;
		}
		STAILQ_INSERT_TAIL(&dispatch->lanes[task->worker].taken, task, link);
		assert(task->count <= most);
		dispatch->lanes[task->worker].load += task->count;
		source->running += task->count;
		lineup->running += task->count;
		taken += task->count;
	}
	/* Served: to the end of the ring. */
	dispatch_drop(dispatch, source);
	dispatch_ready(dispatch, source);
	return taken;
}

bool dispatch_take(struct dispatch *dispatch)
{
	bool is_more = false;

	for (size_t i = 0; kinds[i]; i++) {
		struct lineup *lineup = &dispatch->lineups[i];
		size_t bound = kinds[i]->in_flight_max(dispatch->config);
		struct dispatch_source *source, *held_up = NULL;
		unsigned taken = 0;

		/* Once round the ring since the first that has its share: places only get fewer. */
		while (taken < TURN_MAX && lineup->running < bound &&
		       (source = TAILQ_FIRST(&lineup->ring)) && source != held_up) {
			if (!held_up && places(lineup, bound, source) == 0)
				held_up = source;
			taken += take_from(dispatch, lineup, bound, source);
		}
		if (taken >= TURN_MAX)
			is_more = true;
	}
	return is_more;
}

void dispatch_hand_over(struct dispatch *dispatch)
{
	for (unsigned i = 0; i < workers_count(dispatch->workers); i++)
		workers_start(dispatch->workers, i, &dispatch->lanes[i].taken);
}

void dispatch_forget(struct dispatch *dispatch, struct dispatch_source *source)
{
	dispatch_drop(dispatch, source);
	for (unsigned i = 0; i < workers_count(dispatch->workers); i++) {
		struct task_batch kept = STAILQ_HEAD_INITIALIZER(kept);
		struct task_batch *taken = &dispatch->lanes[i].taken;
		struct task *task;

		while ((task = STAILQ_FIRST(taken))) {
			STAILQ_REMOVE_HEAD(taken, link);
			if (task->key.job == source->job) {
				count_returned(dispatch, source, i, task->count);
				task_free(task);
			} else {
				STAILQ_INSERT_TAIL(&kept, task, link);
			}
		}
		STAILQ_CONCAT(taken, &kept);
	}
	assert(source->running == 0);
}

void dispatch_returned(struct dispatch *dispatch, struct dispatch_source *source, unsigned worker)
{
	count_returned(dispatch, source, worker, 1);
	dispatch_ready(dispatch, source);
}

size_t dispatch_running(const struct dispatch *dispatch)
{
	size_t running = 0;

	for (size_t i = 0; kinds[i]; i++)
		running += dispatch->lineups[i].running;
	return running;
}
