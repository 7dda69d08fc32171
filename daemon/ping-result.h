/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What ping tasks came to: type PingResult of the interface, and sentences. */
#pragma once

#include "daemon/kind-ping.h"
#include "daemon/resolver.h"
#include "daemon/task.h"

struct ping_task;

/* How a task ended whose requests are all answered or given up. */
void ping_result(const struct ping_task *task, struct outcome *ret_outcome);
/* How one ended before that; message: ownership passes. */
void ping_result_cut_off(const struct ping_task *task, enum task_state state,
			 enum error_class class, char *message, struct outcome *ret_outcome);
/* "192.0.2.1"; returns buffer. */
const char *ping_address_text(const union ping_address *address,
			      char buffer[static ADDRESS_TEXT_MAX]);
/* Why no socket could be opened: a negative errno of ping_socket_open. The caller frees. */
char *ping_open_sentence(int family, int error);
