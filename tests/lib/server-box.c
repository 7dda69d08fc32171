/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/server-box.h"

#include "common/log.h"
#include "common/util.h"
#include "daemon/jobs.h"
#include "daemon/json-text.h"
#include "daemon/methods.h"
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

struct box box;

/* --- What stands in for store and jobs --- */

const char *store_error(const struct store *store)
{
	(void)store;
	return box.store_error;
}

bool jobs_has_changes(const struct jobs *jobs)
{
	(void)jobs;
	return box.has_changes;
}

void jobs_start_failed(struct jobs *jobs, uint64_t id)
{
	(void)jobs;
	assert_true(box.dropped_count < ARRAY_SIZE(box.dropped));
	box.dropped[box.dropped_count++] = id;
}

/* --- The methods --- */

static void note(const struct call *call)
{
	box.calls++;
	box.uid = call->uid;
	box.is_admin = call->is_admin;
	box.is_trusted = call->is_trusted;
	assert_true(json_is_object(call->parameters));
}

static void start(struct call *call)
{
	struct json_text text = {0};

	note(call);
	call_text_begin(&text);
	json_text_add(&text, "{");
	json_text_member_number(&text, "id", (int64_t)box.calls);
	json_text_member_number(&text, "tasks", 1);
	json_text_member_bool(&text, "isNew", true);
	json_text_add(&text, "}");
	call_reply_start(call, box.calls, &text);
}

static void list(struct call *call)
{
	note(call);
	box.has_changes = box.has_changes || box.list_changes;
	if (call->is_more)
		for (int i = 0; i < 2; i++)
			call_continue(call, json_pack("{s:[], s:b}", "jobs", "hasOlder", 1));
	call_reply(call, json_pack("{s:[], s:b}", "jobs", "hasOlder", 0));
}

/* A page a step, of so many bytes, for ever. */
static void step(struct call *call)
{
	enum { PAGE = 65536 };
	char text[PAGE + 1];

	memset(text, 'x', PAGE);
	text[PAGE] = '\0';
	box.steps++;
	call_continue(call, json_pack("{s:[{s:s}], s:b}", "tasks", "target", text, "hasMore", 1));
}

static void list_tasks(struct call *call)
{
	note(call);
	call->step = step;
	call_schedule(call);
}

static void free_waiting(void *state)
{
	(void)state;
	box.freed++;
	box.waiting = NULL;
}

static void wait_for_test(struct call *call)
{
	note(call);
	box.waiting = call;
	call->state = &box;
	call->free = free_waiting;
}

/* An error by the number in `id`. */
static void adjust(struct call *call)
{
	json_int_t id = json_integer_value(json_object_get(call->parameters, "id"));
	struct error error = {0};

	note(call);
	(void)error_set(&error, (enum error_id)id, "7", "a sentence");
	call_error(call, &error);
}

static void change(struct call *call)
{
	note(call);
	call_reply(call, json_pack("{s:[i]}", "ids", (int)box.calls));
}

const struct method *method_find(const char *name)
{
	static const struct method rows[] = {
		{"Start", start, true, false},
		{"Stop", change, true, false},
		{"Adjust", adjust, true, false},
		{"List", list, false, false},
		{"ListTasks", list_tasks, false, false},
		{"Wait", wait_for_test, false, false},
		{"Subscribe", wait_for_test, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (streq(rows[i].name, name))
			return &rows[i];
	return NULL;
}

/* --- The box --- */

int box_open(void **state)
{
	autofree char *sentence = NULL;

	(void)state;
	log_init("test", LOG_EMERG);
	(void)signal(SIGPIPE, SIG_IGN);
	box = (struct box){.folder = "/tmp/test-server.XXXXXX"};
	assert_non_null(mkdtemp(box.folder));
	assert_int_equal(chmod(box.folder, 0755), 0);
	box.socket = xasprintf("%s/jobd.sock", box.folder);
	box.config = (struct config){
		.socket = box.socket,
		.admin_gid = (gid_t)-1,
		.max_message = 1 << 20,
		.max_clients = 64,
	};
	box.daemon = (struct daemon){.base = event_base_new(), .config = &box.config};
	assert_non_null(box.daemon.base);
	if (server_new(&box.daemon, -1, &box.server, &sentence) < 0)
		fail_msg("%s", sentence);
	return 0;
}

int box_close(void **state)
{
	(void)state;
	server_free(box.server);
	event_base_free(box.daemon.base);
	(void)unlink(box.socket);
	(void)rmdir(box.folder);
	free(box.socket);
	return 0;
}

void box_commit(const char *error)
{
	box.commits++;
	box.has_changes = false;
	box.store_error = error;
	server_committed(box.server, error);
	server_resume(box.server);
}

void box_turn(void)
{
	assert_true(event_base_loop(box.daemon.base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
	if (server_has_held(box.server) && !box.holds_commits)
		box_commit(NULL);
}

void box_wait(bool (*is_done)(void *context), void *context)
{
	int64_t until_us = now_monotonic_us() + BOX_WAIT_MS * US_PER_MS;

	while (!is_done(context)) {
		if (now_monotonic_us() > until_us)
			fail_msg("it does not happen");
		box_turn();
	}
}

static bool has_clients(void *context)
{
	return server_client_count(box.server) == *(unsigned *)context;
}

void box_wait_clients(unsigned count)
{
	box_wait(has_clients, &count);
}

/* --- Clients --- */

struct client *client_new(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct client *client = xcalloc(1, sizeof(*client));

	assert_true(strlen(box.socket) < sizeof(address.sun_path));
	memcpy(address.sun_path, box.socket, strlen(box.socket));
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(client->fd >= 0);
	if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		fail_msg("cannot connect to %s: %s", box.socket, strerrordesc_np(errno));
	assert_int_equal(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
	frame_buffer_init(&client->input, PROTOCOL_MESSAGE_MAX_DEFAULT);
	return client;
}

/* The kernel notes who a peer is when it connects. */
struct client *client_new_as(uid_t uid, gid_t gid, gid_t group)
{
	struct client *client;

	assert_int_equal(setgroups(1, &group), 0);
	assert_int_equal(setegid(gid), 0);
	assert_int_equal(seteuid(uid), 0);
	client = client_new();
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(setegid(0), 0);
	assert_int_equal(setgroups(0, NULL), 0);
	return client;
}

void client_free(struct client *client)
{
	(void)close(client->fd);
	frame_buffer_done(&client->input);
	free(client);
}

void client_send(struct client *client, const char *bytes, size_t size)
{
	int64_t until_us = now_monotonic_us() + BOX_WAIT_MS * US_PER_MS;

	while (size > 0) {
		ssize_t sent = send(client->fd, bytes, size, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			return; /* closed by the server: the test will see */
		if (sent > 0) {
			bytes += sent;
			size -= (size_t)sent;
		} else if (now_monotonic_us() > until_us) {
			fail_msg("the server does not read");
		}
		box_turn();
	}
}

void client_say(struct client *client, const char *text)
{
	client_send(client, text, strlen(text) + 1);
}

/* Takes in what is there. */
static void client_read(struct client *client)
{
	size_t room;
	char *at = frame_buffer_room(&client->input, &room);
	ssize_t size = recv(client->fd, at, room, 0);

	if (size > 0)
		frame_buffer_filled(&client->input, (size_t)size);
	else if (size == 0 || errno != EAGAIN)
		client->is_closed = true;
}

json_t *client_hear(struct client *client)
{
	int64_t until_us = now_monotonic_us() + BOX_WAIT_MS * US_PER_MS;
	json_t *message = NULL;
	int r;

	while ((r = frame_buffer_next(&client->input, &message)) == 0) {
		if (client->is_closed)
			fail_msg("the server closed the connection");
		if (now_monotonic_us() > until_us)
			fail_msg("the server says nothing");
		box_turn();
		client_read(client);
	}
	assert_int_equal(r, 1);
	return message;
}

void client_expect(struct client *client, const char *text)
{
	json_t *message = client_hear(client);
	size_t size;
	autofree char *said = message_encode(message, &size);

	json_decref(message);
	assert_string_equal(said, text);
}

void client_expect_closed(struct client *client)
{
	int64_t until_us = now_monotonic_us() + BOX_WAIT_MS * US_PER_MS;
	json_t *message;

	while (!client->is_closed) {
		if (now_monotonic_us() > until_us)
			fail_msg("the server leaves the connection open");
		box_turn();
		client_read(client);
	}
	assert_int_equal(frame_buffer_next(&client->input, &message), 0);
}

void client_expect_silence(struct client *client)
{
	enum { TURNS = 50 };
	json_t *message;

	for (int i = 0; i < TURNS; i++) {
		box_turn();
		client_read(client);
	}
	assert_false(client->is_closed);
	assert_int_equal(frame_buffer_next(&client->input, &message), 0);
}
