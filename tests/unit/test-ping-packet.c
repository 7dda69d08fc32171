/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Echo packets as bytes; the checksums and layouts are those of RFC 792, RFC 1071 and RFC 4443. */
#include "daemon/ping-packet.h"

#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static const struct echo example = {
	.id = 0x1234,
	.sequence = 0xfffe,
	.cookie = {1, 2, 3, 4, 5, 6, 7, 8},
};

static void test_build_ipv4(void **state)
{
	static const unsigned char expected[ECHO_HEAD_SIZE] = {
		8, 0, 0xd5, 0xb8, 0x12, 0x34, 0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8,
	};
	unsigned char head[ECHO_HEAD_SIZE];

	(void)state;
	assert_int_equal(echo_build(AF_INET, &example, 56, head), ECHO_HEAD_SIZE);
	assert_memory_equal(head, expected, sizeof(expected));
}

/* The sum over a packet with its own checksum is all ones. */
static void test_checksum_of_every_size(void **state)
{
	(void)state;
	for (size_t payload = 0; payload <= ECHO_COOKIE_SIZE; payload++) {
		unsigned char head[ECHO_HEAD_SIZE + 1] = {0};
		size_t size = echo_build(AF_INET, &example, payload, head);
		uint32_t sum = 0;

		assert_int_equal(size, ECHO_HEADER_SIZE + payload);
		for (size_t i = 0; i < size; i += 2)
			sum += (uint32_t)head[i] << 8 | (i + 1 < size ? head[i + 1] : 0U);
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		assert_int_equal(sum, 0xffff);
	}
}

static void test_build_ipv6(void **state)
{
	unsigned char head[ECHO_HEAD_SIZE];

	(void)state;
	assert_int_equal(echo_build(AF_INET6, &example, 3, head), ECHO_HEADER_SIZE + 3);
	assert_int_equal(head[0], ICMP6_ECHO_REQUEST);
	assert_int_equal(head[2] | head[3], 0); /* the kernel's */
}

/* A request turned into its reply, behind an IPv4 header of header_size bytes if that is not 0. */
static size_t make_reply(int family, size_t header_size, unsigned char packet[static 128])
{
	memset(packet, 0, 128);
	if (header_size > 0) {
		packet[0] = (unsigned char)(0x40 | header_size / 4);
		packet[9] = IPPROTO_ICMP;
	}
	(void)echo_build(family, &example, 56, packet + header_size);
	packet[header_size] = family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
	return header_size + ECHO_HEADER_SIZE + 56;
}

static void assert_example(const struct echo *echo, size_t cookie_size)
{
	assert_int_equal(echo->id, example.id);
	assert_int_equal(echo->sequence, example.sequence);
	assert_int_equal(echo->cookie_size, cookie_size);
	assert_memory_equal(echo->cookie, example.cookie, cookie_size);
}

static void test_parse_replies(void **state)
{
	static const struct {
		int family;
		size_t header_size;
	} rows[] = {{AF_INET, 0}, {AF_INET, 20}, {AF_INET, 24}, {AF_INET, 60}, {AF_INET6, 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned char packet[128];
		size_t size = make_reply(rows[i].family, rows[i].header_size, packet);
		size_t head = rows[i].header_size + ECHO_HEADER_SIZE;
		struct echo echo;

		for (size_t cut = 0; cut <= size; cut++) {
			bool is_whole = cut >= head;
			size_t cookie_size = !is_whole                       ? 0
					     : cut - head > ECHO_COOKIE_SIZE ? ECHO_COOKIE_SIZE
									     : cut - head;

			assert_int_equal(echo_parse_reply(rows[i].family, rows[i].header_size > 0,
							  packet, cut, &echo),
					 is_whole);
			if (is_whole)
				assert_example(&echo, cookie_size);
		}
	}
}

static void test_sender_and_ttl(void **state)
{
	unsigned char packet[128];
	struct in_addr from;
	int ttl;

	(void)state;
	(void)make_reply(AF_INET, 24, packet);
	packet[8] = 250;
	memcpy(packet + 12, "\xc0\x00\x02\x01", 4);
	echo_ip_header(packet, &from, &ttl);
	assert_int_equal(ntohl(from.s_addr), 0xc0000201);
	assert_int_equal(ttl, 250);
}

static void test_refuses_what_is_no_reply(void **state)
{
	static const struct {
		size_t at;
		unsigned char value;
	} changes[] = {
		{0, 0x65},                /* IP version 6 */
		{0, 0x44},                /* an IPv4 header of 16 bytes */
		{0, 0x4f},                /* of 60, which are not there */
		{9, IPPROTO_UDP},         /* no ICMP */
		{20, ICMP_ECHO},          /* a request */
		{20, ICMP_TIME_EXCEEDED}, /* an error */
		{21, 1},                  /* code */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		unsigned char packet[128];
		struct echo echo;

		(void)make_reply(AF_INET, 20, packet);
		assert_true(echo_parse_reply(AF_INET, true, packet, 40, &echo));
		packet[changes[i].at] = changes[i].value;
		assert_false(echo_parse_reply(AF_INET, true, packet, 40, &echo));
	}
}

static void test_parse_quotes(void **state)
{
	static const int families[] = {AF_INET, AF_INET6};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		unsigned char head[ECHO_HEAD_SIZE];
		struct echo echo;

		(void)echo_build(families[i], &example, 56, head);
		assert_true(echo_parse_quote(families[i], head, sizeof(head), &echo));
		assert_example(&echo, ECHO_COOKIE_SIZE);
		/* Routers need not quote more than the header (RFC 792). */
		assert_true(echo_parse_quote(families[i], head, ECHO_HEADER_SIZE, &echo));
		assert_example(&echo, 0);
		assert_false(echo_parse_quote(families[i], head, ECHO_HEADER_SIZE - 1, &echo));
		assert_false(echo_parse_reply(families[i], false, head, sizeof(head), &echo));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_build_ipv4),
		cmocka_unit_test(test_checksum_of_every_size),
		cmocka_unit_test(test_build_ipv6),
		cmocka_unit_test(test_parse_replies),
		cmocka_unit_test(test_sender_and_ttl),
		cmocka_unit_test(test_refuses_what_is_no_reply),
		cmocka_unit_test(test_parse_quotes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
