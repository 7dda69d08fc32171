/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * jobd.conf and the command line as one immutable value. Main makes it before any thread starts;
 * afterwards every thread may read it. SIGHUP makes a new one, which goes to whoever holds the old
 * one (workers by mailbox); old ones stay until the end. Sockets, paths and threads need a restart.
 */
#pragma once

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Every setting of section [jobd], once: member, name in the file, type, default, smallest,
 * largest, what it is. Types: size (bytes), duration (us), number. A default of 0 may be below the
 * smallest, and can be written too.
 */
#define CONFIG_SETTINGS(X)                                                                    \
	X(max_message, "max-message", SETTING_SIZE, 16 << 20, 4096, 1 << 30,                  \
	  "largest message on the control socket")                                            \
	X(max_clients, "max-clients", SETTING_NUMBER, 256, 1, 65536, "connections at a time") \
	X(max_live_jobs, "max-live-jobs", SETTING_NUMBER, 100000, 1, 10000000,                \
	  "jobs that have not ended")                                                         \
	X(max_schedules, "max-schedules", SETTING_NUMBER, 10000, 0, 1000000, "schedules")     \
	X(max_targets, "max-targets", SETTING_NUMBER, 1 << 25, 1, UINT32_MAX,                 \
	  "targets of one job")                                                               \
	X(max_output, "max-output-per-task", SETTING_SIZE, 1 << 30, 1024, (int64_t)1 << 40,   \
	  "largest --max-output that a job may ask for")                                      \
	X(max_job_output, "max-output-per-job", SETTING_SIZE, 0, 0, (int64_t)1 << 50,         \
	  "output of all tasks of a job; 0: no bound")                                        \
	X(keep_finished, "keep-finished", SETTING_DURATION, 0, 0, (int64_t)1 << 55,           \
	  "how long jobs that have ended are kept; 0: until they are removed")                \
	X(max_database, "max-database-size", SETTING_SIZE, 0, 1 << 20, (int64_t)1 << 50,      \
	  "above it the jobs that ended first are removed; 0: no bound")                      \
	X(ping_parallel, "ping-parallel", SETTING_NUMBER, 32768, 1, 65000,                    \
	  "ping tasks in flight, of all jobs")                                                \
	X(ping_rate, "ping-rate", SETTING_NUMBER, 100000, 1, 10000000,                        \
	  "echo requests a second, of all jobs")                                              \
	X(ssh_parallel, "ssh-parallel", SETTING_NUMBER, 4096, 1, 65536,                       \
	  "SSH sessions in flight, of all jobs")                                              \
	X(ssh_handshakes, "ssh-handshakes", SETTING_NUMBER, 64, 1, 65536,                     \
	  "SSH key exchanges at a time, of each worker")

enum setting_type { SETTING_SIZE, SETTING_DURATION, SETTING_NUMBER };

struct profiles;

/* [credential NAME]: how to log in, by a name that jobs use. Held by the daemon alone. */
struct credential {
	char *name;
	char *user;     /* or NULL */
	char *identity; /* private key file, or NULL */
	/* Or NULL; a bare name is looked up in $CREDENTIALS_DIRECTORY */
	char *password_file;
	char *enable_password_file; /* of a device's enable; NULL: the password */
	char *passphrase_file;      /* of the identity */
};

struct config {
	bool is_user; /* a user's private daemon */
	char *socket;
	char *database;
	char *config_file; /* where it was read from, or NULL */
	unsigned workers;  /* ssh workers; by default the number of CPUs this process may use */
	char *admin_group; /* name or NULL; "admin-group" */
	gid_t admin_gid;   /* (gid_t) -1 for none */
	int log_level;     /* of syslog(3); "log-level" by its word */
	struct credential *credentials;
	size_t credential_count;
	struct profiles *profiles;
#define CONFIG_MEMBER(member, name, type, fallback, min, max, what) int64_t member;
	CONFIG_SETTINGS(CONFIG_MEMBER)
#undef CONFIG_MEMBER
};

struct setting_row {
	const char *name;
	enum setting_type type;
	size_t offset; /* of an int64_t in struct config */
	int64_t fallback, min, max;
	const char *what;
};
extern const struct setting_row config_settings[];
extern const size_t config_setting_count;

/* What the command line said; NULL or 0 where it said nothing. */
struct config_options {
	bool is_user;
	const char *config_file, *socket, *database;
	unsigned workers;
};
/*
 * Reads the file (a missing default file is fine, a missing named one is not), then lays the
 * options over it. 0, or a negative errno with one line in *ret_sentence (the caller frees):
 * "jobd.conf:12: ping-rate: '0' is too small (1 to 10000000)". Unknown sections and settings are
 * errors.
 */
int config_load(const struct config_options *options, struct config **ret_config,
		char **ret_sentence);
void config_free(struct config *config);
const struct credential *config_credential(const struct config *config, const char *name);
/*
 * A password of a credential, read now; *ret_password is NULL where file is. The caller wipes
 * (explicit_bzero) and frees. 0 or a negative errno.
 */
int credential_password(const char *file, char **ret_password);
