/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client/prompt.h"

#include "client/screen.h"
#include "common/util.h"

void prompt_begin(struct prompt *prompt)
{
	*prompt = (struct prompt){.is_open = true};
}

/* A character of UTF-8: its first byte, and those that go on with it. */
static void drop_last(char *text)
{
	size_t size = strlen(text);

	while (size > 0 && ((unsigned char)text[--size] & 0xc0) == 0x80)
		;
	text[size] = '\0';
}

bool prompt_key(struct prompt *prompt, int key)
{
	size_t size = strlen(prompt->text);

	switch (key) {
	case '\n':
		prompt->is_open = false;
		return size > 0;
	case SCREEN_ESCAPE:
		prompt->text[0] = '\0';
		prompt->is_open = false;
		return false;
	case SCREEN_BACK:
		prompt->is_open = size > 0;
		drop_last(prompt->text);
		return false;
	default:
		/* The bytes of a character come one by one. */
		if (key >= ' ' && key < 0x100 && size < PROMPT_MAX) {
			prompt->text[size] = (char)key;
			prompt->text[size + 1] = '\0';
		}
		return false;
	}
}
