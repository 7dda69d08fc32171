/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An inventory in memory, for those who read one: hosts in the order of the file, groups, and of
 * the variables those that count. What is wrong ends the program.
 */
#pragma once

#include "common/hash.h"

#include <stdbool.h>
#include <stddef.h>

/* The first three make the target itself, the others are what is said of it in particular. */
#define VARIABLES(X)                                    \
	X(VARIABLE_HOST, "ansible_host")                \
	X(VARIABLE_PORT, "ansible_port")                \
	X(VARIABLE_USER, "ansible_user")                \
	X(VARIABLE_JUMP, "jobd_jump")                   \
	X(VARIABLE_CREDENTIAL, "jobd_credential")       \
	X(VARIABLE_PROFILE, "jobd_profile")             \
	X(VARIABLE_SYSTEM, "ansible_network_os")        \
	X(VARIABLE_KEY, "ansible_ssh_private_key_file") \
	X(VARIABLE_ARGUMENTS, "ansible_ssh_common_args")

#define VARIABLE_ENUM(id, name) id,
enum variable { VARIABLES(VARIABLE_ENUM) VARIABLE_COUNT };
#undef VARIABLE_ENUM
extern const char *const variable_names[VARIABLE_COUNT];

struct host {
	char *name;
	char *variables[VARIABLE_COUNT];
	unsigned line;
	bool is_in, is_met; /* of the pattern: so far; of its present part */
	UT_hash_handle hh;  /* in the order of the file */
};

struct group {
	char *name;
	char *variables[VARIABLE_COUNT];
	struct host **hosts;
	struct group **children;
	size_t host_count, child_count;
	size_t depth; /* 1 and the longest way down to it; 0: not known yet */
	UT_hash_handle hh;
};

struct inventory {
	const char *path;
	struct host *hosts;
	struct group *groups;
	unsigned line;
};

/* The one of that name, which is made where there is none. */
struct group *inventory_group(struct inventory *inventory, const char *name);
struct host *inventory_host(struct inventory *inventory, const char *name);
void inventory_join(struct group *group, struct host *host);
void inventory_add_child(struct inventory *inventory, struct group *group, const char *name);

/* An object of groups, as of ansible-inventory --list. */
void inventory_read_json(struct inventory *inventory, const char *text);
/* Ansible's INI form; the text is taken apart. */
void inventory_read_ini(struct inventory *inventory, char *text);
/* The next word of a line, quotes kept together; NULL at its end. */
char *next_word(char **rest);
/* A copy, without the quotes around it. */
char *unquoted(const char *text);
