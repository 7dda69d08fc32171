/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The resolver with the machine's own name service: only names that need no network. */
#include "daemon/resolver.h"

#include "common/util.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { BOUND_MS = 30000, QUESTION = 42 };

/* The next letters, however long they take (bounded); how many. */
static size_t take(struct mailbox *mailbox, struct letters *ret_letters)
{
	struct pollfd readable = {.fd = mailbox->fd, .events = POLLIN};
	struct letter *letter;
	size_t count = 0;

	assert_int_equal(poll(&readable, 1, BOUND_MS), 1);
	mailbox_take(mailbox, ret_letters);
	STAILQ_FOREACH (letter, ret_letters, link)
		count++;
	return count;
}

static void answer_free(struct resolver_answer *answer)
{
	free(answer->error);
	free(answer);
}

static struct resolver_answer *ask(struct resolver *resolver, const char *host, int family)
{
	struct task_key key = {.job = 7, .index = 3};
	struct letters letters;
	struct mailbox mailbox;

	assert_int_equal(mailbox_init(&mailbox), 0);
	resolver_ask(resolver, host, family, key, 99, QUESTION, &mailbox);
	assert_int_equal(take(&mailbox, &letters), 1);
	mailbox_done(&mailbox);
	return (struct resolver_answer *)STAILQ_FIRST(&letters);
}

static void test_answers(void **state)
{
	struct resolver *resolver;
	struct resolver_answer *answer;

	(void)state;
	assert_int_equal(resolver_new(2, &resolver), 0);
	answer = ask(resolver, "localhost", AF_INET);
	assert_null(answer->error);
	assert_int_equal(answer->type, QUESTION);
	assert_int_equal(answer->key.job, 7);
	assert_int_equal(answer->key.index, 3);
	assert_int_equal(answer->run, 99);
	assert_int_equal(answer->count, 1);
	assert_int_equal(answer->addresses[0].ss_family, AF_INET);
	assert_int_equal(((struct sockaddr_in *)&answer->addresses[0])->sin_port, 0);
	answer_free(answer);
	resolver_free(resolver);
}

/* What getaddrinfo says of it differs with the machine's network; the frame is ours. */
static void test_explains(void **state)
{
	static const char begin[] = "cannot resolve 'no-such-host.invalid': ";
	struct resolver *resolver;
	struct resolver_answer *answer;

	(void)state;
	assert_int_equal(resolver_new(1, &resolver), 0);
	answer = ask(resolver, "no-such-host.invalid", AF_UNSPEC);
	assert_non_null(answer->error);
	assert_int_equal(strncmp(answer->error, begin, strlen(begin)), 0);
	assert_non_null(strstr(answer->error, "; check the spelling and the DNS"));
	assert_int_equal(answer->count, 0);
	answer_free(answer);
	resolver_free(resolver);
}

/* Far more questions than threads, each answered once. */
static void test_many(void **state)
{
	enum { MANY = 500 };
	bool is_answered[MANY] = {false};
	struct resolver *resolver;
	struct mailbox mailbox;
	size_t answered = 0;

	(void)state;
	assert_int_equal(mailbox_init(&mailbox), 0);
	assert_int_equal(resolver_new(0, &resolver), 0);
	for (unsigned i = 0; i < MANY; i++)
		resolver_ask(resolver, i % 2 ? "127.0.0.1" : "localhost", AF_INET,
			     (struct task_key){.job = 1, .index = i}, i, QUESTION, &mailbox);
	while (answered < MANY) {
		struct letters letters;
		struct letter *letter;

		answered += take(&mailbox, &letters);
		while ((letter = STAILQ_FIRST(&letters))) {
			struct resolver_answer *answer = (struct resolver_answer *)letter;

			STAILQ_REMOVE_HEAD(&letters, link);
			assert_null(answer->error);
			assert_false(is_answered[answer->run]);
			is_answered[answer->run] = true;
			answer_free(answer);
		}
	}
	resolver_free(resolver);
	mailbox_done(&mailbox);
}

static void drain(struct mailbox *mailbox)
{
	struct letters letters;
	struct letter *letter;

	mailbox_take(mailbox, &letters);
	while ((letter = STAILQ_FIRST(&letters))) {
		STAILQ_REMOVE_HEAD(&letters, link);
		answer_free((struct resolver_answer *)letter);
	}
}

/* At the end, questions are answered or dropped; none comes twice, none is leaked. */
static void test_ends_in_the_middle(void **state)
{
	struct mailbox mailbox;
	struct resolver *resolver;

	(void)state;
	assert_int_equal(mailbox_init(&mailbox), 0);
	assert_int_equal(resolver_new(2, &resolver), 0);
	for (unsigned i = 0; i < 200; i++)
		resolver_ask(resolver, "localhost", AF_UNSPEC, (struct task_key){0}, i, QUESTION,
			     &mailbox);
	resolver_free(resolver);
	drain(&mailbox);
	mailbox_done(&mailbox);
}

/* Takes letters until that of this run; how many came before it. */
static size_t answers_before(struct mailbox *mailbox, uint64_t run)
{
	size_t before = 0;
	bool is_there = false;

	while (!is_there) {
		struct letters letters;
		struct letter *letter;

		(void)take(mailbox, &letters);
		while ((letter = STAILQ_FIRST(&letters))) {
			struct resolver_answer *answer = (struct resolver_answer *)letter;

			STAILQ_REMOVE_HEAD(&letters, link);
			is_there |= answer->run == run;
			before += !is_there;
			answer_free(answer);
		}
	}
	return before;
}

/* Behind this door the pool's thread waits with the question that it has taken. */
static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER;

int getaddrinfo(const char *restrict node, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
	static __typeof__(getaddrinfo) *real;

	(void)pthread_mutex_lock(&door);
	if (!real)
		real = (__typeof__(real))dlsym(RTLD_NEXT, "getaddrinfo");
	(void)pthread_mutex_unlock(&door);
	return real(node, service, hints, result);
}

enum { QUESTIONS = 3000 };

/* Thousands of names of one job, and then one of another's; how many are answered before that. */
static size_t behind_thousands(bool are_forgotten)
{
	struct mailbox mailbox;
	struct resolver *resolver;
	size_t before;

	assert_int_equal(mailbox_init(&mailbox), 0);
	assert_int_equal(resolver_new(1, &resolver), 0);
	(void)pthread_mutex_lock(&door);
	for (unsigned i = 0; i < QUESTIONS; i++)
		resolver_ask(resolver, "localhost", AF_INET, (struct task_key){.job = 1}, i,
			     QUESTION, &mailbox);
	resolver_ask(resolver, "localhost", AF_INET, (struct task_key){.job = 2}, QUESTIONS,
		     QUESTION, &mailbox);
	for (unsigned i = 0; are_forgotten && i < QUESTIONS; i++)
		resolver_forget(resolver, 1, i);
	resolver_forget(resolver, 3, 0); /* nobody's */
	(void)pthread_mutex_unlock(&door);
	before = answers_before(&mailbox, QUESTIONS);
	resolver_free(resolver);
	drain(&mailbox);
	mailbox_done(&mailbox);
	return before;
}

static void test_jobs_take_turns(void **state)
{
	(void)state;
	/* One that was taken already, and one whose turn came before */
	assert_in_range(behind_thousands(false), 0, 2);
}

static void test_forgotten_are_dropped(void **state)
{
	(void)state;
	assert_in_range(behind_thousands(true), 0, 1);
}

static unsigned count_threads(void)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[256];
	unsigned count = 0;

	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, "Threads:", 8) == 0)
			count = (unsigned)strtoul(line + 8, NULL, 10);
	(void)fclose(status);
	return count;
}

static void test_starts_threads_when_asked(void **state)
{
	unsigned before = count_threads();
	struct resolver *resolver;

	(void)state;
	assert_int_equal(resolver_new(4, &resolver), 0);
	assert_int_equal(count_threads(), before);
	for (unsigned i = 0; i < 10; i++)
		answer_free(ask(resolver, "localhost", AF_INET));
	/* One after the other: one thread, or two where the first was not yet back at the queue. */
	assert_in_range(count_threads(), before + 1, before + 4);
	resolver_free(resolver);
}

static void test_literal_addresses(void **state)
{
	static const struct {
		const char *text;
		int family;
		int result;
		const char *shown;
	} rows[] = {
		{"192.0.2.1", AF_UNSPEC, 1, "192.0.2.1"},
		{"192.0.2.1", AF_INET, 1, "192.0.2.1"},
		{"192.0.2.1", AF_INET6, -EAFNOSUPPORT, NULL},
		{"2001:DB8::0:1", AF_UNSPEC, 1, "2001:db8::1"},
		{"2001:db8::1", AF_INET, -EAFNOSUPPORT, NULL},
		{"::ffff:192.0.2.1", AF_INET6, 1, "::ffff:192.0.2.1"},
		{"fe80::1%lo", AF_UNSPEC, 1, "fe80::1%lo"},
		{"fe80::1%1", AF_UNSPEC, 1, "fe80::1%lo"},
		{"fe80::1%4000000000", AF_UNSPEC, 1, "fe80::1%4000000000"},
		{"fe80::1%no-such-one", AF_UNSPEC, 0, NULL},
		{"fe80::1%", AF_UNSPEC, 0, NULL},
		{"fe80::1%1x", AF_UNSPEC, 0, NULL},
		{"router7", AF_UNSPEC, 0, NULL},
		{"192.0.2", AF_UNSPEC, 0, NULL},
		{"192.0.2.1.5", AF_UNSPEC, 0, NULL},
		{"", AF_UNSPEC, 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct sockaddr_storage address;
		char buffer[ADDRESS_TEXT_MAX];

		assert_int_equal(address_parse(rows[i].text, rows[i].family, &address),
				 rows[i].result);
		if (rows[i].shown)
			assert_string_equal(address_text(&address, buffer), rows[i].shown);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_explains),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_ends_in_the_middle),
		cmocka_unit_test(test_jobs_take_turns),
		cmocka_unit_test(test_forgotten_are_dropped),
		cmocka_unit_test(test_starts_threads_when_asked),
		cmocka_unit_test(test_literal_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
