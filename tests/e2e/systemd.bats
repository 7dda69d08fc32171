#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The installed units under a real systemd, PID 1 of a box of its own; one box for all tests.

bats_require_minimum_version 1.5.0
load ../lib/common

BOX=$TESTS/lib/box

setup_file() {
	can_box || return 0
	"$BOX" start "$BATS_FILE_TMPDIR/box" bash -ec \
		'make -s -C "$1" install DESTDIR="$3" >/dev/null; install "$2" "$3/usr/bin/sshload"
		image=${3%/*}/image state=$3/var/lib/jobd
		truncate -s 64M "$image"; mkfs.ext4 -q "$image"; mkdir -p "$state"; mount -o loop "$image" "$state"' \
		install "$top_builddir" "$SSHLOAD_PROGRAM" 3>&- 4>&-
	in_box systemd-sysusers
	in_box systemctl start jobd.socket
}

teardown_file() {
	! can_box || "$BOX" stop "$BATS_FILE_TMPDIR/box"
}

setup() {
	can_box || skip "this needs root, systemd-nspawn, and a build without sanitizers for below /usr"
}

# The unit forbids what sanitizers do, and does not see all folders that a prefix may name: not /tmp,
# not /home (distcheck)
can_box() {
	[ "$(id -u)" -eq 0 ] && command -v systemd-nspawn >/dev/null && [ -z "${JOBD_SANITIZED:-}" ] &&
		grep -q '^ExecStart=/usr/' "$top_builddir/systemd/jobd.service"
}

in_box() {
	env -u JOBD_SOCKET -u XDG_RUNTIME_DIR -u XDG_STATE_HOME -u XDG_CONFIG_HOME HOME=/root \
		"$BOX" run "$BATS_FILE_TMPDIR/box" "$@"
}

# A file of the box from standard input
put() {
	in_box bash -c 'mkdir -p "${1%/*}"; cat >"$1"' put "$1"
}

property() {
	in_box systemctl show --value --property "$1" jobd.service
}

# ago SECONDS: the service has been up for so long
ago() {
	local since now
	since=$(property ActiveEnterTimestampMonotonic)
	read -r now _ </proc/uptime
	[ "$since" -gt 0 ] && [ $((${now%.*} - since / 1000000)) -ge "$1" ]
}

restarts() {
	[ "$(property NRestarts)" -ge "$1" ] && [ "$(property ActiveState)" = active ]
}

limit() {
	[ "$(in_box jobctl status --json | jq ".limits.\"$1\"")" = "$2" ]
}

@test "the units are well formed, and the sandbox is tight" {
	run -0 in_box systemd-analyze verify jobd.service jobd.socket
	[ -z "$output" ]
	run -0 in_box env XDG_RUNTIME_DIR=/run systemd-analyze --user verify jobd.service jobd.socket
	[ -z "$output" ]
	# Exposure, of 100
	in_box systemd-analyze security --no-pager --threshold=25 jobd.service
}

@test "socket activation: a first call starts it; it is ready, and says what it does" {
	[ "$(property ActiveState)" = inactive ]
	run -0 in_box jobctl start ping --wait 127.0.0.1
	[[ $output == *"1/1 replies"* ]]
	[ "$(property ActiveState)" = active ]
	[ "$(property Type)" = notify ]
	[[ $(property StatusText) == *jobs* ]]
}

@test "it runs as its own user, with the one capability" {
	local pid
	pid=$(property MainPID)
	[ "$pid" -gt 0 ]
	[ "$(in_box ps -o user= -p "$pid")" = jobd ]
	# CAP_NET_RAW is bit 13
	[ "$(in_box awk '/CapEff/ {print $2}' "/proc/$pid/status")" = 0000000000002000 ]
	in_box test -s /var/lib/jobd/jobd.db
	run -0 in_box stat -c '%U %a' /var/lib/jobd
	[ "$output" = "jobd 700" ]
}

@test "another user of the machine uses it, and sees own jobs only" {
	run -0 in_box setpriv --reuid 65534 --regid 65534 --clear-groups jobctl start ping --wait 127.0.0.2
	[[ $output == *"1/1 replies"* ]]
	[ "$(in_box setpriv --reuid 65534 --regid 65534 --clear-groups jobctl list --json | wc -l)" -eq 1 ]
}

# in_journal FIELD=VALUE...: there is such an entry
in_journal() {
	[ -n "$(in_box journalctl --quiet --output json "$@")" ]
}

@test "a host that goes down and comes back: entries of the journal with fields to look for" {
	local id
	in_box ip address add 10.99.0.1/32 dev lo
	id=$(in_box jobctl start ping --count 0 --on-change --interval 50ms --reply-timeout 50ms \
		--down-after 2 --up-after 2 10.99.0.1)
	wait_until "$BOUND" in_journal JOBD_TARGET=10.99.0.1 JOBD_STATE=up "JOBD_JOB=$id" PRIORITY=5
	in_box ip address del 10.99.0.1/32 dev lo
	wait_until "$BOUND" in_journal JOBD_TARGET=10.99.0.1 JOBD_STATE=down "JOBD_JOB=$id" PRIORITY=4
	in_box jobctl stop "$id"
	wait_until "$BOUND" in_journal "JOBD_JOB=$id" JOBD_KIND=ping JOBD_STATE=stopped
}

@test "drop-in: settings, a reload, a password by LoadCredential" {
	echo "$RANDOM$RANDOM" | put /etc/lab.password
	in_box chmod 600 /etc/lab.password
	printf '[jobd]\nping-rate = 1000\n[credential lab]\nuser = admin\npassword-file = lab\n' |
		put /etc/jobd-test.conf
	put /etc/systemd/system/jobd.service.d/test.conf <<-END
		[Service]
		ExecStart=
		ExecStart=$(property ExecStart | sed 's/.*argv\[\]=\([^;]*\) ;.*/\1/') --config /etc/jobd-test.conf
		LoadCredential=lab:/etc/lab.password
		WatchdogSec=2s
		TimeoutAbortSec=1s
		RestartSec=100ms
	END
	in_box systemctl daemon-reload
	in_box systemctl restart jobd
	limit ping-rate 1000
	in_box sed -i s/1000/2000/ /etc/jobd-test.conf
	in_box systemctl reload jobd
	wait_until "$BOUND" limit ping-rate 2000

	in_box systemd-run --quiet --unit sshload sshload --port 2222 --password "$(in_box cat /etc/lab.password)"
	wait_until "$BOUND" in_box bash -c ': </dev/tcp/127.0.0.1/2222'
	run -0 in_box jobctl start ssh --wait --host-key off --port 2222 --credential lab 127.0.0.1 -- true
}

@test "the watchdog: fed while all is well, and a daemon that hangs is started again" {
	[ "$(property WatchdogUSec)" = 2s ]
	in_box systemctl restart jobd
	wait_until "$BOUND" ago 5
	[ "$(property NRestarts)" -eq 0 ]
	in_box kill -STOP "$(property MainPID)"
	wait_until "$BOUND" restarts 1
	in_box jobctl status
}

# disk_silent SECONDS: jobd says that its disk has not answered for so long, at least
disk_silent() {
	local words
	words=$(property StatusText)
	[[ $words == "The disk has not answered for "*" s" ]] && [ "$(tr -dc 0-9 <<<"$words")" -ge "$1" ]
}

# journal_says PID WORDS
journal_says() {
	in_box journalctl --quiet --identifier jobd "_PID=$1" | grep -qF "$2"
}

# worker_silent SECONDS: a thread of it has waited for its disk so long
worker_silent() {
	in_box bash -c 'for i in $(seq "$2"0); do
		grep -q "^State:.D" /proc/"$1"/task/*/status || exit 1
		sleep 0.1
	done' silent "$(property MainPID)" "$1"
}

# while_frozen CONDITION...: the folder of jobd is on a disk that answers again when that has come true
while_frozen() {
	local status=0
	# Nobody's disk stands still for good
	in_box systemd-run --quiet --unit thaw --on-active=60s fsfreeze --unfreeze /var/lib/jobd
	in_box fsfreeze --freeze /var/lib/jobd
	in_box timeout 60 jobctl start ssh --host-key accept-new --port 2223 127.0.0.1 -- show 3>&- 4>&- &
	wait_until "$BOUND" "$@" || status=1
	in_box systemctl stop thaw.timer
	in_box fsfreeze --unfreeze /var/lib/jobd
	wait "$!"
	return "$status"
}

@test "a disk that does not answer for long: jobd says so and waits, and what runs goes on" {
	local id pid
	in_box systemctl reset-failed jobd
	in_box systemd-run --quiet --unit slow sshload --port 2223 --none --delay 6
	wait_until "$BOUND" in_box bash -c ': </dev/tcp/127.0.0.1/2223'
	in_box jobctl status
	pid=$(property MainPID)
	id=$(in_box jobctl start ssh --host-key off --port 2223 127.0.0.1 -- show)
	wait_until "$BOUND" in_box bash -c "jobctl list $id --json | jq -e '.running == 1'"
	while_frozen disk_silent 5
	run -0 in_box jobctl wait "$id" --timeout 60s
	[ "$(property MainPID)" = "$pid" ]
	wait_until "$BOUND" eval '[[ $(property StatusText) == *jobs* ]]'
	wait_until "$BOUND" journal_says "$pid" "the disk has not answered for "
	wait_until "$BOUND" journal_says "$pid" "the disk answers again, after "
}

@test "... nor is it killed for a worker whose known_hosts is on such a disk" {
	local pid conf=/etc/systemd/system/jobd.service.d/with-database.conf
	put "$conf" <<-END
		[Service]
		ExecStart=
		ExecStart=$(property ExecStart | sed 's/.*argv\[\]=\([^;]*\) ;.*/\1/') --database /var/lib/elsewhere/jobd.db
		StateDirectory=jobd elsewhere
	END
	in_box mkdir /var/lib/elsewhere
	in_box ln -sf /var/lib/jobd/known_hosts /var/lib/elsewhere/known_hosts
	in_box rm -f /var/lib/jobd/known_hosts
	in_box systemctl daemon-reload
	in_box systemctl restart jobd
	pid=$(property MainPID)
	while_frozen worker_silent 5
	run -0 in_box jobctl wait @last --timeout 60s
	[ "$(property MainPID)" = "$pid" ]
	in_box rm "$conf"
	in_box systemctl daemon-reload
	in_box systemctl restart jobd
}

@test "kill -9: systemd starts it again, and jobs go on" {
	local id before
	in_box systemctl reset-failed jobd
	id=$(in_box jobctl start ping --count 60000 127.0.0.3)
	before=$(in_box jobctl list --all --json | jq -c .id)
	in_box systemctl kill --signal KILL jobd
	wait_until "$BOUND" restarts 1
	[ "$(in_box jobctl list --all --json | jq -c .id)" = "$before" ]
	[ "$(in_box jobctl list "$id" --json | jq -r .state)" = running ]
}

@test "stop and start: a clean end, and nothing is lost" {
	local before
	before=$(in_box jobctl list --all --json | jq -c '[.id, .state]')
	in_box systemctl stop jobd.service jobd.socket
	[ "$(property Result)" = success ]
	[ "$(property ExecMainStatus)" = 0 ]
	in_box systemctl start jobd.socket
	[ "$(in_box jobctl list --all --json | jq -c '[.id, .state]')" = "$before" ]
	in_box jobctl stop --all
	in_box journalctl --sync
	run -0 in_box journalctl --quiet --identifier jobd --priority err
	[ -z "$output" ]
	# It has told the journal of its end, so the above has looked in the right place
	[ -n "$(in_box journalctl --quiet --identifier jobd --grep 'ending on TERM')" ]
}

@test "a start that fails is tried again, however often, until it succeeds" {
	in_box systemctl stop jobd
	in_box systemd-run --quiet --unit holder flock /var/lib/jobd/jobd.db-lock sleep infinity
	in_box systemctl start --no-block jobd
	wait_until "$BOUND" eval '[ "$(property NRestarts)" -ge 8 ]'
	in_box systemctl stop holder
	wait_until "$BOUND" restarts 8
}

@test "but not on a database that is damaged: said once, and left as it is" {
	in_box systemctl stop jobd
	in_box bash -c 'cd /var/lib/jobd && mkdir keep && mv jobd.db* keep && seq 4000 >jobd.db && chown jobd: jobd.db'
	run -1 in_box systemctl start jobd
	[ "$(property ActiveState)" = failed ]
	[ "$(property ExecMainStatus)" = 3 ]
	[ "$(property NRestarts)" = 0 ]
	in_box bash -c 'cmp <(seq 4000) /var/lib/jobd/jobd.db'
	in_box bash -c 'cd /var/lib/jobd && rm jobd.db* && mv keep/* . && rmdir keep'
	in_box systemctl start jobd
	in_box jobctl list --all
}

@test "an end that could not store what happened last: the unit has failed, and is not started again" {
	in_box jobctl start ping --name unstored --count 0 127.0.0.1
	wait_until "$BOUND" eval '[ "$(in_box jobctl list unstored --json | jq .running)" -eq 1 ]'
	in_box mv /var/lib/jobd/jobd.db /var/lib/jobd/away
	in_box systemctl stop jobd.service jobd.socket
	[ "$(property ActiveState)" = failed ]
	[ "$(property Result)" = exit-code ]
	[ "$(property ExecMainStatus)" = 1 ]
	[ "$(property SubState)" = failed ]
	in_box mv /var/lib/jobd/away /var/lib/jobd/jobd.db
	in_box systemctl start jobd.socket jobd.service
	in_box jobctl stop unstored
}

# With the user's own manager
as_someone() {
	in_box setpriv --reuid someone --regid someone --init-groups env HOME=/home/someone \
		XDG_RUNTIME_DIR="/run/user/$(in_box id -u someone)" "$@"
}

@test "the user's units: a private daemon by socket activation, in the user's own folders" {
	in_box useradd --create-home someone
	in_box loginctl enable-linger someone
	wait_until "$BOUND" as_someone systemctl --user start jobd.socket
	in_box systemd-run --quiet --unit sshload-none sshload --port 2223 --none
	wait_until "$BOUND" in_box bash -c ': </dev/tcp/127.0.0.1/2223'
	run -0 as_someone jobctl --user start ssh --wait --host-key off --port 2223 127.0.0.1 -- true
	as_someone systemctl --user is-active jobd.service
	run -0 as_someone jobctl --user status --json
	jq -e '.database == "/home/someone/.local/state/jobd/jobd.db"' <<<"$output"
	jq -e '.socket | startswith("/run/user/")' <<<"$output"
	run -0 in_box stat -c '%U %a' /home/someone/.local/state/jobd/jobd.db
	[ "$output" = "someone 600" ]
}

ticked() {
	[ "$(in_box jobctl schedules tick --json | jq .runs)" -ge 2 ]
}

@test "schedules: the sandbox leaves them the clock and the time zones" {
	in_box jobctl start ping --on-calendar '*:*:* Europe/Berlin' --name tick --keep-last 1 127.0.0.1
	wait_until "$BOUND" ticked
	in_box jobctl schedules remove tick
}
