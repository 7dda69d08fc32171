/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobd: options, start order, stop order, signals and the service manager.
 *
 * Start: options, config, (into the background,) store, workers, jobs, recovery, schedules, server,
 * READY.
 * Stop, the other way round: no more calls, running tasks are called back, a last commit, the
 * workers are joined, the sockets and the database are closed.
 */
#include "common/log.h"
#include "common/paths.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/background.h"
#include "daemon/config.h"
#include "daemon/jobs.h"
#include "daemon/mailbox.h"
#include "daemon/schedules.h"
#include "daemon/server.h"
#include "daemon/store.h"
#include "daemon/turn.h"
#include "daemon/watchdog.h"
#include "daemon/worker.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-journal.h>

/* Exit statuses: 0, 1 (it could not start, go on, or store all at its end), 2 (the words are
 * wrong), 3 (the database is, and trying again brings nothing). */
enum { EXIT_WORDS = 2, EXIT_DATABASE = 3, QUIET_WAIT_US = 2000000 };

struct program {
	struct daemon daemon;
	/* The newest is last. Workers may still have an older one, so none is freed before the
	 * end. */
	struct config **configs;
	size_t config_count;
	struct config_options options;
	struct workers *workers;
	struct mailbox reports;
	struct turns *turns;
	struct watchdog *watchdog; /* or NULL */
	struct event *reports_event;
	struct event *signals[3];
	bool is_ending;
};

/* --- Words --- */

#define OPTIONS(X)                                                                      \
	X("user", 'u', NULL, "be a user's private daemon")                              \
	X("foreground", 'f', NULL, "stay in the foreground, log to standard error")     \
	X("config", 'c', "FILE", "read FILE instead of the usual jobd.conf")            \
	X("database", 'd', "FILE", "keep jobs and results in FILE")                     \
	X("socket", 's', "PATH", "listen on PATH")                                      \
	X("workers", 'w', "N", "threads for SSH sessions (the number of CPUs)")         \
	X("check", 'C', NULL, "check the database, also of a running jobd, and exit")   \
	X("backup", 'B', "FILE", "copy the database, also of a running jobd, and exit") \
	X("help", 'h', NULL, "show this and exit")                                      \
	X("version", 'V', NULL, "show the version and exit")

static void print_help(void)
{
	printf("Usage: jobd [OPTION...]\n\n"
	       "The job daemon: runs ping and SSH jobs in the background, keeps every result, and\n"
	       "gives it back to jobctl(1) over its control socket.\n\n");
#define PRINT_OPTION(name, letter, argument, what)                                                \
	printf("  --%-10s %-5s %s\n", name, (const char *)argument ? (const char *)argument : "", \
	       what);
	OPTIONS(PRINT_OPTION)
#undef PRINT_OPTION
	printf("\nSettings are in jobd.conf(5). The page jobd(8) says more.\n");
}

/* What to do; daemon options are in program->options. */
struct words {
	bool is_foreground;
	bool is_check;
	const char *backup; /* a file, or NULL */
};

/* An empty name would stand for the folder that jobd was started in. */
static int refuse_empty(char letter)
{
#define EMPTY_ROW(name, short_name, argument, what)                           \
	if (letter == (short_name))                                           \
		log_error("--%s got an empty value: say --%s %s", name, name, \
			  (const char *)argument ? (const char *)argument : "");
	OPTIONS(EMPTY_ROW)
#undef EMPTY_ROW
	return -EINVAL;
}

/* 0 to go on, 1 to exit with success, -EINVAL */
static int parse_words(int argc, char **argv, struct config_options *ret_options,
		       struct words *ret_words)
{
	static const struct option words[] = {
#define OPTION_ROW(name, letter, argument, what) \
	{name, (const char *)argument ? required_argument : no_argument, NULL, letter},
		OPTIONS(OPTION_ROW)
#undef OPTION_ROW
			{NULL, 0, NULL, 0}};
	int64_t workers;
	int letter;

	while ((letter = getopt_long(argc, argv, "", words, NULL)) != -1) {
		if (optarg && optarg[0] == '\0')
			return refuse_empty((char)letter);
		switch (letter) {
		case 'u':
			ret_options->is_user = true;
			break;
		case 'f':
			ret_words->is_foreground = true;
			break;
		case 'C':
			ret_words->is_check = true;
			break;
		case 'B':
			ret_words->backup = optarg;
			break;
		case 'c':
			ret_options->config_file = optarg;
			break;
		case 'd':
			ret_options->database = optarg;
			break;
		case 's':
			ret_options->socket = optarg;
			break;
		case 'w':
			if (number_parse(optarg, 1, 256, &workers) < 0) {
				log_error("--workers takes a number from 1 to 256, not '%.80s'",
					  optarg);
				return -EINVAL;
			}
			ret_options->workers = (unsigned)workers;
			break;
		case 'h':
			print_help();
			return 1;
		case 'V':
			printf("jobd %s\n", PACKAGE_VERSION);
			return 1;
		default: /* getopt said what is wrong */
			return -EINVAL;
		}
	}
	if (optind < argc) {
		log_error("'%.80s': jobd takes options only; see jobd --help", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

/* --- The service manager --- */

static void tell_status(void *context)
{
	const struct program *program = context;
	const char *error = store_error(program->daemon.store);

	if (error)
		(void)sd_notifyf(0, "STATUS=Cannot store, new jobs are refused: %s", error);
	else
		(void)sd_notifyf(0, "STATUS=%zu jobs under way, listening on %s",
				 jobs_live_count(program->daemon.jobs),
				 program->daemon.config->socket);
}

static bool are_workers_alive(void *context)
{
	const struct program *program = context;

	return workers_check_alive(program->workers);
}

/* --- Signals and reports --- */

static void on_end(evutil_socket_t signal_number, short what, void *context)
{
	struct program *program = context;

	(void)what;
	log_info("ending on %s", sigabbrev_np(signal_number));
	program->is_ending = true;
	turns_stop(program->turns);
}

static void use_config(struct program *program, struct config *config)
{
	program->configs =
		xrealloc(program->configs, (program->config_count + 1) * sizeof(*program->configs));
	program->configs[program->config_count++] = config;
	program->daemon.config = config;
	log_set_level(config->log_level);
}

/* Reads jobd.conf again; a bad file leaves everything as it is. */
static void on_reload(evutil_socket_t signal_number, short what, void *context)
{
	struct program *program = context;
	struct daemon *daemon = &program->daemon;
	autofree char *sentence = NULL;
	struct config *config;

	(void)signal_number;
	(void)what;
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)now_monotonic_us());
	if (config_load(&program->options, &config, &sentence) < 0) {
		log_error("nothing is reloaded: %s", sentence);
	} else {
		use_config(program, config);
		jobs_set_config(daemon->jobs, config);
		schedules_set_config(daemon->schedules, config);
		workers_set_config(program->workers, config);
		log_notice("jobd.conf was read again");
	}
	(void)sd_notify(0, "READY=1");
}

static void on_reports(evutil_socket_t fd, short what, void *context)
{
	enum { REPORTS_PER_TURN = 1000 };
	struct program *program = context;
	struct letter *letter;
	size_t taken = 0;

	(void)fd;
	(void)what;
	while (taken < REPORTS_PER_TURN && (letter = mailbox_take_one(&program->reports))) {
		struct report *report = (struct report *)letter;

		taken += report->type == REPORT_ENDINGS ? report->ending_count : 1;
		jobs_report(program->daemon.jobs, report);
	}
	turn_worked(&program->daemon, false);
}

static void listen_to_signals(struct program *program)
{
	static const struct {
		int number;
		event_callback_fn handle;
	} rows[] = {{SIGTERM, on_end}, {SIGINT, on_end}, {SIGHUP, on_reload}};

	(void)signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		program->signals[i] =
			evsignal_new(program->daemon.base, rows[i].number, rows[i].handle, program);
		if (!program->signals[i] || event_add(program->signals[i], NULL) != 0)
			abort();
	}
}

/* --- Start --- */

/* Room for thousands of sessions: the soft limit goes up to the hard one. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* The listening socket that the service manager passes, -1 for none, or a negative errno below. */
static int passed_socket(void)
{
	int count = sd_listen_fds(1);

	if (count > 1)
		log_warning("of %d passed sockets only the first is used", count);
	return count >= 1 ? SD_LISTEN_FDS_START : -1;
}

static int start_store(struct program *program)
{
	struct daemon *daemon = &program->daemon;
	struct error error = {0};
	int r = store_open(daemon->config->database, &daemon->store, &error);

	if (r < 0)
		log_error("%s", error.sentence);
	error_done(&error);
	return r;
}

static int start_workers(struct program *program)
{
	struct daemon *daemon = &program->daemon;
	int r = mailbox_init(&program->reports);

	if (r == 0)
		r = workers_new(daemon->config, &program->reports, &program->workers);
	if (r < 0) {
		errno = -r;
		log_error("cannot start the workers: %m");
		return r;
	}
	daemon->workers = workers_count(program->workers);
	program->reports_event = event_new(daemon->base, program->reports.fd, EV_READ | EV_PERSIST,
					   on_reports, program);
	if (!program->reports_event || event_add(program->reports_event, NULL) != 0)
		abort();
	return 0;
}

/* Where a damaged page is in the way nothing goes on, and no state is changed; the rest of the file
 * can still be read and saved. A disk that fails may be well at the next start. */
static int recover(struct program *program)
{
	struct daemon *daemon = &program->daemon;
	struct error error = {0};
	int r = jobs_recover(daemon->jobs, &error);

	if (r < 0 && store_is_damaged(daemon->store)) {
		jobs_free(daemon->jobs);
		store_stop_writing(daemon->store);
		daemon->jobs =
			jobs_new(daemon->base, daemon->store, program->workers, daemon->config);
		log_error("%s", store_error(daemon->store));
		r = 0;
	} else if (r < 0) {
		log_error("%s", error.sentence);
	}
	error_done(&error);
	return r;
}

static int start_jobs(struct program *program)
{
	struct daemon *daemon = &program->daemon;
	autofree char *sentence = NULL;
	int r;

	daemon->jobs = jobs_new(daemon->base, daemon->store, program->workers, daemon->config);
	r = recover(program);
	if (r < 0)
		return r;
	daemon->schedules = schedules_new(daemon);
	if (server_new(daemon, passed_socket(), &daemon->server, &sentence) < 0) {
		log_error("%s", sentence);
		return -EADDRINUSE;
	}
	program->turns = turns_new(daemon, tell_status, program);
	return 0;
}

/* --- End --- */

static void on_wait_over(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	*(bool *)context = true;
}

/* Calls the running tasks back, and waits until they are here; a bounded time. */
static void call_tasks_back(struct program *program)
{
	struct daemon *daemon = &program->daemon;
	struct timeval wait = {.tv_sec = QUIET_WAIT_US / 1000000};
	bool is_over = false;

	jobs_shutdown(daemon->jobs);
	(void)event_base_once(daemon->base, -1, EV_TIMEOUT, on_wait_over, &is_over, &wait);
	while (!jobs_is_quiet(daemon->jobs) && !is_over)
		(void)event_base_loop(daemon->base, EVLOOP_ONCE);
	if (!jobs_is_quiet(daemon->jobs))
		log_error("some tasks did not come back; they are settled at the next start");
}

/* 0, or -EIO where what happened last is not on disk: whoever supervises sees it by the status. */
static int end_orderly(struct program *program)
{
	struct daemon *daemon = &program->daemon;

	(void)sd_notify(0, "STOPPING=1");
	server_close(daemon->server);
	turns_finish(program->turns);
	call_tasks_back(program);
	turns_finish(program->turns);
	if (!store_error(daemon->store) || !store_has_changes(daemon->store))
		return 0;
	log_error("what happened last could not be stored: %s", store_error(daemon->store));
	return -EIO;
}

/* Also what did not start wholly. */
static void release(struct program *program)
{
	struct daemon *daemon = &program->daemon;

	watchdog_free(program->watchdog);
	server_free(daemon->server);
	schedules_free(daemon->schedules);
	jobs_free(daemon->jobs);
	workers_free(program->workers);
	store_close(daemon->store);
	turns_free(program->turns);
	for (size_t i = 0; i < ARRAY_SIZE(program->signals); i++)
		if (program->signals[i])
			event_free(program->signals[i]);
	if (program->reports_event) {
		event_free(program->reports_event);
		mailbox_done(&program->reports);
	}
	if (daemon->base)
		event_base_free(daemon->base);
	for (size_t i = 0; i < program->config_count; i++)
		config_free(program->configs[i]);
	free(program->configs);
}

static int start(struct program *program)
{
	const struct watchdog_owner owner = {are_workers_alive, tell_status, program};
	struct daemon *daemon = &program->daemon;
	int r;

	raise_file_limit();
	daemon->started_us = now_real_us();
	daemon->base = event_base_new();
	if (!daemon->base)
		abort();
	r = start_store(program);
	if (r == 0)
		r = start_workers(program);
	if (r == 0)
		r = start_jobs(program);
	if (r < 0)
		return r;
	listen_to_signals(program);
	program->watchdog = watchdog_new(daemon->base, &owner);
	(void)sd_notify(0, "READY=1");
	tell_status(program);
	background_ready();
	log_set_level(daemon->config->log_level);
	log_info("jobd %s listens on %s, %u workers, database %s", PACKAGE_VERSION,
		 daemon->config->socket, daemon->workers, daemon->config->database);
	return 0;
}

static void write_to_journal(const struct iovec *fields, int count)
{
	(void)sd_journal_sendv(fields, count);
}

/* --- Looking after the database --- */

static void print_finding(const char *finding, void *context)
{
	(void)context;
	printf("%s\n", finding);
}

static int check_database(const char *path)
{
	struct error error = {0};
	int findings = store_check(path, print_finding, NULL, &error);

	if (findings < 0)
		log_error("%s", error.sentence);
	else if (findings > 0)
		log_error("the database %s is damaged: stop jobd, and put a copy of --backup in "
			  "its place",
			  path);
	else
		printf("%s is well\n", path);
	error_done(&error);
	return findings == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int back_up_database(const char *path, const char *to)
{
	struct error error = {0};
	int r = store_backup(path, to, &error);

	if (r < 0)
		log_error("%s", error.sentence);
	error_done(&error);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What clients hand over may be a password. */
static void wipe_and_free(void *memory)
{
	if (memory)
		explicit_bzero(memory, malloc_usable_size(memory));
	free(memory);
}

int main(int argc, char **argv)
{
	struct program program = {0};
	struct words words = {0};
	autofree char *sentence = NULL;
	struct config *config;
	int r;

	stdio_occupy();
	log_init("jobd", LOG_INFO);
	log_set_journal(write_to_journal);
	json_set_alloc_funcs(malloc, wipe_and_free);
	r = parse_words(argc, argv, &program.options, &words);
	if (r != 0)
		return r > 0 ? EXIT_SUCCESS : EXIT_WORDS;
	if (config_load(&program.options, &config, &sentence) < 0) {
		log_error("%s", sentence);
		return EXIT_WORDS;
	}
	use_config(&program, config);
	(void)umask(077);
	if (words.backup || words.is_check) {
		r = words.backup ? back_up_database(config->database, words.backup) : 0;
		if (r == 0 && words.is_check)
			r = check_database(words.backup ? words.backup : config->database);
		release(&program);
		return r;
	}
	/* Before any thread is made. */
	if (!words.is_foreground) {
		if (background_start(config->database) < 0)
			return EXIT_FAILURE;
		/* Until it is ready only what is wrong goes to the terminal. */
		log_set_level(LOG_WARNING);
	}
	r = start(&program);
	if (r == 0) {
		turns_run(program.turns);
		r = end_orderly(&program);
	}
	release(&program);
	if (r == -EUCLEAN)
		return EXIT_DATABASE;
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
