/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An ICMP error is evidence of why there was no reply, never an answer by itself: anybody can send
 * one, and hosts that cannot be reached often cause none, since routers limit their rate.
 */
#include "daemon/ping-result.h"

#include "common/units.h"
#include "common/util.h"
#include "daemon/json-text.h"
#include "daemon/ping-engine.h"
#include "daemon/resolver.h"

#include <assert.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>

enum {
	V4 = SO_EE_ORIGIN_ICMP,
	V6 = SO_EE_ORIGIN_ICMP6,
	ANY_CODE = 0xff,
	SOURCE_POLICY = 5, /* RFC 4443 3.1; netinet/icmp6.h has no names for them */
	REJECT_ROUTE = 6,
	V4_OVERHEAD = 20 + ECHO_HEADER_SIZE,
	V6_OVERHEAD = 40 + ECHO_HEADER_SIZE,
};

#define ROUTES  "look at the routes there"
#define DOWN    "it is down, or not there"
#define REJECTS "a packet filter there rejects echo requests"
#define FILTER  "a packet filter there forbids echo requests"
#define LOOP    "the routes make a loop, or --ttl is too small"
#define SOURCE  "send from another address with --source"
#define MANGLED "look at what changes packets on the way"

/* RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1; RFC 4443. Without a word of its own: prohibited. */
static const struct {
	uint8_t origin, type, code;
	const char *what, *advice;
} icmp_errors[] = {
	{V4, ICMP_DEST_UNREACH, ICMP_NET_UNREACH, "network unreachable", ROUTES},
	{V4, ICMP_DEST_UNREACH, ICMP_HOST_UNREACH, "host unreachable", DOWN},
	{V4, ICMP_DEST_UNREACH, ICMP_PROT_UNREACH, "protocol unreachable", REJECTS},
	{V4, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, "port unreachable", REJECTS},
	{V4, ICMP_DEST_UNREACH, ICMP_SR_FAILED, "source route failed", ROUTES},
	{V4, ICMP_DEST_UNREACH, ICMP_NET_UNKNOWN, "network unknown", ROUTES},
	{V4, ICMP_DEST_UNREACH, ICMP_HOST_UNKNOWN, "host unknown", DOWN},
	{V4, ICMP_DEST_UNREACH, ICMP_HOST_ISOLATED, "host isolated", DOWN},
	{V4, ICMP_DEST_UNREACH, ICMP_NET_ANO, NULL, FILTER},
	{V4, ICMP_DEST_UNREACH, ICMP_HOST_ANO, NULL, FILTER},
	{V4, ICMP_DEST_UNREACH, ICMP_NET_UNR_TOS, "network unreachable (type of service)", ROUTES},
	{V4, ICMP_DEST_UNREACH, ICMP_HOST_UNR_TOS, "host unreachable (type of service)", ROUTES},
	{V4, ICMP_DEST_UNREACH, ICMP_PKT_FILTERED, NULL, FILTER},
	{V4, ICMP_DEST_UNREACH, ICMP_PREC_VIOLATION, NULL, FILTER},
	{V4, ICMP_DEST_UNREACH, ICMP_PREC_CUTOFF, NULL, FILTER},
	{V4, ICMP_TIME_EXCEEDED, ICMP_EXC_TTL, "time to live exceeded", LOOP},
	{V4, ICMP_TIME_EXCEEDED, ICMP_EXC_FRAGTIME, "fragments were lost", "lower --size"},
	{V4, ICMP_PARAMETERPROB, ANY_CODE, "bad IP header", MANGLED},
	{V6, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_NOROUTE, "network unreachable", ROUTES},
	{V6, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADMIN, NULL, FILTER},
	{V6, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_BEYONDSCOPE, "beyond the source's scope", SOURCE},
	{V6, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADDR, "host unreachable", DOWN},
	{V6, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_NOPORT, "port unreachable", REJECTS},
	{V6, ICMP6_DST_UNREACH, SOURCE_POLICY, "the source address failed a policy", SOURCE},
	{V6, ICMP6_DST_UNREACH, REJECT_ROUTE, "reject route", ROUTES},
	{V6, ICMP6_TIME_EXCEEDED, ICMP6_TIME_EXCEED_TRANSIT, "hop limit exceeded", LOOP},
	{V6, ICMP6_TIME_EXCEEDED, ICMP6_TIME_EXCEED_REASSEMBLY, "fragments were lost",
	 "lower --size"},
	{V6, ICMP6_PARAM_PROB, ANY_CODE, "bad IPv6 header", MANGLED},
};

/* What this machine itself said when it was to send. */
static const struct {
	int error;
	const char *what;
} local_errors[] = {
	{EHOSTUNREACH, "is unreachable by this machine's routes"},
	{ENETUNREACH, "is on a network to which this machine has no route"},
	{EACCES, "is prohibited by this machine's routes, or is a broadcast address"},
	{EINVAL, "is in a blackhole of this machine's routes"},
	{EADDRNOTAVAIL, "cannot be reached from any address of this machine"},
	{ENETDOWN, "is behind an interface that is down"},
	{ENODEV, "is behind an interface that is gone"},
};

/* --- Sentences --- */

const char *ping_address_text(const union ping_address *address,
			      char buffer[static ADDRESS_TEXT_MAX])
{
	struct sockaddr_storage storage = {0};

	memcpy(&storage, address, sizeof(*address));
	return address_text(&storage, buffer);
}

/*
 * "Host unreachable" from ourselves is how the kernel reports that nobody answered ARP (RFC 826) or
 * neighbour discovery (RFC 4861). Ourselves: the address from which we would send.
 */
static bool is_neighbour_failure(const struct ping_task *task)
{
	const struct ping_trouble *trouble = &ping_task_oddities(task)->trouble;
	bool is_v4 = task->address.any.sa_family == AF_INET;
	socklen_t size = is_v4 ? sizeof(task->address.v4) : sizeof(task->address.v6);
	union ping_address target = task->address, own = {0};
	autoclose int fd = -1;

	if (is_v4 ? trouble->type != ICMP_DEST_UNREACH || trouble->code != ICMP_HOST_UNREACH
		  : trouble->type != ICMP6_DST_UNREACH || trouble->code != ICMP6_DST_UNREACH_ADDR)
		return false;
	fd = socket(target.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	target.v4.sin_port =
		htons(9); /* discard; nothing is sent. The place of sin6_port is the same */
	if (fd < 0 || connect(fd, &target.any, size) < 0 || getsockname(fd, &own.any, &size) < 0)
		return false;
	return is_v4 ? own.v4.sin_addr.s_addr == trouble->offender.v4.sin_addr.s_addr
		     : IN6_ARE_ADDR_EQUAL(&own.v6.sin6_addr, &trouble->offender.v6.sin6_addr);
}

static char *icmp_sentence(const struct ping_task *task)
{
	const struct ping_trouble *trouble = &ping_task_oddities(task)->trouble;
	char buffer[ADDRESS_TEXT_MAX];
	const char *offender = trouble->offender.any.sa_family == AF_UNSPEC
				       ? "a router"
				       : ping_address_text(&trouble->offender, buffer);

	if (is_neighbour_failure(task))
		return xasprintf(
			"nobody has this address on the network of %s; the host is down, or "
			"the address is wrong",
			offender);
	for (size_t i = 0; i < ARRAY_SIZE(icmp_errors); i++) {
		if (icmp_errors[i].origin != trouble->origin ||
		    icmp_errors[i].type != trouble->type ||
		    (icmp_errors[i].code != trouble->code && icmp_errors[i].code != ANY_CODE))
			continue;
		if (!icmp_errors[i].what)
			return xasprintf("administratively prohibited by %s; %s", offender,
					 icmp_errors[i].advice);
		return xasprintf("%s, says %s; %s", icmp_errors[i].what, offender,
				 icmp_errors[i].advice);
	}
	return xasprintf("ICMP error of type %u, code %u, says %s", trouble->type, trouble->code,
			 offender);
}

static char *size_sentence(const struct ping_task *task)
{
	const struct ping_trouble *trouble = &ping_task_oddities(task)->trouble;
	bool is_v4 = task->address.any.sa_family == AF_INET;
	uint32_t overhead = is_v4 ? V4_OVERHEAD : V6_OVERHEAD;
	char buffer[ADDRESS_TEXT_MAX];
	const char *offender = trouble->offender.any.sa_family == AF_UNSPEC
				       ? "this machine"
				       : ping_address_text(&trouble->offender, buffer);

	if (trouble->mtu <= overhead)
		return xasprintf("too big for the path, says %s; lower --size", offender);
	return xasprintf("too big for the path, whose MTU is %u, says %s; lower --size to %u",
			 trouble->mtu, offender, trouble->mtu - overhead);
}

static bool is_foreign(const union ping_address *address)
{
	bool is_v4 = address->any.sa_family == AF_INET;
	autoclose int fd = socket(address->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return bind(fd, &address->any, is_v4 ? sizeof(address->v4) : sizeof(address->v6)) < 0 &&
	       errno == EADDRNOTAVAIL;
}

static char *local_sentence(const struct ping_task *task)
{
	int error = ping_task_oddities(task)->trouble.error;
	char buffer[ADDRESS_TEXT_MAX];
	const char *address = ping_address_text(&task->address, buffer);
	const union ping_address *source = &task->options->source_address;

	if (error == EPERM && task->options->mark != 0)
		return xasprintf("jobd may not set --mark, for which it needs CAP_NET_ADMIN, or a "
				 "firewall of this machine does not let out what goes to %s",
				 address);
	if (error == EPERM)
		return xasprintf("a firewall of this machine does not let out what goes to %s; "
				 "`nft list ruleset` shows it",
				 address);
	if (source->any.sa_family != AF_UNSPEC && is_foreign(source))
		return xasprintf(
			"%s is no address of this machine to send from; `ip address` shows "
			"which there are",
			task->options->source);
	for (size_t i = 0; i < ARRAY_SIZE(local_errors); i++)
		if (local_errors[i].error == error)
			return xasprintf("%s %s; see `ip route get %s`", address,
					 local_errors[i].what, address);
	return xasprintf("cannot send to %s: %s", address, strerrordesc_np(error));
}

static char *trouble_sentence(const struct ping_task *task)
{
	const struct ping_trouble *trouble = &ping_task_oddities(task)->trouble;

	if (trouble->error == EMSGSIZE)
		return size_sentence(task);
	return trouble->origin == SO_EE_ORIGIN_LOCAL ? local_sentence(task) : icmp_sentence(task);
}

char *ping_open_sentence(int family, int error)
{
	if (error == -EPERM)
		return xstrdup("jobd may not send ICMP: give it CAP_NET_RAW or widen "
			       "net.ipv4.ping_group_range");
	if (error == -EAFNOSUPPORT)
		return xasprintf("this machine has no %s; enable it, or name another address",
				 family == AF_INET ? "IPv4" : "IPv6");
	return xasprintf("cannot open a socket for ICMP: %s", strerrordesc_np(-error));
}

/* --- Outcomes --- */

/* What is hardly ever there stands there only when it is. */
static void add_count(struct json_text *text, const char *name, int64_t count)
{
	if (count > 0)
		json_text_member_number(text, name, count);
}

static void add_times(struct json_text *text, const struct ping_stats *rtt)
{
	json_text_member_number(text, "minUsec", rtt->min_us);
	json_text_member_number(text, "avgUsec", ping_stats_average_us(rtt));
	json_text_member_number(text, "maxUsec", rtt->max_us);
	if (rtt->count < 2)
		return;
	json_text_member_number(text, "stddevUsec", ping_stats_stddev_us(rtt));
	json_text_member_number(text, "medianUsec", ping_stats_percentile_us(rtt, 50));
	json_text_member_number(text, "p95Usec", ping_stats_percentile_us(rtt, 95));
	json_text_member_number(text, "jitterUsec", ping_stats_jitter_us(rtt));
}

/* PingResult of the interface. */
static char *result_json(const struct ping_task *task)
{
	const struct ping_oddities *odd = ping_task_oddities(task);
	char address[ADDRESS_TEXT_MAX];
	struct json_text text = {0};

	if (task->address.any.sa_family == AF_UNSPEC)
		return NULL;
	json_text_add(&text, "{");
	json_text_member_string(&text, "address", ping_address_text(&task->address, address));
	json_text_member_number(&text, "sent", task->sent);
	json_text_member_number(&text, "received", task->rtt.count);
	json_text_member_number(&text, "duplicates", odd->duplicates);
	add_count(&text, "late", odd->late);
	add_count(&text, "outOfOrder", odd->out_of_order);
	add_count(&text, "wrongSource", odd->wrong_source);
	add_count(&text, "corrupted", odd->corrupted);
	if (task->rtt.count > 0)
		add_times(&text, &task->rtt);
	if (task->ttl >= 0)
		json_text_member_number(&text, "ttl", task->ttl);
	json_text_add(&text, "}");
	return json_text_take(&text, NULL);
}

/* Are so many replies what the job calls success? */
static bool is_enough(const struct ping_task *task, int64_t replies)
{
	return replies > 0 &&
	       replies * 100 >= task->options->success_percent * task->options->requests;
}

/* What came back, and did not count, may be the trouble itself. */
static char *no_reply_sentence(const struct ping_task *task)
{
	const struct ping_oddities *odd = ping_task_oddities(task);
	char stranger[ADDRESS_TEXT_MAX];
	long long sent = task->sent;

	if (odd->wrong_source > 0)
		return xasprintf("no reply (%lld sent), but %lld from %s: ping that address, or "
				 "look at who answers for it",
				 sent, (long long)odd->wrong_source,
				 ping_address_text(&odd->stranger, stranger));
	if (odd->corrupted > 0)
		return xasprintf("no reply (%lld sent), but %lld damaged ones: " MANGLED, sent,
				 (long long)odd->corrupted);
	if (odd->late > 0)
		return xasprintf("no reply in time (%lld sent), but %lld late ones: allow more "
				 "with --reply-timeout",
				 sent, (long long)odd->late);
	return xasprintf("no reply (%lld sent)", sent);
}

static void explain_failure(const struct ping_task *task, struct outcome *outcome)
{
	const struct ping_options *options = task->options;
	char slowest[UNITS_TEXT_MAX], allowed[UNITS_TEXT_MAX];
	int error = ping_task_oddities(task)->trouble.error;

	if (is_enough(task, task->rtt.count)) {
		outcome->class = CLASS_TIMEOUT;
		outcome->message = xasprintf(
			"too slow: %lld of %lld replies within %s, the slowest took %s; allow more "
			"with --max-rtt",
			(long long)task->good, (long long)task->rtt.count,
			duration_text(options->max_rtt_us, allowed),
			duration_text(task->rtt.max_us, slowest));
	} else if (task->rtt.count > 0 && options->max_loss >= 0) {
		outcome->class = CLASS_NO_REPLY;
		outcome->message =
			xasprintf("%lld%% loss (%lld of %lld requests were answered), --max-loss "
				  "allows %lld%%",
				  (long long)(100 - task->rtt.count * 100 / options->requests),
				  (long long)task->rtt.count, (long long)options->requests,
				  (long long)options->max_loss);
	} else if (task->rtt.count > 0) {
		outcome->class = CLASS_NO_REPLY;
		outcome->message =
			xasprintf("%lld of %lld requests were answered, --success wants %d%%",
				  (long long)task->rtt.count, (long long)options->requests,
				  options->success_percent);
	} else if (error == EAGAIN || error == ENOBUFS || error == ENOMEM) {
		outcome->class = CLASS_INTERNAL;
		outcome->message =
			xasprintf("could not be sent for a long time: %s; lower --rate or "
				  "--parallel",
				  strerrordesc_np(error));
	} else if (error != 0) {
		outcome->class = CLASS_UNREACHABLE;
		outcome->message = trouble_sentence(task);
	} else {
		outcome->class = CLASS_NO_REPLY;
		outcome->message = no_reply_sentence(task);
	}
}

void ping_result(const struct ping_task *task, struct outcome *ret_outcome)
{
	*ret_outcome = (struct outcome){.state = TASK_SUCCEEDED, .result = result_json(task)};
	if (is_enough(task, task->good))
		return;
	ret_outcome->state = TASK_FAILED;
	explain_failure(task, ret_outcome);
}

void ping_result_cut_off(const struct ping_task *task, enum task_state state,
			 enum error_class class, char *message, struct outcome *ret_outcome)
{
	*ret_outcome = (struct outcome){
		.state = state,
		.class = class,
		.message = message,
		.result = result_json(task),
	};
}
