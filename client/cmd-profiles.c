/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* jobctl profiles: which shells jobd knows, and the text of one. */
#include "client/client.h"

#include "common/util.h"

static const json_t *find(const json_t *list, const char *name)
{
	size_t i;
	json_t *profile;

	json_array_foreach (list, i, profile) {
		if (streq(text_of(profile, "name"), name))
			return profile;
	}
	fail(STATUS_REFUSED, "there is no profile '%.80s': jobctl profiles lists them", name);
}

enum status cmd_profiles(struct words *words)
{
	const json_t *list;
	size_t i;
	json_t *reply, *profile;

	words_no_rest(words);
	if (words->argument_count > 1)
		fail(STATUS_WORDS, "jobctl profiles takes one name at most");
	reply = talk("ListProfiles", NULL);
	list = json_object_get(reply, "profiles");
	if (words->argument_count == 1 && globals.is_json) {
		print_json(find(list, words->arguments[0]));
	} else if (words->argument_count == 1) {
		(void)fputs(text_of(find(list, words->arguments[0]), "text"), stdout);
	} else {
		json_array_foreach (list, i, profile) {
			const char *file = text_of(profile, "file");

			if (globals.is_json)
				print_json(profile);
			else
				printf("%-20s %s%s%s%s\n", text_of(profile, "name"),
				       text_of(profile, "description"), *file ? " (" : "", file,
				       *file ? ")" : "");
		}
	}
	json_decref(reply);
	return STATUS_OK;
}
