/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* jobctl: the table of commands, the global options, help. */
#include "client/client.h"

#include "common/states.h"
#include "common/util.h"

#include <unistd.h>

struct globals globals;

#define TABLES(...)  ((const struct option_row *const[]){__VA_ARGS__, global_options, NULL})
#define GLOBALS_ONLY ((const struct option_row *const[]){global_options, NULL})

static const struct option_row receive_options[] = {
	{"keep", OPTION_FLAG, NULL, "keep", "leave the cursor: the next receive gives it again",
	 NULL},
	{"again", OPTION_FLAG, NULL, "again", "from the beginning", NULL},
	{"cursor", OPTION_TEXT, "NAME", "cursor", "a reading position of this name", NULL},
	{"wait", OPTION_FLAG, NULL, "wait", "go on until the jobs end", NULL},
	{"remove", OPTION_FLAG, NULL, "remove", "remove each job once wholly received", NULL},
	{0},
};
static const struct option_row wait_options[] = {
	{"timeout", OPTION_DURATION, "D", "timeoutUsec", "give up after D, with status 124", NULL},
	{0},
};
static const struct option_row stop_options[] = {
	{"grace", OPTION_DURATION, "D", "graceUsec", "wait D between TERM and KILL", NULL},
	{0},
};
static const struct option_row adjust_options[] = {
	{"name", OPTION_TEXT, "NAME", "name", "another name", NULL},
	{"parallel", OPTION_NUMBER, "N", "parallel", "so many tasks at a time (0: no bound)", NULL},
	{"rate", OPTION_NUMBER, "N", "rate", "requests or sessions a second (0: no bound)", NULL},
	{"deadline", OPTION_DURATION, "D", "deadlineUsec",
	 "end the job D after its start (0: never)", NULL},
	{0},
};
static const struct option_row remove_options[] = {
	{"force", OPTION_FLAG, NULL, "force", "stop what runs, then remove it", NULL},
	{0},
};
static const struct option_row diff_options[] = {
	{"group", OPTION_FLAG, NULL, "-group", "targets with identical changes under one header",
	 NULL},
	{"context", OPTION_NUMBER, "N", "-context", "so many lines around each change (3)", NULL},
	{"ignore", OPTION_REPEAT, "REGEX", "-ignore", "leave out lines that fit", NULL},
	{0},
};
static const struct option_row schedules_options[] = {
	{"all", OPTION_FLAG, NULL, "all", "every schedule that you may see", NULL},
	{0},
};

const struct command commands[] = {
	{"start", "KIND [OPTION...] TARGET... [-- COMMAND]",
	 "make a job, or a schedule; prints its id",
	 "  jobctl start ping 8.8.8.8 10.0.0.0/24\n"
	 "  jobctl start ssh 'r[01-30]' -- show version\n"
	 "  jobctl start ssh --wait --credential lab @routers.txt -- show version\n"
	 "  jobctl start ssh --canary 2 --batch 10% @routers.txt -- write memory\n"
	 "  jobctl start ping --count 0 --on-change --period 5min @routers.txt\n"
	 "  jobctl start ssh --on-calendar 'Mon..Fri 06:00' @routers.txt -- show version\n",
	 TABLES(start_options, ping_options, ssh_options, results_options), cmd_start},
	{"list", "[SELECTOR...]", "one row a job",
	 "  jobctl list\n  jobctl list --state running,failed --since 2h\n", TABLES(filter_options),
	 cmd_list},
	{"show", "ID...", "one job whole: its options, its tasks",
	 "  jobctl show 7\n  jobctl show 7/r03\n", TABLES(filter_options), cmd_show},
	{"receive", "[SELECTOR...]", "what has not been received yet",
	 "  jobctl receive\n  jobctl receive 7 --again --group\n  jobctl receive --wait --remove\n",
	 TABLES(receive_options, results_options, filter_options), cmd_receive},
	{"wait", "[SELECTOR...]", "until they end, with a progress bar",
	 "  jobctl wait\n  jobctl wait 7 --timeout 30s\n", TABLES(wait_options, filter_options),
	 cmd_wait},
	{"watch", "[SELECTOR...]", "jobs, their tasks and output, live on the whole terminal",
	 "  jobctl watch\n  jobctl watch 7\n  jobctl watch --state running,queued\n",
	 TABLES(filter_options), cmd_watch},
	{"stop", "SELECTOR...", "stop what runs, drop what is queued",
	 "  jobctl stop 7\n  jobctl stop 7/r03\n  jobctl stop --all\n",
	 TABLES(stop_options, filter_options), cmd_stop},
	{"adjust", "ID", "change a job while it runs",
	 "  jobctl adjust 7 --parallel 10 --name slowly\n", TABLES(adjust_options), cmd_adjust},
	{"pause", "SELECTOR...", "start no further tasks", "  jobctl pause 7\n",
	 TABLES(filter_options), cmd_pause},
	{"resume", "SELECTOR...", "go on", "  jobctl resume 7\n", TABLES(filter_options),
	 cmd_resume},
	{"retry", "ID", "a new job of just the tasks that did not succeed", "  jobctl retry 7\n",
	 GLOBALS_ONLY, cmd_retry},
	{"remove", "SELECTOR...|--all", "forget jobs and their results",
	 "  jobctl remove 7 9-12\n  jobctl remove --all\n", TABLES(remove_options, filter_options),
	 cmd_remove},
	{"diff", "[JOB [JOB]]", "what changed in each target's output from one job to another",
	 "  jobctl diff 7 9\n  jobctl diff 7/r03 9/r03\n"
	 "  jobctl diff --group --ignore 'uptime|^! Last change' backup\n",
	 TABLES(diff_options, filter_options), cmd_diff},
	{"export", "[SELECTOR...]", "everything of jobs, as lines of JSON",
	 "  jobctl export --all >jobs.jsonl\n  jobctl export 7 | jq -c 'select(.task) | .task'\n",
	 TABLES(filter_options), cmd_export},
	{"import", "FILE|-", "make ended jobs again from the lines of export",
	 "  jobctl import jobs.jsonl\n  ssh other jobctl export 7 | jobctl import -\n",
	 GLOBALS_ONLY, cmd_import},
	{"schedules", "[pause|resume|run|remove] [SCHEDULE...]",
	 "what makes jobs at their times: show it, or change it",
	 "  jobctl schedules\n  jobctl schedules pause s7\n  jobctl list --schedule s7\n",
	 TABLES(schedules_options), cmd_schedules},
	{"profiles", "[NAME]", "the shells of devices that jobd knows, or the text of one",
	 "  jobctl profiles\n  jobctl profiles cisco-ios >~/.config/jobd/profiles/mine.profile\n",
	 GLOBALS_ONLY, cmd_profiles},
	{"status", "", "the daemon: version, sockets, queue, store, limits", "  jobctl status\n",
	 GLOBALS_ONLY, cmd_status},
};
const size_t command_count = ARRAY_SIZE(commands);

/* --- Help --- */

static void print_options(const struct option_row *rows)
{
	for (; rows->name; rows++) {
		autofree char *left = xasprintf("--%s%s%s", rows->name, rows->argument ? " " : "",
						rows->argument ? rows->argument : "");

		printf("  %-24s %s\n", left, rows->help);
	}
}

static const char *title_of(const struct option_row *table, bool is_first)
{
	if (table == results_options)
		return "For the results";
	if (table == filter_options)
		return "Which jobs";
	return table == global_options && !is_first ? "Everywhere" : "Options";
}

/* kind: of start, the one whose options are asked for; NULL: those of all. */
static void print_command_help(const struct command *command, const char *kind)
{
	printf("Usage: jobctl %s%s%s\n\n%s\n", command->name, *command->arguments ? " " : "",
	       command->arguments, command->summary);
	for (size_t i = 0; command->tables[i]; i++) {
		const struct kind_row *row = kinds;

		while (row->name && row->options != command->tables[i])
			row++;
		if (row->name && kind && word_find(kind_words, kind) >= 0 &&
		    !streq(kind, row->name))
			continue;
		if (row->name)
			printf("\nOf kind %s:\n", row->name);
		else
			printf("\n%s:\n", title_of(command->tables[i], i == 0));
		print_options(command->tables[i]);
	}
	printf("\nExamples:\n%s\nThe page jobctl(1) says more.\n", command->examples);
}

static void print_help(void)
{
	printf("Usage: jobctl COMMAND [OPTION...] [ARGUMENT...]\n\n"
	       "Runs ping and SSH jobs against any number of hosts in the background, by jobd.\n\n"
	       "Commands:\n");
	for (size_t i = 0; i < command_count; i++)
		printf("  %-9s %s\n", commands[i].name, commands[i].summary);
	printf("\nEverywhere:\n");
	print_options(global_options);
	printf("\nExamples:\n"
	       "  jobctl start ping 8.8.8.8        # prints the job's id\n"
	       "  jobctl wait; jobctl receive\n"
	       "  jobctl start ssh --wait 'r[01-30]' -- show version\n"
	       "\n`jobctl COMMAND --help` shows a command's options; the page jobctl(1) says "
	       "more.\n");
}

/* For shell completion and the test of the man page: command, option, argument, help. */
static void dump_options(void)
{
	for (size_t i = 0; i < command_count; i++) {
		printf("%s\t\t%s\t%s\n", commands[i].name, commands[i].arguments,
		       commands[i].summary);
		for (const struct option_row *const *table = commands[i].tables; *table; table++) {
			for (const struct option_row *row = *table; row->name; row++)
				printf("%s\t--%s\t%s\t%s\n", commands[i].name, row->name,
				       row->argument ? row->argument : "", row->help);
		}
	}
}

/* --- Running --- */

static void set_globals(const struct words *words)
{
	const char *when = words_text(words, "color");
	const char *no_color = getenv("NO_COLOR");

	globals.socket = words_text(words, "socket");
	globals.is_user = words_flag(words, "user");
	globals.is_system = words_flag(words, "system");
	globals.is_json = words_flag(words, "json");
	globals.is_quiet = words_flag(words, "quiet");
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
		bool is_terminal = isatty(fd);

		globals.is_terminal[fd - STDOUT_FILENO] = is_terminal;
		globals.has_color[fd - STDOUT_FILENO] =
			when && !streq(when, "auto")
				? streq(when, "always")
				: is_terminal && !(no_color && no_color[0] != '\0');
	}
	if (globals.is_user && globals.is_system)
		fail(STATUS_WORDS, "--user and --system do not go together");
}

static const struct command *find_command(const char *name, bool has_options_before)
{
	const char *names[ARRAY_SIZE(commands) + 1];
	const char *meant;

	for (size_t i = 0; i < command_count; i++) {
		if (streq(commands[i].name, name))
			return &commands[i];
		names[i] = commands[i].name;
	}
	names[command_count] = NULL;
	meant = nearest(name, names);
	if (meant)
		fail(STATUS_WORDS, "unknown command '%.80s'; did you mean '%s'?", name, meant);
	if (has_options_before)
		fail(STATUS_WORDS,
		     "unknown command '%.80s': the command comes first, then its options", name);
	fail(STATUS_WORDS, "unknown command '%.80s'; see jobctl --help", name);
}

/* The command is the first word that is no option and no option's value. */
static int command_place(int argc, char **argv)
{
	int i = 1;

	while (i < argc && argv[i][0] == '-' && !streq(argv[i], "--"))
		i += streq(argv[i], "--socket") || streq(argv[i], "--color") ? 2 : 1;
	return i;
}

static enum status run(int argc, char **argv)
{
	static const struct option_row *const only_globals[] = {global_options, NULL};
	int place = command_place(argc, argv);
	const struct command *command;
	struct words words;
	enum status status;

	if (place >= argc) {
		words_parse(&words, argc - 1, argv + 1, only_globals);
		if (words_flag(&words, "version"))
			printf("jobctl %s\n", PACKAGE_VERSION);
		else if (words_flag(&words, "help"))
			print_help();
		else
			fail(STATUS_WORDS, "a command is missing; see jobctl --help");
		words_done(&words);
		return STATUS_OK;
	}
	if (streq(argv[place], "help")) {
		if (place + 1 < argc)
			print_command_help(find_command(argv[place + 1], false),
					   place + 2 < argc ? argv[place + 2] : NULL);
		else
			print_help();
		return STATUS_OK;
	}
	command = find_command(argv[place], place > 1);
	/* Options before the command are global ones: they move behind it. */
	for (int i = place; i > 1; i--)
		argv[i] = argv[i - 1];
	words_parse(&words, argc - 2, argv + 2, command->tables);
	set_globals(&words);
	if (words_flag(&words, "help")) {
		print_command_help(command, words.arguments[0]);
		status = STATUS_OK;
	} else if (words_flag(&words, "version")) {
		printf("jobctl %s\n", PACKAGE_VERSION);
		status = STATUS_OK;
	} else {
		status = command->run(&words);
	}
	words_done(&words);
	return status;
}

int main(int argc, char **argv)
{
	enum status status;
	const char *why;

	stdio_occupy();
	if (argc == 2 && streq(argv[1], "--dump-options")) {
		dump_options();
		return STATUS_OK;
	}
	status = run(argc, argv);
	if (!is_written(stdout, &why) && status == STATUS_OK)
		fail(STATUS_REFUSED, "cannot write the output: %s", why);
	return (int)status;
}
