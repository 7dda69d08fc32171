/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The ping engine from within: shared by ping-engine, ping-span, ping-task, ping-request and
 * ping-result.
 *
 * A job's targets come as spans (task.h). Most targets want no more than the first reply, and all
 * that there is of such a one is its request, 56 bytes, which is sent again while nobody answers:
 * it is called flat. As soon as a target has more to tell (an ICMP error, a late reply, a
 * stranger's), or where its job wants more from the beginning (statistics, a watch, a name to
 * resolve), it is a struct ping_task.
 */
#pragma once

#include "common/hash.h"
#include "daemon/kind.h"
#include "daemon/kind-ping.h"
#include "daemon/ping-group.h"
#include "daemon/ping-socket.h"
#include "daemon/ping-stats.h"
#include "daemon/ping-watch.h"
#include "daemon/timer-wheel.h"

#include <event2/event.h>
#include <sys/queue.h>

enum {
	PING_REQUESTS = UINT16_MAX, /* places, by sequence number; the last number is NO_REQUEST */
	NO_REQUEST = UINT16_MAX,
	PING_COOKIES = 32, /* bought from the kernel at a time; getentropy(3) gives 256 bytes */
	PING_RECENT_US = 200000, /* so long a request counts in the window */
	PING_REMEMBERED_US =
		5000000, /* so long a closed one is known again, at least if there is room */
};

/* Types of struct wheel_timer here. */
enum ping_timer { TIMER_PAUSE, TIMER_DEADLINE, TIMER_PERIOD, TIMER_JOB, TIMER_LOOK };

/* A token bucket as one number: when the next request is due (GCRA, ITU-T I.371). */
struct ping_pace {
	int64_t step_ns; /* 0: no bound */
	int64_t due_ns;
};

/* Requests one behind the other, by their numbers. */
struct request_list {
	uint16_t first, last; /* or NO_REQUEST */
};

/*
 * A job that has tasks here: what may send as soon as it is the job's turn, and its pace. All its
 * requests are waited for equally long, so that each list is in the order in which they are due.
 */
struct ping_job {
	struct engine *engine;
	uint64_t id;
	UT_hash_handle hh;
	TAILQ_ENTRY(ping_job) ring_link;
	bool is_in_ring; /* something may send, and its pace allows */
	unsigned spans;  /* that have not ended */
	struct ping_pace pace;
	struct wheel_timer timer; /* set: out of the ring until its pace allows */

	/* What may send, in this order: */
	TAILQ_HEAD(, ping_task) ready;
	struct request_list again;    /* flat targets that wait for their next request */
	TAILQ_HEAD(, ping_span) line; /* with targets that were not begun */

	struct request_list recent, awaited, paused; /* see enum request_state */
	struct wheel_timer look;                     /* when the first of these is due */
};

/* A struct task here: targets of a job, one or many. */
struct ping_span {
	struct task *task;
	const struct ping_options *options;
	struct ping_job *job;
	TAILQ_ENTRY(ping_span) line_link;
	LIST_HEAD(, ping_task) tasks; /* of the targets that are not flat */
	uint32_t flat;                /* flat targets under way */
	uint32_t next;                /* place of the target to look at next */
	bool is_in_line;
	bool is_peeked; /* the one before is flat, is about to begin, and its address is: */
	enum ping_socket_type peeked_socket;
	union ping_address peeked;
	bool has_socket[PING_SOCKET_COUNT]; /* holds it open */
	uint32_t *stopped;                  /* places of targets that need not be begun */
	size_t stopped_count;
	bool is_held, is_over; /* the last target has ended: freed, or when it is let go */
};

/* What hardly any target has. */
struct ping_oddities {
	int64_t duplicates, late, out_of_order, wrong_source, corrupted;
	union ping_address stranger; /* who answered in the target's place; with wrong_source */
	struct ping_trouble trouble; /* the last one */
};

/*
 *              name known          turn                interval, back-off
 *   resolving ----------> ready ----------> waiting ---------------------> ready
 *                                              |  good reply, or all requests answered or given up
 *                                              v
 *                                            ended
 *
 * A stop and the whole task's time-out end it in any state.
 */
struct ping_task {
	struct engine *engine;
	struct ping_span *span;
	const struct ping_options *options;
	LIST_ENTRY(ping_task) span_link;
	struct ping_group *group;   /* of the legs of a target with several addresses; or NULL */
	struct ping_socket *socket; /* NULL: resolving */
	TAILQ_ENTRY(ping_task) ready_link;
	uint32_t index; /* in its job */
	bool is_ready;
	uint16_t newest;             /* of its requests, also the closed ones; or NO_REQUEST */
	unsigned open;               /* batched or waited for */
	struct wheel_timer pause;    /* until the next request */
	struct wheel_timer deadline; /* of the whole task */
	struct ping_watch *watch;    /* or NULL */
	struct wheel_timer period;   /* of the watch */
	int64_t time_left_us;        /* of timeout_us, while the deadline is not set; 0: no bound */
	int64_t unsent_since_us;     /* the kernel has had no room since then; 0: it has */
	int64_t back_off_us;

	union ping_address address;
	unsigned source_interface; /* where options name one; else 0 */
	int ttl;                   /* of the last reply; -1: unknown */

	int64_t made; /* requests sent, or refused for good */
	int64_t sent;
	struct ping_stats rtt;      /* of the replies that count */
	int64_t good;               /* of them, within max_rtt_us */
	int64_t newest_answered_ns; /* when the newest request with a reply was sent */
	struct ping_oddities *odd;  /* NULL: nothing was odd; see ping_task_oddities */
};

/*
 *            sent            200 ms              time-out
 *   batched -----> recent -----------> awaited -----------> given up
 *      ^              |                  |   |
 *      |              +--------+---------+   | flat, and not the last time
 *      |                       | reply       v       interval
 *      |                       v           paused -------------> again
 *      |                   answered                                | turn
 *      +-----------------------------------------------------------+
 */
enum request_state {
	REQUEST_FREE,
	REQUEST_BATCHED, /* it is sent in a moment */
	REQUEST_RECENT,  /* sent, and counts in the window */
	REQUEST_AWAITED, /* likewise, but an answer by now is rare */
	REQUEST_PAUSED,  /* of a flat target: it is sent again after the interval, */
	REQUEST_AGAIN,   /* or as soon as it is its turn */
	/* Closed, and remembered while its place is not needed: */
	REQUEST_ANSWERED, /* to know duplicates of the reply */
	REQUEST_GIVEN_UP, /* to know a late one */
};

/* A place in the table of requests; its number is the sequence number in the ICMP header. */
struct ping_request {
	struct ping_span *span;
	int64_t sent_ns;                        /* the last time; monotonic */
	unsigned char cookie[ECHO_COOKIE_SIZE]; /* its first byte grows by one with each sending */
	union {
		struct ping_task *task;
		struct in6_addr flat_address; /* or IPv4's, at its beginning */
	};
	uint32_t flat_index;     /* in its job */
	uint16_t next, previous; /* in the list of its state */
	uint16_t newer, older;   /* requests of the same task */
	uint8_t state;           /* enum request_state */
	uint8_t socket;          /* enum ping_socket_type */
	uint8_t sendings;        /* how often; 1 but for a flat target */
	bool is_flat;
};
_Static_assert(sizeof(struct ping_request) == 56, "all that a flat target takes");

struct engine {
	struct worker *worker;
	struct event *timer;
	bool is_kicked; /* a turn is coming at once, or under way */
	struct timer_wheel wheel;
	struct ping_socket sockets[PING_SOCKET_COUNT];

	/* ping-request */
	struct ping_request *requests;    /* PING_REQUESTS; memory is only taken by those in use */
	uint16_t used;                    /* from here on no place was ever used */
	struct request_list free, closed; /* the oldest first */
	unsigned recent;                  /* requests that may be answered at any moment */
	unsigned char cookies[PING_COOKIES][ECHO_COOKIE_SIZE];
	unsigned cookies_left;

	/* ping-engine */
	struct ping_job *jobs;
	TAILQ_HEAD(, ping_job) ring; /* whose turn it is */
	struct ping_pace pace;
	int64_t turn_us;       /* when the turn began */
	unsigned added;        /* requests of this turn */
	unsigned unread_turns; /* in a row, that left replies unread */
};

/* --- ping-engine --- */

struct engine *ping_engine_new(struct worker *worker, const struct config *config);
void ping_configured(struct engine *engine, const struct config *config);
void ping_engine_free(struct engine *engine);
/* A turn soon. */
void ping_engine_kick(struct engine *engine);
/* The job of a new span, made if need be. */
struct ping_job *ping_job_of(struct engine *engine, const struct task *task);
/* One of its spans has ended; the job is freed with its last one, or soon after. */
void ping_job_drop_span(struct ping_job *job);
/* Something of it may send, or does so no longer. */
void ping_job_tend(struct ping_job *job);
/* The task waits for its turn; does so no longer. */
void ping_task_make_ready(struct ping_task *task);
void ping_task_leave_ready(struct ping_task *task);

/* --- ping-span --- */

/* Of struct kind. */
void ping_task_start(struct engine *engine, struct task *task);
void ping_task_stop(struct engine *engine, struct task *task, enum stop_reason reason,
		    int64_t grace_us);
void ping_target_stop(struct engine *engine, struct task *task, uint32_t index);
bool ping_is_plain(const struct job_options *options, const char *target);
/* The socket of the next request of a flat target not begun; NULL: there is no such target, or
 * another has begun that is not flat; the span may be gone. */
struct ping_socket *ping_span_peek(struct ping_span *span);
/* That request. */
struct ping_request *ping_span_take(struct ping_span *span);
/* A target has ended. The outcome passes on; with the last one the span is gone. */
void ping_span_leave(struct ping_span *span, uint32_t index, struct outcome *outcome);
/* A flat target ends with this reply, or (rtt_us < 0) with none however often it was asked. */
void ping_flat_end(struct ping_request *request, int64_t rtt_us, int ttl);
/* Its state as a struct ping_task, made if it is flat. */
struct ping_task *ping_request_task(struct ping_request *request);

/* --- ping-task --- */

/* Of struct kind. */
void ping_job_adjusted(struct engine *engine, uint64_t id, const struct job_options *options);
void ping_task_resolved(struct engine *engine, struct task *task,
			const struct sockaddr_storage *addresses, size_t count, const char *error);
void ping_task_output_stored(struct engine *engine, struct task *task, size_t size);
struct ping_task *ping_task_new(struct ping_span *span, uint32_t index);
/* What was odd about it, zeros where nothing was; and the place to note it. */
const struct ping_oddities *ping_task_oddities(const struct ping_task *task);
struct ping_oddities *ping_task_note(struct ping_task *task);
/* From its text on. It may end over it. */
void ping_task_begin(struct ping_task *task, const char *target);
/* Which of the engine's sockets such targets use. */
enum ping_socket_type ping_socket_type_for(const struct ping_options *options, int family);
/* It is stopped. */
void ping_task_cancel(struct ping_task *task);
/* The clock of the whole task runs from now on, if it does not yet. */
void ping_task_start_clock(struct ping_task *task, int64_t now_us);
void ping_task_on_deadline(struct ping_task *task);
/* It has all that it wants: back to main. */
void ping_task_finish(struct ping_task *task);
/* One more request was made; the next one follows after the interval. */
void ping_task_made_request(struct ping_task *task, int64_t now_us);
/* Every request was made, and each was answered or given up. */
bool ping_task_is_done(const struct ping_task *task);
/* No room in the kernel: again, a little later each time. False: that went on for too long. */
bool ping_task_backs_off(struct ping_task *task);

/* --- ping-request --- */

/* A place for one more, if need be that of one which is closed. False where every sequence number
 * is taken by a request under way. */
bool ping_request_make_room(struct engine *engine, int64_t now_us);
/* For the batch; of a flat target the first time, or again (REQUEST_AGAIN). */
struct ping_request *ping_request_new(struct ping_task *task);
struct ping_request *ping_request_new_flat(struct ping_span *span, uint32_t index,
					   enum ping_socket_type socket,
					   const union ping_address *address);
void ping_request_again(struct ping_request *request);
void ping_request_set_state(struct ping_request *request, enum request_state state);
void ping_request_free(struct ping_request *request);
/* To where it goes. */
void ping_request_address(const struct ping_request *request, union ping_address *ret_address);
bool ping_request_is_open(const struct ping_request *request);
/* Its number, and the other way round: NULL for NO_REQUEST. */
uint16_t ping_request_number(const struct ping_request *request);
struct ping_request *ping_request_at(struct engine *engine, uint16_t number);
/* Looks at those of a job that are due. */
void ping_job_on_look(struct ping_job *job);
