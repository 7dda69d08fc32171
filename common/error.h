/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The errors of the control interface, as one value: which of them, the word it is about, and one
 * line for people that says what is wrong and what to do.
 *
 * The contract of every function with a `struct error *ret_error`: it returns 0, or a negative
 * errno and then has filled *ret_error (never NULL). It never logs as well. On success *ret_error
 * is untouched.
 */
#pragma once

#include <errno.h>

/* name in the interface, name of the parameter that holds the subject ("" for none), errno */
#define ERRORS(X)                                                                      \
	X(ERROR_NO_SUCH_JOB, "NoSuchJob", "selector", ENOENT)                          \
	X(ERROR_NO_SUCH_TASK, "NoSuchTask", "selector", ENOENT)                        \
	X(ERROR_NO_SUCH_SCHEDULE, "NoSuchSchedule", "selector", ENOENT)                \
	X(ERROR_INVALID_SELECTOR, "InvalidSelector", "selector", EINVAL)               \
	X(ERROR_INVALID_TARGET, "InvalidTarget", "target", EINVAL)                     \
	X(ERROR_INVALID_OPTION, "InvalidOption", "option", EINVAL)                     \
	X(ERROR_LIMIT_REACHED, "LimitReached", "limit", EDQUOT)                        \
	X(ERROR_WRONG_STATE, "WrongState", "id", EBUSY)                                \
	X(ERROR_STORAGE_FAILED, "StorageFailed", "", EIO)                              \
	X(ERROR_NO_READING, "NoReading", "", ENOENT)                                   \
	/* Of org.varlink.service: a parameter that is unknown or of the wrong type */ \
	X(ERROR_INVALID_PARAMETER, "InvalidParameter", "parameter", EINVAL)

#define ERRORS_ENUM(id, name, parameter, number) id,
enum error_id { ERRORS(ERRORS_ENUM) ERROR_COUNT };
#undef ERRORS_ENUM

struct error {
	enum error_id id;
	char *subject;  /* the selector, target, option, limit, or the job's id in decimal; or NULL
			 */
	char *sentence; /* one line, no full stop at its end, no newline */
};

/* Fills *ret_error and returns its negative errno, so that callers can `return error_set(...)`. */
int error_set(struct error *ret_error, enum error_id id, const char *subject, const char *format,
	      ...) __attribute__((format(printf, 4, 5)));
/* Frees what it holds; a zeroed one is fine. */
void error_done(struct error *error);

const char *error_name(enum error_id id);
const char *error_parameter(enum error_id id);
/* The id of an interface name without its "org.jobd." or "org.varlink.service.", or -1. */
int error_find(const char *name);
