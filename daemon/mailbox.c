/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

int mailbox_init(struct mailbox *mailbox)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	mailbox->fd = fd;
	STAILQ_INIT(&mailbox->letters);
	if (pthread_mutex_init(&mailbox->lock, NULL) != 0)
		abort();
	return 0;
}

void mailbox_done(struct mailbox *mailbox)
{
	assert(STAILQ_EMPTY(&mailbox->letters));
	(void)close(mailbox->fd);
	(void)pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_put(struct mailbox *mailbox, struct letters *letters)
{
	bool was_empty;

	if (STAILQ_EMPTY(letters))
		return;
	(void)pthread_mutex_lock(&mailbox->lock);
	was_empty = STAILQ_EMPTY(&mailbox->letters);
	STAILQ_CONCAT(&mailbox->letters, letters);
	/* Under the lock, so that a take in between cannot clear a signal whose letters it leaves.
	 */
	if (was_empty && eventfd_write(mailbox->fd, 1) != 0)
		abort();
	(void)pthread_mutex_unlock(&mailbox->lock);
}

void mailbox_put_one(struct mailbox *mailbox, struct letter *letter)
{
	struct letters one = STAILQ_HEAD_INITIALIZER(one);

	STAILQ_INSERT_TAIL(&one, letter, link);
	mailbox_put(mailbox, &one);
}

struct letter *mailbox_take_one(struct mailbox *mailbox)
{
	struct letter *letter;
	eventfd_t ignored;

	(void)pthread_mutex_lock(&mailbox->lock);
	letter = STAILQ_FIRST(&mailbox->letters);
	if (letter)
		STAILQ_REMOVE_HEAD(&mailbox->letters, link);
	if (STAILQ_EMPTY(&mailbox->letters))
		(void)eventfd_read(mailbox->fd, &ignored);
	(void)pthread_mutex_unlock(&mailbox->lock);
	return letter;
}

void mailbox_take(struct mailbox *mailbox, struct letters *ret_letters)
{
	eventfd_t ignored;

	STAILQ_INIT(ret_letters);
	(void)pthread_mutex_lock(&mailbox->lock);
	STAILQ_CONCAT(ret_letters, &mailbox->letters);
	(void)eventfd_read(mailbox->fd, &ignored);
	(void)pthread_mutex_unlock(&mailbox->lock);
}
