/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One line on standard error, redrawn; only where that is a terminal. */
#include "client/client.h"

#include "common/units.h"
#include "common/util.h"

enum { BAR_MAX = 40 };

static bool is_drawn;
static int64_t start_us, start_done;

bool progress_is_shown(void)
{
	return !globals.is_quiet && !globals.is_json && globals.is_terminal[1];
}

void progress_clear(void)
{
	if (is_drawn)
		(void)fputs("\r\033[K", stderr);
	is_drawn = false;
}

/* How fast it goes and how long it will take, once there is something to go by. */
static void append_rate(char *text, size_t size, int64_t done, int64_t total)
{
	int64_t elapsed_us = now_monotonic_us() - start_us;
	int64_t progress = done - start_done;
	char left[UNITS_TEXT_MAX];
	size_t used = strlen(text);
	double rate;

	if (progress <= 0 || elapsed_us < US_PER_SEC / 2)
		return;
	rate = (double)progress * 1e6 / (double)elapsed_us;
	/* Whole seconds, begun ones too: as long as it goes on it is not 0. */
	(void)snprintf(
		text + used, size - used, ", %.1f/s, %s left", rate,
		duration_text(((int64_t)((double)(total - done) / rate) + 1) * US_PER_SEC, left));
}

void progress_draw(const json_t *sums)
{
	int64_t total = number_of(sums, "tasks");
	int64_t failed = number_of(sums, "failed") + number_of(sums, "interrupted");
	int64_t done = total - number_of(sums, "queued") - number_of(sums, "running");
	char bar[BAR_MAX + 1], text[160], line[sizeof(bar) + sizeof(text) + 2];
	unsigned width = terminal_width(stderr), room;
	size_t filled;

	if (!progress_is_shown() || total == 0)
		return;
	if (start_us == 0) {
		start_us = now_monotonic_us();
		start_done = done;
	}
	(void)snprintf(text, sizeof(text), " %lld/%lld", (long long)done, (long long)total);
	if (failed > 0)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), ", %lld failed",
			       (long long)failed);
	append_rate(text, sizeof(text), done, total);
	room = width > strlen(text) + 4 ? width - (unsigned)strlen(text) - 4 : 0;
	if (room > BAR_MAX)
		room = BAR_MAX;
	filled = (size_t)((int64_t)room * done / total);
	memset(bar, '.', room);
	memset(bar, '#', filled);
	bar[room] = '\0';
	(void)snprintf(line, sizeof(line), "[%s]%s", bar, text);
	/* A line that goes over the edge could not be drawn over. */
	(void)fprintf(stderr, "\r\033[K%.*s", (int)width - 1, line);
	(void)fflush(stderr);
	is_drawn = true;
}
