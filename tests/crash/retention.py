# SPDX-License-Identifier: LGPL-2.1-or-later
"""What jobd removes by itself, and says in its log."""

import collections
import re

from scene import LOG


def pruned_runs():
    """The jobs of each schedule of which the log says that --keep-last removes them."""
    runs = collections.defaultdict(set)
    with open(LOG, encoding="utf-8", errors="replace") as log:
        for job, schedule in re.findall(r"job (\d+) is pruned: --keep-last of schedule s(\d+)$", log.read(), re.M):
            runs[int(schedule)].add(int(job))
    return runs
