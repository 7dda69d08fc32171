/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON objects <-> C structs by a table, so that each option stands once: name, type, bounds and
 * default. Used for the common options of Start and for each kind's own. Main thread.
 */
#pragma once

#include "common/error.h"
#include "common/hash.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_type {
	FIELD_INT,     /* int64_t; absent: fallback; a duration where the name ends in Usec */
	FIELD_TIME,    /* the same, microseconds since the epoch */
	FIELD_BOOL,    /* bool; absent: false */
	FIELD_STRING,  /* char * (owned); absent: NULL; max: bytes */
	FIELD_WORD,    /* int: place in words; absent: fallback */
	FIELD_STRINGS, /* struct string_array; max: bytes of each */
	FIELD_INTS,    /* struct int_array; min and max bound each */
	FIELD_OBJECTS, /* struct object_array; each by a table of its own */
	FIELD_MAP,     /* struct string_map; max: bytes of each */
};

struct string_array {
	char **items;
	size_t count;
};
struct int_array {
	int64_t *items;
	size_t count;
};

/* Of structs, one behind the other */
struct object_array {
	void *items;
	size_t count;
};

/* Texts by name: NULL, or what HASH_FIND_STR takes. */
struct string_map {
	struct string_entry *entries;
};
struct string_entry {
	char *name, *text;
	UT_hash_handle hh;
};
/* Of what has none of its own, otherwise. */
const char *string_map_find(const struct string_map *map, const char *name, const char *otherwise);

struct field {
	const char *name; /* in the interface: "replyTimeoutUsec" */
	enum field_type type;
	size_t offset;
	int64_t min, max, fallback;
	const void *of; /* FIELD_WORD: words, ended by NULL; FIELD_OBJECTS: a struct object_form */
};

struct object_form {
	const struct field *fields;
	size_t count;
	size_t size; /* of the struct that they fill */
};

/*
 * Fills the struct from the object (NULL: all defaults). Unknown members and wrong types are
 * ERROR_INVALID_PARAMETER with the member's name; values out of bounds ERROR_INVALID_OPTION with
 * the bounds in the sentence, durations and times in people's form. null is absent. On failure
 * nothing is left allocated.
 *
 * is_other: members that stand in the same object and are somebody else's; NULL: there are none.
 */
int fields_parse(const struct field *fields, size_t count, const json_t *object,
		 bool (*is_other)(const char *name), void *ret_struct, struct error *ret_error);
/* Frees what fields_parse allocated inside the struct. */
void fields_done(const struct field *fields, size_t count, void *structure);
