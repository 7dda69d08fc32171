/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A secret from the terminal, wherever standard input comes from; never by an argument. */
#include "client/client.h"

#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

enum { SECRET_MAX = 512 };

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	caught = number;
}

/* A line, without its end; false for none. Signals are let in while it waits, and only then, so
 * that none comes unseen before a reading that then sleeps. */
static bool read_line(int fd, const sigset_t *let_in, char line[static SECRET_MAX])
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};

	for (size_t size = 0; size < SECRET_MAX - 1; size++) {
		while (ppoll(&readable, 1, NULL, let_in) < 0)
			if (errno != EINTR || caught != 0)
				return false;
		if (read(fd, line + size, 1) != 1)
			return false;
		if (line[size] == '\n') {
			line[size] = '\0';
			return true;
		}
	}
	return false;
}

char *ask_secret(const char *prompt)
{
	/* So that the terminal shows again what is typed */
	struct sigaction action = {.sa_handler = on_signal}, before_int, before_term;
	sigset_t signals, before;
	autoclose int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct termios shown, hidden;
	char line[SECRET_MAX] = "";
	char *secret;
	bool is_there;

	if (fd < 0 || tcgetattr(fd, &shown) < 0)
		fail(STATUS_WORDS, "there is no terminal to ask for the password on: name a "
				   "--credential of jobd.conf");
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &signals, &before);
	(void)sigaction(SIGINT, &action, &before_int);
	(void)sigaction(SIGTERM, &action, &before_term);
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	(void)tcsetattr(fd, TCSAFLUSH, &hidden);
	(void)!write(fd, prompt, strlen(prompt));
	is_there = read_line(fd, &before, line);
	(void)!write(fd, "\n", 1);
	(void)tcsetattr(fd, TCSAFLUSH, &shown);
	(void)sigaction(SIGINT, &before_int, NULL);
	(void)sigaction(SIGTERM, &before_term, NULL);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	if (caught != 0)
		exit(STATUS_INTERRUPTED);
	if (!is_there || line[0] == '\0')
		fail(STATUS_WORDS, "no password was given");
	secret = xstrdup(line);
	explicit_bzero(line, sizeof(line));
	return secret;
}
