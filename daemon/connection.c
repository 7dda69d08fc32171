/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One client. Bytes come in by read_event, messages are worked off one after the other by `work`, at
 * most MESSAGES_PER_TURN a turn, and answers go out by write_event.
 *
 * What stops the work, each until its own event: a call that is not answered yet; a reading call
 * that waits for the commit (is_waiting); a peer that does not take what was said (OUTPUT_HIGH).
 * While it is stopped nothing is read, so that a client's memory here is bounded; that the peer has
 * gone is then told by closed_event.
 */
#include "daemon/connection.h"

#include "common/log.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/jobs.h"
#include "daemon/store.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUTPUT_HIGH = 1024 * 1024, MESSAGES_PER_TURN = 64 };

static bool is_full(const struct connection *connection)
{
	return evbuffer_get_length(connection->output) >= OUTPUT_HIGH;
}

/* Something to do in the next pass of the loop. */
static void plan_work(struct connection *connection)
{
	event_active(connection->work_event, EV_TIMEOUT, 0);
}

static void break_off(struct connection *connection)
{
	connection->is_broken = true;
	plan_work(connection);
}

/* --- Saying --- */

static void write_out(struct connection *connection)
{
	while (evbuffer_get_length(connection->output) > 0) {
		int size = evbuffer_write(connection->output, connection->fd);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0 && errno != EAGAIN) {
			break_off(connection);
			return;
		}
		if (size <= 0) {
			(void) event_add(connection->write_event, NULL);
			return;
		}
	}
}

static void free_text(const void *text, size_t size, void *context)
{
	(void) text;
	(void) size;
	free(context);
}

/* Takes over the text. */
static void say_text(struct connection *connection, char *text, size_t size)
{
	if (evbuffer_add_reference(connection->output, text, size, free_text, text) != 0)
		abort();
}

void connection_say(struct connection *connection, json_t *message, bool is_change, uint64_t start)
{
	struct held *held;
	size_t size = 0;
	char *text = message ? message_encode(message, &size) : NULL;

	json_decref(message);
	if (!is_change && STAILQ_EMPTY(&connection->held)) {
		if (text)
			say_text(connection, text, size);
		write_out(connection);
		return;
	}
	held = xcalloc(1, sizeof(*held));
	held->text = text;
	held->size = size;
	held->is_change = is_change;
	held->start = start;
	STAILQ_INSERT_TAIL(&connection->held, held, link);
	connection->server->held_count++;
}

static void say_error(struct connection *connection, const struct error *error)
{
	const char *parameter = error_parameter(error->id);
	autofree char *name = xasprintf("org.jobd.%s", error_name(error->id));
	json_t *parameters;

	if (error->id == ERROR_INVALID_PARAMETER) {
		connection_say(connection,
			       service_error("InvalidParameter", parameter, error->subject), false,
			       0);
		return;
	}
	parameters = json_pack("{s:s}", "message", error->sentence);
	if (!parameters) /* a sentence with bytes of the user that are no UTF-8 */
		parameters = json_pack("{s:s}", "message", "the words are not valid UTF-8");
	if (error->id == ERROR_WRONG_STATE)
		(void) json_object_set_new(parameters, parameter,
					   json_integer(atoll(error->subject)));
	else if (parameter[0] != '\0')
		(void) json_object_set_new(parameters, parameter,
					   json_string(error->subject ? error->subject : ""));
	connection_say(connection, error_build(name, parameters), false, 0);
}

static json_t *storage_failed(const char *sentence)
{
	return error_build("org.jobd.StorageFailed", json_pack("{s:s}", "message", sentence));
}

/* --- Answering a call --- */

static struct running_call *running_of(struct call *call)
{
	return (struct running_call *) call;
}

/* The call is answered; the next may begin. */
static void end_call(struct running_call *running)
{
	struct connection *connection = running->call.connection;

	assert(connection->running == running);
	connection->running = NULL;
	if (running->call.free)
		running->call.free(running->call.state);
	json_decref(running->call.parameters);
	free(running);
	plan_work(connection);
}

static void answer(struct call *call, json_t *parameters, uint64_t start)
{
	struct running_call *running = running_of(call);

	if (running->is_oneway) {
		json_decref(parameters);
		connection_say(call->connection, NULL, running->method->is_change, start);
	} else {
		connection_say(call->connection, reply_build(parameters, false),
			       running->method->is_change, start);
	}
	end_call(running);
}

void call_reply(struct call *call, json_t *parameters)
{
	answer(call, parameters, 0);
}

void call_reply_start(struct call *call, uint64_t id, json_t *parameters)
{
	answer(call, parameters, id);
}

void call_continue(struct call *call, json_t *parameters)
{
	assert(call->is_more);
	connection_say(call->connection, reply_build(parameters, true), false, 0);
}

void call_error(struct call *call, struct error *error)
{
	struct running_call *running = running_of(call);

	if (!running->is_oneway)
		say_error(call->connection, error);
	error_done(error);
	end_call(running);
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

void *connection_state(struct connection *connection)
{
	return connection->state;
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

/* What the interface, UAPI.20 or the disk say against a call: an error to say, or NULL. */
static json_t *refusal(struct connection *connection, const struct method *method,
		       const struct call_header *header)
{
	autofree char *member = NULL;

	if (header->is_upgrade)
		return service_error("InvalidParameter", "parameter", "upgrade");
	if (interface_check_call(connection->server->interface, method->name, header->parameters,
				 &member) < 0)
		return service_error("InvalidParameter", "parameter", member);
	if (method->needs_more && !header->is_more)
		return service_error("ExpectedMore", NULL, NULL);
	return NULL;
}

/* False where the message must wait for the commit. */
static bool handle(struct connection *connection, const struct call_header *header)
{
	struct store *store = connection->server->daemon->store;
	const char *failing = store_error(store);
	const struct method *method;
	json_t *error;

	if (service_handle(connection, header))
		return true;
	method = method_find(strrchr(header->method, '.') + 1);
	assert(method);
	/* A reading call sees all that was asked before it. */
	if (!method->is_change && !failing &&
	    (!STAILQ_EMPTY(&connection->held) || store_has_changes(store)))
		return false;
	error = refusal(connection, method, header);
	if (error && header->is_oneway)
		json_decref(error);
	else if (error)
		connection_say(connection, error, false, 0);
	else if (method->is_change && failing && header->is_oneway)
		log_warning("a call of uid %lu is dropped: %s", (unsigned long) connection->uid,
			    failing);
	else if (method->is_change && failing)
		connection_say(connection, storage_failed(failing), false, 0);
	else
		run_method(connection, method, header);
	return true;
}

/* One message: true if it was handled and more may follow. */
static bool work_off(struct connection *connection)
{
	struct server *server = connection->server;
	struct call_header header;
	int r = 1;

	if (!connection->message)
		r = frame_buffer_next(&connection->input, &connection->message);
	if (r == 0)
		return false;
	if (r > 0)
		r = call_parse(connection->message, &header);
	if (r < 0) {
		log_warning("a connection of uid %lu is closed: %s",
			    (unsigned long) connection->uid,
			    r == -EMSGSIZE ? "its message is longer than max-message of jobd.conf"
					   : "it does not speak Varlink");
		connection->is_broken = true;
		return false;
	}
	if (!handle(connection, &header)) {
		connection->is_waiting = true;
		server->waiting_count++;
		return false;
	}
	json_decref(connection->message);
	connection->message = NULL;
	return true;
}

static void watch_input(struct connection *connection)
{
	bool is_open = !connection->running && !connection->is_waiting && !is_full(connection) &&
		       !connection->is_ending && !connection->server->is_closed;

	if (is_open)
		(void) event_add(connection->read_event, NULL);
	else
		(void) event_del(connection->read_event);
}

static bool is_all_said(const struct connection *connection)
{
	return !connection->running && !connection->message && STAILQ_EMPTY(&connection->held) &&
	       evbuffer_get_length(connection->output) == 0;
}

static void on_work(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	unsigned count = 0;
	bool is_more = true;

	(void) fd;
	(void) what;
	if (connection->running && connection->running->call.step && !is_full(connection) &&
	    !connection->is_broken) {
		struct running_call *running = connection->running;

		running->call.step(&running->call);
		/* A piece a turn: the next one in the next pass, behind what else is to be done. */
		if (connection->running == running && running->call.step)
			plan_work(connection);
	}
	while (is_more && !connection->running && !connection->is_waiting &&
	       !connection->is_broken && !is_full(connection) && count++ < MESSAGES_PER_TURN)
		is_more = work_off(connection);
	if (connection->is_broken ||
	    (connection->is_ending && !is_more && is_all_said(connection))) {
		connection_free(connection);
		return;
	}
	if (is_more && count >= MESSAGES_PER_TURN)
		plan_work(connection);
	watch_input(connection);
}

/* --- Events --- */

static void on_read(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	size_t room;
	char *at = frame_buffer_room(&connection->input, &room);
	ssize_t size = read(fd, at, room);

	(void) what;
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size <= 0) {
		/* Nothing more is asked; what was asked is still answered. */
		connection->is_ending = true;
		if (size < 0)
			connection->is_broken = true;
	} else {
		frame_buffer_filled(&connection->input, (size_t) size);
	}
	on_work(-1, 0, connection);
}

static void on_write(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;

	(void) fd;
	(void) what;
	write_out(connection);
	if (!is_full(connection))
		plan_work(connection);
}

/* The peer closed its end, or just the direction to us. */
static void on_closed(evutil_socket_t fd, short what, void *context)
{
	struct connection *connection = context;
	struct pollfd poll_fd = {.fd = fd};

	(void) what;
	(void) event_del(connection->closed_event);
	if (poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR)) &&
	    (connection->running || connection->is_waiting)) {
		/* Nobody waits for the answer any more. What was asked before stays asked. */
		connection_free(connection);
		return;
	}
	connection->is_ending = connection->is_ending || connection->running != NULL;
}

void connection_new(struct server *server, int fd, uid_t uid, bool is_admin)
{
	struct event_base *base = server->daemon->base;
	struct connection *connection = xcalloc(1, sizeof(*connection));

	connection->server = server;
	connection->fd = fd;
	connection->uid = uid;
	connection->is_admin = is_admin;
	connection->is_trusted = uid == 0 || uid == geteuid();
	frame_buffer_init(&connection->input, (size_t) server->daemon->config->max_message);
	STAILQ_INIT(&connection->held);
	connection->output = evbuffer_new();
	connection->read_event = event_new(base, fd, EV_READ | EV_PERSIST, on_read, connection);
	connection->write_event = event_new(base, fd, EV_WRITE, on_write, connection);
	connection->closed_event = event_new(base, fd, EV_CLOSED, on_closed, connection);
	connection->work_event = event_new(base, -1, 0, on_work, connection);
	if (!connection->output || !connection->read_event || !connection->write_event ||
	    !connection->closed_event || !connection->work_event)
		abort();
	LIST_INSERT_HEAD(&server->connections, connection, link);
	server->client_count++;
	(void) event_add(connection->read_event, NULL);
	(void) event_add(connection->closed_event, NULL);
}

void connection_free(struct connection *connection)
{
	struct server *server = connection->server;
	struct held *held;

	if (connection->running) {
		struct running_call *running = connection->running;

		connection->running = NULL;
		if (running->call.free)
			running->call.free(running->call.state);
		json_decref(running->call.parameters);
		free(running);
	}
	while ((held = STAILQ_FIRST(&connection->held))) {
		STAILQ_REMOVE_HEAD(&connection->held, link);
		server->held_count--;
		free(held->text);
		free(held);
	}
	if (connection->is_waiting)
		server->waiting_count--;
	if (connection->state_free)
		connection->state_free(connection->state);
	json_decref(connection->message);
	event_free(connection->read_event);
	event_free(connection->write_event);
	event_free(connection->closed_event);
	event_free(connection->work_event);
	evbuffer_free(connection->output);
	frame_buffer_done(&connection->input);
	(void) close(connection->fd);
	LIST_REMOVE(connection, link);
	server->client_count--;
	free(connection);
}

static void become_storage_failed(struct held *held, const char *sentence)
{
	json_t *message = storage_failed(sentence);

	free(held->text);
	held->text = message_encode(message, &held->size);
	json_decref(message);
}

void connection_committed(struct connection *connection, const char *error)
{
	struct server *server = connection->server;
	struct held *held;

	while ((held = STAILQ_FIRST(&connection->held))) {
		STAILQ_REMOVE_HEAD(&connection->held, link);
		server->held_count--;
		if (error && held->start != 0)
			jobs_start_failed(server->daemon->jobs, held->start);
		if (error && held->is_change && held->text)
			become_storage_failed(held, error);
		if (held->text)
			say_text(connection, held->text, held->size);
		free(held);
	}
	if (connection->is_waiting) {
		connection->is_waiting = false;
		server->waiting_count--;
	}
	write_out(connection);
	plan_work(connection);
}
