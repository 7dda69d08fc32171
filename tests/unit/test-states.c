/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The closed lists in C and in the interface file are the same. */
#include "common/error.h"
#include "common/states.h"
#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static char *interface_file(void)
{
	const char *top = getenv("top_srcdir");
	autofree char *path = xasprintf("%s/common/org.jobd.varlink", top ? top : ".");
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t size = 0;

	assert_non_null(file);
	assert_true(getdelim(&text, &size, '\0', file) > 0);
	(void)fclose(file);
	return text;
}

/* "type NAME (a, b, c)" without blanks, against the words, of which the first may be empty. */
static void check_enum(const char *text, const char *name, const char *const *words)
{
	autofree char *start_text = xasprintf("\ntype %s (", name);
	const char *at = strstr(text, start_text);
	char found[512], expected[512] = "";
	size_t used = 0;

	assert_non_null(at);
	for (at += strlen(start_text); *at != ')'; at++)
		if (*at != ' ' && *at != '\n')
			found[used++] = *at;
	found[used] = '\0';
	for (; *words; words++)
		if (**words)
			(void)snprintf(expected + strlen(expected),
				       sizeof(expected) - strlen(expected), "%s%s",
				       *expected ? "," : "", *words);
	assert_string_equal(found, expected);
}

static void test_words(void **state)
{
	autofree char *text = interface_file();

	(void)state;
	check_enum(text, "JobState", job_state_words);
	check_enum(text, "TaskState", task_state_words);
	check_enum(text, "ErrorClass", error_class_words);
	check_enum(text, "Stream", stream_words);
	assert_int_equal(word_find(job_state_words, "paused"), JOB_PAUSED);
	assert_int_equal(word_find(job_state_words, "asleep"), -1);
}

static void test_errors(void **state)
{
	autofree char *text = interface_file();
	unsigned in_file = 0;

	(void)state;
	for (const char *at = text; (at = strstr(at, "\nerror ")); at++)
		in_file++;
	assert_int_equal(in_file, ERROR_COUNT - 1); /* one is of org.varlink.service */
	for (enum error_id id = 0; id < ERROR_INVALID_PARAMETER; id++) {
		const char *parameter = error_parameter(id);
		autofree char *line = xasprintf("\nerror %s (%s%s", error_name(id), parameter,
						*parameter ? ": " : "message");

		if (!strstr(text, line))
			fail_msg("%s", line);
		assert_int_equal(error_find(error_name(id)), (int)id);
	}
	assert_int_equal(error_find("Nothing"), -1);
}

static void test_error_value(void **state)
{
	struct error error = {0};

	(void)state;
	assert_int_equal(error_set(&error, ERROR_NO_SUCH_JOB, "7", "no job %d", 7), -ENOENT);
	assert_string_equal(error.sentence, "no job 7");
	assert_string_equal(error.subject, "7");
	error_done(&error);
	error_done(&error);
	assert_null(error.sentence);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_error_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
