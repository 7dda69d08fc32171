/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pingrate engine|bare COUNT: pings COUNT addresses of 127.0.0.0/8 once and exits with 0 if all
 * answered. "engine" is jobd's, on its worker's thread, without main's jobs and store. "bare" is
 * the yardstick: the fewest system calls that send and read so many echo requests, nothing looked
 * at but the sequence number.
 */
#include "common/targets.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/kind.h"
#include "daemon/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/icmp.h>
#include <netinet/ip.h>

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

enum { IN_FLIGHT_MAX = 8192, SPAN = 1024, BATCH = 32, BUFFER = 32 << 20 };

static in_addr_t address_of(unsigned number)
{
	return htonl(0x7f000001 + number);
}

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "pingrate: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* --- The engine --- */

static struct job_options *options_new(const struct config *config)
{
	struct job_options *options = xcalloc(1, sizeof(*options));
	json_t *object = json_object();
	struct error error = {0};

	atomic_init(&options->references, 1);
	options->kind = &kind_ping;
	options->kind_options = xcalloc(1, kind_ping.options_size);
	if (fields_parse(kind_ping.fields, kind_ping.field_count, object, NULL,
			 options->kind_options, &error) < 0 ||
	    kind_ping.options_check(options->kind_options, config, true, &error) < 0)
		die(error.sentence);
	json_decref(object);
	return options;
}

static struct target_list *list_of(unsigned count)
{
	struct in_addr first = {address_of(0)}, last = {address_of(count - 1)};
	char text[2 * INET_ADDRSTRLEN + 1];
	const char *word = text;
	struct target_list *list;
	struct error error = {0};

	(void)inet_ntop(AF_INET, &first, text, INET_ADDRSTRLEN);
	(void)strcat(text, "-");
	(void)inet_ntop(AF_INET, &last, text + strlen(text), INET_ADDRSTRLEN);
	if (target_list_new(&word, 1, NULL, 0, count, &list, &error) < 0)
		die(error.sentence);
	return list;
}

/* As main hands them over: while there is room, a span at a time. */
static unsigned hand_over(struct workers *workers, unsigned started, unsigned ended,
			  struct job_options *options, struct target_list *list)
{
	struct task_batch batch = STAILQ_HEAD_INITIALIZER(batch);
	unsigned count = (unsigned)target_list_count(list);

	while (started < count && started - ended < IN_FLIGHT_MAX) {
		unsigned size = count - started < SPAN ? count - started : SPAN;
		struct task *task = task_new_span((struct task_key){1, started}, size, started + 1,
						  options, list);

		STAILQ_INSERT_TAIL(&batch, task, link);
		started += size;
	}
	workers_start(workers, 0, &batch);
	return started;
}

static unsigned run_engine(unsigned count)
{
	static const struct config config = {.workers = 1, .ping_rate = 0, .ping_parallel = 1};
	struct job_options *options = options_new(&config);
	struct target_list *list = list_of(count);
	unsigned started = 0, ended = 0, good = 0;
	struct workers *workers;
	struct mailbox reports;

	if (mailbox_init(&reports) < 0 || workers_new(&config, &reports, &workers) < 0)
		die("no threads");
	while (ended < count) {
		struct pollfd poll_fd = {.fd = reports.fd, .events = POLLIN};
		struct letters letters;
		struct letter *letter;

		started = hand_over(workers, started, ended, options, list);
		if (poll(&poll_fd, 1, -1) < 0)
			die("poll");
		mailbox_take(&reports, &letters);
		while ((letter = STAILQ_FIRST(&letters))) {
			struct report *report = (struct report *)letter;

			STAILQ_REMOVE_HEAD(&letters, link);
			for (size_t i = 0; i < report->ending_count; i++)
				good += report->endings[i].outcome.state == TASK_SUCCEEDED;
			ended += (unsigned)report->ending_count;
			report_free(report);
		}
	}
	workers_free(workers);
	mailbox_done(&reports);
	job_options_unref(options);
	target_list_free(list);
	return good;
}

/* --- The yardstick --- */

struct echo_request {
	struct icmphdr header;
	unsigned char payload[56];
};

struct echo_reply {
	struct iphdr ip; /* without options on loopback */
	struct icmphdr icmp;
};

static int open_socket(void)
{
	struct icmp_filter filter = {.data = ~(UINT32_C(1) << ICMP_ECHOREPLY)};
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	int size = BUFFER, on = 1;

	if (fd < 0 || setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof(filter)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
		die("cannot open a socket for ICMP");
	return fd;
}

static uint16_t checksum(const struct echo_request *request)
{
	const uint16_t *words = (const uint16_t *)(const void *)request;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*request) / sizeof(*words); i++)
		sum += words[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void send_batch(int fd, unsigned first, unsigned count)
{
	static struct echo_request requests[BATCH];
	struct sockaddr_in to[BATCH];
	struct mmsghdr headers[BATCH];
	struct iovec parts[BATCH];
	unsigned sent = 0;

	for (unsigned i = 0; i < count; i++) {
		requests[i].header = (struct icmphdr){.type = ICMP_ECHO};
		requests[i].header.un.echo.sequence = (uint16_t)(first + i);
		requests[i].header.checksum = checksum(&requests[i]);
		to[i] = (struct sockaddr_in){.sin_family = AF_INET,
					     .sin_addr.s_addr = address_of(first + i)};
		parts[i] = (struct iovec){&requests[i], sizeof(requests[i])};
		headers[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &to[i],
							  .msg_namelen = sizeof(to[i]),
							  .msg_iov = &parts[i],
							  .msg_iovlen = 1}};
	}
	while (sent < count) {
		int r = sendmmsg(fd, headers + sent, count - sent, 0);

		if (r < 0)
			die("sendmmsg");
		sent += (unsigned)r;
	}
}

static unsigned read_batch(int fd, int flags, bool is_answered[static UINT16_MAX + 1])
{
	struct echo_reply replies[BATCH];
	struct mmsghdr headers[BATCH];
	struct iovec parts[BATCH];
	char control[BATCH][64];
	unsigned good = 0;
	int count;

	for (unsigned i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){&replies[i], sizeof(replies[i])};
		headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i],
							  .msg_iovlen = 1,
							  .msg_control = control[i],
							  .msg_controllen = sizeof(control[i])}};
	}
	count = recvmmsg(fd, headers, BATCH, flags, NULL);
	for (int i = 0; i < count; i++) {
		uint16_t sequence = replies[i].icmp.un.echo.sequence;

		good += !is_answered[sequence];
		is_answered[sequence] = true;
	}
	return good;
}

static unsigned run_bare(unsigned count)
{
	static bool is_answered[UINT16_MAX + 1];
	int fd = open_socket();
	unsigned sent = 0, good = 0;

	while (sent < count) {
		unsigned size = count - sent < BATCH ? count - sent : BATCH;

		if (sent / (UINT16_MAX + 1) != (sent + size) / (UINT16_MAX + 1))
			memset(is_answered, 0, sizeof(is_answered));
		send_batch(fd, sent, size);
		sent += size;
		good += read_batch(fd, MSG_DONTWAIT, is_answered);
	}
	/* Loopback answers within the sending call: what is not there by now was dropped. */
	for (unsigned more = 1; good < count && more > 0; good += more)
		more = read_batch(fd, MSG_DONTWAIT, is_answered);
	(void)close(fd);
	return good;
}

int main(int argument_count, char **arguments)
{
	unsigned count = argument_count == 3 ? (unsigned)strtoul(arguments[2], NULL, 10) : 0;
	unsigned good;

	if (count == 0 || count > 1U << 24) {
		(void)fprintf(stderr, "usage: pingrate engine|bare COUNT\n");
		return 2;
	}
	good = streq(arguments[1], "engine") ? run_engine(count) : run_bare(count);
	if (good < count)
		(void)fprintf(stderr, "pingrate: %u of %u answered\n", good, count);
	return good < count;
}
