/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* jobctl start: words to one Start call, of a job or a schedule; with --wait also what comes of it.
 */
#include "client/client.h"
#include "client/files.h"

#include "common/protocol.h"
#include "common/states.h"
#include "common/util.h"

json_t *new_token(void)
{
	unsigned char bytes[16];
	char text[2 * sizeof(bytes) + 1];

	arc4random_buf(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		(void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

static _Noreturn void unknown_kind(const char *kind)
{
	const char *meant = nearest(kind, kind_words);

	if (meant)
		fail(STATUS_WORDS, "unknown kind '%.80s'; did you mean '%s'?", kind, meant);
	fail(STATUS_WORDS, "unknown kind '%.80s'; see jobctl start --help", kind);
}

/* The first option of the table that was given, or NULL. */
static const char *given_option(const struct words *words, const struct option_row *rows)
{
	for (; rows->name; rows++)
		if (words_value(words, rows))
			return rows->name;
	return NULL;
}

/* Options of one kind do not go with another, nor how to show results with no wait for them. */
static void check_options(const struct words *words, const char *kind)
{
	const char *option;

	for (const struct kind_row *row = kinds; row->name; row++) {
		if (streq(kind, row->name))
			continue;
		option = given_option(words, row->options);
		if (option)
			fail(STATUS_WORDS, "--%s is of kind %s, not of %s", option, row->name,
			     kind);
	}
	option = given_option(words, results_options);
	if (option && !words_flag(words, "wait"))
		fail(STATUS_WORDS, "--%s shows results: it needs --wait", option);
}

/* The object of the kind's own parameters. */
static json_t *kind_object(struct words *words, const char *kind)
{
	json_t *object = json_object_get(words->parameters, kind);

	if (!object) {
		object = json_object();
		(void)json_object_set_new(words->parameters, kind, object);
	}
	return object;
}

/* The lines of a file, each a command; blank ones and comments are left out. */
static void read_commands(json_t *list, const char *path)
{
	struct file_lines lines;
	char *line;

	file_lines_open(&lines, path, "commands");
	while ((line = file_lines_next(&lines))) {
		autofree char *what = xasprintf("line %u of @%s", lines.number, path);

		line[strcspn(line, "\r\n")] = '\0';
		if (line[strspn(line, " \t")] != '\0' && line[0] != '#')
			(void)json_array_append_new(list, text_value(line, what));
	}
}

/* --command, @FILE and what stands behind "--". */
static void take_commands(struct words *words, json_t *ssh)
{
	const json_t *given = json_object_get(words->own, "command");
	json_t *lines = json_array();
	char *text = NULL;
	size_t size;

	for (size_t i = 0; i < json_array_size(given); i++) {
		const char *command = json_string_value(json_array_get(given, i));

		if (command[0] == '@')
			read_commands(lines, command + 1);
		else
			(void)json_array_append_new(lines, json_string(command));
	}
	if (words->rest_count > 0) {
		FILE *out = open_memstream(&text, &size);

		/* As ssh(1) does: the words with blanks between, for the far side's shell. */
		for (size_t i = 0; out && i < words->rest_count; i++)
			(void)fprintf(out, "%s%s", i > 0 ? " " : "", words->rest[i]);
		if (!out || fclose(out) != 0)
			abort();
		(void)json_array_append_new(lines, text_value(text, "the command"));
		free(text);
	}
	if (json_array_size(lines) == 0)
		fail(STATUS_WORDS, "what should run there? jobctl start ssh TARGET... -- COMMAND");
	(void)json_object_set_new(ssh, "commands", lines);
}

static void take_stdin(const char *path, json_t *ssh)
{
	FILE *file = file_open(path);
	autofree char *bytes = NULL;
	size_t size = 0, capacity = 0;

	if (!file)
		fail(STATUS_WORDS, "--stdin: cannot read %s: %m", path);
	do {
		capacity = capacity ? 2 * capacity : 65536;
		bytes = xrealloc(bytes, capacity);
		size += fread(bytes + size, 1, capacity - size, file);
	} while (size == capacity);
	if (ferror(file))
		fail(STATUS_WORDS, "--stdin: cannot read %s: %m", path);
	if (file != stdin)
		(void)fclose(file);
	autofree char *text = base64_encode(bytes, size);
	(void)json_object_set_new(ssh, "stdin", json_string(text));
}

/* Its copies here live as long as the program, a moment. */
static void take_password(json_t *ssh)
{
	char *password = ask_secret("Password for the targets: ");

	(void)json_object_set_new(ssh, "password", text_value(password, "the password"));
	secret_free(password);
}

/* A folder or a public key would be passed over, and another key of the user's perhaps let in. */
static void check_identity(const char *path)
{
	enum { HEADING_LINES = 100 }; /* PEM may have some text before */
	FILE *file = fopen(path, "re");
	char line[128];
	bool is_key = false;

	if (!file)
		return; /* jobd may have other rights */
	for (int i = 0; i < HEADING_LINES && !is_key && fgets(line, sizeof(line), file); i++)
		is_key = strstr(line, "PRIVATE KEY") != NULL;
	if (ferror(file))
		fail(STATUS_WORDS, "--identity: cannot read %s: %m", path);
	(void)fclose(file);
	if (!is_key)
		fail(STATUS_WORDS,
		     "--identity: %s is no private key: name one as ssh-keygen makes it, without "
		     ".pub",
		     path);
}

static void take_identity(const char *identity, json_t *ssh)
{
	/* jobd works in another folder. */
	autofree char *whole = realpath(identity, NULL);

	if (!whole)
		fail(STATUS_WORDS, "--identity: cannot read %s: %m", identity);
	check_identity(whole);
	(void)json_object_set_new(ssh, "identity", json_string(whole));
}

static bool is_dry_run(const struct words *words)
{
	return json_is_true(json_object_get(words->parameters, "dryRun"));
}

static void take_kind(struct words *words, const char *kind)
{
	json_t *object = kind_object(words, kind);
	bool is_4 = words_flag(words, "4"), is_6 = words_flag(words, "6");
	const char *identity = words_text(words, "identity");
	json_t *rate = json_object_get(words->own, "rate");

	if (rate)
		(void)json_object_set(object, "rate", rate);

	if (streq(kind, "ssh")) {
		take_commands(words, object);
		if (words_flag(words, "ask-password") && !is_dry_run(words))
			take_password(object);
		if (words_text(words, "stdin"))
			take_stdin(words_text(words, "stdin"), object);
		if (identity)
			take_identity(identity, object);
		return;
	}
	if (words->has_rest)
		fail(STATUS_WORDS, "a ping takes no command: leave out '--' and what follows");
	if (is_4 && is_6)
		fail(STATUS_WORDS, "-4 and -6 do not go together");
	if (is_4 || is_6)
		(void)json_object_set_new(object, "family", json_string(is_4 ? "ipv4" : "ipv6"));
}

static void take_targets(struct words *words, const char *kind)
{
	const json_t *excluded = json_object_get(words->own, "exclude");
	json_t *targets = json_array(), *exclude = json_array();
	bool is_ssh = streq(kind, "ssh");
	json_t *hosts = is_ssh ? json_array() : NULL;
	json_t *addresses = json_object();
	const struct target_lists lists = {targets, hosts, addresses, is_ssh};
	const struct target_lists left_out = {exclude, NULL, NULL, is_ssh};

	for (size_t i = 1; i < words->argument_count; i++)
		targets_read(&lists, words->arguments[i]);
	exclude_read(&lists, &left_out, excluded);
	(void)json_object_set_new(words->parameters, "targets", targets);
	if (json_array_size(exclude) > 0)
		(void)json_object_set(words->parameters, "exclude", exclude);
	if (json_array_size(hosts) > 0)
		(void)json_object_set(kind_object(words, kind), "hosts", hosts);
	if (json_object_size(addresses) > 0)
		(void)json_object_set(kind_object(words, kind), "addresses", addresses);
	json_decref(exclude);
	json_decref(hosts);
	json_decref(addresses);
}

/* Why not everything was tried. */
static void tell_reason(json_t *selection)
{
	json_t *reply = talk("List", json_pack("{s:o}", "selection", selection));
	const json_t *job = json_array_get(json_object_get(reply, "jobs"), 0);

	if (*text_of(job, "reason") && !globals.is_quiet)
		(void)fprintf(stderr, "jobctl: job %lld: %s\n", (long long)number_of(job, "id"),
			      text_of(job, "reason"));
	json_decref(reply);
}

/*
 * Stays until the end: results as they come, with a bar below where progress is shown, and their
 * status. Raw bytes may leave a line open, which a bar would go over, and of failures alone it
 * would not go on: there it comes first.
 */
static enum status wait_and_receive(struct results_options *options, int64_t id, int64_t tasks)
{
	bool is_bar_first = options->is_failed_only || (options->is_raw && !options->is_single);
	autofree char *selector = xasprintf("%lld", (long long)id);
	json_t *selection = json_pack("{s:[s]}", "selectors", selector);
	struct results_sums received;
	json_t *sums;
	int64_t not_done;

	talk_on_interrupt(id);
	if (progress_is_shown() && !is_bar_first && !options->is_single)
		options->bar_tasks = tasks;
	if (progress_is_shown() && is_bar_first)
		json_decref(wait_for(json_pack("{s:O}", "selection", selection)));
	results_receive(json_pack("{s:O, s:b}", "selection", selection, "wait", 1), options,
			&received);
	/* Of what was never begun there are no results. */
	sums = wait_for(json_pack("{s:O}", "selection", selection));
	if (options->is_summary && !options->is_failed_only)
		results_tell_missing(&received, number_of(sums, "tasks"));
	tell_reason(selection);
	not_done = number_of(sums, "tasks") - number_of(sums, "succeeded");
	/* The id that is wanted now has not been seen. */
	if (not_done > 0 && globals.is_terminal[1] && !globals.is_quiet && !globals.is_json)
		(void)fprintf(stderr,
			      "jobctl: job %lld: %lld of %lld did not succeed; `jobctl retry %lld` "
			      "tries just these\n",
			      (long long)id, (long long)not_done,
			      (long long)number_of(sums, "tasks"), (long long)id);
	json_decref(sums);
	return not_done > 0 ? STATUS_FAILED : STATUS_OK;
}

/* A schedule is made by one rule, and nobody waits for it. */
static bool check_schedule(const struct words *words)
{
	static const char *const rules[] = {"everyUsec", "atUsec", "onCalendar"};
	const json_t *schedule = json_object_get(words->parameters, "schedule");
	size_t count = 0;

	if (!schedule)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		count += json_object_get(schedule, rules[i]) != NULL;
	if (count == 0)
		fail(STATUS_WORDS, "--catch-up, --overlap and --keep-last are of a schedule: it "
				   "needs --every, --at or --on-calendar");
	if (count > 1)
		fail(STATUS_WORDS, "--every, --at and --on-calendar do not go together");
	if (words_flag(words, "wait"))
		fail(STATUS_WORDS, "--wait does not go with a schedule, whose jobs come later");
	if (words_flag(words, "ask-password"))
		fail(STATUS_WORDS, "--ask-password does not go with a schedule, which keeps no "
				   "password: use a key, or a credential of jobd.conf");
	return true;
}

enum status cmd_start(struct words *words)
{
	const char *kind = words->argument_count > 0 ? words->arguments[0] : NULL;
	struct results_options options;
	json_t *reply;
	int64_t id, tasks;
	bool is_schedule;

	if (!kind)
		fail(STATUS_WORDS, "which kind? jobctl start ping TARGET..., or jobctl start ssh "
				   "TARGET... -- COMMAND");
	if (word_find(kind_words, kind) < 0)
		unknown_kind(kind);
	check_options(words, kind);
	options = results_options_of(words);
	is_schedule = check_schedule(words);
	if (words->argument_count < 2)
		fail(STATUS_WORDS, "no target: jobctl start %s TARGET...", kind);
	take_kind(words, kind);
	take_targets(words, kind);
	(void)json_object_set_new(words->parameters, "kind", json_string(kind));
	(void)json_object_set_new(words->parameters, "token", new_token());
	if (options.dir && !is_dry_run(words))
		files_make_dir(options.dir);
	reply = talk("Start", json_incref(words->parameters));
	if (is_dry_run(words)) {
		json_decref(reply);
		dry_run(words->parameters, kind);
		return STATUS_OK;
	}
	id = number_of(reply, "id");
	tasks = number_of(reply, "tasks");
	options.is_single = tasks == 1;
	if (globals.is_json)
		print_json(reply);
	(void)fflush(stdout);
	json_decref(reply);
	if (words_flag(words, "wait"))
		return wait_and_receive(&options, id, tasks);
	if (!globals.is_json)
		printf("%s%lld\n", is_schedule ? "s" : "", (long long)id);
	return STATUS_OK;
}
