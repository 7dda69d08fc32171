/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of jobctl share. One thread, one connection, one command a run.
 *
 *   main      the table of commands       options  words -> the interface's parameters
 *   talk      the connection              targets-file  @FILE and inventories
 *   render    tables and JSON             results  what Receive gives, for people
 *   progress  the bar                     groups   targets with something in common
 *   ignore   lines that do not count
 *   text-diff what changed in a text      screen   the whole terminal, and lists on it
 *   cmd-*     one command each
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Exit statuses: cli promises of jobctl(1). */
enum status {
	STATUS_OK = 0,
	STATUS_REFUSED =
		1, /* refused, no such job, a removal or an import left something, a change */
	STATUS_WORDS = 2,     /* the words are wrong */
	STATUS_FAILED = 3,    /* waited, and at least one task did not succeed */
	STATUS_DAEMON = 4,    /* no daemon to talk to, or it cannot store */
	STATUS_TIMEOUT = 124, /* --timeout of wait ran out */
	STATUS_INTERRUPTED = 130,
};

/* --- Options (options.c) --- */

enum option_type {
	OPTION_FLAG,
	OPTION_NUMBER,
	OPTION_NUMBERS, /* "0,1,2" */
	OPTION_DURATION,
	OPTION_SIZE,
	OPTION_PERCENT,
	OPTION_TIME,
	OPTION_AHEAD, /* a time that is to come */
	OPTION_TEXT,
	OPTION_WORD,   /* one of words */
	OPTION_WORDS,  /* several, with commas */
	OPTION_REPEAT, /* a text; may come several times */
	OPTION_LIST,   /* texts with commas; may come several times */
};

/*
 * One option: parameter is where its value goes in the call ("ping.count" is a member of a member);
 * with a leading '-' it is jobctl's own and the daemon never sees it.
 */
struct option_row {
	const char *name;
	enum option_type type;
	const char *argument; /* as help shows it; NULL for a flag */
	const char *parameter;
	const char *help;
	const char *const *words;
};

/* Options of Start for every kind, of the kinds, and of selections; each ends with name NULL. */
extern const struct option_row global_options[], start_options[], ping_options[], ssh_options[],
	filter_options[];

/* The kinds by name, with their options; ends with name NULL. */
struct kind_row {
	const char *name;
	const struct option_row *options;
};
extern const struct kind_row kinds[];
extern const char *const kind_words[]; /* ended by NULL */

/* What the words of a command came to. */
struct words {
	json_t *parameters; /* of the call */
	json_t *own;        /* jobctl's own options, by name */
	const char **arguments;
	size_t argument_count;
	const char **rest; /* behind "--" */
	size_t rest_count;
	bool has_rest;
};

/*
 * Options and arguments in any order, up to "--". tables: ended by NULL. A mistake is told in one
 * line and ends the program with STATUS_WORDS.
 */
void words_parse(struct words *words, int count, char **values,
		 const struct option_row *const *tables);
bool words_flag(const struct words *words, const char *name);
const char *words_text(const struct words *words, const char *name);
void words_done(struct words *words);
/* For commands that take no "--". */
void words_no_rest(const struct words *words);
/* The option that an option's row put into words, or NULL. */
const json_t *words_value(const struct words *words, const struct option_row *row);
/* A text as JSON; one that is not UTF-8 ends the program. what: where it is from, for the sentence.
 */
json_t *text_value(const char *text, const char *what);
/* The name of the option that fills a parameter ("replyTimeoutUsec": "reply-timeout"), or NULL. */
const char *option_of_parameter(const char *parameter);
/* The word of the list that is nearest to a mistyped one, or NULL. */
const char *nearest(const char *word, const char *const *candidates);
/* The status of what could not be done. */
enum status trouble(enum status status);
/* One line on standard error, then the end with that status. */
_Noreturn void fail(enum status status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* --- Commands (main.c) --- */

struct command {
	const char *name, *arguments, *summary, *examples;
	const struct option_row *const *tables; /* ended by NULL */
	enum status (*run)(struct words *words);
};
extern const struct command commands[];
extern const size_t command_count;

/* The global options. */
struct globals {
	const char *socket;
	bool is_user, is_system, is_json, is_quiet;
	bool is_comparing; /* STATUS_REFUSED is an answer, as of diff(1): trouble has another status
			    */
	/* Standard output, standard error */
	bool is_terminal[2], has_color[2];
};
extern struct globals globals;

/* --- The connection (talk.c) --- */

/* Calls a method of org.jobd; parameters are taken over. An error is told, and ends the program. */
json_t *talk(const char *method, json_t *parameters);
/* One that goes on after an error of jobd: then it returns NULL, and a sentence that the caller
 * frees.
 */
json_t *talk_try(const char *method, json_t *parameters, char **ret_error);
/* The two halves of talk, for a call while the answer to the one before is worked on. */
void talk_ask(const char *method, json_t *parameters);
json_t *talk_answer(void);
/* With "more": fn gets each reply; it returns false to leave. */
typedef bool talk_fn(json_t *reply, bool continues, void *context);
void talk_stream(const char *method, json_t *parameters, talk_fn *fn, void *context);
/* May it be read, or is there no such job any more? */
bool talk_has_job(const char *selector);
/* All records of a selector, whatever was received; a page is in memory, and no position moves. The
 * end with STATUS_REFUSED where its job was removed meanwhile. */
typedef void record_fn(json_t *record, void *context);
void talk_records(const char *selector, record_fn *fn, void *context);
/* Error replies from here on begin with what they are about, such as "line 7 of x"; it stays the
 * caller's. NULL: as they are. */
void talk_about(const char *what);
/* From now on Ctrl-C ends the program with STATUS_INTERRUPTED. job: the one that was just made,
 * whose id nobody has seen yet, and which is named then, and where jobd is lost; 0: none. */
void talk_on_interrupt(int64_t job);
/* Where a call of the system came back early: the end, if it was for Ctrl-C. */
void talk_check_interrupt(void);

/* --- Files that a user wrote (targets-file.c) --- */

/* Standard input for "-", which is to be read once; else as fopen(3), to read. */
FILE *file_open(const char *path);
/* The lines of a file, or of standard input ("-"). What cannot be read, and what is no text, ends
 * the program with STATUS_WORDS; what: which lines these are, for the sentence. */
struct file_lines {
	FILE *file;
	const char *path, *what;
	char *line;
	size_t capacity;
	unsigned number; /* of the line, from 1 */
};
void file_lines_open(struct file_lines *lines, const char *path, const char *what);
/* The next one, until the call after it; NULL: there is none, and nothing is open. */
char *file_lines_next(struct file_lines *lines);

/* Where the words of a target list go. */
struct target_lists {
	json_t *targets;
	json_t *hosts; /* what an inventory says of some in particular (SshHost of the interface);
			  NULL: left out */
	json_t *addresses; /* of hosts of inventories, by name, where it is not the name; NULL: left
			      out */
	bool has_logins;   /* users and ports */
};
/* A word of a target list, read where it is @FILE, @- or @FILE:PATTERN; appended to the lists. */
void targets_read(const struct target_lists *lists, const char *word);
struct error;
struct target_list;
/* What the words come to, as jobd would have it. NULL: *ret_error says why they are no list. */
struct target_list *targets_list(const json_t *targets, const json_t *exclude,
				 struct error *ret_error);
/* --exclude, after the targets were read: its words into left_out.targets. A host of an inventory
 * goes by its name there as well. A word that leaves out nothing is told. */
void exclude_read(const struct target_lists *lists, const struct target_lists *left_out,
		  const json_t *words);
/* What is typed on the terminal behind the prompt, unseen; the caller wipes and frees it. */
char *ask_secret(const char *prompt);
/* --dry-run: what Start's parameters, which jobd has checked, come to. */
void dry_run(const json_t *parameters, const char *kind);
/* The hosts of an inventory's text, which is taken apart, that a pattern names: "core:&edge:!r3".
 */
void inventory_read(const struct target_lists *lists, const char *path, char *text,
		    const char *pattern);

/* --- Showing (render.c) --- */

/* One line of JSON, with ISO 8601 times beside the microseconds. */
void print_json(const json_t *object);
void print_job_table(const json_t *jobs);
void print_task_table(const json_t *tasks);
/* Ends the program where tables cannot be printed: before anything else is. */
void tables_load(void);
void print_schedule_table(const json_t *schedules);
/* "host-key" for "host_key" */
const char *for_people(const char *word, char buffer[static 32]);
/* Bytes as they are; on a terminal with what would steer it made visible. */
void print_clean(FILE *file, const char *bytes, size_t size);
void print_clean_text(FILE *file, const char *text);
unsigned terminal_width(FILE *file); /* 80 where it is none */
/* Did all of it go out? A disk that was full for a while, or a pipe that does not block, may leave
 * holes, which the last fflush(3) alone does not tell of. ret_why: if not, why. */
bool is_written(FILE *file, const char **ret_why);
int64_t number_of(const json_t *object, const char *member);
const char *text_of(const json_t *object, const char *member); /* "" where there is none */
/* The escape, or "" where the file takes no colours. */
const char *color(const FILE *file, const char *escape);
#define COLOR_RED   "\033[31m"
#define COLOR_GREEN "\033[32m"
#define COLOR_BOLD  "\033[1m"
#define COLOR_OFF   "\033[0m"

/* --- Results (results.c) --- */

struct results_options {
	bool is_single;  /* one target: its output as it is */
	bool is_group;   /* identical output under one header */
	bool is_summary; /* counts alone */
	bool is_raw;     /* bytes alone */
	bool is_failed_only;
	const char *dir;   /* a file a target, or NULL */
	int64_t bar_tasks; /* between the results stands a bar of so many tasks; 0: none */
};
/* Of what was read */
struct results_sums {
	bool is_empty;  /* nothing came */
	int64_t ended;  /* of how many tasks the end came */
	int64_t failed; /* how many of these did not succeed */
};
/* Reads all of a selection, prints it, and confirms what was written. parameters are taken over. */
void results_receive(json_t *parameters, const struct results_options *options,
		     struct results_sums *ret_sums);
/* Behind a summary: of how many of so many tasks there is no result. */
void results_tell_missing(const struct results_sums *sums, int64_t tasks);
/* Of so many bytes that a task wrote in all its tries, how many are of the last, which stand behind
 * the others. member: stdoutBytes or stderrBytes, of an ended task. */
size_t last_try_size(const json_t *task, const char *member, size_t size);
/* How results are shown: --group, --summary, --raw, --dir. */
extern const struct option_row results_options[];
/* Their words are checked: before anything is asked for. is_single is the caller's to say. */
struct results_options results_options_of(const struct words *words);

/* --- Groups (groups.c) --- */

/* Targets that have a text in common, in the order in which the texts came. */
struct group;
void group_add(struct group **groups, const char *text, size_t size, const char *target);
typedef void group_fn(const char *targets, size_t count, const char *text, size_t size,
		      void *context);
/* Calls fn for each, with its targets folded, and frees them. */
void groups_print(struct group **groups, group_fn *fn, void *context);
/* A sentence about a target with a mark in the place of its host, as the text of a group; and with
 * the targets of the group, as group_fn has them, there again. The caller frees. */
char *sentence_without_host(const char *sentence, const char *target);
char *sentence_with_hosts(const char *sentence, size_t size, const char *targets, size_t count);

/* --- Differences (text-diff.c) --- */

/* A unified diff of two texts that are not the same, without its heading. The caller frees. */
char *text_diff(const char *before, size_t before_size, const char *after, size_t after_size,
		int64_t context, size_t *ret_size);

/* --- Lines that do not count (ignore.c) --- */

struct ignore;
/* From an array of regular expressions, or NULL for none; a wrong one ends the program. */
struct ignore *ignore_new(const json_t *texts);
void ignore_free(struct ignore *ignore);
/* Takes the lines that fit one of them out of a text; the size of what is left. */
size_t ignore_lines(const struct ignore *ignore, char *bytes, size_t size);

/* --- Summaries (summary.c) --- */

struct summary;
/* An ended task as Receive gives it; the first makes the summary. */
void summary_add(struct summary **summary, const char *target, const json_t *task);
/* Prints and frees it; nothing where there is none. */
void summary_print(struct summary **summary);

/* --- Progress (progress.c) --- */

/* Draws the sums of Wait on a terminal; nothing elsewhere. */
void progress_draw(const json_t *sums);
bool progress_is_shown(void);
void progress_clear(void);

/* --- Shared by commands --- */

/* Does it name one job: an id, @last, or a name, whose newest job is meant? A task part may follow.
 */
bool word_is_one_job(const char *word);
/* The first argument with a task part, or NULL. */
const char *words_task_part(const struct words *words);
/* What is for whole jobs alone: the end, where a selector has a task part. verb: as in "export". */
void words_refuse_tasks(const struct words *words, const char *verb);
/* The next item of a list with commas, of which those in brackets (r[1,3]) do not count; NULL:
 * there is none. As strsep(3). */
char *list_item(char **rest);
/* Selectors from the arguments into parameters.selection. */
void words_select(struct words *words);
/* A random token, for calls that may be repeated; a new string value. */
json_t *new_token(void);
/* Calls Wait, with a bar; the last sums (a new reference). parameters are taken over. */
json_t *wait_for(json_t *parameters);

enum status cmd_start(struct words *words);
enum status cmd_list(struct words *words);
enum status cmd_show(struct words *words);
enum status cmd_receive(struct words *words);
enum status cmd_wait(struct words *words);
enum status cmd_watch(struct words *words);
enum status cmd_stop(struct words *words);
enum status cmd_pause(struct words *words);
enum status cmd_resume(struct words *words);
enum status cmd_adjust(struct words *words);
enum status cmd_retry(struct words *words);
enum status cmd_remove(struct words *words);
enum status cmd_diff(struct words *words);
enum status cmd_export(struct words *words);
enum status cmd_import(struct words *words);
enum status cmd_profiles(struct words *words);
enum status cmd_schedules(struct words *words);
enum status cmd_status(struct words *words);
