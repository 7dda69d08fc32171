# SPDX-License-Identifier: LGPL-2.1-or-later
"""What kill9.py was called with, and what all of it shares: the dice, the list of faults, the time."""

import os
import random
import sys
import time

JOBD, JOBCTL, SSH_PORT, LEDGER, FOLDER, ROUNDS = sys.argv[1:7]
WAY = sys.argv[7] if len(sys.argv) > 7 else "kill"
SOCKET = os.path.join(FOLDER, "jobd.sock")
DATABASE = os.path.join(FOLDER, "jobd.db")
LOG = os.path.join(FOLDER, "jobd.log")
CONFIG = os.path.join(FOLDER, "kill9.conf")
BOUND = float(os.environ.get("JOBD_TEST_BOUND", "30"))
OUTPUT = 3000  # bytes that a command writes, beside itself
OUTPUT_MAX = 4000  # max-output-per-task

faults = []
dice = random.Random()


def fault(sentence):
    if len(faults) < 20:
        print(sentence, flush=True)
    faults.append(sentence)


def now_us():
    return time.time_ns() // 1000


def has_come(condition):
    end = time.monotonic() + BOUND
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()
