/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the name to the login: connecting, host keys, ways to authenticate, bounds, options. */
#include "tests/lib/ssh-box.h"

#include "common/util.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct server sshd;
static struct box box;

/* --- Helpers --- */

static size_t start(const char *user_and_host, int port, const char *more)
{
	autofree char *target = xasprintf("%s:%d", user_and_host, port);
	autofree char *options = xasprintf("{\"commands\":[\"echo in\"]%s}", more);

	return box_start(&box, target, 0, options);
}

static struct box_run *run(const char *user_and_host, int port, const char *more)
{
	size_t number = start(user_and_host, port, more);

	box_wait_ended(&box, 15);
	return &box.runs[number];
}

/* With the right key, on the sshd. */
static struct box_run *run_sshd(const char *more)
{
	autofree char *options = xasprintf(",\"identity\":\"%s\"%s", place_path("key"), more);

	return run("tester@127.0.0.1", sshd.port, options);
}

static void assert_in(const struct box_run *run)
{
	if (run->outcome.state != TASK_SUCCEEDED)
		fail_msg("failed: %s: %s", error_class_words[run->outcome.class],
			 run->outcome.message);
}

static void assert_failed(const struct box_run *run, enum error_class class, const char *message)
{
	if (run->outcome.state != TASK_FAILED || run->outcome.class != class ||
	    !strstr(run->outcome.message, message))
		fail_msg("ended %d %s '%s', not %s '%s'", run->outcome.state,
			 error_class_words[run->outcome.class], run->outcome.message,
			 error_class_words[class], message);
}

static int begin(void **state)
{
	(void)state;
	place_write(".ssh/known_hosts", "");
	box_init(&box);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	box_done(&box);
	(void)unsetenv("SSH_AUTH_SOCK");
	place_run("rm -f .ssh/id_* ");
	return 0;
}

/* --- Connecting --- */

static void test_refused(void **state)
{
	struct box_run *r = run("127.9.9.9", 9, "");

	(void)state;
	assert_failed(r, CLASS_REFUSED, "127.9.9.9 port 9 refuses connections");
	assert_false(r->outcome.is_transient);
	assert_string_equal(r->outcome.result,
			    "{\"address\":\"127.9.9.9\",\"stdoutBytes\":0,\"stderrBytes\":0}");
}

static void test_unreachable(void **state)
{
	struct box_run *r = run("10.1.2.3", 22, "");

	(void)state;
	assert_failed(r, CLASS_UNREACHABLE,
		      "10.1.2.3 port 22 cannot be reached: Network is "
		      "unreachable");
}

static void test_name_without_address(void **state)
{
	struct box_run *r = run("nosuch.test", 22, "");

	(void)state;
	assert_failed(r, CLASS_RESOLVE, "nosuch.test has no address");
	assert_string_equal(r->outcome.result, "{\"stdoutBytes\":0,\"stderrBytes\":0}");
}

/* The name's first address refuses. */
static void test_second_address(void **state)
{
	autofree char *options =
		xasprintf(",\"identity\":\"%s\",\"hostKey\":\"off\"", place_path("key"));
	struct box_run *r = run("tester@two.test", sshd.port, options);

	(void)state;
	assert_in(r);
	assert_non_null(strstr(r->outcome.result, "\"address\":\"127.0.0.1\""));
}

static void test_silent_server(void **state)
{
	const char *const words[] = {"--silent", NULL};
	struct server load = server_load(words);
	struct box_run *r = run("x@127.0.0.1", load.port, ",\"connectTimeoutUsec\":300000");

	(void)state;
	assert_failed(r, CLASS_TIMEOUT,
		      "did not answer within 300.0 ms (--connect-timeout) during "
		      "the exchange of version lines");
	server_stop(&load);
}

static void test_dropped_before_authentication(void **state)
{
	const char *const words[] = {"--drop-before-auth", "100", NULL};
	struct server load = server_load(words);
	struct box_run *r = run("x@127.0.0.1", load.port, "");

	(void)state;
	assert_int_equal(r->outcome.state, TASK_FAILED);
	assert_int_equal(r->outcome.class, CLASS_REFUSED);
	assert_true(r->outcome.is_transient);
	server_stop(&load);
}

static void test_server_that_only_says_its_version(void **state)
{
	const char *const words[] = {"--banner-only", NULL};
	struct server load = server_load(words);
	struct box_run *r = run("x@127.0.0.1", load.port, ",\"connectTimeoutUsec\":400000");

	(void)state;
	assert_failed(r, CLASS_TIMEOUT, "during key exchange");
	server_stop(&load);
}

/* --- Bounds --- */

static int connections_open(int port)
{
	FILE *file = fopen("/proc/self/net/tcp", "re");
	char line[256];
	int count = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		unsigned local, remote, state;

		if (sscanf(line, " %*d: %*x:%x %*x:%x %x", &local, &remote, &state) == 3)
			count += (int)remote == port && state == 1;
	}
	(void)fclose(file);
	return count;
}

static void test_few_unauthenticated_to_one_address(void **state)
{
	enum { TASKS = 40, BOUND = 8 };
	const char *const words[] = {"--silent", NULL};
	struct server silent = server_load(words);

	(void)state;
	for (int i = 0; i < TASKS; i++)
		(void)start("x@127.0.0.1", silent.port, ",\"connectTimeoutUsec\":400000");
	box_turn(&box, 200);
	assert_int_equal(connections_open(silent.port), BOUND);
	assert_int_equal(box.ended, 0);
	/* Five batches; the clock of those that wait stands */
	box_wait_ended(&box, 10);
	for (int i = 0; i < TASKS; i++)
		assert_failed(&box.runs[i], CLASS_TIMEOUT, "version lines");
	server_stop(&silent);
}

/* One slot, held by servers that say their version and then nothing: the others pass them by. */
static void test_stuck_servers_do_not_hold_slots(void **state)
{
	const char *const words[] = {"--banner-only", NULL};
	struct server stuck = server_load(words);
	autofree char *options =
		xasprintf(",\"identity\":\"%s\",\"hostKey\":\"off\"", place_path("key"));
	size_t number;

	(void)state;
	box.config.ssh_handshakes = 1;
	for (int i = 0; i < 3; i++)
		(void)start("x@127.0.0.1", stuck.port, ",\"connectTimeoutUsec\":8000000");
	box_turn(&box, 200);
	number = start("tester@127.0.0.1", sshd.port, options);
	for (int i = 0; i < 60 && !box.runs[number].has_ended; i++)
		box_turn(&box, 100);
	assert_true(box.runs[number].has_ended);
	assert_in(&box.runs[number]);
	assert_int_equal(box.ended, 1);
	for (size_t i = 0; i < 3; i++)
		box_stop(&box, i, STOP_ASKED, 0);
	server_stop(&stuck);
}

/* --- Host keys --- */

static void test_unknown_key_is_refused(void **state)
{
	struct box_run *r = run_sshd("");

	(void)state;
	assert_failed(r, CLASS_HOST_KEY,
		      "the key of 127.0.0.1 is not known; connect once with ssh, or use --host-key "
		      "accept-new");
}

static void test_accept_new_then_strict_then_changed(void **state)
{
	autofree char *text = NULL, *key = NULL, *line = NULL;

	(void)state;
	place_run("ssh-keygen -q -t ed25519 -N '' -f host_other");
	assert_in(run_sshd(",\"hostKey\":\"accept_new\""));
	text = place_read(".ssh/known_hosts");
	assert_int_equal(strncmp(text, "[127.0.0.1]:", 12), 0);
	assert_in(run_sshd(",\"hostKey\":\"strict\""));

	key = place_read("host_other.pub");
	line = xasprintf("# edited\n[127.0.0.1]:%d %s", sshd.port, key);
	place_write(".ssh/known_hosts", line);
	box_turn(&box, 300); /* until the file is looked at again */
	assert_failed(run_sshd(",\"hostKey\":\"accept_new\""), CLASS_HOST_KEY,
		      "the key of 127.0.0.1 changed; if that is expected, remove line 2 of ");
	assert_in(run_sshd(",\"hostKey\":\"off\""));
}

/* Of the server's several keys the one that is known is asked for. */
static void test_known_type_first(void **state)
{
	static const char *const types[] = {"host_rsa.pub", "host_ecdsa.pub", "host_ed25519.pub"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		autofree char *key = place_read(types[i]);
		autofree char *line = xasprintf("[127.0.0.1]:%d %s", sshd.port, key);

		place_write(".ssh/known_hosts", line);
		box_turn(&box, 300);
		assert_in(run_sshd(""));
	}
}

/* --- Ways to authenticate --- */

#define ANY_HOST_KEY ",\"hostKey\":\"off\""

static void test_wrong_key(void **state)
{
	autofree char *options =
		xasprintf(ANY_HOST_KEY ",\"identity\":\"%s\"", place_path("host_ecdsa"));
	struct box_run *r = run("tester@127.0.0.1", sshd.port, options);

	(void)state;
	assert_failed(r, CLASS_AUTH, "127.0.0.1 does not let user tester in (it takes publickey");
	assert_false(r->outcome.is_transient);
}

static void test_missing_and_encrypted_key(void **state)
{
	autofree char *missing =
		xasprintf(ANY_HOST_KEY ",\"identity\":\"%s\"", place_path("nothing"));
	autofree char *encrypted =
		xasprintf(ANY_HOST_KEY ",\"identity\":\"%s\"", place_path("locked"));

	(void)state;
	place_run("ssh-keygen -q -t ed25519 -N secret -f locked");
	assert_failed(run("tester@127.0.0.1", sshd.port, missing), CLASS_AUTH,
		      "nothing cannot be read (No such file or directory)");
	assert_failed(run("tester@127.0.0.1", sshd.port, encrypted), CLASS_AUTH,
		      "locked is encrypted: load it into an agent (ssh-add)");
	place_run("rm locked; ssh-keygen -q -t rsa -m PEM -N secret -f locked");
	assert_failed(run("tester@127.0.0.1", sshd.port, encrypted), CLASS_AUTH, "is encrypted");
	place_run("rm locked*");
}

static void test_default_identity(void **state)
{
	(void)state;
	place_run("cp key .ssh/id_rsa"); /* whatever its name says */
	assert_in(run("tester@127.0.0.1", sshd.port, ANY_HOST_KEY));
}

/* A key file that is replaced is read again. */
static void test_changed_identity(void **state)
{
	autofree char *options = xasprintf(ANY_HOST_KEY ",\"identity\":\"%s\"", place_path("mine"));

	(void)state;
	place_run("cp host_ecdsa mine");
	assert_failed(run("tester@127.0.0.1", sshd.port, options), CLASS_AUTH, "tried --identity");
	place_run("cp key mine2; mv mine2 mine");
	assert_in(run("tester@127.0.0.1", sshd.port, options));
}

static void test_rsa_identity(void **state)
{
	autofree char *options =
		xasprintf(ANY_HOST_KEY ",\"identity\":\"%s\"", place_path("host_rsa"));

	(void)state;
	place_run("cat host_rsa.pub >> authorized");
	for (int i = 0; i < 5; i++)
		assert_in(run("tester@127.0.0.1", sshd.port, options));
	place_run("cp key.pub authorized");
}

static void use_credential(struct credential *credential)
{
	box.config.credentials = credential;
	box.config.credential_count = 1;
}

static void test_credential_password(void **state)
{
	static const char *const ways[] = {"--password", "--prompt"};
	autofree char *file = xstrdup(place_path("password"));
	char name[] = "lab", user[] = "admin";
	struct credential credential = {.name = name, .user = user, .password_file = file};

	(void)state;
	use_credential(&credential);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		const char *const words[] = {ways[i], "open sesame", NULL};
		struct server load = server_load(words);

		place_write("password", "open sesame\n");
		place_run("chmod 600 password");
		assert_in(run("127.0.0.1", load.port, ANY_HOST_KEY ",\"credential\":\"lab\""));
		place_write("password", "wrong\n");
		assert_failed(run("127.0.0.1", load.port, ANY_HOST_KEY ",\"credential\":\"lab\""),
			      CLASS_AUTH, "does not let user admin in");
		server_stop(&load);
	}
}

static void test_none(void **state)
{
	const char *const words[] = {"--none", NULL};
	struct server load = server_load(words);

	(void)state;
	assert_in(run("DOM\\\\any@127.0.0.1", load.port, ANY_HOST_KEY));
	server_stop(&load);
}

static void test_agent(void **state)
{
	autofree char *socket = xstrdup(place_path("agent"));
	struct server agent = server_agent(socket);

	(void)state;
	(void)setenv("SSH_AUTH_SOCK", socket, 1);
	place_run("ssh-add -q host_ecdsa; ssh-add -q key");
	for (int i = 0; i < 10; i++)
		(void)start("tester@127.0.0.1", sshd.port, ANY_HOST_KEY);
	box_wait_ended(&box, 15);
	for (int i = 0; i < 10; i++)
		assert_in(&box.runs[i]);
	server_stop(&agent);
	(void)unlink(socket);
	assert_failed(run("tester@127.0.0.1", sshd.port, ANY_HOST_KEY), CLASS_AUTH,
		      "tried the agent");
}

static size_t awaited;

static bool has_awaited_ended(struct box *unused)
{
	(void)unused;
	return box.runs[awaited].has_ended;
}

static struct box_run *await_end(size_t number)
{
	awaited = number;
	box_wait(&box, has_awaited_ended, 15);
	return &box.runs[number];
}

/* An agent that waits for a person holds nobody else up, and no stop. */
static void test_stuck_agent(void **state)
{
	autofree char *socket = xstrdup(place_path("agent"));
	struct server agent = server_agent(socket);
	autofree char *options = xasprintf(ANY_HOST_KEY ",\"identity\":\"%s\"", place_path("key"));
	size_t first, second, other;
	int64_t began_us;

	(void)state;
	(void)setenv("SSH_AUTH_SOCK", socket, 1);
	place_run("ssh-add -q key");
	assert_int_equal(kill(agent.pid, SIGSTOP), 0);
	first = start("tester@127.0.0.1", sshd.port, ANY_HOST_KEY);
	second =
		start("tester@127.0.0.1", sshd.port, ANY_HOST_KEY ",\"connectTimeoutUsec\":700000");
	other = start("tester@127.0.0.1", sshd.port, options);
	assert_in(await_end(other));
	assert_failed(await_end(second), CLASS_TIMEOUT, "during authentication");
	began_us = now_monotonic_us();
	box_stop(&box, first, STOP_ASKED, 0);
	assert_true(box.runs[first].has_ended);
	assert_true(now_monotonic_us() - began_us < US_PER_SEC / 10);

	/* Once it answers, it is asked again. */
	assert_int_equal(kill(agent.pid, SIGCONT), 0);
	assert_in(run("tester@127.0.0.1", sshd.port, ANY_HOST_KEY));
	server_stop(&agent);
	(void)unlink(socket);
}

/* Nor does it hold up the end of jobd. */
static void test_stuck_agent_at_the_end(void **state)
{
	autofree char *socket = xstrdup(place_path("agent"));
	struct server agent = server_agent(socket);
	int64_t began_us;

	(void)state;
	(void)setenv("SSH_AUTH_SOCK", socket, 1);
	assert_int_equal(kill(agent.pid, SIGSTOP), 0);
	(void)start("tester@127.0.0.1", sshd.port, ANY_HOST_KEY);
	box_turn(&box, 500);
	assert_false(box.runs[0].has_ended);
	began_us = now_monotonic_us();
	box_done(&box);
	assert_true(now_monotonic_us() - began_us < US_PER_SEC / 2);
	server_stop(&agent);
	(void)unlink(socket);
	box_init(&box); /* for the tear-down */
}

/* --- Old devices --- */

static void test_legacy(void **state)
{
	struct server old = server_sshd("KexAlgorithms diffie-hellman-group1-sha1\n"
					"HostKeyAlgorithms ssh-rsa\nCiphers aes128-cbc\n"
					"MACs hmac-sha1\n");
	autofree char *options = xasprintf(ANY_HOST_KEY ",\"identity\":\"%s\"", place_path("key"));
	autofree char *legacy = xasprintf("%s,\"legacy\":true", options);

	(void)state;
	assert_failed(run("tester@127.0.0.1", old.port, options), CLASS_PROTOCOL,
		      "offers no key exchange that jobd takes (it offers "
		      "diffie-hellman-group1-sha1");
	assert_non_null(strstr(box.runs[0].outcome.message, "try --legacy"));
	assert_in(run("tester@127.0.0.1", old.port, legacy));
	server_stop(&old);
}

/* Version line and lists of algorithms come together, since the key exchange waits for a slot. */
static void test_legacy_in_one_read(void **state)
{
	const char *const words[] = {"--banner-only", NULL};
	struct server stuck = server_load(words);
	struct server old = server_sshd("KexAlgorithms diffie-hellman-group1-sha1\n");
	size_t number;

	(void)state;
	box.config.ssh_handshakes = 1;
	(void)start("x@127.0.0.1", stuck.port, ",\"connectTimeoutUsec\":8000000");
	box_turn(&box, 200);
	number = start("tester@127.0.0.1", old.port, ANY_HOST_KEY);
	for (int i = 0; i < 60 && !box.runs[number].has_ended; i++)
		box_turn(&box, 100);
	assert_true(box.runs[number].has_ended);
	assert_failed(&box.runs[number], CLASS_PROTOCOL, "offers no key exchange that jobd takes");
	box_stop(&box, 0, STOP_ASKED, 0);
	server_stop(&stuck);
	server_stop(&old);
}

/* --- Options --- */

static void assert_refused(const char *text, bool is_trusted, const char *subject)
{
	void *options = xcalloc(1, kind_ssh.options_size);
	json_t *object = json_loads(text, 0, NULL);
	struct error error = {0};
	int r;

	assert_non_null(object);
	r = fields_parse(kind_ssh.fields, kind_ssh.field_count, object, NULL, options, &error);
	if (r == 0) {
		r = kind_ssh.options_check(options, &box.config, is_trusted, &error);
		if (r == 0)
			fail_msg("taken: %s", text);
		kind_ssh.options_done(options);
		fields_done(kind_ssh.fields, kind_ssh.field_count, options);
	}
	assert_string_equal(error.subject, subject);
	error_done(&error);
	json_decref(object);
	free(options);
}

static void test_options(void **state)
{
	struct error error = {0};

	(void)state;
	assert_refused("{}", true, "commands");
	assert_refused("{\"commands\":[]}", true, "commands");
	assert_refused("{\"commands\":[\"\"]}", true, "commands");
	assert_refused("{\"commands\":[\"x\"],\"credential\":\"none\"}", true, "credential");
	assert_refused("{\"commands\":[\"x\"],\"identity\":\"/key\"}", false, "identity");
	assert_refused("{\"commands\":[\"x\"],\"identity\":\"key\"}", true, "identity");
	assert_refused("{\"commands\":[\"x\"],\"login\":\"\"}", true, "login");
	assert_refused("{\"commands\":[\"x\"],\"stdin\":\"?\"}", true, "stdin");
	assert_refused("{\"commands\":[\"x\"],\"port\":0}", true, "port");
	assert_refused("{\"commands\":[\"x\"],\"hostKey\":\"no\"}", true, "hostKey");
	assert_refused("{\"commands\":[\"x\"],\"maxOutput\":2000000000}", true,
		       "max-output-per-task");
	assert_int_equal(kind_ssh.target_check("a@b:22", &error), 0);
	assert_int_equal(kind_ssh.target_check("b:0x16", &error), -EINVAL);
	error_done(&error);
}

/* Nothing may be left open, whoever closes what. */
static void count_descriptors(size_t *ret_count)
{
	DIR *folder = opendir("/proc/self/fd");

	assert_non_null(folder);
	for (*ret_count = 0; readdir(folder);)
		++*ret_count;
	(void)closedir(folder);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, finish)
	const struct CMUnitTest tests[] = {
		CASE(test_refused),
		CASE(test_unreachable),
		CASE(test_name_without_address),
		CASE(test_second_address),
		CASE(test_silent_server),
		CASE(test_dropped_before_authentication),
		CASE(test_server_that_only_says_its_version),
		CASE(test_few_unauthenticated_to_one_address),
		CASE(test_stuck_servers_do_not_hold_slots),
		CASE(test_unknown_key_is_refused),
		CASE(test_accept_new_then_strict_then_changed),
		CASE(test_known_type_first),
		CASE(test_wrong_key),
		CASE(test_missing_and_encrypted_key),
		CASE(test_default_identity),
		CASE(test_changed_identity),
		CASE(test_rsa_identity),
		CASE(test_credential_password),
		CASE(test_none),
		CASE(test_agent),
		CASE(test_stuck_agent),
		CASE(test_stuck_agent_at_the_end),
		CASE(test_legacy),
		CASE(test_legacy_in_one_read),
		CASE(test_options),
	};
	size_t before, after;
	int failed;

	place_init();
	sshd = server_sshd("");
	count_descriptors(&before);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	count_descriptors(&after);
	server_stop(&sshd);
	place_done();
	if (before != after) {
		(void)fprintf(stderr, "%zu descriptors were left open\n", after - before);
		return 1;
	}
	return failed;
}
