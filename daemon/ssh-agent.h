/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The user's key agent. libssh's calls to an agent block, and an agent may wait for a person's
 * confirmation; so one thread of its own makes them. A visit lends it the session, one visit at a
 * time, and gets it back with the answer; meanwhile the loop does not touch the session.
 */
#pragma once

struct engine;
struct key_agent;
struct visit;

enum { AGENT_NO_ANSWER = -2 }; /* beside enum ssh_auth_e */

/* socket: its path. The thread starts when it is first needed. */
struct key_agent *key_agent_new(struct engine *engine, const char *socket);
/* Waits for the thread; every visit must be gone. NULL is fine. */
void key_agent_free(struct key_agent *agent);
/*
 * Lends the session (visit->is_lent). Once it is back, the visit is advanced, with what
 * ssh_userauth_agent returned in visit->agent_answer. SSH_AUTH_AGAIN is told by no answer: the
 * socket is watched again, and whoever is then advanced lends once more.
 */
void key_agent_lend(struct key_agent *agent, struct visit *visit);
/* The visit ends while its session is lent: the agent takes over the session for good. */
void key_agent_abandon(struct key_agent *agent, struct visit *visit);
