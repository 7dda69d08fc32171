/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The list: terms in order, each target once.
 *
 * Addresses are compared as intervals: what a new term has in common with those before it (or with
 * what is excluded) is cut out, which may split it; so a /8 costs what a single address costs.
 * Names are compared one by one: each is hashed while the list is made, and those that were named
 * before are noted in their term as dropped; the hashes are freed afterwards.
 */
#include "common/targets-internal.h"

#include "common/util.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

/* --- Names of a term --- */

void term_name(const struct term *term, uint64_t number, char ret_text[static TARGET_TEXT_MAX])
{
	uint64_t values[8];
	size_t used = 0, from = 0;

	for (size_t i = term->bracket_count; i-- > 0;) {
		const struct bracket *bracket = &term->brackets[i];
		const struct span *span = bracket->spans;
		uint64_t place = number % bracket->count;

		number /= bracket->count;
		for (; place > span->last - span->first; span++)
			place -= span->last - span->first + 1;
		values[i] = span->first + place;
	}
	for (size_t i = 0; i <= term->bracket_count; i++) {
		bool is_tail = i == term->bracket_count;
		size_t to = is_tail ? strlen(term->text) : term->brackets[i].at;

		memcpy(ret_text + used, term->text + from, to - from);
		used += to - from;
		from = to;
		if (!is_tail)
			used += (size_t)snprintf(ret_text + used, TARGET_TEXT_MAX - used, "%0*llu",
						 (int)term->brackets[i].width,
						 (unsigned long long)values[i]);
	}
	ret_text[used] = '\0';
}

static void address_text_of(bool is_ipv6, address_number number,
			    char ret_text[static TARGET_TEXT_MAX])
{
	struct in6_addr ipv6;

	if (!is_ipv6) {
		(void)snprintf(ret_text, TARGET_TEXT_MAX, "%u.%u.%u.%u",
			       (unsigned)(number >> 24 & 255), (unsigned)(number >> 16 & 255),
			       (unsigned)(number >> 8 & 255), (unsigned)(number & 255));
		return;
	}
	for (size_t i = sizeof(ipv6.s6_addr); i-- > 0; number >>= 8)
		ipv6.s6_addr[i] = (uint8_t)number;
	(void)inet_ntop(AF_INET6, &ipv6, ret_text, TARGET_TEXT_MAX);
}

/* --- A set of names, while a list is made --- */

/* Open addressing over 64-bit hashes. Two names of one hash in a million names: 1 in 37 million. */
struct name_set {
	uint64_t *slots;
	size_t mask, count;
};

/* FNV-1a; the host part in lower case, since DNS knows no case. */
static uint64_t name_hash(const char *name)
{
	const char *sign = strrchr(name, '@');
	uint64_t hash = 0xcbf29ce484222325U;

	for (const char *at = name; *at; at++) {
		int byte = (unsigned char)*at;

		if (!sign || at > sign)
			byte = tolower(byte);
		hash = (hash ^ (uint64_t)byte) * 0x100000001b3U;
	}
	hash ^= hash >> 32;
	return hash ? hash : 1;
}

static size_t name_slot(const struct name_set *set, uint64_t hash)
{
	size_t slot = hash & set->mask;

	while (set->slots[slot] != 0 && set->slots[slot] != hash)
		slot = (slot + 1) & set->mask;
	return slot;
}

static void name_set_grow(struct name_set *set)
{
	struct name_set larger = {.mask = set->slots ? 2 * set->mask + 1 : 1023,
				  .count = set->count};

	larger.slots = xcalloc(larger.mask + 1, sizeof(*larger.slots));
	for (size_t i = 0; set->slots && i <= set->mask; i++)
		if (set->slots[i] != 0)
			larger.slots[name_slot(&larger, set->slots[i])] = set->slots[i];
	free(set->slots);
	*set = larger;
}

/* True if it was not in it. */
static bool name_set_add(struct name_set *set, const char *name)
{
	uint64_t hash = name_hash(name);
	size_t slot;

	if (!set->slots || set->count * 2 > set->mask)
		name_set_grow(set);
	slot = name_slot(set, hash);
	if (set->slots[slot] == hash)
		return false;
	set->slots[slot] = hash;
	set->count++;
	return true;
}

/* --- Intervals of addresses that are taken --- */

struct taken {
	struct interval *items; /* disjoint, ascending within a family */
	size_t count, capacity;
};

static int interval_compare(const struct interval *a, bool is_ipv6, address_number number)
{
	if (a->is_ipv6 != is_ipv6)
		return a->is_ipv6 ? 1 : -1;
	if (a->last < number)
		return -1;
	return a->first > number;
}

/* The place of the first interval that ends at or after the number. */
static size_t taken_place(const struct interval *items, size_t count, bool is_ipv6,
			  address_number number)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (interval_compare(&items[middle], is_ipv6, number) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void taken_insert(struct taken *taken, size_t place, struct interval interval)
{
	if (taken->count == taken->capacity) {
		taken->capacity = taken->capacity ? 2 * taken->capacity : 8;
		taken->items = xrealloc(taken->items, taken->capacity * sizeof(*taken->items));
	}
	memmove(&taken->items[place + 1], &taken->items[place],
		(taken->count - place) * sizeof(*taken->items));
	taken->items[place] = interval;
	taken->count++;
}

typedef void free_part_fn(struct interval part, void *context);

/* Takes an interval; calls fn for each part of it that was free. */
static void taken_add(struct taken *taken, struct interval interval, free_part_fn *fn,
		      void *context)
{
	address_number from = interval.first;
	size_t place = taken_place(taken->items, taken->count, interval.is_ipv6, from);

	for (;;) {
		bool is_overlap = place < taken->count &&
				  taken->items[place].is_ipv6 == interval.is_ipv6 &&
				  taken->items[place].first <= interval.last;
		address_number until = is_overlap ? taken->items[place].first : interval.last;

		if (!is_overlap || from < until) {
			struct interval part = interval;

			part.first = from;
			part.last = is_overlap ? until - 1 : until;
			taken_insert(taken, place++, part);
			fn(part, context);
		}
		if (!is_overlap || taken->items[place].last >= interval.last)
			return;
		from = taken->items[place++].last + 1;
	}
}

/* --- Making a list --- */

struct making {
	struct target_list *list;
	struct taken taken;    /* addresses in the list or excluded */
	struct name_set names; /* likewise */
	uint64_t names_total;
};

static void ignore_part(struct interval part, void *context)
{
	(void)part;
	(void)context;
}

static void append_part(struct interval part, void *context)
{
	struct making *making = context;
	struct term *term = term_add(making->list, part.is_ipv6 ? TERM_IPV6 : TERM_IPV4);

	term->first = part.first;
	term->count = (uint64_t)(part.last - part.first) + 1;
}

static struct interval interval_of(const struct term *term)
{
	return (struct interval){.is_ipv6 = term->type == TERM_IPV6,
				 .first = term->first,
				 .last = term->first + term->count - 1};
}

/* A name that is an address in disguise (10.0.0.[1-9] written out) is compared as one. */
static bool is_new_name(struct making *making, const char *name)
{
	struct interval interval = {0};
	size_t before = making->taken.count;

	if (!address_number_parse(name, &interval.is_ipv6, &interval.first))
		return name_set_add(&making->names, name);
	interval.last = interval.first;
	taken_add(&making->taken, interval, ignore_part, NULL);
	return making->taken.count > before;
}

/* Takes the names of a term over into the list, or into what is excluded. */
static void add_names(struct making *making, struct term *written, bool is_kept)
{
	char name[TARGET_TEXT_MAX];
	struct term *term;

	for (uint64_t i = 0; i < written->count; i++) {
		term_name(written, i, name);
		if (is_new_name(making, name) || !is_kept)
			continue;
		written->dropped = xrealloc(written->dropped, (written->dropped_count + 1) *
								      sizeof(*written->dropped));
		written->dropped[written->dropped_count++] = (uint32_t)i;
	}
	if (!is_kept || written->dropped_count == written->count)
		return;
	term = term_add(making->list, TERM_NAMES);
	*term = *written;
	term->count -= term->dropped_count;
	*written = (struct term){.type = TERM_NAMES};
}

static int add_words(struct making *making, const char *const *words, size_t count, bool is_kept,
		     struct error *ret_error)
{
	for (size_t i = 0; i < count; i++) {
		struct target_list written = {0};
		struct term *term;
		int r = terms_parse(words[i], &written, ret_error);

		term = written.terms;
		if (r == 0 && term->type == TERM_NAMES) {
			making->names_total += term->count;
			if (making->names_total > TARGET_NAMES_MAX)
				r = error_set(ret_error, ERROR_LIMIT_REACHED, "max-targets",
					      "more than %d names: name fewer, or use networks "
					      "such as 10.0.0.0/8",
					      TARGET_NAMES_MAX);
			else
				add_names(making, term, is_kept);
		} else if (r == 0) {
			taken_add(&making->taken, interval_of(term),
				  is_kept ? append_part : ignore_part, making);
		}
		if (term)
			term_done(term);
		free(written.terms);
		if (r < 0)
			return r;
	}
	return 0;
}

static int number_terms(struct target_list *list, uint64_t limit, struct error *ret_error)
{
	struct taken where = {0};

	for (size_t i = 0; i < list->count; i++) {
		struct term *term = &list->terms[i];

		term->start = list->target_count;
		list->target_count += term->count;
		if (term->count > limit || list->target_count > limit)
			return error_set(ret_error, ERROR_LIMIT_REACHED, "max-targets",
					 "more than %llu targets, which is max-targets of "
					 "jobd.conf: name fewer",
					 (unsigned long long)limit);
		if (term->type != TERM_NAMES) {
			struct interval interval = interval_of(term);
			size_t place = taken_place(where.items, where.count, interval.is_ipv6,
						   interval.first);

			interval.term = i;
			taken_insert(&where, place, interval);
			list->intervals = where.items;
			list->interval_count = where.count;
		}
	}
	if (list->target_count == 0)
		return error_set(ret_error, ERROR_INVALID_TARGET, "",
				 "no target is left to run on");
	return 0;
}

int target_list_new(const char *const *include, size_t include_count, const char *const *exclude,
		    size_t exclude_count, uint64_t limit, struct target_list **ret_list,
		    struct error *ret_error)
{
	struct making making = {.list = xcalloc(1, sizeof(struct target_list))};
	int r = add_words(&making, exclude, exclude_count, false, ret_error);

	if (r == 0)
		r = add_words(&making, include, include_count, true, ret_error);
	if (r == 0)
		r = number_terms(making.list, limit, ret_error);
	free(making.taken.items);
	free(making.names.slots);
	if (r < 0) {
		target_list_free(making.list);
		return r;
	}
	*ret_list = making.list;
	return 0;
}

void target_list_shuffle(struct target_list *list, uint64_t seed)
{
	list->order = permutation_of(list->target_count, seed);
}

void target_list_free(struct target_list *list)
{
	if (!list)
		return;
	for (size_t i = 0; i < list->count; i++)
		term_done(&list->terms[i]);
	free(list->terms);
	free(list->intervals);
	free(list);
}

/* --- Asking a list --- */

uint64_t target_list_count(const struct target_list *list)
{
	return list->target_count;
}

/* The number before dropping of what is the place-th of a term's kept names. */
static uint64_t undropped(const struct term *term, uint64_t place)
{
	size_t low = 0, high = term->dropped_count;

	/* How many dropped ones lie before it: the first d with dropped[d] - d > place. */
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (term->dropped[middle] - middle > place)
			high = middle;
		else
			low = middle + 1;
	}
	return place + low;
}

void target_list_text(const struct target_list *list, uint64_t index,
		      char ret_text[static TARGET_TEXT_MAX])
{
	size_t low = 0, high = list->count;
	const struct term *term;

	assert(index < list->target_count);
	if (list->order.count > 0)
		index = permutation_at(&list->order, index);
	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (list->terms[middle].start <= index)
			low = middle;
		else
			high = middle;
	}
	term = &list->terms[low];
	index -= term->start;
	if (term->type == TERM_NAMES)
		term_name(term, undropped(term, index), ret_text);
	else
		address_text_of(term->type == TERM_IPV6, term->first + index, ret_text);
}

/* As written, whatever the order. */
static bool find_written(const struct target_list *list, const char *text, uint64_t *ret_index)
{
	char name[TARGET_TEXT_MAX];
	uint64_t hash = name_hash(text);
	address_number number;
	bool is_ipv6;

	if (address_number_parse(text, &is_ipv6, &number)) {
		size_t place = taken_place(list->intervals, list->interval_count, is_ipv6, number);
		const struct interval *found = list->intervals + place;

		if (place < list->interval_count && interval_compare(found, is_ipv6, number) == 0) {
			*ret_index =
				list->terms[found->term].start + (uint64_t)(number - found->first);
			return true;
		}
	}
	for (size_t i = 0; i < list->count; i++) {
		const struct term *term = &list->terms[i];

		if (term->type != TERM_NAMES)
			continue;
		for (uint64_t place = 0; place < term->count; place++) {
			term_name(term, undropped(term, place), name);
			if (name_hash(name) == hash && strcasecmp(name, text) == 0) {
				*ret_index = term->start + place;
				return true;
			}
		}
	}
	return false;
}

bool target_list_find(const struct target_list *list, const char *text, uint64_t *ret_index)
{
	if (!find_written(list, text, ret_index))
		return false;
	if (list->order.count > 0)
		*ret_index = permutation_place(&list->order, *ret_index);
	return true;
}
