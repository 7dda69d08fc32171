/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SQLite's own way to the disk (VFS, sqlite3_vfs(3)) with two things that disks do in between: the
 * n-th call fails, once or from then on; and what was written but never synced is lost or torn, as
 * when the power goes. One thread.
 */
#pragma once

#include <stdbool.h>

/* For every database that is opened from now on, until fault_remove. */
void fault_install(void);
void fault_remove(void);

/* The n-th call from now on (1: the next) fails, and with is_lasting all after it. */
void fault_arm(unsigned n, bool is_lasting);
/* The disk is well again; whether it had failed. */
bool fault_disarm(void);

/*
 * The power goes: after the databases were closed (with a lasting fault, so that nothing is written
 * any more). Of what was written since a file's last sync each sector stays or not, as the seed
 * says.
 */
void fault_cut_power(unsigned seed);
