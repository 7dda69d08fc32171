#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Ansible's INI inventories and patterns over them, as --dry-run shows them.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	printf '[credential lab]\nuser = lab\n' >"$BATS_TEST_TMPDIR/jobd.conf"
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	INVENTORY=$BATS_TEST_TMPDIR/lab:1.ini
	cat >"$INVENTORY" <<-'END'
		# the lab
		jump ansible_host=192.0.2.250 ansible_user=root

		[core]
		r1 ansible_host=192.0.2.1   # the old one
		r[02:04]
		r5 ansible_port=2222 ansible_user='op'

		[edge]
		r03
		e[1:3] ansible_user=eve
		2001:db8::7 ansible_port=22
		[edge:vars]
		ansible_user = edge-user
		some_other_variable = [1, 2]

		[both:children]
		core
		edge
		[both:vars]
		ansible_user=both-user
		ansible_port=830

		[all:vars]
		ansible_port=22
		; nobody is left without
		ansible_user=anybody
	END
}

teardown() {
	common_teardown
}

# targets WORD...: one a line, as jobd would reach them
targets() {
	local parameters
	parameters=$(jobctl start ssh --dry-run --json "$@" -- true) || return
	jq -r '(.ssh.addresses // {}) as $addresses | .targets[] | $addresses[.] // .' <<<"$parameters"
}

@test "groups, groups of groups, ranges, and variables of hosts and groups" {
	run -0 targets "@$INVENTORY:core"
	[ "$output" = 'both-user@192.0.2.1:830
both-user@r02:830
edge-user@r03:830
both-user@r04:830
op@r5:2222' ]
	run -0 targets "@$INVENTORY:edge"
	[ "$output" = 'edge-user@r03:830
eve@e1:830
eve@e2:830
eve@e3:830
edge-user@[2001:db8::7]:22' ]
	run -0 targets "@$INVENTORY:both"
	[ "${#lines[@]}" -eq 9 ]
	run -0 targets "@$INVENTORY:all"
	[ "${#lines[@]}" -eq 10 ]
	[ "${lines[0]}" = root@192.0.2.250:22 ]
	run -0 targets "@$INVENTORY:ungrouped"
	[ "${#lines[@]}" -eq 1 ]
	run -0 targets @-:a < <(printf '[a]\nx\ny\n')
	[ "$output" = $'x\ny' ]
}

@test "patterns: a host, globs, unions, intersections, what is left out" {
	[ "$(targets "@$INVENTORY:r1")" = both-user@192.0.2.1:830 ]
	[ "$(targets "@$INVENTORY:e?" | wc -l)" -eq 3 ]
	[ "$(targets "@$INVENTORY:core:edge" | wc -l)" -eq 9 ]
	[ "$(targets "@$INVENTORY:core,jump" | wc -l)" -eq 6 ]
	[ "$(targets "@$INVENTORY:core:&edge")" = edge-user@r03:830 ]
	# Ansible's order: first what adds, then &, then !
	[ "$(targets "@$INVENTORY:!r03:core:&both:!r5" | wc -l)" -eq 3 ]
	run -2 targets "@$INVENTORY:core:&jump"
	[[ $output == *"leaves no host of the inventory"* ]]
	run -2 targets "@$INVENTORY:nowhere"
	[[ $output == *"has no group or host 'nowhere'"* ]]
}

@test "a ping takes of an inventory names and addresses alone: users and ports are for SSH" {
	run -0 jobctl start ping --dry-run --json --exclude "@$INVENTORY:e1" "@$INVENTORY:core:edge"
	jq -e '.targets == ["r1", "r02", "r03", "r04", "r5", "e1", "e2", "e3", "2001:db8::7"] and
		.ping.addresses == {"r1": "192.0.2.1"} and .exclude == ["e1"] and .tasks == 8' <<<"$output"
}

@test "a ping of an inventory: each by its name, where the inventory says that it is" {
	local hosts=$BATS_TEST_TMPDIR/hosts
	printf '%s\n' '[core]' 'c1 ansible_host=127.0.7.1' 'c2 ansible_host=127.0.7.2 ansible_user=admin ansible_port=830' \
		'c3 ansible_host=127.0.7.3' 'c4 ansible_host=localhost' >"$hosts"
	# Addresses are pinged many at a time, names are looked up
	run -0 jobctl start ping --wait "@$hosts:core"
	for i in 1 2 3 4; do grep -q "^c$i: 1/1 replies" <<<"$output"; done
	jobctl show 1 --json | jq -e '[.taskList[].ping.address] | .[:3] == ["127.0.7.1", "127.0.7.2", "127.0.7.3"] and (.[3] | IN("127.0.0.1", "::1"))'
	run -0 jobctl start ping --wait --count 2 --interval 1ms --exclude 127.0.7.3,c4 "@$hosts:core"
	[ "$(cut -d, -f1 <<<"$output" | sort)" = $'c1: 2/2 replies\nc2: 2/2 replies' ]
	# Another try knows where they are
	sed -i 's/127.0.7.3/127.255.255.255/' "$hosts"
	run -3 jobctl start ping --wait --count 1 --reply-timeout 10ms "@$hosts:core"
	[ "$(jobctl retry 3)" = 4 ]
	run -3 jobctl wait 4 --timeout "$BOUND"
	jobctl show 4 --json | jq -e '.targets == "c3" and .taskList[0].ping.address == "127.255.255.255"'
	echo 'c9 ansible_host=224.0.0.1' >>"$hosts"
	run -2 jobctl start ping "@$hosts:c9"
	[ "$output" = "jobctl: '224.0.0.1' is a multicast address; name a single host" ]
}

@test "--exclude knows a host of an inventory by its name, and tells what leaves out nothing" {
	run -0 --separate-stderr jobctl start ssh --dry-run --json --exclude 'r[1,5],2001:db8::7' "@$INVENTORY:core:edge" -- true
	jq -e '.tasks == 6' <<<"$output"
	[ -z "$stderr" ]
	# Or by its address, alone or with what is said of it, in a network, from a file
	echo 192.0.2.0/28 >"$BATS_TEST_TMPDIR/never"
	for word in 192.0.2.1 both-user@192.0.2.1:830 192.0.2.0/24 "@$BATS_TEST_TMPDIR/never"; do
		run -0 --separate-stderr jobctl start ssh --dry-run --json --exclude "$word" "@$INVENTORY:core" -- true
		jq -e '.tasks == 4 and .exclude[-1] == "r1"' <<<"$output"
		[ -z "$stderr" ]
		run -0 --separate-stderr jobctl start ping --dry-run --json --exclude "$word" "@$INVENTORY:core"
		jq -e '.tasks == (if .exclude[0] | contains("@") then 5 else 4 end)' <<<"$output"
	done
	run -0 --separate-stderr jobctl start ping --dry-run --json --exclude 'r[1,5]' "@$INVENTORY:core"
	jq -e '.tasks == 3' <<<"$output"
	run -0 --separate-stderr jobctl start ssh --dry-run --json --exclude r7,r03 "@$INVENTORY:core" -- true
	jq -e '.tasks == 4' <<<"$output"
	[ "$stderr" = "jobctl: --exclude r7 leaves out nothing: it is none of the targets" ]
	run -0 --separate-stderr jobctl start ping --dry-run --quiet --exclude 192.0.2.9 192.0.2.1
	[ -z "$stderr" ]
	# Whatever user and port a target has
	run -0 --separate-stderr jobctl start ssh --dry-run --json --exclude 10.0.0.5 'ops@10.0.0.[4-6]:22' ops@10.0.0.5 10.0.0.5:23 ops@r5 -- true
	jq -e '.tasks == 3' <<<"$output"
	[ -z "$stderr" ]
	# A file may hold what is never to be touched
	echo 192.0.2.9 >"$BATS_TEST_TMPDIR/never"
	run -0 --separate-stderr jobctl start ping --dry-run --exclude "@$BATS_TEST_TMPDIR/never" 192.0.2.1
	[ -z "$stderr" ]
}

# what PATTERN FILE: all that a job gets of it, in one order
what() {
	jobctl start ssh --dry-run --json "@$2:$1" -- true |
		jq -cS '[(.targets | sort), .ssh.addresses, (.ssh.hosts // [] | map(.targets |= sort) | sort)]'
}

@test "an inventory as ansible-inventory --list writes it, from whatever Ansible reads, is the same" {
	need ansible-inventory
	export LC_ALL=C.UTF-8
	local json=$BATS_TEST_TMPDIR/inventory.json options pattern
	cat >>"$INVENTORY" <<-'END'
		[old]
		n[1:2] jobd_jump=r5 ansible_ssh_common_args="-J jump -o 'Port 23'"
		n3 ansible_network_os=cisco.ios.ios
		[old:vars]
		jobd_credential=lab
	END
	for options in --list '--list --export'; do
		# shellcheck disable=SC2086
		ansible-inventory -i "$INVENTORY" $options >"$json"
		for pattern in all core edge both old ungrouped 'core:&edge' 'both:!r3' 'r0?'; do
			[ "$(what "$pattern" "$json")" = "$(what "$pattern" "$INVENTORY")" ]
		done
	done
	cat >"$BATS_TEST_TMPDIR/hosts.yml" <<-'END'
		all:
		  children:
		    core:
		      hosts:
		        r[1:2]: {ansible_port: 830, ntp: [a, b]}
		      vars: {ansible_user: admin}
		  hosts:
		    solo: {ansible_host: 192.0.2.9}
	END
	run -0 targets @-:all < <(ansible-inventory -i "$BATS_TEST_TMPDIR/hosts.yml" --list)
	[ "$(sort <<<"$output")" = $'192.0.2.9\nadmin@r1:830\nadmin@r2:830' ]
	# A script of one's own may be short
	run -0 targets @-:core < <(printf ' {"core": ["a", "b"], "_meta": {"hostvars": {"b": {"ansible_port": 22}}}}')
	[ "$output" = $'a\nb:22' ]
}

@test "a mistake in an inventory in JSON is told" {
	while read -r text words; do
		run -2 targets @-:core <<<"$text"
		[[ $output == "jobctl: "*"$words"* ]]
	done <<-'END'
		{"core":["a"} -:1: ']' expected near '}'
		{"core":["a"],"core":[]} duplicate object key
		{"core":7} 'core' is no group: an inventory in JSON is what ansible-inventory --list writes
		{"core":[7]} 'core' has something else than names in a list
		{"core":{"hosts":{"a":{}}}} 'core' has no list of names
		{"core":{"children":["core"]}} the group 'core' is a child of itself
		{"edge":["a"]} has no group or host 'core'
	END
}

@test "a mistake in an inventory is told with its line" {
	printf '[a]\nr1\n[a:members]\nb\n' >"$BATS_TEST_TMPDIR/i"
	run -2 targets "@$BATS_TEST_TMPDIR/i:a"
	[[ $output == *"i:3: [a:members] is neither of children nor of vars" ]]
	printf '[a]\nr[3:1]\n' >"$BATS_TEST_TMPDIR/i"
	run -2 targets "@$BATS_TEST_TMPDIR/i:a"
	[[ $output == *"i:2: "* ]]
	printf '[a\nr1\n' >"$BATS_TEST_TMPDIR/i"
	run -2 targets "@$BATS_TEST_TMPDIR/i:a"
	[[ $output == *"i:1: '[a' has no ] at its end" ]]
	printf '[a:children]\nb\n[b:children]\na\n[b]\nr1\n' >"$BATS_TEST_TMPDIR/i"
	run -2 targets "@$BATS_TEST_TMPDIR/i:a"
	[[ $output == *"is a child of itself"* ]]
	printf 'all:\n  hosts:\n    r1:\n' >"$BATS_TEST_TMPDIR/i"
	run -2 targets "@$BATS_TEST_TMPDIR/i:all"
	[[ $output == *"i:1: 'all:' is no host: an inventory is read in Ansible's INI form, or as \`ansible-inventory -i FILE --list\` writes it, not in YAML" ]]
	run -2 targets "@$BATS_TEST_TMPDIR/none:a"
	[[ $output == *"cannot read the targets of @"*none* ]]
}

@test "an inventory without a pattern is no list of hosts" {
	run -2 targets "@$INVENTORY"
	[ "$output" = "jobctl: line 2 of @$INVENTORY is of an inventory: name its hosts, as in @$INVENTORY:all" ]
	printf '# none\n[cafe]\nr1\n' >"$BATS_TEST_TMPDIR/i"
	run -2 targets "@$BATS_TEST_TMPDIR/i"
	[[ $output == *"line 2 of @"* ]]
	printf '{\n"core": ["r1"]}' >"$BATS_TEST_TMPDIR/i"
	run -2 targets "@$BATS_TEST_TMPDIR/i"
	[[ $output == *"line 1 of @"*" is of an inventory"* ]]
	printf '[2001:db8::1]:22\n[01-30].lab\n[fe80::1]\n' >"$BATS_TEST_TMPDIR/i"
	run -0 targets "@$BATS_TEST_TMPDIR/i"
	[ "${#lines[@]}" -eq 3 ]
}

@test "ten thousand hosts in a hundred groups" {
	for ((i = 0; i < 100; i++)); do
		printf '[g%d]\nh%d-[001:100] ansible_host=10.0.%d.1\n[g%d:vars]\nansible_user=u%d\n' "$i" "$i" "$i" "$i" "$i"
	done >"$BATS_TEST_TMPDIR/large"
	[ "$(targets "@$BATS_TEST_TMPDIR/large:all" | wc -l)" -eq 10000 ]
	[ "$(targets "@$BATS_TEST_TMPDIR/large:g7:&h7-0*" | sort -u)" = u7@10.0.7.1 ]
}

@test "letters in ranges, and what is said of some hosts in particular" {
	cat >"$INVENTORY" <<-'END'
		[old]
		o[a:c][1:2] jobd_profile=generic
		[new]
		n1
		n2 jobd_credential=lab
		[new:vars]
		ansible_network_os=cisco.ios.ios
		ansible_ssh_common_args='-o ProxyJump=jump -4 -o "Port 23" -Jother'
		[all:vars]
		jobd_jump=edge
		ansible_ssh_private_key_file=~/my key
	END
	run -0 targets "@$INVENTORY:old"
	[ "${lines[*]}" = "oa1 oa2 ob1 ob2 oc1 oc2" ]
	run -0 jobctl start ssh --dry-run --json "@$INVENTORY:all" -- true
	jq -e '.ssh.hosts == [
		{"jump": "edge", "shell": "generic", "options": ["IdentityFile \"~/my key\""],
		 "targets": ["oa1", "oa2", "ob1", "ob2", "oc1", "oc2"]},
		{"jump": "edge", "shell": "cisco-ios", "targets": ["n1"],
		 "options": ["IdentityFile \"~/my key\"", "ProxyJump=jump", "Port 23", "ProxyJump=other"]},
		{"jump": "edge", "credential": "lab", "shell": "cisco-ios", "targets": ["n2"],
		 "options": ["IdentityFile \"~/my key\"", "ProxyJump=jump", "Port 23", "ProxyJump=other"]}]' <<<"$output"
	# A ping asks nothing of it
	run -0 jobctl start ping --dry-run --json "@$INVENTORY:old"
	jq -e '.ping.hosts == null' <<<"$output"
}

@test "a job of a long list, with a long command: shown in short, kept whole, and started again so" {
	printf '127.0.%d.1\n' {0..199} >"$BATS_TEST_TMPDIR/hosts"
	command=$(printf 'é%.0s' {1..300})
	run -3 jobctl start ssh --wait --quiet --login nobody --port 1 "@$BATS_TEST_TMPDIR/hosts" -- "$command"
	short='select(.targets == "127.0.0.1 127.0.1.1 127.0.2.1 127.0.3.1 127.0.4.1 127.0.5.1 ... (200)") |
		select((.command | length) == 103 and (.command | endswith("é..."))) | .id'
	[ "$(jobctl list --json | jq "$short")" = 1 ]
	[[ $(jobctl list) == *'127.0.5.1 ... (200)'* ]]
	whole=".options | (.targets | length) == 200 and .ssh.commands == [\"$command\"]"
	jobctl show 1 --json | jq -e "$whole"
	jobctl show 1 --json | jq -e '.taskList[199].target == "127.0.199.1"'
	jobctl show 1/127.0.199.1
	run -0 jobctl receive 1/127.0.42.1 --again
	[[ $output == 127.0.42.1:*refused* ]]
	jobctl retry 1
	run -3 jobctl wait 2 --timeout "$BOUND"
	jobctl show 2 --json | jq -e "$whole"
	jobctl export 1 >"$BATS_TEST_TMPDIR/lines"
	run -0 jobctl import "$BATS_TEST_TMPDIR/lines"
	jobctl show 3 --json | jq -e "$whole"
	# How it is shown is read, and made no more
	[ "$(jobctl list --json | jq "$short" | paste -sd' ')" = '3 2 1' ]
	[ "$(sqlite3 "$DATABASE" 'SELECT count(*) FROM job WHERE targets_shown IS NOT NULL')" -eq 3 ]
}

@test "a host of an inventory keeps its name: in results, files, selectors and another try" {
	local out=$BATS_TEST_TMPDIR/out
	start_sshload --none --listen 0.0.0.0 --output 20
	printf 'r1 ansible_host=127.0.0.1\nr2 ansible_host=127.0.0.1 ansible_user=op\nr3 ansible_host=127.0.0.3 ansible_port=1\n[all:vars]\nansible_port=%d\nansible_user=lab\n' \
		"$SSH_PORT" >"$INVENTORY"
	run -3 --separate-stderr jobctl start ssh --wait --host-key off --dir "$out" "@$INVENTORY:all" -- show
	[[ $stderr == "r3: failed (refused): 127.0.0.3 port 1 refuses connections"* ]]
	[ "$(ls "$out")" = $'r1\nr2' ]
	[ "$(jobctl receive 1/r2 --again | head -c 5)" = abcde ]
	jobctl show 1 --json | jq -e '[.taskList[].target] == ["r1", "r2", "r3"] and .targets == "r1 r2 r3" and
		.options.ssh.addresses.r2 == "op@127.0.0.1:'"$SSH_PORT"'"'
	run -0 jobctl show 1
	[[ $output == *" 2 r3 "*failed*refused* ]]
	jobctl retry 1
	run -3 jobctl wait 2 --timeout "$BOUND"
	jobctl show 2 --json | jq -e '.targets == "r3" and .errors.refused == 1'
	# With one of a typed name it is one; what would be two hosts is refused
	[ "$(jobctl start ssh --dry-run --json r1 "@$INVENTORY:r1" -- show | jq .tasks)" -eq 1 ]
	echo 'r1 ansible_host=127.0.0.7' >"$BATS_TEST_TMPDIR/other"
	run -2 jobctl start ssh --dry-run "@$INVENTORY:r1" "@$BATS_TEST_TMPDIR/other:r1" -- show
	[ "$output" = "jobctl: r1 is at 127.0.0.7, and in another inventory at lab@127.0.0.1:$SSH_PORT: take one of them" ]
	run -0 jobctl start ssh --dry-run "@$INVENTORY:r[12]" -- show
	[ "${lines[2]}" = "r1: lab@127.0.0.1:$SSH_PORT" ]
	[ "${lines[-1]}" = 'targets: r[1-2]' ]
}

@test "an address that is none, handed over by another client: refused by name" {
	start_jobd
	run python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" org.jobd.Start \
		'{"kind": "ssh", "targets": ["r1"], "ssh": {"commands": ["show"], "addresses": {"r1": "a@b@:x"}}}'
	[[ $output == *InvalidOption*"the address of r1, 'a@b@:x', is none"* ]]
}
