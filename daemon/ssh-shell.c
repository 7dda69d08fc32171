/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands typed into one shell on a terminal (RFC 4254, 6.2 and 6.5), as devices want them: the
 * talk itself is ssh-dialog, this carries its bytes. The login in the shell and its setup go on
 * while main puts its mark on disk; the first command waits for it.
 */
#include "daemon/kind-ssh.h"

#include "common/units.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/ssh-dialog.h"
#include "daemon/ssh-screen.h"

#include <assert.h>

enum { TYPED_PIECE_MAX = 32 << 10, NOISE_MAX = 1 << 20 };

struct shell {
	struct dialog *dialog;
	struct dialog_plan plan;
	char *password, *secret; /* wiped when they are freed */
	int64_t received;        /* bytes, with all that is no output */
};

void visit_free_shell(struct visit *visit)
{
	struct shell *shell = visit->shell;

	if (!shell)
		return;
	dialog_free(shell->dialog);
	secret_free(shell->password);
	secret_free(shell->secret);
	free(shell);
	visit->shell = NULL;
}

static void on_output(const char *bytes, size_t size, void *context)
{
	visit_output(context, STREAM_STDOUT, bytes, size);
}

static void open_shell(struct visit *visit)
{
	const struct ssh_options *options = visit->options;
	struct shell *shell = xcalloc(1, sizeof(*shell));

	visit->shell = shell;
	visit_shell_secrets(visit, &shell->password, &shell->secret);
	shell->plan = (struct dialog_plan){
		.profile = visit_profile(visit),
		.profiles = visit->engine->config->profiles,
		.version = ssh_get_serverbanner(visit->session),
		.user = visit->user,
		.password = shell->password,
		.secret = shell->secret ? shell->secret : shell->password,
		.wants_enable = options->is_enabling,
		.commands = options->commands.items,
		.command_count = options->commands.count,
		.answers = options->answers,
		.answer_count = options->answer_count,
	};
	shell->dialog =
		dialog_new(&shell->plan, worker_now_us(visit->engine->worker), on_output, visit);
}

void visit_shell_received(struct visit *visit, const char *bytes, size_t size)
{
	visit->shell->received += (int64_t)size;
	dialog_feed(visit->shell->dialog, bytes, size, worker_now_us(visit->engine->worker));
}

const char *visit_shell_profile(const struct visit *visit)
{
	const struct profile *profile = visit->shell ? dialog_profile(visit->shell->dialog) : NULL;

	return profile ? profile->name : NULL;
}

const char *visit_shell_last_line(const struct visit *visit)
{
	return visit->shell ? dialog_last_line(visit->shell->dialog) : "";
}

int64_t visit_shell_deadline(const struct visit *visit)
{
	return visit->shell
		       ? dialog_deadline(visit->shell->dialog, worker_now_us(visit->engine->worker))
		       : INT64_MAX;
}

/* --- Asking for it --- */

static const char *terminal(const struct visit *visit)
{
	const struct profile *profile = visit_profile(visit);

	return profile_say(profile ? profile : profiles_generic(visit->engine->config->profiles),
			   TEXT_TERMINAL);
}

static enum progress fail_request(struct visit *visit, const char *what)
{
	if (visit_is_lost(visit))
		return visit_lost(visit);
	return visit_fail(visit, CLASS_PROTOCOL, "%s gives no %s: %s", visit->target.host, what,
			  ssh_get_error(visit->session));
}

enum progress visit_step_terminal(struct visit *visit)
{
	switch (ssh_channel_request_pty_size(visit->channel, terminal(visit), SCREEN_WIDTH,
					     SCREEN_HEIGHT)) {
	case SSH_OK:
		open_shell(visit);
		return visit_go(visit, STEP_SHELL);
	case SSH_AGAIN:
		return PROGRESS_AGAIN;
	default:
		return fail_request(visit, "terminal");
	}
}

enum progress visit_step_shell(struct visit *visit)
{
	switch (ssh_channel_request_shell(visit->channel)) {
	case SSH_OK:
		return visit_go(visit, STEP_PROMPT);
	case SSH_AGAIN:
		return PROGRESS_AGAIN;
	default:
		return fail_request(visit, "shell");
	}
}

/* --- The talk --- */

/* As much as the far side takes now; what was typed leaves this memory. */
static void write_typed(struct visit *visit)
{
	struct dialog *dialog = visit->shell->dialog;

	for (;;) {
		size_t size;
		const char *bytes = dialog_to_type(dialog, &size);
		int n;

		if (size == 0 || visit->is_closed ||
		    (ssh_get_status(visit->session) & SSH_WRITE_PENDING) ||
		    ssh_channel_window_size(visit->channel) == 0)
			return;
		size = size < TYPED_PIECE_MAX ? size : TYPED_PIECE_MAX;
		n = ssh_channel_write(visit->channel, bytes, (uint32_t)size);
		if (n <= 0)
			return;
		dialog_typed(dialog, (size_t)n);
	}
}

static enum progress fail_ended(struct visit *visit)
{
	const char *last = visit_shell_last_line(visit);

	if (!visit->is_closed && visit_is_lost(visit))
		return visit_lost(visit);
	return visit_fail(visit, CLASS_PROTOCOL, "%s ended the shell before its prompt came%s%s%s",
			  visit->target.host, *last ? " (its last line: '" : "", last,
			  *last ? "')" : "");
}

static enum progress ready(struct visit *visit)
{
	int64_t now_us = worker_now_us(visit->engine->worker);

	if (!visit->is_allowed) {
		visit_wait_begin(visit);
		return PROGRESS_AGAIN;
	}
	visit_wait_end(visit);
	visit->is_sent = true;
	dialog_allow(visit->shell->dialog, now_us);
	write_typed(visit);
	visit->idle_deadline_us = now_us + visit->idle_timeout_us;
	return visit_go(visit, STEP_TALK);
}

static enum progress go_on(struct visit *visit)
{
	struct dialog *dialog = visit->shell->dialog;
	enum error_class class;
	const char *why;

	switch (dialog_state(dialog)) {
	case DIALOG_FAILED:
		why = dialog_why(dialog, &class);
		return visit_fail(visit, class, "%s %s", visit->target.host, why);
	case DIALOG_DONE:
		visit_output_flush(visit, true);
		ssh_channel_free(visit->channel);
		visit->channel = NULL;
		return PROGRESS_END;
	case DIALOG_READY:
		return ready(visit);
	case DIALOG_LOGIN:
	case DIALOG_ENABLE:
	case DIALOG_SETUP:
	case DIALOG_COMMAND:
	default:
		return PROGRESS_AGAIN;
	}
}

/* The last line is looked at when all that came is read. */
enum progress visit_step_talk(struct visit *visit)
{
	struct shell *shell = visit->shell;
	uint64_t before = visit->moved.in_bytes;
	enum progress progress;

	if (visit_output_is_held(visit))
		return PROGRESS_WAIT;
	write_typed(visit);
	visit_pump(visit);
	if (visit->is_over_limit || shell->received > 2 * visit->options->max_output + NOISE_MAX)
		return visit_fail_over_limit(visit);
	if (visit->moved.in_bytes != before)
		return PROGRESS_AGAIN;
	dialog_settle(shell->dialog, worker_now_us(visit->engine->worker));
	write_typed(visit);
	progress = go_on(visit);
	if (progress == PROGRESS_AGAIN &&
	    (visit->has_eof || visit->is_closed || visit_is_lost(visit)))
		return fail_ended(visit);
	return progress;
}
