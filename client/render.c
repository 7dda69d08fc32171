/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/client.h"

#include "common/units.h"
#include "common/util.h"

#include <dlfcn.h>
#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <locale.h>
#include <sys/ioctl.h>

int64_t number_of(const json_t *object, const char *member)
{
	return json_integer_value(json_object_get(object, member));
}

const char *text_of(const json_t *object, const char *member)
{
	const char *text = json_string_value(json_object_get(object, member));

	return text ? text : "";
}

const char *color(const FILE *file, const char *escape)
{
	return globals.has_color[file == stderr] ? escape : "";
}

const char *for_people(const char *word, char buffer[static 32])
{
	(void)snprintf(buffer, 32, "%s", word);
	for (char *at = buffer; (at = strchr(at, '_')); at++)
		*at = '-';
	return buffer;
}

/* Bytes of the printable UTF-8 character there; 0 where a control or no UTF-8 stands. */
static size_t printable_size(const unsigned char *at, size_t left)
{
	size_t size = at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

	if (at[0] < 0x80)
		return at[0] >= ' ' && at[0] != 0x7f;
	if (size > left)
		return 0;
	for (size_t i = 1; i < size; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	/* U+0080 to U+009F are controls again */
	return at[0] == 0xc2 && at[1] < 0xa0 ? 0 : size;
}

/* Carriage returns there that only a line's end, perhaps in the next piece, follows. */
static size_t line_end_size(const char *at, size_t left)
{
	size_t size = 0;

	while (size < left && at[size] == '\r')
		size++;
	return size == left || at[size] == '\n' ? size : 0;
}

void print_clean(FILE *file, const char *bytes, size_t size)
{
	if (!globals.is_terminal[file == stderr]) {
		(void)fwrite(bytes, 1, size, file);
		return;
	}
	/* What a far side wrote must not steer the terminal of who reads it. */
	for (size_t i = 0, step; i < size; i += step) {
		step = line_end_size(bytes + i, size - i);
		if (step > 0)
			continue;
		step = printable_size((const unsigned char *)bytes + i, size - i);
		if (bytes[i] == '\n' || bytes[i] == '\t')
			step = 1;
		if (step > 0) {
			(void)fwrite(bytes + i, 1, step, file);
			continue;
		}
		(void)fprintf(file, "\\x%02x", (unsigned char)bytes[i]);
		step = 1;
	}
}

void print_clean_text(FILE *file, const char *text)
{
	print_clean(file, text, strlen(text));
}

unsigned terminal_width(FILE *file)
{
	struct winsize size;

	return ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool is_written(FILE *file, const char **ret_why)
{
	*ret_why = NULL;
	if (fflush(file) != 0)
		*ret_why = strerror(errno);
	else if (ferror(file))
		*ret_why = "a part of it was not taken";
	return !*ret_why;
}

/* --- JSON --- */

/* "created" in ISO 8601 for "createdUsec", where it is a time and no duration. */
static json_t *with_times(const json_t *value)
{
	json_t *unconst = (json_t *)(uintptr_t)value;
	json_t *copy, *member;
	const char *name;
	size_t index;

	if (json_is_array(value)) {
		copy = json_array();
		json_array_foreach (unconst, index, member) {
			(void)json_array_append_new(copy, with_times(member));
		}
		return copy;
	}
	if (!json_is_object(value))
		return json_incref(unconst);
	copy = json_object();
	json_object_foreach (unconst, name, member) {
		static const char *const times[] = {"createdUsec", "startedUsec", "endedUsec",
						    "atUsec",      "nextUsec",    "lastUsec",
						    NULL};
		char text[UNITS_TEXT_MAX], short_name[32];

		(void)json_object_set_new(copy, name, with_times(member));
		for (size_t i = 0; times[i]; i++) {
			if (!streq(name, times[i]))
				continue;
			(void)snprintf(short_name, sizeof(short_name), "%.*s",
				       (int)strlen(name) - 4, name);
			(void)json_object_set_new(
				copy, short_name,
				json_string(time_text(json_integer_value(member), text)));
		}
	}
	return copy;
}

void print_json(const json_t *object)
{
	json_t *copy = with_times(object);

	(void)json_dumpf(copy, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	(void)fputc('\n', stdout);
	json_decref(copy);
}

/* --- Tables --- */

/*
 * Most commands print no table, and are to end at once: libsmartcols is loaded with the first one.
 * Its header says what each function is.
 */
#define SMARTCOLS_FUNCTIONS(FUNCTION) \
	FUNCTION(new_table)           \
	FUNCTION(unref_table)         \
	FUNCTION(table_enable_colors) \
	FUNCTION(table_set_termforce) \
	FUNCTION(table_enable_nowrap) \
	FUNCTION(table_new_column)    \
	FUNCTION(table_new_line)      \
	FUNCTION(line_refer_data)     \
	FUNCTION(line_get_cell)       \
	FUNCTION(cell_set_color)      \
	FUNCTION(print_table)

static struct {
#define MEMBER(name) __typeof__(scols_##name) *name;
	SMARTCOLS_FUNCTIONS(MEMBER)
#undef MEMBER
} smartcols;

static void *smartcols_function(void *library, const char *name)
{
	void *function = library ? dlsym(library, name) : NULL;

	if (!function)
		fail(STATUS_REFUSED,
		     "cannot print a table without libsmartcols: %s; install it, or use --json",
		     dlerror());
	return function;
}

void tables_load(void)
{
	void *library;

	if (smartcols.new_table)
		return;
	library = dlopen("libsmartcols.so.1", RTLD_NOW);
#define LOAD(name) \
	smartcols.name = (__typeof__(smartcols.name))smartcols_function(library, "scols_" #name);
	SMARTCOLS_FUNCTIONS(LOAD)
#undef LOAD
}

struct column {
	const char *title;
	int flags;
};

static struct libscols_table *new_table(const struct column *columns, size_t count)
{
	struct libscols_table *table;

	tables_load();
	/* For the width of what is not ASCII; all else of jobctl does without. */
	(void)setlocale(LC_CTYPE, "");
	table = smartcols.new_table();
	if (!table)
		abort();
	(void)smartcols.table_enable_colors(table, globals.has_color[0]);
	if (!globals.is_terminal[0]) {
		/* In a pipe every value whole. */
		(void)smartcols.table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
		(void)smartcols.table_enable_nowrap(table, 0);
	}
	for (size_t i = 0; i < count; i++) {
		int flags = columns[i].flags;

		if (!globals.is_terminal[0])
			flags &= ~SCOLS_FL_TRUNC;
		if (!smartcols.table_new_column(table, columns[i].title, 0, flags))
			abort();
	}
	return table;
}

static void print_table(struct libscols_table *table)
{
	(void)smartcols.print_table(table);
	smartcols.unref_table(table);
}

static void set_cell(struct libscols_line *line, size_t column, char *text)
{
	/* Takes over the text. */
	if (smartcols.line_refer_data(line, column, text) != 0)
		abort();
}

static const char *state_color(const char *state)
{
	if (streq(state, "failed") || streq(state, "interrupted"))
		return "red";
	if (streq(state, "completed") || streq(state, "succeeded"))
		return "green";
	return NULL;
}

static void set_state(struct libscols_line *line, size_t column, const char *state)
{
	set_cell(line, column, xstrdup(state));
	if (globals.has_color[0] && state_color(state))
		(void)smartcols.cell_set_color(smartcols.line_get_cell(line, column),
					       state_color(state));
}

/* What is not printable in a terminal's line becomes '?'. */
static char *one_line(const char *text)
{
	char *line = xstrdup(text);

	for (char *at = line; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
	return line;
}

/* On a terminal at most that part of its width, which leaves the other columns theirs. */
static char *cut_line(const char *text, unsigned part)
{
	char *line = one_line(text);
	size_t most = terminal_width(stdout) / part, count = 0;

	if (!globals.is_terminal[0])
		return line;
	/* By characters, so that none is cut in two; the mark takes the room of the last three. */
	for (char *at = line, *end = line; *at; at++) {
		bool is_first = (*at & 0xc0) != 0x80;

		if (is_first && count + 3 == most)
			end = at;
		if (is_first && count++ == most) {
			*end = '\0';
			at = xasprintf("%s...", line);
			free(line);
			return at;
		}
	}
	return line;
}

/* The targets, and the command where there is one. */
static char *what_text(const json_t *object)
{
	autofree char *targets = one_line(text_of(object, "targets"));
	autofree char *command = one_line(text_of(object, "command"));

	return xasprintf("%s%s%s", targets, *command ? " -- " : "", command);
}

void print_job_table(const json_t *jobs)
{
	static const struct column columns[] = {{"ID", SCOLS_FL_RIGHT},
						{"NAME", 0},
						{"KIND", 0},
						{"STATE", 0},
						{"DONE", SCOLS_FL_RIGHT},
						{"FAILED", SCOLS_FL_RIGHT},
						{"CREATED", 0},
						{"TARGETS", SCOLS_FL_TRUNC}};
	struct libscols_table *table = new_table(columns, ARRAY_SIZE(columns));
	int64_t now = now_real_us();

	for (size_t i = 0; i < json_array_size(jobs); i++) {
		const json_t *job = json_array_get(jobs, i);
		struct libscols_line *line = smartcols.table_new_line(table, NULL);
		int64_t tasks = number_of(job, "tasks");
		int64_t failed = number_of(job, "failed") + number_of(job, "interrupted");
		char ago[UNITS_TEXT_MAX];

		if (!line)
			abort();
		set_cell(line, 0, xasprintf("%lld", (long long)number_of(job, "id")));
		set_cell(line, 1, cut_line(text_of(job, "name"), 4));
		set_cell(line, 2, xstrdup(text_of(job, "kind")));
		set_state(line, 3, text_of(job, "state"));
		set_cell(line, 4,
			 xasprintf("%lld/%lld",
				   (long long)(tasks - number_of(job, "queued") -
					       number_of(job, "running")),
				   (long long)tasks));
		set_cell(line, 5, failed ? xasprintf("%lld", (long long)failed) : xstrdup("-"));
		set_cell(line, 6, xstrdup(ago_text(number_of(job, "createdUsec"), now, ago)));
		set_cell(line, 7, what_text(job));
	}
	print_table(table);
}

/* "every 5 min", "2026-12-24T06:00", or the calendar event. */
static char *rule_text(const json_t *rule)
{
	char text[UNITS_TEXT_MAX];

	if (number_of(rule, "everyUsec") > 0)
		return xasprintf("every %s", duration_text(number_of(rule, "everyUsec"), text));
	if (number_of(rule, "atUsec") > 0)
		return xasprintf("%.16s", time_text(number_of(rule, "atUsec"), text));
	return one_line(text_of(rule, "onCalendar"));
}

/* "3 min", "now"; "paused" or "never" where there is none. */
static char *next_text(const json_t *schedule, int64_t now_us)
{
	int64_t next_us = number_of(schedule, "nextUsec");
	char text[UNITS_TEXT_MAX];
	const char *unit;

	if (json_is_true(json_object_get(schedule, "paused")))
		return xstrdup("paused");
	if (next_us == 0)
		return xstrdup("never");
	if (next_us <= now_us)
		return xstrdup("now");
	/* The larger of its two units is as much as there is room for. */
	(void)duration_text(next_us - now_us, text);
	unit = strchr(text, ' ');
	return xasprintf("%.*s", unit ? (int)strcspn(unit + 1, " ") + (int)(unit + 1 - text) : -1,
			 text);
}

void print_schedule_table(const json_t *schedules)
{
	static const struct column columns[] = {{"ID", SCOLS_FL_RIGHT},
						{"NAME", 0},
						{"KIND", 0},
						{"RULE", 0},
						{"NEXT", 0},
						{"LAST", SCOLS_FL_RIGHT},
						{"STATE", 0},
						{"RUNS", SCOLS_FL_RIGHT},
						{"SKIP", SCOLS_FL_RIGHT},
						{"TARGETS", SCOLS_FL_TRUNC}};
	struct libscols_table *table = new_table(columns, ARRAY_SIZE(columns));
	int64_t now_us = now_real_us();

	for (size_t i = 0; i < json_array_size(schedules); i++) {
		const json_t *schedule = json_array_get(schedules, i);
		struct libscols_line *line = smartcols.table_new_line(table, NULL);
		int64_t last = number_of(schedule, "lastJob");

		if (!line)
			abort();
		set_cell(line, 0, xasprintf("s%lld", (long long)number_of(schedule, "id")));
		set_cell(line, 1, cut_line(text_of(schedule, "name"), 8));
		set_cell(line, 2, xstrdup(text_of(schedule, "kind")));
		autofree char *rule = rule_text(json_object_get(schedule, "rule"));
		set_cell(line, 3, cut_line(rule, 5));
		set_cell(line, 4, next_text(schedule, now_us));
		set_cell(line, 5, last > 0 ? xasprintf("%lld", (long long)last) : xstrdup("-"));
		set_state(line, 6, text_of(schedule, "lastState"));
		set_cell(line, 7, xasprintf("%lld", (long long)number_of(schedule, "runs")));
		set_cell(line, 8, xasprintf("%lld", (long long)number_of(schedule, "skipped")));
		set_cell(line, 9, what_text(schedule));
	}
	print_table(table);
}

void print_task_table(const json_t *tasks)
{
	static const struct column columns[] = {{"TASK", SCOLS_FL_RIGHT},
						{"TARGET", 0},
						{"STATE", 0},
						{"TRIES", SCOLS_FL_RIGHT},
						{"TOOK", SCOLS_FL_RIGHT},
						{"ERROR", SCOLS_FL_TRUNC}};
	struct libscols_table *table = new_table(columns, ARRAY_SIZE(columns));

	for (size_t i = 0; i < json_array_size(tasks); i++) {
		const json_t *task = json_array_get(tasks, i);
		struct libscols_line *line = smartcols.table_new_line(table, NULL);
		int64_t took = number_of(task, "endedUsec") - number_of(task, "startedUsec");
		const char *message = text_of(task, "message");
		char text[UNITS_TEXT_MAX], class[32];

		if (!line)
			abort();
		set_cell(line, 0, xasprintf("%lld", (long long)number_of(task, "index")));
		set_cell(line, 1, cut_line(text_of(task, "target"), 2));
		set_state(line, 2, text_of(task, "state"));
		set_cell(line, 3, xasprintf("%lld", (long long)number_of(task, "attempts")));
		set_cell(line, 4,
			 xstrdup(number_of(task, "endedUsec") && took >= 0
					 ? duration_text(took, text)
					 : "-"));
		autofree char *clean = one_line(message);
		set_cell(line, 5,
			 xasprintf("%s%s%s", for_people(text_of(task, "error"), class),
				   *text_of(task, "error") && *message ? ": " : "", clean));
	}
	print_table(table);
}
