#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holds our calendar events against `systemd-analyze calendar`: made-up specifications, right and
wrong ones, from bases in 1990 to 2060, near changes of clocks above all, by the clocks of several
zones. Prints what differs; the same seed gives the same specifications.

Two faults of systemd 252 are passed over: it refuses the second day of a list that counts from the
month's end ("*~1,28"), by three days for each before it; and it loops ("Resource deadlock avoided")
where a step leads over the end of a month and a change of clocks."""

import argparse
import calendar
import os
import random
import re
import subprocess
import sys
import time

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
         "America/Sao_Paulo"]
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
WORDS = ["minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly",
         "annually", "bi-annually", "Daily", "WEEKLY"]
ITERATIONS = 12
AT_A_TIME = 50


class Maker:
    """Makes specifications and bases."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, share):
        return self.random.random() < share

    def number(self, low, high, fraction):
        text = str(self.random.randint(low, high))
        if self.chance(0.2):
            text = text.zfill(2)
        if fraction and self.chance(0.2):
            text += "." + str(self.random.randint(0, 9999999))
        return text

    def part(self, low, high, stars=0.5, fraction=False):
        if self.chance(stars):
            return "*"
        ranges = []
        for _ in range(self.random.choice([1, 1, 1, 2, 3])):
            text = self.number(low, high, fraction)
            if self.chance(0.3):
                least = low if self.chance(0.1) else min(high, int(float(text)) + 1)
                text += ".." + self.number(least, high + self.chance(0.05), fraction)
            if self.chance(0.3):
                text += "/" + self.number(1, max(1, (high - low) // self.random.randint(2, 9)), fraction)
            ranges.append(text)
        return ",".join(ranges)

    def weekdays(self):
        ranges = []
        for _ in range(self.random.choice([1, 1, 2])):
            text = self.random.choice(DAYS)
            if self.chance(0.4):
                text += self.random.choice(["..", "..", "-"]) + self.random.choice(DAYS)
            ranges.append(text)
        return ",".join(ranges)

    def date(self):
        dash = "~" if self.chance(0.2) else "-"
        text = self.part(1, 12) + dash + self.part(1, 31 if dash == "-" else 28, 0.3)
        if self.chance(0.6):
            years = self.random.choice([(0, 99), (1990, 2060), (2020, 2199)])
            year = "*" if self.chance(0.6) else self.part(*years, 0)
            text = year + "-" + text
        return text

    def time(self):
        hours = self.part(0, 4, 0.3) if self.chance(0.6) else self.part(0, 23, 0.3)
        text = hours + ":" + self.part(0, 59, 0.3)
        if self.chance(0.5):
            text += ":" + self.part(0, 59, 0.2, True)
        return text

    def mistyped(self, text):
        place = self.random.randrange(len(text) + 1)
        return text[:place] + self.random.choice("0:-~,./* xM@") + text[place + self.random.randint(0, 1):]

    def specification(self):
        if self.chance(0.05):
            text = self.random.choice(WORDS)
        elif self.chance(0.03):
            text = "@%d" % self.random.randint(0, 2**32)
        else:
            words = [make() for make, share in ((self.weekdays, 0.3), (self.date, 0.5),
                                                (self.time, 0.8)) if self.chance(share)]
            text = " ".join(words) or "*:*"
        if self.chance(0.2):
            text += " " + self.random.choice(ZONES + ["utc", "Nowhere/City"])
        return self.mistyped(text) if self.chance(0.1) else text

    def base(self):
        """Half of them within a day of a last or first Sunday of the months when clocks change."""
        year = self.random.randint(1990, 2060)
        if self.chance(0.5):
            return calendar.timegm((year, self.random.randint(1, 12), self.random.randint(1, 28),
                                    self.random.randint(0, 23), self.random.randint(0, 59),
                                    self.random.randint(0, 59)))
        month = self.random.choice([3, 4, 10, 11])
        sundays = [day for day in range(1, 32) if day <= calendar.monthrange(year, month)[1] and
                   calendar.weekday(year, month, day) == calendar.SUNDAY]
        day = calendar.timegm((year, month, self.random.choice(sundays), 0, 0, 0))
        return day + self.random.randint(-86400, 86400)


def analyze(specifications, base, zone):
    run = subprocess.run(["systemd-analyze", "calendar", f"--iterations={ITERATIONS}",
                          f"--base-time=@{base}", "--"] + specifications,
                         env={**os.environ, "TZ": zone, "LC_ALL": "C"}, check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return run.stdout, run.stderr


def is_their_fault(text, base, zone):
    return ("~" in text and "," in text.partition("~")[2] or
            "deadlock avoided" in analyze([text], base, zone)[1])


def theirs(specifications, base, zone):
    """What systemd says, in the form of ours."""
    blocks = [[]]
    for line in analyze(specifications, base, zone)[0].splitlines():
        if line:
            blocks[-1].append(line)
        else:
            blocks.append([])
    blocks += [[]] * (len(specifications) - len(blocks))
    answers = []
    for block in blocks:
        times = [time.strptime(found.group(1), "%Y-%m-%d %H:%M:%S") for line in block
                 if (found := re.search(r"(?<!form): \w{3} (\d+-\d+-\d+ [\d:]+) UTC$", line))]
        answers.append(" ".join(str(calendar.timegm(when)) for when in times) if block else "bad")
    return answers


def ours(program, specifications, base, zone):
    lines = "".join(f"{ITERATIONS} {base} {text}\n" for text in specifications)
    run = subprocess.run([program], input=lines, env={**os.environ, "TZ": zone}, check=True,
                         stdout=subprocess.PIPE, text=True)
    return [line.strip() for line in run.stdout.split("\n")[:-1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("program", help="tests/lib/calendar of the build folder")
    words = parser.parse_args()
    maker = Maker(words.seed)
    compared = elapses = bad = faults = differences = 0
    while compared < words.count:
        zone, base = maker.random.choice(ZONES), maker.base()
        specifications = [maker.specification() for _ in range(AT_A_TIME)]
        for text, left, right in zip(specifications, ours(words.program, specifications, base, zone),
                                     theirs(specifications, base, zone), strict=True):
            compared += 1
            elapses += len(right.split()) if right != "bad" else 0
            bad += right == "bad"
            if left == right:
                continue
            if left.startswith(right.replace("bad", "")) and is_their_fault(text, base, zone):
                faults += 1
            else:
                differences += 1
                print(f"'{text}' after @{base}, TZ={zone}:\n  ours   {left}\n  theirs {right}")
    print(f"{compared} specifications, {bad} of them wrong, {elapses} elapses, "
          f"{faults} faults of systemd, {differences} differences")
    return differences > 0


if __name__ == "__main__":
    sys.exit(main())
