/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/methods.h"

#include "common/util.h"

/* Receive reads; what it confirms follows with the next commit, for which only its end waits. */
const struct method methods[] = {
	{"Start", method_start, true, false},
	{"Retry", method_retry, true, false},
	{"List", method_list, false, false},
	{"ListTasks", method_list_tasks, false, false},
	{"Receive", method_receive, false, false},
	{"Wait", method_wait, false, false},
	{"Subscribe", method_subscribe, false, true},
	{"Stop", method_stop, true, false},
	{"Pause", method_pause, true, false},
	{"Resume", method_resume, true, false},
	{"Adjust", method_adjust, true, false},
	{"Import", method_import, true, false},
	{"Remove", method_remove, true, false},
	{"ListSchedules", method_list_schedules, false, false},
	{"ChangeSchedules", method_change_schedules, true, false},
	{"GetStatus", method_get_status, false, false},
	{"ListProfiles", method_list_profiles, false, false},
};
const size_t method_count = ARRAY_SIZE(methods);

const struct method *method_find(const char *name)
{
	for (size_t i = 0; i < method_count; i++)
		if (streq(methods[i].name, name))
			return &methods[i];
	return NULL;
}
