/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The interfaces of the socket as a table, and the methods of org.varlink.service, which every
 * Varlink service has (UAPI.20). These run as all others do.
 */
#include "daemon/connection.h"

#include "common/util.h"

#include <assert.h>

json_t *service_error(const char *name, const char *parameter, const char *value)
{
	autofree char *whole = xasprintf("org.varlink.service.%s", name);

	return error_build(whole, parameter ? json_pack("{s:s}", parameter, value) : NULL);
}

/* --- The methods of org.varlink.service --- */

static const struct server *server_of(const struct call *call)
{
	return call->connection->server;
}

static void get_info(struct call *call)
{
	const struct server *server = server_of(call);
	json_t *names = json_array();

	for (size_t i = 0; i < SERVICE_COUNT; i++)
		(void)json_array_append_new(
			names, json_string(interface_name(server->services[i].interface)));
	call_reply(call,
		   json_pack("{s:s, s:s, s:s, s:s, s:o}", "vendor", "jobd", "product", "jobd",
			     "version", PACKAGE_VERSION, "url", PACKAGE_URL, "interfaces", names));
}

/* size: of the name, which may go on behind it. */
static const struct service *find_service(const struct server *server, const char *name,
					  size_t size)
{
	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		const char *own = interface_name(server->services[i].interface);

		if (strlen(own) == size && memcmp(own, name, size) == 0)
			return &server->services[i];
	}
	return NULL;
}

static void get_interface_description(struct call *call)
{
	const char *name = json_string_value(json_object_get(call->parameters, "interface"));
	const struct service *service = find_service(server_of(call), name, strlen(name));

	if (service)
		call_reply(call, json_pack("{s:s}", "description", service->text));
	else
		call_answer(call, service_error("InterfaceNotFound", "interface", name));
}

static const struct method *find_service_method(const char *name)
{
	static const struct method rows[] = {
		{"GetInfo", get_info, false, false},
		{"GetInterfaceDescription", get_interface_description, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (streq(rows[i].name, name))
			return &rows[i];
	return NULL;
}

/* --- The table --- */

void service_init(struct server *server)
{
	static const struct service rows[SERVICE_COUNT] = {
		{.text = service_text, .find = find_service_method},
		{.text = interface_text, .find = method_find},
	};

	for (size_t i = 0; i < SERVICE_COUNT; i++) {
		autofree char *why = NULL;

		server->services[i] = rows[i];
		server->services[i].interface = interface_parse(rows[i].text, &why);
		assert(server->services[i].interface); /* a test tells why not */
	}
}

void service_done(struct server *server)
{
	for (size_t i = 0; i < SERVICE_COUNT; i++)
		interface_free(server->services[i].interface);
}

const struct method *service_find(const struct server *server, const char *name,
				  const struct interface **ret_interface, json_t **ret_error)
{
	const char *dot = strrchr(name, '.');
	size_t size = dot ? (size_t)(dot - name) : strlen(name);
	const struct service *service = find_service(server, name, size);
	const struct method *method = NULL;

	if (!service || !dot) {
		autofree char *interface = xasprintf("%.*s", (int)size, name);

		*ret_error = service_error("InterfaceNotFound", "interface", interface);
	} else if (!interface_has_method(service->interface, dot + 1)) {
		*ret_error = service_error("MethodNotFound", "method", name);
	} else if (!(method = service->find(dot + 1))) {
		*ret_error = service_error("MethodNotImplemented", "method", name);
	} else {
		*ret_interface = service->interface;
	}
	return method;
}
