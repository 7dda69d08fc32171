/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the control socket share: server.c, connection.c, service.c. */
#pragma once

#include "common/protocol.h"
#include "daemon/interface.h"
#include "daemon/methods.h"
#include "daemon/server.h"

#include <event2/buffer.h>
#include <sys/queue.h>

/* A reply that waits for the commit, or behind one that does. */
struct held {
	STAILQ_ENTRY(held) link;
	char *text; /* NULL: a oneway call, which has no reply */
	size_t size;
	bool is_change; /* becomes StorageFailed if the commit fails */
	uint64_t start; /* the job that is dropped then; 0: none */
};

/* A call under way, as the server sees it. */
struct running_call {
	struct call call; /* first */
	const struct method *method;
	bool is_oneway;
};

struct connection {
	LIST_ENTRY(connection) link;
	struct server *server;
	int fd;
	uid_t uid;
	bool is_admin, is_trusted;
	bool is_broken;  /* to be closed at once, whatever is left to write */
	bool is_ending;  /* the peer sends nothing more: closed when all is answered */
	bool is_waiting; /* a reading call waits for the commit */
	struct frame_buffer input;
	json_t *message; /* of the call that waits */
	struct evbuffer *output;
	struct event *read_event, *write_event, *closed_event, *work_event;
	struct running_call *running;
	STAILQ_HEAD(, held) held;
	void *state;
	void (*state_free)(void *state);
};

struct server {
	struct daemon *daemon;
	struct interface *interface;
	int fd;
	char *bound_path; /* unlinked at the end; NULL for a passed socket */
	struct event *listen_event, *relisten_event;
	LIST_HEAD(, connection) connections;
	unsigned client_count;
	unsigned held_count, waiting_count;
	bool is_closed;
};

/* Takes over fd. */
void connection_new(struct server *server, int fd, uid_t uid, bool is_admin);
void connection_free(struct connection *connection);
/* The commit is done, or failed with a sentence. */
void connection_committed(struct connection *connection, const char *error);

/* Puts a message behind what was said before; takes over the message. */
void connection_say(struct connection *connection, json_t *message, bool is_change, uint64_t start);

/* org.varlink.service: true if the method is one of its own and was answered. */
bool service_handle(struct connection *connection, const struct call_header *header);
/* One of its errors, with the parameter that it has. */
json_t *service_error(const char *name, const char *parameter, const char *value);
