/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only writer to standard error and the journal. Any thread. One line each; the level is one of
 * syslog's (LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG). Where standard error is the
 * journal (JOURNAL_STREAM) the level goes in front as <N> (sd-daemon(3)), else the program's name.
 * Control characters in the text are escaped. errno is kept.
 */
#pragma once

#include <syslog.h>

/* Once, before any thread; name stays the caller's. Lines above max_level are dropped. */
void log_init(const char *name, int max_level);
void log_set_level(int max_level);
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_DEBUG, __VA_ARGS__)
