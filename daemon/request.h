/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What Start asks for, checked whole and in the form that jobs run: options by the kind's table,
 * and the target list. The same way back from the texts that the store keeps. Main thread.
 */
#pragma once

#include "common/error.h"
#include "common/targets.h"
#include "daemon/task.h"

#include <jansson.h>

struct config;
struct job_request;

struct request {
	struct job_options *options;
	struct target_list *targets;
	char *name;         /* or NULL */
	char *options_text; /* JSON: the parameters without targets, exclude, token, schedule,
			       dryRun */
	char *targets_text; /* JSON: {"targets": [...], "exclude": [...]} */
	char *targets_shown, *command_shown; /* where these texts are long, else NULL */
};
/*
 * The options of the request before. Many that follow each other ask for the same and share them;
 * not for longer than a turn, since what they hold (a command's input) may be large, and secret.
 * All 0: none.
 */
struct recent_options {
	char *text;
	uid_t uid;
	bool is_trusted;
	struct job_options *options;
};
void recent_options_forget(struct recent_options *recent);

/* recent: or NULL. */
int request_parse(const struct job_request *asked, const struct config *config,
		  struct recent_options *recent, struct request *ret_request,
		  struct error *ret_error);
/* From the store's texts, which were checked when they came. */
int request_restore(const char *options_text, const char *targets_text, uid_t uid,
		    const struct config *config, struct request *ret_request,
		    struct error *ret_error);
/* The same of a job whose options hold no longer: with none of them, for it is only to end. */
int request_restore_bare(const char *kind, const char *targets_text, struct request *ret_request,
			 struct error *ret_error);
/* Just the targets, from a row's text. limit: at most so many. */
int request_targets(const char *targets_text, uint64_t limit, struct target_list **ret_targets,
		    struct error *ret_error);
/* What is kept of Start's parameters as options: without targets, token and schedule, and with a
 * mark in the place of a secret. The caller frees. */
char *request_options_text(const json_t *parameters, const struct kind *kind);
/* What a list shows of Start's parameters: the words of the targets, to some 60 bytes, and the
 * first command, to some 200, or NULL where there is none. The caller frees. */
char *request_show_targets(const json_t *parameters);
char *request_show_command(const json_t *parameters);
/* Both, where the texts that are kept are long; else *ret_targets and *ret_command are NULL. */
void request_show_long(const json_t *parameters, const char *options_text, const char *targets_text,
		       char **ret_targets, char **ret_command);
/* Do Start's parameters, of a job of this kind, hand over a secret? */
bool request_has_secret(const json_t *parameters, const struct kind *kind);
/* Just the options, after jobs_adjust changed their text. */
int request_options(const char *options_text, uid_t uid, const struct config *config,
		    struct job_options **ret_options, struct error *ret_error);
/* 0, or ERROR_INVALID_OPTION: do the options, of this kind, name files for jobd to read? */
int request_check_files(const json_t *options, const struct kind *kind, struct error *ret_error);
void request_done(struct request *request);
