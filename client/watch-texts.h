/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the live view says of jobs and tasks. The caller frees. */
#pragma once

#include "client/screen-table.h"

#include <jansson.h>

/* The fields of their rows */
void job_texts(char *texts[static SCREEN_FIELDS_MAX], const json_t *job);
void task_texts(char *texts[static SCREEN_FIELDS_MAX], const json_t *task);
char *job_heading(const json_t *job);
/* "[#####.....] 15/30, 14 succeeded, 1 failed, 10 running" */
char *job_progress(const json_t *job);
/* What came of a task, or of the end of one, in short. */
char *task_outcome(const json_t *task);
