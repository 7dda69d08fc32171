# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What the end-to-end tests share: a private jobd for each test, real servers, namespaces. All that
# is started is ended by its pid. Nothing sleeps for a fixed time: wait_until has a condition and a
# bound.

# shellcheck disable=SC2034 # the tests find their programs by it
TESTS=$(cd "${BASH_SOURCE[0]%/*}/.." && pwd)
top_builddir=${abs_top_builddir:-$PWD}
JOBD_PROGRAM=${JOBD_PROGRAM:-$top_builddir/jobd}
JOBCTL_PROGRAM=${JOBCTL_PROGRAM:-$top_builddir/jobctl}
FAULTY_JOBD_PROGRAM=${FAULTY_JOBD_PROGRAM:-$top_builddir/tests/lib/faulty-jobd}
SSHLOAD_PROGRAM=${SSHLOAD_PROGRAM:-$top_builddir/tests/lib/sshload}
# Sanitizers and busy machines: bounds are generous, since they end only what is broken.
BOUND=${JOBD_TEST_BOUND:-30}

PIDS=()
NAMESPACES=()
# In front of what runs in the test's namespace: empty, or "ip netns exec NAME"
IN_NS=()
# A private daemon; empty: one of the system, on the test's paths
JOBD_MODE=(--user)

# wait_until SECONDS COMMAND...: polls until it succeeds
wait_until() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		if ((SECONDS >= end)); then
			echo "never happened: $*" >&2
			return 1
		fi
		sleep 0.05
	done
}

need_root() {
	[ "$(id -u)" -eq 0 ] || skip "this needs root"
}

need() {
	command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || skip "$1 is missing"
}

common_setup() {
	export HOME=$BATS_TEST_TMPDIR/home
	export JOBD_SOCKET=$BATS_TEST_TMPDIR/jobd.sock
	export XDG_RUNTIME_DIR=$BATS_TEST_TMPDIR/run XDG_STATE_HOME=$HOME/state XDG_CONFIG_HOME=$HOME/config
	export NO_COLOR=1 LC_ALL=C.UTF-8
	# The first says what language messages have, also in C.UTF-8; the next would be the size of
	# every terminal
	unset LANGUAGE COLUMNS LINES SSH_AUTH_SOCK
	DATABASE=$BATS_TEST_TMPDIR/db/jobd.db
	mkdir -p "$HOME/.ssh" "$XDG_RUNTIME_DIR"
	chmod 700 "$HOME/.ssh" "$XDG_RUNTIME_DIR"
}

common_teardown() {
	local pid name fits=0
	for pid in "${PIDS[@]}"; do
		kill "$pid" 2>/dev/null || :
		wait_until 10 gone "$pid" || kill -KILL "$pid" 2>/dev/null || :
	done
	for name in "${NAMESPACES[@]}"; do
		ip netns del "$name" 2>/dev/null || :
	done
	if [ -n "${JOBD_LOG:-}" ] && grep -E 'Sanitizer|Assertion' "$JOBD_LOG"; then
		echo "jobd's log tells of a fault" >&2
		return 1
	fi
	# Whatever a test did, what it left fits together
	[ ! -s "${DATABASE:-}" ] || "$JOBD_PROGRAM" --check --database "$DATABASE" >&2 || fits=1
	[ -z "${MOUNTED:-}" ] || umount -l "$MOUNTED"
	return "$fits"
}

# A process that has ended, also one that nobody has waited for.
gone() {
	! kill -0 "$1" 2>/dev/null || [ "$(awk '{print $3}' "/proc/$1/stat" 2>/dev/null)" = Z ]
}

jobctl() {
	"$JOBCTL_PROGRAM" "$@"
}

answers() {
	jobctl status --quiet >/dev/null 2>&1
}

# start_jobd [OPTION...]: inside the test's namespace, where there is one
start_jobd() {
	JOBD_LOG=$BATS_TEST_TMPDIR/jobd.log
	"${IN_NS[@]}" "$JOBD_PROGRAM" "${JOBD_MODE[@]}" --foreground --socket "$JOBD_SOCKET" \
		--database "$DATABASE" "$@" >>"$JOBD_LOG" 2>&1 3>&- 4>&- &
	JOBD_PID=$!
	PIDS+=("$JOBD_PID")
	wait_until "$BOUND" answers || {
		cat "$JOBD_LOG" >&2
		return 1
	}
}

# has_ended PID: nobody is to kill its number any more; its exit status
has_ended() {
	local pid kept=()
	for pid in "${PIDS[@]}"; do
		[ "$pid" -eq "$1" ] || kept+=("$pid")
	done
	PIDS=("${kept[@]}")
	wait "$1" 2>/dev/null
}

stop_jobd() {
	kill "$JOBD_PID"
	wait_until "$BOUND" gone "$JOBD_PID"
	has_ended "$JOBD_PID"
}

kill9_jobd() {
	kill -KILL "$JOBD_PID"
	has_ended "$JOBD_PID" || :
}

# on_terminal COLUMNS COMMAND...: what it writes on a terminal of that width
on_terminal() {
	python3 - "$@" <<-'END'
		import fcntl, os, pty, struct, sys, termios
		pid, terminal = pty.fork()
		if pid == 0:
		    size = struct.pack("HHHH", 24, int(sys.argv[1]), 0, 0)
		    fcntl.ioctl(1, termios.TIOCSWINSZ, size)
		    os.execvp(sys.argv[2], sys.argv[2:])
		try:
		    while True:
		        os.write(1, os.read(terminal, 4096))
		except OSError:
		    pass
		sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	END
}

state_of() {
	jobctl list "$1" --json | jq -r .state
}

is_state() {
	[ "$(state_of "$1")" = "$2" ]
}

running_tasks() {
	[ "$(jobctl list "$1" --json | jq .running)" -ge "$2" ]
}

# small_disk SIZE: where the database goes
small_disk() {
	need_root
	MOUNTED=$BATS_TEST_TMPDIR/disk
	mkdir -p "$MOUNTED"
	mount -t tmpfs -o size="$1" tmpfs "$MOUNTED"
	DATABASE=$MOUNTED/jobd.db
}

# image_disk SIZE: a file system on $MOUNTED of which cut_power leaves what is on its disk just now
image_disk() {
	need_root
	need mkfs.ext4
	IMAGE=$BATS_TEST_TMPDIR/image
	truncate -s "$1" "$IMAGE"
	mkfs.ext4 -q "$IMAGE"
	mkdir -p "$BATS_TEST_TMPDIR/disk"
	mount -o loop "$IMAGE" "$BATS_TEST_TMPDIR/disk" || skip "no image can be mounted here"
	MOUNTED=$BATS_TEST_TMPDIR/disk
}

cut_power() {
	cp "$IMAGE" "$IMAGE.cut"
	umount "$MOUNTED"
	mount -o loop "$IMAGE.cut" "$MOUNTED"
}

# --- Namespaces: all of 127.0.0.0/8 answers in one, and routes make the others ---

netns_new() {
	need_root
	need ip
	NETNS=jobd-$$-${#NAMESPACES[@]}
	ip netns add "$NETNS"
	NAMESPACES+=("$NETNS")
	IN_NS=(ip netns exec "$NETNS")
	ip -n "$NETNS" link set lo up
}

# silence NETWORK: whoever pings it waits, until end_silence
silence() {
	need nft
	"${IN_NS[@]}" nft "add table ip silence
		add chain ip silence in { type filter hook input priority 0; }
		add rule ip silence in ip daddr $1 drop"
}

end_silence() {
	"${IN_NS[@]}" nft delete table ip silence
}

# --- SSH servers ---

free_port() {
	python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'
}

listens() {
	"${IN_NS[@]}" bash -c ": </dev/tcp/127.0.0.1/$1" 2>/dev/null
}

# listens_itself PID: at SSH_PORT, which may be somebody else's by now
listens_itself() {
	"${IN_NS[@]}" ss -Hltnp "sport = :$SSH_PORT" | grep -q "pid=$1,"
}

listens_or_is_gone() {
	listens_itself "$1" || gone "$1"
}

# start_server LOG PREFIX COMMAND...: whose last word is then PREFIX and a port; sets SSH_PORT. Where
# somebody else has taken the port meanwhile it ends, and another is tried.
start_server() {
	local log=$1 prefix=$2 pid
	need ss
	shift 2
	for _ in {1..5}; do
		SSH_PORT=$(free_port)
		"${IN_NS[@]}" "$@" "$prefix$SSH_PORT" >>"$log" 2>&1 3>&- 4>&- &
		pid=$!
		PIDS+=("$pid")
		wait_until "$BOUND" listens_or_is_gone "$pid" || break
		gone "$pid" || return 0
		has_ended "$pid" || :
	done
	cat "$log" >&2
	return 1
}

ssh_keys() {
	SSH_DIR=$BATS_TEST_TMPDIR/ssh
	[ -d "$SSH_DIR" ] && return
	mkdir -p "$SSH_DIR"
	ssh-keygen -q -t ed25519 -N '' -f "$SSH_DIR/host_key"
	ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519"
	cp "$HOME/.ssh/id_ed25519.pub" "$SSH_DIR/authorized_keys"
}

# start_sshd [CONFIG LINE...]: sets SSH_PORT; the host key is known as `known` says
start_sshd() {
	need_root
	need sshd
	ssh_keys
	mkdir -p /run/sshd
	{
		# First, since sshd takes the first value of each
		printf '%s\n' "$@"
		cat <<-END
			ListenAddress 0.0.0.0
			HostKey $SSH_DIR/host_key
			AuthorizedKeysFile $SSH_DIR/authorized_keys
			StrictModes no
			UsePAM no
			PermitRootLogin yes
			MaxStartups 10000
			MaxSessions 100
			UseDNS no
			PidFile none
		END
	} >"$SSH_DIR/sshd_config"
	start_server "$SSH_DIR/sshd.log" '' "$(command -v sshd || echo /usr/sbin/sshd)" -D -f "$SSH_DIR/sshd_config" \
		-E "$SSH_DIR/sshd.log" -p
}

# A user without a password that may log in by key: sshd passes signals on for such, not for root
test_user() {
	need_root
	TEST_USER=jobdtest
	id "$TEST_USER" >/dev/null 2>&1 ||
		useradd --no-create-home --home-dir / --shell /bin/sh --password '*' "$TEST_USER"
}

# Other users reach what is in the test's folder
open_folder() {
	chmod a+x "$BATS_RUN_TMPDIR" "${BATS_TEST_TMPDIR%/*}" "$BATS_TEST_TMPDIR"
}

# A fresh name of a file that a command on the far side writes; both sides are this machine
mark() {
	open_folder
	mkdir -p "$BATS_TEST_TMPDIR/marks"
	chmod 777 "$BATS_TEST_TMPDIR/marks"
	echo "$BATS_TEST_TMPDIR/marks/$1"
}

# known HOST...: their key into the daemon's known_hosts
known() {
	local host
	for host in "$@"; do
		printf '[%s]:%s %s\n' "$host" "$SSH_PORT" "$(cut -d' ' -f1,2 "$SSH_DIR/host_key.pub")"
	done >>"$HOME/.ssh/known_hosts"
}

start_dropbear() {
	need_root
	need dropbear
	ssh_keys
	dropbearkey -t ed25519 -f "$SSH_DIR/dropbear_key" >"$SSH_DIR/dropbear_key.txt" 2>&1
	mkdir -p "$SSH_DIR/dropbear"
	# dropbear reads the keys of the account itself
	start_server "$SSH_DIR/dropbear.log" 127.0.0.1: "$(command -v dropbear || echo /usr/sbin/dropbear)" \
		-F -E -s -r "$SSH_DIR/dropbear_key" "$@" -p
}

# start_sshload [OPTION...]: the project's own load server; sets SSH_PORT
start_sshload() {
	local output
	output=$(mktemp "$BATS_TEST_TMPDIR/sshload.XXXXXX")
	"${IN_NS[@]}" "$SSHLOAD_PROGRAM" "$@" >"$output" 2>&1 3>&- 4>&- &
	PIDS+=($!)
	wait_until "$BOUND" test -s "$output"
	SSH_PORT=$(grep -oE '[0-9]+' "$output" | head -n 1)
}
