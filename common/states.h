/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The closed lists that users meet: states, error classes, streams, and the words for them. The
 * words are those of the interface file org.jobd.varlink (a test compares); a '_' in one is shown
 * to people as '-'.
 */
#pragma once

#define JOB_STATES(X)                 \
	X(JOB_QUEUED, "queued")       \
	X(JOB_RUNNING, "running")     \
	X(JOB_PAUSED, "paused")       \
	X(JOB_STOPPING, "stopping")   \
	X(JOB_COMPLETED, "completed") \
	X(JOB_FAILED, "failed")       \
	X(JOB_STOPPED, "stopped")

#define TASK_STATES(X)                 \
	X(TASK_QUEUED, "queued")       \
	X(TASK_RUNNING, "running")     \
	X(TASK_SUCCEEDED, "succeeded") \
	X(TASK_FAILED, "failed")       \
	X(TASK_STOPPED, "stopped")     \
	X(TASK_INTERRUPTED, "interrupted")

#define ERROR_CLASSES(X)                      \
	X(CLASS_NONE, "")                     \
	X(CLASS_RESOLVE, "resolve")           \
	X(CLASS_UNREACHABLE, "unreachable")   \
	X(CLASS_REFUSED, "refused")           \
	X(CLASS_TIMEOUT, "timeout")           \
	X(CLASS_NO_REPLY, "no_reply")         \
	X(CLASS_HOST_KEY, "host_key")         \
	X(CLASS_AUTH, "auth")                 \
	X(CLASS_PROTOCOL, "protocol")         \
	X(CLASS_EXIT, "exit")                 \
	X(CLASS_SIGNAL, "signal")             \
	X(CLASS_OUTPUT_LIMIT, "output_limit") \
	X(CLASS_PROMPT, "prompt")             \
	X(CLASS_DEVICE, "device")             \
	X(CLASS_INTERNAL, "internal")

#define STREAMS(X)                 \
	X(STREAM_STDOUT, "stdout") \
	X(STREAM_STDERR, "stderr")

#define STATES_ENUM(name, word) name,
enum job_state { JOB_STATES(STATES_ENUM) JOB_STATE_COUNT };
enum task_state { TASK_STATES(STATES_ENUM) TASK_STATE_COUNT };
enum error_class { ERROR_CLASSES(STATES_ENUM) ERROR_CLASS_COUNT };
enum stream { STREAMS(STATES_ENUM) STREAM_COUNT };

/* Words by value, ended by NULL: job_state_words[JOB_QUEUED] is "queued". */
extern const char *const job_state_words[JOB_STATE_COUNT + 1];
extern const char *const task_state_words[TASK_STATE_COUNT + 1];
extern const char *const error_class_words[ERROR_CLASS_COUNT + 1];
extern const char *const stream_words[STREAM_COUNT + 1];

/* The value of a word in such a list, or -1. */
int word_find(const char *const *words, const char *word);

static inline int job_state_is_final(enum job_state state)
{
	return state == JOB_COMPLETED || state == JOB_FAILED || state == JOB_STOPPED;
}
static inline int task_state_is_final(enum task_state state)
{
	return state > TASK_RUNNING;
}
