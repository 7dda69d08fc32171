/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/jobs-box.h"

#include "daemon/config.h"
#include "daemon/server.h"
#include "daemon/turn.h"
#include "daemon/worker.h"
#include "tests/lib/store-box.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct jobs_box table;

int jobs_box_open(void **state)
{
	const struct config_options options = {.config_file = "/dev/null", .workers = 1};
	char *sentence = NULL;

	if (box_open(state) < 0)
		return -1;
	table.base = event_base_new();
	assert_non_null(table.base);
	assert_int_equal(config_load(&options, &table.config, &sentence), 0);
	assert_int_equal(mailbox_init(&table.reports), 0);
	assert_int_equal(workers_new(table.config, &table.reports, &table.workers), 0);
	table.jobs = jobs_new(table.base, box.store, table.workers, table.config);
	return 0;
}

int jobs_box_close(void **state)
{
	assert_true(jobs_is_quiet(table.jobs));
	jobs_free(table.jobs);
	workers_free(table.workers);
	mailbox_done(&table.reports);
	config_free(table.config);
	event_base_free(table.base);
	return box_close(state);
}

/* --- The server's turns --- */

void call_schedule(struct call *call)
{
	assert_non_null(call->step);
}

void turn_worked(struct daemon *daemon, bool has_more)
{
	(void)daemon;
	(void)has_more;
}

bool turn_is_over(const struct daemon *daemon)
{
	(void)daemon;
	return false;
}
