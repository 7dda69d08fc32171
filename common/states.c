/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/states.h"

#include "common/util.h"

#define WORD(name, word) [name] = word,
const char *const job_state_words[JOB_STATE_COUNT + 1] = {JOB_STATES(WORD)};
const char *const task_state_words[TASK_STATE_COUNT + 1] = {TASK_STATES(WORD)};
const char *const error_class_words[ERROR_CLASS_COUNT + 1] = {ERROR_CLASSES(WORD)};
const char *const stream_words[STREAM_COUNT + 1] = {STREAMS(WORD)};

int word_find(const char *const *words, const char *word)
{
	for (int i = 0; words[i]; i++)
		if (streq(words[i], word))
			return i;
	return -1;
}
