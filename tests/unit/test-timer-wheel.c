/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The timer wheel against a plain list of due times. */
#include "daemon/timer-wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TIMERS = 2000, ROUND_US = WHEEL_SLOTS * WHEEL_TICK_US };

struct probe {
	struct wheel_timer timer;
	int64_t due_us; /* as it was set; 0: not set */
};

struct run {
	struct timer_wheel wheel;
	struct probe probes[TIMERS];
	int64_t now_us;
	size_t fired;
};

static int setup(void **state)
{
	struct run *run = calloc(1, sizeof(*run));

	run->now_us = 123456789;
	wheel_init(&run->wheel, run->now_us);
	for (int i = 0; i < TIMERS; i++)
		run->probes[i].timer.type = i;
	*state = run;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void on_fire(struct wheel_timer *timer, void *context)
{
	struct run *run = context;
	struct probe *probe = &run->probes[timer->type];

	assert_ptr_equal(&probe->timer, timer);
	assert_true(probe->due_us > 0 && probe->due_us <= run->now_us);
	assert_true(run->now_us - probe->due_us < 2 * WHEEL_TICK_US + 100000);
	probe->due_us = 0;
	run->fired++;
}

static void set(struct run *run, size_t number, int64_t due_us)
{
	wheel_set(&run->wheel, &run->probes[number].timer, due_us);
	run->probes[number].due_us = due_us;
}

/* Random setting, clearing and advancing by less than 0.1 s: nothing early, nothing late. */
static void test_against_a_list(void **state)
{
	struct run *run = *state;

	srandom(7);
	for (unsigned round = 0; round < 3000; round++) {
		for (unsigned i = 0; i < 20; i++)
			set(run, (size_t)random() % TIMERS,
			    run->now_us + random() % (3 * (int64_t)ROUND_US));
		for (unsigned i = 0; i < 5; i++) {
			struct probe *probe = &run->probes[random() % TIMERS];

			wheel_clear(&run->wheel, &probe->timer);
			probe->due_us = 0;
		}
		run->now_us += random() % 100000;
		wheel_advance(&run->wheel, run->now_us, on_fire, run);
		for (unsigned i = 0; i < TIMERS; i++) {
			int64_t due_us = run->probes[i].due_us;

			assert_true(due_us == 0 || due_us > run->now_us - WHEEL_TICK_US);
			/* Whoever sleeps until wheel_next_us wakes in time. */
			assert_true(due_us == 0 ||
				    wheel_next_us(&run->wheel) <= due_us + WHEEL_TICK_US);
		}
	}
	assert_true(run->fired > 1000);
}

static void test_sleeps_when_empty(void **state)
{
	struct run *run = *state;

	assert_true(wheel_next_us(&run->wheel) == INT64_MAX);
	set(run, 0, run->now_us + 5 * WHEEL_TICK_US);
	wheel_clear(&run->wheel, &run->probes[0].timer);
	assert_true(wheel_next_us(&run->wheel) == INT64_MAX);
	set(run, 0, run->now_us + 5 * WHEEL_TICK_US);
	assert_true(wheel_next_us(&run->wheel) >= run->now_us + 5 * WHEEL_TICK_US);
	assert_true(wheel_next_us(&run->wheel) <= run->now_us + 6 * WHEEL_TICK_US);
	run->now_us += 6 * WHEEL_TICK_US;
	wheel_advance(&run->wheel, run->now_us, on_fire, run);
	assert_int_equal(run->fired, 1);
	assert_true(wheel_next_us(&run->wheel) == INT64_MAX);
}

/* Each timer clears the other: whichever comes first, the other one does not fire. */
static void on_fire_clear_other(struct wheel_timer *timer, void *context)
{
	struct run *run = context;

	run->fired++;
	wheel_clear(&run->wheel, &run->probes[1 - timer->type].timer);
}

static void test_clears_while_firing(void **state)
{
	struct run *run = *state;

	set(run, 0, run->now_us + 10);
	set(run, 1, run->now_us + 10);
	run->now_us += 2 * WHEEL_TICK_US;
	wheel_advance(&run->wheel, run->now_us, on_fire_clear_other, run);
	assert_int_equal(run->fired, 1);
	assert_int_equal(run->probes[0].timer.due_us, 0);
	assert_int_equal(run->probes[1].timer.due_us, 0);
}

/* One that is set again from its own call fires in the next tick, not for ever in this one. */
static void on_fire_again(struct wheel_timer *timer, void *context)
{
	struct run *run = context;

	run->fired++;
	wheel_set(&run->wheel, timer, run->now_us);
}

static void test_sets_while_firing(void **state)
{
	struct run *run = *state;

	set(run, 0, run->now_us);
	for (unsigned i = 1; i <= 5; i++) {
		run->now_us += WHEEL_TICK_US;
		wheel_advance(&run->wheel, run->now_us, on_fire_again, run);
		assert_int_equal(run->fired, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_against_a_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sleeps_when_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_clears_while_firing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sets_while_firing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
