/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Targets by what they have in common. */
#include "client/client.h"

#include "common/hash.h"
#include "common/protocol.h"
#include "common/targets.h"
#include "common/util.h"

#include <ctype.h>

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

/* --- Sentences that differ in the host alone --- */

enum { HOST_MARK = '\001', HOSTS_MAX = 60 };

static bool is_of_name(char c)
{
	return isalnum((unsigned char)c) || strchr("-_.:", c);
}

char *sentence_without_host(const char *sentence, const char *target)
{
	struct target_parts parts;
	const char *host = target_split(target, &parts) == 0 ? parts.host : target;
	size_t size = strlen(host);
	char *copy = xstrdup(sentence), *to = copy;

	for (const char *at = sentence; *at;) {
		/* Not within another name: r1 is not in r10 */
		if (strncmp(at, host, size) == 0 && (at == sentence || !is_of_name(at[-1])) &&
		    (at[size] == '\0' || !is_of_name(at[size]) || strchr(".:", at[size]))) {
			*to++ = HOST_MARK;
			at += size;
		} else {
			*to++ = *at++;
		}
	}
	*to = '\0';
	return copy;
}

char *sentence_with_hosts(const char *sentence, size_t size, const char *targets, size_t count)
{
	struct target_parts parts;
	bool is_one = count == 1 && target_split(targets, &parts) == 0;
	const char *hosts = is_one                         ? parts.host
			    : strlen(targets) <= HOSTS_MAX ? targets
							   : "each of them";
	char *text = NULL;
	size_t text_size;
	FILE *out = open_memstream(&text, &text_size);

	for (size_t i = 0; out && i < size; i++) {
		if (sentence[i] != HOST_MARK)
			(void)fputc(sentence[i], out);
		else
			(void)fputs(hosts, out);
	}
	if (!out || fclose(out) != 0)
		abort();
	return text;
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
