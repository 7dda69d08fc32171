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
 * The key in a file, a reference for the caller; with the certificate in another, unless that is
 * NULL. 0, -ENOKEY where it is encrypted (otherwise), -EBADMSG where it is no private key,
 * -EKEYREJECTED where the certificate is of another key, or what opening one gave.
 */
struct passphrase {
	const char *text;  /* NULL: there is none */
	const char *owner; /* what it opened is for the same owner alone */
};
int identity_get(struct identities *identities, const char *path, const char *certificate,
		 const struct passphrase *passphrase, struct identity **ret_identity);
void identity_unref(struct identity *identity);
ssh_key identity_key(const struct identity *identity);
