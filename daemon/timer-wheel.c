/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A timer lies in the slot of the tick at which it is due, modulo the wheel. One that is more than
 * a round away is met too early and put back. The bitmap answers "when next" without walking slots,
 * so that an engine with nothing to do sleeps until it has.
 */
#include "daemon/timer-wheel.h"

#include <assert.h>
#include <string.h>

static size_t slot_of(int64_t tick)
{
	return (size_t)tick & (WHEEL_SLOTS - 1);
}

void wheel_init(struct timer_wheel *wheel, int64_t now_us)
{
	memset(wheel, 0, sizeof(*wheel));
	wheel->hand = now_us / WHEEL_TICK_US;
}

/* Rounded up: never before due_us; and never into the past, where no hand comes by. */
static int64_t tick_of(const struct timer_wheel *wheel, int64_t due_us)
{
	int64_t tick = (due_us + WHEEL_TICK_US - 1) / WHEEL_TICK_US;

	return tick > wheel->hand ? tick : wheel->hand + 1;
}

static uint64_t bit_of(size_t slot)
{
	return UINT64_C(1) << (slot % 64);
}

static void insert(struct timer_wheel *wheel, struct wheel_timer *timer)
{
	size_t slot = slot_of(tick_of(wheel, timer->due_us));

	timer->slot = (uint16_t)slot;
	LIST_INSERT_HEAD(&wheel->slots[slot], timer, link);
	wheel->used[slot / 64] |= bit_of(slot);
}

void wheel_set(struct timer_wheel *wheel, struct wheel_timer *timer, int64_t due_us)
{
	assert(due_us > 0);
	wheel_clear(wheel, timer);
	timer->due_us = due_us;
	insert(wheel, timer);
}

void wheel_clear(struct timer_wheel *wheel, struct wheel_timer *timer)
{
	if (timer->due_us == 0)
		return;
	LIST_REMOVE(timer, link);
	timer->due_us = 0;
	if (LIST_EMPTY(&wheel->slots[timer->slot]))
		wheel->used[timer->slot / 64] &= ~bit_of(timer->slot);
}

static void fire_slot(struct timer_wheel *wheel, size_t slot, int64_t now_us, wheel_fire_fn *fire,
		      void *context)
{
	struct wheel_slot due = wheel->slots[slot];
	struct wheel_timer *timer;

	/* Taken out whole, since what fires may set timers into this very slot or clear others of
	 * it. */
	LIST_INIT(&wheel->slots[slot]);
	if (!LIST_EMPTY(&due))
		LIST_FIRST(&due)->link.le_prev = &LIST_FIRST(&due);
	wheel->used[slot / 64] &= ~bit_of(slot);
	while ((timer = LIST_FIRST(&due))) {
		LIST_REMOVE(timer, link);
		if (timer->due_us > now_us) {
			insert(wheel, timer);
		} else {
			timer->due_us = 0;
			fire(timer, context);
		}
	}
}

void wheel_advance(struct timer_wheel *wheel, int64_t now_us, wheel_fire_fn *fire, void *context)
{
	int64_t now = now_us / WHEEL_TICK_US;

	if (now - wheel->hand > WHEEL_SLOTS)
		wheel->hand = now - WHEEL_SLOTS; /* one round meets every slot */
	while (wheel->hand < now) {
		size_t slot = slot_of(++wheel->hand);

		if (wheel->used[slot / 64] & bit_of(slot))
			fire_slot(wheel, slot, now_us, fire, context);
	}
}

int64_t wheel_next_us(const struct timer_wheel *wheel)
{
	int64_t tick = wheel->hand + 1;
	int64_t end = tick + WHEEL_SLOTS;

	while (tick < end) {
		size_t slot = slot_of(tick);
		uint64_t rest = wheel->used[slot / 64] >> (slot % 64);

		if (rest)
			return (tick + __builtin_ctzll(rest)) * WHEEL_TICK_US;
		tick += 64 - (int64_t)(slot % 64);
	}
	return INT64_MAX;
}
