/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A target with several addresses, each of which is pinged (--all-addresses): one task of main's,
 * and a struct ping_task for each address, its legs. The task ends with the last leg; it succeeds
 * if all did, and its result holds theirs.
 */
#pragma once

#include "daemon/task.h"

#include <stddef.h>

struct ping_group;
struct ping_task;

/* Joins the leg, whose address is known, to the group of its task, made with the first. */
void ping_group_join(struct ping_task *leg, struct ping_group **group);
/* Takes the outcome of a leg, which leaves. True: it was the last; then *outcome is the whole's,
 * and the group is gone. */
bool ping_group_leave(struct ping_task *leg, struct outcome *outcome);
