#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill9.py JOBD JOBCTL SSH_PORT FOLDER ROUNDS: kill -9 of jobd at random moments, under load.

Clients start ping and ssh jobs and receive results, and are themselves killed now and then, while
jobd is killed and started again ROUNDS times. Afterwards:
  - every id that was printed is there,
  - every job comes to its end,
  - what was received once is received again with --again, byte for byte,
  - all that there is was received by somebody: a cursor that moved over something unseen has lost it,
  - the database is sound.
JOBD_TEST_SEED repeats the moments of an earlier run, as far as the machine does.
"""

import collections
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

JOBD, JOBCTL, SSH_PORT, FOLDER, ROUNDS = sys.argv[1:6]
SOCKET = os.path.join(FOLDER, "jobd.sock")
DATABASE = os.path.join(FOLDER, "jobd.db")
LOG = os.path.join(FOLDER, "jobd.log")
BOUND = float(os.environ.get("JOBD_TEST_BOUND", "30"))
LIFE_MAX = 0.12  # seconds that a daemon lives, at most

PING = ["ping", "--count", "3", "--interval", "20ms", "127.0.0.[1-20]"]
SSH = ["ssh", "--rerun", "--host-key", "off", "--port", SSH_PORT, "127.0.0.[1-3]", "--", "show"]

faults = []
dice = random.Random()


def fault(sentence):
    print(sentence, flush=True)
    faults.append(sentence)


class Clients:
    """Runs of jobctl, several at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = set()
        self.is_over = False
        self.ids = []
        self.lines = []

    def run(self, *words):
        """The whole lines that jobctl wrote, and its exit status (negative: killed)."""
        command = [JOBCTL, "--socket", SOCKET, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with self.lock:
            self.running.add(process)
        output = process.stdout.read()
        with self.lock:
            self.running.discard(process)
            process.wait()
        process.stdout.close()
        return output[: output.rfind(b"\n") + 1].decode().splitlines(), process.returncode

    def kill_one(self):
        with self.lock:
            if self.running:
                dice.choice(list(self.running)).kill()

    def start_jobs(self, words):
        while not self.is_over:
            lines, _ = self.run("start", *words)
            self.ids += [int(line) for line in lines]
            # No more than what the daemon gets done between its deaths
            time.sleep(0.05)

    def receive(self):
        while not self.is_over:
            lines, _ = self.run("receive", "--json")
            self.lines += lines


class Daemon:
    def __init__(self):
        self.log = open(LOG, "ab")
        self.process = None

    def start(self):
        began = time.monotonic()
        self.process = subprocess.Popen(
            [JOBD, "--user", "--foreground", "--socket", SOCKET, "--database", DATABASE],
            stdout=self.log, stderr=self.log)
        while not answers():
            if self.process.poll() is not None or time.monotonic() - began > BOUND:
                raise SystemExit(f"jobd did not start again: see {LOG}")
            time.sleep(0.001)
        return time.monotonic() - began

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(BOUND) != 0:
            fault(f"jobd ended with status {self.process.returncode}")


def answers():
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(SOCKET)
        except OSError:
            return False
    return True


def pieces_of(lines):
    """What lines of receive --json say: bytes by stream, ends by task."""
    streams = collections.defaultdict(dict)
    ends = {}
    for line in lines:
        record = json.loads(line)
        task = (record["job"], record["index"])
        if "stream" in record:
            text = record.get("text") or record.get("data")
            streams[task + (record["stream"],)][record["offset"]] = text
        if "task" in record:
            ends[task] = json.dumps(record["task"], sort_keys=True)
    # A piece may have been cut elsewhere the first time
    whole = {key: "".join(parts[at] for at in sorted(parts)) for key, parts in streams.items()}
    return streams, whole, ends


def compare(received, again):
    streams, whole, ends = pieces_of(received)
    _, whole_again, ends_again = pieces_of(again)
    for task, end in ends.items():
        if ends_again.get(task) != end:
            fault(f"the end of task {task} was {end}, and is now {ends_again.get(task)}")
    for key, parts in streams.items():
        for offset, text in parts.items():
            if whole_again.get(key, "")[offset:offset + len(text)] != text:
                fault(f"the output of {key} at {offset} is not what was received before")
    for task in ends_again.keys() - ends.keys():
        fault(f"the end of task {task} was never received, yet the cursor is behind it")
    for key in whole_again.keys() - whole.keys():
        fault(f"the output of {key} was never received, yet the cursor is behind it")
    return len(ends_again), sum(map(len, whole_again.values()))


def storm(daemon, clients):
    """The rounds; how long each start took, in seconds."""
    threads = [threading.Thread(target=clients.start_jobs, args=(words,)) for words in (PING, PING, SSH)]
    threads += [threading.Thread(target=clients.receive) for _ in range(2)]
    starts = []
    try:
        for number in range(int(ROUNDS)):
            starts.append(daemon.start())
            if number == 0:
                for thread in threads:
                    thread.start()
            time.sleep(dice.uniform(0, LIFE_MAX))
            if number % 3 == 0:
                clients.kill_one()
            daemon.kill()
        starts.append(daemon.start())
    finally:
        clients.is_over = True
        for thread in threads:
            if thread.is_alive():
                thread.join()
    return starts


def main():
    seed = os.environ.get("JOBD_TEST_SEED") or str(time.time_ns())
    dice.seed(seed)
    print(f"seed {seed}", flush=True)
    daemon, clients = Daemon(), Clients()
    starts = storm(daemon, clients)

    _, status = clients.run("wait", "--timeout", "120")
    if status not in (0, 3):
        fault(f"the jobs did not end: wait ended with status {status}")
    lines, status = clients.run("receive", "--json")
    if status != 0:
        fault(f"receive ended with status {status}")
    clients.lines += lines
    again, _ = clients.run("receive", "--again", "--all", "--json")
    there = {json.loads(line)["id"] for line in clients.run("list", "--all", "--json")[0]}
    for number in sorted(set(clients.ids) - there):
        fault(f"id {number} was printed, and the job is not there")
    if len(clients.ids) != len(set(clients.ids)):
        fault("an id was printed twice")
    tasks, size = compare(clients.lines, again)

    daemon.stop()
    with sqlite3.connect(DATABASE) as database:
        verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
    if verdict != "ok":
        fault(f"the database: {verdict}")
    starts.sort()
    print(f"{ROUNDS} kills, {len(clients.ids)} ids printed, {tasks} tasks, {size} characters of output, "
          f"{len(clients.lines)} records received; a start took {starts[len(starts) // 2] * 1000:.0f} ms, "
          f"at most {starts[-1] * 1000:.0f} ms; {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
