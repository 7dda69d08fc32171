#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What jobd does after its own death. Nothing that it acknowledged is lost.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
}

teardown() {
	# What a killed jobd could not end on the far side
	[ ! -s "${MARK:-}" ] || xargs kill -KILL <"$MARK" 2>/dev/null || :
	common_teardown
}

task() {
	jobctl show "$1" --json | jq -c ".taskList[0].$2"
}

# storm JOBD ROUNDS WAY: jobd dies so often, and what clients were told holds afterwards
storm() {
	need python3
	start_sshload --none --listen 0.0.0.0 --delay 0.03 --output 3000 --ledger "$BATS_TEST_TMPDIR/ledger"
	run -0 ip netns exec "$NETNS" python3 "$TESTS/crash/kill9.py" "$1" "$JOBCTL_PROGRAM" "$SSH_PORT" \
		"$BATS_TEST_TMPDIR/ledger" "$BATS_TEST_TMPDIR" "$2" "$3"
	echo "$output"
	run -1 grep -E 'Sanitizer|Assertion' "$BATS_TEST_TMPDIR/jobd.log"
}

@test "kill -9 at random moments under load: nothing acknowledged is lost, nothing runs twice" {
	storm "$JOBD_PROGRAM" "${JOBD_TEST_KILLS:-100}" kill
}

@test "the power goes at random moments, with writes lost and torn: the same holds" {
	storm "$FAULTY_JOBD_PROGRAM" "${JOBD_TEST_CUTS:-40}" cut
}

@test "calls to the disk fail at random, and jobd is killed: the same holds" {
	storm "$FAULTY_JOBD_PROGRAM" "${JOBD_TEST_FAULTS:-20}" fail
}

# A command that says on the far side that it runs, and goes on: the job's id on standard output
long_command() {
	test_user
	MARK=$(mark begun)
	start_sshd
	known 127.0.0.1
	start_jobd
	jobctl start ssh --login "$TEST_USER" --port "$SSH_PORT" "$@" 127.0.0.1 -- "echo \$\$ >>$MARK; exec sleep 600"
	wait_until "$BOUND" has_begun 1
}

# So many times
has_begun() {
	[ "$(wc -l 2>/dev/null <"$MARK")" -ge "$1" ]
}

@test "a command that had been sent is interrupted, and never runs again by itself" {
	long_command
	kill9_jobd
	start_jobd
	run -3 jobctl wait 1 --timeout "$BOUND"
	[ "$(task 1 state)" = '"interrupted"' ]
	[ "$(task 1 attempts)" = 1 ]
	is_state 1 failed
	run -0 jobctl receive
	[[ $output == *"127.0.0.1: interrupted"* ]]
	run -0 jobctl retry 1
	wait_until "$BOUND" has_begun 2
}

@test "start --wait whose jobd dies names the job, which nobody has seen yet" {
	start_jobd
	jobctl start ping --wait --count 0 127.0.0.1 >"$BATS_TEST_TMPDIR/said" 2>&1 3>&- &
	pid=$!
	wait_until "$BOUND" running_tasks 1 1
	kill9_jobd
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 4 ]
	[ "$(cat "$BATS_TEST_TMPDIR/said")" = "jobctl: jobd closed the connection: see its log; job 1 is kept: jobctl wait 1" ]
	start_jobd
	is_state 1 running
}

@test "--rerun: a command that had been sent runs again" {
	long_command --rerun
	kill9_jobd
	start_jobd
	wait_until "$BOUND" has_begun 2
	[ "$(task 1 attempts)" = 2 ]
}

@test "a task that was still connecting runs after the restart" {
	start_sshload --silent
	silent_pid=${PIDS[-1]}
	port=$SSH_PORT
	start_jobd
	jobctl start ssh --host-key off --port "$SSH_PORT" 127.0.0.1 -- true
	wait_until "$BOUND" running_tasks 1 1
	kill9_jobd
	kill "$silent_pid"
	wait_until "$BOUND" gone "$silent_pid"
	start_sshload --none --port "$port"
	start_jobd
	run -0 jobctl wait 1 --timeout "$BOUND"
	[ "$(task 1 attempts)" = 2 ]
}

@test "pings that were under way run again, queued ones go on, and the ended stay as they were" {
	start_jobd
	jobctl start ping --count 2 --interval 1ms '127.0.0.[1-9]'
	jobctl wait
	before=$(jobctl show 1 --json)
	silence 127.0.1.0/24
	jobctl start ping --parallel 3 --count 1 --reply-timeout 60s '127.0.1.[1-9]'
	wait_until "$BOUND" running_tasks 2 3
	kill9_jobd
	end_silence
	start_jobd
	run -0 jobctl wait --timeout "$BOUND"
	jobctl list 2 --json | jq -e '.succeeded == 9'
	[ "$(jobctl show 1 --json)" = "$before" ]
}

@test "a paused job stays paused, a stopped one stopped, names and cursors stay" {
	start_jobd
	jobctl start ping 127.0.0.1
	jobctl wait
	[ "$(jobctl receive | wc -l)" -eq 1 ]
	jobctl start ping --name held --parallel 1 --count 60000 '127.0.0.[1-3]'
	jobctl start ping --count 60000 127.0.0.1
	jobctl stop 3
	jobctl wait 3 || [ $? -eq 3 ]
	jobctl pause held
	kill9_jobd
	start_jobd
	is_state held paused
	is_state 3 stopped
	[ "$(jobctl receive 1 | wc -l)" -eq 0 ]
	run -0 jobctl receive 3
	[ "$output" = "127.0.0.1: stopped" ]
	jobctl resume held
	wait_until "$BOUND" running_tasks held 1
}

@test "a job that was being stopped is stopped after the restart, not stuck" {
	long_command
	jobctl stop 1 --grace 60s
	kill9_jobd
	start_jobd
	run -3 jobctl wait 1 --timeout "$BOUND"
	is_state 1 stopped
}

# Of two commands that no TERM ends
@test "a target that was being stopped is stopped after the restart, and does not run again; the others do" {
	test_user
	MARK=$(mark begun)
	start_sshd
	start_jobd
	jobctl start ssh --rerun --host-key off --login "$TEST_USER" --port "$SSH_PORT" '127.0.0.[1-2]' \
		-- "trap '' TERM; echo \$\$ >>$MARK; exec sleep 600"
	wait_until "$BOUND" has_begun 2
	jobctl stop 1/127.0.0.1 --grace 60s
	[ "$(task 1 state)" = '"running"' ]
	kill9_jobd
	start_jobd
	wait_until "$BOUND" has_begun 3
	jobctl show 1 --json | jq -e '[.taskList[].state] == ["stopped", "running"]'
	jobctl list 1 --json | jq -e '[.running, .stopped] == [1, 1]'
	[ "$(jobctl receive 1 2>&1)" = "127.0.0.1: stopped" ]
}

# The first task of job 1 waits for another attempt after so many
waits_after() {
	jobctl show 1 --json | jq -e ".taskList[0] | [.state, .attempts, .endedUsec] == [\"queued\", $1, null]"
}

@test "tries that failed count after kill -9 too: what --retries leaves is tried, and no more" {
	ip -n "$NETNS" route add unreachable 10.9.9.0/24
	start_jobd
	# A restart does not wait for the delay
	jobctl start ping --retries 2 --retry-delay 1h 10.9.9.9
	for tries in 1 2; do
		wait_until "$BOUND" waits_after "$tries"
		kill9_jobd
		start_jobd
	done
	run -3 jobctl wait 1 --timeout "$BOUND"
	jobctl show 1 --json | jq -e '.taskList[0] | .state == "failed" and .attempts == 3 and .endedUsec > .startedUsec'
	jobctl receive --json | jq -e '.task | .state == "failed" and .attempts == 3'
}

@test "SIGTERM loses nothing: running pings and queued tasks go on afterwards" {
	start_jobd
	silence 127.0.1.0/24
	jobctl start ping --parallel 2 --count 1 --reply-timeout 60s '127.0.1.[1-6]'
	wait_until "$BOUND" running_tasks 1 2
	stop_jobd
	end_silence
	start_jobd
	run -0 jobctl wait --timeout "$BOUND"
	jobctl list 1 --json | jq -e '.succeeded == 6'
	[ "$(jobctl receive | wc -l)" -eq 6 ]
}

# In the midst of a sweep tasks have no row of their own before they end
@test "kill -9 and SIGTERM in the midst of a sweep: every target ends once" {
	ip netns exec "$NETNS" nft -f - <<-'END'
		table ip t {
			chain in { type filter hook input priority 0; ip daddr 127.0.2.0/24 drop; }
		}
	END
	start_jobd
	jobctl start ping --rate 4000 --reply-timeout 300ms --interval 300ms '127.0.0.1-127.0.15.255' localhost
	for least in 300 1500; do
		wait_until "$BOUND" eval '[ "$(jobctl list 1 --json | jq .succeeded)" -ge $least ]'
		kill9_jobd
		start_jobd
	done
	wait_until "$BOUND" eval '[ "$(jobctl list 1 --json | jq .succeeded)" -ge 2500 ]'
	stop_jobd
	start_jobd
	run -3 jobctl wait --timeout 60
	jobctl list 1 --json | jq -e '[.tasks, .succeeded, .failed, .running, .queued] == [4096, 3840, 256, 0, 0]'
	[ "$(jobctl receive | cut -d: -f1 | sort -u | wc -l)" -eq 4096 ]
}

@test "kill -9 in the midst of 65,534 targets and their retries: each has one end, none is lost" {
	ip netns exec "$NETNS" nft -f - <<-'END'
		table ip t {
			chain in { type filter hook input priority 0; ip daddr 127.0.16.0/20 drop; }
		}
	END
	start_jobd
	jobctl start ping --rate 40000 --count 1 --reply-timeout 200ms --retries 2 --retry-delay 200ms 127.0.0.0/16
	for least in 5000 25000 45000; do
		wait_until "$BOUND" eval '[ "$(jobctl list 1 --json | jq .succeeded)" -ge $least ]'
		kill9_jobd
		start_jobd
	done
	run -3 jobctl wait 1 --timeout 60
	jobctl list 1 --json | jq -e '[.tasks, .succeeded, .failed, .running, .queued] == [65534, 61438, 4096, 0, 0]'
	jobctl receive --json | jq -r '[.target, .task.state, .task.attempts] | @tsv' >"$BATS_TEST_TMPDIR/ends"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/ends")" -eq 65534 ]
	[ "$(cut -f1 "$BATS_TEST_TMPDIR/ends" | sort -u | wc -l)" -eq 65534 ]
	# All retries were made, and what a crash cut off is no try that failed
	[ "$(awk '$2 == "failed" && $3 >= 3 && $3 <= 6' "$BATS_TEST_TMPDIR/ends" | wc -l)" -eq 4096 ]
}

@test "SIGTERM while thousands begin and end: every one is there afterwards, once" {
	start_jobd
	jobctl start ping --count 2 --interval 50ms --rate 10000 '127.0.[0-39].[1-250]'
	for least in 500 2000 4000; do
		wait_until "$BOUND" eval '[ "$(jobctl list 1 --json | jq .succeeded)" -ge $least ]'
		stop_jobd
		start_jobd
	done
	run -0 jobctl wait --timeout 60
	jobctl list 1 --json | jq -e '[.tasks, .succeeded, .running, .queued] == [10000, 10000, 0, 0]'
	[ "$(jobctl receive | wc -l)" -eq 10000 ]
}

@test "ids are never used again, not even after remove --all and a restart" {
	start_jobd
	jobctl start ping '127.0.0.[1-2]'
	jobctl wait
	jobctl remove --all
	kill9_jobd
	start_jobd
	[ "$(jobctl start ping 127.0.0.1)" = 2 ]
}

@test "killed while a job is stopping, with tasks that were never begun: each is counted once" {
	long_command --parallel 1 --host-key off 127.0.0.2 127.0.0.3
	jobctl stop 1 --grace 60s
	kill9_jobd
	start_jobd
	run -3 jobctl wait 1 --timeout "$BOUND"
	is_state 1 stopped
	jobctl list 1 --json | jq -e '[.tasks, .queued, .running, .stopped] == [3, 0, 0, 3]'
}

# with_settings LINE...: what jobd.conf has
with_settings() {
	mkdir -p "$XDG_CONFIG_HOME/jobd"
	printf '%s\n' "$@" >"$XDG_CONFIG_HOME/jobd/jobd.conf"
}

# Jobs that would go on for long: nobody is behind the port
going_on() {
	jobctl start ssh --port 1 --retries 9 --retry-delay 1h "$@" -- true
}

@test "what a job needs of jobd.conf is gone after the restart: it ends and says why, and so nobody waits for ever" {
	with_settings '[credential lab]' 'user = nobody' '[jobd]'
	start_jobd
	going_on --credential lab --parallel 1 '127.0.0.[1-3]'
	going_on --credential lab 127.0.0.1
	jobctl pause 2
	going_on --max-output 512M 127.0.0.1
	going_on --name look --every 1s --credential lab 127.0.0.1
	wait_until "$BOUND" eval '[ "$(jobctl list look --state running --json | wc -l)" -eq 1 ]'
	kill9_jobd
	with_settings '[jobd]' 'max-output-per-task = 100M'
	start_jobd
	run -3 jobctl wait --timeout "$BOUND"
	jobctl list --json | jq -se 'all(.[]; .state == "failed" and .queued + .running == 0 and .stopped == .tasks)'
	jobctl show 1 --json | jq -e '.reason | contains("could not go on") and contains("no [credential lab]")'
	jobctl show 3 --json | jq -e '.reason | contains("max-output-per-task")'
	# A schedule of such jobs goes on when it can
	with_settings '[credential lab]' 'user = nobody' '[jobd]'
	kill -HUP "$JOBD_PID"
	wait_until "$BOUND" eval '[ "$(jobctl list look --state running --json | wc -l)" -eq 1 ]'
	jobctl schedules remove look
	jobctl stop --all
}

@test "... but a command that had been sent is interrupted" {
	with_settings '[credential lab]' 'user = nobody' '[jobd]'
	long_command --credential lab --host-key off 127.0.0.2
	wait_until "$BOUND" has_begun 2
	kill9_jobd
	with_settings '[jobd]'
	start_jobd
	run -3 jobctl wait 1 --timeout "$BOUND"
	is_state 1 failed
	jobctl list 1 --json | jq -e '.interrupted == 2'
}
