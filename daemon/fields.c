/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/fields.h"

#include "common/states.h"
#include "common/units.h"
#include "common/util.h"

static void *member_of(void *structure, const struct field *field)
{
	return (char *)structure + field->offset;
}

static int wrong_type(const struct field *field, struct error *ret_error)
{
	return error_set(ret_error, ERROR_INVALID_PARAMETER, field->name,
			 "parameter %s is of the wrong type", field->name);
}

/* As people write it: they know of no microseconds. */
static const char *bound_text(const struct field *field, int64_t bound,
			      char buffer[static UNITS_TEXT_MAX])
{
	size_t size = strlen(field->name);

	if (field->type == FIELD_TIME)
		return time_text(bound, buffer);
	if (size > 4 && streq(field->name + size - 4, "Usec"))
		return duration_text(bound, buffer);
	(void)snprintf(buffer, UNITS_TEXT_MAX, "%lld", (long long)bound);
	return buffer;
}

static int out_of_bounds(const struct field *field, struct error *ret_error)
{
	char min[UNITS_TEXT_MAX], max[UNITS_TEXT_MAX];

	return error_set(ret_error, ERROR_INVALID_OPTION, field->name,
			 "%s is out of bounds: %s to %s are allowed", field->name,
			 bound_text(field, field->min, min), bound_text(field, field->max, max));
}

static int too_long(const struct field *field, struct error *ret_error)
{
	return error_set(ret_error, ERROR_INVALID_OPTION, field->name,
			 "%s is longer than %lld bytes", field->name, (long long)field->max);
}

static int parse_int(const struct field *field, const json_t *value, int64_t *ret_value,
		     struct error *ret_error)
{
	if (!json_is_integer(value))
		return wrong_type(field, ret_error);
	if (json_integer_value(value) < field->min || json_integer_value(value) > field->max)
		return out_of_bounds(field, ret_error);
	*ret_value = json_integer_value(value);
	return 0;
}

static int parse_string(const struct field *field, const json_t *value, char **ret_string,
			struct error *ret_error)
{
	if (!json_is_string(value))
		return wrong_type(field, ret_error);
	if (json_string_length(value) > (size_t)field->max)
		return too_long(field, ret_error);
	*ret_string = xstrdup(json_string_value(value));
	return 0;
}

static int parse_strings(const struct field *field, const json_t *value,
			 struct string_array *ret_array, struct error *ret_error)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value))
		return wrong_type(field, ret_error);
	ret_array->items = xcalloc(count, sizeof(*ret_array->items));
	for (; ret_array->count < count; ret_array->count++) {
		int r = parse_string(field, json_array_get(value, ret_array->count),
				     &ret_array->items[ret_array->count], ret_error);

		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_ints(const struct field *field, const json_t *value, struct int_array *ret_array,
		      struct error *ret_error)
{
	size_t count = json_array_size(value);

	if (!json_is_array(value))
		return wrong_type(field, ret_error);
	ret_array->items = xcalloc(count, sizeof(*ret_array->items));
	for (; ret_array->count < count; ret_array->count++) {
		int r = parse_int(field, json_array_get(value, ret_array->count),
				  &ret_array->items[ret_array->count], ret_error);

		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_word(const struct field *field, const json_t *value, int *ret_word,
		      struct error *ret_error)
{
	if (!json_is_string(value))
		return wrong_type(field, ret_error);
	*ret_word = word_find(field->of, json_string_value(value));
	if (*ret_word < 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, field->name,
				 "%s cannot be '%.40s'", field->name, json_string_value(value));
	return 0;
}

static int parse_objects(const struct field *field, const json_t *value,
			 struct object_array *ret_array, struct error *ret_error)
{
	const struct object_form *form = field->of;
	size_t count = json_array_size(value);

	if (!json_is_array(value))
		return wrong_type(field, ret_error);
	ret_array->items = xcalloc(count + 1, form->size);
	for (size_t i = 0; i < count; i++) {
		const json_t *object = json_array_get(value, i);
		void *item = (char *)ret_array->items + i * form->size;
		int r = json_is_object(object) ? fields_parse(form->fields, form->count, object,
							      NULL, item, ret_error)
					       : wrong_type(field, ret_error);

		if (r < 0)
			return r;
		ret_array->count++;
	}
	return 0;
}

static int parse_map(const struct field *field, const json_t *value, struct string_map *ret_map,
		     struct error *ret_error)
{
	const char *name;
	json_t *text;

	if (!json_is_object(value))
		return wrong_type(field, ret_error);
	json_object_foreach ((json_t *)(uintptr_t)value, name, text) {
		struct string_entry *entry = xcalloc(1, sizeof(*entry));
		int r;

		entry->name = xstrdup(name);
		HASH_ADD_KEYPTR(hh, ret_map->entries, entry->name, strlen(entry->name), entry);
		r = parse_string(field, text, &entry->text, ret_error);
		if (r < 0)
			return r;
	}
	return 0;
}

const char *string_map_find(const struct string_map *map, const char *name, const char *otherwise)
{
	const struct string_entry *entry = NULL;

	if (map->entries)
		HASH_FIND_STR(map->entries, name, entry);
	return entry ? entry->text : otherwise;
}

static void map_done(struct string_map *map)
{
	struct string_entry *entry, *next;

	HASH_ITER (hh, map->entries, entry, next) {
		HASH_DEL(map->entries, entry);
		free(entry->name);
		free(entry->text);
		free(entry);
	}
}

static int parse_field(const struct field *field, const json_t *value, void *structure,
		       struct error *ret_error)
{
	void *member = member_of(structure, field);

	switch (field->type) {
	case FIELD_INT:
	case FIELD_TIME:
		return parse_int(field, value, member, ret_error);
	case FIELD_BOOL:
		if (!json_is_boolean(value))
			return wrong_type(field, ret_error);
		*(bool *)member = json_is_true(value);
		return 0;
	case FIELD_STRING:
		return parse_string(field, value, member, ret_error);
	case FIELD_WORD:
		return parse_word(field, value, member, ret_error);
	case FIELD_STRINGS:
		return parse_strings(field, value, member, ret_error);
	case FIELD_INTS:
		return parse_ints(field, value, member, ret_error);
	case FIELD_OBJECTS:
		return parse_objects(field, value, member, ret_error);
	case FIELD_MAP:
		return parse_map(field, value, member, ret_error);
	}
	return wrong_type(field, ret_error);
}

static void set_fallback(const struct field *field, void *structure)
{
	void *member = member_of(structure, field);

	if (field->type == FIELD_INT || field->type == FIELD_TIME)
		*(int64_t *)member = field->fallback;
	else if (field->type == FIELD_WORD)
		*(int *)member = (int)field->fallback;
}

static const struct field *find_field(const struct field *fields, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (streq(fields[i].name, name))
			return &fields[i];
	return NULL;
}

int fields_parse(const struct field *fields, size_t count, const json_t *object,
		 bool (*is_other)(const char *name), void *ret_struct, struct error *ret_error)
{
	json_t *walkable = (json_t *)(uintptr_t)object; /* it stays as it is */
	const char *name;
	json_t *value;
	int r = 0;

	for (size_t i = 0; i < count; i++)
		set_fallback(&fields[i], ret_struct);
	json_object_foreach (walkable, name, value) {
		const struct field *field = find_field(fields, count, name);

		if (field && !json_is_null(value))
			r = parse_field(field, value, ret_struct, ret_error);
		else if (!field && !(is_other && is_other(name)))
			r = error_set(ret_error, ERROR_INVALID_PARAMETER, name,
				      "there is no parameter %s", name);
		if (r < 0) {
			fields_done(fields, count, ret_struct);
			return r;
		}
	}
	return 0;
}

void fields_done(const struct field *fields, size_t count, void *structure)
{
	for (size_t i = 0; i < count; i++) {
		void *member = member_of(structure, &fields[i]);

		if (fields[i].type == FIELD_STRING) {
			char **string = member;

			free(*string);
			*string = NULL;
		} else if (fields[i].type == FIELD_STRINGS) {
			struct string_array *array = member;

			for (size_t j = 0; j < array->count; j++)
				free(array->items[j]);
			free(array->items);
			*array = (struct string_array){0};
		} else if (fields[i].type == FIELD_INTS) {
			struct int_array *array = member;

			free(array->items);
			*array = (struct int_array){0};
		} else if (fields[i].type == FIELD_OBJECTS) {
			const struct object_form *form = fields[i].of;
			struct object_array *array = member;

			for (size_t j = 0; j < array->count; j++)
				fields_done(form->fields, form->count,
					    (char *)array->items + j * form->size);
			free(array->items);
			*array = (struct object_array){0};
		} else if (fields[i].type == FIELD_MAP) {
			map_done(member);
		}
	}
}
