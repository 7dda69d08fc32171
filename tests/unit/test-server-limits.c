/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control socket's limits: bounded memory, no client in another's way; who a peer is, and how
 * the socket is bound.
 */
#include "common/util.h"
#include "tests/lib/server-box.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <cmocka.h>

/* --- Limits --- */

static void test_message_limit(void **state)
{
	size_t size = (size_t)box.config.max_message;
	autofree char *text = xmalloc(size + 2);
	struct client *client = client_new();

	(void)state;
	/* As long as may be, with blanks in front. */
	memset(text, ' ', size + 1);
	memcpy(text + size - strlen(LIST), LIST, sizeof(LIST));
	client_say(client, text);
	client_expect(client, NO_JOBS);
	memset(text, ' ', size + 1);
	client_send(client, text, size);
	client_expect_silence(client);
	client_send(client, text, 1);
	client_expect_closed(client);
	client_free(client);
}

static void test_steps_go_with_turns(void **state)
{
	struct client *client = client_new();
	unsigned before;

	(void)state;
	client_say(client, TASKS_MORE);
	for (int i = 0; i < 5; i++) {
		before = box.steps;
		box_turn();
		assert_true(box.steps <= before + 1);
	}
	assert_true(box.steps >= 3);
	client_free(client);
	box_wait_clients(0);
}

/* A client that never reads costs what fits above the mark, and no more. */
static void test_peer_that_never_reads(void **state)
{
	struct client *client = client_new();
	struct client *other = client_new();
	unsigned steps;

	(void)state;
	client_say(client, TASKS_MORE);
	for (int i = 0; i < 500; i++)
		box_turn();
	steps = box.steps;
	assert_in_range(steps, 16, 40); /* a mebibyte of 64 KiB pages, and what the socket takes */
	for (int i = 0; i < 500; i++)
		box_turn();
	assert_int_equal(box.steps, steps);
	client_say(other, LIST);
	client_expect(other, NO_JOBS);
	/* When it reads, it goes on. */
	for (unsigned i = 0; i < 2 * steps; i++)
		json_decref(client_hear(client));
	assert_true(box.steps > steps);
	client_free(client);
	client_free(other);
	box_wait_clients(0);
}

/* Nor does one that asks and asks and never reads. */
static void test_asking_without_reading(void **state)
{
	autofree char *calls = NULL;
	enum { COUNT = 4000 };
	const size_t size = sizeof(LIST);
	struct client *client = client_new();
	unsigned done;
	size_t sent = 0;

	(void)state;
	calls = xmalloc(COUNT * size);
	for (size_t i = 0; i < COUNT; i++)
		memcpy(calls + i * size, LIST, size);
	for (int round = 0; round < 20000; round++) {
		ssize_t piece = send(client->fd, calls + sent, COUNT * size - sent, MSG_NOSIGNAL);

		if (piece > 0)
			sent = (sent + (size_t)piece) % (COUNT * size);
		done = box.calls;
		box_turn();
		/* Other clients have their turn after so many. */
		assert_true(box.calls <= done + 4);
	}
	/* It came to a stand: no more is taken in than answers fit above the mark. */
	done = box.calls;
	for (int round = 0; round < 100; round++) {
		box_turn();
		assert_true(send(client->fd, calls + sent, 1, MSG_NOSIGNAL) < 0);
	}
	assert_int_equal(box.calls, done);
	client_free(client);
	box_wait_clients(0);
}

/* One that asks faster than it is its turn is not read ahead of. */
static void test_asking_fast(void **state)
{
	enum { COUNT = 4000, ROUNDS = 300, AHEAD_MAX = 20000 };
	autofree char *calls = xmalloc(COUNT * sizeof(LIST));
	struct client *client = client_new();
	char replies[65536];
	size_t sent = 0;

	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		memcpy(calls + i * sizeof(LIST), LIST, sizeof(LIST));
	for (int round = 0; round < ROUNDS; round++) {
		size_t at = sent % (COUNT * sizeof(LIST));
		ssize_t piece = send(client->fd, calls + at, COUNT * sizeof(LIST) - at, 0);

		if (piece > 0)
			sent += (size_t)piece;
		box_turn();
		while (recv(client->fd, replies, sizeof(replies), 0) > 0)
			;
		assert_true(sent / sizeof(LIST) <= box.calls + AHEAD_MAX);
	}
	assert_true(box.calls > ROUNDS);
	client_free(client);
	box_wait_clients(0);
}

static const char too_many[] = ERROR(
	"org.jobd.LimitReached",
	"{\"limit\":\"max-clients\",\"message\":\"too many clients are connected (max-clients "
	"of jobd.conf): try again when some have left\"}");

static void test_client_limit(void **state)
{
	enum { UID = 4001, OTHER = 4002 };
	struct client *clients[9];
	struct client *refused;

	(void)state;
	if (geteuid() != 0)
		skip();
	box.config.max_clients = 8;
	for (size_t i = 0; i < 6; i++)
		clients[i] = client_new_as(UID, UID, UID);
	/* One user has three quarters at most, */
	refused = client_new_as(UID, UID, UID);
	client_expect(refused, too_many);
	client_expect_closed(refused);
	client_free(refused);
	/* the others have the rest, */
	for (size_t i = 6; i < 8; i++)
		clients[i] = client_new_as(OTHER, OTHER, OTHER);
	refused = client_new_as(OTHER, OTHER, OTHER);
	client_expect(refused, too_many);
	client_free(refused);
	box_wait_clients(8);
	/* and root always gets in. */
	clients[8] = client_new();
	for (size_t i = 0; i < 9; i++) {
		client_say(clients[i], LIST);
		client_expect(clients[i], NO_JOBS);
	}
	/* One that left makes room. */
	client_free(clients[0]);
	client_free(clients[8]);
	box_wait_clients(7);
	clients[0] = client_new_as(UID, UID, UID);
	client_say(clients[0], LIST);
	client_expect(clients[0], NO_JOBS);
	for (size_t i = 0; i < 8; i++)
		client_free(clients[i]);
}

/* Out of file descriptors, it neither spins nor gives up. */
static void test_no_file_descriptors(void **state)
{
	struct client *client = client_new();
	struct rlimit limit, low;
	int64_t cpu_us;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = (struct rlimit){.rlim_cur = (rlim_t)client->fd + 1, .rlim_max = limit.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	box_turn();
	assert_int_equal(server_client_count(box.server), 0);
	/* The loop sleeps until it tries again: one pass, and time goes by. */
	cpu_us = now_monotonic_us();
	assert_int_equal(event_base_loop(box.daemon.base, EVLOOP_ONCE), 0);
	assert_true(now_monotonic_us() - cpu_us > 100 * US_PER_MS);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	client_say(client, LIST);
	client_expect(client, NO_JOBS);
	client_free(client);
}

/* --- Who it is --- */

static void expect_peer(struct client *client, uid_t uid, bool is_admin, bool is_trusted)
{
	client_say(client, LIST);
	client_expect(client, NO_JOBS);
	assert_int_equal(box.uid, uid);
	assert_int_equal(box.is_admin, is_admin);
	assert_int_equal(box.is_trusted, is_trusted);
	client_free(client);
}

static void test_peers(void **state)
{
	enum { UID = 4001, GID = 4002, GROUP = 4003 };

	(void)state;
	expect_peer(client_new(), geteuid(), true, true);
	if (geteuid() != 0)
		skip();
	expect_peer(client_new_as(UID, GID, GROUP), UID, false, false);
	box.config.admin_gid = GID;
	expect_peer(client_new_as(UID, GID, GROUP), UID, true, false);
	box.config.admin_gid = GROUP;
	expect_peer(client_new_as(UID, GID, GROUP), UID, true, false);
	box.config.admin_gid = UID;
	expect_peer(client_new_as(UID, GID, GROUP), UID, false, false);
}

/* --- Binding --- */

static mode_t mode_of(const char *path)
{
	struct stat status;

	assert_int_equal(stat(path, &status), 0);
	return status.st_mode;
}

static void reopen(bool is_user)
{
	autofree char *sentence = NULL;

	server_free(box.server);
	box.config.is_user = is_user;
	assert_int_equal(server_new(&box.daemon, -1, &box.server, &sentence), 0);
}

static void test_socket_modes(void **state)
{
	(void)state;
	assert_int_equal(mode_of(box.socket), S_IFSOCK | 0666);
	reopen(true);
	assert_int_equal(mode_of(box.socket), S_IFSOCK | 0600);
}

static void test_socket_in_use(void **state)
{
	autofree char *sentence = NULL;
	autofree char *expected =
		xasprintf("another jobd listens on %s: stop it, or choose another socket with "
			  "--socket",
			  box.socket);
	struct server *second = NULL;

	(void)state;
	assert_int_equal(server_new(&box.daemon, -1, &second, &sentence), -EADDRINUSE);
	assert_string_equal(sentence, expected);
	assert_null(second);
	expect_peer(client_new(), geteuid(), true, true);
}

/* What a daemon that was killed left behind is replaced; nothing else is. */
static void test_stale_socket(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofree char *sentence = NULL;
	FILE *file;
	int fd;

	(void)state;
	server_free(box.server);
	box.server = NULL;
	memcpy(address.sun_path, box.socket, strlen(box.socket));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	(void)close(fd);
	reopen(false);
	expect_peer(client_new(), geteuid(), true, true);

	server_free(box.server);
	box.server = NULL;
	file = fopen(box.socket, "w");
	assert_non_null(file);
	(void)fclose(file);
	assert_true(server_new(&box.daemon, -1, &box.server, &sentence) < 0);
	assert_non_null(strstr(sentence, "cannot listen on"));
	assert_int_equal(mode_of(box.socket) & S_IFMT, S_IFREG);
}

/* A socket of the service manager is used, and left where it is. */
static void test_passed_socket(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofree char *sentence = NULL;
	int fd;

	(void)state;
	server_free(box.server);
	memcpy(address.sun_path, box.socket, strlen(box.socket));
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(server_new(&box.daemon, fd, &box.server, &sentence), 0);
	expect_peer(client_new(), geteuid(), true, true);
	server_free(box.server);
	box.server = NULL;
	assert_int_equal(access(box.socket, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOX_TEST(test_message_limit),         BOX_TEST(test_steps_go_with_turns),
		BOX_TEST(test_peer_that_never_reads), BOX_TEST(test_asking_without_reading),
		BOX_TEST(test_asking_fast),           BOX_TEST(test_client_limit),
		BOX_TEST(test_no_file_descriptors),   BOX_TEST(test_peers),
		BOX_TEST(test_socket_modes),          BOX_TEST(test_socket_in_use),
		BOX_TEST(test_stale_socket),          BOX_TEST(test_passed_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
