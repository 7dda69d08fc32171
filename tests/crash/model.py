# SPDX-License-Identifier: LGPL-2.1-or-later
"""What clients ask jobd for, and what they were told of it."""

import threading

from scene import OUTPUT, OUTPUT_MAX, SSH_PORT, dice, now_us

FINAL = ("completed", "failed", "stopped")
RETRIES = 2
DEADLINE = 400000  # microseconds
EVERY = 1000000
TEXT = "".join("\n" if i % 64 == 63 else chr(ord("a") + i % 26) for i in range(832)) * (OUTPUT // 832 + 1)


class Job:
    """What one Start asks for. stop, target, remove: None, "asked" or "told"; so is held, which a
    resume undoes."""

    count = 0
    lock = threading.Lock()

    def __init__(self):
        with Job.lock:
            Job.count += 1
            self.name = f"job{Job.count}"
        self.way = dice.choice(("ping", "ping", "endless", "deadline", "once", "once", "rerun", "retry", "cap",
                                "long"))
        self.id = self.stop = self.target = self.held = self.remove = None
        # What may become of it: were it anything, little would be left as it was told
        self.fate = dice.choice((("stop",), ("remove",), ("remove",), ("take",), ("take",), ("target",),
                                 ("target", "stop"), ("pause",), ("pause", "resume"), ("adjust",),
                                 ("adjust", "pause"), ("adjust", "stop")))
        if self.fate == ("take",) and self.way == "endless":  # it would never be
            self.fate = ("remove",)
        self.kind = "ping" if self.way in ("ping", "endless", "deadline") else "ssh"
        self.targets = [f"127.0.0.{i + 1}" for i in range(20 if self.way == "ping" else 3)]
        self.taken = []  # lines of those who received it to remove it
        self.taker = dice.choice(("", "taker"))  # their cursor
        # What each may be by now: one value, where that was told
        self.kept = {"name": {self.name}, "parallel": {None}, "rate": {None},
                     "deadlineUsec": {DEADLINE if self.way == "deadline" else None}}
        self.to_adjust = list(self.kept)  # what was told is not asked again
        self.retries = []
        more = {"retry": " exit 3", "long": " long" * (OUTPUT_MAX // 8)}
        self.command = f"#{self.name}" + more.get(self.way, "")
        self.said = f"{self.command}\n{TEXT[:OUTPUT]}"
        self.cap = OUTPUT_MAX
        if self.way == "cap":  # or just not
            self.cap = dice.choice((dice.randint(1, OUTPUT), len(self.said) - 1, len(self.said)))

    def adjustments(self):
        """One or several changes of what was not changed yet."""
        is_short = self.way == "deadline"
        values = {"name": f"{self.name}-adjusted", "parallel": dice.choice((1, 2)),
                  "rate": dice.randint(500, 5000),
                  "deadlineUsec": DEADLINE * 3 if is_short else dice.randint(600, 900) * 1000000}
        fields = dice.sample(self.to_adjust, dice.randint(1, len(self.to_adjust)))
        return [(field, values[field]) for field in fields]

    def parameters(self):
        words = {"name": self.name, "token": self.name, "kind": self.kind, "targets": self.targets}
        if self.way == "ping":
            return {**words, "ping": {"count": 3, "intervalUsec": 20000}}
        if self.way == "endless":
            return {**words, "ping": {"count": 0, "intervalUsec": 50000}}
        if self.way == "deadline":
            return {**words, "deadlineUsec": DEADLINE, "ping": {"count": 0, "intervalUsec": 50000}}
        ssh = {"commands": [self.command], "port": int(SSH_PORT), "hostKey": "off"}
        if self.way == "retry":
            words.update(retries=RETRIES, retryDelayUsec=10000)
        if self.way == "cap":
            ssh["maxOutput"] = self.cap
        return {**words, "rerun": self.way in ("rerun", "cap"), "ssh": ssh}


class Retry:
    """Of a job that has ended, and is not removed. wanted: the targets that did not succeed."""

    def __init__(self, job, wanted):
        self.of = job
        self.token = f"{job.name}-again{len(job.retries)}"
        self.wanted = wanted
        self.id = None

    def parameters(self):
        return {"selector": str(self.of.id), "token": self.token}


class Schedule:
    """What a Start with a rule asks for. paused: what was told last, None where nobody knows."""

    def __init__(self, number):
        self.name = f"plan{number}"
        self.way = dice.choice(("every", "at"))
        self.keep = dice.choice((None, None, 1, 3))  # the last runs
        self.id = self.remove = None
        self.paused = False
        self.asked = 0  # runs beside its times
        self.told = []  # the jobs of those that were told

    def parameters(self):
        rule = {"everyUsec": EVERY} if self.way == "every" else {"atUsec": now_us() + 200000}
        if self.keep:
            rule["keepLast"] = self.keep
        return {"name": self.name, "token": self.name, "kind": "ping", "targets": ["127.0.0.1"],
                "ping": {"count": 1}, "schedule": {**rule, "overlap": True, "catchUp": True}}
