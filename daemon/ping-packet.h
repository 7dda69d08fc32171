/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ICMP echo requests and replies (RFC 792, RFC 4443) as bytes; no I/O. Any thread. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ECHO_HEADER_SIZE = 8,
	ECHO_COOKIE_SIZE = 8,
	ECHO_HEAD_SIZE = ECHO_HEADER_SIZE + ECHO_COOKIE_SIZE,
};

/*
 * What tells echo requests apart, in host order. The cookie is the beginning of the payload, the
 * rest is zeros; a payload shorter than a cookie carries what fits of it.
 */
struct echo {
	uint16_t id;
	uint16_t sequence;
	unsigned char cookie[ECHO_COOKIE_SIZE];
	size_t cookie_size; /* bytes of it that were in a packet; not used to build one */
};

/*
 * The first bytes of a request, all but the zeros; returns how many. payload_size: with the cookie.
 * The checksum of IPv6 is the kernel's (RFC 3542 3.1).
 */
size_t echo_build(int family, const struct echo *echo, size_t payload_size,
		  unsigned char ret_head[static ECHO_HEAD_SIZE]);
/*
 * An echo reply as a socket gives it; it may be cut off behind the cookie. has_ip_header: from a
 * raw IPv4 socket. False where it is anything else.
 */
bool echo_parse_reply(int family, bool has_ip_header, const void *packet, size_t size,
		      struct echo *ret_echo);
/* Who sent such a reply, of which echo_parse_reply said true, and its TTL: from the IP header. */
void echo_ip_header(const void *packet, struct in_addr *ret_from, int *ret_ttl);
/* The request that an ICMP error quotes, from its ICMP header on; the cookie is often cut off. */
bool echo_parse_quote(int family, const void *packet, size_t size, struct echo *ret_echo);
