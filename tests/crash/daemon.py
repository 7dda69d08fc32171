# SPDX-License-Identifier: LGPL-2.1-or-later
"""jobd, which starts and dies."""

import collections
import os
import signal
import socket
import subprocess
import time

from scene import BOUND, CONFIG, DATABASE, JOBD, LOG, OUTPUT_MAX, SOCKET, WAY, dice, fault

LIFE_MAX = 0.12  # seconds that a daemon lives, at most
CALLS_MAX = 1500  # to the disk that one lives, where the power goes
CUT_STATUS = 99


class Daemon:
    def __init__(self):
        self.log = open(LOG, "ab")
        self.configure(f"max-output-per-task = {OUTPUT_MAX}")
        self.process = None
        self.deaths = collections.Counter()

    def configure(self, *lines):
        """What it starts with from now on."""
        with open(CONFIG, "w", encoding="utf-8") as config:
            config.write("\n".join(("[jobd]", *lines, "")))

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
                [JOBD, "--user", "--foreground", "--config", CONFIG, "--socket", SOCKET, "--database", DATABASE],
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
