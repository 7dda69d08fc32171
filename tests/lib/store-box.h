/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A real store in a folder of the test's own, and short words for filling and reading it. */
#pragma once

#include "daemon/store-internal.h"

#define BOX_TEST(name) cmocka_unit_test_setup_teardown(name, box_open, box_close)

struct store_box {
	char folder[64];
	char *path; /* in a folder that the store makes */
	struct store *store;
};
/* The one box of a test: cmocka's set-up and tear-down. */
extern struct store_box box;
int box_open(void **state);
int box_close(void **state);

/* Fails the test where the store cannot be opened. */
struct store *box_open_store(const char *path);
/* The sentence of a failing store_open; the test frees. */
char *box_refusal(const char *path);
/* Closed and opened again, as by a restart. */
void box_reopen(void);
/* A commit that must succeed. */
void box_commit(void);

/* What a query answers, past the store. */
int64_t box_number(const char *sql);
void box_execute(const char *sql);
/* Everything that SQLite can check holds. */
void box_check(void);
/* What all statements have taken since it was asked last, in steps of SQLite's virtual machine. */
uint64_t box_steps(void);

/* Queues a job of user 1000, of so many tasks, in state queued; its id. */
uint64_t box_put_job(const char *name, uint64_t tasks);
/* Queues all of a task's life, with this output of stdout; the position of its end. */
uint64_t box_put_task(uint64_t job, uint32_t index, const char *output, size_t size);
struct task_key box_key(uint64_t job, uint32_t index);
/* Queues size bytes of output; the position. */
uint64_t box_put_output(struct task_key key, enum stream stream, uint64_t offset, size_t size);

/* The numbers of what a read gave: ids, indexes or positions; and how much output. */
struct box_list {
	uint64_t items[64];
	size_t count, ends, bytes;
	size_t stop_after; /* the callback ends the reading then; 0: never */
};
int box_list_job(const struct job_row *row, void *list);
int box_list_task(const struct task_row *row, void *list);
int box_list_record(const struct record_row *row, void *list);
/* The list holds just these. */
#define box_expect(list, ...)                                      \
	box_expect_items(list, (const uint64_t[]){0, __VA_ARGS__}, \
			 ARRAY_SIZE(((const uint64_t[]){0, __VA_ARGS__})))
/* items[0] is not one of them, so that there may be none. */
void box_expect_items(const struct box_list *list, const uint64_t *items, size_t count);

/* A task as it is committed; fails the test where there is none. No texts. */
struct task_row box_task(struct task_key key);

/* Another program writes: no commit succeeds until box_unlock. */
sqlite3 *box_lock(void);
void box_unlock(sqlite3 *other);
