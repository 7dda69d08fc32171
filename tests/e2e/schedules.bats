#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Schedules: jobs at their times, once each whatever happens to jobd, and what is said of them.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
}

teardown() {
	common_teardown
}

# field SCHEDULE NAME: of its JSON
field() {
	jobctl schedules "$1" --json | jq -r ".$2"
}

is_field() {
	[ "$(field "$1" "$2")" = "$3" ]
}

# has_run SCHEDULE N: at least so often
has_run() {
	[ "$(field "$1" runs)" -ge "$2" ]
}

has_skipped() {
	[ "$(field "$1" skipped)" -ge "$2" ]
}

# runs_of SCHEDULE [OPTION...]: how many of its jobs there are
runs_of() {
	jobctl list --schedule "$@" --json | wc -l
}

has_runs() {
	[ "$(runs_of "$1")" -eq "$2" ]
}

# missed SCHEDULE: while jobd is down, as if it had been due an hour ago
missed() {
	sqlite3 "$DATABASE" "UPDATE schedule SET next_us = next_us - 3600000000,
		created_us = created_us - 3600000000 WHERE id = ${1#s}"
}

@test "--every: the first at once, runs are jobs of its name, and --keep-last keeps the newest" {
	start_jobd
	run -0 jobctl start ping --every 1s --keep-last 1 --name beat 127.0.0.1
	[ "$output" = s1 ]
	wait_until "$BOUND" has_run beat 1
	jobctl list --schedule s1 --json | jq -e '.schedule == 1 and .name == "beat"'
	jobctl show @last | grep -q 'run of: s1$'
	wait_until "$BOUND" has_run beat 3
	jobctl schedules pause beat
	jobctl wait --schedule beat
	wait_until "$BOUND" has_runs beat 1
	grep -q 'job 2 is pruned: --keep-last of schedule s1$' "$JOBD_LOG"
	jobctl status --json | jq -e '.prunedJobs >= 1'
	# Of two times, which a busy machine may skip, one is a second after the other, to the microsecond
	times=$(($(field s1 runs) + $(field s1 skipped)))
	[ "$(($(field s1 nextUsec) - $(field s1 createdUsec)))" -eq $((times * 1000000)) ]
	is_field s1 lastState completed
}

@test "--at runs once, --on-calendar at its times, by whichever zone" {
	start_jobd
	[ "$(jobctl start ping --on-calendar 'Mon..Fri 06:30 America/New_York' --name morning '127.0.0.[1-3]')" = s1 ]
	[ "$(jobctl start ping --at +1s --name once 127.0.0.1)" = s2 ]
	jobctl start ping --on-calendar '*:*:*' --name each 127.0.0.2
	wait_until "$BOUND" has_run once 1
	is_field once nextUsec null
	wait_until "$BOUND" has_run each 2
	TZ=America/New_York date -d "@$(($(field morning nextUsec) / 1000000))" +%H:%M | grep -qx 06:30
	run -0 jobctl schedules
	[[ ${lines[1]} =~ ^s1\ morning\ ping\ Mon..Fri\ 06:30\ America/New_York\ +[0-9]+\ (h|min|s|d)\ .*\ 0\ +0\ 127 ]]
	[[ ${lines[2]} =~ ^s2\ once\ +ping\ +20.*\ never\ .*\ 1\ +0\ 127.0.0.1$ ]]
	is_field once runs 1
}

@test "the table fits a terminal of 80 columns, whatever is in it; in a pipe it is whole" {
	start_jobd
	event='Mon..Fri *-*-* 06,12,18:00:00 Europe/Berlin'
	jobctl start ssh --name a-rather-long-name-for-a-backup --on-calendar "$event" '127.1.0.[1-30]' -- show running-config
	jobctl start ping --at 2099-12-24T06:00 127.0.0.1
	run -0 on_terminal 80 "$JOBCTL_PROGRAM" schedules
	[ "${#lines[@]}" -eq 3 ]
	run -1 grep -E '.{81}' <<<"${output//$'\r'/}"
	run -0 jobctl schedules
	[[ $output == *a-rather-long-name-for-a-backup*"$event"*'127.1.0.[1-30] -- show running-config'* ]]
	[[ ${lines[2]} =~ ' 2099-12-24T06:00 '\ *[0-9]+' d ' ]]
}

@test "a run is not made while the one before goes on, but with --overlap" {
	start_jobd
	jobctl start ping --every 1s --name slow --count 0 127.0.0.1
	jobctl start ping --every 1s --name many --count 0 --overlap 127.0.0.1
	wait_until "$BOUND" has_skipped slow 2
	wait_until "$BOUND" has_run many 2
	is_field slow runs 1
	has_runs slow 1
	# By hand it goes beside; of several until one fails
	run -1 --separate-stderr jobctl schedules run slow none many
	[ "$output" = "$(field slow lastJob)" ]
	[[ $stderr == *"no schedule is called 'none'"* ]]
	has_runs slow 2
	python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.ChangeSchedules '{"action": "run",
		"selectors": ["slow", "many"]}' | jq -e '.error == "org.jobd.InvalidSelector"'
	has_runs slow 2
	jobctl schedules pause slow many
	jobctl stop --schedule slow
	jobctl stop --schedule many
	run -3 jobctl wait
}

@test "what is missed while jobd is down is skipped, or with --catch-up made once, at once" {
	start_jobd
	# Once an hour, and not during this test
	event="*:$((($(date +%-M) + 30) % 60)) UTC"
	jobctl start ping --on-calendar "$event" --name skips 127.0.0.1
	jobctl start ping --on-calendar "$event" --name catches --catch-up 127.0.0.1
	jobctl start ping --every 10min --name often --catch-up 127.0.0.1
	wait_until "$BOUND" is_field often lastState completed
	stop_jobd
	missed s1
	missed s2
	missed s3
	start_jobd
	wait_until "$BOUND" has_run catches 1
	wait_until "$BOUND" has_run often 2
	wait_until "$BOUND" has_skipped skips 1
	is_field skips runs 0
	is_field catches runs 1
	is_field often runs 2
	# An hour of ten minutes each: one was made
	is_field often skipped 5
	for name in skips catches often; do
		[ "$(field "$name" nextUsec)" -gt "$(date +%s%6N)" ]
	done
}

@test "pause, resume, run, remove; a paused schedule is as one of a jobd that is down" {
	start_jobd
	jobctl start ping --every 1s --name beat 127.0.0.1
	wait_until "$BOUND" has_run beat 1
	jobctl schedules pause beat
	runs=$(field beat runs)
	run -0 jobctl schedules run beat
	[ "$output" = "$(field beat lastJob)" ]
	is_field beat runs $((runs + 1))
	jobctl schedules | grep -q '^s1 beat ping every 1.0 s paused '
	stop_jobd
	missed s1
	start_jobd
	is_field beat paused true
	is_field beat runs $((runs + 1))
	jobctl schedules resume beat
	wait_until "$BOUND" has_skipped beat 3600
	wait_until "$BOUND" has_run beat $((runs + 2))
	run -0 jobctl schedules remove beat --json
	[ "$(jq -c .ids <<<"$output")" = '[1]' ]
	[ -z "$(jobctl schedules --json)" ]
	# Its runs stay
	jobctl list --json | jq -s -e "length >= $((runs + 2)) and all(.schedule == 1)"
	run -1 jobctl list --schedule s1
	[[ $output == *"no schedule s1; \`jobctl schedules\` shows yours"* ]]
}

@test "kill -9 at any moment: no run is lost, and none is made twice" {
	start_jobd
	for ((i = 0; i < 10; i++)); do
		jobctl start ping --on-calendar '*:*:0/0.05' --overlap "127.0.0.$((i + 1))"
	done
	for ((i = 0; i < 8; i++)); do
		wait_until "$BOUND" has_run s1 $((i + 1))
		kill9_jobd
		start_jobd
	done
	stop_jobd
	# Each time between the first and the next was run or skipped, and each run has its job
	[ "$(sqlite3 "$DATABASE" "SELECT count(*) FROM schedule WHERE runs + skipped <>
		(next_us - created_us / 50000 * 50000) / 50000 - 1")" -eq 0 ]
	[ "$(sqlite3 "$DATABASE" "SELECT count(*) FROM schedule AS s WHERE runs <>
		(SELECT count(*) FROM job WHERE schedule = s.id)")" -eq 0 ]
	[ "$(sqlite3 "$DATABASE" "SELECT min(runs) >= 8 FROM schedule")" -eq 1 ]
}

@test "a run that cannot be made: why is said and kept, and the schedule goes on" {
	printf '[jobd]\nmax-live-jobs = 1\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	jobctl start ping --count 0 127.0.0.1
	jobctl start ping --every 1s 127.0.0.2
	wait_until "$BOUND" has_skipped s2 1
	field s2 error | grep -q 'max-live-jobs in jobd.conf allows no more'
	grep -q 'schedule s2: no job: 1 jobs have not ended yet' "$JOBD_LOG"
	run -0 --separate-stderr jobctl schedules
	[[ $stderr == "jobctl: s2 made no job the last time: "* ]]
	jobctl stop 1
	wait_until "$BOUND" has_run s2 1
	is_field s2 error null
}

@test "the same token is the same schedule; a name is one's; settings bound them" {
	printf '[jobd]\nmax-schedules = 2\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	for ((i = 0; i < 2; i++)); do
		python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.Start '{"kind": "ping",
			"targets": ["127.0.0.1"], "token": "t", "name": "n",
			"schedule": {"everyUsec": 3600000000}}' >>"$BATS_TEST_TMPDIR/replies"
	done
	jq -s -e 'map(.parameters.id) == [1, 1] and map(.parameters.isNew) == [true, false]' "$BATS_TEST_TMPDIR/replies"
	run -2 jobctl start ping --every 1h --name n 127.0.0.1
	[[ $output == *"schedule s1 is called 'n' already: remove it, or choose another name"* ]]
	run -2 jobctl start ping --every 1h --name s1 127.0.0.1
	[[ $output == *"would be taken for its id"* ]]
	jobctl start ping --every 1h 127.0.0.1
	run -1 jobctl start ping --every 1h 127.0.0.1
	[[ $output == *"there are 2 schedules, and max-schedules in jobd.conf allows no more"* ]]
}

# refuses WORDS OPTION...: start says so, in one line
refuses() {
	local words=$1
	shift
	run -2 jobctl start "$@" 127.0.0.1
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == *"$words"* ]]
}

@test "schedules that hold much come a few at a time, so that others are served between them" {
	start_jobd
	head -c 300000 /dev/zero >"$BATS_TEST_TMPDIR/input"
	for _ in 1 2 3; do
		jobctl start ssh --at +1d --stdin "$BATS_TEST_TMPDIR/input" 127.0.0.1 -- cat
	done
	python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.ListSchedules '{}' |
		jq -e '[.parameters | .hasMore, .schedules[].id] == [true, 1]'
	[ "$(jobctl schedules --json | jq -c '[.id]' | tr -d '\n')" = "[1][2][3]" ]
	[ "$(jobctl schedules s3 s1 s2 --json | jq -c '[.id]' | tr -d '\n')" = "[3][1][2]" ]
	run -1 jobctl schedules s1 s2 s9
	[[ $output == *"no schedule s9"* ]]
}

@test "what is no schedule is refused in one line" {
	start_jobd
	refuses "'25:00' is no calendar event: the hour, its range or its step" ping --on-calendar 25:00
	# The second is in the hour that daylight saving leaves out
	for spec in 2020-01-01 '2037-03-29 02:30 Europe/Berlin' 'Mon 26:00'; do
		refuses "--on-calendar: '$spec' " ping --on-calendar "$spec"
	done
	refuses "'2020-01-01' never comes" ping --on-calendar 2020-01-01
	refuses "there is no such time zone" ping --on-calendar '12:00 Nowhere/City'
	refuses "--every is out of bounds: 1.0 s to 3660 d are allowed" ping --every 500ms
	refuses "--every is out of bounds: 1.0 s to 3660 d are allowed" ping --every 0
	refuses "--at is out of bounds: " ping --at 2500-01-01
	refuses "--keep-last is out of bounds" ping --every 1h --keep-last 1001
	refuses "--at takes a time to come" ping --at 2h
	refuses "--at takes a time to come" ping --at 2020-01-01
	refuses "do not go together" ping --at +5m --every 5m
	refuses "it needs --every, --at or --on-calendar" ping --catch-up
	refuses "--wait does not go with a schedule" ping --every 5m --wait
	refuses "keeps no password" ssh --every 5m --ask-password --command true
	refuses "begins with no digit" ping --every 5m --name 5
	run -2 jobctl schedules pause
	run -2 jobctl schedules pause --all
	run -1 jobctl schedules pause s1 s2
	# A password that comes past jobctl
	python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.Start '{"kind": "ssh", "targets": ["h"],
		"ssh": {"commands": ["a"], "password": "secret"}, "schedule": {"everyUsec": 3600000000}}' |
		jq -e '.error == "org.jobd.InvalidOption" and (.parameters.message | contains("keeps no password"))'
	[ -z "$(jobctl schedules --json)" ]
	# null is none
	python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.Start '{"kind": "ssh", "targets": ["h"],
		"ssh": {"commands": ["a"], "password": null}, "schedule": {"everyUsec": 3600000000}}' |
		jq -e '.error == null'
}

@test "--dry-run shows the first times" {
	start_jobd
	run -0 jobctl start ping --on-calendar 'Mon 06:00 UTC' --dry-run 127.0.0.1
	[ "$(grep -c '^run: ' <<<"$output")" -eq 5 ]
	systemd-analyze calendar --iterations=5 'Mon 06:00 UTC' >"$BATS_TEST_TMPDIR/theirs"
	while read -r _ time; do
		grep -q "$(date -u -d "$time" '+%a %Y-%m-%d %H:%M:%S UTC')" "$BATS_TEST_TMPDIR/theirs"
	done < <(grep '^run: ' <<<"$output")
	# A few, and no more
	run -0 jobctl start ping --on-calendar '2037..2038-01-01 UTC' --dry-run 127.0.0.1
	[ "$(grep -c '^run: ' <<<"$output")" -eq 3 ]
	[[ $output == *"run: no more"* ]]
}
