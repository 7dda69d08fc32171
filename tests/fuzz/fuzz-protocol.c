/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * For libFuzzer: any bytes as a stream of frames. The first byte says where the stream is split;
 * the messages must be the same as in one piece, and what is taken for a message must come through
 * encoding whole.
 */
#include "common/json-plain.h"
#include "common/protocol.h"
#include "common/util.h"

#include <assert.h>
#include <stdint.h>

enum { MESSAGE_MAX = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill(struct frame_buffer *buffer, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		size_t room;
		char *at = frame_buffer_room(buffer, &room);
		size_t piece = size < room ? size : room;

		memcpy(at, bytes, piece);
		frame_buffer_filled(buffer, piece);
		bytes += piece;
		size -= piece;
	}
}

static void check_header(const json_t *message)
{
	struct reply_header reply;
	struct call_header call;

	if (call_parse(message, &call) == 0)
		assert(call.method && call.is_oneway + call.is_more + call.is_upgrade <= 1);
	if (reply_parse(message, &reply) == 0)
		assert(!reply.error || !reply.continues);
}

static void check_round_trip(const json_t *message)
{
	struct frame_buffer buffer;
	size_t size;
	autofree char *text = message_encode(message, &size);
	json_t *copy;

	frame_buffer_init(&buffer, size);
	fill(&buffer, (const uint8_t *)text, size);
	assert(frame_buffer_next(&buffer, &copy) == 1);
	assert(json_equal(message, copy));
	json_decref(copy);
	frame_buffer_done(&buffer);
}

/* Adds the messages up to the first bad one. */
static void take_all(struct frame_buffer *buffer, json_t *messages, int *ret_end)
{
	json_t *message;

	while ((*ret_end = frame_buffer_next(buffer, &message)) == 1)
		(void)json_array_append_new(messages, message);
}

static void check_frames(const uint8_t *data, size_t size, size_t split)
{
	struct frame_buffer whole, pieces;
	json_t *expected = json_array(), *messages = json_array();
	int expected_end, end;

	frame_buffer_init(&whole, MESSAGE_MAX);
	fill(&whole, data, size);
	take_all(&whole, expected, &expected_end);

	frame_buffer_init(&pieces, MESSAGE_MAX);
	fill(&pieces, data, split);
	take_all(&pieces, messages, &end);
	if (end == 0) {
		fill(&pieces, data + split, size - split);
		take_all(&pieces, messages, &end);
	}
	assert(end == expected_end && json_equal(messages, expected));
	for (size_t i = 0; i < json_array_size(expected); i++) {
		check_header(json_array_get(expected, i));
		check_round_trip(json_array_get(expected, i));
	}
	json_decref(expected);
	json_decref(messages);
	frame_buffer_done(&whole);
	frame_buffer_done(&pieces);
}

/* The quick way to a message leads where jansson's does. */
static void check_plain(const char *text, size_t size)
{
	json_t *taken = json_plain_load(text, size);
	json_t *known;

	if (!taken)
		return;
	known = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	assert(known && json_equal(taken, known));
	json_decref(taken);
	json_decref(known);
}

/* Output bytes come through JSON as they are; text that is base64 comes out as it was. */
static void check_bytes(const uint8_t *data, size_t size)
{
	json_t *object = json_object();
	autofree char *text = xmalloc(size + 1);
	autofree char *bytes = NULL;
	autofree char *decoded = NULL;
	size_t count;

	bytes_to_json(object, (const char *)data, size);
	assert(bytes_from_json(object, &bytes, &count) == 0);
	assert(count == size && memcmp(bytes, data, size) == 0);
	json_decref(object);

	memcpy(text, data, size);
	text[size] = '\0';
	if (base64_decode(text, &decoded, &count) == 0)
		assert(count <= strlen(text) / 4 * 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	check_frames(data + 1, size - 1, size > 1 ? data[0] % size : 0);
	check_plain((const char *)data, size);
	check_bytes(data, size);
	return 0;
}
