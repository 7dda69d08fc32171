/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ping engine from within: shared by ping-engine, ping-task, ping-request and ping-result. */
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
	PING_CHUNK = 1024, /* requests are allocated so many at a time, when first needed */
	PING_CHUNKS_MAX = (UINT16_MAX + 1) / PING_CHUNK,
	PING_COOKIES = 32, /* bought from the kernel at a time; getentropy(3) gives 256 bytes */
	PING_RECENT_US = 200000, /* so long a request counts in the window */
	PING_REMEMBERED_US =
		5000000, /* so long a closed one is known again, at least if there is room */
};

/* Types of struct wheel_timer here. */
enum ping_timer { TIMER_REQUEST, TIMER_PAUSE, TIMER_DEADLINE, TIMER_PERIOD, TIMER_JOB };

/* A token bucket as one number: when the next request is due (GCRA, ITU-T I.371). */
struct ping_pace {
	int64_t step_ns; /* 0: no bound */
	int64_t due_ns;
};

/* A job that has tasks here: their queue and their pace. */
struct ping_job {
	uint64_t id;
	UT_hash_handle hh;
	TAILQ_ENTRY(ping_job) ring_link;
	bool is_in_ring;               /* it has ready tasks, and its pace allows */
	TAILQ_HEAD(, ping_task) ready; /* may send as soon as it is their turn */
	unsigned tasks;
	struct ping_pace pace;
	struct wheel_timer timer; /* set: out of the ring until its pace allows */
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
	struct task *task;
	const struct ping_options *options;
	struct ping_job *job;
	struct ping_socket *socket; /* NULL: resolving */
	TAILQ_ENTRY(ping_task) ready_link;
	bool is_ready;
	struct ping_group *group; /* of the legs of a target with several addresses; or NULL */
	LIST_ENTRY(ping_task) leg_link;
	LIST_HEAD(, ping_request) requests; /* also the closed ones */
	unsigned open;                      /* batched or awaited */
	struct wheel_timer pause;           /* until the next request */
	struct wheel_timer deadline;        /* of the whole task */
	struct ping_watch *watch;           /* or NULL */
	struct wheel_timer period;          /* of the watch */
	int64_t time_left_us;    /* of timeout_us, while the deadline is not set; 0: no bound */
	int64_t unsent_since_us; /* the kernel has had no room since then; 0: it has */
	int64_t back_off_us;

	union ping_address address;
	union ping_address source; /* AF_UNSPEC: the kernel's choice */
	unsigned source_interface; /* 0: the kernel's choice */

	int64_t made; /* requests sent, or refused for good */
	int64_t sent;
	struct ping_stats rtt; /* of the replies that count */
	int64_t good;          /* of them, within max_rtt_us */
	int64_t duplicates, late, out_of_order, wrong_source, corrupted;
	int64_t newest_answered_ns;  /* when the newest request with a reply was sent */
	union ping_address stranger; /* who answered in the target's place; with wrong_source */
	int ttl;                     /* of the last reply; -1: unknown */
	struct ping_trouble trouble; /* the last one */
};

enum request_state {
	REQUEST_FREE,
	REQUEST_BATCHED, /* it is sent in a moment */
	REQUEST_AWAITED, /* sent */
	/* Closed, and remembered while its place is not needed: */
	REQUEST_ANSWERED, /* to know duplicates of the reply */
	REQUEST_GIVEN_UP, /* to know a late one */
};

/* A place in the table of requests; its number is the sequence number in the ICMP header. */
struct ping_request {
	TAILQ_ENTRY(ping_request) link; /* free or closed */
	LIST_ENTRY(ping_request) task_link;
	struct wheel_timer timer;
	struct ping_task *task;
	int64_t sent_ns; /* monotonic */
	unsigned char cookie[ECHO_COOKIE_SIZE];
	uint16_t sequence; /* for good */
	uint8_t state;     /* enum request_state */
	bool is_recent;    /* counted in its engine's recent, its socket's expected */
};

struct engine {
	struct worker *worker;
	struct event *timer;
	bool is_kicked; /* a turn is coming at once, or under way */
	struct timer_wheel wheel;
	struct ping_socket sockets[PING_SOCKET_COUNT];

	/* ping-request */
	struct ping_request *chunks[PING_CHUNKS_MAX];
	unsigned chunk_count;
	TAILQ_HEAD(, ping_request) free_requests, closed_requests; /* the oldest first */
	unsigned recent; /* requests that may be answered at any moment */
	unsigned char cookies[PING_COOKIES][ECHO_COOKIE_SIZE];
	unsigned cookies_left;

	/* ping-engine */
	struct ping_job *jobs;
	TAILQ_HEAD(, ping_job) ring; /* whose turn it is */
	struct ping_pace pace;
};

/* --- ping-engine --- */

struct engine *ping_engine_new(struct worker *worker, const struct config *config);
void ping_configured(struct engine *engine, const struct config *config);
void ping_engine_free(struct engine *engine);
/* A turn soon. */
void ping_engine_kick(struct engine *engine);
/* The job of a new task, made if need be. */
struct ping_job *ping_job_of(struct engine *engine, const struct task *task);
/* One of its tasks has ended; the job is freed with its last one, or soon after. */
void ping_job_drop_task(struct engine *engine, struct ping_job *job);
/* The task waits for its turn; does so no longer. */
void ping_task_make_ready(struct ping_task *task);
void ping_task_leave_ready(struct ping_task *task);

/* --- ping-task --- */

/* Of struct kind. */
void ping_job_adjusted(struct engine *engine, uint64_t id, const struct job_options *options);
void ping_task_start(struct engine *engine, struct task *task);
void ping_task_stop(struct engine *engine, struct task *task, enum stop_reason reason,
		    int64_t grace_us);
void ping_task_resolved(struct engine *engine, struct task *task,
			const struct sockaddr_storage *addresses, size_t count, const char *error);
void ping_task_output_stored(struct engine *engine, struct task *task, size_t size);
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

/* False where every sequence number is taken. */
bool ping_request_is_free(struct engine *engine);
struct ping_request *ping_request_new(struct ping_task *task);
void ping_request_free(struct ping_request *request);
void ping_request_on_timer(struct ping_request *request);
