/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A talk with the shell of a device, without the connection: bytes go in, bytes to type and lines
 * of output come out. Nothing waits for a fixed time: what is typed next depends on what stands in
 * the last line.
 *
 *   login -> (enable) -> setup -> ready -> command -> done
 *     |          |         |                  |
 *     +----------+---------+------------------+--> failed
 *
 * login: the device's own questions are answered, and its prompt is learnt: what looks like one and
 * comes again after an empty line. Then every command waits for the prompt. A prompt that changed
 * in its mode only ("r7#", "r7(config)#") is one at once; another that looks like one (the host has
 * a new name) is tried with an empty line once nothing more comes.
 */
#pragma once

#include "common/states.h"
#include "daemon/profile.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is to be said; stays the caller's, and is good as long as the dialog. */
struct dialog_plan {
	const struct profile *profile; /* NULL: it is recognised */
	const struct profiles *profiles;
	const char *version; /* the server's version line; NULL for none */
	const char *user;
	const char *password, *secret; /* of the login, of enable; NULL where there is none */
	bool wants_enable;
	char *const *commands;
	size_t command_count;
	const struct answer *answers; /* they go before the profile's */
	size_t answer_count;
};

enum dialog_state {
	DIALOG_LOGIN,
	DIALOG_ENABLE,
	DIALOG_SETUP,
	DIALOG_READY, /* for dialog_allow */
	DIALOG_COMMAND,
	DIALOG_DONE,
	DIALOG_FAILED,
};

struct dialog;

/* Lines of output of the commands, whole as a rule. */
typedef void dialog_output_fn(const char *bytes, size_t size, void *context);

/* Times are monotonic, in microseconds. */
struct dialog *dialog_new(const struct dialog_plan *plan, int64_t now_us, dialog_output_fn *fn,
			  void *context);
void dialog_free(struct dialog *dialog);
enum dialog_state dialog_state(const struct dialog *dialog);
/* What the device wrote. */
void dialog_feed(struct dialog *dialog, const char *bytes, size_t size, int64_t now_us);
/* When nothing more is there to be fed, and at the deadline: looks at the last line. */
void dialog_settle(struct dialog *dialog, int64_t now_us);
/* When to settle even if nothing comes; INT64_MAX for never. */
int64_t dialog_deadline(const struct dialog *dialog, int64_t now_us);
/* DIALOG_READY: the commands may begin. */
void dialog_allow(struct dialog *dialog, int64_t now_us);
/* What is to be typed; dialog_typed says how much of it was, and wipes that. */
const char *dialog_to_type(const struct dialog *dialog, size_t *ret_size);
void dialog_typed(struct dialog *dialog, size_t size);
/* Why it failed: what follows a host's name in a sentence. */
const char *dialog_why(const struct dialog *dialog, enum error_class *ret_class);
/* Whose rules are followed; NULL while it is not recognised. */
const struct profile *dialog_profile(const struct dialog *dialog);
/* The line that is not ended: what the device may be waiting after. "" for none. */
const char *dialog_last_line(struct dialog *dialog);
