#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sentences for people: each one line, with the words that were typed and what to do.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
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
