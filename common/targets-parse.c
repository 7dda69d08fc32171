/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a user's word to a term: an address, a network, an address range, or a pattern of names. */
#include "common/targets-internal.h"

#include "common/units.h"
#include "common/util.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>

enum { BRACKETS_MAX = 8, DIGITS_MAX = 18 };

static int invalid(struct error *ret_error, const char *word, const char *why)
{
	return error_set(ret_error, ERROR_INVALID_TARGET, word, "'%.80s': %s", word, why);
}

void term_done(struct term *term)
{
	if (term->type != TERM_NAMES)
		return;
	for (size_t i = 0; i < term->bracket_count; i++)
		free(term->brackets[i].spans);
	free(term->brackets);
	free(term->text);
	free(term->dropped);
}

/* --- Addresses --- */

int address_number_parse(const char *text, enum term_type *ret_type, address_number *ret_number)
{
	struct in6_addr ipv6;
	struct in_addr ipv4;

	if (inet_pton(AF_INET, text, &ipv4) == 1) {
		*ret_type = TERM_IPV4;
		*ret_number = ntohl(ipv4.s_addr);
		return 1;
	}
	if (inet_pton(AF_INET6, text, &ipv6) != 1)
		return 0;
	*ret_type = TERM_IPV6;
	*ret_number = 0;
	for (size_t i = 0; i < sizeof(ipv6.s6_addr); i++)
		*ret_number = *ret_number << 8 | ipv6.s6_addr[i];
	return 1;
}

struct term term_of_addresses(enum term_type type, address_number first, address_number last)
{
	address_number span = last - first;

	return (struct term){
		.type = type,
		.first = first,
		.last = last,
		/* What is larger than any limit need not be exact. */
		.count = span >= UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)span + 1,
	};
}

/* ADDRESS/PREFIX; the word is cut at its slash. */
static int parse_network(const char *word, char *address, const char *prefix_text,
			 struct term *ret_term, struct error *ret_error)
{
	address_number number, mask, first, last;
	enum term_type type;
	int64_t prefix;
	int bits;

	if (!address_number_parse(address, &type, &number))
		return invalid(ret_error, word, "before the '/' stands no address");
	bits = type == TERM_IPV6 ? 128 : 32;
	if (number_parse(prefix_text, 0, bits, &prefix) < 0)
		return invalid(ret_error, word,
			       type == TERM_IPV6 ? "a prefix length is 0 to 128"
						 : "a prefix length is 0 to 32");
	mask = prefix == bits ? 0 : ~(address_number)0 >> (128 - bits + prefix);
	first = number & ~mask;
	last = number | mask;
	/* RFC 919 and 3021: the network's own address and the broadcast address are no hosts. */
	if (type == TERM_IPV4 && prefix < 31) {
		first++;
		last--;
	}
	*ret_term = term_of_addresses(type, first, last);
	return 0;
}

/* ADDRESS-ADDRESS: 1 if the word is one, 0 if it is none. */
static int parse_range(const char *word, char *copy, struct term *ret_term, struct error *ret_error)
{
	enum term_type first_type, last_type;
	address_number first, last;
	char *dash = strchr(copy, '-');

	if (!dash)
		return 0;
	*dash = '\0';
	if (!address_number_parse(copy, &first_type, &first) ||
	    !address_number_parse(dash + 1, &last_type, &last)) {
		*dash = '-';
		return 0;
	}
	if (first_type != last_type)
		return invalid(ret_error, word, "both ends must be of one IP version");
	if (first > last)
		return invalid(ret_error, word, "the first address is above the last");
	*ret_term = term_of_addresses(first_type, first, last);
	return 1;
}

/* --- Names --- */

/* "01-30,40" between brackets. Numbers of at most DIGITS_MAX digits. */
static int parse_bracket(const char *word, const char *text, size_t size, struct bracket *bracket,
			 struct error *ret_error)
{
	const char *at = text, *end = text + size;

	while (at < end) {
		struct span span;
		size_t digits = strspn(at, "0123456789");
		const char *first_at = at;

		if (digits == 0 || digits > DIGITS_MAX)
			return invalid(ret_error, word,
				       "a bracket holds numbers and ranges: [01-30,40]");
		span.first = span.last = strtoull(at, NULL, 10);
		at += digits;
		if (at < end && (*at == '-' || *at == ':')) {
			size_t last_digits = strspn(++at, "0123456789");

			if (last_digits == 0 || last_digits > DIGITS_MAX)
				return invalid(ret_error, word,
					       "a range in a bracket has two ends: [01-30]");
			span.last = strtoull(at, NULL, 10);
			at += last_digits;
		}
		if (span.last < span.first)
			return invalid(ret_error, word,
				       "a range in a bracket goes from low to high");
		if (bracket->span_count == 0 && first_at[0] == '0' && digits > 1)
			bracket->width = (unsigned)digits;
		bracket->spans = xgrow(bracket->spans, bracket->span_count, sizeof(span));
		span.before = bracket->count;
		bracket->spans[bracket->span_count++] = span;
		if (bracket->count <= TARGET_NAMES_MAX) /* more is refused anyway */
			bracket->count += span.last - span.first + 1;
		if (at < end && *at++ != ',')
			return invalid(ret_error, word,
				       "a bracket holds numbers and ranges: [01-30,40]");
	}
	return bracket->count > 0 ? 0 : invalid(ret_error, word, "an empty bracket");
}

/* "[2001:db8::1]:22" is an address and its port. */
static bool is_address_bracket(const char *text, size_t size)
{
	char address[INET6_ADDRSTRLEN + 16];
	struct in6_addr ignored;

	if (size >= sizeof(address))
		return false;
	memcpy(address, text, size);
	address[size] = '\0';
	address[strcspn(address, "%")] = '\0';
	return inet_pton(AF_INET6, address, &ignored) == 1;
}

static int check_characters(const char *word, struct error *ret_error)
{
	size_t size = strlen(word);

	if (size == 0)
		return error_set(ret_error, ERROR_INVALID_TARGET, word, "a target is empty");
	if (word[0] == '-')
		return invalid(ret_error, word, "a target begins with no '-'");
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)word[i] <= ' ' || word[i] == 0x7f ||
		    strchr("'\"\\<>|;", word[i]))
			return invalid(
				ret_error, word,
				"a target has no blanks, no quotes, none of ; | < > \\ and no "
				"control characters");
	return 0;
}

static int parse_names(const char *word, struct term *term, struct error *ret_error)
{
	size_t used = 0;

	*term = (struct term){.type = TERM_NAMES, .count = 1, .text = xcalloc(1, strlen(word) + 1)};
	for (const char *at = word; *at; at++) {
		const char *close = *at == '[' ? strchr(at, ']') : NULL;
		struct bracket *bracket;
		int r;

		if (*at == ']' || (*at == '[' && !close))
			return invalid(ret_error, word,
				       *at == '[' ? "the bracket is not closed (quote the word, "
						    "so that the shell leaves it alone)"
						  : "a ']' without its '['");
		if (*at != '[' || is_address_bracket(at + 1, (size_t)(close - at) - 1)) {
			size_t size = *at == '[' ? (size_t)(close - at) + 1 : 1;

			memcpy(term->text + used, at, size);
			used += size;
			at += size - 1;
			continue;
		}
		if (term->bracket_count == BRACKETS_MAX)
			return invalid(ret_error, word, "more than 8 brackets");
		term->brackets = xrealloc(term->brackets,
					  (term->bracket_count + 1) * sizeof(*term->brackets));
		bracket = &term->brackets[term->bracket_count++];
		*bracket = (struct bracket){.at = used};
		r = parse_bracket(word, at + 1, (size_t)(close - at) - 1, bracket, ret_error);
		if (r < 0)
			return r;
		if (__builtin_mul_overflow(term->count, bracket->count, &term->count) ||
		    term->count > TARGET_NAMES_MAX)
			return error_set(ret_error, ERROR_LIMIT_REACHED, "max-targets",
					 "'%.80s' stands for more than %d names: name fewer, or "
					 "use networks such as 10.0.0.0/8",
					 word, TARGET_NAMES_MAX);
		at = close;
	}
	if (used + term->bracket_count * DIGITS_MAX >= TARGET_TEXT_MAX)
		return invalid(ret_error, word, "a target is longer than 319 bytes");
	return 0;
}

int term_parse(const char *word, struct term *ret_term, struct error *ret_error)
{
	autofree char *copy = NULL;
	address_number number;
	enum term_type type;
	char *slash;
	int r = check_characters(word, ret_error);

	*ret_term = (struct term){.type = TERM_NAMES};
	if (r < 0)
		return r;
	if (address_number_parse(word, &type, &number)) {
		*ret_term = term_of_addresses(type, number, number);
		return 0;
	}
	copy = xstrdup(word);
	slash = strchr(copy, '/');
	if (slash) {
		*slash = '\0';
		return parse_network(word, copy, slash + 1, ret_term, ret_error);
	}
	r = parse_range(word, copy, ret_term, ret_error);
	if (r != 0)
		return r < 0 ? r : 0;
	return parse_names(word, ret_term, ret_error);
}

/* --- One target taken apart --- */

bool target_host_is_octal(const char *host)
{
	unsigned dots = 0;
	bool is_octal = false;

	if (strspn(host, "0123456789.") != strlen(host))
		return false;
	for (const char *at = host; *at; at++) {
		bool is_first = at == host || at[-1] == '.';

		dots += *at == '.';
		is_octal |= is_first && at[0] == '0' && isdigit((unsigned char)at[1]);
	}
	return is_octal && dots == 3;
}

int target_split(const char *text, struct target_parts *ret_parts)
{
	struct target_parts parts = {0};
	const char *sign = strrchr(text, '@');
	const char *host = sign ? sign + 1 : text;
	const char *port = NULL;
	size_t user_size = sign ? (size_t)(sign - text) : 0;
	size_t host_size;
	int64_t number;

	if ((sign && user_size == 0) || user_size >= sizeof(parts.user))
		return -EINVAL;
	memcpy(parts.user, text, user_size);
	if (host[0] == '[') {
		const char *close = strchr(host, ']');

		if (!close || (close[1] != '\0' && close[1] != ':'))
			return -EINVAL;
		port = close[1] == ':' ? close + 2 : NULL;
		host++;
		host_size = (size_t)(close - host);
	} else {
		const char *colon = strchr(host, ':');

		/* Two colons: an IPv6 address, which has no port without brackets. */
		if (colon && !strchr(colon + 1, ':'))
			port = colon + 1;
		host_size = port ? (size_t)(colon - host) : strlen(host);
	}
	if (host_size == 0 || host_size >= sizeof(parts.host))
		return -EINVAL;
	memcpy(parts.host, host, host_size);
	if (port) {
		if (number_parse(port, 1, UINT16_MAX, &number) < 0)
			return -EINVAL;
		parts.port = (uint16_t)number;
	}
	*ret_parts = parts;
	return 0;
}
