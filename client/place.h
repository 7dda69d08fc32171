/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a list on the screen is. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Its first row on the screen, and the chosen one. */
struct place {
	size_t top, at;
};

/* Into a list of so many, with the chosen row on a screen of so many. */
void place_clamp(struct place *place, size_t count, size_t rows);
/* By a key, as less(1) has them; false where it is none of these. */
bool place_move(struct place *place, int key, size_t count, size_t rows);
/*
 * Where rows came or went the chosen one stays chosen; on the first row it is the first one.
 * before, rows: arrays of objects, whose member says which they are.
 */
void place_keep(struct place *place, const json_t *before, const json_t *rows, const char *member);
