/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One client. Bytes come in by on_read, messages are worked off one after the other by on_work,
 * some at a time, so that whoever asks for one thing does not wait for those who ask for thousands,
 * and answers go out at its end or by on_write.
 *
 * What stops the work, each until its own event: a call that is not answered yet; a reading call
 * that waits for the commit (is_waiting), after which it comes first; a peer that does not take
 * what was said (is_full). While it is stopped, or messages are left to be worked off, nothing is
 * read, so that a client's memory here is bounded; that the peer has gone is then told by
 * closed_event.
 *
 * File descriptors that a peer passes are closed by the kernel: read(2) takes none (unix(7)).
 */
#include "daemon/connection.h"

#include "common/log.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/jobs.h"
#include "daemon/json-text.h"
#include "daemon/store.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	OUTPUT_HIGH = 1024 * 1024,
	MESSAGES_AT_A_TIME = 4,
	HANGUP_CHECK_S = 1,
	/* A shorter text is copied behind the others, and written with them in one piece. */
	COPIED_MAX = 1024,
};

static bool is_full(const struct connection *connection)
{
	return evbuffer_get_length(connection->output) >= OUTPUT_HIGH;
}

/*
 * Something to do, in the next pass of the loop. (event_active would run it in this very pass, over
 * and over, and the turn would not end.)
 */
static void plan_work(struct connection *connection)
{
	static const struct timeval at_once;

	if (!connection->is_working)
		(void)event_add(connection->work_event, &at_once);
}

/* --- Saying --- */

void connection_write(struct connection *connection)
{
	while (evbuffer_get_length(connection->output) > 0) {
		int size = evbuffer_write(connection->output, connection->fd);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 && errno != EAGAIN) {
			connection->is_broken = true;
			plan_work(connection);
			return;
		}
		if (size <= 0) {
			(void)event_add(connection->write_event, NULL);
			return;
		}
	}
}

static void free_text(const void *text, size_t size, void *context)
{
	(void)text;
	(void)size;
	free(context);
}

/* Takes over the text. */
static void add_text(struct evbuffer *output, char *text, size_t size)
{
	int r = size <= COPIED_MAX ? evbuffer_add(output, text, size)
				   : evbuffer_add_reference(output, text, size, free_text, text);

	if (r != 0)
		abort();
	if (size <= COPIED_MAX)
		free(text);
}

/* The next commit concerns this connection. */
static void mark_due(struct connection *connection)
{
	if (connection->is_due)
		return;
	connection->is_due = true;
	TAILQ_INSERT_TAIL(&connection->server->due, connection, due_link);
}

static void hold(struct connection *connection, char *text, size_t size, bool is_change,
		 uint64_t start)
{
	connection->held =
		xgrow(connection->held, connection->held_count, sizeof(*connection->held));
	connection->held[connection->held_count++] =
		(struct held){.size = size, .is_change = is_change, .start = start};
	if (text)
		add_text(connection->held_output, text, size);
	mark_due(connection);
}

/*
 * Puts a frame, which it takes over, behind what was said before; NULL: the end of a oneway call.
 * What a change says is held, and so is what comes behind it.
 */
static void say_frame(struct connection *connection, char *text, size_t size, bool is_change,
		      uint64_t start)
{
	if (is_change || connection->held_count > 0)
		hold(connection, text, size, is_change, start);
	else if (text)
		add_text(connection->output, text, size);
	plan_work(connection);
}

/* A message, which it takes over, as a frame. */
static char *encode(json_t *message, size_t *ret_size)
{
	char *text = message_encode(message, ret_size);

	json_decref(message);
	return text;
}

static void say(struct connection *connection, json_t *message)
{
	size_t size;
	char *text = encode(message, &size);

	say_frame(connection, text, size, false, 0);
}

/* An error as the interface has it. */
static json_t *error_message(const struct error *error)
{
	const char *subject = error->subject ? error->subject : "";
	const char *parameter = error_parameter(error->id);
	autofree char *name = xasprintf("org.jobd.%s", error_name(error->id));
	json_t *parameters;

	if (error->id == ERROR_INVALID_PARAMETER)
		return service_error(error_name(error->id), parameter, subject);
	parameters = json_pack("{s:s}", "message", error->sentence);
	if (!parameters) /* it quotes bytes, of a file's name perhaps */
		parameters = json_pack("{s:s}", "message", "the words are not valid UTF-8");
	if (error->id == ERROR_WRONG_STATE)
		(void)json_object_set_new(parameters, parameter, json_integer(atoll(subject)));
	else if (parameter[0] != '\0')
		(void)json_object_set_new(parameters, parameter, json_string(subject));
	return error_build(name, parameters);
}

static json_t *storage_failed(const char *sentence)
{
	return error_build("org.jobd.StorageFailed", json_pack("{s:s}", "message", sentence));
}

/* --- Answering a call --- */

static struct running_call *running_of(struct call *call)
{
	return (struct running_call *)call;
}

static void running_call_free(struct running_call *running)
{
	if (!running)
		return;
	if (running->call.free)
		running->call.free(running->call.state);
	json_decref(running->call.parameters);
	free(running);
}

/* The call is answered by a frame, which is taken over, and the next may begin. */
static void end_call_frame(struct call *call, char *text, size_t size, bool is_change,
			   uint64_t start)
{
	struct running_call *running = running_of(call);
	struct connection *connection = call->connection;

	assert(connection->running == running);
	if (running->is_oneway) {
		free(text);
		text = NULL;
		size = 0;
	}
	connection->running = NULL;
	say_frame(connection, text, size, is_change, start);
	running_call_free(running);
}

static void end_call(struct call *call, json_t *message, bool is_change)
{
	size_t size;
	char *text = encode(message, &size);

	end_call_frame(call, text, size, is_change, 0);
}

void call_reply(struct call *call, json_t *parameters)
{
	end_call(call, reply_build(parameters, false), running_of(call)->method->is_change);
}

void call_continue(struct call *call, json_t *parameters)
{
	assert(call->is_more);
	say(call->connection, reply_build(parameters, true));
}

void call_text_begin(struct json_text *text)
{
	json_text_add(text, "{\"parameters\":");
}

void call_reply_text(struct call *call, struct json_text *text)
{
	call_reply_start(call, 0, text);
}

void call_reply_start(struct call *call, uint64_t id, struct json_text *text)
{
	size_t size;
	char *frame;

	json_text_add(text, "}");
	frame = json_text_take(text, &size);
	end_call_frame(call, frame, size, running_of(call)->method->is_change, id);
}

void call_hold(struct call *call)
{
	if (!store_error(call->daemon->store))
		hold(call->connection, NULL, 0, false, 0);
}

void call_continue_text(struct call *call, struct json_text *text)
{
	size_t size;
	char *frame;

	assert(call->is_more);
	json_text_add(text, ",\"continues\":true}");
	frame = json_text_take(text, &size);
	say_frame(call->connection, frame, size, false, 0);
}

void call_answer(struct call *call, json_t *message)
{
	end_call(call, message, false);
}

void call_error(struct call *call, struct error *error)
{
	call_answer(call, error_message(error));
	error_done(error);
}

void call_storage_failed(struct call *call)
{
	call_answer(call, storage_failed(store_error(call->daemon->store)));
}

void call_schedule(struct call *call)
{
	plan_work(call->connection);
}

void connection_set_state(struct connection *connection, void *state, void (*free_state)(void *))
{
	if (connection->state_free)
		connection->state_free(connection->state);
	connection->state = state;
	connection->state_free = free_state;
}

void *connection_state(const struct connection *connection, void (*free_state)(void *))
{
	return connection->state_free == free_state ? connection->state : NULL;
}

/* --- Working off messages --- */

static void run_method(struct connection *connection, const struct method *method,
		       const struct call_header *header)
{
	struct running_call *running = xcalloc(1, sizeof(*running));

	running->method = method;
	running->is_oneway = header->is_oneway;
	running->call = (struct call){
		.connection = connection,
		.daemon = connection->server->daemon,
		.uid = connection->uid,
		.is_admin = connection->is_admin,
		.is_trusted = connection->is_trusted,
		.is_more = header->is_more,
		.parameters = header->parameters ? json_incref(header->parameters) : json_object(),
	};
	connection->running = running;
	method->handle(&running->call);
}

/* The method that a call is to; NULL: *ret_error is what is said against it. */
static const struct method *admit(const struct connection *connection,
				  const struct call_header *header, json_t **ret_error)
{
	const char *failing = store_error(connection->server->daemon->store);
	const struct interface *interface;
	const struct method *method;
	autofree char *member = NULL;

	method = service_find(connection->server, header->method, &interface, ret_error);
	if (!method)
		return NULL;
	if (header->is_upgrade)
		*ret_error = service_error("InvalidParameter", "parameter", "upgrade");
	else if (interface_check_call(interface, method->name, header->parameters, &member) < 0)
		*ret_error = service_error("InvalidParameter", "parameter", member);
	else if (method->needs_more && !header->is_more)
		*ret_error = service_error("ExpectedMore", NULL, NULL);
	else if (method->is_change && failing)
		*ret_error = storage_failed(failing);
	else
		return method;
	return NULL;
}

/* A reading call sees all that was asked before it. */
static bool must_wait(const struct connection *connection, const struct method *method)
{
	const struct daemon *daemon = connection->server->daemon;

	return !method->is_change && !store_error(daemon->store) &&
	       (connection->held_count > 0 || jobs_has_changes(daemon->jobs));
}

/* Works off connection->message, or lets it wait for the commit. -EBADMSG: it is no call. */
static int begin(struct connection *connection, bool may_wait)
{
	const struct method *method;
	struct call_header header;
	json_t *error;
	int r;

	r = call_parse(connection->message, &header);
	if (r < 0)
		return r;
	method = admit(connection, &header, &error);
	if (method && may_wait && must_wait(connection, method)) {
		connection->is_waiting = true;
		mark_due(connection);
		return 0;
	}
	if (method)
		run_method(connection, method, &header);
	else if (header.is_oneway)
		json_decref(error);
	else
		say(connection, error);
	json_decref(connection->message);
	connection->message = NULL;
	return 0;
}

/* The peer does not keep to the protocol. What it asked before is answered, then it is closed. */
static void give_up(struct connection *connection, int error)
{
	unsigned long uid = connection->uid;

	if (error == -EMSGSIZE)
		log_warning("a client of uid %lu is closed: its message is longer than the %lld "
			    "bytes of max-message in jobd.conf",
			    uid, (long long)connection->input.message_max);
	else
		log_warning("a client of uid %lu is closed: what it sent is not a Varlink call",
			    uid);
	json_decref(connection->message);
	connection->message = NULL;
	frame_buffer_done(&connection->input);
	connection->is_ending = true;
}

static bool may_begin(const struct connection *connection)
{
	return !connection->running && !connection->is_waiting && !connection->is_broken &&
	       !is_full(connection) && !connection->server->is_closed;
}

/* The call that waited for a commit, now that it is there; false: none did. */
static bool begin_waited(struct connection *connection)
{
	return connection->message && may_begin(connection) && begin(connection, false) == 0;
}

/* One message: false where none is left. */
static bool work_off(struct connection *connection)
{
	int r = frame_buffer_next(&connection->input, &connection->message);

	if (r > 0 && begin(connection, true) == 0)
		return true;
	if (r != 0)
		give_up(connection, r > 0 ? -EBADMSG : r);
	return false;
}

/* A piece of a long call a turn, while the peer takes what is written. */
static bool may_step(const struct connection *connection)
{
	return connection->running && connection->running->call.step && !connection->is_broken &&
	       !is_full(connection);
}

static bool is_all_said(const struct connection *connection)
{
	return !connection->running && !connection->message && connection->held_count == 0 &&
	       evbuffer_get_length(connection->output) == 0;
}

/* Messages that are left are worked off before more is read. */
static void watch_input(struct connection *connection, bool has_more)
{
	if (!has_more && !connection->is_ending && may_begin(connection))
		(void)event_add(connection->read_event, NULL);
	else
		(void)event_del(connection->read_event);
}

static void on_work(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	bool has_more = true;
	unsigned count = 0;

	(void)fd;
	(void)what;
	(void)event_del(connection->work_event); /* this is it */
	connection->is_working = true;
	if (may_step(connection))
		connection->running->call.step(&connection->running->call);
	(void)begin_waited(connection);
	while (has_more && may_begin(connection) && count++ < MESSAGES_AT_A_TIME)
		has_more = work_off(connection);
	connection_write(connection);
	connection->is_working = false;
	has_more = (has_more || connection->message) && may_begin(connection);
	turn_worked(connection->server->daemon, has_more);
	if (connection->is_broken ||
	    (connection->is_ending && !has_more && is_all_said(connection))) {
		connection_free(connection);
		return;
	}
	if (may_step(connection) || has_more)
		plan_work(connection);
	watch_input(connection, has_more);
}

/* --- Events --- */

static void on_read(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	size_t room;
	char *at = frame_buffer_room(&connection->input, &room);
	ssize_t size = read(fd, at, room);

	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size > 0)
		frame_buffer_filled(&connection->input, (size_t)size);
	else
		connection->is_ending = true;
	connection->is_broken = connection->is_broken || size < 0;
	on_work(fd, what, connection);
}

static void on_write(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;

	(void)fd;
	(void)what;
	connection_write(connection);
	plan_work(connection);
}

/*
 * The peer closed its end, or just its direction to us: then it still waits for answers. It may
 * close the other one later, of which no event tells, since this one would come over and over.
 */
static void on_closed(evutil_socket_t fd, short what, void *context)
{
	static const struct timeval later = {.tv_sec = HANGUP_CHECK_S};
	struct connection *connection = context;
	struct pollfd poll_fd = {.fd = connection->fd};
	bool is_gone = poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR));

	(void)fd;
	(void)what;
	/* A call that nobody waits for ends; a oneway call was not waited for to begin with. */
	if (is_gone && connection->running && !connection->running->is_oneway)
		connection_free(connection);
	else
		(void)event_add(connection->hangup_timer, &later);
}

void connection_new(struct server *server, int fd, uid_t uid, bool is_admin)
{
	struct event_base *base = server->daemon->base;
	struct connection *connection = xcalloc(1, sizeof(*connection));

	connection->server = server;
	connection->fd = fd;
	connection->uid = uid;
	connection->is_admin = is_admin;
	connection->is_trusted = user_is_trusted(uid);
	frame_buffer_init(&connection->input, (size_t)server->daemon->config->max_message);
	connection->input.is_wiped = true;
	connection->output = evbuffer_new();
	connection->held_output = evbuffer_new();
	connection->read_event = event_new(base, fd, EV_READ | EV_PERSIST, on_read, connection);
	connection->write_event = event_new(base, fd, EV_WRITE, on_write, connection);
	connection->closed_event = event_new(base, fd, EV_CLOSED, on_closed, connection);
	connection->hangup_timer = event_new(base, -1, 0, on_closed, connection);
	connection->work_event = event_new(base, -1, 0, on_work, connection);
	if (!connection->output || !connection->held_output || !connection->read_event ||
	    !connection->write_event || !connection->closed_event || !connection->hangup_timer ||
	    !connection->work_event)
		abort();
	LIST_INSERT_HEAD(&server->connections, connection, link);
	server->client_count++;
	(void)event_add(connection->read_event, NULL);
	(void)event_add(connection->closed_event, NULL);
	/* Whoever comes has mostly said something by now, which then is of this turn's commit. */
	event_active(connection->read_event, EV_READ, 0);
}

void connection_free(struct connection *connection)
{
	struct server *server = connection->server;

	running_call_free(connection->running);
	if (connection->is_due)
		TAILQ_REMOVE(&server->due, connection, due_link);
	if (connection->state_free)
		connection->state_free(connection->state);
	json_decref(connection->message);
	event_free(connection->read_event);
	event_free(connection->write_event);
	event_free(connection->closed_event);
	event_free(connection->hangup_timer);
	event_free(connection->work_event);
	evbuffer_free(connection->output);
	evbuffer_free(connection->held_output);
	free(connection->held);
	frame_buffer_done(&connection->input);
	(void)close(connection->fd);
	LIST_REMOVE(connection, link);
	server->client_count--;
	free(connection);
}

/* --- After the commit --- */

/* One reply leaves what is held, or in its place that the commit failed. */
static void let_go_failed(struct connection *connection, struct held held, const char *error)
{
	size_t size;
	char *text;

	/* Whoever watches the job is told; if by this connection, that is held as well. */
	if (held.start != 0)
		jobs_start_failed(connection->server->daemon->jobs, held.start);
	if (!held.is_change || held.size == 0) {
		(void)evbuffer_remove_buffer(connection->held_output, connection->output,
					     held.size);
		return;
	}
	(void)evbuffer_drain(connection->held_output, held.size);
	text = encode(storage_failed(error), &size);
	add_text(connection->output, text, size);
}

/* error: what kept the commit from being, or NULL. */
static void let_go(struct connection *connection, const char *error)
{
	for (size_t i = 0; error && i < connection->held_count; i++)
		let_go_failed(connection, connection->held[i], error);
	(void)evbuffer_add_buffer(connection->output, connection->held_output);
	free(connection->held);
	connection->held = NULL;
	connection->held_count = 0;
}

void connection_committed(struct connection *connection, const char *error)
{
	let_go(connection, error);
	connection->is_waiting = false;
	connection_write(connection);
	plan_work(connection);
}

void connection_resume(struct connection *connection)
{
	if (begin_waited(connection))
		connection_write(connection);
}
