#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# jobctl export and the way back: what comes out of a daemon, in at another, and out again is the same.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
}

teardown() {
	common_teardown
}

# Ids and positions are never given twice, and an import is its caller's; oldest job first
comparable() {
	jq -c 'del(.job.id, .job.retryOf, .job.uid, .job.user, .task.job, .record.job, .record.position)' "$1"
}

# another_jobd: with a database of its own
another_jobd() {
	stop_jobd
	DATABASE=$BATS_TEST_TMPDIR/other/jobd.db
	start_jobd
}

# What a broken import left is gone
nothing_left() {
	[ "$(sqlite3 "$DATABASE" 'SELECT (SELECT count(*) FROM task) + (SELECT count(*) FROM record) +
		(SELECT count(*) FROM removed)')" -eq 0 ]
}

@test "jobs of all kinds and ends come out of another daemon as they came out of this one" {
	start_sshload --none --listen 0.0.0.0 --output 200000
	start_jobd
	jobctl start ping --name shuffled --shuffle --wait '127.0.[1-9].[1-250]' 127.0.0.1 --exclude 127.0.3.7 >/dev/null
	jobctl start ping --count 110 --interval 10ms --period 1s --on-change 127.0.0.1 192.0.2.1 nowhere.invalid
	jobctl start ssh --host-key off --port "$SSH_PORT" --retries 1 --retry-delay 1ms '127.0.0.[1-3]' 127.0.0.1:1 -- 'show $x' next
	jobctl start ping --parallel 2 --count 0 '127.0.0.[1-9]'
	jobctl start ssh --host-key off --port "$SSH_PORT" --canary 1 127.0.0.1:1 '127.0.0.[1-3]' -- show
	wait_until "$BOUND" running_tasks 4 2
	jobctl stop 4
	run -3 jobctl wait --timeout "$BOUND"
	jobctl receive 3 >/dev/null
	jobctl retry 5
	jobctl wait 6 || [ $? -eq 3 ]
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	another_jobd
	jobctl start ping --wait 127.0.0.1
	run -0 jobctl import "$BATS_TEST_TMPDIR/lines"
	[ "$output" = $'2\n3\n4\n5\n6\n7' ]
	# The newest came first, and got the lowest id
	for id in 2 3 4 5 6 7; do jobctl export "$id"; done >"$BATS_TEST_TMPDIR/again"
	diff <(comparable "$BATS_TEST_TMPDIR/lines") <(comparable "$BATS_TEST_TMPDIR/again")
	run -0 "$JOBD_PROGRAM" --check --database "$DATABASE"
	# It is a job like any other
	kill9_jobd
	start_jobd
	is_state shuffled completed
	[ "$(jobctl receive shuffled --again | wc -l)" -eq 2250 ]
	jobctl retry 5
	jobctl export shuffled | jobctl import --json - | jq -e '.id > 7'
	jobctl remove --all --force
	wait_until "$BOUND" nothing_left
}

# A part of the lines, and no end
import_begins() {
	"$JOBCTL_PROGRAM" import "$BATS_TEST_TMPDIR/pipe" 3>&- 4>&- &
	IMPORT=$!
	PIDS+=("$IMPORT")
	exec 5>"$BATS_TEST_TMPDIR/pipe"
	cat "$BATS_TEST_TMPDIR/begin" >&5
	wait_until "$BOUND" eval '! nothing_left'
}

@test "broken off, or not whole: nothing of it is there, and nothing is left of it" {
	start_jobd
	jobctl start ping --wait '127.0.[1-10].[1-250]' >/dev/null
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	another_jobd
	head -n 3000 "$BATS_TEST_TMPDIR/lines" >"$BATS_TEST_TMPDIR/begin"
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	# The client dies in the midst
	import_begins
	[ -z "$(jobctl list --all --json)" ]
	kill -KILL "$IMPORT"
	wait_until "$BOUND" nothing_left
	exec 5>&-
	# So does the daemon
	import_begins
	kill9_jobd
	exec 5>&-
	wait_until "$BOUND" gone "$IMPORT"
	start_jobd
	wait_until "$BOUND" nothing_left
	# The file ends too early
	run -2 jobctl import "$BATS_TEST_TMPDIR/begin"
	[[ $output == *"a task was begun and has no end"* ]]
	wait_until "$BOUND" nothing_left
	[ -z "$(jobctl list --all --json)" ]
	# The next is not in the way of what was
	run -0 jobctl import - <"$BATS_TEST_TMPDIR/lines"
	is_state "$output" completed
}

# A job of 1,200 results, of which some are there and the rest is in lines; and 320 jobs beside it
half_arrives() {
	jobctl start ping --wait '127.0.[1-6].[1-200]' >/dev/null
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	another_jobd
	head -n 2300 "$BATS_TEST_TMPDIR/lines" >"$BATS_TEST_TMPDIR/begin"
	mkfifo "$BATS_TEST_TMPDIR/pipe"
	import_begins
	wait_until "$BOUND" eval '[ "$(sqlite3 "$DATABASE" "SELECT count(*) FROM record")" -gt 0 ]'
	for _ in {1..320}; do jobctl start ping '127.0.0.[1-4]' >/dev/null; done
}

exported() {
	jobctl export "$@" | jq -c '.job.id // empty' | tr '\n' ' '
}

@test "jobs that hold much come out page by page, as many as were asked for" {
	start_jobd
	head -c 1000000 /dev/zero >"$BATS_TEST_TMPDIR/input"
	for _ in 1 2 3 4; do
		jobctl start ssh --port 1 --stdin "$BATS_TEST_TMPDIR/input" 127.0.0.1 -- cat
	done
	run -3 jobctl wait
	[ "$(exported)" = "4 3 2 1 " ]
	[ "$(exported --newest 3)" = "4 3 2 " ]
	[ "$(exported --newest 9)" = "4 3 2 1 " ]
	python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.List '{"details": true}' |
		jq -e '[.parameters | .hasOlder, .jobs[].id] == [true, 4]'
}

# removed_meanwhile JOB COMMAND...: when the first records have come out, of it or others
removed_meanwhile() {
	local pipe=$BATS_TEST_TMPDIR/pipe job=$1 first pid
	shift
	mkfifo "$pipe"
	"$@" >"$pipe" 2>"$BATS_TEST_TMPDIR/errors" 3>&- 4>&- &
	pid=$!
	PIDS+=("$pid")
	exec 5<"$pipe"
	until [[ ${first:-} == *'"record"'* ]]; do read -r first <&5 || return 9; done
	jobctl remove "$job"
	cat <&5 >"$BATS_TEST_TMPDIR/rest"
	exec 5<&-
	has_ended "$pid"
}

@test "of a job that is removed meanwhile what came out is not all: that is an error" {
	start_jobd
	jobctl start ping --wait --quiet '127.0.[1-12].[1-250]' >/dev/null
	run -1 removed_meanwhile 1 "$JOBCTL_PROGRAM" export 1
	[ "$(<"$BATS_TEST_TMPDIR/errors")" = 'jobctl: no job 1; `jobctl list` shows yours' ]
}

@test "a job that is removed before its turn to be exported is left out, and told" {
	start_jobd
	for targets in 127.0.0.1 127.0.0.2 '127.0.[1-12].[1-250]'; do
		jobctl start ping --wait --quiet "$targets" >/dev/null
	done
	run -0 removed_meanwhile 2 "$JOBCTL_PROGRAM" export
	[ "$(<"$BATS_TEST_TMPDIR/errors")" = 'jobctl: job 2 was removed meanwhile: it is left out' ]
	[ "$(jq .job.id "$BATS_TEST_TMPDIR/rest" | grep -v null)" = 1 ]
}

@test "a cursor that goes past what arrives gets it once it is there" {
	start_jobd
	half_arrives
	jobctl wait
	[ "$(jobctl receive --cursor mine | wc -l)" -eq 1280 ]
	tail -n +2301 "$BATS_TEST_TMPDIR/lines" >&5
	exec 5>&-
	wait_until "$BOUND" gone "$IMPORT"
	[ "$(jobctl receive --cursor mine | wc -l)" -eq 1200 ]
	[ "$(jobctl receive --cursor mine | wc -l)" -eq 0 ]
}

@test "whoever watches hears of it once it is there" {
	start_jobd
	jobctl start ping --name come --wait 127.0.0.1 >/dev/null
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.Subscribe \
		'{"selection":{"selectors":["come"]}}' more >"$BATS_TEST_TMPDIR/heard" 3>&- 4>&- &
	PIDS+=($!)
	wait_until "$BOUND" test -s "$BATS_TEST_TMPDIR/heard"
	[ "$(jobctl import "$BATS_TEST_TMPDIR/lines")" -eq 2 ]
	wait_until "$BOUND" eval '[ "$(wc -l <"$BATS_TEST_TMPDIR/heard")" -eq 2 ]'
	tail -n 1 "$BATS_TEST_TMPDIR/heard" | jq -e '.parameters | .job.id == 2 and .job.state == "completed" and (.isRemoved | not)'
}

@test "a reading that has gone past what arrives leaves all of it to the next one" {
	start_jobd
	half_arrives
	id=$(jobctl start ping --count 0 127.0.0.1)
	jobctl start ping 127.0.0.8
	"$JOBCTL_PROGRAM" receive --cursor mine --wait --json >"$BATS_TEST_TMPDIR/got" 3>&- 4>&- 5>&- &
	PIDS+=($!)
	wait_until "$BOUND" grep -q 127.0.0.8 "$BATS_TEST_TMPDIR/got"
	tail -n +2301 "$BATS_TEST_TMPDIR/lines" >&5
	exec 5>&-
	wait_until "$BOUND" gone "$IMPORT"
	jobctl start ping 127.0.0.9
	wait_until "$BOUND" grep -q 127.0.0.9 "$BATS_TEST_TMPDIR/got"
	jobctl stop "$id"
	wait_until "$BOUND" gone "${PIDS[-1]}"
	[ "$(jobctl receive --cursor mine | wc -l)" -eq 1200 ]
}

# refused SENTENCE JQ-FILTER: the lines, changed, are
refused() {
	jq -c "$2" "$BATS_TEST_TMPDIR/lines" >"$BATS_TEST_TMPDIR/changed"
	run -2 jobctl import "$BATS_TEST_TMPDIR/changed"
	echo "$output"
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == *"$1"* ]]
}

@test "no secret comes in, and nothing that would make a retry a schedule" {
	start_jobd
	run -3 jobctl start ssh --wait --host-key off --connect-timeout 1s 127.0.0.1:1 -- true
	jobctl export | jq -c 'if .job then .job.options |= (.ssh.password = "hunter2" | .token = "t" |
		.schedule = {everyUsec: 1000000}) else . end' >"$BATS_TEST_TMPDIR/lines"
	run -0 jobctl import "$BATS_TEST_TMPDIR/lines"
	jobctl show "$output" --json | jq -e '.options | [.ssh.hasPassword, .ssh.password, .token, .schedule] == [true, null, null, null]'
	run -1 grep -rq hunter2 "${DATABASE%/*}"
}

@test "an export beside work that goes on: what had not ended is left out and told, the rest is imported" {
	start_jobd
	running=$(jobctl start ping --count 0 127.0.0.1)
	done=$(jobctl start ping '127.0.0.[1-3]')
	jobctl wait "$done"
	newest=$(jobctl start ping --count 0 '127.0.0.[1-2]')
	wait_until "$BOUND" running_tasks "$newest" 2
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	[ "$(jq -r 'select(.job).job.id' "$BATS_TEST_TMPDIR/lines" | paste -sd ' ')" = "$newest $done $running" ]
	another_jobd
	run -1 --separate-stderr jobctl import "$BATS_TEST_TMPDIR/lines"
	echo "$output $stderr"
	[ "$output" = 1 ]
	[ "${#stderr_lines[@]}" -eq 2 ]
	[ "${stderr_lines[0]}" = "jobctl: the job from line 1 of $BATS_TEST_TMPDIR/lines, there $newest, had not ended when it was exported: it is left out" ]
	line=$(grep -n '^{"job"' "$BATS_TEST_TMPDIR/lines" | tail -n 1 | cut -d: -f1)
	[[ ${stderr_lines[1]} == "jobctl: the job from line $line of "*", there $running, had not ended "* ]]
	jobctl export >"$BATS_TEST_TMPDIR/again"
	jq -c "select((.job.id // .task.job // .record.job) == $done)" "$BATS_TEST_TMPDIR/lines" >"$BATS_TEST_TMPDIR/one"
	diff <(comparable "$BATS_TEST_TMPDIR/one") <(comparable "$BATS_TEST_TMPDIR/again")
	# Also where it is all that there is
	run -1 jobctl import - < <(jq -c 'if .job then .job.state = "queued" else . end' "$BATS_TEST_TMPDIR/one")
	[ "$(jobctl list --all --json | wc -l)" -eq 1 ]
}

@test "jobs by a clock that was ahead, or was set back meanwhile, come in like others" {
	start_jobd
	for _ in 1 2 3; do
		jobctl start ping --wait 127.0.0.1
	done
	stop_jobd
	sqlite3 "$DATABASE" 'UPDATE job SET created_us = created_us + 3600000000 WHERE id < 3;
		UPDATE job SET ended_us = ended_us + 3600000000 WHERE id = 1'
	start_jobd
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	jobctl remove --all
	[ "$(jobctl import "$BATS_TEST_TMPDIR/lines" | wc -l)" -eq 3 ]
	jobctl list --json | jq -se 'length == 3 and all(.[]; .createdUsec <= now * 1000000 and .endedUsec <= now * 1000000)'
}

@test "lines that do not fit together are refused by what is wrong" {
	start_jobd
	jobctl start ping --wait '127.0.0.[1-3]'
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	refused "only a job that has ended" 'if .job then .job.endedUsec = 0 else . end'
	# jobctl leaves such a one out; jobd takes it from nobody
	python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.Import \
		"$(jq -c 'select(.job) | .job.state = "running" | del(.job.created, .job.started, .job.ended)' "$BATS_TEST_TMPDIR/lines")" |
		jq -e '.parameters.message | contains("only a job that has ended")'
	refused "of another kind" 'if .job then .job.options.kind = "ssh" else . end'
	refused "times that cannot be" 'if .job then .job.createdUsec = -1 else . end'
	refused "another target than its index" 'if .task.index == 1 then .task.target = "127.0.0.9" else . end'
	refused "more or fewer tasks" 'if .job then .job.options.targets = ["127.0.0.[1-4]"] else . end'
	refused "another number of ends" 'if .record.index == 1 then .record.task.state = "failed" else . end'
	refused "of another job" 'if .record.index == 1 then .record.job = 2 else . end'
	refused "not in order" 'if .record.index == 1 then .record.position = 1 else . end'
	refused "no end, or two" 'if .record.index == 1 then ., (.record.position += 1000) else . end' ||
		refused "not in order" 'if .record.index == 1 then ., . else . end'
	refused "has no end" 'select(.record.index != 2)'
	refused "was not begun" 'select(.task.index != 2)'
	# Which job of the file it is about
	second=$(jobctl start ping 127.0.0.1)
	jobctl wait --quiet
	jobctl export >"$BATS_TEST_TMPDIR/lines"
	jq -c 'if .job.id == 1 then .job.endedUsec = 0 else . end' "$BATS_TEST_TMPDIR/lines" >"$BATS_TEST_TMPDIR/changed"
	run -2 --separate-stderr jobctl import "$BATS_TEST_TMPDIR/changed"
	imported=$output
	[[ $stderr == "jobctl: the job from line 4 of "*"only a job that has ended"* ]]
	jobctl remove "$second" "$imported"
	jobctl export 1 >"$BATS_TEST_TMPDIR/lines"
	refused "comes before its tasks" 'select(.job | not)'
	refused "is none of jobctl export" '{"jobs": .}'
	wait_until "$BOUND" eval '[ "$(jobctl list --all --json | wc -l)" -eq 1 ]'
	echo '{"job"' | run -2 jobctl import -
	run -2 jobctl import "$BATS_TEST_TMPDIR/nothing"
	[[ $output == *"cannot read"* ]]
	is_state 1 completed
}
