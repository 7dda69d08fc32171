/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/client.h"

#include "client/screen.h"
#include "common/util.h"

#include <dlfcn.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <wchar.h>

/* Ours are escapes, those of ncurses are numbers. */
#undef COLOR_RED
#undef COLOR_GREEN
#include <ncurses.h>

enum { ESCAPE_MS = 25, TAB = 8 };

/* Their manual pages say what each is. All take the window, so that no variable is needed. */
#define NCURSES_FUNCTIONS(FUNCTION)  \
	FUNCTION(newterm)            \
	FUNCTION(newwin)             \
	FUNCTION(endwin)             \
	FUNCTION(cbreak)             \
	FUNCTION(clearok)            \
	FUNCTION(tigetstr)           \
	FUNCTION(noecho)             \
	FUNCTION(keypad)             \
	FUNCTION(curs_set)           \
	FUNCTION(set_escdelay)       \
	FUNCTION(has_colors)         \
	FUNCTION(start_color)        \
	FUNCTION(use_default_colors) \
	FUNCTION(init_pair)          \
	FUNCTION(getmaxx)            \
	FUNCTION(getmaxy)            \
	FUNCTION(werase)             \
	FUNCTION(wmove)              \
	FUNCTION(wattrset)           \
	FUNCTION(waddnwstr)          \
	FUNCTION(wrefresh)           \
	FUNCTION(wtimeout)           \
	FUNCTION(wgetch)

/* Their names are macros, some of them. */
#undef getmaxx
#undef getmaxy
#undef wattrset

static struct {
#define MEMBER(name) __typeof__(name) *name;
	NCURSES_FUNCTIONS(MEMBER)
#undef MEMBER
} ncurses;

static WINDOW *window; /* NULL: not begun */
static int looks[LOOK_COUNT] = {0, (int)A_BOLD, (int)A_BOLD, 0, (int)A_REVERSE};

static void *ncurses_function(void *library, const char *name)
{
	void *function = library ? dlsym(library, name) : NULL;

	if (!function)
		fail(STATUS_REFUSED,
		     "cannot draw on the terminal without libncursesw: %s; install it", dlerror());
	return function;
}

static void load(void)
{
	void *library = dlopen("libncursesw.so.6", RTLD_NOW);

#define LOAD(name) ncurses.name = (__typeof__(ncurses.name))ncurses_function(library, #name);
	NCURSES_FUNCTIONS(LOAD)
#undef LOAD
}

static void set_colors(void)
{
	if (!globals.has_color[0] || !ncurses.has_colors() || ncurses.start_color() == ERR ||
	    ncurses.use_default_colors() == ERR)
		return;
	(void)ncurses.init_pair(LOOK_RED, COLOR_RED, -1);
	(void)ncurses.init_pair(LOOK_GREEN, COLOR_GREEN, -1);
	looks[LOOK_RED] = (int)COLOR_PAIR(LOOK_RED);
	looks[LOOK_GREEN] = (int)COLOR_PAIR(LOOK_GREEN);
}

static _Noreturn void fail_of_terminal(void)
{
	fail(STATUS_REFUSED, "cannot draw on a terminal of type '%s': set TERM",
	     getenv("TERM") ? getenv("TERM") : "");
}

void screen_begin(void)
{
	if (!globals.is_terminal[0] || !isatty(STDIN_FILENO))
		fail(STATUS_WORDS, "this is for a terminal: elsewhere use list, show and receive");
	load();
	(void)setlocale(LC_CTYPE, "");
	if (!ncurses.newterm(NULL, stdout, stdin))
		fail_of_terminal();
	/* Such as "dumb", on which the cursor goes nowhere but on */
	if (!ncurses.tigetstr("cup")) {
		(void)ncurses.endwin();
		fail_of_terminal();
	}
	/* Ctrl-C and Ctrl-Z are signals, which come also while jobd is waited for. */
	(void)ncurses.cbreak();
	/* Ctrl-\ would leave the terminal as it is. */
	(void)signal(SIGQUIT, SIG_IGN);
	(void)ncurses.noecho();
	(void)ncurses.curs_set(0);
	(void)ncurses.set_escdelay(ESCAPE_MS);
	set_colors();
	window = ncurses.newwin(0, 0, 0, 0);
	if (!window)
		abort();
	(void)ncurses.keypad(window, TRUE);
}

void screen_end(void)
{
	if (!window)
		return;
	window = NULL;
	(void)ncurses.endwin();
}

bool screen_is_on(void)
{
	return window;
}

size_t screen_rows(void)
{
	return (size_t)ncurses.getmaxy(window);
}

size_t screen_columns(void)
{
	return (size_t)ncurses.getmaxx(window);
}

void screen_clear(void)
{
	(void)ncurses.werase(window);
}

void screen_show(void)
{
	(void)ncurses.wrefresh(window);
}

void screen_fill(size_t row, enum look look)
{
	size_t columns = screen_columns();

	(void)ncurses.wattrset(window, looks[look]);
	(void)ncurses.wmove(window, (int)row, 0);
	for (size_t i = 0; i < columns; i++)
		(void)ncurses.waddnwstr(window, L" ", 1);
}

/* What comes next, as it is shown, and how many columns it takes; returns its bytes. */
static size_t next_glyph(const char *text, size_t size, size_t column, wchar_t glyph[static TAB],
			 size_t *ret_width)
{
	mbstate_t state = {0};
	size_t step = mbrtowc(glyph, text, size, &state);
	int width = step > 0 && step <= size ? wcwidth(glyph[0]) : -1;

	if (*text == '\t') {
		*ret_width = TAB - column % TAB;
		(void)wmemset(glyph, L' ', *ret_width);
		return 1;
	}
	if (width >= 0) {
		*ret_width = (size_t)width;
		glyph[1] = L'\0';
		return step;
	}
	*ret_width = (size_t)swprintf(glyph, TAB, L"\\x%02x", (unsigned char)*text);
	return 1;
}

void screen_text(size_t row, size_t column, size_t width, enum look look, const char *text,
		 size_t size, size_t skip)
{
	size_t columns = screen_columns(), at = 0;

	if (row >= screen_rows() || column >= columns)
		return;
	if (width > columns - column)
		width = columns - column;
	(void)ncurses.wattrset(window, looks[look]);
	(void)ncurses.wmove(window, (int)row, (int)column);
	while (size > 0) {
		wchar_t glyph[TAB + 1] = L"";
		size_t wide, step = next_glyph(text, size, at, glyph, &wide);

		at += wide;
		if (at > skip + width)
			break;
		if (at - wide >= skip)
			(void)ncurses.waddnwstr(window, glyph, -1);
		/* Of one that is cut in two the rest is empty, so that columns stay columns. */
		for (size_t i = skip; at - wide < skip && i < at; i++)
			(void)ncurses.waddnwstr(window, L" ", 1);
		text += step;
		size -= step;
	}
}

size_t screen_width(const char *text)
{
	size_t size = strlen(text), at = 0;

	while (size > 0) {
		wchar_t glyph[TAB + 1];
		size_t wide, step = next_glyph(text, size, at, glyph, &wide);

		at += wide;
		text += step;
		size -= step;
	}
	return at;
}

static int key_of(int key)
{
	static const struct {
		int from, to;
	} keys[] = {
		{KEY_UP, SCREEN_UP},
		{KEY_DOWN, SCREEN_DOWN},
		{KEY_LEFT, SCREEN_LEFT},
		{KEY_RIGHT, SCREEN_RIGHT},
		{KEY_PPAGE, SCREEN_PAGE_UP},
		{KEY_NPAGE, SCREEN_PAGE_DOWN},
		{KEY_HOME, SCREEN_HOME},
		{KEY_END, SCREEN_END},
		{KEY_BACKSPACE, SCREEN_BACK},
		{'\b', SCREEN_BACK},
		{0x7f, SCREEN_BACK},
		{'\033', SCREEN_ESCAPE},
		{KEY_ENTER, '\n'},
		{'\r', '\n'},
		{'C' & 0x1f, SCREEN_INTERRUPT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i].from == key)
			return keys[i].to;
	return key >= 0 && key < SCREEN_UP ? key : SCREEN_NONE;
}

int screen_key(int timeout_ms)
{
	int64_t before_us = now_monotonic_us();
	int key;

	ncurses.wtimeout(window, timeout_ms);
	key = ncurses.wgetch(window);
	/* Of a terminal that is gone there is no key, and no waiting for one. */
	if (key == ERR && !isatty(STDIN_FILENO) && now_monotonic_us() - before_us < 1000)
		return SCREEN_INTERRUPT;
	talk_check_interrupt();
	/* Something else wrote on the terminal. */
	if (key == ('L' & 0x1f))
		(void)ncurses.clearok(window, TRUE);
	return key_of(key);
}
