/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A network of its own for the tests of kind ping: the calling process moves into a fresh network
 * namespace, where
 *
 *   127.0.0.0/8       every address answers (the kernel)
 *   127.5.0.0/16      but these are silent: requests are dropped on arrival
 *   10.1.0.0/16       unreachable, by a route of this machine; also 2001:db8:f1::/48
 *   10.2.0.0/16       prohibited, likewise; also 2001:db8:f2::/48
 *   10.3.0.0/16       blackhole, likewise; also 2001:db8:f3::/48
 *   10.4.0.0/16       the firewall of this machine lets nothing out
 *   10.99.0.0/16      no route
 *   192.0.2.0/24      a link to a router, a child process in a namespace of its own; also
 *                     2001:db8::/64. Both .2 and ::2 answer; .77 and ::77 are nobody. Behind it:
 *   198.51.100.0/25   unreachable, by a route of the router; also 2001:db8:1::/48
 *   198.51.100.128/25 prohibited, likewise; also 2001:db8:2::/48
 *   203.0.113.0/24    a silent network with an MTU of 1000
 *   10.6.0.0/16       the router's firewall rejects each packet (routes limit the rate of errors)
 *   10.5.0.0/16       addresses of the router that answer by a program, see enum box_habit
 */
#pragma once

#include <stdbool.h>

/* How the program at 10.5.0.N answers echo requests; N: */
enum box_habit {
	BOX_TWICE = 1,    /* the reply comes twice */
	BOX_OTHER_SOURCE, /* from 10.5.0.200 */
	BOX_WRONG_COOKIE,
	BOX_NO_COOKIE, /* cut off behind the header */
	BOX_WRONG_SEQUENCE,
	BOX_WRONG_ID,
	BOX_LATE,        /* after 300 ms */
	BOX_EVERY_OTHER, /* every second request only */
	BOX_SHORT,       /* the reply has the first 16 bytes of the payload only */
	BOX_SWAPPED,     /* two requests at a time, the second one first */
};

/* 0; or prints why there can be none and returns 77, the exit status of a skipped test. */
int ping_box_enter(void);
/* Which ICMP sockets this process may have from now on; true on success. */
bool ping_box_allow(bool raw, bool datagram);
/* Ends the router. */
void ping_box_leave(void);
