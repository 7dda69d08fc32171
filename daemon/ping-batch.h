/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All that passes through an ICMP socket at a time; for ping-socket, ping-send and ping-receive. */
#pragma once

#include "daemon/ping-socket.h"

#include <sys/uio.h>

enum {
	BATCH = 32,         /* requests sent at a time */
	INBOX = 64,         /* packets read at a time */
	PACKET_SMALL = 128, /* so large a request is sent in one piece */
	PACKET_KEPT = 96,   /* an IPv4 header with options, ICMP header, cookie */
	CONTROL_SIZE = 192, /* stamp, drops, TTL, error with offender */
};

/* Ancillary data. */
union control {
	size_t alignment; /* of struct cmsghdr */
	unsigned char bytes[CONTROL_SIZE];
};

struct outgoing {
	struct ping_request *request;
	union ping_address to;
	struct iovec parts[2];              /* packet, more zeros */
	unsigned char packet[PACKET_SMALL]; /* ECHO_HEAD_SIZE at most, then zeros */
	union control control;
};

struct incoming {
	struct iovec part;
	union ping_address address;
	union control control;
	unsigned char packet[PACKET_KEPT];
};

struct ping_batch {
	unsigned count;
	struct mmsghdr out_headers[BATCH];
	struct outgoing out[BATCH];
	struct mmsghdr in_headers[INBOX];
	struct incoming in[INBOX];
	unsigned char zeros[PING_PAYLOAD_MAX];
};
