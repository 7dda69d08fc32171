/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/util.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static void *checked(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

void *xmalloc(size_t size)
{
	return checked(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
	return checked(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *memory, size_t size)
{
	return checked(realloc(memory, size ? size : 1));
}

void secret_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void *xgrow(void *items, size_t count, size_t item_size)
{
	return (count & (count - 1)) != 0 ? items
					  : xrealloc(items, (count ? 2 * count : 1) * item_size);
}

void *xmemdup(const void *bytes, size_t size)
{
	void *copy = xmalloc(size);

	if (size > 0)
		memcpy(copy, bytes, size);
	return copy;
}

char *xstrdup(const char *text)
{
	return checked(strdup(text));
}

char *xstrdup_or_null(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

char *xasprintf(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	if (vasprintf(&text, format, arguments) < 0)
		abort();
	va_end(arguments);
	return text;
}

static int64_t now_us(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return now.tv_sec * US_PER_SEC + now.tv_nsec / 1000;
}

int64_t now_monotonic_us(void)
{
	return now_us(CLOCK_MONOTONIC);
}

int64_t now_real_us(void)
{
	return now_us(CLOCK_REALTIME);
}

void stdio_occupy(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		/* Those below are open: it becomes this one. */
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
			abort();
}

bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}
