/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calendar events as systemd.time(7) writes them: "Mon..Fri 06:00", "*-*~1 23:59:30",
 * "quarterly Europe/Berlin". What elapses when is what `systemd-analyze calendar` says, hours that
 * come twice or not at all included; a test compares them over thousands. libsystemd has no
 * function for it. One thing differs: a zone is UTC or one of the time zone database; the short
 * names of the local zone ("CEST") are taken for such a one, or are none. Any thread.
 */
#pragma once

#include "common/error.h"

#include <stdint.h>

struct calendar;

/* 0, or ERROR_INVALID_OPTION, which quotes the text; -EAGAIN: its zone cannot be read just now. */
int calendar_parse(const char *text, struct calendar **ret_calendar, struct error *ret_error);
void calendar_free(struct calendar *calendar);
/* The first elapse later than this, both microseconds since the epoch; 0: there is none. */
int64_t calendar_next(const struct calendar *calendar, int64_t after_us);
/* What calendar_parse says, and the same error where no elapse is later than this. */
int calendar_check(const char *text, int64_t after_us, struct error *ret_error);
