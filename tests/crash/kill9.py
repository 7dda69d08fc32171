#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill9.py JOBD JOBCTL SSH_PORT LEDGER FOLDER ROUNDS [WAY]: jobd dies at random moments, under load.

Clients start, stop, pause, remove, receive and import jobs of all kinds, make and change schedules,
and are themselves killed now and then, while jobd dies and starts again ROUNDS times. WAY is how:
"kill" (-9), "cut" (the power goes; JOBD is faulty-jobd), "fail" (-9, and calls to the disk fail
meanwhile; JOBD is faulty-jobd).

What was acknowledged is kept here, and held against what jobd has afterwards:
  - every job whose id was told is there, once, under its name, and has ended as it should; the same
    token gives the same job, however often jobd died before it was asked again,
  - one whose stop was told is stopped, and so is a single target; one whose pause was told is paused,
    until a resume; one whose deadline passed ended by it; one whose removal was told never comes back,
  - a command for which nobody said --rerun reached its host at most once, one that succeeded or
    failed did reach it, none more often than it has attempts, and all --retries were made, no more,
  - the output of each command is, byte for byte, what its host is known to say,
  - what either of two cursors moved over was received with it, and is the same when received again,
  - each reading is in order, and what one gave that came to its end never comes again,
  - a schedule made as many runs as it says, one for each of its times and one for each run that was
    asked for; one that is paused or removed makes none,
  - of an import all is there, as it was where it came from, or nothing,
  - the database is sound.
SSH_PORT is that of a sshload with that LEDGER and OUTPUT bytes of output, on all of 127.0.0.0/8.
JOBD_TEST_SEED repeats the moments of an earlier run, as far as the machine does.
"""

import collections
import contextlib
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
DEADLINE = 400000  # microseconds
EVERY = 1000000
BEATS_MAX = 8  # schedules that make a run each EVERY
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


@contextlib.contextmanager
def connected():
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(SOCKET)
            yield client
    except OSError as error:
        raise Gone from error


def ask(client, method, **parameters):
    message = {"method": f"org.jobd.{method}", "parameters": parameters}
    answer = b""
    client.sendall(json.dumps(message).encode() + b"\0")
    while not answer.endswith(b"\0"):
        more = client.recv(65536)
        if not more:
            raise Gone
        answer += more
    answer = json.loads(answer[:-1])
    if "error" in answer:
        raise Refused(answer["error"])
    return answer.get("parameters", {})


def call(method, **parameters):
    with connected() as client:
        return ask(client, method, **parameters)


class Job:
    """What one Start asks for. stop, target, remove: None, "asked" or "told"; so is held, which a
    resume undoes."""

    count = 0
    lock = threading.Lock()

    def __init__(self):
        with Job.lock:
            Job.count += 1
            self.name = f"job{Job.count}"
        self.way = dice.choice(("ping", "ping", "endless", "deadline", "once", "once", "rerun", "retry"))
        self.id = self.stop = self.target = self.held = self.remove = None
        # What may become of it: were it anything, little would be left as it was told
        self.fate = dice.choice((("stop",), ("remove",), ("remove",), ("target",), ("target", "stop"), ("pause",),
                                 ("pause", "resume")))
        self.command = f"#{self.name}" + (" exit 3" if self.way == "retry" else "")

    def parameters(self):
        words = {"name": self.name, "token": self.name, "targets": ["127.0.0.[1-3]"]}
        if self.way == "ping":
            return {**words, "kind": "ping", "targets": ["127.0.0.[1-20]"],
                    "ping": {"count": 3, "intervalUsec": 20000}}
        if self.way == "endless":
            return {**words, "kind": "ping", "ping": {"count": 0, "intervalUsec": 50000}}
        if self.way == "deadline":
            return {**words, "kind": "ping", "deadlineUsec": DEADLINE,
                    "ping": {"count": 0, "intervalUsec": 50000}}
        ssh = {"commands": [self.command], "port": int(SSH_PORT), "hostKey": "off"}
        if self.way == "retry":
            words.update(retries=RETRIES, retryDelayUsec=10000)
        return {**words, "kind": "ssh", "rerun": self.way == "rerun", "ssh": ssh}


class Schedule:
    """What a Start with a rule asks for. paused: what was told last, None where nobody knows."""

    def __init__(self, number):
        self.name = f"plan{number}"
        self.way = dice.choice(("every", "at"))
        self.id = self.remove = None
        self.paused = False
        self.asked = 0  # runs beside its times
        self.told = []  # the jobs of those that were told

    def parameters(self):
        rule = {"everyUsec": EVERY} if self.way == "every" else {"atUsec": now_us() + 200000}
        return {"name": self.name, "token": self.name, "kind": "ping", "targets": ["127.0.0.1"],
                "ping": {"count": 1}, "schedule": {**rule, "overlap": True, "catchUp": True}}


def now_us():
    return time.time_ns() // 1000


def whole_of(number):
    """All that is told of a job that has ended, as jobctl export has it."""
    chosen = {"selectors": [str(number)]}
    job = call("List", selection=chosen, details=True)["jobs"][0]
    tasks = call("ListTasks", selector=str(number), limit=1000)["tasks"]
    with connected() as client:
        page = ask(client, "Receive", selection=chosen, again=True, keep=True)
        records = page["records"]
        while not page["isEnd"]:
            page = ask(client, "Receive", confirm=page["position"])
            records += page["records"]
    return job, tasks, records


def list_schedules():
    return {plan["id"]: plan for plan in call("ListSchedules", limit=1000)["schedules"]}


def without_place(whole):
    """What is the same of a job wherever it is."""
    job, tasks, records = whole
    places = ("id", "name", "job", "position", "hasResults")
    return [{key: value for key, value in row.items() if key not in places} for row in (job, *tasks, *records)]


class Clients:
    """All who talk to jobd, several at a time, and what they were told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = set()
        self.is_over = False
        self.ids = []  # of jobctl start
        self.jobs = []  # whose id was told
        self.lines = {"": [], "audit": []}  # received, by cursor
        self.done = set()  # positions of readings that ended well, where one has the cursor alone
        self.schedules = []  # whose id was told
        self.sample = None  # what is imported
        self.imports = []  # ids that were told

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
            time.sleep(0.02)
            job = dice.choice(self.jobs[-50:] or [None])
            what = job and dice.choice(job.fate)
            # What was told is not asked again, which would mend it
            if job is None or getattr(job, what, None) == "told":
                continue
            with contextlib.suppress(Gone, Refused):
                self.control_one(job, what)

    def control_one(self, job, what):
        field = "held" if what in ("pause", "resume") else what
        if what == "resume" or getattr(job, field) is None:
            setattr(job, field, "asked")
        if what == "target":  # one of three, so that the job goes on
            reply = call("Stop", selection={"selectors": [f"{job.id}/127.0.0.2"]})
        else:
            reply = call(what.capitalize(), selection={"selectors": [str(job.id)]},
                         **({"force": True} if what == "remove" else {}))
        if what == "resume":
            job.held = None
        elif job.id in reply["removed" if what == "remove" else "ids"]:
            setattr(job, field, "told")

    def plan(self):
        number = 0
        while not self.is_over:
            time.sleep(0.05)
            beats = sum(one.way == "every" and one.remove is None for one in self.schedules)
            if beats < BEATS_MAX and dice.random() < 0.5:
                number += 1
                schedule = Schedule(number)
                schedule.id = self.insist(schedule)
                self.schedules.append(schedule)
            elif self.schedules:
                action = dice.choice(("run", "run", "run", "pause", "resume", "resume", "remove"))
                with contextlib.suppress(Gone, Refused):
                    self.plan_one(dice.choice(self.schedules[-20:]), action)

    def plan_one(self, schedule, action):
        if action == "remove":
            schedule.remove = "asked"
        elif action != "run":
            schedule.paused = None
        try:
            schedule.asked += action == "run"
            reply = call("ChangeSchedules", selectors=[f"s{schedule.id}"], action=action)
        except Refused:  # then it made none
            schedule.asked -= action == "run"
            raise
        if action == "run":
            schedule.told += reply["jobs"]
        elif action == "remove":
            schedule.remove = now_us()
        else:
            schedule.paused = action == "pause"

    def take_sample(self):
        """A job of commands that all succeeded, or None."""
        for job in self.jobs[-50:]:
            if job.way == "once" and job.remove is None and row_of(job)["state"] == "completed":
                return whole_of(job.id)
        return None

    def bring(self):
        """Imports of one job under names of their own, a piece at a time."""
        number = 0
        while not self.is_over:
            time.sleep(0.05)
            with contextlib.suppress(Gone, Refused, IndexError):  # the sample may be removed meanwhile
                self.sample = self.sample or self.take_sample()
                if self.sample is None:
                    continue
                number += 1
                job, tasks, records = self.sample
                pieces = [{"job": {**job, "name": f"import{number}", "hasResults": True}}]
                pieces += [{"tasks": [task]} for task in tasks] + [{"records": [record]} for record in records]
                pieces += [{"isEnd": True}]
                with connected() as client:
                    answers = [ask(client, "Import", **piece) for piece in pieces]
                self.imports.append(answers[-1]["id"])

    def receive(self, cursor):
        while not self.is_over:
            self.receive_once(cursor)

    def receive_once(self, cursor):
        words = ("--cursor", cursor) if cursor else ()
        lines, status = self.run("receive", "--json", *words)
        self.lines[cursor] += lines
        positions = [record["position"] for record in map(json.loads, lines) if "position" in record]
        if positions != sorted(positions):
            fault(f"with cursor {cursor or 'of the owner'}: records came out of their order")
        if cursor:
            self.look_twice(set(positions), status == 0)
        return status

    def look_twice(self, positions, is_well):
        """jobctl ends well after all that it wrote was confirmed; a disk that fails does not keep that."""
        if positions & self.done:
            fault(f"records were received, and came again: {sorted(positions & self.done)[:5]}")
        if is_well and WAY != "fail":
            self.done |= positions


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
            while self.process.poll() is None and not answers() and time.monotonic() - began <= BOUND:
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
    if end.get("error") == "exit" and times <= RETRIES and job.stop is None and job.target is None:
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
    # Only such as had not ended are told
    is_stopped = job.stop == "told" and job.way != "deadline" or job.way == "endless"
    if is_stopped and row["state"] != "stopped" and row["interrupted"] == 0:
        fault(f"{what} was stopped, and is {row['state']}")
    if job.way == "deadline" and job.stop is None and job.remove is None:
        if row["state"] != "failed" or "deadline" not in row.get("reason", ""):
            fault(f"{what} is {row['state']}, and its deadline passed")
        # A timer may come a turn early
        elif row["endedUsec"] - row["createdUsec"] < DEADLINE - DEADLINE // 8:
            fault(f"{what} ended before its deadline")
    if job.stop is None and job.target is None and job.remove is None:
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
    work = [clients.start_by_words, clients.start_by_calls, clients.start_by_calls, clients.control,
            clients.plan, clients.bring]
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


def has_come(condition):
    end = time.monotonic() + BOUND
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def row_of(job):
    return call("List", selection={"selectors": [str(job.id)]})["jobs"][0]


def is_target_stopped(job):
    return call("ListTasks", selector=str(job.id))["tasks"][1]["state"] == "stopped"


def check_control(job):
    """What was told of a job, before settle() tells more. jobd has just started."""
    what = f"job {job.id} ({job.name}, {job.way})"
    if job.stop == "told" and not has_come(lambda: row_of(job)["state"] in FINAL):
        fault(f"{what}: its stop was told, and it is {row_of(job)['state']}")
    row = row_of(job)
    if row["state"] == "paused" and (job.held is None or row["running"] > 0):
        fault(f"{what} is paused, {row['running']} tasks run, and its pause was {job.held}")
    if job.stop is not None or job.way != "endless":
        return
    if job.held == "told" and row["state"] != "paused":
        fault(f"{what}: its pause was told, and it is {row['state']}")
    if job.target == "told" and not has_come(lambda: is_target_stopped(job)):
        fault(f"{what}: the stop of a target was told, and it runs")
    if job.target is None and is_target_stopped(job):
        fault(f"{what}: a target is stopped, and nobody asked for it")


def settle(clients):
    """All that goes on for ever is stopped, the rest ends, and all is received."""
    plans = list_schedules()
    for schedule in clients.schedules:
        plan = plans.get(schedule.id)
        if plan and schedule.paused not in (None, plan["paused"]):
            fault(f"schedule s{schedule.id} is {'' if plan['paused'] else 'not '}paused, and the other was told")
    if plans:
        call("ChangeSchedules", selectors=[f"s{number}" for number in plans], action="pause")
    for job in clients.jobs:
        try:
            if job.remove is None:
                check_control(job)
        except Refused as error:
            fault(f"job {job.id} ({job.name}): {error}")
    clients.run("resume", "--all", "--quiet")
    for job in clients.jobs:
        if job.way == "endless" and "told" not in (job.stop, job.remove):
            with contextlib.suppress(Refused):  # a removal that was asked for
                clients.control_one(job, "stop")
    _, status = clients.run("wait", "--timeout", "120")
    if status not in (0, 3):
        fault(f"the jobs did not end: wait ended with status {status}")
    for cursor in clients.lines:
        if clients.receive_once(cursor) != 0:
            fault("receive failed")


def check_schedule(schedule, plan, runs):
    """runs: the rows of its jobs."""
    what = f"schedule s{schedule.id} ({schedule.name}, {schedule.way})"
    lost = set(schedule.told) - {row["id"] for row in runs}
    if lost:
        fault(f"{what}: the jobs {lost} of runs that were told are not there")
    if plan is None:
        if schedule.remove is None:
            fault(f"{what} was told, and is not there")
        elif schedule.remove != "asked" and any(row["createdUsec"] > schedule.remove for row in runs):
            fault(f"{what} was removed, and made runs")
        return
    if schedule.remove not in (None, "asked"):
        fault(f"{what} was removed, and is there")
    if len(runs) != plan["runs"]:
        fault(f"{what}: {len(runs)} jobs of {plan['runs']} runs")
    if schedule.way == "every":
        times = (plan["nextUsec"] - plan["createdUsec"]) // EVERY
    else:
        times = 0 if "nextUsec" in plan else 1
    # Each of its times was a run or was counted as skipped; the others were asked for
    beside = plan["runs"] + plan["skipped"] - times
    if not len(schedule.told) <= beside <= schedule.asked:
        fault(f"{what}: {plan['runs']} runs, {plan['skipped']} skipped of {times} times, "
              f"with {len(schedule.told)} to {schedule.asked} that were asked for")


def check_imports(clients, listed):
    rows = {row["id"]: row for row in listed if (row.get("name") or "").startswith("import")}
    for number in sorted(set(clients.imports) - rows.keys()):
        fault(f"the id {number} of an import was told, and the job is not there")
    for number, row in rows.items():
        if without_place(whole_of(number)) != without_place(clients.sample):
            fault(f"job {number} ({row['name']}) is not what was imported")
    return len(rows)


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
    ids = clients.ids + clients.imports + [one.id for one in clients.jobs + clients.schedules]
    ids += [number for schedule in clients.schedules for number in schedule.told]
    if len(ids) != len(set(ids)):
        fault("an id was told twice")
    for name, count in collections.Counter(row.get("name") for row in listed).items():
        if name and not name.startswith("plan") and count > 1:
            fault(f"there are {count} jobs of the one token {name}")
    for job in clients.jobs:
        check_job(job, rows.get(job.id), tasks[job.id], again, runs)
    plans = list_schedules()
    for schedule in clients.schedules:
        runs_of = [row for row in listed if row.get("schedule") == schedule.id]
        check_schedule(schedule, plans.get(schedule.id), runs_of)
    if plans.keys() - {schedule.id for schedule in clients.schedules}:
        fault("there are schedules that nobody was told of")
    imported = check_imports(clients, listed)
    planned = sum("schedule" in row for row in listed)
    print(f"{sum(job.held == 'told' for job in clients.jobs)} left paused, "
          f"{sum(job.target == 'told' for job in clients.jobs)} with a target stopped; "
          f"{len(clients.schedules)} schedules, {planned} runs; "
          f"{imported} imports, {len(clients.imports)} told", flush=True)
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
