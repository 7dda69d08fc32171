/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hashed timer wheel (Varghese and Lauck, 1987): setting and clearing a timer cost a few
 * nanoseconds however many there are. Timers are embedded in what they are about. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* SLOTS: a power of two. A timer that is further away stays in its slot for more rounds. */
enum { WHEEL_TICK_US = 1000, WHEEL_SLOTS = 8192 };

/* Zeroed: not set. */
struct wheel_timer {
	LIST_ENTRY(wheel_timer) link;
	int64_t due_us; /* monotonic; 0: not set */
	uint16_t slot;  /* while set */
	int type;       /* the owner's: tells its timers apart */
};
LIST_HEAD(wheel_slot, wheel_timer);

struct timer_wheel {
	int64_t hand;                    /* the last tick whose timers have fired */
	uint64_t used[WHEEL_SLOTS / 64]; /* bit: the slot has timers */
	struct wheel_slot slots[WHEEL_SLOTS];
};

typedef void wheel_fire_fn(struct wheel_timer *timer, void *context);

void wheel_init(struct timer_wheel *wheel, int64_t now_us);
/* Fires at due_us or up to one tick later, never before. One that is set already is set anew. */
void wheel_set(struct timer_wheel *wheel, struct wheel_timer *timer, int64_t due_us);
/* One that is not set is fine. */
void wheel_clear(struct timer_wheel *wheel, struct wheel_timer *timer);
/* Calls fire for each timer that is due, no longer set; it may set and clear any. */
void wheel_advance(struct timer_wheel *wheel, int64_t now_us, wheel_fire_fn *fire, void *context);
/* When to call wheel_advance next: never later than a timer is due; INT64_MAX where none is set. */
int64_t wheel_next_us(const struct timer_wheel *wheel);
