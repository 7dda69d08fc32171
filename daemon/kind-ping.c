/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kind ping: is it there, and how far away? Without count, up to four requests until the first
 * reply; with it, so many whatever comes back. A success that is a share needs a number of
 * requests, so it makes all four as well.
 */
#include "daemon/kind-ping.h"

#include "common/targets.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/ping-engine.h"
#include "daemon/resolver.h"

#include <net/if.h>

enum {
	REQUESTS_DEFAULT = 4,
	/* Open requests of one target at a time: sequence numbers are few, and shared */
	OPEN_MAX = 1024,
};

static const char *const families[] = {"ipv4", "ipv6", NULL};

#define AT(member) offsetof(struct ping_options, member)
#define DAY_US     (86400 * US_PER_SEC)

static const struct field fields[] = {
	{"count", FIELD_INT, AT(count), 0, 1000000000, -1, NULL},
	{"intervalUsec", FIELD_INT, AT(interval_us), US_PER_MS, DAY_US, US_PER_SEC, NULL},
	{"replyTimeoutUsec", FIELD_INT, AT(reply_timeout_us), US_PER_MS, 60 * US_PER_SEC,
	 US_PER_SEC, NULL},
	{"size", FIELD_INT, AT(size), 0, PING_PAYLOAD_MAX, 56, NULL},
	{"ttl", FIELD_INT, AT(ttl), 1, 255, PING_TTL_DEFAULT, NULL},
	{"dontFragment", FIELD_BOOL, AT(is_dont_fragment), 0, 0, 0, NULL},
	{"allAddresses", FIELD_BOOL, AT(is_all_addresses), 0, 0, 0, NULL},
	{"family", FIELD_WORD, AT(family_word), 0, 0, -1, families},
	{"source", FIELD_STRING, AT(source), 0, ADDRESS_TEXT_MAX, 0, NULL},
	{"success", FIELD_STRING, AT(success), 0, UNITS_TEXT_MAX, 0, NULL},
	{"maxLossPercent", FIELD_INT, AT(max_loss), 0, 99, -1, NULL},
	{"maxRttUsec", FIELD_INT, AT(max_rtt_us), 1, 60 * US_PER_SEC, 0, NULL},
	{"periodUsec", FIELD_INT, AT(period_us), US_PER_SEC, 30 * DAY_US, 0, NULL},
	{"onChange", FIELD_BOOL, AT(is_on_change), 0, 0, 0, NULL},
	{"downAfter", FIELD_INT, AT(down_after), 1, 1000, 3, NULL},
	{"upAfter", FIELD_INT, AT(up_after), 1, 1000, 2, NULL},
	{"tos", FIELD_INT, AT(tos), 0, UINT8_MAX, 0, NULL},
	{"mark", FIELD_INT, AT(mark), 1, UINT32_MAX, 0, NULL},
	{"rate", FIELD_INT, AT(rate), 1, 10000000, 0, NULL},
	{"addresses", FIELD_MAP, AT(addresses), 0, TARGET_TEXT_MAX - 1, 0, NULL},
};

#undef DAY_US
#undef AT

/* --- Options --- */

static int check_success(struct ping_options *options, struct error *ret_error)
{
	const char *success = options->success ? options->success : "any";

	if (options->success && options->max_loss >= 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, "maxLossPercent",
				 "maxLossPercent: it does not go together with --success, which "
				 "says the same");
	if (options->max_loss >= 0)
		options->success_percent = 100 - (int)options->max_loss;
	else if (streq(success, "any"))
		options->success_percent = 0;
	else if (streq(success, "all"))
		options->success_percent = 100;
	else if (percent_parse(success, &options->success_percent) < 0 ||
		 options->success_percent == 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, "success",
				 "success: '%s' is none of any, all, and 1%% to 100%%", success);
	if (options->count < 0 && (options->period_us > 0 || options->is_on_change))
		return error_set(ret_error, ERROR_INVALID_OPTION, "count",
				 "--%s goes on for a while: say how many requests with --count, or "
				 "0 for until it is stopped",
				 options->is_on_change ? "on-change" : "period");
	options->is_until_reply = options->count < 0 && options->success_percent == 0;
	options->requests = options->count > 0    ? options->count
			    : options->count == 0 ? INT64_MAX
						  : REQUESTS_DEFAULT;
	return 0;
}

/* An address settles the family; anything else is the name of an interface, which may come later.
 */
static int check_source(struct ping_options *options, struct error *ret_error)
{
	struct sockaddr_storage address;

	options->family = options->family_word < 0    ? AF_UNSPEC
			  : options->family_word == 0 ? AF_INET
						      : AF_INET6;
	if (!options->source)
		return 0;
	switch (address_parse(options->source, options->family, &address)) {
	case 1:
		memcpy(&options->source_address, &address, sizeof(options->source_address));
		options->family = address.ss_family;
		return 0;
	case 0:
		if (options->source[0] != '\0' && strlen(options->source) < IF_NAMESIZE)
			return 0;
		return error_set(ret_error, ERROR_INVALID_OPTION, "source",
				 "source: '%s' is neither an address nor the name of an interface",
				 options->source);
	default:
		return error_set(ret_error, ERROR_INVALID_OPTION, "source",
				 "source: '%s' is not an IPv%c address, as -%c asks for",
				 options->source, options->family == AF_INET ? '4' : '6',
				 options->family == AF_INET ? '4' : '6');
	}
}

static unsigned ping_in_flight_max(const struct config *config)
{
	return (unsigned)config->ping_parallel;
}

/* --- Targets --- */

const char *ping_address_refusal(const union ping_address *address)
{
	in_addr_t v4 = ntohl(address->v4.sin_addr.s_addr);

	if (address->any.sa_family == AF_INET)
		return v4 == INADDR_ANY         ? "is the unspecified address"
		       : v4 == INADDR_BROADCAST ? "is the broadcast address"
		       : IN_MULTICAST(v4)       ? "is a multicast address"
						: NULL;
	return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr) ? "is the unspecified address"
	       : IN6_IS_ADDR_MULTICAST(&address->v6.sin6_addr) ? "is a multicast address"
							       : NULL;
}

static int split_host(const char *target, char ret_host[static TARGET_TEXT_MAX],
		      struct error *ret_error)
{
	struct target_parts parts;

	if (target_split(target, &parts) < 0)
		return error_set(ret_error, ERROR_INVALID_TARGET, target,
				 "'%s' is neither a host name nor an address", target);
	if (parts.user[0] != '\0' || parts.port != 0)
		return error_set(ret_error, ERROR_INVALID_TARGET, target,
				 "'%s': ping knows no %s; give '%s' alone", target,
				 parts.port != 0 ? "ports" : "users", parts.host);
	memcpy(ret_host, parts.host, sizeof(parts.host));
	return 0;
}

int ping_host_of(const struct ping_options *options, const char *target,
		 char ret_host[static TARGET_TEXT_MAX], struct error *ret_error)
{
	return split_host(string_map_find(&options->addresses, target, target), ret_host,
			  ret_error);
}

static int ping_target_check(const char *target, struct error *ret_error)
{
	char host[TARGET_TEXT_MAX];
	struct sockaddr_storage storage;
	union ping_address address;
	const char *refusal;
	int r = split_host(target, host, ret_error);

	if (r < 0)
		return r;
	if (address_parse(host, AF_UNSPEC, &storage) == 0)
		return 0;
	memcpy(&address, &storage, sizeof(address));
	refusal = ping_address_refusal(&address);
	if (refusal)
		return error_set(ret_error, ERROR_INVALID_TARGET, target,
				 "'%s' %s; name a single host", target, refusal);
	return 0;
}

static int check_addresses(const struct ping_options *options, struct error *ret_error)
{
	const struct string_entry *entry, *next;
	int r;

	HASH_ITER (hh, options->addresses.entries, entry, next) {
		r = ping_target_check(entry->text, ret_error);
		if (r < 0)
			return r;
	}
	return 0;
}

static int ping_options_check(void *context, const struct config *config, bool is_trusted,
			      struct error *ret_error)
{
	struct ping_options *options = context;
	int r;

	(void)config;
	(void)is_trusted;
	if (options->is_all_addresses && (options->period_us > 0 || options->is_on_change))
		return error_set(ret_error, ERROR_INVALID_OPTION, "allAddresses",
				 "allAddresses: a host that is watched has one address: watch "
				 "each by its own");
	if (options->reply_timeout_us / options->interval_us >= OPEN_MAX)
		return error_set(ret_error, ERROR_INVALID_OPTION, "intervalUsec",
				 "more than %d requests to one target would be open at a time; "
				 "lengthen the interval or shorten the reply time-out",
				 OPEN_MAX);
	r = check_success(options, ret_error);
	if (r == 0)
		r = check_source(options, ret_error);
	return r < 0 ? r : check_addresses(options, ret_error);
}

/* What goes on until it is stopped must leave places for others. */
static int ping_count_check(const void *context, uint64_t count, const struct config *config,
			    struct error *ret_error)
{
	const struct ping_options *options = context;
	uint64_t most = (uint64_t)config->ping_parallel / 2;

	if (options->requests != INT64_MAX || count <= most)
		return 0;
	return error_set(ret_error, ERROR_LIMIT_REACHED, "ping-parallel",
			 "%llu targets until stopped would leave others no place: at most %llu, "
			 "half of ping-parallel in jobd.conf",
			 (unsigned long long)count, (unsigned long long)most);
}

/* With a rate: enough tasks to keep it up, each sending once an interval, and some to spare. */
static uint64_t ping_job_parallel(const void *context)
{
	const struct ping_options *options = context;
	int64_t each_us = options->interval_us > options->reply_timeout_us
				  ? options->interval_us
				  : options->reply_timeout_us;

	if (options->rate == 0)
		return 0;
	return (uint64_t)(2 * options->rate * each_us / US_PER_SEC) + 64;
}

const struct kind kind_ping = {
	.name = "ping",
	.placement = PLACE_ALONE,
	.is_repeatable = true,
	.in_flight_max = ping_in_flight_max,
	.fields = fields,
	.field_count = ARRAY_SIZE(fields),
	.options_size = sizeof(struct ping_options),
	.options_check = ping_options_check,
	.target_check = ping_target_check,
	.count_check = ping_count_check,
	.job_parallel = ping_job_parallel,
	.engine_new = ping_engine_new,
	.engine_free = ping_engine_free,
	.configured = ping_configured,
	.job_adjusted = ping_job_adjusted,
	.task_start = ping_task_start,
	.task_stop = ping_task_stop,
	.target_stop = ping_target_stop,
	.is_plain = ping_is_plain,
	.task_resolved = ping_task_resolved,
	.task_output_stored = ping_task_output_stored,
};
