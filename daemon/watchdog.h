/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The service manager's watchdog (sd_watchdog_enabled(3)): it hears that jobd is alive while main
 * and all workers make progress. A disk that does not answer (a path that fails over, a snapshot)
 * is no reason to kill jobd: that would not bring it back, and cut off what runs. So a thread of
 * its own looks whether main waits for the disk; then it answers for main, and says so in STATUS
 * and the log. Main's, as long as main is not said.
 */
#pragma once

#include <event2/event.h>
#include <stdbool.h>

struct watchdog;
struct watchdog_owner {
	/* Twice in a period; the second only where the first is true. */
	bool (*are_workers_alive)(void *context);
	void (*tell_status)(void *context);
	void *context;
};
/* NULL: nobody asks. owner is copied. */
struct watchdog *watchdog_new(struct event_base *base, const struct watchdog_owner *owner);
void watchdog_free(struct watchdog *watchdog);
