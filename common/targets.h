/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Target lists: what "r[01-30].lab", "10.0.0.0/24" or "user@host:2222" stand for, kept as they are
 * written and never expanded into memory; the i-th target is computed.
 *
 * Notation:
 *   host, address                one target
 *   [user@]host[:port]           for kinds that log in; [v6]:port with a port
 *   r[01-30,40].lab              numbers in brackets, zero-padded as the first is; also 01:30;
 *                                several brackets multiply, the rightmost running fastest
 *   10.0.0.0/24                  the usable addresses of a network (not the network's and the
 *                                broadcast address, where the prefix is shorter than 31)
 *   10.0.0.5-10.0.0.20           an address range, both ends included
 *   2001:db8::/120               all addresses
 * Order is as written. A target that was named before is left out (compared as text; addresses as
 * addresses), and so is what exclude names: exactly, whatever the size of networks; lists of names
 * are bounded to TARGET_NAMES_MAX so that this stays possible.
 */
#pragma once

#include "common/error.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TARGET_TEXT_MAX = 320,      /* bytes of one target with its NUL: user, host name, port */
	TARGET_NAMES_MAX = 1000000, /* names (not addresses from networks or ranges) in a list */
};

struct target_list;

/*
 * Parses; a list holds at least one and at most limit targets, else ERROR_INVALID_TARGET or
 * ERROR_LIMIT_REACHED ("max-targets"). Immutable afterwards, any thread may read, and hold it by a
 * reference of its own.
 */
int target_list_new(const char *const *include, size_t include_count, const char *const *exclude,
		    size_t exclude_count, uint64_t limit, struct target_list **ret_list,
		    struct error *ret_error);
/* Another order, by chance but the same for the same seed; right after it was made. */
void target_list_shuffle(struct target_list *list, uint64_t seed);
struct target_list *target_list_ref(struct target_list *list);
/* Gives up a reference, the first or another; with the last it is gone. NULL is fine. */
void target_list_free(struct target_list *list);
uint64_t target_list_count(const struct target_list *list);
/* The text of target number index < count; O(log of the number of terms). */
void target_list_text(const struct target_list *list, uint64_t index,
		      char ret_text[static TARGET_TEXT_MAX]);
/* The index of a target by its text (an address in any spelling); false if it is not in the list.
 */
bool target_list_find(const struct target_list *list, const char *text, uint64_t *ret_index);

/*
 * The same for all targets of another list: once through both, not once for each, and in pieces. It
 * has references to them.
 */
struct target_search;
struct target_search *target_search_new(struct target_list *list, struct target_list *wanted);
/* A piece, of a fraction of a millisecond. True: there is more of it. */
bool target_search_step(struct target_search *search);
/* Then: the place in `wanted` of the first that is not in the list, or how many there are. The
 * indices, in the order of `wanted`, are the search's. */
uint64_t target_search_found(const struct target_search *search, const uint64_t **ret_indices);
/* NULL is fine. */
void target_search_free(struct target_search *search);

/* One target taken apart. Ports: 0 when there is none. */
struct target_parts {
	char user[64]; /* "" when there is none */
	char host[256];
	uint16_t port;
};
/* 0, or -EINVAL where it is not of the form [user@]host[:port]. A bare IPv6 address has no port. */
int target_split(const char *text, struct target_parts *ret_parts);
/* "10.0.0.010", which getaddrinfo(3) takes for 10.0.0.8, and people for 10.0.0.10. */
bool target_host_is_octal(const char *host);

/*
 * Names folded as people write them: r01 r02 r03 x -> "r[01-03],x", 10.0.0.1 10.0.0.2 ->
 * "10.0.0.[1-2]", and longer rows of addresses 10.0.0.1-10.0.3.254. O(n log n).
 * The caller frees.
 */
char *target_fold(const char *const *names, size_t count);
