/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands: one after the other in one session, each on a channel of its own (RFC 4254, 6.5).
 *
 * Before the first is sent, main puts a mark on disk, so that after a crash nothing that may have
 * taken effect runs twice; the channel is opened meanwhile. A command has ended when the channel is
 * closed, or when both the end of its output and its exit status are there: some servers send no
 * status at all, some wait for us to close.
 *
 * Callbacks of libssh only note what came; the steps act on it.
 */
#include "daemon/kind-ssh.h"

#include "common/units.h"
#include "common/util.h"

#include <assert.h>
#include <ctype.h>

enum {
	STDIN_PIECE_MAX = 32 << 10,
	/* Together well under the second in which a stop without grace must be done */
	TERM_WAIT_US = 400000,
	CLOSE_WAIT_US = 250000,
};

enum quit_phase { QUIT_BEGIN, QUIT_TERM_SENT, QUIT_CLOSED };

/* --- What comes back --- */

/* An earlier command's channel may still have something to say. */
static bool is_ours(const struct visit *visit, ssh_channel channel)
{
	return channel == visit->channel;
}

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t size,
		   int is_stderr, void *context)
{
	struct visit *visit = context;

	(void)session;
	if (!is_ours(visit, channel))
		return (int)size;
	if (visit->shell)
		visit_shell_received(visit, data, size);
	else
		visit_output(visit, is_stderr ? STREAM_STDERR : STREAM_STDOUT, data, size);
	visit->idle_deadline_us = worker_now_us(visit->engine->worker) + visit->idle_timeout_us;
	return (int)size;
}

static void on_eof(ssh_session session, ssh_channel channel, void *context)
{
	struct visit *visit = context;

	(void)session;
	visit->has_eof |= is_ours(visit, channel);
}

static void on_close(ssh_session session, ssh_channel channel, void *context)
{
	struct visit *visit = context;

	(void)session;
	visit->is_closed |= is_ours(visit, channel);
}

static void on_exit_status(ssh_session session, ssh_channel channel, int status, void *context)
{
	struct visit *visit = context;

	(void)session;
	if (!is_ours(visit, channel))
		return;
	visit->has_exit_status = visit->had_exit_status = true;
	visit->exit_status = (uint32_t)status;
}

/* "TERM", "KILL@openssh.com": taken as far as it is such a name, since it goes into JSON. */
static void on_exit_signal(ssh_session session, ssh_channel channel, const char *name, int core,
			   const char *message, const char *language, void *context)
{
	struct visit *visit = context;
	size_t size = 0;

	(void)session;
	(void)core;
	(void)message;
	(void)language;
	if (!is_ours(visit, channel))
		return;
	while (size < sizeof(visit->exit_signal) - 1 &&
	       (isalnum((unsigned char)name[size]) ||
		(name[size] != '\0' && strchr("@.-_", name[size]))))
		size++;
	memcpy(visit->exit_signal, name, size);
	visit->exit_signal[size] = '\0';
	if (size == 0)
		strcpy(visit->exit_signal, "unknown");
}

/* --- Opening --- */

static void begin_channel(struct visit *visit)
{
	visit->channel = ssh_channel_new(visit->session);
	if (!visit->channel)
		abort(); /* out of memory */
	visit->callbacks = (struct ssh_channel_callbacks_struct){
		.size = sizeof(visit->callbacks),
		.userdata = visit,
		.channel_data_function = on_data,
		.channel_eof_function = on_eof,
		.channel_close_function = on_close,
		.channel_exit_status_function = on_exit_status,
		.channel_exit_signal_function = on_exit_signal,
	};
	(void)ssh_set_channel_callbacks(visit->channel, &visit->callbacks);
	visit->has_eof = visit->is_closed = visit->has_exit_status = false;
	visit->stdin_at = 0;
	if (visit->is_announced)
		return;
	visit->is_announced = true;
	worker_sending(visit->engine->worker, visit->task);
}

enum progress visit_step_open(struct visit *visit)
{
	if (!visit->channel)
		begin_channel(visit);
	switch (ssh_channel_open_session(visit->channel)) {
	case SSH_OK:
		return visit_go(visit, visit_has_shell(visit) ? STEP_TERMINAL : STEP_SEND);
	case SSH_AGAIN:
		return PROGRESS_AGAIN;
	default:
		if (visit_is_lost(visit))
			return visit_lost(visit);
		return visit_fail(visit, CLASS_PROTOCOL, "%s opens no channel for command %zu: %s",
				  visit->target.host, visit->command_at + 1,
				  ssh_get_error(visit->session));
	}
}

static bool is_done(const struct visit *visit)
{
	return visit->is_closed ||
	       (visit->has_eof && (visit->has_exit_status || visit->exit_signal[0] != '\0'));
}

static enum progress accepted(struct visit *visit)
{
	visit->is_running = true;
	visit->idle_deadline_us = worker_now_us(visit->engine->worker) + visit->idle_timeout_us;
	return visit_go(visit, STEP_RUN);
}

enum progress visit_step_send(struct visit *visit)
{
	int64_t now_us = worker_now_us(visit->engine->worker);

	if (!visit->is_allowed) {
		visit_wait_begin(visit);
		visit_pump(visit);
		return visit_is_lost(visit) ? visit_lost(visit) : PROGRESS_AGAIN;
	}
	if (!visit->is_sent || visit->wait_began_us != 0) {
		visit_wait_end(visit);
		visit->step_deadline_us = now_us + visit->settings.connect_timeout_us;
	}
	visit->is_sent = true;
	switch (ssh_channel_request_exec(visit->channel,
					 visit->options->commands.items[visit->command_at])) {
	case SSH_OK:
		return accepted(visit);
	case SSH_AGAIN:
		return PROGRESS_AGAIN;
	default:
		/* The answer and the end may have come in one; "no" may be the answer. */
		if (is_done(visit) && ssh_get_error_code(visit->session) != SSH_REQUEST_DENIED)
			return accepted(visit);
		if (visit_is_lost(visit))
			return visit_lost(visit);
		return visit_fail(visit, CLASS_PROTOCOL, "%s refuses to run commands (exec): %s",
				  visit->target.host, ssh_get_error(visit->session));
	}
}

/* --- Running --- */

/* As much as the far side takes now; libssh would queue all of it. */
static void write_stdin(struct visit *visit)
{
	const struct ssh_options *options = visit->options;

	while (visit->stdin_at < options->stdin_size) {
		size_t size = options->stdin_size - visit->stdin_at;
		int n;

		if (visit->is_closed || (ssh_get_status(visit->session) & SSH_WRITE_PENDING) ||
		    ssh_channel_window_size(visit->channel) == 0)
			return;
		size = size < STDIN_PIECE_MAX ? size : STDIN_PIECE_MAX;
		n = ssh_channel_write(visit->channel, options->stdin_bytes + visit->stdin_at,
				      (uint32_t)size);
		if (n <= 0)
			return;
		visit->stdin_at += (size_t)n;
	}
	(void)ssh_channel_send_eof(visit->channel); /* once; more calls do nothing */
}

static bool is_success_code(const struct int_array *codes, uint32_t status)
{
	for (size_t i = 0; i < codes->count; i++)
		if (codes->items[i] == status)
			return true;
	return codes->count == 0 && status == 0;
}

/* " (command 2 of 3)", where there are several */
static char *place_text(const struct visit *visit)
{
	size_t count = visit->options->commands.count;

	return count > 1 ? xasprintf(" (command %zu of %zu)", visit->command_at + 1, count)
			 : xstrdup("");
}

static enum progress command_ended(struct visit *visit)
{
	autofree char *place = place_text(visit);

	visit->is_running = false;
	visit_output_flush(visit, true);
	ssh_channel_free(visit->channel);
	visit->channel = NULL;
	if (visit->exit_signal[0] != '\0')
		return visit_fail(visit, CLASS_SIGNAL, "killed by signal %s%s", visit->exit_signal,
				  place);
	if (visit->has_exit_status &&
	    !is_success_code(&visit->options->success_codes, visit->exit_status))
		return visit_fail(visit, CLASS_EXIT, "exit status %u%s", visit->exit_status, place);
	if (++visit->command_at == visit->options->commands.count)
		return PROGRESS_END;
	visit->step_deadline_us =
		worker_now_us(visit->engine->worker) + visit->settings.connect_timeout_us;
	return visit_go(visit, STEP_OPEN);
}

enum progress visit_fail_over_limit(struct visit *visit)
{
	char text[UNITS_TEXT_MAX];

	return visit_fail(visit, CLASS_OUTPUT_LIMIT,
			  "more output than --max-output (%s): the rest was cut",
			  size_text(visit->options->max_output, text));
}

enum progress visit_step_run(struct visit *visit)
{
	if (visit_output_is_held(visit))
		return PROGRESS_WAIT;
	write_stdin(visit);
	visit_pump(visit);
	if (visit->is_over_limit)
		return visit_fail_over_limit(visit);
	if (is_done(visit))
		return command_ended(visit);
	return visit_is_lost(visit) ? visit_lost(visit) : PROGRESS_AGAIN;
}

/* --- Ending it --- */

/*
 * TERM first; when the grace is over KILL, which a server may refuse once the shell is gone, and
 * the close of the channel. Whatever the far side does, the visit ends when the time is up.
 */
enum progress visit_step_quit(struct visit *visit)
{
	int64_t now_us = worker_now_us(visit->engine->worker);

	visit_pump(visit);
	if (is_done(visit) || visit_is_lost(visit))
		return PROGRESS_END;
	if (visit->quit_phase == QUIT_BEGIN && visit->is_running) {
		(void)ssh_channel_request_send_signal(visit->channel, "TERM");
		visit->quit_phase = QUIT_TERM_SENT;
		visit->quit_deadline_us =
			now_us + (visit->grace_us > 0 ? visit->grace_us : TERM_WAIT_US);
	} else if (visit->quit_phase == QUIT_BEGIN ||
		   (visit->quit_phase == QUIT_TERM_SENT && now_us >= visit->quit_deadline_us)) {
		if (visit->is_running)
			(void)ssh_channel_request_send_signal(visit->channel, "KILL");
		(void)ssh_channel_close(visit->channel);
		visit->quit_phase = QUIT_CLOSED;
		visit->quit_deadline_us = now_us + CLOSE_WAIT_US;
	} else if (now_us >= visit->quit_deadline_us) {
		return PROGRESS_END;
	}
	return PROGRESS_AGAIN;
}
