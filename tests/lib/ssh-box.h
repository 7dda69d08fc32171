/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of kind "ssh" run in: a folder of its own that is also HOME, a network namespace
 * with nothing but loopback, servers that end with the test, and the real engine on a real event
 * loop behind a small stand-in for worker.h, whose main answers at once or when the test lets it.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/kind.h"
#include "daemon/worker.h"

#include <stdbool.h>
#include <sys/types.h>

/* One task, as main would see it. */
struct box_run {
	struct task *task; /* NULL once it has ended */
	char *bytes[STREAM_COUNT];
	size_t sizes[STREAM_COUNT], unstored;
	unsigned reports;
	bool is_whole_utf8; /* every report was */
	bool is_announced, has_ended;
	struct outcome outcome;
};

struct box {
	struct event_base *base;
	struct event *tick;
	struct config config;
	struct engine *engine;
	bool holds_go, holds_stored; /* main lets tasks wait */
	struct box_run *runs;
	size_t count, ended;
};

/* --- The place --- */

/* Makes folder and namespace; ends the program with 77 and a reason where that cannot be had. */
void place_init(void);
void place_done(void);
/* folder/NAME; good until the next 8 calls */
const char *place_path(const char *name);
void place_write(const char *name, const char *text);
char *place_read(const char *name);
/* A shell command in the folder; fails the test where it fails. */
void place_run(const char *command);

/* --- Servers --- */

struct server {
	pid_t pid;
	int port;
};
/* sshd with the user key of the folder and these further lines of configuration. */
struct server server_sshd(const char *config);
/* window: bytes that it takes before it says that it takes more, in decimal */
struct server server_dropbear(const char *window);
/* Words of sshload's command line, ended by NULL; writes its key to known_hosts as host "load". */
struct server server_load(const char *const *words);
struct server server_agent(const char *socket);
void server_stop(struct server *server);

/* --- The engine --- */

void box_init(struct box *box);
void box_done(struct box *box);
/* Starts a task; options: the JSON object of Start's parameter "ssh". Its number. */
size_t box_start(struct box *box, const char *target, int64_t timeout_us, const char *options);
/* Runs the loop until the condition holds; fails the test after the bound. */
void box_wait(struct box *box, bool (*is_met)(struct box *box), int seconds);
void box_wait_ended(struct box *box, int seconds);
/* Lets the loop run for a while, whatever happens. */
void box_turn(struct box *box, int milliseconds);
void box_go(struct box *box, size_t number);
void box_store(struct box *box, size_t number);
void box_stop(struct box *box, size_t number, enum stop_reason reason, int64_t grace_us);
