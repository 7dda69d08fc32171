#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The commands of jobctl and their exit statuses, on pings of loopback.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
	ip -n "$NETNS" route add unreachable 10.9.9.0/24
	start_jobd
}

teardown() {
	common_teardown
}

# A job that runs until it is stopped
endless() {
	jobctl start ping --count 60000 --interval 1s "$@" 127.0.0.1
}

@test "list, show, status: for people and in JSON" {
	jobctl start ping --name first 127.0.0.1
	run -0 jobctl wait
	run -0 jobctl list
	[[ ${lines[0]} == ID*NAME*KIND*STATE*DONE*FAILED*CREATED*TARGETS* ]]
	[[ ${lines[1]} == *first*ping*completed*1/1*127.0.0.1* ]]
	[[ $output != *$'\t'* ]]
	jobctl list --json | jq -e '.id == 1 and .state == "completed" and .tasks == 1 and (.created | startswith("20"))'
	jobctl show first --json | jq -e '.options.kind == "ping" and .taskList[0].ping.received == 1'
	run -0 jobctl show 1/0
	[[ $output == *127.0.0.1*succeeded* ]]
	jobctl status --json | jq -e '.jobs == 0 and .limits."max-targets" > 0'
	run -0 jobctl status
}

@test "a table fits a terminal of 80 columns, whatever names are in it; in a pipe it is whole" {
	long=a-name-as-long-as-names-may-be-which-is-$(printf '%024d' 0)
	jobctl start ping --name "$long" "$long.$long"
	jobctl start ping --name "$(printf 'é%.0s' {1..30})" 127.0.0.1
	jobctl wait || :
	for words in list 'show 1/0'; do
		# shellcheck disable=SC2086
		LC_ALL=C.UTF-8 run -0 on_terminal 80 "$JOBCTL_PROGRAM" $words
		grep -E '^ *(ID|TASK|[0-9]) ' <<<"${output//$'\r'/}" >"$BATS_TEST_TMPDIR/rows"
		LC_ALL=C.UTF-8 run -1 grep -E '.{81}' "$BATS_TEST_TMPDIR/rows"
		grep -qF ... "$BATS_TEST_TMPDIR/rows"
	done
	jobctl list | grep -w "$long"
	jobctl show 1 | grep "$long.$long failed"
	LC_ALL=C.UTF-8 on_terminal 300 "$JOBCTL_PROGRAM" list | grep -w "$long"
}

@test "show of a single target has the whole reason, on any terminal" {
	jobctl start ping 127.255.255.255
	jobctl wait --quiet || :
	run -0 on_terminal 80 "$JOBCTL_PROGRAM" show 1/127.255.255.255
	[[ $output == *"$(jobctl show 1 --json | jq -r '.taskList[].message')"* ]]
}

@test "receive gives each result once; --keep, --again and --cursor" {
	jobctl start ping 127.0.0.1
	jobctl wait
	[ "$(jobctl receive --keep | wc -l)" -eq 1 ]
	[ "$(jobctl receive --cursor mine | wc -l)" -eq 1 ]
	[ "$(jobctl receive --cursor mine | wc -l)" -eq 0 ]
	jobctl list --with-results --json | jq -e '.id == 1'
	[ "$(jobctl receive | wc -l)" -eq 1 ]
	[ "$(jobctl receive | wc -l)" -eq 0 ]
	[ -z "$(jobctl list --with-results --json)" ]
	[ "$(jobctl receive --again | wc -l)" -eq 1 ]
	[ "$(jobctl receive 1 --again | wc -l)" -eq 1 ]
}

# way_past NAME: up to where a cursor has nothing left out
way_past() {
	sqlite3 "$DATABASE" "SELECT position FROM cursor WHERE job = 0 AND name = '$1'"
}

@test "a cursor of a name goes past what it has read, of whatever job that was" {
	for _ in {1..160}; do jobctl start ping '127.0.0.[1-7]' >/dev/null; done
	jobctl wait
	[ "$(jobctl receive --cursor mine | wc -l)" -eq 1120 ]
	wait_until "$BOUND" eval '[ "$(way_past mine)" = 1120 ]'
	jobctl start ping --name b --wait 127.0.0.1 >/dev/null
	jobctl start ping --name c --wait '127.0.0.[1-2]' >/dev/null
	[ "$(jobctl receive c --cursor mine | wc -l)" -eq 2 ]
	[ "$(jobctl receive --cursor mine --json | jq -c .job)" = 161 ]
	[ "$(jobctl receive --cursor mine | wc -l)" -eq 0 ]
	[ "$(jobctl receive --cursor other --keep | wc -l)" -eq 1123 ]
	[ "$(jobctl receive --again --keep | wc -l)" -eq 1123 ]
	# It waits for what runs, and gives what comes meanwhile
	id=$(endless)
	"$JOBCTL_PROGRAM" receive --cursor mine --wait --json >"$BATS_TEST_TMPDIR/lines" 3>&- 4>&- &
	PIDS+=($!)
	jobctl start ping 127.0.0.9
	wait_until "$BOUND" grep -q 127.0.0.9 "$BATS_TEST_TMPDIR/lines"
	jobctl stop "$id"
	wait_until "$BOUND" gone "${PIDS[-1]}"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/lines")" -eq 2 ]
	# Once all that is below it has gone it goes, too
	jobctl remove --all
	wait_until "$BOUND" eval '[ -z "$(way_past mine)" ]'
}

@test "a job has a hundred cursors of a user at most; those that are there go on" {
	jobctl start ping 127.0.0.1
	jobctl start ping 127.0.0.2
	jobctl wait
	for i in {1..100}; do [ "$(jobctl receive 1 --cursor "c$i" | wc -l)" -eq 1 ]; done
	run -1 jobctl receive 1 --cursor c101
	[ "$output" = "jobctl: job 1 has a hundred cursors of yours: receive by one of these or by the usual one, or remove the job" ]
	run -1 jobctl receive --cursor c101
	[[ $output == *"job 1 has a hundred cursors"* ]]
	[ "$(jobctl receive 2 --cursor c101 | wc -l)" -eq 1 ]
	[ "$(sqlite3 "$DATABASE" 'SELECT count(*) FROM cursor WHERE job = 1')" -eq 100 ]
	# Nothing to move, and what is there
	[ "$(jobctl receive 1 --cursor c101 --keep | wc -l)" -eq 1 ]
	run -0 jobctl receive 1 --cursor c100
	[ -z "$output" ]
	[ "$(jobctl receive 1 --cursor c7 --again | wc -l)" -eq 1 ]
	[ "$(jobctl receive 1 | wc -l)" -eq 1 ]
}

@test "what did not reach its output is not received: stdout or stderr is full" {
	jobctl start ping 127.0.0.1
	jobctl start ssh --name refused --port 9 127.0.0.1 -- true
	jobctl wait || :
	for option in '' --json --group; do
		run -1 eval "jobctl receive 1 $option >/dev/full"
		[[ $output == *"cannot write the output: "* ]]
	done
	# A failure goes to stderr
	status=0
	jobctl receive refused 2>/dev/full || status=$?
	[ "$status" -eq 1 ]
	[ "$(jobctl receive 1 | wc -l)" -eq 1 ]
	run -0 jobctl receive refused
	[[ $output == "127.0.0.1: failed"* ]]
}

@test "output and errors in one file: in their order, and no line stands within another" {
	jobctl start ping 127.0.0.0/24
	jobctl wait --quiet
	jobctl start ssh --port 9 127.0.0.1 -- true
	jobctl wait --quiet || :
	jobctl receive >"$BATS_TEST_TMPDIR/both" 2>&1
	[ "$(wc -l <"$BATS_TEST_TMPDIR/both")" -eq 255 ]
	run -1 grep -vE '^127.0.0.[0-9]+: (1/1 replies, 0% loss, min/avg/max [0-9./]+ ms|failed .*)$' "$BATS_TEST_TMPDIR/both"
	tail -n 1 "$BATS_TEST_TMPDIR/both" | grep '^127.0.0.1: failed (refused)'
}

# slow_reader COMMAND...: at the end of a pipe that does not block; how much came, and the status
slow_reader() {
	python3 - "$@" <<-'END'
		import fcntl, os, subprocess, sys, time
		reader, writer = os.pipe()
		os.set_blocking(writer, False)
		fcntl.fcntl(writer, 1031, 4096) # F_SETPIPE_SZ
		child = subprocess.Popen(sys.argv[1:], stdout=writer)
		os.close(writer)
		size = 0
		while part := os.read(reader, 65536):
		    size += len(part)
		    time.sleep(0.0005)
		print(size, child.wait())
	END
}

@test "output of which a part is not taken is told, wherever the hole is" {
	jobctl start ping 127.0.0.0/21
	jobctl wait --quiet
	whole=$(jobctl show 1 --json | wc -c)
	[ "$whole" -gt 100000 ]
	for i in $(seq 20); do
		read -r size status < <(slow_reader "$JOBCTL_PROGRAM" show 1 --json --quiet)
		[ "$status" -eq 1 ] || [ "$size" -eq "$whole" ]
	done
}

@test "receive --wait streams until the end, and --failed leaves out what succeeded" {
	jobctl start ping 127.0.0.1 10.9.9.9
	run -3 jobctl receive --wait --keep
	[ "$(wc -l <<<"$output")" -eq 2 ]
	run -0 jobctl receive --failed
	[ "$(wc -l <<<"$output")" -eq 1 ]
	[[ $output == 10.9.9.9* ]]
	[ "$(jobctl receive | wc -l)" -eq 2 ]
}

@test "receive --wait of a job that was named: its status is that of the job, whatever has results" {
	# The first takes long enough for the pause to come before the second
	jobctl start ping --parallel 1 --count 2 --interval 3s 127.0.0.1 127.0.0.2
	jobctl pause 1
	wait_until "$BOUND" eval '[ "$(jobctl list 1 --json | jq .succeeded)" -eq 1 ]'
	jobctl stop 1
	run -3 jobctl receive 1 --wait
	[ "${#lines[@]}" -eq 1 ]
	run -3 jobctl receive 1 --wait
	[ -z "$output" ]
	run -0 jobctl receive 1/127.0.0.1 --wait --again
	jobctl start ping 127.0.0.1
	run -0 jobctl receive @last --wait
	run -0 jobctl receive @last --wait
}

@test "receive --remove forgets what was wholly received" {
	jobctl start ping 127.0.0.1
	id=$(endless)
	jobctl wait 1
	jobctl receive --remove
	[ "$(jobctl list --json | jq -c .id)" = "$id" ]
	jobctl stop "$id"
}

@test "receive --remove forgets what was wholly received before" {
	jobctl start ping 127.0.0.1
	jobctl start ping 127.0.0.2
	jobctl start ping 127.0.0.3
	jobctl wait
	jobctl receive 1 >/dev/null
	jobctl receive 3 >/dev/null
	# Nothing is left to give, and: what another job gives comes before what was received
	[ -z "$(jobctl receive --remove 1)" ]
	[ "$(jobctl list --json | jq -c .id | sort -n | tr '\n' ' ')" = "2 3 " ]
	[ "$(jobctl receive --remove 2 3 | cut -d: -f1)" = 127.0.0.2 ]
	[ -z "$(jobctl list --json)" ]
	# By a cursor that has not come so far nothing goes unread
	jobctl start ping 127.0.0.4
	jobctl wait
	jobctl receive >/dev/null
	[ "$(jobctl receive --cursor other --remove | cut -d: -f1)" = 127.0.0.4 ]
	[ -z "$(jobctl list --json)" ]
}

@test "receive --remove removes no job of which it would leave something out" {
	jobctl start ping 127.0.0.1 10.9.9.9
	run -3 jobctl wait
	for words in --failed 1/127.0.0.1 '--wait --keep 1/0'; do
		# shellcheck disable=SC2086 # words
		run -2 jobctl receive --remove $words
		[[ $output == *"--remove: "*"received whole"* ]]
	done
	[ "$(jobctl receive | wc -l)" -eq 2 ]
}

@test "what is done to whole jobs is done to none by the name of a target" {
	jobctl start ping 127.0.0.1 127.0.0.2
	jobctl wait
	id=$(endless)
	for words in 'remove 1/127.0.0.1' 'remove 1/127.0.0.1 2 --force' "pause $id/0" "resume $id/0" \
		'wait 1/127.0.0.1' "wait 1 $id/0" "adjust $id/0 --name other" 'export 1/0' 'export 1 1/none'; do
		# shellcheck disable=SC2086 # words
		run -2 jobctl $words
		[[ $output == *"single tasks"* ]]
		[ "${#lines[@]}" -eq 1 ]
	done
	[ "$(jobctl list "$id" --json | jq .name)" = null ]
	[ "$(jobctl list --json | jq -r .state | paste -sd ' ')" = "running completed" ]
	[ "$(jobctl receive 1 | wc -l)" -eq 2 ]
	jobctl stop "$id/0"
}

@test "wait: its statuses, and its time-out tells how far it came" {
	run -0 jobctl wait
	jobctl start ping 127.0.0.1
	run -0 jobctl wait
	jobctl start ping 10.9.9.9
	run -3 jobctl wait @last
	endless
	run -124 jobctl wait --timeout 200ms
	[[ $output == *"2 of 3 jobs"* ]]
	run -124 jobctl wait --timeout 200ms --json
	jq -e '.isTimedOut and .jobsEnded == 2' <<<"$output"
}

@test "the bar stays within one line of a narrow terminal, and tells how long it will take" {
	jobctl start ping --rate 2 '127.0.0.[1-40]'
	on_terminal 24 "$JOBCTL_PROGRAM" wait 1 >"$BATS_TEST_TMPDIR/drawn" 3>&- 4>&- &
	PIDS+=($!)
	wait_until "$BOUND" grep -qE '/40, [0-9.]+/s' "$BATS_TEST_TMPDIR/drawn"
	jobctl adjust 1 --rate 1000
	wait "$!"
	# One line each time that it is drawn
	sed 's/\r\x1b\[K/\n/g' "$BATS_TEST_TMPDIR/drawn" >"$BATS_TEST_TMPDIR/lines"
	grep -qE '^\[[#.]*\] [0-9]+/40, [0-9.]+/s' "$BATS_TEST_TMPDIR/lines"
	run -1 grep -E '.{24}| 0 us' "$BATS_TEST_TMPDIR/lines"
}

@test "interrupted while waiting: 130, and the job runs on" {
	# A shell sets SIGINT aside for what it runs in the background; env gives it back
	env --default-signal=INT "$JOBCTL_PROGRAM" start ping --wait --count 60000 127.0.0.1 \
		>"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
	pid=$!
	wait_until 20 running_tasks 1 1
	# It may have sent Wait or not yet: the signal ends it in both cases
	wait_until 20 interrupt "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 130 ]
	is_state 1 running
}

interrupt() {
	kill -INT "$1" 2>/dev/null
	gone "$1"
}

@test "pause holds the queue, resume goes on" {
	id=$(jobctl start ping --parallel 1 --count 2 --interval 300ms '127.0.0.[1-20]')
	jobctl pause "$id"
	is_state "$id" paused
	wait_until 10 eval '[ "$(jobctl list '"$id"' --json | jq .running)" -eq 0 ]'
	queued=$(jobctl list "$id" --json | jq .queued)
	[ "$queued" -gt 0 ]
	jobctl resume "$id"
	jobctl adjust "$id" --parallel 20 --name quick
	run -0 jobctl wait "$id" --timeout 30
	jobctl list quick --json | jq -e '.succeeded == 20'
}

@test "adjust --rate reaches a job whose tasks all wait for their turn" {
	id=$(jobctl start ping --rate 1 '127.0.0.[1-200]')
	wait_until 10 running_tasks "$id" 1
	jobctl adjust "$id" --rate 100000
	run -0 jobctl wait "$id" --timeout 20
	run -1 jobctl adjust "$id" --rate 5
	[[ $output == *"has ended"* ]]
}

@test "stop of a job, and of single tasks" {
	id=$(jobctl start ping --count 60000 '127.0.0.[1-4]')
	wait_until 10 running_tasks "$id" 4
	jobctl stop "$id/127.0.0.4" "$id/127.0.0.2"
	wait_until 10 eval '[ "$(jobctl list '"$id"' --json | jq .stopped)" -eq 2 ]'
	is_state "$id" running
	jobctl stop "$id"
	run -3 jobctl wait "$id" --timeout 10
	is_state "$id" stopped
	# Stopped is stopped: once more is fine
	run -0 jobctl stop "$id"
}

@test "a task that was stopped before its turn never runs" {
	id=$(jobctl start ping --parallel 1 --count 0 '127.0.0.[1-3]')
	wait_until "$BOUND" running_tasks "$id" 1
	jobctl stop "$id/127.0.0.3" "$id/127.0.0.1"
	wait_until "$BOUND" eval '[ "$(jobctl show "$id/127.0.0.2" --json | jq -r ".taskList[0].state")" = running ]'
	jobctl stop "$id/127.0.0.2"
	run -3 jobctl wait "$id" --timeout 30
	jobctl show "$id" --json | jq -e '[.taskList[] | [.state, .attempts]] == [["stopped", 1], ["stopped", 1], ["stopped", 0]]'
}

@test "adjust and retry are of one job: what names several, or none, changes nothing" {
	jobctl start ping --name one --count 0 127.0.0.1
	jobctl start ping --name two --count 0 127.0.0.1
	for job in 1-2 '*' 'tw?' $'\xff' ''; do
		run -2 jobctl adjust "$job" --name other
		[ "${#lines[@]}" -eq 1 ]
		run -2 jobctl retry "$job"
		[ "${#lines[@]}" -eq 1 ]
	done
	run -2 jobctl adjust two/127.0.0.1 --name other
	[[ $output == *"whole job"* ]]
	[ "$(jobctl list --json | jq -r .name | xargs)" = "two one" ]
	jobctl adjust two --name core-2
	jobctl adjust core-2 --name core-3
	jobctl stop --all
	jobctl wait || :
	# A name with a '-' is no range, and a task part may name several
	run -0 jobctl retry 'core-3/127.0.0.[1-1]'
}

@test "retry makes a job of just what did not succeed" {
	jobctl start ping 127.0.0.1 10.9.9.1 10.9.9.2
	run -3 jobctl wait
	ip -n "$NETNS" route del unreachable 10.9.9.0/24
	ip -n "$NETNS" route add local 10.9.9.0/24 dev lo
	run -0 jobctl retry 1
	[ "$output" = 2 ]
	run -0 jobctl wait 2
	jobctl list 2 --json | jq -e '.tasks == 2 and .succeeded == 2 and .retryOf == 1'
	run -1 jobctl retry 2
	[ "$output" = "jobctl: every task of job 2 succeeded: there is nothing to retry" ]
	# Of these, such as are named
	run -1 jobctl retry 1/127.0.0.1
	[ "$output" = "jobctl: every task of 1/127.0.0.1 succeeded: there is nothing to retry" ]
	run -0 jobctl retry 1/10.9.9.1
	jobctl show 3 --json | jq -e '[.taskList[].target] == ["10.9.9.1"]'
}

@test "--retries tries a failed task again, with attempts counted" {
	jobctl start ping --retries 2 --retry-delay 50ms 10.9.9.9
	run -3 jobctl wait
	jobctl show 1 --json | jq -e '.taskList[0].attempts == 3'
}

@test "remove: what runs is left, --force stops it, --all forgets all; ids are never used again" {
	jobctl start ping 127.0.0.1
	jobctl wait
	endless
	run -1 jobctl remove --all
	[[ $output == *"job 2 is "*"stop it first, or --force"* ]]
	[ "$(jobctl list --json | jq -c .id)" = 2 ]
	run -0 jobctl remove 2 --force
	[ -z "$(jobctl list --json)" ]
	[ "$(jobctl start ping 127.0.0.1)" = 3 ]
	run -2 jobctl remove
	[[ $output == *"--all"* ]]
	run -2 jobctl stop
}

@test "selectors: ids, ranges, names, globs, @last, filters" {
	for name in core-1 core-2 edge; do jobctl start ping --name $name 127.0.0.1; done
	jobctl wait
	ids() { jobctl list "$@" --json | jq -c .id | tr '\n' ' '; }
	[ "$(ids 1-2)" = "2 1 " ]
	[ "$(ids 'core-*')" = "2 1 " ]
	[ "$(ids edge)" = "3 " ]
	[ "$(ids @last)" = "3 " ]
	[ "$(ids edge 1 1-3)" = "3 2 1 " ]
	[ "$(ids --newest 2)" = "3 2 " ]
	[ "$(ids --state failed)" = "" ]
	[ "$(ids --state completed --kind ping --since 1h)" = "3 2 1 " ]
	[ "$(ids 'none-*')" = "" ]
	run -1 jobctl list 9
	[[ $output == *"no job 9"* ]]
	run -1 jobctl list nobody
	[[ $output == *"no job is called 'nobody'"* ]]
	run -2 jobctl list 3-1
	# As jobctl(1) says under EXIT STATUS
	for command in list receive wait; do
		for selector in 9 nobody 8-9; do
			run -1 jobctl "$command" "$selector"
		done
		for selector in 2-9 'none-*' --state=failed; do
			run -0 jobctl "$command" "$selector"
		done
	done
	for command in list receive show; do
		for selector in 1/127.7.7.7 '1/127.7.*'; do
			run -1 jobctl "$command" "$selector"
		done
	done
	# What would leave none never means all
	for newest in -1 0; do
		run -2 jobctl remove --newest "$newest" --kind ping
		[ "$output" = "jobctl: the newest $newest are no jobs: give at least 1" ]
	done
	run -0 jobctl remove --kind ping --until '1970-01-01 00:00'
	[ "$(ids)" = "3 2 1 " ]
	run -1 jobctl show 1/127.7.7.7
	[[ $output == *"no target"* ]]
}

@test "a closed standard output: said, and nothing counts as received" {
	jobctl start ping 127.0.0.1
	jobctl wait --quiet
	for words in "receive" "receive --json --remove" "list" "export" "status" "start ping 127.0.0.1"; do
		echo "$words"
		# shellcheck disable=SC2086
		run -1 --separate-stderr jobctl_closed $words
		[[ $stderr == "jobctl: cannot write the output: Bad file descriptor"* ]]
	done
	[[ $(jobctl receive 1) == "127.0.0.1: 1/1 replies"* ]]
}

jobctl_closed() {
	jobctl "$@" >&-
}

@test "wrong words: one helpful line and status 2" {
	run -2 jobctl lsit
	[[ $output == *"did you mean 'list'"* ]]
	run -2 jobctl start pin 127.0.0.1
	[[ $output == *"did you mean 'ping'"* ]]
	run -2 jobctl start ping --coutn 3 127.0.0.1
	[[ $output == *"did you mean --count"* ]]
	run -2 jobctl start ping --count many 127.0.0.1
	[[ $output == *"--count takes a number"* ]]
	run -2 jobctl start ping --count -1 127.0.0.1
	[[ $output == *"out of bounds"* ]]
	run -2 jobctl start ping
	run -2 jobctl start ping 'r[1-'
	[[ $output == *"not closed"* ]]
	run -2 jobctl start ping 10.0.0.0/33
	run -2 jobctl start ssh 127.0.0.1
	[[ $output == *"what should run"* ]]
	run -2 jobctl start ping --name 7up 127.0.0.1
	run -2 jobctl
	run -2 jobctl start ping --coutn 3 127.0.0.1
	[ "${#lines[@]}" -eq 1 ]
	run -2 jobctl lsit
	[ "${#lines[@]}" -eq 1 ]
}

# refuses WORDS SENTENCE: with one line and status 2, before anything else
refuses() {
	# shellcheck disable=SC2086
	run -2 jobctl $1
	[ "$output" = "jobctl: $2" ]
}

@test "ways to show results that do not go together are refused before anything begins" {
	for command in 'start ping --wait 127.0.0.1' receive; do
		refuses "$command --json --dir x" "--dir and --json do not go together: no file would be written"
		refuses "$command --summary --dir x" "--dir and --summary do not go together: no file would be written"
		refuses "$command --raw --group" "--raw and --group do not go together"
		refuses "$command --summary --json" "--summary is for people: --json has every result"
	done
	[ -z "$(jobctl list --json)" ]
}

@test "an empty value is none, and stands neither for the usual nor for all" {
	jobctl start ping 127.0.0.1
	jobctl wait --quiet
	refuses '--socket= list' '--socket got an empty value: say --socket PATH'
	refuses 'list --state=' '--state got an empty value: say --state LIST'
	refuses 'remove --newest 1 --state ,' '--state got an empty value: say --state LIST'
	refuses 'receive --cursor=' '--cursor got an empty value: say --cursor NAME'
	refuses 'start ssh --success-codes= 127.0.0.1 -- true' \
		'--success-codes got an empty value: say --success-codes LIST'
	run -0 jobctl receive
	[ "${#lines[@]}" -eq 1 ]
	run -0 jobctl start ping --exclude= 127.0.0.1
}

@test "what is wrong with the words is told without a daemon, and each option once" {
	for words in 'status x' 'profiles x y' 'status -- x' 'profiles -- x' 'receive --summary --json'; do
		# shellcheck disable=SC2086
		run -2 jobctl --socket "$BATS_TEST_TMPDIR/none.sock" $words
		[ "${#lines[@]}" -eq 1 ]
	done
	refuses '--timeout 5s wait' "unknown command '5s': the command comes first, then its options"
	refuses 'start ssh --enable 127.0.0.1 -- x' \
		'--enable is for a shell: name its profile with --shell, or --shell auto'
	refuses 'start ssh --answer x 127.0.0.1 -- x' "--answer: 'x' is not of the form PATTERN=TEXT"
	refuses 'start ping --max-loss 5% --success all 127.0.0.1' \
		'--max-loss: it does not go together with --success, which says the same'
	run -4 jobctl --socket "/$(printf '%0200d' 0)" list
	[[ $output == *"too long for a socket"* ]]
}

@test "targets from a file, from standard input, from an inventory; --exclude; twice is once" {
	printf '127.0.0.1 # first\n\n127.0.0.2\n127.0.0.1\n' >"$BATS_TEST_TMPDIR/list"
	jobctl start ping @"$BATS_TEST_TMPDIR/list"
	jobctl list 1 --json | jq -e '.tasks == 2'
	printf '127.0.0.[1-9]\n' | jobctl start ping --exclude 127.0.0.3,127.0.0.4 @-
	jobctl list 2 --json | jq -e '.tasks == 7'
	cat >"$BATS_TEST_TMPDIR/inventory" <<-'END'
		[core]
		r1 ansible_host=127.0.0.1
		127.0.0.[2:4]
		[edge]
		127.0.0.9
		[both:children]
		core
		edge
	END
	jobctl start ping @"$BATS_TEST_TMPDIR/inventory":core
	jobctl list 3 --json | jq -e '.tasks == 4'
	jobctl start ping @"$BATS_TEST_TMPDIR/inventory":both
	jobctl list 4 --json | jq -e '.tasks == 5'
	run -2 jobctl start ping @"$BATS_TEST_TMPDIR/inventory":nowhere
	[[ $output == *"no group or host 'nowhere'"* ]]
}

# completes WORD...: what bash offers for the last
completes() {
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	_jobctl
	echo "${COMPREPLY[*]}"
}

@test "bash completes jobs where jobs are wanted, schedules where those are, and starts no daemon" {
	# shellcheck source=/dev/null
	source "$TESTS/../completion/jobctl"
	jobctl start ping --every 1h 127.0.0.1
	jobctl start ping 127.0.0.1
	[ "$(completes jobctl sta)" = "start status" ]
	[ "$(completes jobctl start '')" = "ping ssh" ]
	[ "$(completes jobctl show '')" = "3 2" ]
	[ "$(completes jobctl schedules '')" = "pause resume run remove s1" ]
	[ "$(completes jobctl receive --ke)" = "--keep" ]
	[[ $(completes jobctl start ping --cou) = --count ]]
	for words in import profiles status 'receive --dir' 'start ssh --identity'; do
		# shellcheck disable=SC2086
		[ -z "$(completes jobctl $words '')" ]
	done
	stop_jobd
	unset JOBD_SOCKET
	export JOBD=$JOBD_PROGRAM
	[ -z "$(completes jobctl show '')" ]
	[ ! -e "$XDG_RUNTIME_DIR/jobd.sock" ] || {
		kill "$(jobctl status --json | jq .pid)"
		false
	}
}

@test "no daemon: 4 and what to do" {
	stop_jobd
	run -4 jobctl list
	[[ $output == *"no jobd listens on"* ]]
	run -4 jobctl --system list
}

@test "without a daemon jobctl starts a private one, and racing clients start one" {
	stop_jobd
	unset JOBD_SOCKET
	export JOBD=$JOBD_PROGRAM
	pids=()
	for i in 1 2 3 4 5; do
		"$JOBCTL_PROGRAM" list >"$BATS_TEST_TMPDIR/out.$i" 2>&1 3>&- 4>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do wait "$pid"; done
	pid=$("$JOBCTL_PROGRAM" status --json | jq .pid)
	PIDS+=("$pid")
	[ "$("$JOBCTL_PROGRAM" status --json | jq -r .socket)" = "$XDG_RUNTIME_DIR/jobd.sock" ]
	kill "$pid"
	wait_until 10 gone "$pid"
}

@test "--backup and --check beside a jobd at work; the copy is a database like any other" {
	jobctl start ping --name first --wait 127.0.0.1
	jobctl start ping --count 0 --interval 100ms --shuffle '127.0.[0-9].[1-250]'
	wait_until "$BOUND" running_tasks 2 2000
	for copy in copy1 copy2 copy3; do
		run -0 "$JOBD_PROGRAM" --database "$DATABASE" --backup "$BATS_TEST_TMPDIR/$copy" --check
		[ "$output" = "$BATS_TEST_TMPDIR/$copy is well" ]
		run -0 "$JOBD_PROGRAM" --database "$DATABASE" --check
	done
	[ "$(stat -c %a "$BATS_TEST_TMPDIR/copy1")" = 600 ]
	run -1 "$JOBD_PROGRAM" --database "$DATABASE" --backup "$BATS_TEST_TMPDIR/copy1"
	[[ $output == *"copy1 is there already: name a new file" ]]
	jobctl remove --all --force
	stop_jobd
	DATABASE=$BATS_TEST_TMPDIR/copy3
	start_jobd
	# What was running goes on
	is_state first completed
	wait_until "$BOUND" running_tasks 2 2000
	jobctl stop 2
	printf 'damage' | dd of="$BATS_TEST_TMPDIR/copy1" bs=1 seek=4096 conv=notrunc status=none
	run -1 "$JOBD_PROGRAM" --database "$BATS_TEST_TMPDIR/copy1" --check
	[[ $output == *"copy1 is damaged: stop jobd, and put a copy of --backup in its place"* ]]
	run -1 "$JOBD_PROGRAM" --database "$BATS_TEST_TMPDIR/none" --check
	[[ $output == *"cannot read the database"*none* ]]
}

@test "a job of 10.0.0.0/8 costs next to nothing until its tasks run" {
	id=$(jobctl start ping --parallel 1 --count 60000 10.0.0.0/8 | tail -n 1)
	jobctl list "$id" --json | jq -e '.tasks == 16777214'
	[ -n "$JOBD_SANITIZED" ] || [ "$(awk '/VmRSS/ {print $2}' "/proc/$JOBD_PID/status")" -lt 30000 ]
	jobctl stop "$id"
	jobctl remove "$id" --force
}

@test "--shuffle: every target once, in another order, which outlives a restart" {
	jobctl start ping --shuffle 127.0.0.0/24 127.9.9.9
	run -0 jobctl wait
	order=$(jobctl show 1 --json | jq -c '[.taskList[].target]')
	[ "$(jq -c 'sort' <<<"$order")" = "$(printf '127.0.0.%d\n' {1..254} | cat - <(echo 127.9.9.9) | jq -Rsc 'split("\n") | map(select(. != "")) | sort')" ]
	[ "$(jq -c 'sort' <<<"$order")" != "$order" ]
	[ "$(jobctl show 1/127.9.9.9 --json | jq -r '.taskList[0].target')" = 127.9.9.9 ]
	stop_jobd
	start_jobd
	[ "$(jobctl show 1 --json | jq -c '[.taskList[].target]')" = "$order" ]
}

@test "receive --summary: who succeeded, who did not and why, how fast; nothing is received by it" {
	run -3 jobctl start ping --wait --summary '127.0.0.[1-12]' '10.9.9.[1-3]' nowhere.invalid
	[[ $output == *"16 targets"* ]]
	grep -qE '^  succeeded +12  127\.0\.0\.\[1-12\]$' <<<"$output"
	grep -qE '^  unreachable +3  10\.9\.9\.\[1-3\]$' <<<"$output"
	grep -qE '^  resolve +1  nowhere\.invalid$' <<<"$output"
	grep -qE '^times in ms: min [0-9.]+  median [0-9.]+  avg [0-9.]+  p95 [0-9.]+  max [0-9.]+$' <<<"$output"
	# Each target is in the histogram
	[ "$(awk '/^  up to/ {sum += $4} END {print sum}' <<<"$output")" -eq 12 ]
	[ "$(grep '^slowest:' <<<"$output" | tr , '\n' | wc -l)" -eq 10 ]
	run -0 jobctl receive
	[ "${#lines[@]}" -eq 16 ]
	run -0 jobctl receive --summary 1
	[[ $output == *"16 targets"* ]]
	run -2 jobctl receive --summary --remove 1
	run -2 jobctl receive --summary --json 1
}
