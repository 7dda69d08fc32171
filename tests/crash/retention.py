# SPDX-License-Identifier: LGPL-2.1-or-later
"""What jobd removes by itself, and says in its log."""

import collections
import contextlib
import json
import re

from scene import LOG, ROUNDS, fault, has_come, now_us
from wire import Gone, Refused, call, whole_of

HOUR = 3600 * 1000000
SHARE = 20  # of the rounds, one for each of the two settings
UNREAD, READ = 4, 8  # jobs that ended long ago, and bytes of output of each:
UNREAD_SIZE, READ_SIZE = 60000, 200000
SIZE = "1M"  # the unread fit, the others do not


def log_from(place):
    """The end of the log, and where that is."""
    with open(LOG, "rb") as log:
        log.seek(place)
        return log.read().decode(errors="replace")


def log_size():
    with open(LOG, "rb") as log:
        return log.seek(0, 2)


def pruned_runs():
    """The jobs of each schedule of which the log says that --keep-last removes them."""
    runs = collections.defaultdict(set)
    for job, schedule in re.findall(r"job (\d+) is pruned: --keep-last of schedule s(\d+)$", log_from(0), re.M):
        runs[int(schedule)].add(int(job))
    return runs


def pruned_jobs(place, setting):
    """(job, was it not received) in the order in which the log says so."""
    pattern = rf"job (\d+), which ended at [^,]*?( and was not received)?, is pruned: {setting} in jobd.conf$"
    return [(int(job), bool(unread)) for job, unread in re.findall(pattern, log_from(place), re.M)]


class Pruning:
    """jobd dies while it removes what a setting does not allow. before: the rows of all jobs."""

    def __init__(self, daemon, clients):
        self.daemon = daemon
        self.clients = clients
        self.before = {}

    def rows(self):
        return {row["id"]: row for row in map(json.loads, self.clients.run("list", "--all", "--json")[0])}

    def bring(self, name, ended_us, is_read, size, sample):
        """A job that ended then, and wrote so much."""
        job, tasks, records = sample
        output = {**records[0], "position": 1, "stream": "stdout", "offset": 0, "text": "x" * size}
        del output["task"]
        times = {"createdUsec": ended_us, "startedUsec": ended_us, "endedUsec": ended_us}
        call("Import", job={**job, **times, "name": name, "hasResults": not is_read}, tasks=tasks,
             records=[output, {**records[0], "position": 2}], isEnd=True)

    def prepare(self):
        sample_id = call("Start", kind="ping", targets=["127.0.0.1"], ping={"count": 1})["id"]
        call("Wait", selection={"selectors": [str(sample_id)]})
        sample = whole_of(sample_id)
        now = now_us()
        for i in range(UNREAD):
            self.bring(f"unread{i}", now - 3 * HOUR + i, False, UNREAD_SIZE, sample)
        for i in range(READ):
            self.bring(f"read{i}", now - 2 * HOUR + i, True, READ_SIZE, sample)

    def dies(self, setting, value, is_done):
        """Until is_done(rows); what the log says of it, and the rows that are left."""
        self.before = self.rows()
        self.daemon.stop()
        self.daemon.configure(f"{setting} = {value}")
        place = log_size()
        for _ in range(max(2, int(ROUNDS) // SHARE)):
            self.live(setting)
        last = log_size()
        self.daemon.start(is_well=True)
        if not has_come(is_done):
            fault(f"{setting}: what is to go does not go")
        there = self.rows()
        count = call("GetStatus")["prunedJobs"]
        if count != len(pruned_jobs(last, setting)):
            fault(f"{setting}: {count} jobs were counted, and {len(pruned_jobs(last, setting))} named")
        named = pruned_jobs(place, setting)
        gone = self.before.keys() - there.keys()
        if gone - {job for job, _ in named}:
            fault(f"{setting}: nothing is said of the jobs {gone - dict(named).keys()}, which went")
        for job, unread in named:
            if job in self.before and unread != self.before[job]["hasResults"]:
                fault(f"{setting}: job {job} was {'' if unread else 'not '}called unread")
        # By a life that ended before its commit it was named for nothing, and again by the next
        return [job for job in dict(named) if job in self.before], gone, there

    def live(self, setting):
        """As long as it lives. What was counted was named before."""
        place = log_size()
        self.daemon.start()
        with contextlib.suppress(Gone, Refused):
            count, named = call("GetStatus")["prunedJobs"], len(pruned_jobs(place, setting))
            if count > named:
                fault(f"{setting}: {count} jobs were counted, and {named} named")
        self.daemon.die()

    def ended(self, job):
        return self.before[job]["endedUsec"]

    def by_size(self):
        named, gone, there = self.dies("max-database-size", SIZE, has_room)
        read = [job for job in named if not self.before[job]["hasResults"]]
        left = [job for job in self.before.keys() & there.keys() if not self.before[job]["hasResults"]]
        if len(read) < len(named) and (left or named[:len(read)] != read):
            fault("max-database-size: jobs that were not received went before such as were: "
                  f"{named[:20]}, {left[:20]}")
        if [self.ended(job) for job in read] != sorted(self.ended(job) for job in read):
            fault(f"max-database-size: not those that ended first went first: {read[:20]}")
        if left and gone and max(map(self.ended, gone)) > min(map(self.ended, left)):
            fault("max-database-size: of those that were received the ones that ended first are there")
        if sum(row["hasResults"] for row in there.values()) < UNREAD or not gone:
            fault(f"max-database-size: {len(gone)} went, and {UNREAD} that were not received have room")
        return len(gone)

    def by_age(self):
        limit = now_us() - HOUR
        named, gone, _ = self.dies("keep-finished", "1h", lambda: not any(
            row["endedUsec"] < limit for row in self.rows().values() if "endedUsec" in row))
        for job in {*named, *gone}:
            if self.ended(job) >= limit + HOUR // 2:
                fault(f"keep-finished: job {job} went, and ended a moment ago")
        if len(gone) < UNREAD:
            fault(f"keep-finished: {len(gone)} went")
        return len(gone)


def has_room():
    try:
        call("Start", kind="ping", targets=["127.0.0.1"], ping={"count": 1})
    except Refused as error:
        if "max-database-size" not in str(error):
            raise
        return False
    return True


def prune(daemon, clients):
    """How many went by size, and by age. All was received and checked before."""
    pruning = Pruning(daemon, clients)
    pruning.prepare()
    return pruning.by_size(), pruning.by_age()
