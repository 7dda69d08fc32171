/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a hostile device may write into the talk with its shell: any bytes, in any pieces, and after
 * any time. The first byte chooses the profile; 0xff ends a piece, 0xfe lets time pass. */
#include "common/util.h"
#include "daemon/ssh-dialog.h"
#include "daemon/ssh-screen.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { TICK_US = 70000 };

static size_t output_size;

static void on_output(const char *bytes, size_t size, void *context)
{
	(void)context;
	/* All of it is there to be read */
	for (size_t i = 0; i < size; i++)
		output_size += bytes[i] != '\0';
}

/* What was to be typed was. */
static void take_typed(struct dialog *dialog)
{
	size_t size;

	(void)dialog_to_type(dialog, &size);
	dialog_typed(dialog, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct profiles *profiles;
	static char first[] = "show version", second[] = "exit";
	char *commands[] = {first, second};
	struct dialog_plan plan = {.user = "admin",
				   .password = "secret",
				   .wants_enable = true,
				   .commands = commands,
				   .command_count = ARRAY_SIZE(commands)};
	struct dialog *dialog;
	int64_t now_us = 0;
	size_t begin = 1;

	if (!profiles)
		profiles = profiles_load((const char *const[]){NULL});
	plan.profiles = profiles;
	if (size == 0)
		return 0;
	/* Behind the last there is none: it is recognised */
	plan.profile = profiles_at(profiles, bytes[0] % 17);
	dialog = dialog_new(&plan, now_us, on_output, NULL);
	for (size_t i = 1; i <= size; i++) {
		if (i < size && bytes[i] < 0xfe)
			continue;
		dialog_feed(dialog, (const char *)bytes + begin, i - begin, now_us);
		now_us += i < size && bytes[i] == 0xfe ? TICK_US : 0;
		dialog_settle(dialog, now_us);
		if (dialog_state(dialog) == DIALOG_READY)
			dialog_allow(dialog, now_us);
		take_typed(dialog);
		(void)dialog_last_line(dialog);
		if (dialog_deadline(dialog, now_us) <= now_us)
			abort();
		begin = i + 1;
	}
	/* A line is no wider than the screen, however far the cursor is sent */
	if (output_size > (SCREEN_WIDTH + 1) * size)
		abort();
	output_size = 0;
	dialog_free(dialog);
	return 0;
}
