/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of Receive share: a reading, and the two ways to what it has to give. They are
 * described at the head of method-receive.c.
 */
#pragma once

#include "common/hash.h"
#include "daemon/jobs.h"
#include "daemon/json-text.h"
#include "daemon/select.h"

enum { PAGE_RECORDS = 1000, PAGE_BYTES = 1024 * 1024, SOURCES_PER_TURN = 2000 };

struct source {
	uint64_t job;
	uid_t uid;
	uint64_t given; /* position of the last record given; at first, where the cursor is */
	uint64_t next;  /* of the next record; 0: none now */
	bool is_live;
	bool has_given; /* in this reading */
};

/* Records of one job with none of another between them that is given. */
struct run {
	uint64_t job, after, last;
};

/* A job that was not there yet when the log was looked through: the next reading has it, whole. */
struct left_out {
	uint64_t job;
	UT_hash_handle hh;
};

/* The records of all jobs of the caller, by position. */
struct record_log {
	bool is_on;
	bool is_end;       /* just now */
	uint64_t scanned;  /* up to this position it was looked at */
	uint64_t until;    /* further it is not read */
	uint64_t stored;   /* the cursor's way past */
	uint64_t arriving; /* above are records of those that are left out */
	struct left_out *left_out;
	struct run runs[PAGE_RECORDS];
	size_t next, count; /* not given yet: from next on */
};

/* A job of which something was given and not confirmed. */
struct unconfirmed {
	uint64_t job;
	uid_t uid;
	uint64_t confirmed, given; /* positions */
	UT_hash_handle hh;
};

struct reading {
	struct daemon *daemon;
	uid_t uid;
	char *cursor; /* "" is the usual one */
	bool is_again, is_keep, is_wait, is_remove, is_failed_only;
	bool is_moving;    /* the cursor */
	bool is_broken;    /* a read failed, so that something may be left out: there is no more */
	uint64_t full_job; /* or it has too many cursors */
	struct selection *selection;
	/* The live ones that are waited for, ascending by job; then the walk's, descending */
	struct source *sources;
	size_t count, walk_begin;
	size_t live;      /* so many that is_live */
	size_t looked_up; /* so many know where their next record is */
	size_t *heap;     /* indices into sources, the smallest `next` at [0] */
	size_t heap_count;
	struct record_log log; /* instead of the heap */
	struct job_watcher watcher;
	struct call *call; /* that waits for something to give, or NULL */
	/* The list of the job last read from */
	uint64_t list_job;
	struct target_list *list;
	char *kind;
	/* The page being made */
	struct json_text text;
	size_t records, bytes; /* so many, and of output */
	uint64_t position;     /* up to which it goes */
	/* Confirming: up to where, and what is still to go through */
	struct unconfirmed *unconfirmed;
	uint64_t confirmed;
	struct unconfirmed *to_confirm;
	size_t to_remove; /* sources from here on */
	bool has_moved;   /* a cursor, or removed a job, and no reply has waited for that yet */
};

/* method-receive.c */
/*
 * Adds the run's records to the page, as far as it has room: 0 and up to where (run->after where
 * there are none), -ENOENT where the job was removed meanwhile, or another errno. uid: the job's.
 */
int reading_add(struct reading *reading, const struct run *run, uid_t uid, uint64_t *ret_given);

/* method-receive-sources.c */
void sources_add(struct reading *reading, const struct job_row *row);
/* NULL: it has none of this job. */
struct source *sources_find(const struct reading *reading, uint64_t job);
void source_set_live(struct reading *reading, struct source *source, bool is_live);
/* Looks where its next record is; with a wish for failures only once the job has ended. */
void source_find_next(struct reading *reading, struct source *source);
/* The records that come next, up to where another source has one: 0 or a negative errno. */
int sources_read(struct reading *reading);

/* method-receive-log.c */
/*
 * Where it is the shorter way the reading is one of the log, from where its cursor is (is_on). 0 or
 * a negative errno.
 */
int log_open(struct reading *reading);
bool log_has_more(const struct reading *reading);
/* Looks further, or reads a run: 0 or a negative errno. */
int log_read(struct reading *reading);
/* A job has changed, perhaps one of the caller. */
void log_changed(struct reading *reading, const struct job_row *row);
/* The cursor has been moved over what was confirmed. */
void log_confirmed(struct reading *reading);
void log_done(struct record_log *log);

/* method-receive-confirm.c */
/* Before something of a job is given: is there a place for what moves over it? 0 or a negative
 * errno. */
int confirm_room(struct reading *reading, uint64_t job);
/* What was given of a job after this position waits to be confirmed, up to reading->position. */
void confirm_later(struct reading *reading, uint64_t job, uid_t uid, uint64_t after);
void confirm_begin(struct reading *reading, uint64_t position);
/* A piece of it: 1 where there is more to do, 0, or the errno of a failed read; then it may be
 * begun again. */
int confirm_step(struct reading *reading);
void confirm_forget(struct reading *reading);
