/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Folding: names that differ in one number only become one pattern. Each name is cut at its last
 * number; after sorting by what stands around it, equal neighbours are one group, and the numbers
 * of a group become ranges. Addresses in a row of more than one /24 are an address range. Sorting
 * is all the cost.
 */
#include "common/targets-internal.h"

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

/* --- Runs of addresses that go over the last number --- */

struct address {
	const char *name;
	uint32_t number;
};

static int compare_addresses(const void *left, const void *right)
{
	uint32_t a = ((const struct address *)left)->number,
		 b = ((const struct address *)right)->number;

	return a < b ? -1 : a > b;
}

/* Writes the runs of several /24 as ranges; the other names go to ret_rest, how many is returned.
 */
static size_t write_runs(FILE *out, const char *const *names, size_t count, const char **ret_rest)
{
	autofree struct address *addresses = xcalloc(count, sizeof(*addresses));
	size_t address_count = 0, rest = 0;
	bool is_first = true;

	for (size_t i = 0; i < count; i++) {
		address_number number;
		enum term_type type;

		if (address_number_parse(names[i], &type, &number) && type == TERM_IPV4)
			addresses[address_count++] =
				(struct address){.name = names[i], .number = (uint32_t)number};
		else
			ret_rest[rest++] = names[i];
	}
	qsort(addresses, address_count, sizeof(*addresses), compare_addresses);
	for (size_t i = 0; i < address_count;) {
		size_t last = i;

		while (last + 1 < address_count &&
		       addresses[last + 1].number - addresses[last].number <= 1)
			last++;
		if (addresses[i].number >> 8 != addresses[last].number >> 8) {
			(void)fprintf(out, "%s%s-%s", is_first ? "" : ",", addresses[i].name,
				      addresses[last].name);
			is_first = false;
			i = last + 1;
		}
		for (; i <= last; i++)
			ret_rest[rest++] = addresses[i].name;
	}
	return rest;
}

char *target_fold(const char *const *names, size_t count)
{
	autofree struct piece *pieces = xcalloc(count, sizeof(*pieces));
	autofree const char **rest = xcalloc(count, sizeof(*rest));
	size_t all = count, size;
	char *text = NULL;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	count = write_runs(out, names, count, rest);
	for (size_t i = 0; i < count; i++)
		pieces[i] = cut(rest[i]);
	qsort(pieces, count, sizeof(*pieces), compare);
	for (size_t i = 0; i < count;) {
		size_t end = i + 1;

		while (end < count && is_joined(&pieces[end - 1], &pieces[end]))
			end++;
		if (i > 0 || count < all)
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
