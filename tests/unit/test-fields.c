/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/fields.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct sample {
	int64_t number;
	bool flag;
	char *text;
	int word;
	struct string_array texts;
	struct int_array numbers;
	int64_t span_us, at_us;
	struct string_map named;
};

static const char *const words[] = {"low", "high", NULL};
static const struct field fields[] = {
	{"number", FIELD_INT, offsetof(struct sample, number), 1, 10, 5, NULL},
	{"flag", FIELD_BOOL, offsetof(struct sample, flag), 0, 0, 0, NULL},
	{"text", FIELD_STRING, offsetof(struct sample, text), 0, 4, 0, NULL},
	{"word", FIELD_WORD, offsetof(struct sample, word), 0, 0, 1, words},
	{"texts", FIELD_STRINGS, offsetof(struct sample, texts), 0, 4, 0, NULL},
	{"numbers", FIELD_INTS, offsetof(struct sample, numbers), 0, 255, 0, NULL},
	{"spanUsec", FIELD_INT, offsetof(struct sample, span_us), 1000000, 316224000000000, 0,
	 NULL},
	{"atUsec", FIELD_TIME, offsetof(struct sample, at_us), 1, 7273152000000000, 0, NULL},
	{"named", FIELD_MAP, offsetof(struct sample, named), 0, 4, 0, NULL},
};

static int parse(const char *text, struct sample *ret_sample, struct error *ret_error)
{
	json_t *object = text ? json_loads(text, 0, NULL) : NULL;
	int r = fields_parse(fields, ARRAY_SIZE(fields), object, NULL, ret_sample, ret_error);

	json_decref(object);
	return r;
}

static void test_values(void **state)
{
	struct sample sample = {0};
	const struct string_entry *entry;
	struct error error;

	(void)state;
	assert_int_equal(parse("{\"number\": 7, \"flag\": true, \"text\": \"abcd\", \"word\": "
			       "\"low\", \"texts\": [\"a\", \"b\"], \"numbers\": [0, 255], "
			       "\"named\": {\"r1\": \"a\", \"r2\": \"bcde\"}}",
			       &sample, &error),
			 0);
	assert_int_equal(sample.number, 7);
	assert_true(sample.flag);
	assert_string_equal(sample.text, "abcd");
	assert_int_equal(sample.word, 0);
	assert_int_equal(sample.texts.count, 2);
	assert_string_equal(sample.texts.items[1], "b");
	assert_int_equal(sample.numbers.items[1], 255);
	HASH_FIND_STR(sample.named.entries, "r2", entry);
	assert_string_equal(entry ? entry->text : "none", "bcde");
	HASH_FIND_STR(sample.named.entries, "r3", entry);
	assert_null(entry);
	fields_done(fields, ARRAY_SIZE(fields), &sample);
	assert_null(sample.text);
	assert_null(sample.named.entries);
}

static void test_fallbacks(void **state)
{
	static const char *const texts[] = {NULL, "{}", "{\"number\": null, \"text\": null}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct sample sample = {0};
		struct error error;

		assert_int_equal(parse(texts[i], &sample, &error), 0);
		assert_int_equal(sample.number, 5);
		assert_int_equal(sample.word, 1);
		assert_false(sample.flag);
		assert_null(sample.text);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		enum error_id id;
		const char *subject, *part;
	} rows[] = {
		{"{\"number\": 0}", ERROR_INVALID_OPTION, "number", "1 to 10"},
		{"{\"number\": 11}", ERROR_INVALID_OPTION, "number", "1 to 10"},
		{"{\"spanUsec\": 500000}", ERROR_INVALID_OPTION, "spanUsec",
		 "spanUsec is out of bounds: 1.0 s to 3660 d are allowed"},
		{"{\"atUsec\": 7273152000000001}", ERROR_INVALID_OPTION, "atUsec",
		 "00.000001+00:00 to 2200-06-"},
		{"{\"number\": \"7\"}", ERROR_INVALID_PARAMETER, "number", "wrong type"},
		{"{\"flag\": 1}", ERROR_INVALID_PARAMETER, "flag", "wrong type"},
		{"{\"text\": \"abcde\"}", ERROR_INVALID_OPTION, "text", "longer than 4"},
		{"{\"word\": \"middle\"}", ERROR_INVALID_OPTION, "word", "'middle'"},
		{"{\"texts\": [\"a\", 1]}", ERROR_INVALID_PARAMETER, "texts", "wrong type"},
		{"{\"texts\": \"a\"}", ERROR_INVALID_PARAMETER, "texts", "wrong type"},
		{"{\"numbers\": [1, 256]}", ERROR_INVALID_OPTION, "numbers", "0 to 255"},
		{"{\"named\": [\"a\"]}", ERROR_INVALID_PARAMETER, "named", "wrong type"},
		{"{\"named\": {\"r1\": \"a\", \"r2\": 1}}", ERROR_INVALID_PARAMETER, "named",
		 "wrong type"},
		{"{\"named\": {\"r1\": \"abcde\"}}", ERROR_INVALID_OPTION, "named",
		 "longer than 4"},
		{"{\"nmber\": 1}", ERROR_INVALID_PARAMETER, "nmber", "no parameter"},
		/* What was filled before the mistake is freed: the leak sanitizer would tell */
		{"{\"text\": \"abcd\", \"texts\": [\"a\"], \"numbers\": [1, -1]}",
		 ERROR_INVALID_OPTION, "numbers", "0 to 255"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct sample sample = {0};
		struct error error = {0};

		assert_true(parse(rows[i].text, &sample, &error) < 0);
		assert_int_equal(error.id, rows[i].id);
		assert_string_equal(error.subject, rows[i].subject);
		assert_non_null(strstr(error.sentence, rows[i].part));
		assert_null(sample.text);
		error_done(&error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_fallbacks),
		cmocka_unit_test(test_refused),
	};

	assert_int_equal(setenv("TZ", "UTC", 1), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
