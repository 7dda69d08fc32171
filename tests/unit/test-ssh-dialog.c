/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The talk with a device's shell, against a device that answers as it is typed to: its bytes come
 * in pieces of every size, and after each the last line is looked at, so that whatever could be
 * mistaken for a prompt at some border of two pieces is seen there.
 */
#include "daemon/ssh-dialog.h"

#include "common/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { SAID_MAX = 4 << 20, LINE_MAX_BYTES = 8192, STEPS_MAX = 8000000, TICK_US = 50000 };

/* In what a device says: it waits here for a key, for a line. */
#define KEY  "\f"
#define LINE "\v"

struct reply {
	const char *command, *says;
	const char *prompt; /* from now on; NULL: as before */
};

struct device {
	const char *greeting, *prompt;
	const struct reply *replies; /* ended by NULL */
	bool is_silent;              /* echoes nothing */
	size_t wrap;                 /* breaks what it echoes after so many columns; 0: not */
	/* At work */
	char *said; /* not yet heard */
	size_t size, at;
	bool waits_for_key, waits_for_line, is_told;
	char line[LINE_MAX_BYTES], typed[LINE_MAX_BYTES]; /* being typed; all that was */
	size_t line_size;
	const char *rest; /* of what it says, behind KEY or LINE */
};

static struct profiles *profiles;
static char *output;
static size_t output_size;

static void on_output(const char *bytes, size_t size, void *context)
{
	(void)context;
	assert_true(output_size + size < SAID_MAX);
	memcpy(output + output_size, bytes, size);
	output_size += size;
	output[output_size] = '\0';
}

static void emit(struct device *device, const char *text, size_t size)
{
	assert_true(device->size + size < SAID_MAX);
	memcpy(device->said + device->size, text, size);
	device->size += size;
}

/* Up to where it waits, or to the next prompt */
static void say(struct device *device, const char *text)
{
	size_t size = strcspn(text, KEY LINE);

	emit(device, text, size);
	device->waits_for_key = text[size] == KEY[0];
	device->waits_for_line = text[size] == LINE[0];
	device->rest = text[size] ? text + size + 1 : NULL;
	if (!device->rest)
		emit(device, device->prompt, strlen(device->prompt));
}

static void obey(struct device *device)
{
	const struct reply *reply = device->replies;

	while (reply->command && !streq(reply->command, device->line))
		reply++;
	if (reply->command && reply->prompt)
		device->prompt = reply->prompt;
	if (reply->command)
		say(device, reply->says);
	else
		say(device, device->line[0] ? "% Unknown command\r\n" : "");
}

static void hear_byte(struct device *device, char byte)
{
	if (device->waits_for_key) {
		say(device, device->rest);
		return;
	}
	if (byte != '\r') {
		assert_true(device->line_size < LINE_MAX_BYTES - 1);
		device->line[device->line_size++] = byte;
		if (!device->is_silent)
			emit(device, &byte, 1);
		if (device->wrap && device->line_size % device->wrap == 0)
			emit(device, "\r\n", 2);
		return;
	}
	device->line[device->line_size] = '\0';
	device->line_size = 0;
	emit(device, "\r\n", 2);
	if (device->waits_for_line)
		say(device, device->rest);
	else
		obey(device);
}

static void hear(struct device *device, struct dialog *dialog)
{
	size_t size;
	const char *bytes = dialog_to_type(dialog, &size);

	for (size_t i = 0; i < size; i++) {
		size_t length = strlen(device->typed);

		if (length < LINE_MAX_BYTES - 1)
			device->typed[length] = bytes[i], device->typed[length + 1] = '\0';
		/* Where the cursor is: the answer to a question that `says` asks */
		device->is_told |= bytes[i] == '\033';
		if (!device->is_told)
			hear_byte(device, bytes[i]);
		device->is_told &= bytes[i] != 'R';
	}
	dialog_typed(dialog, size);
}

static void copy_device(const struct device *from, struct device *to)
{
	*to = *from;
	to->said = xcalloc(1, SAID_MAX);
	say(to, from->greeting ? from->greeting : "");
}

/* Until it ends, or a minute of its own time has passed. */
static struct dialog *run_pieces(const struct device *form, const struct dialog_plan *plan,
				 size_t piece, struct device *ret_device)
{
	struct dialog *dialog = dialog_new(plan, 0, on_output, NULL);
	int64_t now_us = 0;

	copy_device(form, ret_device);
	output_size = 0;
	output[0] = '\0';
	for (size_t i = 0; i < STEPS_MAX && dialog_state(dialog) < DIALOG_DONE; i++) {
		size_t left = ret_device->size - ret_device->at;

		left = left < piece ? left : piece;
		if (left == 0 && dialog_deadline(dialog, now_us) < INT64_MAX)
			now_us = dialog_deadline(dialog, now_us);
		else if (left == 0 && dialog_state(dialog) != DIALOG_READY)
			break;
		dialog_feed(dialog, ret_device->said + ret_device->at, left, now_us);
		ret_device->at += left;
		dialog_settle(dialog, now_us);
		if (dialog_state(dialog) == DIALOG_READY)
			dialog_allow(dialog, now_us);
		hear(ret_device, dialog);
	}
	free(ret_device->said);
	return dialog;
}

static const size_t pieces[] = {1, 2, 3, 5, 7, 16, 61, 1000, SAID_MAX};

static struct dialog_plan plan_of(const char *profile, const char **commands, size_t count)
{
	return (struct dialog_plan){
		.profile = profile ? profiles_find(profiles, profile) : NULL,
		.profiles = profiles,
		.user = "admin",
		.password = "loginpw",
		.secret = "enpw",
		.commands = (char *const *)(uintptr_t)commands,
		.command_count = count,
	};
}

/* All goes well, and the output is this, whatever the pieces. */
static void assert_talk(const struct device *device, const struct dialog_plan *plan,
			const char *expected)
{
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct device used;
		struct dialog *dialog = run_pieces(device, plan, pieces[i], &used);
		enum error_class class;

		if (dialog_state(dialog) == DIALOG_FAILED)
			fail_msg("pieces of %zu: it %s", pieces[i], dialog_why(dialog, &class));
		if (dialog_state(dialog) != DIALOG_DONE)
			fail_msg("pieces of %zu: state %d, after '%s', typed '%s'", pieces[i],
				 (int)dialog_state(dialog), dialog_last_line(dialog), used.typed);
		if (!streq(output, expected))
			fail_msg("pieces of %zu: '%s'", pieces[i], output);
		dialog_free(dialog);
	}
}

static void assert_fails(const struct device *device, const struct dialog_plan *plan,
			 enum error_class expected, const char *why)
{
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct device used;
		struct dialog *dialog = run_pieces(device, plan, pieces[i], &used);
		enum error_class class;

		assert_int_equal(dialog_state(dialog), DIALOG_FAILED);
		assert_string_equal(dialog_why(dialog, &class), why);
		assert_int_equal(class, expected);
		dialog_free(dialog);
	}
}

#define PLAN(profile, ...) \
	plan_of(profile, (const char *[]){__VA_ARGS__}, ARRAY_SIZE(((const char *[]){__VA_ARGS__})))

/* --- Tests --- */

static void test_banner_and_prompt(void **state)
{
	static const struct reply replies[] = {
		{"show version", "Version 1\r\n\r\nthe r7# prompt\r\nr8#show is no prompt\r\n\r\n",
		 NULL},
		{"show clock", "12:00\r\n", NULL},
		{0}};
	const struct device device = {
		.greeting =
			"\r\n######## Keep out ########\r\n# password: none #\r\n> 100% <\r\n\r\n",
		.prompt = "r7#",
		.replies = replies};
	struct dialog_plan plan = PLAN(NULL, "show version", "show clock");

	(void)state;
	assert_talk(&device, &plan, "Version 1\n\nthe r7# prompt\nr8#show is no prompt\n12:00\n");
}

/* What pagers write, and how they wipe it away. */
static void test_pagers(void **state)
{
	static const struct reply replies[] = {
		{"backspaces",
		 "one\r\n --More-- " KEY
		 "\b\b\b\b\b\b\b\b\b\b          \b\b\b\b\b\b\b\b\b\btwo\r\n",
		 NULL},
		{"return", "one\r\n---(more 45%)---" KEY "\r                    \rtwo\r\n", NULL},
		{"escape", "one\r\n<--- More --->" KEY "\r\033[Ktwo\r\n", NULL},
		{"nothing",
		 "one\r\n-- MORE --, next page: Space, next line: Enter, quit: Control-C" KEY
		 "\r\033[2Ktwo\r\n--More--" KEY "\rthree\r\n",
		 NULL},
		{0}};
	const struct device device = {.prompt = "\r\nsw>", .replies = replies};
	struct dialog_plan plan = PLAN("generic", "backspaces", "return", "escape", "nothing");

	(void)state;
	assert_talk(&device, &plan, "one\ntwo\none\ntwo\none\ntwo\none\ntwo\nthree\n");
}

static void test_colours(void **state)
{
	static const struct reply replies[] = {
		{"show", "\033[1;31mred\033[0m\r\n\033]0;title\007plain\r\n", NULL}, {0}};
	const struct device device = {.prompt = "\033[4m\rLAB#\033[m ", .replies = replies};
	const struct device redrawn = {.prompt = "\r\033[24;1HHP-2920# \033[24;1H\033[24;11H",
				       .replies = replies};
	struct dialog_plan plan = PLAN("generic", "show");

	(void)state;
	assert_talk(&device, &plan, "red\nplain\n");
	assert_talk(&redrawn, &plan, "red\nplain\n");
}

static void test_prompts_change(void **state)
{
	static const struct reply replies[] = {
		{"configure", "Enter commands, one a line.\r\n", "r7(config)#"},
		{"interface e0", "", "r7(config-if)#"},
		{"hostname edge", "", "edge(config-if)#"},
		{"end", "", "edge#"},
		{"show", "edge(config-if)#\r\nis no prompt here\r\n", NULL},
		{0}};
	const struct device device = {.prompt = "r7#", .replies = replies};
	struct dialog_plan plan =
		PLAN(NULL, "configure", "interface e0", "hostname edge", "end", "show");

	(void)state;
	assert_talk(&device, &plan,
		    "Enter commands, one a line.\nedge(config-if)#\nis no prompt here\n");
}

/* Nothing is lost of output that stops for a while at what looks like another prompt. */
static void test_lookalike(void **state)
{
	static const struct reply replies[] = {{"slow", "other#" LINE "other#\r\nmore\r\n", NULL},
					       {0}};
	const struct device device = {.prompt = "r7#", .replies = replies};
	struct dialog_plan plan = PLAN("generic", "slow");

	(void)state;
	assert_talk(&device, &plan, "other#\nother#\nmore\n");
}

static void test_login_and_enable(void **state)
{
	static const struct reply replies[] = {
		{"enable", "Password: " LINE "\r\n", "r7#"}, {"show", "well\r\n", NULL}, {0}};
	static const struct reply stubborn[] = {{"enable", "Password: " LINE "\r\n", NULL}, {0}};
	static const struct reply asks[] = {
		{"enable", "Password: " LINE "% Bad\r\nPassword: " LINE "", NULL}, {0}};
	struct device device = {.greeting = "User Access Verification\r\n\r\nUsername: " LINE
					    "Password: " LINE "\r\nWelcome\r\n",
				.prompt = "r7>",
				.replies = replies};
	struct dialog_plan plan = PLAN("cisco-ios", "show");

	(void)state;
	plan.wants_enable = true;
	assert_talk(&device, &plan, "well\n");
	device.replies = stubborn;
	assert_fails(&device, &plan, CLASS_AUTH, "stays at 'r7>' after enable: look at the secret");
	device.replies = asks;
	assert_fails(&device, &plan, CLASS_AUTH, "does not take the secret for enable");
	device.greeting = "Username: " LINE "Password: " LINE "% Login invalid\r\nUsername: " LINE;
	assert_fails(&device, &plan, CLASS_AUTH, "does not let user admin in at its own login");
	plan.password = NULL;
	assert_fails(&device, &plan, CLASS_AUTH,
		     "asks for a secret at its own login, and there is none: name a --credential "
		     "that has one");
}

static void test_questions(void **state)
{
	static const struct reply replies[] = {
		{"reload", "Proceed with reload? [confirm]" LINE "System going down\r\n", NULL},
		{"copy", "Destination filename [startup-config]? " LINE "[OK]\r\n", NULL},
		{0}};
	const struct device device = {.greeting = "Press RETURN to get started" LINE,
				      .prompt = "r7#",
				      .replies = replies};
	struct dialog_plan plan = PLAN("cisco-ios", "copy", "reload");
	struct answer answers[2];
	char *why;

	(void)state;
	assert_int_equal(answer_parse("\\[confirm\\]$=", &answers[0], &why), 0);
	assert_int_equal(answer_parse("filename=backup", &answers[1], &why), 0);
	plan.answers = answers;
	plan.answer_count = 2;
	assert_talk(&device, &plan,
		    "Destination filename [startup-config]? backup\n[OK]\n"
		    "Proceed with reload? [confirm]\nSystem going down\n");
	plan.answer_count = 0;
	assert_fails(&device, &plan, CLASS_PROMPT,
		     "asks 'Destination filename [startup-config]?', and nothing says what to "
		     "answer: give --answer 'PATTERN=TEXT'");
	answer_done(&answers[0]);
	answer_done(&answers[1]);
}

static void test_refused_commands(void **state)
{
	static const struct reply replies[] = {{"show", "well\r\n", NULL}, {0}};
	const struct device device = {.prompt = "r7#", .replies = replies};
	struct dialog_plan plan = PLAN("cisco-ios", "show", "bogus", "show");
	struct dialog_plan one = PLAN("cisco-ios", "bogus");

	(void)state;
	assert_fails(&device, &plan, CLASS_DEVICE,
		     "refused command 2 of 3 (bogus): % Unknown command");
	assert_string_equal(output, "well\n% Unknown command\n");
	assert_fails(&device, &one, CLASS_DEVICE, "refused the command: % Unknown command");
}

static void test_echo(void **state)
{
	static char longest[1200];
	const struct reply replies[] = {{longest, "well\r\n", NULL}, {0}};
	struct device device = {.prompt = "r7#", .replies = replies};
	struct dialog_plan plan = PLAN("generic", longest);

	(void)state;
	memset(longest, 'x', sizeof(longest) - 1);
	longest[600] = ' ';
	assert_talk(&device, &plan, "well\n");
	device.wrap = 80;
	assert_talk(&device, &plan, "well\n");
	device.wrap = 0;
	device.is_silent = true;
	assert_talk(&device, &plan, "well\n");
}

/* Lines about the prompt that stand above it, and prompts of other forms. */
static void test_other_forms(void **state)
{
	static const struct reply replies[] = {{"show", "well\r\n\r\n", NULL}, {0}};
	static const struct {
		const char *profile, *prompt;
	} forms[] = {
		{"juniper-junos", "\r\n{master:0}\r\nadmin@mx-1> "},
		{"juniper-junos", "[edit interfaces]\r\nadmin@mx-1# "},
		{"huawei-vrp", "<HUAWEI>"},
		{"huawei-vrp", "[~HUAWEI-GigabitEthernet0/0/1]"},
		{"mikrotik-routeros", "\r\r[admin@MikroTik] > \r\033[K[admin@MikroTik] > \033[6n"},
		{"nokia-sros", "*A:edge-1>config>port# "},
		{"nokia-sros", "\r\n[/configure]\r\nA:admin@edge-1# "},
		{"cisco-xr", "RP/0/RSP0/CPU0:core(config)#"},
		{"fortinet", "fw-1 (global) # "},
		{"vyos", "[edit]\r\nvyos@r1# "},
		{"linux", "\033[?2004h\033]0;root@host: /\007root@host:/etc# "},
		{"generic", "(cisco-wlc) >"},
		{"generic", "$ "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const struct device device = {.prompt = forms[i].prompt, .replies = replies};
		struct dialog_plan plan = PLAN(forms[i].profile, "show");

		assert_talk(&device, &plan, "well\n");
	}
}

/* No two prompts are the same: one that was tried and stays is one. */
static void test_prompt_with_a_number(void **state)
{
	static const struct reply replies[] = {
		{"", "", NULL}, {"show", "well\r\n", "host 3 #"}, {0}};
	const struct device device = {
		.greeting = "host 1 #" LINE, .prompt = "host 2 #", .replies = replies};
	struct dialog_plan plan = PLAN("generic", "show");

	(void)state;
	assert_talk(&device, &plan, "well\n");
}

static void test_recognised(void **state)
{
	static const struct reply replies[] = {{"show", "well\r\n", NULL}, {0}};
	static const struct {
		const char *version, *greeting, *prompt, *profile;
	} devices[] = {
		{"SSH-2.0-Cisco-1.25", "", "r7#", "cisco-ios"},
		{"SSH-2.0-OpenSSH_7.2", "Hello, this is FRRouting (version 8.4.4).\r\n", "r7#",
		 "frr"},
		{"SSH-2.0-ROSSSH", "", "[admin@MikroTik] > ", "mikrotik-routeros"},
		{"SSH-2.0-HUAWEI-1.5", "", "<r7>", "huawei-vrp"},
		{"SSH-2.0-OpenSSH_7.5", "--- JUNOS 20.4R3 built 2021\r\n", "admin@mx> ",
		 "juniper-junos"},
		{"SSH-2.0-OpenSSH_8.0", "", "RP/0/RP0/CPU0:core#", "cisco-xr"},
		{"SSH-2.0-OpenSSH_9.2p1 Debian-2", "", "root@host:~# ", "linux"},
		{"SSH-2.0-OpenSSH_9.2p1 Debian-2", "Welcome to VyOS\r\n", "vyos@r1:~$ ", "vyos"},
		{"SSH-2.0-dropbear", "", "thing>", "generic"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(devices); i++) {
		const struct device device = {.greeting = devices[i].greeting,
					      .prompt = devices[i].prompt,
					      .replies = replies};
		struct dialog_plan plan = PLAN(NULL, "show");
		struct device used;
		struct dialog *dialog;

		plan.version = devices[i].version;
		dialog = run_pieces(&device, &plan, SAID_MAX, &used);
		assert_int_equal(dialog_state(dialog), DIALOG_DONE);
		assert_string_equal(dialog_profile(dialog)->name, devices[i].profile);
		dialog_free(dialog);
	}
}

static void test_long_output(void **state)
{
	autofree char *says = xcalloc(1, SAID_MAX), *expected = xcalloc(1, SAID_MAX);
	size_t said = 0, kept = 0;
	const struct reply replies[] = {{"show", says, NULL}, {0}};
	const struct device device = {.prompt = "r7#", .replies = replies};
	struct dialog_plan plan = PLAN("generic", "show");

	(void)state;
	for (int i = 0; i < 9000; i++) {
		said += (size_t)sprintf(says + said, "%d %0*d\r\n", i, i % 1500, i);
		kept += (size_t)sprintf(expected + kept, "%d %0*d\n", i, i % 1500, i);
		if (said > SAID_MAX / 4)
			break;
	}
	assert_talk(&device, &plan, expected);
}

/* A device that asks for keys for ever is not talked to for ever. */
static void test_endless(void **state)
{
	struct dialog_plan plan = PLAN("generic", "show");
	struct dialog *dialog = dialog_new(&plan, 0, on_output, NULL);
	enum error_class class;

	(void)state;
	for (int i = 0; i < 1 << 18 && dialog_state(dialog) != DIALOG_FAILED; i++) {
		dialog_feed(dialog, "--More--", 8, i);
		dialog_settle(dialog, i);
	}
	assert_int_equal(dialog_state(dialog), DIALOG_FAILED);
	assert_string_equal(dialog_why(dialog, &class), "does not take what is typed");
	dialog_free(dialog);
}

static int set_up(void **state)
{
	(void)state;
	profiles = profiles_load((const char *const[]){NULL});
	output = xcalloc(1, SAID_MAX);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	profiles_free(profiles);
	free(output);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_banner_and_prompt),
		cmocka_unit_test(test_pagers),
		cmocka_unit_test(test_colours),
		cmocka_unit_test(test_prompts_change),
		cmocka_unit_test(test_lookalike),
		cmocka_unit_test(test_login_and_enable),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_refused_commands),
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_other_forms),
		cmocka_unit_test(test_prompt_with_a_number),
		cmocka_unit_test(test_recognised),
		cmocka_unit_test(test_long_output),
		cmocka_unit_test(test_endless),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
