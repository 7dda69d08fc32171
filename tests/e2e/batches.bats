#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Jobs that stop in time: canaries, batches, a bound of failures.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
	ip -n "$NETNS" route add unreachable 10.10.10.0/24
	start_jobd
}

teardown() {
	common_teardown
}

# counts JOB: tasks, succeeded, failed, stopped
counts() {
	jobctl list "$1" --json | jq -c '[.tasks, .succeeded, .failed, .stopped]'
}

@test "--canary: one of the first fails, and no other is tried; all of them well, and the rest follow" {
	run -3 jobctl start ping --wait --canary 2 10.10.10.10 127.0.0.1 '127.0.1.[1-98]'
	[[ $output == *"10.10.10.10: failed (unreachable)"* ]]
	[[ $output == *"127.0.0.1: 1/1 replies"* ]]
	[[ $output == *"jobctl: job 1: 1 of the first 2 tasks failed (--canary): 98 were not tried"* ]]
	[ "$(counts 1)" = "[100,1,1,98]" ]
	is_state 1 failed
	run -0 jobctl show 1
	[[ $output == *"reason: 1 of the first 2 tasks failed"* ]]
	run -3 jobctl start ping --wait --canary 3 '127.0.0.[1-3]' 10.10.10.10 '127.0.1.[1-6]'
	# Later ones may fail
	[ "$(counts 2)" = "[10,9,1,0]" ]
	run -0 jobctl start ping --wait --canary 100 '127.0.0.[1-3]'
}

@test "--batch: all of a batch end before the next begins, over a crash as well" {
	jobctl start ping --canary 1 --batch 3 --count 2 --interval 20ms '127.0.0.[1-10]'
	run -0 jobctl wait
	# 1, then 3 and 3 and 3: no task of one began before all before it had ended
	jobctl show 1 --json | jq -e '
		[.taskList[] | {batch: ((.index + 2) / 3 | floor), startedUsec, endedUsec}] as $tasks |
		all(range(1; 4); . as $batch |
			([$tasks[] | select(.batch < $batch).endedUsec] | max) <=
			([$tasks[] | select(.batch == $batch).startedUsec] | min))'
	silence 127.0.1.0/24
	jobctl start ping --batch 30% --count 6 --interval 100ms --reply-timeout 60s '127.0.1.[1-10]'
	wait_until "$BOUND" running_tasks 2 3
	kill9_jobd
	end_silence
	start_jobd
	running_most=$(jobctl list 2 --json | jq .running)
	[ "$running_most" -le 3 ]
	run -0 jobctl wait 2 --timeout "$BOUND"
	[ "$(counts 2)" = "[10,10,0,0]" ]
}

@test "--max-failures: one more, and no other is tried; what ran goes on to its end" {
	run -3 jobctl start ping --wait --parallel 1 --max-failures 2 '10.10.10.[1-9]' '127.0.0.[1-9]'
	[[ $output == *"3 of the first 3 tasks failed (--max-failures): 15 were not tried"* ]]
	[ "$(counts 1)" = "[18,0,3,15]" ]
	run -3 jobctl start ping --wait --max-failures 10% '10.10.10.[1-2]' '127.0.0.[1-18]'
	[ "$(counts 2)" = "[20,18,2,0]" ]
	# A long one that was under way is not cut off
	jobctl start ping --batch 2 --max-failures 0 --count 20 --interval 20ms 127.0.0.1 10.10.10.1 127.0.0.2
	run -3 jobctl wait 3 --timeout "$BOUND"
	[ "$(counts 3)" = "[3,1,1,1]" ]
	jobctl show 3/0 --json | jq -e '.taskList[0].ping.received == 20'
	run -0 jobctl retry 3
	run -3 jobctl wait 4 --timeout "$BOUND"
}

@test "a summary tells of targets that were not tried" {
	run -3 jobctl start ping --wait --summary --canary 1 10.10.10.1 '127.0.0.[1-5]'
	[[ $output == *"1 target"* ]]
	[[ $output == *"  no result             5  not begun, or not ended"* ]]
	run -0 jobctl receive --summary 1
	[[ $output == *"  no result             5  not begun, or not ended"* ]]
	run -0 jobctl receive --summary --failed 1
	[[ $output != *"no result"* ]]
	run -0 jobctl receive --summary 1/10.10.10.1
	[[ $output != *"no result"* ]]
	jobctl start ping --wait --quiet 127.0.0.1
	run -0 jobctl receive --summary 2
	[[ $output != *"no result"* ]]
}

@test "what makes no sense is refused" {
	for words in '--batch 0' '--batch many' '--max-failures -1' '--max-failures 101%' '--canary 0'; do
		# shellcheck disable=SC2086
		run -2 jobctl start ping $words 127.0.0.1
		[ "${#lines[@]}" -eq 1 ]
	done
}
