/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside kind "ssh": one task is one visit to a host, a state machine on the worker's loop. Only
 * kind-ssh.c and ssh-*.c include this.
 *
 *   resolve -> place -> connect -> greet -> slot -> key exchange -> host key -> authenticate
 *                ^         | (next address)                                          |
 *                +---------+                          +--- (next command) ---+       |
 *                                                     v                      |       |
 *                                          open -> send -> run --------------+ <-----+ (to open)
 *                                                     |     |
 *                                                     +-----+--> quit (stop, time-out, too much)
 *
 * Each step is a function that does what can be done at once and says how it goes on. Nothing here
 * waits: whatever is not ready comes back as an event of the socket, the timer, the agent or main.
 */
#pragma once

#include "common/states.h"
#include "common/targets.h"
#include "daemon/fields.h"
#include "daemon/resolver.h"
#include "daemon/worker.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct ssh_agent;
struct destination;
struct identities;
struct identity;
struct known_hosts;

enum host_key_policy { HOST_KEY_STRICT, HOST_KEY_ACCEPT_NEW, HOST_KEY_OFF };

/* The interface's SshOptions */
struct ssh_options {
	struct string_array commands;
	char *login;
	int64_t port;
	char *identity;
	char *credential;
	int64_t connect_timeout_us;
	int64_t idle_timeout_us;
	int host_key; /* enum host_key_policy */
	bool is_legacy;
	int64_t max_output;
	char *stdin_base64;
	struct int_array success_codes;
	/* Derived */
	char *stdin_bytes;
	size_t stdin_size;
};

/* name, what a user reads in a sentence "... during NAME", function, steps that may follow */
#define SSH_STEPS(X)                                                                               \
	X(STEP_RESOLVE, "name look-up", ssh_step_resolve, TO(STEP_PLACE))                          \
	X(STEP_PLACE, "the wait for other connections to it", ssh_step_place, TO(STEP_CONNECT))    \
	X(STEP_CONNECT, "TCP connect", ssh_step_connect, TO(STEP_PLACE) | TO(STEP_GREET))          \
	X(STEP_GREET, "the exchange of version lines", ssh_step_greet, TO(STEP_SLOT))              \
	X(STEP_SLOT, "the wait for other key exchanges", ssh_step_slot, TO(STEP_KEY_EXCHANGE))     \
	X(STEP_KEY_EXCHANGE, "key exchange", ssh_step_key_exchange, TO(STEP_HOST_KEY))             \
	X(STEP_HOST_KEY, "the check of its host key", ssh_step_host_key, TO(STEP_AUTHENTICATE))    \
	X(STEP_AUTHENTICATE, "authentication", ssh_step_authenticate, TO(STEP_OPEN))               \
	X(STEP_OPEN, "the opening of a channel", ssh_step_open, TO(STEP_SEND))                     \
	X(STEP_SEND, "the request to run the command", ssh_step_send, TO(STEP_RUN) | TO(STEP_QUIT)) \
	X(STEP_RUN, "the command", ssh_step_run, TO(STEP_OPEN) | TO(STEP_QUIT))                    \
	X(STEP_QUIT, "the end of the command", ssh_step_quit, 0)

#define TO(step)                          (1u << (step))
#define SSH_STEP_ENUM(id, name, run, next) id,
enum ssh_step { SSH_STEPS(SSH_STEP_ENUM) STEP_COUNT };
#undef SSH_STEP_ENUM

enum progress {
	PROGRESS_GO,    /* ssh_go() chose the next step */
	PROGRESS_AGAIN, /* libssh waits for the socket; call again while bytes still move */
	PROGRESS_WAIT,  /* something will wake the visit */
	PROGRESS_END,   /* the outcome stands */
};

/* Which hold-up of ours stops the connect clock */
enum {
	UNAUTHENTICATED_PER_ADDRESS = 8,       /* sshd drops more of them: MaxStartups 10:30:100 */
	UNSTORED_MAX = 256 << 10,              /* bytes handed to main and not yet stored */
	OUTPUT_PIECE_MAX = 64 << 10,           /* bytes of one report */
	UTF8_TAIL_MAX = 3,
};

struct visit {
	struct engine *engine;
	struct task *task;
	const struct ssh_options *options;
	struct target_parts target;
	enum ssh_step step;

	/* Waiting: in one of the engine's lists at a time */
	TAILQ_ENTRY(visit) queue_link; /* for a place, a slot or the agent */
	TAILQ_ENTRY(visit) ready_link;
	TAILQ_ENTRY(visit) slot_link; /* in slot_holders */
	bool is_queued, is_ready;
	int64_t wait_began_us; /* since when we, not the far side, hold it up; 0: we do not */

	/* Time: monotonic, INT64_MAX for none */
	struct event timer;
	int64_t timer_us;         /* when the timer fires */
	int64_t task_deadline_us; /* the whole attempt */
	int64_t step_deadline_us; /* connecting and authenticating; then each request's answer */
	int64_t address_deadline_us;
	int64_t idle_deadline_us;
	int64_t quit_deadline_us;

	/* Connection */
	size_t address_count, address_at;
	struct sockaddr_storage *addresses; /* owned */
	struct destination *destination;    /* where it has or awaits a place */
	bool has_place, has_slot;
	int64_t slot_since_us;
	int connect_errno; /* of the last address tried */
	int fd;            /* ours while session is NULL, then the session's */
	struct event read_event, write_event;
	bool is_reading, is_writing;
	ssh_session session;
	struct ssh_counter_struct moved;

	/* Authentication */
	const char *user; /* into target, options, config or the engine */
	int method;       /* being tried, -1 for none */
	unsigned methods_tried;
	bool is_lent;    /* the agent's thread has the session */
	int agent_answer; /* enum ssh_auth_e, or AGENT_NO_ANSWER */
	struct identity *identity;
	char *password; /* wiped when it is freed */
	unsigned prompt_rounds;
	char *auth_hint; /* why a way that was asked for could not be tried */

	/* Commands */
	size_t command_at;
	ssh_channel channel;
	struct ssh_channel_callbacks_struct callbacks;
	bool is_announced, is_allowed; /* worker_sending said, task_go heard */
	bool is_sent;                  /* an exec request has been written */
	bool is_running;               /* it was accepted, and the command has not ended */
	bool has_eof, is_closed, has_exit_status;
	int exit_status;
	char exit_signal[32]; /* "" for none */
	bool has_last_exit_status;
	int last_exit_status;
	size_t stdin_at;
	int64_t grace_us; /* between TERM and KILL */
	unsigned quit_phase;

	/* Output */
	int64_t output_sizes[STREAM_COUNT];
	size_t unstored; /* handed to main and not yet stored */
	char tails[STREAM_COUNT][UTF8_TAIL_MAX];
	uint8_t tail_sizes[STREAM_COUNT];
	bool is_over_limit;

	struct outcome outcome; /* once PROGRESS_END was returned */
};
TAILQ_HEAD(visits, visit);

/* What one visit wrote since its step began; never outlives the step. */
struct piece {
	struct visit *visit;
	enum stream stream;
	size_t size;
	char bytes[OUTPUT_PIECE_MAX];
};

struct user_name;

struct engine {
	struct worker *worker;
	const struct config *config;
	char *home; /* of the user of a private daemon, else NULL */
	struct user_name *user_names;
	struct visits ready; /* to go on in this loop turn */
	struct event *ready_event;
	struct destination *destinations; /* with unauthenticated connections */
	struct visits slot_queue, slot_holders; /* oldest first */
	size_t slots_taken;
	struct event *slot_timer;
	struct known_hosts *known_hosts;
	struct identities *identities;
	struct ssh_agent *agent; /* NULL where there is none to ask */
	struct piece piece;
};

/* --- kind-ssh.c: the loop --- */

/* Goes to a step that may follow; `return ssh_go(...)`. */
enum progress ssh_go(struct visit *visit, enum ssh_step step);
/* Settles the outcome as failed; `return ssh_fail(...)`. The sentence is made one printable line. */
enum progress ssh_fail(struct visit *visit, enum error_class class, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* As ssh_fail, for what may be tried again because nothing took effect. */
enum progress ssh_fail_transient(struct visit *visit, enum error_class class, const char *format,
				 ...) __attribute__((format(printf, 3, 4)));
/* The session reports an error: which class it is depends on how far the visit got. */
enum progress ssh_lost(struct visit *visit);
/* Has the session ended on its own? */
bool ssh_is_lost(const struct visit *visit);
/* From an event of the loop only: as far as it goes; the visit may be gone afterwards. */
void ssh_advance(struct visit *visit);
/* Advances it later in this loop turn, from the loop itself: no recursion between visits. */
void ssh_wake(struct visit *visit);
/* The connect clock stands while jobd itself lets the visit wait. */
void ssh_wait_begin(struct visit *visit);
void ssh_wait_end(struct visit *visit);

/* --- The steps, and what outsiders tell them --- */

#define SSH_STEP_DECLARE(id, name, run, next) enum progress run(struct visit *visit);
SSH_STEPS(SSH_STEP_DECLARE)
#undef SSH_STEP_DECLARE

/* ssh-connect.c */
void ssh_take_addresses(struct visit *visit, const struct sockaddr_storage *addresses,
			size_t count);
bool ssh_has_next_address(const struct visit *visit);
void ssh_release_place(struct visit *visit);
void ssh_release_slot(struct visit *visit);
/* Out of the queue for a place, if it is in it. */
void ssh_leave_place_queue(struct visit *visit);
void ssh_slots_init(struct engine *engine);
void ssh_slots_done(struct engine *engine);
/* The first address that is tried now, as text; "" before there is one. */
const char *ssh_address(const struct visit *visit, char buffer[static ADDRESS_TEXT_MAX]);
uint16_t ssh_port(const struct visit *visit);

/* ssh-session.c */
/* A session that is set up and has our descriptor, or NULL and a sentence in *ret_problem. */
ssh_session ssh_session_open(struct visit *visit, const char **ret_problem);

/* ssh-auth.c */
void ssh_auth_done(struct visit *visit);

/* ssh-exec.c */
/* The command still runs on the far side: end it there first, then the outcome leaves. */
enum progress ssh_quit(struct visit *visit);
/* Does what the session has to do until nothing moves, in bounds. */
void ssh_pump(struct visit *visit);

/* ssh-output.c */
void ssh_output(struct visit *visit, enum stream stream, const char *bytes, size_t size);
/* Hands what was collected to main; is_end: an incomplete character at the end as well. */
void ssh_output_flush(struct visit *visit, bool is_end);
bool ssh_output_is_held(const struct visit *visit);
