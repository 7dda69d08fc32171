/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sshrate PORT KEY COUNT HANDSHAKES: the yardstick of bench-ssh, a bare loop of libssh that runs
 * one command on each of COUNT addresses from 127.0.0.1 on: nothing is checked, stored or bounded
 * but the key exchanges at a time. Prints the CPU seconds.
 */
#include "common/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { ROUNDS_MAX = 16 };

enum step { CONNECT, AUTHENTICATE, OPEN, EXEC, RUN, DONE };

struct client {
	enum step step;
	int fd;
	ssh_session session;
	ssh_channel channel;
	struct event *read_event, *write_event;
	bool is_writing;
	struct ssh_counter_struct moved;
	struct ssh_channel_callbacks_struct callbacks;
	bool is_closed;
};

static struct event_base *base;
static ssh_key key;
static uint16_t port;
static unsigned begun, ended, failed, count, exchanging, exchanging_max;

static void begin(void);

static void end(struct client *client, bool is_failed)
{
	if (client->step < AUTHENTICATE)
		exchanging--;
	event_free(client->read_event);
	event_free(client->write_event);
	ssh_free(client->session);
	free(client);
	failed += is_failed;
	if (++ended == count)
		(void)event_base_loopbreak(base);
	begin();
}

static void on_close(ssh_session session, ssh_channel channel, void *context)
{
	struct client *client = context;

	(void)session;
	(void)channel;
	client->is_closed = true;
}

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t size,
		   int is_stderr, void *context)
{
	(void)session;
	(void)channel;
	(void)data;
	(void)is_stderr;
	(void)context;
	return (int)size;
}

static int open_channel(struct client *client)
{
	if (!client->channel) {
		client->channel = ssh_channel_new(client->session);
		client->callbacks = (struct ssh_channel_callbacks_struct){
			.size = sizeof(client->callbacks),
			.userdata = client,
			.channel_data_function = on_data,
			.channel_close_function = on_close,
		};
		(void)ssh_set_channel_callbacks(client->channel, &client->callbacks);
	}
	return ssh_channel_open_session(client->channel);
}

/* SSH_OK: the next step; SSH_AGAIN: later; else it failed. */
static int step(struct client *client)
{
	int r;

	switch (client->step) {
	case CONNECT:
		r = ssh_connect(client->session);
		(void)fcntl(client->fd, F_SETFL, fcntl(client->fd, F_GETFL) | O_NONBLOCK);
		exchanging -= r == SSH_OK;
		return r;
	case AUTHENTICATE:
		r = ssh_userauth_publickey(client->session, "root", key);
		return r == SSH_AUTH_SUCCESS ? SSH_OK : r == SSH_AUTH_AGAIN ? SSH_AGAIN : SSH_ERROR;
	case OPEN:
		return open_channel(client);
	case EXEC:
		return ssh_channel_request_exec(client->channel, "show");
	case RUN:
		(void)ssh_execute_message_callbacks(client->session);
		return client->is_closed ? SSH_OK : SSH_AGAIN;
	case DONE:
	default:
		return SSH_ERROR;
	}
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
	struct client *client = context;
	bool is_writing;

	(void)fd;
	(void)what;
	for (int i = 0; i < ROUNDS_MAX; i++) {
		uint64_t before = client->moved.in_bytes + client->moved.out_bytes;
		int r = step(client);

		if (r == SSH_OK) {
			client->step++;
			if (client->step == AUTHENTICATE)
				begin();
		} else if (r != SSH_AGAIN) {
			end(client, true);
			return;
		} else if (before == client->moved.in_bytes + client->moved.out_bytes) {
			break;
		}
		if (client->step == DONE) {
			end(client, false);
			return;
		}
	}
	is_writing = ssh_get_poll_flags(client->session) & SSH_WRITE_PENDING;
	if (is_writing != client->is_writing)
		(void)(is_writing ? event_add(client->write_event, NULL)
				  : event_del(client->write_event));
	client->is_writing = is_writing;
}

static void begin_one(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct client *client = xcalloc(1, sizeof(*client));
	const bool no = false;
	const int yes = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + begun++);
	exchanging++;
	client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	(void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	if (connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 &&
	    errno != EINPROGRESS)
		abort();
	client->session = ssh_new();
	(void)ssh_options_set(client->session, SSH_OPTIONS_PROCESS_CONFIG, &no);
	(void)ssh_options_set(client->session, SSH_OPTIONS_SSH_DIR, "/dev/null");
	(void)ssh_options_set(client->session, SSH_OPTIONS_KNOWNHOSTS, "/dev/null");
	(void)ssh_options_set(client->session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null");
	(void)ssh_options_set(client->session, SSH_OPTIONS_USER, "root");
	(void)ssh_options_set(client->session, SSH_OPTIONS_KEY_EXCHANGE, "curve25519-sha256");
	(void)ssh_options_set(client->session, SSH_OPTIONS_FD, &client->fd);
	ssh_set_blocking(client->session, 0);
	ssh_set_counters(client->session, &client->moved, NULL);
	client->read_event = event_new(base, client->fd, EV_READ | EV_PERSIST, on_socket, client);
	client->write_event = event_new(base, client->fd, EV_WRITE | EV_PERSIST, on_socket, client);
	(void)event_add(client->read_event, NULL);
	(void)event_add(client->write_event, NULL);
	client->is_writing = true;
}

static void begin(void)
{
	while (begun < count && exchanging < exchanging_max)
		begin_one();
}

int main(int argument_count, char **arguments)
{
	struct rusage usage;
	struct rlimit limit;

	if (argument_count != 5 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 2;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	port = (uint16_t)strtoul(arguments[1], NULL, 10);
	count = (unsigned)strtoul(arguments[3], NULL, 10);
	exchanging_max = (unsigned)strtoul(arguments[4], NULL, 10);
	base = event_base_new();
	if (!base || ssh_pki_import_privkey_file(arguments[2], NULL, NULL, NULL, &key) != SSH_OK)
		return 2;
	begin();
	(void)event_base_dispatch(base);
	(void)getrusage(RUSAGE_SELF, &usage);
	printf("%.6f\n", (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
				 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	ssh_key_free(key);
	event_base_free(base);
	return failed > 0;
}
