/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/jobs-box.h"

#include "common/util.h"
#include "daemon/config.h"
#include "daemon/server.h"
#include "daemon/turn.h"
#include "daemon/worker.h"
#include "tests/lib/fault-vfs.h"
#include "tests/lib/store-box.h"

#include <jansson.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum { WAIT_MS = 10000 };

struct jobs_box table;

int jobs_box_open(void **state)
{
	const struct config_options options = {.config_file = "/dev/null", .workers = 1};
	char *sentence = NULL;

	fault_install(false);
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
	int r;

	assert_true(jobs_is_quiet(table.jobs));
	jobs_free(table.jobs);
	workers_free(table.workers);
	mailbox_done(&table.reports);
	config_free(table.config);
	event_base_free(table.base);
	(void)fault_disarm();
	r = box_close(state);
	fault_remove();
	return r;
}

/* --- Turns of the table --- */

void jobs_box_commit(void)
{
	(void)jobs_flush(table.jobs);
	box_commit();
	jobs_committed(table.jobs);
}

void jobs_box_take_reports(void)
{
	struct letter *letter;

	while ((letter = mailbox_take_one(&table.reports)))
		jobs_report(table.jobs, (struct report *)letter);
}

struct job *jobs_box_start(const char *targets, const char *options, unsigned parallel)
{
	json_t *parameters = json_pack("{s:s, s:o, s:i, s:i, s:i, s:o}", "kind", "ping", "targets",
				       json_loads(targets, 0, NULL), "parallel", parallel,
				       "retries", JOBS_BOX_RETRIES, "retryDelayUsec", 0, "ping",
				       json_loads(options, 0, NULL));
	struct job_request request = {.uid = 7, .parameters = parameters};
	struct error error = {0};
	uint64_t id, tasks;
	bool is_new;

	if (jobs_start(table.jobs, &request, &id, &tasks, &is_new, &error) < 0)
		fail_msg("%s", error.sentence);
	json_decref(parameters);
	jobs_box_commit();
	return jobs_find(table.jobs, id);
}

uint64_t jobs_box_finish(struct job *job)
{
	uint64_t id = job->row.id;
	int64_t end_us = now_monotonic_us() + WAIT_MS * US_PER_MS;

	while (jobs_find(table.jobs, id)) {
		struct pollfd mailbox = {.fd = table.reports.fd, .events = POLLIN};

		(void)poll(&mailbox, 1, 1);
		(void)event_base_loop(table.base, EVLOOP_NONBLOCK);
		jobs_box_take_reports();
		jobs_box_commit();
		assert_true(now_monotonic_us() < end_us);
	}
	return id;
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
