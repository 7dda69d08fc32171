/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole terminal, drawn by ncurses, which is loaded with the first use. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum look { LOOK_PLAIN, LOOK_BOLD, LOOK_RED, LOOK_GREEN, LOOK_CHOSEN, LOOK_COUNT };

/* A key that is a character is that character. */
enum screen_key {
	SCREEN_NONE = -1, /* the time is over, or the terminal has another size */
	SCREEN_UP = 256,
	SCREEN_DOWN,
	SCREEN_LEFT,
	SCREEN_RIGHT,
	SCREEN_PAGE_UP,
	SCREEN_PAGE_DOWN,
	SCREEN_HOME,
	SCREEN_END,
	SCREEN_BACK, /* backspace */
	SCREEN_ESCAPE,
	SCREEN_INTERRUPT, /* Ctrl-C, or the terminal is gone */
};

/* Ends the program where there is no terminal, or none that can be drawn on. */
void screen_begin(void);
/* The terminal as it was; nothing where it was not begun. */
void screen_end(void);
bool screen_is_on(void);
/* As of the last screen_key */
size_t screen_rows(void);
size_t screen_columns(void);
/* Nothing is on it. What is drawn is seen with screen_show. */
void screen_clear(void);
void screen_show(void);
/* A row in a look, empty. */
void screen_fill(size_t row, enum look look);
/*
 * UTF-8 into columns [column, column + width), cut at the terminal's edge; the first skip columns
 * of the text are left out. What would steer the terminal is shown as \x1b.
 */
void screen_text(size_t row, size_t column, size_t width, enum look look, const char *text,
		 size_t size, size_t skip);
/* The columns that it takes. */
size_t screen_width(const char *text);
/* Waits for a key for so long. */
int screen_key(int timeout_ms);
