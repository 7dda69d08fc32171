/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A real job table over the store of store-box, with one worker for SSH and one for pings; no
 * server: its turns are the test's, which calls a call's next step, and none is ever over.
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
