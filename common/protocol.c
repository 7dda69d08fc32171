/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The buffer keeps what came in one piece of memory and remembers how far it looked for a NUL, so
 * that a message that trickles in is looked through once. Headers of calls and replies are taken
 * apart by the same few lines, from a table of the members that there may be.
 */
#include "common/protocol.h"

#include "common/json-plain.h"
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

static void wipe(struct frame_buffer *buffer, size_t start, size_t size)
{
	if (buffer->is_wiped && size > 0)
		explicit_bzero(buffer->bytes + start, size);
}

void frame_buffer_done(struct frame_buffer *buffer)
{
	wipe(buffer, buffer->start, buffer->end - buffer->start); /* what never became a message */
	free(buffer->bytes);
	*buffer = (struct frame_buffer){0};
}

/* Not by realloc(3), which leaves what was moved where it was. */
static void grow_wiped(struct frame_buffer *buffer)
{
	char *bytes = xmalloc(buffer->capacity);

	if (buffer->end > 0)
		memcpy(bytes, buffer->bytes, buffer->end);
	wipe(buffer, 0, buffer->end);
	free(buffer->bytes);
	buffer->bytes = bytes;
}

char *frame_buffer_room(struct frame_buffer *buffer, size_t *ret_room)
{
	if (buffer->start > 0 && buffer->capacity - buffer->end < ROOM_MIN) {
		memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->end - buffer->start);
		buffer->end -= buffer->start;
		wipe(buffer, buffer->end, buffer->start); /* what was moved */
		buffer->scanned -= buffer->start;
		buffer->start = 0;
	}
	if (buffer->capacity - buffer->end < ROOM_MIN) {
		buffer->capacity =
			buffer->capacity * 2 > ROOM_MIN ? buffer->capacity * 2 : ROOM_MIN * 2;
		if (buffer->is_wiped)
			grow_wiped(buffer);
		else
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
	const char *start, *nul;
	json_t *message;
	size_t size;

	if (buffer->start == buffer->end)
		return 0;
	start = buffer->bytes + buffer->start;
	nul = memchr(buffer->bytes + buffer->scanned, '\0', buffer->end - buffer->scanned);
	size = (size_t)(nul ? nul - start : buffer->bytes + buffer->end - start);
	if (size > buffer->message_max)
		return -EMSGSIZE;
	if (!nul) {
		buffer->scanned = buffer->end;
		return 0;
	}
	message = json_object_load(start, size);
	wipe(buffer, buffer->start, size);
	buffer->start += size + 1;
	buffer->scanned = buffer->start;
	shrink(buffer);
	if (!message)
		return -EBADMSG;
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

/* A member that a header may have; what it says goes where ret points. */
struct header_member {
	const char *name;
	enum { MEMBER_TEXT, MEMBER_FLAG, MEMBER_OBJECT } type;
	union {
		const char **text;
		bool *flag;
		json_t **object;
	} ret;
};

static bool take_member(const struct header_member *member, json_t *value)
{
	switch (member->type) {
	case MEMBER_TEXT:
		*member->ret.text = json_string_value(value);
		return json_is_string(value) &&
		       strlen(*member->ret.text) == json_string_length(value);
	case MEMBER_FLAG:
		*member->ret.flag = json_is_true(value);
		return json_is_boolean(value);
	case MEMBER_OBJECT:
		*member->ret.object = value;
		return json_is_object(value);
	}
	return false;
}

/* What a vendor added: an object, named as interfaces are. UAPI.20 has it ignored. */
static bool is_extension(const char *name, const json_t *value)
{
	return strchr(name, '.') && json_is_object(value);
}

/* null is as if the member were absent: all but a call's method are nullable. */
static int parse_header(const json_t *message, const struct header_member *members, size_t count)
{
	json_t *walkable = (json_t *)(uintptr_t)message; /* it stays as it is */
	const char *name;
	json_t *value;

	json_object_foreach (walkable, name, value) {
		size_t i = 0;

		while (i < count && !streq(members[i].name, name))
			i++;
		if (i == count ? !is_extension(name, value)
			       : !json_is_null(value) && !take_member(&members[i], value))
			return -EBADMSG;
	}
	return 0;
}

int call_parse(const json_t *message, struct call_header *ret_header)
{
	struct call_header header = {0};
	const struct header_member members[] = {
		{"method", MEMBER_TEXT, {.text = &header.method}},
		{"parameters", MEMBER_OBJECT, {.object = &header.parameters}},
		{"oneway", MEMBER_FLAG, {.flag = &header.is_oneway}},
		{"more", MEMBER_FLAG, {.flag = &header.is_more}},
		{"upgrade", MEMBER_FLAG, {.flag = &header.is_upgrade}},
	};

	if (parse_header(message, members, ARRAY_SIZE(members)) < 0 || !header.method ||
	    header.is_oneway + header.is_more + header.is_upgrade > 1)
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

int reply_parse(const json_t *message, struct reply_header *ret_header)
{
	struct reply_header header = {0};
	const struct header_member members[] = {
		{"error", MEMBER_TEXT, {.text = &header.error}},
		{"parameters", MEMBER_OBJECT, {.object = &header.parameters}},
		{"continues", MEMBER_FLAG, {.flag = &header.continues}},
	};

	if (parse_header(message, members, ARRAY_SIZE(members)) < 0 ||
	    (header.error && header.continues))
		return -EBADMSG;
	*ret_header = header;
	return 0;
}

static void set(json_t *object, const char *member, json_t *value)
{
	if (json_object_set_new(object, member, value) != 0)
		abort();
}

/* No parameters, no member. */
static json_t *with_parameters(json_t *message, json_t *parameters)
{
	if (json_object_size(parameters) > 0)
		set(message, "parameters", parameters);
	else
		json_decref(parameters);
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
	json_t *message = with_parameters(json_object(), parameters);

	if (continues)
		set(message, "continues", json_true());
	return message;
}

json_t *error_build(const char *name, json_t *parameters)
{
	json_t *message = json_object();

	set(message, "error", json_string(name));
	return with_parameters(message, parameters);
}

/* --- Bytes --- */

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const char *bytes, size_t size)
{
	const unsigned char *from = (const unsigned char *)bytes;
	char *text = xmalloc((size + 2) / 3 * 4 + 1);
	char *to = text;

	for (size_t i = 0; i < size; i += 3) {
		unsigned left = (unsigned)(size - i < 3 ? size - i : 3);
		unsigned group = (unsigned)from[i] << 16;

		if (left > 1)
			group |= (unsigned)from[i + 1] << 8;
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
			group = group << 6 | (found ? (unsigned)(found - base64_digits) : 0);
		}
		bytes[size++] = (char)(group >> 16);
		if (padding < 2)
			bytes[size++] = (char)(group >> 8);
		if (padding < 1)
			bytes[size++] = (char)group;
	}
	bytes[size] = '\0';
	*ret_size = size;
	*ret_bytes = bytes;
	bytes = NULL;
	return 0;
}

void bytes_to_json(json_t *object, const char *bytes, size_t size)
{
	bool has_nul = size > 0 && memchr(bytes, '\0', size);
	json_t *text = NULL;

	/* A NUL would be fine in JSON, but not for those who read it as a C string. */
	if (!has_nul)
		text = json_stringn(size > 0 ? bytes : "", size); /* NULL: no UTF-8 */
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

const char **json_strings(const json_t *array, size_t *ret_count)
{
	size_t count = json_array_size(array);
	const char **strings = xcalloc(count + 1, sizeof(*strings));

	for (size_t i = 0; i < count; i++) {
		strings[i] = json_string_value(json_array_get(array, i));
		assert(strings[i]);
	}
	*ret_count = count;
	return strings;
}
