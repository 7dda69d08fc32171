#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The live view, in a real terminal (tmux) that is looked at.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	export LC_ALL=C.UTF-8
	test_user
	chmod 711 "$BATS_RUN_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" 2>/dev/null || :
	printf '[jobd]\nping-parallel = 100\n' >"$BATS_TEST_TMPDIR/jobd.conf"
}

teardown() {
	close_terminal
	common_teardown
}

terminal() {
	SHELL=/bin/bash tmux -S "$BATS_TEST_TMPDIR/tmux.$TERMINAL" -f /dev/null "$@" 3>&- 4>&-
}

close_terminal() {
	[ -z "${TERMINAL:-}" ] || terminal kill-server
}

# on_terminal COLUMNS ROWS COMMAND: on a new terminal of this size; its exit status is then shown
on_terminal() {
	close_terminal
	TERMINAL=$((${TERMINAL:-0} + 1))
	terminal new-session -d -x "$1" -y "$2" "$3; echo \"status \$?\"; exec sleep 1000"
}

# watch COLUMNS ROWS WORD...
watch() {
	on_terminal "$1" "$2" "'$JOBCTL_PROGRAM' watch ${*:3}"
}

screen() {
	terminal capture-pane -p
}

shows() {
	screen | grep -qE -- "$1"
}

shows_no() {
	! shows "$1"
}

# see REGEX: the screen comes to show it
see() {
	wait_until "$BOUND" shows "$1" || {
		screen >&2
		return 1
	}
}

# As the heading of an output says
lines_on_screen() {
	screen | sed -n '1s/.*: \([0-9]*\) lines.*/\1/p'
}

lines_are_more_than() {
	[ "$(lines_on_screen)" -gt "$1" ]
}

press() {
	terminal send-keys "$@"
}

@test "jobs as they go on, the tasks of one, the output of one of these, and back" {
	start_sshd
	known 127.0.0.1
	start_jobd
	jobctl start ping --name sweep '127.0.0.[1-60]'
	jobctl start ssh --name föö-日本語 --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- \
		'i=0; while :; do i=$((i + 1)); echo "this is line $i"; sleep 0.02; done'
	watch 80 24
	see '^jobs: 2, of them running: 1'
	see '^ 2 föö-日本語 ssh  running +0/1 '
	see '^ 1 sweep +ping completed 60/60 '
	# A job that comes meanwhile
	jobctl start ping --name third 127.0.0.1
	see '^ 3 third '
	# The chosen row is the first; two further down is the sweep
	press Down Down Enter
	see '^job 1 sweep \(ping\): completed, 127\.0\.0\.\[1-60\]'
	see '^\[#{30}\] 60/60, 60 succeeded, 0 failed, 0 running'
	see '^ +0 127\.0\.0\.1 +succeeded +1 .* 1/1 replies, avg'
	# Its last row is on the screen only by going there
	shows_no '^ +59 127\.0\.0\.60 '
	press End
	see '^ +59 127\.0\.0\.60 +succeeded'
	press PageUp PageUp
	see '^ +22 127\.0\.0\.23 +succeeded'
	press f
	see 'f: all '
	shows_no '127\.0\.0\.1 +succeeded'
	press Escape
	see '^jobs: 3'
	press Up Enter
	see '^job 2 föö-日本語 '
	# What is written comes; the view follows, until it is moved
	press Enter
	see '^2/127\.0\.0\.1: [0-9]+ lines$'
	wait_until "$BOUND" lines_are_more_than 30
	shows_no '^this is line 1$'
	seen=$(lines_on_screen)
	wait_until "$BOUND" lines_are_more_than $((seen + 30))
	[ "$(screen | sed -n 's/^this is line //p' | tail -n 1)" -gt "$seen" ]
	press Home
	see '^this is line 1$'
	see 'End follows$'
	press Right
	see '^line 1$'
	see ' lines, from column 9, End follows$'
	press End Left
	see '^2/127\.0\.0\.1: [0-9]+ lines$'
	shows_no '^this is line 1$'
	press Escape
	see '^job 2 '
	press Escape
	see '^jobs: 3'
	press Escape q
	see '^status 0$'
}

@test "the size of the terminal: small, and another meanwhile" {
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	jobctl start ping --name sweep '127.0.0.[1-60]'
	watch 30 4 1
	see '^job 1 sweep'
	press Down End Home PageDown f f Enter Escape s n
	see '^job 1 sweep'
	terminal resize-window -x 120 -y 30
	see '^ +24 127\.0\.0\.25 .* 1/1 replies'
	# At the end of a list a larger one has more of it
	press End
	see '^ +59 127\.0\.0\.60 .* 1/1 replies'
	shows_no '^ +30 127\.0\.0\.31 '
	terminal resize-window -x 120 -y 50
	see '^ +15 127\.0\.0\.16 .* 1/1 replies'
	see '^ +59 127\.0\.0\.60 .* 1/1 replies'
	terminal resize-window -x 10 -y 2
	see '^job 1 swee$'
	terminal resize-window -x 100 -y 10
	see '^\[#+\] 60/60'
	# Of one job there is no way back to others
	press Escape
	see '^\[#+\] 60/60'
	press q
	# A terminal that became larger may put it behind what was there
	see 'status 0'
}

@test "a chosen job stays chosen where others come and go; on the first row it is the newest" {
	local i
	start_jobd
	for i in 1 2 3; do jobctl start ping --name "one-$i" 127.0.0.1; done
	watch 80 8
	see '^ 1 one-1 '
	press Down Down
	jobctl start ping --name four 127.0.0.1
	see '^ 4 four '
	jobctl remove 2
	wait_until "$BOUND" shows_no '^ 2 one-2 '
	press Enter
	see '^job 1 one-1 '
	press Escape
	see '^jobs: 3'
	press Home
	jobctl start ping --name five 127.0.0.1
	see '^ 5 five '
	press Enter
	see '^job 5 five '
	press Escape
	see '^jobs: 4'
	# Also where not all of them are on the screen: what is seen stays
	press End
	for i in 6 7 8; do jobctl start ping --name "more-$i" 127.0.0.1; done
	see '^jobs: 7'
	see '^ 1 one-1 '
	press Enter
	see '^job 1 one-1 '
}

@test "stop, after a question; pause, and go on" {
	start_jobd --config "$BATS_TEST_TMPDIR/jobd.conf"
	jobctl start ping --count 0 127.0.0.1
	watch 80 12
	see '^ 1 +ping running'
	press p
	see '^ 1 +ping paused'
	press p
	see '^ 1 +ping running'
	press s
	see '^stop job 1\? y: yes, any other key: no'
	press n
	see 'q: quit'
	is_state 1 running
	press s
	see '^stop job 1\?'
	press y
	see '^ 1 +ping stopped'
	press C-c
	see '^status 130$'
}

@test "searching: a job, a target, a line; one target at once" {
	start_sshd
	known 127.0.0.1
	start_jobd
	jobctl start ping --name sweep '127.1.0.0/16'
	jobctl start ssh --name lines --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- \
		'seq 1 5000; echo "grün: here"; seq 5001 9000; echo "here, too"; seq 9001 9100'
	jobctl start ping --name other 127.0.0.1
	jobctl wait
	watch 80 12
	see '^ 1 sweep '
	press / s w x BSpace Enter
	press Enter
	see '^job 1 sweep '
	press / 127.1.200.7 Enter
	see '^51206 127\.1\.200\.7 +succeeded'
	press / nobody Enter
	see "the job has no target 'nobody'"
	press Enter
	see '^1/127\.1\.200\.7: 1 lines'
	press Escape
	see '^51206 '
	press Escape
	# A text that is left changes nothing
	see '^jobs: 3'
	press / x Escape Home / 'seq 5001' Enter Enter
	see '^job 2 lines '
	press Enter
	see '^2/127\.0\.0\.1: 9103 lines'
	press g / 'ün: h' Enter
	see '^grün: here$'
	press / here Enter
	see '^grün: here$'
	see 'End follows$'
	press n
	see '^here, too$'
	shows_no '^grün: here$'
	press n
	see "^'here' is not found further down$"
	press N
	see '^grün: here$'
	press N
	see "^'here' is not found further up$"
	press k k b Space j j
	see '^grün: here$'
	watch 80 12 1/127.1.200.7
	see '^1/127\.1\.200\.7: 1 lines'
	press Escape
	see '^51206 127\.1\.200\.7 +succeeded'
	watch 80 12 '1/127.1.200.[7-8]'
	see '^51206 127\.1\.200\.7 +succeeded'
	press q
	see '^status 0$'
}

@test "f and r: the tasks that failed, and those that run" {
	start_sshd
	known '127.0.0.1' '127.0.0.2' '127.0.0.3'
	start_jobd
	go_on=$(mark go-on)
	jobctl start ssh --login "$TEST_USER" --port "$SSH_PORT" '127.0.0.[1-3]' -- \
		"set -- \$SSH_CONNECTION; case \$3 in *.1) exit 0 ;; *.2) exit 1 ;; esac; while [ -d ${go_on%/*} ] && [ ! -e $go_on ]; do sleep 0.1; done"
	watch 80 12 1
	see ' 127\.0\.0\.1 +succeeded'
	see ' 127\.0\.0\.2 +failed'
	press r
	wait_until "$BOUND" shows_no ' 127\.0\.0\.[12] '
	see '^ +2 127\.0\.0\.3 +running'
	press Down Up Enter
	see '^1/127\.0\.0\.3: '
	press Escape f
	see '^ +1 127\.0\.0\.2 +failed'
	shows_no ' 127\.0\.0\.[13] '
	press r
	see '^ +2 127\.0\.0\.3 +running'
	touch "$go_on"
	wait_until "$BOUND" shows_no ' 127\.0\.0\.3 '
	see '3/3, 2 succeeded'
	press r
	see '^ +0 127\.0\.0\.1 +succeeded'
}

@test "a job that is removed or has ended: said at the bottom, and the list goes on" {
	start_jobd
	jobctl start ping --name one 127.0.0.1
	jobctl start ping --count 0 127.0.0.1
	jobctl wait 1
	watch 80 12
	see '^ 1 one '
	press Down s
	see '^job 1 has ended$'
	press p
	see '^job 1 has ended$'
	press Enter
	see '^job 1 one '
	press Enter
	see '^1/127\.0\.0\.1: 1 lines'
	jobctl remove 1
	see '^jobs: 1'
	see '^no job 1; `jobctl list` shows yours$'
	# It went between the key and the answer
	press Up s
	see '^stop job 2\?'
	jobctl remove --force 2
	see '^jobs: 0'
	press y
	see '^no job 2; `jobctl list` shows yours$'
	press Down
	see 'q: quit'
	press q
	see '^status 0$'
}

@test "Ctrl-Z and Ctrl-C, also while jobd does not answer; Ctrl-L draws anew" {
	start_jobd
	jobctl start ping 127.0.0.1
	on_terminal 80 10 "PS1='$ ' bash --norc -i"
	press "'$JOBCTL_PROGRAM' watch" Enter
	see '^jobs: 1'
	press C-z
	see 'Stopped'
	press fg Enter
	see '^jobs: 1'
	printf '\r\nwhat somebody else wrote\r\n' >"$(terminal list-panes -F '#{pane_tty}')"
	see 'what somebody else wrote'
	press C-l
	wait_until "$BOUND" shows_no 'what somebody else wrote'
	kill -STOP "$JOBD_PID"
	# Asks for the tasks
	press Enter C-c
	see 'Stopped'
	press "echo status \$?" Enter
	see '^status 130$'
	kill -CONT "$JOBD_PID"
}

@test "what a far side wrote does not steer the terminal; standard error and long lines" {
	start_sshd
	known 127.0.0.1
	start_jobd
	jobctl start ssh --wait --quiet --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- \
		'printf "clear\033[2J\033]0;title\007\tend\r\n\377\n"; seq -s " " 100; printf half; echo err >&2; sleep 0.2; echo " whole"' \
		>"$BATS_TEST_TMPDIR/out" 2>&1
	watch 80 20 1
	see '^ +0 127\.0\.0\.1 +succeeded +1 .* [0-9]+ B'
	press Enter
	see '^clear\\x1b\[2J\\x1b\]0;title\\x07 +end$'
	see '^\\xff$'
	see '^1 2 3 .* 28 29 30$|^1 2 3 .* [0-9]+ ?$'
	see '^half whole$'
	see '^err$'
	see '^succeeded, [0-9]+ B$'
	[ "$(screen | grep -c .)" -eq 8 ]
	jobctl start ping --source 203.0.113.1 127.0.0.1 # an address that is not this machine's
	watch 80 20 2
	see '^ +0 127\.0\.0\.1 +failed .* unreachable: '
	press Enter
	see '^failed, unreachable: '
	jobctl start ssh --wait --quiet --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- \
		'printf "no end"; printf "nor here" >&2; exit 3' >"$BATS_TEST_TMPDIR/out" 2>&1 || :
	watch 80 20 3
	see '^ +0 127\.0\.0\.1 +failed '
	press Enter
	see '^no end$'
	see '^nor here$'
	see '^failed, exit: '
	jobctl start ssh --wait --quiet --raw --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- \
		'echo "x日本語日本語|"; echo "123456\\033[m|"; echo "12345678abcdef|"' >/dev/null
	watch 80 20 4/127.0.0.1
	see '^123456.x1b\[m\|$'
	press Right
	see '^ 本語\|$'
	see '^  \[m\|$'
	see '^abcdef\|$'
}

@test "a long output: its end at once; what is looked at stays where the oldest lines go" {
	start_sshd
	known 127.0.0.1
	start_jobd
	go_on=$(mark go-on)
	jobctl start ssh --login "$TEST_USER" --port "$SSH_PORT" 127.0.0.1 -- \
		"seq 9990; while [ -d ${go_on%/*} ] && [ ! -e $go_on ]; do sleep 0.1; done; seq 9991 10100;
		while [ -d ${go_on%/*} ] && [ ! -e $go_on-2 ]; do sleep 0.1; done; seq 10101 1900000"
	watch 80 12 1
	see '^ +0 127\.0\.0\.1 +running'
	press Enter
	see '^9990$'
	see '^1/127\.0\.0\.1: 9990 lines$'
	press PageUp
	see '^9971$'
	shows_no '^9990$'
	touch "$go_on"
	see ': 10100 lines, here the newest [0-9]+, End follows$'
	see '^9971$'
	see '^9980$'
	touch "$go_on-2"
	jobctl wait
	press End
	see '^1900000$'
	see '^1/127\.0\.0\.1: 1900001 lines, here the newest [0-9]+$'
	see '^succeeded, '
}

@test "no terminal, one that cannot be drawn on, wrong words, and jobd gone: one line each" {
	start_jobd
	jobctl start ping 127.0.0.1
	run -2 jobctl watch </dev/null
	[ "$output" = 'jobctl: this is for a terminal: elsewhere use list, show and receive' ]
	run -2 jobctl watch --json
	[[ $output == *"list, show and receive have --json" ]]
	run -1 jobctl watch 9
	[ "$output" = 'jobctl: no job 9; `jobctl list` shows yours' ]
	on_terminal 80 10 "TERM=nonsense '$JOBCTL_PROGRAM' watch"
	see "^jobctl: cannot draw on a terminal of type 'nonsense': set TERM$"
	see '^status 1$'
	on_terminal 80 10 "TERM=dumb '$JOBCTL_PROGRAM' watch"
	see "^jobctl: cannot draw on a terminal of type 'dumb': set TERM$"
	see '^status 1$'
	watch 80 10 1
	see '^job 1 '
	jobctl remove 1
	see '^jobctl: no job 1; `jobctl list` shows yours$'
	see '^status 1$'
	watch 80 10
	see '^jobs: 0'
	press Enter s p f Up Down End Home
	see '^jobs: 0'
	kill9_jobd
	see '^jobctl: jobd closed the connection'
	see '^status 4$'
}
