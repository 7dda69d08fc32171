#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill9.py JOBD JOBCTL SSH_PORT LEDGER FOLDER ROUNDS [WAY]: jobd dies at random moments, under load.

Clients start, stop, pause, adjust, retry, remove, receive and import jobs of all kinds, make and
change schedules, and are themselves killed now and then, while jobd dies and starts again ROUNDS
times. WAY is how: "kill" (-9), "cut" (the power goes; JOBD is faulty-jobd), "fail" (-9, and calls to
the disk fail meanwhile; JOBD is faulty-jobd). Then it dies while it removes jobs by itself.

What was acknowledged is kept here, and held against what jobd has afterwards:
  - every job whose id was told is there, once, under its name, and has ended as it should; the same
    token gives the same job, however often jobd died before it was asked again,
  - one whose stop was told is stopped, and so is a single target; one whose pause was told is paused,
    until a resume; one whose deadline passed ended by it; one whose removal was told never comes back,
  - a retry that was told is there once for each token, with just the targets that did not succeed,
  - of an adjustment that was told, name, parallel, rate and deadline are kept, and have their effect,
  - a command for which nobody said --rerun reached its host at most once, one that succeeded or
    failed did reach it, none more often than it has attempts, and all --retries were made, no more,
  - the output of each command is, byte for byte, what its host is known to say; no more of it is kept
    than its cap (--max-output, max-output-per-task), and where it was cut the task's end says so,
  - what either of two cursors moved over was received with it, and is the same when received again,
  - receive --remove removes a job only when all of it was written out by who confirmed that, and then
    for good,
  - each reading is in order, and what one gave that came to its end never comes again; the readings
    of one cursor have each record that there is, one after the other,
  - a schedule made as many runs as it says, one for each of its times and one for each run that was
    asked for; one that is paused or removed makes none,
  - --keep-last removes runs that ended, the oldest, down to so many, and says which,
  - of what max-database-size removes nothing that was not received goes before what was, keep-finished
    removes what ended before it and nothing else, and each that went is named and counted,
  - of an import all is there, as it was where it came from, or nothing,
  - the database is sound.
SSH_PORT is that of a sshload with that LEDGER and OUTPUT bytes of output, on all of 127.0.0.0/8.
JOBD_TEST_SEED repeats the moments of an earlier run, as far as the machine does.
"""

import collections
import os
import subprocess
import sys
import threading
import time

# The sources are not the place for it
sys.dont_write_bytecode = True

from checks import check, settle
from clients import Clients
from daemon import Daemon
from retention import prune
from scene import DATABASE, JOBD, ROUNDS, dice, fault, faults


def storm(daemon, clients):
    """The rounds; how long each start took, in seconds."""
    work = [clients.start_by_words, clients.start_many, clients.start_by_calls, clients.start_by_calls,
            clients.control, clients.retry, clients.take, clients.plan, clients.bring]
    threads = [threading.Thread(target=one) for one in work]
    threads += [threading.Thread(target=clients.receive, args=(cursor,)) for cursor in ("", "", "audit")]
    starts = []
    try:
        for number in range(int(ROUNDS)):
            starts.append(daemon.start())
            if number == 0:
                for thread in threads:
                    thread.start()
            if number % 3 == 0:
                clients.kill_one()
            daemon.die()
        starts.append(daemon.start(is_well=True))
    finally:
        clients.is_over = True
        for thread in threads:
            if thread.is_alive():
                thread.join()
    daemon.die()  # the one that is looked at was told nothing
    return starts + [daemon.start(is_well=True)]


def main():
    seed = os.environ.get("JOBD_TEST_SEED") or str(time.time_ns())
    dice.seed(seed)
    print(f"seed {seed}", flush=True)
    daemon, clients = Daemon(), Clients()
    starts = storm(daemon, clients)
    settle(clients)
    again, runs = check(clients)
    by_size, by_age = prune(daemon, clients)
    daemon.stop()
    finding = subprocess.run([JOBD, "--database", DATABASE, "--check"],
                             capture_output=True, text=True, check=False)
    if finding.returncode != 0:
        fault(f"the database: {finding.stdout}{finding.stderr}")
    starts.sort()
    ways = collections.Counter(job.way for job in clients.jobs)
    print(f"{ROUNDS} rounds: {dict(daemon.deaths)}; {len(clients.ids)} ids printed, "
          f"{len(clients.jobs)} told: {dict(ways)}; "
          f"{sum(job.stop == 'told' for job in clients.jobs)} stopped, "
          f"{sum(job.remove == 'told' for job in clients.jobs)} removed; {len(again.ends)} tasks, "
          f"{sum(runs.values())} commands run, {sum(map(len, again.whole.values()))} characters of output, "
          f"{sum(map(len, clients.lines.values()))} records received; "
          f"{by_size} pruned by size, {by_age} by age; a start took "
          f"{starts[len(starts) // 2] * 1000:.0f} ms, at most {starts[-1] * 1000:.0f} ms; {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
