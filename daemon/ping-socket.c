/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One socket for all targets of a family, since two sockets that see each other's replies cost
 * twice. What a target wants of its own (TTL, source) travels with each packet as ancillary data;
 * only "do not fragment" is a property of a socket, hence the second one, open while somebody needs
 * it.
 *
 * Raw sockets are tried first: 1.9 us CPU a ping against 2.3 of datagram ones, which need no
 * privilege but a wide net.ipv4.ping_group_range. A filter lets only echo replies through, or each
 * of our own requests to this machine would come back as well. Errors come on both by the error
 * queue (IP_RECVERR, ip(7)), with the quoted request taken apart by the kernel. It also makes a
 * full neighbour table an error, ENOBUFS, where packets would otherwise vanish without a word.
 *
 * The price: an ICMP error about one host is also a pending error of the socket, and the next send,
 * to an innocent host, fails with it, once. So a failed send is tried again after the error queue
 * was emptied, and only what fails then as well is that packet's own failure.
 *
 * The receive time is the kernel's stamp (wall clock), turned into monotonic time when it is read,
 * so it does not matter how long a reply waited for us, nor what the wall clock did in between.
 */
#include "common/log.h"
#include "common/util.h"
#include "daemon/kind-ping.h"

#include <assert.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <sys/random.h>
#include <time.h>

enum {
	RECEIVE_BUFFER_WISH =
		32 << 20, /* the kernel doubles it: 60,000 replies. Only what is used counts */
	SEND_BUFFER_WISH = 4 << 20, /* packets that wait for ARP stay in it for 3 s */
	BUFFER_MIN = 16 << 10,
	PACKET_KEPT = 96,   /* an IPv4 header with options, ICMP header, cookie */
	CONTROL_SIZE = 192, /* stamp, drops, TTL, error with offender */
	INBOX = 64,
	READS_MAX = 64,   /* of INBOX replies, before others have their turn */
	FAILURES_MAX = 8, /* of one send, that may be others' errors */
	PAUSE_US = 5000,
	PAYLOAD_MAX = 65507,
};

union control {
	struct cmsghdr align;
	unsigned char bytes[CONTROL_SIZE];
};

struct outgoing {
	struct ping_request *request;
	struct iovec parts[2]; /* head, zeros */
	unsigned char head[ECHO_HEAD_SIZE];
	union control control;
};

struct incoming {
	struct iovec part;
	union ping_address address;
	union control control;
	unsigned char packet[PACKET_KEPT];
};

/* All that passes through a socket at a time. */
struct ping_batch {
	unsigned count;
	struct mmsghdr out_headers[PING_BATCH];
	struct outgoing out[PING_BATCH];
	struct mmsghdr in_headers[INBOX];
	struct incoming in[INBOX];
	unsigned char zeros[PAYLOAD_MAX];
};

static const struct {
	int family;
	bool is_whole; /* don't fragment */
	int mtu_discover;
} types[PING_SOCKET_COUNT] = {
	/* Without "don't fragment", routers may cut an IPv4 packet; IPv6 is only cut by its sender,
	 * who has to learn the path's MTU (RFC 8200 5). */
	[PING_V4] = {AF_INET, false, IP_PMTUDISC_DONT},
	[PING_V6] = {AF_INET6, false, IPV6_PMTUDISC_WANT},
	[PING_V4_WHOLE] = {AF_INET, true, IP_PMTUDISC_DO},
	[PING_V6_WHOLE] = {AF_INET6, true, IPV6_PMTUDISC_DO},
};

static const struct {
	int family; /* AF_UNSPEC: both */
	int level, name, value;
} settings[] = {
	{AF_UNSPEC, SOL_SOCKET, SO_TIMESTAMPNS, 1},
	{AF_UNSPEC, SOL_SOCKET, SO_RXQ_OVFL, 1},
	{AF_INET, IPPROTO_IP, IP_RECVERR, 1},
	{AF_INET, IPPROTO_IP, IP_RECVTTL, 1},
	{AF_INET, IPPROTO_IP, IP_TTL, PING_TTL_DEFAULT},
	{AF_INET6, IPPROTO_IPV6, IPV6_RECVERR, 1},
	{AF_INET6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
	{AF_INET6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, PING_TTL_DEFAULT},
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* --- Opening --- */

static int set_option(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_options(const struct ping_socket *socket)
{
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		if (settings[i].family != AF_UNSPEC && settings[i].family != socket->family)
			continue;
		r = set_option(socket->fd, settings[i].level, settings[i].name, settings[i].value);
		if (r < 0)
			return r;
	}
	if (socket->family == AF_INET)
		return set_option(socket->fd, IPPROTO_IP, IP_MTU_DISCOVER,
				  types[socket->type].mtu_discover);
	r = set_option(socket->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
		       types[socket->type].mtu_discover);
	return r < 0 ? r
		     : set_option(socket->fd, IPPROTO_IPV6, IPV6_DONTFRAG,
				  types[socket->type].is_whole);
}

/* Only echo replies; errors come by the error queue, which no filter concerns. */
static int set_filter(const struct ping_socket *socket)
{
	struct icmp_filter v4 = {.data = ~(UINT32_C(1) << ICMP_ECHOREPLY)};
	struct icmp6_filter v6;

	if (socket->family == AF_INET)
		return setsockopt(socket->fd, SOL_RAW, ICMP_FILTER, &v4, sizeof(v4));
	ICMP6_FILTER_SETBLOCKALL(&v6);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &v6);
	return setsockopt(socket->fd, IPPROTO_ICMPV6, ICMP6_FILTER, &v6, sizeof(v6));
}

/* As large as we may have it; returns what the kernel granted. */
static size_t enlarge(int fd, int forced_name, int name, int wish)
{
	socklen_t size = sizeof(int);
	int granted = 0;

	if (set_option(fd, SOL_SOCKET, forced_name, wish) < 0)
		(void)set_option(fd, SOL_SOCKET, name, wish);
	(void)getsockopt(fd, SOL_SOCKET, name, &granted, &size);
	return granted > BUFFER_MIN ? (size_t)granted : BUFFER_MIN;
}

/* Of a raw socket we choose the id; that of a datagram one is its port, which the kernel chooses.
 */
static int choose_id(struct ping_socket *socket)
{
	union ping_address address = {.any.sa_family = (sa_family_t)socket->family};
	socklen_t size = sizeof(address);

	if (socket->is_raw) {
		if (getrandom(&socket->id, sizeof(socket->id), 0) != sizeof(socket->id))
			return -EIO;
		/* Two sockets of a family, which both see all replies, never have the same. */
		socket->id = (uint16_t)((socket->id & ~1U) | types[socket->type].is_whole);
		return 0;
	}
	if (bind(socket->fd, &address.any,
		 socket->family == AF_INET ? sizeof(address.v4) : sizeof(address.v6)) < 0 ||
	    getsockname(socket->fd, &address.any, &size) < 0)
		return -errno;
	socket->id = ntohs(socket->family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
	return 0;
}

static int open_icmp(struct ping_socket *ping)
{
	int protocol = ping->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	ping->fd = socket(ping->family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	ping->is_raw = ping->fd >= 0;
	if (ping->fd < 0 && (errno == EPERM || errno == EACCES))
		ping->fd =
			socket(ping->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
	if (ping->fd < 0)
		return errno == EACCES ? -EPERM : -errno;
	return ping->is_raw ? set_filter(ping) : 0;
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct ping_socket *socket = context;

	(void)fd;
	(void)what;
	ping_engine_readable(socket->engine);
}

void ping_socket_init(struct ping_socket *socket, enum ping_socket_type type, struct engine *engine,
		      struct event_base *base)
{
	*socket = (struct ping_socket){
		.engine = engine,
		.base = base,
		.type = type,
		.family = types[type].family,
		.fd = -1,
	};
}

/* The parts of the headers that never change. */
static struct ping_batch *batch_new(void)
{
	struct ping_batch *batch = xcalloc(1, sizeof(*batch));

	for (unsigned i = 0; i < PING_BATCH; i++) {
		struct outgoing *out = &batch->out[i];

		out->parts[0].iov_base = out->head;
		out->parts[1].iov_base = batch->zeros;
		batch->out_headers[i].msg_hdr.msg_iov = out->parts;
	}
	for (unsigned i = 0; i < INBOX; i++) {
		struct incoming *in = &batch->in[i];
		struct msghdr *header = &batch->in_headers[i].msg_hdr;

		in->part = (struct iovec){in->packet, sizeof(in->packet)};
		header->msg_name = &in->address;
		header->msg_iov = &in->part;
		header->msg_iovlen = 1;
		header->msg_control = in->control.bytes;
	}
	return batch;
}

int ping_socket_open(struct ping_socket *socket)
{
	int r;

	if (socket->fd >= 0)
		return 0;
	r = open_icmp(socket);
	if (r == 0)
		r = set_options(socket);
	if (r == 0)
		r = choose_id(socket);
	if (r < 0) {
		close_fd(&socket->fd);
		socket->fd = -1;
		return r;
	}
	socket->buffer = enlarge(socket->fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER_WISH);
	(void)enlarge(socket->fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BUFFER_WISH);
	socket->batch = batch_new();
	socket->readable =
		event_new(socket->base, socket->fd, EV_READ | EV_PERSIST, on_readable, socket);
	if (!socket->readable)
		abort();
	return 0;
}

void ping_socket_close(struct ping_socket *socket)
{
	if (socket->fd < 0)
		return;
	assert(socket->batch->count == 0);
	event_free(socket->readable);
	(void)close(socket->fd);
	free(socket->batch);
	ping_socket_init(socket, socket->type, socket->engine, socket->base);
}

void ping_socket_watch(struct ping_socket *socket, bool is_watched)
{
	if (socket->is_watched == is_watched)
		return;
	if ((is_watched ? event_add(socket->readable, NULL) : event_del(socket->readable)) < 0)
		abort();
	socket->is_watched = is_watched;
}

size_t ping_socket_charge(int64_t payload_size)
{
	return 832 + 2 * (size_t)payload_size;
}

/* --- Sending --- */

static void add_control(struct msghdr *header, int level, int type, const void *data, size_t size)
{
	unsigned char *end = (unsigned char *)header->msg_control + header->msg_controllen;
	struct cmsghdr *control = (struct cmsghdr *)(void *)end;

	assert(header->msg_controllen + CMSG_SPACE(size) <= CONTROL_SIZE);
	control->cmsg_level = level;
	control->cmsg_type = type;
	control->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(control), data, size);
	header->msg_controllen += CMSG_SPACE(size);
}

/* What this target wants and the socket does not do by itself. */
static void add_controls(struct msghdr *header, const struct ping_task *task)
{
	bool is_v4 = task->address.any.sa_family == AF_INET;
	int ttl = (int)task->options->ttl;

	if (ttl != PING_TTL_DEFAULT)
		add_control(header, is_v4 ? IPPROTO_IP : IPPROTO_IPV6,
			    is_v4 ? IP_TTL : IPV6_HOPLIMIT, &ttl, sizeof(ttl));
	if (task->source.any.sa_family == AF_UNSPEC && task->source_interface == 0)
		return;
	if (is_v4) {
		struct in_pktinfo info = {
			.ipi_ifindex = (int)task->source_interface,
			.ipi_spec_dst = task->source.v4.sin_addr,
		};

		add_control(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else {
		struct in6_pktinfo info = {
			.ipi6_ifindex = task->source_interface,
			.ipi6_addr = task->source.v6.sin6_addr,
		};

		add_control(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

void ping_socket_add(struct ping_socket *socket, struct ping_request *request)
{
	struct ping_batch *batch = socket->batch;
	struct ping_task *task = request->task;
	struct echo echo = {.id = socket->id, .sequence = request->sequence};
	size_t payload_size = (size_t)task->options->size;
	struct outgoing *out = &batch->out[batch->count];
	struct msghdr *header = &batch->out_headers[batch->count].msg_hdr;

	assert(!ping_socket_is_full(socket));
	batch->count++;
	memcpy(echo.cookie, request->cookie, sizeof(echo.cookie));
	out->request = request;
	out->parts[0].iov_len = echo_build(socket->family, &echo, payload_size, out->head);
	out->parts[1].iov_len = ECHO_HEADER_SIZE + payload_size - out->parts[0].iov_len;
	header->msg_iovlen = out->parts[1].iov_len > 0 ? 2 : 1;
	header->msg_name = &task->address;
	header->msg_namelen =
		socket->family == AF_INET ? sizeof(task->address.v4) : sizeof(task->address.v6);
	header->msg_control = out->control.bytes;
	header->msg_controllen = 0;
	add_controls(header, task);
	if (header->msg_controllen == 0)
		header->msg_control = NULL;
}

bool ping_socket_is_full(const struct ping_socket *socket)
{
	return socket->batch->count == PING_BATCH;
}

/*
 * Sends what it can from number first on; how many, or a negative errno of the first. The packets
 * of a batch leave one after the other, so each gets its share of the time that the call took.
 */
static int send_some(struct ping_socket *socket, unsigned first)
{
	struct ping_batch *batch = socket->batch;
	int64_t before = clock_ns(CLOCK_MONOTONIC), after;
	int sent = sendmmsg(socket->fd, batch->out_headers + first, batch->count - first,
			    MSG_DONTWAIT);

	if (sent < 0)
		return -errno;
	after = clock_ns(CLOCK_MONOTONIC);
	for (int i = 0; i < sent; i++)
		request_sent(socket->engine, batch->out[first + (unsigned)i].request,
			     before + (after - before) * i / sent);
	return sent;
}

static void refuse(struct ping_socket *socket, unsigned number, int error)
{
	struct ping_trouble trouble = {
		.error = error,
		.origin = SO_EE_ORIGIN_LOCAL,
		.mtu = error == EMSGSIZE ? socket->route_mtu : 0,
	};

	request_unsent(socket->engine, socket->batch->out[number].request, &trouble);
}

static unsigned read_errors(struct ping_socket *socket);

void ping_socket_flush(struct ping_socket *socket)
{
	struct ping_batch *batch = socket->batch;
	unsigned failures = 0;

	for (unsigned next = 0; next < batch->count;) {
		int r = send_some(socket, next);

		if (r > 0) {
			next += (unsigned)r;
			failures = 0;
		} else if (r == -EAGAIN) {
			/* No room for anybody */
			socket->paused_until_us = now_monotonic_us() + PAUSE_US;
			while (next < batch->count)
				refuse(socket, next++, EAGAIN);
		} else if ((read_errors(socket) > 0 || failures == 0) && failures < FAILURES_MAX) {
			failures++; /* perhaps another's */
		} else {
			refuse(socket, next++, -r);
			failures = 0;
		}
	}
	batch->count = 0;
}

/* --- Reading --- */

/* Ancillary data of a packet, as far as it was there. */
struct extras {
	struct timespec stamp; /* wall clock; zeros: none */
	int ttl;               /* -1: none */
	bool has_dropped;
	uint32_t dropped;
	struct sock_extended_err error; /* ee_errno 0: none */
	union ping_address offender;
};

static bool is_error(const struct cmsghdr *control)
{
	return (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_RECVERR) ||
	       (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_RECVERR);
}

static bool is_ttl(const struct cmsghdr *control)
{
	return (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TTL) ||
	       (control->cmsg_level == IPPROTO_IPV6 && control->cmsg_type == IPV6_HOPLIMIT);
}

/* sock_extended_err, and behind it (SO_EE_OFFENDER) the address of who said so. */
static void take_error(const struct cmsghdr *control, struct extras *extras)
{
	size_t size = control->cmsg_len - CMSG_LEN(0);
	size_t rest = size - sizeof(extras->error);

	if (size < sizeof(extras->error))
		return;
	memcpy(&extras->error, CMSG_DATA(control), sizeof(extras->error));
	memcpy(&extras->offender, CMSG_DATA(control) + sizeof(extras->error),
	       rest < sizeof(extras->offender) ? rest : sizeof(extras->offender));
}

static void take_extras(struct msghdr *header, struct extras *ret_extras)
{
	*ret_extras = (struct extras){.ttl = -1};
	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control;
	     control = CMSG_NXTHDR(header, control)) {
		bool is_socket = control->cmsg_level == SOL_SOCKET;

		if (is_socket && control->cmsg_type == SCM_TIMESTAMPNS) {
			memcpy(&ret_extras->stamp, CMSG_DATA(control), sizeof(ret_extras->stamp));
		} else if (is_socket && control->cmsg_type == SO_RXQ_OVFL) {
			ret_extras->has_dropped = true;
			memcpy(&ret_extras->dropped, CMSG_DATA(control),
			       sizeof(ret_extras->dropped));
		} else if (is_ttl(control)) {
			memcpy(&ret_extras->ttl, CMSG_DATA(control), sizeof(ret_extras->ttl));
		} else if (is_error(control)) {
			take_error(control, ret_extras);
		}
	}
}

/* How many packets came, or a negative errno. */
static int receive(struct ping_socket *socket, int flags)
{
	struct ping_batch *batch = socket->batch;
	int count;

	for (unsigned i = 0; i < INBOX; i++) {
		batch->in_headers[i].msg_hdr.msg_namelen = sizeof(batch->in[i].address);
		batch->in_headers[i].msg_hdr.msg_controllen = CONTROL_SIZE;
	}
	count = recvmmsg(socket->fd, batch->in_headers, INBOX, flags | MSG_DONTWAIT, NULL);
	return count < 0 ? -errno : count;
}

static size_t kept(const struct mmsghdr *header)
{
	return header->msg_len < PACKET_KEPT ? header->msg_len : PACKET_KEPT;
}

static void take_failure(struct ping_socket *socket, struct incoming *in, struct mmsghdr *header,
			 unsigned *count)
{
	struct ping_trouble trouble;
	struct extras extras;
	struct echo quote;

	take_extras(&header->msg_hdr, &extras);
	trouble = (struct ping_trouble){
		.error = (int)extras.error.ee_errno,
		.origin = extras.error.ee_origin,
		.type = extras.error.ee_type,
		.code = extras.error.ee_code,
		.mtu = extras.error.ee_errno == EMSGSIZE ? extras.error.ee_info : 0,
		.offender = extras.offender,
	};
	if (trouble.origin == SO_EE_ORIGIN_LOCAL) {
		/* Comes beside the failed send, without the packet. */
		socket->route_mtu = trouble.mtu;
	} else if (trouble.error != 0) {
		(*count)++;
		if (echo_parse_quote(socket->family, in->packet, kept(header), &quote) &&
		    quote.id == socket->id)
			request_failed(socket, &quote, &in->address, &trouble);
	}
}

/* Empties the error queue; how many hosts' errors were in it. */
static unsigned read_errors(struct ping_socket *socket)
{
	unsigned count = 0;
	int received;

	do {
		received = receive(socket, MSG_ERRQUEUE);
		for (int i = 0; i < received; i++)
			take_failure(socket, &socket->batch->in[i], &socket->batch->in_headers[i],
				     &count);
	} while (received == INBOX);
	return count;
}

/*
 * Replies for which there was no room look like lost ones. Fewer at a time are asked for from now
 * on.
 */
static void note_drops(struct ping_socket *socket, uint32_t dropped)
{
	if (dropped == socket->dropped)
		return;
	socket->dropped = dropped;
	if (socket->buffer > BUFFER_MIN)
		socket->buffer /= 2;
	log_warning("ping: the receive buffer was full, %u replies so far are lost and count as "
		    "not sent back; raise net.core.rmem_max or give jobd CAP_NET_ADMIN",
		    dropped);
}

static void take_reply(struct ping_socket *socket, struct incoming *in, struct mmsghdr *header,
		       int64_t now_ns, int64_t wall_to_monotonic_ns)
{
	struct ping_arrival arrival = {
		.from = in->address, .received_ns = now_ns, .read_ns = now_ns};
	struct extras extras;
	struct echo echo;

	take_extras(&header->msg_hdr, &extras);
	if (extras.has_dropped)
		note_drops(socket, extras.dropped);
	if (!echo_parse_reply(socket->family, socket->is_raw && socket->family == AF_INET,
			      in->packet, kept(header), &echo) ||
	    echo.id != socket->id)
		return;
	arrival.ttl = extras.ttl;
	if (extras.stamp.tv_sec != 0)
		arrival.received_ns = extras.stamp.tv_sec * INT64_C(1000000000) +
				      extras.stamp.tv_nsec + wall_to_monotonic_ns;
	request_replied(socket, &echo, &arrival);
}

bool ping_socket_read(struct ping_socket *socket)
{
	for (unsigned i = 0; i < READS_MAX; i++) {
		int64_t now_ns, wall_to_monotonic_ns;
		int received;

		(void)read_errors(socket);
		received = receive(socket, 0);
		if (received == -EAGAIN)
			return true;
		now_ns = clock_ns(CLOCK_MONOTONIC);
		wall_to_monotonic_ns = now_ns - clock_ns(CLOCK_REALTIME);
		/* Any other error is a pending one, whose details the error queue gives. */
		for (int n = 0; n < received; n++)
			take_reply(socket, &socket->batch->in[n], &socket->batch->in_headers[n],
				   now_ns, wall_to_monotonic_ns);
		if (received >= 0 && received < INBOX)
			return true;
	}
	return false;
}
