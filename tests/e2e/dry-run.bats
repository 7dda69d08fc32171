#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# start --dry-run: jobd checks all, as it would for the job, and makes none.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
}

teardown() {
	common_teardown
}

# The same words, in earnest and dry, are refused by the same sentence and exit status
refused_alike() {
	local form status_in_earnest output_in_earnest
	for form in --quiet --json; do
		run ! jobctl start "$form" "$@"
		status_in_earnest=$status output_in_earnest=$output
		run ! jobctl start "$form" --dry-run "$@"
		echo "$*: $output_in_earnest ($status_in_earnest), dry: $output ($status)"
		[ "${#lines[@]}" -eq 1 ]
		[ "$output" = "$output_in_earnest" ]
		[ "$status" -eq "$status_in_earnest" ]
	done
}

# refuse_alike: each line of standard input is the words of one start
refuse_alike() {
	local line words count=0
	while read -r line; do
		eval "words=($line)"
		refused_alike "${words[@]}" </dev/null
		count=$((count + 1))
	done
	[ "$count" -gt 0 ]
}

nothing_was_made() {
	[ -z "$(jobctl list --all --json)" ]
	[ -z "$(jobctl schedules --json)" ]
}

@test "wrong words are refused as they are without --dry-run" {
	printf '[jobd]\nmax-targets = 1000\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	printf '[a]\nh1 jobd_profile=nosuch\n[b]\nh2 jobd_credential=nosuch\n' >"$BATS_TEST_TMPDIR/lab"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	refuse_alike <<-'END'
		pong h
		ping
		ping --bogus h
		ping --port 22 h
		ssh --count 1 h -- true
		ping h -- true
		ping -4 -6 h
		ping --group h
		ping 'r[9-1]'
		ping 10.0.0.0/33
		ping 10.0.0.0/8
		ping 2001:db8::/32
		ping user@h
		ping h:22
		ping @nosuch
		ping --exclude h h
		ping --name 5 h
		ping --name a/b h
		ping --parallel 0 h
		ping --parallel -1 h
		ping --rate 0 h
		ping --timeout 0 h
		ping --timeout 400d h
		ping --timeout 10x h
		ping --deadline 0 h
		ping --retries 1001 h
		ping --retry-delay 400d h
		ping --canary 0 h
		ping --batch 0 h
		ping --batch 101% h
		ping --max-failures x h
		ping --every 10ms h
		ping --every 0 h
		ping --every 11000d h
		ping --every soon h
		ping --every 1h --at +5m h
		ping --every 1h --wait h
		ping --every 1h --keep-last 0 h
		ping --every 1h --keep-last 1001 h
		ping --every 1h --name s1 h
		ping --keep-last 3 h
		ping --at 2h h
		ping --at 2500-01-01 h
		ping --on-calendar 25:00 h
		ping --on-calendar 2020-01-01 h
		ping --on-calendar '12:00 Nowhere/City' h
		ping --count -1 h
		ping --count 0 10.0.0.0/12
		ping --interval 0 h
		ping --reply-timeout 0 h
		ping --size 70000 h
		ping --ttl 256 h
		ping --tos 256 h
		ping --mark -1 h
		ping --success 200% h
		ping --success all --max-loss 5% h
		ping --max-loss 101% h
		ping --max-rtt 0 h
		ping --period 10s h
		ping --count 0 --period 1ms h
		ping --on-change h
		ping --count 0 --on-change --down-after 0 h
		ping --count 0 --period 10s --all-addresses h
		ssh h
		ssh h:99999 -- true
		ssh --command @nosuch h
		ssh --port 0 h -- true
		ssh --port 65536 h -- true
		ssh --login '' h -- true
		ssh --credential nosuch h -- true
		ssh --jump-credential nosuch h -- true
		ssh --jump a,,b h -- true
		ssh --jump a:0 h -- true
		ssh --ssh-option Bogus h -- true
		ssh --ssh-option 'ProxyCommand x' h -- true
		ssh --connect-timeout 0 h -- true
		ssh --idle-timeout 400d h -- true
		ssh --host-key maybe h -- true
		ssh --per-host-limit 0 h -- true
		ssh --max-output 10T h -- true
		ssh --identity nosuch h -- true
		ssh --stdin nosuch h -- true
		ssh --success-codes 300 h -- true
		ssh --rate 0 h -- true
		ssh --shell nosuch h -- true
		ssh --enable h -- true
		ssh --answer foo h -- true
		ssh --shell cisco-ios --answer '[=b' h -- true
		ssh --shell cisco-ios --stdin /dev/null h -- true
		ssh --shell cisco-ios --success-codes 1 h -- true
		ssh --every 1h --ask-password h -- true
		ssh "@$BATS_TEST_TMPDIR/lab:a" -- true
		ssh "@$BATS_TEST_TMPDIR/lab:b" -- true
	END
	nothing_was_made
}

@test "where there is no room, or the name is taken, a dry run says so" {
	printf '[jobd]\nmax-schedules = 1\nmax-live-jobs = 1\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	run -0 jobctl start ping --at 2037-01-01 --name nightly 127.0.0.1
	[ "$output" = s1 ]
	run -0 jobctl start ping --count 0 127.0.0.1
	[ "$output" = 2 ]
	refuse_alike <<-'END'
		ping h
		ping --every 1h h
		ping --every 1h --name nightly h
	END
	[ "$(jobctl list --json | jq .id)" = 2 ]
	[ "$(jobctl schedules --json | jq .id)" = 1 ]
	jobctl stop 2
}

@test "a dry run makes nothing, and takes no id" {
	start_jobd
	before=$(jobctl status --json | jq .commits)
	run -0 jobctl start ping --dry-run --name n --wait 127.0.0.1
	[ "$output" = 'ping: 1 target
targets: 127.0.0.1' ]
	run -0 jobctl start ping --dry-run --every 1h --name n 127.0.0.1
	[ "$(grep -c '^run: ' <<<"$output")" -eq 5 ]
	run -0 jobctl start ping --dry-run --json --ttl 7 '127.0.0.[1-3]'
	jq -e '. == {"kind": "ping", "targets": ["127.0.0.[1-3]"], "ping": {"ttl": 7}, "tasks": 3}' <<<"$output"
	# No password is asked for, so that no terminal is needed
	run -0 jobctl start ssh --dry-run --ask-password h -- uptime </dev/null
	[[ $output == *"command: uptime"* ]]
	nothing_was_made
	[ "$(jobctl status --json | jq .commits)" -eq "$before" ]
	run ! grep -E 'job |schedule ' "$JOBD_LOG"
	run -0 jobctl start ping --wait 127.0.0.1
	[ "$(jobctl list --json | jq -c '[.id, .name]')" = '[1,null]' ]
}

@test "--dry-run: targets, batches and commands" {
	start_jobd
	run -0 jobctl start ssh --dry-run --canary 1 --batch 40% 'r[01-10]' --command 'show version' --command 'show clock'
	[ "$output" = 'ssh: 10 targets
command: show version
command: show clock
batch 1 (the canary), 1 of them: r01
batch 2, 4 of them: r[02-05]
batch 3, 4 of them: r[06-09]
batch 4, 1 of them: r10' ]
	run -0 jobctl start ping --dry-run --exclude 10.0.0.2 10.0.0.0/29 10.0.0.1
	[ "$output" = 'ping: 5 targets
targets: 10.0.0.[1,3-6]' ]
	run -0 jobctl start ping --dry-run --shuffle --batch 1 10.0.0.0/8
	[[ $output == *"16777214 targets, in random order"*"too many to show"* ]]
}

@test "--dry-run without a daemon: status 4, as of every command" {
	run -4 jobctl start ping --dry-run 127.0.0.1
	[[ $output == *"no jobd listens on"* ]]
}
