/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which host keys are known: the lines of known_hosts files (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)
 * as an index in memory, since reading the files for each of thousands of sessions is what costs.
 * Read are plain names, [name]:port, patterns with * ? !, hashed names, @revoked; @cert-authority
 * lines are passed over, since certificates of hosts are not taken.
 *
 * A file that changed is read again at the next question; one that we added to ourselves as well,
 * within KNOWN_HOSTS_REFRESH_US. One thread at a time each; several indexes (and other programs)
 * may share the files.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { KNOWN_HOSTS_REFRESH_US = 250000 };

enum known_host_verdict {
	KNOWN_HOST_UNKNOWN,
	KNOWN_HOST_MATCHES,
	KNOWN_HOST_CHANGED, /* other keys are known, not this one */
	KNOWN_HOST_REVOKED,
};

/* Where the line stands that decided. */
struct known_host_place {
	const char *file; /* the index's */
	unsigned line;    /* from 1 */
};

struct known_hosts;

/*
 * Names are looked up in own_file and, where not NULL, shared_file; only own_file is ever written.
 * Missing files are empty ones.
 */
struct known_hosts *known_hosts_new(const char *own_file, const char *shared_file);
void known_hosts_free(struct known_hosts *hosts);
/*
 * The key in base64, as in the files. ret_place is set for CHANGED and REVOKED. A host that is
 * unknown at a port of its own counts as known where the host without port has this very key, as
 * ssh has it.
 */
enum known_host_verdict known_hosts_check(struct known_hosts *hosts, const char *host,
					  uint16_t port, const char *key,
					  struct known_host_place *ret_place);
/* Calls back with the type ("ssh-ed25519") of each key that is known for the host. */
void known_hosts_types(struct known_hosts *hosts, const char *host, uint16_t port,
		       void (*fn)(const char *type, void *context), void *context);
/*
 * Appends the key to own_file, unless the host became known meanwhile. 0, -EEXIST where another key
 * is there by now, -EBUSY where another program keeps the file locked, or another negative errno:
 * also that of a file that is there and could not be read, since it may know the host.
 */
int known_hosts_add(struct known_hosts *hosts, const char *host, uint16_t port, const char *type,
		    const char *key);
