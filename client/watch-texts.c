/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/watch-texts.h"

#include "client/client.h"
#include "common/units.h"
#include "common/util.h"

enum { BAR = 30 };

char *task_outcome(const json_t *task)
{
	const json_t *ping = json_object_get(task, "ping"), *ssh = json_object_get(task, "ssh");
	const char *error = text_of(task, "error"), *message = text_of(task, "message");
	char class[32], size[UNITS_TEXT_MAX];

	if (*error)
		return xasprintf("%s: %s", for_people(error, class), message);
	if (*message)
		return xstrdup(message);
	if (number_of(ping, "received") > 0)
		return xasprintf("%lld/%lld replies, avg %.2f ms",
				 (long long)number_of(ping, "received"),
				 (long long)number_of(ping, "sent"),
				 (double)number_of(ping, "avgUsec") / 1e3);
	if (ssh)
		return xstrdup(size_text(
			number_of(ssh, "stdoutBytes") + number_of(ssh, "stderrBytes"), size));
	return xstrdup("");
}

static int64_t done_of(const json_t *job)
{
	return number_of(job, "tasks") - number_of(job, "queued") - number_of(job, "running");
}

static int64_t failed_of(const json_t *job)
{
	return number_of(job, "failed") + number_of(job, "interrupted");
}

void job_texts(char *texts[static SCREEN_FIELDS_MAX], const json_t *job)
{
	const char *command = text_of(job, "command");
	char ago[UNITS_TEXT_MAX];

	texts[0] = xasprintf("%lld", (long long)number_of(job, "id"));
	texts[1] = xstrdup(text_of(job, "name"));
	texts[2] = xstrdup(text_of(job, "kind"));
	texts[3] = xstrdup(text_of(job, "state"));
	texts[4] =
		xasprintf("%lld/%lld", (long long)done_of(job), (long long)number_of(job, "tasks"));
	texts[5] = failed_of(job) > 0 ? xasprintf("%lld", (long long)failed_of(job)) : xstrdup("-");
	texts[6] = xstrdup(ago_text(number_of(job, "createdUsec"), now_real_us(), ago));
	texts[7] = xasprintf("%s%s%s", text_of(job, "targets"), *command ? " -- " : "", command);
}

char *job_progress(const json_t *job)
{
	static const char full[] = "##############################";
	static const char empty[] = "..............................";
	int64_t total = number_of(job, "tasks"), done = done_of(job);
	int filled = total > 0 ? (int)(done * BAR / total) : 0;

	return xasprintf("[%.*s%.*s] %lld/%lld, %lld succeeded, %lld failed, %lld running", filled,
			 full, BAR - filled, empty, (long long)done, (long long)total,
			 (long long)number_of(job, "succeeded"), (long long)failed_of(job),
			 (long long)number_of(job, "running"));
}

char *job_heading(const json_t *job)
{
	const char *name = text_of(job, "name"), *command = text_of(job, "command");

	return xasprintf("job %lld%s%s (%s): %s, %s%s%s", (long long)number_of(job, "id"),
			 *name ? " " : "", name, text_of(job, "kind"), text_of(job, "state"),
			 text_of(job, "targets"), *command ? " -- " : "", command);
}

static char *took_text(const json_t *task)
{
	int64_t start_us = number_of(task, "startedUsec"), end_us = number_of(task, "endedUsec");
	char text[UNITS_TEXT_MAX];

	if (start_us == 0)
		return xstrdup("-");
	if (end_us == 0)
		end_us = now_real_us();
	return xstrdup(duration_text(end_us > start_us ? end_us - start_us : 0, text));
}

void task_texts(char *texts[static SCREEN_FIELDS_MAX], const json_t *task)
{
	texts[0] = xasprintf("%lld", (long long)number_of(task, "index"));
	texts[1] = xstrdup(text_of(task, "target"));
	texts[2] = xstrdup(text_of(task, "state"));
	texts[3] = xasprintf("%lld", (long long)number_of(task, "attempts"));
	texts[4] = took_text(task);
	texts[5] = task_outcome(task);
}
