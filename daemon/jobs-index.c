/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Jobs in memory by id. Ids only grow, and those of a time come and go together: a page has the
 * places of so many ids in a row, and goes when the last of them does. One job more touches none of
 * the others, of which there may be a million: in a hash table it is linked to one that was last
 * seen long ago, and now and then all of them move.
 */
#include "daemon/jobs-internal.h"

#include "common/util.h"

#include <assert.h>

enum { PAGE_JOBS = 64 };

struct job_page {
	uint64_t number; /* of its first id, divided by PAGE_JOBS */
	unsigned count;
	struct live_job *jobs[PAGE_JOBS];
};

/* The first page of this number or above, of all pages or behind them. */
static size_t page_place(const struct job_index *index, uint64_t number)
{
	size_t low = 0, high = index->count;

	/* Most that is looked for is new. */
	if (high > 0 && index->pages[high - 1]->number <= number)
		return index->pages[high - 1]->number == number ? high - 1 : high;
	while (low < high) {
		size_t middle = (low + high) / 2;

		if (index->pages[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct job_page *page_find(const struct job_index *index, uint64_t number, size_t *ret_place)
{
	*ret_place = page_place(index, number);
	return *ret_place < index->count && index->pages[*ret_place]->number == number
		       ? index->pages[*ret_place]
		       : NULL;
}

struct live_job *job_index_find(const struct job_index *index, uint64_t id)
{
	size_t place;
	const struct job_page *page = page_find(index, id / PAGE_JOBS, &place);

	return page ? page->jobs[id % PAGE_JOBS] : NULL;
}

void job_index_add(struct job_index *index, struct live_job *job)
{
	uint64_t id = job->job.row.id;
	size_t place;
	struct job_page *page = page_find(index, id / PAGE_JOBS, &place);

	if (!page) {
		page = xcalloc(1, sizeof(*page));
		page->number = id / PAGE_JOBS;
		index->pages = xgrow(index->pages, index->count, sizeof(*index->pages));
		memmove(&index->pages[place + 1], &index->pages[place],
			(index->count - place) * sizeof(*index->pages));
		index->pages[place] = page;
		index->count++;
	}
	assert(!page->jobs[id % PAGE_JOBS]);
	page->jobs[id % PAGE_JOBS] = job;
	page->count++;
}

void job_index_remove(struct job_index *index, const struct live_job *job)
{
	uint64_t id = job->job.row.id;
	size_t place;
	struct job_page *page = page_find(index, id / PAGE_JOBS, &place);

	assert(page && page->jobs[id % PAGE_JOBS] == job);
	page->jobs[id % PAGE_JOBS] = NULL;
	if (--page->count > 0)
		return;
	free(page);
	index->count--;
	memmove(&index->pages[place], &index->pages[place + 1],
		(index->count - place) * sizeof(*index->pages));
	if (index->count > 0)
		return;
	free(index->pages);
	index->pages = NULL;
}

struct live_job *job_index_next(const struct job_index *index, uint64_t id)
{
	uint64_t number = id / PAGE_JOBS;
	size_t from = id % PAGE_JOBS;

	for (size_t place = page_place(index, number); place < index->count; place++, from = 0) {
		const struct job_page *page = index->pages[place];

		for (size_t i = page->number == number ? from : 0; i < PAGE_JOBS; i++)
			if (page->jobs[i])
				return page->jobs[i];
	}
	return NULL;
}
