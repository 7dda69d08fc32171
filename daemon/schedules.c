/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The timer is of the wall clock (timerfd_create(2)), since schedules are, and it tells when that
 * is set. Then, and at the start, all schedules are looked at again, a page a turn.
 *
 * Reads see committed rows only: from a change on nothing is due until its commit, which looks
 * again. So a run is made once, whatever becomes of the commit.
 */
#include "daemon/schedules.h"

#include "common/calendar.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/fields.h"
#include "daemon/kind.h"
#include "daemon/request.h"
#include "daemon/schedule-rule.h"
#include "daemon/server.h"

#include <ctype.h>
#include <event2/event.h>
#include <sys/timerfd.h>

enum {
	DUE_AT_A_TIME = 64,
	REVIEWED_AT_A_TIME = 100,
	PRUNED_AT_A_TIME = 100,
	/* Each end of a run steps over so many. A database may hold more, which then are kept. */
	KEEP_LAST_MAX = 1000,
};
#define READ_AGAIN_US  US_PER_SEC /* what could not be read */
#define PRUNE_AGAIN_US (10 * US_PER_MS)
#define YEAR_US        (366 * 24 * 3600 * US_PER_SEC)

struct schedules {
	struct daemon *daemon;
	struct store *store;
	struct jobs *jobs;
	const struct config *config;
	int timer_fd;
	struct event *timer, *review;
	bool is_reviewing;
	uint64_t reviewed;  /* ids up to here were looked at again */
	bool is_waiting;    /* for a commit */
	int64_t since_us;   /* from then on some are due that are not made yet; 0: none are */
	uint64_t put_off;   /* one that is due, and could not be decided; 0: none */
	const char *unread; /* what that needs */
	struct job_watcher watcher;
	struct pruning *prunings;
	struct event *prune;
	uint64_t prune_commit; /* the commit that removes what was pruned */
};

/* A schedule that may have runs to remove. */
struct pruning {
	uint64_t schedule;
	struct jobs *jobs;
	unsigned count; /* removed at once */
	UT_hash_handle hh;
};

static void arm(struct schedules *schedules);
static void prune_later(struct schedules *schedules, uint64_t id);
static void arm_at(struct schedules *schedules, int64_t at_us);

/* --- Runs --- */

/* Start's parameters from a schedule's texts; the caller frees. */
static json_t *run_parameters(const struct schedule_row *row)
{
	json_t *parameters = json_loads(row->options, 0, NULL);
	json_t *targets = json_loads(row->targets, 0, NULL);

	/* "shuffle" is the order of one job there, and a wish of all here. */
	(void)json_object_set(parameters, "targets", json_object_get(targets, "targets"));
	if (json_object_get(targets, "exclude"))
		(void)json_object_set(parameters, "exclude", json_object_get(targets, "exclude"));
	json_decref(targets);
	return parameters;
}

/* The job, in the queue of the store together with what the schedule then is. */
int schedules_run(struct schedules *schedules, const struct schedule_row *row, uint64_t *ret_job,
		  struct error *ret_error)
{
	json_t *parameters = run_parameters(row);
	struct job_request request = {
		.uid = row->uid,
		.is_trusted = true, /* it was, or was not, when the schedule was made */
		.parameters = parameters,
		.schedule = row->id,
	};
	uint64_t tasks;
	bool is_new;
	int r = jobs_start(schedules->jobs, &request, ret_job, &tasks, &is_new, ret_error);

	json_decref(parameters);
	if (r < 0)
		return r;
	store_put_schedule_run(schedules->store, row->id, *ret_job, now_real_us());
	schedules->is_waiting = true;
	log_info("schedule s%llu: job %llu", (unsigned long long)row->id,
		 (unsigned long long)*ret_job);
	return 0;
}

static int check_calendar(const char *text, struct error *ret_error)
{
	struct calendar *calendar;
	int r = calendar_parse(text, &calendar, ret_error);

	if (r == 0)
		calendar_free(calendar);
	return r;
}

/* Whether the rest is for the next turn. */
static int end_piece(struct schedules *schedules)
{
	turn_worked(schedules->daemon, false);
	return turn_is_over(schedules->daemon);
}

/* It stays due. */
static void put_off(struct schedules *schedules, const struct schedule_row *row, const char *unread)
{
	if (schedules->put_off != 0)
		return;
	schedules->put_off = row->id;
	schedules->unread = unread;
}

/* The run of one schedule, and its next time. */
static void decide(struct schedules *schedules, const struct schedule_row *row, bool is_running)
{
	struct schedule_turn turn =
		schedule_decide(row, schedules->since_us, now_real_us(), is_running);
	struct error error = {0};
	const char *why = row->error;
	uint64_t job;

	if (turn.next_us < 0) {
		put_off(schedules, row, "its time zone");
		return;
	}
	if (turn.is_run && schedules_run(schedules, row, &job, &error) < 0) {
		log_warning("schedule s%llu: no job: %s", (unsigned long long)row->id,
			    error.sentence);
		turn.skipped++;
		why = error.sentence;
	} else if (turn.is_run) {
		why = NULL;
	}
	/* It has come to its end, or the machine has its zone no more. */
	if (turn.next_us == 0 && row->calendar && !error.sentence &&
	    check_calendar(row->calendar, &error) < 0) {
		log_warning("schedule s%llu ends: %s", (unsigned long long)row->id, error.sentence);
		why = error.sentence;
	}
	store_put_schedule_turn(schedules->store, row->id, turn.next_us, turn.skipped, why);
	schedules->is_waiting = true;
	error_done(&error);
}

static int take_turn(const struct schedule_row *row, void *context)
{
	struct schedules *schedules = context;
	uint64_t running;

	if (store_live_run(schedules->store, row->id, &running) == 0)
		decide(schedules, row, running != 0);
	else
		put_off(schedules, row, "whether a run of it goes on");
	return end_piece(schedules);
}

static int take_due(struct schedules *schedules)
{
	uint64_t before = schedules->put_off;
	int r;

	schedules->put_off = 0;
	r = store_read_schedules_due(schedules->store, now_real_us(), DUE_AT_A_TIME, take_turn,
				     schedules);
	if (schedules->put_off != 0 && before == 0)
		log_warning("schedule s%llu is put off: %s cannot be read just now",
			    (unsigned long long)schedules->put_off, schedules->unread);
	return r;
}

/* --- The clock --- */

static void review_in(struct schedules *schedules, int64_t delay_us)
{
	const struct timeval delay = timeval_of(delay_us);

	(void)event_add(schedules->review, &delay);
}

static void begin_review(struct schedules *schedules)
{
	schedules->is_reviewing = true;
	schedules->reviewed = 0;
	review_in(schedules, 0);
}

static int review_one(const struct schedule_row *row, void *context)
{
	struct schedules *schedules = context;
	int64_t next_us = schedule_review(row, now_real_us());

	schedules->reviewed = row->id;
	if (next_us != row->next_us) {
		store_put_schedule_turn(schedules->store, row->id, next_us, 0, row->error);
		schedules->is_waiting = true;
	}
	/* A run may have ended before a crash that the others outlived. */
	if (row->keep_last > 0)
		prune_later(schedules, row->id);
	return end_piece(schedules);
}

static void on_review(evutil_socket_t fd, short what, void *context)
{
	struct schedules *schedules = context;
	uint64_t before = schedules->reviewed;

	(void)fd;
	(void)what;
	/* What was changed and is not committed would be taken back: behind that. */
	if (schedules->is_waiting)
		return;
	if (store_read_schedules(schedules->store, NULL, before, REVIEWED_AT_A_TIME, review_one,
				 schedules) < 0) {
		review_in(schedules, READ_AGAIN_US);
		return;
	}
	schedules->is_reviewing = schedules->reviewed != before;
	if (schedules->is_reviewing)
		review_in(schedules, US_PER_MS);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct schedules *schedules = context;
	uint64_t times;

	(void)what;
	if (read((int)fd, &times, sizeof(times)) < 0 && errno == ECANCELED)
		begin_review(schedules);
	if (schedules->is_waiting || store_error(schedules->store)) {
		schedules->is_waiting = true;
		return;
	}
	if (schedules->since_us == 0)
		schedules->since_us = now_real_us();
	if (take_due(schedules) < 0)
		arm_at(schedules, now_real_us() + READ_AGAIN_US);
	else
		arm(schedules);
}

/* What is past is at once; 0: never. */
static void arm_at(struct schedules *schedules, int64_t at_us)
{
	const struct itimerspec when = {
		.it_value = {at_us / US_PER_SEC, at_us % US_PER_SEC * 1000},
	};

	/* ECANCELED: the clock was set just now, and the timer runs. */
	if (timerfd_settime(schedules->timer_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when,
			    NULL) < 0 &&
	    errno == ECANCELED)
		begin_review(schedules);
}

/* Waits for the first that is due. A commit on its way comes first. */
static void arm(struct schedules *schedules)
{
	int64_t next_us;

	if (schedules->is_waiting)
		return;
	if (store_next_schedule_us(schedules->store, &next_us) < 0) {
		arm_at(schedules, now_real_us() + READ_AGAIN_US);
		return;
	}
	if (next_us == 0 || next_us > now_real_us())
		schedules->since_us = 0;
	else if (schedules->put_off != 0)
		next_us = now_real_us() + READ_AGAIN_US;
	arm_at(schedules, next_us);
}

void schedules_committed(struct schedules *schedules)
{
	if (!schedules->is_waiting)
		return;
	schedules->is_waiting = false;
	if (schedules->is_reviewing)
		review_in(schedules, 0);
	arm(schedules);
}

/* --- Keeping the last ones --- */

static void prune_run(uint64_t job, void *context)
{
	struct pruning *pruning = context;
	autofree char *id = xasprintf("JOBD_JOB=%llu", (unsigned long long)job);
	const char *const fields[] = {id, "JOBD_STATE=pruned", NULL};

	if (!jobs_prune(pruning->jobs, job))
		return;
	log_event(LOG_NOTICE, fields, "job %llu is pruned: --keep-last of schedule s%llu",
		  (unsigned long long)job, (unsigned long long)pruning->schedule);
	pruning->count++;
}

/* What is removed by its rule: 0, or the errno of a failed read. */
static int prune(struct schedules *schedules, struct pruning *pruning)
{
	struct schedule_row row;
	int r = store_read_schedule(schedules->store, pruning->schedule, &row);

	pruning->count = 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (row.keep_last > 0)
		r = store_read_old_runs(schedules->store, row.id, row.keep_last, PRUNED_AT_A_TIME,
					prune_run, pruning);
	schedule_row_done(&row);
	return r;
}

static void prune_in(struct schedules *schedules, int64_t delay_us)
{
	const struct timeval delay = timeval_of(delay_us);

	(void)event_add(schedules->prune, &delay);
}

/*
 * What was pruned is there until its commit, and would be pruned again. What cannot be read is
 * tried later, and so is what is more than goes at once.
 */
static void on_prune(evutil_socket_t fd, short what, void *context)
{
	struct schedules *schedules = context;
	struct pruning *pruning, *next;
	int64_t again_us = 0;

	(void)fd;
	(void)what;
	if (store_error(schedules->store)) {
		prune_in(schedules, READ_AGAIN_US);
		return;
	}
	if (store_commits(schedules->store) < schedules->prune_commit) {
		prune_in(schedules, PRUNE_AGAIN_US);
		return;
	}
	HASH_ITER (hh, schedules->prunings, pruning, next) {
		int r = prune(schedules, pruning);

		if (r < 0)
			again_us = READ_AGAIN_US;
		if (pruning->count > 0)
			schedules->prune_commit = store_commits(schedules->store) + 1;
		if (r == 0 && pruning->count < PRUNED_AT_A_TIME) {
			HASH_DEL(schedules->prunings, pruning);
			free(pruning);
		}
		if (end_piece(schedules))
			break;
	}
	if (schedules->prunings)
		prune_in(schedules, again_us > 0 ? again_us : PRUNE_AGAIN_US);
}

static void prune_later(struct schedules *schedules, uint64_t id)
{
	struct pruning *pruning;

	HASH_FIND(hh, schedules->prunings, &id, sizeof(id), pruning);
	if (!pruning) {
		pruning = xcalloc(1, sizeof(*pruning));
		pruning->schedule = id;
		pruning->jobs = schedules->jobs;
		HASH_ADD(hh, schedules->prunings, schedule, sizeof(pruning->schedule), pruning);
	}
	prune_in(schedules, 0);
}

static void job_changed(struct job_watcher *watcher, const struct job_row *row, bool is_removed)
{
	if (!is_removed && row->schedule != 0 && job_state_is_final(row->state))
		prune_later(watcher->context, row->schedule);
}

/* --- Making --- */

/* Start's parameter "schedule". */
struct rule {
	int64_t every_us, at_us, keep_last;
	char *calendar;
	bool is_catch_up, is_overlap;
};
static const struct field rule_fields[] = {
	{"everyUsec", FIELD_INT, offsetof(struct rule, every_us), US_PER_SEC, 10 * YEAR_US, 0,
	 NULL},
	{"atUsec", FIELD_TIME, offsetof(struct rule, at_us), 1, 230 * YEAR_US, 0, NULL},
	{"onCalendar", FIELD_STRING, offsetof(struct rule, calendar), 0, 1000, 0, NULL},
	{"catchUp", FIELD_BOOL, offsetof(struct rule, is_catch_up), 0, 0, 0, NULL},
	{"overlap", FIELD_BOOL, offsetof(struct rule, is_overlap), 0, 0, 0, NULL},
	{"keepLast", FIELD_INT, offsetof(struct rule, keep_last), 1, KEEP_LAST_MAX, 0, NULL},
};

/* The rule into the row, and the first time of it. */
static int check_rule(const struct rule *rule, struct schedule_row *row, struct error *ret_error)
{
	int r;

	if ((rule->every_us > 0) + (rule->at_us > 0) + (rule->calendar != NULL) != 1)
		return error_set(ret_error, ERROR_INVALID_OPTION, "schedule",
				 "a schedule is one of --every, --at and --on-calendar");
	row->created_us = now_real_us();
	r = rule->calendar ? calendar_check(rule->calendar, row->created_us, ret_error) : 0;
	if (r < 0)
		return r;
	row->every_us = rule->every_us;
	row->at_us = rule->at_us;
	row->calendar = rule->calendar;
	row->is_catch_up = rule->is_catch_up;
	row->is_overlap = rule->is_overlap;
	row->keep_last = (uint64_t)rule->keep_last;
	/* The first of --every is at once. */
	row->next_us = schedule_next_us(row, row->created_us - (row->every_us > 0));
	if (row->next_us <= 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, "atUsec",
				 "that time is past: name one that is to come");
	return 0;
}

bool schedule_is_id(const char *text)
{
	return text[0] == 's' && text[1] != '\0' &&
	       text[1 + strspn(text + 1, "0123456789")] == '\0';
}

static int take_id(const struct schedule_row *row, void *context)
{
	*(uint64_t *)context = row->id;
	return 1;
}

/* A name is one schedule's, of each user. */
static int check_name(struct schedules *schedules, uid_t uid, const char *name,
		      struct error *ret_error)
{
	uint64_t id;
	int r = 0;

	if (!name)
		return 0;
	if (schedule_is_id(name))
		return error_set(ret_error, ERROR_INVALID_OPTION, "name",
				 "'%s': a schedule is not called so, since it would be taken for "
				 "its id",
				 name);
	id = store_queued_schedule(schedules->store, uid, NULL, name);
	if (id == 0)
		r = store_read_schedules_named(schedules->store, &uid, name, 1, take_id, &id);
	if (r < 0)
		return store_refuse_read(schedules->store, ret_error);
	return id == 0 ? 0
		       : error_set(ret_error, ERROR_INVALID_OPTION, "name",
				   "schedule s%llu is called '%s' already: remove it, or choose "
				   "another name",
				   (unsigned long long)id, name);
}

static int check_room(struct schedules *schedules, struct error *ret_error)
{
	uint64_t count;
	int r = store_check_ids(schedules->store, ret_error);

	if (r < 0)
		return r;
	if (store_count_schedules(schedules->store, &count) < 0)
		return store_refuse_read(schedules->store, ret_error);
	return count < (uint64_t)schedules->config->max_schedules
		       ? 0
		       : error_set(ret_error, ERROR_LIMIT_REACHED, "max-schedules",
				   "there are %llu schedules, and max-schedules in jobd.conf "
				   "allows no more: remove some",
				   (unsigned long long)count);
}

/* What a job may hand over, and a schedule may not keep. */
static int check_secret(const json_t *parameters, const struct kind *kind, struct error *ret_error)
{
	if (!request_has_secret(parameters, kind))
		return 0;
	return error_set(ret_error, ERROR_INVALID_OPTION, kind->secret,
			 "a schedule keeps no password: use a key, or a credential of jobd.conf");
}

/* The schedule that this user made with this token; 0: there is none. */
static int find_token(struct schedules *schedules, const struct job_request *request,
		      uint64_t *ret_id, struct error *ret_error)
{
	int r;

	*ret_id = 0;
	if (!request->token)
		return 0;
	*ret_id = store_queued_schedule(schedules->store, request->uid, request->token, NULL);
	if (*ret_id != 0)
		return 0;
	r = store_find_schedule_token(schedules->store, request->uid, request->token, ret_id);
	return r < 0 && r != -ENOENT ? store_refuse_read(schedules->store, ret_error) : 0;
}

/* All that is checked is in order. */
static void put(struct schedules *schedules, const struct job_request *request,
		struct request *parsed, struct schedule_row *row)
{
	autofree char *kind = xstrdup(parsed->options->kind->name);
	autofree char *token = xstrdup_or_null(request->token);

	row->id = store_next_job(schedules->store);
	row->uid = request->uid;
	row->kind = kind;
	row->name = parsed->name;
	row->token = token;
	row->options = parsed->options_text;
	row->targets = parsed->targets_text;
	store_put_schedule(schedules->store, row);
	schedules->is_waiting = true;
}

int schedules_make(struct schedules *schedules, const struct job_request *request, uint64_t *ret_id,
		   uint64_t *ret_tasks, bool *ret_is_new, struct error *ret_error)
{
	const json_t *object = json_object_get(request->parameters, "schedule");
	struct schedule_row row = {0};
	struct request parsed;
	struct rule rule = {0};
	uint64_t known;
	int r = find_token(schedules, request, &known, ret_error);

	if (r == 0)
		r = request_parse(request, schedules->config, NULL, &parsed, ret_error);
	if (r < 0)
		return r;
	*ret_tasks = target_list_count(parsed.targets);
	*ret_is_new = known == 0;
	if (known != 0) {
		*ret_id = known;
		request_done(&parsed);
		return 0;
	}
	r = fields_parse(rule_fields, ARRAY_SIZE(rule_fields), object, NULL, &rule, ret_error);
	if (r < 0) {
		request_done(&parsed);
		return r;
	}
	r = check_rule(&rule, &row, ret_error);
	if (r == 0)
		r = check_secret(request->parameters, parsed.options->kind, ret_error);
	if (r == 0)
		r = check_name(schedules, request->uid, parsed.name, ret_error);
	if (r == 0)
		r = check_room(schedules, ret_error);
	if (r == 0 && !request->is_dry_run)
		put(schedules, request, &parsed, &row);
	if (r == 0)
		*ret_id = row.id;
	fields_done(rule_fields, ARRAY_SIZE(rule_fields), &rule);
	request_done(&parsed);
	return r;
}

/* --- Finding and changing --- */

/* "s7", or a name: the own one before another's. 0: there is none. */
static int find_id(struct schedules *schedules, uid_t uid, bool is_admin, const char *selector,
		   uint64_t *ret_id)
{
	int r;

	*ret_id = 0;
	if (schedule_is_id(selector)) {
		*ret_id = strtoull(selector + 1, NULL, 10);
		return 0;
	}
	r = store_read_schedules_named(schedules->store, &uid, selector, 1, take_id, ret_id);
	if (r == 0 && *ret_id == 0 && is_admin)
		r = store_read_schedules_named(schedules->store, NULL, selector, 1, take_id,
					       ret_id);
	return r;
}

int schedules_find(struct schedules *schedules, uid_t uid, bool is_admin, const char *selector,
		   struct schedule_row *ret_row, struct error *ret_error)
{
	uint64_t id;
	int r = find_id(schedules, uid, is_admin, selector, &id);

	if (r == 0)
		r = id == 0 ? -ENOENT : store_read_schedule(schedules->store, id, ret_row);
	if (r == 0) {
		if (ret_row->uid == uid || is_admin)
			return 0;
		schedule_row_done(ret_row);
	} else if (r != -ENOENT) {
		return store_refuse_read(schedules->store, ret_error);
	}
	if (selector[0] != '\0' && strspn(selector, "0123456789") == strlen(selector))
		return error_set(ret_error, ERROR_NO_SUCH_SCHEDULE, selector,
				 "no schedule is called '%.64s': an id is written as s%.64s",
				 selector, selector);
	return error_set(ret_error, ERROR_NO_SUCH_SCHEDULE, selector,
			 schedule_is_id(selector)
				 ? "no schedule %.64s; `jobctl schedules` shows yours"
				 : "no schedule is called '%.64s'; `jobctl schedules` shows yours",
			 selector);
}

void schedules_pause(struct schedules *schedules, uint64_t id, bool is_paused)
{
	store_put_schedule_paused(schedules->store, id, is_paused);
	schedules->is_waiting = true;
}

void schedules_remove(struct schedules *schedules, uint64_t id)
{
	store_put_schedule_removed(schedules->store, id);
	schedules->is_waiting = true;
}

/* --- The whole --- */

struct schedules *schedules_new(struct daemon *daemon)
{
	struct schedules *schedules = xcalloc(1, sizeof(*schedules));

	schedules->daemon = daemon;
	schedules->store = daemon->store;
	schedules->jobs = daemon->jobs;
	schedules->config = daemon->config;
	schedules->timer_fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	schedules->timer = event_new(daemon->base, schedules->timer_fd, EV_READ | EV_PERSIST,
				     on_timer, schedules);
	schedules->review = event_new(daemon->base, -1, 0, on_review, schedules);
	schedules->prune = event_new(daemon->base, -1, 0, on_prune, schedules);
	if (schedules->timer_fd < 0 || !schedules->timer || !schedules->review ||
	    !schedules->prune || event_add(schedules->timer, NULL) != 0)
		abort();
	schedules->watcher.changed = job_changed;
	schedules->watcher.context = schedules;
	jobs_watch(schedules->jobs, &schedules->watcher);
	begin_review(schedules);
	arm(schedules);
	return schedules;
}

void schedules_free(struct schedules *schedules)
{
	struct pruning *pruning, *next;

	if (!schedules)
		return;
	jobs_unwatch(&schedules->watcher);
	HASH_ITER (hh, schedules->prunings, pruning, next) {
		HASH_DEL(schedules->prunings, pruning);
		free(pruning);
	}
	event_free(schedules->prune);
	event_free(schedules->timer);
	event_free(schedules->review);
	(void)close(schedules->timer_fd);
	free(schedules);
}

void schedules_set_config(struct schedules *schedules, const struct config *config)
{
	schedules->config = config;
	begin_review(schedules); /* the machine's zone may be another */
}
