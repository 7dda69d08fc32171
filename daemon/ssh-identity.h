/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Private keys, read and parsed once for all sessions of an engine; a file that changed is read
 * again. One thread.
 */
#pragma once

#include <libssh/libssh.h>

struct identities;
struct identity;

struct identities *identities_new(void);
void identities_free(struct identities *identities);
/*
 * The key in a file, a reference for the caller. 0, -ENOKEY where it is encrypted, -EBADMSG where
 * it is no private key, or what opening it gave.
 */
int identity_get(struct identities *identities, const char *path, struct identity **ret_identity);
void identity_unref(struct identity *identity);
ssh_key identity_key(const struct identity *identity);
