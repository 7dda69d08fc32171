/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A parser by recursive descent, one function a rule, and a check that walks type and value. */
#include "daemon/interface.h"

#include "common/util.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>

enum type_kind {
	TYPE_BOOL,
	TYPE_INT,
	TYPE_FLOAT,
	TYPE_STRING,
	TYPE_OBJECT, /* any JSON object */
	TYPE_ANY,    /* any JSON value but null */
	TYPE_NAMED,
	TYPE_STRUCT,
	TYPE_ENUM,
	TYPE_ARRAY,
	TYPE_MAP,
	TYPE_NULLABLE,
};

struct member {
	char *name;
	struct type *type; /* NULL: a word of an enum */
};

struct type {
	enum type_kind kind;
	char *name; /* TYPE_NAMED, and what it stands for */
	const struct type *named;
	struct type *inner;     /* TYPE_ARRAY, TYPE_MAP, TYPE_NULLABLE */
	struct member *members; /* TYPE_STRUCT, TYPE_ENUM */
	size_t member_count, required_count;
};

enum entry_kind { ENTRY_TYPE, ENTRY_METHOD, ENTRY_ERROR };

struct entry {
	enum entry_kind kind;
	char *name;
	struct type *type;  /* or the parameters */
	struct type *reply; /* ENTRY_METHOD */
};

struct interface {
	char *name;
	struct entry *entries;
	size_t count;
};

static void type_free(struct type *type)
{
	if (!type)
		return;
	for (size_t i = 0; i < type->member_count; i++) {
		free(type->members[i].name);
		type_free(type->members[i].type);
	}
	free(type->members);
	free(type->name);
	type_free(type->inner);
	free(type);
}

void interface_free(struct interface *interface)
{
	if (!interface)
		return;
	for (size_t i = 0; i < interface->count; i++) {
		free(interface->entries[i].name);
		type_free(interface->entries[i].type);
		type_free(interface->entries[i].reply);
	}
	free(interface->entries);
	free(interface->name);
	free(interface);
}

/* --- Parsing --- */

struct parser {
	const char *at;
	unsigned line;
	char *why; /* the first thing that is wrong */
};

static void fail(struct parser *parser, const char *expected)
{
	if (!parser->why)
		parser->why = xasprintf("line %u: %s is expected", parser->line, expected);
}

static void skip_blanks(struct parser *parser)
{
	while (*parser->at == '#' || isspace((unsigned char)*parser->at)) {
		if (*parser->at == '#')
			parser->at += strcspn(parser->at, "\n");
		else if (*parser->at++ == '\n')
			parser->line++;
	}
}

/* Takes the token if it is next. */
static bool take(struct parser *parser, const char *token)
{
	size_t size = strlen(token);

	skip_blanks(parser);
	if (strncmp(parser->at, token, size) != 0 ||
	    (isalpha((unsigned char)token[0]) && isalnum((unsigned char)parser->at[size])))
		return false;
	parser->at += size;
	return true;
}

static bool expect(struct parser *parser, const char *token)
{
	if (take(parser, token))
		return true;
	fail(parser, token);
	return false;
}

/* Letters and digits, single joints between them; what: as the text should have it. */
static char *take_name(struct parser *parser, const char *joints, bool is_capital, const char *what)
{
	const char *start;

	skip_blanks(parser);
	start = parser->at;
	while (isalnum((unsigned char)*parser->at) ||
	       (parser->at > start && *parser->at && strchr(joints, *parser->at) &&
		isalnum((unsigned char)parser->at[1])))
		parser->at++;
	if (is_capital ? !isupper((unsigned char)*start) : !isalpha((unsigned char)*start)) {
		fail(parser, what);
		return NULL;
	}
	return xasprintf("%.*s", (int)(parser->at - start), start);
}

static struct type *parse_type(struct parser *parser);

/* "(" [name [":" type]] {"," ...} ")": a struct, or an enum where the names have no types. */
static struct type *parse_members(struct parser *parser)
{
	struct type *type = xcalloc(1, sizeof(*type));

	type->kind = TYPE_STRUCT;
	if (!expect(parser, "(") || take(parser, ")"))
		return type;
	do {
		struct member member = {.name = take_name(parser, "_", false, "a field's name")};
		enum type_kind kind = take(parser, ":") ? TYPE_STRUCT : TYPE_ENUM;

		if (type->member_count == 0)
			type->kind = kind;
		else if (type->kind != kind)
			fail(parser, "a type for all names or for none");
		if (kind == TYPE_STRUCT) {
			member.type = parse_type(parser);
			type->required_count += member.type->kind != TYPE_NULLABLE;
		}
		type->members =
			xrealloc(type->members, (type->member_count + 1) * sizeof(*type->members));
		type->members[type->member_count++] = member;
	} while (!parser->why && take(parser, ","));
	(void)expect(parser, ")");
	return type;
}

/* What a method takes and gives, and what an error has. */
static struct type *parse_struct(struct parser *parser)
{
	struct type *type = parse_members(parser);

	if (type->kind != TYPE_STRUCT)
		fail(parser, "a type for each parameter");
	return type;
}

static struct type *parse_type(struct parser *parser)
{
	static const struct {
		const char *token;
		enum type_kind kind;
		bool has_inner;
	} rows[] = {
		{"?", TYPE_NULLABLE, true},     {"[]", TYPE_ARRAY, true},
		{"[string]", TYPE_MAP, true},   {"bool", TYPE_BOOL, false},
		{"int", TYPE_INT, false},       {"float", TYPE_FLOAT, false},
		{"string", TYPE_STRING, false}, {"object", TYPE_OBJECT, false},
		{"any", TYPE_ANY, false},
	};
	struct type *type;

	skip_blanks(parser);
	if (*parser->at == '(')
		return parse_members(parser);
	type = xcalloc(1, sizeof(*type));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!take(parser, rows[i].token))
			continue;
		type->kind = rows[i].kind;
		if (rows[i].has_inner)
			type->inner = parse_type(parser);
		if (type->kind == TYPE_NULLABLE && type->inner->kind == TYPE_NULLABLE)
			fail(parser, "one '?'");
		return type;
	}
	type->kind = TYPE_NAMED;
	type->name = take_name(parser, "", true, "a type");
	return type;
}

static bool is_taken(const struct interface *interface, const char *name)
{
	for (size_t i = 0; i < interface->count; i++)
		if (streq(interface->entries[i].name, name))
			return true;
	return false;
}

static void parse_entry(struct parser *parser, struct interface *interface)
{
	struct entry entry = {0};

	if (take(parser, "type"))
		entry.kind = ENTRY_TYPE;
	else if (take(parser, "method"))
		entry.kind = ENTRY_METHOD;
	else if (take(parser, "error"))
		entry.kind = ENTRY_ERROR;
	else
		fail(parser, "type, method or error");
	if (parser->why)
		return;
	entry.name = take_name(parser, "", true, "a name with a capital");
	if (!entry.name)
		return;
	if (is_taken(interface, entry.name))
		fail(parser, "a name that is not taken");
	entry.type = entry.kind == ENTRY_TYPE ? parse_members(parser) : parse_struct(parser);
	if (entry.kind == ENTRY_METHOD && expect(parser, "->"))
		entry.reply = parse_struct(parser);
	interface->entries =
		xrealloc(interface->entries, (interface->count + 1) * sizeof(*interface->entries));
	interface->entries[interface->count++] = entry;
}

static const struct entry *find(const struct interface *interface, enum entry_kind kind,
				const char *name)
{
	for (size_t i = 0; i < interface->count; i++)
		if (interface->entries[i].kind == kind && streq(interface->entries[i].name, name))
			return &interface->entries[i];
	return NULL;
}

/* Ties type names to what they stand for: the first one that stands for nothing, or NULL. */
static const char *resolve(const struct interface *interface, struct type *type)
{
	const char *unknown = NULL;

	if (!type)
		return NULL;
	if (type->kind == TYPE_NAMED) {
		const struct entry *entry = find(interface, ENTRY_TYPE, type->name);

		type->named = entry ? entry->type : NULL;
		return entry ? NULL : type->name;
	}
	if (type->inner)
		return resolve(interface, type->inner);
	for (size_t i = 0; i < type->member_count && !unknown; i++)
		unknown = resolve(interface, type->members[i].type);
	return unknown;
}

struct interface *interface_parse(const char *text, char **ret_why)
{
	struct interface *interface = xcalloc(1, sizeof(*interface));
	struct parser parser = {.at = text, .line = 1};

	if (expect(&parser, "interface"))
		interface->name = take_name(&parser, ".-", false, "the interface's name");
	for (skip_blanks(&parser); !parser.why && *parser.at; skip_blanks(&parser))
		parse_entry(&parser, interface);
	for (size_t i = 0; i < interface->count && !parser.why; i++) {
		const struct entry *entry = &interface->entries[i];
		const char *unknown = resolve(interface, entry->type);

		if (!unknown)
			unknown = resolve(interface, entry->reply);
		if (unknown)
			parser.why = xasprintf("%s: there is no type %s", entry->name, unknown);
	}
	if (parser.why) {
		*ret_why = parser.why;
		interface_free(interface);
		return NULL;
	}
	return interface;
}

const char *interface_name(const struct interface *interface)
{
	return interface->name;
}

bool interface_has_method(const struct interface *interface, const char *method)
{
	return find(interface, ENTRY_METHOD, method) != NULL;
}

/* --- Checking --- */

/*
 * What is wrong with a value: the path from it to the wrong place ("" for the value itself; the
 * caller frees), or NULL. An absent value is NULL.
 */
static char *find_wrong(const struct type *type, const json_t *value);

static char *unless(bool is_right)
{
	return is_right ? NULL : xstrdup("");
}

/* Puts a step in front of a path, which it frees; no path stays none. */
static char *path_below(const char *name, char *path)
{
	autofree char *rest = path;

	if (!rest)
		return NULL;
	return xasprintf("%s%s%s", name, rest[0] == '\0' || rest[0] == '[' ? "" : ".", rest);
}

/* jansson's iterators leave what they walk over as it is, but do not say so. */
static json_t *walkable(const json_t *object)
{
	return (json_t *)(uintptr_t)object;
}

static const struct member *find_member(const struct type *type, const char *name)
{
	for (size_t i = 0; i < type->member_count; i++)
		if (streq(type->members[i].name, name))
			return &type->members[i];
	return NULL;
}

/* The first that must be there and is not. */
static char *find_missing(const struct type *type, const json_t *object)
{
	for (size_t i = 0; i < type->member_count; i++)
		if (type->members[i].type->kind != TYPE_NULLABLE &&
		    !json_object_get(object, type->members[i].name))
			return xstrdup(type->members[i].name);
	return NULL;
}

static char *find_wrong_member(const struct type *type, const json_t *object)
{
	size_t required = 0;
	const char *name;
	json_t *value;

	json_object_foreach (walkable(object), name, value) {
		const struct member *member = find_member(type, name);
		char *path;

		if (!member)
			return xstrdup(name);
		path = find_wrong(member->type, value);
		if (path)
			return path_below(name, path);
		required += member->type->kind != TYPE_NULLABLE;
	}
	return required == type->required_count ? NULL : find_missing(type, object);
}

static char *find_wrong_item(const struct type *type, const json_t *array)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		char *path = find_wrong(type, json_array_get(array, i));

		if (path) {
			autofree char *place = xasprintf("[%zu]", i);

			return path_below(place, path);
		}
	}
	return NULL;
}

static char *find_wrong_entry(const struct type *type, const json_t *map)
{
	const char *key;
	json_t *value;

	json_object_foreach (walkable(map), key, value) {
		char *path = find_wrong(type, value);

		if (path)
			return path_below(key, path);
	}
	return NULL;
}

/* A NUL inside would end the text early for all who read it as a C string. */
static bool is_text(const json_t *value)
{
	return json_is_string(value) &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

static char *find_wrong(const struct type *type, const json_t *value)
{
	switch (type->kind) {
	case TYPE_BOOL:
		return unless(json_is_boolean(value));
	case TYPE_INT:
		return unless(json_is_integer(value));
	case TYPE_FLOAT:
		return unless(json_is_number(value));
	case TYPE_STRING:
		return unless(is_text(value));
	case TYPE_OBJECT:
		return unless(json_is_object(value));
	case TYPE_ANY:
		return unless(value && !json_is_null(value));
	case TYPE_ENUM:
		return unless(is_text(value) && find_member(type, json_string_value(value)));
	case TYPE_NULLABLE:
		return !value || json_is_null(value) ? NULL : find_wrong(type->inner, value);
	case TYPE_ARRAY:
		return json_is_array(value) ? find_wrong_item(type->inner, value) : unless(false);
	case TYPE_MAP:
		return json_is_object(value) ? find_wrong_entry(type->inner, value) : unless(false);
	case TYPE_STRUCT:
		return json_is_object(value) ? find_wrong_member(type, value) : unless(false);
	case TYPE_NAMED:
		return find_wrong(type->named, value);
	}
	return unless(false);
}

/* type NULL: nothing is called so, and everything about it is wrong. */
static int check(const char *name, const struct type *type, const json_t *parameters,
		 char **ret_member)
{
	char *wrong;

	if (!type)
		wrong = xstrdup(name);
	else if (parameters)
		wrong = find_wrong(type, parameters);
	else
		wrong = find_wrong_member(type, NULL);
	if (!wrong)
		return 0;
	*ret_member = wrong;
	return -EINVAL;
}

int interface_check_call(const struct interface *interface, const char *method,
			 const json_t *parameters, char **ret_member)
{
	const struct entry *entry = find(interface, ENTRY_METHOD, method);

	return check(method, entry ? entry->type : NULL, parameters, ret_member);
}

int interface_check_reply(const struct interface *interface, const char *method,
			  const json_t *parameters, char **ret_member)
{
	const struct entry *entry = find(interface, ENTRY_METHOD, method);

	return check(method, entry ? entry->reply : NULL, parameters, ret_member);
}

int interface_check_error(const struct interface *interface, const char *error,
			  const json_t *parameters, char **ret_member)
{
	const struct entry *entry = find(interface, ENTRY_ERROR, error);

	return check(error, entry ? entry->type : NULL, parameters, ret_member);
}
