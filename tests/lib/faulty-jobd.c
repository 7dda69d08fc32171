/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobd as it is, on a disk that fails: $JOBD_FAULTS is "cut N SEED" (the power goes at the N-th
 * call to the disk: what was not synced is lost or torn, and the process ends with status 99) or
 * "fail N SEED" (one of N calls fails). Linked with daemon/main.c.
 */
#include "tests/lib/fault-vfs.h"

#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void spoil_the_disk(void)
{
	const char *words = getenv("JOBD_FAULTS");
	unsigned calls, seed;

	if (words && sscanf(words, "cut %u %u", &calls, &seed) == 2) {
		fault_install(true);
		fault_plan_cut(calls, seed);
	} else if (words && sscanf(words, "fail %u %u", &calls, &seed) == 2) {
		fault_install(false);
		fault_often(calls, seed);
	}
}
