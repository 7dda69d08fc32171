/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The options of kind ping, and the map of its files, from the bottom up:
 *
 *   ping-packet   echo requests and replies as bytes; no I/O
 *   ping-socket   the ICMP sockets; ping-send puts batches out, ping-receive takes what comes
 *   ping-stats    round-trip times as a few numbers
 *   ping-result   what a task came to, in JSON and in sentences
 *   ping-watch    what a long ping tells while it runs
 *   ping-request  requests under way, and what became of them
 *   ping-group    a target with several addresses
 *   ping-task     targets that are more than a request: how one begins and ends
 *   ping-span     rows of targets, most of them flat
 *   ping-engine   the turn: whose request goes next, and when to look again
 *   kind-ping     options, and the row of the table of kinds
 */
#pragma once

#include "common/error.h"
#include "common/targets.h"
#include "daemon/fields.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { PING_TTL_DEFAULT = 64, PING_PAYLOAD_MAX = 65507 };

/* An IP address with room for either family; a sockaddr_storage is four times its size. */
union ping_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct ping_options {
	int64_t count; /* 0: until stopped; -1: not given */
	int64_t interval_us, reply_timeout_us;
	int64_t size; /* of the payload */
	int64_t ttl;
	bool is_dont_fragment;
	bool is_all_addresses;
	int family_word; /* place in ping_families; -1: any */
	char *source;
	char *success;
	int64_t max_rtt_us; /* 0: none */
	int64_t max_loss;   /* percent; -1: none */
	int64_t tos;        /* IPv4's type of service, IPv6's traffic class: RFC 2474 */
	int64_t period_us;  /* 0: none */
	bool is_on_change;
	int64_t down_after, up_after; /* outcomes in a row */
	int64_t mark;                 /* of the kernel's routing and firewall; 0: none */
	int64_t rate;                 /* 0: none */
	struct string_map addresses;  /* a host or an address by target */

	/* Derived */
	int64_t requests;                  /* at most; INT64_MAX: until stopped */
	bool is_until_reply;               /* the first good reply ends the task */
	int success_percent;               /* of the requests; 0: one good reply is enough */
	int family;                        /* AF_UNSPEC, AF_INET, AF_INET6 */
	union ping_address source_address; /* AF_UNSPEC: source is an interface, or NULL */
};

/*
 * The host of a target, or the one that the options say in its place: a name or an address, without
 * brackets. 0 or ERROR_INVALID_TARGET, as for user@ and :port, which a ping has not.
 */
int ping_host_of(const struct ping_options *options, const char *target,
		 char ret_host[static TARGET_TEXT_MAX], struct error *ret_error);
/* Why echo requests are never sent to this address ("is a multicast address"), or NULL. */
const char *ping_address_refusal(const union ping_address *address);
