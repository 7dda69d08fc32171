/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How hosts are reached, as ssh_config(5) says it: its files, read once and again when one changed,
 * and what they come to for one host. Honoured are the keywords below, Host, Match with all, host,
 * originalhost, user and localuser, and Include; a Match with anything else fits nothing. The first
 * value of a keyword counts, as with ssh. One thread.
 */
#pragma once

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum algorithm_list {
	LIST_KEY_EXCHANGE,
	LIST_HOST_KEY,
	LIST_CIPHER,
	LIST_MAC,
	LIST_USER_KEY,
	LIST_COUNT
};

enum host_key_policy { HOST_KEY_STRICT, HOST_KEY_ACCEPT_NEW, HOST_KEY_OFF };

/* Absent: NULL, and -1 of a number. All owned. */
struct ssh_settings {
	char *host_name; /* what is connected to */
	char *user;
	char *alias;             /* under which the host key is looked up */
	char *known_hosts;       /* a file */
	char *jump;              /* hosts with commas between, or "none" */
	char *lists[LIST_COUNT]; /* with '+', '-', '^' as they were given */
	int64_t port, connect_timeout_us;
	int64_t host_key;                  /* enum host_key_policy */
	int64_t identities_only;           /* 1: keys of the agent are left out */
	char **identities, **certificates; /* files */
	size_t identity_count, certificate_count;
};
#define SSH_SETTINGS_NONE                                                                   \
	{                                                                                   \
		.port = -1, .connect_timeout_us = -1, .host_key = -1, .identities_only = -1 \
	}
/* Copies of what is not set yet; lists of files grow. */
void ssh_settings_merge(struct ssh_settings *settings, const struct ssh_settings *from);
void ssh_settings_done(struct ssh_settings *settings);
/*
 * A line "Keyword value" into what is not set yet. 0, or ERROR_INVALID_OPTION. is_trusted: it may
 * name files.
 */
int ssh_settings_take(struct ssh_settings *settings, const char *line, bool is_trusted,
		      struct error *ret_error);

struct ssh_config;

/* files: by their rank, NULL at the end; those that are not there are empty. home: for '~', or
 * NULL. A mistake in a file is told in the log, and the line left out. */
struct ssh_config *ssh_config_new(const char *const *files, const char *home);
void ssh_config_free(struct ssh_config *config);
/* What the files say of the host, into what is not set yet. local_user: who asks. */
void ssh_config_apply(struct ssh_config *config, const char *host, const char *local_user,
		      struct ssh_settings *settings);
/* A path with '~', and %h %n %p %r %u %d %% filled in (ssh_config(5), TOKENS). */
char *ssh_config_expand(const char *text, const char *home, const char *host, uint16_t port,
			const char *user, const char *local_user);
