/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The few helpers that every room uses. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

/* Memory: never NULL; running out of it aborts. Whatever a user can make large is bounded first. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *memory, size_t size);
/* Room for one item more in an array that grows by ones: the room doubles at powers of two. It may
 * lose items in between. */
void *xgrow(void *items, size_t count, size_t item_size);
void *xmemdup(const void *bytes, size_t size);
char *xstrdup(const char *text);
/* NULL gives NULL */
char *xstrdup_or_null(const char *text);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Wiped first; NULL is fine. */
void secret_free(char *text);

/* Clean-up at the end of a scope: autofree char *text = ...; autoclose int fd = ...; */
static inline void free_pointer(void *pointer)
{
	free(*(void **)pointer);
}
static inline void close_fd(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}
#define autofree  __attribute__((cleanup(free_pointer)))
#define autoclose __attribute__((cleanup(close_fd)))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/*
 * For the begin of main: a standard stream that is closed (>&-) becomes one that fails as it did
 * (EBADF), so that no socket or database gets its number, and then what is printed.
 */
void stdio_occupy(void);

/* The same file, and unchanged as far as its status tells */
bool is_same_file(const struct stat *a, const struct stat *b);

static inline int streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Microseconds: CLOCK_MONOTONIC for intervals, CLOCK_REALTIME (since the epoch) for showing. */
int64_t now_monotonic_us(void);
int64_t now_real_us(void);
#define US_PER_SEC ((int64_t)1000000)
#define US_PER_MS  ((int64_t)1000)
/* For timers; what is past is at once. */
static inline struct timeval timeval_of(int64_t us)
{
	if (us < 0)
		us = 0;
	return (struct timeval){.tv_sec = us / US_PER_SEC, .tv_usec = us % US_PER_SEC};
}
