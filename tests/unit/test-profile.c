/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Profiles: those compiled in, those of folders, what they fall back to, and what is wrong. */
#include "daemon/profile.h"

#include "common/log.h"
#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static char folder[] = "/tmp/jobd-test-XXXXXX";

static void write_profile(const char *name, const char *text)
{
	autofree char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static struct profiles *load(void)
{
	return profiles_load((const char *const[]){"/nowhere", folder, NULL});
}

/* What the log says while the folder is read. */
static char *load_log(void)
{
	autofree char *path = xasprintf("%s/log", folder);
	char *text = xcalloc(1, 4096);
	FILE *file;

	(void)fflush(stderr);
	autoclose int kept = dup(STDERR_FILENO);
	assert_non_null(freopen(path, "w", stderr));
	profiles_free(load());
	(void)fflush(stderr);
	assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
	file = fopen(path, "re");
	assert_non_null(file);
	(void)fread(text, 1, 4095, file);
	(void)fclose(file);
	return text;
}

static void test_compiled_in(void **state)
{
	static const char *const names[] = {
		"arista-eos",    "cisco-asa", "cisco-ios",         "cisco-nxos",  "cisco-xr",
		"fortinet",      "frr",       "generic",           "hp-procurve", "huawei-vrp",
		"juniper-junos", "linux",     "mikrotik-routeros", "nokia-sros",  "vyos"};
	struct profiles *profiles = profiles_load((const char *const[]){NULL});
	size_t count = 0;

	(void)state;
	while (profiles_at(profiles, count)) {
		const struct profile *profile = profiles_at(profiles, count);

		assert_string_equal(profile->name, names[count++]);
		assert_null(profile->file);
		assert_true(strlen(profile->texts[TEXT_DESCRIPTION]) > 0);
	}
	assert_int_equal(count, ARRAY_SIZE(names));
	profiles_free(profiles);
}

static void test_own(void **state)
{
	struct profiles *profiles;
	const struct profile *mine;

	(void)state;
	write_profile("mine.profile",
		      "[profile]\ndescription = our switches\nsetup = a\nsetup = b\n"
		      "prompt = ^one:$\nprompt = ^two:$\nerror =\n"
		      "enter = \\r\\n\\x41\\e\\\\\n");
	write_profile("frr.profile", "[profile]\nprompt = ^mine$\n");
	write_profile("no-profile", "nothing\n");
	profiles = load();
	mine = profiles_find(profiles, "mine");
	assert_non_null(mine->file);
	assert_int_equal(mine->setup_count, 2);
	assert_true(profile_matches(mine, PATTERN_PROMPT, "one:"));
	assert_true(profile_matches(mine, PATTERN_PROMPT, "two:"));
	assert_false(profile_matches(mine, PATTERN_PROMPT, "three:"));
	assert_string_equal(profile_say(mine, TEXT_ENTER), "\r\nA\033\\");
	/* An empty one fits nothing; one that is not said falls back */
	assert_false(profile_matches(mine, PATTERN_ERROR, "% Invalid input"));
	assert_true(profile_matches(mine, PATTERN_PAGER, "--More--"));
	assert_string_equal(profile_say(mine, TEXT_PAGER_KEY), " ");
	assert_string_equal(profile_say(mine, TEXT_LOGIN_SUFFIX), "");
	/* The later of one name counts alone */
	assert_true(profile_matches(profiles_find(profiles, "frr"), PATTERN_PROMPT, "mine"));
	assert_int_equal(profiles_find(profiles, "frr")->setup_count, 0);
	assert_null(profiles_find(profiles, "no-profile"));
	profiles_free(profiles);
}

static void test_mistakes(void **state)
{
	static const struct {
		const char *text, *why;
	} mistakes[] = {
		{"[profile]\nprompt = (\n", "bad.profile:2: '(' is no regular expression: "},
		{"prompt = x\n",
		 "bad.profile:1: 'prompt' stands in no section: begin with [profile]"},
		{"[profile]\n\npromt = x\n",
		 "bad.profile:3: 'promt' is no word of profiles: see jobd.profile(5)"},
		{"[profile]\nanswer = yes\n",
		 "bad.profile:2: 'yes' is not of the form PATTERN=TEXT"},
		{"[profile]\nanswer = a=\\q\n", "bad.profile:2: '\\q' has a \\ that is none of"},
		{"[profile]\nenter = \\x0\n",
		 "bad.profile:2: '\\x0' has a \\ that stands for nothing"},
		{"[profile]\nnothing\n", "bad.profile:2: neither [profile] nor name = value"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(mistakes); i++) {
		autofree char *log = NULL;

		write_profile("bad.profile", mistakes[i].text);
		log = load_log();
		if (!strstr(log, mistakes[i].why))
			fail_msg("'%s' is not in: %s", mistakes[i].why, log);
	}
	write_profile("bad.profile", "[profile]\n");
	autofree char *log = load_log();
	assert_string_equal(log, "");
}

static int set_up(void **state)
{
	(void)state;
	log_init("test", LOG_WARNING);
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"mine.profile", "frr.profile", "bad.profile",
					    "no-profile", "log"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autofree char *path = xasprintf("%s/%s", folder, names[i]);

		(void)unlink(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compiled_in),
		cmocka_unit_test(test_own),
		cmocka_unit_test(test_mistakes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
