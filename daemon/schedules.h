/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Schedules: what makes jobs at their times. They are kept in the store alone, whatever their
 * number; one timer waits for the first that is due. A run is an ordinary job, and its row and the
 * schedule's new time are of one commit, so that no end of jobd loses or doubles it. Main thread.
 */
#pragma once

#include "common/error.h"
#include "daemon/jobs.h"

struct config;
struct daemon;
struct schedules;

/* Base, store, jobs and config are there and outlive it; config may be replaced on reload, which
 * looks at all rules again. */
struct schedules *schedules_new(struct daemon *daemon);
void schedules_free(struct schedules *schedules);
void schedules_set_config(struct schedules *schedules, const struct config *config);

/*
 * From Start's parameters with their member "schedule": the job is checked whole, as jobs_start
 * would, and made at its times. The contract of jobs_start, jobs_start_failed included.
 */
int schedules_make(struct schedules *schedules, const struct job_request *request, uint64_t *ret_id,
		   uint64_t *ret_tasks, bool *ret_is_new, struct error *ret_error);

/* "s7", as start prints it. */
bool schedule_is_id(const char *text);
/* "s7", or a name, of those that the user may see; schedule_row_done frees what was found. */
int schedules_find(struct schedules *schedules, uid_t uid, bool is_admin, const char *selector,
		   struct schedule_row *ret_row, struct error *ret_error);

void schedules_pause(struct schedules *schedules, uint64_t id, bool is_paused);
/* Its runs stay. */
void schedules_remove(struct schedules *schedules, uint64_t id);
/* A run beside its times, at once, also while another goes on; jobs_start_failed takes it back. */
int schedules_run(struct schedules *schedules, const struct schedule_row *row, uint64_t *ret_job,
		  struct error *ret_error);

/* After each commit that succeeded. */
void schedules_committed(struct schedules *schedules);
