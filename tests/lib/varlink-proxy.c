/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * varlink-proxy LISTEN CONNECT LOG: relays between clients of the socket LISTEN and the service at
 * CONNECT, byte for byte, and appends each reply with the method of its call to LOG, one JSON
 * object a line, for check-replies. To the service, every client is the proxy's user. Ends on
 * SIGTERM.
 */
#include "common/protocol.h"
#include "common/util.h"

#include <err.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { EXIT_WORDS = 2, OUTPUT_HIGH = 1024 * 1024 };

struct proxy {
	struct event_base *base;
	struct sockaddr_un service;
	FILE *log;
};

/* A call that has not been answered yet. */
struct pending {
	STAILQ_ENTRY(pending) link;
	char *method;
};

struct relay;

struct side {
	struct relay *relay;
	struct side *other;
	struct bufferevent *stream;
	struct frame_buffer frames; /* of what it says */
	bool is_observed;           /* until it says something that is no message */
	bool is_ended;              /* it says nothing more */
	void (*observe)(struct relay *relay, const json_t *message);
};

struct relay {
	struct proxy *proxy;
	struct side client, service;
	STAILQ_HEAD(, pending) calls;
};

static void drop_call(struct relay *relay)
{
	struct pending *call = STAILQ_FIRST(&relay->calls);

	STAILQ_REMOVE_HEAD(&relay->calls, link);
	free(call->method);
	free(call);
}

static void relay_free(struct relay *relay)
{
	while (!STAILQ_EMPTY(&relay->calls))
		drop_call(relay);
	frame_buffer_done(&relay->client.frames);
	frame_buffer_done(&relay->service.frames);
	bufferevent_free(relay->client.stream);
	bufferevent_free(relay->service.stream);
	free(relay);
}

/* --- Observing --- */

static void observe_call(struct relay *relay, const json_t *message)
{
	struct call_header header;
	struct pending *call;

	if (call_parse(message, &header) < 0 || header.is_oneway)
		return;
	call = xcalloc(1, sizeof(*call));
	call->method = xstrdup(header.method);
	STAILQ_INSERT_TAIL(&relay->calls, call, link);
}

static void observe_reply(struct relay *relay, const json_t *message)
{
	const struct pending *call = STAILQ_FIRST(&relay->calls);
	struct reply_header header;
	json_t *line;

	if (reply_parse(message, &header) < 0)
		line = json_pack("{s:s, s:s}", "method", call ? call->method : "", "error",
				 "not a reply");
	else
		line = json_pack("{s:s, s:s*, s:O*}", "method", call ? call->method : "", "error",
				 header.error, header.error ? "parameters" : "reply",
				 header.parameters);
	(void)json_dumpf(line, relay->proxy->log, JSON_COMPACT);
	(void)fputc('\n', relay->proxy->log);
	(void)fflush(relay->proxy->log);
	json_decref(line);
	if (call && !header.continues)
		drop_call(relay);
}

static void observe(struct side *side, struct evbuffer *bytes)
{
	struct evbuffer_ptr at;
	size_t left = evbuffer_get_length(bytes);
	json_t *message;
	int r;

	(void)evbuffer_ptr_set(bytes, &at, 0, EVBUFFER_PTR_SET);
	while (left > 0) {
		size_t room;
		char *to = frame_buffer_room(&side->frames, &room);
		ssize_t size = evbuffer_copyout_from(bytes, &at, to, room < left ? room : left);

		frame_buffer_filled(&side->frames, (size_t)size);
		left -= (size_t)size;
		(void)evbuffer_ptr_set(bytes, &at, (size_t)size, EVBUFFER_PTR_ADD);
	}
	while ((r = frame_buffer_next(&side->frames, &message)) == 1) {
		side->observe(side->relay, message);
		json_decref(message);
	}
	side->is_observed = r == 0;
}

/* --- Relaying --- */

/* Whoever does not read is not read for. */
static void on_read(struct bufferevent *stream, void *context)
{
	struct side *side = context;
	struct evbuffer *bytes = bufferevent_get_input(stream);

	if (side->is_observed)
		observe(side, bytes);
	(void)bufferevent_write_buffer(side->other->stream, bytes);
	if (evbuffer_get_length(bufferevent_get_output(side->other->stream)) > OUTPUT_HIGH)
		(void)bufferevent_disable(stream, EV_READ);
}

/* All was written to this side. */
static void on_written(struct bufferevent *stream, void *context)
{
	struct side *side = context;

	if (!side->other->is_ended)
		(void)bufferevent_enable(side->other->stream, EV_READ);
	else if (side == &side->relay->client)
		relay_free(side->relay);
	else
		(void)shutdown(bufferevent_getfd(stream), SHUT_WR);
}

/* A client that only said its last word still listens. */
static void on_event(struct bufferevent *stream, short what, void *context)
{
	struct side *side = context;
	struct pollfd poll_fd = {.fd = bufferevent_getfd(stream)};
	bool is_gone = (what & BEV_EVENT_ERROR) ||
		       (poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR)));

	side->is_ended = true;
	if (side == &side->relay->client && is_gone)
		relay_free(side->relay);
	else if (evbuffer_get_length(bufferevent_get_output(side->other->stream)) == 0)
		on_written(side->other->stream, side->other);
}

static void side_init(struct side *side, struct relay *relay, struct side *other, int fd,
		      void (*observe_fn)(struct relay *relay, const json_t *message))
{
	*side = (struct side){
		.relay = relay,
		.other = other,
		.stream = bufferevent_socket_new(relay->proxy->base, fd, BEV_OPT_CLOSE_ON_FREE),
		.is_observed = true,
		.observe = observe_fn,
	};
	if (!side->stream)
		abort();
	frame_buffer_init(&side->frames, PROTOCOL_MESSAGE_MAX_DEFAULT);
	bufferevent_setcb(side->stream, on_read, on_written, on_event, side);
	(void)bufferevent_enable(side->stream, EV_READ | EV_WRITE);
}

static void on_client(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
		      int size, void *context)
{
	struct proxy *proxy = context;
	int service_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct relay *relay;

	(void)listener;
	(void)address;
	(void)size;
	if (connect(service_fd, (const struct sockaddr *)&proxy->service, sizeof(proxy->service)) <
	    0) {
		warn("%s", proxy->service.sun_path);
		(void)close(service_fd);
		(void)close(fd);
		return;
	}
	(void)evutil_make_socket_nonblocking(service_fd);
	relay = xcalloc(1, sizeof(*relay));
	relay->proxy = proxy;
	STAILQ_INIT(&relay->calls);
	side_init(&relay->client, relay, &relay->service, fd, observe_call);
	side_init(&relay->service, relay, &relay->client, service_fd, observe_reply);
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(address.sun_path))
		errx(EXIT_WORDS, "%s: too long for a socket", path);
	memcpy(address.sun_path, path, strlen(path));
	return address;
}

static void on_end(evutil_socket_t number, short what, void *context)
{
	(void)number;
	(void)what;
	(void)event_base_loopbreak(context);
}

int main(int argc, char **argv)
{
	struct proxy proxy = {.base = event_base_new()};
	struct sockaddr_un address;
	struct evconnlistener *listener;
	struct event *end;

	if (argc != 4)
		errx(EXIT_WORDS, "usage: varlink-proxy LISTEN CONNECT LOG");
	(void)signal(SIGPIPE, SIG_IGN);
	address = address_of(argv[1]);
	proxy.service = address_of(argv[2]);
	proxy.log = fopen(argv[3], "ae");
	if (!proxy.log)
		err(EXIT_FAILURE, "%s", argv[3]);
	listener = evconnlistener_new_bind(proxy.base, on_client, &proxy,
					   LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, -1,
					   (const struct sockaddr *)&address, sizeof(address));
	if (!listener)
		err(EXIT_FAILURE, "%s", argv[1]);
	end = evsignal_new(proxy.base, SIGTERM, on_end, proxy.base);
	if (!end || event_add(end, NULL) != 0)
		abort();
	(void)event_base_dispatch(proxy.base);
	event_free(end);
	evconnlistener_free(listener);
	(void)unlink(argv[1]);
	event_base_free(proxy.base);
	return fclose(proxy.log) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
