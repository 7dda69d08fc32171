/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * submitrate jobd|beanstalkd|list WHERE COUNT CLIENTS WINDOW: the load of bench-store. CLIENTS
 * connections to a socket of jobd, or to a port of beanstalkd on 127.0.0.1, ask for COUNT jobs
 * together, each connection with WINDOW calls in flight. Every answer is looked at: one that says
 * anything but that the job is there ends the run. Prints how many were answered a second, and the
 * 99th percentile of the time from a call to its answer in milliseconds.
 *
 * "list" reads the newest jobs instead, with a pause after each answer, as people do.
 */
#include "common/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

enum { CLIENTS_MAX = 1024, WINDOW_MAX = 1024, CALL_MAX = 512 };

/* How a far side is asked, and how an answer begins that says yes. */
static const struct asking {
	const char *word, *call;
	size_t size; /* of the call */
	const char *yes;
	char end; /* of an answer */
	int64_t pause_us;
} askings[] = {
#define ASKING(word, call, yes, end, pause_us)                   \
	{                                                        \
		word, call, sizeof(call) - 1, yes, end, pause_us \
	}
	ASKING("jobd",
	       "{\"method\":\"org.jobd.Start\",\"parameters\":"
	       "{\"kind\":\"ping\",\"targets\":[\"127.0.0.1\"]}}\0",
	       "{\"parameters\":{\"id\":", '\0', 0),
	ASKING("list", "{\"method\":\"org.jobd.List\",\"parameters\":{}}\0",
	       "{\"parameters\":{\"jobs\":", '\0', 2000),
	/* As long as jobd's words for it */
	ASKING("beanstalkd",
	       "put 0 0 60 82\r\n"
	       "{\"method\":\"org.jobd.Start\",\"parameters\":"
	       "{\"kind\":\"ping\",\"targets\":[\"127.0.0.1\"]}}  \r\n",
	       "INSERTED ", '\n', 0),
};

struct client {
	int fd;
	unsigned sent, answered;
	int64_t sent_us[WINDOW_MAX]; /* of calls in flight */
	size_t written;              /* of the call that was sent in part; 0: of none */
	size_t place;                /* in the answer that is being read */
	int64_t not_before_us;
};

static const struct asking *asking;
static struct client clients[CLIENTS_MAX];
static unsigned client_count, window, count, sent, answered;
static int64_t *latencies_us;

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "submitrate: %s\n", what);
	exit(2);
}

static int dial(const char *where)
{
	struct sockaddr_un path = {.sun_family = AF_UNIX};
	struct sockaddr_in port = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)atoi(where)),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	bool is_path = strchr(where, '/') != NULL;
	int fd = socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r;

	(void)snprintf(path.sun_path, sizeof(path.sun_path), "%s", where);
	r = is_path ? connect(fd, (const struct sockaddr *)&path, sizeof(path))
		    : connect(fd, (const struct sockaddr *)&port, sizeof(port));
	if (r < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		die(strerror(errno));
	return fd;
}

static bool may_send(const struct client *client)
{
	bool has_room = sent < count && client->sent - client->answered < window &&
			client->not_before_us <= now_monotonic_us();

	return client->written > 0 || has_room;
}

/* All calls that there is room for, in one go; the last may go in part. */
static void ask(struct client *client)
{
	static char calls[(WINDOW_MAX + 1) * CALL_MAX];
	unsigned room = window - (client->sent - client->answered), begun;
	bool has_part = client->written > 0;
	size_t size = 0;
	ssize_t r;

	if (room > count - sent)
		room = count - sent;
	for (unsigned i = 0; i < room + has_part; i++) {
		memcpy(calls + size, asking->call, asking->size);
		size += asking->size;
	}
	r = write(client->fd, calls + client->written, size - client->written);
	if (r < 0 && errno != EAGAIN)
		die(strerror(errno));
	if (r < 0)
		return;
	client->written += (size_t)r;
	begun = (unsigned)((client->written + asking->size - 1) / asking->size) - has_part;
	client->written %= asking->size;
	sent += begun;
	for (unsigned i = 0; i < begun; i++)
		client->sent_us[client->sent++ % WINDOW_MAX] = now_monotonic_us();
}

static void hear(struct client *client)
{
	static char bytes[1 << 16];
	size_t yes_size = strlen(asking->yes);
	ssize_t size = read(client->fd, bytes, sizeof(bytes));
	int64_t now_us = now_monotonic_us();

	if (size == 0 || (size < 0 && errno != EAGAIN))
		die(size == 0 ? "the far side has gone" : strerror(errno));
	for (ssize_t i = 0; i < size; i++) {
		if (client->place < yes_size && bytes[i] != asking->yes[client->place])
			die("the far side refuses");
		client->place++;
		if (bytes[i] != asking->end)
			continue;
		client->place = 0;
		latencies_us[answered++] =
			now_us - client->sent_us[client->answered++ % WINDOW_MAX];
		client->not_before_us = now_us + asking->pause_us;
	}
}

static void run(void)
{
	static struct pollfd polled[CLIENTS_MAX];

	while (answered < count) {
		for (unsigned i = 0; i < client_count; i++)
			polled[i] = (struct pollfd){
				.fd = clients[i].fd,
				.events = POLLIN | (may_send(&clients[i]) ? POLLOUT : 0)};
		if (poll(polled, client_count, asking->pause_us > 0 ? 1 : -1) < 0)
			die(strerror(errno));
		for (unsigned i = 0; i < client_count; i++) {
			if (polled[i].revents & ~POLLOUT)
				hear(&clients[i]);
			if (may_send(&clients[i]))
				ask(&clients[i]);
		}
	}
}

static int compare(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return left < right ? -1 : left > right;
}

int main(int argument_count, char **arguments)
{
	int64_t start_us;

	for (size_t i = 0; argument_count == 6 && i < ARRAY_SIZE(askings); i++)
		if (streq(askings[i].word, arguments[1]))
			asking = &askings[i];
	if (asking) {
		count = (unsigned)strtoul(arguments[3], NULL, 10);
		client_count = (unsigned)strtoul(arguments[4], NULL, 10);
		window = (unsigned)strtoul(arguments[5], NULL, 10);
	}
	if (count == 0 || client_count == 0 || client_count > CLIENTS_MAX || window == 0 ||
	    window > WINDOW_MAX)
		die("usage: submitrate jobd|beanstalkd|list WHERE COUNT CLIENTS WINDOW");
	latencies_us = xcalloc(count, sizeof(*latencies_us));
	for (unsigned i = 0; i < client_count; i++)
		clients[i].fd = dial(arguments[2]);
	start_us = now_monotonic_us();
	run();
	printf("%.0f", count * 1e6 / (double)(now_monotonic_us() - start_us));
	qsort(latencies_us, count, sizeof(*latencies_us), compare);
	printf(" %.3f\n", (double)latencies_us[(count - 1) * 99ULL / 100] / 1e3);
	free(latencies_us);
	return 0;
}
