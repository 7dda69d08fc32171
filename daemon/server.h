/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The control socket: connections, Varlink framing and rules (UAPI.20), peer credentials,
 * back-pressure, and replies that are held until the turn's commit. Main thread.
 *
 * A connection runs one call at a time, in order. A call whose method changes something gets its
 * reply held until the commit; further changing calls of the connection may run meanwhile (they
 * share the commit), a reading call waits for it, so that it sees what was asked before. A
 * connection whose peer does not read is not read from either.
 */
#pragma once

#include "common/error.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <unistd.h>

struct config;
struct connection;
struct jobs;
struct json_text;
struct schedules;
struct server;
struct store;

/* What methods work on. */
struct daemon {
	struct event_base *base;
	const struct config *config;
	struct store *store;
	struct jobs *jobs;
	struct schedules *schedules;
	struct server *server;
	unsigned workers;
	int64_t started_us;
	int64_t turn_began_us; /* monotonic; 0: nothing was done in this turn yet */
	bool is_turn_open;     /* somebody has more to ask for, which shares the commit */
	int64_t longest_turn_us;
};

/* May name files for jobd to read: root, and whoever jobd itself is. */
static inline bool user_is_trusted(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/*
 * A call under way. A handler answers it by exactly one call_reply/call_error as the last thing,
 * now or later; with is_more any number of call_continue before. If the peer leaves first, free is
 * called and the call is gone.
 */
struct call {
	struct connection *connection;
	struct daemon *daemon;
	uid_t uid;
	bool is_admin;   /* sees every user's jobs */
	bool is_trusted; /* may name files for jobd to read: root, or the user jobd runs as */
	bool is_more;
	json_t *parameters; /* an object, empty where there was none; as the interface has it */
	/* The handler's own, for calls that take more than one turn; free(state) with the call. */
	void *state;
	void (*free)(void *state);
	/* A piece of a long call: called once a turn, while the peer takes what is written, until
	 * the call is answered. NULL: the handler is woken by something else. */
	void (*step)(struct call *call);
};

/* Ownership of parameters passes; NULL is {}. */
void call_reply(struct call *call, json_t *parameters);
void call_continue(struct call *call, json_t *parameters);
/* The same for parameters that are text. call_text_begin comes first, then the object; what text
 * holds is taken and cleared. */
void call_text_begin(struct json_text *text);
void call_reply_text(struct call *call, struct json_text *text);
void call_continue_text(struct call *call, struct json_text *text);
/* What the connection says from now on waits for the commit of what was queued, as the reply to a
 * change does; if that fails, or fails already, it leaves all the same. */
void call_hold(struct call *call);
/* Takes what error holds and clears it. */
void call_error(struct call *call, struct error *error);
/* Ends it with StorageFailed, while the store takes nothing: store_error. */
void call_storage_failed(struct call *call);
/* The reply to Start and the like: if the commit fails, what is queued of the job or schedule is
 * dropped. id 0: there was one before. */
void call_reply_start(struct call *call, uint64_t id, struct json_text *text);
/* Set step and call this to be stepped from now on (again). */
void call_schedule(struct call *call);
/* State that outlives a call, one for each connection (Receive's reading); freed with it, and by
 * the next one. It is found by how it is freed, which tells whose it is; NULL where there is none.
 */
void connection_set_state(struct connection *connection, void *state, void (*free)(void *state));
void *connection_state(const struct connection *connection, void (*free)(void *state));

/*
 * fd: a listening socket from the service manager, or -1 to bind config->socket (mode 0666 for the
 * system daemon, since peers are told apart by uid; 0600 for a user's). A stale socket file is
 * replaced, one that answers is an error: one line in *ret_sentence.
 */
int server_new(struct daemon *daemon, int fd, struct server **ret_server, char **ret_sentence);
/* No further connections or calls. */
void server_close(struct server *server);
/* Writes out what it can without waiting, closes all connections, unlinks a socket it bound. */
void server_free(struct server *server);
unsigned server_client_count(const struct server *server);

/* After a turn's commit: error NULL: held replies leave; else they become StorageFailed. */
void server_committed(struct server *server, const char *error);
/* Then, when watchers were told what it changed: reading calls that waited for it begin, or in the
 * next turn where they are many. Before that Receive would give what they know behind what they do
 * not. */
void server_resume(struct server *server);
/*
 * After each piece of work for somebody, who may have more: a turn that has lasted long ends, and
 * what has not had its piece yet comes first in the next one.
 */
void turn_worked(struct daemon *daemon, bool has_more);
/* It has lasted long: on to the commit. */
bool turn_is_over(const struct daemon *daemon);
/* A reply is being held: commit at the end of this turn, not later. */
bool server_has_held(const struct server *server);
