/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Receive gives, for people: each line whole and behind its target's name, or grouped, raw, a
 * file a target, or JSON. A page is confirmed only after all of it was written out, so that a
 * client that dies loses nothing.
 */
#include "client/client.h"

#include "common/hash.h"
#include "common/protocol.h"
#include "common/targets.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

const struct option_row results_options[] = {
	{"group", OPTION_FLAG, NULL, "-group", "targets with identical output under one header",
	 NULL},
	{"raw", OPTION_FLAG, NULL, "-raw", "the bytes alone", NULL},
	{"dir", OPTION_TEXT, "DIR", "-dir", "write the output of each target to a file in DIR",
	 NULL},
	{0},
};

/* What came of one task and is not printed yet. */
struct pending {
	uint64_t key; /* job << 32 | index */
	char *target;
	char *bytes[2];
	size_t sizes[2]; /* by stream: of an unfinished line, or with --group of everything */
	UT_hash_handle hh;
};

/* Targets whose output is the same, for --group. */
struct group {
	char *output;
	size_t size;
	json_t *targets;
	UT_hash_handle hh;
};

struct results {
	struct results_options options;
	struct pending *pending;
	struct group *groups;
	bool is_terminal[2];
	bool is_failed;
};

struct results_options results_options_of(const struct words *words, bool is_single)
{
	return (struct results_options){
		.is_single = is_single,
		.is_group = words_flag(words, "group"),
		.is_raw = words_flag(words, "raw"),
		.dir = words_text(words, "dir"),
	};
}

static FILE *stream_file(int stream)
{
	return stream == 0 ? stdout : stderr;
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

static void append(struct pending *pending, int stream, const char *bytes, size_t size)
{
	pending->bytes[stream] =
		xrealloc(pending->bytes[stream], pending->sizes[stream] + size + 1);
	memcpy(pending->bytes[stream] + pending->sizes[stream], bytes, size);
	pending->sizes[stream] += size;
}

static void print_line(struct results *results, const char *target, int stream, const char *bytes,
		       size_t size)
{
	FILE *file = stream_file(stream);

	(void)fprintf(file, "%s%s:%s ", color(COLOR_BOLD), target, color(COLOR_OFF));
	print_clean(file, bytes, size, results->is_terminal[stream]);
	if (size == 0 || bytes[size - 1] != '\n')
		(void)fputc('\n', file);
}

/* The whole lines of what is pending; with is_end the rest as well. */
static void print_lines(struct results *results, struct pending *pending, const char *target,
			int stream, bool is_end)
{
	char *at = pending->bytes[stream];
	size_t left = pending->sizes[stream];

	while (left > 0) {
		const char *end = memchr(at, '\n', left);
		size_t size = end ? (size_t)(end - at) + 1 : left;

		if (!end && !is_end)
			break;
		print_line(results, target, stream, at, size);
		at += size;
		left -= size;
	}
	if (left > 0)
		memmove(pending->bytes[stream], at, left);
	pending->sizes[stream] = left;
}

/* --- A file a target --- */

static void write_file(const struct results *results, const json_t *record, const char *bytes,
		       size_t size)
{
	autofree char *path = xasprintf("%s/%s", results->options.dir, text_of(record, "target"));
	bool is_first = number_of(record, "offset") == 0;
	autoclose int fd = -1;

	if (strchr(text_of(record, "target"), '/'))
		fail(STATUS_REFUSED, "the target '%s' is no file name", text_of(record, "target"));
	if (mkdir(results->options.dir, 0777) < 0 && errno != EEXIST)
		fail(STATUS_REFUSED, "cannot make %s: %m", results->options.dir);
	/* From its beginning it replaces what an earlier run left; else it goes on. */
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_APPEND | (is_first ? O_TRUNC : 0), 0666);
	if (fd < 0)
		fail(STATUS_REFUSED, "cannot write %s: %m", path);
	while (size > 0) {
		ssize_t part = write(fd, bytes, size);

		if (part < 0 && errno == EINTR)
			continue;
		if (part < 0)
			fail(STATUS_REFUSED, "cannot write %s: %m", path);
		bytes += part;
		size -= (size_t)part;
	}
}

/* --- Groups --- */

static void add_to_group(struct results *results, const struct pending *pending, const char *target)
{
	struct group *group;
	size_t size = pending->sizes[0];
	const char *output = size > 0 ? pending->bytes[0] : "";

	HASH_FIND(hh, results->groups, output, size, group);
	if (!group) {
		group = xcalloc(1, sizeof(*group));
		group->output = xmemdup(output, size);
		group->size = size;
		group->targets = json_array();
		HASH_ADD_KEYPTR(hh, results->groups, group->output, size, group);
	}
	(void)json_array_append_new(group->targets, json_string(target));
}

static void print_groups(struct results *results)
{
	struct group *group, *next;

	HASH_ITER (hh, results->groups, group, next) {
		size_t count = json_array_size(group->targets);
		autofree const char **names = xcalloc(count, sizeof(*names));

		for (size_t i = 0; i < count; i++)
			names[i] = json_string_value(json_array_get(group->targets, i));
		autofree char *folded = target_fold(names, count);
		printf("%s--- %s (%zu)%s\n", color(COLOR_BOLD), folded, count, color(COLOR_OFF));
		print_clean(stdout, group->output, group->size, results->is_terminal[0]);
		if (group->size > 0 && group->output[group->size - 1] != '\n')
			(void)fputc('\n', stdout);
		HASH_DEL(results->groups, group);
		json_decref(group->targets);
		free(group->output);
		free(group);
	}
}

/* --- The end of a task --- */

static void print_ping(const json_t *task)
{
	const json_t *ping = json_object_get(task, "ping");
	int64_t sent = number_of(ping, "sent"), received = number_of(ping, "received");
	const char *target = text_of(task, "target");
	char class[32];

	if (received > 0)
		printf("%s: %lld/%lld replies, %lld%% loss, min/avg/max %.2f/%.2f/%.2f ms", target,
		       (long long)received, (long long)sent,
		       (long long)(sent > 0 ? (sent - received) * 100 / sent : 0),
		       (double)number_of(ping, "minUsec") / 1e3,
		       (double)number_of(ping, "avgUsec") / 1e3,
		       (double)number_of(ping, "maxUsec") / 1e3);
	else if (streq(text_of(task, "error"), "no_reply"))
		printf("%s: %s%s%s", target, color(COLOR_RED), text_of(task, "message"),
		       color(COLOR_OFF));
	else
		printf("%s: %s%s%s (%s): %s", target, color(COLOR_RED), text_of(task, "state"),
		       color(COLOR_OFF), for_people(text_of(task, "error"), class),
		       text_of(task, "message"));
	if (received > 0 && !streq(text_of(task, "state"), "succeeded"))
		printf(" (%s)", text_of(task, "message"));
	printf("\n");
}

static void print_end(struct results *results, const json_t *task)
{
	const char *state = text_of(task, "state"), *error = text_of(task, "error");
	bool has_succeeded = streq(state, "succeeded");
	char class[32];

	if (!has_succeeded)
		results->is_failed = true;
	if (json_object_get(task, "ping") && !streq(state, "stopped")) {
		if (!results->options.is_raw)
			print_ping(task);
		return;
	}
	if (has_succeeded)
		return;
	(void)fprintf(stderr, "%s: %s%s%s%s%s%s%s%s\n", text_of(task, "target"), color(COLOR_RED),
		      state, color(COLOR_OFF), *error ? " (" : "", for_people(error, class),
		      *error ? ")" : "", *text_of(task, "message") ? ": " : "",
		      text_of(task, "message"));
}

static void drop_pending(struct results *results, struct pending *pending)
{
	HASH_DEL(results->pending, pending);
	free(pending->bytes[0]);
	free(pending->bytes[1]);
	free(pending->target);
	free(pending);
}

static void take_end(struct results *results, const json_t *record, const json_t *task)
{
	struct pending *pending = find_pending(results, record);
	const char *target = text_of(record, "target");

	if (results->options.is_group && json_object_get(task, "ssh") && !results->options.dir)
		add_to_group(results, pending, target);
	else
		print_lines(results, pending, target, 0, true);
	print_lines(results, pending, target, 1, true);
	print_end(results, task);
	drop_pending(results, pending);
}

static void take_output(struct results *results, const json_t *record)
{
	int stream = streq(text_of(record, "stream"), "stderr");
	const struct results_options *options = &results->options;
	autofree char *bytes = NULL;
	struct pending *pending;
	size_t size;

	if (bytes_from_json(record, &bytes, &size) < 0)
		fail(STATUS_DAEMON, "jobd's reply is not readable: are jobctl and jobd of one "
				    "version?");
	if (options->dir && stream == 0) {
		write_file(results, record, bytes, size);
		return;
	}
	if (options->is_raw || (options->is_single && !options->is_group)) {
		if (options->is_raw)
			(void)fwrite(bytes, 1, size, stream_file(stream));
		else
			print_clean(stream_file(stream), bytes, size, results->is_terminal[stream]);
		return;
	}
	pending = find_pending(results, record);
	append(pending, stream, bytes, size);
	if (!(options->is_group && stream == 0))
		print_lines(results, pending, text_of(record, "target"), stream, false);
}

static void take_record(struct results *results, const json_t *record)
{
	const json_t *task = json_object_get(record, "task");

	if (task && !streq(text_of(task, "state"), "succeeded"))
		results->is_failed = true;
	if (globals.is_json)
		print_json(record);
	else if (task)
		take_end(results, record, task);
	else
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
		print_lines(results, pending, pending->target, 0, true);
		print_lines(results, pending, pending->target, 1, true);
		drop_pending(results, pending);
	}
	print_groups(results);
}

void results_receive(json_t *parameters, const struct results_options *options, bool *ret_is_failed)
{
	struct results results = {.options = *options,
				  .is_terminal = {isatty(STDOUT_FILENO), isatty(STDERR_FILENO)}};
	bool is_end;

	do {
		json_t *page = talk("Receive", parameters);
		const json_t *records = json_object_get(page, "records");
		size_t count = json_array_size(records);

		for (size_t i = 0; i < count; i++)
			take_record(&results, json_array_get(records, i));
		is_end = json_is_true(json_object_get(page, "isEnd"));
		if (is_end)
			print_rest(&results);
		if (fflush(stdout) != 0 || ferror(stdout)) {
			if (errno == EPIPE)
				exit(STATUS_REFUSED);
			fail(STATUS_REFUSED,
			     "cannot write the output: %m; the next receive gives it again");
		}
		(void)fflush(stderr);
		parameters = json_pack("{s:I}", "confirm", (json_int_t)number_of(page, "position"));
		json_decref(page);
		/* The last page too must be confirmed; its answer is empty, or what came since. */
		is_end = is_end && count == 0;
	} while (!is_end);
	json_decref(parameters);
	*ret_is_failed = results.is_failed;
}
