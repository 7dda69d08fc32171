/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A line is made whole in memory and written by one write(2), so that lines of threads do not mix.
 * Standard error is the journal where $JOURNAL_STREAM names its device and inode (systemd.exec(5)).
 */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048, FIELDS_MAX = 16 };

static const char *program = "jobd";
static atomic_int level_max = LOG_INFO;
static bool is_journal;
static log_journal_fn *write_to_journal;

void log_init(const char *name, int max_level)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	program = name;
	log_set_level(max_level);
	is_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
		     fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device &&
		     status.st_ino == inode;
}

void log_set_level(int max_level)
{
	atomic_store(&level_max, max_level);
}

/* What a host or a user wrote must not move the cursor of who reads the log. */
static void escape(char *text)
{
	for (char *at = text; *at; at++)
		if ((unsigned char)*at < ' ' || *at == 0x7f)
			*at = '?';
}

static void write_line(int level, const char *text)
{
	char line[LINE_MAX_BYTES + 64];
	int size;

	if (is_journal)
		size = snprintf(line, sizeof(line), "<%d>%s\n", level, text);
	else
		size = snprintf(line, sizeof(line), "%.40s: %s\n", program, text);
	if (size > 0)
		(void)!write(STDERR_FILENO, line, (size_t)size);
}

/* The text of a line behind a prefix, fit to be read. */
static void form(char text[static LINE_MAX_BYTES], const char *prefix, const char *format,
		 va_list arguments) __attribute__((format(printf, 3, 0)));
static void form(char text[static LINE_MAX_BYTES], const char *prefix, const char *format,
		 va_list arguments)
{
	size_t size = strlen(prefix);

	memcpy(text, prefix, size);
	(void)vsnprintf(text + size, LINE_MAX_BYTES - size, format, arguments);
	escape(text);
}

void log_line(int level, const char *format, ...)
{
	int saved_errno = errno;
	char text[LINE_MAX_BYTES];
	va_list arguments;

	if (level > atomic_load(&level_max))
		return;
	va_start(arguments, format);
	form(text, "", format, arguments);
	va_end(arguments);
	write_line(level, text);
	errno = saved_errno;
}

void log_set_journal(log_journal_fn *journal)
{
	write_to_journal = journal;
}

static struct iovec field_of(const char *text)
{
	return (struct iovec){(char *)(uintptr_t)text, strlen(text)};
}

static void write_entry(int level, const char *message, const char *const fields[])
{
	char priority[16], identifier[64];
	struct iovec entry[FIELDS_MAX];
	int count = 0;

	(void)snprintf(priority, sizeof(priority), "PRIORITY=%d", level);
	(void)snprintf(identifier, sizeof(identifier), "SYSLOG_IDENTIFIER=%.40s", program);
	entry[count++] = field_of(message);
	entry[count++] = field_of(priority);
	entry[count++] = field_of(identifier);
	for (; *fields && count < FIELDS_MAX; fields++)
		entry[count++] = field_of(*fields);
	write_to_journal(entry, count);
}

void log_event(int level, const char *const fields[], const char *format, ...)
{
	static const char prefix[] = "MESSAGE=";
	int saved_errno = errno;
	char text[LINE_MAX_BYTES];
	va_list arguments;

	if (level > atomic_load(&level_max))
		return;
	va_start(arguments, format);
	form(text, prefix, format, arguments);
	va_end(arguments);
	if (is_journal && write_to_journal)
		write_entry(level, text, fields);
	else
		write_line(level, text + strlen(prefix));
	errno = saved_errno;
}
