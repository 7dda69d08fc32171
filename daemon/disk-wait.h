/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does a thread stand still in the kernel until a disk, or a file server, has answered? Then it can
 * neither go on nor be killed (state D, proc_pid_status(5)). Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* thread: of this process, as gettid(2) has it. *ret_switches (may be NULL) grows with each wait:
 * twice the same is one wait. */
bool disk_wait_is_on(pid_t thread, uint64_t *ret_switches);
