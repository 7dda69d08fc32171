/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A real job table over the store of store-box, on a disk that fails where a test says so
 * (fault-vfs), with one worker for SSH and one for pings; no server: its turns are the test's,
 * which calls a call's next step, and none is ever over.
 */
#pragma once

#include "daemon/jobs.h"
#include "daemon/mailbox.h"

#include <event2/event.h>

struct jobs_box {
	struct event_base *base;
	struct config *config;
	struct mailbox reports;
	struct workers *workers;
	struct jobs *jobs;
};
/* The one of a test, with its box: cmocka's set-up and tear-down. */
extern struct jobs_box table;
int jobs_box_open(void **state);
/* Nothing runs any more. */
int jobs_box_close(void **state);

#define TABLE_TEST(name) cmocka_unit_test_setup_teardown(name, jobs_box_open, jobs_box_close)

/* The end of a turn: what was reported is applied already. */
void jobs_box_commit(void);
void jobs_box_take_reports(void);

/* From an address that this machine does not have: each fails at once, and nothing is sent. */
#define FAILING "{\"source\": \"192.0.2.77\"}"
enum { JOBS_BOX_RETRIES = 2 };
/* Pings of user 7, started and begun, so many at a time; both words are JSON. */
struct job *jobs_box_start(const char *targets, const char *options, unsigned parallel);
/* Until it has ended; it is gone then. Returns its id. */
uint64_t jobs_box_finish(struct job *job);
