/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names that stand for themselves are in a hash table; a hashed name is found once, by trying the
 * salt of each hashed line, and is in the table from then on; patterns are few and are walked.
 *
 * Adding a key takes the file's lock, reads what others appended, looks again, and appends. What
 * was read that way is only what came behind the part already read, so the next look-up after
 * KNOWN_HOSTS_REFRESH_US reads the whole file again, in case somebody edited it in place as well.
 */
#include "daemon/ssh-known-hosts.h"

#include "common/hash.h"
#include "common/paths.h"
#include "common/protocol.h"
#include "common/util.h"
#include "daemon/ssh-pattern.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

enum {
	FILES = 2,
	FILE_SIZE_MAX = 64 << 20,
	NAME_MAX_BYTES = 300, /* host name, brackets, port */
	SHA1_SIZE = 20,
	LOCK_TRIES = 20,
	LOCK_PAUSE_NS = 1000000,
	SSH_PORT = 22,
};

struct known_key {
	struct known_key *next; /* all, newest first */
	const char *file;
	unsigned line;
	bool is_revoked;
	const char *names, *type, *key;                 /* into text */
	unsigned char salt[SHA1_SIZE], hash[SHA1_SIZE]; /* of a hashed name */
	char text[];
};

/* A name and the keys of the lines that name it, other than by a pattern. */
struct known_name {
	UT_hash_handle hh;
	size_t searched; /* so many of the hashed lines were tried */
	struct key_list {
		const struct known_key **items;
		size_t count;
	} keys;
	char name[];
};

struct known_file {
	char *path; /* or NULL */
	dev_t device;
	ino_t inode;
	off_t size; /* as far as it was read; -1: it was missing */
	struct timespec changed;
	unsigned lines;
	bool is_partial; /* read in pieces */
	int failure;     /* why it could not be read, though it may be there; or 0 */
};

struct known_hosts {
	struct known_file files[FILES];
	int64_t read_us; /* all of it, the last time */
	struct known_key *keys;
	struct known_name *names;
	struct key_list hashed, patterns;
	struct key_list found; /* of the last look-up */
	EVP_MAC_CTX *hmac;
};

static void list_add(struct key_list *list, const struct known_key *key)
{
	list->items = xgrow(list->items, list->count, sizeof(*list->items));
	list->items[list->count++] = key;
}

static void list_done(struct key_list *list)
{
	free(list->items);
	*list = (struct key_list){0};
}

static struct known_name *find_name(struct known_hosts *hosts, const char *text, size_t length)
{
	struct known_name *name = NULL;

	HASH_FIND(hh, hosts->names, text, length, name);
	return name;
}

static struct known_name *make_name(struct known_hosts *hosts, const char *text, size_t length)
{
	struct known_name *name = find_name(hosts, text, length);

	if (name)
		return name;
	name = xcalloc(1, sizeof(*name) + length + 1);
	memcpy(name->name, text, length);
	HASH_ADD_KEYPTR(hh, hosts->names, name->name, length, name);
	return name;
}

static void forget_all(struct known_hosts *hosts)
{
	struct known_name *name, *next_name;
	struct known_key *key;

	HASH_ITER (hh, hosts->names, name, next_name) {
		HASH_DEL(hosts->names, name);
		list_done(&name->keys);
		free(name);
	}
	while ((key = hosts->keys)) {
		hosts->keys = key->next;
		free(key);
	}
	list_done(&hosts->hashed);
	list_done(&hosts->patterns);
}

/* --- Lines --- */

/* The next word of a line, ended in place; NULL at its end. */
static char *next_word(char **line)
{
	char *word = *line + strspn(*line, " \t\r");
	size_t length = strcspn(word, " \t\r");

	if (length == 0)
		return NULL;
	*line = word + length;
	if (**line != '\0')
		*(*line)++ = '\0';
	return word;
}

static bool decode_sha1(const char *text, unsigned char ret_bytes[static SHA1_SIZE])
{
	autofree char *bytes = NULL;
	size_t size;

	if (base64_decode(text, &bytes, &size) < 0 || size != SHA1_SIZE)
		return false;
	memcpy(ret_bytes, bytes, SHA1_SIZE);
	return true;
}

/* "|1|SALT|HASH" */
static bool parse_hashed(struct known_key *key)
{
	autofree char *salt = xstrdup(key->names + 3);
	char *hash = strchr(salt, '|');

	if (!hash)
		return false;
	*hash++ = '\0';
	return decode_sha1(salt, key->salt) && decode_sha1(hash, key->hash);
}

/* Names that stand for themselves go into the table. */
static void index_names(struct known_hosts *hosts, const struct known_key *key)
{
	const char *name = key->names;

	while (*name != '\0') {
		size_t length = strcspn(name, ",");

		if (length > 0)
			list_add(&make_name(hosts, name, length)->keys, key);
		name += length;
		name += *name == ',';
	}
}

static void index_key(struct known_hosts *hosts, struct known_key *key)
{
	if (strncmp(key->names, "|1|", 3) == 0) {
		if (parse_hashed(key))
			list_add(&hosts->hashed, key);
	} else if (strpbrk(key->names, "*?!")) {
		list_add(&hosts->patterns, key);
	} else {
		index_names(hosts, key);
	}
}

static void read_line(struct known_hosts *hosts, const struct known_file *file, const char *text,
		      size_t length)
{
	struct known_key *key;
	char *rest, *word;
	bool is_revoked = false;

	if (length == 0 || text[0] == '#')
		return;
	key = xcalloc(1, sizeof(*key) + length + 1);
	memcpy(key->text, text, length);
	rest = key->text;
	word = next_word(&rest);
	if (word && word[0] == '@') {
		is_revoked = streq(word, "@revoked");
		/* @cert-authority, and whatever may come */
		word = is_revoked ? next_word(&rest) : NULL;
	}
	key->names = word;
	key->type = word ? next_word(&rest) : NULL;
	key->key = key->type ? next_word(&rest) : NULL;
	/* A comment, or a key of SSH-1, which begins with a number */
	if (!key->key || key->names[0] == '#' || isdigit((unsigned char)key->type[0])) {
		free(key);
		return;
	}
	for (char *c = key->text; c < key->text + strlen(key->names); c++)
		if (key->names[0] != '|')
			*c = (char)tolower((unsigned char)*c);
	key->is_revoked = is_revoked;
	key->file = file->path;
	key->line = file->lines;
	key->next = hosts->keys;
	hosts->keys = key;
	index_key(hosts, key);
}

/* --- Files --- */

/* Reads on from file->size. */
static int read_rest(struct known_hosts *hosts, struct known_file *file, int fd,
		     const struct stat *status)
{
	size_t size = (size_t)(status->st_size - file->size), done = 0;
	autofree char *bytes = NULL;
	const char *line, *end;

	if (status->st_size > FILE_SIZE_MAX)
		return -EFBIG;
	bytes = xmalloc(size);
	while (done < size) {
		ssize_t n = pread(fd, bytes + done, size - done, file->size + (off_t)done);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	end = bytes + done;
	for (line = bytes; line < end;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *stop = newline ? newline : end;

		file->lines++;
		read_line(hosts, file, line, (size_t)(stop - line));
		line = stop + 1;
	}
	file->device = status->st_dev;
	file->inode = status->st_ino;
	file->size += (off_t)done;
	file->changed = status->st_mtim;
	return 0;
}

static void read_file(struct known_hosts *hosts, struct known_file *file)
{
	autoclose int fd = -1;
	struct stat status;

	file->lines = 0;
	file->is_partial = false;
	file->size = -1;
	file->failure = 0;
	if (!file->path)
		return;
	/* O_NONBLOCK: the loop must not hang on a pipe of this name */
	fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &status) < 0) {
		/* One that is for others alone is as good as missing, as ssh has it. */
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			file->failure = -errno;
		return;
	}
	if (!S_ISREG(status.st_mode))
		return;
	file->size = 0;
	file->failure = read_rest(hosts, file, fd, &status);
}

static bool is_same(const struct known_file *file, const struct stat *status)
{
	return file->device == status->st_dev && file->inode == status->st_ino;
}

static bool has_changed(const struct known_file *file)
{
	struct stat status;

	if (!file->path)
		return false;
	if (stat(file->path, &status) < 0)
		return file->size >= 0;
	return !is_same(file, &status) || file->size != status.st_size ||
	       file->changed.tv_sec != status.st_mtim.tv_sec ||
	       file->changed.tv_nsec != status.st_mtim.tv_nsec;
}

static void read_all(struct known_hosts *hosts)
{
	forget_all(hosts);
	for (size_t i = 0; i < FILES; i++)
		read_file(hosts, &hosts->files[i]);
	hosts->read_us = now_monotonic_us();
}

static void refresh(struct known_hosts *hosts)
{
	bool is_due = now_monotonic_us() - hosts->read_us >= KNOWN_HOSTS_REFRESH_US;

	for (size_t i = 0; i < FILES; i++)
		if (has_changed(&hosts->files[i]) || (is_due && hosts->files[i].is_partial)) {
			read_all(hosts);
			return;
		}
}

/* --- Looking up --- */

static bool matches_hashed(struct known_hosts *hosts, const struct known_key *key, const char *name)
{
	unsigned char hash[SHA1_SIZE];
	size_t size;

	return EVP_MAC_init(hosts->hmac, key->salt, SHA1_SIZE, NULL) == 1 &&
	       EVP_MAC_update(hosts->hmac, (const unsigned char *)name, strlen(name)) == 1 &&
	       EVP_MAC_final(hosts->hmac, hash, &size, sizeof(hash)) == 1 && size == SHA1_SIZE &&
	       memcmp(hash, key->hash, SHA1_SIZE) == 0;
}

/* The entry of the name, made where a hashed line turns out to name it; or NULL. */
static const struct known_name *search_name(struct known_hosts *hosts, const char *text)
{
	struct known_name *name = find_name(hosts, text, strlen(text));

	for (size_t i = name ? name->searched : 0; i < hosts->hashed.count; i++) {
		if (!matches_hashed(hosts, hosts->hashed.items[i], text))
			continue;
		name = make_name(hosts, text, strlen(text));
		list_add(&name->keys, hosts->hashed.items[i]);
	}
	if (name)
		name->searched = hosts->hashed.count;
	return name;
}

/* All lines about a host into hosts->found. */
static void find_keys(struct known_hosts *hosts, const char *host, uint16_t port)
{
	char text[NAME_MAX_BYTES];
	const struct known_name *name;
	int length;

	refresh(hosts);
	hosts->found.count = 0;
	length = port == SSH_PORT ? snprintf(text, sizeof(text), "%s", host)
				  : snprintf(text, sizeof(text), "[%s]:%u", host, port);
	if (length < 0 || (size_t)length >= sizeof(text))
		return;
	for (char *c = text; *c != '\0'; c++)
		*c = (char)tolower((unsigned char)*c);
	name = search_name(hosts, text);
	for (size_t i = 0; name && i < name->keys.count; i++)
		list_add(&hosts->found, name->keys.items[i]);
	for (size_t i = 0; i < hosts->patterns.count; i++)
		if (ssh_patterns_match(hosts->patterns.items[i]->names, text) == PATTERNS_MATCH)
			list_add(&hosts->found, hosts->patterns.items[i]);
}

/* What the lines in hosts->found say about a key. */
static enum known_host_verdict judge(const struct known_hosts *hosts, const char *key,
				     struct known_host_place *ret_place)
{
	const struct known_key *equal = NULL, *other = NULL, *decisive;

	for (size_t i = 0; i < hosts->found.count; i++) {
		const struct known_key *known = hosts->found.items[i];

		if (streq(known->key, key))
			equal = equal && equal->is_revoked ? equal : known;
		else if (!known->is_revoked && !other)
			other = known;
	}
	if (equal && !equal->is_revoked)
		return KNOWN_HOST_MATCHES;
	decisive = equal ? equal : other;
	if (!decisive)
		return KNOWN_HOST_UNKNOWN;
	*ret_place = (struct known_host_place){decisive->file, decisive->line};
	return equal ? KNOWN_HOST_REVOKED : KNOWN_HOST_CHANGED;
}

enum known_host_verdict known_hosts_check(struct known_hosts *hosts, const char *host,
					  uint16_t port, const char *key,
					  struct known_host_place *ret_place)
{
	enum known_host_verdict verdict;

	find_keys(hosts, host, port);
	verdict = judge(hosts, key, ret_place);
	if (verdict == KNOWN_HOST_UNKNOWN && port != SSH_PORT) {
		struct known_host_place place;

		find_keys(hosts, host, SSH_PORT);
		verdict = judge(hosts, key, &place);
		if (verdict == KNOWN_HOST_CHANGED)
			return KNOWN_HOST_UNKNOWN;
		if (verdict == KNOWN_HOST_REVOKED)
			*ret_place = place;
	}
	return verdict;
}

void known_hosts_types(struct known_hosts *hosts, const char *host, uint16_t port,
		       void (*fn)(const char *type, void *context), void *context)
{
	find_keys(hosts, host, port);
	if (hosts->found.count == 0 && port != SSH_PORT)
		find_keys(hosts, host, SSH_PORT);
	for (size_t i = 0; i < hosts->found.count; i++)
		if (!hosts->found.items[i]->is_revoked)
			fn(hosts->found.items[i]->type, context);
}

/* --- Adding --- */

/* Others hold the lock for a moment only; the loop cannot wait for one who does not. */
static int lock_file(int fd)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return -errno;
		(void)nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

/* What was appended since the file was read; all of it where it is another file now. */
static int catch_up(struct known_hosts *hosts, struct known_file *file, int fd,
		    struct stat *ret_status)
{
	if (fstat(fd, ret_status) < 0)
		return -errno;
	if (file->size >= 0 && is_same(file, ret_status) && ret_status->st_size >= file->size) {
		file->is_partial |= ret_status->st_size > file->size;
		return read_rest(hosts, file, fd, ret_status);
	}
	read_all(hosts);
	return file->size == ret_status->st_size ? 0 : -EAGAIN;
}

/* A part of a line would be another key of the host. Not where somebody has added to it: ssh takes
 * no lock. */
static void take_back(int fd, ssize_t written)
{
	off_t end = lseek(fd, 0, SEEK_CUR);
	struct stat status;

	if (fstat(fd, &status) == 0 && status.st_size == end)
		(void)!ftruncate(fd, end - written);
}

static int append(int fd, off_t size, const char *host, uint16_t port, const char *type,
		  const char *key)
{
	autofree char *line = NULL;
	char last = '\n';
	ssize_t n;

	if (size > 0 && pread(fd, &last, 1, size - 1) < 0)
		return -errno;
	line = port == SSH_PORT
		       ? xasprintf("%s%s %s %s\n", last == '\n' ? "" : "\n", host, type, key)
		       : xasprintf("%s[%s]:%u %s %s\n", last == '\n' ? "" : "\n", host, port, type,
				   key);
	n = write(fd, line, strlen(line));
	if (n < 0)
		return -errno;
	if ((size_t)n == strlen(line))
		return 0;
	take_back(fd, n);
	return -ENOSPC;
}

int known_hosts_add(struct known_hosts *hosts, const char *host, uint16_t port, const char *type,
		    const char *key)
{
	struct known_file *file = &hosts->files[0];
	struct known_host_place place;
	autoclose int fd = -1;
	struct stat status;
	int r;

	if (!file->path)
		return -ENOENT;
	r = path_make_parent(file->path);
	if (r < 0)
		return r;
	fd = open(file->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
	if (fd < 0)
		return -errno;
	r = lock_file(fd);
	if (r == 0)
		r = catch_up(hosts, file, fd, &status);
	if (r < 0)
		return r;
	switch (known_hosts_check(hosts, host, port, key, &place)) {
	case KNOWN_HOST_MATCHES:
		return 0;
	case KNOWN_HOST_CHANGED:
	case KNOWN_HOST_REVOKED:
		return -EEXIST;
	case KNOWN_HOST_UNKNOWN:
		break;
	}
	/* What could not be read may say otherwise. */
	for (size_t i = 0; i < FILES && r == 0; i++)
		r = hosts->files[i].failure;
	if (r == 0)
		r = append(fd, status.st_size, host, port, type, key);
	if (r < 0)
		return r;
	return catch_up(hosts, file, fd, &status);
}

/* --- Life --- */

static EVP_MAC_CTX *hmac_sha1_new(void)
{
	char digest[] = "SHA1";
	const OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;

	EVP_MAC_free(mac);
	if (!context || EVP_MAC_CTX_set_params(context, parameters) != 1)
		abort();
	return context;
}

struct known_hosts *known_hosts_new(const char *own_file, const char *shared_file)
{
	struct known_hosts *hosts = xcalloc(1, sizeof(*hosts));

	hosts->files[0].path = xstrdup_or_null(own_file);
	hosts->files[1].path = xstrdup_or_null(shared_file);
	hosts->hmac = hmac_sha1_new();
	read_all(hosts);
	return hosts;
}

void known_hosts_free(struct known_hosts *hosts)
{
	if (!hosts)
		return;
	forget_all(hosts);
	list_done(&hosts->found);
	EVP_MAC_CTX_free(hosts->hmac);
	for (size_t i = 0; i < FILES; i++)
		free(hosts->files[i].path);
	free(hosts);
}
