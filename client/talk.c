/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to jobd, made with the first call. Which jobd: --socket or $JOBD_SOCKET; --user or
 * --system; else the user's own if it answers, else the system's; and where there is none, a
 * private daemon for the user is started, once, as tmux does it.
 */
#include "client/client.h"

#include "client/screen.h"
#include "common/error.h"
#include "common/paths.h"
#include "common/protocol.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 5 };

static int connection = -1;
static struct frame_buffer input;
static int64_t started_job; /* by this program, which stays for it; 0: none */
static volatile sig_atomic_t is_interrupted;
static bool is_impatient, was_silent;

/* --- Connecting --- */

/* A connected socket, or a negative errno. */
static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (path_check_socket_folder(path) < 0)
		fail(STATUS_DAEMON,
		     "the folder of %s is not yours alone: remove it, or set "
		     "XDG_RUNTIME_DIR",
		     path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int number = errno;

		(void)close(fd);
		return -number;
	}
	return fd;
}

/* Waits for a child, but not for ever; its status. */
static int wait_for_child(pid_t pid, const char *program)
{
	enum { START_MAX_MS = 10000 };
	struct pollfd child = {.fd = pidfd_open(pid, 0), .events = POLLIN};
	int status, r;

	while ((r = child.fd < 0 ? 1 : poll(&child, 1, START_MAX_MS)) < 0 && errno == EINTR)
		talk_check_interrupt();
	if (r == 0)
		fail(STATUS_DAEMON, "%s is not ready after %d s: see why with `jobd --foreground`",
		     program, START_MAX_MS / 1000);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			fail(STATUS_DAEMON, "jobd was lost: %m");
	(void)close(child.fd);
	return status;
}

/* Runs jobd, which returns when the daemon is ready, or after its error line. */
static void run_daemon(const char *socket_path)
{
	extern char **environ;
	const char *named = getenv("JOBD");
	const char *program = named ? named : JOBD_PATH;
	char *arguments[] = {(char *)(uintptr_t) "jobd", (char *)(uintptr_t) "--user",
			     (char *)(uintptr_t) "--socket", (char *)(uintptr_t)socket_path, NULL};
	int status, r;
	pid_t pid;

	r = posix_spawn(&pid, program, NULL, NULL, arguments, environ);
	if (r != 0)
		fail(STATUS_DAEMON, "no jobd runs, and %s cannot be started: %s", program,
		     strerror(r));
	status = wait_for_child(pid, program);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail(STATUS_DAEMON, "no jobd runs, and a private one does not start (see above)");
}

/* Of racing clients one starts the daemon, and the others then find it. */
static int start_daemon(const char *socket_path)
{
	autofree char *lock_path = xasprintf("%s.lock", socket_path);
	autoclose int lock = -1;
	int fd;

	if (path_check_socket_folder(socket_path) < 0 || path_make_parent(socket_path) < 0)
		fail(STATUS_DAEMON, "no folder can be made for %s", socket_path);
	lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		fail(STATUS_DAEMON, "cannot lock %s: %m", lock_path);
	fd = connect_to(socket_path);
	if (fd >= 0)
		return fd;
	run_daemon(socket_path);
	return connect_to(socket_path);
}

static _Noreturn void no_daemon(const char *path, int number)
{
	if (number == -EACCES)
		fail(STATUS_DAEMON, "you may not talk to the jobd on %s", path);
	if (number == -ENAMETOOLONG)
		fail(STATUS_DAEMON,
		     "the path %.80s... is too long for a socket: name a shorter one", path);
	fail(STATUS_DAEMON, "no jobd listens on %s: start it with `jobd --socket %s`", path, path);
}

/* The socket that was named, if one was: the nearest word counts. */
static const char *named_socket(void)
{
	const char *named = getenv("JOBD_SOCKET");

	if (globals.socket || globals.is_user || globals.is_system)
		return globals.socket;
	return named && *named ? named : NULL;
}

static void connect_once(void)
{
	const char *named = named_socket();
	autofree char *user = path_socket(true);
	autofree char *system = path_socket(false);

	if (connection >= 0)
		return;
	frame_buffer_init(&input, SIZE_MAX / 4);
	if (named) {
		connection = connect_to(named);
		if (connection < 0)
			no_daemon(named, connection);
		return;
	}
	if (globals.is_system) {
		connection = connect_to(system);
		if (connection < 0)
			fail(STATUS_DAEMON,
			     "no jobd listens on %s: start it with `systemctl start "
			     "jobd`",
			     system);
		return;
	}
	connection = connect_to(user);
	if (connection < 0 && !globals.is_user)
		connection = connect_to(system);
	if (connection < 0)
		connection = start_daemon(user);
	if (connection < 0)
		no_daemon(user, connection);
}

/* --- Interrupts --- */

static void on_signal(int number)
{
	(void)number;
	is_interrupted = 1;
}

void talk_on_interrupt(int64_t job)
{
	/* No SA_RESTART: a read that waits comes back. */
	struct sigaction action = {.sa_handler = on_signal};

	started_job = job;
	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
}

void talk_check_interrupt(void)
{
	if (!is_interrupted)
		return;
	screen_end();
	progress_clear();
	if (started_job && !globals.is_quiet)
		(void)fprintf(stderr, "jobctl: job %lld runs on: jobctl wait %lld\n",
			      (long long)started_job, (long long)started_job);
	/* Output that nobody takes would hold an exit(3) up; it was not confirmed, so it is not
	 * lost. */
	_exit(STATUS_INTERRUPTED);
}

/* Once: what should be answered at once is not. */
static void tell_silence(void)
{
	is_impatient = false;
	was_silent = true;
	if (globals.is_terminal[1] && !globals.is_quiet && !screen_is_on())
		(void)fprintf(stderr,
			      "jobctl: no answer from jobd for %d s: it may wait for its disk; "
			      "systemctl status jobd, or its log, says so\n",
			      PATIENCE_SECONDS);
}

/*
 * Until there is something to read. The signals are let in within ppoll(2) alone, so that none that
 * comes between two readings is slept over.
 */
static void wait_for_bytes(void)
{
	struct pollfd poll = {.fd = connection, .events = POLLIN};
	struct timespec patience = {.tv_sec = PATIENCE_SECONDS};
	sigset_t signals, before;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &signals, &before);
	if (!is_interrupted && ppoll(&poll, 1, is_impatient ? &patience : NULL, &before) == 0)
		tell_silence();
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	talk_check_interrupt();
}

/* --- Calling --- */

/* jobd closes a connection that is sent too much: better told before, with the limit. */
static void check_size(size_t size)
{
	enum { LOWEST_LIMIT = 4096 };
	static int64_t limit;

	if (size <= LOWEST_LIMIT)
		return;
	if (limit == 0) {
		json_t *status = talk("GetStatus", NULL);

		limit = number_of(json_object_get(status, "limits"), "max-message");
		json_decref(status);
	}
	if ((int64_t)size > limit)
		fail(STATUS_REFUSED,
		     "what jobd is to be told has %zu bytes, and max-message of jobd.conf allows "
		     "%lld: give less at once, or raise it",
		     size, (long long)limit);
}

static void send_call(const char *method, json_t *parameters, bool is_more)
{
	autofree char *name = xasprintf("org.jobd.%s", method);
	json_t *message = call_build(name, parameters, is_more);
	size_t size, sent = 0;
	autofree char *text = message_encode(message, &size);

	json_decref(message);
	check_size(size);
	connect_once();
	while (sent < size) {
		ssize_t part = send(connection, text + sent, size - sent, MSG_NOSIGNAL);

		if (part < 0 && errno == EINTR)
			talk_check_interrupt();
		else if (part < 0)
			break; /* why, the reply says, or the end of the connection */
		else
			sent += (size_t)part;
	}
}

static _Noreturn void lost_daemon(void)
{
	if (started_job)
		fail(STATUS_DAEMON,
		     "jobd closed the connection: see its log; job %lld is kept: jobctl wait %lld",
		     (long long)started_job, (long long)started_job);
	fail(STATUS_DAEMON, "jobd closed the connection: see its log");
}

static json_t *read_message(void)
{
	for (;;) {
		json_t *message;
		size_t room;
		char *at;
		ssize_t size;
		int r = frame_buffer_next(&input, &message);

		if (r > 0)
			return message;
		if (r < 0)
			fail(STATUS_DAEMON, "jobd's reply is not readable: are jobctl and jobd of "
					    "one version?");
		wait_for_bytes();
		at = frame_buffer_room(&input, &room);
		size = recv(connection, at, room, MSG_DONTWAIT);
		if (size < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (size <= 0)
			lost_daemon();
		frame_buffer_filled(&input, (size_t)size);
	}
}

static enum status status_of(int error)
{
	switch (error) {
	case ERROR_INVALID_SELECTOR:
	case ERROR_INVALID_TARGET:
	case ERROR_INVALID_OPTION:
	case ERROR_INVALID_PARAMETER:
		return STATUS_WORDS;
	case ERROR_STORAGE_FAILED:
		return STATUS_DAEMON;
	default:
		return STATUS_REFUSED;
	}
}

/* A sentence of jobd begins with the parameter's name, and people know the option's; or it names
 * the option already. */
static _Noreturn void tell_option(const char *parameter, const char *message)
{
	const char *option = option_of_parameter(parameter);
	size_t size = strlen(parameter);

	if (!option || strncmp(message, "--", 2) == 0)
		fail(STATUS_WORDS, "%s", message);
	if (strncmp(message, parameter, size) == 0 && strchr(": ", message[size]))
		fail(STATUS_WORDS, "--%s%s", option, message + size);
	fail(STATUS_WORDS, "--%s: %s", option, message);
}

static const char *about;

void talk_about(const char *what)
{
	about = what;
}

/* An error reply for people, and the end. */
static _Noreturn void tell_error(const struct reply_header *header)
{
	const char *dot = strrchr(header->error, '.');
	int error = error_find(dot ? dot + 1 : header->error);
	const char *message = json_string_value(json_object_get(header->parameters, "message"));
	const char *parameter = json_string_value(json_object_get(header->parameters, "parameter"));
	const char *option = json_string_value(json_object_get(header->parameters, "option"));

	progress_clear();
	if (globals.is_json) {
		json_t *object = json_pack("{s:s, s:O?}", "error", header->error, "parameters",
					   header->parameters);

		print_json(object);
		json_decref(object);
		(void)fflush(stdout);
		exit((int)trouble(status_of(error)));
	}
	if (about && message)
		fail(status_of(error), "%s: %s", about, message);
	if (about && parameter)
		fail(status_of(error), "%s: jobd does not understand %s", about, parameter);
	if (error == ERROR_INVALID_OPTION && option && message)
		tell_option(option, message);
	if (message)
		fail(status_of(error), "%s", message);
	if (parameter)
		fail(status_of(error),
		     "jobd does not understand %s: are jobctl and jobd of one "
		     "version?",
		     parameter);
	fail(status_of(error), "jobd answers %s", header->error);
}

/* The next reply; its header lives as long. */
static json_t *read_reply(struct reply_header *ret_header)
{
	json_t *message = read_message();

	if (reply_parse(message, ret_header) < 0)
		fail(STATUS_DAEMON, "jobd's reply is not readable: are jobctl and jobd of one "
				    "version?");
	return message;
}

/* The next reply: a new reference to its parameters. */
static json_t *take_reply(bool *ret_continues)
{
	struct reply_header header;
	static json_t *message; /* of an error is still held when the program ends */
	json_t *parameters;

	message = read_reply(&header);
	if (header.error)
		tell_error(&header);
	*ret_continues = header.continues;
	parameters = header.parameters ? json_incref(header.parameters) : json_object();
	json_decref(message);
	return parameters;
}

void talk_ask(const char *method, json_t *parameters)
{
	send_call(method, parameters, false);
}

json_t *talk_answer(void)
{
	bool continues;

	return take_reply(&continues);
}

json_t *talk(const char *method, json_t *parameters)
{
	json_t *reply;

	talk_ask(method, parameters);
	is_impatient = !was_silent;
	reply = talk_answer();
	is_impatient = false;
	return reply;
}

json_t *talk_try(const char *method, json_t *parameters, char **ret_error)
{
	struct reply_header header;
	json_t *message, *reply = NULL;

	talk_ask(method, parameters);
	message = read_reply(&header);
	if (header.error) {
		const char *text = text_of(header.parameters, "message");

		*ret_error = xstrdup(*text ? text : header.error);
	} else {
		reply = header.parameters ? json_incref(header.parameters) : json_object();
	}
	json_decref(message);
	return reply;
}

void talk_stream(const char *method, json_t *parameters, talk_fn *fn, void *context)
{
	bool continues, goes_on;

	send_call(method, parameters, true);
	do {
		json_t *reply = take_reply(&continues);

		goes_on = fn(reply, continues, context);
		json_decref(reply);
	} while (continues && goes_on);
}

static json_t *list_of_one(const char *selector)
{
	return json_pack("{s:{s:[s]}, s:i}", "selection", "selectors", selector, "limit", 1);
}

bool talk_has_job(const char *selector)
{
	struct reply_header header;
	json_t *message;
	bool is_gone;

	talk_ask("List", list_of_one(selector));
	message = read_reply(&header);
	is_gone = header.error && streq(header.error, "org.jobd.NoSuchJob");
	if (header.error && !is_gone)
		tell_error(&header);
	json_decref(message);
	return !is_gone;
}

void talk_records(const char *selector, record_fn *fn, void *context)
{
	json_t *parameters = json_pack("{s:{s:[s]}, s:b, s:b}", "selection", "selectors", selector,
				       "again", 1, "keep", 1);
	bool is_end;

	do {
		json_t *page = talk("Receive", parameters);
		json_t *records = json_object_get(page, "records"), *record;
		size_t index;

		json_array_foreach (records, index, record) {
			fn(record, context);
		}
		is_end = json_is_true(json_object_get(page, "isEnd"));
		parameters = json_pack("{s:O}", "confirm", json_object_get(page, "position"));
		json_decref(page);
	} while (!is_end);
	json_decref(parameters);
	/* Of a job that was removed meanwhile that was not all; then this says that there is none.
	 */
	json_decref(talk("List", list_of_one(selector)));
}
