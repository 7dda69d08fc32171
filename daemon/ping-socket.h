/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ICMP sockets: batches of requests out, replies and errors in. What became of a request goes
 * to the functions at the end, which ping-request has.
 */
#pragma once

#include "daemon/kind-ping.h"
#include "daemon/ping-packet.h"

#include <event2/event.h>
#include <stddef.h>
#include <time.h>

enum { PING_BUFFER_MIN = 16 << 10 };

struct engine;
struct ping_batch;
struct ping_request;

/* Which socket a target needs. An engine has one of each, open while a task uses it. */
enum ping_socket_type { PING_V4, PING_V6, PING_V4_WHOLE, PING_V6_WHOLE, PING_SOCKET_COUNT };

struct ping_socket {
	struct engine *engine;
	struct event_base *base;
	enum ping_socket_type type;
	int family;
	int fd; /* -1: closed */
	bool is_raw;
	bool has_ip_header; /* what is read begins with it */
	uint16_t id;        /* of its requests, in the ICMP header */
	struct event *readable;
	bool is_watched;          /* readable is added */
	unsigned tasks;           /* that use it */
	size_t granted;           /* bytes that the kernel queues for us */
	size_t buffer;            /* of them, what we count on: less after drops */
	int64_t buffer_set_us;    /* when that was changed last */
	size_t expected;          /* bytes that recent requests may bring back at any moment */
	uint32_t dropped;         /* replies for which the buffer had no room */
	uint32_t route_mtu;       /* as the kernel said of the last packet too big for its route */
	int64_t began_sending_ns; /* the last batch */
	int64_t paused_until_us;  /* its send buffer is full; 0: it is not */
	struct ping_batch *batch;
};

void ping_socket_init(struct ping_socket *socket, enum ping_socket_type type, struct engine *engine,
		      struct event_base *base);
/* Opens it if need be. 0 or a negative errno: -EPERM where ICMP is not allowed. */
int ping_socket_open(struct ping_socket *socket);
void ping_socket_close(struct ping_socket *socket);
/* Whether ping_engine_readable is called when something comes. */
void ping_socket_watch(struct ping_socket *socket, bool is_watched);
/* What a reply to a request of such a payload takes of the receive buffer, by experience. */
size_t ping_socket_charge(int64_t payload_size);

/* Puts a request into the batch, which is not full. */
void ping_socket_add(struct ping_socket *socket, struct ping_request *request);
bool ping_socket_is_empty(const struct ping_socket *socket);
bool ping_socket_is_full(const struct ping_socket *socket);
/* Sends the batch: request_sent or request_unsent is called for each. */
void ping_socket_flush(struct ping_socket *socket);
/*
 * Takes what has come, errors first, and calls request_replied and request_failed; of replies a
 * bounded number. False where the bound was reached.
 */
bool ping_socket_read(struct ping_socket *socket);
/* Errors alone; how many hosts' errors there were. */
unsigned ping_socket_read_errors(struct ping_socket *socket);

/* Of CLOCK_MONOTONIC or CLOCK_REALTIME. */
static inline int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* Why a request came to nothing; compact, since the sentence is only made of a task's last one. */
struct ping_trouble {
	int error;          /* errno; 0: there was none */
	uint8_t origin;     /* SO_EE_ORIGIN_ICMP, _ICMP6: a host said so; _LOCAL: this machine */
	uint8_t type, code; /* of ICMP */
	uint32_t mtu;       /* with EMSGSIZE; 0: unknown */
	union ping_address offender; /* which host said so; AF_UNSPEC: unknown */
};

/* What came with a reply. Stamps are monotonic. */
struct ping_arrival {
	union ping_address from;
	int ttl;             /* or hop limit; -1: unknown */
	int64_t received_ns; /* by the kernel */
	int64_t read_ns;     /* by us */
};

void request_sent(struct ping_request *request, int64_t sent_ns);
void request_unsent(struct ping_request *request, const struct ping_trouble *trouble);
void request_replied(struct ping_socket *socket, const struct echo *echo,
		     const struct ping_arrival *arrival);
/* to: the host that the quoted request was sent to. */
void request_failed(struct ping_socket *socket, const struct echo *quote,
		    const union ping_address *to, const struct ping_trouble *trouble);
/* A watched socket has something to read (ping-engine). */
void ping_engine_readable(struct engine *engine);
