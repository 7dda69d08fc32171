/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Inside kind "ssh": one task is one visit to a host, a state machine on the worker's loop. Only
 * kind-ssh.c and ssh-*.c include this.
 *
 *   resolve -> place -> connect -> greet -> slot -> key exchange -> host key -> authenticate
 *                |  ^      | (next address)                              (jump) |    |
 *                |  +------+    ^                                               v    |
 *                +-> jump ------+                     +--- (next command) ---+  carry|
 *                                                     v                      |       |
 *                                          open -> send -> run --------------+ <-----+ (to open)
 *                                           |         |     |
 *                                           |         +-----+--> quit (stop, time-out, too much)
 *                                           |                     ^
 *                                           +-> terminal -> shell -> prompt -> talk (all commands)
 *
 * Each step is a function that does what can be done at once and says how it goes on. Nothing here
 * waits: whatever is not ready comes back as an event of the socket, the timer, the agent or main.
 */
#pragma once

#include "common/states.h"
#include "common/targets.h"
#include "daemon/fields.h"
#include "daemon/profile.h"
#include "daemon/resolver.h"
#include "daemon/ssh-config.h"
#include "daemon/worker.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct destination;
struct identities;
struct identity;
struct key_agent;
struct known_hosts;
struct shell;

/* What the job says of some hosts alone; the interface's SshHost */
struct ssh_host {
	struct string_array words;
	char *login, *jump, *credential, *shell;
	int64_t port;
	struct string_array lines;
	/* Derived */
	struct target_list *targets;
	struct ssh_settings settings;
	const struct profile *profile; /* of shell; NULL: to be recognised */
};

/* The interface's SshOptions */
struct ssh_options {
	struct string_array commands;
	char *login;
	int64_t port;
	char *identity;
	char *credential;
	char *jump; /* hosts with commas between */
	char *jump_credential;
	struct string_array lines;       /* of ssh_config(5) */
	struct object_array hosts_given; /* of struct ssh_host */
	struct string_map addresses;     /* [user@]host[:port] by target */
	char *password;                  /* wiped when it is freed; NULL after a restart */
	bool has_password;               /* there was one */
	int64_t connect_timeout_us;
	int64_t idle_timeout_us; /* -1: not said */
	int host_key;            /* enum host_key_policy; -1: not said */
	bool is_legacy;
	int64_t max_output;
	int64_t rate;           /* sessions a second; 0: no bound */
	int64_t per_host_limit; /* sessions at a time with one address; 0: no bound */
	char *stdin_base64;
	struct int_array success_codes;
	char *shell; /* name of a profile, "auto"; NULL: exec */
	bool is_enabling;
	struct string_array answer_words;
	/* Derived */
	struct ssh_settings settings;      /* of the targets */
	struct ssh_settings jump_settings; /* of the hosts between */
	struct ssh_host *hosts;            /* into hosts_given */
	size_t host_count;
	const struct profile *profile; /* NULL: none, or to be recognised */
	struct answer *answers;
	size_t answer_count;
	char *stdin_bytes;
	size_t stdin_size;
};

/* name, what a user reads in a sentence "... during NAME", function, steps that may follow */
#define SSH_STEPS(X)                                                                              \
	X(STEP_RESOLVE, "name look-up", visit_step_resolve, TO(STEP_PLACE))                       \
	X(STEP_PLACE, "the wait for other connections to it", visit_step_place,                   \
	  TO(STEP_CONNECT) | TO(STEP_JUMP))                                                       \
	X(STEP_CONNECT, "TCP connect", visit_step_connect, TO(STEP_PLACE) | TO(STEP_GREET))       \
	X(STEP_JUMP, "the connection by its jump host", visit_step_jump, TO(STEP_GREET))          \
	X(STEP_GREET, "the exchange of version lines", visit_step_greet, TO(STEP_SLOT))           \
	X(STEP_SLOT, "the wait for other key exchanges", visit_step_slot, TO(STEP_KEY_EXCHANGE))  \
	X(STEP_KEY_EXCHANGE, "key exchange", visit_step_key_exchange, TO(STEP_HOST_KEY))          \
	X(STEP_HOST_KEY, "the check of its host key", visit_step_host_key, TO(STEP_AUTHENTICATE)) \
	X(STEP_AUTHENTICATE, "authentication", visit_step_authenticate,                           \
	  TO(STEP_OPEN) | TO(STEP_CARRY))                                                         \
	X(STEP_OPEN, "the opening of a channel", visit_step_open,                                 \
	  TO(STEP_SEND) | TO(STEP_TERMINAL))                                                      \
	X(STEP_SEND, "the request to run the command", visit_step_send,                           \
	  TO(STEP_RUN) | TO(STEP_QUIT))                                                           \
	X(STEP_RUN, "the command", visit_step_run, TO(STEP_OPEN) | TO(STEP_QUIT))                 \
	X(STEP_TERMINAL, "the request for a terminal", visit_step_terminal, TO(STEP_SHELL))       \
	X(STEP_SHELL, "the request for a shell", visit_step_shell, TO(STEP_PROMPT))               \
	X(STEP_PROMPT, "the wait for its prompt", visit_step_talk, TO(STEP_TALK) | TO(STEP_QUIT)) \
	X(STEP_TALK, "the commands", visit_step_talk, TO(STEP_QUIT))                              \
	X(STEP_CARRY, "its work as a jump host", visit_step_carry, 0)                             \
	X(STEP_QUIT, "the end of the command", visit_step_quit, 0)

#define TO(step)                           (1u << (step))
#define SSH_STEP_ENUM(id, name, run, next) id,
enum ssh_step { SSH_STEPS(SSH_STEP_ENUM) STEP_COUNT };
#undef SSH_STEP_ENUM

enum progress {
	PROGRESS_GO,    /* visit_go() chose the next step */
	PROGRESS_AGAIN, /* libssh waits for the socket; call again while bytes still move */
	PROGRESS_WAIT,  /* something will wake the visit */
	PROGRESS_END,   /* the outcome stands */
};

enum {
	UNAUTHENTICATED_PER_ADDRESS = 8, /* sshd drops more of them: MaxStartups 10:30:100 */
	UNSTORED_MAX = 256 << 10,        /* bytes handed to main and not yet stored */
	OUTPUT_PIECE_MAX = 64 << 10,     /* bytes of one report */
	UTF8_TAIL_MAX = 3,
	WAY_COUNT = 8, /* to authenticate */
};

struct visit {
	struct engine *engine;
	struct task *task;
	const struct ssh_options *options;
	struct target_parts target; /* as it was named */
	struct jump *jump;          /* whose visit it is; NULL: a task's */
	enum ssh_step step;

	/* The way to it (ssh-way.c) */
	const struct ssh_host *host; /* what the job says of it alone; or NULL */
	const char *credential_name;
	const struct credential *credential; /* of that name; NULL: none, or it is gone */
	struct ssh_settings settings;
	char *address_name; /* what is looked up and connected to */
	uint16_t port;
	int64_t idle_timeout_us; /* 0: none */
	struct known_hosts *known_hosts;
	struct tunnel *tunnel; /* through a jump host; NULL: none, or not yet */

	/* Waiting for others: in one queue (ssh-queue.c) at a time, or in none */
	struct visits *queue;
	TAILQ_ENTRY(visit) queue_link; /* also in the agent's own queue */
	TAILQ_ENTRY(visit) ready_link; /* in engine->ready */
	TAILQ_ENTRY(visit) gate_link;  /* in gate->holders */
	bool is_ready;
	int64_t wait_began_us; /* since when jobd holds it up, not the far side; 0: it does not */

	/* Time: monotonic, INT64_MAX for none */
	struct event timer;
	int64_t timer_us;         /* when the timer fires */
	int64_t task_deadline_us; /* the whole attempt */
	int64_t step_deadline_us; /* connecting and authenticating; then each request's answer */
	int64_t address_deadline_us;
	int64_t idle_deadline_us;
	int64_t quit_deadline_us;

	/* Connection */
	char *resolve_error;
	struct sockaddr_storage *addresses; /* owned */
	size_t address_count, address_at;
	struct destination *destination; /* where it is counted */
	bool has_place;                  /* there, as one that is not authenticated */
	struct gate *gate;               /* where it has a place; NULL: nowhere */
	int64_t gate_since_us;
	int fd; /* ours until libssh sees it, then the session's */
	struct event read_event, write_event;
	bool is_reading, is_writing;
	ssh_session session;
	struct ssh_counter_struct moved; /* bytes over the socket */

	/* Authentication */
	char *user;          /* NULL: not chosen yet */
	int way;             /* of the table in ssh-auth.c, being tried; -1 for none */
	unsigned ways_tried; /* bits */
	unsigned char keys_tried[WAY_COUNT]; /* of those with files: two for each */
	char *tried;                         /* for sentences; NULL: nothing */
	unsigned denials;
	bool is_lent;     /* the agent's thread has the session */
	int agent_answer; /* enum ssh_auth_e, or AGENT_NO_ANSWER */
	struct identity *identity;
	char *password; /* wiped when it is freed */
	unsigned prompt_rounds;
	bool has_answered; /* a prompt, with the password */
	char *auth_hint;   /* why a way could not be tried */

	/* Commands */
	size_t command_at;
	ssh_channel channel;
	struct ssh_channel_callbacks_struct callbacks;
	bool is_announced, is_allowed; /* worker_sending said, task_go heard */
	bool is_sent;                  /* an exec request may have been written */
	bool is_running;               /* it was accepted, and the command has not ended */
	bool has_eof, is_closed, has_exit_status; /* of this command */
	bool had_exit_status;                     /* of any */
	uint32_t exit_status;                     /* the last */
	char exit_signal[32];                     /* "" for none */
	size_t stdin_at;
	int64_t grace_us; /* between TERM and KILL; 0: little */
	int quit_phase;
	struct shell *shell; /* NULL: none, or not yet */

	/* Output */
	int64_t output_sizes[STREAM_COUNT];
	size_t unstored; /* handed to main and not yet stored */
	char tails[STREAM_COUNT][UTF8_TAIL_MAX];
	uint8_t tail_sizes[STREAM_COUNT];
	bool is_over_limit;

	struct outcome outcome; /* once it is settled */
};
TAILQ_HEAD(visits, visit);

/* Few at a time may do what is dear. */
enum gate_name {
	GATE_CONNECT,  /* from the first packet to the key exchange */
	GATE_EXCHANGE, /* from there until logged in */
	GATE_COUNT
};
struct gate {
	struct engine *engine;
	struct visits queue, holders; /* oldest first */
	size_t taken;
	struct event *timer;
};

/* What one visit wrote during one advance. */
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
	struct destination *destinations; /* with sessions */
	struct jump *jumps;
	struct ssh_config *ssh_config;
	struct gate gates[GATE_COUNT];
	int fd_limit;          /* sockets at or above it are too many */
	struct visits starved; /* that wait for one below it */
	struct event *starved_timer;
	struct known_hosts *known_hosts; /* the usual ones */
	struct hosts_file *hosts_files;  /* those that ssh_config names */
	struct identities *identities;
	struct key_agent *agent; /* NULL where there is none to ask */
	struct piece piece;
};

/* --- kind-ssh.c --- */

/* The name of the owner of a job, kept; "" where the user id has none. */
const char *engine_user_name(struct engine *engine, uid_t uid);
/* The index of another file than the usual. */
struct known_hosts *engine_known_hosts(struct engine *engine, const char *file);

/* --- ssh-visit.c: the loop --- */

/* jump: NULL for the task's own visit */
struct visit *visit_new(struct engine *engine, struct task *task, struct jump *jump);
void visit_stop(struct visit *visit, enum stop_reason reason, int64_t grace_us);
/* From an event of the loop only: as far as it goes; the visit may be gone afterwards. */
void visit_advance(struct visit *visit);
/* Advances it later in this loop turn, from the loop itself: no recursion between visits. */
void visit_wake(struct visit *visit);
/* Between advances: waits for what the session needs. */
void visit_watch(struct visit *visit);
/* Goes to a step that may follow: `return visit_go(...)`. */
enum progress visit_go(struct visit *visit, enum ssh_step step);
/* Settles the outcome as failed: `return visit_fail(...)`. The sentence is made printable. */
enum progress visit_fail(struct visit *visit, enum error_class class, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* As visit_fail, where nothing took effect, so that it may be tried again. */
enum progress visit_fail_transient(struct visit *visit, enum error_class class, const char *format,
				   ...) __attribute__((format(printf, 3, 4)));
/* The step's name in sentences: "... during NAME". */
const char *visit_during(const struct visit *visit);
/* The connect clock stands while jobd itself lets the visit wait. */
void visit_wait_begin(struct visit *visit);
void visit_wait_end(struct visit *visit);
/* Adds or deletes the event where it is not as it is wanted. */
void event_watch(struct event *event, bool *is_watched, bool is_wanted);
/* The visit's socket, in place of an earlier one. */
void visit_use_socket(struct visit *visit, int fd);
/* Closes it, before there is a session. */
void visit_drop_socket(struct visit *visit);

/* --- ssh-session.c --- */

/* Makes visit->session for visit->fd; on failure the outcome is settled. */
int visit_open_session(struct visit *visit);
/* Has the session ended by itself? */
bool visit_is_lost(const struct visit *visit);
/* It has: what that means depends on how far the visit got. */
enum progress visit_lost(struct visit *visit);
/* Lets the session read or write once. */
void visit_pump(struct visit *visit);

/* --- ssh-connect.c --- */

/* count is 0 with an error. */
void visit_take_addresses(struct visit *visit, const struct sockaddr_storage *addresses,
			  size_t count, const char *error);
/* The address in use as text, "" before there is one. */
const char *visit_address(const struct visit *visit, char buffer[static ADDRESS_TEXT_MAX]);

/* --- ssh-queue.c --- */

void visit_leave_queue(struct visit *visit);
/* It is authenticated. */
void visit_release_place(struct visit *visit);
/* It goes, or elsewhere. */
void visit_leave_destination(struct visit *visit);
/* False: it is in the queue, and is woken when it is let in. One gate at a time. */
bool visit_enter_gate(struct visit *visit, enum gate_name name);
void visit_leave_gate(struct visit *visit);
/* There is no descriptor for it just now; it is woken when there may be. */
enum progress visit_starve(struct visit *visit);
/* A socket was closed. */
void engine_feed_starved(struct engine *engine);
void engine_init_queues(struct engine *engine);
void engine_done_queues(struct engine *engine);

/* --- ssh-way.c --- */

/* What the job says of this target alone, or NULL. Any thread. */
const struct ssh_host *ssh_host_of(const struct ssh_options *options, const char *target);
/* [user@]host[:port]: the target itself, unless it is just a name. */
const char *ssh_address_of(const struct ssh_options *options, const char *target);

/* Fills what stands under "The way to it". */
void visit_find_way(struct visit *visit);
void visit_leave_way(struct visit *visit);
/* Under which its host key is looked up */
const char *visit_key_name(const struct visit *visit);
/* Is another host between? */
bool visit_has_jump(const struct visit *visit);
/* The user who started the job, by name; "" where the user id has none */
const char *visit_local_user(const struct visit *visit);
bool visit_has_shell(const struct visit *visit);
/* NULL: none, or to be recognised */
const struct profile *visit_profile(const struct visit *visit);
/* A file that the settings name, whole; the caller frees. */
char *visit_file(const struct visit *visit, const char *text);

/* --- ssh-auth.c --- */

/* Wipes the password and lets go of the key. */
void visit_forget_secrets(struct visit *visit);
/* What a shell may ask for: the password, and that of enable. NULL where there is none; the caller
 * wipes and frees. */
void visit_shell_secrets(const struct visit *visit, char **ret_password, char **ret_secret);

/* --- ssh-exec.c --- */

enum progress visit_fail_over_limit(struct visit *visit);

/* --- ssh-shell.c --- */

void visit_free_shell(struct visit *visit);
void visit_shell_received(struct visit *visit, const char *bytes, size_t size);
/* The name of the profile in use; NULL: none, or not recognised. */
const char *visit_shell_profile(const struct visit *visit);
/* "" without a shell */
const char *visit_shell_last_line(const struct visit *visit);
/* When to look at it even if nothing comes */
int64_t visit_shell_deadline(const struct visit *visit);

/* --- ssh-output.c --- */

/* From a callback of libssh: cut at the limit, collected. */
void visit_output(struct visit *visit, enum stream stream, const char *bytes, size_t size);
/* Hands what was collected to main; is_end: the begin of a character at the end as well. */
void visit_output_flush(struct visit *visit, bool is_end);
/* Main has enough to store; nothing more is to be read. */
bool visit_output_is_held(const struct visit *visit);

/* --- The steps --- */

#define SSH_STEP_DECLARE(id, during, run, next) enum progress run(struct visit *visit);
SSH_STEPS(SSH_STEP_DECLARE)
#undef SSH_STEP_DECLARE
