#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Hosts in a network that only a jump host reaches, and ssh_config, which says so.

bats_require_minimum_version 1.5.0
load ../lib/common

# jobd (10.77.1.1) -- jump host (10.77.1.2, 10.77.2.1) -- targets (10.77.2.2, all of 10.77.3.0/24)
setup() {
	common_setup
	netns_new
	HERE=$NETNS
	netns_new
	BETWEEN=$NETNS
	netns_new
	BEHIND=$NETNS
	ip -n "$HERE" link add jump type veth peer name out netns "$BETWEEN"
	ip -n "$BETWEEN" link add in type veth peer name jump netns "$BEHIND"
	ip -n "$HERE" addr add 10.77.1.1/24 dev jump
	ip -n "$BETWEEN" addr add 10.77.1.2/24 dev out
	ip -n "$BETWEEN" addr add 10.77.2.1/24 dev in
	ip -n "$BEHIND" addr add 10.77.2.2/24 dev jump
	ip -n "$BEHIND" route add local 10.77.3.0/24 dev lo
	ip -n "$HERE" link set jump up
	ip -n "$BETWEEN" link set out up
	ip -n "$BETWEEN" link set in up
	ip -n "$BEHIND" link set jump up
	ip -n "$BETWEEN" route add 10.77.3.0/24 via 10.77.2.2
}

teardown() {
	common_teardown
}

# in_net NAMESPACE COMMAND...
in_net() {
	IN_NS=(ip netns exec "$1")
	"${@:2}"
}

# jump_sshd [CONFIG LINE...]: sets JUMP_PORT and JUMP_PID; its log is that of the others
jump_sshd() {
	in_net "$BETWEEN" start_sshd "$@"
	JUMP_PORT=$SSH_PORT JUMP_PID=${PIDS[-1]}
}

job() {
	jobctl start ssh --wait --login root --host-key off --port "$SSH_PORT" "$@"
}

@test "one session carries all that is behind it" {
	jump_sshd
	in_net "$BEHIND" start_sshd
	in_net "$HERE" start_jobd --workers 2
	# Not without it
	run -3 job --connect-timeout 5s 10.77.3.1 -- true
	run -0 job --jump "root@10.77.1.2:$JUMP_PORT" '10.77.3.[1-60]' -- 'echo I am ${SSH_CONNECTION#* * }'
	for i in $(seq 60); do
		grep -q "^10.77.3.$i: I am 10.77.3.$i $SSH_PORT$" <<<"$output"
	done
	[ "$(grep -c 'Accepted publickey for root from 10.77.1.1 ' "$SSH_DIR/sshd.log")" -eq 1 ]
	[ "$(grep -c 'Accepted publickey for root from 10.77.2.1 ' "$SSH_DIR/sshd.log")" -eq 60 ]
	# Names are the jump host's to look up
	run -3 job --jump "root@10.77.1.2:$JUMP_PORT" nosuch.invalid -- true
	[[ $output == *"failed (unreachable): nosuch.invalid port $SSH_PORT cannot be reached from the jump host 10.77.1.2"* ]]
}

@test "megabytes there and back, byte for byte, and a shell" {
	jump_sshd
	in_net "$BEHIND" start_sshd
	in_net "$HERE" start_jobd
	head -c 6000000 /dev/urandom >"$BATS_TEST_TMPDIR/bytes"
	job --raw --jump "root@10.77.1.2:$JUMP_PORT" 10.77.3.1 --stdin "$BATS_TEST_TMPDIR/bytes" -- 'cat; cat /dev/null' >"$BATS_TEST_TMPDIR/back"
	cmp "$BATS_TEST_TMPDIR/bytes" "$BATS_TEST_TMPDIR/back"
	run -0 job --raw --jump "root@10.77.1.2:$JUMP_PORT" --shell linux 10.77.3.1 -- 'echo well'
	[ "$output" = well ]
}

@test "two jump hosts in a row, also by ssh_config, which names hosts and ports" {
	jump_sshd
	in_net "$BEHIND" start_sshd
	cat >"$HOME/.ssh/config" <<-END
		Include more
		Host router*
		    HostName 10.77.3.%h
		Host router1
		    HostName 10.77.3.9
		Host *
		    Port $SSH_PORT
		    User root
		    StrictHostKeyChecking no
	END
	cat >"$HOME/.ssh/more" <<-END
		Host first second
		    Port $JUMP_PORT
		Host first
		    HostName 10.77.1.2
		Host second
		    HostName=10.77.2.1
		    ProxyJump first
		Match originalhost "r1,r2" user root
		    HostName 10.77.3.21
		    ProxyJump second
		Match exec "false" host r3
		    HostName 10.77.3.99
	END
	in_net "$HERE" start_jobd
	run -0 job --jump "root@10.77.1.2:$JUMP_PORT,root@10.77.2.1:$JUMP_PORT" 10.77.3.[1-5] -- 'echo ${SSH_CONNECTION#* * }'
	[ "$(grep -c " 10.77.3.[1-5] $SSH_PORT$" <<<"$output")" -eq 5 ]
	run -0 jobctl start ssh --wait r1 r2 -- 'echo ${SSH_CONNECTION#* * }'
	[[ $output == *"r1: 10.77.3.21 $SSH_PORT"* && $output == *"r2: 10.77.3.21 $SSH_PORT"* ]]
	# The line before the file, and "none"
	run -3 jobctl start ssh --wait --jump none --ssh-option 'ConnectTimeout 1' --ssh-option HostName=10.77.3.77 r1 -- true
	[[ $output == *"failed (unreachable): "* ]]
	# The first that fits counts; a change is read
	printf 'Host r1\n HostName 10.77.1.2\n Port %s\n ProxyJump none\n' "$JUMP_PORT" >"$HOME/.ssh/config"
	echo_address() {
		jobctl start ssh --wait --raw --host-key off --login root r1 -- 'echo ${SSH_CONNECTION#* * }'
	}
	is_changed() { [ "$(echo_address)" = "10.77.1.2 $JUMP_PORT" ]; }
	wait_until "$BOUND" is_changed
}

@test "hosts behind it that say nothing, or no, hold up nobody" {
	jump_sshd
	in_net "$BEHIND" start_sshd
	# One is silent, one refuses
	ip -n "$BETWEEN" route add blackhole 10.77.4.0/24
	ip netns exec "$BEHIND" nft add table ip silent
	ip netns exec "$BEHIND" nft add chain ip silent in '{ type filter hook input priority 0; }'
	ip netns exec "$BEHIND" nft add rule ip silent in ip daddr 10.77.3.128/25 drop
	in_net "$HERE" start_jobd
	id=$(jobctl start ssh --login root --host-key off --port "$SSH_PORT" --connect-timeout 60s \
		--jump "root@10.77.1.2:$JUMP_PORT" '10.77.3.[129-229]' '10.77.4.[1-20]' '10.77.3.[1-40]' -- true)
	is_past() { [ "$(jobctl list "$id" --json | jq -r '"\(.succeeded) \(.failed) \(.running)"')" = "40 20 101" ]; }
	wait_until "$BOUND" is_past
	jobctl stop "$id"
	wait_until "$BOUND" is_state "$id" stopped
	jobctl show "$id" --json | jq -e '.errors == {"unreachable": 20}'
}

@test "what goes wrong at the jump host is told as that" {
	jump_sshd "AllowTcpForwarding no"
	in_net "$BEHIND" start_sshd
	in_net "$HERE" start_jobd
	run -3 job --jump "root@10.77.1.2:$JUMP_PORT" 10.77.3.1 -- true
	[[ $output == *"failed (refused): the jump host 10.77.1.2 does not forward to 10.77.3.1 port $SSH_PORT: allow it there (AllowTcpForwarding)"* ]]
	run -3 job --jump "10.77.1.2:1" 10.77.3.[1-2] -- true
	[ "$(grep -c "failed (refused): its jump host cannot be used: 10.77.1.2 port 1 refuses connections" <<<"$output")" -eq 2 ]
	run -3 job --jump "nobody@10.77.1.2:$JUMP_PORT" 10.77.3.1 -- true
	[[ $output == *"failed (auth): its jump host cannot be used: 10.77.1.2 does not let user nobody in"* ]]
	printf 'Host a\n ProxyJump b\nHost b\n ProxyJump a\n' >"$HOME/.ssh/config"
	stop_jobd
	in_net "$HERE" start_jobd
	run -3 job --jump a 10.77.3.1 -- true
	[[ $output == *"the way to b goes in a circle: look at ProxyJump in ssh_config"* ]]
	run -2 job --jump 'a b' 10.77.3.1 -- true
	[[ $output == *"'a b' is no jump host"* ]]
}

@test "a jump host that dies takes its tasks with it, and the next job begins anew" {
	jump_sshd
	in_net "$BEHIND" start_sshd
	in_net "$HERE" start_jobd
	id=$(jobctl start ssh --login root --host-key off --port "$SSH_PORT" --jump "root@10.77.1.2:$JUMP_PORT" 10.77.3.[1-4] -- 'echo begun; sleep 100')
	all_begun() { [ "$(jobctl receive "$id" --again --raw | grep -c begun)" -eq 4 ]; }
	wait_until "$BOUND" all_begun
	pkill -KILL -P "$JUMP_PID"
	run -3 jobctl wait "$id"
	run -0 jobctl receive "$id" --failed
	[ "$(grep -c "its jump host cannot be used" <<<"$output")" -eq 4 ]
	run -0 job --jump "root@10.77.1.2:$JUMP_PORT" 10.77.3.1 -- echo well
	[ "$output" = well ]
}

@test "a password is for the targets; the jump host has a credential of its own" {
	in_net "$BETWEEN" start_sshload --listen 0.0.0.0 --password targetpw
	in_net "$BEHIND" start_sshd
	printf '[credential lab]\nuser = root\npassword-file = %s\nidentity = %s\n' "$BATS_TEST_TMPDIR/password" \
		"$HOME/.ssh/id_ed25519" >"$BATS_TEST_TMPDIR/jobd.conf"
	echo targetpw >"$BATS_TEST_TMPDIR/password"
	chmod 600 "$BATS_TEST_TMPDIR/password"
	target_port=$SSH_PORT
	in_net "$BETWEEN" start_sshload --listen 0.0.0.0 --password targetpw
	in_net "$HERE" start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	JUMP_PORT=$SSH_PORT SSH_PORT=$target_port
	run -3 job --credential lab --jump "x@10.77.1.2:$JUMP_PORT" 10.77.3.1 -- true
	[[ $output == *"failed (auth): its jump host cannot be used: 10.77.1.2 does not let user x in"* ]]
	# Let in, it turns out to forward nothing
	run -3 job --credential lab --jump-credential lab --jump "x@10.77.1.2:$JUMP_PORT" 10.77.3.1 -- true
	[[ $output == *"the jump host 10.77.1.2"* ]]
}
