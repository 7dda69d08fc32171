/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The index of known_hosts, on files that ssh-keygen made or that are written here. */
#include "daemon/ssh-known-hosts.h"

#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define KEY_A "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define KEY_B "AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
#define KEY_C "AAAAB3NzaC1yc2EAAAADAQABAAAAgQCC"

static char folder[] = "/tmp/jobd-test-XXXXXX";
static char *own, *shared;

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = xcalloc(1, 4096);

	assert_non_null(file);
	text[fread(text, 1, 4095, file)] = '\0';
	(void)fclose(file);
	return text;
}

static int begin(void **state)
{
	(void)state;
	(void)unlink(own);
	(void)unlink(shared);
	return 0;
}

static void assert_verdict(struct known_hosts *hosts, const char *host, uint16_t port,
			   const char *key, enum known_host_verdict verdict, unsigned line)
{
	struct known_host_place place = {0};

	assert_int_equal(known_hosts_check(hosts, host, port, key, &place), verdict);
	assert_int_equal(place.line, line);
}

static void test_plain_names(void **state)
{
	struct known_hosts *hosts;

	(void)state;
	write_file(own, "# a comment\n\nr1,R2.Lab,10.0.0.1 ssh-ed25519 " KEY_A " me@here\n"
			"[r1]:2222 ssh-ed25519 " KEY_B "\r\n"
			"r1 ssh-rsa " KEY_C);
	hosts = known_hosts_new(own, shared);
	assert_verdict(hosts, "r1", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "r1", 22, KEY_C, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "r2.lab", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "R1", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "10.0.0.1", 22, KEY_B, KNOWN_HOST_CHANGED, 3);
	assert_verdict(hosts, "r1", 22, KEY_B, KNOWN_HOST_CHANGED, 3);
	assert_verdict(hosts, "r1", 2222, KEY_B, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "r1", 2222, KEY_C, KNOWN_HOST_CHANGED, 4);
	assert_verdict(hosts, "r9", 22, KEY_A, KNOWN_HOST_UNKNOWN, 0);
	/* The key that the host has without a port will do for another port; another key is new. */
	assert_verdict(hosts, "r1", 23, KEY_A, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "r1", 23, KEY_B, KNOWN_HOST_UNKNOWN, 0);
	known_hosts_free(hosts);
}

static void test_patterns(void **state)
{
	struct known_hosts *hosts;

	(void)state;
	write_file(own, "*.lab,!bad.lab ssh-ed25519 " KEY_A "\n[r?]:* ssh-ed25519 " KEY_B "\n"
			"*a*b*,10.0.* ssh-rsa " KEY_C "\n");
	hosts = known_hosts_new(own, NULL);
	assert_verdict(hosts, "x.lab", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "x.lab", 22, KEY_B, KNOWN_HOST_CHANGED, 1);
	assert_verdict(hosts, "bad.lab", 22, KEY_A, KNOWN_HOST_CHANGED, 3);
	assert_verdict(hosts, "r7", 830, KEY_B, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "r77", 830, KEY_B, KNOWN_HOST_UNKNOWN, 0);
	assert_verdict(hosts, "cab", 22, KEY_C, KNOWN_HOST_MATCHES, 0);
	assert_verdict(hosts, "10.0.3.4", 22, KEY_C, KNOWN_HOST_MATCHES, 0);
	known_hosts_free(hosts);
}

static void test_markers(void **state)
{
	struct known_hosts *hosts;

	(void)state;
	write_file(own, "r1 ssh-ed25519 " KEY_A "\n@revoked * ssh-ed25519 " KEY_A "\n"
			"@cert-authority r2 ssh-ed25519 " KEY_B "\n"
			"r3 1024 35 12345678901234567890\nbroken\n|1|nonsense ssh-rsa " KEY_C "\n");
	hosts = known_hosts_new(own, NULL);
	assert_verdict(hosts, "r1", 22, KEY_A, KNOWN_HOST_REVOKED, 2);
	assert_verdict(hosts, "r1", 99, KEY_A, KNOWN_HOST_REVOKED, 2);
	assert_verdict(hosts, "r1", 22, KEY_B, KNOWN_HOST_CHANGED, 1);
	assert_verdict(hosts, "r2", 22, KEY_B, KNOWN_HOST_UNKNOWN, 0);
	assert_verdict(hosts, "r3", 22, KEY_B, KNOWN_HOST_UNKNOWN, 0);
	known_hosts_free(hosts);
}

/* ssh-keygen is the reference. */
static void test_hashed_names(void **state)
{
	autofree char *command = xasprintf("ssh-keygen -q -H -f %s >/dev/null 2>&1", own);
	autofree char *text = NULL;
	struct known_hosts *hosts;

	(void)state;
	write_file(own, "r1,10.0.0.1 ssh-ed25519 " KEY_A "\n[r1]:2222 ssh-ed25519 " KEY_B "\n");
	if (system(command) != 0)
		skip();
	text = read_file(own);
	assert_non_null(strstr(text, "|1|"));
	/* No base64 has these */
	assert_null(strstr(text, "10.0.0.1"));
	assert_null(strstr(text, "[r1]"));
	hosts = known_hosts_new(own, NULL);
	for (int i = 0; i < 2; i++) { /* found, then remembered */
		assert_verdict(hosts, "r1", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
		assert_verdict(hosts, "10.0.0.1", 22, KEY_B, KNOWN_HOST_CHANGED, 2);
		assert_verdict(hosts, "r1", 2222, KEY_B, KNOWN_HOST_MATCHES, 0);
		assert_verdict(hosts, "r2", 22, KEY_B, KNOWN_HOST_UNKNOWN, 0);
	}
	known_hosts_free(hosts);
}

static void note_type(const char *type, void *context)
{
	(void)strcat(strcat(context, type), " ");
}

static void test_types(void **state)
{
	char types[200] = "";
	struct known_hosts *hosts;

	(void)state;
	write_file(own, "r1 ssh-rsa " KEY_C "\n@revoked r1 ssh-dss " KEY_C "\n");
	write_file(shared, "r1 ssh-ed25519 " KEY_A "\nr2 ecdsa-sha2-nistp256 " KEY_B "\n");
	hosts = known_hosts_new(own, shared);
	known_hosts_types(hosts, "r1", 22, note_type, types);
	assert_string_equal(types, "ssh-rsa ssh-ed25519 ");
	known_hosts_free(hosts);
}

static void test_changed_files_are_read_again(void **state)
{
	struct known_hosts *hosts;

	(void)state;
	hosts = known_hosts_new(own, shared);
	assert_verdict(hosts, "r1", 22, KEY_A, KNOWN_HOST_UNKNOWN, 0);
	write_file(own, "r1 ssh-ed25519 " KEY_A "\n");
	assert_verdict(hosts, "r1", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	assert_int_equal(unlink(own), 0);
	assert_verdict(hosts, "r1", 22, KEY_A, KNOWN_HOST_UNKNOWN, 0);
	known_hosts_free(hosts);
}

static void test_adding(void **state)
{
	struct known_hosts *one, *other;
	autofree char *text = NULL;
	struct stat status;

	(void)state;
	one = known_hosts_new(own, shared);
	other = known_hosts_new(own, shared);
	assert_int_equal(known_hosts_add(one, "r1", 22, "ssh-ed25519", KEY_A), 0);
	assert_verdict(one, "r1", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	assert_int_equal(stat(own, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	/* The other has not looked yet, and must not write a second key, nor the same once more. */
	assert_int_equal(known_hosts_add(other, "r1", 22, "ssh-ed25519", KEY_B), -EEXIST);
	assert_int_equal(known_hosts_add(other, "r1", 22, "ssh-ed25519", KEY_A), 0);
	assert_int_equal(known_hosts_add(other, "r1", 2222, "ssh-ed25519", KEY_B), 0);
	text = read_file(own);
	assert_string_equal(text, "r1 ssh-ed25519 " KEY_A "\n[r1]:2222 ssh-ed25519 " KEY_B "\n");
	known_hosts_free(one);
	known_hosts_free(other);
}

static void test_adding_to_an_unfinished_line(void **state)
{
	struct known_hosts *hosts;

	(void)state;
	write_file(own, "r1 ssh-ed25519 " KEY_A);
	hosts = known_hosts_new(own, NULL);
	assert_int_equal(known_hosts_add(hosts, "r2", 22, "ssh-ed25519", KEY_B), 0);
	/* As whoever reads the file anew finds it */
	known_hosts_free(hosts);
	hosts = known_hosts_new(own, NULL);
	assert_verdict(hosts, "r2", 22, KEY_A, KNOWN_HOST_CHANGED, 2);
	assert_verdict(hosts, "r1", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	known_hosts_free(hosts);
}

static void test_adding_waits_for_no_lock(void **state)
{
	struct known_hosts *hosts;
	int64_t began_us;
	int fd;

	(void)state;
	write_file(own, "");
	fd = open(own, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	hosts = known_hosts_new(own, NULL);
	began_us = now_monotonic_us();
	assert_int_equal(known_hosts_add(hosts, "r1", 22, "ssh-ed25519", KEY_A), -EBUSY);
	assert_true(now_monotonic_us() - began_us < US_PER_SEC / 2);
	assert_verdict(hosts, "r1", 22, KEY_A, KNOWN_HOST_UNKNOWN, 0);
	(void)close(fd);
	known_hosts_free(hosts);
}

/* Another key, or that it is revoked, may stand in what cannot be read. */
static void test_nothing_is_added_beside_an_unread_file(void **state)
{
	struct known_hosts *hosts;
	autofree char *text = NULL;

	(void)state;
	write_file(own, "r1 ssh-ed25519 " KEY_A "\n");
	assert_int_equal(symlink(shared, shared), 0);
	hosts = known_hosts_new(own, shared);
	assert_int_equal(known_hosts_add(hosts, "r1", 22, "ssh-ed25519", KEY_A), 0);
	assert_int_equal(known_hosts_add(hosts, "r2", 22, "ssh-ed25519", KEY_A), -ELOOP);
	text = read_file(own);
	assert_string_equal(text, "r1 ssh-ed25519 " KEY_A "\n");
	(void)unlink(shared);
	write_file(shared, "r2 ssh-ed25519 " KEY_B "\n");
	assert_int_equal(known_hosts_add(hosts, "r2", 22, "ssh-ed25519", KEY_A), -EEXIST);
	(void)unlink(shared);
	assert_int_equal(known_hosts_add(hosts, "r2", 22, "ssh-ed25519", KEY_A), 0);
	known_hosts_free(hosts);
}

/* A disk that is full takes a part of the line, which is no key of the host. */
static void test_adding_to_a_full_disk(void **state)
{
	static const char before[] = "r1 ssh-ed25519 " KEY_A "\n";
	struct known_hosts *hosts;
	struct rlimit usual, full;
	autofree char *text = NULL;

	(void)state;
	write_file(own, before);
	hosts = known_hosts_new(own, NULL);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
	full = usual;
	full.rlim_cur = sizeof(before) - 1 + strlen("r2 ssh-ed25519 AAAA");
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	assert_int_equal(known_hosts_add(hosts, "r2", 22, "ssh-ed25519", KEY_A), -ENOSPC);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
	text = read_file(own);
	assert_string_equal(text, before);
	assert_int_equal(known_hosts_add(hosts, "r2", 22, "ssh-ed25519", KEY_A), 0);
	assert_verdict(hosts, "r2", 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	known_hosts_free(hosts);
}

/* Fast enough to be asked for each of thousands of sessions. */
static void test_many_lines(void **state)
{
	enum { LINES = 5000 };
	FILE *file = fopen(own, "we");
	struct known_hosts *hosts;
	int64_t began_us;

	(void)state;
	assert_non_null(file);
	for (int i = 0; i < LINES; i++)
		(void)fprintf(file, "r%d,10.1.%d.%d ssh-ed25519 " KEY_A "\n", i, i / 256, i % 256);
	(void)fclose(file);
	began_us = now_monotonic_us();
	hosts = known_hosts_new(own, NULL);
	print_message("%d lines: read in %lld us\n", LINES,
		      (long long)(now_monotonic_us() - began_us));
	began_us = now_monotonic_us();
	for (int i = 0; i < LINES; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "r%d", i);
		assert_verdict(hosts, name, 22, KEY_A, KNOWN_HOST_MATCHES, 0);
	}
	print_message("%lld ns a look-up\n",
		      (long long)(now_monotonic_us() - began_us) * 1000 / LINES);
	assert_true(now_monotonic_us() - began_us < US_PER_SEC);
	known_hosts_free(hosts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_plain_names, begin),
		cmocka_unit_test_setup(test_patterns, begin),
		cmocka_unit_test_setup(test_markers, begin),
		cmocka_unit_test_setup(test_hashed_names, begin),
		cmocka_unit_test_setup(test_types, begin),
		cmocka_unit_test_setup(test_changed_files_are_read_again, begin),
		cmocka_unit_test_setup(test_adding, begin),
		cmocka_unit_test_setup(test_adding_to_an_unfinished_line, begin),
		cmocka_unit_test_setup(test_adding_waits_for_no_lock, begin),
		cmocka_unit_test_setup(test_nothing_is_added_beside_an_unread_file, begin),
		cmocka_unit_test_setup(test_adding_to_a_full_disk, begin),
		cmocka_unit_test_setup(test_many_lines, begin),
	};
	autofree char *remove_all = NULL;
	int failed;

	if (!mkdtemp(folder))
		return 99;
	own = xasprintf("%s/known_hosts", folder);
	shared = xasprintf("%s/shared", folder);
	remove_all = xasprintf("rm -rf %s", folder);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (system(remove_all) != 0)
		failed++;
	free(own);
	free(shared);
	return failed;
}
