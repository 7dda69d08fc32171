/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/json-text.h"

#include "common/util.h"

#include <jansson.h>

enum { CAPACITY_MIN = 64 };

void json_text_done(struct json_text *text)
{
	free(text->bytes);
	*text = (struct json_text){0};
}

/* Room for so many bytes more; the caller fills them. */
static char *grow(struct json_text *text, size_t size)
{
	char *at;

	if (text->capacity - text->size < size) {
		text->capacity = 2 * text->capacity + CAPACITY_MIN + size;
		text->bytes = xrealloc(text->bytes, text->capacity);
	}
	at = text->bytes + text->size;
	text->size += size;
	return at;
}

static void add(struct json_text *text, const char *bytes, size_t size)
{
	memcpy(grow(text, size), bytes, size);
}

char *json_text_take(struct json_text *text, size_t *ret_size)
{
	char *bytes;

	add(text, "", 1);
	bytes = text->bytes;
	if (ret_size)
		*ret_size = text->size;
	*text = (struct json_text){0};
	return bytes;
}

void json_text_add(struct json_text *text, const char *json)
{
	add(text, json, strlen(json));
}

void json_text_next(struct json_text *text)
{
	char last = text->size > 0 ? text->bytes[text->size - 1] : '{';

	if (last != '{' && last != '[')
		*grow(text, 1) = ',';
}

void json_text_number(struct json_text *text, int64_t number)
{
	char digits[20]; /* of 2^63 there are 19 */
	char *first = digits + sizeof(digits);
	uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;

	do
		*--first = (char)('0' + rest % 10);
	while ((rest /= 10) > 0);
	if (number < 0)
		*--first = '-';
	add(text, first, (size_t)(digits + sizeof(digits) - first));
}

/* It may stand between quotes as it is. */
static size_t plain_length(const char *string)
{
	size_t length = 0;

	while (string[length] >= ' ' && string[length] <= '~' && string[length] != '"' &&
	       string[length] != '\\')
		length++;
	return length;
}

void json_text_string(struct json_text *text, const char *string)
{
	size_t length = plain_length(string);
	char *quoted;

	if (string[length] == '\0') {
		quoted = grow(text, length + 2);
		quoted[0] = quoted[length + 1] = '"';
		memcpy(quoted + 1, string, length);
	} else {
		json_t *value = json_string(string);
		autofree char *encoded =
			json_dumps(value ? value : json_null(), JSON_COMPACT | JSON_ENCODE_ANY);

		json_text_add(text, value ? encoded : "\"(not UTF-8)\"");
		json_decref(value);
	}
}

void json_text_name(struct json_text *text, const char *name)
{
	json_text_next(text);
	json_text_string(text, name);
	*grow(text, 1) = ':';
}

void json_text_member_number(struct json_text *text, const char *name, int64_t number)
{
	json_text_name(text, name);
	json_text_number(text, number);
}

void json_text_member_bool(struct json_text *text, const char *name, bool is_true)
{
	json_text_name(text, name);
	json_text_add(text, is_true ? "true" : "false");
}

void json_text_member_string(struct json_text *text, const char *name, const char *string)
{
	json_text_name(text, name);
	json_text_string(text, string);
}
