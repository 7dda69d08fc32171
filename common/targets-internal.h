/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of target lists share: targets.c, targets-parse.c. */
#pragma once

#include "common/permutation.h"
#include "common/targets.h"

#include <stdatomic.h>

/* An IPv6 address as a number; IPv4 addresses use the low 32 bits. */
typedef unsigned __int128 address_number;

enum term_type { TERM_IPV4, TERM_IPV6, TERM_NAMES };

/* One bracket: its ranges, one behind the other. */
struct span {
	uint64_t first, last;
	uint64_t before; /* how many the spans in front of it hold */
};
struct bracket {
	struct span *spans;
	size_t span_count;
	uint64_t count;
	unsigned width; /* zero-padded to so many digits; 0: not padded */
	size_t at;      /* where in the term's text it stands */
};

/*
 * What one word of the user stands for. Addresses: all from first to last. Names: the text with the
 * brackets filled in, the last running fastest, without those whose number is in `dropped`.
 */
struct term {
	enum term_type type;
	uint64_t start; /* index of its first target in the list */
	uint64_t count;
	union {
		struct {
			address_number first, last; /* more than count where that is capped */
		};
		struct {            /* TERM_NAMES */
			char *text; /* the literal parts, joined */
			struct bracket *brackets;
			uint32_t *dropped; /* ascending; named before, or excluded */
			uint32_t bracket_count, dropped_count;
		};
	};
};

struct target_list {
	atomic_uint references;
	size_t count; /* of terms */
	uint64_t target_count;
	/* Terms that are addresses, by address; NULL: all terms are, and lie so */
	uint32_t *by_address;
	size_t address_count;
	/* From an index to where it is written; count 0: the order is as written */
	struct permutation order;
	struct term terms[];
};

/* From a word, not yet compared with others. Done with also where it failed. */
int term_parse(const char *word, struct term *ret_term, struct error *ret_error);
struct term term_of_addresses(enum term_type type, address_number first, address_number last);
void term_done(struct term *term);

/* Number `number` (before dropping) of a term of names. */
void term_name(const struct term *term, uint64_t number, char ret_text[static TARGET_TEXT_MAX]);
/* The place-th that was not dropped. */
void term_kept_name(const struct term *term, uint64_t place, char ret_text[static TARGET_TEXT_MAX]);
/* Never 0; the host part counts in lower case, since DNS knows no case. */
uint64_t name_hash(const char *name);
/* An address that stands in the list as one; its index is as written. */
bool target_list_find_address(const struct target_list *list, const char *text,
			      uint64_t *ret_index);
/* Of an index as written, what it is in the list's order. */
uint64_t target_list_ordered(const struct target_list *list, uint64_t index);
/* 1 and the number of an address without zone, else 0. */
int address_number_parse(const char *text, enum term_type *ret_type, address_number *ret_number);
