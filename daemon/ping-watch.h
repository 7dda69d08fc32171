/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a long ping tells while it runs, a line each: what every period came to (--period), and
 * whether the host went down or came up (--on-change). The lines are the task's output; jobd keeps
 * them as it keeps what an SSH command writes.
 *
 *   2026-11-23T14:05:00.000000+01:00 1 min: 59/60 replies, 1% loss, min/avg/max 9.10/9.40/9.90 ms
 *   2026-11-23T14:05:03.120000+01:00 down, no reply to 3 requests in a row; it was up for 2 h
 *
 * While earlier lines of a target are not stored yet, a period goes on instead of ending, and of
 * many changes only what comes of them is told: the disk may be full for a day, and nothing piles
 * up.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ping_task;
struct ping_watch;

/* Makes it, where the options want one; when the target's address is known. */
void ping_watch_begin(struct ping_task *task);
/* Writes what the period came to so far, and frees it. All of these: nothing where there is none.
 */
void ping_watch_end(struct ping_task *task);
/* A request was answered in time, or certainly not (given up, or an ICMP error came). */
void ping_watch_replied(struct ping_task *task, int64_t rtt_us);
void ping_watch_lost(struct ping_task *task);
/* This machine could not send it, which is no loss. */
void ping_watch_unsent(struct ping_task *task);
void ping_watch_on_period(struct ping_task *task);
/* So many bytes of its output are on disk. */
void ping_watch_stored(struct ping_task *task, size_t size);
