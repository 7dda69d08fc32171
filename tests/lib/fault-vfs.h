/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SQLite's own way to the disk (VFS, sqlite3_vfs(3)) with what disks do in between: the n-th call
 * fails, once or from then on, or now and then one; and what was written but never synced is lost
 * or torn, as when the power goes. Of a sync that failed all is lost, though the next one succeeds,
 * as Linux has it (https://lwn.net/Articles/752063/). One thread.
 */
#pragma once

#include <stdbool.h>

/* For every database that is opened from now on, until fault_remove; with_cuts: the power may go,
 * for which all that is not synced must be remembered. */
void fault_install(bool with_cuts);
void fault_remove(void);

/* The n-th call from now on (1: the next) fails, and with is_lasting all after it. */
void fault_arm(unsigned n, bool is_lasting);
/* The disk is well again; whether it had failed. */
bool fault_disarm(void);

/* Of so many calls (0: of none) one fails, here and there as the seed says. */
void fault_often(unsigned calls, unsigned seed);

/*
 * The power goes: after the databases were closed (with a lasting fault, so that nothing is written
 * any more). Of what was written since a file's last sync nothing stays, or the first part and its
 * last sector torn, or any of its sectors, as the seed says.
 */
void fault_cut_power(unsigned seed);
/* At the n-th call from now on, and this process ends with it. */
enum { FAULT_CUT_STATUS = 99 };
void fault_plan_cut(unsigned n, unsigned seed);
