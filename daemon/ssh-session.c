/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session of libssh: how it is set up, and what its errors mean.
 *
 * No file is read for it: SSH_OPTIONS_HOST stays unset, or libssh would look into known_hosts files
 * for each session (and refuse host names with '_'); configuration is switched off; the folder and
 * the files that libssh insists on are named and are not there. The login name goes to
 * ssh_userauth_* directly, since SSH_OPTIONS_USER refuses some (DOMAIN\user).
 */
#include "daemon/kind-ssh.h"

#include "common/util.h"
#include "daemon/ssh-jump.h"
#include "daemon/ssh-known-hosts.h"
#include "daemon/ssh-pattern.h"

#include <libssh/server.h>
#include <stdio.h>

#define NOWHERE "/dev/null"

/* Cheapest first: a curve25519 exchange takes 0.4 ms, nistp256 the same, group 16 takes 16 ms. */
#define KEY_EXCHANGES                                                                            \
	"curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp521,"  \
	"ecdh-sha2-nistp384,diffie-hellman-group14-sha256,diffie-hellman-group-exchange-sha256," \
	"diffie-hellman-group16-sha512,diffie-hellman-group18-sha512"
#define CIPHERS                                                                                   \
	"chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr," \
	"aes192-ctr,aes128-ctr"
#define MACS \
	"hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"
#define USER_KEYS                                                                            \
	"ssh-ed25519-cert-v01@openssh.com,ecdsa-sha2-nistp521-cert-v01@openssh.com,"         \
	"ecdsa-sha2-nistp384-cert-v01@openssh.com,ecdsa-sha2-nistp256-cert-v01@openssh.com," \
	"rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,"               \
	"ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"           \
	"sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256"

#define OLD_KEY_EXCHANGES                                                  \
	",diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1," \
	"diffie-hellman-group1-sha1"
#define OLD_CIPHERS ",aes256-cbc,aes192-cbc,aes128-cbc,3des-cbc"
#define OLD_MACS    ",hmac-sha1-etm@openssh.com,hmac-sha1"

/* libssh takes whole lists only ("+diffie-hellman-group1-sha1" it refuses). */
static const struct {
	enum algorithm_list list;
	enum ssh_options_e option;
	const char *usual, *legacy;
} algorithms[] = {
	{LIST_KEY_EXCHANGE, SSH_OPTIONS_KEY_EXCHANGE, KEY_EXCHANGES,
	 KEY_EXCHANGES OLD_KEY_EXCHANGES},
	{LIST_CIPHER, SSH_OPTIONS_CIPHERS_C_S, CIPHERS, CIPHERS OLD_CIPHERS},
	{LIST_CIPHER, SSH_OPTIONS_CIPHERS_S_C, CIPHERS, CIPHERS OLD_CIPHERS},
	{LIST_MAC, SSH_OPTIONS_HMAC_C_S, MACS, MACS OLD_MACS},
	{LIST_MAC, SSH_OPTIONS_HMAC_S_C, MACS, MACS OLD_MACS},
	{LIST_USER_KEY, SSH_OPTIONS_PUBLICKEY_ACCEPTED_TYPES, USER_KEYS, USER_KEYS ",ssh-rsa"},
};

/* Types of keys as known_hosts has them, and the algorithms that use them. */
static const struct {
	const char *type, *usual, *legacy;
} host_keys[] = {
	{"ssh-ed25519", "ssh-ed25519", "ssh-ed25519"},
	{"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"},
	{"ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"},
	{"ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"},
	{"ssh-rsa", "rsa-sha2-512,rsa-sha2-256", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"},
};

enum { HOST_KEY_LIST_MAX = 256, LEGACY_RSA_BITS_MIN = 768, DISCONNECT_TOO_MANY = 12 };

/* --- Setting up --- */

static void note_type(const char *type, void *context)
{
	unsigned *known = context;

	for (size_t i = 0; i < ARRAY_SIZE(host_keys); i++)
		if (streq(host_keys[i].type, type))
			*known |= 1u << i;
}

/* Types that are known for the host first, so that a server with several keys shows one of these.
 */
static void host_key_list(struct visit *visit, char ret_list[static HOST_KEY_LIST_MAX])
{
	unsigned known = 0;
	size_t used = 0;

	if (visit->settings.host_key != HOST_KEY_OFF)
		known_hosts_types(visit->known_hosts, visit_key_name(visit), visit->port, note_type,
				  &known);
	for (unsigned is_known = 2; is_known-- > 0;)
		for (size_t i = 0; i < ARRAY_SIZE(host_keys); i++) {
			if ((known >> i & 1) != is_known)
				continue;
			used += (size_t)snprintf(ret_list + used, HOST_KEY_LIST_MAX - used, "%s%s",
						 used > 0 ? "," : "",
						 visit->options->is_legacy ? host_keys[i].legacy
									   : host_keys[i].usual);
		}
}

/* Is it in the list of names, or of patterns? */
static bool has_algorithm(const char *list, const char *name, size_t size)
{
	autofree char *text = strndup(name, size);

	return ssh_patterns_match(list, text) == PATTERNS_MATCH;
}

/* The names of `from` that are, or are not, in the list. */
static char *filter(const char *from, const char *list, bool is_wanted)
{
	char *whole = xcalloc(1, strlen(from) + 2);

	while (*from) {
		size_t size = strcspn(from, ",");

		if (has_algorithm(list, from, size) == is_wanted) {
			(void)strncat(whole, from, size);
			(void)strcat(whole, ",");
		}
		from += size + (from[size] == ',');
	}
	if (*whole)
		whole[strlen(whole) - 1] = '\0';
	return whole;
}

/* What ssh_config(5) says of KexAlgorithms and its like: "+more", "-less", "^first", or all. */
static char *algorithm_list(const char *usual, const char *given)
{
	autofree char *rest = NULL;

	if (!given)
		return xstrdup(usual);
	switch (given[0]) {
	case '+':
		return xasprintf("%s,%s", usual, given + 1);
	case '-':
		return filter(usual, given + 1, false);
	case '^':
		rest = filter(usual, given + 1, false);
		return xasprintf("%s,%s", given + 1, rest);
	default:
		return xstrdup(given);
	}
}

static int set_algorithms(struct visit *visit, ssh_session session)
{
	const int bits = LEGACY_RSA_BITS_MIN;
	bool is_legacy = visit->options->is_legacy;
	char usual[HOST_KEY_LIST_MAX];
	autofree char *host_keys_list = NULL;
	int r;

	host_key_list(visit, usual);
	host_keys_list = algorithm_list(usual, visit->settings.lists[LIST_HOST_KEY]);
	r = ssh_options_set(session, SSH_OPTIONS_HOSTKEYS, host_keys_list);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(algorithms); i++) {
		autofree char *list =
			algorithm_list(is_legacy ? algorithms[i].legacy : algorithms[i].usual,
				       visit->settings.lists[algorithms[i].list]);

		r = ssh_options_set(session, algorithms[i].option, list);
	}
	/* Whoever asks for SHA-1 signatures by RSA has a device that may have a short key, too. */
	if (r == 0 && (is_legacy || strstr(host_keys_list, ",ssh-rsa")))
		r = ssh_options_set(session, SSH_OPTIONS_RSA_MIN_SIZE, &bits);
	return r;
}

static int set_options(ssh_session session, int fd)
{
	const bool no = false;
	int r = ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no);

	if (r == 0)
		r = ssh_options_set(session, SSH_OPTIONS_SSH_DIR, NOWHERE);
	if (r == 0)
		r = ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, NOWHERE);
	if (r == 0)
		r = ssh_options_set(session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, NOWHERE);
	if (r == 0)
		r = ssh_options_set(session, SSH_OPTIONS_USER, "jobd");
	if (r == 0)
		r = ssh_options_set(session, SSH_OPTIONS_FD, &fd);
	return r;
}

int visit_open_session(struct visit *visit)
{
	ssh_session session = ssh_new();

	if (!session)
		abort(); /* out of memory */
	if (set_options(session, visit->fd) < 0 || set_algorithms(visit, session) < 0) {
		(void)visit_fail(visit, CLASS_PROTOCOL,
				 "the algorithms for %s are none that jobd has (%s): look at "
				 "--ssh-option and ssh_config",
				 visit->target.host, ssh_get_error(session));
		ssh_free(session);
		return -EINVAL;
	}
	ssh_set_blocking(session, 0);
	ssh_set_counters(session, &visit->moved, NULL);
	visit->session = session;
	return 0;
}

/* --- What errors mean --- */

bool visit_is_lost(const struct visit *visit)
{
	return visit->session &&
	       ((ssh_get_status(visit->session) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0 ||
		ssh_get_fd(visit->session) < 0);
}

/* What libssh calls the lists of a failed negotiation, and where ssh_config has them. */
static const struct {
	const char *method, *name, *keyword, *old;
} negotiated[] = {
	{"kex algos", "key exchange", "KexAlgorithms", OLD_KEY_EXCHANGES},
	{"server host key algo", "type of host key", "HostKeyAlgorithms", ",ssh-rsa"},
	{"encryption", "cipher", "Ciphers", OLD_CIPHERS},
	{"mac algo", "MAC", "MACs", OLD_MACS},
	{"compression", "compression", "", ""},
};

/* "it may help ..." where one of the server's list is among the old ones; the caller frees. */
static char *negotiation_help(const struct visit *visit, size_t row, const char *list, size_t size)
{
	autofree char *offered = strndup(list, size);
	autofree char *common = filter(negotiated[row].old + 1, offered, true);

	common[strcspn(common, ",")] = '\0';
	if (visit->options->is_legacy || !*common)
		return xstrdup("");
	return xasprintf(": try --legacy, or --ssh-option '%s +%s'", negotiated[row].keyword,
			 common);
}

/* "kex error : no match for method NAME: server [LIST], client [LIST]" */
static bool fail_negotiation(struct visit *visit, const char *text)
{
	const char *method = strstr(text, "no match for method ");
	const char *list = strstr(text, "server ["), *ours = strstr(text, "client [");
	size_t row = 0;

	if (!method || !list || !ours)
		return false;
	method += strlen("no match for method ");
	list += strlen("server [");
	ours += strlen("client [");
	while (row < ARRAY_SIZE(negotiated) &&
	       strncmp(method, negotiated[row].method, strlen(negotiated[row].method)) != 0)
		row++;
	if (row == ARRAY_SIZE(negotiated))
		return false;
	autofree char *help = negotiation_help(visit, row, list, strcspn(list, "]"));
	(void)visit_fail(visit, CLASS_PROTOCOL,
			 "%s offers no %s that jobd takes (it offers %.*s; jobd %.*s)%s",
			 visit->target.host, negotiated[row].name, (int)strcspn(list, "]"), list,
			 (int)strcspn(ours, "]"), ours, help);
	return true;
}

/* Nothing was tried yet that the far side could have minded. */
static bool is_before_authentication(const struct visit *visit)
{
	return visit->step < STEP_AUTHENTICATE ||
	       (visit->step == STEP_AUTHENTICATE && visit->denials == 0);
}

/* "Received SSH_MSG_DISCONNECT: CODE:TEXT" */
static enum progress fail_disconnected(struct visit *visit, const char *text)
{
	char *words;
	long code = strtol(text, &words, 10);
	const char *host = visit->target.host;

	if (*words == ':')
		words++;
	if (code == DISCONNECT_TOO_MANY && is_before_authentication(visit))
		return visit_fail_transient(visit, CLASS_REFUSED,
					    "%s takes no more connections just now: %s", host,
					    words);
	return visit_fail(visit, visit->step == STEP_AUTHENTICATE ? CLASS_AUTH : CLASS_PROTOCOL,
			  "%s ended the connection during %s: %s", host, visit_during(visit),
			  words);
}

static enum progress fail_broken(struct visit *visit, const char *text)
{
	const char *host = visit->target.host;
	bool is_timeout = strstr(text, strerrordesc_np(ETIMEDOUT)) != NULL;

	if (is_before_authentication(visit) && !ssh_get_serverbanner(visit->session))
		return visit_fail_transient(
			visit, CLASS_REFUSED,
			"%s closed the connection before it named its version "
			"(%s): it may be busy, or block us, or be no SSH server",
			host, text);
	if (is_before_authentication(visit))
		return visit_fail_transient(visit, CLASS_PROTOCOL,
					    "%s closed the connection during %s (%s): it may be "
					    "busy",
					    host, visit_during(visit), text);
	if (visit->step == STEP_AUTHENTICATE)
		return visit_fail(
			visit, CLASS_AUTH,
			"%s closed the connection during authentication (%s): see its log", host,
			text);
	if (!visit->is_sent)
		return visit_fail_transient(visit, CLASS_PROTOCOL,
					    "%s closed the connection during %s (%s)", host,
					    visit_during(visit), text);
	return visit_fail(visit, is_timeout ? CLASS_UNREACHABLE : CLASS_PROTOCOL,
			  "the connection to %s broke during the command (%s): it may have taken "
			  "effect",
			  host, text);
}

/* libssh says "Socket error: WHY", or where writing failed just what errno meant. */
static const char *broken_why(const char *text)
{
	static const char prefix[] = "Socket error: ";
	static const int errors[] = {ECONNRESET, EPIPE,        ECONNABORTED,
				     ETIMEDOUT,  EHOSTUNREACH, ENETUNREACH};

	if (strncmp(text, prefix, strlen(prefix)) == 0)
		return text + strlen(prefix);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (strstr(text, strerrordesc_np(errors[i])))
			return strerrordesc_np(errors[i]);
	return NULL;
}

/* Not the host's fault, but that of one between. */
static enum progress fail_tunnel(struct visit *visit)
{
	enum error_class class;
	bool is_transient;
	const char *why = tunnel_why(visit->tunnel, &class, &is_transient);

	return visit->is_sent ? visit_fail(visit, class, "%s", why)
			      : visit_fail_transient(visit, class, "%s", why);
}

enum progress visit_lost(struct visit *visit)
{
	static const char ended[] = "Received SSH_MSG_DISCONNECT: ";
	const char *text = ssh_get_error(visit->session);

	if (visit->tunnel && tunnel_state(visit->tunnel) == TUNNEL_FAILED)
		return fail_tunnel(visit);
	if (broken_why(text))
		return fail_broken(visit, broken_why(text));
	if (strncmp(text, ended, strlen(ended)) == 0)
		return fail_disconnected(visit, text + strlen(ended));
	if (visit->step == STEP_KEY_EXCHANGE && fail_negotiation(visit, text))
		return PROGRESS_END;
	return visit_fail(visit, CLASS_PROTOCOL, "%s does not speak SSH as it should during %s: %s",
			  visit->target.host, visit_during(visit), text);
}

void visit_pump(struct visit *visit)
{
	if (!visit_is_lost(visit))
		(void)ssh_execute_message_callbacks(visit->session);
}
