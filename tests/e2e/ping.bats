#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Real ICMP, in a namespace whose routes make hosts that answer, that are unreachable, and silent.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
	mkdir -p "/etc/netns/$NETNS" # ip-netns(8): the namespace's own /etc/hosts
	cat >"/etc/netns/$NETNS/hosts" <<-'END'
		4.4.4.4 many.test
		8.8.8.8 many.test
		2001:db8::1 many.test
		10.10.10.10 half.test
		4.2.2.2 half.test
	END
	ip -n "$NETNS" route add blackhole 20.20.20.20
	ip -n "$NETNS" route add unreachable 10.10.10.10
	ip -n "$NETNS" route add prohibit 10.10.10.11
	ip -n "$NETNS" addr add 2001:db8::1/128 dev lo nodad
	for address in 4.4.4.4 8.8.8.8 4.2.2.2; do
		ip -n "$NETNS" addr add "$address/32" dev lo
	done
	start_jobd
}

teardown() {
	rm -rf "/etc/netns/$NETNS"
	common_teardown
}

@test "five addresses as five background jobs: waited for, received, removed" {
	for ip in 4.4.4.4 8.8.8.8 10.10.10.10 20.20.20.20 4.2.2.2; do
		jobctl start ping $ip
	done >"$BATS_TEST_TMPDIR/ids"
	[ "$(tr '\n' ' ' <"$BATS_TEST_TMPDIR/ids")" = "1 2 3 4 5 " ]
	run -3 jobctl wait --timeout 30
	run -0 jobctl receive --remove
	echo "$output"
	[ "$(grep -c '1/1 replies, 0% loss, min/avg/max' <<<"$output")" -eq 3 ]
	grep -q '^10.10.10.10: failed (unreachable): ' <<<"$output"
	grep -q '^20.20.20.20: failed (unreachable): ' <<<"$output"
	[ -z "$(jobctl list --json)" ]
}

@test "one command: --wait gives the results and their exit status" {
	run -0 jobctl start ping --wait 4.4.4.4 8.8.8.8 4.2.2.2
	[ "$(grep -c '1/1 replies' <<<"$output")" -eq 3 ]
	run -3 jobctl start ping --wait 4.4.4.4 10.10.10.10
}

@test "a silent host: no reply, after as many requests as were asked for" {
	ip netns exec "$NETNS" nft -f - <<-'END'
		table ip t {
			chain in {
				type filter hook input priority 0;
				ip daddr 127.9.9.9 icmp type echo-request drop
			}
		}
	END
	run -3 jobctl start ping --wait --reply-timeout 50ms --interval 50ms 127.9.9.9
	[ "$output" = "127.9.9.9: no reply (4 sent)" ]
	run -3 jobctl start ping --wait --count 2 --reply-timeout 50ms --interval 50ms 127.9.9.9
	[ "$output" = "127.9.9.9: no reply (2 sent)" ]
}

@test "--count sends so many, and gives statistics" {
	run -0 jobctl start ping --wait --count 5 --interval 10ms 127.0.0.1
	[[ $output == "127.0.0.1: 5/5 replies, 0% loss, min/avg/max "* ]]
	result=$(jobctl receive @last --again --json | jq -c 'select(.task) | .task.ping')
	[ "$(jq -c '[.sent,.received,.duplicates]' <<<"$result")" = "[5,5,0]" ]
	[ "$(jq '.minUsec <= .avgUsec and .avgUsec <= .maxUsec' <<<"$result")" = true ]
}

@test "IPv6, and a literal address of the other version" {
	run -0 jobctl start ping --wait ::1
	[[ $output == "::1: 1/1 replies"* ]]
	run -3 jobctl start ping --wait -4 ::1
	[[ $output == *resolve* ]]
}

@test "--all-addresses: each address of a name, and all must answer" {
	run -0 jobctl start ping --wait many.test
	[ "${#lines[@]}" -eq 1 ]
	run -0 jobctl start ping --wait --all-addresses many.test
	[ "$(grep -cE '^many\.test \((4\.4\.4\.4|8\.8\.8\.8|2001:db8::1)\): 1/1 replies' <<<"$output")" -eq 3 ]
	run -0 jobctl start ping --wait --all-addresses -4 many.test
	[ "${#lines[@]}" -eq 2 ]
	jobctl show @last --json | jq -e '.taskList[0].ping | .sent == 2 and .received == 2 and (.addresses | length == 2 and all(.ping.received == 1))'
	run -3 jobctl start ping --wait --all-addresses half.test
	[[ $output == *"half.test (4.2.2.2): 1/1 replies"* ]]
	[[ $output == *"half.test (10.10.10.10): failed (unreachable): "* ]]
	jobctl show @last --json | jq -e '.taskList[0] | .state == "failed" and .error == "unreachable" and (.message | startswith("10.10.10.10: "))'
	# Cut off in the middle
	id=$(jobctl start ping --all-addresses --count 100 many.test)
	wait_until "$BOUND" running_tasks "$id" 1
	jobctl stop "$id"
	run -3 jobctl wait "$id" --timeout 5
	is_state "$id" stopped
	run -2 jobctl start ping --all-addresses --count 0 --on-change many.test
	[[ $output == *"--all-addresses"*"watch each by its own"* ]]
}

@test "a link-local address with its zone" {
	local far=$NETNS-far
	ip netns add "$far"
	NAMESPACES+=("$far")
	ip -n "$NETNS" link add near type veth peer name far netns "$far"
	for side in "$NETNS near" "$far far"; do
		# shellcheck disable=SC2086
		set -- $side
		ip netns exec "$1" sysctl -qw "net.ipv6.conf.$2.accept_dad=0"
		ip -n "$1" link set "$2" up
	done
	ip -n "$far" address add fe80::77/64 dev far nodad
	run -0 jobctl start ping --wait fe80::77%near
	[[ $output == "fe80::77%near: 1/1 replies"* ]]
	run -3 jobctl start ping --wait fe80::77%lo
	run -3 jobctl start ping --wait fe80::77%nosuch
	[[ $output == *nosuch* ]]
}

@test "success rules: all, a share, the largest RTT" {
	run -3 jobctl start ping --wait --count 2 --interval 10ms --max-rtt 1us 127.0.0.1
	[[ $output == *"max-rtt"* ]]
	run -0 jobctl start ping --wait --count 3 --interval 10ms --success all 127.0.0.1
	run -2 jobctl start ping --success most 127.0.0.1
	[[ $output == *"--success"* ]]
}

@test "exact loss: every second request is dropped, and half is reported" {
	ip netns exec "$NETNS" nft -f - <<-'END'
		table ip t {
			chain in {
				type filter hook input priority 0;
				ip daddr 127.8.8.8 icmp type echo-request numgen inc mod 2 == 1 drop
			}
		}
	END
	run -0 jobctl start ping --wait --count 10 --interval 10ms --reply-timeout 100ms 127.8.8.8
	[[ $output == "127.8.8.8: 5/10 replies, 50% loss"* ]]
}

@test "prohibited and blackhole routes are named, not counted as loss" {
	run -3 jobctl start ping --wait 10.10.10.11 20.20.20.20
	[ "$(grep -c '(unreachable)' <<<"$output")" -eq 2 ]
}

@test "a whole /16 of loopback: 65,534 hosts, every one answered, within 64 MiB" {
	run -0 jobctl start ping 127.0.0.0/16 --json
	run -0 jobctl wait --timeout 120
	[ "$(jobctl list 1 --json | jq -c '[.tasks,.succeeded]')" = "[65534,65534]" ]
	peak=$(awk '/VmHWM/ {print $2}' "/proc/$JOBD_PID/status")
	echo "peak $peak kB"
	# Sanitizers take memory of their own
	[ -n "$JOBD_SANITIZED" ] || [ "$peak" -lt 65536 ]
	[ "$(jobctl receive | wc -l)" -eq 65534 ]
	# Page after page, and the last one too is confirmed
	[ "$(jobctl receive | wc -l)" -eq 0 ]
}

@test "names among addresses: each has one attempt; single ones are stopped before and after their turn" {
	run -0 jobctl start ping --wait 4.4.4.4 8.8.8.8 many.test '127.0.0.[5-9]' 127.0.1.0/24
	jobctl list 1 --json | jq -e '[.tasks, .succeeded] == [262, 262]'
	jobctl show 1 --json | jq -e '[.taskList[].attempts] | unique == [1]'
	jobctl start ping --rate 1 20.20.20.20 127.0.1.0-127.0.1.60
	jobctl stop '2/127.0.1.[50-59]'
	jobctl adjust 2 --rate 1000
	run -3 jobctl wait 2 --timeout "$BOUND"
	jobctl list 2 --json | jq -e '[.succeeded, .failed, .stopped] == [51, 1, 10]'
	jobctl show 2 --json | jq -e '[.taskList[] | select(.state == "stopped") | .index] == [range(51; 61)]'
}

@test "options of another kind, users and ports in a ping's target" {
	run -2 jobctl start ping --login root 127.0.0.1
	[[ $output == *"--login is of kind ssh"* ]]
	run -2 jobctl start ping root@127.0.0.1
	[[ $output == *root@127.0.0.1* ]]
}

@test "stop ends a long ping within a second" {
	id=$(jobctl start ping --count 1000 --interval 1s 127.0.0.1)
	wait_until 10 running_tasks "$id" 1
	jobctl stop "$id"
	run -3 jobctl wait "$id" --timeout 5
	is_state "$id" stopped
}

@test "a job that is held back by its rate does not hold up others" {
	slow=$(jobctl start ping --rate 5 127.1.0.0/16)
	wait_until 10 running_tasks "$slow" 1
	run -0 jobctl start ping --wait '127.0.0.[1-50]'
	[ "$(grep -c '1/1 replies' <<<"$output")" -eq 50 ]
	jobctl remove "$slow" --force
}

@test "two jobs of 50,000 silent hosts, and a third of one that answers, started last: it ends within 2 s" {
	need nft
	ip netns exec "$NETNS" nft -f - <<-'END'
		table inet jobd-test {
			chain input {
				type filter hook input priority 0;
				ip daddr 127.64.0.0/10 drop
			}
		}
	END
	jobctl start ping '127.65.[0-199].[1-250]'
	jobctl start ping '127.66.[0-199].[1-250]'
	wait_until "$BOUND" running_tasks 2 10000
	run -0 jobctl start ping 127.0.0.1
	run -0 jobctl wait 3 --timeout 2s
	jobctl list 1 2 --json | jq -se 'all(.state == "running")'
	jobctl remove --force 1 2
}

# counted RULE: so many packets a rule of the test's own table saw
counted() {
	ip netns exec "$NETNS" nft -j list table inet jobd-test |
		jq ".nftables[].rule | select(. != null and .comment == \"$1\") | .expr[] | .counter // empty | .packets"
}

@test "--tos and --mark are what the kernel sees; --max-loss" {
	need nft
	ip netns exec "$NETNS" nft -f - <<-'END'
		table inet jobd-test {
			chain output {
				type filter hook output priority 0;
				icmp type echo-request ip dscp ef counter comment "tos"
				icmpv6 type echo-request ip6 dscp ef counter comment "tos6"
				icmp type echo-request meta mark 42 counter comment "mark"
				icmpv6 type echo-request meta mark 42 counter comment "mark6"
			}
			chain input {
				type filter hook input priority 0;
				icmp type echo-request ip daddr 127.7.7.7 numgen inc mod 4 0 drop
			}
		}
	END
	run -0 jobctl start ping --wait --tos 184 --mark 42 --count 3 --interval 10ms 127.0.0.1 ::1
	for rule in tos tos6 mark mark6; do
		[ "$(counted $rule)" -eq 3 ]
	done
	run -0 jobctl start ping --wait --count 8 --interval 10ms --max-loss 25% 127.7.7.7
	[[ $output == *"6/8 replies, 25% loss"* ]]
	run -3 jobctl start ping --wait --count 8 --interval 10ms --max-loss 24% 127.7.7.7
	[[ $output == *"--max-loss allows 24%"* ]]
	run -2 jobctl start ping --max-loss lots 127.0.0.1
	[[ $output == *"a share such as 5%"* ]]
}

# told REGEX: a line of output of job 1, received or not
told() {
	jobctl receive 1 --again --keep | grep -qE "$1"
}

@test "--count 0, --period, --on-change: lines while it runs; a restart is a gap, no loss" {
	need nft
	run -2 jobctl start ping --period 1s 127.0.0.1
	[[ $output == *"say how many requests"* ]]
	run -1 jobctl start ping --count 0 127.0.0.0/16
	[[ $output == *"half of ping-parallel"* ]]
	jobctl start ping --count 0 --interval 20ms --reply-timeout 200ms --period 1s --on-change 127.0.0.1 127.8.8.8
	wait_until "$BOUND" told '^127\.0\.0\.1: 20[-0-9T:.+]+ 1\.[0-9] s: ([0-9]+)/\1 replies, 0% loss, min/avg/max '
	told '^127\.8\.8\.8: [^ ]+ up, 2 requests in a row answered$'
	ip netns exec "$NETNS" nft -f - <<-'END'
		table inet jobd-test {
			chain input {
				type filter hook input priority 0;
				icmp type echo-request ip daddr 127.8.8.8 drop
			}
		}
	END
	wait_until "$BOUND" told '^127\.8\.8\.8: [^ ]+ down, no reply to 3 requests in a row; it was up for '
	wait_until "$BOUND" told '^127\.8\.8\.8: .* s: 0/[0-9]+ replies, 100% loss$'
	ip netns exec "$NETNS" nft delete table inet jobd-test
	wait_until "$BOUND" told '^127\.8\.8\.8: [^ ]+ up, 2 requests in a row answered; it was down for '
	run -1 told '^127\.0\.0\.1: .*(down|[1-9][0-9]?% loss)'
	kill9_jobd
	start_jobd
	wait_until "$BOUND" told '^127\.0\.0\.1: [^ ]+ begins again: nothing was measured since the line before$'
	wait_until "$BOUND" eval 'jobctl receive 1 --again --keep | sed "1,/begins again/d" | grep -q "^127.0.0.1: .* 0% loss"'
	run -1 told '^127\.0\.0\.1: .*[1-9][0-9]*% loss'
	jobctl stop 1
	run -3 jobctl wait 1
	# What it came to since the restart
	jobctl show 1/0 --json | jq -e '.taskList[0] | .state == "stopped" and .ping.sent > 20 and .ping.sent - .ping.received <= 20'
}

# More addresses that nobody has than the neighbour table holds (gc_thresh3, 1,024): each wants a place
@test "on a local network, 200 hosts among 1,846 unused addresses are all found" {
	local far=$NETNS-far
	ip netns add "$far"
	NAMESPACES+=("$far")
	ip -n "$NETNS" link add near type veth peer name far netns "$far"
	ip -n "$NETNS" address add 10.20.15.254/20 dev near
	ip -n "$NETNS" link set near up
	ip -n "$far" link set far up
	for ((i = 0; i < 200; i++)); do
		echo "address add 10.20.$((i % 8)).$((i + 20))/20 dev far"
	done | ip -n "$far" -batch -
	run -0 jobctl start ping --json 10.20.0.0/21
	run -3 jobctl wait --timeout 120
	jobctl list 1 --json | jq -e '.tasks == 2046 and .succeeded == 200'
}

@test "three in ten dropped at random, others unreachable: loss and errors are exactly what the kernel counts" {
	need nft
	ip netns exec "$NETNS" nft -f - <<-'END'
		table inet jobd-test {
			chain input {
				type filter hook input priority 0;
				icmp type echo-request numgen random mod 100 < 30 counter drop comment "dropped"
			}
		}
	END
	ip -n "$NETNS" route add unreachable 10.31.0.0/22
	ip -n "$NETNS" route add prohibit 10.32.0.0/22
	ip -n "$NETNS" route add blackhole 10.33.0.0/22
	jobctl start ping --count 3 --interval 100ms --shuffle 127.30.0.0/21 10.31.0.0/22 10.32.0.0/22 10.33.0.0/22
	run -3 jobctl wait --timeout 60
	jobctl show 1 --json >"$BATS_TEST_TMPDIR/tasks"
	jq -e '[.taskList[] | select(.target | startswith("127.")) | .ping] | length == 2046 and all(.sent == 3)' "$BATS_TEST_TMPDIR/tasks"
	lost=$(jq '[.taskList[].ping | .sent - .received] | add' "$BATS_TEST_TMPDIR/tasks")
	[ "$lost" -eq "$(counted dropped)" ]
	[ "$lost" -gt 1500 ]
	jq -e '[.taskList[] | select(.target | startswith("10.")) | select(.error == "unreachable" and .ping.sent == 0)] | length == 3066' \
		"$BATS_TEST_TMPDIR/tasks"
}
