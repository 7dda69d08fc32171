/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kind "ssh" as the others see it: its options, its targets, and the engine between worker.h and
 * the visits. How a visit goes on is in ssh-visit.c, its steps in ssh-connect.c, ssh-auth.c,
 * ssh-exec.c.
 */
#include "daemon/kind-ssh.h"

#include "common/hash.h"
#include "common/protocol.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/ssh-agent.h"
#include "daemon/ssh-identity.h"
#include "daemon/ssh-jump.h"
#include "daemon/ssh-known-hosts.h"

#include <assert.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>

enum {
	LOGIN_MAX = 255,
	MAX_OUTPUT_DEFAULT = 16 << 20,
	PATH_BYTES_MAX = 4095,
	COMMAND_MAX = 32000,  /* what every server takes in one request (RFC 4253, 6.1) */
	STDIN_MAX = 12 << 20, /* in base64; a message is smaller than max-message anyway */
	TIMEOUT_MAX_DAYS = 366,
	PASSWD_BUFFER = 16384,
	ANSWER_MAX = 1000,
	JUMP_MAX = 2000,
	LINE_MAX_BYTES = 4000,
};
#define TIMEOUT_MAX_US     (TIMEOUT_MAX_DAYS * (24 * 3600 * US_PER_SEC))
#define SYSTEM_KNOWN_HOSTS "/etc/ssh/ssh_known_hosts"
#define SYSTEM_SSH_CONFIG  "/etc/ssh/ssh_config"

/* --- Options --- */

static const char *const policy_words[] = {
	[HOST_KEY_STRICT] = "strict",
	[HOST_KEY_ACCEPT_NEW] = "accept_new",
	[HOST_KEY_OFF] = "off",
	NULL,
};

#define FIELD_OF(structure, name, type, member, min, max, fallback)               \
	{                                                                         \
		name, type, offsetof(structure, member), min, max, fallback, NULL \
	}
#define FIELD(...)      FIELD_OF(struct ssh_options, __VA_ARGS__)
#define HOST_FIELD(...) FIELD_OF(struct ssh_host, __VA_ARGS__)

static const struct field host_fields[] = {
	HOST_FIELD("targets", FIELD_STRINGS, words, 1, TARGET_TEXT_MAX, 0),
	HOST_FIELD("login", FIELD_STRING, login, 0, LOGIN_MAX, 0),
	HOST_FIELD("port", FIELD_INT, port, 1, UINT16_MAX, -1),
	HOST_FIELD("jump", FIELD_STRING, jump, 0, JUMP_MAX, 0),
	HOST_FIELD("credential", FIELD_STRING, credential, 0, LOGIN_MAX, 0),
	HOST_FIELD("shell", FIELD_STRING, shell, 0, LOGIN_MAX, 0),
	HOST_FIELD("options", FIELD_STRINGS, lines, 1, LINE_MAX_BYTES, 0),
};

static const struct object_form host_form = {
	host_fields,
	ARRAY_SIZE(host_fields),
	sizeof(struct ssh_host),
};

static const struct field ssh_fields[] = {
	FIELD("commands", FIELD_STRINGS, commands, 1, COMMAND_MAX, 0),
	FIELD("login", FIELD_STRING, login, 0, LOGIN_MAX, 0),
	FIELD("port", FIELD_INT, port, 1, UINT16_MAX, -1),
	FIELD("jump", FIELD_STRING, jump, 0, JUMP_MAX, 0),
	FIELD("jumpCredential", FIELD_STRING, jump_credential, 0, LOGIN_MAX, 0),
	FIELD("options", FIELD_STRINGS, lines, 1, LINE_MAX_BYTES, 0),
	{"hosts", FIELD_OBJECTS, offsetof(struct ssh_options, hosts_given), 0, 0, 0, &host_form},
	FIELD("addresses", FIELD_MAP, addresses, 0, TARGET_TEXT_MAX - 1, 0),
	FIELD("identity", FIELD_STRING, identity, 0, PATH_BYTES_MAX, 0),
	FIELD("credential", FIELD_STRING, credential, 0, LOGIN_MAX, 0),
	FIELD("password", FIELD_STRING, password, 0, LOGIN_MAX, 0),
	FIELD("hasPassword", FIELD_BOOL, has_password, 0, 0, 0),
	FIELD("connectTimeoutUsec", FIELD_INT, connect_timeout_us, 1000, TIMEOUT_MAX_US, -1),
	FIELD("idleTimeoutUsec", FIELD_INT, idle_timeout_us, 0, TIMEOUT_MAX_US, -1),
	{"hostKey", FIELD_WORD, offsetof(struct ssh_options, host_key), 0, 0, -1, policy_words},
	FIELD("legacy", FIELD_BOOL, is_legacy, 0, 0, 0),
	FIELD("maxOutput", FIELD_INT, max_output, 0, INT64_MAX, -1),
	FIELD("rate", FIELD_INT, rate, 1, 1000000, 0),
	FIELD("perHostLimit", FIELD_INT, per_host_limit, 1, 1000000, 0),
	FIELD("stdin", FIELD_STRING, stdin_base64, 0, STDIN_MAX, 0),
	FIELD("successCodes", FIELD_INTS, success_codes, 0, 255, 0),
	FIELD("shell", FIELD_STRING, shell, 0, LOGIN_MAX, 0),
	FIELD("enable", FIELD_BOOL, is_enabling, 0, 0, 0),
	FIELD("answers", FIELD_STRINGS, answer_words, 1, ANSWER_MAX, 0),
};

static int check_credential(const char *name, const char *option, const struct config *config,
			    struct error *ret_error)
{
	if (!name || config_credential(config, name))
		return 0;
	return error_set(ret_error, ERROR_INVALID_OPTION, option,
			 "jobd.conf has no [credential %s]: name one that it has", name);
}

static int check_no_identity(const struct ssh_options *options, struct error *ret_error)
{
	return !options->identity
		       ? 0
		       : error_set(ret_error, ERROR_INVALID_OPTION, "identity",
				   "this jobd reads no key files of its users: use --credential, "
				   "or a jobd of your own (--user)");
}

static int check_files(const struct ssh_options *options, const struct config *config,
		       bool is_trusted, struct error *ret_error)
{
	int r = check_credential(options->credential, "credential", config, ret_error);

	if (r == 0)
		r = check_credential(options->jump_credential, "jumpCredential", config, ret_error);
	if (r < 0)
		return r;
	if (!is_trusted)
		r = check_no_identity(options, ret_error);
	if (r < 0)
		return r;
	if (options->identity && options->identity[0] != '/')
		return error_set(ret_error, ERROR_INVALID_OPTION, "identity",
				 "'%s' is no whole path: jobd runs in another folder, so begin "
				 "with /",
				 options->identity);
	return 0;
}

static int check_commands(const struct ssh_options *options, struct error *ret_error)
{
	if (options->commands.count == 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, "commands",
				 "no command was given: name at least one to run on each target");
	for (size_t i = 0; i < options->commands.count; i++)
		if (options->commands.items[i][0] == '\0')
			return error_set(ret_error, ERROR_INVALID_OPTION, "commands",
					 "command %zu is empty: give it or leave it out", i + 1);
	return 0;
}

/* Of any of the hosts */
static bool has_shell(const struct ssh_options *options)
{
	for (size_t i = 0; i < options->host_count; i++)
		if (options->hosts[i].shell)
			return true;
	return options->shell != NULL;
}

/* What goes with a shell, and what does not. */
static int check_shell_words(const struct ssh_options *options, struct error *ret_error)
{
	bool is_in_shell = has_shell(options);

	if (is_in_shell && options->stdin_base64)
		return error_set(ret_error, ERROR_INVALID_OPTION, "stdin",
				 "a shell types its commands and has no other input: leave out "
				 "--stdin or --shell");
	if (is_in_shell && options->success_codes.count > 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, "successCodes",
				 "a shell tells no exit status: leave out --success-codes or "
				 "--shell");
	if (options->is_enabling && !is_in_shell)
		return error_set(
			ret_error, ERROR_INVALID_OPTION, "enable",
			"--enable is for a shell: name its profile with --shell, or --shell "
			"auto");
	for (size_t i = 0; is_in_shell && i < options->commands.count; i++)
		if (strpbrk(options->commands.items[i], "\r\n"))
			return error_set(ret_error, ERROR_INVALID_OPTION, "commands",
					 "command %zu has several lines: in a shell each is a "
					 "command of its own",
					 i + 1);
	return 0;
}

/* "auto", or a profile that there is; NULL is fine, too. */
static int find_profile(const char *name, const struct config *config,
			const struct profile **ret_profile, struct error *ret_error)
{
	if (!name || streq(name, "auto"))
		return 0;
	*ret_profile = profiles_find(config->profiles, name);
	if (*ret_profile)
		return 0;
	return error_set(ret_error, ERROR_INVALID_OPTION, "shell",
			 "there is no profile '%s': jobctl profiles lists them", name);
}

/* --- The way to hosts --- */

static int check_jump(const char *jump, struct error *ret_error)
{
	autofree char *copy = xstrdup_or_null(jump);
	char *rest = copy, *word;

	while ((word = strsep(&rest, ","))) {
		struct target_parts parts;

		if (strpbrk(word, " \t") || target_split(word, &parts) < 0)
			return error_set(ret_error, ERROR_INVALID_OPTION, "jump",
					 "'%s' is no jump host: write it as host, user@host or "
					 "user@host:port, several with commas",
					 word);
	}
	return 0;
}

static int take_lines(const struct string_array *lines, struct ssh_settings *settings,
		      bool is_trusted, struct error *ret_error)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < lines->count; i++)
		r = ssh_settings_take(settings, lines->items[i], is_trusted, ret_error);
	return r;
}

/* "hosts": what is said of some targets alone */
static int parse_host(struct ssh_host *host, const struct config *config, bool is_trusted,
		      struct error *ret_error)
{
	int r;

	host->settings = (struct ssh_settings)SSH_SETTINGS_NONE;
	host->settings.user = xstrdup_or_null(host->login);
	host->settings.jump = xstrdup_or_null(host->jump);
	host->settings.port = host->port;
	r = take_lines(&host->lines, &host->settings, is_trusted, ret_error);
	if (r == 0)
		r = check_jump(host->settings.jump, ret_error);
	if (r == 0)
		r = check_credential(host->credential, "credential", config, ret_error);
	if (r == 0)
		r = find_profile(host->shell, config, &host->profile, ret_error);
	if (r == 0)
		r = target_list_new((const char *const *)host->words.items, host->words.count, NULL,
				    0, UINT32_MAX, &host->targets, ret_error);
	return r;
}

/* What an untrusted user may not have in a job that is not started, either. */
static int ssh_files_check(const void *kind_options, struct error *ret_error)
{
	const struct ssh_options *options = kind_options;
	const struct ssh_host *hosts = options->hosts_given.items;
	struct ssh_settings scratch = SSH_SETTINGS_NONE;
	int r = check_no_identity(options, ret_error);

	if (r == 0)
		r = take_lines(&options->lines, &scratch, false, ret_error);
	for (size_t i = 0; r == 0 && i < options->hosts_given.count; i++)
		r = take_lines(&hosts[i].lines, &scratch, false, ret_error);
	ssh_settings_done(&scratch);
	return r;
}

static int check_addresses(const struct ssh_options *options, struct error *ret_error)
{
	const struct string_entry *entry, *next;
	struct target_parts parts;

	HASH_ITER (hh, options->addresses.entries, entry, next)
		if (target_split(entry->text, &parts) < 0)
			return error_set(ret_error, ERROR_INVALID_OPTION, "addresses",
					 "the address of %s, '%s', is none: write it as host, "
					 "user@host, host:port or [address]:port",
					 entry->name, entry->text);
	return 0;
}

static int parse_way(struct ssh_options *options, const struct config *config, bool is_trusted,
		     struct error *ret_error)
{
	struct ssh_settings *settings = &options->settings;
	int r;

	settings->user = xstrdup_or_null(options->login);
	settings->jump = xstrdup_or_null(options->jump);
	settings->port = options->port;
	settings->connect_timeout_us = options->jump_settings.connect_timeout_us =
		options->connect_timeout_us;
	settings->host_key = options->jump_settings.host_key = options->host_key;
	r = take_lines(&options->lines, settings, is_trusted, ret_error);
	if (r == 0)
		r = check_jump(settings->jump, ret_error);
	if (r == 0)
		r = check_addresses(options, ret_error);
	options->hosts = options->hosts_given.items;
	for (size_t i = 0; r == 0 && i < options->hosts_given.count; i++) {
		r = parse_host(&options->hosts[i], config, is_trusted, ret_error);
		options->host_count++;
	}
	return r;
}

/* --- Shells --- */

static int parse_shell(struct ssh_options *options, const struct config *config,
		       struct error *ret_error)
{
	int r = check_shell_words(options, ret_error);

	if (r < 0)
		return r;
	r = find_profile(options->shell, config, &options->profile, ret_error);
	if (r < 0)
		return r;
	options->answers = xcalloc(options->answer_words.count + 1, sizeof(*options->answers));
	for (size_t i = 0; i < options->answer_words.count; i++) {
		autofree char *why = NULL;

		if (answer_parse(options->answer_words.items[i], &options->answers[i], &why) < 0)
			return error_set(ret_error, ERROR_INVALID_OPTION, "answers", "--answer: %s",
					 why);
		options->answer_count++;
	}
	return 0;
}

static int ssh_options_check(void *kind_options, const struct config *config, bool is_trusted,
			     struct error *ret_error)
{
	struct ssh_options *options = kind_options;
	char asked[UNITS_TEXT_MAX], allowed[UNITS_TEXT_MAX];
	int r;

	options->settings = options->jump_settings = (struct ssh_settings)SSH_SETTINGS_NONE;
	r = check_commands(options, ret_error);
	if (r == 0)
		r = check_files(options, config, is_trusted, ret_error);
	if (r == 0)
		r = parse_way(options, config, is_trusted, ret_error);
	if (r == 0)
		r = parse_shell(options, config, ret_error);
	if (r < 0)
		return r;
	/* From now on nothing of this memory goes into a core file. */
	if (options->password && prctl(PR_SET_DUMPABLE, 0) < 0)
		abort();
	options->has_password |= options->password != NULL;
	if (options->login && options->login[0] == '\0')
		return error_set(ret_error, ERROR_INVALID_OPTION, "login",
				 "the login name is empty: give one or leave it out");
	if (options->max_output < 0)
		options->max_output = config->max_output < MAX_OUTPUT_DEFAULT ? config->max_output
									      : MAX_OUTPUT_DEFAULT;
	if (options->max_output > config->max_output)
		return error_set(ret_error, ERROR_LIMIT_REACHED, "max-output-per-task",
				 "--max-output: %s is more than the %s that jobd.conf allows as "
				 "max-output-per-task: ask for less",
				 size_text(options->max_output, asked),
				 size_text(config->max_output, allowed));
	if (options->stdin_base64 &&
	    base64_decode(options->stdin_base64, &options->stdin_bytes, &options->stdin_size) < 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, "stdin",
				 "stdin is not base64 (RFC 4648): encode the bytes");
	return 0;
}

static void ssh_options_inherit(void *kind_options, const void *before)
{
	struct ssh_options *options = kind_options;

	options->password = xstrdup_or_null(((const struct ssh_options *)before)->password);
}

static void ssh_options_done(void *kind_options)
{
	struct ssh_options *options = kind_options;

	if (options->password)
		explicit_bzero(options->password, strlen(options->password));

	/* It may well be a password. */
	if (options->stdin_bytes)
		explicit_bzero(options->stdin_bytes, options->stdin_size);
	free(options->stdin_bytes);
	options->stdin_bytes = NULL;
	ssh_settings_done(&options->settings);
	ssh_settings_done(&options->jump_settings);
	for (size_t i = 0; i < options->host_count; i++) {
		ssh_settings_done(&options->hosts[i].settings);
		target_list_free(options->hosts[i].targets);
	}
	for (size_t i = 0; i < options->answer_count; i++)
		answer_done(&options->answers[i]);
	free(options->answers);
	options->answers = NULL;
}

static int ssh_target_check(const char *target, struct error *ret_error)
{
	struct target_parts parts;

	if (target_split(target, &parts) < 0)
		return error_set(ret_error, ERROR_INVALID_TARGET, target,
				 "'%s' is no target of kind ssh: write it as host, user@host, "
				 "host:port or [address]:port",
				 target);
	return 0;
}

static const char *ssh_command(const void *kind_options)
{
	const struct ssh_options *options = kind_options;

	return options->commands.items[0];
}

static unsigned ssh_in_flight_max(const struct config *config)
{
	return (unsigned)config->ssh_parallel;
}

/* --- Users --- */

/* Asked for once: the name service may be slow, and thousands of tasks have one owner. */
struct user_name {
	uid_t uid;
	UT_hash_handle hh;
	char name[];
};

const char *engine_user_name(struct engine *engine, uid_t uid)
{
	struct user_name *user = NULL;
	char buffer[PASSWD_BUFFER];
	struct passwd entry, *found = NULL;
	const char *name;

	HASH_FIND(hh, engine->user_names, &uid, sizeof(uid), user);
	if (user)
		return user->name;
	if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) != 0)
		return ""; /* the name service fails; it may answer the next time */
	name = found ? found->pw_name : "";
	user = xcalloc(1, sizeof(*user) + strlen(name) + 1);
	user->uid = uid;
	memcpy(user->name, name, strlen(name));
	HASH_ADD(hh, engine->user_names, uid, sizeof(user->uid), user);
	return user->name;
}

static char *home_of_user(void)
{
	const char *home = getenv("HOME");
	char buffer[PASSWD_BUFFER];
	struct passwd entry, *found = NULL;

	if (home && home[0] == '/')
		return xstrdup(home);
	if (getpwuid_r(geteuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found)
		return xstrdup(found->pw_dir);
	return NULL;
}

/* --- The engine --- */

/* A private daemon's user has one already; the system's daemon keeps its own beside the database.
 */
static char *known_hosts_path(const struct engine *engine)
{
	const char *database = engine->config->database;
	const char *slash = database ? strrchr(database, '/') : NULL;

	if (engine->config->is_user)
		return engine->home ? xasprintf("%s/.ssh/known_hosts", engine->home) : NULL;
	return slash ? xasprintf("%.*s/known_hosts", (int)(slash - database), database) : NULL;
}

/* Those of ssh_config's UserKnownHostsFile: few, and they stay. */
struct hosts_file {
	struct known_hosts *hosts;
	UT_hash_handle hh;
	char path[];
};

struct known_hosts *engine_known_hosts(struct engine *engine, const char *path)
{
	struct hosts_file *file = NULL;

	HASH_FIND_STR(engine->hosts_files, path, file);
	if (file)
		return file->hosts;
	file = xcalloc(1, sizeof(*file) + strlen(path) + 1);
	strcpy(file->path, path);
	file->hosts = known_hosts_new(path, SYSTEM_KNOWN_HOSTS);
	HASH_ADD_STR(engine->hosts_files, path, file);
	return file->hosts;
}

/* The user's own and the system's, or the daemon's */
static struct ssh_config *open_ssh_config(const struct engine *engine)
{
	autofree char *own = engine->home ? xasprintf("%s/.ssh/config", engine->home) : NULL;
	const char *files[3] = {0};

	if (!engine->config->is_user)
		files[0] = SYSCONFDIR "/jobd/ssh_config";
	else if (own) {
		files[0] = own;
		files[1] = SYSTEM_SSH_CONFIG;
	}
	return ssh_config_new(files, engine->home);
}

static void on_ready(evutil_socket_t fd, short what, void *context)
{
	struct engine *engine = context;
	struct visit *visit;

	(void)fd;
	(void)what;
	while ((visit = TAILQ_FIRST(&engine->ready))) {
		TAILQ_REMOVE(&engine->ready, visit, ready_link);
		visit->is_ready = false;
		visit_advance(visit);
	}
}

static struct engine *ssh_engine_new(struct worker *worker, const struct config *config)
{
	struct engine *engine = xcalloc(1, sizeof(*engine));
	autofree char *own_file = NULL;

	engine->worker = worker;
	engine->config = config;
	TAILQ_INIT(&engine->ready);
	engine->ready_event = event_new(worker_base(worker), -1, EV_PERSIST, on_ready, engine);
	if (!engine->ready_event)
		abort();
	engine->home = config->is_user ? home_of_user() : NULL;
	own_file = known_hosts_path(engine);
	engine->known_hosts = known_hosts_new(own_file, SYSTEM_KNOWN_HOSTS);
	engine->ssh_config = open_ssh_config(engine);
	engine->identities = identities_new();
	if (config->is_user && getenv("SSH_AUTH_SOCK"))
		engine->agent = key_agent_new(engine, getenv("SSH_AUTH_SOCK"));
	engine_init_queues(engine);
	return engine;
}

static void ssh_configured(struct engine *engine, const struct config *config)
{
	engine->config = config;
}

static void ssh_engine_free(struct engine *engine)
{
	struct user_name *user, *next;
	struct hosts_file *file, *next_file;

	engine_done_jumps(engine);
	assert(TAILQ_EMPTY(&engine->ready));
	key_agent_free(engine->agent);
	engine_done_queues(engine);
	identities_free(engine->identities);
	known_hosts_free(engine->known_hosts);
	HASH_ITER (hh, engine->hosts_files, file, next_file) {
		HASH_DEL(engine->hosts_files, file);
		known_hosts_free(file->hosts);
		free(file);
	}
	ssh_config_free(engine->ssh_config);
	HASH_ITER (hh, engine->user_names, user, next) {
		HASH_DEL(engine->user_names, user);
		free(user);
	}
	event_free(engine->ready_event);
	free(engine->home);
	free(engine);
}

/* --- What main says about a task --- */

static void ssh_task_start(struct engine *engine, struct task *task)
{
	visit_advance(visit_new(engine, task, NULL));
}

static void ssh_task_stop(struct engine *engine, struct task *task, enum stop_reason reason,
			  int64_t grace_us)
{
	(void)engine;
	visit_stop(task->engine_task, reason, grace_us);
}

static void ssh_task_go(struct engine *engine, struct task *task)
{
	struct visit *visit = task->engine_task;

	(void)engine;
	visit->is_allowed = true;
	visit_advance(visit);
}

static void ssh_task_output_stored(struct engine *engine, struct task *task, size_t size)
{
	struct visit *visit = task->engine_task;
	bool was_held = visit_output_is_held(visit);

	(void)engine;
	assert(size <= visit->unstored);
	visit->unstored -= size;
	if (was_held && !visit_output_is_held(visit))
		visit_advance(visit);
}

static void ssh_task_resolved(struct engine *engine, struct task *task,
			      const struct sockaddr_storage *addresses, size_t count,
			      const char *error)
{
	struct visit *visit = task->engine_task;

	(void)engine;
	visit_take_addresses(visit, addresses, error ? 0 : count, error);
	visit_advance(visit);
}

static int64_t ssh_job_rate(const void *options)
{
	return ((const struct ssh_options *)options)->rate;
}

static uint32_t hash_of(const char *text)
{
	unsigned hash = 0;

	HASH_FUNCTION(text, strlen(text), hash);
	return hash | 1u << 31;
}

/* One session to a jump host carries all; sessions with one host are counted by their worker. */
static uint32_t ssh_affinity(const void *kind_options, const char *target)
{
	const struct ssh_options *options = kind_options;
	const struct ssh_host *host = ssh_host_of(options, target);
	const char *jump =
		host && host->settings.jump ? host->settings.jump : options->settings.jump;
	struct target_parts parts;

	if (jump && !streq(jump, "none"))
		return hash_of(jump);
	return options->per_host_limit > 0 &&
			       target_split(ssh_address_of(options, target), &parts) == 0
		       ? hash_of(parts.host)
		       : 0;
}

const struct kind kind_ssh = {
	.name = "ssh",
	.placement = PLACE_SPREAD,
	.in_flight_max = ssh_in_flight_max,
	.fields = ssh_fields,
	.field_count = ARRAY_SIZE(ssh_fields),
	.options_size = sizeof(struct ssh_options),
	.options_check = ssh_options_check,
	.files_check = ssh_files_check,
	.options_done = ssh_options_done,
	.secret = "password",
	.secret_mark = "hasPassword",
	.options_inherit = ssh_options_inherit,
	.target_check = ssh_target_check,
	.job_rate = ssh_job_rate,
	.affinity = ssh_affinity,
	.command = ssh_command,
	.engine_new = ssh_engine_new,
	.engine_free = ssh_engine_free,
	.configured = ssh_configured,
	.task_start = ssh_task_start,
	.task_stop = ssh_task_stop,
	.task_go = ssh_task_go,
	.task_output_stored = ssh_task_output_stored,
	.task_resolved = ssh_task_resolved,
};
