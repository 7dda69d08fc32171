/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of kind ping share, from the bottom up:
 *
 *   ping-packet   echo requests and replies as bytes; no I/O
 *   ping-socket   the ICMP sockets: batches out, replies and errors in
 *   ping-result   what a task came to, as outcome: JSON and sentences
 *   ping-engine   tasks, requests, time and pace
 *   kind-ping     options, and the row of the table of kinds
 */
#pragma once

#include "common/error.h"
#include "common/states.h"
#include "daemon/kind.h"
#include "daemon/timer-wheel.h"

#include <event2/event.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

/* An IP address with room for either family; a sockaddr_storage would be four times its size. */
union ping_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* --- Options (kind-ping.c) --- */

enum { PING_TTL_DEFAULT = 64 };

struct ping_options {
	int64_t count; /* 0: until the first reply */
	int64_t interval_us, reply_timeout_us;
	int64_t size;
	int64_t ttl;
	bool is_dont_fragment;
	int family_word; /* of ping_families; -1: any */
	char *source;
	char *success;
	int64_t max_rtt_us; /* 0: none */
	int64_t rate;       /* 0: none */

	/* Derived */
	int64_t requests;    /* at most */
	bool is_until_reply; /* the first good reply ends the task */
	int success_percent; /* 0: one good reply is enough */
	int family;          /* AF_UNSPEC, AF_INET, AF_INET6 */
	bool has_source_address;
	union ping_address source_address; /* else source is an interface, or NULL */
};

/* Why echo requests are never sent to this address, or NULL: "is a multicast address". */
const char *ping_address_refusal(const union ping_address *address);

/* --- Packets (ping-packet.c) --- */

enum {
	ECHO_HEADER_SIZE = 8,
	ECHO_COOKIE_SIZE = 8,
	ECHO_HEAD_SIZE = ECHO_HEADER_SIZE + ECHO_COOKIE_SIZE,
};

/*
 * What tells echo requests apart (RFC 792, RFC 4443). The cookie is the beginning of the payload,
 * the rest of which is zeros; a payload shorter than a cookie carries what fits of it. In host
 * order.
 */
struct echo {
	uint16_t id;
	uint16_t sequence;
	unsigned char cookie[ECHO_COOKIE_SIZE];
	size_t cookie_size; /* bytes of it that are there */
};

/*
 * The first bytes of a request, all but the zeros; returns how many. payload_size: with the cookie.
 * The checksum of IPv6 is the kernel's (RFC 3542 3.1).
 */
size_t echo_build(int family, const struct echo *echo, size_t payload_size,
		  unsigned char ret_head[static ECHO_HEAD_SIZE]);
/*
 * An echo reply as a socket gives it; the packet may be cut off behind the cookie. has_ip_header: a
 * raw IPv4 socket. False where it is anything else.
 */
bool echo_parse_reply(int family, bool has_ip_header, const void *packet, size_t size,
		      struct echo *ret_echo);
/* The request that an ICMP error quotes, from its ICMP header on; the cookie is often cut off. */
bool echo_parse_quote(int family, const void *packet, size_t size, struct echo *ret_echo);

/* --- Troubles (ping-result.c) --- */

/* Why a request came to nothing, compact: the sentence is only made for the task's last one. */
struct ping_trouble {
	int error;      /* errno; 0: there was none */
	uint8_t origin; /* SO_EE_ORIGIN_ICMP, _ICMP6: a router or host said so; else this machine */
	uint8_t type, code;          /* of ICMP */
	uint32_t mtu;                /* with EMSGSIZE; 0: unknown */
	union ping_address offender; /* who said so; family AF_UNSPEC: unknown */
};

/* --- Sockets (ping-socket.c) --- */

enum { PING_BATCH = 32 };

struct engine;
struct ping_batch;
struct ping_request;

/* Which socket a target needs. One of each per engine, opened while a task uses it. */
enum ping_socket_type { PING_V4, PING_V6, PING_V4_WHOLE, PING_V6_WHOLE, PING_SOCKET_COUNT };

struct ping_socket {
	struct engine *engine;
	struct event_base *base;
	enum ping_socket_type type;
	int family;
	int fd; /* -1: closed */
	bool is_raw;
	uint16_t id; /* of its requests, in the ICMP header */
	struct event *readable;
	bool is_watched;         /* readable is added */
	unsigned tasks;          /* that use it */
	size_t buffer;           /* bytes that the kernel queues for us */
	size_t expected;         /* bytes that recent requests may bring back at any moment */
	uint32_t dropped;        /* replies for which the buffer had no room */
	uint32_t route_mtu;      /* as the kernel said of the last packet too big for its route */
	int64_t paused_until_us; /* its send buffer is full; 0: it is not */
	struct ping_batch *batch;
};

void ping_socket_init(struct ping_socket *socket, enum ping_socket_type type, struct engine *engine,
		      struct event_base *base);
/* Opens it if need be. 0 or a negative errno: -EPERM where ICMP is not allowed. */
int ping_socket_open(struct ping_socket *socket);
void ping_socket_close(struct ping_socket *socket);
/* What a reply to a request of such payload takes of the receive buffer, by experience. */
size_t ping_socket_charge(int64_t payload_size);
/* What came with a packet. */
struct ping_arrival {
	union ping_address from;
	int ttl;             /* or hop limit; -1: unknown */
	int64_t received_ns; /* by the kernel, monotonic */
	int64_t read_ns;     /* by us */
};
/* Puts a request into the batch, which has room for PING_BATCH. */
void ping_socket_add(struct ping_socket *socket, struct ping_request *request);
bool ping_socket_is_full(const struct ping_socket *socket);
/* Sends the batch: request_sent or request_unsent is called for each. */
void ping_socket_flush(struct ping_socket *socket);
/*
 * Takes what has come, errors first, and calls request_replied and request_failed; of replies a
 * bounded number. False where the bound was reached.
 */
bool ping_socket_read(struct ping_socket *socket);
/* Whether ping_engine_readable is called when something comes. */
void ping_socket_watch(struct ping_socket *socket, bool is_watched);

/* --- The engine (ping-engine.c) --- */

/* A request under way, found again by the sequence number of its reply. */
enum request_state {
	REQUEST_FREE,
	REQUEST_BATCHED,  /* it will be sent in a moment */
	REQUEST_AWAITED,  /* sent */
	REQUEST_ANSWERED, /* kept until its time is out, to know duplicates of the reply */
};

struct ping_request {
	STAILQ_ENTRY(ping_request) free_link;
	LIST_ENTRY(ping_request) task_link;
	struct wheel_timer timer;
	struct ping_task *task;
	int64_t sent_ns; /* monotonic */
	unsigned char cookie[ECHO_COOKIE_SIZE];
	uint16_t sequence; /* its place in the table: for good */
	uint8_t state;     /* enum request_state */
	bool is_recent;    /* counted in its socket's expected */
};

struct ping_job;

/*
 *  (none) --> resolving --> ready <--> waiting --> ended
 *  ready: in its job's queue, may send a request as soon as pace and window allow
 *  waiting: for replies, for the interval, or for room in the kernel
 */
struct ping_task {
	struct task *task;
	const struct ping_options *options;
	struct ping_job *job;
	struct ping_socket *socket; /* NULL while the name is looked up */
	STAILQ_ENTRY(ping_task) ready_link;
	bool is_ready;
	LIST_HEAD(, ping_request) requests; /* batched, awaited, answered */
	unsigned open;                      /* batched or awaited */
	struct wheel_timer pause;           /* until the next request */
	struct wheel_timer deadline;        /* of the whole task */
	int64_t time_left_us;    /* of options->timeout_us, while the deadline is not set */
	int64_t unsent_since_us; /* the kernel has no room since then; 0: it has */
	int64_t back_off_us;

	union ping_address address;
	union ping_address source; /* family AF_UNSPEC: the kernel's choice */
	unsigned source_interface; /* 0: the kernel's choice */

	int64_t made; /* requests sent, or refused for good */
	int64_t sent, received, good, duplicates;
	int64_t rtt_min_us, rtt_max_us, rtt_sum_us;
	int ttl;                     /* of the last reply; -1: unknown */
	struct ping_trouble trouble; /* the last one */
};

/* The sockets call these. Stamps are monotonic. */
void request_sent(struct engine *engine, struct ping_request *request, int64_t sent_ns);
void request_unsent(struct engine *engine, struct ping_request *request,
		    const struct ping_trouble *trouble);
void request_replied(struct ping_socket *socket, const struct echo *echo,
		     const struct ping_arrival *arrival);
void request_failed(struct ping_socket *socket, const struct echo *quote,
		    const union ping_address *to, const struct ping_trouble *trouble);
/* The socket has something to read. */
void ping_engine_readable(struct engine *engine);

struct engine *ping_engine_new(struct worker *worker, const struct config *config);
void ping_engine_free(struct engine *engine);
void ping_task_start(struct engine *engine, struct task *task);
void ping_task_stop(struct engine *engine, struct task *task, enum stop_reason reason,
		    int64_t grace_us);
void ping_task_resolved(struct engine *engine, struct task *task,
			const struct sockaddr_storage *addresses, size_t count, const char *error);

/* --- Outcomes (ping-result.c) --- */

/* How a task ended whose requests are all answered or given up. */
void ping_result(const struct ping_task *task, struct outcome *ret_outcome);
/* How one ended before that; message: ownership passes. */
void ping_result_cut_off(const struct ping_task *task, enum task_state state,
			 enum error_class class, char *message, struct outcome *ret_outcome);
/* Why no socket could be opened; the caller frees. */
char *ping_open_sentence(int family, int error);
