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

struct span {
	const char *text;
	size_t size;
	bool has_escapes, is_ascii;
};

/* What stands between quotes, the first of which was taken. */
static bool take_span(struct reading *reading, struct span *ret_span)
{
	const char *at = reading->at;
	unsigned char bits = 0;
	bool has_escapes = false;

	for (; at < reading->end && *at != '"'; at++) {
		if ((unsigned char)*at < ' ')
			return false;
		if (*at == '\\') {
			has_escapes = true;
			if (++at == reading->end)
				return false;
		}
		bits |= (unsigned char)*at;
	}
	if (at == reading->end)
		return false;
	*ret_span = (struct span){reading->at, (size_t)(at - reading->at), has_escapes, bits < 128};
	reading->at = at + 1;
	return true;
}

static json_t *never_null(json_t *value)
{
	if (!value)
		abort(); /* there is no memory */
	return value;
}

/* NULL: it is not UTF-8. */
static json_t *string_of(const char *text, size_t size, bool is_ascii)
{
	return is_ascii ? never_null(json_stringn_nocheck(text, size)) : json_stringn(text, size);
}

/* The caller wipes and frees; NULL: it has numbers of characters, or what is no escape. */
static char *without_escapes(const struct span *span, size_t *ret_size)
{
	static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	char *text = xmalloc(span->size);
	size_t used = 0;

	for (size_t i = 0; i < span->size; i++) {
		const char *escape = NULL;

		if (span->text[i] == '\\') {
			escape = memchr(escapes, span->text[++i], sizeof(escapes) - 1);
			if (!escape) {
				explicit_bzero(text, used);
				free(text);
				return NULL;
			}
		}
		text[used++] = escape ? meant[escape - escapes] : span->text[i];
	}
	*ret_size = used;
	return text;
}

static json_t *read_string(struct reading *reading)
{
	struct span span;
	json_t *string;
	size_t size;
	char *text;

	if (!take_span(reading, &span))
		return NULL;
	if (!span.has_escapes)
		return string_of(span.text, span.size, span.is_ascii);
	text = without_escapes(&span, &size);
	if (!text)
		return NULL;
	string = string_of(text, size, span.is_ascii);
	explicit_bzero(text, size);
	free(text);
	return string;
}

/* Names of members are plainer. */
static bool take_name(struct reading *reading, struct span *ret_name)
{
	return take(reading, '"') && take_span(reading, ret_name) && !ret_name->has_escapes &&
	       ret_name->is_ascii;
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
		size_t before = json_object_size(object);
		struct span name;
		json_t *value = take_name(reading, &name) && take(reading, ':')
					? read_value(reading)
					: NULL;

		if (!value)
			return false;
		if (json_object_setn_new_nocheck(object, name.text, name.size, value) != 0)
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

json_t *json_object_load(const char *text, size_t size)
{
	json_t *object = json_plain_load(text, size);

	if (!object)
		object = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	if (json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}
