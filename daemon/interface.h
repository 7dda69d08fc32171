/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An interface file as a value: what methods there are, and whether parameters, replies and errors
 * are as it says. Parsed once; afterwards any thread may ask.
 *
 * The language is that of Varlink interface definitions (UAPI.20, "Interface Definition"). Line
 * breaks count as blanks only. A nullable member may be left out.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct interface;

/* The text of common/org.jobd.varlink, compiled in, and that of org.varlink.service. */
extern const char interface_text[];
extern const char service_text[];

/* NULL where the text is not of the language, with "line N: ..." in *ret_why (the caller frees). */
struct interface *interface_parse(const char *text, char **ret_why);
void interface_free(struct interface *interface);

/* "org.jobd" */
const char *interface_name(const struct interface *interface);
bool interface_has_method(const struct interface *interface, const char *method);
/*
 * Parameters of a call: 0, or -EINVAL with the path of a member that is unknown, missing or of the
 * wrong type in *ret_member (the caller frees): "targets", "ping.count", "selection.states[1]".
 * NULL is {}.
 */
int interface_check_call(const struct interface *interface, const char *method,
			 const json_t *parameters, char **ret_member);
/* The same for what jobd says; for tests. error: its name without "org.jobd.". */
int interface_check_reply(const struct interface *interface, const char *method,
			  const json_t *parameters, char **ret_member);
int interface_check_error(const struct interface *interface, const char *error,
			  const json_t *parameters, char **ret_member);
