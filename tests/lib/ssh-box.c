/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/ssh-box.h"

#include "common/util.h"
#include "daemon/fields.h"
#include "daemon/profile.h"
#include "daemon/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

enum {
	RUNS_MAX = 6000,
	SERVER_WAIT_MS = 10000,
	PATHS = 8,
	PATH_BYTES = 256,
	PROGRAM_SECONDS_MAX = 300
};

static char folder[] = "/tmp/jobd-test-XXXXXX";

/* --- The place --- */

static void skip_all(const char *reason)
{
	(void)fprintf(stderr, "skipped: %s\n", reason);
	exit(77);
}

static void bring_loopback_up(void)
{
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
		skip_all("loopback cannot be brought up in the namespace");
}

const char *place_path(const char *name)
{
	static char paths[PATHS][PATH_BYTES];
	static unsigned next;
	char *path = paths[next++ % PATHS];

	(void)snprintf(path, PATH_BYTES, "%s/%s", folder, name);
	return path;
}

void place_write(const char *name, const char *text)
{
	FILE *file = fopen(place_path(name), "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

char *place_read(const char *name)
{
	FILE *file = fopen(place_path(name), "re");
	char *text = xcalloc(1, 65536);

	if (file) {
		text[fread(text, 1, 65535, file)] = '\0';
		(void)fclose(file);
	}
	return text;
}

/* What it starts dies with this program, however that ends. */
static pid_t spawn(const char *const *words, const char *output)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || !freopen("/dev/null", "r", stdin) ||
	    !freopen(output, "w", stdout) || dup2(STDOUT_FILENO, STDERR_FILENO) < 0)
		_exit(126);
	(void)execvp(words[0], (char *const *)(uintptr_t)words);
	_exit(127);
}

void place_run(const char *command)
{
	autofree char *line = xasprintf("cd %s && { %s; }", folder, command);
	const char *const words[] = {"sh", "-c", line, NULL};
	pid_t pid = spawn(words, place_path("log"));
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("failed: %s: %s", command, place_read("log"));
}

/*
 * For this program and its servers alone: an empty /run, and a user "tester" to log in as, since
 * sshd passes no signals on for root.
 */
static void hide_system(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0 || mkdir("/run/sshd", 0755) < 0)
		skip_all("nothing can be mounted here");
	place_run("for f in passwd shadow; do cp /etc/$f $f; done; mkdir -m 777 far; "
		  "echo tester:x:60123:60123::$PWD/home:/bin/sh >> passwd; "
		  "echo tester:*:19000:0:99999:7::: >> shadow; "
		  "for f in passwd shadow; do mount --bind $f /etc/$f; done; "
		  "mkdir -p home/.ssh; chmod 755 .; chmod 700 home home/.ssh; "
		  "cp key.pub home/.ssh/authorized_keys; chown -R 60123:60123 home");
}

void place_init(void)
{
	if (geteuid() != 0)
		skip_all("needs root for sshd and a network namespace");
	if (access("/usr/sbin/sshd", X_OK) < 0)
		skip_all("sshd is missing: apt-get install openssh-server");
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		skip_all("no namespaces can be made here");
	bring_loopback_up();
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(022); /* the user "tester" reads here */
	(void)alarm(PROGRAM_SECONDS_MAX);
	if (!mkdtemp(folder) || setenv("HOME", folder, 1) < 0 || unsetenv("SSH_AUTH_SOCK") < 0)
		abort();
	place_run("mkdir -m 700 .ssh; for t in ed25519 ecdsa rsa; do ssh-keygen -q -t $t -N '' -f "
		  "host_$t; done; ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized");
	hide_system();
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

void place_done(void)
{
	place_run("umount /etc/passwd /etc/shadow");
	(void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- Servers --- */

static int free_port(void)
{
	autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t size = sizeof(address);

	assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	return ntohs(address.sin_port);
}

static bool answers(int port)
{
	autoclose int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

/* Until the condition holds, in steps of a few milliseconds, within a bound. */
static void wait_for(bool (*is_met)(int value), int value, const char *what)
{
	for (int waited = 0; !is_met(value); waited += 5) {
		if (waited > SERVER_WAIT_MS)
			fail_msg("%s does not begin", what);
		(void)poll(NULL, 0, 5);
	}
}

struct server server_sshd(const char *config)
{
	struct server server = {.port = free_port()};
	autofree char *text = xasprintf(
		"ListenAddress 127.0.0.1\nPort %d\nHostKey %s/host_ed25519\nHostKey %s/host_ecdsa\n"
		"HostKey %s/host_rsa\nAuthorizedKeysFile %s/authorized\nPidFile none\n"
		"StrictModes no\nUsePAM no\nUseDNS no\n%s\n",
		server.port, folder, folder, folder, folder, config);
	const char *words[] = {"/usr/sbin/sshd", "-D", "-e", "-f", place_path("sshd_config"), NULL};

	place_write("sshd_config", text);
	server.pid = spawn(words, place_path("sshd.log"));
	wait_for(answers, server.port, "sshd");
	return server;
}

struct server server_dropbear(const char *window)
{
	struct server server = {.port = free_port()};
	autofree char *port = xasprintf("127.0.0.1:%d", server.port);
	const char *words[] = {
		"dropbear", "-F", "-E", "-p", port, "-W", window, "-r", place_path("host_dropbear"),
		NULL};

	place_run("[ -f host_dropbear ] || dropbearkey -t ed25519 -f host_dropbear");
	server.pid = spawn(words, place_path("dropbear.log"));
	wait_for(answers, server.port, "dropbear");
	return server;
}

static const char *load_log;

static bool has_printed(int port)
{
	char text[512] = "";
	FILE *file = fopen(load_log, "re");

	(void)port;
	if (!file)
		return false;
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	(void)fclose(file);
	return strchr(text, '\n') && strrchr(text, '\n') > strchr(text, '\n');
}

struct server server_load(const char *const *options)
{
	const char *program = getenv("SSHLOAD") ? getenv("SSHLOAD") : "tests/lib/sshload";
	const char *words[16] = {program};
	static unsigned count;
	autofree char *name = xasprintf("load.%u", ++count);
	struct server server = {0};
	autofree char *text = NULL;

	for (size_t i = 0; options[i]; i++)
		words[i + 1] = options[i];
	load_log = place_path(name);
	server.pid = spawn(words, load_log);
	wait_for(has_printed, 0, program);
	text = place_read(name);
	server.port = (int)strtol(text, NULL, 10);
	return server;
}

static const char *agent_socket;

static bool takes_connections(int value)
{
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	(void)value;
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", agent_socket);
	return connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
}

struct server server_agent(const char *socket)
{
	const char *words[] = {"ssh-agent", "-D", "-a", socket, NULL};
	struct server server = {.pid = spawn(words, place_path("agent.log"))};

	agent_socket = socket;
	wait_for(takes_connections, 0, "ssh-agent");
	return server;
}

void server_stop(struct server *server)
{
	if (server->pid <= 0)
		return;
	/* In this order: SIGCONT takes back the SIGSTOP by which LeakSanitizer looks at its end. */
	(void)kill(server->pid, SIGCONT);
	(void)kill(server->pid, SIGTERM);
	(void)waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

/* --- The engine's side of worker.h --- */

struct worker {
	struct box *box;
};

static struct worker the_worker;

struct event_base *worker_base(struct worker *worker)
{
	return worker->box->base;
}

int64_t worker_now_us(struct worker *worker)
{
	(void)worker;
	return now_monotonic_us();
}

static void later(event_callback_fn fn, struct box_run *run)
{
	const struct timeval now = {0};

	assert_int_equal(event_base_once(the_worker.box->base, -1, EV_TIMEOUT, fn, run, &now), 0);
}

static void on_stored(evutil_socket_t fd, short what, void *context)
{
	struct box_run *run = context;
	size_t size = run->unstored;

	(void)fd;
	(void)what;
	run->unstored = 0;
	if (run->task && size > 0)
		kind_ssh.task_output_stored(the_worker.box->engine, run->task, size);
}

/* Well-formed in the sense that matters here: no character is cut at either end. */
static bool is_whole(const char *bytes, size_t size)
{
	size_t tail = 0;

	while (tail < size && ((unsigned char)bytes[size - 1 - tail] & 0xc0) == 0x80)
		tail++;
	if (((unsigned char)bytes[0] & 0xc0) == 0x80)
		return false;
	if (tail == size)
		return false;
	switch ((unsigned char)bytes[size - 1 - tail] >> 4) {
	case 0xf:
		return tail == 3;
	case 0xe:
		return tail == 2;
	case 0xd:
	case 0xc:
		return tail == 1;
	default:
		return tail == 0;
	}
}

static struct box_run *run_of(const struct task *task)
{
	return &the_worker.box->runs[task->key.index];
}

void worker_output(struct worker *worker, struct task *task, enum stream stream, const void *bytes,
		   size_t size)
{
	struct box_run *run = run_of(task);

	assert_true(size > 0);
	run->bytes[stream] = xrealloc(run->bytes[stream], run->sizes[stream] + size + 1);
	memcpy(run->bytes[stream] + run->sizes[stream], bytes, size);
	run->sizes[stream] += size;
	run->bytes[stream][run->sizes[stream]] = '\0';
	run->reports++;
	run->is_whole_utf8 &= is_whole(bytes, size);
	run->unstored += size;
	if (!worker->box->holds_stored)
		later(on_stored, run);
}

static void on_go(evutil_socket_t fd, short what, void *context)
{
	struct box_run *run = context;

	(void)fd;
	(void)what;
	if (run->task)
		kind_ssh.task_go(the_worker.box->engine, run->task);
}

void worker_sending(struct worker *worker, struct task *task)
{
	struct box_run *run = run_of(task);

	assert_false(run->is_announced);
	run->is_announced = true;
	if (!worker->box->holds_go)
		later(on_go, run);
}

void worker_ended(struct worker *worker, struct task *task, struct outcome *outcome)
{
	struct box_run *run = run_of(task);

	assert_false(run->has_ended);
	run->has_ended = true;
	run->outcome = *outcome;
	memset(outcome, 0, sizeof(*outcome));
	run->task = NULL;
	task_free(task);
	worker->box->ended++;
}

static void on_resolved(evutil_socket_t fd, short what, void *context)
{
	struct box_run *run = context;
	struct sockaddr_storage addresses[2] = {0};
	bool is_known;

	(void)fd;
	(void)what;
	if (!run->task)
		return;
	/* The first answers nothing but "refused". */
	assert_int_equal(address_parse("127.9.9.9", AF_UNSPEC, &addresses[0]), 1);
	assert_int_equal(address_parse("127.0.0.1", AF_UNSPEC, &addresses[1]), 1);
	is_known = strstr(run->task->target, "nosuch") == NULL;
	kind_ssh.task_resolved(the_worker.box->engine, run->task, addresses, is_known ? 2 : 0,
			       is_known ? NULL : "nosuch.test has no address");
}

/* Names come in no test of theirs. */
struct task *worker_adopt(struct worker *worker, struct job_options *options, const char *target)
{
	(void)worker;
	return task_new((struct task_key){.job = UINT64_MAX}, 1, UINT64_MAX, options, target);
}

void worker_dismiss(struct worker *worker, struct task *task)
{
	(void)worker;
	task_free(task);
}

void worker_resolve(struct worker *worker, struct task *task, const char *host, int family)
{
	(void)worker;
	(void)host;
	(void)family;
	later(on_resolved, run_of(task));
}

/* --- The engine --- */

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context;
}

void box_init(struct box *box)
{
	const struct timeval tick = {.tv_usec = 10000};

	memset(box, 0, sizeof(*box));
	box->base = event_base_new();
	assert_non_null(box->base);
	/* So that no turn of the loop is longer */
	box->tick = event_new(box->base, -1, EV_PERSIST, on_tick, NULL);
	assert_int_equal(event_add(box->tick, &tick), 0);
	box->runs = xcalloc(RUNS_MAX, sizeof(*box->runs));
	box->config.is_user = true;
	box->config.database = xstrdup(place_path("jobd.db"));
	box->config.max_output = (int64_t)1 << 30;
	box->config.ssh_parallel = 4096;
	box->config.ssh_handshakes = 64;
	box->config.profiles = profiles_load((const char *const[]){NULL});
	the_worker.box = box;
}

void box_done(struct box *box)
{
	for (size_t i = 0; i < box->count; i++) {
		struct box_run *run = &box->runs[i];

		if (run->task)
			kind_ssh.task_stop(box->engine, run->task, STOP_SHUTDOWN, 0);
		assert_true(run->has_ended);
		outcome_done(&run->outcome);
		free(run->bytes[STREAM_STDOUT]);
		free(run->bytes[STREAM_STDERR]);
	}
	if (box->engine)
		kind_ssh.engine_free(box->engine);
	/* Words of main that are still on their way */
	(void)event_base_loop(box->base, EVLOOP_NONBLOCK);
	event_free(box->tick);
	event_base_free(box->base);
	free(box->config.database);
	profiles_free(box->config.profiles);
	free(box->runs);
}

static struct job_options *parse_options(struct box *box, const char *text, int64_t timeout_us)
{
	struct job_options *options = xcalloc(1, sizeof(*options));
	json_t *object = json_loads(text, 0, NULL);
	struct error error = {0};

	assert_non_null(object);
	atomic_init(&options->references, 1);
	options->kind = &kind_ssh;
	options->timeout_us = timeout_us;
	options->kind_options = xcalloc(1, kind_ssh.options_size);
	if (fields_parse(kind_ssh.fields, kind_ssh.field_count, object, NULL, options->kind_options,
			 &error) < 0 ||
	    kind_ssh.options_check(options->kind_options, &box->config, true, &error) < 0)
		fail_msg("%s: %s", text, error.sentence);
	json_decref(object);
	return options;
}

size_t box_start(struct box *box, const char *target, int64_t timeout_us, const char *text)
{
	struct job_options *options = parse_options(box, text, timeout_us);
	struct task_key key = {.job = 1, .index = (uint32_t)box->count};
	struct box_run *run = &box->runs[box->count];

	assert_true(box->count < RUNS_MAX);
	if (!box->engine)
		box->engine = kind_ssh.engine_new(&the_worker, &box->config);
	run->is_whole_utf8 = true;
	run->task = task_new(key, 1, box->count + 1, options, target);
	job_options_unref(options);
	box->count++;
	kind_ssh.task_start(box->engine, run->task);
	return box->count - 1;
}

void box_turn(struct box *box, int milliseconds)
{
	int64_t until_us = now_monotonic_us() + milliseconds * US_PER_MS;

	while (now_monotonic_us() < until_us)
		(void)event_base_loop(box->base, EVLOOP_ONCE);
}

void box_wait(struct box *box, bool (*is_met)(struct box *box), int seconds)
{
	int64_t until_us = now_monotonic_us() + seconds * US_PER_SEC;

	while (!is_met(box)) {
		if (now_monotonic_us() > until_us)
			fail_msg("still not so after %d s", seconds);
		(void)event_base_loop(box->base, EVLOOP_ONCE);
	}
}

static bool have_ended(struct box *box)
{
	return box->ended == box->count;
}

void box_wait_ended(struct box *box, int seconds)
{
	box_wait(box, have_ended, seconds);
}

void box_go(struct box *box, size_t number)
{
	on_go(-1, 0, &box->runs[number]);
}

void box_store(struct box *box, size_t number)
{
	on_stored(-1, 0, &box->runs[number]);
}

void box_stop(struct box *box, size_t number, enum stop_reason reason, int64_t grace_us)
{
	kind_ssh.task_stop(box->engine, box->runs[number].task, reason, grace_us);
}
