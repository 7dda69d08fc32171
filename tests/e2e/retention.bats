#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# What jobd forgets by itself, where jobd.conf says so, and what it refuses to keep.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	test_user
	# The far side is this machine: its user reads in the test's folder
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" 2>/dev/null || :
}

teardown() {
	common_teardown
}

# configured LINE...: a jobd with these settings
configured() {
	printf '[jobd]\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	printf '%s\n' "$@" >>"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
}

# ids WORD...: of the jobs that there are, oldest first
ids() {
	jobctl list --all --json | jq .id | sort -n | tr '\n' ' '
}

has_ids() {
	[ "$(ids)" = "$1" ]
}

pruned() {
	[ "$(jobctl status --json | jq .prunedJobs)" -ge "$1" ]
}

@test "keep-finished: what ended long ago goes, received or not, what runs stays; a reload changes it" {
	netns_new
	configured
	jobctl start ping --wait 127.0.0.1
	jobctl start ping 127.0.0.2
	jobctl start ping --count 0 127.0.0.3
	run -0 jobctl wait 1 2
	# Nothing is said: nothing goes
	has_ids "1 2 3 "
	jobctl status --json | jq -e '.prunedJobs == 0'
	echo "keep-finished = 1s" >>"$BATS_TEST_TMPDIR/jobd.conf"
	kill -HUP "$JOBD_PID"
	wait_until "$BOUND" has_ids "3 "
	pruned 2
	grep -q 'job 1, which ended at .*, is pruned: keep-finished in jobd.conf$' "$JOBD_LOG"
	grep -q 'job 2, which ended at .* and was not received, is pruned: keep-finished' "$JOBD_LOG"
	jobctl stop 3
	run -3 jobctl wait 3
	wait_until "$BOUND" has_ids ""
}

@test "status: the limits as people read them" {
	configured 'keep-finished = 30d' 'max-database-size = 2G'
	run -0 jobctl status
	for words in 'keep-finished 30 d' 'max-database-size 2.0 GiB' 'max-output-per-job 0' 'max-clients 256'; do
		grep -qxE " *limit: $words" <<<"$output"
	done
	run -0 jobctl status --json
	jq -e '.limits."keep-finished" == 2592000000000' <<<"$output"
}

# noisy BYTES TARGET: a job that writes so much
noisy() {
	jobctl start ssh --login "$TEST_USER" --port "$SSH_PORT" --max-output 64M "$2" -- "head -c $1 /dev/urandom"
}

@test "max-database-size: the oldest that were received go first; with nothing left to prune, new jobs are refused" {
	start_sshd
	known 127.0.0.1
	configured "max-database-size = 4M"
	noisy 900000 127.0.0.1
	noisy 900000 127.0.0.1
	noisy 900000 127.0.0.1
	run -0 jobctl wait
	jobctl receive 2 >/dev/null
	has_ids "1 2 3 "
	noisy 1800000 127.0.0.1
	wait_until "$BOUND" pruned 1
	grep -q 'job 2, which ended at .*, is pruned: max-database-size in jobd.conf$' "$JOBD_LOG"
	run -0 jobctl wait
	[[ "$(ids)" == *"4 " ]]
	# One that runs is larger than all: it stays, and there is no place for another
	jobctl start ssh --login "$TEST_USER" --port "$SSH_PORT" --max-output 64M 127.0.0.1 -- \
		'head -c 6000000 /dev/urandom; echo ready; sleep 1000'
	big=$(jobctl list @last --json | jq .id)
	wait_until "$BOUND" has_ids "$big "
	wait_until "$BOUND" eval '[ "$(jobctl receive "$big" --keep --raw | tail -c 6)" = ready ]'
	run -1 jobctl start ping 127.0.0.1
	[[ $output == *"max-database-size in jobd.conf allows 4.0 MiB: remove jobs, or raise it"* ]]
	jobctl remove --force "$big"
	wait_until "$BOUND" eval 'jobctl start ping 127.0.0.1'
}

# given BYTES: a job that is handed so much, and cannot give it to anybody
given() {
	head -c "$1" /dev/zero >"$BATS_TEST_TMPDIR/input"
	jobctl start ssh --port 1 --stdin "$BATS_TEST_TMPDIR/input" 127.0.0.1 -- cat
	jobctl wait --quiet @last || :
}

@test "max-database-size: what a job was handed counts as well, so that no more go than have to" {
	configured "max-database-size = 4M"
	# In base64 840,000 each: the fifth is too much
	for _ in 1 2 3 4 5; do
		given 630000
	done
	wait_until "$BOUND" pruned 1
	has_ids "2 3 4 5 "
	wait_until "$BOUND" eval '[ "$(sqlite3 "$DATABASE" "SELECT count(*) FROM removed")" -eq 0 ]'
	jobctl start ping --wait 127.0.0.1
	has_ids "2 3 4 5 6 "
}

@test "max-database-size: also those go that ended while the clock was ahead" {
	configured
	given 630000
	given 630000
	stop_jobd
	sqlite3 "$DATABASE" 'UPDATE job SET ended_us = ended_us + 86400000000'
	configured "max-database-size = 1M"
	wait_until "$BOUND" pruned 1
	wait_until "$BOUND" eval 'jobctl start ping 127.0.0.1'
}

@test "max-output-per-job: the tasks that run when it is reached fail, and say why" {
	start_sshd
	known 127.0.0.1
	known 127.0.0.2
	configured "max-output-per-job = 1M"
	jobctl start ssh --login "$TEST_USER" --port "$SSH_PORT" --max-output 64M '127.0.0.[1-2]' -- \
		'head -c 600000 /dev/zero; sleep 1000'
	run -3 jobctl wait 1 --timeout "$BOUND"
	is_state 1 failed
	jobctl show 1
	jobctl show 1 --json | jq -e '.errors == {"output_limit": 2} and all(.taskList[]; .message | contains("max-output-per-job"))'
}
