/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/ping-worker.h"

#include "common/util.h"
#include "daemon/config.h"
#include "daemon/resolver.h"
#include "daemon/worker.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { BOUND_S = 60 };

/* --- The worker, as engines see it --- */

struct worker worker;

struct event_base *worker_base(struct worker *of)
{
	return of->base;
}

int64_t worker_now_us(struct worker *of)
{
	(void)of;
	return now_monotonic_us();
}

bool worker_target_ended(struct worker *of, struct task *task, uint32_t index,
			 struct outcome *outcome)
{
	assert_ptr_equal(of->tasks[index], task);
	of->tasks[index] = NULL;
	of->outcomes[index] = *outcome;
	of->ended++;
	if (--task->left > 0)
		return false;
	task_free(task);
	return true;
}

void worker_output(struct worker *of, struct task *task, enum stream stream, const void *bytes,
		   size_t size)
{
	assert_true(of->tasks[task->key.index] == task && stream == STREAM_STDOUT);
	assert_true(of->output_size + size < sizeof(of->output));
	memcpy(of->output + of->output_size, bytes, size);
	of->output_size += size;
	of->output[of->output_size] = '\0';
}

void worker_resolve(struct worker *of, struct task *task, const char *host, int family)
{
	resolver_ask(of->resolver, host, family, task->key, task->run, 0, &of->mailbox);
}

static void on_mailbox(evutil_socket_t fd, short what, void *context)
{
	struct letters letters;
	struct letter *letter;

	(void)fd;
	(void)what;
	(void)context;
	mailbox_take(&worker.mailbox, &letters);
	while ((letter = STAILQ_FIRST(&letters))) {
		struct resolver_answer *answer = (struct resolver_answer *)letter;
		struct task *task = worker.tasks[answer->key.index];

		STAILQ_REMOVE_HEAD(&letters, link);
		if (task && task->run == answer->run)
			kind_ping.task_resolved(worker.engine, task, answer->addresses,
						answer->count, answer->error);
		free(answer->error);
		free(answer);
	}
}

/* --- Running --- */

static const struct config config = {.ping_rate = 10000000, .ping_parallel = TASKS_MAX};

void pinger_begin(const char *options, int64_t timeout_us)
{
	static uint64_t job;
	json_t *object = json_loads(options, 0, NULL);
	struct error error = {0};

	assert_non_null(object);
	worker.options = xcalloc(1, sizeof(*worker.options));
	atomic_init(&worker.options->references, 1);
	worker.options->kind = &kind_ping;
	worker.options->timeout_us = timeout_us;
	worker.options->kind_options = xcalloc(1, kind_ping.options_size);
	if (fields_parse(kind_ping.fields, kind_ping.field_count, object, NULL,
			 worker.options->kind_options, &error) < 0 ||
	    kind_ping.options_check(worker.options->kind_options, &config, true, &error) < 0)
		fail_msg("%s", error.sentence);
	json_decref(object);
	worker.started = worker.ended = 0;
	job++;
	worker.options->uid = (uid_t)job; /* only so that each run of a test has a job of its own */
}

static uint64_t last_run;

static void start(struct task *task)
{
	for (uint32_t i = 0; i < task->count; i++)
		worker.tasks[task->key.index + i] = task;
	worker.started += task->count;
	kind_ping.task_start(worker.engine, task);
}

static struct task_key next_key(void)
{
	return (struct task_key){.job = worker.options->uid, .index = (uint32_t)worker.started};
}

void pinger_start(const char *target)
{
	start(task_new(next_key(), 1, ++last_run, worker.options, target));
}

void pinger_start_span(const char *const *words, size_t count)
{
	struct target_list *list;
	struct error error = {0};

	assert_int_equal(worker.started, 0); /* places in the list are those in the job */
	if (target_list_new(words, count, NULL, 0, TASKS_MAX, &list, &error) < 0)
		fail_msg("%s", error.sentence);
	start(task_new_span(next_key(), (uint32_t)target_list_count(list), ++last_run,
			    worker.options, list));
	target_list_free(list);
}

size_t ping_under_way(void)
{
	size_t count = 0;

	for (uint16_t i = 0; i < worker.engine->used; i++)
		count += ping_request_is_open(&worker.engine->requests[i]) &&
			 worker.engine->requests[i].sent_ns != 0;
	return count;
}

void pinger_finish(void)
{
	(void)alarm(BOUND_S);
	while (worker.ended < worker.started)
		(void)event_base_loop(worker.base, EVLOOP_ONCE);
	(void)event_base_loop(worker.base, EVLOOP_NONBLOCK);
	(void)alarm(0);
	job_options_unref(worker.options);
	worker.options = NULL;
}

void pinger_forget(void)
{
	for (size_t i = 0; i < worker.started; i++)
		outcome_done(&worker.outcomes[i]);
	worker.output_size = 0;
	worker.output[0] = '\0';
}

const struct outcome *ping_within(const char *options, const char *target, int64_t timeout_us)
{
	pinger_forget();
	pinger_begin(options, timeout_us);
	pinger_start(target);
	pinger_finish();
	return &worker.outcomes[0];
}

const struct outcome *ping_once(const char *options, const char *target)
{
	return ping_within(options, target, 0);
}

int64_t ping_number(const struct outcome *outcome, const char *name)
{
	json_t *result = json_loads(outcome->result ? outcome->result : "", 0, NULL);
	json_t *value = json_object_get(result, name);
	int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;

	assert_non_null(result);
	json_decref(result);
	return number;
}

void assert_ping_failed(const struct outcome *outcome, enum error_class class, const char *words)
{
	assert_int_equal(outcome->state, TASK_FAILED);
	assert_string_equal(error_class_words[outcome->class], error_class_words[class]);
	assert_non_null(outcome->message);
	if (!strstr(outcome->message, words))
		fail_msg("'%s' does not say '%s'", outcome->message, words);
	assert_null(strchr(outcome->message, '\n'));
}

void assert_ping_succeeded(const struct outcome *outcome)
{
	if (outcome->message)
		fail_msg("%s", outcome->message);
	assert_int_equal(outcome->state, TASK_SUCCEEDED);
	assert_int_equal(outcome->class, CLASS_NONE);
}

/* --- Fixtures --- */

static int setup_worker(bool raw, bool datagram)
{
	if (!ping_box_allow(raw, datagram))
		return -1;
	worker.base = event_base_new();
	if (!worker.base || mailbox_init(&worker.mailbox) < 0 ||
	    resolver_new(2, &worker.resolver) < 0)
		return -1;
	worker.mailbox_event =
		event_new(worker.base, worker.mailbox.fd, EV_READ | EV_PERSIST, on_mailbox, NULL);
	(void)event_add(worker.mailbox_event, NULL);
	worker.engine = kind_ping.engine_new(&worker, &config);
	return 0;
}

static int setup_raw(void **state)
{
	(void)state;
	return setup_worker(true, false);
}

static int setup_datagram(void **state)
{
	(void)state;
	return setup_worker(false, true);
}

static int teardown(void **state)
{
	(void)state;
	pinger_forget();
	kind_ping.engine_free(worker.engine);
	resolver_free(worker.resolver);
	on_mailbox(-1, 0, NULL);
	event_free(worker.mailbox_event);
	event_base_free(worker.base);
	mailbox_done(&worker.mailbox);
	return 0;
}

int pinger_main(const struct CMUnitTest *tests, size_t count)
{
	int r = ping_box_enter();

	if (r != 0)
		return r;
	r = _cmocka_run_group_tests("raw", tests, count, setup_raw, teardown);
	r += _cmocka_run_group_tests("datagram", tests, count, setup_datagram, teardown);
	ping_box_leave();
	return r;
}
