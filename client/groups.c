/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Targets by what they have in common. */
#include "client/client.h"

#include "common/hash.h"
#include "common/protocol.h"
#include "common/targets.h"
#include "common/util.h"

struct group {
	char *text;
	size_t size;
	json_t *targets;
	UT_hash_handle hh;
};

void group_add(struct group **groups, const char *text, size_t size, const char *target)
{
	struct group *group;

	HASH_FIND(hh, *groups, text, size, group);
	if (!group) {
		group = xcalloc(1, sizeof(*group));
		group->text = xmemdup(text, size);
		group->size = size;
		group->targets = json_array();
		HASH_ADD_KEYPTR(hh, *groups, group->text, size, group);
	}
	(void)json_array_append_new(group->targets, json_string(target));
}

void groups_print(struct group **groups, group_fn *fn, void *context)
{
	struct group *group, *next;

	HASH_ITER (hh, *groups, group, next) {
		size_t count;
		autofree const char **names = json_strings(group->targets, &count);
		autofree char *folded = target_fold(names, count);

		fn(folded, count, group->text, group->size, context);
		HASH_DEL(*groups, group);
		json_decref(group->targets);
		free(group->text);
		free(group);
	}
}
