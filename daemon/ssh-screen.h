/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a terminal would show of the bytes that a device's shell writes, line by line: carriage
 * returns, backspaces and redraws are carried out, colours and the like are dropped (ECMA-48,
 * and what xterm adds). One line is kept; the cursor never goes back to one above. A byte is a
 * column.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
	SCREEN_WIDTH = 511, /* columns; what the far side is told, too */
	SCREEN_HEIGHT = 1000,
	SCREEN_PARAMETERS_MAX = 16,
};

struct screen {
	char line[SCREEN_WIDTH + 1];
	size_t size, column; /* column <= size <= SCREEN_WIDTH */
	bool is_redrawn;     /* something was written over in this line */
	bool is_continued;   /* its begin left before, since it is so long */
	bool is_asked;       /* the far side wants to know where the cursor is */
	/* An escape sequence that is not whole yet */
	enum { ESCAPE_NONE, ESCAPE_BEGIN, ESCAPE_SKIP, ESCAPE_CONTROL, ESCAPE_STRING } escape;
	char parameters[SCREEN_PARAMETERS_MAX];
	size_t parameter_size;
};

/* A whole line, NUL behind it; is_soft: it goes on, there was no end but that of the width. */
typedef void screen_line_fn(const char *line, size_t size, bool is_soft, void *context);

void screen_feed(struct screen *screen, const char *bytes, size_t size, screen_line_fn *fn,
		 void *context);
/* The line that is not ended yet, without blanks behind it. */
void screen_line(const struct screen *screen, char ret_line[static SCREEN_WIDTH + 1]);
/* The line was a pager's: what comes goes over it. */
void screen_clear_line(struct screen *screen);
