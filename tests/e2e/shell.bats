#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# Shells of devices: FRRouting as the real router, a real bash, and a device of our own for bad
# manners.

bats_require_minimum_version 1.5.0
load ../lib/common
load ../lib/routers

setup() {
	common_setup
}

teardown() {
	stop_routers
	common_teardown
}

shell_job() {
	jobctl start ssh --wait --login root --host-key off --port "$SSH_PORT" "$@"
}

@test "thirty routers: exec, vtysh in a shell, and the VTY of the daemon with its passwords" {
	netns_new
	start_routers 30
	start_router_sshd
	printf '[credential vty]\nuser = root\nidentity = %s\npassword-file = %s\nenable-password-file = %s\n' \
		"$HOME/.ssh/id_ed25519" "$BATS_TEST_TMPDIR/login" "$BATS_TEST_TMPDIR/enable" >"$BATS_TEST_TMPDIR/jobd.conf"
	echo vtypw >"$BATS_TEST_TMPDIR/login"
	echo enpw >"$BATS_TEST_TMPDIR/enable"
	chmod 600 "$BATS_TEST_TMPDIR"/{login,enable}
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"

	run -0 shell_job --raw 127.1.0.7 -- show version
	exec_output=$output
	[[ $exec_output == *"FRRouting "*"configured with:"* ]]

	# The same, byte for byte, from the shell, whether the device is named or recognised
	run -0 shell_job --raw --shell frr 127.1.0.7 -- show version
	[ "$output" = "$exec_output" ]
	run -0 shell_job --shell auto '127.1.0.[1-30]' -- show version
	[ "$(grep -c ': FRRouting ' <<<"$output")" -eq 30 ]
	[ "$(grep -c 'configured with:' <<<"$output")" -eq 30 ]
	jobctl show @last --json | jq -e 'all(.taskList[]; .state == "succeeded" and .ssh.profile == "frr")'

	# The mode and the name of the host change in mid-session
	run -0 shell_job --shell frr --command 'configure terminal' --command 'hostname other' \
		--command 'ip prefix-list x permit any' --command 'hostname r3' --command end \
		--command 'show running-config' 127.1.0.3
	[[ $output == *'ip prefix-list x seq 5 permit any'* ]]
	[[ $output != *'#'* ]]

	# The daemon's own VTY: its login, its enable, its pager
	SSH_PORT=$VTY_PORT
	run -0 shell_job --credential vty --shell frr --enable '127.1.0.[1-30]' -- show running-config
	[ "$(grep -c 'enable password enpw' <<<"$output")" -eq 30 ]
	for i in $(seq 30); do
		grep -q "^127.1.0.$i: hostname r$i$" <<<"$output"
	done
	run -0 shell_job --raw --credential vty --shell frr --enable 127.1.0.7 -- show running-config
	whole=$output
	run -0 shell_job --raw --credential vty --shell generic --enable --command 'terminal length 5' \
		--command 'show running-config' 127.1.0.7
	[ "$output" = "$whole" ]

	# Without enable, with a wrong secret, with a mistake
	run -3 shell_job --credential vty --shell frr 127.1.0.7 --command 'show version' --command 'configure terminal' \
		--command 'hostname never'
	[[ $output == *"failed (device): 127.1.0.7 refused command 2 of 3 (configure terminal): % [ZEBRA] Unknown command: configure terminal"* ]]
	echo wrong >"$BATS_TEST_TMPDIR/enable"
	run -3 shell_job --credential vty --shell frr --enable 127.1.0.7 -- show running-config
	[[ $output == *"failed (auth): 127.1.0.7 does not take the secret for enable"* ]]
	echo wrong >"$BATS_TEST_TMPDIR/login"
	run -3 shell_job --credential vty --shell frr --enable 127.1.0.7 -- show running-config
	[[ $output == *"failed (auth): 127.1.0.7 does not take the secret at its own login"* ]]
	run -3 shell_job --shell frr 127.1.0.7 -- show running-config
	[[ $output == *"failed (auth): 127.1.0.7 asks for a secret at its own login, and there is none: name a --credential that has one"* ]]
	run ! grep -rE 'vtypw|enpw' "$BATS_TEST_TMPDIR/jobd.log"
}

# device SCRIPT: an sshd whose only shell is this one
device() {
	printf '#!/bin/bash\n%s\n' "$1" >"$BATS_TEST_TMPDIR/device"
	chmod +x "$BATS_TEST_TMPDIR/device"
	start_sshd "ForceCommand $BATS_TEST_TMPDIR/device" "PrintMotd no" "PrintLastLog no"
}

@test "a real bash: recognised, its prompt follows the folder, sudo is not needed for root" {
	start_sshd "ForceCommand cd / && exec bash --norc -i" "PrintMotd no" "PrintLastLog no"
	start_jobd
	run -0 shell_job --raw --shell linux --command 'PS1="\u@\h:\w\$ "' --command 'cd /usr/share' \
		--command pwd --command 'echo "a  b"; printf "\033[31mred\033[0m\n"; tput cols' 127.0.0.1
	[ "$output" = $'/usr/share\na  b\nred\n511' ]
	# A line as long as what one command may be, and one that is wider than the terminal
	long=$(printf 'x%.0s' $(seq 3000))
	run -0 shell_job --raw --shell linux 127.0.0.1 -- "echo $long"
	[ "$output" = "$long" ]
	run -0 shell_job --raw --shell auto 127.0.0.1 -- "echo $long"
	[ "$output" = "$long" ]
}

@test "what is waited for is named, and nothing waits for ever" {
	device 'while :; do read -r -p "Do you accept the terms? (y/n) " x; done'
	start_jobd
	run -3 shell_job --shell auto 127.0.0.1 -- show
	[[ $output == *"failed (prompt): 127.0.0.1 asks 'Do you accept the terms? (y/n)', and nothing says what to answer: give --answer 'PATTERN=TEXT'"* ]]
	device 'printf "no prompt here"; sleep 100'
	run -3 shell_job --connect-timeout 2s --shell auto 127.0.0.1 -- show
	[[ $output == *"failed (prompt): 127.0.0.1 did not answer within 2.0 s (--connect-timeout) during the wait for its prompt; its last line: 'no prompt here'"* ]]
	device 'PS1=; while printf "r1# " && read -r x; do case $x in show) printf "Enter a number "; sleep 100;; esac; done'
	run -3 shell_job --idle-timeout 2s --shell auto 127.0.0.1 -- show
	[[ $output == *"failed (prompt): no output from 127.0.0.1 for 2.0 s (--idle-timeout); it waits after 'Enter a number'"* ]]
	device 'printf "Sorry\n"'
	run -3 shell_job --shell auto 127.0.0.1 -- show
	[[ $output == *"failed (protocol): 127.0.0.1 ended the shell before its prompt came"* ]]
	# A stop does not wait
	device 'printf "no prompt here"; sleep 100'
	id=$(jobctl start ssh --login root --host-key off --port "$SSH_PORT" --shell auto 127.0.0.1 -- show)
	wait_until "$BOUND" running_tasks "$id" 1
	jobctl stop "$id"
	wait_until "$BOUND" is_state "$id" stopped
}

@test "floods, endless pagers and lines without end are bounded" {
	device 'exec yes "a line without end"'
	start_jobd
	run -3 shell_job --max-output 100K --shell auto 127.0.0.1 -- show
	[[ $output == *"failed (output-limit)"* ]]
	device 'exec tr "\0" x </dev/zero'
	run -3 shell_job --max-output 100K --shell auto 127.0.0.1 -- show
	[[ $output == *"failed (output-limit)"* ]]
	device 'while printf "r1# " && read -r x; do [ -z "$x" ] || while printf -- "--More--"; do read -r -n 1 x; done; done'
	run -3 shell_job --max-output 1K --shell generic --timeout 5s 127.0.0.1 -- show
	[[ $output == *"failed (timeout)"* || $output == *"failed (output-limit)"* ]]
	# What would steer a terminal is carried out here, and shown to nobody
	device 'while printf "r1# " && read -r x; do [ -z "$x" ] || printf "\033]0;title\007\033[2J\033[31mred\033[0m\007\b\b\bRED\nok\n"; done'
	run -0 shell_job --raw --shell generic 127.0.0.1 -- show
	[ "$output" = $'RED\nok' ]
}

@test "what does not go together is refused" {
	start_jobd
	run -2 jobctl start ssh --shell cisco-ois r1 -- show
	[[ $output == "jobctl: "*"there is no profile 'cisco-ois': jobctl profiles lists them"* ]]
	run -2 jobctl start ssh --shell auto --stdin /dev/null r1 -- show
	[[ $output == *"leave out --stdin or --shell"* ]]
	run -2 jobctl start ssh --enable r1 -- show
	[[ $output == *"name its profile with --shell"* ]]
	run -2 jobctl start ssh --shell auto --answer 'a(=b' r1 -- show
	[[ $output == *"--answer: 'a(' is no regular expression"* ]]
	run -0 jobctl profiles
	[[ $output == *"cisco-ios "*"Cisco IOS and IOS XE"* ]]
	run -0 jobctl profiles frr
	[[ $output == *"description = FRRouting"* ]]
	run -1 jobctl profiles none
	mkdir -p "$XDG_CONFIG_HOME/jobd/profiles"
	jobctl profiles frr >"$XDG_CONFIG_HOME/jobd/profiles/mine.profile"
	echo 'prompt = (' >"$XDG_CONFIG_HOME/jobd/profiles/bad.profile"
	kill -HUP "$JOBD_PID"
	wait_until "$BOUND" grep -q 'was read again' "$JOBD_LOG"
	run -0 jobctl profiles
	[[ $output == *"mine "*"FRRouting ($XDG_CONFIG_HOME/jobd/profiles/mine.profile)"* ]]
	grep -q "the profile is left out: .*/bad.profile:1: 'prompt' stands in no section" "$JOBD_LOG"
}
