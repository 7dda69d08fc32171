/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/place.h"

#include "client/client.h"
#include "client/screen.h"

void place_clamp(struct place *place, size_t count, size_t rows)
{
	if (place->at >= count)
		place->at = count > 0 ? count - 1 : 0;
	if (place->top > place->at)
		place->top = place->at;
	if (place->at >= place->top + rows)
		place->top = place->at - rows + 1;
	/* The screen may have become larger. */
	if (place->top + rows > count)
		place->top = count > rows ? count - rows : 0;
}

bool place_move(struct place *place, int key, size_t count, size_t rows)
{
	size_t before = place->at;

	switch (key) {
	case SCREEN_UP:
	case 'k':
		place->at -= before > 0;
		break;
	case SCREEN_DOWN:
	case 'j':
		place->at++;
		break;
	case SCREEN_PAGE_UP:
	case 'b':
		place->at -= before < rows ? before : rows;
		break;
	case SCREEN_PAGE_DOWN:
	case ' ':
		place->at += rows;
		break;
	case SCREEN_HOME:
	case 'g':
		place->at = 0;
		break;
	case SCREEN_END:
	case 'G':
		place->at = count;
		break;
	default:
		return false;
	}
	place_clamp(place, count, rows);
	return true;
}

void place_keep(struct place *place, const json_t *before, const json_t *rows, const char *member)
{
	const json_t *chosen = json_array_get(before, place->at);

	if (!chosen || place->at == 0)
		return;
	for (size_t i = 0; i < json_array_size(rows); i++) {
		if (number_of(json_array_get(rows, i), member) != number_of(chosen, member))
			continue;
		/* What is seen stays where it is, except that the top is the top. */
		if (place->top > 0)
			place->top = i > place->at - place->top ? i - (place->at - place->top) : 0;
		place->at = i;
		return;
	}
}
