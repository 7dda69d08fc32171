/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The list: terms in order, each target once.
 *
 * Addresses are compared as intervals: what a new term has in common with those before it (or with
 * what is excluded) is cut out, which may split it; so a /8 costs what a single address costs.
 * Names, and single addresses as long as there are no others, are compared one by one: each is
 * hashed while the list is made, and names that were there before are noted in their term as
 * dropped; the hashes are freed afterwards. One word that is alone has nothing to be compared with.
 */
#include "common/targets-internal.h"

#include "common/util.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <search.h>
#include <strings.h>

/* --- Names of a term --- */

/* The place-th number of a bracket. */
static uint64_t number_in(const struct bracket *bracket, uint64_t place)
{
	size_t low = 0, high = bracket->span_count;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (bracket->spans[middle].before <= place)
			low = middle;
		else
			high = middle;
	}
	return bracket->spans[low].first + (place - bracket->spans[low].before);
}

/* With leading zeros; what is behind it. */
static char *number_text(char *at, uint64_t number, size_t width)
{
	char digits[24];
	size_t count = 0;

	do
		digits[count++] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	for (; width > count; width--)
		*at++ = '0';
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

void term_name(const struct term *term, uint64_t number, char ret_text[static TARGET_TEXT_MAX])
{
	uint64_t values[8];
	char *end = ret_text;
	size_t from = 0;

	for (size_t i = term->bracket_count; i-- > 0;) {
		const struct bracket *bracket = &term->brackets[i];

		values[i] = number_in(bracket, number % bracket->count);
		number /= bracket->count;
	}
	for (size_t i = 0; i <= term->bracket_count; i++) {
		bool is_tail = i == term->bracket_count;
		size_t to = is_tail ? strlen(term->text) : term->brackets[i].at;

		end = mempcpy(end, term->text + from, to - from);
		from = to;
		if (!is_tail)
			end = number_text(end, values[i], term->brackets[i].width);
	}
	*end = '\0';
}

/* 0 to 255, where sweeps print millions of them; what is behind it. */
static char *octet_text(char *at, unsigned octet)
{
	if (octet >= 100)
		*at++ = (char)('0' + octet / 100);
	if (octet >= 10)
		*at++ = (char)('0' + octet / 10 % 10);
	*at++ = (char)('0' + octet % 10);
	return at;
}

static void address_text_of(bool is_ipv6, address_number number,
			    char ret_text[static TARGET_TEXT_MAX])
{
	struct in6_addr ipv6;

	if (!is_ipv6) {
		char *at = ret_text;

		for (int shift = 24; shift >= 0; shift -= 8) {
			at = octet_text(at, (unsigned)(number >> shift & 255));
			*at++ = shift > 0 ? '.' : '\0';
		}
		return;
	}
	for (size_t i = sizeof(ipv6.s6_addr); i-- > 0; number >>= 8)
		ipv6.s6_addr[i] = (uint8_t)number;
	(void)inet_ntop(AF_INET6, &ipv6, ret_text, TARGET_TEXT_MAX);
}

/* --- A set of hashes, while a list is made --- */

/* Open addressing over 64-bit hashes. Two names of one hash in a million names: 1 in 37 million. */
struct hash_set {
	uint64_t *slots;
	size_t mask, count;
};

/* MurmurHash3's last step: each number has one of its own. */
static uint64_t mix(uint64_t number)
{
	number = (number ^ number >> 33) * 0xff51afd7ed558ccdU;
	number = (number ^ number >> 33) * 0xc4ceb9fe1a85ec53U;
	return number ^ number >> 33;
}

/* FNV-1a */
uint64_t name_hash(const char *name)
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

static size_t hash_slot(const struct hash_set *set, uint64_t hash)
{
	size_t slot = hash & set->mask;

	while (set->slots[slot] != 0 && set->slots[slot] != hash)
		slot = (slot + 1) & set->mask;
	return slot;
}

static void hash_set_grow(struct hash_set *set)
{
	struct hash_set larger = {.mask = set->slots ? 2 * set->mask + 1 : 1023,
				  .count = set->count};

	larger.slots = xcalloc(larger.mask + 1, sizeof(*larger.slots));
	for (size_t i = 0; set->slots && i <= set->mask; i++)
		if (set->slots[i] != 0)
			larger.slots[hash_slot(&larger, set->slots[i])] = set->slots[i];
	free(set->slots);
	*set = larger;
}

/* True if it was not in it. */
static bool hash_set_add(struct hash_set *set, uint64_t hash)
{
	size_t slot;

	if (!set->slots || set->count * 2 > set->mask)
		hash_set_grow(set);
	slot = hash_slot(set, hash);
	if (set->slots[slot] == hash)
		return false;
	set->slots[slot] = hash;
	set->count++;
	return true;
}

/* --- Intervals of addresses that are taken --- */

/* Addresses of one family from first to last. */
struct interval {
	enum term_type type;
	address_number first, last;
};

/* Disjoint, in a tree of tsearch(3); before the first word that is more than one address there is
 * none, but rows of such as came one behind the other. */
struct taken {
	void *root;
	struct hash_set hashes;
	struct interval *rows;
	size_t row_count;
};

/* The next address behind a row, which is never the first one again. */
static bool is_next(enum term_type type, address_number last, struct interval interval)
{
	return interval.type == type && interval.first > 0 && interval.first - 1 == last;
}

/* What is looked for begins as a struct interval does, and takes down the first that overlaps it.
 */
struct probe {
	struct interval interval;
	const struct interval *overlap;
};

/* Below, overlapping, above: a search goes on to the left of an overlap, to the first of them. */
static int compare_probe(const void *key, const void *item)
{
	struct probe *probe = (struct probe *)(uintptr_t)key;
	const struct interval *interval = item;

	if (probe->interval.type != interval->type)
		return probe->interval.type < interval->type ? -1 : 1;
	if (interval->last < probe->interval.first)
		return 1;
	if (interval->first <= probe->interval.last)
		probe->overlap = interval;
	return -1;
}

/* Of rows of addresses, IPv4 before IPv6. */
static int compare_firsts(enum term_type left_type, address_number left, enum term_type right_type,
			  address_number right)
{
	if (left_type != right_type)
		return left_type < right_type ? -1 : 1;
	return left < right ? -1 : left > right;
}

/* Disjoint ones, so that any of their numbers tells. */
static int compare_intervals(const void *a, const void *b)
{
	const struct interval *left = a, *right = b;

	return compare_firsts(left->type, left->first, right->type, right->first);
}

static void taken_insert(struct taken *taken, struct interval interval)
{
	struct interval *item = xmemdup(&interval, sizeof(interval));

	if (!tsearch(item, &taken->root, compare_intervals))
		abort();
}

static bool hash_single(struct taken *taken, const struct interval *interval)
{
	/* IPv4 lies where IPv6 has nobody, so that 0.0.0.1 is not ::1. */
	uint64_t high = interval->type == TERM_IPV4 ? 0x9e3779b97f4a7c15U
						    : (uint64_t)(interval->first >> 64);
	uint64_t hash = mix(mix(high) ^ (uint64_t)interval->first);

	return hash_set_add(&taken->hashes, hash ? hash : 1);
}

static void hash_row(struct taken *taken, struct interval row)
{
	do
		(void)hash_single(taken, &row);
	while (row.first++ < row.last);
}

/* True if it is new. As long as each comes above the one before, that alone tells, and none is
 * hashed. */
static bool taken_add_single(struct taken *taken, struct interval interval)
{
	struct interval *row = taken->row_count > 0 ? &taken->rows[taken->row_count - 1] : NULL;

	if (!taken->hashes.slots && row &&
	    compare_firsts(row->type, row->last, interval.type, interval.first) >= 0)
		for (size_t i = 0; i < taken->row_count; i++)
			hash_row(taken, taken->rows[i]);
	if (taken->hashes.slots && !hash_single(taken, &interval))
		return false;
	if (row && is_next(row->type, row->last, interval)) {
		row->last = interval.last;
		return true;
	}
	taken->rows = xgrow(taken->rows, taken->row_count, sizeof(*taken->rows));
	taken->rows[taken->row_count++] = interval;
	return true;
}

static void taken_make_tree(struct taken *taken)
{
	while (taken->row_count > 0)
		taken_insert(taken, taken->rows[--taken->row_count]);
}

static void taken_done(struct taken *taken)
{
	if (taken->root)
		tdestroy(taken->root, free);
	free(taken->hashes.slots);
	free(taken->rows);
}

typedef void free_part_fn(struct interval part, void *context);

/* Takes an interval; calls fn for each part of it that was free. */
static void taken_add(struct taken *taken, struct interval interval, free_part_fn *fn,
		      void *context)
{
	if (!taken->root && interval.first == interval.last) {
		if (taken_add_single(taken, interval))
			fn(interval, context);
		return;
	}
	taken_make_tree(taken);
	for (;;) {
		struct probe probe = {.interval = interval};
		struct interval part = interval;

		(void)tfind(&probe, &taken->root, compare_probe);
		if (probe.overlap)
			part.last = probe.overlap->first - 1;
		if (!probe.overlap || interval.first < probe.overlap->first) {
			taken_insert(taken, part);
			fn(part, context);
		}
		if (!probe.overlap || probe.overlap->last >= interval.last)
			return;
		interval.first = probe.overlap->last + 1;
	}
}

/* --- Making a list --- */

struct making {
	struct term *terms;
	size_t count;
	bool is_alone;         /* the one word, with which nothing is to be compared */
	struct taken taken;    /* addresses in the list or excluded */
	struct hash_set names; /* likewise */
	uint64_t names_total;
};

static void append(struct making *making, const struct term *term)
{
	making->terms = xgrow(making->terms, making->count, sizeof(*making->terms));
	making->terms[making->count++] = *term;
}

static void note_part(struct interval part, void *context)
{
	(void)part;
	*(bool *)context = true;
}

static void ignore_part(struct interval part, void *context)
{
	(void)part;
	(void)context;
}

/* What is written one behind the other is one term. */
static void append_part(struct interval part, void *context)
{
	struct making *making = context;
	struct term *before = making->count > 0 ? &making->terms[making->count - 1] : NULL;
	struct term term = term_of_addresses(part.type, part.first, part.last);

	if (before && is_next(before->type, before->last, part))
		*before = term_of_addresses(part.type, before->first, part.last);
	else
		append(making, &term);
}

/* A name that is an address in disguise (10.0.0.[1-9] written out) is compared as one. */
static bool is_new_name(struct making *making, const char *name)
{
	struct interval interval = {0};
	bool is_new = false;

	if (!address_number_parse(name, &interval.type, &interval.first))
		return hash_set_add(&making->names, name_hash(name));
	interval.last = interval.first;
	taken_add(&making->taken, interval, note_part, &is_new);
	return is_new;
}

/* Nobody is named twice where the numbers of each bracket rise, and each but the last ends where
 * something else than a digit begins. */
static bool has_no_twins(const struct term *term)
{
	for (size_t i = 0; i < term->bracket_count; i++) {
		const struct bracket *bracket = &term->brackets[i];

		for (size_t j = 1; j < bracket->span_count; j++)
			if (bracket->spans[j].first <= bracket->spans[j - 1].last)
				return false;
		if (i + 1 < term->bracket_count &&
		    (bracket[1].at == bracket->at ||
		     isdigit((unsigned char)term->text[bracket->at])))
			return false;
	}
	return true;
}

static void append_names(struct making *making, struct term *written)
{
	append(making, written);
	*written = (struct term){.type = TERM_NAMES};
}

/* Takes the names of a term over into the list, or into what is excluded. */
static void add_names(struct making *making, struct term *written, bool is_kept)
{
	char name[TARGET_TEXT_MAX];

	if (making->is_alone && has_no_twins(written)) {
		append_names(making, written);
		return;
	}
	for (uint64_t i = 0; i < written->count; i++) {
		term_name(written, i, name);
		if (is_new_name(making, name) || !is_kept)
			continue;
		written->dropped =
			xgrow(written->dropped, written->dropped_count, sizeof(*written->dropped));
		written->dropped[written->dropped_count++] = (uint32_t)i;
	}
	if (!is_kept || written->dropped_count == written->count)
		return;
	written->count -= written->dropped_count;
	append_names(making, written);
}

static void add_addresses(struct making *making, const struct term *term, bool is_kept)
{
	struct interval interval = {.type = term->type, .first = term->first, .last = term->last};

	if (making->is_alone)
		append(making, term);
	else
		taken_add(&making->taken, interval, is_kept ? append_part : ignore_part, making);
}

static int add_words(struct making *making, const char *const *words, size_t count, bool is_kept,
		     struct error *ret_error)
{
	for (size_t i = 0; i < count; i++) {
		struct term term;
		int r = term_parse(words[i], &term, ret_error);

		if (r == 0 && term.type == TERM_NAMES) {
			making->names_total += term.count;
			if (making->names_total > TARGET_NAMES_MAX)
				r = error_set(ret_error, ERROR_LIMIT_REACHED, "max-targets",
					      "more than %d names: name fewer, or use networks "
					      "such as 10.0.0.0/8",
					      TARGET_NAMES_MAX);
			else
				add_names(making, &term, is_kept);
		} else if (r == 0) {
			add_addresses(making, &term, is_kept);
		}
		term_done(&term);
		if (r < 0)
			return r;
	}
	return 0;
}

static int number_terms(struct target_list *list, uint64_t limit, struct error *ret_error)
{
	for (size_t i = 0; i < list->count; i++) {
		struct term *term = &list->terms[i];

		term->start = list->target_count;
		list->target_count += term->count;
		if (term->count > limit || list->target_count > limit)
			return error_set(ret_error, ERROR_LIMIT_REACHED, "max-targets",
					 "more than %llu targets, which is max-targets of "
					 "jobd.conf: name fewer",
					 (unsigned long long)limit);
	}
	if (list->target_count == 0)
		return error_set(ret_error, ERROR_INVALID_TARGET, "",
				 "no target is left to run on");
	return 0;
}

/* Terms of addresses, which are disjoint. */
static int compare_terms(const void *a, const void *b, void *context)
{
	const struct term *terms = context;
	const struct term *left = &terms[*(const uint32_t *)a];
	const struct term *right = &terms[*(const uint32_t *)b];

	return compare_firsts(left->type, left->first, right->type, right->first);
}

static void order_addresses(struct target_list *list)
{
	bool is_ordered = true;

	for (uint32_t i = 0; i < list->count; i++) {
		list->address_count += list->terms[i].type != TERM_NAMES;
		is_ordered = is_ordered && list->address_count == i + 1 &&
			     (i == 0 || compare_terms(&(uint32_t){i - 1}, &i, list->terms) < 0);
	}
	if (is_ordered || list->address_count == 0)
		return;
	list->by_address = xcalloc(list->address_count, sizeof(*list->by_address));
	list->address_count = 0;
	for (uint32_t i = 0; i < list->count; i++)
		if (list->terms[i].type != TERM_NAMES)
			list->by_address[list->address_count++] = i;
	qsort_r(list->by_address, list->address_count, sizeof(*list->by_address), compare_terms,
		list->terms);
}

/* A list stays as long as its job does: in one piece, without room to spare. */
static struct target_list *list_of(struct making *making)
{
	size_t size = making->count * sizeof(*making->terms);
	struct target_list *list = xmalloc(sizeof(*list) + size);

	*list = (struct target_list){.count = making->count};
	atomic_init(&list->references, 1);
	if (size > 0)
		memcpy(list->terms, making->terms, size);
	free(making->terms);
	return list;
}

int target_list_new(const char *const *include, size_t include_count, const char *const *exclude,
		    size_t exclude_count, uint64_t limit, struct target_list **ret_list,
		    struct error *ret_error)
{
	struct making making = {.is_alone = include_count == 1 && exclude_count == 0};
	struct target_list *list;
	int r = add_words(&making, exclude, exclude_count, false, ret_error);

	if (r == 0)
		r = add_words(&making, include, include_count, true, ret_error);
	taken_done(&making.taken);
	free(making.names.slots);
	list = list_of(&making);
	if (r == 0)
		r = number_terms(list, limit, ret_error);
	if (r < 0) {
		target_list_free(list);
		return r;
	}
	order_addresses(list);
	*ret_list = list;
	return 0;
}

void target_list_shuffle(struct target_list *list, uint64_t seed)
{
	list->order = permutation_of(list->target_count, seed);
}

struct target_list *target_list_ref(struct target_list *list)
{
	(void)atomic_fetch_add_explicit(&list->references, 1, memory_order_relaxed);
	return list;
}

void target_list_free(struct target_list *list)
{
	if (!list || atomic_fetch_sub_explicit(&list->references, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < list->count; i++)
		term_done(&list->terms[i]);
	free(list->by_address);
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

void term_kept_name(const struct term *term, uint64_t place, char ret_text[static TARGET_TEXT_MAX])
{
	term_name(term, undropped(term, place), ret_text);
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
		term_kept_name(term, index, ret_text);
	else
		address_text_of(term->type == TERM_IPV6, term->first + index, ret_text);
}

static const struct term *address_term(const struct target_list *list, size_t place)
{
	return &list->terms[list->by_address ? list->by_address[place] : place];
}

bool target_list_find_address(const struct target_list *list, const char *text, uint64_t *ret_index)
{
	size_t low = 0, high = list->address_count;
	address_number number;
	enum term_type type;
	const struct term *term;

	if (list->address_count == 0 || !address_number_parse(text, &type, &number))
		return false;
	/* The first that ends there or behind it */
	while (low < high) {
		size_t middle = (low + high) / 2;

		term = address_term(list, middle);
		if (term->type < type || (term->type == type && term->last < number))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == list->address_count)
		return false;
	term = address_term(list, low);
	if (term->type != type || term->first > number)
		return false;
	*ret_index = term->start + (uint64_t)(number - term->first);
	return true;
}

/* As written, whatever the order. */
static bool find_written(const struct target_list *list, const char *text, uint64_t *ret_index)
{
	char name[TARGET_TEXT_MAX];
	uint64_t hash = name_hash(text);

	if (target_list_find_address(list, text, ret_index))
		return true;
	for (size_t i = 0; i < list->count; i++) {
		const struct term *term = &list->terms[i];

		if (term->type != TERM_NAMES)
			continue;
		for (uint64_t place = 0; place < term->count; place++) {
			term_kept_name(term, place, name);
			if (name_hash(name) == hash && strcasecmp(name, text) == 0) {
				*ret_index = term->start + place;
				return true;
			}
		}
	}
	return false;
}

uint64_t target_list_ordered(const struct target_list *list, uint64_t index)
{
	return list->order.count > 0 ? permutation_place(&list->order, index) : index;
}

bool target_list_find(const struct target_list *list, const char *text, uint64_t *ret_index)
{
	if (!find_written(list, text, ret_index))
		return false;
	*ret_index = target_list_ordered(list, *ret_index);
	return true;
}
