/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Folding: names that differ in one number only become one pattern. Each name is cut at its last
 * number; after sorting by what stands around it, equal neighbours are one group, and the numbers
 * of a group become ranges. Sorting is all the cost.
 */
#include "common/targets.h"

#include "common/util.h"

#include <ctype.h>
#include <stdio.h>

/* A name taken apart: prefix, number, suffix. has_number is false where there is none. */
struct piece {
	const char *name;
	size_t prefix_size, digits;
	const char *suffix;
	uint64_t number;
	bool has_number;
};

static struct piece cut(const char *name)
{
	size_t end = strcspn(name, ":@[");
	struct piece piece = {.name = name};
	size_t start;

	/* The host's number, not the port's. */
	if (name[end] != ':' || strchr(name + end + 1, ':'))
		end = strlen(name);
	while (end > 0 && !isdigit((unsigned char)name[end - 1]))
		end--;
	for (start = end; start > 0 && isdigit((unsigned char)name[start - 1]); start--)
		;
	piece.prefix_size = start;
	piece.suffix = name + end;
	piece.digits = end - start;
	piece.has_number = end > start && piece.digits <= 18;
	if (piece.has_number) {
		piece.number = strtoull(name + start, NULL, 10);
	} else {
		piece.prefix_size = strlen(name);
		piece.suffix = "";
	}
	return piece;
}

static bool is_padded(const struct piece *piece)
{
	return piece->name[piece->prefix_size] == '0' && piece->digits > 1;
}

static int compare_around(const struct piece *a, const struct piece *b)
{
	size_t size = a->prefix_size < b->prefix_size ? a->prefix_size : b->prefix_size;
	int r = memcmp(a->name, b->name, size);

	if (r != 0)
		return r;
	if (a->prefix_size != b->prefix_size)
		return a->prefix_size < b->prefix_size ? -1 : 1;
	return strcmp(a->suffix, b->suffix);
}

static int compare(const void *left, const void *right)
{
	const struct piece *a = left, *b = right;
	int r = compare_around(a, b);

	if (r != 0)
		return r;
	if (a->number != b->number)
		return a->number < b->number ? -1 : 1;
	return a->digits < b->digits ? -1 : a->digits > b->digits;
}

/* May b stand in one bracket with a? Both are of one group or not; padding is of one width. */
static bool is_joined(const struct piece *a, const struct piece *b)
{
	if (!a->has_number || !b->has_number || compare_around(a, b) != 0)
		return false;
	return a->digits == b->digits || (!is_padded(a) && !is_padded(b));
}

/* The pieces [0, count) of one bracket, written as ranges. */
static void write_group(FILE *out, const struct piece *pieces, size_t count)
{
	int width = (int)pieces[0].digits;

	(void)fprintf(out, "%.*s[", (int)pieces[0].prefix_size, pieces[0].name);
	for (size_t i = 0; i < count;) {
		size_t last = i;

		while (last + 1 < count && pieces[last + 1].number <= pieces[last].number + 1)
			last++;
		width = is_padded(&pieces[0]) ? width : 0;
		(void)fprintf(out, "%s%0*llu", i > 0 ? "," : "", width,
			      (unsigned long long)pieces[i].number);
		if (pieces[last].number > pieces[i].number)
			(void)fprintf(out, "-%0*llu", width,
				      (unsigned long long)pieces[last].number);
		i = last + 1;
	}
	(void)fprintf(out, "]%s", pieces[0].suffix);
}

char *target_fold(const char **names, size_t count)
{
	autofree struct piece *pieces = xcalloc(count, sizeof(*pieces));
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	for (size_t i = 0; i < count; i++)
		pieces[i] = cut(names[i]);
	qsort(pieces, count, sizeof(*pieces), compare);
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;

		while (end < count && is_joined(&pieces[end - 1], &pieces[end]))
			end++;
		if (i > 0)
			(void)fputc(',', out);
		if (end == i + 1)
			(void)fputs(pieces[i].name, out);
		else
			write_group(out, pieces + i, end - i);
		i = end;
	}
	if (fclose(out) != 0)
		abort();
	return text;
}
