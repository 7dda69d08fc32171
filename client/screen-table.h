/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A list on the screen. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A column: as wide as what is seen of it, up to a width; the last has the rest. */
struct screen_field {
	const char *title;
	size_t width_max;
	bool is_number;
};

enum { SCREEN_FIELDS_MAX = 8 };

struct screen_table {
	const struct screen_field *fields;
	size_t field_count, state; /* which of them is a state */
	size_t count;
	char *(*texts)[SCREEN_FIELDS_MAX]; /* of each row */
};

/* From a row of the screen on: the titles, and each row; chosen: one of them. */
void screen_table_draw(size_t first, const struct screen_table *table, size_t chosen);
/* Frees the texts. */
void screen_table_done(struct screen_table *table);
