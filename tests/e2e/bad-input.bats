#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Hosts, clients, disks and files that behave badly: each gets its clear error, and all else goes on.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
}

teardown() {
	common_teardown
}

ssh_job() {
	jobctl start ssh --wait --host-key off "$@"
}

# Whatever happened: a ping still works
goes_on() {
	run -0 jobctl start ping --wait 127.0.0.1
	[[ $output == *"1/1 replies"* ]]
}

# --- Hosts ---

@test "hosts: unknown, refusing, silent, without a login, changed: each its class, and the good one succeeds" {
	start_sshload --none
	good=$SSH_PORT
	start_sshload --silent
	silent=$SSH_PORT
	start_sshload --banner-only
	banner=$SSH_PORT
	start_sshload --password secret
	locked=$SSH_PORT
	start_jobd
	run -3 ssh_job --connect-timeout 1s "127.0.0.1:$good" nowhere.invalid 127.0.0.1:1 "127.0.0.1:$silent" \
		"127.0.0.1:$banner" "127.0.0.1:$locked" -- true
	echo "$output"
	grep -q '^nowhere.invalid: failed (resolve): .*nowhere.invalid' <<<"$output"
	grep -q '^127.0.0.1:1: failed (refused): ' <<<"$output"
	grep -q "^127.0.0.1:$silent: failed (timeout): " <<<"$output"
	grep -q "^127.0.0.1:$banner: failed (timeout): " <<<"$output"
	grep -q "^127.0.0.1:$locked: failed (auth): " <<<"$output"
	jobctl list 1 --json | jq -e '.succeeded == 1 and .failed == 5'
	# A line each
	[ "$(wc -l <<<"$output")" -le 6 ]
	goes_on
}

@test "a server that never stops sending ends at the output limit, and what it sent is kept" {
	start_sshload --none --flood
	start_jobd
	run -3 --separate-stderr ssh_job --max-output 1M --port "$SSH_PORT" 127.0.0.1 -- show
	[[ $stderr == *"failed (output-limit)"* ]]
	jobctl show 1 --json | jq -e '.taskList[0].ssh.stdoutBytes == 1048576'
	[ "$(jobctl receive 1 --again --raw 2>/dev/null | wc -c)" -eq 1048576 ]
}

@test "a server that takes the command and says nothing, and one that ends without a status" {
	start_sshload --none --no-answer
	port=$SSH_PORT
	start_sshload --none --no-status
	start_jobd
	run -3 ssh_job --timeout 1s --port "$port" 127.0.0.1 -- show
	[[ $output == *"failed (timeout)"* ]]
	# RFC 4254 lets it, and small devices do
	run -0 ssh_job --port "$SSH_PORT" 127.0.0.1 -- show
	jobctl show 2 --json | jq -e '.taskList[0].ssh | has("exitStatus") | not'
}

@test "a server that refuses the second channel, and one that refuses to run commands" {
	start_sshload --none --one-channel
	port=$SSH_PORT
	start_sshload --none --refuse-exec
	start_jobd
	run -3 ssh_job --port "$port" --command one --command two 127.0.0.1
	[[ $output == *"failed (protocol): 127.0.0.1 opens no channel for command 2"* ]]
	run -3 ssh_job --port "$SSH_PORT" 127.0.0.1 -- reboot
	[[ $output == *"failed (protocol): 127.0.0.1 refuses to run commands"* ]]
	goes_on
}

@test "max-output-per-task below the usual bound is the bound" {
	start_sshload --none --flood
	printf '[jobd]\nmax-output-per-task = 64K\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	run -3 --separate-stderr ssh_job --port "$SSH_PORT" 127.0.0.1 -- show
	[[ $stderr == *"failed (output-limit)"* ]]
	jobctl show 1 --json | jq -e '.taskList[0].ssh.stdoutBytes == 65536'
}

@test "something that is no SSH server" {
	"${IN_NS[@]}" python3 - >"$BATS_TEST_TMPDIR/port" 3>&- 4>&- <<-'END' &
		import socket
		server = socket.create_server(("127.0.0.1", 0))
		print(server.getsockname()[1], flush=True)
		while True:
		    client, _ = server.accept()
		    client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" * 1000)
		    client.close()
	END
	PIDS+=($!)
	wait_until "$BOUND" test -s "$BATS_TEST_TMPDIR/port"
	start_jobd
	run -3 ssh_job --timeout 20s --port "$(cat "$BATS_TEST_TMPDIR/port")" 127.0.0.1 -- show
	[[ $output == *"failed (refused)"*"no SSH server"* ]]
	goes_on
}

# --- Clients ---

# send_bytes: standard input to the socket, then reads until jobd closes
send_bytes() {
	python3 -c '
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
try:
    client.sendall(sys.stdin.buffer.read())
    while client.recv(65536):
        pass
except (BrokenPipeError, ConnectionResetError):
    pass
' "$JOBD_SOCKET"
}

@test "garbage on the socket: that client is closed, with one line in the log" {
	start_jobd
	head -c 100000 /dev/urandom | timeout "$BOUND" bash -c "$(declare -f send_bytes); send_bytes"
	printf '{"method": "org.jobd.List"}{}\0' | timeout "$BOUND" bash -c "$(declare -f send_bytes); send_bytes"
	printf '[1, 2]\0' | timeout "$BOUND" bash -c "$(declare -f send_bytes); send_bytes"
	[ "$(grep -c 'is closed: what it sent is not a Varlink call' "$JOBD_LOG")" -eq 3 ]
	goes_on
}

@test "a message over the limit: closed, and the limit is named" {
	printf '[jobd]\nmax-message = 64K\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	head -c 10000000 /dev/zero | tr '\0' x | timeout "$BOUND" bash -c "$(declare -f send_bytes); send_bytes"
	grep -q 'max-message in jobd.conf' "$JOBD_LOG"
	goes_on
}

@test "jobctl tells before it asks for too much, and names the limit" {
	start_jobd
	head -c 20000000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/long"
	for words in '--stdin long 127.0.0.1' '--command @long 127.0.0.1' '@long'; do
		# shellcheck disable=SC2086
		run -1 jobctl start ssh ${words//long/"$BATS_TEST_TMPDIR/long"} -- true
		[ "${#lines[@]}" -eq 1 ]
		[[ $output == *"max-message of jobd.conf allows 16777216"* ]]
	done
	# What is long and allowed is done
	printf '127.0.%s.1\n' {1..250} >"$BATS_TEST_TMPDIR/hosts"
	printf '127.1.%s.1\n' {1..250} >>"$BATS_TEST_TMPDIR/hosts"
	[ "$(wc -c <"$BATS_TEST_TMPDIR/hosts")" -gt 4096 ]
	run -0 jobctl start ping "@$BATS_TEST_TMPDIR/hosts"
}

@test "files that are no text are refused; a byte-order mark and a line's end of elsewhere are none of it" {
	start_jobd
	cd "$BATS_TEST_TMPDIR"
	printf '127.0.0.1\0 127.0.0.2\n' >nul
	printf '\xef\xbb\xbf127.0.0.1\r\n' >marked
	printf '\xef\xbb\xbf[core]\r\n127.0.0.1\r\n' >inventory
	printf '[core]\n127.0.0.1\n\0[edge]\n127.0.0.2\n' >torn
	printf '\xef\xbb\xbfshow version\r\n' >commands
	for words in 'ping @nul' 'ping 127.0.0.1 --exclude @nul' 'ssh 127.0.0.1 --command @nul' 'ping @torn:all'; do
		# shellcheck disable=SC2086
		run -2 jobctl start $words
		[[ $output == *"has a NUL byte"* ]]
	done
	for file in marked inventory:core; do
		run -0 jobctl start ping --dry-run --json "@$file"
		jq -e '.targets == ["127.0.0.1"]' <<<"$output"
	done
	run -0 jobctl start ssh --dry-run --json --command @commands 127.0.0.1
	jq -e '.ssh.commands == ["show version"]' <<<"$output"
}

@test "targets: commas part them, and what would be another host or none is refused" {
	start_jobd
	cd "$BATS_TEST_TMPDIR"
	printf 'r1,r2\r\nr[3,4], r5\n' >list
	run -0 jobctl start ping --dry-run --json r6,r7 @list
	jq -e '.targets == ["r6", "r7", "r1", "r2", "r[3,4]", "r5"] and .tasks == 7' <<<"$output"
	# getaddrinfo(3) takes the first for 10.0.0.8
	zero="a leading zero makes it octal, and so another address: leave it out, as in 10.0.0.[1-30]"
	range="a range has two addresses, 10.0.0.1-10.0.0.20, or a bracket, 10.0.0.[1-20]"
	glob="a glob is no target: write 10.0.0.0/24, 10.0.0.[1-20] or r[01-30]"
	for words in "10.0.0.010 10.0.0.010: $zero" "010.0.0.1 010.0.0.1: $zero" "10.0.0.[08-12] 10.0.0.08: $zero" \
		"10.0.0.1-20 10.0.0.1-20: $range" "10.0.0.* 10.0.0.*: $glob" \
		"127.0.0.1;r2 127.0.0.1;r2: a target has no blanks, no quotes, none of ; | < > \\ and no control characters"; do
		run -2 jobctl start ping "${words%% *}"
		words=${words#* }
		[ "$output" = "jobctl: '${words%%: *}': ${words#*: }" ]
	done
	for word in 10.0.0.010 '10.0.0.*' 10.0.0.1-20; do
		run -2 jobctl start ping --quiet --exclude "$word" 10.0.0.1
		[[ $output == "jobctl: '$word': "* ]]
	done
	run -0 jobctl start ping --quiet --dry-run --exclude '10.0.0.1-10.0.0.9,r[1,3],10.1.0.0/16' 10.0.0.10
	run -2 jobctl start ping -
	[ "$output" = "jobctl: '-' is no target: @- reads them from standard input" ]
	# In the look-up, too, for those that no check reaches
	run -3 jobctl start ssh --wait --jump 127.0.0.010 127.0.0.1 -- true
	[[ $output == *"'127.0.0.010' would be another address, since a leading zero makes it octal: leave it out" ]]
	run -0 jobctl start ping --dry-run --json '10.0.0.1[01-20]' r01 a-1.b-2 1-2
}

@test "a client that never reads: memory stays bounded, and others are served" {
	start_jobd
	jobctl start ping 127.0.0.0/20
	run -0 jobctl wait
	python3 - "$JOBD_SOCKET" >"$BATS_TEST_TMPDIR/sent" 3>&- 4>&- <<-'END' &
		import json, signal, socket, sys
		call = json.dumps({"method": "org.jobd.ListTasks", "parameters": {"selector": "1"}, "more": True})
		clients = [socket.socket(socket.AF_UNIX) for _ in range(20)]
		for client in clients:
		    client.connect(sys.argv[1])
		    client.setblocking(False)
		    try:
		        while True:
		            client.send(call.encode() + b"\0")
		    except BlockingIOError:
		        pass
		print("stuck", flush=True)
		signal.pause()
	END
	PIDS+=($!)
	wait_until "$BOUND" test -s "$BATS_TEST_TMPDIR/sent"
	goes_on
	[ "$(jobctl receive --keep | wc -l)" -ge 4094 ]
	peak=$(awk '/VmHWM/ {print $2}' "/proc/$JOBD_PID/status")
	echo "peak $peak kB"
	[ -n "$JOBD_SANITIZED" ] || [ "$peak" -lt 131072 ]
}

# --- Limits ---

@test "limits of jobd.conf are named when they are reached" {
	printf '[jobd]\nmax-targets = 100\nmax-live-jobs = 2\nmax-output-per-task = 1M\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	run -1 jobctl start ping 127.0.0.0/24
	[[ $output == *max-targets* ]]
	run -1 jobctl start ssh --max-output 2M 127.0.0.1 -- true
	[[ $output == *max-output-per-task* ]]
	jobctl start ping --count 60000 127.0.0.1
	jobctl start ping --count 60000 127.0.0.1
	run -1 jobctl start ping 127.0.0.1
	[[ $output == *max-live-jobs* ]]
	jobctl stop --all
	run -3 jobctl wait
	goes_on
}

@test "when all ids are used new work is refused by name, and what is there stays" {
	start_jobd
	jobctl start ping --wait 127.0.0.1
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	stop_jobd
	sqlite3 "$DATABASE" 'UPDATE meta SET next_job = 2147483646'
	start_jobd
	[ "$(jobctl start ping --every 1h 127.0.0.1)" = s2147483646 ]
	run -1 jobctl start ping 127.0.0.1
	[[ $output == "jobctl: all ids up to 2147483646 were given"* ]]
	run -1 jobctl start ping --every 1h 127.0.0.1
	[[ $output == *"all ids"* ]]
	run -1 jobctl import "$BATS_TEST_TMPDIR/lines"
	[[ $output == *"all ids"* ]]
	run -1 jobctl schedules run s2147483646
	[[ $output == *"all ids"* ]]
	is_state 1 completed
}

@test "jobd.conf: a mistake is told with its line, at the start and on SIGHUP" {
	echo $'[jobd]\nping-rate = 0' >"$BATS_TEST_TMPDIR/jobd.conf"
	run -2 "$JOBD_PROGRAM" --user --foreground --socket "$JOBD_SOCKET" --database "$DATABASE" \
		--config "$BATS_TEST_TMPDIR/jobd.conf"
	[[ $output == *"jobd.conf:2: ping-rate: "* ]]
	[ "${#lines[@]}" -eq 1 ]
	echo $'[jobd]\nping-rate = 1000' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	echo $'[jobd]\ncolour = red' >"$BATS_TEST_TMPDIR/jobd.conf"
	kill -HUP "$JOBD_PID"
	wait_until "$BOUND" grep -q 'nothing is reloaded: .*jobd.conf:2: ' "$JOBD_LOG"
	jobctl status --json | jq -e '.limits."ping-rate" == 1000'
	echo $'[jobd]\nping-rate = 2000' >"$BATS_TEST_TMPDIR/jobd.conf"
	kill -HUP "$JOBD_PID"
	wait_until "$BOUND" eval 'jobctl status --json | jq -e ".limits.\"ping-rate\" == 2000"'
	# What cannot be read to its end is not taken for empty
	rm "$BATS_TEST_TMPDIR/jobd.conf"
	mkdir "$BATS_TEST_TMPDIR/jobd.conf"
	kill -HUP "$JOBD_PID"
	wait_until "$BOUND" grep -q 'nothing is reloaded: cannot read .*jobd.conf: Is a directory' "$JOBD_LOG"
	jobctl status --json | jq -e '.limits."ping-rate" == 2000'
}

# --- Disks ---

# refused WORD...: jobd does not start, and says so in one line with these words
refused() {
	local word
	run "-${STATUS:-1}" timeout "$BOUND" "${IN_NS[@]}" "$JOBD_PROGRAM" --user --foreground \
		--socket "$BATS_TEST_TMPDIR/other.sock" --database "$DATABASE"
	echo "$output"
	[ "${#lines[@]}" -eq 1 ]
	for word in "$@"; do
		[[ $output == *"$word"* ]]
	done
}

@test "a folder that cannot be written to" {
	small_disk 1M
	mount -o remount,ro "$MOUNTED"
	refused "$MOUNTED" "--database"
}

@test "a database of somebody else, a damaged one, one of a newer jobd" {
	mkdir -p "${DATABASE%/*}"
	sqlite3 "$DATABASE" 'CREATE TABLE t (x)'
	STATUS=3 refused "$DATABASE" "is not one of jobd"
	head -c 100000 /dev/urandom >"$DATABASE"
	STATUS=3 refused "$DATABASE" "is not one of jobd"
	rm "$DATABASE"
	start_jobd
	stop_jobd
	# The table that is read first, and the file stays as it is
	page=$(sqlite3 "$DATABASE" "SELECT rootpage FROM sqlite_schema WHERE name = 'meta'")
	cp "$DATABASE" "$BATS_TEST_TMPDIR/well"
	head -c 4096 /dev/urandom | dd of="$DATABASE" bs=4096 seek=$((page - 1)) conv=notrunc status=none
	cp "$DATABASE" "$BATS_TEST_TMPDIR/damaged"
	STATUS=3 refused "$DATABASE" "is damaged: restore a copy, or move it away to begin anew"
	cmp "$DATABASE" "$BATS_TEST_TMPDIR/damaged"
	cp "$BATS_TEST_TMPDIR/well" "$DATABASE"
	sqlite3 "$DATABASE" 'PRAGMA user_version = 99'
	STATUS=3 refused "$DATABASE" "newer jobd"
	sqlite3 "$DATABASE" 'PRAGMA user_version = 3'
}

@test "two daemons on one database, and two on one socket" {
	start_jobd
	refused "(pid $JOBD_PID)" "$DATABASE"
	# By another name it is the same
	ln -s db/jobd.db "$BATS_TEST_TMPDIR/link.db"
	ln -s "$BATS_TEST_TMPDIR/link.db" "$BATS_TEST_TMPDIR/db/again.db"
	DATABASE=$BATS_TEST_TMPDIR/db/again.db refused "(pid $JOBD_PID)" "/db/jobd.db open"
	run -1 timeout "$BOUND" "$JOBD_PROGRAM" --user --foreground --socket "$JOBD_SOCKET" \
		--database "$BATS_TEST_TMPDIR/other.db"
	[[ $output == *"$JOBD_SOCKET"* ]]
	[ "${#lines[@]}" -eq 1 ]
	goes_on
	# What a dead one left is no obstacle
	kill9_jobd
	start_jobd
	goes_on
}

# says STATUS WORDS COMMAND...: in one line of no more than 300 bytes
says() {
	local words=$2
	run "-$1" timeout "$BOUND" "${@:3}"
	echo "$output"
	[ "${#lines[@]}" -eq 1 ]
	[ "${#output}" -le 300 ]
	[[ $output == *"$words"* ]]
}

@test "a socket of another program stays, also one that takes no connections" {
	local other=$BATS_TEST_TMPDIR/other.sock
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.recv(1)' "$other" 3>&- 4>&- &
	PIDS+=($!)
	wait_until "$BOUND" test -S "$other"
	says 1 "cannot listen on $other: Address already in use; choose another socket" \
		"$JOBD_PROGRAM" --user --foreground --database "$DATABASE" --socket "$other"
	[ -S "$other" ]
}

@test "jobd's words: an empty value, a socket that is none, and rubbish, each in one line" {
	local option jobd=("$JOBD_PROGRAM" --user --foreground --database "$DATABASE") rubbish
	for option in 'database FILE' 'backup FILE' 'config FILE' 'socket PATH' 'workers N'; do
		says 2 "--${option% *} got an empty value: say --$option" "${jobd[@]}" "--${option% *}" ''
	done
	[ ! -e "$DATABASE" ]
	says 1 "cannot listen on $BATS_TEST_TMPDIR: it is a folder; choose another socket" \
		"${jobd[@]}" --socket "$BATS_TEST_TMPDIR"
	: >"$BATS_TEST_TMPDIR/file"
	says 1 "cannot listen on $BATS_TEST_TMPDIR/file: it is a file that is no socket; choose another" \
		"${jobd[@]}" --socket "$BATS_TEST_TMPDIR/file"
	rubbish=$(printf '%0100000d' 0)
	says 2 "takes options only" "${jobd[@]}" "$rubbish"
	says 2 "takes a number from 1 to 256" "${jobd[@]}" --workers "$rubbish"
	says 2 "--state cannot be '${rubbish:0:80}': it is one of queued, running, paused, stopping, completed, failed, stopped" \
		"$JOBCTL_PROGRAM" list --state "$rubbish"
	says 2 "--newest takes a number, not 'x${rubbish:0:79}'" "$JOBCTL_PROGRAM" list --newest "x$rubbish"
	says 2 "unknown option --${rubbish:0:80}; see --help" "$JOBCTL_PROGRAM" list "--$rubbish"
	says 2 "unknown command '${rubbish:0:80}'; see jobctl --help" "$JOBCTL_PROGRAM" "$rubbish"
	says 2 "unknown kind '${rubbish:0:80}'" "$JOBCTL_PROGRAM" start "$rubbish" 127.0.0.1
}

@test "a library for tables that cannot be loaded: what prints one says so, all else does without" {
	start_jobd
	mkdir "$BATS_TEST_TMPDIR/lib"
	: >"$BATS_TEST_TMPDIR/lib/libsmartcols.so.1"
	without_tables() {
		env LD_LIBRARY_PATH="$BATS_TEST_TMPDIR/lib" "$JOBCTL_PROGRAM" "$@"
	}
	run -0 without_tables start ping --wait 127.0.0.1
	[[ $output == *"1/1 replies"* ]]
	run -1 --separate-stderr without_tables list
	[ -z "$output" ]
	[[ $stderr == "jobctl: cannot print a table without libsmartcols: "*"--json" ]]
	run -1 --separate-stderr without_tables show 1
	[ -z "$output" ]
	run -0 without_tables list --json
	[[ $output == *'"state":"completed"'* ]]
	run -0 jobctl list
}

@test "more selectors, or targets in them, than one call may have" {
	start_jobd
	run -1 jobctl list {1..10001}
	[[ $output == *"10001 selectors are more than 10000: "* ]]
	jobctl start ping --wait --summary 127.1.0.0/16 >/dev/null
	run -1 jobctl stop 1/127.1.0.0/16 1/127.1.0.0/16
	[[ $output == *"more than 100000 targets are named of jobs: "* ]]
	# The numbers of tasks count as well
	run -1 jobctl stop 1/127.1.0.0/16 '1/127.1.[1-134].[0-255]' 1/{0..163}
	[[ $output == *"more than 100000 targets are named of jobs: "* ]]
}
