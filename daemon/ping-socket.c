/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One socket for all targets of a family, since two sockets that see each other's replies cost
 * twice. What a target wants of its own (TTL, source) travels with each packet as ancillary data;
 * only "do not fragment" is a property of a socket, hence the second one, open while somebody needs
 * it.
 *
 * Raw sockets are tried first, since the system's default lets nobody have datagram ones (icmp(7),
 * net.ipv4.ping_group_range), which need no privilege otherwise; both cost the same. A filter lets
 * only echo replies through, or each of our own requests to this machine would come back as well.
 * Errors come on both by the error queue (IP_RECVERR, ip(7)), with the quoted request taken apart
 * by the kernel. It also makes a full neighbour table an error, ENOBUFS, where packets would
 * otherwise vanish without a word.
 */
#include "daemon/ping-batch.h"

#include "common/util.h"

#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/icmp.h>
#include <netinet/icmp6.h>
#include <sys/random.h>

enum {
	/* The kernel doubles both. Memory is only taken by what waits. */
	RECEIVE_BUFFER_WISH = 32 << 20, /* room for 65,536 replies */
	SEND_BUFFER_WISH = 4 << 20,     /* what waits for ARP stays in it for 3 s */
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
	{AF_INET, IPPROTO_IP, IP_TTL, PING_TTL_DEFAULT},
	{AF_INET6, IPPROTO_IPV6, IPV6_RECVERR, 1},
	{AF_INET6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
	{AF_INET6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, PING_TTL_DEFAULT},
};

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
	if (socket->family == AF_INET) {
		r = set_option(socket->fd, IPPROTO_IP, IP_RECVTTL, !socket->has_ip_header);
		return r < 0 ? r
			     : set_option(socket->fd, IPPROTO_IP, IP_MTU_DISCOVER,
					  types[socket->type].mtu_discover);
	}
	r = set_option(socket->fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
		       types[socket->type].mtu_discover);
	return r < 0 ? r
		     : set_option(socket->fd, IPPROTO_IPV6, IPV6_DONTFRAG,
				  types[socket->type].is_whole);
}

/* Only echo replies, and of them (X: where ICMP begins) those with our id: others would take the
 * room that the window counts on. Errors come by the error queue, which no filter concerns. */
static int set_filter(const struct ping_socket *socket)
{
	struct sock_filter is_ours[] = {
		socket->family == AF_INET
			? (struct sock_filter)BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0)
			: (struct sock_filter)BPF_STMT(BPF_LDX | BPF_IMM, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, socket->id, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = {ARRAY_SIZE(is_ours), is_ours};
	struct icmp_filter v4 = {.data = ~(UINT32_C(1) << ICMP_ECHOREPLY)};
	struct icmp6_filter v6;

	if (setsockopt(socket->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		return -errno;
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
	return granted > PING_BUFFER_MIN ? (size_t)granted : PING_BUFFER_MIN;
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
	ping->has_ip_header = ping->is_raw && ping->family == AF_INET;
	return 0;
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

	for (unsigned i = 0; i < BATCH; i++) {
		struct outgoing *out = &batch->out[i];

		out->parts[0].iov_base = out->packet;
		out->parts[1].iov_base = batch->zeros;
		batch->out_headers[i].msg_hdr.msg_iov = out->parts;
	}
	for (unsigned i = 0; i < INBOX; i++) {
		struct incoming *in = &batch->in[i];
		struct msghdr *header = &batch->in_headers[i].msg_hdr;

		in->part = (struct iovec){in->packet, sizeof(in->packet)};
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
	if (r == 0 && socket->is_raw)
		r = set_filter(socket);
	if (r < 0) {
		close_fd(&socket->fd);
		socket->fd = -1;
		return r;
	}
	socket->granted = socket->buffer =
		enlarge(socket->fd, SO_RCVBUFFORCE, SO_RCVBUF, RECEIVE_BUFFER_WISH);
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
