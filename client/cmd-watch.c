/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobctl watch: jobs, the tasks of one, the output of one of these, each a view of the whole
 * terminal. What is seen is asked for twice a second, and nothing else: the rows of a list that are
 * on the screen, and of an output what came since.
 */
#include "client/client.h"

#include "client/lines.h"
#include "client/place.h"
#include "client/prompt.h"
#include "client/screen-table.h"
#include "client/screen.h"
#include "client/watch-texts.h"
#include "common/protocol.h"
#include "common/util.h"

enum {
	REFRESH_MS = 500,
	REFRESH_MAX_MS = 5000,
	JOBS_MAX = 200,     /* the newest of them */
	TASKS_MAX = 1000,   /* of those that failed, or run, the first */
	PAGES_AT_ONCE = 16, /* of an output, before keys are looked at */
	SKIP = 8,
};

enum view { VIEW_JOBS, VIEW_TASKS, VIEW_OUTPUT };
enum filter { FILTER_NONE, FILTER_FAILED, FILTER_RUNNING };

/* What a task wrote, and what of it is seen. */
struct output {
	struct lines *lines;
	json_t *next; /* parameters of the next call */
	struct place place;
	size_t skip;  /* columns at the left that are not seen */
	size_t found; /* line that was searched for, from 1 of all that came; 0: none */
	bool is_following, is_behind; /* there is more already */
};

struct watch {
	enum view view, root;
	json_t *selection; /* parameters of List */
	json_t *jobs;
	struct place job_place;
	int64_t job; /* the one whose tasks are seen */
	json_t *job_row;
	json_t *tasks; /* those on the screen, from first on */
	size_t first, task_count;
	struct place task_place;
	enum filter filter; /* of the tasks */
	char *target;       /* whose output is seen */
	struct output output;
	int question;   /* the key that waits for y */
	char *notice;   /* until the next key; or NULL */
	int64_t due_us; /* when to ask again; monotonic */
	size_t rows;    /* of the screen, when that was asked for */
	struct prompt search;
};

/* --- Asking --- */

/* NULL, and a notice, where jobd refuses: the job may have been removed meanwhile. */
static json_t *ask(struct watch *watch, const char *method, json_t *parameters)
{
	char *error = NULL;
	json_t *reply = talk_try(method, parameters, &error);

	if (!reply) {
		free(watch->notice);
		watch->notice = error;
	}
	return reply;
}

static void keep(json_t **kept, json_t *reply, const char *member)
{
	json_decref(*kept);
	*kept = json_incref(json_object_get(reply, member));
	json_decref(reply);
}

static void fetch_jobs(struct watch *watch)
{
	json_t *before = json_incref(watch->jobs);

	keep(&watch->jobs, talk("List", json_incref(watch->selection)), "jobs");
	place_keep(&watch->job_place, before, watch->jobs, "id");
	json_decref(before);
}

static json_t *selection_of(int64_t job, const char *target)
{
	autofree char *selector = target ? xasprintf("%lld/%s", (long long)job, target)
					 : xasprintf("%lld", (long long)job);

	return json_pack("{s:[s]}", "selectors", selector);
}

static bool fetch_job(struct watch *watch)
{
	json_t *reply = ask(
		watch, "List",
		json_pack("{s:o, s:i}", "selection", selection_of(watch->job, NULL), "limit", 1));

	if (!reply)
		return false;
	json_decref(watch->job_row);
	watch->job_row = json_incref(json_array_get(json_object_get(reply, "jobs"), 0));
	json_decref(reply);
	return true;
}

/* Rows between those at the top and the one at the bottom. */
static size_t list_rows(const struct watch *watch)
{
	static const size_t others[] = {[VIEW_JOBS] = 3, [VIEW_TASKS] = 5, [VIEW_OUTPUT] = 2};
	size_t rows = screen_rows(), other = others[watch->view];

	return rows > other ? rows - other : 1;
}

static bool fetch_tasks(struct watch *watch)
{
	autofree char *selector = xasprintf("%lld", (long long)watch->job);
	json_t *parameters = json_pack("{s:s}", "selector", selector), *before, *reply;
	size_t limit = watch->filter ? TASKS_MAX : list_rows(watch);

	watch->first = watch->filter ? 0 : watch->task_place.top;
	if (limit > TASKS_MAX)
		limit = TASKS_MAX;
	(void)json_object_set_new(parameters, "limit", json_integer((json_int_t)limit));
	if (watch->filter)
		(void)json_object_set_new(
			parameters, "states",
			watch->filter == FILTER_RUNNING
				? json_pack("[s]", "running")
				: json_pack("[s, s, s]", "failed", "stopped", "interrupted"));
	if (watch->first > 0)
		(void)json_object_set_new(parameters, "after",
					  json_integer((json_int_t)watch->first - 1));
	reply = ask(watch, "ListTasks", parameters);
	if (!reply || !fetch_job(watch)) {
		json_decref(reply);
		return false;
	}
	before = json_incref(watch->tasks);
	keep(&watch->tasks, reply, "tasks");
	if (watch->filter)
		place_keep(&watch->task_place, before, watch->tasks, "index");
	json_decref(before);
	watch->task_count = watch->filter ? json_array_size(watch->tasks)
					  : (size_t)number_of(watch->job_row, "tasks");
	return true;
}

/* --- Output --- */

/* What was written, or how the task ended. */
static void take_record(struct lines *lines, const json_t *record)
{
	const json_t *task = json_object_get(record, "task");
	autofree char *text = NULL;
	size_t size;

	if (task) {
		autofree char *outcome = task_outcome(task);

		lines_end(lines);
		text = xasprintf("%s%s%s\n", text_of(task, "state"), *outcome ? ", " : "", outcome);
		lines_add(lines, !streq(text_of(task, "state"), "succeeded"), text, strlen(text));
	} else if (bytes_from_json(record, &text, &size) == 0) {
		lines_add(lines, streq(text_of(record, "stream"), "stderr"), text, size);
	}
}

/* What came since, a part of it at a time. */
static bool fetch_output(struct watch *watch)
{
	struct output *output = &watch->output;
	size_t gone = lines_gone(output->lines);
	bool has_more = true;

	/* One that is removed ends the view. */
	if (!fetch_job(watch))
		return false;
	for (unsigned page = 0; has_more && page < PAGES_AT_ONCE; page++) {
		json_t *reply = ask(watch, "Receive", json_incref(output->next)), *record;
		json_t *records = json_object_get(reply, "records");
		size_t index;

		if (!reply)
			return false;

		json_array_foreach (records, index, record) {
			take_record(output->lines, record);
		}
		has_more = json_is_true(json_object_get(reply, "hasMore"));
		json_decref(output->next);
		output->next = json_pack("{s:O}", "confirm", json_object_get(reply, "position"));
		json_decref(reply);
	}
	output->is_behind = has_more;
	/* Lines that are looked at stay where they are. */
	gone = lines_gone(output->lines) - gone;
	output->place.at -= output->place.at < gone ? output->place.at : gone;
	return true;
}

static void drop_output(struct watch *watch)
{
	lines_free(watch->output.lines);
	json_decref(watch->output.next);
	watch->output = (struct output){.is_following = true};
	free(watch->target);
	watch->target = NULL;
}

/* --- Drawing --- */

static void draw_top(char *text)
{
	screen_fill(0, LOOK_CHOSEN);
	screen_text(0, 0, SIZE_MAX, LOOK_CHOSEN, text, strlen(text), 0);
	free(text);
}

static void draw_jobs(const struct watch *watch)
{
	static const struct screen_field fields[] = {{"ID", 12, true},       {"NAME", 20, false},
						     {"KIND", 4, false},     {"STATE", 9, false},
						     {"DONE", 15, true},     {"FAILED", 8, true},
						     {"CREATED", 14, false}, {"TARGETS", 0, false}};
	struct screen_table table = {
		.fields = fields, .field_count = ARRAY_SIZE(fields), .state = 3};
	size_t rows = list_rows(watch), count = json_array_size(watch->jobs), running = 0;

	for (size_t i = 0; i < count; i++)
		running += number_of(json_array_get(watch->jobs, i), "running") > 0;
	draw_top(xasprintf("jobs: %s%zu, of them running: %zu",
			   count == JOBS_MAX ? "the newest " : "", count, running));
	table.texts = xcalloc(rows, sizeof(*table.texts));
	for (; table.count < rows && watch->job_place.top + table.count < count; table.count++)
		job_texts(table.texts[table.count],
			  json_array_get(watch->jobs, watch->job_place.top + table.count));
	screen_table_draw(1, &table, watch->job_place.at - watch->job_place.top);
	screen_table_done(&table);
}

static void draw_tasks(const struct watch *watch)
{
	static const struct screen_field fields[] = {{"TASK", 8, true},    {"TARGET", 40, false},
						     {"STATE", 11, false}, {"TRIES", 5, true},
						     {"TOOK", 12, true},   {"RESULT", 0, false}};
	struct screen_table table = {
		.fields = fields, .field_count = ARRAY_SIZE(fields), .state = 2};
	autofree char *progress = job_progress(watch->job_row);
	const char *reason = text_of(watch->job_row, "reason");
	size_t rows = list_rows(watch), skipped = watch->task_place.top - watch->first;

	draw_top(job_heading(watch->job_row));
	screen_text(1, 0, SIZE_MAX, LOOK_PLAIN, progress, strlen(progress), 0);
	screen_text(2, 0, SIZE_MAX, LOOK_RED, reason, strlen(reason), 0);
	table.texts = xcalloc(rows, sizeof(*table.texts));
	for (; table.count < rows && skipped + table.count < json_array_size(watch->tasks);
	     table.count++)
		task_texts(table.texts[table.count],
			   json_array_get(watch->tasks, skipped + table.count));
	screen_table_draw(3, &table, watch->task_place.at - watch->task_place.top);
	screen_table_done(&table);
}

static void draw_output(const struct watch *watch)
{
	const struct output *output = &watch->output;
	size_t rows = list_rows(watch), count = lines_count(output->lines);
	size_t gone = lines_gone(output->lines);
	autofree char *newest = gone > 0 ? xasprintf(", here the newest %zu", count) : xstrdup("");
	autofree char *column =
		output->skip > 0 ? xasprintf(", from column %zu", output->skip + 1) : xstrdup("");

	draw_top(xasprintf("%lld/%s: %zu lines%s%s%s", (long long)watch->job, watch->target,
			   gone + count, newest, column,
			   output->is_following ? "" : ", End follows"));
	for (size_t i = 0; i < rows && output->place.top + i < count; i++) {
		const struct line *line = lines_at(output->lines, output->place.top + i);
		bool is_found = gone + output->place.top + i + 1 == output->found;

		if (is_found)
			screen_fill(i + 1, LOOK_CHOSEN);
		screen_text(i + 1, 0, SIZE_MAX,
			    is_found         ? LOOK_CHOSEN
			    : line->is_error ? LOOK_RED
					     : LOOK_PLAIN,
			    line->text, line->size, output->skip);
	}
}

/* What keys there are. */
static char *keys_text(const struct watch *watch)
{
	if (watch->view == VIEW_JOBS)
		return xstrdup("Enter: its tasks  /: search  s: stop  p: pause, go on  q: quit");
	if (watch->view == VIEW_OUTPUT)
		return xstrdup("arrows, pages: move  End: follow  /, n, N: search  Esc: back");
	return xasprintf("Enter: output  f: %s  r: %s  /: target  s: stop  p: pause  Esc: back",
			 watch->filter == FILTER_FAILED ? "all" : "failed",
			 watch->filter == FILTER_RUNNING ? "all" : "running");
}

static char *bottom_text(const struct watch *watch)
{
	if (watch->question)
		return xasprintf("stop job %lld? y: yes, any other key: no", (long long)watch->job);
	if (watch->search.is_open)
		return xasprintf("/%s", watch->search.text);
	return watch->notice ? xstrdup(watch->notice) : keys_text(watch);
}

static void draw_bottom(const struct watch *watch)
{
	bool is_urgent = watch->question || watch->notice;
	autofree char *text = bottom_text(watch);

	screen_text(screen_rows() - 1, 0, SIZE_MAX, is_urgent ? LOOK_RED : LOOK_BOLD, text,
		    strlen(text), 0);
}

/* --- Moving --- */

/* There the place is the first row: no line is chosen. */
static void move_output(struct watch *watch, int key)
{
	struct output *output = &watch->output;
	struct place *place = &output->place;
	size_t rows = list_rows(watch), lines = lines_count(output->lines);
	size_t count = lines > rows ? lines - rows + 1 : 1;

	if (key == SCREEN_LEFT)
		output->skip -= output->skip < SKIP ? output->skip : SKIP;
	else if (key == SCREEN_RIGHT)
		output->skip += SKIP;
	else if (place_move(place, key, count, rows))
		output->is_following = place->at + 1 == count;
	if (output->is_following)
		place->at = count - 1;
	place_clamp(place, count, 1);
	place->top = place->at;
}

static void open_tasks(struct watch *watch, int64_t job)
{
	watch->view = VIEW_TASKS;
	watch->due_us = 0;
	watch->job = job;
	watch->task_place = (struct place){0};
	watch->filter = FILTER_NONE;
}

static void open_output(struct watch *watch)
{
	size_t at = watch->task_place.at;
	const json_t *task =
		at >= watch->first ? json_array_get(watch->tasks, at - watch->first) : NULL;

	if (!task)
		return;
	drop_output(watch);
	watch->view = VIEW_OUTPUT;
	watch->due_us = 0;
	watch->target = xstrdup(text_of(task, "target"));
	watch->output.lines = lines_new();
	watch->output.next =
		json_pack("{s:o, s:b, s:b}", "selection", selection_of(watch->job, watch->target),
			  "again", 1, "keep", 1);
}

/* The row of a target: "7/r03"; of several the first. */
static bool choose_target(struct watch *watch, const char *selector)
{
	json_t *reply =
		ask(watch, "ListTasks", json_pack("{s:s, s:i}", "selector", selector, "limit", 2));
	const json_t *task = json_array_get(json_object_get(reply, "tasks"), 0);
	bool is_there = task && fetch_job(watch);

	if (is_there) {
		watch->task_count = (size_t)number_of(watch->job_row, "tasks");
		watch->first = (size_t)number_of(task, "index");
		watch->task_place.at = watch->first;
		watch->filter = FILTER_NONE;
		watch->due_us = 0;
		keep(&watch->tasks, json_incref(reply), "tasks");
	}
	json_decref(reply);
	return is_there;
}

static void go_back(struct watch *watch)
{
	if (watch->view > watch->root)
		watch->view--;
	watch->due_us = 0;
}

/* --- Searching --- */

static bool find_job(struct watch *watch, const char *text, size_t from, bool is_back)
{
	for (size_t i = from; i < json_array_size(watch->jobs); i += is_back ? SIZE_MAX : 1) {
		const json_t *job = json_array_get(watch->jobs, i);

		if (!strstr(text_of(job, "name"), text) && !strstr(text_of(job, "targets"), text) &&
		    !strstr(text_of(job, "command"), text))
			continue;
		watch->job_place.at = i;
		place_clamp(&watch->job_place, json_array_size(watch->jobs), list_rows(watch));
		return true;
	}
	return false;
}

static bool find_line(struct watch *watch, const char *text, size_t from, bool is_back)
{
	struct output *output = &watch->output;
	size_t line = lines_find(output->lines, from, is_back, text);

	if (line == lines_count(output->lines))
		return false;
	output->found = lines_gone(output->lines) + line + 1;
	output->is_following = false;
	output->place.at = line;
	move_output(watch, SCREEN_NONE);
	return true;
}

/* Where the search goes on: what was found last, or the first row that is seen. */
static size_t search_place(const struct watch *watch)
{
	const struct output *output = &watch->output;
	size_t gone = watch->view == VIEW_OUTPUT ? lines_gone(output->lines) : 0;

	if (watch->view == VIEW_JOBS)
		return watch->job_place.at;
	return output->found > gone ? output->found - 1 - gone : output->place.at;
}

/* is_next: not what was found last. */
static void search(struct watch *watch, bool is_next, bool is_back)
{
	const char *text = watch->search.text;
	autofree char *selector = xasprintf("%lld/%s", (long long)watch->job, text);
	size_t from = search_place(watch) + (is_next ? (is_back ? SIZE_MAX : 1) : 0);

	if (!*text)
		return;
	if (watch->view == VIEW_TASKS)
		(void)choose_target(watch, selector);
	else if (watch->view == VIEW_JOBS ? !find_job(watch, text, from, is_back)
					  : !find_line(watch, text, from, is_back))
		watch->notice =
			xasprintf("'%s' is not found further %s", text, is_back ? "up" : "down");
}

/* --- Acting --- */

static void act(struct watch *watch, const char *method)
{
	json_decref(ask(watch, method,
			json_pack("{s:o}", "selection", selection_of(watch->job, NULL))));
	watch->due_us = 0;
}

static void pause_or_resume(struct watch *watch)
{
	if (fetch_job(watch))
		act(watch, streq(text_of(watch->job_row, "state"), "paused") ? "Resume" : "Pause");
}

/* The job that Enter is about; false: there is none. */
static bool choose_job(struct watch *watch)
{
	if (watch->view == VIEW_JOBS)
		watch->job = number_of(json_array_get(watch->jobs, watch->job_place.at), "id");
	return watch->job > 0 && watch->view != VIEW_OUTPUT;
}

/* And s and p, which are for one that goes on. */
static bool choose_running_job(struct watch *watch)
{
	const json_t *row = watch->view == VIEW_JOBS
				    ? json_array_get(watch->jobs, watch->job_place.at)
				    : watch->job_row;

	if (!choose_job(watch))
		return false;
	if (number_of(row, "endedUsec") == 0)
		return true;
	watch->notice = xasprintf("job %lld has ended", (long long)watch->job);
	return false;
}

/* Only these tasks; where it is so, all of them again. */
static void set_filter(struct watch *watch, enum filter filter)
{
	watch->filter = watch->filter == filter ? FILTER_NONE : filter;
	watch->task_place = (struct place){0};
	watch->due_us = 0;
}

/* Not about moving; false: the end. */
static bool take_command(struct watch *watch, int key)
{
	switch (key) {
	case 'q':
		return false;
	case SCREEN_BACK:
	case SCREEN_ESCAPE:
		go_back(watch);
		break;
	case '\n':
		if (watch->view == VIEW_JOBS && choose_job(watch))
			open_tasks(watch, watch->job);
		else if (watch->view == VIEW_TASKS)
			open_output(watch);
		break;
	case 'f':
	case 'r':
		if (watch->view == VIEW_TASKS)
			set_filter(watch, key == 'f' ? FILTER_FAILED : FILTER_RUNNING);
		break;
	case 's':
		if (choose_running_job(watch))
			watch->question = key;
		break;
	case 'p':
		if (choose_running_job(watch))
			pause_or_resume(watch);
		break;
	case '/':
		prompt_begin(&watch->search);
		watch->output.found = 0;
		break;
	case 'n':
	case 'N':
		search(watch, true, key == 'N');
		break;
	default:
		break;
	}
	return true;
}

static bool take_key(struct watch *watch, int key)
{
	if (key == SCREEN_INTERRUPT) {
		screen_end();
		exit(STATUS_INTERRUPTED);
	}
	if (key != SCREEN_NONE) {
		free(watch->notice);
		watch->notice = NULL;
	}
	if (watch->search.is_open) {
		if (prompt_key(&watch->search, key))
			search(watch, false, false);
		return true;
	}
	if (watch->question && key != SCREEN_NONE) {
		if (key == 'y')
			act(watch, "Stop");
		watch->question = 0;
		return true;
	}
	if (watch->view == VIEW_OUTPUT) {
		move_output(watch, key);
	} else if (watch->view == VIEW_JOBS) {
		if (place_move(&watch->job_place, key, json_array_size(watch->jobs),
			       list_rows(watch)))
			return true;
	} else if (place_move(&watch->task_place, key, watch->task_count, list_rows(watch))) {
		/* Other rows, unless all of them are here. */
		if (!watch->filter && watch->task_place.top != watch->first)
			watch->due_us = 0;
		return true;
	}
	return take_command(watch, key);
}

static bool fetch_view(struct watch *watch)
{
	switch (watch->view) {
	case VIEW_JOBS:
		fetch_jobs(watch);
		place_clamp(&watch->job_place, json_array_size(watch->jobs), list_rows(watch));
		return true;
	case VIEW_TASKS:
		place_clamp(&watch->task_place, watch->task_count, list_rows(watch));
		if (!fetch_tasks(watch))
			return false;
		place_clamp(&watch->task_place, watch->task_count, list_rows(watch));
		return true;
	case VIEW_OUTPUT:
		if (!fetch_output(watch))
			return false;
		move_output(watch, SCREEN_NONE);
		return true;
	}
	return true;
}

/* What takes long to ask for is asked for seldom. */
static void fetch(struct watch *watch)
{
	int64_t start_us = now_monotonic_us(), took_us, wait_us;

	if (start_us < watch->due_us && watch->rows == screen_rows())
		return;
	watch->rows = screen_rows();
	while (!fetch_view(watch)) {
		if (watch->view == watch->root)
			fail(STATUS_REFUSED, "%s", watch->notice);
		go_back(watch);
	}
	took_us = now_monotonic_us() - start_us;
	wait_us = 10 * took_us;
	/* Of what an output has already all is read, as fast as it goes. */
	if (watch->view == VIEW_OUTPUT && watch->output.is_behind)
		wait_us = 0;
	else if (wait_us < REFRESH_MS * 1000)
		wait_us = REFRESH_MS * 1000;
	else if (wait_us > REFRESH_MAX_MS * 1000)
		wait_us = REFRESH_MAX_MS * 1000;
	watch->due_us = start_us + wait_us;
}

/* The next key, or none where it is time to ask again. */
static int next_key(const struct watch *watch)
{
	int64_t left_ms = (watch->due_us - now_monotonic_us()) / 1000 + 1;

	return screen_key(left_ms > 0 ? (int)left_ms : 0);
}

static void draw(const struct watch *watch)
{
	static void (*const views[])(const struct watch *watch) = {
		[VIEW_JOBS] = draw_jobs, [VIEW_TASKS] = draw_tasks, [VIEW_OUTPUT] = draw_output};

	screen_clear();
	views[watch->view](watch);
	draw_bottom(watch);
	screen_show();
}

enum status cmd_watch(struct words *words)
{
	static struct watch watch; /* the lines are many */

	if (globals.is_json)
		fail(STATUS_WORDS, "watch is for people: list, show and receive have --json");
	words_select(words);
	(void)json_object_set_new(words->parameters, "limit", json_integer(JOBS_MAX));
	watch.selection = words->parameters;
	watch.output.is_following = true;
	talk_on_interrupt(0);
	/* What is wrong is told before the screen is there. */
	fetch_jobs(&watch);
	if (words->argument_count == 1 && json_array_size(watch.jobs) == 1) {
		open_tasks(&watch, number_of(json_array_get(watch.jobs, 0), "id"));
		watch.root = VIEW_TASKS;
		/* Of a single target its output */
		if (strchr(words->arguments[0], '/') &&
		    choose_target(&watch, words->arguments[0]) && json_array_size(watch.tasks) == 1)
			open_output(&watch);
	}
	screen_begin();
	do {
		fetch(&watch);
		draw(&watch);
	} while (take_key(&watch, next_key(&watch)));
	screen_end();
	drop_output(&watch);
	json_decref(watch.jobs);
	json_decref(watch.job_row);
	json_decref(watch.tasks);
	free(watch.notice);
	return STATUS_OK;
}
