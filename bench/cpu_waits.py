# SPDX-License-Identifier: BSD-3-Clause
"""How long polling threads waited for a processor, by the kernel's own count."""
import os
import pathlib

TICK_NS = 1e9 / os.sysconf("SC_CLK_TCK")


def schedstat(task):
    """ns that a thread ran, and ns that it could run and did not."""
    ran, waited, _ = (task / "schedstat").read_text(encoding="ascii").split()
    return int(ran), int(waited)


class CpuWaits:
    """The thread of each process that runs most: in a poll-mode program, the one that polls."""

    def __init__(self, *pids):
        self.tasks = [max(pathlib.Path(f"/proc/{pid}/task").iterdir(), key=schedstat)
                      for pid in pids]

    def ns(self):
        """So far: of those threads, and what a hypervisor took from any processor (in ticks)."""
        with open("/proc/stat", encoding="ascii") as f:
            stolen = int(f.readline().split()[8])
        return sum(schedstat(t)[1] for t in self.tasks) + stolen * TICK_NS
