/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The newest lines of what a task writes, for a screen. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct line {
	char *text; /* without its end; no NUL follows */
	size_t size;
	bool is_error; /* of standard error */
};

struct lines;
struct lines *lines_new(void);
/* NULL is fine. */
void lines_free(struct lines *lines);
/* Bytes of standard output or error, in pieces; lines stay whole where the two are mixed. */
void lines_add(struct lines *lines, bool is_error, const char *bytes, size_t size);
/* What comes now begins a line, also where the last one has no end. */
void lines_end(struct lines *lines);
/* At most LINES_MAX: of more, the oldest are gone, whose number this is. */
enum { LINES_MAX = 10000 };
size_t lines_count(const struct lines *lines);
size_t lines_gone(const struct lines *lines);
/* The first line from one on, or back from there, in which a text stands; lines_count: none. */
size_t lines_find(const struct lines *lines, size_t from, bool is_back, const char *text);
/* Until the next record. */
const struct line *lines_at(const struct lines *lines, size_t number);
