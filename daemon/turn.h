/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The main loop, turn by turn: what happened in a turn is committed together at its end, and what
 * follows from it (replies, tasks, watchers) happens after the commit. Main thread.
 */
#pragma once

#include "daemon/server.h"

struct turns;

/* on_storage is called when the database stops and when it begins again to take changes. */
struct turns *turns_new(struct daemon *daemon, void (*on_storage)(void *context), void *context);
void turns_free(struct turns *turns);
/* Runs turns until turns_stop; returns after the end of a turn. */
void turns_run(struct turns *turns);
void turns_stop(struct turns *turns);
/* Ends the turn now, with a commit whatever the time. */
void turns_finish(struct turns *turns);
