/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"

#include "common/log.h"
#include "common/paths.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/profile.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <ini.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

const struct setting_row config_settings[] = {
#define SETTING_ROW(member, name, type, fallback, min, max, what) \
	{name, type, offsetof(struct config, member), fallback, min, max, what},
	CONFIG_SETTINGS(SETTING_ROW)
#undef SETTING_ROW
};
const size_t config_setting_count = ARRAY_SIZE(config_settings);

static const char *const log_levels[] = {"emerg",  "alert", "crit",  "error", "warning",
					 "notice", "info",  "debug", NULL};

/* One reading of the file. inih does not tell its handler the line, so that we count. */
struct reading {
	struct config *config;
	const char *path;
	FILE *file;
	int line;
	char *sentence; /* the first thing that is wrong */
};

static int wrong(struct reading *reading, const char *name, const char *value, const char *why)
{
	if (!reading->sentence)
		reading->sentence = xasprintf("%s:%d: %s: '%s' %s", reading->path, reading->line,
					      name, value, why);
	return 0; /* inih's word for an error */
}

static int64_t *setting_value(struct config *config, const struct setting_row *row)
{
	return (int64_t *)(void *)((char *)config + row->offset);
}

static const char *bound_text(const struct setting_row *row, int64_t bound,
			      char buffer[static UNITS_TEXT_MAX])
{
	if (row->type == SETTING_SIZE)
		return size_text(bound, buffer);
	if (row->type == SETTING_DURATION)
		return duration_text(bound, buffer);
	(void)snprintf(buffer, UNITS_TEXT_MAX, "%lld", (long long)bound);
	return buffer;
}

static int out_of_bounds(struct reading *reading, const struct setting_row *row, const char *value)
{
	char min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];
	autofree char *why =
		xasprintf("is out of bounds (%s%s to %s)", row->fallback < row->min ? "0, or " : "",
			  bound_text(row, row->min, min), bound_text(row, row->max, max));

	return wrong(reading, row->name, value, why);
}

static int take_setting(struct reading *reading, const struct setting_row *row, const char *value)
{
	int64_t *target = setting_value(reading->config, row);
	int64_t number;
	int r;

	switch (row->type) {
	case SETTING_SIZE:
		r = size_parse(value, &number);
		break;
	case SETTING_DURATION:
		r = duration_parse(value, &number);
		break;
	case SETTING_NUMBER:
	default:
		r = number_parse(value, INT64_MIN, INT64_MAX, &number);
		break;
	}
	if (r < 0)
		return wrong(reading, row->name, value,
			     row->type == SETTING_SIZE       ? "is no size such as 64K or 16M"
			     : row->type == SETTING_DURATION ? "is no duration such as 10s or 5min"
							     : "is no number");
	if (number != row->fallback && (number < row->min || number > row->max))
		return out_of_bounds(reading, row, value);
	*target = number;
	return 1;
}

static int take_jobd(struct reading *reading, const char *name, const char *value)
{
	struct config *config = reading->config;

	for (size_t i = 0; i < config_setting_count; i++)
		if (streq(config_settings[i].name, name))
			return take_setting(reading, &config_settings[i], value);
	if (streq(name, "admin-group")) {
		const struct group *group = getgrnam(value);

		if (!group)
			return wrong(reading, name, value, "is no group of this machine");
		free(config->admin_group);
		config->admin_group = xstrdup(value);
		config->admin_gid = group->gr_gid;
		return 1;
	}
	if (streq(name, "log-level")) {
		for (int i = 0; log_levels[i]; i++)
			if (streq(log_levels[i], value)) {
				config->log_level = i; /* LOG_EMERG is 0, and so on */
				return 1;
			}
		return wrong(reading, name, value,
			     "is none of error, warning, notice, info, debug");
	}
	return wrong(reading, name, value, "is for no setting: see jobd.conf(5)");
}

static struct credential *credential_named(struct config *config, const char *name)
{
	for (size_t i = 0; i < config->credential_count; i++)
		if (streq(config->credentials[i].name, name))
			return &config->credentials[i];
	config->credentials = xrealloc(config->credentials, (config->credential_count + 1) *
								    sizeof(*config->credentials));
	config->credentials[config->credential_count] = (struct credential){.name = xstrdup(name)};
	return &config->credentials[config->credential_count++];
}

static int take_credential(struct reading *reading, const char *credential_name, const char *name,
			   const char *value)
{
	struct credential *credential = credential_named(reading->config, credential_name);
	char **target = streq(name, "user")                   ? &credential->user
			: streq(name, "identity")             ? &credential->identity
			: streq(name, "password-file")        ? &credential->password_file
			: streq(name, "enable-password-file") ? &credential->enable_password_file
			: streq(name, "passphrase-file")      ? &credential->passphrase_file
							      : NULL;

	if (!target)
		return wrong(reading, name, value,
			     "is for none of user, identity, password-file, "
			     "enable-password-file, passphrase-file");
	if (*target)
		return wrong(reading, name, value, "is the second one of this credential");
	*target = xstrdup(value);
	return 1;
}

static int take_line(void *context, const char *section, const char *name, const char *value)
{
	static const char prefix[] = "credential ";
	struct reading *reading = context;

	if (streq(section, "jobd"))
		return take_jobd(reading, name, value);
	if (strncmp(section, prefix, strlen(prefix)) == 0 && section[strlen(prefix)] != '\0')
		return take_credential(reading, section + strlen(prefix), name, value);
	if (!reading->sentence)
		reading->sentence =
			xasprintf("%s:%d: '%s' stands in no section: [jobd] and [credential NAME] "
				  "are the sections",
				  reading->path, reading->line, name);
	return 0;
}

static char *next_line(char *buffer, int size, void *context)
{
	struct reading *reading = context;

	reading->line++;
	return fgets(buffer, size, reading->file);
}

static int read_file(struct config *config, const char *path, bool is_named, char **ret_sentence)
{
	struct reading reading = {.config = config, .path = path};
	FILE *file = fopen(path, "re");
	int line, read_errno;

	if (!file && errno == ENOENT && !is_named)
		return 0;
	if (!file) {
		*ret_sentence = xasprintf("cannot read %s: %m", path);
		return -errno;
	}
	reading.file = file;
	errno = 0;
	line = ini_parse_stream(next_line, &reading, take_line, &reading);
	/* inih takes a failed read, also that of a folder, for the end of the file. */
	read_errno = ferror(file) ? (errno ? errno : EIO) : 0;
	(void)fclose(file);
	if (reading.sentence) {
		*ret_sentence = reading.sentence;
		return -EINVAL;
	}
	if (read_errno != 0) {
		*ret_sentence = xasprintf("cannot read %s: %s", path, strerror(read_errno));
		return -read_errno;
	}
	if (line != 0) {
		*ret_sentence = xasprintf("%s:%d: neither [section] nor name = value", path, line);
		return -EINVAL;
	}
	config->config_file = xstrdup(path);
	return 0;
}

static unsigned cpu_count(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* Relative paths stand for files where jobd was started; it works in / later. */
static char *absolute(const char *path)
{
	autofree char *folder = path[0] == '/' ? NULL : getcwd(NULL, 0);

	return folder ? xasprintf("%s/%s", folder, path) : xstrdup(path);
}

static struct profiles *load_profiles(bool is_user)
{
	autofree char *system = path_profiles(false), *own = is_user ? path_profiles(true) : NULL;

	return profiles_load((const char *const[]){system, own, NULL});
}

int config_load(const struct config_options *options, struct config **ret_config,
		char **ret_sentence)
{
	struct config *config = xcalloc(1, sizeof(*config));
	autofree char *fallback = path_config(options->is_user);
	const char *file = options->config_file ? options->config_file : fallback;
	int r = 0;

	config->is_user = options->is_user;
	config->admin_gid = (gid_t)-1;
	config->log_level = LOG_INFO;
	config->workers = options->workers ? options->workers : cpu_count();
	for (size_t i = 0; i < config_setting_count; i++)
		*setting_value(config, &config_settings[i]) = config_settings[i].fallback;
	config->socket =
		options->socket ? absolute(options->socket) : path_socket(options->is_user);
	config->database =
		options->database ? absolute(options->database) : path_database(options->is_user);
	if (!config->database) {
		*ret_sentence = xstrdup("there is no home folder: say where with --database");
		r = -ENOENT;
	}
	if (r == 0 && file)
		r = read_file(config, file, options->config_file != NULL, ret_sentence);
	if (r < 0) {
		config_free(config);
		return r;
	}
	config->profiles = load_profiles(config->is_user);
	*ret_config = config;
	return 0;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->credential_count; i++) {
		free(config->credentials[i].name);
		free(config->credentials[i].user);
		free(config->credentials[i].identity);
		free(config->credentials[i].password_file);
		free(config->credentials[i].enable_password_file);
		free(config->credentials[i].passphrase_file);
	}
	free(config->credentials);
	profiles_free(config->profiles);
	free(config->socket);
	free(config->database);
	free(config->config_file);
	free(config->admin_group);
	free(config);
}

const struct credential *config_credential(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->credential_count; i++)
		if (streq(config->credentials[i].name, name))
			return &config->credentials[i];
	return NULL;
}

int credential_password(const char *file, char **ret_password)
{
	enum { PASSWORD_MAX = 4096 };
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	autofree char *path = NULL;
	char bytes[PASSWORD_MAX + 1];
	struct stat status;
	ssize_t size;

	*ret_password = NULL;
	if (!file)
		return 0;
	path = file[0] == '/' || !folder ? xstrdup(file) : xasprintf("%s/%s", folder, file);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (status.st_mode & 077)
		log_warning("the password file %s can be read by others: chmod 600", path);
	size = read(fd, bytes, PASSWORD_MAX);
	if (size < 0)
		return -errno;
	bytes[size] = '\0';
	bytes[strcspn(bytes, "\r\n")] = '\0';
	*ret_password = xstrdup(bytes);
	explicit_bzero(bytes, sizeof(bytes));
	return 0;
}
