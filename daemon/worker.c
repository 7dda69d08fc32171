/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A worker sleeps in its event loop until a socket, a timer or its mailbox wakes it. What main says
 * about a task names the run; the table of tasks tells whether that run is still here, so that a
 * word that crosses the task's end on its way is dropped and no pointer is ever shared.
 *
 * Reports are collected and put into main's mailbox once a loop turn: the turn's first report makes
 * `flush` active, which libevent runs after what is already active. The targets of a span that end
 * in a turn share a report.
 */
#include "daemon/worker.h"

#include "common/hash.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/disk-wait.h"
#include "daemon/resolver.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

enum { KINDS_MAX = 8, RESOLVER_THREADS = 16 };

enum message_type {
	MESSAGE_START,
	MESSAGE_STOP,
	MESSAGE_STOP_TARGET,
	MESSAGE_GO,
	MESSAGE_STORED,
	MESSAGE_RESOLVED, /* a struct resolver_answer */
	MESSAGE_ADJUSTED,
	MESSAGE_CONFIG,
	MESSAGE_ALIVE,
	MESSAGE_QUIT,
};

/* From main. Begins as struct resolver_answer does: letter, type. */
struct message {
	struct letter letter;
	int type;
	uint64_t run;
	enum stop_reason reason;
	int64_t grace_us;
	uint32_t index; /* MESSAGE_STOP_TARGET */
	size_t size;
	uint64_t job;                /* MESSAGE_ADJUSTED */
	struct job_options *options; /* likewise; a reference */
	const struct config *config; /* MESSAGE_CONFIG */
	struct task_batch batch;
};

struct worker {
	struct workers *workers;
	pthread_t thread;
	struct event_base *base;
	struct mailbox mailbox;
	struct event *mailbox_event, *flush_event;
	struct letters reports; /* of this turn */
	struct task *tasks;     /* that are here, by run */
	uint64_t adopted;       /* so many of the engines' own were made */
	const struct config *config;
	struct engine *engines[KINDS_MAX]; /* by place in kinds[]; made when first needed */
	atomic_bool is_alive;
	atomic_int thread_id; /* as gettid(2) has it; 0: not yet */
};

struct workers {
	struct mailbox *reports;
	struct resolver *resolver;
	unsigned count;
	struct worker *workers;
};

/* --- Engines' side --- */

static struct engine *engine_of(struct worker *worker, const struct kind *kind)
{
	size_t place = 0;

	while (kinds[place] != kind)
		place++;
	assert(place < KINDS_MAX);
	if (!worker->engines[place])
		worker->engines[place] = kind->engine_new(worker, worker->config);
	return worker->engines[place];
}

struct event_base *worker_base(struct worker *worker)
{
	return worker->base;
}

int64_t worker_now_us(struct worker *worker)
{
	(void)worker;
	return now_monotonic_us();
}

/* Reports leave together at the end of the turn. */
static void put_report(struct worker *worker, enum report_type type, struct task *task,
		       struct report *report)
{
	report->type = type;
	report->owner = task->owner;
	report->at_us = now_real_us();
	if (STAILQ_EMPTY(&worker->reports))
		event_active(worker->flush_event, EV_READ, 0);
	STAILQ_INSERT_TAIL(&worker->reports, &report->letter, link);
}

static void on_flush(evutil_socket_t fd, short what, void *context)
{
	struct worker *worker = context;
	struct letter *letter;

	(void)fd;
	(void)what;
	/* Spans that stay begin another report in their next turn. */
	STAILQ_FOREACH (letter, &worker->reports, link) {
		struct report *report = (struct report *)letter;

		if (report->type == REPORT_ENDINGS && !report->task)
			report->span->endings = NULL;
	}
	mailbox_put(worker->workers->reports, &worker->reports);
}

void worker_output(struct worker *worker, struct task *task, enum stream stream, const void *bytes,
		   size_t size)
{
	struct report *report = xcalloc(1, sizeof(*report));

	report->stream = stream;
	report->bytes = xmemdup(bytes, size);
	report->size = size;
	put_report(worker, REPORT_OUTPUT, task, report);
}

void worker_sending(struct worker *worker, struct task *task)
{
	put_report(worker, REPORT_SENDING, task, xcalloc(1, sizeof(struct report)));
}

static struct task *find_task(struct worker *worker, uint64_t run)
{
	struct task *task = NULL;

	HASH_FIND(hh, worker->tasks, &run, sizeof(run), task);
	return task;
}

static void remove_task(struct worker *worker, struct task *task)
{
	HASH_DEL(worker->tasks, task);
	if (task->is_asking)
		resolver_forget(worker->workers->resolver, task->key.job, task->run);
}

static void add_ending(struct report *report, uint32_t index, struct outcome *outcome)
{
	size_t count = report->ending_count;

	if ((count & (count - 1)) == 0) /* it doubles */
		report->endings = xrealloc(report->endings,
					   (count > 0 ? 2 * count : 1) * sizeof(*report->endings));
	report->endings[report->ending_count++] = (struct ending){
		.index = index,
		.at_us = now_real_us(),
		.outcome = *outcome,
	};
	memset(outcome, 0, sizeof(*outcome));
}

void worker_ended(struct worker *worker, struct task *task, struct outcome *outcome)
{
	remove_task(worker, task);
	task->end.task = task;
	task->end.outcome = *outcome;
	memset(outcome, 0, sizeof(*outcome));
	put_report(worker, REPORT_ENDED, task, &task->end);
}

bool worker_target_ended(struct worker *worker, struct task *task, uint32_t index,
			 struct outcome *outcome)
{
	struct report *report = task->endings;

	assert(task->left > 0 && index >= task->key.index && index - task->key.index < task->count);
	if (task->count == 1) {
		worker_ended(worker, task, outcome);
		return true;
	}
	if (!report) {
		report = task->endings = xcalloc(1, sizeof(*report));
		report->span = task;
		put_report(worker, REPORT_ENDINGS, task, report);
	}
	add_ending(report, index, outcome);
	if (--task->left > 0)
		return false;
	remove_task(worker, task);
	report->task = task;
	return true;
}

void worker_resolve(struct worker *worker, struct task *task, const char *host, int family)
{
	task->is_asking = true;
	resolver_ask(worker->workers->resolver, host, family, task->key, task->run,
		     MESSAGE_RESOLVED, &worker->mailbox);
}

/* Their runs count down from the top, where main's never come, and each worker has its own. */
struct task *worker_adopt(struct worker *worker, struct job_options *options, const char *target)
{
	const struct workers *workers = worker->workers;
	struct task_key key = {.job = UINT64_MAX};
	uint64_t run = UINT64_MAX - worker->adopted++ * workers->count -
		       (uint64_t)(worker - workers->workers);
	struct task *task = task_new(key, 1, run, options, target);

	HASH_ADD(hh, worker->tasks, run, sizeof(task->run), task);
	return task;
}

void worker_dismiss(struct worker *worker, struct task *task)
{
	remove_task(worker, task);
	task_free(task);
}

/* --- The loop --- */

static void start_tasks(struct worker *worker, struct task_batch *batch)
{
	struct task *task;

	while ((task = STAILQ_FIRST(batch))) {
		STAILQ_REMOVE_HEAD(batch, link);
		HASH_ADD(hh, worker->tasks, run, sizeof(task->run), task);
		task->options->kind->task_start(engine_of(worker, task->options->kind), task);
	}
}

/* A word about one run. */
static void tell_engine(struct worker *worker, const struct message *message)
{
	struct task *task = find_task(worker, message->run);
	const struct kind *kind;
	struct engine *engine;

	if (!task)
		return;
	kind = task->options->kind;
	engine = engine_of(worker, kind);
	if (message->type == MESSAGE_STOP)
		kind->task_stop(engine, task, message->reason, message->grace_us);
	else if (message->type == MESSAGE_STOP_TARGET)
		kind->target_stop(engine, task, message->index);
	else if (message->type == MESSAGE_GO)
		kind->task_go(engine, task);
	else
		kind->task_output_stored(engine, task, message->size);
}

static void take_answer(struct worker *worker, struct resolver_answer *answer)
{
	struct task *task = find_task(worker, answer->run);

	if (task) {
		const struct kind *kind = task->options->kind;

		task->is_asking = false;
		kind->task_resolved(engine_of(worker, kind), task, answer->addresses, answer->count,
				    answer->error);
	}
	free(answer->error);
	free(answer);
}

static void take_adjustment(struct worker *worker, const struct message *message)
{
	const struct kind *kind = message->options->kind;

	/* Without tasks, as after the end, no engine has to be made for it. */
	if (worker->tasks)
		kind->job_adjusted(engine_of(worker, kind), message->job, message->options);
	job_options_unref(message->options);
}

/* Engines that are made later begin with it. */
static void take_config(struct worker *worker, const struct config *config)
{
	worker->config = config;
	for (size_t i = 0; kinds[i]; i++)
		if (worker->engines[i])
			kinds[i]->configured(worker->engines[i], config);
}

static void on_mailbox(evutil_socket_t fd, short what, void *context)
{
	struct worker *worker = context;
	struct letters letters;
	struct letter *letter;

	(void)fd;
	(void)what;
	mailbox_take(&worker->mailbox, &letters);
	while ((letter = STAILQ_FIRST(&letters))) {
		struct message *message = (struct message *)letter;

		STAILQ_REMOVE_HEAD(&letters, link);
		switch ((enum message_type)message->type) {
		case MESSAGE_RESOLVED:
			take_answer(worker, (struct resolver_answer *)letter);
			continue; /* it frees its own kind of letter */
		case MESSAGE_START:
			start_tasks(worker, &message->batch);
			break;
		case MESSAGE_STOP:
		case MESSAGE_STOP_TARGET:
		case MESSAGE_GO:
		case MESSAGE_STORED:
			tell_engine(worker, message);
			break;
		case MESSAGE_ADJUSTED:
			take_adjustment(worker, message);
			break;
		case MESSAGE_CONFIG:
			take_config(worker, message->config);
			break;
		case MESSAGE_ALIVE:
			atomic_store(&worker->is_alive, true);
			break;
		case MESSAGE_QUIT:
			(void)event_base_loopbreak(worker->base);
			break;
		}
		free(message);
	}
}

static void *worker_main(void *context)
{
	struct worker *worker = context;

	atomic_store(&worker->thread_id, gettid());
	(void)event_base_loop(worker->base, EVLOOP_NO_EXIT_ON_EMPTY);
	for (size_t i = 0; kinds[i]; i++)
		if (worker->engines[i])
			kinds[i]->engine_free(worker->engines[i]);
	assert(!worker->tasks);
	return NULL;
}

/* --- Main's side --- */

static int worker_init(struct workers *workers, struct worker *worker, const struct config *config)
{
	int r;

	worker->workers = workers;
	worker->config = config;
	STAILQ_INIT(&worker->reports);
	atomic_init(&worker->is_alive, true);
	r = mailbox_init(&worker->mailbox);
	if (r < 0)
		return r;
	worker->base = event_base_new();
	if (!worker->base)
		return -EMFILE;
	worker->mailbox_event = event_new(worker->base, worker->mailbox.fd, EV_READ | EV_PERSIST,
					  on_mailbox, worker);
	worker->flush_event = event_new(worker->base, -1, EV_PERSIST, on_flush, worker);
	if (!worker->mailbox_event || !worker->flush_event)
		abort();
	(void)event_add(worker->mailbox_event, NULL);
	return 0;
}

int workers_new(const struct config *config, struct mailbox *reports, struct workers **ret_workers)
{
	struct workers *workers = xcalloc(1, sizeof(*workers));
	sigset_t all, old;
	int r;

	workers->reports = reports;
	workers->count = config->workers + 1;
	workers->workers = xcalloc(workers->count, sizeof(*workers->workers));
	r = resolver_new(RESOLVER_THREADS, &workers->resolver);
	for (unsigned i = 0; r == 0 && i < workers->count; i++)
		r = worker_init(workers, &workers->workers[i], config);
	if (r < 0)
		return r; /* the program ends on this */

	/* Signals are main's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	for (unsigned i = 0; i < workers->count; i++) {
		struct worker *worker = &workers->workers[i];
		char name[32];

		r = -pthread_create(&worker->thread, NULL, worker_main, worker);
		if (r < 0)
			return r;
		(void)snprintf(name, sizeof(name), "worker-%u", i % 1000);
		(void)pthread_setname_np(worker->thread, name);
	}
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	*ret_workers = workers;
	return 0;
}

static struct message *message_new(enum message_type type, uint64_t run)
{
	struct message *message = xcalloc(1, sizeof(*message));

	message->type = (int)type;
	message->run = run;
	STAILQ_INIT(&message->batch);
	return message;
}

static void send_message(struct workers *workers, unsigned worker, struct message *message)
{
	assert(worker < workers->count);
	mailbox_put_one(&workers->workers[worker].mailbox, &message->letter);
}

void workers_free(struct workers *workers)
{
	if (!workers)
		return;
	for (unsigned i = 0; i < workers->count; i++)
		send_message(workers, i, message_new(MESSAGE_QUIT, 0));
	for (unsigned i = 0; i < workers->count; i++)
		(void)pthread_join(workers->workers[i].thread, NULL);
	/* Only now can no answer come any more; what came late is dropped, there is no run left. */
	resolver_free(workers->resolver);
	for (unsigned i = 0; i < workers->count; i++) {
		struct worker *worker = &workers->workers[i];

		on_mailbox(-1, 0, worker);
		event_free(worker->mailbox_event);
		event_free(worker->flush_event);
		event_base_free(worker->base);
		mailbox_done(&worker->mailbox);
	}
	free(workers->workers);
	free(workers);
}

unsigned workers_count(const struct workers *workers)
{
	return workers->count;
}

void workers_range(const struct workers *workers, const struct kind *kind, unsigned *ret_first,
		   unsigned *ret_count)
{
	bool is_alone = kind->placement == PLACE_ALONE;

	*ret_first = is_alone ? 0 : 1;
	*ret_count = is_alone ? 1 : workers->count - 1;
}

void workers_start(struct workers *workers, unsigned worker, struct task_batch *batch)
{
	struct message *message;

	if (STAILQ_EMPTY(batch))
		return;
	message = message_new(MESSAGE_START, 0);
	STAILQ_CONCAT(&message->batch, batch);
	send_message(workers, worker, message);
}

void workers_stop(struct workers *workers, unsigned worker, uint64_t run, enum stop_reason reason,
		  int64_t grace_us)
{
	struct message *message = message_new(MESSAGE_STOP, run);

	message->reason = reason;
	message->grace_us = grace_us;
	send_message(workers, worker, message);
}

void workers_stop_target(struct workers *workers, unsigned worker, uint64_t run, uint32_t index)
{
	struct message *message = message_new(MESSAGE_STOP_TARGET, run);

	message->index = index;
	send_message(workers, worker, message);
}

void workers_go(struct workers *workers, unsigned worker, uint64_t run)
{
	send_message(workers, worker, message_new(MESSAGE_GO, run));
}

void workers_output_stored(struct workers *workers, unsigned worker, uint64_t run, size_t size)
{
	struct message *message = message_new(MESSAGE_STORED, run);

	message->size = size;
	send_message(workers, worker, message);
}

void workers_adjust(struct workers *workers, uint64_t job, struct job_options *options)
{
	unsigned first, count;

	if (!options->kind->job_adjusted)
		return;
	workers_range(workers, options->kind, &first, &count);
	for (unsigned i = first; i < first + count; i++) {
		struct message *message = message_new(MESSAGE_ADJUSTED, 0);

		message->job = job;
		message->options = job_options_ref(options);
		send_message(workers, i, message);
	}
}

void workers_set_config(struct workers *workers, const struct config *config)
{
	for (unsigned i = 0; i < workers->count; i++) {
		struct message *message = message_new(MESSAGE_CONFIG, 0);

		message->config = config;
		send_message(workers, i, message);
	}
}

bool workers_check_alive(struct workers *workers)
{
	bool is_alive = true;

	for (unsigned i = 0; i < workers->count; i++) {
		struct worker *worker = &workers->workers[i];

		/* A key or a known host in a folder of a file server that does not answer. */
		if (!atomic_exchange(&worker->is_alive, false) &&
		    !disk_wait_is_on(atomic_load(&worker->thread_id), NULL))
			is_alive = false;
		send_message(workers, i, message_new(MESSAGE_ALIVE, 0));
	}
	return is_alive;
}
