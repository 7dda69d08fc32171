/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"

#include "common/util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[] = "/tmp/jobd-test-config.XXXXXX";

static char *write_file(const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	return path;
}

static struct config *load(const char *text)
{
	autofree char *path = write_file("jobd.conf", text);
	struct config_options options = {.config_file = path, .database = "/x", .socket = "/y"};
	struct config *config = NULL;
	char *sentence = NULL;

	if (config_load(&options, &config, &sentence) < 0)
		fail_msg("%s", sentence);
	return config;
}

static void check_refused(const char *text, const char *expected)
{
	autofree char *path = write_file("jobd.conf", text);
	autofree char *whole = xasprintf("%s:%s", path, expected);
	struct config_options options = {.config_file = path, .database = "/x"};
	struct config *config;
	autofree char *sentence = NULL;

	assert_true(config_load(&options, &config, &sentence) < 0);
	assert_memory_equal(sentence, whole, strlen(whole));
	assert_null(strchr(sentence, '\n'));
}

static void test_defaults(void **state)
{
	struct config *config = load("");

	(void)state;
	for (size_t i = 0; i < config_setting_count; i++) {
		const struct setting_row *row = &config_settings[i];
		int64_t value;

		memcpy(&value, (char *)config + row->offset, sizeof(value));
		assert_int_equal(value, row->fallback);
		if (row->fallback != 0)
			assert_in_range(row->fallback, row->min, row->max);
	}
	assert_true(config->workers >= 1);
	assert_true(config->admin_gid == (gid_t)-1);
	config_free(config);
}

static void test_settings(void **state)
{
	struct config *config = load("; a comment\n[jobd]\nmax-message = 64K\nping-rate=500\n"
				     "log-level = debug\nadmin-group = root\n"
				     "[credential lab]\nuser = admin\npassword-file = secret\n"
				     "[credential other]\nidentity = /k\n");
	const struct credential *credential;

	(void)state;
	assert_int_equal(config->max_message, 65536);
	assert_int_equal(config->ping_rate, 500);
	assert_int_equal(config->log_level, 7);
	assert_int_equal(config->admin_gid, 0);
	assert_string_equal(config->database, "/x");
	credential = config_credential(config, "lab");
	assert_non_null(credential);
	assert_string_equal(credential->user, "admin");
	assert_null(credential->identity);
	assert_non_null(config_credential(config, "other"));
	assert_null(config_credential(config, "none"));
	config_free(config);
}

/* Smaller ones are a forgotten M or G, and would remove all results. */
static void test_database_size(void **state)
{
	static const struct {
		const char *value;
		int64_t bytes;
	} fine[] = {{"0", 0}, {"1M", 1 << 20}, {"1024T", (int64_t)1 << 50}};
	static const char *const refused[] = {"1", "10", "110K", "1048575", "1025T"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
		autofree char *text = xasprintf("[jobd]\nmax-database-size = %s\n", fine[i].value);
		struct config *config = load(text);

		assert_int_equal(config->max_database, fine[i].bytes);
		config_free(config);
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		autofree char *text = xasprintf("[jobd]\nmax-database-size = %s\n", refused[i]);
		autofree char *expected = xasprintf("2: max-database-size: '%s' is out of bounds "
						    "(0, or 1.0 MiB to 1024.0 TiB)",
						    refused[i]);

		check_refused(text, expected);
	}
}

static void test_mistakes(void **state)
{
	(void)state;
	check_refused("[jobd]\n\nping-rate = 0\n", "3: ping-rate: '0' is out of bounds (1 to ");
	check_refused("[jobd]\nmax-message = 1K\n",
		      "2: max-message: '1K' is out of bounds (4.0 KiB to 1.0 GiB)");
	check_refused("[jobd]\nkeep-finished = 500000d\n",
		      "2: keep-finished: '500000d' is out of bounds (0 us to 416999 d ");
	check_refused("[jobd]\nmax-message = big\n", "2: max-message: 'big' is no size");
	check_refused("[jobd]\nping-rte = 5\n", "2: ping-rte: '5' is for no setting");
	check_refused("[jobs]\nping-rate = 5\n", "2: 'ping-rate' stands in no section");
	check_refused("[jobd]\nlog-level = loud\n", "2: log-level: 'loud' is none of");
	check_refused("[jobd]\nadmin-group = no-such-group-here\n", "2: admin-group: ");
	check_refused("[credential a]\nusr = b\n", "2: usr: 'b' is for none of user");
	check_refused("[credential a]\nuser = b\nuser = c\n", "3: user: 'c' is the second");
	check_refused("[jobd]\nnonsense\n", "2: neither [section] nor name = value");
}

static void test_missing_file(void **state)
{
	struct config_options options = {.config_file = "/nonexistent/jobd.conf"};
	struct config *config = NULL;
	char *sentence = NULL;

	(void)state;
	assert_int_equal(config_load(&options, &config, &sentence), -ENOENT);
	assert_string_equal(sentence,
			    "cannot read /nonexistent/jobd.conf: No such file or directory");
	free(sentence);
	/* The usual file may be missing. */
	assert_int_equal(setenv("XDG_CONFIG_HOME", "/nonexistent", 1), 0);
	options = (struct config_options){.is_user = true};
	assert_int_equal(config_load(&options, &config, &sentence), 0);
	assert_null(config->config_file);
	config_free(config);
}

static void test_password(void **state)
{
	autofree char *path = write_file("secret", "pass word\nsecond line\n");
	struct config *config = load("[credential a]\npassword-file = secret\n"
				     "[credential b]\nuser = x\n"
				     "[credential c]\npassword-file = missing\n");
	char *password = NULL;

	(void)state;
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
	assert_int_equal(
		credential_password(config_credential(config, "a")->password_file, &password), 0);
	assert_string_equal(password, "pass word");
	free(password);
	assert_int_equal(
		credential_password(config_credential(config, "b")->password_file, &password), 0);
	assert_null(password);
	assert_int_equal(
		credential_password(config_credential(config, "c")->password_file, &password),
		-ENOENT);
	config_free(config);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"jobd.conf", "secret"};

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
		cmocka_unit_test(test_defaults),      cmocka_unit_test(test_settings),
		cmocka_unit_test(test_database_size), cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_missing_file),  cmocka_unit_test(test_password),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
