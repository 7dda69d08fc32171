/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Receive: what the client has written out moves the cursors, some jobs a turn. */
#include "daemon/method-receive-internal.h"

#include "common/util.h"

#include <errno.h>

static struct unconfirmed *find_unconfirmed(const struct reading *reading, uint64_t job)
{
	struct unconfirmed *unconfirmed;

	HASH_FIND(hh, reading->unconfirmed, &job, sizeof(job), unconfirmed);
	return unconfirmed;
}

/* Names that are used once would pile up while the job stays. Readings of one moment may each add
 * one. */
int confirm_room(struct reading *reading, uint64_t job)
{
	int r;

	if (!reading->is_moving || reading->cursor[0] == '\0' || find_unconfirmed(reading, job))
		return 0;
	r = store_cursor_has_room(reading->daemon->store, reading->uid, reading->cursor, job);
	if (r != 0)
		return r < 0 ? r : 0;
	reading->full_job = job;
	return -EDQUOT;
}

void confirm_later(struct reading *reading, uint64_t job, uid_t uid, uint64_t after)
{
	struct unconfirmed *unconfirmed;

	if (!reading->is_moving)
		return;
	unconfirmed = find_unconfirmed(reading, job);
	if (!unconfirmed) {
		unconfirmed = xcalloc(1, sizeof(*unconfirmed));
		unconfirmed->job = job;
		unconfirmed->uid = uid;
		unconfirmed->confirmed = after;
		HASH_ADD(hh, reading->unconfirmed, job, sizeof(job), unconfirmed);
	}
	unconfirmed->given = reading->position;
}

static int move_cursor(struct reading *reading, const struct unconfirmed *unconfirmed,
		       uint64_t position)
{
	struct daemon *daemon = reading->daemon;

	reading->has_moved = true;
	if (reading->cursor[0] == '\0' && reading->uid == unconfirmed->uid)
		return jobs_received(daemon->jobs, unconfirmed->job, position);
	store_put_cursor(daemon->store, reading->uid, reading->cursor, unconfirmed->job, position);
	return 0;
}

/* The next job of those that wait for it: 0, or the errno of a failed read. */
static int confirm_job(struct reading *reading)
{
	struct unconfirmed *unconfirmed = reading->to_confirm;
	uint64_t upto = unconfirmed->given;
	int r = 0;

	if (upto > reading->confirmed)
		upto = reading->confirmed;
	if (upto > unconfirmed->confirmed)
		r = move_cursor(reading, unconfirmed, upto);
	if (r < 0)
		return r;
	reading->to_confirm = unconfirmed->hh.next;
	if (upto < unconfirmed->given) {
		if (upto > unconfirmed->confirmed)
			unconfirmed->confirmed = upto;
	} else {
		HASH_DEL(reading->unconfirmed, unconfirmed);
		free(unconfirmed);
	}
	return 0;
}

static void remove_received(struct reading *reading)
{
	struct source *source = &reading->sources[reading->to_remove++];
	struct jobs *jobs = reading->daemon->jobs;

	/* Where a read failed, nothing tells that there is no more. */
	if (reading->is_broken || source->is_live || source->next != 0 ||
	    (source->has_given && source->given > reading->confirmed) ||
	    jobs_is_open(jobs, source->job) || store_is_stuck(reading->daemon->store))
		return;
	jobs_remove(jobs, source->job);
	reading->has_moved = true;
	source->given = UINT64_MAX; /* once */
}

void confirm_begin(struct reading *reading, uint64_t position)
{
	if (position > reading->position)
		position = reading->position; /* nothing beyond was given */
	/* jobctl --group says the same position page after page. */
	if (position > reading->confirmed || reading->to_confirm)
		reading->to_confirm = reading->unconfirmed;
	if (position > reading->confirmed)
		reading->confirmed = position;
	reading->to_remove = reading->is_remove ? 0 : reading->count;
}

int confirm_step(struct reading *reading)
{
	for (unsigned i = 0; i < SOURCES_PER_TURN; i++) {
		int r = 0;

		if (reading->to_confirm)
			r = confirm_job(reading);
		else if (reading->to_remove < reading->count)
			remove_received(reading);
		if (r < 0)
			return r;
	}
	if (reading->to_confirm || reading->to_remove < reading->count)
		return 1;
	if (reading->log.is_on && reading->is_moving)
		log_confirmed(reading);
	return 0;
}

void confirm_forget(struct reading *reading)
{
	struct unconfirmed *unconfirmed, *next;

	HASH_ITER (hh, reading->unconfirmed, unconfirmed, next) {
		HASH_DEL(reading->unconfirmed, unconfirmed);
		free(unconfirmed);
	}
}
