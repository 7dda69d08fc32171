/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files become one row of lines, each with the criteria of its Host or Match in front of it once:
 * to apply them is one walk. Include puts the lines of other files in its place; criteria around it
 * hold for them too, so that they are a stack.
 */
#include "daemon/ssh-config.h"

#include "common/log.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/ssh-pattern.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>

enum {
	WORDS_MAX = 64,
	INCLUDE_DEPTH_MAX = 16,
	FILE_SIZE_MAX = 16 << 20,
	LOOK_AGAIN_US = 1000000,
	LISTED_MAX = 400,
};

/* --- Keywords --- */

enum keyword_type {
	TYPE_TEXT,
	TYPE_FILE,
	TYPE_FILES,
	TYPE_PORT,
	TYPE_SECONDS,
	TYPE_POLICY,
	TYPE_FLAG
};

struct keyword {
	const char *name;
	enum keyword_type type;
	size_t offset;       /* in struct ssh_settings */
	size_t count_offset; /* TYPE_FILES */
};

#define AT(member) offsetof(struct ssh_settings, member)
static const struct keyword keywords[] = {
	{"HostName", TYPE_TEXT, AT(host_name), 0},
	{"User", TYPE_TEXT, AT(user), 0},
	{"Port", TYPE_PORT, AT(port), 0},
	{"ProxyJump", TYPE_TEXT, AT(jump), 0},
	{"HostKeyAlias", TYPE_TEXT, AT(alias), 0},
	{"StrictHostKeyChecking", TYPE_POLICY, AT(host_key), 0},
	{"UserKnownHostsFile", TYPE_FILE, AT(known_hosts), 0},
	{"ConnectTimeout", TYPE_SECONDS, AT(connect_timeout_us), 0},
	{"IdentityFile", TYPE_FILES, AT(identities), AT(identity_count)},
	{"CertificateFile", TYPE_FILES, AT(certificates), AT(certificate_count)},
	{"IdentitiesOnly", TYPE_FLAG, AT(identities_only), 0},
	{"KexAlgorithms", TYPE_TEXT, AT(lists[LIST_KEY_EXCHANGE]), 0},
	{"HostKeyAlgorithms", TYPE_TEXT, AT(lists[LIST_HOST_KEY]), 0},
	{"Ciphers", TYPE_TEXT, AT(lists[LIST_CIPHER]), 0},
	{"MACs", TYPE_TEXT, AT(lists[LIST_MAC]), 0},
	{"PubkeyAcceptedAlgorithms", TYPE_TEXT, AT(lists[LIST_USER_KEY]), 0},
};
#undef AT

static const struct keyword *find_keyword(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		if (strcasecmp(keywords[i].name, name) == 0)
			return &keywords[i];
	return NULL;
}

static void *member(struct ssh_settings *settings, size_t offset)
{
	return (char *)settings + offset;
}

static const void *const_member(const struct ssh_settings *settings, size_t offset)
{
	return (const char *)settings + offset;
}

static int64_t parse_policy(const char *value)
{
	static const struct {
		const char *word;
		enum host_key_policy policy;
	} words[] = {
		{"yes", HOST_KEY_STRICT},
		{"ask", HOST_KEY_STRICT},
		{"accept-new", HOST_KEY_ACCEPT_NEW},
		{"no", HOST_KEY_OFF},
		{"off", HOST_KEY_OFF},
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(words[i].word, value) == 0)
			return words[i].policy;
	return -EINVAL;
}

/* A number, or a negative errno where the value is none of the type. */
static int64_t parse_number(enum keyword_type type, const char *value)
{
	int64_t number;
	int r = -EINVAL;

	if (type == TYPE_PORT)
		r = number_parse(value, 1, UINT16_MAX, &number);
	else if (type == TYPE_SECONDS)
		r = duration_parse(value, &number);
	else if (type == TYPE_POLICY)
		return parse_policy(value);
	else if (type == TYPE_FLAG &&
		 (strcasecmp(value, "yes") == 0 || strcasecmp(value, "no") == 0))
		return strcasecmp(value, "yes") == 0;
	return r < 0 ? r : number;
}

static void add_file(struct ssh_settings *settings, const struct keyword *keyword,
		     const char *value)
{
	char ***files = member(settings, keyword->offset);
	size_t *count = member(settings, keyword->count_offset);

	*files = xgrow(*files, *count, sizeof(**files));
	(*files)[(*count)++] = xstrdup(value);
}

/* 0 or -EINVAL; what is set already stays. */
static int set_value(struct ssh_settings *settings, const struct keyword *keyword,
		     const char *value)
{
	char **text = member(settings, keyword->offset);
	int64_t *number = member(settings, keyword->offset), parsed;

	switch (keyword->type) {
	case TYPE_TEXT:
	case TYPE_FILE:
		if (!*text)
			*text = xstrdup(value);
		return 0;
	case TYPE_FILES:
		add_file(settings, keyword, value);
		return 0;
	case TYPE_PORT:
	case TYPE_SECONDS:
	case TYPE_POLICY:
	case TYPE_FLAG:
	default:
		parsed = parse_number(keyword->type, value);
		if (parsed < 0)
			return -EINVAL;
		if (*number < 0)
			*number = parsed;
		return 0;
	}
}

void ssh_settings_merge(struct ssh_settings *settings, const struct ssh_settings *from)
{
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
		const struct keyword *keyword = &keywords[i];
		const void *value = const_member(from, keyword->offset);
		void *into = member(settings, keyword->offset);

		if (keyword->type == TYPE_FILES) {
			size_t count = *(const size_t *)const_member(from, keyword->count_offset);

			for (size_t n = 0; n < count; n++)
				add_file(settings, keyword, (*(char *const *const *)value)[n]);
		} else if (keyword->type == TYPE_TEXT || keyword->type == TYPE_FILE) {
			if (!*(char **)into)
				*(char **)into = xstrdup_or_null(*(char *const *)value);
		} else if (*(int64_t *)into < 0) {
			*(int64_t *)into = *(const int64_t *)value;
		}
	}
}

void ssh_settings_done(struct ssh_settings *settings)
{
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
		enum keyword_type type = keywords[i].type;
		char **text = member(settings, keywords[i].offset);
		char ***files = member(settings, keywords[i].offset);
		size_t *count = member(settings, keywords[i].count_offset);

		if (type == TYPE_TEXT || type == TYPE_FILE)
			free(*text);
		for (size_t n = 0; type == TYPE_FILES && n < *count; n++)
			free((*files)[n]);
		if (type == TYPE_FILES)
			free(*files);
	}
}

/* --- Lines --- */

/* The words of a line, in place; double quotes hold blanks. 0, or -EINVAL for an open quote. */
static int split(char *line, char *ret_words[static WORDS_MAX], size_t *ret_count)
{
	*ret_count = 0;
	for (char *at = line;;) {
		char *out;
		bool is_quoted = false;

		at += strspn(at, " \t\r\f");
		if (*at == '=' && *ret_count == 1)
			at += 1 + strspn(at + 1, " \t");
		if (*at == '\0' || *at == '#' || *ret_count == WORDS_MAX)
			return 0;
		ret_words[(*ret_count)++] = out = at;
		for (; *at != '\0' && (is_quoted || !strchr(" \t\r\f", *at)); at++) {
			if (*at == '=' && *ret_count == 1 && !is_quoted)
				break;
			if (*at == '"')
				is_quoted = !is_quoted;
			else
				*out++ = *at;
		}
		if (is_quoted)
			return -EINVAL;
		at += *at != '\0';
		*out = '\0';
	}
}

static void list_keywords(char ret_text[static LISTED_MAX])
{
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		used += (size_t)snprintf(ret_text + used, LISTED_MAX - used, "%s%s",
					 i > 0 ? ", " : "", keywords[i].name);
}

int ssh_settings_take(struct ssh_settings *settings, const char *line, bool is_trusted,
		      struct error *ret_error)
{
	autofree char *copy = xstrdup(line);
	char *words[WORDS_MAX], known[LISTED_MAX];
	const struct keyword *keyword;
	size_t count;

	if (split(copy, words, &count) < 0 || count < 2)
		return error_set(ret_error, ERROR_INVALID_OPTION, "options",
				 "--ssh-option '%s' is not of the form 'Keyword value'", line);
	keyword = find_keyword(words[0]);
	if (!keyword) {
		list_keywords(known);
		return error_set(ret_error, ERROR_INVALID_OPTION, "options",
				 "--ssh-option: '%s' is not honoured; these are: %s", words[0],
				 known);
	}
	if (!is_trusted && (keyword->type == TYPE_FILE || keyword->type == TYPE_FILES))
		return error_set(ret_error, ERROR_INVALID_OPTION, "options",
				 "this jobd reads no files of its users: leave out %s, or use a "
				 "jobd of your own (--user)",
				 keyword->name);
	if (set_value(settings, keyword, words[1]) < 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, "options",
				 "--ssh-option: '%s' is no value of %s", words[1], keyword->name);
	return 0;
}

/* --- Files --- */

enum criterion_type {
	CRITERION_ALL,
	CRITERION_ORIGINAL_HOST,
	CRITERION_HOST,
	CRITERION_USER,
	CRITERION_LOCAL_USER,
	CRITERION_NOTHING, /* what is not honoured */
};

struct criterion {
	enum criterion_type type;
	bool is_negated;
	char *patterns;
	struct criterion *next;
};

/* One line that sets something, or the criteria of those that follow. */
struct config_line {
	const struct keyword *keyword; /* NULL: criteria */
	char *value;
	struct criterion *criteria;
	size_t depth; /* of Include */
};

struct config_file {
	char *path;
	struct stat status; /* st_ino 0: was not there */
};

struct ssh_config {
	char **roots;
	size_t root_count;
	char *home;
	struct config_line *lines;
	size_t line_count;
	struct config_file *files; /* all that were read, and Include's that were not there */
	size_t file_count;
	int64_t looked_us;
};

static struct config_line *add_line(struct ssh_config *config, size_t depth)
{
	struct config_line *line;

	config->lines = xgrow(config->lines, config->line_count, sizeof(*config->lines));
	line = &config->lines[config->line_count++];
	*line = (struct config_line){.depth = depth};
	return line;
}

static void add_criterion(struct config_line *line, enum criterion_type type, bool is_negated,
			  char *patterns)
{
	struct criterion *criterion = xcalloc(1, sizeof(*criterion));

	*criterion = (struct criterion){type, is_negated, patterns, line->criteria};
	line->criteria = criterion;
}

/* "Host a b !c": as the list "a,b,!c" */
static void take_host(struct config_line *line, char *const *words, size_t count)
{
	char *patterns = xstrdup(count > 1 ? words[1] : "");

	for (size_t i = 2; i < count; i++) {
		char *longer = xasprintf("%s,%s", patterns, words[i]);

		free(patterns);
		patterns = longer;
	}
	add_criterion(line, CRITERION_ORIGINAL_HOST, false, patterns);
}

static void take_match(struct config_line *line, char *const *words, size_t count)
{
	static const struct {
		const char *word;
		enum criterion_type type;
	} types[] = {
		{"host", CRITERION_HOST},
		{"originalhost", CRITERION_ORIGINAL_HOST},
		{"user", CRITERION_USER},
		{"localuser", CRITERION_LOCAL_USER},
	};

	if (count == 1)
		add_criterion(line, CRITERION_NOTHING, false, xstrdup(""));
	for (size_t i = 1; i < count; i++) {
		bool is_negated = words[i][0] == '!';
		const char *word = words[i] + is_negated;
		enum criterion_type type = CRITERION_NOTHING;

		for (size_t t = 0; t < ARRAY_SIZE(types); t++)
			if (strcasecmp(types[t].word, word) == 0)
				type = types[t].type;
		if (strcasecmp(word, "all") == 0)
			add_criterion(line, CRITERION_ALL, is_negated, xstrdup(""));
		else if (type == CRITERION_NOTHING || i + 1 == count)
			add_criterion(line, CRITERION_NOTHING, false, xstrdup(""));
		else
			add_criterion(line, type, is_negated, xstrdup(words[++i]));
	}
}

static void read_file(struct ssh_config *config, const char *path, size_t depth);

/* Relative to the folder of the file that includes, as of ~/.ssh and /etc/ssh with ssh. */
static void take_include(struct ssh_config *config, const char *path, char *const *words,
			 size_t count, size_t depth)
{
	const char *slash = strrchr(path, '/');

	for (size_t i = 1; i < count; i++) {
		autofree char *pattern =
			words[i][0] == '/' ? xstrdup(words[i])
			: words[i][0] == '~' && config->home
				? xasprintf("%s%s", config->home, words[i] + 1)
				: xasprintf("%.*s/%s", slash ? (int)(slash - path) : 0, path,
					    words[i]);
		glob_t found;

		if (glob(pattern, 0, NULL, &found) != 0)
			continue;
		for (size_t n = 0; n < found.gl_pathc; n++)
			read_file(config, found.gl_pathv[n], depth + 1);
		globfree(&found);
	}
}

static void take_words(struct ssh_config *config, const char *path, unsigned number,
		       char *const *words, size_t count, size_t depth)
{
	const struct keyword *keyword = find_keyword(words[0]);
	struct ssh_settings scratch = SSH_SETTINGS_NONE;

	if (strcasecmp(words[0], "Host") == 0) {
		take_host(add_line(config, depth), words, count);
	} else if (strcasecmp(words[0], "Match") == 0) {
		take_match(add_line(config, depth), words, count);
	} else if (strcasecmp(words[0], "Include") == 0) {
		take_include(config, path, words, count, depth);
	} else if (keyword && (count < 2 || set_value(&scratch, keyword, words[1]) < 0)) {
		log_warning("%s:%u: '%s' is no value of %s: the line is left out", path, number,
			    count < 2 ? "" : words[1], keyword->name);
	} else if (keyword) {
		struct config_line *line = add_line(config, depth);

		line->keyword = keyword;
		line->value = xstrdup(words[1]);
	}
	ssh_settings_done(&scratch);
}

static void read_lines(struct ssh_config *config, const char *path, FILE *file, size_t depth)
{
	autofree char *line = NULL;
	char *words[WORDS_MAX];
	size_t size = 0, count;

	for (unsigned number = 1; getline(&line, &size, file) >= 0; number++) {
		line[strcspn(line, "\n")] = '\0';
		if (split(line, words, &count) < 0)
			log_warning("%s:%u: a quote is not closed: the line is left out", path,
				    number);
		else if (count > 0)
			take_words(config, path, number, words, count, depth);
	}
}

static void read_file(struct ssh_config *config, const char *path, size_t depth)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct config_file *known;
	FILE *file = NULL;

	config->files = xgrow(config->files, config->file_count, sizeof(*config->files));
	known = &config->files[config->file_count++];
	*known = (struct config_file){.path = xstrdup(path)};
	if (fd >= 0 && fstat(fd, &known->status) == 0 && S_ISREG(known->status.st_mode) &&
	    known->status.st_size <= FILE_SIZE_MAX && depth <= INCLUDE_DEPTH_MAX)
		file = fdopen(fd, "r");
	if (!file) {
		if (fd >= 0 || errno != ENOENT)
			log_warning("%s is not read: %s", path,
				    fd < 0 ? strerrordesc_np(errno)
					   : "it is no file, too large, or included too deep");
		return;
	}
	fd = -1; /* the stream closes it */
	/* It begins with lines for every host, as far as where it is included is meant. */
	add_criterion(add_line(config, depth), CRITERION_ALL, false, xstrdup(""));
	read_lines(config, path, file, depth);
	(void)fclose(file);
}

static void forget(struct ssh_config *config)
{
	for (size_t i = 0; i < config->line_count; i++) {
		struct criterion *criterion;

		while ((criterion = config->lines[i].criteria)) {
			config->lines[i].criteria = criterion->next;
			free(criterion->patterns);
			free(criterion);
		}
		free(config->lines[i].value);
	}
	for (size_t i = 0; i < config->file_count; i++)
		free(config->files[i].path);
	config->line_count = config->file_count = 0;
}

static bool has_changed(const struct config_file *file)
{
	struct stat status;

	if (stat(file->path, &status) < 0)
		return file->status.st_ino != 0;
	return !is_same_file(&status, &file->status);
}

static void refresh(struct ssh_config *config)
{
	int64_t now_us = now_monotonic_us();
	bool is_due = config->looked_us == 0;

	if (!is_due && now_us - config->looked_us < LOOK_AGAIN_US)
		return;
	config->looked_us = now_us;
	for (size_t i = 0; i < config->file_count && !is_due; i++)
		is_due = has_changed(&config->files[i]);
	if (!is_due)
		return;
	forget(config);
	for (size_t i = 0; i < config->root_count; i++)
		read_file(config, config->roots[i], 0);
}

struct ssh_config *ssh_config_new(const char *const *files, const char *home)
{
	struct ssh_config *config = xcalloc(1, sizeof(*config));

	config->home = xstrdup_or_null(home);
	for (; *files; files++) {
		config->roots = xgrow(config->roots, config->root_count, sizeof(*config->roots));
		config->roots[config->root_count++] = xstrdup(*files);
	}
	return config;
}

void ssh_config_free(struct ssh_config *config)
{
	if (!config)
		return;
	forget(config);
	free(config->lines);
	free(config->files);
	for (size_t i = 0; i < config->root_count; i++)
		free(config->roots[i]);
	free(config->roots);
	free(config->home);
	free(config);
}

/* --- Asking --- */

char *ssh_config_expand(const char *text, const char *home, const char *host, uint16_t port,
			const char *user, const char *local_user)
{
	char *whole = NULL;
	size_t size;
	FILE *out = open_memstream(&whole, &size);

	if (!out)
		abort();
	if (text[0] == '~' && (text[1] == '/' || text[1] == '\0') && home) {
		(void)fputs(home, out);
		text++;
	}
	for (; *text; text++) {
		if (*text != '%' || text[1] == '\0') {
			(void)fputc(*text, out);
			continue;
		}
		text++;
		switch (*text) {
		case 'h':
		case 'n':
			(void)fputs(host, out);
			break;
		case 'p':
			(void)fprintf(out, "%u", port);
			break;
		case 'r':
			(void)fputs(user, out);
			break;
		case 'u':
			(void)fputs(local_user, out);
			break;
		case 'd':
			(void)fputs(home ? home : "", out);
			break;
		case '%':
			(void)fputc('%', out);
			break;
		default:
			(void)fprintf(out, "%%%c", *text);
			break;
		}
	}
	if (fclose(out) != 0)
		abort();
	return whole;
}

struct asking {
	const char *original; /* as it was named */
	char *host;           /* in small letters, as ssh has it */
	const char *local_user;
	const struct ssh_settings *settings; /* so far */
};

static bool holds(const struct asking *asking, const struct criterion *criterion)
{
	const struct ssh_settings *settings = asking->settings;
	autofree char *name = NULL;
	const char *subject = "";

	switch (criterion->type) {
	case CRITERION_ALL:
		return !criterion->is_negated;
	case CRITERION_ORIGINAL_HOST:
		subject = asking->original;
		break;
	case CRITERION_HOST:
		if (settings->host_name)
			name = ssh_config_expand(settings->host_name, NULL, asking->host, 0, "",
						 asking->local_user);
		subject = name ? name : asking->host;
		break;
	case CRITERION_USER:
		subject = settings->user ? settings->user : asking->local_user;
		break;
	case CRITERION_LOCAL_USER:
		subject = asking->local_user;
		break;
	case CRITERION_NOTHING:
	default:
		return false;
	}
	return (ssh_patterns_match(criterion->patterns, subject) == PATTERNS_MATCH) !=
	       criterion->is_negated;
}

static bool all_hold(const struct asking *asking, const struct criterion *criterion)
{
	for (; criterion; criterion = criterion->next)
		if (!holds(asking, criterion))
			return false;
	return true;
}

void ssh_config_apply(struct ssh_config *config, const char *host, const char *local_user,
		      struct ssh_settings *settings)
{
	autofree char *lower = xstrdup(host);
	struct asking asking = {host, lower, local_user, settings};
	bool is_meant[INCLUDE_DEPTH_MAX + 2] = {true};

	refresh(config);
	for (char *c = lower; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	for (size_t i = 0; i < config->line_count; i++) {
		const struct config_line *line = &config->lines[i];
		size_t depth = line->depth;

		if (!line->keyword)
			is_meant[depth] = (depth == 0 || is_meant[depth - 1]) &&
					  all_hold(&asking, line->criteria);
		else if (is_meant[depth])
			(void)set_value(settings, line->keyword, line->value);
	}
}
