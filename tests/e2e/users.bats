#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Who may what, by the uid of the peer: each user sees and touches own jobs only, root all.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
	open_folder
	JOBD_MODE=()
	start_jobd
	# Where the tree may be out of other users' reach
	cp "$JOBCTL_PROGRAM" "$BATS_TEST_TMPDIR/jobctl"
	endless
}

teardown() {
	common_teardown
}

# Job 1, of root
endless() {
	jobctl start ping --name roots --count 60000 127.0.0.1
}

# jobctl of another user
other() {
	setpriv --reuid="${OTHER:-65534}" --regid=65534 --clear-groups "$BATS_TEST_TMPDIR/jobctl" "$@"
}

@test "another user's jobs are not there: not listed, not named, not counted" {
	run -0 other list --all --json
	[ -z "$output" ]
	for words in 'list 1' 'show 1' 'list roots' 'receive 1' 'wait 1' 'stop 1' 'pause 1' 'resume 1' \
		'adjust 1 --name mine' 'remove 1' 'remove 1 --force' 'retry 1'; do
		read -ra words <<<"$words"
		run -1 other "${words[@]}"
		[[ $output == *"no job"* ]]
	done
	other stop --all
	other remove --all --force
	other status --json | jq -e '.jobs == 0 and .tasksRunning == 0'
	is_state 1 running
}

@test "each sees and receives own results; ids are of one row; root sees all with --all" {
	[ "$(other start ping 127.0.0.1)" = 2 ]
	OTHER=65533 other start ping 127.0.0.2
	run -0 other wait
	OTHER=65533 other wait
	[ "$(other list --json | jq -c .id)" = 2 ]
	run -0 other receive
	[[ $output == "1/1 replies"* || $output == "127.0.0.1: 1/1 replies"* ]]
	[ "$(jobctl list --json | jq -c .id)" = 1 ]
	[ "$(jobctl list --all --json | jq -c .id | tr '\n' ' ')" = "3 2 1 " ]
	jobctl list 2 --json | jq -e '.uid == 65534'
	# That root looks moves nobody's cursor
	run -0 jobctl receive 3
	OTHER=65533 other receive | grep -q '^127.0.0.2'
	jobctl remove 2
	run -1 other show 2
}

@test "two users may use the same token and name" {
	jobctl start ping --name twin 127.0.0.1
	other start ping --name twin 127.0.0.2
	run -0 other list twin --json
	[ "$(jq -r .targets <<<"$output")" = 127.0.0.2 ]
}

@test "another user's schedules are not there either; root sees and changes all" {
	jobctl start ping --every 1h --name hourly 127.0.0.1
	[ "$(other start ping --every 1h --name hourly 127.0.0.2)" = s4 ]
	[ "$(other schedules --json | jq -c .id)" = 4 ]
	[ "$(other schedules hourly --json | jq -c .id)" = 4 ]
	for words in 'schedules s2' 'schedules pause s2' 'schedules run s2' 'schedules remove s2' \
		'list --schedule s2'; do
		read -ra words <<<"$words"
		run -1 other "${words[@]}"
		[[ $output == *"no schedule s2"* ]]
	done
	[ "$(jobctl schedules --json | jq -c .id)" = 2 ]
	[ "$(jobctl schedules --all --json | jq -c .id | tr '\n' ' ')" = "2 4 " ]
	[ "$(other schedules --all --json | jq -c .id)" = 4 ]
	[ "$(jobctl schedules hourly --json | jq -c .id)" = 2 ]
	# Run by root it is still the user's
	jobctl schedules run s4
	[ "$(other list --schedule hourly --json | jq -s -c 'map(.uid) | unique')" = '[65534]' ]
	jobctl schedules remove s4
	[ -z "$(other schedules --json)" ]
}

@test "files and keys of the daemon are out of users' reach" {
	for dry in '' --dry-run; do
		run -2 other start ssh $dry --identity /etc/ssh/ssh_host_ed25519_key 127.0.0.1 -- true
		[[ $output == *"--identity"* ]]
	done
	run -2 other start ssh --credential nothing 127.0.0.1 -- true
	[[ $output == *nothing* ]]
	[ "$(stat -c %a "$DATABASE")" = 600 ]
}

# imported_as WHO JQ-FILTER: the options of the exported job, changed
imported_as() {
	jq -c "if .job then .job.options.ssh |= ($2) else . end" "$BATS_TEST_TMPDIR/lines" | "$1" import -
}

@test "nor are they in a job that a user imports, and could retry" {
	run -3 jobctl start ssh --wait --host-key off --connect-timeout 1s 127.0.0.1:1 -- true
	jobctl export @last >"$BATS_TEST_TMPDIR/lines"
	run -0 imported_as other .
	for change in '.identity = "/root/.ssh/id_ed25519"' '.options += ["IdentityFile /root/.ssh/id_ed25519"]' \
		'.options += ["UserKnownHostsFile /etc/shadow"]' \
		'.hosts = [{targets: ["127.0.0.1:1"], options: ["IdentityFile /root/.ssh/id_ed25519"]}]'; do
		run -2 imported_as other "$change"
		[[ $output == *"of its users"* ]]
		[ "$(other list --all --json | wc -l)" -eq 1 ]
	done
	# Who may read them all may have them back
	run -0 imported_as jobctl '.identity = "/root/.ssh/id_ed25519"'
}

@test "the admin group sees and touches all" {
	stop_jobd
	printf '[jobd]\nadmin-group = nogroup\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	[ "$(other list --all --json | jq -c .id)" = 1 ]
	other stop 1
	run -3 jobctl wait 1 --timeout "$BOUND"
	is_state 1 stopped
}

@test "no user steers the terminal of who looks at the job" {
	other start ssh --login $'\e[31mroot' --jump $'a\e[32m' --port 9 127.0.0.1 -- $'\e]0;x\a'
	other start ping --source $'\e[33m' --name $'n\xc2\x9b34m' $'h\xc2\x9b35m'
	run -3 jobctl wait 3 --timeout "$BOUND"
	for words in 'show 2-3' 'list 2-3' 'receive 3' 'receive 3 --again --summary'; do
		# shellcheck disable=SC2086
		LC_ALL=C.UTF-8 run -0 on_terminal 200 "$JOBCTL_PROGRAM" $words
		[[ $output == *x9b3[45]m* ]]
		[[ $output != *$'\e'* ]]
		[[ $output != *$'\xc2\x9b'* ]]
	done
}

@test "one user cannot take every connection from the others" {
	printf '[jobd]\nmax-clients = 16\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	stop_jobd
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	python3 - "$JOBD_SOCKET" >"$BATS_TEST_TMPDIR/greedy" 3>&- 4>&- <<-'END' &
		import os, signal, socket, sys
		os.setuid(65534)
		clients = []
		for _ in range(32):
		    client = socket.socket(socket.AF_UNIX)
		    client.connect(sys.argv[1])
		    clients.append(client)
		print("all", flush=True)
		signal.pause()
	END
	PIDS+=($!)
	wait_until "$BOUND" test -s "$BATS_TEST_TMPDIR/greedy"
	OTHER=65533 other list
	jobctl status
}
