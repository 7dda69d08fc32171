/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ping-group.h"

#include "common/util.h"
#include "daemon/json-text.h"
#include "daemon/ping-engine.h"
#include "daemon/ping-result.h"
#include "daemon/resolver.h"

struct ping_group {
	size_t size;                /* legs that have not ended */
	union ping_address address; /* the first */
	/* Of those that have ended */
	struct outcome outcome; /* the first that did not succeed; without result */
	int64_t sent, received, duplicates, min_us, max_us, sum_us;
	struct json_text ended; /* PingAddress objects */
};

void ping_group_join(struct ping_task *leg, struct ping_group **group)
{
	if (!*group) {
		*group = xcalloc(1, sizeof(**group));
		(*group)->outcome.state = TASK_SUCCEEDED;
		(*group)->address = leg->address;
		(*group)->min_us = INT64_MAX;
	}
	leg->group = *group;
	(*group)->size++;
}

static void add_leg(struct ping_group *group, const struct ping_task *leg,
		    const struct outcome *outcome)
{
	struct json_text *ended = &group->ended;

	json_text_next(ended);
	json_text_add(ended, "{");
	json_text_member_string(ended, "state", task_state_words[outcome->state]);
	if (outcome->class != CLASS_NONE)
		json_text_member_string(ended, "error", error_class_words[outcome->class]);
	if (outcome->message)
		json_text_member_string(ended, "message", outcome->message);
	json_text_name(ended, "ping");
	json_text_add(ended, outcome->result);
	json_text_add(ended, "}");

	group->sent += leg->sent;
	group->received += leg->rtt.count;
	group->duplicates += ping_task_oddities(leg)->duplicates;
	group->sum_us += leg->rtt.sum_us;
	if (leg->rtt.count > 0 && leg->rtt.min_us < group->min_us)
		group->min_us = leg->rtt.min_us;
	if (leg->rtt.max_us > group->max_us)
		group->max_us = leg->rtt.max_us;
}

/* The first that was not well tells for all. */
static void take_outcome(struct ping_group *group, const struct ping_task *leg,
			 struct outcome *outcome)
{
	char address[ADDRESS_TEXT_MAX];

	if (group->outcome.state == TASK_SUCCEEDED && outcome->state != TASK_SUCCEEDED) {
		group->outcome.state = outcome->state;
		group->outcome.class = outcome->class;
		if (outcome->message)
			group->outcome.message =
				xasprintf("%s: %s", ping_address_text(&leg->address, address),
					  outcome->message);
	}
	outcome_done(outcome);
}

/* PingResult of the interface. */
static char *whole_json(struct ping_group *group)
{
	char address[ADDRESS_TEXT_MAX];
	struct json_text text = {0};
	autofree char *ended = json_text_take(&group->ended, NULL);

	json_text_add(&text, "{");
	json_text_member_string(&text, "address", ping_address_text(&group->address, address));
	json_text_member_number(&text, "sent", group->sent);
	json_text_member_number(&text, "received", group->received);
	json_text_member_number(&text, "duplicates", group->duplicates);
	if (group->received > 0) {
		json_text_member_number(&text, "minUsec", group->min_us);
		json_text_member_number(&text, "avgUsec", group->sum_us / group->received);
		json_text_member_number(&text, "maxUsec", group->max_us);
	}
	json_text_name(&text, "addresses");
	json_text_add(&text, "[");
	json_text_add(&text, ended);
	json_text_add(&text, "]}");
	return json_text_take(&text, NULL);
}

bool ping_group_leave(struct ping_task *leg, struct outcome *outcome)
{
	struct ping_group *group = leg->group;

	add_leg(group, leg, outcome);
	take_outcome(group, leg, outcome);
	if (--group->size > 0)
		return false;
	*outcome = group->outcome;
	outcome->result = whole_json(group);
	free(group);
	return true;
}
