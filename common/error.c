/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/error.h"

#include "common/util.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
	const char *name, *parameter;
	int number;
} rows[ERROR_COUNT] = {
#define ROW(id, name, parameter, number) [id] = {name, parameter, number},
	ERRORS(ROW)
#undef ROW
};

int error_set(struct error *ret_error, enum error_id id, const char *subject, const char *format,
	      ...)
{
	va_list arguments;
	char *sentence;

	assert(id < ERROR_COUNT);
	va_start(arguments, format);
	if (vasprintf(&sentence, format, arguments) < 0)
		abort();
	va_end(arguments);
	ret_error->id = id;
	ret_error->subject = xstrdup_or_null(subject);
	ret_error->sentence = sentence;
	return -rows[id].number;
}

void error_done(struct error *error)
{
	free(error->subject);
	free(error->sentence);
	error->subject = error->sentence = NULL;
}

const char *error_name(enum error_id id)
{
	assert(id < ERROR_COUNT);
	return rows[id].name;
}

const char *error_parameter(enum error_id id)
{
	assert(id < ERROR_COUNT);
	return rows[id].parameter;
}

int error_find(const char *name)
{
	for (int i = 0; i < ERROR_COUNT; i++)
		if (streq(rows[i].name, name))
			return i;
	return -1;
}
