#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill9.py JOBD JOBCTL SSH_PORT LEDGER FOLDER ROUNDS [WAY]: jobd dies at random moments, under load.

Clients start, stop, remove and receive jobs of all kinds, and are themselves killed now and then,
while jobd dies and starts again ROUNDS times. WAY is how: "kill" (-9), "cut" (the power goes; JOBD
is faulty-jobd), "fail" (-9, and calls to the disk fail meanwhile; JOBD is faulty-jobd).

What was acknowledged is kept here, and held against what jobd has afterwards:
  - every job whose id was told is there, once, under its name, and has ended as it should; the same
    token gives the same job, however often jobd died before it was asked again,
  - one whose stop was told is stopped, one whose removal was told never comes back,
  - a command for which nobody said --rerun reached its host at most once, one that succeeded or
    failed did reach it, none more often than it has attempts, and all --retries were made, no more,
  - the output of each command is, byte for byte, what its host is known to say,
  - what either of two cursors moved over was received with it, and is the same when received again,
  - the database is sound.
SSH_PORT is that of a sshload with that LEDGER and OUTPUT bytes of output, on all of 127.0.0.0/8.
JOBD_TEST_SEED repeats the moments of an earlier run, as far as the machine does.
"""

import collections
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

JOBD, JOBCTL, SSH_PORT, LEDGER, FOLDER, ROUNDS = sys.argv[1:7]
WAY = sys.argv[7] if len(sys.argv) > 7 else "kill"
SOCKET = os.path.join(FOLDER, "jobd.sock")
DATABASE = os.path.join(FOLDER, "jobd.db")
LOG = os.path.join(FOLDER, "jobd.log")
BOUND = float(os.environ.get("JOBD_TEST_BOUND", "30"))
LIFE_MAX = 0.12  # seconds that a daemon lives, at most
CALLS_MAX = 1500  # to the disk that one lives, where the power goes
CUT_STATUS = 99
OUTPUT = 3000
RETRIES = 2
ATTEMPTS_MAX = 32  # deaths of jobd that one task outlives (jobs-recover.c)
TEXT = "".join("\n" if i % 64 == 63 else chr(ord("a") + i % 26) for i in range(832)) * (OUTPUT // 832 + 1)
FINAL = ("completed", "failed", "stopped")

faults = []
dice = random.Random()


def fault(sentence):
    if len(faults) < 20:
        print(sentence, flush=True)
    faults.append(sentence)


class Gone(Exception):
    """jobd is not there, or died before it answered."""


class Refused(Exception):
    """It answered with an error."""


def call(method, **parameters):
    message = {"method": f"org.jobd.{method}", "parameters": parameters}
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(SOCKET)
            client.sendall(json.dumps(message).encode() + b"\0")
            while not answer.endswith(b"\0"):
                more = client.recv(65536)
                if not more:
                    raise Gone
                answer += more
    except OSError as error:
        raise Gone from error
    answer = json.loads(answer[:-1])
    if "error" in answer:
        raise Refused(answer["error"])
    return answer["parameters"]


class Job:
    """What one Start asks for. stop, remove: None, "asked" or "told"."""

    count = 0
    lock = threading.Lock()

    def __init__(self):
        with Job.lock:
            Job.count += 1
            self.name = f"job{Job.count}"
        self.way = dice.choice(("ping", "ping", "endless", "once", "once", "rerun", "retry"))
        self.id = self.stop = self.remove = None
        self.command = f"#{self.name}" + (" exit 3" if self.way == "retry" else "")

    def parameters(self):
        words = {"name": self.name, "token": self.name, "targets": ["127.0.0.[1-3]"]}
        if self.way == "ping":
            return {**words, "kind": "ping", "targets": ["127.0.0.[1-20]"],
                    "ping": {"count": 3, "intervalUsec": 20000}}
        if self.way == "endless":
            return {**words, "kind": "ping", "ping": {"count": 0, "intervalUsec": 50000}}
        ssh = {"commands": [self.command], "port": int(SSH_PORT), "hostKey": "off"}
        if self.way == "retry":
            words.update(retries=RETRIES, retryDelayUsec=10000)
        return {**words, "kind": "ssh", "rerun": self.way == "rerun", "ssh": ssh}


class Clients:
    """All who talk to jobd, several at a time, and what they were told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = set()
        self.is_over = False
        self.ids = []  # of jobctl start
        self.jobs = []  # whose id was told
        self.lines = {"": [], "audit": []}  # received, by cursor

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

    def start_by_words(self):
        while not self.is_over:
            lines, _ = self.run("start", "ping", "--count", "3", "--interval", "20ms", "127.0.0.[1-20]")
            self.ids += [int(line) for line in lines]
            time.sleep(0.05)

    def start_by_calls(self):
        while not self.is_over:
            job = Job()
            job.id = self.insist(job)
            if dice.random() < 0.2 and self.insist(job) != job.id:
                fault(f"{job.name}: the same token gave another job")
            self.jobs.append(job)
            # No more than what the daemon gets done between its deaths
            time.sleep(0.05)

    def insist(self, job):
        """Asked again with the same token, until there is an answer."""
        while True:
            try:
                return call("Start", **job.parameters())["id"]
            except (Gone, Refused):
                time.sleep(0.005)

    def control(self):
        while not self.is_over:
            time.sleep(0.05)
            if self.jobs:
                job = dice.choice(self.jobs[-50:])
                try:
                    self.control_one(job, dice.choice(("stop", "remove")))
                except (Gone, Refused):
                    pass

    def control_one(self, job, what):
        if getattr(job, what) is None:
            setattr(job, what, "asked")
        reply = call(what.capitalize(), selection={"selectors": [str(job.id)]},
                     **({"force": True} if what == "remove" else {}))
        if job.id in reply["removed" if what == "remove" else "ids"]:
            setattr(job, what, "told")

    def receive(self, cursor):
        while not self.is_over:
            self.receive_once(cursor)

    def receive_once(self, cursor):
        words = ("--cursor", cursor) if cursor else ()
        lines, status = self.run("receive", "--json", *words)
        self.lines[cursor] += lines
        return status


class Daemon:
    def __init__(self):
        self.log = open(LOG, "ab")
        self.process = None
        self.deaths = collections.Counter()

    def start(self, is_well=False):
        """Until it answers; one that dies before is started again. How long that took."""
        began = time.monotonic()
        tries = 0
        while True:
            environment = dict(os.environ)
            tries += 1  # a start takes more calls, the more there is to recover
            if WAY == "cut" and not is_well:
                environment["JOBD_FAULTS"] = f"cut {dice.randint(1, CALLS_MAX * tries)} {dice.randint(1, 1 << 30)}"
            elif WAY == "fail" and not is_well:
                environment["JOBD_FAULTS"] = f"fail {dice.randint(20, 500)} {dice.randint(1, 1 << 30)}"
            self.process = subprocess.Popen(
                [JOBD, "--user", "--foreground", "--socket", SOCKET, "--database", DATABASE],
                stdout=self.log, stderr=self.log, env=environment)
            while self.process.poll() is None and not answers():
                if time.monotonic() - began > BOUND:
                    break
                time.sleep(0.001)
            if self.process.poll() is None and answers():
                return time.monotonic() - began
            if is_well or WAY == "kill" or time.monotonic() - began > BOUND:
                raise SystemExit(f"jobd did not start again: see {LOG}")
            self.count_death()

    def count_death(self):
        status = self.process.wait()
        if status not in ((CUT_STATUS, -signal.SIGKILL) if WAY == "cut" else (1, -signal.SIGKILL)):
            fault(f"jobd ended with status {status}")
        self.deaths["cut" if status == CUT_STATUS else "kill" if status < 0 else "no start"] += 1

    def die(self):
        try:
            self.process.wait(LIFE_MAX * 4 if WAY == "cut" else dice.uniform(0, LIFE_MAX))
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.count_death()

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


class Results:
    """Lines of receive --json: pieces by stream, whole streams, ends by task."""

    def __init__(self, lines, hidden):
        self.streams = collections.defaultdict(dict)
        self.ends = {}
        self.targets = {}
        for line in lines:
            record = json.loads(line)
            if "position" not in record:  # an error
                continue
            task = (record["job"], record["index"])
            if task[0] in hidden:
                continue
            self.targets[task] = record["target"]
            if "stream" in record:
                self.streams[task + (record["stream"],)][record["offset"]] = record["text"]
            if "task" in record:
                self.ends[task] = record["task"]
        # A piece may have been cut elsewhere the first time
        self.whole = {key: "".join(parts[at] for at in sorted(parts)) for key, parts in self.streams.items()}


def compare(received, again, cursor):
    who = f"with cursor {cursor or 'of the owner'}"
    for task, end in received.ends.items():
        if again.ends.get(task) != end:
            fault(f"{who}: the end of task {task} was {end}, and is now {again.ends.get(task)}")
    for key, parts in received.streams.items():
        for offset, text in parts.items():
            if again.whole.get(key, "")[offset:offset + len(text)] != text:
                fault(f"{who}: the output of {key} at {offset} is not what was received before")
    for task in again.ends.keys() - received.ends.keys():
        fault(f"{who}: the end of task {task} was never received, yet the cursor is behind it")
    for key in again.whole.keys() - received.whole.keys():
        fault(f"{who}: the output of {key} was never received, yet the cursor is behind it")
    for key, text in received.whole.items():
        if len(text) != len(again.whole.get(key, "")):
            fault(f"{who}: of the output of {key} a part was never received")


def check_command(job, task, again, runs):
    """One task of an ssh job: what its host saw, and what it said."""
    what = f"{job.name} ({job.way}), task {task}"
    end = again.ends[task]
    state, attempts = end["state"], end["attempts"]
    times = runs[(again.targets[task], job.command)]
    if job.way == "once" and times > 1:
        fault(f"{what}: the command ran {times} times, and nobody said --rerun")
    if times > attempts:
        fault(f"{what}: the command ran {times} times in {attempts} attempts")
    if state in ("succeeded", "failed") and times == 0:
        fault(f"{what}: it is {state}, and never ran")
    if end.get("error") == "exit" and times <= RETRIES and job.stop is None:
        fault(f"{what}: the command ran {times} times, and {RETRIES} retries were asked for")
    if job.way == "retry" and times > RETRIES + 1:
        fault(f"{what}: the command ran {times} times, and {RETRIES} retries were asked for")
    full = f"{job.command}\n{TEXT[:OUTPUT]}"
    pieces = [f"#{piece}" for piece in again.whole.get(task + ("stdout",), "").split("#")[1:]]
    for piece in pieces:
        if not full.startswith(piece):
            fault(f"{what}: the output is not what the host said: {piece[:80]!r}")
    if len(pieces) > times:
        fault(f"{what}: {len(pieces)} outputs of {times} commands")
    if (state == "succeeded" or end.get("error") == "exit") and (not pieces or pieces[-1] != full):
        fault(f"{what}: it is {state}, and its output is not whole")


def check_job(job, row, tasks, again, runs):
    what = f"job {job.id} ({job.name}, {job.way})"
    if row is None:
        if job.remove is None:
            fault(f"{what} was told, and is not there")
        return
    if job.remove == "told":
        fault(f"{what} was removed, and is there")
    if row.get("name") != job.name:
        fault(f"{what} is called {row.get('name')}")
    if row["state"] not in FINAL:
        fault(f"{what} is {row['state']}")
    if job.way == "endless" and row["state"] != "stopped" and row["interrupted"] == 0:
        fault(f"{what} was stopped, and is {row['state']}")
    if job.stop is None and job.remove is None:
        if row["state"] == "stopped":
            fault(f"{what} is stopped, and nobody asked for it")
        worn_out = any(again.ends[task]["attempts"] >= ATTEMPTS_MAX for task in tasks)
        if job.way in ("ping", "rerun") and row["state"] != "completed" and not worn_out:
            fault(f"{what} is {row['state']}")
    if job.remove is not None:
        return
    if len(tasks) != row["tasks"] and row["state"] != "stopped":
        fault(f"{what}: {row['tasks']} tasks, and {len(tasks)} ends")
    for task in tasks:
        end = again.ends[task]
        if row["kind"] == "ssh":
            check_command(job, task, again, runs)
        elif end["state"] == "interrupted" and end["attempts"] < ATTEMPTS_MAX:
            fault(f"{what}: a ping was interrupted after {end['attempts']} attempts")


def storm(daemon, clients):
    """The rounds; how long each start took, in seconds."""
    work = [clients.start_by_words, clients.start_by_calls, clients.start_by_calls, clients.control]
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
    return starts


def settle(clients):
    """All that goes on for ever is stopped, the rest ends, and all is received."""
    for job in clients.jobs:
        if job.way == "endless" and job.remove != "told":
            try:
                clients.control_one(job, "stop")
            except Refused:  # a removal that was asked for
                pass
    _, status = clients.run("wait", "--timeout", "120")
    if status not in (0, 3):
        fault(f"the jobs did not end: wait ended with status {status}")
    for cursor in clients.lines:
        if clients.receive_once(cursor) != 0:
            fault("receive failed")


def check(clients):
    listed = [json.loads(line) for line in clients.run("list", "--all", "--json")[0]]
    rows = {row["id"]: row for row in listed}
    hidden = {job.id for job in clients.jobs if job.remove}
    lines = clients.run("receive", "--again", "--all", "--json")[0]
    again = Results(lines, hidden)
    with open(LEDGER, encoding="utf-8") as ledger:
        runs = collections.Counter(tuple(line.rstrip("\n").split(" ", 1)) for line in ledger)
    tasks = collections.defaultdict(list)
    for task in again.ends:
        tasks[task[0]].append(task)
    for number in sorted(set(clients.ids) - rows.keys()):
        fault(f"id {number} was printed, and the job is not there")
    ids = clients.ids + [job.id for job in clients.jobs]
    if len(ids) != len(set(ids)):
        fault("an id was told twice")
    for name, count in collections.Counter(row.get("name") for row in listed).items():
        if name and count > 1:
            fault(f"there are {count} jobs of the one token {name}")
    for job in clients.jobs:
        check_job(job, rows.get(job.id), tasks[job.id], again, runs)
    for cursor, received in clients.lines.items():
        compare(Results(received, hidden), again, cursor)
    return again, runs


def main():
    seed = os.environ.get("JOBD_TEST_SEED") or str(time.time_ns())
    dice.seed(seed)
    print(f"seed {seed}", flush=True)
    daemon, clients = Daemon(), Clients()
    starts = storm(daemon, clients)
    settle(clients)
    again, runs = check(clients)
    daemon.stop()
    finding = subprocess.run([JOBD, "--database", DATABASE, "--check"], capture_output=True, text=True, check=False)
    if finding.returncode != 0:
        fault(f"the database: {finding.stdout}{finding.stderr}")
    starts.sort()
    ways = collections.Counter(job.way for job in clients.jobs)
    print(f"{ROUNDS} rounds: {dict(daemon.deaths)}; {len(clients.ids)} ids printed, {len(clients.jobs)} told: {dict(ways)}; "
          f"{sum(job.stop == 'told' for job in clients.jobs)} stopped, "
          f"{sum(job.remove == 'told' for job in clients.jobs)} removed; {len(again.ends)} tasks, "
          f"{sum(runs.values())} commands run, {sum(map(len, again.whole.values()))} characters of output, "
          f"{sum(map(len, clients.lines.values()))} records received; a start took "
          f"{starts[len(starts) // 2] * 1000:.0f} ms, at most {starts[-1] * 1000:.0f} ms; {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
