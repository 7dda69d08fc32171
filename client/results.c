/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Receive gives, for people: each line whole and behind its target's name, or grouped, raw, a
 * file a target, or JSON.
 *
 * A client that dies loses nothing: a record is confirmed only after all of it was written out. A
 * line whose end has not come yet, and all of --group and --summary, is held in memory over pages;
 * then the position that is confirmed stays before the oldest record that is held (jobd gives the
 * next page whatever is confirmed).
 */
#include "client/client.h"
#include "client/files.h"

#include "common/hash.h"
#include "common/protocol.h"
#include "common/util.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

const struct option_row results_options[] = {
	{"failed", OPTION_FLAG, NULL, "-failed", "only what did not succeed", NULL},
	{"group", OPTION_FLAG, NULL, "-group", "targets with identical output under one header",
	 NULL},
	{"summary", OPTION_FLAG, NULL, "-summary",
	 "counts alone: who succeeded, who did not and why", NULL},
	{"raw", OPTION_FLAG, NULL, "-raw", "the bytes alone", NULL},
	{"dir", OPTION_TEXT, "DIR", "-dir", "write the output of each target to a file in DIR",
	 NULL},
	{0},
};

/* Bytes of one stream that are not printed yet: an unfinished line, or with --group everything. */
struct held {
	char *bytes;
	size_t size;
	int64_t position; /* of the first record that they came with */
};

/* A task that has not ended. */
struct pending {
	uint64_t key; /* job << 32 | index */
	char *target;
	struct held held[2]; /* by stream */
	UT_hash_handle hh;
};

struct results {
	struct results_options options;
	struct pending *pending;
	struct group *groups;      /* of the same output, for --group */
	struct group *failures[2]; /* by stream; that are told alike, for --group */
	struct summary *summary;
	struct files *files; /* of --dir, else NULL */
	struct results_sums sums;
	bool is_one;     /* stdout and stderr are one file */
	bool is_open[2]; /* by stream: the line that stands there has not ended */
};

struct results_options results_options_of(const struct words *words)
{
	if (words_text(words, "dir") && globals.is_json)
		fail(STATUS_WORDS, "--dir and --json do not go together: no file would be written");
	if (words_text(words, "dir") && words_flag(words, "summary"))
		fail(STATUS_WORDS, "--dir and --summary do not go together: no file would be "
				   "written");
	if (words_flag(words, "raw") && words_flag(words, "group"))
		fail(STATUS_WORDS, "--raw and --group do not go together");
	if (words_flag(words, "summary") && globals.is_json)
		fail(STATUS_WORDS, "--summary is for people: --json has every result");
	if (words_flag(words, "summary") && json_object_get(words->parameters, "remove"))
		fail(STATUS_WORDS, "--summary leaves the results: it does not go with --remove");
	return (struct results_options){
		.is_group = words_flag(words, "group"),
		.is_summary = words_flag(words, "summary"),
		.is_raw = words_flag(words, "raw"),
		.is_failed_only = words_flag(words, "failed"),
		.dir = words_text(words, "dir"),
	};
}

/*
 * stderr is not buffered: what was printed before goes out first, or where both are one file a line
 * would stand in the middle of another. Whether that went well flush_output finds.
 */
static FILE *error_file(void)
{
	(void)fflush(stdout);
	return stderr;
}

static bool is_one_file(void)
{
	struct stat output, errors;

	return fstat(STDOUT_FILENO, &output) == 0 && fstat(STDERR_FILENO, &errors) == 0 &&
	       output.st_dev == errors.st_dev && output.st_ino == errors.st_ino;
}

static FILE *stream_file(int stream)
{
	return stream == 0 ? stdout : error_file();
}

static struct pending *find_pending(struct results *results, const json_t *record)
{
	uint64_t key =
		(uint64_t)number_of(record, "job") << 32 | (uint64_t)number_of(record, "index");
	struct pending *pending;

	HASH_FIND(hh, results->pending, &key, sizeof(key), pending);
	if (!pending) {
		pending = xcalloc(1, sizeof(*pending));
		pending->key = key;
		pending->target = xstrdup(text_of(record, "target"));
		HASH_ADD(hh, results->pending, key, sizeof(pending->key), pending);
	}
	return pending;
}

static void hold(struct held *held, const char *bytes, size_t size, int64_t position)
{
	if (held->size == 0)
		held->position = position;
	held->bytes = xrealloc(held->bytes, held->size + size);
	memcpy(held->bytes + held->size, bytes, size);
	held->size += size;
}

static void print_line(const char *target, int stream, const char *bytes, size_t size)
{
	FILE *file = stream_file(stream);

	(void)fputs(color(file, COLOR_BOLD), file);
	print_clean_text(file, target);
	(void)fprintf(file, ":%s ", color(file, COLOR_OFF));
	print_clean(file, bytes, size);
	if (bytes[size - 1] != '\n')
		(void)fputc('\n', file);
}

/* The whole lines of what is held, and with is_end the rest. position: of the newest record. */
static void print_lines(struct pending *pending, int stream, bool is_end, int64_t position)
{
	struct held *held = &pending->held[stream];
	size_t printed = 0;

	while (printed < held->size) {
		const char *at = held->bytes + printed;
		size_t left = held->size - printed;
		const char *end = memchr(at, '\n', left);
		size_t size = end ? (size_t)(end - at) + 1 : left;

		if (!end && !is_end)
			break;
		print_line(pending->target, stream, at, size);
		printed += size;
	}
	if (printed == 0)
		return;
	/* No line had ended before the newest record came: what is left is of that one. */
	held->size -= printed;
	memmove(held->bytes, held->bytes + printed, held->size);
	held->position = position;
}

/* --- Groups --- */

static void print_group(const char *targets, size_t count, const char *output, size_t size,
			void *context)
{
	(void)context;
	printf("%s--- ", color(stdout, COLOR_BOLD));
	print_clean_text(stdout, targets);
	printf(" (%zu)%s\n", count, color(stdout, COLOR_OFF));
	print_clean(stdout, output, size);
	if (size > 0 && output[size - 1] != '\n')
		(void)fputc('\n', stdout);
}

/* --- The end of a task --- */

/* "failed (host-key): the key of r07 changed; ..." */
static char *failure_text(const json_t *task)
{
	const char *state = text_of(task, "state"), *error = text_of(task, "error");
	const char *message = text_of(task, "message");
	char class[32];

	if (streq(error, "no_reply"))
		return xstrdup(message);
	if (streq(message, state))
		message = "";
	return xasprintf("%s%s%s%s%s%s", state, *error ? " (" : "", for_people(error, class),
			 *error ? ")" : "", *message ? ": " : "", message);
}

/* Red is its first word, or where it has no colon all of it. */
static void print_failure_text(FILE *file, const char *targets, const char *text)
{
	size_t size = strchr(text, ':') ? strcspn(text, " :") : strlen(text);

	print_clean_text(file, targets);
	(void)fprintf(file, ": %s", color(file, COLOR_RED));
	print_clean(file, text, size);
	(void)fputs(color(file, COLOR_OFF), file);
	print_clean_text(file, text + size);
}

static void print_failure_group(const char *targets, size_t count, const char *text, size_t size,
				void *context)
{
	FILE *file = context;
	autofree char *whole = sentence_with_hosts(text, size, targets, count);
	autofree char *counted = count > 1 ? xasprintf("%s (%zu)", targets, count) : NULL;

	print_failure_text(file, counted ? counted : targets, whole);
	(void)fputc('\n', file);
}

/* place: where its output is, or NULL. With --group it waits for others that are told alike. */
static void take_failure(struct results *results, int stream, const char *target,
			 const json_t *task, const char *place)
{
	autofree char *text = failure_text(task);

	if (results->options.is_group && !place) {
		autofree char *common = sentence_without_host(text, target);

		group_add(&results->failures[stream], common, strlen(common), target);
		return;
	}
	print_failure_text(stream_file(stream), target, text);
	if (place)
		(void)fprintf(stderr, "; its output is in %s", place);
	(void)fputc('\n', stream == 0 ? stdout : stderr);
}

/* "8.8.8.8: 4/4 replies, 0% loss, min/avg/max 9.10/9.40/9.90 ms": also a failure is a result. */
static void print_replies(struct results *results, const char *target, const json_t *task)
{
	const json_t *ping = json_object_get(task, "ping");
	int64_t sent = number_of(ping, "sent"), received = number_of(ping, "received");

	if (received == 0) {
		take_failure(results, 0, target, task, NULL);
		return;
	}
	print_clean_text(stdout, target);
	printf(": %lld/%lld replies, %lld%% loss, min/avg/max %.2f/%.2f/%.2f ms",
	       (long long)received, (long long)sent,
	       (long long)(sent > 0 ? (sent - received) * 100 / sent : 0),
	       (double)number_of(ping, "minUsec") / 1e3, (double)number_of(ping, "avgUsec") / 1e3,
	       (double)number_of(ping, "maxUsec") / 1e3);
	if (!streq(text_of(task, "state"), "succeeded")) {
		(void)fputs(" (", stdout);
		print_clean_text(stdout, text_of(task, "message"));
		(void)fputc(')', stdout);
	}
	(void)fputc('\n', stdout);
}

/* A line, or one for each address. */
static void print_ping(struct results *results, const char *target, const json_t *task)
{
	const json_t *addresses = json_object_get(json_object_get(task, "ping"), "addresses");

	for (size_t i = 0; i < json_array_size(addresses); i++) {
		const json_t *one = json_array_get(addresses, i);
		autofree char *name = xasprintf("%s (%s)", target,
						text_of(json_object_get(one, "ping"), "address"));

		print_replies(results, name, one);
	}
	if (json_array_size(addresses) == 0)
		print_replies(results, target, task);
}

/* What jobctl says begins a line of its own; nothing is added to stdout. */
static void end_line(struct results *results)
{
	if (results->is_open[1] || (results->is_one && results->is_open[0]))
		(void)fputc('\n', error_file());
	results->is_open[0] = results->is_open[1] = false;
}

static void print_end(struct results *results, const char *target, const json_t *task,
		      const char *place)
{
	const char *state = text_of(task, "state");

	if (json_object_get(task, "ping") && !streq(state, "stopped")) {
		if (!results->options.is_raw)
			print_ping(results, target, task);
	} else if (!streq(state, "succeeded")) {
		end_line(results);
		take_failure(results, 1, target, task, place);
	}
}

static void drop_pending(struct results *results, struct pending *pending)
{
	HASH_DEL(results->pending, pending);
	free(pending->held[0].bytes);
	free(pending->held[1].bytes);
	free(pending->target);
	free(pending);
}

size_t last_try_size(const json_t *task, const char *member, size_t size)
{
	const json_t *bytes = json_object_get(json_object_get(task, "ssh"), member);
	int64_t last = json_integer_value(bytes);

	return bytes && number_of(task, "attempts") > 1 && last >= 0 && (size_t)last < size
		       ? (size_t)last
		       : size;
}

/* All that came of a task goes out: its lines, or its place in a group. */
static void take_end(struct results *results, const json_t *record, const json_t *task)
{
	struct pending *pending = find_pending(results, record);
	bool has_succeeded = streq(text_of(task, "state"), "succeeded");
	bool has_output = pending->held[0].size > 0;
	const json_t *ssh = json_object_get(task, "ssh");
	autofree char *place = NULL;

	if (results->files) {
		place = files_end(results->files, record, task);
	} else if (results->options.is_group && (has_output || (ssh && has_succeeded))) {
		size_t size = has_succeeded
				      ? last_try_size(task, "stdoutBytes", pending->held[0].size)
				      : pending->held[0].size;

		group_add(&results->groups,
			  size > 0 ? pending->held[0].bytes + pending->held[0].size - size : "",
			  size, pending->target);
	} else {
		print_lines(pending, 0, true, 0);
	}
	print_lines(pending, 1, true, 0);
	print_end(results, pending->target, task, place);
	drop_pending(results, pending);
}

static void take_output(struct results *results, const json_t *record)
{
	int stream = streq(text_of(record, "stream"), "stderr");
	const struct results_options *options = &results->options;
	int64_t position = number_of(record, "position");
	autofree char *bytes = NULL;
	struct pending *pending;
	size_t size;

	if (bytes_from_json(record, &bytes, &size) < 0)
		fail(STATUS_DAEMON, "jobd's reply is not readable: are jobctl and jobd of one "
				    "version?");
	if (results->files && stream == 0) {
		files_write(results->files, record, bytes, size);
	} else if (options->is_raw) {
		(void)fwrite(bytes, 1, size, stream_file(stream));
	} else if (options->is_single && !options->is_group) {
		print_clean(stream_file(stream), bytes, size);
		if (results->is_one)
			results->is_open[!stream] = false;
		results->is_open[stream] = size > 0 && bytes[size - 1] != '\n';
	} else {
		pending = find_pending(results, record);
		hold(&pending->held[stream], bytes, size, position);
		if (!options->is_group || stream == 1)
			print_lines(pending, stream, false, position);
	}
}

static void take_record(struct results *results, const json_t *record)
{
	const json_t *task = json_object_get(record, "task");

	results->sums.is_empty = false;
	results->sums.ended += task != NULL;
	results->sums.failed += task && !streq(text_of(task, "state"), "succeeded");
	if (globals.is_json)
		print_json(record);
	else if (task && results->options.is_summary)
		summary_add(&results->summary, text_of(record, "target"), task);
	else if (task)
		take_end(results, record, task);
	else if (!results->options.is_summary)
		take_output(results, record);
}

/*
 * The reading is over. A line whose task has not ended is printed as it is now, since the cursor
 * moves over it; the next receive goes on behind it.
 */
static void print_rest(struct results *results)
{
	struct pending *pending, *next;

	HASH_ITER (hh, results->pending, pending, next) {
		print_lines(pending, 0, true, 0);
		print_lines(pending, 1, true, 0);
		drop_pending(results, pending);
	}
	groups_print(&results->groups, print_group, NULL);
	for (int i = 0; i < 2; i++)
		if (results->failures[i])
			groups_print(&results->failures[i], print_failure_group, stream_file(i));
	summary_print(&results->summary);
}

/* Up to where all is written out, of what came up to a page's position. */
static int64_t written_position(const struct results *results, int64_t position)
{
	const struct pending *pending, *next;

	if (results->groups || results->summary || results->failures[0] || results->failures[1])
		return 0;
	HASH_ITER (hh, results->pending, pending, next) {
		for (size_t i = 0; i < ARRAY_SIZE(pending->held); i++)
			if (pending->held[i].size > 0 && pending->held[i].position <= position)
				position = pending->held[i].position - 1;
	}
	return position;
}

static void flush_output(void)
{
	const char *why;

	/* What went wrong, and what a command wrote there, goes to stderr. */
	if (is_written(stdout, &why) && is_written(stderr, &why))
		return;
	talk_check_interrupt();
	if (errno == EPIPE)
		exit(STATUS_REFUSED);
	fail(STATUS_REFUSED, "cannot write the output: %s; the next receive gives it again", why);
}

/* Confirms, and asks for the next page. */
static int64_t ask_next(int64_t written)
{
	talk_ask("Receive", json_pack("{s:I}", "confirm", (json_int_t)written));
	return written;
}

void results_tell_missing(const struct results_sums *sums, int64_t tasks)
{
	if (tasks > sums->ended)
		printf("  %-14s %8lld  not begun, or not ended\n", "no result",
		       (long long)(tasks - sums->ended));
}

/* While nothing comes. It is on a line of its own, since every line that was printed has ended. */
static void draw_bar(const struct results *results)
{
	int64_t tasks = results->options.bar_tasks;
	json_t *sums;

	if (tasks == 0)
		return;
	sums = json_pack("{s:I, s:I, s:I}", "tasks", (json_int_t)tasks, "queued",
			 (json_int_t)(tasks - results->sums.ended), "failed",
			 (json_int_t)results->sums.failed);
	progress_draw(sums);
	json_decref(sums);
}

void results_receive(json_t *parameters, const struct results_options *options,
		     struct results_sums *ret_sums)
{
	struct results results = {
		.options = *options, .sums = {.is_empty = true}, .is_one = is_one_file()};
	int64_t written = 0, confirmed, asked = -1;
	bool is_end, is_ahead;

	if (options->dir)
		results.files = files_new(options->dir,
					  json_is_true(json_object_get(parameters, "remove")));
	/* It shows what there is, and takes nothing. */
	if (options->is_summary) {
		(void)json_object_set_new(parameters, "again", json_true());
		(void)json_object_set_new(parameters, "keep", json_true());
	}
	if (options->is_failed_only)
		(void)json_object_set_new(parameters, "failedOnly", json_true());
	talk_ask("Receive", parameters);
	for (;;) {
		const json_t *records;
		json_t *page;
		size_t count;

		draw_bar(&results);
		page = talk_answer();
		progress_clear();
		records = json_object_get(page, "records");
		count = json_array_size(records);
		confirmed = asked;
		is_end = json_is_true(json_object_get(page, "isEnd"));
		/* The next page is made while this one is printed. */
		is_ahead = json_is_true(json_object_get(page, "hasMore"));
		if (is_ahead)
			asked = ask_next(written);
		for (size_t i = 0; i < count; i++)
			take_record(&results, json_array_get(records, i));
		if (is_end)
			print_rest(&results);
		flush_output();
		files_sync(results.files);
		written = written_position(&results, number_of(page, "position"));
		json_decref(page);
		/*
		 * The last page too must be confirmed, also an empty one, since jobs may be removed
		 * by it; the answer is empty, or what came since.
		 */
		if (is_end && count == 0 && confirmed == written)
			break;
		if (!is_ahead)
			asked = ask_next(written);
	}
	files_free(results.files);
	*ret_sums = results.sums;
}
