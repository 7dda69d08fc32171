#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What changed between two runs, on a real sshd whose "configurations" are files.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	test_user
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" 2>/dev/null || :
	mkdir -m 755 "$BATS_TEST_TMPDIR/configs"
}

teardown() {
	common_teardown
}

# config LAST LINE...: what the router 127.0.1.LAST is asked for; no lines: it has nothing
config() {
	local file=$BATS_TEST_TMPDIR/configs/127.0.1.$1
	shift
	rm -f "$file"
	[ $# -eq 0 ] || printf '%s\n' "$@" >"$file"
}

# show_run JOB TARGET...: without what the job did not succeed with
show_run() {
	local name=$1
	shift
	jobctl start ssh --wait --quiet --raw --name "$name" --login "$TEST_USER" --port "$SSH_PORT" "$@" -- \
		"set -- \$SSH_CONNECTION; cat $BATS_TEST_TMPDIR/configs/\$3" >/dev/null || :
}

# Two jobs, "before" and "after", of four routers and one more each
two_jobs() {
	local i
	start_sshd
	for i in 1 2 3 4 5 6; do
		known "127.0.1.$i"
		config "$i" "hostname r$i" 'ntp server 10.0.0.1' 'snmp on' 'line vty' end
	done
	start_jobd
	show_run before '127.0.1.[1-5]'
	for i in 1 2; do config "$i" "hostname r$i" 'ntp server 10.0.0.2' 'snmp on' 'line vty' end; done
	config 3
	show_run after '127.0.1.[1-4,6]'
}

@test "diff: what changed, for each target, as diff -u says it; the same is not told" {
	two_jobs
	run -1 --separate-stderr jobctl diff before after
	[ "$output" = "--- 1/127.0.1.1
+++ 2/127.0.1.1
@@ -1,5 +1,5 @@
 hostname r1
-ntp server 10.0.0.1
+ntp server 10.0.0.2
 snmp on
 line vty
 end
--- 1/127.0.1.2
+++ 2/127.0.1.2
@@ -1,5 +1,5 @@
 hostname r2
-ntp server 10.0.0.1
+ntp server 10.0.0.2
 snmp on
 line vty
 end
127.0.1.3: succeeded, then failed (exit 1): exit status 1
--- 1/127.0.1.3
+++ 2/127.0.1.3
@@ -1,5 +0,0 @@
-hostname r3
-ntp server 10.0.0.1
-snmp on
-line vty
-end
--- 1/127.0.1.3 (stderr)
+++ 2/127.0.1.3 (stderr)
@@ -0,0 +1 @@
+cat: $BATS_TEST_TMPDIR/configs/127.0.1.3: No such file or directory
only in 1: 127.0.1.5
only in 2: 127.0.1.6" ]
	[ "$stderr" = "jobctl: 3 changed, 1 the same, 1 only in 1, 1 only in 2" ]
	# A name is that of its newest job
	show_run before 127.0.1.4
	config 4 'hostname r4' end
	show_run after 127.0.1.4
	run -1 --separate-stderr jobctl diff before after
	[ "$stderr" = "jobctl: 1 changed, 0 the same" ]
	# Who was not reached wrote nothing, which is no change of what it writes
	show_run before 127.0.1.7
	known 127.0.1.7
	config 7 'hostname r7'
	show_run after 127.0.1.7
	run -1 --separate-stderr jobctl diff before after
	[ "$output" = '127.0.1.7: failed (host-key), then succeeded' ]
}

@test "diff: another exit status, or another signal, is a change" {
	start_sshd
	known 127.0.1.1 127.0.1.2
	start_jobd
	run_status() {
		jobctl start ssh --wait --quiet --login "$TEST_USER" --port "$SSH_PORT" --success-codes 0,7 \
			'127.0.1.[1-2]' -- "echo hi; $1" >/dev/null 2>&1 || :
	}
	run_status 'exit 1'
	run_status 'exit 2'
	run -1 jobctl diff --quiet
	[ "${lines[0]}" = '127.0.1.1: failed (exit 1), then failed (exit 2): exit status 2' ]
	run_status 'kill -TERM $$'
	run_status 'kill -KILL $$'
	run -1 jobctl diff --quiet --group
	[ "$output" = '127.0.1.[1-2] (2): failed (signal TERM), then failed (signal KILL)' ]
	run_status true
	run_status 'exit 7'
	run -1 jobctl diff --quiet --group
	[ "$output" = '127.0.1.[1-2] (2): succeeded, then succeeded (exit 7)' ]
	run_status 'exit 7'
	run -0 jobctl diff --quiet
	[ -z "$output" ]
}

@test "diff: two targets of one job, or of two" {
	two_jobs
	for words in '1/127.0.1.1 1/127.0.1.2' '--group 1/127.0.1.1 1/127.0.1.2'; do
		eval "run -1 --separate-stderr jobctl diff --context 0 $words"
		[ "$output" = '--- 1/127.0.1.1
+++ 1/127.0.1.2
@@ -1 +1 @@
-hostname r1
+hostname r2' ]
		[ "$stderr" = 'jobctl: 1 changed, 0 the same' ]
	done
	run -1 jobctl diff --json 2/127.0.1.1 2/127.0.1.3
	[ "$(jq -c '[.target, .afterTarget, .before, .after]' <<<"$output")" = \
		'["127.0.1.1","127.0.1.3","succeeded","failed (exit 1)"]' ]
	run -1 jobctl diff --quiet 2/127.0.1.1 2/127.0.1.3
	[ "${lines[0]}" = '127.0.1.1, 127.0.1.3: succeeded, then failed (exit 1): exit status 1' ]
	# Where there are more, those of one name are compared
	run -1 --separate-stderr jobctl diff '1/127.0.1.1' '1/127.0.1.[1-2]'
	[ "$stderr" = 'jobctl: 0 changed, 1 the same, 1 only in 1' ]
}

@test "diff: a job that has not ended is compared as it is, and that is said" {
	start_jobd
	jobctl start ping 127.0.0.1
	jobctl wait
	jobctl start ping --count 0 127.0.0.1
	wait_until "$BOUND" is_state 2 running
	run -1 --separate-stderr jobctl diff 1 2
	[ "$output" = '127.0.0.1: succeeded, then running' ]
	[ "$stderr" = 'jobctl: 1 changed, 0 the same; job 2 has not ended' ]
}

@test "diff --ignore: lines that are another each time do not count" {
	start_sshd
	known 127.0.1.1 127.0.1.2
	start_jobd
	for i in 1 2; do
		config 1 $'uptime is '"$i"$' s\r' $'hostname a\r' "ntp clock-period $i"
		config 2 "uptime is $i$i s" "hostname b$i"
		printf 'clock %s' "$i" >>"$BATS_TEST_TMPDIR/configs/127.0.1.2"
		show_run backup '127.0.1.[1-2]'
	done
	run -1 --separate-stderr jobctl diff backup
	[ "$stderr" = 'jobctl: 2 changed, 0 the same' ]
	run -1 --separate-stderr jobctl diff --ignore '^uptime is [0-9]+ s$' --ignore 'ntp clock-|^clock' backup
	[ "$stderr" = 'jobctl: 1 changed, 1 the same' ]
	[ "$output" = '--- 1/127.0.1.2
+++ 2/127.0.1.2
@@ -1 +1 @@
-hostname b1
+hostname b2' ]
	run -0 jobctl diff --quiet --ignore '^uptime|clock|hostname' backup
	run -2 jobctl diff --ignore '(' backup
	[[ $output == "jobctl: --ignore '(' is no regular expression: "* ]]
	run -2 jobctl diff --ignore '' backup
	[ "$output" = 'jobctl: --ignore got an empty value: say --ignore REGEX' ]
}

@test "diff --group: the same change of many targets is told once" {
	two_jobs
	for i in 1 2 4; do config "$i" 'ntp server 10.0.0.2' "end"; done
	show_run third '127.0.1.[1-4]'
	for i in 1 2 4; do config "$i" 'ntp server 10.0.0.3' "end"; done
	show_run fourth '127.0.1.[1-4]'
	run -1 jobctl diff --quiet --group third fourth
	[ "$output" = "--- 3/127.0.1.[1-2,4] (3)
+++ 4/127.0.1.[1-2,4] (3)
@@ -1,2 +1,2 @@
-ntp server 10.0.0.2
+ntp server 10.0.0.3
 end" ]
	run -1 jobctl diff --quiet --group --context 0 before after
	[ "$(grep -c '^@@ -2 +2 @@$' <<<"$output")" -eq 1 ]
	grep -qxF -- '--- 1/127.0.1.[1-2] (2)' <<<"$output"
	grep -qxF '127.0.1.3 (1): succeeded, then failed (exit 1)' <<<"$output"
}

@test "diff: of one word, or a schedule, the two newest jobs that have ended" {
	two_jobs
	show_run before 127.0.1.1
	run -1 --separate-stderr jobctl diff
	[ "$stderr" = "jobctl: 0 changed, 1 the same, 4 only in 2" ]
	show_run before 127.0.1.[1-2]
	jobctl start ssh --name before --login "$TEST_USER" --port "$SSH_PORT" 127.0.1.1 -- sleep 1000
	run -1 --separate-stderr jobctl diff before
	[ "$stderr" = "jobctl: 0 changed, 1 the same, 1 only in 4" ]
	run -0 --separate-stderr jobctl diff before/127.0.1.1
	[ "$stderr" = "jobctl: 0 changed, 1 the same" ]
	jobctl stop @last
	schedule=$(jobctl start ping --every 1h 127.0.0.1)
	jobctl schedules run "$schedule"
	jobctl wait --schedule "$schedule"
	run -0 --separate-stderr jobctl diff --schedule "$schedule"
	[ "$stderr" = "jobctl: 0 changed, 1 the same" ]
}

@test "diff: Ctrl-C while diff(1) works" {
	start_sshd
	known 127.0.1.1
	start_jobd
	# A new order each time: diff(1) has seconds to do
	for i in 1 2; do
		jobctl start ssh --wait --quiet --raw --login "$TEST_USER" --port "$SSH_PORT" 127.0.1.1 -- \
			'seq 1 200000 | shuf' >/dev/null
	done
	setsid "$JOBCTL_PROGRAM" diff 1 2 >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- 4>&- &
	pid=$!
	PIDS+=("$pid")
	wait_until "$BOUND" pgrep -x -P "$pid" diff
	kill -INT -- "-$pid"
	wait_until "$BOUND" gone "$pid"
	status=0
	has_ended "$pid" || status=$?
	[ "$status" -eq 130 ]
	[ ! -s "$BATS_TEST_TMPDIR/out" ]
}

@test "diff: nothing changed is status 0; single targets; JSON; bytes that are no text" {
	two_jobs
	run -0 jobctl diff --quiet 1 1
	[ -z "$output" ]
	run -0 --separate-stderr jobctl diff 1/127.0.1.4 2/127.0.1.4
	[ "$stderr" = "jobctl: 0 changed, 1 the same" ]
	run -1 --separate-stderr jobctl diff 1/127.0.1.1 2/127.0.1.1
	[ "$stderr" = "jobctl: 1 changed, 0 the same" ]
	run -1 --separate-stderr jobctl diff --json 1 2
	[ -z "$stderr" ]
	[ "$(jq -sc 'map(.target)' <<<"$output")" = \
		'["127.0.1.1","127.0.1.2","127.0.1.3","127.0.1.5","127.0.1.6"]' ]
	jq -se '.[0] | .before == "succeeded" and .after == "succeeded" and
		(.stdoutDiff | startswith("@@ -1,5 +1,5 @@\n")) and (has("stderrDiff") | not)' <<<"$output"
	jq -se '.[2] | .after == "failed (exit 1)" and has("stderrDiff")' <<<"$output"
	jq -se '(.[3] | has("after") | not) and (.[4] | has("before") | not)' <<<"$output"
	for i in r R; do
		config 4 $'description f\xfc'"$i"
		show_run latin 127.0.1.4
	done
	run -1 jobctl diff --json latin
	jq -e 'has("stdoutDiff") | not' <<<"$output"
	[ "$(jq -r .stdoutDiffData <<<"$output" | base64 -d)" = $'@@ -1 +1 @@\n-description f\xfcr\n+description f\xfcR' ]
	printf '\0\377' >"$BATS_TEST_TMPDIR/configs/127.0.1.4"
	show_run binary 127.0.1.4
	run -1 jobctl diff --quiet 1/127.0.1.4 binary
	[ "$output" = '--- 1/127.0.1.4
+++ 5/127.0.1.4
Binary files differ' ]
}

@test "diff: wrong words, and no diff(1): never the status of a change" {
	two_jobs
	for words in '1 2 1' '1 2 --state failed' '1 -- x' '1-2 1' "1,2 1" "'b*' 1" '/127.0.1.1 1' '--context x 1 2' \
		'--context -1 1 2' '1 --json 9'; do
		eval "run -2 jobctl diff $words"
		[ "${#lines[@]}" -eq 1 ]
	done
	run -2 jobctl diff 1 9
	[ "$output" = 'jobctl: no job 9; `jobctl list` shows yours' ]
	run -2 jobctl diff before
	[ "$output" = 'jobctl: there are no two jobs to compare in before: two that have ended' ]
	run -2 jobctl diff 1 nobody
	[[ $output == *nobody* ]]
	run -2 env PATH=/nowhere "$JOBCTL_PROGRAM" diff 1 2
	[[ $output == *"diff(1) failed; is the package diffutils there?" ]]
	run -2 bash -c "'$JOBCTL_PROGRAM' diff --quiet 1 2 >/dev/full"
	[[ $output == "jobctl: cannot write the output: "* ]]
	run -4 jobctl diff --socket "$BATS_TEST_TMPDIR/none" 1 2
}
