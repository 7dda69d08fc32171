/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* --summary: of ten thousand targets, how many succeeded, which did not and why, and how fast. */
#include "client/client.h"

#include "common/hash.h"
#include "common/targets.h"
#include "common/util.h"

#include <langinfo.h>
#include <locale.h>

enum {
	FOLDED_MAX = 400, /* bytes of a list of targets, which may be as long as the job */
	SLOWEST = 10,
	BAR_WIDTH = 40,
	CLASSES_MAX = 3 * 9, /* of times: 1, 2, 5, 10, ... us */
};

/* Targets that came to the same end. */
struct ending {
	char *name; /* "succeeded", "no-reply", "stopped" */
	char **targets;
	size_t count;
	UT_hash_handle hh;
};

/* How long a target's replies took on average. */
struct timing {
	int64_t us;
	const char *target; /* of its ending */
};

struct summary {
	struct ending *endings;
	struct timing *timings;
	size_t total, timing_count;
};

/* --- Taking tasks --- */

static struct ending *ending_of(struct summary *summary, const json_t *task)
{
	const char *state = text_of(task, "state"), *error = text_of(task, "error");
	char word[32];
	const char *name = for_people(*error ? error : state, word);
	struct ending *ending;

	HASH_FIND_STR(summary->endings, name, ending);
	if (!ending) {
		ending = xcalloc(1, sizeof(*ending));
		ending->name = xstrdup(name);
		HASH_ADD_KEYPTR(hh, summary->endings, ending->name, strlen(name), ending);
	}
	return ending;
}

void summary_add(struct summary **summary, const char *target, const json_t *task)
{
	const json_t *average = json_object_get(json_object_get(task, "ping"), "avgUsec");
	struct ending *ending;
	struct summary *to;

	if (!*summary)
		*summary = xcalloc(1, sizeof(**summary));
	to = *summary;
	to->total++;
	ending = ending_of(to, task);
	ending->targets = xgrow(ending->targets, ending->count, sizeof(*ending->targets));
	ending->targets[ending->count++] = xstrdup(target);
	if (!average)
		return;
	to->timings = xgrow(to->timings, to->timing_count, sizeof(*to->timings));
	to->timings[to->timing_count++] = (struct timing){
		.us = json_integer_value(average),
		.target = ending->targets[ending->count - 1],
	};
}

/* --- Times --- */

static int slower_first(const void *a, const void *b)
{
	int64_t left = ((const struct timing *)a)->us, right = ((const struct timing *)b)->us;

	return (left < right) - (left > right);
}

static double ms(int64_t us)
{
	return (double)us / 1e3;
}

/* The upper end of a class, in microseconds. */
static int64_t class_end(size_t class)
{
	static const int64_t steps[] = {1, 2, 5};
	int64_t end = steps[class % 3];

	for (size_t i = 0; i < class / 3; i++)
		end *= 10;
	return end;
}

static void print_bar(size_t count, size_t most)
{
	const char *block = streq(nl_langinfo(CODESET), "UTF-8") ? "\u2588" : "#";
	size_t width = (count * BAR_WIDTH + most - 1) / most;

	for (size_t i = 0; i < width; i++)
		(void)fputs(block, stdout);
}

/* The timings are sorted. */
static void print_histogram(const struct summary *summary)
{
	size_t counts[CLASSES_MAX] = {0}, most = 0, first = CLASSES_MAX, last = 0;

	for (size_t i = 0; i < summary->timing_count; i++) {
		size_t class = 0;

		while (class < CLASSES_MAX - 1 && summary->timings[i].us > class_end(class))
			class ++;
		counts[class]++;
		most = counts[class] > most ? counts[class] : most;
		first = class < first ? class : first;
		last = class > last ? class : last;
	}
	for (size_t class = first; class <= last; class ++) {
		printf("  up to %9.3f  %8zu  ", ms(class_end(class)), counts[class]);
		print_bar(counts[class], most);
		printf("\n");
	}
}

static void print_slowest(const struct timing *timings, size_t count)
{
	size_t width = terminal_width(stdout), column = strlen("slowest:");

	printf("slowest:");
	for (size_t i = 0; i < count && i < SLOWEST; i++) {
		autofree char *one = xasprintf("%s %.3f", timings[i].target, ms(timings[i].us));
		size_t size = strlen(one) + 2;

		/* A terminal would break it within a word. */
		if (globals.is_terminal[0] && i > 0 && column + size > width) {
			printf(",\n        ");
			column = strlen("slowest:");
		} else if (i > 0) {
			printf(",");
		}
		printf(" ");
		print_clean_text(stdout, one);
		column += size;
	}
	printf("\n");
}

static void print_times(struct summary *summary)
{
	struct timing *timings = summary->timings;
	size_t count = summary->timing_count;
	int64_t sum = 0;

	if (count == 0)
		return;
	qsort(timings, count, sizeof(*timings), slower_first);
	for (size_t i = 0; i < count; i++)
		sum += timings[i].us;
	/* By nearest rank, from the slow end */
	printf("times in ms: min %.3f  median %.3f  avg %.3f  p95 %.3f  max %.3f\n",
	       ms(timings[count - 1].us), ms(timings[count / 2].us), ms(sum / (int64_t)count),
	       ms(timings[count / 20].us), ms(timings[0].us));
	if (count == 1)
		return;
	print_histogram(summary);
	print_slowest(timings, count);
}

/* --- Printing --- */

static int more_first(const struct ending *a, const struct ending *b)
{
	bool is_a = streq(a->name, "succeeded"), is_b = streq(b->name, "succeeded");

	if (is_a != is_b)
		return is_a ? -1 : 1;
	return (a->count < b->count) - (a->count > b->count);
}

/* "r[01-28],r30", cut where it is too long. */
static void print_targets(const struct ending *ending)
{
	autofree char *folded = target_fold((const char *const *)ending->targets, ending->count);
	size_t size = strlen(folded);

	if (size > FOLDED_MAX) {
		size = FOLDED_MAX;
		while (size > 0 && folded[size] != ',')
			size--;
	}
	print_clean(stdout, folded, size);
	printf("%s\n", folded[size] == '\0' ? "" : ", ...");
}

static void ending_free(struct ending *ending)
{
	for (size_t i = 0; i < ending->count; i++)
		free(ending->targets[i]);
	free(ending->targets);
	free(ending->name);
	free(ending);
}

void summary_print(struct summary **of)
{
	struct summary *summary = *of;
	struct ending *ending, *next;

	if (!summary)
		return;
	(void)setlocale(LC_CTYPE, "");
	HASH_SORT(summary->endings, more_first);
	printf("%s%zu target%s%s\n", color(stdout, COLOR_BOLD), summary->total,
	       summary->total == 1 ? "" : "s", color(stdout, COLOR_OFF));
	HASH_ITER (hh, summary->endings, ending, next) {
		bool is_good = streq(ending->name, "succeeded");

		printf("  %s%-14s%s %8zu  ", color(stdout, is_good ? COLOR_GREEN : COLOR_RED),
		       ending->name, color(stdout, COLOR_OFF), ending->count);
		print_targets(ending);
	}
	print_times(summary);
	HASH_ITER (hh, summary->endings, ending, next) {
		HASH_DEL(summary->endings, ending);
		ending_free(ending);
	}
	free(summary->timings);
	free(summary);
	*of = NULL;
}
