/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The language of interface files, and the check of values against one; with an interface of the
 * test's own that has every type, and with the real ones.
 */
#include "common/states.h"
#include "common/util.h"
#include "daemon/interface.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char every_type[] =
	"# A comment with (brackets), \"quotes\" and type names: int\n"
	"interface org.example.every-type\n"
	"type Colour (red, green_ish, blue3)\n"
	"type Empty ()\n"
	"type Point (\n  # across\n  x: int, # and a comment behind\n  y: ?int\n)\n"
	"type Tree (value: int, children: ?[]Tree)\n"
	"method All(\n"
	"  a_bool: bool, an_int: int, a_float: float, a_string: string, an_object: object,\n"
	"  an_any: any, an_enum: Colour, a_struct: Point\n"
	") -> (ok: bool)\n"
	"method Nested(\n"
	"  inline: ?(kind: (one, two), at: ?[]Point), map: ?[string]int, set: ?[string](),\n"
	"  lists: ?[][]string, maps: ?[string][]Colour, tree: ?Tree\n"
	") -> ()\n"
	"method Integers(int: ?int, string: ?string) -> ()\n"
	"error Broken (where: Point, empty: ?Empty)\n";

static struct interface *parse_good(const char *text)
{
	char *why = NULL;
	struct interface *interface = interface_parse(text, &why);

	if (!interface)
		fail_msg("%s", why);
	return interface;
}

static int make_interface(void **state)
{
	*state = parse_good(every_type);
	return 0;
}

static int free_interface(void **state)
{
	interface_free(*state);
	return 0;
}

static void test_names(void **state)
{
	assert_string_equal(interface_name(*state), "org.example.every-type");
	assert_true(interface_has_method(*state, "All"));
	assert_true(interface_has_method(*state, "Integers"));
	assert_false(interface_has_method(*state, "Broken"));
	assert_false(interface_has_method(*state, "Colour"));
	assert_false(interface_has_method(*state, "all"));
}

static void test_bad_texts(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"", "line 1: interface"},
		{"# nothing but a comment", "line 1: interface"},
		{"interfaces a.b\n", "line 1: interface"},
		{"interface\n\n1a.b\n", "line 3: the interface's name"},
		{"interface a.b\nmethods A() -> ()\n", "line 2: type, method or error"},
		{"interface a.b\nmethod a() -> ()\n", "line 2: a name with a capital"},
		{"interface a.b\nmethod A()\n", "line 3: ->"},
		{"interface a.b\nmethod A() -> (x: int\n", "line 3: )"},
		{"interface a.b\nmethod A(x) -> ()\n", "line 2: a type for each parameter"},
		{"interface a.b\nerror E (x)\n", "line 2: a type for each parameter"},
		{"interface a.b\ntype T (x: int, y)\n", "line 2: a type for all names or for none"},
		{"interface a.b\ntype T (x, y: int)\n", "line 2: a type for all names or for none"},
		{"interface a.b\ntype T (x: ??int)\n", "line 2: one '?'"},
		{"interface a.b\ntype T (x: integer)\n", "line 2: a type"},
		{"interface a.b\ntype T (x: int,)\n", "line 2: a field's name"},
		{"interface a.b\ntype T (_x: int)\n", "line 2: a field's name"},
		{"interface a.b\ntype T (x__y: int)\n", "line 2: )"},
		{"interface a.b\ntype T (x: []U)\n", "T: there is no type U"},
		{"interface a.b\nmethod M() -> (x: (y: [string]?U))\n", "M: there is no type U"},
		{"interface a.b\ntype T ()\nmethod T() -> ()\n",
		 "line 3: a name that is not taken"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		autofree char *why = NULL;
		struct interface *interface = interface_parse(rows[i].text, &why);

		if (interface)
			fail_msg("taken: %s", rows[i].text);
		if (strncmp(why, rows[i].why, strlen(rows[i].why)) != 0)
			fail_msg("%s: '%s' instead of '%s'", rows[i].text, why, rows[i].why);
	}
}

static json_t *parse(const char *text)
{
	json_error_t error;
	json_t *value = json_loads(text, JSON_ALLOW_NUL, &error);

	if (!value)
		fail_msg("%s: %s", text, error.text);
	return value;
}

/* member NULL: nothing is wrong. */
struct check_row {
	const char *name, *text, *member;
};
typedef int check_fn(const struct interface *interface, const char *name, const json_t *parameters,
		     char **ret_member);

static void run_checks(const struct interface *interface, check_fn *check,
		       const struct check_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		json_t *parameters = rows[i].text ? parse(rows[i].text) : NULL;
		autofree char *member = NULL;
		int r = check(interface, rows[i].name, parameters, &member);

		if (r != (rows[i].member ? -EINVAL : 0) ||
		    (rows[i].member && !streq(member, rows[i].member)))
			fail_msg("%s%s: %s is wrong instead of %s", rows[i].name,
				 rows[i].text ? rows[i].text : "", member ? member : "nothing",
				 rows[i].member ? rows[i].member : "nothing");
		json_decref(parameters);
	}
}

/* A good call of All with one member replaced. */
#define ALL(a_bool, an_int, a_float, a_string, an_object, an_any, an_enum, a_struct) \
	"{\"a_bool\":" a_bool ",\"an_int\":" an_int ",\"a_float\":" a_float          \
	",\"a_string\":" a_string ",\"an_object\":" an_object ",\"an_any\":" an_any  \
	",\"an_enum\":" an_enum ",\"a_struct\":" a_struct "}"
#define GOOD_ENUM "\"green_ish\""
#define POINT     "{\"x\":1}"

static void test_every_type(void **state)
{
	static const struct check_row rows[] = {
		{"All", ALL("true", "1", "1.5", "\"\"", "{}", "0", GOOD_ENUM, POINT), NULL},
		{"All", ALL("false", "-1", "1", "\"a\"", "{\"b\":[]}", "[null]", GOOD_ENUM, POINT),
		 NULL},
		{"All", ALL("0", "1", "1", "\"\"", "{}", "0", GOOD_ENUM, POINT), "a_bool"},
		{"All", ALL("null", "1", "1", "\"\"", "{}", "0", GOOD_ENUM, POINT), "a_bool"},
		{"All", ALL("true", "1.0", "1", "\"\"", "{}", "0", GOOD_ENUM, POINT), "an_int"},
		{"All", ALL("true", "\"1\"", "1", "\"\"", "{}", "0", GOOD_ENUM, POINT), "an_int"},
		{"All", ALL("true", "1", "\"1\"", "\"\"", "{}", "0", GOOD_ENUM, POINT), "a_float"},
		{"All", ALL("true", "1", "1", "1", "{}", "0", GOOD_ENUM, POINT), "a_string"},
		{"All", ALL("true", "1", "1", "\"a\\u0000b\"", "{}", "0", GOOD_ENUM, POINT),
		 "a_string"},
		{"All", ALL("true", "1", "1", "\"\"", "[]", "0", GOOD_ENUM, POINT), "an_object"},
		{"All", ALL("true", "1", "1", "\"\"", "{}", "null", GOOD_ENUM, POINT), "an_any"},
		{"All", ALL("true", "1", "1", "\"\"", "{}", "0", "\"yellow\"", POINT), "an_enum"},
		{"All", ALL("true", "1", "1", "\"\"", "{}", "0", "1", POINT), "an_enum"},
		{"All", ALL("true", "1", "1", "\"\"", "{}", "0", GOOD_ENUM, "[]"), "a_struct"},
		{"All", ALL("true", "1", "1", "\"\"", "{}", "0", GOOD_ENUM, "{\"x\":1,\"z\":1}"),
		 "a_struct.z"},
		{"All", ALL("true", "1", "1", "\"\"", "{}", "0", GOOD_ENUM, "{\"y\":1}"),
		 "a_struct.x"},
		{"All", NULL, "a_bool"},
		{"All", "{}", "a_bool"},
		{"None", NULL, "None"},
	};

	run_checks(*state, interface_check_call, rows, ARRAY_SIZE(rows));
}

static void test_nesting(void **state)
{
	static const struct check_row rows[] = {
		{"Nested", NULL, NULL},
		{"Nested", "{}", NULL},
		{"Nested", "{\"inline\":null,\"map\":null,\"tree\":null}", NULL},
		{"Nested", "{\"other\":null}", "other"},
		{"Nested", "{\"inline\":{\"kind\":\"two\",\"at\":[{\"x\":1},{\"x\":2,\"y\":3}]}}",
		 NULL},
		{"Nested", "{\"inline\":{\"kind\":\"three\"}}", "inline.kind"},
		{"Nested", "{\"inline\":{\"kind\":\"one\",\"at\":[{\"x\":1},{\"x\":\"\"}]}}",
		 "inline.at[1].x"},
		{"Nested", "{\"map\":{\"a\":1,\"b\":2}}", NULL},
		{"Nested", "{\"map\":{\"a\":1,\"b\":null}}", "map.b"},
		{"Nested", "{\"set\":{\"a\":{},\"b\":{}}}", NULL},
		{"Nested", "{\"set\":{\"a\":{\"c\":1}}}", "set.a.c"},
		{"Nested", "{\"lists\":[[],[\"a\"]]}", NULL},
		{"Nested", "{\"lists\":[[],[\"a\",1]]}", "lists[1][1]"},
		{"Nested", "{\"maps\":{\"a\":[\"red\",\"blue3\"]}}", NULL},
		{"Nested", "{\"maps\":{\"a\":[\"red\",\"pink\"]}}", "maps.a[1]"},
		{"Nested", "{\"tree\":{\"value\":1,\"children\":[{\"value\":2}]}}", NULL},
		{"Nested", "{\"tree\":{\"value\":1,\"children\":[{\"children\":[]}]}}",
		 "tree.children[0].value"},
		{"Integers", "{\"int\":1,\"string\":\"a\"}", NULL},
		{"Integers", "[]", ""},
	};

	run_checks(*state, interface_check_call, rows, ARRAY_SIZE(rows));
}

static void test_replies_and_errors(void **state)
{
	static const struct check_row replies[] = {
		{"All", "{\"ok\":true}", NULL},
		{"All", NULL, "ok"},
		{"Nested", "{\"ok\":true}", "ok"},
		{"Broken", NULL, "Broken"},
	};
	static const struct check_row errors[] = {
		{"Broken", "{\"where\":{\"x\":1},\"empty\":{}}", NULL},
		{"Broken", "{\"where\":{\"x\":1},\"empty\":{\"a\":1}}", "empty.a"},
		{"Broken", NULL, "where"},
		{"All", NULL, "All"},
	};

	run_checks(*state, interface_check_reply, replies, ARRAY_SIZE(replies));
	run_checks(*state, interface_check_error, errors, ARRAY_SIZE(errors));
}

static void test_own_interface(void **state)
{
	static const struct check_row rows[] = {
		{"Start", "{\"kind\":\"ping\",\"targets\":[\"r[1-3]\"],\"ping\":{\"count\":3}}",
		 NULL},
		{"Start", "{\"kind\":\"ping\",\"targets\":[\"a\"],\"ping\":{\"count\":\"3\"}}",
		 "ping.count"},
		{"Start", "{\"kind\":\"ping\",\"targets\":[\"a\"],\"ping\":{\"family\":\"ipv5\"}}",
		 "ping.family"},
		{"Start", "{\"kind\":\"ping\",\"targets\":[\"a\",1]}", "targets[1]"},
		{"Start", "{\"kind\":\"ping\"}", "targets"},
		{"List", NULL, NULL},
		{"List", "{\"selection\":{\"states\":[\"queued\",\"lost\"]}}",
		 "selection.states[1]"},
		{"Stop", NULL, "selection"},
		{"Adjust", "{\"id\":1,\"parallel\":null}", NULL},
	};
	struct interface *interface = parse_good(interface_text);

	(void)state;
	assert_string_equal(interface_name(interface), "org.jobd");
	run_checks(interface, interface_check_call, rows, ARRAY_SIZE(rows));
	interface_free(interface);
}

static void test_service_interface(void **state)
{
	static const struct check_row errors[] = {
		{"InterfaceNotFound", "{\"interface\":\"a\"}", NULL},
		{"MethodNotFound", "{\"method\":\"a\"}", NULL},
		{"MethodNotImplemented", "{\"method\":\"a\"}", NULL},
		{"InvalidParameter", "{\"parameter\":\"a\"}", NULL},
		{"PermissionDenied", NULL, NULL},
		{"ExpectedMore", NULL, NULL},
		{"ExpectedUpgrade", NULL, NULL},
	};
	struct interface *interface = parse_good(service_text);

	(void)state;
	assert_string_equal(interface_name(interface), "org.varlink.service");
	assert_true(interface_has_method(interface, "GetInfo"));
	assert_true(interface_has_method(interface, "GetInterfaceDescription"));
	run_checks(interface, interface_check_error, errors, ARRAY_SIZE(errors));
	interface_free(interface);
}

/* Does Task, in a reply of ListTasks, take such a word in that member? */
static bool takes_word(const struct interface *interface, const char *member, const char *word)
{
	json_t *task = json_pack("{s:i, s:i, s:s, s:s, s:i}", "job", 1, "index", 0, "target", "a",
				 "state", "queued", "attempts", 0);
	json_t *reply = json_pack("{s:[O], s:b}", "tasks", task, "hasMore", 0);
	autofree char *wrong = NULL;
	int r;

	(void)json_object_set_new(task, member, json_string(word));
	r = interface_check_reply(interface, "ListTasks", reply, &wrong);
	json_decref(reply);
	json_decref(task);
	return r == 0;
}

/* The words of common/states.h are those of the interface file. */
static void test_words(void **state)
{
	struct interface *interface = parse_good(interface_text);

	(void)state;
	for (size_t i = 0; i < TASK_STATE_COUNT; i++)
		assert_true(takes_word(interface, "state", task_state_words[i]));
	for (size_t i = CLASS_NONE + 1; i < ERROR_CLASS_COUNT; i++)
		assert_true(takes_word(interface, "error", error_class_words[i]));
	for (size_t i = 0; i < JOB_STATE_COUNT; i++) {
		json_t *selection =
			json_pack("{s:{s:[s]}}", "selection", "states", job_state_words[i]);
		autofree char *wrong = NULL;

		assert_int_equal(interface_check_call(interface, "List", selection, &wrong), 0);
		json_decref(selection);
	}
	assert_false(takes_word(interface, "state", "lost"));
	assert_false(takes_word(interface, "error", ""));
	interface_free(interface);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bad_texts),
		cmocka_unit_test(test_every_type),
		cmocka_unit_test(test_nesting),
		cmocka_unit_test(test_replies_and_errors),
		cmocka_unit_test(test_own_interface),
		cmocka_unit_test(test_service_interface),
		cmocka_unit_test(test_words),
	};

	return cmocka_run_group_tests(tests, make_interface, free_interface);
}
