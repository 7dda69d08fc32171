/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * --dir: the standard output of each target in a file of its name. What comes is written beside the
 * file, as FILE.part.JOB, and takes its place when the task has succeeded: a device that breaks
 * off, or refuses the command, leaves the backup of the night before as it was. What came of such a
 * one is FILE.part then.
 *
 * What cannot be written, or not be kept, ends the program, before it was confirmed.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct files;

/* mkdir -p; the end with STATUS_WORDS where no files can be made in it: before anything runs whose
 * output they are for. */
void files_make_dir(const char *dir);
/* dir is the caller's. is_last: what was read is removed, so that it must be in its file. */
struct files *files_new(const char *dir, bool is_last);
/* NULL is fine. */
void files_free(struct files *files);

/* A record of output. */
void files_write(struct files *files, const json_t *record, const char *bytes, size_t size);
/* A record of a task's end. Where it did not succeed, the path of what came of it, which the caller
 * frees, or NULL: nothing did. */
char *files_end(struct files *files, const json_t *record, const json_t *task);
/* To disk with what is removed once that is confirmed: the rest could be read again. NULL is fine.
 */
void files_sync(struct files *files);
