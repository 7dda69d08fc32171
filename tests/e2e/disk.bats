#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The disk fills up, fails, and loses files under a jobd at work: it says so to all who ask, refuses
# what it cannot keep, reads on, goes on by itself, and has lost nothing that it acknowledged.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	netns_new
	listen_as_systemd
}

teardown() {
	common_teardown
}

# systemd's side: STATUS= and the like come as lines of this file, log lines with their priority
listen_as_systemd() {
	STATUS=$BATS_TEST_TMPDIR/status
	export NOTIFY_SOCKET=$BATS_TEST_TMPDIR/notify
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode(), flush=True)' "$NOTIFY_SOCKET" >"$STATUS" 3>&- 4>&- &
	PIDS+=($!)
	wait_until "$BOUND" test -S "$NOTIFY_SOCKET"
	: >"$BATS_TEST_TMPDIR/jobd.log"
	JOURNAL_STREAM=$(stat -c %d:%i "$BATS_TEST_TMPDIR/jobd.log")
	export JOURNAL_STREAM
}

# said WORDS: the newest status has them
said() {
	[[ $(grep ^STATUS= "$STATUS" | tail -n 1) == *"$1"* ]]
}

# refuses WORDS: new work, with 4 and one line that has them; all who ask hear the same
refuses() {
	run -4 jobctl start ping 127.0.0.1
	echo "$output"
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == *"$1"* ]]
	jobctl status --json | jq -e --arg words "$1" '.storageError | contains($words)'
	wait_until "$BOUND" said "Cannot store, new jobs are refused: "
	said "$1"
	grep -q "^<3>.*$1" "$JOBD_LOG"
}

takes_work() {
	jobctl start ping 127.0.0.1 >/dev/null 2>&1
}

goes_on() {
	wait_until "$BOUND" takes_work
	run -0 jobctl wait --timeout "$BOUND"
	jobctl status --json | jq -e '.storageError // "" == ""'
	wait_until "$BOUND" said "jobs under way"
	grep -q "^<5>the database takes changes again" "$JOBD_LOG"
}

# What was acknowledged so far: the newest id and every result
remember() {
	jobctl export --all >"$BATS_TEST_TMPDIR/before"
}

# ... is there after a crash, without a change
is_all_there() {
	kill9_jobd
	[ -z "${1:-}" ] || "$@"
	start_jobd
	jobctl export --all >"$BATS_TEST_TMPDIR/after"
	# Newer ones stand first
	diff <(tail -n "$(wc -l <"$BATS_TEST_TMPDIR/before")" "$BATS_TEST_TMPDIR/after") "$BATS_TEST_TMPDIR/before"
}

@test "a full disk: refused with 4 and a sentence, reading goes on, and so does all once there is room" {
	small_disk 4M
	start_jobd
	jobctl start ping --name before --wait 127.0.0.1
	remember
	dd if=/dev/zero of="$MOUNTED/filler" bs=64K 2>/dev/null || :
	# What is left of the log's last page takes a few
	while takes_work; do :; done
	run -0 jobctl wait --timeout 1s || [ "$status" -eq 5 ]
	refuses "its disk is full: free some space, jobd then goes on by itself"
	newest=$(jobctl list --newest 1 --json | jq .id)
	run -0 jobctl list before
	run -0 jobctl receive before --keep
	rm "$MOUNTED/filler"
	goes_on
	# What was refused was never made
	[ "$(jobctl list --newest 1 --json | jq .id)" -gt "$newest" ]
	is_all_there
}

@test "full in the midst of a job's output: nothing of it is lost, nor the acknowledged work when jobd dies" {
	start_sshload --none --listen 0.0.0.0 --output 3000000
	small_disk 8M
	start_jobd
	jobctl start ping --wait 127.0.0.1
	jobctl start ssh --host-key off --parallel 2 --port "$SSH_PORT" '127.0.0.[1-4]' -- show
	wait_until "$BOUND" said "its disk is full"
	refuses "its disk is full"
	is_state 1 completed
	is_state 2 running
	kill9_jobd
	mount -o remount,size=64M "$MOUNTED"
	start_jobd
	run -3 jobctl wait 2 --timeout "$BOUND"
	# What had been sent is not sent again by itself
	jobctl retry 2
	run -0 jobctl wait 3 --timeout "$BOUND"
	[ "$(jobctl receive 2 3 --json | jq -s '[.[] | select(.task.state == "succeeded")] | length')" -eq 4 ]
}

# Its jobs have ended, and not all of that is stored
has_ended_in_memory() {
	jobctl status --json | jq -e '.jobs == 0 and .storageError != null'
}

# Job 1 ends, and that cannot be stored
end_job_on_full_disk() {
	small_disk 4M
	start_jobd
	jobctl start ping --count 60000 127.0.0.1
	wait_until "$BOUND" running_tasks 1 1
	dd if=/dev/zero of="$MOUNTED/filler" bs=64K 2>/dev/null || :
	# It is what finds the disk full, and is done all the same
	run -4 jobctl stop 1
	wait_until "$BOUND" has_ended_in_memory
}

@test "full when a job ends: until that is stored it is not removed as received, and --wait waits for it" {
	end_job_on_full_disk
	run -0 jobctl receive 1 --remove
	[ -z "$output" ]
	is_state 1 running
	jobctl receive 1 --wait --keep >"$BATS_TEST_TMPDIR/waited" 2>&1 3>&- 4>&- &
	waiting=$!
	PIDS+=("$waiting")
	wait_until "$BOUND" eval '[ "$(jobctl status --json | jq .clients)" -eq 2 ]'
	rm "$MOUNTED/filler"
	wait_until "$BOUND" is_state 1 stopped
	has_ended "$waiting" || [ $? -eq 3 ]
	[ "$(<"$BATS_TEST_TMPDIR/waited")" = "127.0.0.1: stopped" ]
	run -0 jobctl receive 1 --remove
	[ "$output" = "127.0.0.1: stopped" ]
	run -1 jobctl list 1
}

@test "full while remove --force waits: it is told what will be removed, and the rest has only been stopped" {
	small_disk 4M
	start_jobd
	jobctl start ping --wait 127.0.0.1
	for _ in 1 2; do jobctl start ping --count 60000 127.0.0.1; done
	wait_until "$BOUND" running_tasks 2 1
	wait_until "$BOUND" running_tasks 3 1
	dd if=/dev/zero of="$MOUNTED/filler" bs=64K 2>/dev/null || :
	run -4 timeout "$BOUND" "$JOBCTL_PROGRAM" remove --all --force
	[[ $output == *"its disk is full"*"; 1 of the jobs are removed once "*", of which 2 were stopped" ]]
	# So far all is there
	[ "$(jobctl list --json | jq -s length)" -eq 3 ]
	[ "$(jobctl receive 1 --again --keep | wc -l)" -eq 1 ]
	wait_until "$BOUND" has_ended_in_memory
	rm "$MOUNTED/filler"
	wait_until "$BOUND" is_state 2 stopped
	is_state 3 stopped
	run -1 jobctl list 1
	run -0 jobctl receive --keep
	[ "$output" = $'127.0.0.1: stopped\n127.0.0.1: stopped' ]
	run -0 jobctl remove --all --force
	[ -z "$(jobctl list --json)" ]
}

@test "full at the end: what could not be stored is said, and the exit status is 1" {
	end_job_on_full_disk
	status=0
	stop_jobd || status=$?
	[ "$status" -eq 1 ]
	grep -q "^<3>what happened last could not be stored: .*its disk is full" "$JOBD_LOG"
	rm "$MOUNTED/filler"
	start_jobd
	is_state 1 running
	jobctl stop 1
	stop_jobd
}

@test "the database is moved away: refused, read on, and it goes on when it is back" {
	start_jobd
	jobctl start ping --wait 127.0.0.1
	mv "$DATABASE" "$DATABASE.away"
	refuses "jobd.db was removed while jobd has it open: put that file back"
	[ "$(jobctl receive --again | wc -l)" -eq 1 ]
	remember
	mv "$DATABASE.away" "$DATABASE"
	goes_on
	is_all_there
}

# A jobd that is held while it deletes what was removed
held_while_deleting() {
	start_jobd
	stop_jobd
	sqlite3 "$DATABASE" 'INSERT INTO removed VALUES (1); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1
		FROM n WHERE i < 100000) INSERT INTO record (position, job, task, at_us) SELECT i, 1, 0, 0 FROM n;
		UPDATE meta SET next_job = 2, next_position = 100001'
	start_jobd
	kill -STOP "$JOBD_PID"
	[ "$(sqlite3 "$DATABASE" 'SELECT count(*) FROM record')" -gt 0 ]
}

all_deleted() {
	[ "$(sqlite3 "$DATABASE" "SELECT count(*) FROM removed")" -eq 0 ]
}

@test "moved away while removed jobs are being deleted: that goes on by itself when it is back" {
	held_while_deleting
	mv "$DATABASE" "$DATABASE.away"
	kill -CONT "$JOBD_PID"
	# Time enough for it to look
	for _ in {1..20}; do jobctl status >/dev/null; done
	mv "$DATABASE.away" "$DATABASE"
	wait_until "$BOUND" all_deleted
}

@test "locked by another program while removed jobs are being deleted: that goes on by itself afterwards" {
	held_while_deleting
	# In the midst of a piece it has the lock itself: then the other gets it between two
	python3 -c 'import sqlite3, sys
lock = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=float(sys.argv[3]))
open(sys.argv[2], "w").close()
lock.execute("BEGIN IMMEDIATE")
sys.stdin.read()' "$DATABASE" "$BATS_TEST_TMPDIR/ready" "$BOUND" < <(
		wait_until "$BOUND" grep -q "is locked by another program" "$JOBD_LOG"
	) 3>&- 4>&- &
	locker=$!
	PIDS+=("$locker")
	wait_until "$BOUND" test -e "$BATS_TEST_TMPDIR/ready"
	kill -CONT "$JOBD_PID"
	wait_until "$BOUND" gone "$locker"
	has_ended "$locker"
	wait_until "$BOUND" all_deleted
}

# restored FILE: in the place of the database
restored() {
	rm -f "$DATABASE-wal" "$DATABASE-shm"
	mv "$1" "$DATABASE"
}

@test "the database and all beside it are removed: --backup saves what jobd has open" {
	start_jobd
	jobctl start ping --wait '127.0.0.[1-9]'
	remember
	rm "$DATABASE"*
	refuses "jobd.db was removed"
	[ "$(jobctl list --json | jq -s length)" -eq 1 ]
	# Where the copy has no room, that is said, and nothing of it stays
	MOUNTED=$BATS_TEST_TMPDIR/small
	mkdir "$MOUNTED"
	mount -t tmpfs -o size=100k tmpfs "$MOUNTED"
	run -1 "$JOBD_PROGRAM" --database "$DATABASE" --backup "$MOUNTED/copy"
	[[ $output == *"cannot be copied to $MOUNTED/copy.unfinished: No space left on device" ]]
	[ -z "$(ls -A "$MOUNTED")" ]
	run -0 "$JOBD_PROGRAM" --database "$DATABASE" --backup "$BATS_TEST_TMPDIR/copy" --check
	is_all_there restored "$BATS_TEST_TMPDIR/copy"
}

@test "the log is removed, and jobd has not noticed yet: --backup saves what it held" {
	start_jobd
	jobctl start ping --wait '127.0.0.[1-9]'
	remember
	rm "$DATABASE-wal"
	run -0 "$JOBD_PROGRAM" --database "$DATABASE" --backup "$BATS_TEST_TMPDIR/copy" --check
	is_all_there restored "$BATS_TEST_TMPDIR/copy"
}

@test "another file in the place of the database: it is not written to, and what jobd has is saved" {
	start_jobd
	jobctl start ping --wait 127.0.0.1
	"$JOBD_PROGRAM" --database "$DATABASE" --backup "$BATS_TEST_TMPDIR/other"
	jobctl start ping --wait 127.0.0.2
	remember
	cp "$BATS_TEST_TMPDIR/other" "$DATABASE.new"
	mv "$DATABASE.new" "$DATABASE"
	refuses "jobd.db was replaced by another file"
	"$JOBD_PROGRAM" --database "$DATABASE" --backup "$BATS_TEST_TMPDIR/copy"
	# A jobd that starts on the other file finds it as it was put there
	kill9_jobd
	start_jobd
	[ "$(jobctl list --json | jq -s length)" -eq 1 ]
	is_all_there restored "$BATS_TEST_TMPDIR/copy"
}

@test "log, index and lock are removed: made anew, nothing is lost, and a second jobd stays out" {
	start_jobd
	jobctl start ping --wait 127.0.0.1
	for file in wal shm lock; do
		rm "$DATABASE-$file"
		jobctl start ping --wait 127.0.0.1
		[ -e "$DATABASE-$file" ]
		remember
		run -1 "$JOBD_PROGRAM" --user --foreground --socket "$BATS_TEST_TMPDIR/other" --database "$DATABASE"
		[[ $output == *"another jobd (pid $JOBD_PID) has the database"* ]]
		is_all_there
	done
	grep -q '^<4>files beside the database .* are made anew' "$JOBD_LOG"
}

# garble TABLE: the first page of a table, or an index; nobody has it in memory
garble() {
	local page
	stop_jobd
	page=$(sqlite3 "$DATABASE" "SELECT rootpage FROM sqlite_schema WHERE name = '$1'")
	dd if="$DATABASE" of="$BATS_TEST_TMPDIR/page" bs=4096 skip=$((page - 1)) count=1 status=none
	head -c 4096 /dev/urandom | dd of="$DATABASE" bs=4096 seek=$((page - 1)) conv=notrunc status=none
	start_jobd
}

mend() {
	local page
	stop_jobd
	page=$(sqlite3 "$DATABASE" "SELECT rootpage FROM sqlite_schema WHERE name = '$1'")
	dd if="$BATS_TEST_TMPDIR/page" of="$DATABASE" bs=4096 seek=$((page - 1)) conv=notrunc status=none
	start_jobd
}

# damaged WORD...: jobctl says that the database is
damaged() {
	run -4 jobctl "$@"
	[[ $output == *"jobd.db is damaged: restore a copy"* ]]
}

@test "damaged pages: who needs them is told so, and never that there is nothing; all else is answered" {
	start_jobd
	jobctl start ping --name lab --wait 127.0.0.1
	remember
	garble record
	damaged receive --again
	damaged receive --again --failed
	run -0 jobctl list lab
	run -0 jobctl show 1
	run -1 "$JOBD_PROGRAM" --check --database "$DATABASE"
	[[ $output == *"Page "* ]]
	grep -q '^<3>the database .* is damaged' "$JOBD_LOG"
	mend record
	garble job_name
	damaged list lab
	damaged wait lab
	run -0 jobctl receive 1 --again
	mend job_name
	garble job_token
	damaged start ping 127.0.0.1
	run -0 jobctl list lab
	mend job_token
	garble cursor
	damaged receive --cursor mine
	run -0 jobctl receive --again
	mend cursor
	goes_on_after_damage
}

goes_on_after_damage() {
	run -0 jobctl start ping --wait 127.0.0.1
	is_all_there
}

@test "damaged where what had not ended is looked for: nothing is begun or written, the rest is answered" {
	start_jobd
	jobctl start ping --wait '127.0.0.[1-9]'
	jobctl start ping --name endless --count 60000 127.0.0.1
	wait_until "$BOUND" running_tasks endless 1
	garble job_live
	cp "$DATABASE" "$BATS_TEST_TMPDIR/damaged"
	[ "$(grep -c "^<3>the database .* is damaged" "$JOBD_LOG")" -eq 1 ]
	refuses "is damaged: restore a copy, or move it away to begin anew; until then jobd takes no work"
	damaged stop --all
	damaged remove 1
	damaged list --state running
	damaged wait endless
	damaged receive endless --wait
	[ "$(jobctl receive 1 --again --keep | wc -l)" -eq 9 ]
	jobctl show endless
	[ "$(jobctl export 1 | wc -l)" -eq 19 ]
	# Nor what lies in the log, at the end
	sqlite3 "$DATABASE" 'UPDATE meta SET next_job = next_job + 1'
	stop_jobd
	test -s "$DATABASE-wal"
	cmp "$DATABASE" "$BATS_TEST_TMPDIR/damaged"
	start_jobd
	mend job_live
	is_state endless running
	jobctl start ping --wait 127.0.0.1
}

@test "a file system that the kernel makes read-only: refused, read on, and all is there after a repair" {
	local device
	image_disk 16M
	mount -o remount,errors=remount-ro "$MOUNTED"
	DATABASE=$MOUNTED/jobd.db
	device=$(findmnt -no SOURCE "$MOUNTED")
	start_jobd
	jobctl start ping --wait 127.0.0.1
	remember
	echo test >"/sys/fs/ext4/${device##*/}/trigger_fs_error"
	refuses "is read-only: make it writable"
	run -0 jobctl receive --again
	[ "${#lines[@]}" -eq 1 ]
	is_all_there repaired
}

# A copy is: the mount may live on in the namespace of whoever made one meanwhile
repaired() {
	blockdev --flushbufs "$(findmnt -no SOURCE "$MOUNTED")"
	umount "$MOUNTED"
	cp --sparse=always "$BATS_TEST_TMPDIR/image" "$BATS_TEST_TMPDIR/repaired"
	fsck.ext4 -p "$BATS_TEST_TMPDIR/repaired" >/dev/null || [ $? -eq 1 ]
	mount -o loop "$BATS_TEST_TMPDIR/repaired" "$MOUNTED"
}

@test "--backup: the copy is there after a power cut" {
	start_jobd
	jobctl start ping --name kept --wait 127.0.0.1
	image_disk 16M
	run -0 "$JOBD_PROGRAM" --database "$DATABASE" --backup "$MOUNTED/copy"
	rm "$DATABASE" "$DATABASE-wal" "$DATABASE-shm"
	run -0 "$JOBD_PROGRAM" --database "$DATABASE" --backup "$MOUNTED/saved"
	cut_power
	run -0 "$JOBD_PROGRAM" --database "$MOUNTED/copy" --check
	run -0 "$JOBD_PROGRAM" --database "$MOUNTED/saved" --check
}
