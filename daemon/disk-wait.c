/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/disk-wait.h"

#include <inttypes.h>
#include <stdio.h>

bool disk_wait_is_on(pid_t thread, uint64_t *ret_switches)
{
	char path[48], line[256], state = '?';
	uint64_t switches = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/status", thread);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "State: %c", &state) != 1)
			(void)sscanf(line, "voluntary_ctxt_switches: %" SCNu64, &switches);
	(void)fclose(file);
	if (ret_switches)
		*ret_switches = switches;
	return state == 'D';
}
