/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whatever the network sends: clang -fsanitize=fuzzer,address tests/fuzz/fuzz-ping-packet.c
 * daemon/ping-packet.c. The first byte chooses how the rest is read. What is taken for an echo must
 * be the same after it was built and read again.
 */
#include "daemon/ping-packet.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char head[ECHO_HEAD_SIZE];
	struct echo echo, again;
	int family;
	bool is_echo;

	if (size == 0)
		return 0;
	family = data[0] & 1 ? AF_INET : AF_INET6;
	is_echo = data[0] & 2 ? echo_parse_quote(family, data + 1, size - 1, &echo)
			      : echo_parse_reply(family, family == AF_INET && data[0] & 4, data + 1,
						 size - 1, &echo);
	if (!is_echo)
		return 0;
	assert(echo.cookie_size <= ECHO_COOKIE_SIZE);
	size = echo_build(family, &echo, echo.cookie_size, head);
	assert(echo_parse_quote(family, head, size, &again));
	assert(again.id == echo.id && again.sequence == echo.sequence);
	assert(again.cookie_size == echo.cookie_size);
	assert(memcmp(again.cookie, echo.cookie, echo.cookie_size) == 0);
	return 0;
}
