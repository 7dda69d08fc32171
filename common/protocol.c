/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/protocol.h"

#include "common/util.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>

/* --- Frames --- */

enum { ROOM_MIN = 16384, CAPACITY_KEPT = 65536 };

void frame_buffer_init(struct frame_buffer *buffer, size_t message_max)
{
	*buffer = (struct frame_buffer){.message_max = message_max};
}

void frame_buffer_done(struct frame_buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct frame_buffer){0};
}

char *frame_buffer_room(struct frame_buffer *buffer, size_t *ret_room)
{
	if (buffer->start > 0 && buffer->capacity - buffer->end < ROOM_MIN) {
		memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->end - buffer->start);
		buffer->end -= buffer->start;
		buffer->scanned -= buffer->start;
		buffer->start = 0;
	}
	if (buffer->capacity - buffer->end < ROOM_MIN) {
		buffer->capacity = buffer->capacity * 2 > ROOM_MIN ? buffer->capacity * 2
								   : ROOM_MIN * 2;
		buffer->bytes = xrealloc(buffer->bytes, buffer->capacity);
	}
	*ret_room = buffer->capacity - buffer->end;
	return buffer->bytes + buffer->end;
}

void frame_buffer_filled(struct frame_buffer *buffer, size_t count)
{
	assert(count <= buffer->capacity - buffer->end);
	buffer->end += count;
}

/* A large message came and went: an idle connection keeps no large buffer. */
static void shrink(struct frame_buffer *buffer)
{
	if (buffer->start != buffer->end)
		return;
	buffer->start = buffer->end = buffer->scanned = 0;
	if (buffer->capacity > CAPACITY_KEPT) {
		free(buffer->bytes);
		buffer->bytes = NULL;
		buffer->capacity = 0;
	}
}

int frame_buffer_next(struct frame_buffer *buffer, json_t **ret_message)
{
	size_t unscanned = buffer->end - buffer->scanned;
	char *at = buffer->bytes + buffer->start;
	char *nul = unscanned > 0 ? memchr(buffer->bytes + buffer->scanned, '\0', unscanned) : NULL;
	size_t size;
	json_t *message;

	if (!nul) {
		buffer->scanned = buffer->end;
		return buffer->end - buffer->start > buffer->message_max ? -EMSGSIZE : 0;
	}
	size = (size_t) (nul - at);
	if (size > buffer->message_max)
		return -EMSGSIZE;
	message = json_loadb(at, size, JSON_REJECT_DUPLICATES, NULL);
	buffer->start = buffer->scanned = (size_t) (nul - buffer->bytes) + 1;
	shrink(buffer);
	if (!json_is_object(message)) {
		json_decref(message);
		return -EBADMSG;
	}
	*ret_message = message;
	return 1;
}

char *message_encode(const json_t *message, size_t *ret_size)
{
	char *text = json_dumps(message, JSON_COMPACT);

	if (!text)
		abort();
	*ret_size = strlen(text) + 1;
	return text;
}

/* --- Calls and replies --- */

int call_parse(const json_t *message, struct call_header *ret_header)
{
	static const char *const flags[] = {"oneway", "more", "upgrade"};
	struct call_header header = {0};
	bool *targets[] = {&header.is_oneway, &header.is_more, &header.is_upgrade};
	size_t known = 0;
	const json_t *method = json_object_get(message, "method");
	json_t *parameters = json_object_get(message, "parameters");

	if (!json_is_string(method))
		return -EBADMSG;
	header.method = json_string_value(method);
	known++;
	if (parameters) {
		if (!json_is_object(parameters) && !json_is_null(parameters))
			return -EBADMSG;
		known++;
		header.parameters = json_is_object(parameters) ? parameters : NULL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		const json_t *flag = json_object_get(message, flags[i]);

		if (!flag)
			continue;
		if (!json_is_boolean(flag))
			return -EBADMSG;
		*targets[i] = json_is_true(flag);
		known++;
	}
	if (header.is_oneway + header.is_more + header.is_upgrade > 1 ||
	    json_object_size(message) != known)
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

static void set(json_t *object, const char *member, json_t *value)
{
	if (json_object_set_new(object, member, value) != 0)
		abort();
}

static json_t *with_parameters(json_t *message, json_t *parameters)
{
	if (parameters)
		set(message, "parameters", parameters);
	return message;
}

json_t *call_build(const char *method, json_t *parameters, bool is_more)
{
	json_t *message = json_object();

	set(message, "method", json_string(method));
	if (is_more)
		set(message, "more", json_true());
	return with_parameters(message, parameters);
}

json_t *reply_build(json_t *parameters, bool continues)
{
	json_t *message = with_parameters(json_object(), parameters ? parameters : json_object());

	if (continues)
		set(message, "continues", json_true());
	return message;
}

json_t *error_build(const char *name, json_t *parameters)
{
	json_t *message = json_object();

	set(message, "error", json_string(name));
	return with_parameters(message, parameters ? parameters : json_object());
}

int reply_parse(const json_t *message, struct reply_header *ret_header)
{
	const json_t *error = json_object_get(message, "error");
	json_t *parameters = json_object_get(message, "parameters");
	const json_t *continues = json_object_get(message, "continues");

	if ((error && !json_is_string(error)) || (continues && !json_is_boolean(continues)) ||
	    (parameters && !json_is_object(parameters) && !json_is_null(parameters)) ||
	    (error && json_is_true(continues)))
		return -EBADMSG;
	ret_header->error = json_string_value(error);
	ret_header->parameters = json_is_object(parameters) ? parameters : NULL;
	ret_header->continues = json_is_true(continues);
	return 0;
}

/* --- Bytes --- */

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const char *bytes, size_t size)
{
	const unsigned char *from = (const unsigned char *) bytes;
	char *text = xmalloc((size + 2) / 3 * 4 + 1);
	char *to = text;

	for (size_t i = 0; i < size; i += 3) {
		unsigned left = (unsigned) (size - i < 3 ? size - i : 3);
		unsigned group = (unsigned) from[i] << 16;

		if (left > 1)
			group |= (unsigned) from[i + 1] << 8;
		if (left > 2)
			group |= from[i + 2];
		*to++ = base64_digits[group >> 18];
		*to++ = base64_digits[group >> 12 & 63];
		*to++ = left > 1 ? base64_digits[group >> 6 & 63] : '=';
		*to++ = left > 2 ? base64_digits[group & 63] : '=';
	}
	*to = '\0';
	return text;
}

int base64_decode(const char *text, char **ret_bytes, size_t *ret_size)
{
	size_t length = strlen(text);
	autofree char *bytes = xmalloc(length / 4 * 3 + 1);
	size_t size = 0;

	if (length % 4 != 0)
		return -EINVAL;
	for (size_t i = 0; i < length; i += 4) {
		unsigned group = 0, padding = 0;

		for (size_t j = 0; j < 4; j++) {
			char digit = text[i + j];
			const char *found = digit ? strchr(base64_digits, digit) : NULL;

			if (digit == '=' && i + 4 == length && j >= 2)
				padding++;
			else if (!found || padding > 0)
				return -EINVAL;
			group = group << 6 | (found ? (unsigned) (found - base64_digits) : 0);
		}
		bytes[size++] = (char) (group >> 16);
		if (padding < 2)
			bytes[size++] = (char) (group >> 8);
		if (padding < 1)
			bytes[size++] = (char) group;
	}
	bytes[size] = '\0';
	*ret_size = size;
	*ret_bytes = bytes;
	bytes = NULL;
	return 0;
}

void bytes_to_json(json_t *object, const char *bytes, size_t size)
{
	/* jansson checks the UTF-8; a NUL would be fine for it, but not for those who read C text. */
	json_t *text = memchr(bytes, '\0', size) ? NULL : json_stringn(bytes, size);

	if (text) {
		set(object, "text", text);
	} else {
		autofree char *encoded = base64_encode(bytes, size);

		set(object, "data", json_string(encoded));
	}
}

int bytes_from_json(const json_t *object, char **ret_bytes, size_t *ret_size)
{
	const json_t *text = json_object_get(object, "text");
	const json_t *data = json_object_get(object, "data");

	if (json_is_string(text) && !json_is_string(data)) {
		*ret_size = json_string_length(text);
		*ret_bytes = xmemdup(json_string_value(text), *ret_size + 1);
		return 0;
	}
	if (json_is_string(data) && !json_is_string(text))
		return base64_decode(json_string_value(data), ret_bytes, ret_size);
	return -EINVAL;
}
