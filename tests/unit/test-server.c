/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control socket against the MUSTs of UAPI.20, replies held until the commit, and clients
 * that leave.
 */
#include "common/util.h"
#include "daemon/interface.h"
#include "tests/lib/server-box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>

/* --- org.varlink.service, and names --- */

static void test_get_info(void **state)
{
	struct client *client = client_new();

	(void)state;
	client_say(client, CALL(SERVICE "GetInfo"));
	client_expect(client, PARAMETERS("{\"vendor\":\"jobd\",\"product\":\"jobd\",\"version\":"
					 "\"" PACKAGE_VERSION "\",\"url\":\"" PACKAGE_URL "\","
					 "\"interfaces\":[\"org.varlink.service\",\"org.jobd\"]}"));
	client_say(client, CALL_WITH(SERVICE "GetInfo", "{\"a\":1}"));
	client_expect(client, ERROR(SERVICE "InvalidParameter", "{\"parameter\":\"a\"}"));
	client_free(client);
}

static void expect_description(struct client *client, const char *name, const char *text)
{
	json_t *call = call_build(SERVICE "GetInterfaceDescription",
				  json_pack("{s:s}", "interface", name), false);
	size_t size;
	autofree char *frame = message_encode(call, &size);
	json_t *reply;

	json_decref(call);
	client_send(client, frame, size);
	reply = client_hear(client);
	assert_string_equal(json_string_value(json_object_get(json_object_get(reply, "parameters"),
							      "description")),
			    text);
	json_decref(reply);
}

static void test_descriptions(void **state)
{
	struct client *client = client_new();

	(void)state;
	expect_description(client, "org.jobd", interface_text);
	expect_description(client, "org.varlink.service", service_text);
	client_say(client, CALL_WITH(SERVICE "GetInterfaceDescription", "{\"interface\":\"a.b\"}"));
	client_expect(client, ERROR(SERVICE "InterfaceNotFound", "{\"interface\":\"a.b\"}"));
	client_say(client, CALL(SERVICE "GetInterfaceDescription"));
	client_expect(client, ERROR(SERVICE "InvalidParameter", "{\"parameter\":\"interface\"}"));
	client_free(client);
}

static void test_unknown_names(void **state)
{
	static const struct {
		const char *method, *error;
	} rows[] = {
		{"org.example.Start",
		 ERROR(SERVICE "InterfaceNotFound", "{\"interface\":\"org.example\"}")},
		{"org.jobd", ERROR(SERVICE "InterfaceNotFound", "{\"interface\":\"org\"}")},
		{"Start", ERROR(SERVICE "InterfaceNotFound", "{\"interface\":\"Start\"}")},
		{"", ERROR(SERVICE "InterfaceNotFound", "{\"interface\":\"\"}")},
		{"org.jobd.", ERROR(SERVICE "MethodNotFound", "{\"method\":\"org.jobd.\"}")},
		{"org.jobd.NoSuchJob",
		 ERROR(SERVICE "MethodNotFound", "{\"method\":\"org.jobd.NoSuchJob\"}")},
		{SERVICE "Start",
		 ERROR(SERVICE "MethodNotFound", "{\"method\":\"" SERVICE "Start\"}")},
		/* In the interface, but not in the box */
		{"org.jobd.GetStatus",
		 ERROR(SERVICE "MethodNotImplemented", "{\"method\":\"org.jobd.GetStatus\"}")},
	};
	struct client *client = client_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *call = xasprintf("{\"method\":\"%s\"}", rows[i].method);

		client_say(client, call);
		client_expect(client, rows[i].error);
	}
	client_free(client);
}

/* --- Calls --- */

/* What is said with the connection is of the turn that takes it in, and so of its commit. */
static void test_said_at_once(void **state)
{
	struct client *client = client_new();

	(void)state;
	client_say(client, START); /* and one turn */
	assert_int_equal(box.calls, 1);
	assert_int_equal(box.commits, 1);
	client_expect(client, STARTED(1));
	client_free(client);
}

static void test_no_parameters(void **state)
{
	struct client *client = client_new();

	(void)state;
	client_say(client, LIST);
	client_say(client, CALL_WITH("org.jobd.List", "null"));
	client_say(client, CALL_WITH("org.jobd.List", "{}"));
	client_say(client, "\t{ \"method\" : \"org.jobd.List\",\r\n \"more\": false }\n");
	client_say(client, "{\"method\":\"org.jobd.List\",\"org.example\":{\"trace\":1}}");
	for (int i = 0; i < 5; i++)
		client_expect(client, NO_JOBS);
	assert_int_equal(box.calls, 5);
	client_free(client);
}

static void test_invalid_parameters(void **state)
{
	static const struct {
		const char *call, *parameter;
	} rows[] = {
		{CALL_WITH("org.jobd.List", "{\"other\":1}"), "other"},
		{CALL_WITH("org.jobd.List", "{\"limit\":\"1\"}"), "limit"},
		{CALL_WITH("org.jobd.List", "{\"details\":1}"), "details"},
		{CALL_WITH("org.jobd.List", "{\"selection\":{\"states\":[\"lost\"]}}"),
		 "selection.states[0]"},
		{CALL("org.jobd.Start"), "kind"},
		{CALL_WITH("org.jobd.Start", "{\"kind\":\"ping\",\"targets\":null}"), "targets"},
		{CALL_WITH("org.jobd.Start", "{\"kind\":\"ping\",\"targets\":[\"a\\u0000\"]}"),
		 "targets[0]"},
		{"{\"method\":\"org.jobd.List\",\"upgrade\":true}", "upgrade"},
	};
	struct client *client = client_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *error =
			xasprintf(ERROR(SERVICE "InvalidParameter", "{\"parameter\":\"%s\"}"),
				  rows[i].parameter);

		client_say(client, rows[i].call);
		client_expect(client, error);
	}
	/* The connection is as good as before. */
	client_say(client, LIST);
	client_expect(client, NO_JOBS);
	assert_int_equal(box.calls, 1);
	client_free(client);
}

static void test_malformed_calls(void **state)
{
	static const char *const frames[] = {
		"",
		"x",
		"{\"method\":",
		"[]",
		"1",
		"null",
		"{}",
		"{\"method\":1}",
		"{\"method\":\"org.jobd.List\",\"parameters\":[]}",
		"{\"method\":\"org.jobd.List\",\"id\":1}",
		"{\"method\":\"org.jobd.List\",\"more\":1}",
		"{\"method\":\"org.jobd.List\",\"oneway\":\"\"}",
		"{\"method\":\"org.jobd.List\",\"upgrade\":[]}",
		"{\"method\":\"org.jobd.List\",\"more\":true,\"oneway\":true}",
		"{\"method\":\"org.jobd.List\",\"more\":true,\"upgrade\":true}",
		"{\"method\":\"org.jobd.List\",\"method\":\"org.jobd.List\"}",
		CALL_WITH("org.jobd.List", "{\"limit\":1,\"limit\":2}"),
		"{\"method\":\"org.jobd.List\"}{\"method\":\"org.jobd.List\"}",
		"{\"method\":\"\xff\"}",
	};
	struct client *other = client_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		struct client *client = client_new();

		/* What was asked before is answered, what comes behind is not looked at. */
		client_say(client, LIST);
		client_say(client, frames[i]);
		client_say(client, LIST);
		client_expect(client, NO_JOBS);
		client_expect_closed(client);
		client_free(client);
	}
	assert_int_equal(box.calls, ARRAY_SIZE(frames));
	client_say(other, LIST);
	client_expect(other, NO_JOBS);
	client_free(other);
}

/* What comes behind a malformed call is not looked at, though the connection stays for a while. */
static void test_malformed_behind_a_change(void **state)
{
	static const char calls[] = START "\0"
					  "[]"
					  "\0" LIST;
	struct client *client = client_new();

	(void)state;
	box.holds_commits = true;
	client_send(client, calls, sizeof(calls));
	client_expect_silence(client);
	box_commit(NULL);
	client_expect(client, STARTED(1));
	client_expect_closed(client);
	assert_int_equal(box.calls, 1);
	client_free(client);
}

static void test_oneway(void **state)
{
	static const char *const calls[] = {
		"{\"method\":\"org.jobd.List\",\"oneway\":true}",
		"{\"method\":\"org.example.None\",\"oneway\":true}",
		"{\"method\":\"org.jobd.None\",\"oneway\":true}",
		"{\"method\":\"org.jobd.GetStatus\",\"oneway\":true}",
		"{\"method\":\"org.jobd.List\",\"oneway\":true,\"parameters\":{\"a\":1}}",
		"{\"method\":\"org.jobd.Subscribe\",\"oneway\":true}",
		"{\"method\":\"org.jobd.Stop\",\"oneway\":true,\"parameters\":{\"selection\":{}}}",
		"{\"method\":\"org.jobd.Adjust\",\"oneway\":true,\"parameters\":{\"id\":0}}",
		"{\"method\":\"" SERVICE "GetInfo\",\"oneway\":true}",
		"{\"method\":\"" SERVICE "GetInterfaceDescription\",\"oneway\":true,"
		"\"parameters\":{\"interface\":\"a\"}}",
	};
	struct client *client = client_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		client_say(client, calls[i]);
		client_say(client, LIST);
		client_expect(client, NO_JOBS);
	}
	assert_int_equal(box.calls, ARRAY_SIZE(calls) + 3);
	client_free(client);
}

/* A oneway call that was sent before the client left is done. */
static bool has_called(void *context)
{
	return box.calls == *(unsigned *)context;
}

static void test_oneway_and_away(void **state)
{
	struct client *client = client_new();
	unsigned calls = 2;

	(void)state;
	assert_int_equal(send(client->fd, STOP, sizeof(STOP), 0), sizeof(STOP));
	assert_int_equal(send(client->fd, STOP, sizeof(STOP), 0), sizeof(STOP));
	client_free(client);
	box_wait(has_called, &calls);
	box_wait_clients(0);
	assert_int_equal(box.commits, 1);
}

static void test_more(void **state)
{
	struct client *client = client_new();

	(void)state;
	/* All in one go: the answers of one call before those of the next. */
	client_say(client, LIST_MORE);
	client_say(client, CALL(SERVICE "None"));
	client_say(client, LIST);
	client_say(client, "{\"method\":\"" SERVICE "None\",\"more\":true}");
	for (int i = 0; i < 2; i++)
		client_expect(client, "{\"parameters\":{\"jobs\":[],\"hasOlder\":true},"
				      "\"continues\":true}");
	client_expect(client, NO_JOBS);
	client_expect(client, ERROR(SERVICE "MethodNotFound", "{\"method\":\"" SERVICE "None\"}"));
	client_expect(client, NO_JOBS);
	client_expect(client, ERROR(SERVICE "MethodNotFound", "{\"method\":\"" SERVICE "None\"}"));
	client_say(client, CALL("org.jobd.Subscribe"));
	client_expect(client, "{\"error\":\"" SERVICE "ExpectedMore\"}");
	client_free(client);
}

/* Nothing of a connection runs beside a call that is not answered yet. */
static void test_one_call_at_a_time(void **state)
{
	struct client *client = client_new();
	struct client *other = client_new();

	(void)state;
	client_say(client, "{\"method\":\"org.jobd.Subscribe\",\"more\":true}");
	client_say(client, LIST);
	client_say(client, "no JSON");
	client_expect_silence(client);
	assert_int_equal(box.calls, 1);
	client_say(other, LIST);
	client_expect(other, NO_JOBS);
	call_continue(box.waiting, json_pack("{s:b}", "isRemoved", 1));
	client_expect(client, "{\"parameters\":{\"isRemoved\":true},\"continues\":true}");
	client_expect_silence(client);
	call_reply(box.waiting, NULL);
	assert_int_equal(box.freed, 1);
	client_expect(client, "{}");
	client_expect(client, NO_JOBS);
	client_expect_closed(client);
	client_free(client);
	client_free(other);
}

static void test_every_split(void **state)
{
	static const char calls[] = START "\0" LIST;

	(void)state;
	for (size_t split = 1; split < sizeof(calls); split++) {
		struct client *client = client_new();
		json_t *message;

		client_send(client, calls, split);
		box_turn();
		client_send(client, calls + split, sizeof(calls) - split);
		message = client_hear(client);
		assert_null(json_object_get(message, "error"));
		json_decref(message);
		client_expect(client, NO_JOBS);
		client_free(client);
	}
}

/* Every error of the table comes out as the interface has it. */
static void test_errors(void **state)
{
	autofree char *why = NULL;
	struct interface *ours = interface_parse(interface_text, &why);
	struct interface *service = interface_parse(service_text, &why);
	struct client *client = client_new();

	(void)state;
	for (int id = 0; id < ERROR_COUNT; id++) {
		autofree char *call = xasprintf(CALL_WITH("org.jobd.Adjust", "{\"id\":%d}"), id);
		autofree char *wrong = NULL;
		struct reply_header header;
		json_t *message;
		bool is_ours;

		client_say(client, call);
		message = client_hear(client);
		assert_int_equal(reply_parse(message, &header), 0);
		is_ours = strncmp(header.error, "org.jobd.", 9) == 0;
		assert_string_equal(strrchr(header.error, '.') + 1, error_name((enum error_id)id));
		if (interface_check_error(is_ours ? ours : service, strrchr(header.error, '.') + 1,
					  header.parameters, &wrong) < 0)
			fail_msg("%s: %s", header.error, wrong);
		json_decref(message);
	}
	interface_free(ours);
	interface_free(service);
	client_free(client);
}

/* --- The commit --- */

static void test_held_until_commit(void **state)
{
	struct client *client = client_new();
	struct client *other = client_new();

	(void)state;
	box.holds_commits = true;
	client_say(client, START);
	client_say(client, STOP);
	client_say(other, START);
	client_expect_silence(client);
	client_expect_silence(other);
	assert_int_equal(box.calls, 3); /* they share the commit */
	assert_true(server_has_held(box.server));
	box_commit(NULL);
	assert_false(server_has_held(box.server));
	client_expect(client, STARTED(1));
	client_expect(client, STOPPED(2));
	client_expect(other, STARTED(3));
	assert_int_equal(box.dropped_count, 0);
	client_free(client);
	client_free(other);
}

static void test_failed_commit(void **state)
{
	struct client *client = client_new();

	(void)state;
	box.holds_commits = true;
	client_say(client, START);
	client_say(client, CALL_WITH("org.jobd.Adjust", "{\"id\":0}"));
	client_say(client, "{\"method\":\"org.jobd.Start\",\"oneway\":true,"
			   "\"parameters\":{\"kind\":\"ping\",\"targets\":[]}}");
	client_say(client, LIST);
	client_expect_silence(client);
	box_commit("the disk is full");
	client_expect(client, DISK_FULL);
	client_expect(client, ERROR("org.jobd.NoSuchJob",
				    "{\"message\":\"a sentence\",\"selector\":\"7\"}"));
	client_expect(client, NO_JOBS);
	/* Job 1, and job 3 of the oneway call */
	assert_int_equal(box.dropped_count, 2);
	assert_int_equal(box.dropped[0], 1);
	assert_int_equal(box.dropped[1], 3);

	/* While it fails, changes are refused at once and reading goes on. */
	box.has_changes = true;
	client_say(client, START);
	client_say(client, LIST);
	client_expect(client, DISK_FULL);
	client_expect(client, NO_JOBS);
	box_commit(NULL);
	client_say(client, START);
	client_expect_silence(client);
	box_commit(NULL);
	client_expect(client, STARTED(6));
	client_free(client);
}

static void test_reading_waits_for_commit(void **state)
{
	struct client *client = client_new();
	struct client *other = client_new();

	(void)state;
	box.holds_commits = true;
	client_say(client, START);
	client_say(client, LIST); /* behind a change of its own */
	client_say(client, STOP); /* and this behind the reading */
	client_expect_silence(client);
	assert_int_equal(box.calls, 1);
	/* Others read at once, as long as the store holds what they see. */
	client_say(other, LIST);
	client_expect(other, NO_JOBS);
	box.has_changes = true;
	client_say(other, LIST);
	client_expect_silence(other);
	assert_int_equal(box.calls, 2);

	/* Reading begins behind the commit, when all have been told of it, though reading itself or
	 * the next turn brings changes. */
	box.list_changes = true;
	box.has_changes = false;
	server_committed(box.server, NULL);
	assert_int_equal(box.calls, 2);
	server_resume(box.server);
	assert_int_equal(box.calls, 4);
	box.has_changes = true;
	client_expect(client, STARTED(1));
	client_expect(client, NO_JOBS);
	client_expect(other, NO_JOBS);
	client_expect_silence(client);
	box_commit(NULL);
	client_expect(client, STOPPED(5));
	client_free(client);
	client_free(other);
}

/* --- Leaving --- */

static void test_half_close(void **state)
{
	struct client *client = client_new();

	(void)state;
	box.holds_commits = true;
	client_say(client, WAIT);
	client_say(client, START);
	client_send(client, "{\"cut", 5);
	client_expect_silence(client);
	assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
	client_expect_silence(client);
	assert_non_null(box.waiting);
	call_reply(box.waiting, NULL);
	client_expect(client, "{}");
	client_expect_silence(client);
	box_commit(NULL);
	client_expect(client, STARTED(2));
	client_expect_closed(client);
	box_wait_clients(0);
	client_free(client);
}

static bool has_freed(void *context)
{
	(void)context;
	return box.freed == 1;
}

static void test_peer_leaves(void **state)
{
	struct client *client = client_new();

	(void)state;
	client_say(client, WAIT);
	client_say(client, STOP);
	client_free(client);
	box_wait(has_freed, NULL);
	assert_int_equal(server_client_count(box.server), 0);
	assert_int_equal(box.calls, 1);
}

static void test_peer_leaves_by_halves(void **state)
{
	struct client *client = client_new();

	(void)state;
	client_say(client, WAIT);
	client_expect_silence(client);
	assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
	client_expect_silence(client);
	assert_int_equal(box.freed, 0);
	client_free(client);
	box_wait(has_freed, NULL);
	assert_int_equal(server_client_count(box.server), 0);
}

static void free_flag(void *state)
{
	*(bool *)state = true;
}

static void test_connection_state(void **state)
{
	struct client *client = client_new();
	bool is_freed[2] = {false};

	(void)state;
	client_say(client, WAIT);
	client_expect_silence(client);
	assert_null(connection_state(box.waiting->connection, free_flag));
	connection_set_state(box.waiting->connection, &is_freed[0], free_flag);
	assert_ptr_equal(connection_state(box.waiting->connection, free_flag), &is_freed[0]);
	assert_null(connection_state(box.waiting->connection, free)); /* another's */
	connection_set_state(box.waiting->connection, &is_freed[1], free_flag);
	assert_true(is_freed[0]);
	call_reply(box.waiting, NULL);
	client_expect(client, "{}");
	assert_false(is_freed[1]);
	client_free(client);
	box_wait_clients(0);
	assert_true(is_freed[1]);
}

static void test_shutdown(void **state)
{
	enum { MANY = 200 };
	char calls[MANY * sizeof(STOP)];
	unsigned done;
	struct client *waiting = client_new();
	struct client *starting = client_new();
	struct client *late = client_new();

	(void)state;
	box.holds_commits = true;
	client_say(waiting, WAIT);
	client_say(starting, START);
	client_expect_silence(late);
	/* More than a turn's worth: some of these are read and not begun. */
	for (size_t i = 0; i < MANY; i++)
		memcpy(calls + i * sizeof(STOP), STOP, sizeof(STOP));
	assert_int_equal(send(late->fd, calls, sizeof(calls), 0), sizeof(calls));
	box_turn();
	server_close(box.server);
	done = box.calls;
	assert_true(done > 2 && done < 2 + MANY);
	client_expect_silence(late);
	box_commit(NULL);
	server_free(box.server);
	box.server = NULL;
	assert_int_equal(box.freed, 1);
	assert_int_equal(box.calls, done);
	assert_int_equal(access(box.socket, F_OK), -1);

	/* What was acknowledged by the last commit is still heard. */
	client_free(late);
	client_free(waiting);
	for (struct client *client = starting; client; client = NULL) {
		char text[256];
		ssize_t size = recv(client->fd, text, sizeof(text), 0);

		assert_int_equal(size, sizeof(STARTED(2)));
		assert_string_equal(text, STARTED(2));
		assert_int_equal(recv(client->fd, text, sizeof(text), 0), 0);
		client_free(client);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_get_info),
		BOX_TEST(test_descriptions),
		BOX_TEST(test_unknown_names),
		BOX_TEST(test_said_at_once),
		BOX_TEST(test_no_parameters),
		BOX_TEST(test_invalid_parameters),
		BOX_TEST(test_malformed_calls),
		BOX_TEST(test_malformed_behind_a_change),
		BOX_TEST(test_oneway),
		BOX_TEST(test_oneway_and_away),
		BOX_TEST(test_more),
		BOX_TEST(test_one_call_at_a_time),
		BOX_TEST(test_every_split),
		BOX_TEST(test_errors),
		BOX_TEST(test_held_until_commit),
		BOX_TEST(test_failed_commit),
		BOX_TEST(test_reading_waits_for_commit),
		BOX_TEST(test_half_close),
		BOX_TEST(test_peer_leaves),
		BOX_TEST(test_peer_leaves_by_halves),
		BOX_TEST(test_connection_state),
		BOX_TEST(test_shutdown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
