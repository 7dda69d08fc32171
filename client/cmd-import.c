/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobctl import: the way back of jobctl export. Lines go to the daemon in pieces, a job after the
 * other; the id of each is printed once it is there, whole. What had not ended is left out: an
 * export of all jobs has what was running then, and as a rule before all else.
 */
#include "client/client.h"

#include "common/json-plain.h"
#include "common/states.h"
#include "common/util.h"

#include <errno.h>

/* A call is far below max-message of jobd.conf: one line is at most a page of Receive. */
enum { LINES_MAX = 1000, BYTES_MAX = 1 << 20, LINE_MAX_BYTES = 64 << 20 };

struct import {
	const char *path;
	unsigned line, job_line; /* which is read, and where the job of the piece began */
	json_t *piece;           /* parameters of the next call */
	size_t lines, bytes;
	bool is_open; /* a job was begun */
	bool is_left; /* it is left out, and so is what belongs to it */
	bool has_left;
};

/* What print_json adds: the times for people, beside the microseconds. */
static void drop_times(json_t *value)
{
	const char *name;
	size_t index;
	json_t *member;
	void *next;

	json_array_foreach (value, index, member) {
		drop_times(member);
	}
	json_object_foreach_safe(value, next, name, member)
	{
		autofree char *precise = xasprintf("%sUsec", name);

		if (json_object_get(value, precise))
			(void)json_object_del(value, name);
		else
			drop_times(member);
	}
}

static void send_piece(struct import *import, bool is_end)
{
	autofree char *what =
		xasprintf("the job from line %u of %s", import->job_line, import->path);
	json_t *reply;

	talk_about(what);
	if (is_end)
		(void)json_object_set_new(import->piece, "isEnd", json_true());
	reply = talk("Import", import->piece);
	import->piece = json_object();
	import->lines = import->bytes = 0;
	if (is_end && globals.is_json)
		print_json(reply);
	else if (is_end)
		printf("%lld\n", (long long)number_of(reply, "id"));
	json_decref(reply);
	talk_about(NULL);
}

static void add(struct import *import, const char *list, json_t *value)
{
	json_t *array = json_object_get(import->piece, list);

	if (!array) {
		array = json_array();
		(void)json_object_set_new(import->piece, list, array);
	}
	(void)json_array_append(array, value);
}

/* A job without a state, or with one that is not known, is for jobd to refuse. */
static bool has_not_ended(const json_t *job)
{
	int state = word_find(job_state_words, text_of(job, "state"));

	return state >= 0 && !job_state_is_final((enum job_state)state);
}

static void begin_job(struct import *import, json_t *job)
{
	if (import->is_open && !import->is_left)
		send_piece(import, true);
	import->job_line = import->line;
	import->is_open = true;
	import->is_left = has_not_ended(job);
	if (!import->is_left) {
		(void)json_object_set(import->piece, "job", job);
		return;
	}
	import->has_left = true;
	(void)fprintf(stderr,
		      "jobctl: the job from line %u of %s, there %lld, had not ended when it was "
		      "exported: it is left out\n",
		      import->line, import->path, (long long)number_of(job, "id"));
}

static void take_line(struct import *import, const char *line, size_t size)
{
	json_t *object = json_object_load(line, size);
	json_t *job = json_object_get(object, "job"), *task = json_object_get(object, "task"),
	       *record = json_object_get(object, "record");

	if (json_object_size(object) != 1 || !(job || task || record))
		fail(STATUS_WORDS, "line %u of %s is none of jobctl export", import->line,
		     import->path);
	if (!job && !import->is_open)
		fail(STATUS_WORDS, "line %u of %s: a job comes before its tasks and records",
		     import->line, import->path);
	drop_times(object);
	if (job)
		begin_job(import, job);
	else if (!import->is_left)
		add(import, task ? "tasks" : "records", task ? task : record);
	json_decref(object);
	if (import->is_left)
		return;
	import->lines++;
	import->bytes += size;
	if (import->lines >= LINES_MAX || import->bytes >= BYTES_MAX)
		send_piece(import, false);
}

enum status cmd_import(struct words *words)
{
	struct import import = {.piece = json_object()};
	autofree char *line = NULL;
	size_t capacity = 0;
	ssize_t size;
	FILE *file;

	if (words->argument_count != 1 || words->has_rest)
		fail(STATUS_WORDS, "import takes one FILE, or - for standard input");
	import.path = words->arguments[0];
	file = file_open(import.path);
	if (!file)
		fail(STATUS_WORDS, "cannot read %s: %m", import.path);
	talk_on_interrupt(0);
	while ((size = getline(&line, &capacity, file)) >= 0) {
		import.line++;
		if (size > LINE_MAX_BYTES)
			fail(STATUS_WORDS, "line %u of %s is too long", import.line, import.path);
		if (size > 1)
			take_line(&import, line, (size_t)size);
	}
	if (ferror(file))
		fail(STATUS_WORDS, "cannot read %s: %m", import.path);
	/* Whoever removes the jobs over there next is to know. */
	if (!import.is_open)
		fail(STATUS_REFUSED, "%s is empty: it has no job to import",
		     streq(import.path, "-") ? "standard input" : import.path);
	if (!import.is_left)
		send_piece(&import, true);
	if (file != stdin)
		(void)fclose(file);
	json_decref(import.piece);
	return import.has_left ? STATUS_REFUSED : STATUS_OK;
}
