/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/kind.h"

#include "common/util.h"

const struct kind *const kinds[] = {&kind_ping, &kind_ssh, NULL};

const struct kind *kind_find(const char *name)
{
	for (size_t i = 0; kinds[i]; i++)
		if (streq(kinds[i]->name, name))
			return kinds[i];
	return NULL;
}
