/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ssh_config: what its lines come to for a host, as ssh -G has it. */
#include "daemon/ssh-config.h"

#include "common/log.h"
#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

static char folder[] = "/tmp/jobd-test-XXXXXX";

static char *path_of(const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void write_file(const char *name, const char *text)
{
	autofree char *path = path_of(name);
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static struct ssh_config *open_files(void)
{
	autofree char *own = path_of("config"), *shared = path_of("shared");

	return ssh_config_new((const char *const[]){own, shared, NULL}, folder);
}

/* What is asked for of one host; the caller does away with it. */
static struct ssh_settings ask(const char *host)
{
	struct ssh_settings settings = SSH_SETTINGS_NONE;
	struct ssh_config *config = open_files();

	ssh_config_apply(config, host, "me", &settings);
	ssh_config_free(config);
	return settings;
}

static void test_first_counts(void **state)
{
	struct ssh_settings settings;

	(void)state;
	write_file("config", "# comment\n"
			     "Host r1 r2\n"
			     "  HostName=10.0.0.1\n"
			     "\tport 2222\n"
			     "  IdentityFile \"~/my key\"\n"
			     "Host r* !r2\n"
			     "  User = star\n"
			     "  Port 1\n"
			     "  IdentityFile two\n"
			     "  StrictHostKeyChecking accept-new\n");
	write_file("shared", "User shared\nConnectTimeout 1m\nHost *\nProxyJump a,b:22\n");
	settings = ask("r1");
	assert_string_equal(settings.host_name, "10.0.0.1");
	assert_string_equal(settings.user, "star");
	assert_int_equal(settings.port, 2222);
	assert_int_equal(settings.identity_count, 2);
	assert_string_equal(settings.identities[0], "~/my key");
	assert_string_equal(settings.identities[1], "two");
	assert_int_equal(settings.host_key, HOST_KEY_ACCEPT_NEW);
	assert_int_equal(settings.connect_timeout_us, 60 * US_PER_SEC);
	assert_string_equal(settings.jump, "a,b:22");
	ssh_settings_done(&settings);
	settings = ask("r2");
	assert_string_equal(settings.user, "shared");
	assert_int_equal(settings.host_key, -1);
	ssh_settings_done(&settings);
	settings = ask("other");
	assert_null(settings.host_name);
	assert_string_equal(settings.user, "shared");
	assert_int_equal(settings.port, -1);
	ssh_settings_done(&settings);
}

static void test_match(void **state)
{
	struct ssh_settings settings;

	(void)state;
	write_file("shared", "");
	write_file("config", "Match originalhost r1\n HostName 10.0.0.1\n"
			     "Match host 10.0.0.*,!10.0.0.9 localuser me\n User lab\n"
			     "Match user lab !host 10.0.0.2\n Port 22\n"
			     "Match exec \"true\"\n HostKeyAlias never\n"
			     "Match !exec \"true\"\n HostKeyAlias never\n"
			     "Match canonical all\n HostKeyAlias never\n"
			     "Match\n HostKeyAlias never\n"
			     "Match all\n ConnectTimeout 5\n");
	settings = ask("r1");
	assert_string_equal(settings.user, "lab");
	assert_int_equal(settings.port, 22);
	assert_null(settings.alias);
	assert_int_equal(settings.connect_timeout_us, 5 * US_PER_SEC);
	ssh_settings_done(&settings);
	settings = ask("10.0.0.9");
	assert_null(settings.user);
	ssh_settings_done(&settings);
}

/* What stands in a file that is included holds as far as the place where it is included. */
static void test_include(void **state)
{
	struct ssh_settings settings;

	(void)state;
	write_file("config", "Host a\nInclude one tw?\nHost b\n Port 3\n");
	write_file("one", "Host a b\n User one\n");
	write_file("two", "HostName two\nHost b\nHostKeyAlias b\n");
	settings = ask("a");
	assert_string_equal(settings.user, "one");
	assert_string_equal(settings.host_name, "two");
	assert_null(settings.alias);
	ssh_settings_done(&settings);
	settings = ask("b");
	assert_null(settings.user);
	assert_null(settings.host_name);
	assert_null(settings.alias);
	assert_int_equal(settings.port, 3);
	ssh_settings_done(&settings);
	/* Of itself, for ever */
	write_file("config", "Include config\nPort 4\n");
	settings = ask("a");
	assert_int_equal(settings.port, 4);
	ssh_settings_done(&settings);
}

static void test_mistakes_in_files(void **state)
{
	struct ssh_settings settings;

	(void)state;
	write_file("config", "Port none\nUser \"open\nStrictHostKeyChecking maybe\nPort\n"
			     "Unknown thing\nUser last\n");
	settings = ask("a");
	assert_int_equal(settings.port, -1);
	assert_string_equal(settings.user, "last");
	ssh_settings_done(&settings);
}

/* The same as OpenSSH makes of it. */
static void test_as_ssh_does(void **state)
{
	static const char *const hosts[] = {"r1", "r22", "edge.lab", "x.lab", "10.1.2.3", "R1"};
	autofree char *config = path_of("config");

	(void)state;
	write_file("config", "Host r? *.lab !x.lab\n User first\n"
			     "Match host r1,10.*\n Port 2022\n User second\n"
			     "Host *\n HostName %h.example\n User third\n"
			     "Match host *.lab.example\n Port 99\n"
			     "Match user second\n HostKeyAlias alias\n");
	write_file("shared", "");
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct ssh_settings settings = ask(hosts[i]);
		autofree char *command = xasprintf("ssh -G -F %s %s 2>/dev/null | grep -E "
						   "'^(user|hostname|port|hostkeyalias) ' | sort",
						   config, hosts[i]);
		char answer[4096] = "";
		FILE *ssh = popen(command, "re");
		autofree char *name =
			ssh_config_expand(settings.host_name, NULL, hosts[i], 22, "", "");
		autofree char *expected = NULL;

		for (char *c = name; *c; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
		assert_non_null(ssh);
		answer[fread(answer, 1, sizeof(answer) - 1, ssh)] = '\0';
		assert_int_equal(pclose(ssh), 0);
		expected = xasprintf(
			"%s%s%shostname %s\nport %lld\nuser %s\n",
			settings.alias ? "hostkeyalias " : "", settings.alias ? settings.alias : "",
			settings.alias ? "\n" : "", name,
			(long long)(settings.port > 0 ? settings.port : 22), settings.user);
		assert_string_equal(answer, expected);
		ssh_settings_done(&settings);
	}
}

static void assert_refused(const char *line, bool is_trusted, const char *sentence)
{
	struct ssh_settings settings = SSH_SETTINGS_NONE;
	struct error error = {0};

	assert_true(ssh_settings_take(&settings, line, is_trusted, &error) < 0);
	if (strncmp(error.sentence, sentence, strlen(sentence)) != 0)
		fail_msg("%s", error.sentence);
	error_done(&error);
	ssh_settings_done(&settings);
}

static void test_lines(void **state)
{
	struct ssh_settings settings = SSH_SETTINGS_NONE, other = SSH_SETTINGS_NONE;
	struct error error = {0};

	(void)state;
	assert_int_equal(ssh_settings_take(&settings, "kexalgorithms=+a,b", false, &error), 0);
	assert_int_equal(ssh_settings_take(&settings, "Port 7", false, &error), 0);
	assert_int_equal(ssh_settings_take(&settings, "Port 8", false, &error), 0);
	assert_int_equal(ssh_settings_take(&other, "User x", false, &error), 0);
	assert_int_equal(ssh_settings_take(&other, "Port 9", false, &error), 0);
	assert_int_equal(ssh_settings_take(&other, "IdentityFile k", true, &error), 0);
	ssh_settings_merge(&settings, &other);
	assert_string_equal(settings.lists[LIST_KEY_EXCHANGE], "+a,b");
	assert_string_equal(settings.user, "x");
	assert_int_equal(settings.port, 7);
	assert_string_equal(settings.identities[0], "k");
	ssh_settings_done(&settings);
	ssh_settings_done(&other);
	assert_refused("ProxyCommand nc", true,
		       "--ssh-option: 'ProxyCommand' is not honoured; these are: HostName, ");
	assert_refused("IdentityFile /etc/shadow", false,
		       "this jobd reads no files of its users: leave out IdentityFile");
	assert_refused("Port", true, "--ssh-option 'Port' is not of the form 'Keyword value'");
	assert_refused("Port many", true, "--ssh-option: 'many' is no value of Port");
}

static void test_expand(void **state)
{
	autofree char *text =
		ssh_config_expand("~/%h-%p-%r-%u-%%-%x%", "/home/me", "r1", 22, "admin", "me");

	(void)state;
	assert_string_equal(text, "/home/me/r1-22-admin-me-%-%x%");
}

static int set_up(void **state)
{
	(void)state;
	log_init("test", LOG_ERR);
	return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"config", "shared", "one", "two"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		autofree char *path = path_of(names[i]);

		(void)unlink(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_counts), cmocka_unit_test(test_match),
		cmocka_unit_test(test_include),      cmocka_unit_test(test_mistakes_in_files),
		cmocka_unit_test(test_as_ssh_does),  cmocka_unit_test(test_lines),
		cmocka_unit_test(test_expand),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
