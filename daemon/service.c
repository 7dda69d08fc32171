/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.varlink.service, which every Varlink service speaks (UAPI.20). */
#include "daemon/connection.h"

#include "common/util.h"

static const char service_text[] =
	"# The interface that every Varlink service has.\n"
	"interface org.varlink.service\n"
	"\n"
	"# Who this is, and what interfaces there are.\n"
	"method GetInfo() -> (\n"
	"  vendor: string,\n"
	"  product: string,\n"
	"  version: string,\n"
	"  url: string,\n"
	"  interfaces: []string\n"
	")\n"
	"\n"
	"# The definition of an interface.\n"
	"method GetInterfaceDescription(interface: string) -> (description: string)\n"
	"\n"
	"error InterfaceNotFound (interface: string)\n"
	"error MethodNotFound (method: string)\n"
	"error MethodNotImplemented (method: string)\n"
	"error InvalidParameter (parameter: string)\n"
	"error PermissionDenied ()\n"
	"error ExpectedMore ()\n";

json_t *service_error(const char *name, const char *parameter, const char *value)
{
	autofree char *whole = xasprintf("org.varlink.service.%s", name);

	return error_build(whole, parameter ? json_pack("{s:s}", parameter, value) : NULL);
}

static json_t *get_info(const struct server *server)
{
	return reply_build(json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "jobd", "product",
				     "jobd", "version", PACKAGE_VERSION, "url", PACKAGE_URL,
				     "interfaces", "org.varlink.service",
				     interface_name(server->interface)),
			   false);
}

static json_t *get_description(const struct server *server, const json_t *parameters)
{
	const json_t *wanted = json_object_get(parameters, "interface");
	const char *name = json_string_value(wanted);
	const char *text;

	if (!name || json_object_size(parameters) != 1)
		return service_error("InvalidParameter", "parameter", "interface");
	if (streq(name, interface_name(server->interface)))
		text = interface_text;
	else if (streq(name, "org.varlink.service"))
		text = service_text;
	else
		return service_error("InterfaceNotFound", "interface", name);
	return reply_build(json_pack("{s:s}", "description", text), false);
}

bool service_handle(struct connection *connection, const struct call_header *header)
{
	const struct server *server = connection->server;
	const char *dot = strrchr(header->method, '.');
	json_t *reply;

	if (!dot) {
		reply = service_error("InterfaceNotFound", "interface", header->method);
	} else {
		autofree char *interface =
			strndup(header->method, (size_t) (dot - header->method));

		if (streq(interface, interface_name(server->interface)) &&
		    interface_has_method(server->interface, dot + 1))
			return false;
		if (streq(header->method, "org.varlink.service.GetInfo"))
			reply = json_object_size(header->parameters) == 0
					? get_info(server)
					: service_error("InvalidParameter", "parameter",
							json_object_iter_key(json_object_iter(
								header->parameters)));
		else if (streq(header->method, "org.varlink.service.GetInterfaceDescription"))
			reply = get_description(server, header->parameters);
		else if (streq(interface, "org.varlink.service") ||
			 streq(interface, interface_name(server->interface)))
			reply = service_error("MethodNotFound", "method", header->method);
		else
			reply = service_error("InterfaceNotFound", "interface", interface);
	}
	if (header->is_oneway)
		json_decref(reply);
	else
		connection_say(connection, reply, false, 0);
	return true;
}
