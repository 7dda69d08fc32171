/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/task.h"

#include "common/targets.h"
#include "common/util.h"
#include "daemon/kind.h"

struct job_options *job_options_ref(struct job_options *options)
{
	(void)atomic_fetch_add_explicit(&options->references, 1, memory_order_relaxed);
	return options;
}

void job_options_unref(struct job_options *options)
{
	const struct kind *kind;

	if (!options ||
	    atomic_fetch_sub_explicit(&options->references, 1, memory_order_acq_rel) != 1)
		return;
	kind = options->kind;
	if (options->kind_options) {
		if (kind->options_done)
			kind->options_done(options->kind_options);
		fields_done(kind->fields, kind->field_count, options->kind_options);
		free(options->kind_options);
	}
	free(options);
}

struct task *task_new(struct task_key key, unsigned attempt, uint64_t run,
		      struct job_options *options, const char *target)
{
	size_t size = strlen(target) + 1;
	struct task *task = xcalloc(1, sizeof(*task) + size);

	task->key = key;
	task->count = task->left = 1;
	task->attempt = attempt;
	task->run = run;
	task->options = job_options_ref(options);
	memcpy(task->target, target, size);
	return task;
}

struct task *task_new_span(struct task_key key, uint32_t count, uint64_t run,
			   struct job_options *options, struct target_list *targets)
{
	struct task *task = task_new(key, 1, run, options, "");

	task->count = task->left = count;
	task->targets = target_list_ref(targets);
	return task;
}

void task_free(struct task *task)
{
	if (!task)
		return;
	job_options_unref(task->options);
	target_list_free(task->targets);
	free(task);
}

void outcome_done(struct outcome *outcome)
{
	free(outcome->message);
	free(outcome->result);
	outcome->message = outcome->result = NULL;
}

void report_free(struct report *report)
{
	if (!report)
		return;
	free(report->bytes);
	outcome_done(&report->outcome);
	for (size_t i = 0; i < report->ending_count; i++)
		outcome_done(&report->endings[i].outcome);
	free(report->endings);
	if (report->type != REPORT_ENDED) {
		task_free(report->task); /* of a span */
		free(report);
	} else {
		task_free(report->task);
	}
}
