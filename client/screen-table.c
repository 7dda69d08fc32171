/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/screen-table.h"

#include "client/screen.h"
#include "common/util.h"

static enum look look_of_state(const char *state)
{
	if (streq(state, "failed") || streq(state, "interrupted"))
		return LOOK_RED;
	return streq(state, "completed") || streq(state, "succeeded") ? LOOK_GREEN : LOOK_PLAIN;
}

void screen_table_done(struct screen_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		for (size_t j = 0; j < table->field_count; j++)
			free(table->texts[i][j]);
	free(table->texts);
}

static size_t width_of(const struct screen_table *table, size_t field)
{
	size_t width = strlen(table->fields[field].title);

	if (field + 1 == table->field_count)
		return screen_columns();
	for (size_t i = 0; i < table->count; i++) {
		size_t wide = screen_width(table->texts[i][field]);

		if (wide > width)
			width = wide;
	}
	return width < table->fields[field].width_max ? width : table->fields[field].width_max;
}

static void draw_field(size_t row, size_t column, size_t width, bool is_number, enum look look,
		       const char *text)
{
	size_t size = strlen(text);
	size_t indent = is_number && size < width ? width - size : 0;

	screen_text(row, column + indent, width - indent, look, text, size, 0);
}

void screen_table_draw(size_t first, const struct screen_table *table, size_t chosen)
{
	size_t column = 0;

	if (chosen < table->count)
		screen_fill(first + 1 + chosen, LOOK_CHOSEN);
	for (size_t i = 0; i < table->field_count; i++) {
		const struct screen_field *field = &table->fields[i];
		size_t width = width_of(table, i);

		draw_field(first, column, width, field->is_number, LOOK_BOLD, field->title);
		for (size_t j = 0; j < table->count; j++) {
			const char *text = table->texts[j][i];
			enum look look = j == chosen         ? LOOK_CHOSEN
					 : i == table->state ? look_of_state(text)
							     : LOOK_PLAIN;

			draw_field(first + 1 + j, column, width, field->is_number, look, text);
		}
		column += width + 1;
	}
}
