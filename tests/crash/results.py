# SPDX-License-Identifier: LGPL-2.1-or-later
"""What was received, put together."""

import collections
import json

from scene import fault


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


def check_log(readings, lines, hidden, imported):
    """The readings of one cursor, one after the other, against the lines of all that there is."""
    told, floor = set(), 0
    for records, is_well in readings:
        # Records of an import have their positions before it is there
        late = [place for place in records
                if place[1] <= floor and place not in told and place[0] not in imported]
        if late:
            fault(f"{late[:5]} (job, position) were received for the first time after position {floor}")
        told |= set(records)
        if is_well and records:
            floor = max(floor, records[-1][1])
    records = [record for record in map(json.loads, lines) if "position" in record and record["job"] not in hidden]
    lost = {(record["job"], record["position"]) for record in records} - told
    if lost:
        fault(f"of all records {len(lost)} were not received by cursor: (job, position) {sorted(lost)[:5]}")


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
