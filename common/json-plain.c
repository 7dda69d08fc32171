/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jansson takes its bytes one by one through four functions, which costs a submission as much as
 * its rows in the database. What is plain needs none of that; whatever is not, or looks odd in any
 * way, is left to it, so that there is one judge of what JSON is (RFC 8259). test-json-plain and
 * fuzz-protocol hold one against the other.
 */
#include "common/json-plain.h"

#include "common/util.h"

enum { DEPTH_MAX = 16, DIGITS_MAX = 18 };

struct reading {
	const char *at, *end;
	unsigned depth;
};

static json_t *read_value(struct reading *reading);

static void skip_blanks(struct reading *reading)
{
	while (reading->at < reading->end && memchr(" \t\n\r", *reading->at, 4))
		reading->at++;
}

/* Is this the next byte, after blanks? It is taken then. */
static bool take(struct reading *reading, char byte)
{
	skip_blanks(reading);
	if (reading->at == reading->end || *reading->at != byte)
		return false;
	reading->at++;
	return true;
}

/* What stands between quotes, the first of which was taken; NULL: it is not plain. */
static const char *take_string(struct reading *reading, size_t *ret_size)
{
	const char *start = reading->at, *at = start;

	while (at < reading->end && (unsigned char)*at >= ' ' && (unsigned char)*at < 128 &&
	       *at != '"' && *at != '\\')
		at++;
	if (at == reading->end || *at != '"')
		return NULL;
	*ret_size = (size_t)(at - start);
	reading->at = at + 1;
	return start;
}

static json_t *never_null(json_t *value)
{
	if (!value)
		abort(); /* there is no memory */
	return value;
}

static json_t *read_string(struct reading *reading)
{
	size_t size;
	const char *text = take_string(reading, &size);

	return text ? never_null(json_stringn_nocheck(text, size)) : NULL;
}

static json_t *read_number(struct reading *reading)
{
	bool is_negative = *reading->at == '-';
	const char *first = reading->at + is_negative, *at = first;
	json_int_t number = 0;

	for (; at < reading->end && *at >= '0' && *at <= '9' && at - first < DIGITS_MAX; at++)
		number = number * 10 + (*at - '0');
	/* No digit, "-0", "01"; what goes on as a number is found to be no end of a value. */
	if (at == first || (*first == '0' && (is_negative || at - first > 1)))
		return NULL;
	reading->at = at;
	return never_null(json_integer(is_negative ? -number : number));
}

static json_t *read_word(struct reading *reading, const char *word, json_t *value)
{
	size_t size = strlen(word);

	if ((size_t)(reading->end - reading->at) < size || memcmp(reading->at, word, size) != 0)
		return NULL;
	reading->at += size;
	return value;
}

static bool read_members(struct reading *reading, json_t *object)
{
	if (take(reading, '}'))
		return true;
	do {
		size_t before = json_object_size(object), size;
		const char *name = take(reading, '"') ? take_string(reading, &size) : NULL;
		json_t *value = name && take(reading, ':') ? read_value(reading) : NULL;

		if (!value)
			return false;
		if (json_object_setn_new_nocheck(object, name, size, value) != 0)
			abort();
		if (json_object_size(object) == before)
			return false; /* a name for the second time */
	} while (take(reading, ','));
	return take(reading, '}');
}

static bool read_items(struct reading *reading, json_t *array)
{
	if (take(reading, ']'))
		return true;
	do {
		json_t *value = read_value(reading);

		if (!value)
			return false;
		if (json_array_append_new(array, value) != 0)
			abort();
	} while (take(reading, ','));
	return take(reading, ']');
}

/* An object or an array, whose bracket was taken. */
static json_t *read_inside(struct reading *reading, json_t *value,
			   bool (*fn)(struct reading *reading, json_t *value))
{
	bool is_plain = reading->depth < DEPTH_MAX;

	(void)never_null(value);
	reading->depth++;
	is_plain = is_plain && fn(reading, value);
	reading->depth--;
	if (is_plain)
		return value;
	json_decref(value);
	return NULL;
}

static json_t *read_value(struct reading *reading)
{
	if (take(reading, '"'))
		return read_string(reading);
	if (reading->at == reading->end)
		return NULL;
	switch (*reading->at) {
	case '{':
		reading->at++;
		return read_inside(reading, json_object(), read_members);
	case '[':
		reading->at++;
		return read_inside(reading, json_array(), read_items);
	case 't':
		return read_word(reading, "true", json_true());
	case 'f':
		return read_word(reading, "false", json_false());
	case 'n':
		return read_word(reading, "null", json_null());
	default:
		return read_number(reading);
	}
}

json_t *json_plain_load(const char *text, size_t size)
{
	struct reading reading = {.at = text, .end = text + size};
	json_t *object =
		take(&reading, '{') ? read_inside(&reading, json_object(), read_members) : NULL;

	skip_blanks(&reading);
	if (object && reading.at < reading.end) {
		json_decref(object);
		return NULL;
	}
	return object;
}
