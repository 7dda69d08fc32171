/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How a visit reaches its host, all things considered: first what the target itself says
 * (user@host:port), then what the job says of this host, then of all, then ssh_config, then what is
 * usual. A host through which others are reached has no job's words of its own but those about
 * keys.
 */
#include "daemon/kind-ssh.h"

#include "common/util.h"
#include "daemon/config.h"
#include "daemon/ssh-jump.h"

#include <strings.h>

enum { PORT_DEFAULT = 22, CONNECT_TIMEOUT_SECONDS = 30, SHELL_IDLE_SECONDS = 60 };

const struct ssh_host *ssh_host_of(const struct ssh_options *options, const char *target)
{
	uint64_t index;

	for (size_t i = 0; i < options->host_count; i++)
		if (target_list_find(options->hosts[i].targets, target, &index))
			return &options->hosts[i];
	return NULL;
}

const char *ssh_address_of(const struct ssh_options *options, const char *target)
{
	return string_map_find(&options->addresses, target, target);
}

const char *visit_local_user(const struct visit *visit)
{
	return engine_user_name(visit->engine, visit->task->options->uid);
}

static char *expand(const struct visit *visit, const char *text, const char *host, const char *user)
{
	return ssh_config_expand(text, visit->engine->home, host, visit->port, user,
				 visit_local_user(visit));
}

static void set_text(char **text, const char *value)
{
	if (!*text)
		*text = xstrdup_or_null(value);
}

/* Gathers; nothing is expanded yet. */
static void gather(struct visit *visit, struct ssh_settings *settings)
{
	const struct ssh_options *options = visit->options;

	*settings = (struct ssh_settings)SSH_SETTINGS_NONE;
	if (visit->target.user[0] != '\0')
		settings->user = xstrdup(visit->target.user);
	if (visit->target.port != 0)
		settings->port = visit->target.port;
	if (visit->host)
		ssh_settings_merge(settings, &visit->host->settings);
	if (visit->jump && jump_before(visit->jump))
		settings->jump = xstrdup(jump_before(visit->jump));
	ssh_settings_merge(settings, visit->jump ? &options->jump_settings : &options->settings);
	/* The credential's user goes before that of ssh_config. */
	if (visit->credential)
		set_text(&settings->user, visit->credential->user);
	ssh_config_apply(visit->engine->ssh_config, visit->target.host, visit_local_user(visit),
			 settings);
}

static void choose_credential(struct visit *visit)
{
	const struct ssh_options *options = visit->options;
	const char *name = visit->host && visit->host->credential ? visit->host->credential
								  : options->credential;

	if (visit->jump && options->jump_credential)
		name = options->jump_credential;
	visit->credential_name = name;
	visit->credential = name ? config_credential(visit->engine->config, name) : NULL;
}

void visit_find_way(struct visit *visit)
{
	struct ssh_settings *settings = &visit->settings;

	visit->host = visit->jump ? NULL : ssh_host_of(visit->options, visit->task->target);
	choose_credential(visit);
	gather(visit, settings);
	visit->port = settings->port > 0 ? (uint16_t)settings->port : PORT_DEFAULT;
	visit->address_name = expand(visit, settings->host_name ? settings->host_name : "%h",
				     visit->target.host, "");
	if (settings->connect_timeout_us <= 0)
		settings->connect_timeout_us = CONNECT_TIMEOUT_SECONDS * US_PER_SEC;
	if (settings->host_key < 0)
		settings->host_key = HOST_KEY_STRICT;
	visit->idle_timeout_us = visit->options->idle_timeout_us;
	if (visit->idle_timeout_us < 0)
		visit->idle_timeout_us =
			visit_has_shell(visit) ? SHELL_IDLE_SECONDS * US_PER_SEC : 0;
	set_text(&settings->user, visit_local_user(visit));
	visit->known_hosts = visit->engine->known_hosts;
	if (settings->known_hosts) {
		autofree char *file = visit_file(visit, settings->known_hosts);

		visit->known_hosts = engine_known_hosts(visit->engine, file);
	}
}

void visit_leave_way(struct visit *visit)
{
	ssh_settings_done(&visit->settings);
	free(visit->address_name);
}

bool visit_has_jump(const struct visit *visit)
{
	return visit->settings.jump && strcasecmp(visit->settings.jump, "none") != 0;
}

const char *visit_key_name(const struct visit *visit)
{
	return visit->settings.alias ? visit->settings.alias : visit->address_name;
}

const struct profile *visit_profile(const struct visit *visit)
{
	return visit->host && visit->host->shell ? visit->host->profile : visit->options->profile;
}

bool visit_has_shell(const struct visit *visit)
{
	return visit->options->shell || (visit->host && visit->host->shell);
}

char *visit_file(const struct visit *visit, const char *text)
{
	return expand(visit, text, visit->address_name, visit->settings.user);
}
