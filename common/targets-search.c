/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many targets are looked for in a list. Addresses that stand in it as such are found by their
 * number; all else goes into a table by its hash, which the list's names are then held against,
 * until all were met.
 */
#include "common/targets-internal.h"

#include "common/util.h"

#include <strings.h>

enum { PIECE = 1000 /* names */ };
#define NOWHERE UINT64_MAX

/* Open addressing; hash 0: it is free. */
struct slot {
	uint64_t hash;
	uint64_t place; /* in wanted */
};

struct target_search {
	struct target_list *list, *wanted;
	uint64_t *indices; /* of each that is wanted, or NOWHERE */
	uint64_t read;     /* so many of them */
	struct slot *slots;
	size_t mask;
	uint64_t left; /* in slots, and not met yet */
	/* The next of the list's names */
	size_t term;
	uint64_t place;
};

struct target_search *target_search_new(struct target_list *list, struct target_list *wanted)
{
	struct target_search *search = xcalloc(1, sizeof(*search));
	size_t size = 2;

	while (size < 2 * wanted->target_count)
		size *= 2;
	search->list = target_list_ref(list);
	search->wanted = target_list_ref(wanted);
	search->indices = xcalloc(wanted->target_count, sizeof(*search->indices));
	search->slots = xcalloc(size, sizeof(*search->slots));
	search->mask = size - 1;
	return search;
}

void target_search_free(struct target_search *search)
{
	if (!search)
		return;
	target_list_free(search->list);
	target_list_free(search->wanted);
	free(search->indices);
	free(search->slots);
	free(search);
}

static void found(struct target_search *search, uint64_t place, uint64_t index)
{
	search->indices[place] = target_list_ordered(search->list, index);
}

/* The next that is wanted: it is there, or goes into the table. */
static void read_wanted(struct target_search *search)
{
	uint64_t place = search->read++, index;
	char text[TARGET_TEXT_MAX];
	uint64_t hash;
	size_t slot;

	target_list_text(search->wanted, place, text);
	if (target_list_find_address(search->list, text, &index)) {
		found(search, place, index);
		return;
	}
	search->indices[place] = NOWHERE;
	search->left++;
	hash = name_hash(text);
	slot = hash & search->mask;
	while (search->slots[slot].hash != 0)
		slot = (slot + 1) & search->mask;
	search->slots[slot] = (struct slot){hash, place};
}

/* A name of the list: is it one of those that are looked for? */
static void meet(struct target_search *search, const char *name, uint64_t index)
{
	uint64_t hash = name_hash(name);
	const struct slot *slot;
	char text[TARGET_TEXT_MAX];

	for (size_t i = hash & search->mask; (slot = &search->slots[i])->hash != 0;
	     i = (i + 1) & search->mask) {
		if (slot->hash != hash || search->indices[slot->place] != NOWHERE)
			continue;
		target_list_text(search->wanted, slot->place, text);
		if (strcasecmp(name, text) != 0)
			continue;
		found(search, slot->place, index);
		search->left--;
	}
}

/* False: the list has no more names. */
static bool read_name(struct target_search *search)
{
	const struct target_list *list = search->list;
	char name[TARGET_TEXT_MAX];
	const struct term *term;

	while (search->term < list->count && (list->terms[search->term].type != TERM_NAMES ||
					      search->place == list->terms[search->term].count)) {
		search->term++;
		search->place = 0;
	}
	if (search->term == list->count)
		return false;
	term = &list->terms[search->term];
	term_kept_name(term, search->place, name);
	meet(search, name, term->start + search->place++);
	return true;
}

bool target_search_step(struct target_search *search)
{
	for (unsigned i = 0; i < PIECE; i++) {
		if (search->read < search->wanted->target_count)
			read_wanted(search);
		else if (search->left == 0 || !read_name(search))
			return false;
	}
	return true;
}

uint64_t target_search_found(const struct target_search *search, const uint64_t **ret_indices)
{
	uint64_t place = 0;

	while (place < search->wanted->target_count && search->indices[place] != NOWHERE)
		place++;
	*ret_indices = search->indices;
	return place;
}
