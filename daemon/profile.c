/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/profile.h"

#include "common/log.h"
#include "common/util.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>

#define SUFFIX ".profile"

enum { PROFILE_FILE_MAX = 64 << 10, WHY_MAX = 200 };

struct profiles {
	struct profile **items; /* by name */
	size_t count;
};

#define PROFILE_NAME(id, name) name,
static const char *const pattern_names[] = {PROFILE_PATTERNS(PROFILE_NAME)};
static const char *const text_names[] = {PROFILE_TEXTS(PROFILE_NAME)};
#undef PROFILE_NAME

/* --- Words --- */

/* In place: what \r, \x1b and so on stand for. 0 or -EINVAL. */
static int unescape(char *text)
{
	static const char letters[] = "rnte\\", bytes[] = "\r\n\t\033\\";
	char *out = text;

	for (const char *in = text; *in;) {
		const char *letter;
		char hex[3] = {0};

		if (*in != '\\') {
			*out++ = *in++;
			continue;
		}
		in++;
		letter = *in ? strchr(letters, *in) : NULL;
		if (letter) {
			*out++ = bytes[letter - letters];
			in++;
			continue;
		}
		if (in[0] != 'x' || strspn(in + 1, "0123456789abcdefABCDEF") < 2)
			return -EINVAL;
		memcpy(hex, in + 1, 2);
		*out = (char)strtol(hex, NULL, 16);
		if (*out++ == '\0')
			return -EINVAL;
		in += 3;
	}
	*out = '\0';
	return 0;
}

static char *why_not(int r, const regex_t *regex, const char *pattern)
{
	char why[WHY_MAX];

	(void)regerror(r, regex, why, sizeof(why));
	return xasprintf("'%s' is no regular expression: %s", pattern, why);
}

int answer_parse(const char *word, struct answer *ret_answer, char **ret_why)
{
	const char *cut = strrchr(word, '=');
	autofree char *pattern = cut ? strndup(word, (size_t)(cut - word)) : NULL;
	autofree char *text = cut ? xstrdup(cut + 1) : NULL;
	struct answer answer;
	int r;

	if (!cut || *pattern == '\0') {
		*ret_why = xasprintf("'%s' is not of the form PATTERN=TEXT", word);
		return -EINVAL;
	}
	if (unescape(text) < 0) {
		*ret_why = xasprintf("'%s' has a \\ that is none of \\r \\n \\t \\e \\xHH \\\\",
				     cut + 1);
		return -EINVAL;
	}
	r = regcomp(&answer.question, pattern, REG_EXTENDED | REG_NOSUB);
	if (r != 0) {
		*ret_why = why_not(r, &answer.question, pattern);
		return -EINVAL;
	}
	answer.text = text;
	text = NULL;
	*ret_answer = answer;
	return 0;
}

void answer_done(struct answer *answer)
{
	regfree(&answer->question);
	free(answer->text);
}

const char *answers_find(const struct answer *answers, size_t count, const char *line)
{
	for (size_t i = 0; i < count; i++)
		if (regexec(&answers[i].question, line, 0, NULL, 0) == 0)
			return answers[i].text;
	return NULL;
}

/* --- One file --- */

struct reading {
	struct profile *profile;
	char *alternatives[PATTERN_COUNT];
	char *why; /* the first thing that is wrong */
};

static int wrong(struct reading *reading, char *why)
{
	if (reading->why)
		free(why);
	else
		reading->why = why;
	return 0; /* inih's word for an error */
}

static int take_pattern(struct reading *reading, size_t place, const char *value)
{
	char *before = reading->alternatives[place];
	regex_t regex;
	int r;

	reading->profile->says[place] = true;
	if (*value == '\0')
		return 1;
	r = regcomp(&regex, value, REG_EXTENDED | REG_NOSUB);
	if (r != 0)
		return wrong(reading, why_not(r, &regex, value));
	regfree(&regex);
	reading->alternatives[place] =
		before ? xasprintf("%s|(%s)", before, value) : xasprintf("(%s)", value);
	free(before);
	return 1;
}

static int take_text(struct reading *reading, size_t place, const char *value)
{
	char **text = &reading->profile->texts[place];

	free(*text);
	*text = xstrdup(value);
	if (unescape(*text) == 0)
		return 1;
	return wrong(reading, xasprintf("'%s' has a \\ that stands for nothing", value));
}

static int take_answer(struct reading *reading, const char *value)
{
	struct profile *profile = reading->profile;
	char *why;

	profile->answers =
		xgrow(profile->answers, profile->answer_count, sizeof(*profile->answers));
	if (answer_parse(value, &profile->answers[profile->answer_count], &why) < 0)
		return wrong(reading, why);
	profile->answer_count++;
	return 1;
}

static int take_setup(struct reading *reading, const char *value)
{
	struct profile *profile = reading->profile;

	profile->setup = xgrow(profile->setup, profile->setup_count, sizeof(*profile->setup));
	profile->setup[profile->setup_count++] = xstrdup(value);
	return 1;
}

static int take_line(void *context, const char *section, const char *name, const char *value)
{
	struct reading *reading = context;

	if (!streq(section, "profile"))
		return wrong(reading,
			     xasprintf("'%s' stands in no section: begin with [profile]", name));
	for (size_t i = 0; i < PATTERN_COUNT; i++)
		if (streq(name, pattern_names[i]))
			return take_pattern(reading, i, value);
	for (size_t i = 0; i < TEXT_COUNT; i++)
		if (streq(name, text_names[i]))
			return take_text(reading, i, value);
	if (streq(name, "setup"))
		return take_setup(reading, value);
	if (streq(name, "answer"))
		return take_answer(reading, value);
	return wrong(reading, xasprintf("'%s' is no word of profiles: see jobd.profile(5)", name));
}

static void profile_free(struct profile *profile)
{
	for (size_t i = 0; i < PATTERN_COUNT; i++)
		if (profile->patterns[i]) {
			regfree(profile->patterns[i]);
			free(profile->patterns[i]);
		}
	for (size_t i = 0; i < TEXT_COUNT; i++)
		free(profile->texts[i]);
	for (size_t i = 0; i < profile->setup_count; i++)
		free(profile->setup[i]);
	for (size_t i = 0; i < profile->answer_count; i++)
		answer_done(&profile->answers[i]);
	free(profile->setup);
	free(profile->answers);
	free(profile->name);
	free(profile->file);
	free(profile->source);
	free(profile);
}

/* The alternatives as one expression each. */
static void compile(struct reading *reading)
{
	for (size_t i = 0; i < PATTERN_COUNT; i++) {
		regex_t *regex;

		if (!reading->alternatives[i])
			continue;
		regex = xcalloc(1, sizeof(*regex));
		if (regcomp(regex, reading->alternatives[i], REG_EXTENDED | REG_NOSUB) != 0)
			abort(); /* each of them was one */
		reading->profile->patterns[i] = regex;
	}
}

/* NULL with "LINE: why" in *ret_why (the caller frees). */
static struct profile *parse(const char *name, const char *file, const char *source, char **ret_why)
{
	struct profile *profile = xcalloc(1, sizeof(*profile));
	struct reading reading = {.profile = profile};
	int line;

	profile->name = xstrdup(name);
	profile->file = xstrdup_or_null(file);
	profile->source = xstrdup(source);
	line = ini_parse_string(source, take_line, &reading);
	if (line == 0)
		compile(&reading);
	else
		*ret_why =
			xasprintf("%d: %s", line,
				  reading.why ? reading.why : "neither [profile] nor name = value");
	for (size_t i = 0; i < PATTERN_COUNT; i++)
		free(reading.alternatives[i]);
	free(reading.why);
	if (line == 0)
		return profile;
	profile_free(profile);
	return NULL;
}

/* --- All of them --- */

static void add(struct profiles *profiles, struct profile *profile)
{
	size_t at = 0;

	while (at < profiles->count && strcmp(profiles->items[at]->name, profile->name) < 0)
		at++;
	if (at < profiles->count && streq(profiles->items[at]->name, profile->name)) {
		profile_free(profiles->items[at]);
		profiles->items[at] = profile;
		return;
	}
	profiles->items = xgrow(profiles->items, profiles->count, sizeof(*profiles->items));
	memmove(&profiles->items[at + 1], &profiles->items[at],
		(profiles->count - at) * sizeof(*profiles->items));
	profiles->items[at] = profile;
	profiles->count++;
}

static void read_file(struct profiles *profiles, const char *folder, const char *entry)
{
	autofree char *file = xasprintf("%s/%s", folder, entry);
	autofree char *name = strndup(entry, strlen(entry) - strlen(SUFFIX));
	autofree char *source = xcalloc(1, PROFILE_FILE_MAX + 1);
	autofree char *why = NULL;
	autoclose int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct profile *profile;
	ssize_t size = fd < 0 ? -1 : read(fd, source, PROFILE_FILE_MAX);

	if (size < 0) {
		log_warning("the profile %s cannot be read: %m", file);
		return;
	}
	profile = parse(name, file, source, &why);
	if (profile)
		add(profiles, profile);
	else
		log_warning("the profile is left out: %s:%s", file, why);
}

static bool has_suffix(const char *entry)
{
	size_t size = strlen(entry);

	return entry[0] != '.' && size > strlen(SUFFIX) &&
	       streq(entry + size - strlen(SUFFIX), SUFFIX);
}

static void read_folder(struct profiles *profiles, const char *folder)
{
	DIR *directory = opendir(folder);
	const struct dirent *entry;

	if (!directory && errno != ENOENT)
		log_warning("the profiles in %s cannot be read: %m", folder);
	if (!directory)
		return;
	while ((entry = readdir(directory)))
		if (has_suffix(entry->d_name))
			read_file(profiles, folder, entry->d_name);
	(void)closedir(directory);
}

struct profiles *profiles_load(const char *const *folders)
{
	struct profiles *profiles = xcalloc(1, sizeof(*profiles));
	const struct profile *generic;
	char *why = NULL;

	for (size_t i = 0; profile_sources[i]; i += 2) {
		struct profile *profile =
			parse(profile_sources[i], NULL, profile_sources[i + 1], &why);

		assert(profile); /* a test reads them all */
		add(profiles, profile);
	}
	for (; *folders; folders++)
		read_folder(profiles, *folders);
	generic = profiles_generic(profiles);
	for (size_t i = 0; i < profiles->count; i++)
		if (profiles->items[i] != generic)
			profiles->items[i]->generic = generic;
	return profiles;
}

void profiles_free(struct profiles *profiles)
{
	if (!profiles)
		return;
	for (size_t i = 0; i < profiles->count; i++)
		profile_free(profiles->items[i]);
	free(profiles->items);
	free(profiles);
}

const struct profile *profiles_at(const struct profiles *profiles, size_t place)
{
	return place < profiles->count ? profiles->items[place] : NULL;
}

const struct profile *profiles_find(const struct profiles *profiles, const char *name)
{
	for (size_t i = 0; i < profiles->count; i++)
		if (streq(profiles->items[i]->name, name))
			return profiles->items[i];
	return NULL;
}

const struct profile *profiles_generic(const struct profiles *profiles)
{
	return profiles_find(profiles, "generic");
}

/* --- Asking one --- */

static bool matches_own(const struct profile *profile, enum profile_pattern pattern,
			const char *line)
{
	return profile->patterns[pattern] &&
	       regexec(profile->patterns[pattern], line, 0, NULL, 0) == 0;
}

bool profile_matches(const struct profile *profile, enum profile_pattern pattern, const char *line)
{
	if (!profile->says[pattern] && profile->generic)
		profile = profile->generic;
	return matches_own(profile, pattern, line);
}

const char *profile_answer(const struct profile *profile, const char *line)
{
	const char *text = answers_find(profile->answers, profile->answer_count, line);

	return text || !profile->generic ? text : profile_answer(profile->generic, line);
}

const char *profile_say(const struct profile *profile, enum profile_text text)
{
	if (!profile->texts[text] && profile->generic)
		profile = profile->generic;
	return profile->texts[text] ? profile->texts[text] : "";
}

/* What came before the first prompt tells most, the version line least: many devices run OpenSSH.
 */
const struct profile *profiles_recognise(const struct profiles *profiles, const char *version,
					 const char *banner, const char *prompt)
{
	const struct profile *best = profiles_generic(profiles);
	int best_score = 0;

	for (size_t i = 0; i < profiles->count; i++) {
		const struct profile *profile = profiles->items[i];
		int score = 4 * matches_own(profile, PATTERN_BANNER, banner) +
			    2 * matches_own(profile, PATTERN_SHAPE, prompt) +
			    matches_own(profile, PATTERN_VERSION, version);

		if (score > best_score) {
			best = profile;
			best_score = score;
		}
	}
	return best;
}
