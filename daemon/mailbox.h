/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only lock of jobd: a list behind a mutex and an eventfd beside it. Many may put, one takes
 * in order. Messages are any struct that begins with STAILQ_ENTRY; what they own passes with
 * them.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

struct letter {
	STAILQ_ENTRY(letter) link;
};
STAILQ_HEAD(letters, letter);

struct mailbox {
	pthread_mutex_t lock;
	struct letters letters;
	int fd; /* readable while there is something to take; level-triggered, for an event loop */
};

/* 0 or a negative errno (no file descriptor left). */
int mailbox_init(struct mailbox *mailbox);
/* Nobody may use it any more; what is in it must have been taken. */
void mailbox_done(struct mailbox *mailbox);
/* Any thread. Takes over the whole list, which is empty afterwards. */
void mailbox_put(struct mailbox *mailbox, struct letters *letters);
void mailbox_put_one(struct mailbox *mailbox, struct letter *letter);
/* The owner. Everything that is there now, in order, into *ret_letters (initialised here). */
void mailbox_take(struct mailbox *mailbox, struct letters *ret_letters);
/* The first one, or NULL: for an owner that has other things to do in between. */
struct letter *mailbox_take_one(struct mailbox *mailbox);
