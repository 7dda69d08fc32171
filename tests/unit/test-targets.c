/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/targets-internal.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORDS_AT_MOST = 1000 };

/* Words with blanks between, as lists of include and exclude. */
static int make(const char *include, const char *exclude, uint64_t limit,
		struct target_list **ret_list, struct error *ret_error)
{
	const char *words[2][WORDS_AT_MOST];
	size_t counts[2] = {0};
	char *copies[2];
	const char *texts[2] = {include, exclude};
	int r;

	for (size_t i = 0; i < 2; i++) {
		char *rest = copies[i] = xstrdup(texts[i]), *word;

		while ((word = strsep(&rest, " ")))
			if (*word || (i == 0 && !*texts[0]))
				words[i][counts[i]++] = word;
	}
	r = target_list_new(words[0], counts[0], words[1], counts[1], limit, ret_list, ret_error);
	free(copies[0]);
	free(copies[1]);
	return r;
}

/* The list, written out; also that each target is found where it stands. */
static void check(const char *include, const char *exclude, const char *expected)
{
	struct target_list *list;
	struct error error = {0};
	char text[TARGET_TEXT_MAX], all[4096] = "";

	if (make(include, exclude, 1000, &list, &error) < 0)
		fail_msg("%s: %s", include, error.sentence);
	for (uint64_t i = 0; i < target_list_count(list); i++) {
		uint64_t index;

		target_list_text(list, i, text);
		assert_true(target_list_find(list, text, &index));
		assert_int_equal(index, i);
		(void)snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
			       i > 0 ? " " : "", text);
	}
	assert_string_equal(all, expected);
	target_list_free(list);
}

static void test_notation(void **state)
{
	(void)state;
	check("router7", "", "router7");
	check("r[1-3]", "", "r1 r2 r3");
	check("r[08-11,40].lab", "", "r08.lab r09.lab r10.lab r11.lab r40.lab");
	check("r[1:2]", "", "r1 r2");
	check("a[1-2]b[3-4]", "", "a1b3 a1b4 a2b3 a2b4");
	check("10.0.0.0/30", "", "10.0.0.1 10.0.0.2");
	check("10.0.0.5/30", "", "10.0.0.5 10.0.0.6");
	check("10.0.0.0/31", "", "10.0.0.0 10.0.0.1");
	check("10.0.0.7/32", "", "10.0.0.7");
	check("10.0.0.254-10.0.1.1", "", "10.0.0.254 10.0.0.255 10.0.1.0 10.0.1.1");
	check("2001:db8::/127", "", "2001:db8:: 2001:db8::1");
	check("user@host:2222 [::1]:22", "", "user@host:2222 [::1]:22");
	check("fe80::1%eth0", "", "fe80::1%eth0");
}

static void test_once(void **state)
{
	(void)state;
	check("b a b", "", "b a");
	check("r[1-3] r2 r[2-4]", "", "r1 r2 r3 r4");
	check("R1 r1", "", "R1");
	check("a@h b@h a@h", "", "a@h b@h");
	check("10.0.0.2 10.0.0.0/29", "", "10.0.0.2 10.0.0.1 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6");
	check("10.0.0.[1-3] 10.0.0.2-10.0.0.4", "", "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4");
	check("::1 0::1", "", "::1");
	/* Numbers that are near each other, of both families */
	check("0.0.0.0 ::1 ::", "", "0.0.0.0 ::1 ::");
	check("::10.0.0.2 10.0.0.1 10.0.0.2", "", "::10.0.0.2 10.0.0.1 10.0.0.2");
	check("::1 ::ffff:0.0.0.0 255.255.255.255", "0.0.0.0",
	      "::1 ::ffff:0.0.0.0 255.255.255.255");
	/* 1|11 and 11|1 are one name */
	check("r[1,11][1,11]", "", "r11 r111 r1111");
	check("r[1,11]1[1,11]", "", "r111 r1111 r11111");
	check("r[1,11]-1[1,11]", "", "r1-11 r1-111 r11-11 r11-111");
	check("r[1-3,2-4]", "", "r1 r2 r3 r4");
	check("r[3,1-3]", "", "r3 r1 r2");
}

static void test_exclude(void **state)
{
	(void)state;
	check("r[1-5]", "r[2-3]", "r1 r4 r5");
	check("10.0.0.0/29", "10.0.0.2-10.0.0.4", "10.0.0.1 10.0.0.5 10.0.0.6");
	check("10.0.0.0/30 x", "10.0.0.0/24", "x");
	/* Networks of more addresses than can be counted */
	check("2001:db8::8000:0:0:1 x", "2001:db8::/64", "x");
	check("2001:db8:0:1::/126 2001:db8:1::/127", "2001:db8::/48", "2001:db8:1:: 2001:db8:1::1");
	check("x ::1", "::/0", "x");
}

/* Of all that are wanted up to the first that is missing; in so many pieces. */
static unsigned find_all(struct target_list *list, struct target_list *wanted, uint64_t found,
			 uint64_t *ret_indices)
{
	struct target_search *search = target_search_new(list, wanted);
	const uint64_t *indices;
	unsigned pieces = 1;

	while (target_search_step(search))
		pieces++;
	assert_int_equal(target_search_found(search, &indices), found);
	for (uint64_t i = 0; i < found; i++)
		ret_indices[i] = indices[i];
	target_search_free(search);
	return pieces;
}

/* Addresses in no order, and a bracket of single numbers: neither may take the square of the time.
 */
static void test_scattered(void **state)
{
	enum { COUNT = 200000 };
	autofree const char **words = xcalloc(COUNT, sizeof(*words));
	struct target_list *list;
	struct error error = {0};
	char text[TARGET_TEXT_MAX];
	char *bracket = NULL;
	size_t size;
	FILE *out = open_memstream(&bracket, &size);
	autofree uint64_t *indices = xcalloc(COUNT, sizeof(*indices));
	uint64_t index;

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++) {
		uint32_t number = i * 2654435761U | 1; /* all different, by the golden ratio */

		words[i] = xasprintf("10.%u.%u.%u", number >> 24, number >> 16 & 255,
				     number >> 8 & 255);
		(void)fprintf(out, "%s%u", i > 0 ? "," : "r[", 2 * i);
	}
	(void)fprintf(out, "]");
	assert_int_equal(fclose(out), 0);
	(void)alarm(60); /* the square takes minutes */
	assert_int_equal(target_list_new(words, COUNT, NULL, 0, COUNT, &list, &error), 0);
	target_list_text(list, 77777, text);
	assert_true(target_list_find(list, text, &index));
	assert_int_equal(index, 77777);
	target_list_free(list);
	assert_int_equal(
		target_list_new((const char *const[]){bracket}, 1, NULL, 0, COUNT, &list, &error),
		0);
	target_list_text(list, COUNT - 1, text);
	assert_string_equal(text, "r399998");
	(void)find_all(list, list, COUNT, indices);
	assert_int_equal(indices[COUNT - 1], COUNT - 1);
	(void)alarm(0);
	target_list_free(list);
	for (uint32_t i = 0; i < COUNT; i++)
		free((char *)(uintptr_t)words[i]);
	free(bracket);
}

/* Addresses that are written out one behind the other take the room of a range. */
static void test_rows(void **state)
{
	static const char last[] = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
	enum { COUNT = WORDS_AT_MOST };
	struct target_list *list;
	struct error error = {0};
	char *words = NULL, text[TARGET_TEXT_MAX];
	uint64_t index;
	size_t size;
	FILE *out = open_memstream(&words, &size);

	(void)state;
	for (unsigned i = 0; i < COUNT; i++)
		(void)fprintf(out, "10.0.%u.%u ", i >> 8, i & 255);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(make(words, "", COUNT, &list, &error), 0);
	assert_int_equal(list->count, 1);
	assert_int_equal(target_list_count(list), COUNT);
	target_list_text(list, COUNT - 1, text);
	assert_string_equal(text, "10.0.3.231");
	assert_true(target_list_find(list, "10.0.1.0", &index));
	assert_int_equal(index, 256);
	target_list_free(list);
	free(words);
	/* Behind the last address comes none, least of all the first */
	words = xasprintf("255.255.255.255 0.0.0.0 %s ::", last);
	check(words, "", words);
	free(words);
}

static void write_address(FILE *out, bool is_ipv6, unsigned number)
{
	if (is_ipv6)
		(void)fprintf(out, "2001:db8::%x", number + 1);
	else
		(void)fprintf(out, "10.0.0.%u", number + 1);
}

/* A word of some of 64 addresses, IPv4 or IPv6; which they are. */
static void write_word(FILE *out, bool *ret_is_ipv6, unsigned *ret_first, unsigned *ret_last)
{
	unsigned first = (unsigned)rand() % 64, last = first + (unsigned)rand() % (64 - first);
	bool is_ipv6 = rand() % 3 == 0;

	if (rand() % 2 == 0)
		last = first;
	if (!is_ipv6 && rand() % 4 == 0) {
		/* Names that are addresses */
		(void)fprintf(out, "10.0.0.[%u-%u]", first + 1, last + 1);
	} else {
		write_address(out, is_ipv6, first);
		if (last > first || rand() % 4 == 0) {
			(void)fputc('-', out);
			write_address(out, is_ipv6, last);
		}
	}
	(void)fputc(' ', out);
	*ret_is_ipv6 = is_ipv6;
	*ret_first = first;
	*ret_last = last;
}

/* Each address once, where it was first named, whatever comes before what. */
static void test_any(void **state)
{
	enum { TIMES = 3000, WORDS_MAX = 8, BYTES = 1024 };
	size_t tried = 0;

	(void)state;
	srand(1);
	for (unsigned round = 0; round < TIMES; round++) {
		char texts[2][BYTES] = {""}, expected[BYTES * 4] = "";
		bool is_there[2][64] = {{false}};
		FILE *out = fmemopen(expected, sizeof(expected), "w");

		/* What is excluded first */
		for (int part = 1; part >= 0; part--) {
			FILE *words = fmemopen(texts[part], BYTES, "w");

			for (int left = rand() % WORDS_MAX + (part == 0); left > 0; left--) {
				unsigned first, last;
				bool is_ipv6;

				write_word(words, &is_ipv6, &first, &last);
				for (unsigned i = first; i <= last; i++) {
					if (part == 0 && !is_there[is_ipv6][i]) {
						(void)fputc(' ', out);
						write_address(out, is_ipv6, i);
					}
					is_there[is_ipv6][i] = true;
				}
			}
			assert_int_equal(fclose(words), 0);
		}
		assert_int_equal(fclose(out), 0);
		if (expected[0] == '\0')
			continue; /* all of it is excluded */
		check(texts[0], texts[1], expected + 1);
		tried++;
	}
	assert_in_range(tried, TIMES / 2, TIMES);
}

/* Large networks cost nothing, wherever one asks. */
static void test_large(void **state)
{
	struct target_list *list;
	struct error error = {0};
	char text[TARGET_TEXT_MAX];
	uint64_t index;

	(void)state;
	assert_int_equal(make("10.0.0.0/8", "10.5.0.0/16", 1 << 25, &list, &error), 0);
	assert_int_equal(target_list_count(list), (1 << 24) - 2 - (1 << 16) + 2);
	target_list_text(list, 0, text);
	assert_string_equal(text, "10.0.0.1");
	target_list_text(list, target_list_count(list) - 1, text);
	assert_string_equal(text, "10.255.255.254");
	/* 10.5.0.1 to .254 are left out: its network's and broadcast address are not */
	assert_false(target_list_find(list, "10.5.77.1", &index));
	assert_true(target_list_find(list, "10.6.0.0", &index));
	target_list_text(list, index, text);
	assert_string_equal(text, "10.6.0.0");
	target_list_free(list);

	assert_int_equal(make("n[000001-999999]", "", 1 << 25, &list, &error), 0);
	target_list_text(list, 499999, text);
	assert_string_equal(text, "n500000");
	target_list_free(list);
}

static void check_refused(const char *include, uint64_t limit, enum error_id id, const char *part)
{
	struct target_list *list;
	struct error error = {0};

	assert_true(make(include, "", limit, &list, &error) < 0);
	assert_int_equal(error.id, id);
	if (!strstr(error.sentence, part))
		fail_msg("%s: %s", include, error.sentence);
	assert_null(strchr(error.sentence, '\n'));
	error_done(&error);
}

static void test_refused(void **state)
{
	static const struct {
		const char *word, *part;
	} rows[] = {
		{"r[01-", "not closed"},        {"r01]", "without its '['"},
		{"r[9-1]", "low to high"},      {"r[a]", "numbers and ranges"},
		{"r[]", "empty bracket"},       {"r[1-]", "two ends"},
		{"10.0.0.0/33", "0 to 32"},     {"host/24", "no address"},
		{"10.0.0.9-10.0.0.1", "above"}, {"10.0.0.1-::1", "one IP version"},
		{"-x", "begins with no '-'"},   {"a\tb", "no blanks"},
		{"2001:db8::/129", "0 to 128"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_refused(rows[i].word, 1000, ERROR_INVALID_TARGET, rows[i].part);
	check_refused("10.0.0.0/8", 1000, ERROR_LIMIT_REACHED, "max-targets");
	check_refused("::/0", 1000, ERROR_LIMIT_REACHED, "max-targets");
	check_refused("n[1-2000000]", 1 << 25, ERROR_LIMIT_REACHED, "1000000 names");
	check_refused("a[1-1000][1-1000][1-1000]", 1 << 25, ERROR_LIMIT_REACHED, "names");
}

static void test_split(void **state)
{
	static const struct {
		const char *text, *user, *host;
		unsigned port;
	} rows[] = {
		{"h", "", "h", 0},          {"u@h", "u", "h", 0},
		{"h:22", "", "h", 22},      {"u@h:2222", "u", "h", 2222},
		{"::1", "", "::1", 0},      {"[::1]:22", "", "::1", 22},
		{"u@[::1]", "u", "::1", 0}, {"a@b@h", "a@b", "h", 0},
	};
	static const char *const wrong[] = {
		"", "@h", "u@", "h:", "h:0", "h:65536", "[::1", "[::1]x"};
	struct target_parts parts;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(target_split(rows[i].text, &parts), 0);
		assert_string_equal(parts.user, rows[i].user);
		assert_string_equal(parts.host, rows[i].host);
		assert_int_equal(parts.port, rows[i].port);
	}
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(target_split(wrong[i], &parts), -EINVAL);
}

static void check_fold(const char *names, const char *expected)
{
	autofree char *copy = xstrdup(names);
	char *rest = copy, *word;
	const char *list[64];
	size_t count = 0;

	while ((word = strsep(&rest, " ")))
		list[count++] = word;
	autofree char *folded = target_fold(list, count);
	assert_string_equal(folded, expected);
}

static void test_fold(void **state)
{
	(void)state;
	check_fold("r01", "r01");
	check_fold("r03 r01 r02 x", "r[01-03],x");
	check_fold("10.0.0.1 10.0.0.2 10.0.0.4", "10.0.0.[1-2,4]");
	check_fold("r8 r9 r10", "r[8-10]");
	check_fold("r1.lab r2.lab r1.home", "r1.home,r[1-2].lab");
	check_fold("h1:22 h2:22", "h[1-2]:22");
	check_fold("a b", "a,b");
	check_fold("10.0.1.0 10.0.0.254 10.0.0.255 10.0.1.2", "10.0.0.254-10.0.1.0,10.0.1.2");
	check_fold("x 10.0.1.0 10.0.0.255", "10.0.0.255-10.0.1.0,x");
	check_fold("255.255.255.255 0.0.0.0", "0.0.0.0,255.255.255.255");
}

/* Another order of the same; what is at an index is found at it. */
static void test_shuffle(void **state)
{
	struct target_list *list, *as_written;
	struct error error = {0};
	char text[TARGET_TEXT_MAX], written[TARGET_TEXT_MAX];
	size_t moved = 0;

	(void)state;
	assert_int_equal(
		make("10.0.0.0/24 r[001-200] 10.0.1.5", "10.0.0.7 r[3,5]", 1000, &list, &error), 0);
	assert_int_equal(make("10.0.0.0/24 r[001-200] 10.0.1.5", "10.0.0.7 r[3,5]", 1000,
			      &as_written, &error),
			 0);
	target_list_shuffle(list, 77);
	for (uint64_t i = 0; i < target_list_count(list); i++) {
		uint64_t index;

		target_list_text(list, i, text);
		target_list_text(as_written, i, written);
		moved += strcmp(text, written) != 0;
		assert_true(target_list_find(list, text, &index));
		assert_int_equal(index, i);
		assert_true(target_list_find(as_written, text, &index));
	}
	assert_true(moved > 400);
	target_list_free(list);
	target_list_free(as_written);
}

/* Of wanted, as words; -1 stands for what is missing. */
static void check_find_all(struct target_list *list, const char *words, uint64_t found,
			   const uint64_t *places)
{
	struct target_list *wanted;
	struct error error = {0};
	uint64_t indices[8];

	assert_int_equal(make(words, "", 1000, &wanted, &error), 0);
	(void)find_all(list, wanted, found, indices);
	for (uint64_t i = 0; i < found; i++)
		assert_int_equal(indices[i], places[i]);
	target_list_free(wanted);
}

static void test_find_all(void **state)
{
	struct target_list *list;
	struct error error = {0};

	(void)state;
	assert_int_equal(
		make("10.0.0.0/29 r[1-3] 10.0.1.[1-3] u@R4 ::1", "r2", 1000, &list, &error), 0);
	check_find_all(list, "R3 10.0.0.2 u@r4 10.0.1.3 0:0::1", 5,
		       (const uint64_t[]){7, 1, 11, 10, 12});
	check_find_all(list, "r[1,3] 10.0.0.6", 3, (const uint64_t[]){6, 7, 5});
	check_find_all(list, "r1 r2 r3", 1, (const uint64_t[]){6});
	check_find_all(list, "U@r4", 0, NULL);
	target_list_shuffle(list, 77);
	for (uint64_t i = 0; i < target_list_count(list); i++) {
		char text[TARGET_TEXT_MAX];

		target_list_text(list, i, text);
		check_find_all(list, text, 1, &i);
	}
	target_list_free(list);
}

/* However long the list is; and no further than it must. */
static void test_find_pieces(void **state)
{
	struct target_list *list, *first, *last, *all;
	struct error error = {0};
	autofree uint64_t *indices = xcalloc(100000, sizeof(*indices));

	(void)state;
	assert_int_equal(make("r[1-100000]", "", 1 << 20, &list, &error), 0);
	assert_int_equal(make("R1 r10", "", 10, &first, &error), 0);
	assert_int_equal(make("r100000", "", 10, &last, &error), 0);
	assert_int_equal(make("r[1-50000] r[1-100000]", "", 1 << 20, &all, &error), 0);
	assert_int_equal(find_all(list, first, 2, indices), 1);
	assert_int_equal(indices[1], 9);
	assert_true(find_all(list, last, 1, indices) >= 100);
	assert_int_equal(indices[0], 99999);
	assert_true(find_all(list, all, 100000, indices) >= 200);
	assert_int_equal(indices[77777], 77777);
	target_list_free(list);
	target_list_free(first);
	target_list_free(last);
	target_list_free(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notation),    cmocka_unit_test(test_once),
		cmocka_unit_test(test_exclude),     cmocka_unit_test(test_shuffle),
		cmocka_unit_test(test_scattered),   cmocka_unit_test(test_large),
		cmocka_unit_test(test_refused),     cmocka_unit_test(test_split),
		cmocka_unit_test(test_fold),        cmocka_unit_test(test_find_all),
		cmocka_unit_test(test_find_pieces), cmocka_unit_test(test_rows),
		cmocka_unit_test(test_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
