/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which requests share their options with the one before. */
#include "daemon/request.h"

#include "common/util.h"
#include "daemon/config.h"
#include "daemon/jobs.h"
#include "daemon/kind.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct config config = {
	.ping_rate = 100000,
	.ping_parallel = 32768,
	.ssh_parallel = 4096,
	.max_output = 1 << 20,
	.max_targets = 1 << 20,
};

static struct recent_options recent;

/* The options of a request, of which the test gets a reference. */
static struct job_options *ask(const char *text, uid_t uid, bool is_trusted)
{
	json_t *parameters = json_loads(text, 0, NULL);
	struct job_request asked = {.uid = uid, .is_trusted = is_trusted, .parameters = parameters};
	struct job_options *options;
	struct request request;
	struct error error = {0};

	assert_non_null(parameters);
	if (request_parse(&asked, &config, &recent, &request, &error) < 0)
		fail_msg("%s: %s", text, error.sentence);
	options = job_options_ref(request.options);
	request_done(&request);
	json_decref(parameters);
	return options;
}

/* Is the second given the options of the first? */
static bool is_shared(struct job_options *first, struct job_options *second)
{
	bool is_same = first == second;

	job_options_unref(first);
	job_options_unref(second);
	return is_same;
}

#define PING(more) "{\"kind\": \"ping\", \"targets\": [\"127.0.0.1\"]" more "}"
#define SSH(word)                                            \
	"{\"kind\": \"ssh\", \"targets\": [\"127.0.0.1\"], " \
	"\"ssh\": {\"commands\": [\"true\"], \"password\": \"" word "\"}}"

static void test_same(void **state)
{
	(void)state;
	assert_true(is_shared(ask(PING(""), 1, true), ask(PING(""), 1, true)));
	assert_true(is_shared(ask("{\"targets\": [\"127.0.0.2\", \"127.0.0.3\"], \"kind\": "
				  "\"ping\", \"exclude\": [\"127.0.0.3\"], \"token\": \"t\"}",
				  1, true),
			      ask(PING(""), 1, true)));
	recent_options_forget(&recent);
}

static void test_different(void **state)
{
	(void)state;
	assert_false(is_shared(ask(PING(""), 1, true), ask(PING(""), 2, true)));
	assert_false(is_shared(ask(PING(""), 1, true), ask(PING(""), 1, false)));
	assert_false(is_shared(ask(PING(""), 1, true), ask(PING(", \"retries\": 1"), 1, true)));
	assert_false(is_shared(ask(PING(", \"ping\": {\"size\": 64}"), 1, true),
			       ask(PING(", \"ping\": {\"size\": 65}"), 1, true)));
	recent_options_forget(&recent);
}

/* A password is not in the text of the options: what it is may differ. */
static void test_secrets(void **state)
{
	(void)state;
	assert_false(is_shared(ask(SSH("one"), 1, true), ask(SSH("two"), 1, true)));
	assert_null(recent.options);
	recent_options_forget(&recent);
}

/* null is no password: nothing says that there was one, and a schedule may keep it. */
static void test_no_secret(void **state)
{
	json_t *parameters = json_loads("{\"kind\": \"ssh\", \"ssh\": {\"commands\": [\"true\"], "
					"\"password\": null}}",
					0, NULL);
	autofree char *text = request_options_text(parameters, kind_find("ssh"));

	(void)state;
	assert_non_null(parameters);
	assert_null(strstr(text, "hasPassword"));
	assert_false(request_has_secret(parameters, kind_find("ssh")));
	assert_false(request_has_secret(parameters, kind_find("ping")));
	json_decref(parameters);
}

/* With the turn, and where a request is refused, since then no commit may come. */
static void test_forgotten(void **state)
{
	struct job_options *options = ask(PING(""), 1, true);
	json_t *parameters = json_loads("{\"kind\": \"ping\", \"targets\": [\"-\"]}", 0, NULL);
	struct job_request asked = {.uid = 1, .is_trusted = true, .parameters = parameters};
	struct request request;
	struct error error = {0};

	(void)state;
	assert_non_null(recent.options);
	assert_true(request_parse(&asked, &config, &recent, &request, &error) < 0);
	assert_null(recent.options);
	error_done(&error);
	json_decref(parameters);
	job_options_unref(ask(PING(""), 1, true));
	recent_options_forget(&recent);
	assert_false(is_shared(options, ask(PING(""), 1, true)));
	recent_options_forget(&recent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),      cmocka_unit_test(test_different),
		cmocka_unit_test(test_secrets),   cmocka_unit_test(test_no_secret),
		cmocka_unit_test(test_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
