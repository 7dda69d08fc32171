#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sentences for people: each one line, with the words that were typed and what to do.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
	start_jobd
}

teardown() {
	common_teardown
}

# refuses SENTENCE WORD...: with that line alone
refuses() {
	local sentence=$1
	shift
	run -2 jobctl "$@"
	[ "$output" = "jobctl: $sentence" ]
}

@test "options are named as they are typed, and once" {
	watched="goes on for a while: say how many requests with --count, or 0 for until it is stopped"
	refuses "--on-change $watched" start ping --on-change 127.0.0.1
	refuses "--period $watched" start ping --period 5s 127.0.0.1
	refuses "--source: '::1' is not an IPv4 address, as -4 asks for" start ping -4 --source ::1 127.0.0.1
	run -1 jobctl start ssh --max-output 99T 127.0.0.1 -- true
	[ "$output" = "jobctl: --max-output: 99.0 TiB is more than the 1.0 GiB that jobd.conf allows as max-output-per-task: ask for less" ]
	refuses "--ssh-option 'Bogus' is not of the form 'Keyword value'" start ssh --ssh-option Bogus 127.0.0.1 -- true
}

@test "of words that are none all are told, where none is near" {
	refuses "--host-key cannot be 'yes': it is one of strict, accept-new, off" start ssh --host-key yes 127.0.0.1 -- true
	refuses "--state cannot be 'done': it is one of queued, running, paused, stopping, completed, failed, stopped" \
		list --state 'done'
	refuses "--state cannot be 'runninx'; did you mean 'running'?" list --state runninx
	refuses "unknown option -bad; see --help" start ping -bad 127.0.0.1
}

@test "help: also by -h, of a kind alone, and in 80 columns" {
	run -0 jobctl -h
	[[ $output == *"Commands:"* ]]
	run -0 jobctl start ping -h
	[[ $output == *--max-loss* && $output != *--port* ]]
	[ "$output" = "$(jobctl help start ping)" ]
	run -0 jobctl start ssh --help
	[[ $output != *--max-loss* && $output == *--port* ]]
	for command in $(jobctl --dump-options | cut -f 1 | sort -u) 'start ping'; do
		# shellcheck disable=SC2086
		run -0 jobctl $command -h
		[[ $output != *$'Options:\n\n'* ]]
		run -1 grep -E -e ' $' -e '.{81}' <<<"$output"
	done
}

@test "a schedule where a job is wanted, and a job's id where a schedule is" {
	[ "$(jobctl start ping --every 1h 127.0.0.1)" = s1 ]
	for command in show stop remove; do
		run -1 jobctl "$command" s1
		[ "$output" = "jobctl: no job is called 's1': if it is a schedule, see \`jobctl schedules\` and \`jobctl list --schedule s1\`" ]
	done
	run -1 jobctl schedules pausee s1
	[ "$output" = "jobctl: meant was perhaps 'jobctl schedules pause': no schedule is called 'pausee'; \`jobctl schedules\` shows yours" ]
	run -1 jobctl schedules remove 1
	[ "$output" = "jobctl: no schedule is called '1': an id is written as s1" ]
}

@test "receive tells on a terminal that all was received before" {
	run -3 jobctl start ping --wait --count 1 --reply-timeout 1ms --size 0 192.0.2.1 127.0.0.1
	for words in 1 '1 --failed' ''; do
		# shellcheck disable=SC2086
		run -0 on_terminal 80 "$JOBCTL_PROGRAM" receive $words
		[ "${output%$'\r'}" = "jobctl: there is nothing new; --again gives what was received before" ]
		# shellcheck disable=SC2086
		run -0 jobctl receive $words
		[ -z "$output" ]
	done
	# Who asked for files is to know that none was written
	run -0 jobctl receive 1 --dir "$BATS_TEST_TMPDIR/files"
	[ "$output" = "jobctl: there is nothing new; --again gives what was received before" ]
	jobctl start ping --name up --wait 127.0.0.1
	run -0 on_terminal 80 "$JOBCTL_PROGRAM" receive up --again --failed
	[ "${output%$'\r'}" = "jobctl: there are no such results" ]
	run -0 on_terminal 80 "$JOBCTL_PROGRAM" receive 1 --again
	[ "${#lines[@]}" -eq 2 ]
}

@test "one target is one, and a summary breaks its lines between words" {
	run -0 jobctl start ping --dry-run 127.0.0.1
	[ "${lines[0]}" = "ping: 1 target" ]
	run -0 jobctl start ping --wait --summary 127.0.0.1
	[ "${lines[0]}" = "1 target" ]
	run -3 jobctl start ping --wait --count 1 --reply-timeout 10ms 192.0.2.1
	run -3 jobctl wait @last
	[ "$output" = "jobctl: of 1 task 0 succeeded, 1 failed" ]
	jobctl start ping --wait --quiet '127.100.100.[101-130]' >"$BATS_TEST_TMPDIR/out"
	run -0 on_terminal 80 "$JOBCTL_PROGRAM" receive --summary @last
	summary=${output//$'\r'/}
	LC_ALL=C.UTF-8 run -1 grep -E '.{81}' <<<"$summary"
	[ "$(grep -oE '127\.100\.100\.[0-9]+ [0-9]+\.[0-9]{3}' <<<"$summary" | wc -l)" -eq 10 ]
}

@test "start --wait names on a terminal the job of which something did not succeed" {
	run -3 on_terminal 80 "$JOBCTL_PROGRAM" start ping --wait --count 1 --reply-timeout 10ms 192.0.2.1 127.0.0.1
	[[ ${lines[-1]%$'\r'} == *"jobctl: job 1: 1 of 2 did not succeed; \`jobctl retry 1\` tries just these" ]]
	run -0 on_terminal 80 "$JOBCTL_PROGRAM" start ping --wait 127.0.0.1
	[[ $output != *"job 2"* ]]
	run -3 jobctl start ping --wait --count 1 --reply-timeout 10ms 192.0.2.1
	[[ $output != *"job 3"* ]]
}

@test "selectors may have commas between; today and yesterday are times" {
	for i in 1 2 3; do jobctl start ping --name "n$i" "127.0.0.$i" 127.0.1.1; done
	jobctl wait
	ids() { jq -r .id | paste -sd ' '; }
	[ "$(jobctl list 1,3 --json | ids)" = "3 1" ]
	[ "$(jobctl list n1,2-3 --json | ids)" = "3 2 1" ]
	[ "$(jobctl show 1,3 --json | ids)" = "1 3" ]
	[ "$(jobctl receive 1/127.0.0.1,3/1 --json | jq -r .target | sort | paste -sd ' ')" = "127.0.0.1 127.0.1.1" ]
	run -1 jobctl list 1,9
	[ "$output" = "jobctl: no job 9; \`jobctl list\` shows yours" ]
	jobctl remove 1,2
	[ "$(jobctl list --since yesterday --json | ids)" = 3 ]
	[ -z "$(jobctl list --until yesterday --json)" ]
	refuses "--since takes a time such as 2h, 14:05, yesterday or 2026-11-23, not 'someday'" list --since someday
}

@test "standard input is read once" {
	once="standard input (-) can be read once: name a file for the other"
	for words in 'ssh --stdin - @- -- cat' 'ssh --command @- @-' 'ping @- @-' 'ping @- --exclude @-'; do
		# shellcheck disable=SC2086
		refuses "$once" start $words <<<127.0.0.1
	done
}

@test "start --wait gives on a terminal each result as it comes, with the bar below" {
	on_terminal 80 "$JOBCTL_PROGRAM" start ping --wait --count 0 --interval 20ms --on-change 127.0.0.1 127.0.0.2 \
		>"$BATS_TEST_TMPDIR/said" 3>&- &
	pid=$!
	wait_until 20 grep -q '127.0.0.1: .* up, ' "$BATS_TEST_TMPDIR/said"
	wait_until 20 grep -qF ' 0/2' "$BATS_TEST_TMPDIR/said"
	is_state 1 running
	jobctl stop 1
	wait "$pid" || :
	# No bar is left, and none stands in a line
	run -1 grep -F ']' <<<"$(sed 's/\r\x1b\[K[^\r]*\r\x1b\[K//g' "$BATS_TEST_TMPDIR/said")"
	grep -qF '127.0.0.2: stopped' "$BATS_TEST_TMPDIR/said"
}

@test "import of nothing is told: whoever exported may have failed" {
	run -1 jobctl import - </dev/null
	[ "$output" = "jobctl: standard input is empty: it has no job to import" ]
	echo >"$BATS_TEST_TMPDIR/empty"
	run -1 jobctl import "$BATS_TEST_TMPDIR/empty"
	[ "$output" = "jobctl: $BATS_TEST_TMPDIR/empty is empty: it has no job to import" ]
}

@test "--identity: what is no private key is told, whatever other key would do" {
	ssh_keys
	run -0 jobctl start ssh --dry-run --identity "$HOME/.ssh/id_ed25519" 127.0.0.1 -- true
	refuses "--identity: $HOME/.ssh/id_ed25519.pub is no private key: name one as ssh-keygen makes it, without .pub" \
		start ssh --identity "$HOME/.ssh/id_ed25519.pub" 127.0.0.1 -- true
	refuses "--identity: cannot read $HOME/.ssh: Is a directory" start ssh --identity "$HOME/.ssh" 127.0.0.1 -- true
	refuses "--identity: cannot read nosuch: No such file or directory" start ssh --identity nosuch 127.0.0.1 -- true
}

@test "a jobd that does not answer at once: on a terminal it is told, once, and waited for" {
	local out=$BATS_TEST_TMPDIR/out
	jobctl start ping --name slow --wait 127.0.0.1
	kill -STOP "$JOBD_PID"
	on_terminal 120 "$JOBCTL_PROGRAM" list >"$out" 3>&- 4>&- &
	PIDS+=($!)
	wait_until "$BOUND" grep -q "jobctl: no answer from jobd for 5 s: it may wait for its disk" "$out" || {
		kill -CONT "$JOBD_PID"
		false
	}
	kill -CONT "$JOBD_PID"
	wait "$!"
	grep -q slow "$out"
	[ "$(grep -c 'no answer' "$out")" -eq 1 ]
}
