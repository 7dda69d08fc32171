/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config.h"
#include "daemon/methods.h"
#include "daemon/profile.h"

/* Files may hold what is not UTF-8. */
static json_t *text_or(const char *text, const char *fallback)
{
	json_t *value = json_string(text);

	return value ? value : json_string(fallback);
}

void method_list_profiles(struct call *call)
{
	const struct profiles *profiles = call->daemon->config->profiles;
	json_t *list = json_array();
	const struct profile *profile;

	for (size_t i = 0; (profile = profiles_at(profiles, i)); i++) {
		json_t *object = json_object();

		(void)json_object_set_new(object, "name", text_or(profile->name, "?"));
		(void)json_object_set_new(object, "description",
					  text_or(profile_say(profile, TEXT_DESCRIPTION), ""));
		if (profile->file)
			(void)json_object_set_new(object, "file", text_or(profile->file, "?"));
		(void)json_object_set_new(object, "text", text_or(profile->source, "(not UTF-8)"));
		(void)json_array_append_new(list, object);
	}
	call_reply(call, json_pack("{s:o}", "profiles", list));
}
