/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real control socket in the test's own process: a server on a socket in a temporary folder,
 * clients that speak raw bytes, and a main loop that the test turns by hand. The methods are the
 * box's own, under names of the interface; of the store and the jobs only what the server asks for
 * is there, and says what the test wants.
 */
#pragma once

#include "common/protocol.h"
#include "daemon/config.h"
#include "daemon/server.h"

#include <sys/types.h>

/* --- Words on the wire --- */

#define CALL(method)                  "{\"method\":\"" method "\"}"
#define CALL_WITH(method, parameters) "{\"method\":\"" method "\",\"parameters\":" parameters "}"
#define PARAMETERS(text)              "{\"parameters\":" text "}"
#define ERROR(name, text)             "{\"error\":\"" name "\",\"parameters\":" text "}"
#define SERVICE                       "org.varlink.service."
#define START                         CALL_WITH("org.jobd.Start", "{\"kind\":\"ping\",\"targets\":[]}")
#define STOP                          CALL_WITH("org.jobd.Stop", "{\"selection\":{}}")
#define LIST                          CALL("org.jobd.List")
#define LIST_MORE                     "{\"method\":\"org.jobd.List\",\"more\":true}"
#define TASKS_MORE \
	"{\"method\":\"org.jobd.ListTasks\",\"more\":true,\"parameters\":{\"selector\":\"1\"}}"
#define WAIT        CALL("org.jobd.Wait")
#define NO_JOBS     PARAMETERS("{\"jobs\":[],\"hasOlder\":false}")
#define STARTED(id) PARAMETERS("{\"id\":" #id ",\"tasks\":1,\"isNew\":true}")
#define STOPPED(id) PARAMETERS("{\"ids\":[" #id "]}")
#define DISK_FULL   ERROR("org.jobd.StorageFailed", "{\"message\":\"the disk is full\"}")

/* --- The box --- */

#define BOX_TEST(name) cmocka_unit_test_setup_teardown(name, box_open, box_close)

enum { BOX_WAIT_MS = 5000 };

struct box {
	char folder[64];
	char *socket;
	struct config config;
	struct daemon daemon;
	struct server *server;
	bool holds_commits; /* the test calls box_commit itself */
	/* What the store says */
	const char *store_error;
	bool has_changes;
	bool list_changes; /* List leaves a change, as Receive may */
	/* What the server did */
	unsigned commits;
	uint64_t dropped[8]; /* jobs_start_failed */
	unsigned dropped_count;
	/* What the methods saw */
	unsigned calls, steps, freed;
	struct call *waiting; /* the newest Wait or Subscribe */
	uid_t uid;
	bool is_admin, is_trusted;
};
/* The one box of a test: cmocka's set-up and tear-down. */
extern struct box box;
int box_open(void **state);
int box_close(void **state);

/* One turn: what is ready, without waiting, and the commit where one is due. */
void box_turn(void);
/* error NULL: it succeeds. */
void box_commit(const char *error);
/* Turns until is_done(context), or fails the test after BOX_WAIT_MS. */
void box_wait(bool (*is_done)(void *context), void *context);

/* ... until so many clients are connected. */
void box_wait_clients(unsigned count);

struct client {
	int fd;
	struct frame_buffer input;
	bool is_closed; /* by the server */
};
struct client *client_new(void);
/* As another user: root only. */
struct client *client_new_as(uid_t uid, gid_t gid, gid_t group);
void client_free(struct client *client);
void client_send(struct client *client, const char *bytes, size_t size);
/* A message without its NUL, which is added. */
void client_say(struct client *client, const char *text);
/* The next message, which the test frees; fails the test when none comes. */
json_t *client_hear(struct client *client);
/* ... which must be this. */
void client_expect(struct client *client, const char *text);
/* Nothing more comes but the end. */
void client_expect_closed(struct client *client);
/* Nothing comes in some turns. */
void client_expect_silence(struct client *client);
