/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One table: method name -> handler and what it needs. One file method-*.c for each large one. The
 * handlers call down into jobs and store, and answer with call_reply or call_error.
 */
#pragma once

#include "daemon/server.h"

struct method {
	const char *name; /* "Start", of org.jobd */
	void (*handle)(struct call *call);
	bool is_change; /* the reply is held until the commit; refused while the store is failing */
	bool needs_more; /* called without "more": error ExpectedMore */
};

extern const struct method methods[];
extern const size_t method_count;
const struct method *method_find(const char *name);

void method_start(struct call *call);
void method_retry(struct call *call);
void method_list(struct call *call);
void method_list_tasks(struct call *call);
void method_receive(struct call *call);
void method_wait(struct call *call);
void method_subscribe(struct call *call);
void method_stop(struct call *call);
void method_pause(struct call *call);
void method_resume(struct call *call);
void method_adjust(struct call *call);
void method_import(struct call *call);
void method_remove(struct call *call);
void method_list_schedules(struct call *call);
void method_change_schedules(struct call *call);
void method_get_status(struct call *call);
void method_list_profiles(struct call *call);

/* --- Rows as the interface has them (method-views.c) --- */

struct job_row;
struct json_text;
struct schedule_row;
struct task_row;
json_t *view_job(const struct job_row *row, bool with_details);
/* last_state: a word, or NULL */
json_t *view_schedule(const struct schedule_row *row, const char *last_state, bool with_details);
/* The parameter limit within [1, max]; the fallback where it is absent (method-list.c). */
size_t limit_of(const struct call *call, size_t fallback, size_t max);
/* kind: the name of the job's kind, under which the result goes. */
void view_task(const struct task_row *row, const char *kind, const char *target,
	       struct json_text *text);
void view_task_end(const struct task_row *row, const char *kind, struct json_text *text);
