/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A text that is typed on the screen. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { PROMPT_MAX = 80 };

struct prompt {
	char text[PROMPT_MAX + 1]; /* ends with NUL; no more than what the terminal's keys sent */
	bool is_open;              /* it is being typed */
};

/* Empty, and what is typed goes there. */
void prompt_begin(struct prompt *prompt);
/* By a key; true where the text is whole. Esc leaves it, with an empty text. */
bool prompt_key(struct prompt *prompt, int key);
