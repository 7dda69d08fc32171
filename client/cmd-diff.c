/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobctl diff: what is another in one job than in another, for each target: how it ended, what its
 * commands wrote, or that it is in one of them only. All that was written by both is in memory.
 */
#include "client/client.h"

#include "common/hash.h"
#include "common/protocol.h"
#include "common/states.h"
#include "common/util.h"

enum { BEFORE, AFTER, SIDES };
enum { CONTEXT_DEFAULT = 3 };

/* What one of the jobs has of a target. */
struct side {
	bool is_there;
	char *outcome; /* "failed (host-key)" */
	char *message;
	struct text {
		char *bytes;
		size_t size;
	} streams[2];
};

struct target {
	char *name, *after; /* after: where it is another one there; or NULL */
	struct side sides[SIDES];
	UT_hash_handle hh;
};

struct diff {
	char *words[SIDES]; /* what names the jobs */
	char *jobs[SIDES];  /* their ids */
	int side;           /* that is being read */
	struct target *targets;
	bool is_group, has_open[SIDES]; /* has_open: tasks that have not ended */
	int64_t context;
	struct group *only[SIDES], *outcomes, *streams[2];
	size_t same, changed, only_count[SIDES];
};

static const char *const stream_names[] = {"", " (stderr)"};

/* --- What they have --- */

static struct target *find_target(struct diff *diff, const char *name)
{
	struct target *target;

	HASH_FIND_STR(diff->targets, name, target);
	if (!target) {
		target = xcalloc(1, sizeof(*target));
		target->name = xstrdup(name);
		HASH_ADD_KEYPTR(hh, diff->targets, target->name, strlen(name), target);
	}
	return target;
}

/* "failed (host-key)", "failed (exit 2)": another exit status is another outcome. */
static char *outcome_of(const json_t *task)
{
	const char *state = text_of(task, "state"), *error = text_of(task, "error");
	const json_t *ssh = json_object_get(task, "ssh");
	int64_t status = number_of(ssh, "exitStatus");
	char class[32];

	if (streq(error, "signal") && *text_of(ssh, "signal"))
		return xasprintf("%s (signal %s)", state, text_of(ssh, "signal"));
	if (status != 0 && (!*error || streq(error, "exit")))
		return xasprintf("%s (exit %lld)", state, (long long)status);
	return *error ? xasprintf("%s (%s)", state, for_people(error, class)) : xstrdup(state);
}

static void take_task(struct diff *diff, const json_t *task)
{
	struct side *side = &find_target(diff, text_of(task, "target"))->sides[diff->side];
	const char *state = text_of(task, "state");

	side->is_there = true;
	if (streq(state, "queued") || streq(state, "running"))
		diff->has_open[diff->side] = true;
	side->outcome = outcome_of(task);
	side->message = xstrdup(text_of(task, "message"));
	if (!diff->jobs[diff->side])
		diff->jobs[diff->side] = xasprintf("%lld", (long long)number_of(task, "job"));
}

static bool take_tasks(json_t *reply, bool continues, void *context)
{
	json_t *task;
	size_t index;

	(void)continues;
	json_array_foreach (json_object_get(reply, "tasks"), index, task) {
		take_task(context, task);
	}
	return true;
}

/* Only what the last try wrote is compared. */
static void take_last_try(struct side *side, const json_t *task)
{
	static const char *const members[] = {"stdoutBytes", "stderrBytes"};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		struct text *text = &side->streams[i];
		size_t size = last_try_size(task, members[i], text->size);

		if (size < text->size)
			memmove(text->bytes, text->bytes + text->size - size, size);
		text->size = size;
	}
}

static void take_record(json_t *record, void *context)
{
	struct diff *diff = context;
	struct side *side = &find_target(diff, text_of(record, "target"))->sides[diff->side];
	struct text *text = &side->streams[streq(text_of(record, "stream"), "stderr")];
	autofree char *bytes = NULL;
	size_t size;

	if (json_object_get(record, "task"))
		take_last_try(side, json_object_get(record, "task"));
	if (!json_object_get(record, "stream"))
		return;
	if (bytes_from_json(record, &bytes, &size) < 0)
		fail(STATUS_DAEMON, "jobd's reply is not readable: are jobctl and jobd of one "
				    "version?");
	text->bytes = xrealloc(text->bytes, text->size + size);
	memcpy(text->bytes + text->size, bytes, size);
	text->size += size;
}

/* --- Which jobs --- */

static void choose_named(struct diff *diff, const struct words *words)
{
	if (json_object_get(words->parameters, "selection"))
		fail(STATUS_WORDS, "two jobs that are named need no filter");
	for (int side = 0; side < SIDES; side++) {
		if (!word_is_one_job(words->arguments[side]))
			fail(STATUS_WORDS,
			     "'%.80s' is not one job: name it by its id, its name or @last",
			     words->arguments[side]);
		diff->words[side] = xstrdup(words->arguments[side]);
	}
}

static json_t *ended_states(void)
{
	json_t *states = json_array();

	for (int state = 0; job_state_words[state]; state++)
		if (job_state_is_final((enum job_state)state))
			(void)json_array_append_new(states, json_string(job_state_words[state]));
	return states;
}

/* The two newest of a selection that have ended, as the runs of a schedule are. */
static void choose_newest(struct diff *diff, struct words *words)
{
	const char *word = words->argument_count > 0 ? words->arguments[0] : "";
	const char *part = strchrnul(word, '/');
	autofree char *name = xasprintf("%.*s", (int)(part - word), word);
	json_t *selection, *jobs, *reply;
	size_t count;

	/* Without the task part, which is for each of them */
	if (*word)
		words->arguments[0] = name;
	words_select(words);
	if (*word)
		words->arguments[0] = word;
	selection = json_object_get(words->parameters, "selection");
	if (!selection) {
		selection = json_object();
		(void)json_object_set_new(words->parameters, "selection", selection);
	}
	if (!json_object_get(selection, "states"))
		(void)json_object_set_new(selection, "states", ended_states());
	(void)json_object_set_new(words->parameters, "limit", json_integer(SIDES));
	reply = talk("List", json_incref(words->parameters));
	jobs = json_object_get(reply, "jobs");
	count = json_array_size(jobs);
	for (size_t i = 0; i < count; i++)
		diff->words[SIDES - 1 - i] = xasprintf(
			"%lld%s", (long long)number_of(json_array_get(jobs, i), "id"), part);
	json_decref(reply);
	if (count < SIDES)
		fail(STATUS_REFUSED, "there are no two jobs to compare%s%.80s: two that have ended",
		     *word ? " in " : "", word);
}

/* --- Reading them --- */

static void read_side(struct diff *diff, int side)
{
	const char *part = strchr(diff->words[side], '/');
	autofree char *selector = NULL;

	diff->side = side;
	talk_stream("ListTasks",
		    json_pack("{s:o}", "selector", text_value(diff->words[side], "a job")),
		    take_tasks, diff);
	if (!diff->jobs[side])
		fail(STATUS_REFUSED, "'%.80s' has no tasks", diff->words[side]);
	/* Its id, since @last may be another one by now. */
	selector = xasprintf("%s%s", diff->jobs[side], part ? part : "");
	talk_records(selector, take_record, diff);
}

/* --- Printing --- */

/* A line of a diff by its first letter. */
static const char *color_of(char first)
{
	switch (first) {
	case '-':
		return COLOR_RED;
	case '+':
		return COLOR_GREEN;
	case '@':
		return COLOR_BOLD;
	default:
		return "";
	}
}

static void print_text(const char *text, size_t size)
{
	while (size > 0) {
		const char *end = memchr(text, '\n', size);
		size_t line = end ? (size_t)(end - text) : size;

		(void)fputs(color(stdout, color_of(*text)), stdout);
		print_clean(stdout, text, line);
		printf("%s\n", *color_of(*text) ? color(stdout, COLOR_OFF) : "");
		line += end != NULL;
		text += line;
		size -= line;
	}
}

/* after: the targets there, where these are other ones; or NULL */
static void print_diff(const struct diff *diff, const char *targets, const char *after, int stream,
		       const char *text, size_t size)
{
	for (int side = 0; side < SIDES; side++)
		printf("%s%s %s/%s%s%s\n", color(stdout, COLOR_BOLD),
		       side == BEFORE ? "---" : "+++", diff->jobs[side],
		       side == AFTER && after ? after : targets, stream_names[stream],
		       color(stdout, COLOR_OFF));
	print_text(text, size);
}

static void print_outcome(const char *targets, const char *outcome, const char *message)
{
	printf("%s: ", targets);
	print_clean(stdout, outcome, strlen(outcome));
	if (*message)
		(void)fputs(": ", stdout);
	print_clean(stdout, message, strlen(message));
	(void)fputc('\n', stdout);
}

/* As JSON: what changed alone. */
static void print_target(const struct target *target, const char *const diffs[2],
			 const size_t sizes[2])
{
	static const char *const outcomes[] = {"before", "after"};
	static const char *const names[] = {"stdoutDiff", "stderrDiff"};
	static const char *const data_names[] = {"stdoutDiffData", "stderrDiffData"};
	json_t *object =
		json_pack("{s:s, s:s*}", "target", target->name, "afterTarget", target->after);

	for (int i = 0; i < SIDES; i++)
		if (target->sides[i].is_there)
			(void)json_object_set_new(object, outcomes[i],
						  json_string(target->sides[i].outcome));
	for (int i = 0; i < 2; i++)
		if (diffs[i]) {
			json_t *bytes = json_object(), *text;

			/* As the interface has bytes: what is no UTF-8 in base64 */
			bytes_to_json(bytes, diffs[i], sizes[i]);
			text = json_object_get(bytes, "text");
			(void)json_object_set(object, text ? names[i] : data_names[i],
					      text ? text : json_object_get(bytes, "data"));
			json_decref(bytes);
		}
	print_json(object);
	json_decref(object);
}

/* --- Comparing --- */

static bool is_same_text(const struct text *before, const struct text *after)
{
	return before->size == after->size &&
	       (before->size == 0 || memcmp(before->bytes, after->bytes, before->size) == 0);
}

/* It was not reached, say: then that is what changed, and not each line of its output. */
static bool is_silent(const struct side *side)
{
	return side->streams[0].size == 0 && side->streams[1].size == 0;
}

static void tell_outcome(struct diff *diff, const struct target *target)
{
	const char *after = target->after ? target->after : "";
	autofree char *outcome = xasprintf("%s, then %s", target->sides[BEFORE].outcome,
					   target->sides[AFTER].outcome);
	autofree char *label = xasprintf("%s%s%s", target->name, *after ? ", " : "", after);

	if (diff->is_group)
		group_add(&diff->outcomes, outcome, strlen(outcome), label);
	else
		print_outcome(label, outcome, target->sides[AFTER].message);
}

/* Of a target that is in both; true where something changed. */
static bool compare(struct diff *diff, const struct target *target)
{
	const struct side *before = &target->sides[BEFORE], *after = &target->sides[AFTER];
	bool has_outcome = !streq(before->outcome, after->outcome), is_changed = has_outcome;
	char *diffs[2] = {0};
	size_t sizes[2] = {0};

	if (has_outcome && !globals.is_json)
		tell_outcome(diff, target);
	for (int i = 0; i < 2; i++) {
		const struct text *old = &before->streams[i], *new = &after->streams[i];

		if (is_same_text(old, new) ||
		    (has_outcome && (is_silent(before) || is_silent(after))))
			continue;
		is_changed = true;
		diffs[i] = text_diff(old->bytes, old->size, new->bytes, new->size, diff->context,
				     &sizes[i]);
		if (diff->is_group && !target->after)
			group_add(&diff->streams[i], diffs[i], sizes[i], target->name);
		else if (!globals.is_json)
			print_diff(diff, target->name, target->after, i, diffs[i], sizes[i]);
	}
	if (is_changed && globals.is_json)
		print_target(target, (const char *const *)diffs, sizes);
	free(diffs[0]);
	free(diffs[1]);
	return is_changed;
}

/* "7/r01 7/r02": two targets that are named are compared, whatever they are called. */
static void pair_targets(struct diff *diff)
{
	struct target *first = diff->targets, *second;

	if (HASH_COUNT(diff->targets) != 2 || !strchr(diff->words[BEFORE], '/') ||
	    !strchr(diff->words[AFTER], '/'))
		return;
	second = first->hh.next;
	if (first->sides[AFTER].is_there || second->sides[BEFORE].is_there)
		return;
	first->sides[AFTER] = second->sides[AFTER];
	HASH_DEL(diff->targets, second);
	first->after = second->name;
	free(second);
}

static void ignore_all(struct diff *diff, const struct ignore *ignore)
{
	struct target *target, *next;

	HASH_ITER (hh, diff->targets, target, next)
		for (int i = 0; i < SIDES * 2; i++) {
			struct text *text = &target->sides[i / 2].streams[i % 2];

			text->size = ignore_lines(ignore, text->bytes, text->size);
		}
}

static void compare_all(struct diff *diff)
{
	static const char *const none[2];
	static const size_t no_sizes[2];
	const struct target *target, *next;

	HASH_ITER (hh, diff->targets, target, next) {
		int only = target->sides[BEFORE].is_there ? BEFORE : AFTER;

		if (target->sides[BEFORE].is_there && target->sides[AFTER].is_there) {
			*(compare(diff, target) ? &diff->changed : &diff->same) += 1;
			continue;
		}
		diff->only_count[only]++;
		if (globals.is_json)
			print_target(target, none, no_sizes);
		else
			group_add(&diff->only[only], "", 0, target->name);
	}
}

/* --- What is told of many at once --- */

struct heading {
	const struct diff *diff;
	int number; /* a side, or a stream */
};

static void print_only(const char *targets, size_t count, const char *text, size_t size,
		       void *context)
{
	const struct heading *heading = context;

	(void)count;
	(void)text;
	(void)size;
	printf("only in %s: %s\n", heading->diff->jobs[heading->number], targets);
}

static void print_outcome_group(const char *targets, size_t count, const char *text, size_t size,
				void *context)
{
	autofree char *label = xasprintf("%s (%zu)", targets, count);
	autofree char *outcome = xasprintf("%.*s", (int)size, text);

	(void)context;
	print_outcome(label, outcome, "");
}

static void print_diff_group(const char *targets, size_t count, const char *text, size_t size,
			     void *context)
{
	const struct heading *heading = context;
	autofree char *label = xasprintf("%s (%zu)", targets, count);

	print_diff(heading->diff, label, NULL, heading->number, text, size);
}

static void print_groups(struct diff *diff)
{
	groups_print(&diff->outcomes, print_outcome_group, NULL);
	for (int i = 0; i < 2; i++)
		groups_print(&diff->streams[i], print_diff_group,
			     &(struct heading){.diff = diff, .number = i});
	for (int i = 0; i < SIDES; i++)
		groups_print(&diff->only[i], print_only,
			     &(struct heading){.diff = diff, .number = i});
}

static void print_sums(const struct diff *diff)
{
	(void)fprintf(stderr, "jobctl: %zu changed, %zu the same", diff->changed, diff->same);
	for (int i = 0; i < SIDES; i++)
		if (diff->only_count[i] > 0)
			(void)fprintf(stderr, ", %zu only in %s", diff->only_count[i],
				      diff->jobs[i]);
	for (int i = 0; i < SIDES; i++)
		if (diff->has_open[i])
			(void)fprintf(stderr, "; job %s has not ended", diff->jobs[i]);
	(void)fputc('\n', stderr);
}

static void diff_free(struct diff *diff)
{
	struct target *target, *next;

	HASH_ITER (hh, diff->targets, target, next) {
		HASH_DEL(diff->targets, target);
		for (int i = 0; i < SIDES; i++) {
			free(target->sides[i].outcome);
			free(target->sides[i].message);
			free(target->sides[i].streams[0].bytes);
			free(target->sides[i].streams[1].bytes);
		}
		free(target->name);
		free(target->after);
		free(target);
	}
	for (int side = 0; side < SIDES; side++) {
		free(diff->words[side]);
		free(diff->jobs[side]);
	}
}

enum status cmd_diff(struct words *words)
{
	const json_t *context = json_object_get(words->own, "context");
	struct diff diff = {
		.is_group = words_flag(words, "group") && !globals.is_json,
		.context = context ? json_integer_value(context) : CONTEXT_DEFAULT,
	};
	struct ignore *ignore;
	const char *why;
	bool is_same;

	globals.is_comparing = true;
	ignore = ignore_new(json_object_get(words->own, "ignore"));
	if (diff.context < 0)
		fail(STATUS_WORDS, "--context takes a number of lines, not %lld",
		     (long long)diff.context);
	if (words->argument_count > SIDES || words->has_rest)
		fail(STATUS_WORDS, "diff takes two jobs, the older first: jobctl diff 7 9");
	talk_on_interrupt(0);
	if (words->argument_count == SIDES)
		choose_named(&diff, words);
	else
		choose_newest(&diff, words);
	for (int side = 0; side < SIDES; side++)
		read_side(&diff, side);
	ignore_all(&diff, ignore);
	ignore_free(ignore);
	pair_targets(&diff);
	compare_all(&diff);
	print_groups(&diff);
	if (!is_written(stdout, &why))
		fail(STATUS_REFUSED, "cannot write the output: %s", why);
	if (!globals.is_json && !globals.is_quiet)
		print_sums(&diff);
	is_same = diff.changed + diff.only_count[BEFORE] + diff.only_count[AFTER] == 0;
	diff_free(&diff);
	return is_same ? STATUS_OK : STATUS_REFUSED;
}
