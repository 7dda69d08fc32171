/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ssh-dialog.h"

#include "common/util.h"
#include "daemon/ssh-screen.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

enum {
	BANNER_MAX = 4096,
	TYPED_MAX = 128 << 10, /* that the device has not taken */
	/*
	 * Nothing came for so long, in microseconds. The first is what the rest of a line may take
	 * that came in two pieces: only then is a question or a new prompt one. Another prompt in
	 * the midst of commands is tried after the second. After the third a question without an
	 * answer fails, and what was tried and stands there still is the prompt; after the last,
	 * who says nothing at all is woken.
	 */
	SETTLED_US = 20000,
	QUIET_US = 200000,
	ASKING_US = 1000000,
	SILENT_US = 3000000,
};

struct dialog {
	const struct dialog_plan *plan;
	const struct profile *profile; /* NULL: not recognised */
	enum dialog_state state;
	dialog_output_fn *output;
	void *context;
	int64_t active_us; /* when something was said last, by either */

	/* What is seen */
	struct screen screen;
	char last[SCREEN_WIDTH + 1];   /* the line that is not ended, when it was looked at */
	char before[SCREEN_WIDTH + 1]; /* the line above that is not blank */
	char *banner;                  /* what came before the first prompt */
	size_t banner_size;
	bool has_moved;   /* a line has ended since something was typed */
	bool is_answered; /* the last line was a question, and has its answer */

	/* Prompts */
	char *prompt; /* NULL: not learnt */
	char *tried;  /* looks like one, and got an empty line; NULL for none */
	bool is_held; /* `tried` came as a line: output, unless it is the prompt */
	bool is_woken;

	/* What is typed */
	char *typed;
	size_t typed_size;
	unsigned users_given, passwords_given;
	size_t at;          /* which of the setup, which of the commands */
	char *echo;         /* what comes back of it, without blanks; NULL: no more */
	size_t echo_at;     /* so much of it has */
	size_t blank_lines; /* of output, held back */
	char *fault;        /* a line that says that the command failed */

	enum error_class class;
	char *why;
};

static void fail(struct dialog *dialog, enum error_class class, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void fail(struct dialog *dialog, enum error_class class, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (!dialog->why && vasprintf(&dialog->why, format, arguments) < 0)
		abort();
	va_end(arguments);
	dialog->class = class;
	dialog->state = DIALOG_FAILED;
}

/* --- Typing --- */

static void type(struct dialog *dialog, const char *text, int64_t now_us)
{
	size_t size = strlen(text);
	char *typed = xmalloc(dialog->typed_size + size);

	/* Not realloc: what was there may be a secret. */
	if (dialog->typed_size > 0)
		memcpy(typed, dialog->typed, dialog->typed_size);
	memcpy(typed + dialog->typed_size, text, size);
	if (dialog->typed)
		explicit_bzero(dialog->typed, dialog->typed_size);
	free(dialog->typed);
	dialog->typed = typed;
	dialog->typed_size += size;
	dialog->active_us = now_us;
	if (dialog->typed_size > TYPED_MAX)
		fail(dialog, CLASS_PROTOCOL, "does not take what is typed");
}

const char *dialog_to_type(const struct dialog *dialog, size_t *ret_size)
{
	*ret_size = dialog->typed_size;
	return dialog->typed;
}

void dialog_typed(struct dialog *dialog, size_t size)
{
	assert(size <= dialog->typed_size);
	if (size == 0)
		return;
	dialog->typed_size -= size;
	memmove(dialog->typed, dialog->typed + size, dialog->typed_size);
	explicit_bzero(dialog->typed + dialog->typed_size, size);
}

static const struct profile *rules(const struct dialog *dialog)
{
	return dialog->profile ? dialog->profile : profiles_generic(dialog->plan->profiles);
}

static void type_line(struct dialog *dialog, const char *text, int64_t now_us)
{
	type(dialog, text, now_us);
	type(dialog, profile_say(rules(dialog), TEXT_ENTER), now_us);
	dialog->has_moved = false;
}

/* --- Commands --- */

/* Blanks are left out: a long line may have been broken where it is echoed. */
static char *without_blanks(const char *a, const char *b)
{
	char *text = xasprintf("%s%s", a, b), *out = text;

	for (const char *in = text; *in; in++)
		if (!isspace((unsigned char)*in))
			*out++ = *in;
	*out = '\0';
	return text;
}

static void run_command(struct dialog *dialog, const char *command, int64_t now_us)
{
	free(dialog->echo);
	dialog->echo = without_blanks(dialog->prompt, command);
	dialog->echo_at = 0;
	dialog->blank_lines = 0;
	type_line(dialog, command, now_us);
}

static void begin_setup(struct dialog *dialog, int64_t now_us)
{
	if (dialog->at < dialog->profile->setup_count) {
		dialog->state = DIALOG_SETUP;
		run_command(dialog, dialog->profile->setup[dialog->at], now_us);
		return;
	}
	dialog->at = 0;
	dialog->state = DIALOG_READY;
}

static bool is_unprivileged(const struct dialog *dialog)
{
	return profile_matches(dialog->profile, PATTERN_UNPRIVILEGED, dialog->prompt);
}

static void after_login(struct dialog *dialog, int64_t now_us)
{
	const struct dialog_plan *plan = dialog->plan;

	if (!dialog->profile)
		dialog->profile =
			profiles_recognise(plan->profiles, plan->version ? plan->version : "",
					   dialog->banner ? dialog->banner : "", dialog->prompt);
	free(dialog->banner);
	dialog->banner = NULL;
	dialog->passwords_given = 0;
	if (!plan->wants_enable || !is_unprivileged(dialog)) {
		begin_setup(dialog, now_us);
		return;
	}
	dialog->state = DIALOG_ENABLE;
	run_command(dialog, profile_say(dialog->profile, TEXT_ENABLE), now_us);
}

static void command_ended(struct dialog *dialog, int64_t now_us)
{
	const struct dialog_plan *plan = dialog->plan;

	if (dialog->fault && plan->command_count > 1)
		fail(dialog, CLASS_DEVICE, "refused command %zu of %zu (%s): %s", dialog->at + 1,
		     plan->command_count, plan->commands[dialog->at], dialog->fault);
	else if (dialog->fault)
		fail(dialog, CLASS_DEVICE, "refused the command: %s", dialog->fault);
	else if (++dialog->at == plan->command_count)
		dialog->state = DIALOG_DONE;
	else
		run_command(dialog, plan->commands[dialog->at], now_us);
}

void dialog_allow(struct dialog *dialog, int64_t now_us)
{
	assert(dialog->state == DIALOG_READY);
	dialog->state = DIALOG_COMMAND;
	run_command(dialog, dialog->plan->commands[dialog->at], now_us);
}

/* --- Prompts --- */

/* The part of a prompt that names the host: "r7" of "r7(config)#", "<r7>" and "[~r7]". */
static size_t host_part(const char *prompt, const char **ret_begin)
{
	*ret_begin = prompt + strspn(prompt, "<[(*~ ");
	return strcspn(*ret_begin, "(#>$%]~ )");
}

static bool is_of_same_host(const char *before, const char *now)
{
	const char *host, *other;
	size_t size = host_part(before, &host);

	(void)host_part(now, &other);
	return size > 0 && strncmp(host, other, size) == 0 &&
	       !(isalnum((unsigned char)host[size - 1]) &&
		 (isalnum((unsigned char)other[size]) ||
		  (other[size] != '\0' && strchr("-_.", other[size]))));
}

static void take_prompt(struct dialog *dialog, int64_t now_us)
{
	if (!dialog->prompt || !streq(dialog->prompt, dialog->last)) {
		free(dialog->prompt);
		dialog->prompt = xstrdup(dialog->last);
	}
	free(dialog->tried);
	dialog->tried = NULL;
	dialog->is_held = false;
	switch (dialog->state) {
	case DIALOG_LOGIN:
		after_login(dialog, now_us);
		break;
	case DIALOG_ENABLE:
		if (is_unprivileged(dialog))
			fail(dialog, CLASS_AUTH, "stays at '%s' after %s: look at the secret",
			     dialog->prompt, profile_say(dialog->profile, TEXT_ENABLE));
		else
			begin_setup(dialog, now_us);
		break;
	case DIALOG_SETUP:
		dialog->at++;
		begin_setup(dialog, now_us);
		break;
	case DIALOG_COMMAND:
		command_ended(dialog, now_us);
		break;
	case DIALOG_READY:
	case DIALOG_DONE:
	case DIALOG_FAILED:
		break;
	}
}

static bool is_known_prompt(const struct dialog *dialog)
{
	return dialog->prompt && streq(dialog->prompt, dialog->last);
}

static void try_prompt(struct dialog *dialog, int64_t now_us)
{
	free(dialog->tried);
	dialog->tried = xstrdup(dialog->last);
	type_line(dialog, "", now_us);
}

/* Does the last line look like a prompt? If it is one, or must be found out, that is done. */
static bool look_for_prompt(struct dialog *dialog, int64_t quiet_us, int64_t now_us)
{
	bool is_known = is_known_prompt(dialog);

	if (!is_known && !profile_matches(rules(dialog), PATTERN_PROMPT, dialog->last))
		return false;
	if (dialog->prompt && !dialog->has_moved)
		return true; /* what was typed was not even echoed */
	if (is_known || (dialog->prompt && is_of_same_host(dialog->prompt, dialog->last)) ||
	    (dialog->tried && dialog->has_moved && streq(dialog->before, dialog->last)) ||
	    (dialog->tried && quiet_us >= ASKING_US))
		take_prompt(dialog, now_us);
	else if (!dialog->tried && (!dialog->prompt || quiet_us >= QUIET_US))
		try_prompt(dialog, now_us);
	return true;
}

/* --- Questions --- */

static bool answer_pager(struct dialog *dialog, int64_t now_us)
{
	if (!profile_matches(rules(dialog), PATTERN_PAGER, dialog->last))
		return false;
	type(dialog, profile_say(rules(dialog), TEXT_PAGER_KEY), now_us);
	screen_clear_line(&dialog->screen);
	return true;
}

static void give_password(struct dialog *dialog, int64_t now_us)
{
	const struct dialog_plan *plan = dialog->plan;
	bool is_enabling = dialog->state == DIALOG_ENABLE;
	const char *secret = is_enabling && plan->secret ? plan->secret : plan->password;
	const char *what = is_enabling ? "for enable" : "at its own login";

	if (!secret)
		fail(dialog, CLASS_AUTH,
		     "asks for a secret %s, and there is none: name a --credential that has one",
		     what);
	else if (dialog->passwords_given++ > 0)
		fail(dialog, CLASS_AUTH, "does not take the secret %s", what);
	else
		type_line(dialog, secret, now_us);
}

/* Only before commands run: what they ask is for whoever wrote them to answer. */
static bool answer_login(struct dialog *dialog, int64_t now_us)
{
	if (dialog->state != DIALOG_LOGIN && dialog->state != DIALOG_ENABLE)
		return false;
	if (profile_matches(rules(dialog), PATTERN_PASSWORD, dialog->last)) {
		give_password(dialog, now_us);
		return true;
	}
	if (!profile_matches(rules(dialog), PATTERN_USERNAME, dialog->last))
		return false;
	if (dialog->users_given++ > 0)
		fail(dialog, CLASS_AUTH, "does not let user %s in at its own login",
		     dialog->plan->user);
	else
		type_line(dialog, dialog->plan->user, now_us);
	return true;
}

static bool answer_question(struct dialog *dialog, int64_t now_us)
{
	const struct dialog_plan *plan = dialog->plan;
	const char *text = answers_find(plan->answers, plan->answer_count, dialog->last);

	if (!text)
		text = profile_answer(rules(dialog), dialog->last);
	if (!text)
		return false;
	type_line(dialog, text, now_us);
	return true;
}

static void wake(struct dialog *dialog, int64_t quiet_us, int64_t now_us)
{
	if (dialog->state != DIALOG_LOGIN || dialog->is_woken || quiet_us < SILENT_US)
		return;
	dialog->is_woken = true;
	type_line(dialog, "", now_us);
}

/* --- Looking --- */

static bool is_over(const struct dialog *dialog)
{
	return dialog->state == DIALOG_DONE || dialog->state == DIALOG_FAILED;
}

void dialog_settle(struct dialog *dialog, int64_t now_us)
{
	int64_t quiet_us = now_us - dialog->active_us;

	screen_line(&dialog->screen, dialog->last);
	if (is_over(dialog) || dialog->state == DIALOG_READY)
		return;
	if (dialog->is_answered && !is_known_prompt(dialog))
		return;
	if (dialog->last[0] == '\0') {
		wake(dialog, quiet_us, now_us);
		return;
	}
	if (answer_pager(dialog, now_us) || (quiet_us < SETTLED_US && !is_known_prompt(dialog)))
		return;
	if (answer_login(dialog, now_us) || answer_question(dialog, now_us)) {
		dialog->is_answered = true;
		return;
	}
	if (look_for_prompt(dialog, quiet_us, now_us))
		return;
	if (quiet_us >= ASKING_US && profile_matches(rules(dialog), PATTERN_QUESTION, dialog->last))
		fail(dialog, CLASS_PROMPT,
		     "asks '%s', and nothing says what to answer: give --answer 'PATTERN=TEXT'",
		     dialog->last);
}

int64_t dialog_deadline(const struct dialog *dialog, int64_t now_us)
{
	static const int64_t steps_us[] = {SETTLED_US, QUIET_US, ASKING_US, SILENT_US};

	if (is_over(dialog) || dialog->state == DIALOG_READY)
		return INT64_MAX;
	for (size_t i = 0; i < ARRAY_SIZE(steps_us); i++)
		if (dialog->active_us + steps_us[i] > now_us)
			return dialog->active_us + steps_us[i];
	return INT64_MAX;
}

/* --- Lines --- */

static void give(struct dialog *dialog, const char *line, size_t size, bool is_soft)
{
	/* Blank lines at the end are the device's way to its prompt. */
	if (size == 0 && !is_soft && !dialog->screen.is_continued) {
		dialog->blank_lines++;
		return;
	}
	for (; dialog->blank_lines > 0; dialog->blank_lines--)
		dialog->output("\n", 1, dialog->context);
	if (size > 0)
		dialog->output(line, size, dialog->context);
	if (!is_soft)
		dialog->output("\n", 1, dialog->context);
}

/* Who cannot move the cursor up shows the end of a long line alone, behind a '<' (readline). */
static bool is_end_of_echo(const char *echo, const char *seen)
{
	size_t size = strlen(seen), whole = strlen(echo);

	return size > 1 && seen[0] == '<' && size - 1 <= whole &&
	       streq(echo + whole - (size - 1), seen + 1);
}

/* Is it (the next part of) what was typed, come back? */
static bool is_echo(struct dialog *dialog, const char *line)
{
	autofree char *seen = NULL;
	size_t size;
	bool is_part, is_end;

	if (!dialog->echo)
		return false;
	seen = without_blanks(line, "");
	size = strlen(seen);
	is_part = strncmp(dialog->echo + dialog->echo_at, seen, size) == 0;
	is_end = is_end_of_echo(dialog->echo, seen);
	dialog->echo_at += size;
	if (!is_part || is_end || dialog->echo[dialog->echo_at] == '\0') {
		free(dialog->echo);
		dialog->echo = NULL;
	}
	return is_part || is_end;
}

static void take_output(struct dialog *dialog, const char *line, size_t size, bool is_soft)
{
	const struct profile *profile = dialog->profile;

	if (is_echo(dialog, line) || profile_matches(profile, PATTERN_NOISE, line))
		return;
	if (!dialog->fault && profile_matches(profile, PATTERN_ERROR, line))
		dialog->fault = xstrdup(line);
	if (dialog->is_held) {
		give(dialog, dialog->tried, strlen(dialog->tried), false);
		dialog->is_held = false;
	}
	give(dialog, line, size, is_soft);
}

static void add_banner(struct dialog *dialog, const char *line, size_t size)
{
	if (dialog->banner_size + size + 2 > BANNER_MAX)
		return;
	dialog->banner = xrealloc(dialog->banner, BANNER_MAX);
	memcpy(dialog->banner + dialog->banner_size, line, size);
	dialog->banner_size += size;
	dialog->banner[dialog->banner_size++] = '\n';
	dialog->banner[dialog->banner_size] = '\0';
}

static void on_line(const char *line, size_t size, bool is_soft, void *context)
{
	struct dialog *dialog = context;
	size_t trimmed = size;

	while (trimmed > 0 && isspace((unsigned char)line[trimmed - 1]))
		trimmed--;
	if (trimmed > 0) {
		memcpy(dialog->before, line, trimmed);
		dialog->before[trimmed] = '\0';
	}
	dialog->has_moved = true;
	dialog->is_answered = false;
	if (dialog->state == DIALOG_LOGIN)
		add_banner(dialog, line, size);
	if (dialog->state != DIALOG_COMMAND)
		return;
	if (dialog->tried && !dialog->is_held && streq(dialog->before, dialog->tried) &&
	    trimmed > 0)
		dialog->is_held = true;
	else
		take_output(dialog, line, size, is_soft);
}

/* "ESC [ 6 n": some devices find out how wide the terminal is before they say a word. */
static void say_place(struct dialog *dialog, int64_t now_us)
{
	char text[32];

	dialog->screen.is_asked = false;
	(void)snprintf(text, sizeof(text), "\033[1;%zuR", dialog->screen.column + 1);
	type(dialog, text, now_us);
}

void dialog_feed(struct dialog *dialog, const char *bytes, size_t size, int64_t now_us)
{
	if (size == 0 || is_over(dialog))
		return;
	dialog->active_us = now_us;
	screen_feed(&dialog->screen, bytes, size, on_line, dialog);
	if (dialog->screen.is_asked)
		say_place(dialog, now_us);
}

/* --- Whole --- */

struct dialog *dialog_new(const struct dialog_plan *plan, int64_t now_us, dialog_output_fn *fn,
			  void *context)
{
	struct dialog *dialog = xcalloc(1, sizeof(*dialog));

	assert(plan->command_count > 0);
	dialog->plan = plan;
	dialog->profile = plan->profile;
	dialog->output = fn;
	dialog->context = context;
	dialog->active_us = now_us;
	return dialog;
}

void dialog_free(struct dialog *dialog)
{
	if (!dialog)
		return;
	if (dialog->typed)
		explicit_bzero(dialog->typed, dialog->typed_size);
	free(dialog->typed);
	free(dialog->banner);
	free(dialog->prompt);
	free(dialog->tried);
	free(dialog->echo);
	free(dialog->fault);
	free(dialog->why);
	free(dialog);
}

enum dialog_state dialog_state(const struct dialog *dialog)
{
	return dialog->state;
}

const char *dialog_why(const struct dialog *dialog, enum error_class *ret_class)
{
	assert(dialog->state == DIALOG_FAILED);
	*ret_class = dialog->class;
	return dialog->why;
}

const struct profile *dialog_profile(const struct dialog *dialog)
{
	return dialog->profile;
}

const char *dialog_last_line(struct dialog *dialog)
{
	screen_line(&dialog->screen, dialog->last);
	return dialog->last;
}
