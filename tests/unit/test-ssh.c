/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands over SSH against real servers: output, ends, limits, stops. Logins are in
 * test-ssh-login. */
#include "tests/lib/ssh-box.h"

#include "common/protocol.h"
#include "common/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct server sshd;
static struct box box;

/* --- Helpers --- */

static char *at_sshd(void)
{
	static char target[64];

	(void)snprintf(target, sizeof(target), "tester@127.0.0.1:%d", sshd.port);
	return target;
}

/* Starts one task on the sshd with these members of the options beside the key. */
static size_t start(const char *more)
{
	autofree char *options =
		xasprintf("{\"identity\":\"%s\",\"hostKey\":\"off\",%s}", place_path("key"), more);

	return box_start(&box, at_sshd(), 0, options);
}

static struct box_run *run(const char *more)
{
	size_t number = start(more);

	box_wait_ended(&box, 10);
	return &box.runs[number];
}

static void assert_end(const struct box_run *run, enum task_state state, enum error_class class,
		       const char *message)
{
	if (run->outcome.state != state || run->outcome.class != class ||
	    (message && (!run->outcome.message || !strstr(run->outcome.message, message))))
		fail_msg("ended %d %s '%s', not %d %s '%s'", run->outcome.state,
			 error_class_words[run->outcome.class], run->outcome.message, state,
			 error_class_words[class], message);
}

/* Does the process live that wrote its id into the file? */
static bool is_alive(const char *file)
{
	autofree char *text = place_read(file);
	pid_t pid = (pid_t)strtol(text, NULL, 10);

	assert_true(pid > 0);
	return kill(pid, 0) == 0;
}

static const char *sleeping_file;

static bool has_begun(struct box *unused)
{
	struct stat status;

	(void)unused;
	return stat(place_path(sleeping_file), &status) == 0 && status.st_size > 0;
}

/* A command that writes its process id into the file, and then goes on with the script. */
static size_t start_script(const char *file, const char *script, const char *more)
{
	autofree char *options = xasprintf("\"commands\":[\"echo $$ > %s; echo begun; %s\"]%s",
					   place_path(file), script, more);
	size_t number;

	(void)unlink(place_path(file));
	number = start(options);
	sleeping_file = file;
	box_wait(&box, has_begun, 10);
	return number;
}

static size_t start_sleeping(const char *file, const char *more)
{
	return start_script(file, "exec sleep 60", more);
}

static int begin(void **state)
{
	(void)state;
	box_init(&box);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	box_done(&box);
	return 0;
}

/* --- Output and ends --- */

static void test_streams_apart_and_exit_status(void **state)
{
	struct box_run *r = run("\"commands\":[\"echo out; echo err >&2; exit 3\"]");

	(void)state;
	assert_end(r, TASK_FAILED, CLASS_EXIT, "exit status 3");
	assert_string_equal(r->bytes[STREAM_STDOUT], "out\n");
	assert_string_equal(r->bytes[STREAM_STDERR], "err\n");
	assert_string_equal(r->outcome.result, "{\"address\":\"127.0.0.1\",\"exitStatus\":3,"
					       "\"stdoutBytes\":4,\"stderrBytes\":4}");
}

static void test_commands_in_turn(void **state)
{
	struct box_run *r = run("\"commands\":[\"echo 1\",\"echo 2; exit 7\",\"echo 3; exit 1\","
				"\"echo 4\"],\"successCodes\":[0,7]");

	(void)state;
	assert_end(r, TASK_FAILED, CLASS_EXIT, "exit status 1 (command 3 of 4)");
	assert_string_equal(r->bytes[STREAM_STDOUT], "1\n2\n3\n");

	r = run("\"commands\":[\"echo 1\",\"echo 2\"]");
	assert_end(r, TASK_SUCCEEDED, CLASS_NONE, NULL);
	assert_null(r->outcome.message);
	assert_string_equal(r->bytes[STREAM_STDOUT], "1\n2\n");
}

static void test_signal(void **state)
{
	struct box_run *r = run("\"commands\":[\"kill -SEGV $$\"]");

	(void)state;
	assert_end(r, TASK_FAILED, CLASS_SIGNAL, "killed by signal SEGV");
	assert_non_null(strstr(r->outcome.result, "\"signal\":\"SEGV\""));
	assert_null(strstr(r->outcome.result, "exitStatus"));
}

static void test_stdin_reaches_each_command(void **state)
{
	struct box_run *r;

	(void)state;
	r = run("\"commands\":[\"cat\",\"tr a-z A-Z\"],\"stdin\":\"aGVsbG8K\"");
	assert_end(r, TASK_SUCCEEDED, CLASS_NONE, NULL);
	assert_string_equal(r->bytes[STREAM_STDOUT], "hello\nHELLO\n");
}

/* More than the channel's window, both ways at once. */
static void test_much_stdin(void **state)
{
	enum { BASE64 = 8 << 20 };
	char *options = xmalloc(BASE64 + 100);
	struct box_run *r;
	size_t used;

	(void)state;
	used = (size_t)sprintf(options, "\"commands\":[\"cat\"],\"stdin\":\"");
	memset(options + used, 'A', BASE64);
	strcpy(options + used + BASE64, "\"");
	r = run(options);
	free(options);
	assert_end(r, TASK_SUCCEEDED, CLASS_NONE, NULL);
	assert_int_equal(r->sizes[STREAM_STDOUT], BASE64 / 4 * 3);
}

static void test_reports_end_at_characters(void **state)
{
	/* U+20AC in three pieces, then bytes that are no UTF-8 at the very end */
	struct box_run *r =
		run("\"commands\":[\"printf '\\\\342'; sleep .1; printf '\\\\202'; "
		    "sleep .1; printf '\\\\254x'; sleep .1; printf '\\\\360\\\\237'\"]");

	(void)state;
	assert_end(r, TASK_SUCCEEDED, CLASS_NONE, NULL);
	assert_string_equal(r->bytes[STREAM_STDOUT], "\342\202\254x\360\237");
	assert_int_equal(r->reports, 2);

	r = run("\"commands\":[\"yes '\\\\342\\\\202\\\\254' | head -c 3000000\"]");
	assert_int_equal(r->sizes[STREAM_STDOUT], 3000000);
	r = run("\"commands\":[\"for i in $(seq 30000); do printf 'a\\\\342\\\\202\\\\254'; "
		"done\"]");
	assert_int_equal(r->sizes[STREAM_STDOUT], 120000);
	assert_true(r->is_whole_utf8);
}

static void test_output_limit(void **state)
{
	struct box_run *r;

	(void)state;
	r = run("\"commands\":[\"yes\"],\"maxOutput\":100000");
	assert_end(r, TASK_FAILED, CLASS_OUTPUT_LIMIT, "more output than --max-output (97.7 KiB)");
	assert_int_equal(r->sizes[STREAM_STDOUT], 100000);
}

static bool is_held(struct box *unused)
{
	(void)unused;
	return box.runs[0].unstored > 256 << 10;
}

/* While main does not store, the socket is not read, and the command waits. */
static void test_back_pressure(void **state)
{
	size_t number;

	(void)state;
	box.holds_stored = true;
	number = start("\"commands\":[\"head -c 20000000 /dev/zero\"],\"maxOutput\":100000000,"
		       "\"idleTimeoutUsec\":1000000");
	box_wait(&box, is_held, 10);
	box_turn(&box, 1500);
	assert_in_range(box.runs[number].unstored, 256 << 10, 700 << 10);
	assert_false(box.runs[number].has_ended); /* nor is it idle */
	box.holds_stored = false;
	box_store(&box, number);
	box_wait_ended(&box, 20);
	assert_end(&box.runs[number], TASK_SUCCEEDED, CLASS_NONE, NULL);
	assert_int_equal(box.runs[number].sizes[STREAM_STDOUT], 20000000);
}

static bool is_announced(struct box *unused)
{
	(void)unused;
	return box.runs[0].is_announced;
}

static void test_nothing_is_sent_before_go(void **state)
{
	size_t number;

	(void)state;
	box.holds_go = true;
	number = start("\"commands\":[\"echo done\"],"
		       "\"connectTimeoutUsec\":1000000");
	box_wait(&box, is_announced, 10);
	box_turn(&box, 1500); /* the connect clock stands meanwhile */
	assert_false(box.runs[number].has_ended);
	assert_int_equal(box.runs[number].reports, 0);
	box_go(&box, number);
	box_wait_ended(&box, 10);
	assert_string_equal(box.runs[number].bytes[STREAM_STDOUT], "done\n");
}

/* --- Time --- */

static void test_idle_timeout_ends_the_command(void **state)
{
	int64_t began_us = now_monotonic_us();
	size_t number = start_sleeping("far/idle", ",\"idleTimeoutUsec\":300000");

	(void)state;
	box_wait_ended(&box, 10);
	assert_end(&box.runs[number], TASK_FAILED, CLASS_TIMEOUT,
		   "no output from 127.0.0.1 for 300.0 ms (--idle-timeout)");
	assert_string_equal(box.runs[number].bytes[STREAM_STDOUT], "begun\n");
	assert_false(is_alive("far/idle"));
	assert_true(now_monotonic_us() - began_us < 3 * US_PER_SEC);
}

static void test_output_keeps_it_from_idling(void **state)
{
	struct box_run *r = run("\"commands\":[\"for i in 1 2 3 4 5 6; do echo; sleep .1; done\"],"
				"\"idleTimeoutUsec\":400000");

	(void)state;
	assert_end(r, TASK_SUCCEEDED, CLASS_NONE, NULL);
}

static void test_whole_timeout(void **state)
{
	autofree char *options = xasprintf("{\"identity\":\"%s\",\"hostKey\":\"off\","
					   "\"commands\":[\"while :; do echo; sleep .1; done\"]}",
					   place_path("key"));
	size_t number = box_start(&box, at_sshd(), 700000, options);

	(void)state;
	box_wait_ended(&box, 10);
	assert_end(&box.runs[number], TASK_FAILED, CLASS_TIMEOUT,
		   "127.0.0.1 did not end within 700.0 ms (--timeout)");
}

/* --- Stops --- */

static void test_stop_ends_the_far_side(void **state)
{
	size_t number = start_sleeping("far/stop", "");
	int64_t began_us = now_monotonic_us();

	(void)state;
	box_stop(&box, number, STOP_ASKED, 0);
	box_wait_ended(&box, 5);
	assert_true(now_monotonic_us() - began_us < US_PER_SEC);
	assert_end(&box.runs[number], TASK_STOPPED, CLASS_NONE, "stopped");
	assert_false(is_alive("far/stop"));
}

/* A command that takes TERM as a wish to tidy up has the grace for it. */
static void test_grace(void **state)
{
	size_t number;

	(void)state;
	number = start("\"commands\":[\"trap 'sleep 1; echo tidy; exit 0' TERM; "
		       "echo up; while :; do sleep .1; done\"]");
	while (box.runs[number].reports == 0)
		box_turn(&box, 20);
	box_stop(&box, number, STOP_ASKED, 5 * US_PER_SEC);
	box_wait_ended(&box, 10);
	assert_end(&box.runs[number], TASK_STOPPED, CLASS_NONE, NULL);
	assert_string_equal(box.runs[number].bytes[STREAM_STDOUT], "up\ntidy\n");
}

static void test_who_ignores_term_is_killed(void **state)
{
	int64_t began_us;
	size_t number;

	(void)state;
	number = start_script("far/deaf", "trap '' TERM; while :; do sleep .1; done", "");
	began_us = now_monotonic_us();
	box_stop(&box, number, STOP_ASKED, 0);
	box_wait_ended(&box, 5);
	assert_true(now_monotonic_us() - began_us < US_PER_SEC);
	assert_false(is_alive("far/deaf"));
}

static void test_shutdown_is_immediate(void **state)
{
	size_t number = start_sleeping("far/shutdown", "");

	(void)state;
	box_stop(&box, number, STOP_SHUTDOWN, 0);
	assert_true(box.runs[number].has_ended);
	assert_int_equal(box.runs[number].outcome.state, TASK_STOPPED);
}

static void test_stop_before_anything(void **state)
{
	size_t number = start("\"commands\":[\"echo never\"]");

	(void)state;
	box_stop(&box, number, STOP_ASKED, 5 * US_PER_SEC);
	assert_true(box.runs[number].has_ended);
	assert_end(&box.runs[number], TASK_STOPPED, CLASS_NONE, NULL);
}

/* --- Bad servers --- */

static size_t start_load(const struct server *load, const char *more)
{
	autofree char *target = xasprintf("any@127.0.0.1:%d", load->port);
	autofree char *options = xasprintf("{\"identity\":\"%s\",\"hostKey\":\"off\","
					   "\"commands\":[\"x\"]%s}",
					   place_path("key"), more);

	return box_start(&box, target, 0, options);
}

/*
 * libssh makes descriptors blocking; a write to a host that stands still would then freeze the
 * thread.
 */
static void assert_not_blocking(int port)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++) {
		struct sockaddr_in peer = {0};
		socklen_t size = sizeof(peer);

		if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0 ||
		    peer.sin_family != AF_INET || ntohs(peer.sin_port) != port)
			continue;
		assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
		count++;
	}
	assert_int_equal(count, 1);
}

static void test_deaf_server_does_not_hold_a_stop_up(void **state)
{
	const char *const words[] = {"--deaf", "--no-answer", NULL};
	struct server load = server_load(words);
	size_t number = start_load(&load, "");
	int64_t began_us;

	(void)state;
	box_wait(&box, is_announced, 10);
	box_turn(&box, 100); /* the command is sent meanwhile */
	assert_not_blocking(load.port);
	began_us = now_monotonic_us();
	box_stop(&box, number, STOP_ASKED, 0);
	box_wait_ended(&box, 5);
	assert_true(now_monotonic_us() - began_us < US_PER_SEC);
	assert_end(&box.runs[number], TASK_STOPPED, CLASS_NONE, NULL);
	server_stop(&load);
}

static void test_flood_leaves_time_for_others(void **state)
{
	const char *const words[] = {"--flood", NULL};
	struct server load = server_load(words);
	size_t flood = start_load(&load, ",\"maxOutput\":1000000000");
	size_t other;

	(void)state;
	box_turn(&box, 300);
	other = start("\"commands\":[\"echo here\"]");
	while (!box.runs[other].has_ended)
		box_turn(&box, 20);
	assert_end(&box.runs[other], TASK_SUCCEEDED, CLASS_NONE, NULL);
	assert_false(box.runs[flood].has_ended);
	box_stop(&box, flood, STOP_ASKED, 0);
	box_wait_ended(&box, 5);
	server_stop(&load);
}

/* The far side stands still in the midst of everything: nobody waits for it. */
static void test_stopped_server_blocks_nobody(void **state)
{
	const char *const words[] = {NULL};
	struct server load = server_load(words);
	size_t stuck, other;

	(void)state;
	assert_int_equal(kill(load.pid, SIGSTOP), 0);
	stuck = start_load(&load, ",\"connectTimeoutUsec\":1500000");
	other = start("\"commands\":[\"echo here\"]");
	while (!box.runs[other].has_ended)
		box_turn(&box, 20);
	assert_false(box.runs[stuck].has_ended);
	box_wait_ended(&box, 5);
	assert_end(&box.runs[stuck], TASK_FAILED, CLASS_TIMEOUT,
		   "during the exchange of version lines");
	server_stop(&load);
}

static void test_no_exit_status_is_no_failure(void **state)
{
	const char *const words[] = {"--no-status", "--output", "5", NULL};
	struct server load = server_load(words);
	size_t number = start_load(&load, "");

	(void)state;
	box_wait_ended(&box, 5);
	assert_end(&box.runs[number], TASK_SUCCEEDED, CLASS_NONE, NULL);
	assert_string_equal(box.runs[number].outcome.result,
			    "{\"address\":\"127.0.0.1\",\"stdoutBytes\":5,\"stderrBytes\":0}");
	server_stop(&load);
}

static void test_connection_lost_in_the_command(void **state)
{
	struct box_run *r = run("\"commands\":[\"kill -9 $PPID\"]");

	(void)state;
	assert_end(r, TASK_FAILED, CLASS_PROTOCOL, "it may have taken effect");
	assert_false(r->outcome.is_transient);
}

/* What it takes of standard input at a time makes no difference but for the time. */
static void check_dropbear(const char *window, size_t stdin_size)
{
	struct server dropbear = server_dropbear(window);
	autofree char *target = xasprintf("tester@127.0.0.1:%d", dropbear.port);
	autofree char *bytes = xcalloc(1, stdin_size + 1);
	autofree char *text = NULL, *options = NULL;
	struct box_run *r;

	for (size_t i = 0; i < stdin_size; i++)
		bytes[i] = (char)('a' + i % 26);
	text = base64_encode(bytes, stdin_size);
	options = xasprintf("{\"identity\":\"%s\",\"hostKey\":\"off\",\"stdin\":\"%s\","
			    "\"commands\":[\"cat; exit 4\"]}",
			    place_path("key"), text);
	r = &box.runs[box_start(&box, target, 0, options)];
	box_wait_ended(&box, 30);
	server_stop(&dropbear);
	assert_end(r, TASK_FAILED, CLASS_EXIT, "exit status 4");
	assert_string_equal(r->bytes[STREAM_STDOUT], bytes);
}

static void test_dropbear(void **state)
{
	(void)state;
	if (access("/usr/sbin/dropbear", X_OK) < 0)
		skip();
	check_dropbear("24576", 100000);
	/* A window of one byte */
	check_dropbear("1", 3000);
}

/* --- Many --- */

static int64_t cpu_us(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * US_PER_SEC +
	       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static long resident_kib(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void test_a_thousand_at_once(void **state)
{
	enum { HOSTS = 1000, PER_NET = 250 };
	const char *const words[] = {"--listen", "0.0.0.0", "--delay", "2",
				     "--output", "1000",    NULL};
	struct server load = server_load(words);
	autofree char *options = xasprintf("{\"identity\":\"%s\",\"hostKey\":\"off\","
					   "\"commands\":[\"show version\"]}",
					   place_path("key"));
	int64_t began_us = now_monotonic_us(), cpu_before_us = cpu_us();
	long before_kib = resident_kib();

	(void)state;
	for (int i = 0; i < HOSTS; i++) {
		char target[64];

		(void)snprintf(target, sizeof(target), "x@127.1.%d.%d:%d", i / PER_NET,
			       i % PER_NET + 1, load.port);
		(void)box_start(&box, target, 0, options);
	}
	box_wait_ended(&box, 60);
	print_message("%d sessions: %lld ms, %lld us CPU and %ld KiB each\n", HOSTS,
		      (long long)(now_monotonic_us() - began_us) / 1000,
		      (long long)(cpu_us() - cpu_before_us) / HOSTS,
		      (resident_kib() - before_kib) / HOSTS);
	for (size_t i = 0; i < HOSTS; i++) {
		assert_end(&box.runs[i], TASK_SUCCEEDED, CLASS_NONE, NULL);
		assert_int_equal(box.runs[i].sizes[STREAM_STDOUT], 1000);
	}
	server_stop(&load);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, finish)
	const struct CMUnitTest tests[] = {
		CASE(test_a_thousand_at_once),
		CASE(test_streams_apart_and_exit_status),
		CASE(test_commands_in_turn),
		CASE(test_signal),
		CASE(test_stdin_reaches_each_command),
		CASE(test_much_stdin),
		CASE(test_reports_end_at_characters),
		CASE(test_output_limit),
		CASE(test_back_pressure),
		CASE(test_nothing_is_sent_before_go),
		CASE(test_idle_timeout_ends_the_command),
		CASE(test_output_keeps_it_from_idling),
		CASE(test_whole_timeout),
		CASE(test_stop_ends_the_far_side),
		CASE(test_grace),
		CASE(test_who_ignores_term_is_killed),
		CASE(test_shutdown_is_immediate),
		CASE(test_stop_before_anything),
		CASE(test_deaf_server_does_not_hold_a_stop_up),
		CASE(test_flood_leaves_time_for_others),
		CASE(test_stopped_server_blocks_nobody),
		CASE(test_no_exit_status_is_no_failure),
		CASE(test_connection_lost_in_the_command),
		CASE(test_dropbear),
	};
	int failed;

	place_init();
	sshd = server_sshd("");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	server_stop(&sshd);
	place_done();
	return failed;
}
