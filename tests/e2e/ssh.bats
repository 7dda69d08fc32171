#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Real sshd, dropbear, and the project's own server for bad manners.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	test_user
	# The far side is this machine: its user reads and writes in the test's folder
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" \
		"$BATS_TEST_TMPDIR" 2>/dev/null || :
}

teardown() {
	common_teardown
}

ssh_job() {
	jobctl start ssh --wait --login "$TEST_USER" --port "$SSH_PORT" "$@"
}

@test "thirty routers at once: every output, by its target" {
	start_sshd
	for i in $(seq 30); do known 127.0.1."$i"; done
	start_jobd
	run -0 ssh_job '127.0.1.[1-30]' -- 'echo I am ${SSH_CONNECTION#* * }'
	[ "$(wc -l <<<"$output")" -eq 30 ]
	for i in $(seq 30); do
		grep -q "^127.0.1.$i: I am 127.0.1.$i $SSH_PORT$" <<<"$output"
	done
}

@test "standard output, standard error and exit status are kept apart" {
	start_sshd
	known 127.0.0.1
	start_jobd
	run -3 --separate-stderr ssh_job 127.0.0.1 -- 'echo out; echo err >&2; exit 3'
	[ "$output" = out ]
	[[ $stderr == *err* ]]
	[[ $stderr == *"failed (exit)"*3* ]]
	run -0 ssh_job --success-codes 3 127.0.0.1 -- 'exit 3'
}

@test "of one target: what failed stands on a line of its own, and nothing is added to its output" {
	start_sshd
	known 127.0.0.1
	start_jobd
	run -3 ssh_job 127.0.0.1 -- 'printf out; exit 1'
	[ "$output" = $'out\n127.0.0.1: failed (exit): exit status 1' ]
	run -3 ssh_job 127.0.0.1 -- 'printf err >&2; exit 1'
	[ "$output" = $'err\n127.0.0.1: failed (exit): exit status 1' ]
	run -3 ssh_job 127.0.0.1 -- 'echo out; exit 1'
	[ "$output" = $'out\n127.0.0.1: failed (exit): exit status 1' ]
	run -3 --separate-stderr ssh_job 127.0.0.1 -- 'printf out; exit 1'
	[ "$output" = out ]
	[ "$stderr" = '127.0.0.1: failed (exit): exit status 1' ]
}

@test "several commands run one after the other, up to the first that fails" {
	start_sshd
	known 127.0.0.1
	start_jobd
	run -3 --separate-stderr ssh_job --command 'echo one' --command 'echo two; false' --command 'echo three' 127.0.0.1
	[ "$output" = $'one\ntwo' ]
}

@test "--rate: no more sessions begin in a second, retries too, and it can be adjusted" {
	start_sshload --none --exit 1
	failing=$SSH_PORT
	start_sshload --none --listen 0.0.0.0
	start_jobd
	run -0 jobctl start ssh --wait --host-key off --rate 10 --port "$SSH_PORT" '127.0.0.[1-11]' -- true
	jobctl show 1 --json | jq -e '[.taskList[].startedUsec] | max - min >= 900000'
	run -3 jobctl start ssh --wait --host-key off --rate 10 --retries 10 --retry-delay 1ms --port "$failing" 127.0.0.1 -- true
	# Its start is that of the last attempt
	jobctl show 2 --json | jq -e '.taskList[0].attempts == 11 and .taskList[0].startedUsec - .startedUsec >= 900000'
	jobctl start ssh --host-key off --rate 1 --port "$SSH_PORT" '127.0.0.[1-200]' -- true
	wait_until "$BOUND" eval '[ "$(jobctl list 3 --json | jq .succeeded)" -ge 1 ]'
	jobctl list 3 --json | jq -e '.queued > 150'
	jobctl adjust 3 --rate 1000
	run -0 jobctl wait 3 --timeout "$BOUND"
}

# typed WORD WORD...: jobctl on a terminal where the first word is typed when it asks
typed() {
	python3 - "$JOBCTL_PROGRAM" "$@" <<-'END'
		import os, pty, sys
		pid, terminal = pty.fork()
		if pid == 0:
		    os.execv(sys.argv[1], [sys.argv[1]] + sys.argv[3:])
		said = b""
		try:
		    while True:
		        said += os.read(terminal, 4096)
		        if said.endswith(b"targets: "):
		            os.write(terminal, sys.argv[2].encode())
		except OSError:
		    pass
		print(said.decode())
		sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	END
}

# remembers WORD: it stands somewhere in jobd's memory
remembers() {
	python3 - "$JOBD_PID" "$1" <<-'END'
		import re, sys
		found = 0
		with open(f"/proc/{sys.argv[1]}/maps") as maps, open(f"/proc/{sys.argv[1]}/mem", "rb", 0) as memory:
		    for line in maps:
		        start, end, mode = re.match("(\\w+)-(\\w+) (\\S+)", line).groups()
		        if mode.startswith("rw"):
		            memory.seek(int(start, 16))
		            try:
		                found += sys.argv[2].encode() in memory.read(int(end, 16) - int(start, 16))
		            except OSError:
		                pass
		sys.exit(found == 0)
	END
}

@test "--ask-password: typed unseen, kept in memory until the job has ended, and written nowhere" {
	local word=Cisco-$RANDOM-$RANDOM
	start_sshload --listen 0.0.0.0 --password "$word" --delay 1
	start_jobd
	run -0 typed "$word"$'\n' start ssh --ask-password --wait --host-key off --port "$SSH_PORT" 127.0.0.1 -- show version
	[[ $output == *"Password for the targets: "* ]]
	[[ $output != *"$word"* ]]
	is_state 1 completed
	jobctl show 1 --json | jq -e '.options.ssh | .hasPassword and (has("password") | not)'
	# While a job runs it is there, and that this test can see it is seen by that
	run -0 typed "$word"$'\n' start ssh --ask-password --host-key off --port "$SSH_PORT" --parallel 1 '127.0.0.1' "127.0.0.1:$SSH_PORT" -- show version
	[ -n "$JOBD_SANITIZED" ] || remembers "$word"
	run -0 jobctl wait
	[ -n "$JOBD_SANITIZED" ] || run -1 remembers "$word"
	run -1 grep -rqF "$word" "$BATS_TEST_TMPDIR"
	# A wrong one; none; no terminal
	run -3 typed $'wrong\n' start ssh --ask-password --wait --host-key off --port "$SSH_PORT" 127.0.0.1 -- show version
	[[ $output == *"failed (auth)"* ]]
	run -2 typed $'\n' start ssh --ask-password --host-key off --port "$SSH_PORT" 127.0.0.1 -- show version
	run -130 typed $'\x03' start ssh --ask-password --host-key off --port "$SSH_PORT" 127.0.0.1 -- show version
	run -2 setsid -w "$JOBCTL_PROGRAM" start ssh --ask-password 127.0.0.1 -- show version
	[[ $output == *"there is no terminal to ask for the password on"* ]]
	# What a restart leaves says so
	run -0 typed "$word"$'\n' start ssh --ask-password --host-key off --rate 1 --port "$SSH_PORT" 127.0.0.1 127.0.0.2 127.0.0.3 -- show version
	kill9_jobd
	start_jobd
	run -3 jobctl wait @last --timeout "$BOUND"
	run -0 jobctl receive @last
	[[ $output == *"kept in memory only and is gone"* ]]
}

# exported JOB STREAM: the bytes of a stream, put together again from the lines of an export
exported() {
	jobctl export "$1" | python3 -c '
import base64, json, sys
at = 0
for line in sys.stdin:
    record = json.loads(line).get("record", {})
    if record.get("stream") == sys.argv[1]:
        bytes = base64.b64decode(record["data"]) if "data" in record else record["text"].encode()
        assert record["offset"] == at, (record["offset"], at)
        at += len(bytes)
        sys.stdout.buffer.write(bytes)' "$2"
}

@test "export: everything, byte for byte, and nothing is received by it" {
	start_sshd
	known 127.0.0.1
	start_jobd
	head -c 300000 /dev/urandom >"$BATS_TEST_TMPDIR/random"
	jobctl start ssh --name noisy --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- \
		"cat $BATS_TEST_TMPDIR/random; echo 'warning: tab	end' >&2; exit 4"
	jobctl start ping 127.0.0.1 127.0.0.2
	run -3 jobctl wait
	exported 1 stdout | cmp - "$BATS_TEST_TMPDIR/random"
	[ "$(exported 1 stderr)" = $'warning: tab\tend' ]
	jobctl export >"$BATS_TEST_TMPDIR/export"
	# Each line is one thing: two jobs, three tasks, three ends; the newest job first
	[ "$(jq -c keys "$BATS_TEST_TMPDIR/export" | sort | uniq -c | awk '{print $1 $2}' | head -n 1)" = '2["job"]' ]
	[ "$(jq -c 'select(.task)' "$BATS_TEST_TMPDIR/export" | wc -l)" -eq 3 ]
	[ "$(jq -c 'select(.record.task) | [.record.job, .record.task.state]' "$BATS_TEST_TMPDIR/export" | tr '\n' ' ')" = \
		'[2,"succeeded"] [2,"succeeded"] [1,"failed"] ' ]
	jq -se '.[].job | select(.id == 1) | .name == "noisy" and .options.ssh.commands != null and .options.targets == ["127.0.0.1"] and .failed == 1' \
		"$BATS_TEST_TMPDIR/export"
	jq -se '.[].record.task.ssh | values | .exitStatus == 4 and .stdoutBytes == 300000' "$BATS_TEST_TMPDIR/export"
	# The same as what the other commands show
	diff <(jobctl show 1 --json | jq -cS '.taskList[]') <(jobctl export 1 | jq -cS 'select(.task) | .task')
	diff <(jobctl receive --again --keep --json 1 | jq -cS .) <(jobctl export 1 | jq -cS 'select(.record) | .record')
	[ "$(jobctl list --with-results --json | wc -l)" -eq 2 ]
	run -1 jobctl export 77
	[[ $output == *77* ]]
}

@test "megabytes of output, binary, whole" {
	start_sshd
	known 127.0.0.1
	start_jobd
	head -c 5000000 /dev/urandom >"$BATS_TEST_TMPDIR/random"
	jobctl start ssh --wait --raw --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- "cat $BATS_TEST_TMPDIR/random" >"$BATS_TEST_TMPDIR/got"
	cmp "$BATS_TEST_TMPDIR/random" "$BATS_TEST_TMPDIR/got"
	jobctl receive @last --again --raw | cmp - "$BATS_TEST_TMPDIR/random"
}

@test "--stdin reaches the command" {
	start_sshd
	known 127.0.0.1
	start_jobd
	printf 'a\nb\n' >"$BATS_TEST_TMPDIR/in"
	run -0 ssh_job --stdin "$BATS_TEST_TMPDIR/in" 127.0.0.1 -- 'wc -l'
	[ "$output" = 2 ]
}

@test "an unknown host key is refused, accept-new adds it, a changed one is refused" {
	start_sshd
	start_jobd
	run -3 ssh_job 127.0.0.1 -- true
	[[ $output == *"failed (host-key)"*"not known"* ]]
	run -0 ssh_job --host-key accept-new 127.0.0.1 -- true
	run -0 ssh_job 127.0.0.1 -- true
	# Another key under the same name
	ssh-keygen -q -t ed25519 -N '' -f "$SSH_DIR/other"
	sed -i "s|\(127.0.0.1[^ ]* \).*|\1$(cut -d' ' -f1,2 "$SSH_DIR/other.pub")|" "$HOME/.ssh/known_hosts"
	run -3 ssh_job 127.0.0.1 -- true
	[[ $output == *"failed (host-key)"*"changed"* ]]
	run -3 ssh_job --host-key accept-new 127.0.0.1 -- true
	[[ $output == *"changed"* ]]
	run -0 ssh_job --host-key off 127.0.0.1 -- true
}

@test "a password by a named credential; a wrong one is told" {
	start_sshload --password secret
	echo secret >"$BATS_TEST_TMPDIR/password"
	echo wrong >"$BATS_TEST_TMPDIR/wrong"
	chmod 600 "$BATS_TEST_TMPDIR"/{password,wrong}
	cat >"$BATS_TEST_TMPDIR/jobd.conf" <<-END
		[credential lab]
		user = admin
		password-file = $BATS_TEST_TMPDIR/password
		[credential bad]
		user = admin
		password-file = $BATS_TEST_TMPDIR/wrong
	END
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	run -0 jobctl start ssh --wait --host-key off --port "$SSH_PORT" --credential lab 127.0.0.1 -- true
	run -3 jobctl start ssh --wait --host-key off --port "$SSH_PORT" --credential bad 127.0.0.1 -- true
	[[ $output == *"failed (auth)"* ]]
	run -2 jobctl start ssh --credential none 127.0.0.1 -- true
	[[ $output == *none* ]]
	# An empty one is not tried
	echo >"$BATS_TEST_TMPDIR/wrong"
	run -3 jobctl start ssh --wait --host-key off --port "$SSH_PORT" --credential bad 127.0.0.1 -- true
	[[ $output == *"failed (auth)"*"nothing to try"*"the password of the credential is empty: write it into its file"* ]]
	# No secret in the database, the log, or an answer
	run -1 grep -r secret "$BATS_TEST_TMPDIR/db" "$JOBD_LOG"
	run -0 jobctl show @last --json
	[[ $output != *secret* ]]
}

# credential NAME: jobd.conf with this one alone
credential() {
	printf '[credential %s]\nuser = admin\npassword-file = %s\n' "$1" "$BATS_TEST_TMPDIR/password" \
		>"$BATS_TEST_TMPDIR/jobd.conf"
}

@test "a reload: a new credential serves at once, and one that is gone is told" {
	start_sshload --listen 0.0.0.0 --password secret --delay 3
	echo secret >"$BATS_TEST_TMPDIR/password"
	credential old
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	jobctl start ssh --parallel 1 --host-key off --port "$SSH_PORT" --credential old 127.0.0.[1-2] -- true
	wait_until "$BOUND" running_tasks 1 1
	jobctl pause 1
	credential new
	kill -HUP "$JOBD_PID"
	wait_until "$BOUND" grep -q 'was read again' "$JOBD_LOG"
	run -0 jobctl start ssh --wait --host-key off --port "$SSH_PORT" --credential new 127.0.0.3 -- true
	jobctl resume 1
	run -3 jobctl wait 1
	run -0 jobctl receive 1 --failed
	[[ $output == "127.0.0.2: failed (auth): jobd.conf has no [credential old] any more" ]]
}

@test "no key fits: auth" {
	start_sshd
	known 127.0.0.1
	: >"$SSH_DIR/authorized_keys"
	start_jobd
	run -3 ssh_job 127.0.0.1 -- true
	[[ $output == *"failed (auth)"* ]]
}

@test "dropbear" {
	start_dropbear
	start_jobd
	# dropbear reads root's own authorized_keys, which are not ours to change: that it is asked
	# and refuses is the point
	run -3 ssh_job --host-key off 127.0.0.1 -- true
	[[ $output == *"failed (auth)"* ]]
	run -3 ssh_job 127.0.0.1 -- true
	[[ $output == *"failed (host-key)"* ]]
}

@test "stop ends the command on the far side" {
	start_sshd
	known 127.0.0.1
	start_jobd
	far=$(mark pid)
	id=$(jobctl start ssh --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- "echo \$\$ >$far; exec sleep 1000")
	wait_until 20 test -s "$far"
	jobctl stop "$id"
	wait_until 10 is_state "$id" stopped
	run -0 jobctl receive "$id"
	[[ $output == *"127.0.0.1: stopped" ]]
	wait_until 10 gone "$(cat "$far")"
}

@test "--timeout ends the attempt and the far side, and what was written is kept" {
	start_sshd
	known 127.0.0.1
	start_jobd
	far=$(mark pid)
	run -3 --separate-stderr ssh_job --timeout 2s 127.0.0.1 -- "echo \$\$ >$far; echo begun; exec sleep 1000"
	[ "$output" = begun ]
	[[ $stderr == *"failed (timeout)"* ]]
	wait_until 10 gone "$(cat "$far")"
}

@test "--idle-timeout, --deadline, --max-output" {
	start_sshd
	known 127.0.0.1
	start_jobd
	run -3 ssh_job --idle-timeout 500ms 127.0.0.1 -- 'echo x; sleep 1000'
	[[ $output == *"failed (timeout)"* ]]
	run -3 ssh_job --deadline 1s 127.0.0.1 -- 'sleep 1000'
	[[ $output == *"failed (timeout)"*deadline* ]]
	run -3 --separate-stderr ssh_job --max-output 4K 127.0.0.1 -- 'yes'
	[[ $stderr == *"failed (output-limit)"* ]]
	[ "${#output}" -le 4096 ]
}

@test "--group folds, --dir writes a file a target" {
	start_sshd
	for i in 1 2 3; do known 127.0.1.$i; done
	start_jobd
	run -0 ssh_job --group '127.0.1.[1-3]' -- 'case ${SSH_CONNECTION#* * } in *.3\ *) echo odd;; *) echo even;; esac'
	grep -qF -- '--- 127.0.1.[1-2] (2)' <<<"$output"
	grep -qF -- '--- 127.0.1.3 (1)' <<<"$output"
	jobctl receive @last --again --dir "$BATS_TEST_TMPDIR/backup"
	[ "$(cat "$BATS_TEST_TMPDIR/backup/127.0.1.3")" = odd ]
	[ "$(cat "$BATS_TEST_TMPDIR/backup/127.0.1.1")" = even ]
}

@test "--group: failures that are told alike are one line" {
	start_sshd
	for i in 1 2 3 10; do known 127.0.1.$i; done
	start_jobd
	run -3 --separate-stderr ssh_job --group '127.0.1.[1-3]' 127.0.1.10 127.0.1.30 127.0.1.1:1 -- \
		'echo out; case ${SSH_CONNECTION#* * } in *.3\ *) exit 3;; *) exit 1;; esac'
	[ "$output" = $'--- 127.0.1.[1-3,10] (4)\nout' ]
	[ "$(LC_ALL=C sort <<<"$stderr")" = "127.0.1.1:1: failed (refused): 127.0.1.1 port 1 refuses connections
127.0.1.30: failed (host-key): the key of 127.0.1.30 is not known; connect once with ssh, or use --host-key accept-new
127.0.1.3: failed (exit): exit status 3
127.0.1.[1-2,10] (3): failed (exit): exit status 1" ]
	run -3 --separate-stderr jobctl start ssh --wait --group --port 1 '127.0.1.[1-3]' -- true
	[ "$stderr" = "127.0.1.[1-3] (3): failed (refused): 127.0.1.[1-3] port 1 refuses connections" ]
}

@test "--dir: only what is whole replaces what an earlier run left" {
	start_sshd
	known 127.0.1.1 127.0.1.2
	start_jobd
	dir=$BATS_TEST_TMPDIR/a/b
	# Told before the command has run
	run -2 ssh_job --dir /proc/none 127.0.1.1 -- true
	[ "$output" = "jobctl: --dir: cannot make /proc/none: No such file or directory" ]
	run -2 ssh_job --dir /etc/passwd 127.0.1.1 -- true
	[ "$output" = "jobctl: --dir: cannot write to /etc/passwd: Not a directory" ]
	run -0 jobctl list
	[ -z "$output" ]

	run -0 ssh_job --dir "$dir" '127.0.1.[1-2]' -- 'echo good'
	run -3 ssh_job --dir "$dir" '127.0.1.[1-2]' -- 'case $SSH_CONNECTION in *.2\ *) echo half; exit 1;; *) echo better;; esac'
	[ "$output" = "127.0.1.2: failed (exit): exit status 1; its output is in $dir/127.0.1.2.part" ]
	[ "$(cat "$dir/127.0.1.1")" = better ]
	[ "$(cat "$dir/127.0.1.2")" = good ]
	[ "$(cat "$dir/127.0.1.2.part")" = half ]
	# What is no output of a command takes nobody's place
	run -0 jobctl start ping --wait --count 1 --dir "$dir" 127.0.1.2
	run -3 jobctl start ssh --wait --port 1 --dir "$dir" 127.0.1.2 -- true
	[ "$output" = "127.0.1.2: failed (refused): 127.0.1.2 port 1 refuses connections" ]
	[ "$(cat "$dir/127.0.1.2")" = good ]
	# Nothing came: nothing of the run before stands for it
	run -3 ssh_job --dir "$dir" 127.0.1.2 -- 'exit 2'
	[ "$output" = "127.0.1.2: failed (exit): exit status 2" ]
	[ ! -e "$dir/127.0.1.2.part" ]
	run -0 ssh_job --dir "$dir" '127.0.1.[1-2]' -- true
	[ "$(ls "$dir")" = $'127.0.1.1\n127.0.1.2' ]
	[ ! -s "$dir/127.0.1.1" ]
}

@test "--dir: output of which a part was received before is no file" {
	start_sshd
	known 127.0.1.1
	start_jobd
	dir=$BATS_TEST_TMPDIR/dir go=$(mark go)
	jobctl start ssh --login root --port "$SSH_PORT" 127.0.1.1 -- \
		"echo one; while [ -d ${go%/*} ] && [ ! -e $go ]; do sleep 0.05; done; echo two"
	wait_until "$BOUND" eval '[ -n "$(jobctl receive 1 --keep)" ]'
	[ "$(jobctl receive 1)" = one ]
	[ "$(jobctl receive 1 --cursor half)" = one ]
	touch "$go"
	run -0 jobctl receive 1 --wait --dir "$dir"
	[ "$output" = "jobctl: $dir/127.0.1.1 is as it was, since a part of the output was received before: --again writes all of it" ]
	[ ! -e "$dir/127.0.1.1" ]
	# --remove keeps what is not in its file
	run -1 jobctl receive 1 --cursor half --remove --dir "$dir"
	[ "$output" = "jobctl: --dir: $dir/127.0.1.1 is as it was, and the job is kept, since a part of the output was received before: --again writes all of it" ]
	run -0 jobctl receive 1 --again --remove --dir "$dir"
	[ "$(cat "$dir/127.0.1.1")" = $'one\ntwo' ]
	[ -z "$(jobctl list)" ]
}

@test "--dir: two jobs that ran at the same time do not write into one file" {
	start_sshd
	known 127.0.1.1
	start_jobd
	dir=$BATS_TEST_TMPDIR/dir go=$(mark go)
	for word in aaa bbb; do
		jobctl start ssh --login root --port "$SSH_PORT" 127.0.1.1 -- "echo $word; while [ ! -e $go ]; do sleep 0.05; done; echo $word"
		wait_until "$BOUND" eval "jobctl receive @last --keep | grep -q $word"
	done
	touch "$go"
	run -0 jobctl receive --wait --dir "$dir"
	[[ $(cat "$dir/127.0.1.1") == @($'aaa\naaa'|$'bbb\nbbb') ]]
	[ "$(ls "$dir")" = 127.0.1.1 ]
	# Of such as ran one after the other the newest stays
	run -0 ssh_job 127.0.1.1 -- echo ccc
	run -0 jobctl receive 1 3 --again --dir "$dir"
	[ "$(cat "$dir/127.0.1.1")" = ccc ]
}

@test "--dir: what was confirmed is on disk" {
	start_sshd
	known 127.0.1.1
	start_jobd
	image_disk 16M
	jobctl start ssh --login "$TEST_USER" --port "$SSH_PORT" 127.0.1.1 -- 'echo config'
	run -0 jobctl receive 1 --wait --remove --dir "$MOUNTED/backup"
	cut_power
	[ "$(cat "$MOUNTED/backup/127.0.1.1")" = config ]
}

@test "of a task that was tried again --dir, --group and diff take what the last try wrote" {
	start_sshd
	known 127.0.1.1 127.0.1.2
	start_jobd
	dir=$BATS_TEST_TMPDIR/dir tried=$(mark tried)
	command="echo one; echo err >&2; case \$SSH_CONNECTION in *.2\ *) [ -e $tried ] || { touch $tried; echo half; exit 1; };; esac; echo two"
	for words in "--dir $dir" --group; do
		rm -f "$tried"
		# shellcheck disable=SC2086
		run -0 --separate-stderr ssh_job $words --retries 1 --retry-delay 1ms '127.0.1.[1-2]' -- "$command"
	done
	[ "$output" = $'--- 127.0.1.[1-2] (2)\none\ntwo' ]
	for i in 1 2; do [ "$(cat "$dir/127.0.1.$i")" = $'one\ntwo' ]; done
	[ "$(ls "$dir")" = $'127.0.1.1\n127.0.1.2' ]
	ssh_job '127.0.1.[1-2]' -- "$command" >/dev/null
	run -0 jobctl diff 1 3
	[ "$output" = "jobctl: 0 changed, 2 the same" ]
	# Several commands of one session are one output
	run -0 ssh_job --dir "$dir" --command 'echo a' --command 'echo b' 127.0.1.1
	[ "$(cat "$dir/127.0.1.1")" = $'a\nb' ]
}

@test "connections that break before the login are tried again" {
	start_sshload --none --drop-before-auth 50
	start_jobd
	run -0 jobctl start ssh --wait --quiet --host-key off --port "$SSH_PORT" '127.0.0.[1-1]' -- true
	jobctl start ssh --host-key off --port "$SSH_PORT" 127.0.0.1 127.0.0.1:"$SSH_PORT" -- true
	run -0 jobctl wait --timeout 120
}

@test "a thousand sessions at once: all succeed, under 64 KiB each" {
	start_sshload --none --listen 0.0.0.0 --delay "${JOBD_TEST_DELAY:-5}"
	start_jobd
	jobctl start ssh --wait --host-key off --port "$SSH_PORT" 127.0.0.1 -- true
	before=$(awk '/VmHWM/ {print $2}' "/proc/$JOBD_PID/status")
	jobctl start ssh --host-key off --port "$SSH_PORT" '127.0.[1-4].[1-250]' -- show version
	run -0 jobctl wait --timeout 300
	peak=$(awk '/VmHWM/ {print $2}' "/proc/$JOBD_PID/status")
	[ "$(jobctl list @last --json | jq .succeeded)" -eq 1000 ]
	echo "$before kB before, $peak kB at the peak"
	[ -n "$JOBD_SANITIZED" ] || [ $((peak - before)) -lt 64000 ]
}

@test "an sshd of the old algorithms alone: what would help is said, and helps" {
	ssh-keygen -q -t rsa -b 2048 -N '' -f "$BATS_TEST_TMPDIR/ssh_host_rsa"
	start_sshd 'KexAlgorithms diffie-hellman-group1-sha1' 'HostKeyAlgorithms ssh-rsa' 'Ciphers aes128-cbc' \
		'MACs hmac-sha1' "HostKey $BATS_TEST_TMPDIR/ssh_host_rsa"
	start_jobd
	run -3 ssh_job --host-key off --login root 127.0.0.1 -- true
	[[ $output == *"failed (protocol): 127.0.0.1 offers no key exchange that jobd takes (it offers diffie-hellman-group1-sha1"*"; jobd curve25519-sha256,"*"): try --legacy, or --ssh-option 'KexAlgorithms +diffie-hellman-group1-sha1'"* ]]
	run -0 ssh_job --host-key off --login root --legacy 127.0.0.1 -- true
	# Each by itself, of which the next failure speaks
	options=()
	while run ssh_job --host-key off --login root "${options[@]}" 127.0.0.1 -- true; [ "$status" -ne 0 ]; do
		[[ $output =~ --ssh-option\ \'([^\']*)\' ]] || break
		options+=(--ssh-option "${BASH_REMATCH[1]}")
		[ "${#options[@]}" -le 8 ]
	done
	[ "${#options[@]}" -eq 8 ]
	run -0 ssh_job --host-key off --login root "${options[@]}" 127.0.0.1 -- true
	# For that host alone
	printf 'Host 127.0.0.1\n KexAlgorithms diffie-hellman-group1-sha1\n HostKeyAlgorithms +ssh-rsa\n Ciphers ^aes128-cbc,3des-cbc\n MACs -hmac-sha2*,hmac-sha1\n' >"$HOME/.ssh/config"
	stop_jobd
	start_jobd
	run -3 ssh_job --host-key off --login root 127.0.0.1 -- true
	[[ $output == *"offers no MAC that jobd takes"* || $output == *"the algorithms for 127.0.0.1 are none that jobd has"* ]]
	sed -i 's/MACs .*/MACs hmac-sha1/' "$HOME/.ssh/config"
	wait_until "$BOUND" ssh_job --host-key off --login root 127.0.0.1 -- true
	run -2 ssh_job --ssh-option 'ProxyCommand nc' 127.0.0.1 -- true
	[[ $output == *"'ProxyCommand' is not honoured; these are: HostName, "* ]]
}

@test "keys with a passphrase, certificates, and the keys that ssh_config names" {
	start_sshd "TrustedUserCAKeys $BATS_TEST_TMPDIR/ca.pub"
	known 127.0.0.1
	ssh-keygen -q -t ed25519 -N '' -f "$BATS_TEST_TMPDIR/ca"
	ssh-keygen -q -t ed25519 -N 'pass word' -f "$BATS_TEST_TMPDIR/locked"
	ssh-keygen -q -t ecdsa -N '' -f "$BATS_TEST_TMPDIR/certified"
	ssh-keygen -q -s "$BATS_TEST_TMPDIR/ca" -I jobd -n root "$BATS_TEST_TMPDIR/certified.pub"
	# Nobody gets in but by these two
	cp "$BATS_TEST_TMPDIR/locked.pub" "$SSH_DIR/authorized_keys"
	echo 'pass word' >"$BATS_TEST_TMPDIR/passphrase"
	echo wrong >"$BATS_TEST_TMPDIR/wrong"
	chmod 600 "$BATS_TEST_TMPDIR"/{passphrase,wrong}
	for name in passphrase wrong; do
		printf '[credential %s]\nuser = root\nidentity = %s\npassphrase-file = %s\n' "$name" \
			"$BATS_TEST_TMPDIR/locked" "$BATS_TEST_TMPDIR/$name"
	done >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	run -3 ssh_job --login root 127.0.0.1 -- true
	run -3 ssh_job --credential wrong --login root 127.0.0.1 -- true
	[[ $output == *"the passphrase of the credential does not open $BATS_TEST_TMPDIR/locked"* ]]
	run -0 ssh_job --credential passphrase --login root 127.0.0.1 -- true
	run -3 ssh_job --credential wrong --login root --ssh-option 'IdentitiesOnly yes' 127.0.0.1 -- true
	run -0 ssh_job --identity "$BATS_TEST_TMPDIR/certified" --login root 127.0.0.1 -- true
	# Of another key
	ssh-keygen -q -t ecdsa -N '' -f "$BATS_TEST_TMPDIR/other"
	cp "$BATS_TEST_TMPDIR/certified-cert.pub" "$BATS_TEST_TMPDIR/elsewhere"
	run -3 ssh_job --ssh-option "IdentityFile $BATS_TEST_TMPDIR/other" \
		--ssh-option "CertificateFile $BATS_TEST_TMPDIR/elsewhere" --login root 127.0.0.1 -- true
	[[ $output == *"tried other)"* ]]
	mv "$BATS_TEST_TMPDIR/certified-cert.pub" "$BATS_TEST_TMPDIR/moved"
	printf 'Host 127.*\n IdentityFile %s/%%d\n IdentityFile %s/certified\n CertificateFile %s/moved\n' \
		"$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR" >"$HOME/.ssh/config"
	wait_until "$BOUND" ssh_job --login root 127.0.0.1 -- true
	# What a system's jobd does not do
	run -0 jobctl show @last --json
	[[ $output != *'pass word'* ]]
}

@test "several prompts of the server: a question, a code, and the password" {
	start_sshload --prompt secret --confirm
	echo secret >"$BATS_TEST_TMPDIR/password"
	chmod 600 "$BATS_TEST_TMPDIR/password"
	credential lab
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	run -3 jobctl start ssh --wait --host-key off --port "$SSH_PORT" --credential lab 127.0.0.1 -- true
	[[ $output == *"failed (auth)"*"tried the password at a prompt"* ]]
	run -0 jobctl start ssh --wait --host-key off --port "$SSH_PORT" --credential lab --answer 'code=123456' 127.0.0.1 -- true
}

@test "a burst against an sshd that drops what is too much: every task succeeds, gently or not" {
	start_sshd 'MaxStartups 10:30:100'
	for i in $(seq 60); do known 127.0.2."$i"; done
	start_jobd
	run -0 ssh_job '127.0.2.[1-60]' -- true
	run -0 ssh_job --rate 50 '127.0.2.[1-20]' -- true
}

@test "--per-host-limit: no more sessions at a time with one host, whoever logs in" {
	start_sshload --none --delay 0.2
	start_jobd --workers 3
	run -0 jobctl start ssh --wait --host-key off --per-host-limit 2 --port "$SSH_PORT" 'u[1-10]@127.0.0.1' -- true
	# Of any three that follow each other, the third began when the first had ended
	jobctl show 1 --json | jq -e '[.taskList | sort_by(.startedUsec)[]] | length == 10'
	jobctl show 1 --json | jq -e '[.taskList[].endedUsec] | sort | [range(2; length) as $i | .[$i] - .[$i - 2]] | min >= 190000'
}

@test "more targets than descriptors: they wait, none fails, and clients are still heard" {
	start_sshload --none --listen 0.0.0.0 --delay 0.1
	printf '#!/bin/sh\nulimit -n 100\nexec "%s" "$@"\n' "$JOBD_PROGRAM" >"$BATS_TEST_TMPDIR/few"
	chmod +x "$BATS_TEST_TMPDIR/few"
	JOBD_PROGRAM=$BATS_TEST_TMPDIR/few start_jobd
	id=$(jobctl start ssh --host-key off --port "$SSH_PORT" '127.0.[1-5].[1-200]' -- true)
	while ! jobctl wait "$id" --timeout 0.1s; do
		run -0 jobctl status
		[ "$(jobctl list "$id" --json | jq .failed)" -eq 0 ]
	done
	# Not by trying again
	jobctl show "$id" --json | jq -e 'all(.taskList[]; .state == "succeeded" and .attempts == 1)'
}
