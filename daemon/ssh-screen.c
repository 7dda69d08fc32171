/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ssh-screen.h"

#include <string.h>
#include <stdlib.h>

enum { BELL = '\a', BACKSPACE = '\b', ESCAPE = '\033', DELETE = 0x7f };

static void end_line(struct screen *screen, bool is_soft, screen_line_fn *fn, void *context)
{
	/* What was wiped leaves blanks. */
	while (screen->is_redrawn && screen->size > 0 && screen->line[screen->size - 1] == ' ')
		screen->size--;
	screen->line[screen->size] = '\0';
	fn(screen->line, screen->size, is_soft, context);
	screen_clear_line(screen);
	screen->is_continued = is_soft;
}

void screen_clear_line(struct screen *screen)
{
	screen->size = screen->column = 0;
	screen->is_redrawn = screen->is_continued = false;
}

static void move_to(struct screen *screen, size_t column)
{
	if (column > SCREEN_WIDTH - 1)
		column = SCREEN_WIDTH - 1;
	while (screen->size < column)
		screen->line[screen->size++] = ' ';
	screen->column = column;
}

static void cut(struct screen *screen)
{
	screen->is_redrawn |= screen->size > screen->column;
	screen->size = screen->column;
}

static void put(struct screen *screen, char byte, screen_line_fn *fn, void *context)
{
	if (screen->column == SCREEN_WIDTH)
		end_line(screen, true, fn, context);
	if (screen->column < screen->size)
		screen->is_redrawn = true;
	else
		screen->size++;
	screen->line[screen->column++] = byte;
}

/* The first number of the sequence, or another where there is none. */
static size_t parameter(struct screen *screen, size_t fallback)
{
	unsigned long number;

	screen->parameters[screen->parameter_size] = '\0';
	number = strtoul(screen->parameters, NULL, 10);
	return number == 0 ? fallback : number < SCREEN_WIDTH ? number : SCREEN_WIDTH;
}

static void delete_bytes(struct screen *screen, size_t count)
{
	size_t behind = screen->size - screen->column;

	count = count < behind ? count : behind;
	memmove(screen->line + screen->column, screen->line + screen->column + count,
		behind - count);
	screen->size -= count;
	screen->is_redrawn = true;
}

/* Of a row only the column is of interest: the rows above have left. */
static void move_to_place(struct screen *screen)
{
	const char *column = memchr(screen->parameters, ';', screen->parameter_size);
	size_t number;

	(void)parameter(screen, 1); /* ends the text */
	number = column ? strtoul(column + 1, NULL, 10) : 1;
	move_to(screen, number > 0 ? number - 1 : 0);
}

/* ECMA-48, 8.3: the functions that change a line. */
static void control(struct screen *screen, char function)
{
	size_t back = parameter(screen, 1);

	switch (function) {
	case 'K': /* EL */
	case 'J': /* ED */
		if (parameter(screen, 0) == 2)
			screen_clear_line(screen);
		else if (parameter(screen, 0) == 0)
			cut(screen);
		break;
	case 'C': /* CUF */
		move_to(screen, screen->column + parameter(screen, 1));
		break;
	case 'D': /* CUB */
		screen->column -= back < screen->column ? back : screen->column;
		break;
	case 'G': /* CHA */
		move_to(screen, parameter(screen, 1) - 1);
		break;
	case 'H': /* CUP */
	case 'f': /* HVP */
		move_to_place(screen);
		break;
	case 'P': /* DCH */
		delete_bytes(screen, parameter(screen, 1));
		break;
	case 'n': /* DSR */
		screen->is_asked |= parameter(screen, 0) == 6;
		break;
	default:
		break;
	}
}

/* One byte of an escape sequence (ECMA-48, 5.3 and 5.4). */
static void take_escape(struct screen *screen, char byte, screen_line_fn *fn, void *context)
{
	switch (screen->escape) {
	case ESCAPE_BEGIN:
		screen->parameter_size = 0;
		screen->escape = byte == '['                             ? ESCAPE_CONTROL
				 : byte != '\0' && strchr("]PX^_", byte) ? ESCAPE_STRING
				 : byte >= ' ' && byte <= '/'            ? ESCAPE_SKIP
									 : ESCAPE_NONE;
		if (byte == 'E') /* NEL */
			end_line(screen, false, fn, context);
		break;
	case ESCAPE_CONTROL:
		if (byte >= '@' && byte <= '~') {
			screen->escape = ESCAPE_NONE;
			control(screen, byte);
		} else if (screen->parameter_size < SCREEN_PARAMETERS_MAX - 1) {
			screen->parameters[screen->parameter_size++] = byte;
		}
		break;
	case ESCAPE_STRING: /* to BEL or ESC \ */
		if (byte == BELL)
			screen->escape = ESCAPE_NONE;
		else if (byte == ESCAPE)
			screen->escape = ESCAPE_SKIP;
		break;
	case ESCAPE_SKIP:
		if (byte < ' ' || byte > '/')
			screen->escape = ESCAPE_NONE;
		break;
	case ESCAPE_NONE:
		break;
	}
}

static void take(struct screen *screen, char byte, screen_line_fn *fn, void *context)
{
	switch (byte) {
	case '\n':
		end_line(screen, false, fn, context);
		break;
	case '\r':
		screen->column = 0;
		break;
	case BACKSPACE:
		screen->column -= screen->column > 0;
		break;
	case ESCAPE:
		screen->escape = ESCAPE_BEGIN;
		break;
	case '\t':
		put(screen, byte, fn, context);
		break;
	default:
		if ((unsigned char)byte >= ' ' && byte != DELETE)
			put(screen, byte, fn, context);
		break;
	}
}

void screen_feed(struct screen *screen, const char *bytes, size_t size, screen_line_fn *fn,
		 void *context)
{
	for (size_t i = 0; i < size; i++)
		if (screen->escape != ESCAPE_NONE)
			take_escape(screen, bytes[i], fn, context);
		else
			take(screen, bytes[i], fn, context);
}

void screen_line(const struct screen *screen, char ret_line[static SCREEN_WIDTH + 1])
{
	size_t size = screen->size;

	while (size > 0 && (screen->line[size - 1] == ' ' || screen->line[size - 1] == '\t'))
		size--;
	memcpy(ret_line, screen->line, size);
	ret_line[size] = '\0';
}
