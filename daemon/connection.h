/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the control socket share: server.c, connection.c, service.c. */
#pragma once

#include "common/protocol.h"
#include "daemon/interface.h"
#include "daemon/methods.h"
#include "daemon/server.h"

#include <event2/buffer.h>
#include <sys/queue.h>

/* Of a reply that waits for the commit, or behind one that does. */
struct held {
	size_t size;    /* in held_output; 0: a oneway call, which has no reply */
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
	bool is_working; /* inside on_work, which looks at everything before it ends */
	bool is_waiting; /* a reading call, in message, waits for the commit */
	bool is_due;     /* in server->due */
	TAILQ_ENTRY(connection) due_link;
	struct frame_buffer input;
	json_t *message; /* the one that is being worked off */
	struct evbuffer *output;
	struct event *read_event, *write_event, *closed_event, *hangup_timer, *work_event;
	struct running_call *running;
	struct evbuffer *held_output;
	struct held *held; /* in order */
	size_t held_count;
	void *state;
	void (*state_free)(void *state);
};

/* One of the interfaces that are spoken here. */
struct service {
	const char *text;
	const struct method *(*find)(const char *name);
	struct interface *interface;
};
enum { SERVICE_COUNT = 2 };

struct server {
	struct daemon *daemon;
	struct service services[SERVICE_COUNT];
	int fd;
	char *bound_path; /* unlinked at the end; NULL for a passed socket */
	struct event *listen_event, *relisten_timer;
	LIST_HEAD(, connection) connections;
	/* Those with something held or waiting: the next commit concerns them. */
	TAILQ_HEAD(due, connection) due;
	unsigned client_count;
	bool is_starved; /* out of file descriptors or memory for another client */
	bool is_closed;
};

/* Takes over fd. */
void connection_new(struct server *server, int fd, uid_t uid, bool is_admin);
void connection_free(struct connection *connection);
/* The commit is done, or failed with a sentence. */
void connection_committed(struct connection *connection, const char *error);
/* The reading call that waited for it begins. */
void connection_resume(struct connection *connection);
/* Writes what can be written without waiting. */
void connection_write(struct connection *connection);

/* Ends a call with a whole message, which it takes over. */
void call_answer(struct call *call, json_t *message);

void service_init(struct server *server);
void service_done(struct server *server);
/* The method of a whole name, and its interface; NULL: *ret_error is what to say. */
const struct method *service_find(const struct server *server, const char *name,
				  const struct interface **ret_interface, json_t **ret_error);
/* An error of org.varlink.service, with its parameter where it has one (NULL: none). */
json_t *service_error(const char *name, const char *parameter, const char *value);
