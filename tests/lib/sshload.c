/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sshload: an SSH server for load and for bad manners. One process and one thread serve thousands
 * of sessions at 1 ms CPU each (sshd takes 20), and it can misbehave as real ones do.
 *
 *   sshload [--listen ADDRESS] [--port N] [--delay SECONDS] [--output BYTES] [--exit STATUS]
 *           [--flood] [--deaf] [--no-answer] [--no-status] [--silent] [--banner-only]
 *           [--one-channel] [--refuse-exec] [--ledger FILE]
 *           [--drop-before-auth PERCENT] [--password WORD | --prompt WORD [--confirm] | --none]
 *
 * Any public key of any user is let in; with --password, --prompt or --none only that way; with
 * --confirm a question that wants "yes" and a code ("123456") are asked beside the prompt. Every
 * command is answered after the delay with so many bytes of text, then the exit status. With
 * --ledger a command that begins is a line of FILE, behind the address that it came to; its output
 * begins with the command itself, and one with `exit N` in it ends with N. When it is
 * ready it prints its port on one line and its host key (type and base64) on the next. SIGTERM ends
 * it.
 */
#include "common/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <getopt.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* The text comes again after so many bytes: lines of 64, whose letters go on. */
enum { PERIOD = 832 };
enum { BACKLOG = 4096, PIECE = 32 << 10, ROUNDS_MAX = 32, MICROSECONDS = 1000000 };

static struct {
	const char *address, *password, *prompt;
	uint16_t port;
	int64_t delay_us, output;
	int exit_status;
	unsigned drop_percent;
	int is_flood, is_deaf, has_no_answer, has_no_status, is_silent, is_banner_only, is_open;
	int is_one_channel, is_refusing, is_confirming;
	int ledger; /* a file descriptor, or -1 */
} settings = {.address = "127.0.0.1", .ledger = -1};

static struct event_base *base;
static ssh_bind binding;
static LIST_HEAD(, peer) peers = LIST_HEAD_INITIALIZER(peers);
static char piece[PIECE + PERIOD];

struct peer {
	LIST_ENTRY(peer) link;
	int fd;
	ssh_session session; /* NULL for the silent and the like */
	ssh_channel channel;
	bool has_keys, is_authenticated, is_answering, is_ended, has_refused;
	int64_t left; /* bytes of output */
	char *echo;   /* that go before them, or NULL */
	int exit_status;
	struct event *read_event, *write_event, *timer;
	struct ssh_counter_struct moved;
	struct ssh_server_callbacks_struct server_callbacks;
	struct ssh_channel_callbacks_struct channel_callbacks;
};

static void free_peer(struct peer *peer)
{
	LIST_REMOVE(peer, link);
	if (peer->read_event)
		event_free(peer->read_event);
	if (peer->write_event)
		event_free(peer->write_event);
	if (peer->timer)
		event_free(peer->timer);
	if (peer->session)
		ssh_free(peer->session);
	else
		(void)close(peer->fd);
	free(peer->echo);
	free(peer);
}

/* --- What clients ask for --- */

static int on_publickey(ssh_session session, const char *user, struct ssh_key_struct *key,
			char state, void *context)
{
	struct peer *peer = context;

	(void)session;
	(void)user;
	(void)key;
	if (settings.password || settings.prompt || settings.is_open)
		return SSH_AUTH_DENIED;
	peer->is_authenticated |= state == SSH_PUBLICKEY_STATE_VALID;
	return state == SSH_PUBLICKEY_STATE_NONE || state == SSH_PUBLICKEY_STATE_VALID
		       ? SSH_AUTH_SUCCESS
		       : SSH_AUTH_DENIED;
}

static int on_password(ssh_session session, const char *user, const char *password, void *context)
{
	struct peer *peer = context;

	(void)session;
	(void)user;
	peer->is_authenticated |= settings.password && streq(password, settings.password);
	return peer->is_authenticated ? SSH_AUTH_SUCCESS : SSH_AUTH_DENIED;
}

static int on_none(ssh_session session, const char *user, void *context)
{
	struct peer *peer = context;

	(void)session;
	(void)user;
	peer->is_authenticated |= settings.is_open != 0;
	return peer->is_authenticated ? SSH_AUTH_SUCCESS : SSH_AUTH_DENIED;
}

/* keyboard-interactive comes as a message only. */
static int on_message(ssh_session session, ssh_message message, void *context)
{
	static const char *prompts[] = {"Password: ", "Do you accept the terms (yes/no)? ",
					"One-time code: "};
	const char *const wanted[] = {settings.prompt, "yes", "123456"};
	struct peer *peer = context;
	char shown[] = {0, 1, 0};
	unsigned count = settings.is_confirming ? 3 : 1;

	if (ssh_message_type(message) != SSH_REQUEST_AUTH ||
	    ssh_message_subtype(message) != SSH_AUTH_METHOD_INTERACTIVE || !settings.prompt)
		return 1; /* the default answer */
	if (!ssh_message_auth_kbdint_is_response(message)) {
		(void)ssh_message_auth_interactive_request(message, "", "", count, prompts, shown);
		return 0;
	}
	if (ssh_userauth_kbdint_getnanswers(session) != (int)count)
		return 1;
	for (unsigned i = 0; i < count; i++)
		if (!streq(ssh_userauth_kbdint_getanswer(session, i), wanted[i]))
			return 1;
	peer->is_authenticated = true;
	(void)ssh_message_auth_reply_success(message, 0);
	return 0;
}

/* Before anything else: a command that has begun cannot be called back. */
static void write_ledger(struct peer *peer, const char *command)
{
	struct sockaddr_in address = {0};
	socklen_t size = sizeof(address);
	char text[INET_ADDRSTRLEN] = "";
	autofree char *line = NULL;

	(void)getsockname(peer->fd, (struct sockaddr *)&address, &size);
	(void)inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
	line = xasprintf("%s %s\n", text, command);
	if (write(settings.ledger, line, strlen(line)) < 0)
		abort();
	free(peer->echo);
	peer->echo = xasprintf("%s\n", command);
	if (strstr(command, "exit "))
		peer->exit_status = atoi(strstr(command, "exit ") + strlen("exit "));
}

static int on_exec(ssh_session session, ssh_channel channel, const char *command, void *context)
{
	const struct timeval delay = {.tv_sec = settings.delay_us / MICROSECONDS,
				      .tv_usec = settings.delay_us % MICROSECONDS};
	struct peer *peer = context;

	(void)session;
	(void)channel;
	peer->has_refused = settings.is_refusing;
	if (peer->has_refused)
		return 1; /* and the end comes with the answer: see serve_once */
	peer->left = settings.output;
	peer->exit_status = settings.exit_status;
	if (settings.ledger >= 0)
		write_ledger(peer, command);
	if (!settings.has_no_answer)
		(void)event_add(peer->timer, &delay);
	return 0;
}

static void on_signal(ssh_session session, ssh_channel channel, const char *name, void *context)
{
	struct peer *peer = context;

	(void)session;
	if (settings.is_deaf || peer->is_ended)
		return;
	peer->is_ended = true;
	(void)ssh_channel_request_send_exit_signal(channel, name, 0, "", "");
	(void)ssh_channel_close(channel);
}

static ssh_channel on_channel(ssh_session session, void *context)
{
	struct peer *peer = context;

	if (settings.is_one_channel && peer->channel)
		return NULL;
	peer->channel_callbacks = (struct ssh_channel_callbacks_struct){
		.size = sizeof(peer->channel_callbacks),
		.userdata = peer,
		.channel_exec_request_function = on_exec,
		.channel_signal_function = on_signal,
	};
	peer->is_answering = peer->is_ended = false;
	peer->channel = ssh_channel_new(session);
	if (peer->channel)
		(void)ssh_set_channel_callbacks(peer->channel, &peer->channel_callbacks);
	return peer->channel;
}

/* --- The loop --- */

static void answer(struct peer *peer)
{
	if (peer->is_answering && peer->echo) {
		(void)ssh_channel_write(peer->channel, peer->echo, (uint32_t)strlen(peer->echo));
		free(peer->echo);
		peer->echo = NULL;
	}
	while (peer->is_answering && (peer->left > 0 || settings.is_flood)) {
		uint32_t size =
			settings.is_flood || peer->left > PIECE ? PIECE : (uint32_t)peer->left;
		int n;

		if (ssh_get_status(peer->session) & SSH_WRITE_PENDING)
			return;
		n = ssh_channel_write(peer->channel,
				      piece + (settings.output - peer->left) % PERIOD, size);
		if (n <= 0)
			return;
		peer->left -= n;
	}
	if (!peer->is_answering || peer->is_ended)
		return;
	peer->is_ended = true;
	if (!settings.has_no_status)
		(void)ssh_channel_request_send_exit_status(peer->channel, peer->exit_status);
	(void)ssh_channel_send_eof(peer->channel);
	(void)ssh_channel_close(peer->channel);
}

/* False where the session is over. */
static bool serve_once(struct peer *peer)
{
	if (!peer->has_keys) {
		int r = ssh_handle_key_exchange(peer->session);

		if (r == SSH_ERROR)
			return false;
		peer->has_keys = r == SSH_OK;
		return true;
	}
	(void)ssh_execute_message_callbacks(peer->session);
	if (ssh_get_status(peer->session) & (SSH_CLOSED | SSH_CLOSED_ERROR))
		return false;
	if (peer->has_refused && !peer->is_ended) {
		peer->is_ended = true;
		(void)ssh_channel_close(peer->channel);
	}
	if (peer->channel && !peer->is_ended)
		answer(peer);
	return true;
}

static void watch(struct peer *peer)
{
	if (ssh_get_poll_flags(peer->session) & SSH_WRITE_PENDING)
		(void)event_add(peer->write_event, NULL);
	else
		(void)event_del(peer->write_event);
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
	struct peer *peer = context;
	struct ssh_counter_struct before;
	int rounds = 0;

	(void)fd;
	(void)what;
	do {
		before = peer->moved;
		if (!serve_once(peer)) {
			free_peer(peer);
			return;
		}
	} while (++rounds < ROUNDS_MAX && (before.in_bytes != peer->moved.in_bytes ||
					   before.out_bytes != peer->moved.out_bytes));
	watch(peer);
}

static void on_delay(evutil_socket_t fd, short what, void *context)
{
	struct peer *peer = context;

	peer->is_answering = true;
	on_socket(fd, what, peer);
}

/* The silent ones: until the client goes. */
static void on_hang_up(evutil_socket_t fd, short what, void *context)
{
	char bytes[4096];

	(void)what;
	if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0)
		free_peer(context);
}

static unsigned methods(void)
{
	return settings.password  ? SSH_AUTH_METHOD_PASSWORD
	       : settings.prompt  ? SSH_AUTH_METHOD_INTERACTIVE
	       : settings.is_open ? SSH_AUTH_METHOD_NONE
				  : SSH_AUTH_METHOD_PUBLICKEY;
}

static void begin_session(struct peer *peer)
{
	peer->session = ssh_new();
	if (!peer->session || ssh_bind_accept_fd(binding, peer->session, peer->fd) != SSH_OK)
		abort();
	ssh_set_blocking(peer->session, 0);
	ssh_set_counters(peer->session, &peer->moved, NULL);
	peer->server_callbacks = (struct ssh_server_callbacks_struct){
		.size = sizeof(peer->server_callbacks),
		.userdata = peer,
		.auth_pubkey_function = on_publickey,
		.auth_password_function = on_password,
		.auth_none_function = on_none,
		.channel_open_request_session_function = on_channel,
	};
	(void)ssh_set_server_callbacks(peer->session, &peer->server_callbacks);
	if (settings.prompt)
		ssh_set_message_callback(peer->session, on_message, peer);
	ssh_set_auth_methods(peer->session, (int)methods());
	peer->timer = evtimer_new(base, on_delay, peer);
	peer->read_event = event_new(base, peer->fd, EV_READ | EV_PERSIST, on_socket, peer);
	peer->write_event = event_new(base, peer->fd, EV_WRITE | EV_PERSIST, on_socket, peer);
	(void)event_add(peer->read_event, NULL);
	on_socket(peer->fd, EV_READ, peer);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
		      int size, void *context)
{
	static unsigned count;
	const int on = 1;
	struct peer *peer;

	(void)listener;
	(void)address;
	(void)size;
	(void)context;
	/* Evenly, so that a test knows how many. */
	if (++count * settings.drop_percent % 100 < settings.drop_percent) {
		const struct linger reset = {.l_onoff = 1};

		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		(void)close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	peer = xcalloc(1, sizeof(*peer));
	peer->fd = fd;
	LIST_INSERT_HEAD(&peers, peer, link);
	if (!settings.is_silent && !settings.is_banner_only) {
		begin_session(peer);
		return;
	}
	if (settings.is_banner_only)
		(void)send(fd, "SSH-2.0-stuck\r\n", 15, MSG_NOSIGNAL);
	peer->read_event = event_new(base, fd, EV_READ | EV_PERSIST, on_hang_up, peer);
	(void)event_add(peer->read_event, NULL);
}

static void on_terminate(evutil_socket_t signal_number, short what, void *context)
{
	(void)signal_number;
	(void)what;
	(void)context;
	(void)event_base_loopbreak(base);
}

/* --- Start --- */

static void usage(void)
{
	(void)fprintf(stderr, "sshload: the words are wrong: see the head of sshload.c\n");
	exit(2);
}

static void parse_options(int count, char **words)
{
	static const struct option names[] = {
		{"listen", required_argument, NULL, 'l'},
		{"port", required_argument, NULL, 'p'},
		{"delay", required_argument, NULL, 'd'},
		{"output", required_argument, NULL, 'o'},
		{"exit", required_argument, NULL, 'e'},
		{"ledger", required_argument, NULL, 'L'},
		{"drop-before-auth", required_argument, NULL, 'D'},
		{"password", required_argument, NULL, 'P'},
		{"prompt", required_argument, NULL, 'Q'},
		{"none", no_argument, &settings.is_open, 1},
		{"confirm", no_argument, &settings.is_confirming, 1},
		{"flood", no_argument, &settings.is_flood, 1},
		{"deaf", no_argument, &settings.is_deaf, 1},
		{"no-answer", no_argument, &settings.has_no_answer, 1},
		{"no-status", no_argument, &settings.has_no_status, 1},
		{"one-channel", no_argument, &settings.is_one_channel, 1},
		{"refuse-exec", no_argument, &settings.is_refusing, 1},
		{"silent", no_argument, &settings.is_silent, 1},
		{"banner-only", no_argument, &settings.is_banner_only, 1},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(count, words, "", names, NULL)) != -1) {
		if (c == 'l')
			settings.address = optarg;
		else if (c == 'p')
			settings.port = (uint16_t)strtoul(optarg, NULL, 10);
		else if (c == 'd')
			settings.delay_us = (int64_t)(strtod(optarg, NULL) * MICROSECONDS);
		else if (c == 'o')
			settings.output = strtoll(optarg, NULL, 10);
		else if (c == 'L')
			settings.ledger =
				open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		else if (c == 'e')
			settings.exit_status = (int)strtol(optarg, NULL, 10);
		else if (c == 'D')
			settings.drop_percent = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'P')
			settings.password = optarg;
		else if (c == 'Q')
			settings.prompt = optarg;
		else if (c != 0)
			usage();
	}
	if (optind != count)
		usage();
}

/* A key of its own, and its public half as known_hosts has it. */
static char *make_host_key(void)
{
	const bool no = false;
	ssh_key key = NULL;
	char *text = NULL;

	binding = ssh_bind_new();
	if (!binding || ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key) != SSH_OK ||
	    ssh_pki_export_pubkey_base64(key, &text) != SSH_OK ||
	    ssh_bind_options_set(binding, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no) != SSH_OK ||
	    ssh_bind_options_set(binding, SSH_BIND_OPTIONS_IMPORT_KEY, key) != SSH_OK)
		abort();
	return text;
}

static uint16_t port_of(evutil_socket_t fd)
{
	struct sockaddr_in address = {0};
	socklen_t size = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
		abort();
	return ntohs(address.sin_port);
}

int main(int count, char **words)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct evconnlistener *listener;
	struct event *terminate;
	struct rlimit files;
	struct peer *peer;
	char *key;

	parse_options(count, words);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	for (size_t i = 0; i < sizeof(piece); i++)
		piece[i] = i % 64 == 63 ? '\n' : (char)('a' + i % 26);
	(void)signal(SIGPIPE, SIG_IGN);
	base = event_base_new();
	key = make_host_key();
	address.sin_port = htons(settings.port);
	if (!base || inet_pton(AF_INET, settings.address, &address.sin_addr) != 1)
		usage();
	listener = evconnlistener_new_bind(
		base, on_accept, NULL,
		LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, BACKLOG,
		(const struct sockaddr *)&address, sizeof(address));
	if (!listener) {
		(void)fprintf(stderr, "sshload: %s port %u: %m\n", settings.address, settings.port);
		return 1;
	}
	terminate = evsignal_new(base, SIGTERM, on_terminate, NULL);
	(void)event_add(terminate, NULL);
	(void)printf("%u\nssh-ed25519 %s\n", port_of(evconnlistener_get_fd(listener)), key);
	(void)fflush(stdout);
	(void)event_base_dispatch(base);

	while ((peer = LIST_FIRST(&peers)))
		free_peer(peer);
	event_free(terminate);
	evconnlistener_free(listener);
	ssh_bind_free(binding);
	ssh_string_free_char(key);
	event_base_free(base);
	return 0;
}
