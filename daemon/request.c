/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/request.h"

#include "common/protocol.h"
#include "common/units.h"
#include "common/util.h"
#include "daemon/config.h"
#include "daemon/fields.h"
#include "daemon/jobs.h"
#include "daemon/json-text.h"
#include "daemon/kind.h"

#include <arpa/inet.h>
#include <assert.h>

/* Of longer lists the engine finds what is no target of its kind. */
enum { TARGETS_CHECKED_MAX = 10000 };
/* Longer options are not worth a second copy. */
enum { SHARED_MAX = 4096 };

#define YEAR_US (366 * 24 * 3600 * US_PER_SEC)
/* The options of every kind. */
static const struct field common_fields[] = {
	{"parallel", FIELD_INT, offsetof(struct job_options, parallel), 1, 1000000, 0, NULL},
	{"timeoutUsec", FIELD_INT, offsetof(struct job_options, timeout_us), US_PER_MS, YEAR_US, 0,
	 NULL},
	{"deadlineUsec", FIELD_INT, offsetof(struct job_options, deadline_us), US_PER_MS, YEAR_US,
	 0, NULL},
	{"retries", FIELD_INT, offsetof(struct job_options, retries), 0, 1000, 0, NULL},
	{"retryDelayUsec", FIELD_INT, offsetof(struct job_options, retry_delay_us), 0, YEAR_US,
	 US_PER_SEC, NULL},
	{"canary", FIELD_INT, offsetof(struct job_options, canary), 1, UINT32_MAX, 0, NULL},
	{"rerun", FIELD_BOOL, offsetof(struct job_options, is_rerun), 0, 0, 0, NULL},
};

/* The object of a kind's own options, or an error where options of another kind are given. */
static int kind_object(const json_t *parameters, const struct kind *kind, json_t **ret_object,
		       struct error *ret_error)
{
	for (size_t i = 0; kinds[i]; i++) {
		const json_t *object = json_object_get(parameters, kinds[i]->name);

		if (kinds[i] != kind && object && !json_is_null(object))
			return error_set(ret_error, ERROR_INVALID_OPTION, kinds[i]->name,
					 "options of kind %s do not go with a job of kind %s",
					 kinds[i]->name, kind->name);
	}
	*ret_object = json_object_get(parameters, kind->name);
	return 0;
}

static int parse_kind_options(struct job_options *options, const json_t *parameters,
			      const struct config *config, bool is_trusted, struct error *ret_error)
{
	const struct kind *kind = options->kind;
	autofree void *kind_options = xcalloc(1, kind->options_size);
	json_t *object = NULL;
	int r;

	r = kind_object(parameters, kind, &object, ret_error);
	if (r < 0)
		return r;
	r = fields_parse(kind->fields, kind->field_count, object, NULL, kind_options, ret_error);
	if (r < 0)
		return r;
	if (kind->options_check) {
		r = kind->options_check(kind_options, config, is_trusted, ret_error);
		if (r < 0) {
			if (kind->options_done)
				kind->options_done(kind_options);
			fields_done(kind->fields, kind->field_count, kind_options);
			return r;
		}
	}
	options->kind_options = kind_options;
	kind_options = NULL;
	return 0;
}

int request_check_files(const json_t *options, const struct kind *kind, struct error *ret_error)
{
	autofree void *fields = xcalloc(1, kind->options_size);
	json_t *object = NULL;
	int r = kind_object(options, kind, &object, ret_error);

	if (r == 0)
		r = fields_parse(kind->fields, kind->field_count, object, NULL, fields, ret_error);
	if (r < 0)
		return r;
	if (kind->files_check)
		r = kind->files_check(fields, ret_error);
	fields_done(kind->fields, kind->field_count, fields);
	return r;
}

/* "10" or "20%"; without it, ret_share stays as it is. */
static int parse_share(const json_t *parameters, const char *name, int64_t min,
		       struct share *ret_share, struct error *ret_error)
{
	const char *text = json_string_value(json_object_get(parameters, name));

	if (text && share_parse(text, min, ret_share) < 0)
		return error_set(ret_error, ERROR_INVALID_OPTION, name,
				 "%s: '%s' is neither a number from %lld on nor a share such as "
				 "10%%",
				 name, text, (long long)min);
	return 0;
}

/* What stands beside the common fields. */
static bool is_other(const char *name)
{
	static const char *const others[] = {"kind",     "targets", "exclude", "shuffle",
					     "name",     "token",   "batch",   "maxFailures",
					     "schedule", "dryRun"};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (streq(name, others[i]))
			return true;
	return kind_find(name) != NULL;
}

static const struct kind *find_kind(const json_t *parameters, struct error *ret_error)
{
	const char *word = json_string_value(json_object_get(parameters, "kind"));
	const struct kind *kind = kind_find(word ? word : "");

	if (!kind)
		(void)error_set(ret_error, ERROR_INVALID_OPTION, "kind",
				"there is no kind '%s': the kinds are ping and ssh",
				word ? word : "");
	return kind;
}

static struct job_options *options_new(const struct kind *kind)
{
	struct job_options *options = xcalloc(1, sizeof(*options));

	atomic_init(&options->references, 1);
	options->kind = kind;
	options->failures_max.number = -1;
	return options;
}

static int parse_options(const json_t *parameters, const struct kind *kind, uid_t uid,
			 bool is_trusted, const struct config *config,
			 struct job_options **ret_options, struct error *ret_error)
{
	struct job_options *options = options_new(kind);
	int r = fields_parse(common_fields, ARRAY_SIZE(common_fields), parameters, is_other,
			     options, ret_error);

	options->uid = uid;
	if (r == 0)
		r = parse_share(parameters, "batch", 1, &options->batch, ret_error);
	if (r == 0)
		r = parse_share(parameters, "maxFailures", 0, &options->failures_max, ret_error);
	if (r == 0)
		r = parse_kind_options(options, parameters, config, is_trusted, ret_error);
	if (r < 0) {
		job_options_unref(options);
		return r;
	}
	*ret_options = options;
	return 0;
}

/* seed: of the order; 0: as written */
static int parse_targets(const json_t *parameters, uint64_t limit, int64_t seed,
			 struct target_list **ret_targets, struct error *ret_error)
{
	size_t include_count, exclude_count;
	autofree const char **include =
		json_strings(json_object_get(parameters, "targets"), &include_count);
	autofree const char **exclude =
		json_strings(json_object_get(parameters, "exclude"), &exclude_count);

	int r = target_list_new(include, include_count, exclude, exclude_count, limit, ret_targets,
				ret_error);

	if (r == 0 && seed != 0)
		target_list_shuffle(*ret_targets, (uint64_t)seed);
	return r;
}

/* What was meant to be several targets, or another one: no look-up would ever find it. */
static int check_host(const char *target, struct error *ret_error)
{
	struct target_parts parts;
	const char *why = NULL;
	struct in_addr address;
	char *dash;

	if (target_split(target, &parts) < 0)
		return 0; /* the kind says so */
	dash = strchr(parts.host, '-');
	if (strchr(parts.host, ','))
		why = "a target has no comma: give each by itself";
	else if (strpbrk(parts.host, "*?"))
		why = "a glob is no target: write 10.0.0.0/24, 10.0.0.[1-20] or r[01-30]";
	else if (target_host_is_octal(parts.host))
		why = "a leading zero makes it octal, and so another address: leave it out, as in "
		      "10.0.0.[1-30]";
	else if (dash && strspn(dash, "-0123456789.") == strlen(dash) &&
		 inet_pton(AF_INET, dash + 1, &address) == 0) {
		*dash = '\0';
		if (inet_pton(AF_INET, parts.host, &address) == 1)
			why = "a range has two addresses, 10.0.0.1-10.0.0.20, or a bracket, "
			      "10.0.0.[1-20]";
	}
	return why ? error_set(ret_error, ERROR_INVALID_TARGET, target, "'%.80s': %s", target, why)
		   : 0;
}

/* What was meant to be left out would not be. */
static int check_excluded(const json_t *words, struct error *ret_error)
{
	size_t count = json_array_size(words);
	int r = 0;

	for (size_t i = 0; r == 0 && i < count && i < TARGETS_CHECKED_MAX; i++) {
		const char *word = json_string_value(json_array_get(words, i));

		if (!strchr(word, '['))
			r = check_host(word, ret_error);
	}
	return r;
}

static int check_targets(const struct target_list *targets, const struct job_options *options,
			 const struct config *config, struct error *ret_error)
{
	const struct kind *kind = options->kind;
	uint64_t count = target_list_count(targets);
	char text[TARGET_TEXT_MAX];

	for (uint64_t i = 0; i < count && i < TARGETS_CHECKED_MAX; i++) {
		int r;

		target_list_text(targets, i, text);
		r = check_host(text, ret_error);
		if (r == 0)
			r = kind->target_check(text, ret_error);
		if (r < 0)
			return r;
	}
	return kind->count_check
		       ? kind->count_check(options->kind_options, count, config, ret_error)
		       : 0;
}

static void add_value(struct json_text *text, const json_t *value)
{
	autofree char *encoded = NULL;

	if (json_is_string(value)) {
		json_text_string(text, json_string_value(value));
		return;
	}
	encoded = json_dumps(value, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);
	if (!encoded)
		abort();
	json_text_add(text, encoded);
}

static void add_words(struct json_text *text, const char *name, const json_t *words)
{
	json_text_name(text, name);
	json_text_add(text, "[");
	for (size_t i = 0; i < json_array_size(words); i++) {
		json_text_next(text);
		add_value(text, json_array_get(words, i));
	}
	json_text_add(text, "]");
}

bool request_has_secret(const json_t *parameters, const struct kind *kind)
{
	const json_t *options = json_object_get(parameters, kind->name);
	const json_t *secret = kind->secret ? json_object_get(options, kind->secret) : NULL;

	return secret && !json_is_null(secret);
}

/* The parameters with a mark in the place of a secret; the caller's reference. */
static json_t *without_secret(const json_t *parameters, const struct kind *kind)
{
	json_t *whole = (json_t *)(uintptr_t)parameters;
	json_t *object;

	if (!request_has_secret(parameters, kind))
		return json_incref(whole);
	whole = json_copy(whole);
	object = json_copy(json_object_get(whole, kind->name));
	(void)json_object_del(object, kind->secret);
	(void)json_object_set_new(object, kind->secret_mark, json_true());
	(void)json_object_set_new(whole, kind->name, object);
	return whole;
}

/* The targets have a text of their own, token and schedule their columns; a dry run is not kept. */
static bool is_kept_apart(const char *name)
{
	return streq(name, "targets") || streq(name, "exclude") || streq(name, "token") ||
	       streq(name, "schedule") || streq(name, "dryRun");
}

char *request_options_text(const json_t *parameters, const struct kind *kind)
{
	json_t *shown = without_secret(parameters, kind);
	struct json_text text = {0};
	const char *name;
	json_t *value;

	json_text_add(&text, "{");
	json_object_foreach (shown, name, value) {
		if (is_kept_apart(name))
			continue;
		json_text_name(&text, name);
		add_value(&text, value);
	}
	json_text_add(&text, "}");
	json_decref(shown);
	return json_text_take(&text, NULL);
}

static char *targets_text(const json_t *parameters, int64_t seed)
{
	const json_t *exclude = json_object_get(parameters, "exclude");
	struct json_text text = {0};

	json_text_add(&text, "{");
	add_words(&text, "targets", json_object_get(parameters, "targets"));
	if (json_array_size(exclude) > 0)
		add_words(&text, "exclude", exclude);
	if (seed != 0)
		json_text_member_number(&text, "shuffle", seed);
	json_text_add(&text, "}");
	return json_text_take(&text, NULL);
}

/* --- What a list shows --- */

enum { TARGETS_SHOWN_MAX = 60, COMMAND_SHOWN_MAX = 200, LONG_TEXTS = 1024 };

char *request_show_targets(const json_t *parameters)
{
	const json_t *words = json_object_get(parameters, "targets");
	char *text = NULL;
	size_t size, index;
	json_t *word;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		abort();
	json_array_foreach (words, index, word) {
		const char *string = json_string_value(word);

		if (ftell(out) + (long)strlen(string) > TARGETS_SHOWN_MAX && index > 0) {
			(void)fprintf(out, " ... (%zu)", json_array_size(words));
			break;
		}
		(void)fprintf(out, "%s%s", index > 0 ? " " : "", string);
	}
	if (fclose(out) != 0)
		abort();
	return text;
}

char *request_show_command(const json_t *parameters)
{
	const json_t *commands = json_object_get(json_object_get(parameters, "ssh"), "commands");
	const char *command = json_string_value(json_array_get(commands, 0));
	size_t end = COMMAND_SHOWN_MAX;

	if (!command || strlen(command) <= COMMAND_SHOWN_MAX)
		return xstrdup_or_null(command);
	while ((command[end] & 0xc0) == 0x80) /* inside a character */
		end--;
	return xasprintf("%.*s...", (int)end, command);
}

void request_show_long(const json_t *parameters, const char *options_text, const char *targets_text,
		       char **ret_targets, char **ret_command)
{
	bool is_long = strlen(options_text) + strlen(targets_text) >= LONG_TEXTS;

	*ret_targets = is_long ? request_show_targets(parameters) : NULL;
	*ret_command = is_long ? request_show_command(parameters) : NULL;
}

void recent_options_forget(struct recent_options *recent)
{
	free(recent->text);
	job_options_unref(recent->options);
	*recent = (struct recent_options){0};
}

static void remember(struct recent_options *recent, const struct job_request *asked,
		     const struct request *request)
{
	recent_options_forget(recent);
	recent->text = xstrdup(request->options_text);
	recent->uid = asked->uid;
	recent->is_trusted = asked->is_trusted;
	recent->options = job_options_ref(request->options);
}

static bool is_same(const struct recent_options *recent, const struct job_request *asked,
		    const char *text)
{
	return recent->options && recent->uid == asked->uid &&
	       recent->is_trusted == asked->is_trusted && streq(recent->text, text);
}

/* Options and their text, by the request before where it is the same. */
static int parse_or_share(const struct job_request *asked, const struct config *config,
			  struct recent_options *recent, struct request *request,
			  struct error *ret_error)
{
	const struct kind *kind = find_kind(asked->parameters, ret_error);
	bool may_share;
	int r;

	if (!kind)
		return -EINVAL;
	request->options_text = request_options_text(asked->parameters, kind);
	/* A secret is not in the text, so that such options are nobody else's. */
	may_share = recent && !request_has_secret(asked->parameters, kind) &&
		    strlen(request->options_text) <= SHARED_MAX;
	if (may_share && is_same(recent, asked, request->options_text)) {
		request->options = job_options_ref(recent->options);
		return 0;
	}
	r = parse_options(asked->parameters, kind, asked->uid, asked->is_trusted, config,
			  &request->options, ret_error);
	if (r == 0 && may_share)
		remember(recent, asked, request);
	return r;
}

int request_parse(const struct job_request *asked, const struct config *config,
		  struct recent_options *recent, struct request *ret_request,
		  struct error *ret_error)
{
	const json_t *parameters = asked->parameters;
	const char *name = json_string_value(json_object_get(parameters, "name"));
	int64_t seed = json_is_true(json_object_get(parameters, "shuffle")) ? now_real_us() : 0;
	struct request request = {0};
	int r = 0;

	if (name)
		r = job_name_check(name, ret_error);
	if (r == 0)
		r = parse_or_share(asked, config, recent, &request, ret_error);
	if (r == 0)
		r = parse_targets(parameters, (uint64_t)config->max_targets, seed, &request.targets,
				  ret_error);
	if (r == 0)
		r = check_excluded(json_object_get(parameters, "exclude"), ret_error);
	if (r == 0)
		r = check_targets(request.targets, request.options, config, ret_error);
	if (r < 0) {
		/* Perhaps no commit comes, which would. */
		if (recent)
			recent_options_forget(recent);
		request_done(&request);
		return r;
	}
	request.name = xstrdup_or_null(name);
	request.targets_text = targets_text(parameters, seed);
	request_show_long(parameters, request.options_text, request.targets_text,
			  &request.targets_shown, &request.command_shown);
	*ret_request = request;
	return 0;
}

static json_t *load_text(const char *text, struct error *ret_error)
{
	json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

	if (!json_is_object(object)) {
		json_decref(object);
		(void)error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				"what the database holds of a job is not readable");
		return NULL;
	}
	return object;
}

int request_options(const char *options_text, uid_t uid, const struct config *config,
		    struct job_options **ret_options, struct error *ret_error)
{
	json_t *parameters = load_text(options_text, ret_error);
	const struct kind *kind = parameters ? find_kind(parameters, ret_error) : NULL;
	int r = kind ? parse_options(parameters, kind, uid, true, config, ret_options, ret_error)
		     : -EINVAL;

	json_decref(parameters);
	return r;
}

int request_targets(const char *targets_text, uint64_t limit, struct target_list **ret_targets,
		    struct error *ret_error)
{
	json_t *targets = load_text(targets_text, ret_error);
	int64_t seed = json_integer_value(json_object_get(targets, "shuffle"));
	int r = targets ? parse_targets(targets, limit, seed, ret_targets, ret_error) : -EIO;

	json_decref(targets);
	return r;
}

int request_restore(const char *options_text, const char *targets_text, uid_t uid,
		    const struct config *config, struct request *ret_request,
		    struct error *ret_error)
{
	struct request request = {0};
	int r = request_options(options_text, uid, config, &request.options, ret_error);

	/* No limit: they were within the one of their day. */
	if (r == 0)
		r = request_targets(targets_text, UINT32_MAX, &request.targets, ret_error);
	if (r < 0) {
		request_done(&request);
		return r;
	}
	*ret_request = request;
	return 0;
}

int request_restore_bare(const char *kind, const char *targets_text, struct request *ret_request,
			 struct error *ret_error)
{
	struct request request = {0};
	int r = request_targets(targets_text, UINT32_MAX, &request.targets, ret_error);

	if (r < 0)
		return r;
	if (!kind_find(kind)) {
		request_done(&request);
		return error_set(ret_error, ERROR_STORAGE_FAILED, NULL,
				 "this jobd does not know its kind");
	}
	request.options = options_new(kind_find(kind));
	request.options->kind_options = xcalloc(1, request.options->kind->options_size);
	*ret_request = request;
	return 0;
}

void request_done(struct request *request)
{
	job_options_unref(request->options);
	target_list_free(request->targets);
	free(request->name);
	free(request->options_text);
	free(request->targets_text);
	free(request->targets_shown);
	free(request->command_shown);
	memset(request, 0, sizeof(*request));
}
