/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/ssh-identity.h"

#include "common/hash.h"
#include "common/protocol.h"
#include "common/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	KEY_FILE_MAX = 64 << 10,
	/* A passphrase that does not fit costs a tenth of a second of CPU to find out
	 * (bcrypt_pbkdf): not for each of a thousand visits. */
	FAILURE_KEPT_US = 1000000,
};

struct identity {
	unsigned references; /* the table's and the visits' */
	struct stat status;  /* of the file, when it was read */
	ssh_key key;         /* NULL: it could not be had, since failed_us */
	int failure;
	int64_t failed_us;
	UT_hash_handle hh;
	char name[]; /* see name_of */
};

struct identities {
	struct identity *by_name;
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
	HASH_DEL(identities->by_name, identity);
	identity_unref(identity);
}

void identities_free(struct identities *identities)
{
	struct identity *identity, *next;

	if (!identities)
		return;
	HASH_ITER (hh, identities->by_name, identity, next) {
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

static int parse_key(int fd, const char *passphrase, ssh_key *ret_key)
{
	char *text = xcalloc(1, KEY_FILE_MAX + 1);
	ssize_t size = read(fd, text, KEY_FILE_MAX);
	bool is_encrypted = false;
	int r = 0;

	if (size < 0)
		r = -errno;
	else if (ssh_pki_import_privkey_base64(text, passphrase, on_passphrase, &is_encrypted,
					       ret_key) != SSH_OK)
		r = is_encrypted || passphrase ? -ENOKEY : -EBADMSG;
	explicit_bzero(text, KEY_FILE_MAX);
	free(text);
	return r;
}

/* The blob of a public key or a certificate; 0 or -EBADMSG. The caller frees. */
static int export(ssh_key key, char **ret_bytes, size_t *ret_size)
{
	char *text = NULL;
	int r = -EBADMSG;

	if (ssh_pki_export_pubkey_base64(key, &text) == SSH_OK)
		r = base64_decode(text, ret_bytes, ret_size);
	ssh_string_free_char(text);
	return r;
}

/*
 * Behind its type, a public key is made of the same bytes as the key in its certificate
 * (PROTOCOL.certkeys of OpenSSH); libssh compares none of different types.
 */
static bool is_of(ssh_key key, ssh_key certificate)
{
	autofree char *own = NULL, *whole = NULL;
	size_t size = 0, whole_size = 0, type_size;

	if (export(key, &own, &size) < 0 || export(certificate, &whole, &whole_size) < 0 ||
	    size < 4)
		return false;
	/* It stands in front with its length, in network order (RFC 4253, 6.6). */
	type_size = 4 + ((size_t)(unsigned char)own[2] << 8) + (unsigned char)own[3];
	return size > type_size &&
	       memmem(whole, whole_size, own + type_size, size - type_size) != NULL;
}

static int add_certificate(ssh_key key, const char *path)
{
	ssh_key certificate = NULL;
	int r = -EKEYREJECTED;

	if (ssh_pki_import_cert_file(path, &certificate) != SSH_OK)
		return -EBADMSG;
	if (is_of(key, certificate) && ssh_pki_copy_cert_to_privkey(certificate, key) == SSH_OK)
		r = 0;
	ssh_key_free(certificate);
	return r;
}

/* O_NONBLOCK and a plain file only: the loop must not hang on a pipe of this name. */
static int read_identity(const char *path, const char *certificate, const char *passphrase,
			 ssh_key *ret_key, struct stat *ret_status)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int r;

	if (fd < 0 || fstat(fd, ret_status) < 0)
		return -errno;
	if (!S_ISREG(ret_status->st_mode))
		return -EBADMSG;
	r = parse_key(fd, passphrase, ret_key);
	if (r == 0 && certificate)
		r = add_certificate(*ret_key, certificate);
	return r;
}

/* A certificate is seldom renewed twice in a second: its time is in the name. */
static char *name_of(const char *path, const char *certificate, const struct stat *status,
		     const struct passphrase *passphrase)
{
	return xasprintf("%s\n%s\n%lld\n%s", path, certificate ? certificate : "",
			 (long long)status->st_mtim.tv_sec,
			 passphrase->text ? passphrase->owner : "");
}

static bool is_stale(const struct identity *identity, const char *path)
{
	struct stat status;

	if (!identity->key && now_monotonic_us() >= identity->failed_us + FAILURE_KEPT_US)
		return true;
	return stat(path, &status) < 0 || !is_same_file(&status, &identity->status);
}

int identity_get(struct identities *identities, const char *path, const char *certificate,
		 const struct passphrase *passphrase, struct identity **ret_identity)
{
	struct stat certified = {0};
	struct identity *identity = NULL;
	autofree char *name = NULL;

	if (certificate && stat(certificate, &certified) < 0)
		return -errno;
	name = name_of(path, certificate, &certified, passphrase);
	HASH_FIND_STR(identities->by_name, name, identity);
	if (identity && is_stale(identity, path)) {
		drop(identities, identity);
		identity = NULL;
	}
	if (!identity) {
		identity = xcalloc(1, sizeof(*identity) + strlen(name) + 1);
		strcpy(identity->name, name);
		identity->references = 1;
		identity->failure = read_identity(path, certificate, passphrase->text,
						  &identity->key, &identity->status);
		if (identity->failure < 0) {
			ssh_key_free(identity->key);
			identity->key = NULL;
			identity->failed_us = now_monotonic_us();
		}
		HASH_ADD_STR(identities->by_name, name, identity);
	}
	if (!identity->key)
		return identity->failure;
	identity->references++;
	*ret_identity = identity;
	return 0;
}
