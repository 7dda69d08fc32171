/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes are read and written one by one: packets are not aligned, and nothing here depends on how a
 * compiler lays out a struct. Checksums of replies are not looked at: packets come cut off behind
 * the cookie, and eight secret bytes that came back whole say more than the checksum does.
 */
#include "daemon/ping-packet.h"

#include <assert.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>

/* RFC 791 3.1 */
enum { IPV4_HEADER_MIN = 20, IPV4_TTL = 8, IPV4_PROTOCOL = 9, IPV4_SOURCE = 12 };

static void put_u16(unsigned char *bytes, unsigned value)
{
	bytes[0] = (unsigned char)(value >> 8);
	bytes[1] = (unsigned char)value;
}

static uint16_t get_u16(const unsigned char *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* RFC 1071. Zeros behind the end change nothing, so the head alone is enough. */
static unsigned checksum(const unsigned char *bytes, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

size_t echo_build(int family, const struct echo *echo, size_t payload_size,
		  unsigned char ret_head[static ECHO_HEAD_SIZE])
{
	size_t cookie_size = payload_size < ECHO_COOKIE_SIZE ? payload_size : ECHO_COOKIE_SIZE;
	size_t size = ECHO_HEADER_SIZE + cookie_size;

	assert(family == AF_INET || family == AF_INET6);
	memset(ret_head, 0, ECHO_HEADER_SIZE);
	ret_head[0] = family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	put_u16(ret_head + 4, echo->id);
	put_u16(ret_head + 6, echo->sequence);
	memcpy(ret_head + ECHO_HEADER_SIZE, echo->cookie, cookie_size);
	if (family == AF_INET)
		put_u16(ret_head + 2, checksum(ret_head, size));
	return size;
}

/* An ICMP header of this type with code 0, and what is there of a cookie. */
static bool parse_echo(const unsigned char *bytes, size_t size, int type, struct echo *ret_echo)
{
	struct echo echo = {0};

	if (size < ECHO_HEADER_SIZE || bytes[0] != type || bytes[1] != 0)
		return false;
	echo.id = get_u16(bytes + 4);
	echo.sequence = get_u16(bytes + 6);
	echo.cookie_size = size - ECHO_HEADER_SIZE;
	if (echo.cookie_size > ECHO_COOKIE_SIZE)
		echo.cookie_size = ECHO_COOKIE_SIZE;
	memcpy(echo.cookie, bytes + ECHO_HEADER_SIZE, echo.cookie_size);
	*ret_echo = echo;
	return true;
}

/* The size of an IPv4 header with its options, or 0 where it is none with ICMP behind it. */
static size_t ipv4_header_size(const unsigned char *bytes, size_t size)
{
	size_t header_size;

	if (size < IPV4_HEADER_MIN || bytes[0] >> 4 != 4 || bytes[IPV4_PROTOCOL] != IPPROTO_ICMP)
		return 0;
	header_size = (size_t)(bytes[0] & 0x0f) * 4;
	return header_size >= IPV4_HEADER_MIN && header_size <= size ? header_size : 0;
}

bool echo_parse_reply(int family, bool has_ip_header, const void *packet, size_t size,
		      struct echo *ret_echo)
{
	const unsigned char *bytes = packet;
	size_t skip = 0;

	if (has_ip_header) {
		skip = ipv4_header_size(bytes, size);
		if (skip == 0)
			return false;
	}
	return parse_echo(bytes + skip, size - skip,
			  family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY, ret_echo);
}

void echo_ip_header(const void *packet, struct in_addr *ret_from, int *ret_ttl)
{
	const unsigned char *bytes = packet;

	memcpy(ret_from, bytes + IPV4_SOURCE, sizeof(*ret_from));
	*ret_ttl = bytes[IPV4_TTL];
}

bool echo_parse_quote(int family, const void *packet, size_t size, struct echo *ret_echo)
{
	return parse_echo(packet, size, family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST,
			  ret_echo);
}
