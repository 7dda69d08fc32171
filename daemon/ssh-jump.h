/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hosts through which others are reached (ssh's ProxyJump): one session for all visits that go the
 * same way as the same user. It is a visit itself, without a command: what it carries are channels
 * of type direct-tcpip (RFC 4254, 7.2), each joined to a pair of sockets whose other end is the
 * connection of the visit behind it. Several hops are jumps that go through jumps.
 */
#pragma once

#include "common/states.h"

#include <stdbool.h>

struct engine;
struct jump;
struct outcome;
struct tunnel;
struct visit;

/* A way to the visit's host through the jump that its settings name; which is begun where it is
 * not there. The visit is woken when it goes on. */
struct tunnel *tunnel_new(struct visit *visit);
/* The visit's connection is closed already. NULL is fine. */
void tunnel_free(struct tunnel *tunnel);
enum tunnel_state {
	TUNNEL_WAITING, /* for the jump */
	TUNNEL_OPENING, /* for the host behind it */
	TUNNEL_OPEN,
	TUNNEL_FAILED,
};
enum tunnel_state tunnel_state(const struct tunnel *tunnel);
/* Once, of one that is open: the connection, which is the caller's from now on. */
int tunnel_take_fd(struct tunnel *tunnel);
/* What comes back is held until here. */
void tunnel_flow(struct tunnel *tunnel);
/* Of one that failed, also while it carried: a sentence; NULL where it has not. */
const char *tunnel_why(const struct tunnel *tunnel, enum error_class *ret_class,
		       bool *ret_is_transient);

/* --- The jump's own visit --- */

/* Of hosts between jobd and this one: "a,b", or NULL */
const char *jump_before(const struct jump *jump);
/* The visit is about to end; its session is still there. */
void jump_ended(struct jump *jump, const struct outcome *outcome);
/* All of an engine that is about to go. */
void engine_done_jumps(struct engine *engine);
