/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A parser by recursive descent, one function a rule, and a check that walks type and value. */
#include "daemon/interface.h"

#include "common/util.h"

#include <ctype.h>
#include <errno.h>

enum type_kind {
	TYPE_BOOL,
	TYPE_INT,
	TYPE_FLOAT,
	TYPE_STRING,
	TYPE_OBJECT, /* any JSON object */
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
	char *name;         /* TYPE_NAMED */
	struct type *inner; /* TYPE_ARRAY, TYPE_MAP, TYPE_NULLABLE */
	struct member *members; /* TYPE_STRUCT, TYPE_ENUM */
	size_t member_count;
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
	for (;; parser->at++) {
		if (*parser->at == '#')
			parser->at += strcspn(parser->at, "\n");
		if (*parser->at == '\n')
			parser->line++;
		else if (!isspace((unsigned char) *parser->at))
			return;
		if (*parser->at == '\0')
			return;
	}
}

/* Takes the token if it is next. */
static bool take(struct parser *parser, const char *token)
{
	size_t size = strlen(token);

	skip_blanks(parser);
	if (strncmp(parser->at, token, size) != 0 ||
	    (isalpha((unsigned char) token[0]) && isalnum((unsigned char) parser->at[size])))
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

/* A name of letters, digits, '_' and what else is given; the caller frees. NULL: none. */
static char *take_name(struct parser *parser, const char *others)
{
	const char *start;

	skip_blanks(parser);
	start = parser->at;
	while (isalnum((unsigned char) *parser->at) ||
	       (*parser->at && strchr(others, *parser->at)))
		parser->at++;
	if (parser->at == start || !isalpha((unsigned char) *start)) {
		fail(parser, "a name");
		return NULL;
	}
	return strndup(start, (size_t) (parser->at - start));
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
		struct member member = {.name = take_name(parser, "_")};

		if (take(parser, ":"))
			member.type = parse_type(parser);
		else
			type->kind = TYPE_ENUM;
		type->members = xrealloc(type->members,
					 (type->member_count + 1) * sizeof(*type->members));
		type->members[type->member_count++] = member;
	} while (!parser->why && take(parser, ","));
	(void) expect(parser, ")");
	return type;
}

static struct type *parse_type(struct parser *parser)
{
	static const struct {
		const char *token;
		enum type_kind kind;
	} words[] = {{"?", TYPE_NULLABLE}, {"[]", TYPE_ARRAY},	 {"[string]", TYPE_MAP},
		     {"bool", TYPE_BOOL},  {"int", TYPE_INT},	 {"float", TYPE_FLOAT},
		     {"string", TYPE_STRING}, {"object", TYPE_OBJECT}};
	struct type *type;

	skip_blanks(parser);
	if (*parser->at == '(')
		return parse_members(parser);
	type = xcalloc(1, sizeof(*type));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!take(parser, words[i].token))
			continue;
		type->kind = words[i].kind;
		if (i < 3)
			type->inner = parse_type(parser);
		return type;
	}
	type->kind = TYPE_NAMED;
	type->name = take_name(parser, "_");
	return type;
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
	entry.name = take_name(parser, "");
	entry.type = parse_members(parser);
	if (entry.kind == ENTRY_METHOD && expect(parser, "->"))
		entry.reply = parse_members(parser);
	interface->entries = xrealloc(interface->entries,
				      (interface->count + 1) * sizeof(*interface->entries));
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

/* The first type name in it that stands for nothing, or NULL. */
static const char *find_unknown(const struct interface *interface, const struct type *type)
{
	const char *unknown = NULL;

	if (!type)
		return NULL;
	if (type->kind == TYPE_NAMED)
		return find(interface, ENTRY_TYPE, type->name) ? NULL : type->name;
	if (type->inner)
		return find_unknown(interface, type->inner);
	for (size_t i = 0; i < type->member_count && !unknown; i++)
		unknown = find_unknown(interface, type->members[i].type);
	return unknown;
}

struct interface *interface_parse(const char *text, char **ret_why)
{
	struct interface *interface = xcalloc(1, sizeof(*interface));
	struct parser parser = {.at = text, .line = 1};

	if (expect(&parser, "interface"))
		interface->name = take_name(&parser, ".-");
	for (skip_blanks(&parser); !parser.why && *parser.at; skip_blanks(&parser))
		parse_entry(&parser, interface);
	for (size_t i = 0; i < interface->count && !parser.why; i++) {
		const struct entry *entry = &interface->entries[i];
		const char *unknown = find_unknown(interface, entry->type);

		if (!unknown)
			unknown = find_unknown(interface, entry->reply);
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

static bool is_of_type(const struct interface *interface, const struct type *type,
		       const json_t *value);

/* An object against a struct: the name of the first member that is wrong, or NULL. */
static const char *find_wrong(const struct interface *interface, const struct type *type,
			      const json_t *object)
{
	size_t known = 0;

	for (size_t i = 0; i < type->member_count; i++) {
		const struct member *member = &type->members[i];
		const json_t *value = json_object_get(object, member->name);

		if (value)
			known++;
		if (!is_of_type(interface, member->type, value))
			return member->name;
	}
	if (json_object_size(object) > known) {
		json_t *unconst = (json_t *) (uintptr_t) object;
		const char *name;
		json_t *value;

		json_object_foreach(unconst, name, value)
		{
			size_t i = 0;

			while (i < type->member_count && !streq(type->members[i].name, name))
				i++;
			if (i == type->member_count)
				return name;
		}
	}
	return NULL;
}

static bool are_of_type(const struct interface *interface, const struct type *type,
			const json_t *values)
{
	json_t *unconst = (json_t *) (uintptr_t) values;
	const char *name;
	json_t *value;
	size_t i;

	if (json_is_array(values)) {
		json_array_foreach(unconst, i, value)
		{
			if (!is_of_type(interface, type, value))
				return false;
		}
	} else {
		json_object_foreach(unconst, name, value)
		{
			if (!is_of_type(interface, type, value))
				return false;
		}
	}
	return true;
}

static bool is_word(const struct type *type, const json_t *value)
{
	const char *word = json_string_value(value);

	for (size_t i = 0; word && i < type->member_count; i++)
		if (streq(type->members[i].name, word))
			return true;
	return false;
}

static bool is_of_type(const struct interface *interface, const struct type *type,
		       const json_t *value)
{
	const struct entry *named;

	switch (type->kind) {
	case TYPE_BOOL:
		return json_is_boolean(value);
	case TYPE_INT:
		return json_is_integer(value);
	case TYPE_FLOAT:
		return json_is_number(value);
	case TYPE_STRING:
		return json_is_string(value);
	case TYPE_OBJECT:
		return json_is_object(value);
	case TYPE_NULLABLE:
		return !value || json_is_null(value) || is_of_type(interface, type->inner, value);
	case TYPE_ARRAY:
		return json_is_array(value) && are_of_type(interface, type->inner, value);
	case TYPE_MAP:
		return json_is_object(value) && are_of_type(interface, type->inner, value);
	case TYPE_ENUM:
		return is_word(type, value);
	case TYPE_STRUCT:
		return json_is_object(value) && !find_wrong(interface, type, value);
	case TYPE_NAMED:
		named = find(interface, ENTRY_TYPE, type->name);
		return named && is_of_type(interface, named->type, value);
	}
	return false;
}

static int check(const struct interface *interface, const struct type *type,
		 const json_t *parameters, char **ret_member)
{
	const char *wrong = find_wrong(interface, type, parameters);

	if (!wrong)
		return 0;
	*ret_member = xstrdup(wrong);
	return -EINVAL;
}

/* Nothing of that name: everything about it is wrong. */
static int unknown(const char *name, char **ret_member)
{
	*ret_member = xstrdup(name);
	return -EINVAL;
}

int interface_check_call(const struct interface *interface, const char *method,
			 const json_t *parameters, char **ret_member)
{
	const struct entry *entry = find(interface, ENTRY_METHOD, method);

	return entry ? check(interface, entry->type, parameters, ret_member)
		     : unknown(method, ret_member);
}

int interface_check_reply(const struct interface *interface, const char *method,
			  const json_t *parameters, char **ret_member)
{
	const struct entry *entry = find(interface, ENTRY_METHOD, method);

	return entry ? check(interface, entry->reply, parameters, ret_member)
		     : unknown(method, ret_member);
}

int interface_check_error(const struct interface *interface, const char *error,
			  const json_t *parameters, char **ret_member)
{
	const struct entry *entry = find(interface, ENTRY_ERROR, error);

	return entry ? check(interface, entry->type, parameters, ret_member)
		     : unknown(error, ret_member);
}
