/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Is it the right host, and may we in?
 *
 * Ways to authenticate are one table, in the order in which they are tried: what was named for this
 * job first, then what the user has lying about, since a server counts failed tries. "none" always
 * opens: it tells which methods the server takes, and a first call with an RSA key is sometimes
 * denied by mistake (libssh 0.10). After a partial success the table begins anew, without the ways
 * that were used.
 */
#include "daemon/kind-ssh.h"

#include "common/util.h"
#include "daemon/config.h"
#include "daemon/ssh-agent.h"
#include "daemon/ssh-identity.h"
#include "daemon/ssh-known-hosts.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

enum { PROMPT_ROUNDS_MAX = 8, PROMPTS_MAX = 8, TRIED_TEXT_MAX = 256 };

/* --- Host key --- */

struct host_key {
	const char *type;
	char *text; /* base64 */
};

static int read_host_key(struct visit *visit, ssh_key *ret_key, struct host_key *ret_host_key)
{
	ssh_key key = NULL;

	if (ssh_get_server_publickey(visit->session, &key) != SSH_OK)
		return -ENOKEY;
	if (ssh_pki_export_pubkey_base64(key, &ret_host_key->text) != SSH_OK) {
		ssh_key_free(key);
		return -ENOKEY;
	}
	/* For ECDSA the one name would leave the curve open. */
	ret_host_key->type = ssh_pki_key_ecdsa_name(key);
	if (!ret_host_key->type || strncmp(ret_host_key->type, "ecdsa-", 6) != 0)
		ret_host_key->type = ssh_key_type_to_char(ssh_key_type(key));
	*ret_key = key;
	return 0;
}

static enum progress accept_new(struct visit *visit, const struct host_key *key)
{
	const char *host = visit->target.host;
	int r = known_hosts_add(visit->known_hosts, visit_key_name(visit), visit->port, key->type,
				key->text);

	if (r == 0)
		return visit_go(visit, STEP_AUTHENTICATE);
	if (r == -EEXIST)
		return visit_fail(visit, CLASS_HOST_KEY,
				  "%s showed another key a moment ago: see who else answers there",
				  host);
	return visit_fail(visit, CLASS_HOST_KEY,
			  "the new key of %s cannot be written to known_hosts (%s): it was not "
			  "trusted",
			  host, strerrordesc_np(-r));
}

static enum progress judge_host_key(struct visit *visit, const struct host_key *key)
{
	const char *host = visit->target.host;
	struct known_host_place place = {0};

	switch (known_hosts_check(visit->known_hosts, visit_key_name(visit), visit->port, key->text,
				  &place)) {
	case KNOWN_HOST_MATCHES:
		return visit_go(visit, STEP_AUTHENTICATE);
	case KNOWN_HOST_CHANGED:
		return visit_fail(
			visit, CLASS_HOST_KEY,
			"the key of %s changed; if that is expected, remove line %u of %s", host,
			place.line, place.file);
	case KNOWN_HOST_REVOKED:
		return visit_fail(visit, CLASS_HOST_KEY,
				  "the key of %s is revoked by line %u of %s: give the host a new "
				  "one",
				  host, place.line, place.file);
	case KNOWN_HOST_UNKNOWN:
		break;
	}
	if (visit->settings.host_key == HOST_KEY_ACCEPT_NEW)
		return accept_new(visit, key);
	return visit_fail(visit, CLASS_HOST_KEY,
			  "the key of %s is not known; connect once with ssh, or use --host-key "
			  "accept-new",
			  host);
}

enum progress visit_step_host_key(struct visit *visit)
{
	struct host_key host_key = {0};
	enum progress progress;
	ssh_key key = NULL;

	if (visit->settings.host_key == HOST_KEY_OFF)
		return visit_go(visit, STEP_AUTHENTICATE);
	if (read_host_key(visit, &key, &host_key) < 0)
		return visit_fail(visit, CLASS_HOST_KEY, "the key of %s cannot be read: %s",
				  visit->target.host, ssh_get_error(visit->session));
	progress = judge_host_key(visit, &host_key);
	ssh_string_free_char(host_key.text);
	ssh_key_free(key);
	return progress;
}

/* Kept for the sentence that is needed where nothing else lets us in. */
static void hint(struct visit *visit, const char *file, int r)
{
	free(visit->auth_hint);
	visit->auth_hint =
		r == -ENOKEY ? xasprintf("%s is encrypted: load it into an agent (ssh-add)", file)
		: r == -EBADMSG ? xasprintf("%s is no private key", file)
		: r == -ENODATA ? xasprintf("%s is empty: write it into its file", file)
				: xasprintf("%s cannot be read (%s)", file, strerrordesc_np(-r));
}

/* --- Keys --- */

/* Files of one sort, by their place; NULL behind the last. The caller frees. */
static char *credential_file(const struct visit *visit, size_t place)
{
	return place == 0 && visit->credential ? xstrdup_or_null(visit->credential->identity)
					       : NULL;
}

static char *option_file(const struct visit *visit, size_t place)
{
	return place == 0 ? xstrdup_or_null(visit->options->identity) : NULL;
}

static char *config_file(const struct visit *visit, size_t place)
{
	return place < visit->settings.identity_count
		       ? visit_file(visit, visit->settings.identities[place])
		       : NULL;
}

/* As ssh has it: only where ssh_config names none. */
static char *default_file(const struct visit *visit, size_t place)
{
	static const char *const names[] = {"id_ed25519", "id_ecdsa", "id_rsa"};

	return visit->engine->home && visit->settings.identity_count == 0 &&
			       place < ARRAY_SIZE(names)
		       ? xasprintf("%s/.ssh/%s", visit->engine->home, names[place])
		       : NULL;
}

/* The key with one of these certificates, or the one beside it; without one where none fits. */
static int get_certified(struct visit *visit, const char *file, const struct passphrase *passphrase)
{
	struct identities *identities = visit->engine->identities;
	autofree char *beside = xasprintf("%s-cert.pub", file);

	for (size_t i = 0; i < visit->settings.certificate_count; i++) {
		autofree char *named = visit_file(visit, visit->settings.certificates[i]);

		if (identity_get(identities, file, named, passphrase, &visit->identity) == 0)
			return 0;
	}
	return identity_get(identities, file, beside, passphrase, &visit->identity);
}

/* Why a key could not be had, where that may be what is amiss. */
static void hint_key(struct visit *visit, const char *file, int r, bool has_passphrase,
		     bool is_named)
{
	if (r == -ENOKEY && has_passphrase) {
		free(visit->auth_hint);
		visit->auth_hint =
			xasprintf("the passphrase of the credential does not open %s", file);
	} else if (is_named || (r == -ENOKEY && !visit->auth_hint)) {
		hint(visit, file, r);
	}
}

static bool get_key(struct visit *visit, const char *file, bool is_certified, bool is_named)
{
	const struct credential *credential = visit->credential;
	struct passphrase passphrase = {.owner = visit->credential_name};
	char *text = NULL;
	int r = 0;

	if (credential && credential->identity && streq(file, credential->identity))
		r = credential_password(credential->passphrase_file, &text);
	if (r < 0) {
		hint(visit, "the passphrase of the credential", r);
		return false;
	}
	passphrase.text = text;
	if (is_certified)
		r = get_certified(visit, file, &passphrase);
	else
		r = identity_get(visit->engine->identities, file, NULL, &passphrase,
				 &visit->identity);
	if (r < 0 && !is_certified)
		hint_key(visit, file, r, text != NULL, is_named);
	secret_free(text);
	return r == 0;
}

/* --- Ways --- */

static bool has_none(struct visit *visit)
{
	(void)visit;
	return true;
}

static bool has_password(struct visit *visit)
{
	const struct credential *credential = visit->credential;
	int r;

	/* What opens the targets is shown to no host between, unless that is said. */
	if (visit->jump && !visit->options->jump_credential)
		return false;
	if (!visit->jump && visit->options->password && !visit->password)
		visit->password = xstrdup(visit->options->password);
	else if (!visit->jump && visit->options->has_password && !visit->auth_hint)
		visit->auth_hint =
			xstrdup("the password of the job was kept in memory only and is gone (its "
				"job had ended, or jobd was restarted): start it anew with "
				"--ask-password");
	if (!credential || visit->password)
		return visit->password != NULL;
	r = credential_password(credential->password_file, &visit->password);
	/* Guessed at a thousand hosts it would lock the user out. */
	if (r == 0 && visit->password && visit->password[0] == '\0') {
		free(visit->password);
		visit->password = NULL;
		r = -ENODATA;
	}
	if (r < 0)
		hint(visit, "the password of the credential", r);
	return r == 0 && visit->password;
}

/* Prompts may ask for something else. */
static bool has_answers(struct visit *visit)
{
	return has_password(visit) || (!visit->jump && visit->options->answer_count > 0);
}

static bool has_agent(struct visit *visit)
{
	return visit->engine->agent && visit->settings.identities_only != 1;
}

static int try_none(struct visit *visit)
{
	return ssh_userauth_none(visit->session, visit->user);
}

static int try_key(struct visit *visit)
{
	int r = ssh_userauth_publickey(visit->session, visit->user, identity_key(visit->identity));

	/* Not even sent: an old server, an RSA key, and signatures with SHA-1 not allowed here */
	if (r == SSH_AUTH_DENIED && !visit->options->is_legacy && !visit->auth_hint &&
	    strstr(ssh_get_error(visit->session), "PUBLICKEY_ACCEPTED_TYPES"))
		visit->auth_hint =
			xstrdup("the host takes RSA keys in the old way only (SHA-1): try "
				"--legacy");
	return r;
}

static int try_password(struct visit *visit)
{
	return ssh_userauth_password(visit->session, visit->user, visit->password);
}

static int try_agent(struct visit *visit)
{
	if (visit->agent_answer != AGENT_NO_ANSWER)
		return visit->agent_answer;
	key_agent_lend(visit->engine->agent, visit);
	return SSH_AUTH_AGAIN;
}

/* What --answer has for it; else one that hides what is typed gets the password, one that shows it
 * a yes where it asks for that, or the user. */
static const char *answer_to(const struct visit *visit, const char *prompt, bool is_shown)
{
	const struct ssh_options *options = visit->options;
	const char *text =
		visit->jump ? NULL : answers_find(options->answers, options->answer_count, prompt);

	if (text)
		return text;
	if (!is_shown)
		return visit->password;
	return strcasestr(prompt, "yes/no") ? "yes" : strcasestr(prompt, "y/n") ? "y" : visit->user;
}

static bool answer_prompts(struct visit *visit, int count)
{
	bool is_given = false;

	for (int i = 0; i < count; i++) {
		char is_shown = 0;
		const char *prompt =
			ssh_userauth_kbdint_getprompt(visit->session, (unsigned)i, &is_shown);
		const char *text = answer_to(visit, prompt ? prompt : "", is_shown);

		if (!text || ssh_userauth_kbdint_setanswer(visit->session, (unsigned)i, text) < 0)
			return false;
		is_given |= text == visit->password;
	}
	/* Asked again: it was wrong, and a second time may lock the account. */
	if (is_given && visit->has_answered)
		return false;
	visit->has_answered |= is_given;
	return true;
}

static int try_prompts(struct visit *visit)
{
	int r = ssh_userauth_kbdint(visit->session, visit->user, NULL);

	while (r == SSH_AUTH_INFO) {
		int count = ssh_userauth_kbdint_getnprompts(visit->session);

		if (count < 0 || count > PROMPTS_MAX ||
		    ++visit->prompt_rounds > PROMPT_ROUNDS_MAX || !answer_prompts(visit, count))
			return SSH_AUTH_DENIED;
		r = ssh_userauth_kbdint(visit->session, visit->user, NULL);
	}
	return r;
}

static const struct {
	const char *name; /* NULL: that of the file */
	unsigned method;  /* which the server must allow; 0: it is asked without */
	bool (*is_possible)(struct visit *visit); /* NULL: with the next of these files */
	char *(*file)(const struct visit *visit, size_t place);
	int (*attempt)(struct visit *visit); /* enum ssh_auth_e */
} ways[WAY_COUNT] = {
	{"none", 0, has_none, NULL, try_none},
	{"the credential's key", SSH_AUTH_METHOD_PUBLICKEY, NULL, credential_file, try_key},
	{"the password", SSH_AUTH_METHOD_PASSWORD, has_password, NULL, try_password},
	{"the password at a prompt", SSH_AUTH_METHOD_INTERACTIVE, has_answers, NULL, try_prompts},
	{"--identity", SSH_AUTH_METHOD_PUBLICKEY, NULL, option_file, try_key},
	{NULL, SSH_AUTH_METHOD_PUBLICKEY, NULL, config_file, try_key},
	{"the agent", SSH_AUTH_METHOD_PUBLICKEY, has_agent, NULL, try_agent},
	{NULL, SSH_AUTH_METHOD_PUBLICKEY, NULL, default_file, try_key},
};

void visit_shell_secrets(const struct visit *visit, char **ret_password, char **ret_secret)
{
	const struct credential *credential = visit->credential;

	*ret_secret = NULL;
	*ret_password = xstrdup_or_null(visit->options->password);
	if (!credential)
		return;
	/* What cannot be read is not there; if it is asked for, that is told. */
	if (!*ret_password)
		(void)credential_password(credential->password_file, ret_password);
	(void)credential_password(credential->enable_password_file, ret_secret);
}

/* --- The step --- */

void visit_forget_secrets(struct visit *visit)
{
	secret_free(visit->password);
	visit->password = NULL;
	identity_unref(visit->identity);
	visit->identity = NULL;
}

static void note_tried(struct visit *visit, const char *name)
{
	char *before = visit->tried;

	visit->tried = before ? xasprintf("%s, %s", before, name) : xstrdup(name);
	free(before);
}

/* Each file is tried with its certificate, where it has one, and then without. */
static bool has_next_key(struct visit *visit, size_t way)
{
	for (;;) {
		size_t at = visit->keys_tried[way];
		autofree char *file = ways[way].file(visit, at / 2);

		if (!file)
			return false;
		visit->keys_tried[way]++;
		if (!get_key(visit, file, at % 2 == 0, ways[way].file != default_file))
			continue;
		note_tried(visit, ways[way].name       ? ways[way].name
				  : strrchr(file, '/') ? strrchr(file, '/') + 1
						       : file);
		return true;
	}
}

static bool has_next(struct visit *visit, size_t way)
{
	if (ways[way].file)
		return has_next_key(visit, way);
	if (visit->ways_tried & 1u << way || !ways[way].is_possible(visit))
		return false;
	visit->ways_tried |= 1u << way;
	if (way > 0)
		note_tried(visit, ways[way].name);
	return true;
}

static bool choose_way(struct visit *visit)
{
	unsigned allowed = (unsigned)ssh_userauth_list(visit->session, NULL);

	visit_forget_secrets(visit);
	for (size_t i = 0; i < WAY_COUNT; i++) {
		if ((ways[i].method & allowed) != ways[i].method || !has_next(visit, i))
			continue;
		visit->way = (int)i;
		visit->agent_answer = AGENT_NO_ANSWER;
		return true;
	}
	return false;
}

static void methods_text(unsigned methods, char ret_text[static TRIED_TEXT_MAX])
{
	static const struct {
		unsigned method;
		const char *name;
	} names[] = {
		{SSH_AUTH_METHOD_PUBLICKEY, "publickey"},
		{SSH_AUTH_METHOD_PASSWORD, "password"},
		{SSH_AUTH_METHOD_INTERACTIVE, "keyboard-interactive"},
		{SSH_AUTH_METHOD_HOSTBASED, "hostbased"},
		{SSH_AUTH_METHOD_GSSAPI_MIC, "gssapi-with-mic"},
	};
	size_t used = 0;

	ret_text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (methods & names[i].method)
			used += (size_t)snprintf(ret_text + used, TRIED_TEXT_MAX - used, "%s%s",
						 used > 0 ? ", " : "", names[i].name);
}

static enum progress fail_denied(struct visit *visit)
{
	char taken[TRIED_TEXT_MAX];

	methods_text((unsigned)ssh_userauth_list(visit->session, NULL), taken);
	return visit_fail(
		visit, CLASS_AUTH, "%s does not let user %s in (it takes %s; %s%s)%s%s",
		visit->target.host, visit->user, taken, visit->tried ? "tried " : "nothing to try",
		visit->tried ? visit->tried : "",
		visit->auth_hint ? ": " : ": give --identity, --credential or an agent key",
		visit->auth_hint ? visit->auth_hint : "");
}

static int choose_user(struct visit *visit)
{
	const struct profile *profile = visit->jump ? NULL : visit_profile(visit);
	const char *login = visit->settings.user;

	if (visit->credential_name && !visit->credential) {
		(void)visit_fail(visit, CLASS_AUTH, "jobd.conf has no [credential %s] any more",
				 visit->credential_name);
		return -ENOENT;
	}
	if (login[0] == '\0') {
		(void)visit_fail(visit, CLASS_AUTH,
				 "user id %lu has no name to log in with: give --login",
				 (unsigned long)visit->task->options->uid);
		return -ENOENT;
	}
	visit->user =
		xasprintf("%s%s", login, profile ? profile_say(profile, TEXT_LOGIN_SUFFIX) : "");
	return 0;
}

enum progress visit_step_authenticate(struct visit *visit)
{
	if (!visit->user && choose_user(visit) < 0)
		return PROGRESS_END;
	while (visit->way >= 0 || choose_way(visit)) {
		int r = ways[visit->way].attempt(visit);

		if (r == SSH_AUTH_AGAIN)
			return visit->is_lent ? PROGRESS_WAIT : PROGRESS_AGAIN;
		if (r == SSH_AUTH_SUCCESS) {
			visit_forget_secrets(visit);
			visit_leave_gate(visit);
			visit_release_place(visit);
			visit->step_deadline_us = worker_now_us(visit->engine->worker) +
						  visit->settings.connect_timeout_us;
			return visit_go(visit, visit->jump ? STEP_CARRY : STEP_OPEN);
		}
		if (visit_is_lost(visit))
			return visit_lost(visit);
		visit->denials += visit->way > 0 && r != SSH_AUTH_PARTIAL;
		visit->way = -1;
	}
	return fail_denied(visit);
}
