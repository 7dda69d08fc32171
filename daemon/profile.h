/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How the shells of devices behave, as data: jobd.profile(5). Profiles are compiled in, and read
 * from folders; of one name the one read last counts. What a profile does not say, the profile
 * "generic" says. Immutable once loaded, any thread may read.
 *
 * Patterns are extended regular expressions (regex(7)); several of one name are alternatives.
 */
#pragma once

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>

/* name in the file, what it is held against */
#define PROFILE_PATTERNS(X)                                                                  \
	X(PATTERN_PROMPT, "prompt")             /* the last line, without blanks behind */   \
	X(PATTERN_UNPRIVILEGED, "unprivileged") /* a prompt that wants enable */             \
	X(PATTERN_USERNAME, "username")         /* the last line: asks for the login name */ \
	X(PATTERN_PASSWORD, "password")         /* the last line: asks for a secret */       \
	X(PATTERN_PAGER, "pager")               /* the last line: asks for a key */          \
	X(PATTERN_QUESTION, "question")         /* the last line: asks something else */     \
	X(PATTERN_ERROR, "error")               /* a line of output: the command failed */   \
	X(PATTERN_NOISE, "noise")               /* a line that is no output */               \
	X(PATTERN_VERSION, "recognise-version") /* the server's version line of SSH */       \
	X(PATTERN_BANNER, "recognise-banner")   /* what came before the first prompt */      \
	X(PATTERN_SHAPE, "recognise-prompt")    /* the first prompt */

#define PROFILE_TEXTS(X)                                                                \
	X(TEXT_DESCRIPTION, "description")                                              \
	X(TEXT_ENTER, "enter")               /* ends a line that is typed */            \
	X(TEXT_PAGER_KEY, "pager-key")       /* what a pager gets */                    \
	X(TEXT_ENABLE, "enable")             /* the command that asks for all rights */ \
	X(TEXT_LOGIN_SUFFIX, "login-suffix") /* added to the login name */              \
	X(TEXT_TERMINAL, "terminal")         /* its type, as TERM has it */

#define PROFILE_ENUM(id, name) id,
enum profile_pattern { PROFILE_PATTERNS(PROFILE_ENUM) PATTERN_COUNT };
enum profile_text { PROFILE_TEXTS(PROFILE_ENUM) TEXT_COUNT };
#undef PROFILE_ENUM

/* A question and what to say to it. */
struct answer {
	regex_t question; /* the last line */
	char *text;       /* without the end of the line */
};

struct profile {
	char *name;
	char *file;                    /* where it was read from, or NULL: compiled in */
	char *source;                  /* its text */
	const struct profile *generic; /* what it does not say itself; NULL for generic */
	bool says[PATTERN_COUNT];
	regex_t *patterns[PATTERN_COUNT]; /* NULL where it says nothing, or that nothing fits */
	char *texts[TEXT_COUNT];
	char **setup; /* commands after the login, their output is dropped */
	size_t setup_count;
	struct answer *answers;
	size_t answer_count;
};

struct profiles;

/* Made by make of daemon/profiles: a name and its text in turn, NULL at the end */
extern const char *const profile_sources[];

/* Reads what is compiled in and then every folder/NAME.profile. A bad one is left out, and told in
 * the log. folders: NULL at the end. */
struct profiles *profiles_load(const char *const *folders);
void profiles_free(struct profiles *profiles);
/* By their place, in the order of their names; NULL behind the last. */
const struct profile *profiles_at(const struct profiles *profiles, size_t place);
const struct profile *profiles_find(const struct profiles *profiles, const char *name);
const struct profile *profiles_generic(const struct profiles *profiles);
/* What a device is, by what it showed; generic where nothing fits. */
const struct profile *profiles_recognise(const struct profiles *profiles, const char *version,
					 const char *banner, const char *prompt);

bool profile_matches(const struct profile *profile, enum profile_pattern pattern, const char *line);
/* What it says to a question in the last line, or generic; NULL for nothing */
const char *profile_answer(const struct profile *profile, const char *line);
/* "" where neither it nor generic says it */
const char *profile_say(const struct profile *profile, enum profile_text text);

/* "PATTERN=TEXT", cut at the last '='; \r \n \t \e \xHH and \\ stand for bytes in TEXT. 0, or
 * -EINVAL and why (the caller frees). */
int answer_parse(const char *word, struct answer *ret_answer, char **ret_why);
void answer_done(struct answer *answer);
/* What to say to a line, or NULL. */
const char *answers_find(const struct answer *answers, size_t count, const char *line);
