/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every option of jobctl stands here once, with its place in the interface; parsing, help, shell
 * completion and the test of the man page all read these tables.
 */
#include "client/client.h"

#include "client/screen.h"
#include "common/states.h"
#include "common/units.h"
#include "common/util.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>

enum { WORDS_TEXT_MAX = 256 };

static const char *const color_words[] = {"auto", "always", "never", NULL};
static const char *const host_key_words[] = {"strict", "accept-new", "off", NULL};

const struct option_row global_options[] = {
	{"json", OPTION_FLAG, NULL, "-json", "one JSON object a line, the interface's own types",
	 NULL},
	{"socket", OPTION_TEXT, "PATH", "-socket", "talk to the jobd that listens on PATH", NULL},
	{"user", OPTION_FLAG, NULL, "-user", "talk to the user's own jobd", NULL},
	{"system", OPTION_FLAG, NULL, "-system", "talk to the system's jobd", NULL},
	{"quiet", OPTION_FLAG, NULL, "-quiet", "no notes and no progress", NULL},
	{"color", OPTION_WORD, "WHEN", "-color", "auto, always or never (auto)", color_words},
	{"help", OPTION_FLAG, NULL, "-help", "show this and exit (also -h)", NULL},
	{"version", OPTION_FLAG, NULL, "-version", "show the version and exit", NULL},
	{0},
};

const struct option_row start_options[] = {
	{"name", OPTION_TEXT, "NAME", "name", "a name for the job", NULL},
	{"exclude", OPTION_LIST, "LIST", "-exclude", "leave these targets out", NULL},
	{"shuffle", OPTION_FLAG, NULL, "shuffle",
	 "in random order, so that no subnet is hit in a row", NULL},
	{"parallel", OPTION_NUMBER, "N", "parallel", "so many tasks of this job at a time", NULL},
	{"rate", OPTION_NUMBER, "N", "-rate", "requests or sessions a second, of this job", NULL},
	{"timeout", OPTION_DURATION, "D", "timeoutUsec", "end an attempt of a task after D", NULL},
	{"deadline", OPTION_DURATION, "D", "deadlineUsec", "end the whole job after D", NULL},
	{"retries", OPTION_NUMBER, "N", "retries", "try a failed task N times more", NULL},
	{"retry-delay", OPTION_DURATION, "D", "retryDelayUsec",
	 "wait so long before a retry, then twice as long (1s)", NULL},
	{"canary", OPTION_NUMBER, "N", "canary",
	 "so many tasks first; if one fails, no other is tried", NULL},
	{"batch", OPTION_TEXT, "N|P%", "batch",
	 "so many tasks at a time, and all end before the next", NULL},
	{"max-failures", OPTION_TEXT, "N|P%", "maxFailures", "if more fail, no other is tried",
	 NULL},
	{"rerun", OPTION_FLAG, NULL, "rerun", "tasks that a crash cut off run again", NULL},
	{"every", OPTION_DURATION, "D", "schedule.everyUsec",
	 "a schedule: a job at once, and then every D", NULL},
	{"at", OPTION_AHEAD, "TIME", "schedule.atUsec",
	 "a schedule of one job: 22:30, '2026-12-24 06:00', +5m", NULL},
	{"on-calendar", OPTION_TEXT, "SPEC", "schedule.onCalendar",
	 "a schedule by systemd.time(7), as 'Mon..Fri 06:00'", NULL},
	{"catch-up", OPTION_FLAG, NULL, "schedule.catchUp",
	 "of the runs that were missed make one, at once", NULL},
	{"overlap", OPTION_FLAG, NULL, "schedule.overlap",
	 "make a run also while the one before goes on", NULL},
	{"keep-last", OPTION_NUMBER, "N", "schedule.keepLast",
	 "of the runs that have ended keep the newest N", NULL},
	{"dry-run", OPTION_FLAG, NULL, "dryRun",
	 "check all, show what would run, and start nothing", NULL},
	{"wait", OPTION_FLAG, NULL, "-wait", "stay: progress, results, their exit status", NULL},
	{0},
};

const struct option_row ping_options[] = {
	{"count", OPTION_NUMBER, "N", "ping.count",
	 "N requests, 0: until stopped (up to 4, until a reply)", NULL},
	{"interval", OPTION_DURATION, "D", "ping.intervalUsec", "between two requests (1s)", NULL},
	{"reply-timeout", OPTION_DURATION, "D", "ping.replyTimeoutUsec",
	 "wait D for each reply (1s)", NULL},
	{"size", OPTION_SIZE, "B", "ping.size", "payload bytes (56)", NULL},
	{"ttl", OPTION_NUMBER, "N", "ping.ttl", "time to live", NULL},
	{"dont-fragment", OPTION_FLAG, NULL, "ping.dontFragment", "forbid fragmentation", NULL},
	{"4", OPTION_FLAG, NULL, "-4", "IPv4 only (also -4)", NULL},
	{"6", OPTION_FLAG, NULL, "-6", "IPv6 only (also -6)", NULL},
	{"all-addresses", OPTION_FLAG, NULL, "ping.allAddresses",
	 "ping each address of a name: all must succeed", NULL},
	{"source", OPTION_TEXT, "ADDR|IFACE", "ping.source", "send from this address or interface",
	 NULL},
	{"success", OPTION_TEXT, "any|all|N%", "ping.success",
	 "how many replies make a success (any)", NULL},
	{"max-loss", OPTION_PERCENT, "P%", "ping.maxLossPercent", "more loss is no success", NULL},
	{"max-rtt", OPTION_DURATION, "D", "ping.maxRttUsec", "a slower reply is no success", NULL},
	{"period", OPTION_DURATION, "D", "ping.periodUsec", "write a line with what each D came to",
	 NULL},
	{"on-change", OPTION_FLAG, NULL, "ping.onChange",
	 "write a line when a host goes down or comes up", NULL},
	{"down-after", OPTION_NUMBER, "N", "ping.downAfter",
	 "down is N requests in a row without a reply (3)", NULL},
	{"up-after", OPTION_NUMBER, "N", "ping.upAfter", "up is N replies in a row (2)", NULL},
	{"tos", OPTION_NUMBER, "N", "ping.tos", "type of service, or traffic class (0)", NULL},
	{"mark", OPTION_NUMBER, "N", "ping.mark", "the kernel's mark for routes and firewalls",
	 NULL},
	{0},
};

const struct option_row ssh_options[] = {
	{"command", OPTION_REPEAT, "COMMAND", "-command",
	 "a command, or @FILE with one a line; may be repeated", NULL},
	{"login", OPTION_TEXT, "USER", "ssh.login", "remote user", NULL},
	{"port", OPTION_NUMBER, "N", "ssh.port", "port (22)", NULL},
	{"identity", OPTION_TEXT, "FILE", "-identity", "private key", NULL},
	{"ask-password", OPTION_FLAG, NULL, "-ask-password",
	 "ask for it on the terminal; it stays in jobd's memory", NULL},
	{"credential", OPTION_TEXT, "NAME", "ssh.credential", "a credential of jobd.conf", NULL},
	{"jump", OPTION_TEXT, "HOST[,HOST]", "ssh.jump", "reach the targets through these hosts",
	 NULL},
	{"jump-credential", OPTION_TEXT, "NAME", "ssh.jumpCredential",
	 "a credential of jobd.conf for the jump hosts", NULL},
	{"ssh-option", OPTION_REPEAT, "LINE", "ssh.options",
	 "a line of ssh_config, as 'Port 23'; may be repeated", NULL},
	{"connect-timeout", OPTION_DURATION, "D", "ssh.connectTimeoutUsec", "until logged in (30s)",
	 NULL},
	{"idle-timeout", OPTION_DURATION, "D", "ssh.idleTimeoutUsec",
	 "end a task that writes nothing for D", NULL},
	{"host-key", OPTION_WORD, "POLICY", "ssh.hostKey", "strict, accept-new or off (strict)",
	 host_key_words},
	{"per-host-limit", OPTION_NUMBER, "N", "ssh.perHostLimit",
	 "sessions at a time with one host", NULL},
	{"legacy", OPTION_FLAG, NULL, "ssh.legacy",
	 "also the old ciphers and key exchanges of old routers", NULL},
	{"max-output", OPTION_SIZE, "SIZE", "ssh.maxOutput",
	 "output kept of each attempt of a task (16M)", NULL},
	{"stdin", OPTION_TEXT, "FILE", "-stdin", "give FILE to each command as its input", NULL},
	{"success-codes", OPTION_NUMBERS, "LIST", "ssh.successCodes",
	 "exit statuses that are success (0)", NULL},
	{"shell", OPTION_TEXT, "PROFILE", "ssh.shell",
	 "type into the device's shell; auto: find out which", NULL},
	{"enable", OPTION_FLAG, NULL, "ssh.enable", "in a shell: ask for all rights first", NULL},
	{"answer", OPTION_REPEAT, "PATTERN=TEXT", "ssh.answers",
	 "what to say to a question; may be repeated", NULL},
	{0},
};

#define KINDS(X)        X(ping) X(ssh)
#define KIND_ROW(kind)  {#kind, kind##_options},
#define KIND_WORD(kind) #kind,
const struct kind_row kinds[] = {KINDS(KIND_ROW){0}};
const char *const kind_words[] = {KINDS(KIND_WORD) NULL};

const struct option_row filter_options[] = {
	{"all", OPTION_FLAG, NULL, "selection.all", "every job that you may see", NULL},
	{"state", OPTION_WORDS, "LIST", "selection.states", "jobs in these states",
	 job_state_words},
	{"kind", OPTION_WORD, "KIND", "selection.kind", "jobs of this kind", kind_words},
	{"since", OPTION_TIME, "TIME", "selection.sinceUsec",
	 "made since then: 2h, 2026-11-23, 14:05", NULL},
	{"until", OPTION_TIME, "TIME", "selection.untilUsec", "made until then", NULL},
	{"newest", OPTION_NUMBER, "N", "selection.newest", "of these the newest N", NULL},
	{"with-results", OPTION_FLAG, NULL, "selection.withResults",
	 "jobs with something to receive", NULL},
	{"schedule", OPTION_TEXT, "ID", "selection.schedule", "runs of this schedule", NULL},
	{0},
};

enum status trouble(enum status status)
{
	return status == STATUS_REFUSED && globals.is_comparing ? STATUS_WORDS : status;
}

void fail(enum status status, const char *format, ...)
{
	va_list arguments;

	screen_end();
	progress_clear();
	(void)fflush(stdout);
	(void)fputs("jobctl: ", stderr);
	va_start(arguments, format);
	(void)vfprintf(stderr, format, arguments);
	va_end(arguments);
	(void)fputc('\n', stderr);
	exit((int)trouble(status));
}

/* --- The nearest word --- */

/* Edits from a to b (Levenshtein), at most `limit` + 1. */
static size_t edit_distance(const char *a, const char *b, size_t limit)
{
	enum { WORD_MAX_BYTES = 40 };
	size_t row[WORD_MAX_BYTES + 1];
	size_t size = strlen(b);

	if (size > WORD_MAX_BYTES || strlen(a) > WORD_MAX_BYTES)
		return limit + 1;
	for (size_t j = 0; j <= size; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= size; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);
			size_t smaller = row[j] < row[j - 1] ? row[j] : row[j - 1];

			diagonal = row[j];
			row[j] = change < smaller + 1 ? change : smaller + 1;
		}
	}
	return row[size];
}

const char *nearest(const char *word, const char *const *candidates)
{
	/* More edits than this is no typing mistake. */
	size_t best = strlen(word) > 3 ? strlen(word) / 3 + 2 : 2;
	const char *found = NULL;

	if (best > strlen(word))
		best = strlen(word); /* nor is another word altogether */
	for (; *candidates; candidates++) {
		size_t distance = edit_distance(word, *candidates, best);

		if (distance < best) {
			best = distance;
			found = *candidates;
		}
	}
	return found;
}

/* --- Parsing --- */

static const struct option_row *find_option(const char *name,
					    const struct option_row *const *tables)
{
	for (; *tables; tables++)
		for (const struct option_row *row = *tables; row->name; row++)
			if (streq(row->name, name))
				return row;
	return NULL;
}

/* dashes: as they were typed. */
static _Noreturn void unknown_option(const char *dashes, const char *name,
				     const struct option_row *const *tables)
{
	const char *names[128];
	size_t count = 0;
	const char *meant;

	for (; *tables; tables++)
		for (const struct option_row *row = *tables; row->name; row++)
			if (count + 1 < ARRAY_SIZE(names))
				names[count++] = row->name;
	names[count] = NULL;
	meant = nearest(name, names);
	if (meant)
		fail(STATUS_WORDS, "unknown option %s%.80s; did you mean --%s?", dashes, name,
		     meant);
	fail(STATUS_WORDS, "unknown option %s%.80s; see --help", dashes, name);
}

static _Noreturn void bad_value(const struct option_row *row, const char *value, const char *what)
{
	fail(STATUS_WORDS, "--%s takes %s, not '%.80s'", row->name, what, value);
}

/* As a script's variable is that was never set: it would stand for the usual, or for all. */
static _Noreturn void empty_value(const struct option_row *row)
{
	fail(STATUS_WORDS, "--%s got an empty value: say --%s %s", row->name, row->name,
	     row->argument);
}

/* "strict, accept-new, off" */
static const char *words_text_of(const char *const *words, char buffer[static WORDS_TEXT_MAX])
{
	size_t used = 0;

	for (size_t i = 0; words[i] && used < WORDS_TEXT_MAX; i++)
		used += (size_t)snprintf(buffer + used, WORDS_TEXT_MAX - used, "%s%s",
					 i > 0 ? ", " : "", words[i]);
	return buffer;
}

static const char *check_word(const struct option_row *row, const char *value)
{
	char all[WORDS_TEXT_MAX];
	const char *meant;

	if (word_find(row->words, value) >= 0)
		return value;
	meant = nearest(value, row->words);
	if (meant)
		fail(STATUS_WORDS, "--%s cannot be '%.80s'; did you mean '%s'?", row->name, value,
		     meant);
	fail(STATUS_WORDS, "--%s cannot be '%.80s': it is one of %s", row->name, value,
	     words_text_of(row->words, all));
}

/* The interface's words have '_' where people's have '-'. */
static json_t *interface_word(const char *word)
{
	autofree char *copy = xstrdup(word);

	for (char *at = copy; (at = strchr(at, '-')); at++)
		*at = '_';
	return json_string(copy);
}

json_t *text_value(const char *text, const char *what)
{
	json_t *value = json_string(text);

	if (!value)
		fail(STATUS_WORDS, "%s is not UTF-8: '%.80s'", what, text);
	return value;
}

static json_t *option_text(const struct option_row *row, const char *text)
{
	autofree char *what = xasprintf("the value of --%s", row->name);

	return text_value(text, what);
}

static void append_item(const struct option_row *row, json_t *array, const char *item)
{
	int64_t number;

	if (row->type == OPTION_NUMBERS) {
		if (number_parse(item, INT32_MIN, INT32_MAX, &number) < 0)
			bad_value(row, item, "numbers");
		(void)json_array_append_new(array, json_integer(number));
	} else if (row->type == OPTION_WORDS) {
		(void)json_array_append_new(array, interface_word(check_word(row, item)));
	} else {
		(void)json_array_append_new(array, option_text(row, item));
	}
}

char *list_item(char **rest)
{
	char *item = *rest;
	int depth = 0;

	*rest = NULL;
	for (char *at = item; at && *at; at++) {
		depth += (*at == '[') - (*at == ']');
		if (*at != ',' || depth > 0)
			continue;
		*at = '\0';
		*rest = at + 1;
		break;
	}
	return item;
}

/* Goes on with what was there before. */
static json_t *parse_list(const struct option_row *row, const char *value, json_t *before)
{
	json_t *array = json_is_array(before) ? json_incref(before) : json_array();
	autofree char *copy = xstrdup(value);
	char *rest = copy, *item;

	if (row->type == OPTION_REPEAT) {
		append_item(row, array, value);
		return array;
	}
	while ((item = list_item(&rest)))
		if (*item)
			append_item(row, array, item);
	/* --exclude may leave out nothing. */
	if (row->type != OPTION_LIST && json_array_size(array) == 0)
		empty_value(row);
	return array;
}

static json_t *parse_value(const struct option_row *row, const char *value, json_t *before)
{
	int64_t number = 0;
	int percent;

	switch (row->type) {
	case OPTION_FLAG:
		return json_true();
	case OPTION_NUMBER:
		if (number_parse(value, INT64_MIN / 2, INT64_MAX / 2, &number) < 0)
			bad_value(row, value, "a number");
		return json_integer(number);
	case OPTION_DURATION:
		if (duration_parse(value, &number) < 0)
			bad_value(row, value, "a duration such as 500ms, 10s or 5min");
		return json_integer(number);
	case OPTION_SIZE:
		if (size_parse(value, &number) < 0)
			bad_value(row, value, "a size such as 512, 64K or 16M");
		return json_integer(number);
	case OPTION_PERCENT:
		if (percent_parse(value, &percent) < 0)
			bad_value(row, value, "a share such as 5%");
		return json_integer(percent);
	case OPTION_TIME:
		if (time_parse(value, now_real_us(), &number) < 0)
			bad_value(row, value, "a time such as 2h, 14:05, yesterday or 2026-11-23");
		return json_integer(number);
	case OPTION_AHEAD:
		if (time_parse_ahead(value, now_real_us(), &number) < 0)
			bad_value(row, value,
				  "a time to come such as 22:30, 'tomorrow 03:00' or +5m");
		return json_integer(number);
	case OPTION_WORD:
		return interface_word(check_word(row, value));
	case OPTION_TEXT:
		if (!*value)
			empty_value(row);
		return option_text(row, value);
	case OPTION_NUMBERS:
	case OPTION_WORDS:
	case OPTION_REPEAT:
	case OPTION_LIST:
		return parse_list(row, value, before);
	}
	return NULL;
}

/* Where an option's value goes: the object, NULL while there is none, and the member's name. */
static json_t *place_of(const struct words *words, const struct option_row *row,
			const char **ret_member)
{
	const char *dot = strchr(row->parameter, '.');

	if (row->parameter[0] == '-') {
		*ret_member = row->parameter + 1;
		return words->own;
	}
	if (!dot) {
		*ret_member = row->parameter;
		return words->parameters;
	}
	*ret_member = dot + 1;
	return json_object_getn(words->parameters, row->parameter, (size_t)(dot - row->parameter));
}

static void take_option(struct words *words, const struct option_row *row, const char *value)
{
	const char *member;
	json_t *object = place_of(words, row, &member);

	if (!object) {
		object = json_object();
		(void)json_object_setn_new(words->parameters, row->parameter,
					   strcspn(row->parameter, "."), object);
	}
	(void)json_object_set_new(object, member,
				  parse_value(row, value, json_object_get(object, member)));
}

/* "--name=value", "--name value", "-4"; returns how many words it took. */
static int parse_option(struct words *words, char **values, int left,
			const struct option_row *const *tables)
{
	const char *word = values[0] + (values[0][1] == '-' ? 2 : 1);
	size_t size = strcspn(word, "=");
	autofree char *name = streq(values[0], "-h") ? xstrdup("help") : strndup(word, size);
	const struct option_row *row = find_option(name, tables);
	const char *value = word[size] == '=' ? word + size + 1 : NULL;

	if (!row)
		unknown_option(values[0][1] == '-' ? "--" : "-", name, tables);
	if (row->type == OPTION_FLAG && value)
		fail(STATUS_WORDS, "--%s takes no value", name);
	if (row->type != OPTION_FLAG && !value) {
		if (left < 2)
			fail(STATUS_WORDS, "--%s needs a value: --%s %s", name, name,
			     row->argument);
		take_option(words, row, values[1]);
		return 2;
	}
	take_option(words, row, value);
	return 1;
}

void words_parse(struct words *words, int count, char **values,
		 const struct option_row *const *tables)
{
	*words = (struct words){.parameters = json_object(), .own = json_object()};
	words->arguments = xcalloc((size_t)count + 1, sizeof(*words->arguments));
	for (int i = 0; i < count;) {
		if (streq(values[i], "--")) {
			words->has_rest = true;
			words->rest = (const char **)(void *)&values[i + 1];
			words->rest_count = (size_t)(count - i - 1);
			return;
		}
		if (values[i][0] == '-' && values[i][1] != '\0')
			i += parse_option(words, values + i, count - i, tables);
		else
			words->arguments[words->argument_count++] = values[i++];
	}
}

bool words_flag(const struct words *words, const char *name)
{
	return json_is_true(json_object_get(words->own, name));
}

const char *words_text(const struct words *words, const char *name)
{
	return json_string_value(json_object_get(words->own, name));
}

const json_t *words_value(const struct words *words, const struct option_row *row)
{
	const char *member;
	const json_t *object = place_of(words, row, &member);

	return json_object_get(object, member);
}

const char *option_of_parameter(const char *parameter)
{
	for (size_t i = 0; i < command_count; i++) {
		for (const struct option_row *const *table = commands[i].tables; *table; table++) {
			for (const struct option_row *row = *table; row->name; row++) {
				size_t size = strcspn(row->parameter, ".-");
				const char *member = row->parameter[size]
							     ? row->parameter + size + 1
							     : row->parameter;

				if (streq(member, parameter))
					return row->name;
			}
		}
	}
	return NULL;
}

void words_done(struct words *words)
{
	json_decref(words->parameters);
	json_decref(words->own);
	free(words->arguments);
}

bool word_is_one_job(const char *word)
{
	size_t size = strcspn(word, "/");

	if (isdigit((unsigned char)*word))
		return strspn(word, "0123456789") == size;
	return size > 0 && strcspn(word, "*?[") >= size;
}

const char *words_task_part(const struct words *words)
{
	for (size_t i = 0; i < words->argument_count; i++)
		if (strchr(words->arguments[i], '/'))
			return words->arguments[i];
	return NULL;
}

void words_refuse_tasks(const struct words *words, const char *verb)
{
	const char *word = words_task_part(words);

	if (word)
		fail(STATUS_WORDS,
		     "'%.64s': there is no way to %s single tasks of a job; name the whole job",
		     word, verb);
}

void words_no_rest(const struct words *words)
{
	if (words->has_rest)
		fail(STATUS_WORDS, "'--' and what follows has no meaning here");
}

/* The arguments with what commas part: 7,9 is 7 9. The strings are those of the array. */
static void split_arguments(struct words *words, const json_t *selectors)
{
	size_t count = json_array_size(selectors);

	words->arguments = xrealloc(words->arguments, (count + 1) * sizeof(*words->arguments));
	for (size_t i = 0; i < count; i++)
		words->arguments[i] = json_string_value(json_array_get(selectors, i));
	words->arguments[count] = NULL;
	words->argument_count = count;
}

void words_select(struct words *words)
{
	json_t *selection = json_object_get(words->parameters, "selection");
	json_t *selectors;

	words_no_rest(words);
	if (words->argument_count == 0)
		return;
	if (!selection) {
		selection = json_object();
		(void)json_object_set_new(words->parameters, "selection", selection);
	}
	selectors = json_array();
	for (size_t i = 0; i < words->argument_count; i++) {
		autofree char *copy = xstrdup(words->arguments[i]);
		char *rest = copy, *item;

		while ((item = list_item(&rest)))
			(void)json_array_append_new(selectors, text_value(item, "a selector"));
	}
	split_arguments(words, selectors);
	/* Who names one at a time replaces those of the selection. */
	(void)json_object_set(words->own, "selectors", selectors);
	(void)json_object_set_new(selection, "selectors", selectors);
}
