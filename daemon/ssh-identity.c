/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ssh-identity.h"

#include "common/hash.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

enum { KEY_FILE_MAX = 64 << 10 };

struct identity {
	unsigned references; /* the table's and the visits' */
	struct stat status;  /* of the file, when it was read */
	ssh_key key;
	UT_hash_handle hh;
	char path[];
};

struct identities {
	struct identity *by_path;
};

struct identities *identities_new(void)
{
	return xcalloc(1, sizeof(struct identities));
}

void identity_unref(struct identity *identity)
{
	if (!identity || --identity->references > 0)
		return;
	ssh_key_free(identity->key);
	free(identity);
}

static void drop(struct identities *identities, struct identity *identity)
{
	HASH_DEL(identities->by_path, identity);
	identity_unref(identity);
}

void identities_free(struct identities *identities)
{
	struct identity *identity, *next;

	if (!identities)
		return;
	HASH_ITER (hh, identities->by_path, identity, next) {
		drop(identities, identity);
	}
	free(identities);
}

ssh_key identity_key(const struct identity *identity)
{
	return identity->key;
}

/* libssh asks for a passphrase only where the key is encrypted. */
static int on_passphrase(const char *prompt, char *buffer, size_t size, int echo, int verify,
			 void *context)
{
	bool *is_encrypted = context;

	(void)prompt;
	(void)buffer;
	(void)size;
	(void)echo;
	(void)verify;
	*is_encrypted = true;
	return -1;
}

static int parse_key(int fd, ssh_key *ret_key)
{
	char *text = xcalloc(1, KEY_FILE_MAX + 1);
	ssize_t size = read(fd, text, KEY_FILE_MAX);
	bool is_encrypted = false;
	int r = 0;

	if (size < 0)
		r = -errno;
	else if (ssh_pki_import_privkey_base64(text, NULL, on_passphrase, &is_encrypted, ret_key) !=
		 SSH_OK)
		r = is_encrypted ? -ENOKEY : -EBADMSG;
	explicit_bzero(text, KEY_FILE_MAX);
	free(text);
	return r;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* O_NONBLOCK and a plain file only: the loop must not hang on a pipe of this name. */
static int read_identity(const char *path, struct identity **ret_identity)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct identity *identity;
	struct stat status;
	ssh_key key = NULL;
	int r;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EBADMSG;
	r = parse_key(fd, &key);
	if (r < 0)
		return r;
	identity = xcalloc(1, sizeof(*identity) + strlen(path) + 1);
	strcpy(identity->path, path);
	identity->status = status;
	identity->key = key;
	identity->references = 1;
	*ret_identity = identity;
	return 0;
}

int identity_get(struct identities *identities, const char *path, struct identity **ret_identity)
{
	struct identity *identity = NULL;
	struct stat status;
	int r;

	HASH_FIND_STR(identities->by_path, path, identity);
	if (identity && (stat(path, &status) < 0 || !is_same(&status, &identity->status))) {
		drop(identities, identity);
		identity = NULL;
	}
	if (!identity) {
		r = read_identity(path, &identity);
		if (r < 0)
			return r;
		HASH_ADD_STR(identities->by_path, path, identity);
	}
	identity->references++;
	*ret_identity = identity;
	return 0;
}
