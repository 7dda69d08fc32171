/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only writer to standard error and the journal. Any thread. One line each; the level is one of
 * syslog's (LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG). Where standard error is the
 * journal (JOURNAL_STREAM) the level goes in front as <N> (sd-daemon(3)), else the program's name.
 * Control characters in the text are escaped. errno is kept.
 */
#pragma once

#include <sys/uio.h>
#include <syslog.h>

/* Once, before any thread; name stays the caller's. Lines above max_level are dropped. */
void log_init(const char *name, int max_level);
void log_set_level(int max_level);
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * An event that others may look for: in the journal, the line comes with these fields, each
 * "NAME=value" (systemd.journal-fields(7)), NULL at the end; elsewhere it is the line alone.
 */
void log_event(int level, const char *const fields[], const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What writes an entry of so many fields to the journal; set once, before any thread. Without it,
 * and where standard error is not the journal, events are lines. */
typedef void log_journal_fn(const struct iovec *fields, int count);
void log_set_journal(log_journal_fn *journal);

#define log_error(...)   log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)
