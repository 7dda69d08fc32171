/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One connection to the agent serves all visits: each call is a whole question and answer, and the
 * thread makes one at a time. The loop owns the connection. Where the visit in the thread's hands
 * is abandoned (stopped, timed out), the loop shuts the connection down, which ends the call at
 * once whatever the agent does; the next visit gets a new connection.
 */
#include "daemon/ssh-agent.h"

#include "common/util.h"
#include "daemon/kind-ssh.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A session on its way to the thread and back. */
struct loan {
	struct letter letter;
	ssh_session session; /* NULL: the thread is to end */
	char *user;
	int agent_fd;
	int answer;
	struct visit *visit; /* the loop's alone; NULL once it was abandoned */
};

struct key_agent {
	struct engine *engine;
	char *socket;
	int fd;            /* connected, or -1 */
	bool is_broken;    /* not to be used again */
	struct loan *loan; /* in the thread's hands */
	struct visits queue;
	bool has_thread;
	pthread_t thread;
	struct mailbox questions, answers;
	struct event *answer_event;
};

/* --- The thread --- */

static void ask(struct loan *loan)
{
	loan->answer = SSH_AUTH_DENIED;
	if (ssh_set_agent_socket(loan->session, loan->agent_fd) != SSH_OK)
		return;
	loan->answer = ssh_userauth_agent(loan->session, loan->user);
	/* Or the session would close the connection, which is not its own. */
	(void)ssh_set_agent_socket(loan->session, SSH_INVALID_SOCKET);
}

static void *agent_main(void *context)
{
	struct key_agent *agent = context;
	struct pollfd mail = {.fd = agent->questions.fd, .events = POLLIN};

	for (;;) {
		struct letters letters;
		struct loan *loan;

		(void)poll(&mail, 1, -1);
		mailbox_take(&agent->questions, &letters);
		loan = (struct loan *)STAILQ_FIRST(&letters);
		if (!loan)
			continue;
		assert(!STAILQ_NEXT(&loan->letter, link)); /* one at a time */
		if (!loan->session) {
			free(loan);
			return NULL;
		}
		ask(loan);
		mailbox_put_one(&agent->answers, &loan->letter);
	}
}

static void start_thread(struct key_agent *agent)
{
	sigset_t all, old;

	if (agent->has_thread)
		return;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are main's */
	agent->has_thread = pthread_create(&agent->thread, NULL, agent_main, agent) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (agent->has_thread)
		(void)pthread_setname_np(agent->thread, "ssh-agent");
}

/* --- The loop --- */

static bool has_connection(struct key_agent *agent)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (agent->is_broken) {
		(void)close(agent->fd);
		agent->fd = -1;
		agent->is_broken = false;
	}
	if (agent->fd >= 0)
		return true;
	if (strlen(agent->socket) >= sizeof(address.sun_path))
		return false;
	strcpy(address.sun_path, agent->socket);
	agent->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (agent->fd >= 0 &&
	    connect(agent->fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return true;
	if (agent->fd >= 0)
		(void)close(agent->fd);
	agent->fd = -1;
	return false;
}

static void answer(struct visit *visit, int value)
{
	visit->is_lent = false;
	visit->agent_answer = value;
	visit_wake(visit);
}

/* The next visit's session goes to the thread. */
static void lend_next(struct key_agent *agent)
{
	struct visit *visit;

	while (!agent->loan && (visit = TAILQ_FIRST(&agent->queue))) {
		struct loan *loan;

		TAILQ_REMOVE(&agent->queue, visit, queue_link);
		start_thread(agent);
		if (!agent->has_thread || !has_connection(agent)) {
			answer(visit, SSH_AUTH_DENIED);
			continue;
		}
		loan = xcalloc(1, sizeof(*loan));
		loan->session = visit->session;
		loan->user = xstrdup(visit->user);
		loan->agent_fd = agent->fd;
		loan->visit = visit;
		/* The visit may go before the session comes back. */
		ssh_set_counters(visit->session, NULL, NULL);
		agent->loan = loan;
		mailbox_put_one(&agent->questions, &loan->letter);
	}
}

static void take_back(struct key_agent *agent, struct loan *loan)
{
	struct visit *visit = loan->visit;

	agent->loan = NULL;
	if (visit) {
		ssh_set_counters(visit->session, &visit->moved, NULL);
		if (loan->answer == SSH_AUTH_AGAIN) {
			visit->is_lent = false;
			visit_watch(visit);
		} else {
			answer(visit, loan->answer);
		}
	} else {
		ssh_free(loan->session);
	}
	/* A connection on which a call failed may be out of step. */
	if (loan->answer == SSH_AUTH_ERROR || loan->answer == SSH_AUTH_DENIED)
		agent->is_broken = agent->fd >= 0;
	free(loan->user);
	free(loan);
}

static void on_answer(evutil_socket_t fd, short what, void *context)
{
	struct key_agent *agent = context;
	struct letters letters;
	struct loan *loan;

	(void)fd;
	(void)what;
	mailbox_take(&agent->answers, &letters);
	loan = (struct loan *)STAILQ_FIRST(&letters);
	if (loan)
		take_back(agent, loan);
	lend_next(agent);
}

void key_agent_lend(struct key_agent *agent, struct visit *visit)
{
	assert(!visit->is_lent);
	visit->is_lent = true;
	visit->agent_answer = AGENT_NO_ANSWER;
	TAILQ_INSERT_TAIL(&agent->queue, visit, queue_link);
	lend_next(agent);
}

void key_agent_abandon(struct key_agent *agent, struct visit *visit)
{
	assert(visit->is_lent);
	visit->is_lent = false;
	if (agent->loan && agent->loan->visit == visit) {
		agent->loan->visit = NULL;
		agent->is_broken = true;
		(void)shutdown(agent->fd, SHUT_RDWR);
	} else {
		TAILQ_REMOVE(&agent->queue, visit, queue_link);
		ssh_free(visit->session);
	}
	visit->session = NULL;
}

struct key_agent *key_agent_new(struct engine *engine, const char *socket)
{
	struct key_agent *agent = xcalloc(1, sizeof(*agent));

	agent->engine = engine;
	agent->socket = xstrdup(socket);
	agent->fd = -1;
	TAILQ_INIT(&agent->queue);
	if (mailbox_init(&agent->questions) < 0 || mailbox_init(&agent->answers) < 0)
		abort();
	agent->answer_event = event_new(worker_base(engine->worker), agent->answers.fd,
					EV_READ | EV_PERSIST, on_answer, agent);
	if (!agent->answer_event || event_add(agent->answer_event, NULL) < 0)
		abort();
	return agent;
}

void key_agent_free(struct key_agent *agent)
{
	struct loan *end;

	if (!agent)
		return;
	assert(TAILQ_EMPTY(&agent->queue));
	if (agent->has_thread) {
		/* An abandoned call ends soon, since its connection was shut down. */
		while (agent->loan) {
			struct pollfd mail = {.fd = agent->answers.fd, .events = POLLIN};

			(void)poll(&mail, 1, -1);
			on_answer(-1, 0, agent);
		}
		end = xcalloc(1, sizeof(*end));
		mailbox_put_one(&agent->questions, &end->letter);
		(void)pthread_join(agent->thread, NULL);
	}
	event_free(agent->answer_event);
	mailbox_done(&agent->questions);
	mailbox_done(&agent->answers);
	if (agent->fd >= 0)
		(void)close(agent->fd);
	free(agent->socket);
	free(agent);
}
