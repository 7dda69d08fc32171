#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# SSH servers that mean no good, or do what is rare: bounded, named, harmless to others.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	need_root
}

teardown() {
	common_teardown
}

job() {
	jobctl start ssh --wait --login root --host-key off "$@"
}

# hostile MODE [PORT]: sets HOSTILE_PORT
hostile() {
	"$TESTS/lib/hostile.py" "$@" >"$BATS_TEST_TMPDIR/hostile.$1" 2>/dev/null 3>&- 4>&- &
	PIDS+=($!)
	wait_until "$BOUND" test -s "$BATS_TEST_TMPDIR/hostile.$1"
	HOSTILE_PORT=$(<"$BATS_TEST_TMPDIR/hostile.$1")
}

# What it did to one harms nobody else, and jobd's memory stays
still_well() {
	run -0 job --port "$SSH_PORT" 127.0.0.1 -- echo well
	[ "$output" = well ]
	[ "$(awk '/VmRSS/ {print $2}' "/proc/$JOBD_PID/status")" -lt "1${JOBD_SANITIZED:+0}00000" ]
}

@test "a banner without end, in lines or in one" {
	start_sshd
	start_jobd
	hostile lines
	run -3 job --connect-timeout 5s --port "$HOSTILE_PORT" 127.0.0.1 -- true
	[[ $output == *"failed (protocol)"* || $output == *"failed (timeout)"* ]]
	still_well
	hostile line
	run -3 job --connect-timeout 5s --port "$HOSTILE_PORT" 127.0.0.1 -- true
	[[ $output == *"failed (protocol)"* || $output == *"failed (timeout)"* ]]
	still_well
}

@test "one byte a second" {
	start_sshd
	start_jobd
	hostile slow "$SSH_PORT"
	run -3 job --connect-timeout 3s --port "$HOSTILE_PORT" 127.0.0.1 -- true
	[[ $output == *"failed (timeout): 127.0.0.1 did not answer within 3.0 s (--connect-timeout) during "* ]]
	still_well
}

@test "a bit that was flipped, and a line that went dead" {
	start_sshd
	start_jobd
	hostile corrupt "$SSH_PORT"
	run -3 job --port "$HOSTILE_PORT" 127.0.0.1 -- 'head -c 100000 /dev/zero'
	[[ $output == *"failed (protocol): "* ]]
	[[ $output != *"succeeded"* ]]
	still_well
	hostile halt "$SSH_PORT"
	run -3 job --idle-timeout 2s --port "$HOSTILE_PORT" 127.0.0.1 -- 'head -c 100000 /dev/zero; sleep 60'
	[[ $output == *"failed (timeout): no output from 127.0.0.1 for 2.0 s (--idle-timeout)"* ]]
	still_well
}

@test "keys are exchanged anew in the midst of megabytes, there and back" {
	start_sshd 'RekeyLimit 64K'
	start_jobd
	head -c 3000000 /dev/urandom >"$BATS_TEST_TMPDIR/bytes"
	job --raw --port "$SSH_PORT" --stdin "$BATS_TEST_TMPDIR/bytes" 127.0.0.1 -- cat >"$BATS_TEST_TMPDIR/back"
	cmp "$BATS_TEST_TMPDIR/bytes" "$BATS_TEST_TMPDIR/back"
}

@test "tinyssh" {
	need tinysshd
	need tinysshd-makekey
	ssh_keys
	tinysshd-makekey -q "$BATS_TEST_TMPDIR/tiny"
	python3 - "$(command -v tinysshd)" "$BATS_TEST_TMPDIR/tiny" >"$BATS_TEST_TMPDIR/port" <<-'END' 3>&- 4>&- &
		import socket, subprocess, sys
		server = socket.create_server(("127.0.0.1", 0))
		print(server.getsockname()[1], flush=True)
		while True:
		    connection, _ = server.accept()
		    subprocess.Popen([sys.argv[1], "-l", sys.argv[2]], stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)
		    connection.close()
	END
	PIDS+=($!)
	wait_until "$BOUND" test -s "$BATS_TEST_TMPDIR/port"
	SSH_PORT=$(<"$BATS_TEST_TMPDIR/port")
	start_jobd
	# It takes keys alone, and those of the account are not ours to change
	run -3 job --port "$SSH_PORT" 127.0.0.1 -- true
	[[ $output == *"failed (auth): 127.0.0.1 does not let user root in (it takes publickey; tried id_ed25519)"* ]]
}

@test "addresses that say nothing do not hold up the next, however few may connect at a time" {
	netns_new
	need nft
	"${IN_NS[@]}" nft -f - <<-'END'
		table ip silent {
			chain out {
				type filter hook output priority 0;
				ip daddr 127.0.9.0/24 drop
			}
		}
	END
	start_sshd
	printf '[jobd]\nssh-handshakes = 1\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --workers 1 --config "$BATS_TEST_TMPDIR/jobd.conf"
	id=$(jobctl start ssh --login root --host-key off --port "$SSH_PORT" --connect-timeout 60s '127.0.9.[1-4]' 127.0.0.1 -- true)
	is_past() { [ "$(jobctl list "$id" --json | jq -r '"\(.succeeded) \(.running)"')" = "1 4" ]; }
	wait_until "$BOUND" is_past
	jobctl stop "$id"
	wait_until "$BOUND" is_state "$id" stopped
}
