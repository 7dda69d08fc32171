/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A quick way through most of the JSON that passes between the programs. Any thread. */
#pragma once

#include <jansson.h>
#include <stddef.h>

/*
 * Exactly what json_loadb(3) makes of the same bytes, if they are an object and plain: without
 * \u escapes, with names of members in ASCII, whole numbers of at most 18 digits, nested no deeper
 * than a few levels, no name twice. NULL: they are not, or are no JSON at all; json_loadb knows.
 * The caller's reference.
 */
json_t *json_plain_load(const char *text, size_t size);

/*
 * The object that the bytes are, by the quick way or by json_loadb; NULL: they are none, or a name
 * stands twice. A string may hold \u0000: it is JSON, and whether it may stand there is the
 * interface's matter. The caller's reference.
 */
json_t *json_object_load(const char *text, size_t size);
