/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames at any split of the stream, headers as UAPI.20 has them, bytes to JSON and back. */
#include "common/protocol.h"
#include "common/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void fill(struct frame_buffer *buffer, const char *bytes, size_t size)
{
	while (size > 0) {
		size_t room;
		char *at = frame_buffer_room(buffer, &room);
		size_t piece = size < room ? size : room;

		assert_true(room > 0);
		memcpy(at, bytes, piece);
		frame_buffer_filled(buffer, piece);
		bytes += piece;
		size -= piece;
	}
}

/* The number of messages taken; each is {"n": its place}. */
static int take_numbered(struct frame_buffer *buffer, int first)
{
	json_t *message;
	int n = first;

	while (frame_buffer_next(buffer, &message) == 1) {
		assert_int_equal(json_integer_value(json_object_get(message, "n")), n++);
		json_decref(message);
	}
	return n;
}

static void test_every_split(void **state)
{
	static const char stream[] =
		"{\"n\":0}\0 {\"n\": 1}\n\0{\"n\":2,\"text\":\"\\u0000\xc3\xa9\"}";

	(void)state;
	for (size_t split = 0; split <= sizeof(stream); split++) {
		struct frame_buffer buffer;
		int n;

		frame_buffer_init(&buffer, 100);
		fill(&buffer, stream, split);
		n = take_numbered(&buffer, 0);
		fill(&buffer, stream + split, sizeof(stream) - split);
		assert_int_equal(take_numbered(&buffer, n), 3);
		frame_buffer_done(&buffer);
	}
}

static void test_byte_by_byte(void **state)
{
	static const char stream[] = "{\"n\":0}\0{\"n\":1}\0{\"n\":2}";
	struct frame_buffer buffer;
	int n = 0;

	(void)state;
	frame_buffer_init(&buffer, 100);
	for (size_t i = 0; i < sizeof(stream); i++) {
		fill(&buffer, stream + i, 1);
		n = take_numbered(&buffer, n);
	}
	assert_int_equal(n, 3);
	frame_buffer_done(&buffer);
}

/* Messages of all sizes about those at which the buffer grows and moves what it holds. */
static void test_large_messages(void **state)
{
	struct frame_buffer buffer;

	(void)state;
	frame_buffer_init(&buffer, 1 << 20);
	for (size_t size = 1; size < 1 << 18; size = size * 3 / 2 + 1) {
		autofree char *text = xmalloc(size + 1);
		autofree char *frame = NULL;
		json_t *message;
		size_t frame_size;

		memset(text, 'x', size);
		text[size] = '\0';
		message = json_pack("{s:s}", "text", text);
		frame = message_encode(message, &frame_size);
		json_decref(message);
		fill(&buffer, "{}\0{\"a\":", 8);
		assert_int_equal(frame_buffer_next(&buffer, &message), 1);
		json_decref(message);
		fill(&buffer, "1}", 3);
		fill(&buffer, frame, frame_size);
		assert_int_equal(frame_buffer_next(&buffer, &message), 1);
		assert_int_equal(json_integer_value(json_object_get(message, "a")), 1);
		json_decref(message);
		assert_int_equal(frame_buffer_next(&buffer, &message), 1);
		assert_string_equal(json_string_value(json_object_get(message, "text")), text);
		json_decref(message);
		assert_int_equal(frame_buffer_next(&buffer, &message), 0);
	}
	/* Nothing is left in it: no large buffer either. */
	assert_true(buffer.capacity <= 1 << 16);
	frame_buffer_done(&buffer);
}

static void test_too_long(void **state)
{
	struct frame_buffer buffer;
	json_t *message;

	(void)state;
	frame_buffer_init(&buffer, 10);
	fill(&buffer, "{\"a\": 100}", 11); /* ten bytes and the NUL: as long as may be */
	assert_int_equal(frame_buffer_next(&buffer, &message), 1);
	json_decref(message);
	fill(&buffer, "{\"a\": 1000}", 12);
	assert_int_equal(frame_buffer_next(&buffer, &message), -EMSGSIZE);
	frame_buffer_done(&buffer);

	/* It is not waited for the end of what is too long already. */
	frame_buffer_init(&buffer, 10);
	fill(&buffer, "{\"a\": 100", 9);
	assert_int_equal(frame_buffer_next(&buffer, &message), 0);
	fill(&buffer, "00", 2);
	assert_int_equal(frame_buffer_next(&buffer, &message), -EMSGSIZE);
	frame_buffer_done(&buffer);
}

static void test_bad_frames(void **state)
{
	static const char *const frames[] = {
		"",
		"{",
		"[]",
		"1",
		"null",
		"\"x\"",
		"{}{}",
		"{\"a\":1,\"a\":2}",
		"{\"\\u0000\":1}",
		"{'a':1}",
		"{\"a\":\xff}",
		"{\"a\":\"\xff\"}",
		"{\"a\":\"\xed\xa0\x80\"}",
		"{\"a\":\"\n\"}",
		"{\"a\":01}",
		"{\"a\":NaN}",
		"\xef\xbb\xbf{}",
		"{\"a\":{\"b\":1,\"b\":1}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(frames); i++) {
		struct frame_buffer buffer;
		json_t *message = NULL;

		frame_buffer_init(&buffer, 100);
		fill(&buffer, frames[i], strlen(frames[i]) + 1);
		if (frame_buffer_next(&buffer, &message) != -EBADMSG)
			fail_msg("'%s' is taken for a message", frames[i]);
		assert_null(message);
		frame_buffer_done(&buffer);
	}
}

static void test_deep_nesting(void **state)
{
	enum { DEPTH = 100000 };
	autofree char *frame = xmalloc(DEPTH + 1);
	struct frame_buffer buffer;
	json_t *message;

	(void)state;
	memset(frame, '[', DEPTH);
	memcpy(frame, "{\"a\":", 5);
	frame[DEPTH] = '\0';
	frame_buffer_init(&buffer, 1 << 20);
	fill(&buffer, frame, DEPTH + 1);
	assert_int_equal(frame_buffer_next(&buffer, &message), -EBADMSG);
	frame_buffer_done(&buffer);
}

static json_t *parse(const char *text)
{
	json_t *message = json_loads(text, JSON_ALLOW_NUL, NULL);

	assert_non_null(message);
	return message;
}

static void test_call_headers(void **state)
{
	static const struct {
		const char *text;
		int result;
		bool has_parameters, is_oneway, is_more, is_upgrade;
	} rows[] = {
		{"{\"method\":\"a.B\"}", 0, false, false, false, false},
		{"{\"method\":\"a.B\",\"parameters\":null}", 0, false, false, false, false},
		{"{\"method\":\"a.B\",\"parameters\":{}}", 0, true, false, false, false},
		{"{\"method\":\"a.B\",\"oneway\":true}", 0, false, true, false, false},
		{"{\"method\":\"a.B\",\"more\":true,\"oneway\":false}", 0, false, false, true,
		 false},
		{"{\"method\":\"a.B\",\"upgrade\":true,\"more\":null}", 0, false, false, false,
		 true},
		{"{\"method\":\"a.B\",\"org.example\":{\"x\":1}}", 0, false, false, false, false},
		{"{}", -EBADMSG, false, false, false, false},
		{"{\"method\":null}", -EBADMSG, false, false, false, false},
		{"{\"method\":1}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\\u0000\"}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\",\"parameters\":[]}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\",\"parameters\":\"\"}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\",\"more\":1}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\",\"oneway\":\"true\"}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\",\"upgrade\":{}}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\",\"id\":1}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\",\"org.example\":1}", -EBADMSG, false, false, false, false},
		{"{\"method\":\"a.B\",\"more\":true,\"oneway\":true}", -EBADMSG, false, false,
		 false, false},
		{"{\"method\":\"a.B\",\"more\":true,\"upgrade\":true}", -EBADMSG, false, false,
		 false, false},
		{"{\"method\":\"a.B\",\"oneway\":true,\"upgrade\":true}", -EBADMSG, false, false,
		 false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *message = parse(rows[i].text);
		struct call_header header;

		if (call_parse(message, &header) != rows[i].result)
			fail_msg("%s", rows[i].text);
		if (rows[i].result == 0) {
			assert_string_equal(header.method, "a.B");
			assert_int_equal(header.parameters != NULL, rows[i].has_parameters);
			assert_int_equal(header.is_oneway, rows[i].is_oneway);
			assert_int_equal(header.is_more, rows[i].is_more);
			assert_int_equal(header.is_upgrade, rows[i].is_upgrade);
		}
		json_decref(message);
	}
}

static void test_reply_headers(void **state)
{
	static const char *const good[] = {
		"{}",
		"{\"parameters\":null,\"continues\":null,\"error\":null}",
		"{\"parameters\":{\"a\":1},\"continues\":true}",
		"{\"error\":\"a.B\"}",
		"{\"error\":\"a.B\",\"continues\":false}",
	};
	static const char *const bad[] = {
		"{\"error\":1}",        "{\"error\":\"a.B\",\"continues\":true}",
		"{\"continues\":1}",    "{\"parameters\":[]}",
		"{\"method\":\"a.B\"}",
	};
	struct reply_header header;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		json_t *message = parse(good[i]);

		if (reply_parse(message, &header) < 0)
			fail_msg("%s", good[i]);
		json_decref(message);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *message = parse(bad[i]);

		if (reply_parse(message, &header) != -EBADMSG)
			fail_msg("%s", bad[i]);
		json_decref(message);
	}
}

static void expect_text(json_t *message, const char *text)
{
	size_t size;
	autofree char *encoded = message_encode(message, &size);

	assert_string_equal(encoded, text);
	assert_int_equal(size, strlen(text) + 1);
	json_decref(message);
}

static void test_building(void **state)
{
	(void)state;
	expect_text(call_build("a.B", NULL, false), "{\"method\":\"a.B\"}");
	expect_text(call_build("a.B", json_pack("{s:i}", "c", 1), true),
		    "{\"method\":\"a.B\",\"more\":true,\"parameters\":{\"c\":1}}");
	expect_text(reply_build(NULL, false), "{}");
	expect_text(reply_build(json_object(), true), "{\"continues\":true}");
	expect_text(reply_build(json_pack("{s:i}", "c", 1), false), "{\"parameters\":{\"c\":1}}");
	expect_text(error_build("a.B", NULL), "{\"error\":\"a.B\"}");
	expect_text(error_build("a.B", json_pack("{s:i}", "c", 1)),
		    "{\"error\":\"a.B\",\"parameters\":{\"c\":1}}");
}

static void test_base64(void **state)
{
	/* RFC 4648, section 10 */
	static const struct {
		const char *bytes, *text;
	} rows[] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
		{"\xff\xef\xbe", "/+++"},
	};
	static const char *const bad[] = {
		"Zg", "Zg=", "Z===", "=Zg=", "Zg==Zg==", "Zm 9", "Zm9-", "Zg=a", "Zm9v\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *text = base64_encode(rows[i].bytes, strlen(rows[i].bytes));
		autofree char *bytes = NULL;
		size_t size;

		assert_string_equal(text, rows[i].text);
		assert_int_equal(base64_decode(text, &bytes, &size), 0);
		assert_int_equal(size, strlen(rows[i].bytes));
		assert_memory_equal(bytes, rows[i].bytes, size);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char *bytes;
		size_t size;

		if (base64_decode(bad[i], &bytes, &size) != -EINVAL)
			fail_msg("'%s' is taken for base64", bad[i]);
	}
}

static void test_bytes(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *member;
	} rows[] = {
		{NULL, 0, "text"},       {"show version\r\n\x1b[0m\xe2\x82\xac", 21, "text"},
		{"a\0b", 3, "data"},     {"\xff\xfe", 2, "data"},
		{"\xe2\x82", 2, "data"}, /* cut inside a character */
	};
	char *nothing;
	size_t none;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *object = json_object();
		autofree char *bytes = NULL;
		size_t size;

		bytes_to_json(object, rows[i].bytes, rows[i].size);
		assert_int_equal(json_object_size(object), 1);
		assert_non_null(json_object_get(object, rows[i].member));
		assert_int_equal(bytes_from_json(object, &bytes, &size), 0);
		assert_int_equal(size, rows[i].size);
		if (size > 0)
			assert_memory_equal(bytes, rows[i].bytes, size);
		json_decref(object);
	}
	for (size_t i = 0; i < 3; i++) {
		static const char *const bad[] = {"{}", "{\"text\":1}",
						  "{\"text\":\"a\",\"data\":\"Zg==\"}"};
		json_t *object = parse(bad[i]);

		assert_int_equal(bytes_from_json(object, &nothing, &none), -EINVAL);
		json_decref(object);
	}
}

/* Where the beginning of a message was moved, nothing of it stays. */
static void test_wiped(void **state)
{
	/* As much as is read before there is no more room. */
	enum { FIRST = 49001, BEGINNING = 300 };
	static const char secret[] = "{\"n\":1,\"password\":\"such a secret\"";
	char stream[FIRST + BEGINNING + 2];
	struct frame_buffer buffer;

	(void)state;
	memset(stream, ' ', sizeof(stream));
	memcpy(stream, "{\"n\":0}", 7);
	stream[FIRST - 1] = '\0';
	memcpy(stream + FIRST, secret, sizeof(secret) - 1);
	memcpy(stream + FIRST + BEGINNING, "}", 2);
	frame_buffer_init(&buffer, FIRST);
	buffer.is_wiped = true;
	fill(&buffer, stream, FIRST);
	fill(&buffer, stream + FIRST, BEGINNING);
	assert_int_equal(take_numbered(&buffer, 0), 1);
	fill(&buffer, stream + FIRST + BEGINNING, 2);
	assert_ptr_equal(memmem(buffer.bytes, BEGINNING, "secret", 6),
			 buffer.bytes + (strstr(secret, "secret") - secret));
	assert_int_equal(take_numbered(&buffer, 1), 2);
	assert_null(memmem(buffer.bytes, FIRST + BEGINNING, "secret", 6));
	frame_buffer_done(&buffer);
}

/* Nor of one whose end never came. */
static void test_wiped_at_end(void **state)
{
	static const char beginning[] = "{\"n\":0}\0{\"n\":1,\"password\":\"such a secret";
	struct frame_buffer buffer;
	autofree char *memory = NULL;
	size_t capacity;

	(void)state;
	frame_buffer_init(&buffer, 100);
	buffer.is_wiped = true;
	fill(&buffer, beginning, sizeof(beginning) - 1);
	assert_int_equal(take_numbered(&buffer, 0), 1);
	capacity = buffer.capacity;
	frame_buffer_done(&buffer);
	/* Where the same memory is given again (not by sanitizers) */
	memory = xmalloc(capacity);
	assert_null(memmem(memory, sizeof(beginning), "secret", 6));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_split),    cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_large_messages), cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_bad_frames),     cmocka_unit_test(test_deep_nesting),
		cmocka_unit_test(test_call_headers),   cmocka_unit_test(test_reply_headers),
		cmocka_unit_test(test_building),       cmocka_unit_test(test_base64),
		cmocka_unit_test(test_bytes),          cmocka_unit_test(test_wiped),
		cmocka_unit_test(test_wiped_at_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
