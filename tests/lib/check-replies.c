/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check-replies <LOG: is what jobd said as its interfaces have it? A line of the log, which
 * varlink-proxy writes, is one reply:
 *   {"method": "org.jobd.List", "reply": {...}}
 *   {"method": "org.jobd.List", "error": "org.jobd.NoSuchJob", "parameters": {...}}
 * Exit status: 0, 1 with a line for each that is not, 2 where the log cannot be read.
 */
#include "common/util.h"
#include "daemon/interface.h"

#include <err.h>
#include <stdio.h>

enum { EXIT_WRONG = 1, EXIT_UNREADABLE = 2 };

static struct interface *interfaces[2];

static void parse_interfaces(void)
{
	static const char *const texts[] = {interface_text, service_text};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		autofree char *why = NULL;

		interfaces[i] = interface_parse(texts[i], &why);
		if (!interfaces[i])
			errx(EXIT_UNREADABLE, "%s", why);
	}
}

/* The interface of a whole name and, behind its last dot, the rest; NULL: there is none. */
static const struct interface *find(const char *name, const char **ret_rest)
{
	const char *dot = name ? strrchr(name, '.') : NULL;

	for (size_t i = 0; dot && i < ARRAY_SIZE(interfaces); i++) {
		const char *prefix = interface_name(interfaces[i]);

		if (strlen(prefix) != (size_t)(dot - name) ||
		    strncmp(prefix, name, strlen(prefix)) != 0)
			continue;
		*ret_rest = dot + 1;
		return interfaces[i];
	}
	return NULL;
}

/* What is wrong with a line, or NULL; the caller frees. */
static char *find_wrong(const json_t *line)
{
	const char *method = json_string_value(json_object_get(line, "method"));
	const char *error = json_string_value(json_object_get(line, "error"));
	const char *said = error ? error : method;
	const char *rest = NULL;
	const struct interface *interface = find(said, &rest);
	autofree char *member = NULL;
	int r;

	if (!method)
		return xstrdup("it names no method");
	if (!interface)
		return xasprintf("%s is of no interface", said);
	if (error)
		r = interface_check_error(interface, rest, json_object_get(line, "parameters"),
					  &member);
	else
		r = interface_check_reply(interface, rest, json_object_get(line, "reply"), &member);
	return r < 0 ? xasprintf("%s: %s is wrong", said, member) : NULL;
}

int main(void)
{
	autofree char *text = NULL;
	size_t capacity = 0;
	unsigned number = 0;
	int status = EXIT_SUCCESS;

	parse_interfaces();
	while (getline(&text, &capacity, stdin) > 0) {
		json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		autofree char *wrong = NULL;

		number++;
		if (!json_is_object(line))
			errx(EXIT_UNREADABLE, "line %u is no JSON object", number);
		wrong = find_wrong(line);
		if (wrong) {
			printf("line %u: %s\n", number, wrong);
			status = EXIT_WRONG;
		}
		json_decref(line);
	}
	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++)
		interface_free(interfaces[i]);
	if (number == 0)
		errx(EXIT_UNREADABLE, "the log is empty: nothing was checked");
	return status;
}
