/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small pool of threads that look names up by getaddrinfo(3), which blocks and cannot be
 * cancelled; nsswitch, /etc/hosts and mDNS stay right. Questions come from any thread, answers go
 * to the asker's mailbox.
 */
#pragma once

#include "daemon/mailbox.h"
#include "daemon/task.h"

#include <netinet/in.h>

enum { RESOLVER_ADDRESSES_MAX = 32 };

/* A letter in the asker's mailbox; whoever takes it frees it. */
struct resolver_answer {
	struct letter letter;
	int type; /* as the question said, so that the asker can tell its letters apart */
	struct task_key key;
	uint64_t run;
	char *error; /* owned; a sentence, or NULL */
	size_t count;
	struct sockaddr_storage addresses[RESOLVER_ADDRESSES_MAX];
};

struct resolver;
int resolver_new(unsigned threads, struct resolver **ret_resolver);
/* Waits for look-ups under way; questions not begun are dropped. */
void resolver_free(struct resolver *resolver);
/* family: AF_UNSPEC, AF_INET, AF_INET6. The answer's letter goes to mailbox. Ports are 0. */
void resolver_ask(struct resolver *resolver, const char *host, int family, struct task_key key,
		  uint64_t run, int type, struct mailbox *mailbox);
/* A question of that run whose turn has not come is dropped; nobody waits for it. */
void resolver_forget(struct resolver *resolver, uint64_t job, uint64_t run);
/*
 * A literal address at once, without a thread ("fe80::1%eth0" included): 1 and *ret_address, 0
 * where the text is a name, -EAFNOSUPPORT for an address of the other family.
 */
int address_parse(const char *host, int family, struct sockaddr_storage *ret_address);
/* "192.0.2.1", "fe80::1%eth0"; returns buffer. */
enum { ADDRESS_TEXT_MAX = 64 };
const char *address_text(const struct sockaddr_storage *address,
			 char buffer[static ADDRESS_TEXT_MAX]);
