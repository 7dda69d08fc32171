/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* jobctl status: the daemon. */
#include "client/client.h"

#include "common/units.h"
#include "common/util.h"

static void print_row(const char *name, const char *value)
{
	printf("%14s: %s\n", name, value);
}

static void print_number(const char *name, int64_t value)
{
	printf("%14s: %lld\n", name, (long long)value);
}

/* As people read it; 0 is none. */
static const char *limit_text(const char *name, int64_t value, char buffer[static UNITS_TEXT_MAX])
{
	static const char *const sizes[] = {"max-message", "max-output-per-task",
					    "max-output-per-job", "max-database-size"};

	if (streq(name, "keep-finished") && value > 0)
		return duration_text(value, buffer);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (streq(name, sizes[i]) && value > 0)
			return size_text(value, buffer);
	(void)snprintf(buffer, UNITS_TEXT_MAX, "%lld", (long long)value);
	return buffer;
}

enum status cmd_status(struct words *words)
{
	json_t *status, *limits, *value;
	char text[UNITS_TEXT_MAX];
	const char *name;

	words_no_rest(words);
	if (words->argument_count > 0)
		fail(STATUS_WORDS, "jobctl status takes no argument");
	status = talk("GetStatus", NULL);
	limits = json_object_get(status, "limits");
	if (globals.is_json) {
		print_json(status);
		json_decref(status);
		return STATUS_OK;
	}
	print_row("version", text_of(status, "version"));
	print_number("process", number_of(status, "pid"));
	print_row("running for",
		  duration_text(now_real_us() - number_of(status, "startedUsec"), text));
	print_row("socket", text_of(status, "socket"));
	print_row("database", text_of(status, "database"));
	print_row("size", size_text(number_of(status, "databaseBytes"), text));
	if (*text_of(status, "storageError"))
		print_row("CANNOT STORE", text_of(status, "storageError"));
	print_number("commits", number_of(status, "commits"));
	if (number_of(status, "prunedJobs") > 0)
		print_number("pruned jobs", number_of(status, "prunedJobs"));
	print_row("longest turn", duration_text(number_of(status, "longestTurnUsec"), text));
	print_number("workers", number_of(status, "workers"));
	print_number("clients", number_of(status, "clients"));
	print_number("live jobs", number_of(status, "jobs"));
	print_number("queued tasks", number_of(status, "tasksQueued"));
	print_number("running tasks", number_of(status, "tasksRunning"));
	json_object_foreach (limits, name, value) {
		printf("%14s: %s %s\n", "limit", name,
		       limit_text(name, json_integer_value(value), text));
	}
	json_decref(status);
	return STATUS_OK;
}
