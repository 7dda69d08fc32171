/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/watchdog.h"

#include "common/log.h"
#include "common/util.h"
#include "daemon/disk-wait.h"

#include <pthread.h>
#include <signal.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

struct watchdog {
	struct watchdog_owner owner;
	struct event *timer;
	int64_t look_us; /* between two looks of the guard */

	pthread_t guard;
	pthread_mutex_t lock;
	pthread_cond_t end;
	bool is_ending; /* under the lock */

	/* The guard's */
	bool is_waiting, is_told;
	uint64_t switches; /* of main, at the look before */
	int64_t since_us;  /* main has waited, where it waits */
};

/* --- Main --- */

/* Main is alive, since this runs. */
static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct watchdog *watchdog = context;

	(void)fd;
	(void)what;
	if (!watchdog->owner.are_workers_alive(watchdog->owner.context)) {
		log_error("a worker makes no progress");
		return;
	}
	(void)sd_notify(0, "WATCHDOG=1");
	watchdog->owner.tell_status(watchdog->owner.context);
}

/* --- The guard --- */

static void tell_wait(struct watchdog *watchdog)
{
	long long seconds = (now_monotonic_us() - watchdog->since_us) / US_PER_SEC;

	if (!watchdog->is_told)
		log_warning("the disk has not answered for %lld s: jobd waits for it, and what "
			    "runs goes on",
			    seconds);
	watchdog->is_told = true;
	(void)sd_notifyf(0, "STATUS=The disk has not answered for %lld s", seconds);
}

static void look(struct watchdog *watchdog)
{
	uint64_t switches;
	/* The thread that began the process has its number. */
	bool is_waiting = disk_wait_is_on(getpid(), &switches);
	bool is_same = is_waiting && watchdog->is_waiting && switches == watchdog->switches;

	if (is_waiting)
		(void)sd_notify(0, "WATCHDOG=1");
	if (!is_same && watchdog->is_told) {
		log_notice("the disk answers again, after %lld s",
			   (long long)((now_monotonic_us() - watchdog->since_us) / US_PER_SEC));
		watchdog->is_told = false;
	}
	if (is_same)
		tell_wait(watchdog);
	else
		watchdog->since_us = now_monotonic_us();
	watchdog->is_waiting = is_waiting;
	watchdog->switches = switches;
}

static void *guard_main(void *context)
{
	struct watchdog *watchdog = context;
	struct timespec next;

	(void)pthread_mutex_lock(&watchdog->lock);
	while (!watchdog->is_ending) {
		int64_t next_us = now_monotonic_us() + watchdog->look_us;

		next.tv_sec = next_us / US_PER_SEC;
		next.tv_nsec = next_us % US_PER_SEC * 1000;
		if (pthread_cond_timedwait(&watchdog->end, &watchdog->lock, &next) != 0)
			look(watchdog);
	}
	(void)pthread_mutex_unlock(&watchdog->lock);
	return NULL;
}

static void start_guard(struct watchdog *watchdog)
{
	pthread_condattr_t attributes;
	sigset_t all, old;

	(void)pthread_mutex_init(&watchdog->lock, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&watchdog->end, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	/* Signals are main's. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	if (pthread_create(&watchdog->guard, NULL, guard_main, watchdog) != 0)
		abort();
	(void)pthread_setname_np(watchdog->guard, "watchdog");
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
}

struct watchdog *watchdog_new(struct event_base *base, const struct watchdog_owner *owner)
{
	struct watchdog *watchdog;
	uint64_t period_us = 0;
	struct timeval half;

	if (sd_watchdog_enabled(0, &period_us) <= 0 || period_us == 0)
		return NULL;
	watchdog = xcalloc(1, sizeof(*watchdog));
	watchdog->owner = *owner;
	/* One more than in half of the period, since main may have begun to wait after a look. */
	watchdog->look_us = (int64_t)(period_us / 4);
	half = timeval_of((int64_t)(period_us / 2));
	watchdog->timer = event_new(base, -1, EV_PERSIST, on_timer, watchdog);
	if (!watchdog->timer || event_add(watchdog->timer, &half) != 0)
		abort();
	start_guard(watchdog);
	return watchdog;
}

void watchdog_free(struct watchdog *watchdog)
{
	if (!watchdog)
		return;
	(void)pthread_mutex_lock(&watchdog->lock);
	watchdog->is_ending = true;
	(void)pthread_cond_signal(&watchdog->end);
	(void)pthread_mutex_unlock(&watchdog->lock);
	(void)pthread_join(watchdog->guard, NULL);
	(void)pthread_cond_destroy(&watchdog->end);
	(void)pthread_mutex_destroy(&watchdog->lock);
	event_free(watchdog->timer);
	free(watchdog);
}
