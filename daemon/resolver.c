/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads are started one by one, when a question finds no idle one, so that a jobd that is only
 * given addresses never has any. Jobs with questions stand in a ring: the names of one that nobody
 * can look up do not hold up another's. One lock guards the ring and the counts; a look-up holds
 * nothing.
 */
#include "daemon/resolver.h"

#include "common/hash.h"
#include "common/targets.h"
#include "common/util.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

enum { THREADS_DEFAULT = 4 };

struct question {
	TAILQ_ENTRY(question) link;
	struct mailbox *mailbox;
	struct resolver_answer
		*answer; /* made with the question: only look-up and filling are left */
	int family;
	char host[];
};

/* A job that has questions. */
struct asker {
	uint64_t job;
	UT_hash_handle hh;
	TAILQ_ENTRY(asker) link;
	TAILQ_HEAD(, question) questions;
};

struct resolver {
	pthread_mutex_t lock;
	pthread_cond_t is_asked;
	struct asker *askers;
	TAILQ_HEAD(, asker) ring; /* whose turn it is */
	size_t question_count;
	size_t idle; /* threads that wait */
	bool is_ending;
	unsigned thread_count, thread_max;
	pthread_t threads[];
};

/* --- A look-up --- */

static char *sentence_of(const char *host, int result, int error_number)
{
	const char *reason =
		result == EAI_SYSTEM ? strerrordesc_np(error_number) : gai_strerror(result);

	return xasprintf("cannot resolve '%s': %s; check the spelling and the DNS", host,
			 reason ? reason : "unknown error");
}

static void look_up(const struct question *question)
{
	/* One socket type, or each address would come once for every type. */
	struct addrinfo hints = {.ai_family = question->family, .ai_socktype = SOCK_DGRAM};
	struct resolver_answer *answer = question->answer;
	struct addrinfo *found = NULL;
	int r;

	if (target_host_is_octal(question->host)) {
		answer->error = xasprintf("'%s' would be another address, since a leading zero "
					  "makes it octal: leave it out",
					  question->host);
		return;
	}
	r = getaddrinfo(question->host, NULL, &hints, &found);
	if (r != 0) {
		answer->error = sentence_of(question->host, r, errno);
		return;
	}
	for (const struct addrinfo *a = found; a && answer->count < RESOLVER_ADDRESSES_MAX;
	     a = a->ai_next)
		memcpy(&answer->addresses[answer->count++], a->ai_addr, a->ai_addrlen);
	freeaddrinfo(found);
}

static void question_free(struct question *question)
{
	free(question->answer);
	free(question);
}

/* --- The ring; with the lock held --- */

static void add_question(struct resolver *resolver, struct question *question)
{
	uint64_t job = question->answer->key.job;
	struct asker *asker = NULL;

	HASH_FIND(hh, resolver->askers, &job, sizeof(job), asker);
	if (!asker) {
		asker = xcalloc(1, sizeof(*asker));
		asker->job = job;
		TAILQ_INIT(&asker->questions);
		HASH_ADD(hh, resolver->askers, job, sizeof(asker->job), asker);
		TAILQ_INSERT_TAIL(&resolver->ring, asker, link);
	}
	TAILQ_INSERT_TAIL(&asker->questions, question, link);
	resolver->question_count++;
}

static void remove_question(struct resolver *resolver, struct asker *asker,
			    struct question *question)
{
	TAILQ_REMOVE(&asker->questions, question, link);
	resolver->question_count--;
	if (!TAILQ_EMPTY(&asker->questions))
		return;
	TAILQ_REMOVE(&resolver->ring, asker, link);
	HASH_DEL(resolver->askers, asker);
	free(asker);
}

/* Of the job whose turn it is; the next time it is another's. */
static struct question *next_question(struct resolver *resolver)
{
	struct asker *asker = TAILQ_FIRST(&resolver->ring);
	struct question *question = TAILQ_FIRST(&asker->questions);

	TAILQ_REMOVE(&resolver->ring, asker, link);
	TAILQ_INSERT_TAIL(&resolver->ring, asker, link);
	remove_question(resolver, asker, question);
	return question;
}

/* --- The threads --- */

/* The next question, or NULL at the end. */
static struct question *take_question(struct resolver *resolver)
{
	struct question *question = NULL;

	(void)pthread_mutex_lock(&resolver->lock);
	resolver->idle++;
	while (!resolver->is_ending && TAILQ_EMPTY(&resolver->ring))
		(void)pthread_cond_wait(&resolver->is_asked, &resolver->lock);
	resolver->idle--;
	if (!resolver->is_ending)
		question = next_question(resolver);
	(void)pthread_mutex_unlock(&resolver->lock);
	return question;
}

static void *thread_main(void *context)
{
	struct question *question;

	while ((question = take_question(context))) {
		look_up(question);
		mailbox_put_one(question->mailbox, &question->answer->letter);
		question->answer = NULL;
		question_free(question);
	}
	return NULL;
}

/* --- The pool --- */

int resolver_new(unsigned threads, struct resolver **ret_resolver)
{
	unsigned thread_max = threads > 0 ? threads : THREADS_DEFAULT;
	struct resolver *resolver =
		xcalloc(1, sizeof(*resolver) + thread_max * sizeof(resolver->threads[0]));

	resolver->thread_max = thread_max;
	TAILQ_INIT(&resolver->ring);
	if (pthread_mutex_init(&resolver->lock, NULL) != 0 ||
	    pthread_cond_init(&resolver->is_asked, NULL) != 0)
		abort();
	*ret_resolver = resolver;
	return 0;
}

/* With the lock held. Signals are main's. */
static int start_thread(struct resolver *resolver)
{
	pthread_t *thread = &resolver->threads[resolver->thread_count];
	sigset_t all, old;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = -pthread_create(thread, NULL, thread_main, resolver);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r < 0)
		return r;
	(void)pthread_setname_np(*thread, "resolver");
	resolver->thread_count++;
	return 0;
}

/*
 * False where there is no thread and none can be had: nobody would ever answer. One that cannot be
 * had beside others is no loss, they come to the question in their turn.
 */
static bool queue_question(struct resolver *resolver, struct question *question)
{
	bool is_queued = true;

	(void)pthread_mutex_lock(&resolver->lock);
	assert(!resolver->is_ending);
	if (resolver->question_count >= resolver->idle &&
	    resolver->thread_count < resolver->thread_max)
		is_queued = start_thread(resolver) == 0 || resolver->thread_count > 0;
	if (is_queued) {
		add_question(resolver, question);
		(void)pthread_cond_signal(&resolver->is_asked);
	}
	(void)pthread_mutex_unlock(&resolver->lock);
	return is_queued;
}

void resolver_ask(struct resolver *resolver, const char *host, int family, struct task_key key,
		  uint64_t run, int type, struct mailbox *mailbox)
{
	size_t size = strlen(host) + 1;
	struct question *question = xcalloc(1, sizeof(*question) + size);
	struct resolver_answer *answer = xcalloc(1, sizeof(*answer));

	answer->type = type;
	answer->key = key;
	answer->run = run;
	question->mailbox = mailbox;
	question->answer = answer;
	question->family = family;
	memcpy(question->host, host, size);
	if (queue_question(resolver, question))
		return;
	question->answer = NULL;
	question_free(question);
	answer->error = xasprintf("cannot resolve '%s': jobd can have no thread for it; raise its "
				  "limit of tasks (TasksMax, ulimit -u)",
				  host);
	mailbox_put_one(mailbox, &answer->letter);
}

void resolver_forget(struct resolver *resolver, uint64_t job, uint64_t run)
{
	struct question *question = NULL;
	struct asker *asker = NULL;

	(void)pthread_mutex_lock(&resolver->lock);
	HASH_FIND(hh, resolver->askers, &job, sizeof(job), asker);
	if (asker) {
		TAILQ_FOREACH (question, &asker->questions, link)
			if (question->answer->run == run)
				break;
		if (question)
			remove_question(resolver, asker, question);
	}
	(void)pthread_mutex_unlock(&resolver->lock);
	if (question)
		question_free(question);
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	(void)pthread_mutex_lock(&resolver->lock);
	resolver->is_ending = true;
	(void)pthread_cond_broadcast(&resolver->is_asked);
	(void)pthread_mutex_unlock(&resolver->lock);
	for (unsigned i = 0; i < resolver->thread_count; i++)
		(void)pthread_join(resolver->threads[i], NULL);
	while (!TAILQ_EMPTY(&resolver->ring))
		question_free(next_question(resolver));
	(void)pthread_cond_destroy(&resolver->is_asked);
	(void)pthread_mutex_destroy(&resolver->lock);
	free(resolver);
}

/* --- Literal addresses --- */

/* The zone of RFC 4007: an interface's name or number. 0: there is no such interface. */
static unsigned zone_parse(const char *zone)
{
	unsigned index = if_nametoindex(zone);
	char *end;
	unsigned long number;

	if (index > 0 || !isdigit((unsigned char)*zone))
		return index;
	number = strtoul(zone, &end, 10);
	return *end == '\0' && number <= UINT32_MAX ? (unsigned)number : 0;
}

/* False where it is no IPv6 address. */
static bool parse_ipv6(const char *host, struct sockaddr_in6 *ret_address)
{
	const char *percent = strchrnul(host, '%');
	size_t length = (size_t)(percent - host);
	char digits[INET6_ADDRSTRLEN];

	if (length >= sizeof(digits))
		return false;
	memcpy(digits, host, length);
	digits[length] = '\0';
	if (inet_pton(AF_INET6, digits, &ret_address->sin6_addr) != 1)
		return false;
	ret_address->sin6_family = AF_INET6;
	if (*percent == '%')
		ret_address->sin6_scope_id = zone_parse(percent + 1);
	return *percent == '\0' || ret_address->sin6_scope_id > 0;
}

int address_parse(const char *host, int family, struct sockaddr_storage *ret_address)
{
	struct sockaddr_storage address = {0};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;

	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1)
		v4->sin_family = AF_INET;
	else if (!parse_ipv6(host, (struct sockaddr_in6 *)&address))
		return 0;
	if (family != AF_UNSPEC && family != address.ss_family)
		return -EAFNOSUPPORT;
	*ret_address = address;
	return 1;
}

/*
 * The text goes into JSON and onto terminals, and the kernel lets an interface's name hold nearly
 * any byte: one with an unusual byte is shown by its number.
 */
static bool is_plain_name(const char *name)
{
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("._-:@", *name))
			return false;
	return true;
}

const char *address_text(const struct sockaddr_storage *address,
			 char buffer[static ADDRESS_TEXT_MAX])
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	char name[IF_NAMESIZE];
	size_t length;

	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

		return inet_ntop(AF_INET, &v4->sin_addr, buffer, ADDRESS_TEXT_MAX);
	}
	assert(address->ss_family == AF_INET6);
	(void)inet_ntop(AF_INET6, &v6->sin6_addr, buffer, ADDRESS_TEXT_MAX);
	if (v6->sin6_scope_id == 0)
		return buffer;
	length = strlen(buffer);
	if (if_indextoname(v6->sin6_scope_id, name) && is_plain_name(name))
		(void)snprintf(buffer + length, ADDRESS_TEXT_MAX - length, "%%%s", name);
	else
		(void)snprintf(buffer + length, ADDRESS_TEXT_MAX - length, "%%%u",
			       v6->sin6_scope_id);
	return buffer;
}
