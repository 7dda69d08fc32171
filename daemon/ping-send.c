/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ICMP error about one host is also a pending error of the socket, and the next send, to an
 * innocent host, fails with it, once. So a failed send is tried again after the error queue was
 * emptied, and only what fails then as well is that packet's own failure.
 */
#include "daemon/ping-batch.h"
#include "daemon/ping-engine.h"

#include "common/util.h"

#include <assert.h>
#include <errno.h>
#include <linux/errqueue.h>

enum {
	FAILURES_MAX = 8, /* of one send, that may be others' errors */
	PAUSE_US = 5000,
};

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
static void add_controls(struct msghdr *header, const struct ping_request *request, bool is_v4)
{
	const struct ping_options *options = request->span->options;
	const struct ping_task *task = request->is_flat ? NULL : request->task;
	int ttl = (int)options->ttl, tos = (int)options->tos;
	uint32_t mark = (uint32_t)options->mark;

	if (ttl != PING_TTL_DEFAULT)
		add_control(header, is_v4 ? IPPROTO_IP : IPPROTO_IPV6,
			    is_v4 ? IP_TTL : IPV6_HOPLIMIT, &ttl, sizeof(ttl));
	if (tos != 0)
		add_control(header, is_v4 ? IPPROTO_IP : IPPROTO_IPV6, is_v4 ? IP_TOS : IPV6_TCLASS,
			    &tos, sizeof(tos));
	if (mark != 0)
		add_control(header, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	if (!task || !options->source)
		return;
	if (is_v4) {
		struct in_pktinfo info = {
			.ipi_ifindex = (int)task->source_interface,
			.ipi_spec_dst = options->source_address.v4.sin_addr,
		};

		add_control(header, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	} else {
		struct in6_pktinfo info = {
			.ipi6_ifindex = task->source_interface,
			.ipi6_addr = options->source_address.v6.sin6_addr,
		};

		add_control(header, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
}

void ping_socket_add(struct ping_socket *socket, struct ping_request *request)
{
	struct ping_batch *batch = socket->batch;
	struct echo echo = {.id = socket->id, .sequence = ping_request_number(request)};
	size_t payload_size = (size_t)request->span->options->size;
	size_t size = ECHO_HEADER_SIZE + payload_size;
	struct outgoing *out = &batch->out[batch->count];
	struct msghdr *header = &batch->out_headers[batch->count].msg_hdr;

	assert(!ping_socket_is_full(socket));
	batch->count++;
	memcpy(echo.cookie, request->cookie, sizeof(echo.cookie));
	out->request = request;
	(void)echo_build(socket->family, &echo, payload_size, out->packet);
	out->parts[0].iov_len = size < PACKET_SMALL ? size : PACKET_SMALL;
	out->parts[1].iov_len = size - out->parts[0].iov_len;
	header->msg_iovlen = out->parts[1].iov_len > 0 ? 2 : 1;
	ping_request_address(request, &out->to);
	header->msg_name = &out->to;
	header->msg_namelen = socket->family == AF_INET ? sizeof(out->to.v4) : sizeof(out->to.v6);
	header->msg_control = out->control.bytes;
	header->msg_controllen = 0;
	add_controls(header, request, socket->family == AF_INET);
	if (header->msg_controllen == 0)
		header->msg_control = NULL;
}

bool ping_socket_is_empty(const struct ping_socket *socket)
{
	return socket->fd < 0 || socket->batch->count == 0;
}

bool ping_socket_is_full(const struct ping_socket *socket)
{
	return socket->batch->count == BATCH;
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
		request_sent(batch->out[first + (unsigned)i].request,
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

	request_unsent(socket->batch->out[number].request, &trouble);
}

void ping_socket_flush(struct ping_socket *socket)
{
	struct ping_batch *batch = socket->batch;
	unsigned failures = 0;

	socket->began_sending_ns = clock_ns(CLOCK_MONOTONIC);
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
		} else if ((ping_socket_read_errors(socket) > 0 || failures == 0) &&
			   failures < FAILURES_MAX) {
			failures++; /* perhaps another's */
		} else {
			refuse(socket, next++, -r);
			failures = 0;
		}
	}
	batch->count = 0;
}
