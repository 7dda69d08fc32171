/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Into the background: without --foreground, jobd gives the terminal back once it is ready, as sshd
 * does. The parent exits with 0 when the daemon is ready, else with 1 after the daemon's own error
 * line. From then on the daemon's lines go to jobd.log beside the database.
 */
#pragma once

/* Returns in the child only; before any thread. 0 or a negative errno (and a line was logged). */
int background_start(const char *database);
/* The parent may exit. Nothing where background_start was not called. */
void background_ready(void);
