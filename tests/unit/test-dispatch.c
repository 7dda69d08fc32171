/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Dispatch on real workers, with pings that never leave it: what is picked is looked at before it
 * is handed over.
 */
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/dispatch.h"
#include "daemon/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { SOURCES = 3 };

struct place {
	struct config config;
	struct mailbox reports;
	struct workers *workers;
	struct dispatch *dispatch;
	struct dispatch_source sources[SOURCES];
	uint64_t left[SOURCES]; /* tasks that a source still has */
	uint64_t picked[SOURCES];
	uint64_t picks;
	struct job_options options;
};

static struct task *next(struct dispatch_source *source, unsigned worker, uint32_t most,
			 void *context)
{
	struct place *place = context;
	size_t i = (size_t)(source - place->sources);

	assert_int_equal(worker, 0); /* pings have a worker of their own */
	assert_true(most > 0);
	if (place->left[i] == 0)
		return NULL;
	place->left[i]--;
	place->picked[i]++;
	place->picks++;
	return task_new((struct task_key){.job = source->job}, 1, place->picks, &place->options,
			"127.0.0.1"); /* its worker is 0 */
}

static int set_up(void **state)
{
	struct place *place = xcalloc(1, sizeof(*place));

	place->config.workers = 1;
	place->config.ping_parallel = 40;
	place->config.ping_rate = 1000;
	place->config.ssh_parallel = 10;
	place->options.kind = &kind_ping;
	atomic_init(&place->options.references, 1);
	assert_int_equal(mailbox_init(&place->reports), 0);
	assert_int_equal(workers_new(&place->config, &place->reports, &place->workers), 0);
	place->dispatch = dispatch_new(place->workers, &place->config, next, place);
	for (size_t i = 0; i < SOURCES; i++)
		place->sources[i] = (struct dispatch_source){.job = i + 1, .kind = &kind_ping};
	*state = place;
	return 0;
}

static int tear_down(void **state)
{
	struct place *place = *state;

	for (size_t i = 0; i < SOURCES; i++)
		dispatch_forget(place->dispatch, &place->sources[i]);
	assert_int_equal(dispatch_running(place->dispatch), 0);
	assert_int_equal(atomic_load(&place->options.references), 1);
	dispatch_free(place->dispatch);
	workers_free(place->workers);
	mailbox_done(&place->reports);
	free(place);
	return 0;
}

static void test_kind_bound(void **state)
{
	struct place *place = *state;

	place->left[0] = 1000;
	dispatch_ready(place->dispatch, &place->sources[0]);
	dispatch_ready(place->dispatch, &place->sources[0]); /* twice is once */
	assert_false(dispatch_take(place->dispatch));
	/* Eight times as many as it leaves free. */
	assert_int_equal(place->picked[0], 36);
	assert_int_equal(dispatch_running(place->dispatch), 36);
	/* It has its share, and whoever comes now finds a place. */
	place->left[1] = 1;
	dispatch_ready(place->dispatch, &place->sources[1]);
	(void)dispatch_take(place->dispatch);
	assert_int_equal(place->picked[0], 36);
	assert_int_equal(place->picked[1], 1);
	/* Never more than the bound. */
	place->left[1] = place->left[2] = 1000;
	dispatch_ready(place->dispatch, &place->sources[1]);
	dispatch_ready(place->dispatch, &place->sources[2]);
	(void)dispatch_take(place->dispatch);
	assert_int_equal(dispatch_running(place->dispatch), 40);
	/* Places get free: those who waited are next. */
	dispatch_forget(place->dispatch, &place->sources[0]);
	(void)dispatch_take(place->dispatch);
	assert_true(place->picked[1] >= 16 && place->picked[2] >= 16);
}

static void test_fair(void **state)
{
	struct place *place = *state;

	place->left[0] = 1000;
	place->left[1] = 1000;
	place->left[2] = 3;
	for (size_t i = 0; i < SOURCES; i++)
		dispatch_ready(place->dispatch, &place->sources[i]);
	(void)dispatch_take(place->dispatch);
	/* A small job behind a large one has its turn in the first round. */
	assert_int_equal(place->picked[2], 3);
	assert_true(place->picked[0] >= 16 && place->picked[1] >= 16);
	assert_int_equal(place->picked[0] + place->picked[1] + place->picked[2], 38);
}

static void test_own_bound(void **state)
{
	struct place *place = *state;

	place->left[0] = place->left[1] = 1000;
	place->sources[0].parallel = 2;
	dispatch_ready(place->dispatch, &place->sources[0]);
	dispatch_ready(place->dispatch, &place->sources[1]);
	(void)dispatch_take(place->dispatch);
	assert_int_equal(place->picked[0], 2);
	assert_int_equal(place->picked[1], 34);
}

static void test_drop(void **state)
{
	struct place *place = *state;

	place->left[0] = 5;
	dispatch_ready(place->dispatch, &place->sources[0]);
	dispatch_drop(place->dispatch, &place->sources[0]);
	dispatch_drop(place->dispatch, &place->sources[0]);
	(void)dispatch_take(place->dispatch);
	assert_int_equal(place->picked[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_kind_bound, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_fair, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_own_bound, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_drop, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
