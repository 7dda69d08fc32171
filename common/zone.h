/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Time zones as values. localtime(3) knows one zone only, that of the whole process, and setting
 * another one (TZ, tzset) under threads that log is a race; so a zone's file is read here (TZif,
 * RFC 8536, with the rule for the years after its table) and held by whoever asked for it. A file
 * that the system's updates replace is seen by the next zone_load. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct zone;

/*
 * "Europe/Berlin", "UTC"; NULL: where this process is, by TZ and /etc/localtime, and UTC where
 * these say nothing, as tzset(3) has it. 0, or -ENOENT where there is no such zone; a name that
 * leads out of the zones' folder is none. Another negative errno: it cannot be read just now.
 */
int zone_load(const char *name, struct zone **ret_zone);
void zone_free(struct zone *zone);

/* Seconds east of Greenwich at a time, in seconds since the epoch. ret_is_dst may be NULL. */
int32_t zone_offset(const struct zone *zone, int64_t at, bool *ret_is_dst);
/*
 * The time at which clocks show local (a date and time, counted as if it were UTC), as mktime(3) of
 * glibc finds it: of an hour that comes twice, the one whose offset is *guess; where an hour is
 * left out, as much before or after it as is left out. *guess is the offset that the search begins
 * with, and that it ended with.
 */
int64_t zone_instant(const struct zone *zone, int64_t local, int32_t *guess);
