/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/lines.h"

#include "common/util.h"

struct lines {
	struct line lines[LINES_MAX];
	size_t count, gone;
	bool is_open[2]; /* the newest line of the stream has no end yet */
};

struct lines *lines_new(void)
{
	return xcalloc(1, sizeof(struct lines));
}

static void drop_oldest(struct lines *lines, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(lines->lines[i].text);
	lines->count -= count;
	lines->gone += count;
	memmove(lines->lines, lines->lines + count, lines->count * sizeof(*lines->lines));
}

void lines_free(struct lines *lines)
{
	if (lines)
		drop_oldest(lines, lines->count);
	free(lines);
}

/* The newest line of a stream, where its end has not come yet, or a new one. */
static struct line *open_line(struct lines *lines, bool is_error)
{
	for (size_t i = lines->count; lines->is_open[is_error] && i-- > 0;)
		if (lines->lines[i].is_error == is_error)
			return &lines->lines[i];
	/* A tenth at once, so that few are moved for each. */
	if (lines->count == LINES_MAX)
		drop_oldest(lines, LINES_MAX / 10);
	lines->lines[lines->count] = (struct line){.is_error = is_error};
	return &lines->lines[lines->count++];
}

void lines_add(struct lines *lines, bool is_error, const char *bytes, size_t size)
{
	while (size > 0) {
		const char *end = memchr(bytes, '\n', size);
		size_t part = end ? (size_t)(end - bytes) : size;
		struct line *line = open_line(lines, is_error);

		line->text = xrealloc(line->text, line->size + part + 1);
		memcpy(line->text + line->size, bytes, part);
		line->size += part;
		if (end && line->size > 0 && line->text[line->size - 1] == '\r')
			line->size--;
		lines->is_open[is_error] = !end;
		part += end != NULL;
		bytes += part;
		size -= part;
	}
}

void lines_end(struct lines *lines)
{
	lines->is_open[0] = lines->is_open[1] = false;
}

size_t lines_count(const struct lines *lines)
{
	return lines->count;
}

size_t lines_gone(const struct lines *lines)
{
	return lines->gone;
}

size_t lines_find(const struct lines *lines, size_t from, bool is_back, const char *text)
{
	/* Before the first one comes a number that is too high. */
	for (size_t i = from; i < lines->count; i += is_back ? SIZE_MAX : 1)
		if (memmem(lines->lines[i].text, lines->lines[i].size, text, strlen(text)))
			return i;
	return lines->count;
}

const struct line *lines_at(const struct lines *lines, size_t number)
{
	return &lines->lines[number];
}
