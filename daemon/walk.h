/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Going through a selection a page a turn, so that a call about very many jobs stalls nobody. The
 * first page is read at once: a small selection is answered in the turn that asked.
 */
#pragma once

#include "daemon/select.h"

enum { WALK_PAGE = 500 };

/* The first member of a call's state. */
struct walk {
	struct selection *selection;
	uint64_t before;
	job_row_fn *each; /* context: the call */
	/* Before the first page, when what is named is there; may be NULL */
	void (*begin)(struct call *call);
	/* Before each next page; may be NULL */
	void (*page)(struct call *call);
	/* All were seen; must answer the call or see that it will be */
	void (*done)(struct call *call);
	/* walk_find */
	struct job_row *row;
	void (*found)(struct call *call);
};

/*
 * Makes the call's state of so many bytes, which begins with a struct walk, from the parameter
 * "selection". NULL: the call has been answered with an error. free must end with walk_done.
 */
void *walk_new(struct call *call, size_t state_size, void (*free_state)(void *state));
/* What is for whole jobs alone would do more than was asked for: true where a selector has a task
 * part, and the call is answered with an error. verb: as in "remove". */
bool walk_refuse_tasks(struct call *call, const char *verb);
void walk_start(struct call *call, job_row_fn *each, void (*done)(struct call *call));
/* The same, from the parameter "selector": one job. */
void *walk_new_one(struct call *call, size_t state_size, void (*free_state)(void *state));
/* Instead of walk_start: *row becomes a copy of the job's, of several the newest, before done.
 * Where there is none the call is answered. */
void walk_find(struct call *call, struct job_row *row, void (*done)(struct call *call));
/* The answer where the store could not be read. */
void walk_read_failed(struct call *call);
/* What walk_find answers where there is none. */
void walk_refuse_none(struct call *call);
/* What a read of the job answers that failed with this errno; -ENOENT: it was removed meanwhile. */
void walk_refuse_read(struct call *call, int r);
/* Frees the selection and the state. */
void walk_free(void *state);
