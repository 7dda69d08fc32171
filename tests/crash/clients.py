# SPDX-License-Identifier: LGPL-2.1-or-later
"""All who talk to jobd while it dies."""

import contextlib
import json
import subprocess
import sys
import threading
import time

from model import FINAL, Job, Retry, Schedule
from scene import BOUND, JOBCTL, SOCKET, WAY, dice, fault, now_us
from wire import Gone, Refused, ask, ask_at_once, call, connected, row_of, tasks_of, whole_of

FORGOTTEN = (("remove",), ("take",))
RETRIED_MAX = 2  # by a client, of one job
MANY = 12
BEATS_MAX = 8  # schedules that make a run each EVERY


class Clients:
    """All who talk to jobd, several at a time, and what they were told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.running = set()
        self.is_over = False
        self.ids = []  # of jobctl start
        self.jobs = []  # whose id was told
        self.lines = {"": [], "audit": []}  # received, by cursor
        # Of "audit", which one has alone: job and position of each record, and did it end well
        self.readings = []
        self.done = set()  # positions of those that did
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

    def start_many(self):
        """Jobs of one record each, so that a cursor reads the records of all in their order, not job by job."""
        ping = {"kind": "ping", "targets": ["127.0.0.1"], "ping": {"count": 1}}
        while not self.is_over:
            with contextlib.suppress(Gone), connected() as client:
                answers = ask_at_once(client, "Start", *[ping] * MANY)
                self.ids += [answer["parameters"]["id"] for answer in answers if "error" not in answer]
            time.sleep(0.1)

    def start_by_calls(self):
        while not self.is_over:
            job = Job()
            job.id = self.insist("Start", job)
            if dice.random() < 0.2 and self.insist("Start", job) != job.id:
                fault(f"{job.name}: the same token gave another job")
            self.jobs.append(job)
            # No more than what the daemon gets done between its deaths
            time.sleep(0.05)

    def insist(self, method, asked):
        """Asked again with the same token, until there is an answer."""
        end = time.monotonic() + BOUND
        while True:
            try:
                return call(method, **asked.parameters())["id"]
            except (Gone, Refused) as error:
                if time.monotonic() > end:
                    fault(f"{method} of {asked.parameters()} is never done: {error!r}")
                    sys.exit(1)  # this thread
                time.sleep(0.005)

    def retry(self):
        while not self.is_over:
            time.sleep(0.05)
            job = dice.choice(self.jobs[-100:] or [None])
            if job is None or job.way == "endless" or job.fate in FORGOTTEN or len(job.retries) >= RETRIED_MAX:
                continue
            with contextlib.suppress(Gone, Refused):
                self.retry_one(job)

    def retry_one(self, job):
        if row_of(job)["state"] not in FINAL:
            return
        wanted = [task["target"] for task in tasks_of(job) if task["state"] != "succeeded"]
        if not wanted:
            return
        retry = Retry(job, wanted)
        retry.id = self.insist("Retry", retry)
        job.retries.append(retry)
        if dice.random() < 0.5 and self.insist("Retry", retry) != retry.id:
            fault(f"{retry.token}: the same token gave another job")

    def control(self):
        while not self.is_over:
            time.sleep(0.02)
            job = dice.choice(self.jobs[-50:] or [None])
            what = job and dice.choice(job.fate)
            # What was told is not asked again, which would mend it
            if what in (None, "take") or getattr(job, what, None) == "told":
                continue
            with contextlib.suppress(Gone, Refused):
                if what != "adjust":
                    self.control_one(job, what)
                elif job.to_adjust:
                    self.adjust(job)

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

    def adjust(self, job):
        """Several fields each by a call of its own, in one moment."""
        changes = job.adjustments()
        for field, value in changes:
            job.kept[field].add(value)
        with connected() as client:
            answers = ask_at_once(client, "Adjust", *({"id": job.id, field: value} for field, value in changes))
        for (field, value), answer in zip(changes, answers):
            if "error" not in answer:
                job.kept[field] = {value}
                job.to_adjust.remove(field)

    def take(self):
        while not self.is_over:
            time.sleep(0.02)
            jobs = [job for job in self.jobs[-100:] if job.fate == ("take",) and job.remove != "told"]
            if jobs:
                self.take_one(dice.choice(jobs))

    def take_one(self, job):
        """Received to be removed: now, if it has ended, or when it has."""
        job.remove = "asked"
        words = ("--cursor", job.taker) if job.taker else ()
        words += dice.choice(((), ("--wait",)))
        lines, status = self.run("receive", "--json", "--remove", *words, str(job.id))
        job.taken += lines
        # A disk that fails may keep it
        if "--wait" in words and status in (0, 3) and WAY != "fail":
            job.remove = "told"

    def plan(self):
        number = 0
        while not self.is_over:
            time.sleep(0.05)
            beats = sum(one.way == "every" and one.remove is None for one in self.schedules)
            if beats < BEATS_MAX and dice.random() < 0.5:
                number += 1
                schedule = Schedule(number)
                schedule.id = self.insist("Start", schedule)
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
        records = [record for record in map(json.loads, lines) if "position" in record]
        positions = [record["position"] for record in records]
        if positions != sorted(set(positions)):
            fault(f"with cursor {cursor or 'of the owner'}: records came twice, or out of their order")
        if cursor:
            self.readings.append(([(record["job"], record["position"]) for record in records], status == 0))
            self.look_twice(set(positions), status == 0)
        return status

    def look_twice(self, positions, is_well):
        """jobctl ends well after all that it wrote was confirmed; a disk that fails does not keep that."""
        if positions & self.done:
            fault(f"records were received, and came again: {sorted(positions & self.done)[:5]}")
        if is_well and WAY != "fail":
            self.done |= positions
