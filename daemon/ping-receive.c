/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The time of a reply is the kernel's stamp (wall clock), turned into monotonic time when it is
 * read: it does not matter how long a reply waited for us, nor what the wall clock did in between.
 */
#include "daemon/ping-batch.h"

#include "common/log.h"
#include "common/util.h"

#include <errno.h>
#include <linux/errqueue.h>

enum {
	READS_MAX = 64,           /* of INBOX packets each, before others have their turn */
	BUFFER_STEP_US = 1000000, /* between two changes of what is counted on */
};

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

/*
 * How many packets came, or a negative errno. Where an IP header tells who sent them the kernel is
 * not asked; of an error it tells who was asked.
 */
static int receive(struct ping_socket *socket, int flags)
{
	bool has_address = flags == MSG_ERRQUEUE || !socket->has_ip_header;
	struct ping_batch *batch = socket->batch;
	int count;

	for (unsigned i = 0; i < INBOX; i++) {
		struct msghdr *header = &batch->in_headers[i].msg_hdr;

		header->msg_name = has_address ? &batch->in[i].address : NULL;
		header->msg_namelen = has_address ? sizeof(batch->in[i].address) : 0;
		header->msg_controllen = CONTROL_SIZE;
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

unsigned ping_socket_read_errors(struct ping_socket *socket)
{
	unsigned count = 0;
	int received = INBOX;

	for (unsigned i = 0; received == INBOX && i < READS_MAX; i++) {
		received = receive(socket, MSG_ERRQUEUE);
		for (int n = 0; n < received; n++)
			take_failure(socket, &socket->batch->in[n], &socket->batch->in_headers[n],
				     &count);
	}
	return count;
}

/* Replies for which there was no room look like lost ones: from now on, fewer at a time. */
static void note_drops(struct ping_socket *socket, uint32_t dropped, int64_t now_us)
{
	if (dropped == socket->dropped || now_us - socket->buffer_set_us < BUFFER_STEP_US)
		return;
	socket->dropped = dropped;
	socket->buffer_set_us = now_us;
	if (socket->buffer > PING_BUFFER_MIN)
		socket->buffer /= 2;
	log_warning("ping: there was no room for %u replies so far, which count as lost; raise "
		    "net.core.rmem_max or give jobd CAP_NET_ADMIN",
		    dropped);
}

/* What crowded the buffer may be gone: step by step it is counted on again. */
static void recover_buffer(struct ping_socket *socket)
{
	int64_t now_us;

	if (socket->buffer == socket->granted)
		return;
	now_us = now_monotonic_us();
	if (now_us - socket->buffer_set_us < BUFFER_STEP_US)
		return;
	socket->buffer_set_us = now_us;
	socket->buffer =
		socket->buffer < socket->granted / 2 ? socket->buffer * 2 : socket->granted;
}

static void take_reply(struct ping_socket *socket, struct incoming *in, struct mmsghdr *header,
		       int64_t now_ns, int64_t wall_to_monotonic_ns)
{
	struct ping_arrival arrival = {.received_ns = now_ns, .read_ns = now_ns};
	struct extras extras;
	struct echo echo;

	take_extras(&header->msg_hdr, &extras);
	if (extras.has_dropped)
		note_drops(socket, extras.dropped, now_ns / 1000);
	if (!echo_parse_reply(socket->family, socket->has_ip_header, in->packet, kept(header),
			      &echo) ||
	    echo.id != socket->id)
		return;
	if (socket->has_ip_header) {
		arrival.from.v4.sin_family = AF_INET;
		echo_ip_header(in->packet, &arrival.from.v4.sin_addr, &arrival.ttl);
	} else {
		arrival.from = in->address;
		arrival.ttl = extras.ttl;
	}
	if (extras.stamp.tv_sec != 0)
		arrival.received_ns = extras.stamp.tv_sec * INT64_C(1000000000) +
				      extras.stamp.tv_nsec + wall_to_monotonic_ns;
	request_replied(socket, &echo, &arrival);
}

bool ping_socket_read(struct ping_socket *socket)
{
	recover_buffer(socket);
	for (unsigned i = 0; i < READS_MAX; i++) {
		int64_t now_ns, wall_to_monotonic_ns;
		int received;

		(void)ping_socket_read_errors(socket);
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
