/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What json_plain_load takes is what jansson makes of it; the rest it leaves alone. */
#include "common/json-plain.h"
#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *const plain[] = {
	"{}",
	" \t\r\n{ } \n",
	"{\"method\":\"org.jobd.Start\",\"parameters\":{\"targets\":[\"127.0.0.1\"]}}",
	"{\"\":\"\",\"a\":[],\"b\":[{}],\"c\":{\"d\":[[1],[2,3]]}}",
	"{ \"a\" : [ true , false , null ] , \"b\" : -1 }",
	"{\"a\":0,\"b\":-9,\"c\":123456789012345678,\"d\":-123456789012345678}",
	"{\"a\":\" !#$%&'()*+,-./:;<=>?@[]^_`{|}~\x7f\"}",
	"{\"a\":[[[[[[[[[[[[[[1]]]]]]]]]]]]]]}",
	"{\"a\":\"r1\\r\\n\\ttwo\\n\",\"b\":\"\\\"\\\\\\/\\b\\f\",\"c\":\"\\\\n\"}",
	"{\"a\":\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\",\"b\":\"\\n\xc3\xa9\\n\"}",
};

/* JSON, but not plain. */
static const char *const other[] = {
	"{\"a\\u0041\":1}",
	"{\"a\":\"\\u0000\"}",
	"{\"a\":\"\\n\\u0041\"}",
	"{\"a\\n\":1}",
	"{\"\xc3\xa9\":1}",
	"{\"a\":1.5}",
	"{\"a\":1e3}",
	"{\"a\":-0}",
	"{\"a\":1234567890123456789}",
	"{\"a\":[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}",
};

/* No JSON, or no object. */
static const char *const wrong[] = {
	"",
	" ",
	"1",
	"[]",
	"\"a\"",
	"null",
	"{",
	"{\"a\"",
	"{\"a\":",
	"{\"a\":1",
	"{\"a\":1,",
	"{\"a\":1,}",
	"{\"a\":[1,]}",
	"{\"a\":[1}",
	"{\"a\":[,1]}",
	"{,\"a\":1}",
	"{a:1}",
	"{'a':1}",
	"{\"a\" 1}",
	"{\"a\":1 \"b\":2}",
	"{\"a\":1}{\"a\":1}",
	"{\"a\":1}x",
	"{\"a\":1,\"a\":1}",
	"{\"a\":{\"b\":1,\"b\":2}}",
	"{\"a\":01}",
	"{\"a\":-}",
	"{\"a\":+1}",
	"{\"a\":--1}",
	"{\"a\":1x}",
	"{\"a\":tru}",
	"{\"a\":truee}",
	"{\"a\":nul",
	"{\"a\":\"b}",
	"{\"a\":\"\x01\"}",
	"{\"a\":\"\n\"}",
	"{\"a\":\"\xff\"}",
	"{\"a\":\"\\n\xff\"}",
	"{\"a\":\"\xc0\x80\"}",
	"{\"a\":\"\xed\xa0\x80\"}",
	"{\"a\":\"\xe2\x82\"}",
	"{\"a\":\"\\x\"}",
	"{\"a\":\"\\\xc3\xa9\"}",
	"{\"a\":\"\\",
	"{\"a\":\"\\\"}",
	"{\"a\":1}\v",
};

/* Ends where it ends, so that the sanitizers see a byte read behind it; NULL: neither takes it. */
static bool agrees(const char *text, size_t size, bool *ret_is_plain)
{
	autofree char *copy = xmemdup(text, size);
	json_t *taken = json_plain_load(copy, size);
	json_t *known = json_loadb(copy, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	autofree char *ours = taken ? json_dumps(taken, 0) : NULL; /* in their order */
	autofree char *theirs = known ? json_dumps(known, 0) : NULL;

	*ret_is_plain = taken != NULL;
	json_decref(taken);
	json_decref(known);
	return !ours || (theirs && streq(ours, theirs));
}

static void expect(const char *const *texts, size_t count, bool is_plain)
{
	for (size_t i = 0; i < count; i++) {
		bool was_plain;

		if (!agrees(texts[i], strlen(texts[i]), &was_plain) || was_plain != is_plain)
			fail_msg("%s", texts[i]);
	}
}

static void test_known(void **state)
{
	(void)state;
	expect(plain, ARRAY_SIZE(plain), true);
	expect(other, ARRAY_SIZE(other), false);
	expect(wrong, ARRAY_SIZE(wrong), false);
}

/* One byte is another, or gone, or there twice; twice over. */
static size_t spoil(char *text, size_t size)
{
	static const char bytes[] = "{}[]\",:\\ -+.eE0123456789truefalsn\t\x01\x7f\xc3\xa9";
	size_t at = (size_t)rand() % size;

	switch (rand() % 3) {
	case 0:
		text[at] = bytes[(size_t)rand() % sizeof(bytes)]; /* the NUL as well */
		return size;
	case 1:
		memmove(text + at, text + at + 1, size - at - 1);
		return size > 1 ? size - 1 : size;
	default:
		memmove(text + at + 1, text + at, size - at);
		return size + 1;
	}
}

static void test_spoilt(void **state)
{
	enum { TIMES = 20000, ROOM = 256 };
	size_t taken = 0;

	(void)state;
	srand(1);
	for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
		for (size_t round = 0; round < TIMES; round++) {
			char text[ROOM];
			size_t size = strlen(plain[i]);
			bool is_plain;

			memcpy(text, plain[i], size);
			for (int times = 1 + rand() % 2; times > 0; times--)
				size = spoil(text, size);
			if (!agrees(text, size, &is_plain))
				fail_msg("%.*s", (int)size, text);
			taken += is_plain;
		}
	/* It was about something. */
	assert_in_range(taken, TIMES / 2, ARRAY_SIZE(plain) * TIMES - TIMES / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_spoilt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
