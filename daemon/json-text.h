/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON written straight as text, for what there is much of: a tree of values would be made only to
 * be printed once. What is not plain jansson writes. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: empty. */
struct json_text {
	char *bytes; /* not NUL-terminated */
	size_t size, capacity;
};
void json_text_done(struct json_text *text);
/* The whole with a NUL behind it, which *ret_size counts (ret_size may be NULL); the caller frees
 * it, and text is empty again. */
char *json_text_take(struct json_text *text, size_t *ret_size);

/* As it stands: brackets, or JSON that was made elsewhere. */
void json_text_add(struct json_text *text, const char *json);
/* A comma, unless this is the first in its object or array. */
void json_text_next(struct json_text *text);
void json_text_number(struct json_text *text, int64_t number);
/* What is not UTF-8 is replaced by a word that says so. */
void json_text_string(struct json_text *text, const char *string);

/* Members of an object, with the comma before them; json_text_name leaves the value to the caller.
 */
void json_text_name(struct json_text *text, const char *name);
void json_text_member_number(struct json_text *text, const char *name, int64_t number);
void json_text_member_bool(struct json_text *text, const char *name, bool is_true);
void json_text_member_string(struct json_text *text, const char *name, const char *string);
